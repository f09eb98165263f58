//! Receipts: a server's signed statement of which plan, keys and ciphertexts its results were computed from.
//!
//! Every device computes the same bits, so a receipt can be checked by computing the results again, on any device:
//! [`Receipt::recompute`]. The signature (Ed25519, RFC 8032) shows who made the statement; that the statement is true
//! is shown only to someone who recomputes it.

use super::error::RemoteError;
use super::hashed::Hashed;
use super::origin::Origin;
use super::serve::infer_items;
use crate::server::Session;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use pleura_ckks::ClientError;
use pleura_nn::ServerPlan;
use pleura_ring::sample::Seed;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{self, Read};
use std::time::{SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// First bytes of the signed message, so that the signature of a receipt is none of anything else.
const DOMAIN: &[u8] = b"pleura.receipt/1\n";
/// Name and version of the format.
const SCHEMA: &str = "pleura.receipt/1";
/// Most bytes of a receipt.
pub const MAX_RECEIPT: u64 = 64 << 10;

/// Facts about one file of results. Digests are SHA-256 and those of [`Origin`], in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Name of the network.
    pub network: String,
    /// Digest of the server plan.
    pub plan: String,
    /// Digest of the client bundle.
    pub bundle: String,
    /// Identity of the client's key.
    pub key: String,
    /// SHA-256 of the evaluation keys' file.
    pub keys_sha256: String,
    /// SHA-256 of the items' file.
    pub input_sha256: String,
    /// SHA-256 of the results' file.
    pub output_sha256: String,
    /// Ciphertext groups computed.
    pub groups: u64,
    /// Encryption parameters.
    pub parameters: ReceiptParameters,
    /// Device that computed the results.
    pub device: String,
    /// Version of the library.
    pub version: String,
    /// Seconds since 1970-01-01 00:00 UTC by the server's clock.
    pub unix_time: u64,
}

/// Encryption parameters of a receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptParameters {
    /// Logarithm of the ring degree.
    pub log_n: u32,
    /// Levels of the ciphertext modulus.
    pub levels: u32,
    /// Bits of the primes of each level.
    pub scale_bits: u32,
    /// Bits of security by the table; 0 for none.
    pub security: u32,
    /// Digest of the whole parameter set.
    pub sha256: String,
}

/// Digests of the files that a receipt speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileDigests {
    /// SHA-256 of the evaluation keys' file.
    pub keys: [u8; 32],
    /// SHA-256 of the items' file.
    pub input: [u8; 32],
    /// SHA-256 of the results' file.
    pub output: [u8; 32],
}

/// A statement of a receipt beside the fact that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiptCheck {
    /// Subject: `plan`, `bundle`, `key`, `parameters`, `keys`, `input`, `groups`, `network`, `output`.
    pub subject: &'static str,
    /// Statement of the receipt.
    pub stated: String,
    /// Fact.
    pub found: String,
}

/// A receipt with the server's signature.
///
/// ```
/// use pleura::remote::{ReceiptSigner, SignedReceipt};
/// # use pleura::remote::{Receipt, ReceiptParameters};
/// # let parameters = ReceiptParameters { log_n: 13, levels: 4, scale_bits: 26, security: 128, sha256: String::new() };
/// # let text = String::new;
/// # let receipt = Receipt { network: "net".into(), plan: text(), bundle: text(), key: text(), keys_sha256: text(),
/// #     input_sha256: text(), output_sha256: text(), groups: 1, parameters, device: text(), version: text(), unix_time: 0 };
///
/// let signer = ReceiptSigner::generate()?;
/// let bytes = signer.sign(receipt.clone())?.to_json()?;
/// let signed = SignedReceipt::from_json(&bytes)?;
/// assert_eq!(*signed.receipt(), receipt);
/// assert_eq!(signed.signer(), signer.public_key());
/// # Ok::<(), pleura::remote::RemoteError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedReceipt {
    receipt: Receipt,
    signer: [u8; 32],
    signature: [u8; 64],
}

/// A server's key for signing receipts. Its bytes are erased when it is dropped, and cannot be printed.
pub struct ReceiptSigner(SigningKey);

/// The JSON of a signed receipt.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedFile {
    schema: String,
    receipt: Receipt,
    signer: String,
    signature: String,
}

impl Receipt {
    /// The receipt of results that were computed now, by this version of the library.
    pub fn new(plan: &ServerPlan, origin: &Origin, files: &FileDigests, groups: u64, device: &str) -> Self {
        let unix_time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Self {
            network: plan.network().to_owned(),
            plan: hex(&origin.plan),
            bundle: hex(&origin.bundle),
            key: hex(&origin.key),
            keys_sha256: hex(&files.keys),
            input_sha256: hex(&files.input),
            output_sha256: hex(&files.output),
            groups,
            parameters: ReceiptParameters::new(plan),
            device: device.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            unix_time,
        }
    }

    /// Computes the results of a file of items again and compares everything that the receipt states but the device,
    /// the version and the time. `origin` and `keys` are those of the session's keys: what [`read_keys`] returned, and
    /// the SHA-256 of its input. `observe` receives the numbers of groups done and of bytes read.
    ///
    /// [`read_keys`]: super::read_keys
    ///
    /// # Errors
    /// Those of [`infer_items`].
    pub fn recompute(
        &self,
        session: &Session,
        origin: &Origin,
        keys: [u8; 32],
        items: impl Read,
        observe: &mut dyn FnMut(u64, u64),
    ) -> Result<Vec<ReceiptCheck>, RemoteError> {
        let mut input = Hashed::new(items);
        let output = Hashed::new(io::sink());
        let (output, groups, _) = infer_items(session, origin, &mut input, output, observe)?;
        let digests = FileDigests { keys, input: input.digest(), output: output.digest() };
        let found = Self::new(session.plan(), origin, &digests, groups, &self.device);
        let parameters = |receipt: &Self| receipt.parameters.to_string();
        let checks = [
            ("plan", self.plan.clone(), found.plan.clone()),
            ("bundle", self.bundle.clone(), found.bundle.clone()),
            ("key", self.key.clone(), found.key.clone()),
            ("parameters", parameters(self), parameters(&found)),
            ("keys", self.keys_sha256.clone(), found.keys_sha256.clone()),
            ("input", self.input_sha256.clone(), found.input_sha256.clone()),
            ("groups", self.groups.to_string(), found.groups.to_string()),
            ("network", self.network.clone(), found.network.clone()),
            ("output", self.output_sha256.clone(), found.output_sha256.clone()),
        ];
        Ok(checks.map(|(subject, stated, found)| ReceiptCheck { subject, stated, found }).to_vec())
    }

    /// Refuses the receipt of other files. Nothing is computed: see [`Receipt::recompute`].
    ///
    /// # Errors
    /// [`RemoteError::OtherReceipt`]
    pub fn check_files(&self, files: &FileDigests) -> Result<(), RemoteError> {
        let pairs = [
            ("keys", &self.keys_sha256, &files.keys),
            ("input", &self.input_sha256, &files.input),
            ("output", &self.output_sha256, &files.output),
        ];
        match pairs.into_iter().find(|(_, stated, found)| **stated != hex(*found)) {
            Some((subject, ..)) => Err(RemoteError::OtherReceipt { subject }),
            None => Ok(()),
        }
    }

    /// The message that is signed: the JSON of the receipt without white space, its fields in order.
    fn message(&self) -> Result<Vec<u8>, RemoteError> {
        let json = serde_json::to_vec(self).map_err(|_| RemoteError::Internal("a receipt is no JSON"))?;
        Ok([DOMAIN, &json].concat())
    }
}

impl ReceiptParameters {
    fn new(plan: &ServerPlan) -> Self {
        let params = plan.params();
        let literal = params.literal();
        Self {
            log_n: literal.log_n,
            levels: literal.levels as u32,
            scale_bits: literal.scale_bits,
            security: literal.security.bits(),
            sha256: hex(params.hash()),
        }
    }
}

impl fmt::Display for ReceiptParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log_n, levels, scale_bits, security, sha256 } = self;
        write!(f, "degree 2^{log_n}, {levels} levels of {scale_bits} bits, {security}-bit security, {sha256}")
    }
}

impl ReceiptCheck {
    /// Whether statement and fact are equal.
    pub fn agrees(&self) -> bool {
        self.stated == self.found
    }
}

impl SignedReceipt {
    /// The receipt.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Public key of the signer. Compare it with the key that the server's operator states.
    pub fn signer(&self) -> [u8; 32] {
        self.signer
    }

    /// JSON in one line of ASCII, for headers.
    ///
    /// # Errors
    /// [`RemoteError::Internal`]
    pub fn to_ascii_line(&self) -> Result<String, RemoteError> {
        let json =
            serde_json::to_string(&self.file()).map_err(|_| RemoteError::Internal("a receipt is no JSON"))?;
        let mut line = String::with_capacity(json.len());
        let mut units = [0; 2];
        for character in json.chars() {
            if (' '..='~').contains(&character) {
                line.push(character);
            } else {
                line.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
            }
        }
        Ok(line)
    }

    /// JSON with a trailing line feed.
    ///
    /// # Errors
    /// [`RemoteError::Internal`]
    pub fn to_json(&self) -> Result<Vec<u8>, RemoteError> {
        let file = self.file();
        let mut json =
            serde_json::to_vec_pretty(&file).map_err(|_| RemoteError::Internal("a receipt is no JSON"))?;
        json.push(b'\n');
        Ok(json)
    }

    fn file(&self) -> SignedFile {
        SignedFile {
            schema: SCHEMA.to_owned(),
            receipt: self.receipt.clone(),
            signer: hex(&self.signer),
            signature: hex(&self.signature),
        }
    }

    /// Reads JSON and verifies the signature, strictly: weak keys and malleable signatures are refused.
    ///
    /// # Errors
    /// [`RemoteError::NotAReceipt`], [`RemoteError::ReceiptVersion`], [`RemoteError::Signature`]
    pub fn from_json(bytes: &[u8]) -> Result<Self, RemoteError> {
        let file: SignedFile =
            serde_json::from_slice(bytes).map_err(|error| RemoteError::NotAReceipt(error.to_string()))?;
        if file.schema != SCHEMA {
            return Err(RemoteError::ReceiptVersion { expected: SCHEMA, got: file.schema });
        }
        let digits = || RemoteError::NotAReceipt("signer or signature are no hexadecimal digits".to_owned());
        let signer = from_hex(&file.signer).ok_or_else(digits)?;
        let signature = from_hex(&file.signature).ok_or_else(digits)?;
        let key = VerifyingKey::from_bytes(&signer).map_err(|_| RemoteError::Signature)?;
        key.verify_strict(&file.receipt.message()?, &Signature::from_bytes(&signature))
            .map_err(|_| RemoteError::Signature)?;
        Ok(Self { receipt: file.receipt, signer, signature })
    }
}

impl ReceiptSigner {
    /// A new key.
    ///
    /// # Errors
    /// [`RemoteError::Client`] if the operating system gives no randomness.
    pub fn generate() -> Result<Self, RemoteError> {
        let seed = Seed::from_os().map_err(ClientError::from)?;
        Ok(Self(SigningKey::from_bytes(seed.as_bytes())))
    }

    /// Reads a PKCS #8 key in PEM, as `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    /// [`RemoteError::SigningKey`]
    pub fn from_pem(text: &str) -> Result<Self, RemoteError> {
        SigningKey::from_pkcs8_pem(text).map(Self).map_err(|error| RemoteError::SigningKey(error.to_string()))
    }

    /// PKCS #8 in PEM.
    ///
    /// # Errors
    /// [`RemoteError::SigningKey`]
    pub fn to_pem(&self) -> Result<Zeroizing<String>, RemoteError> {
        // OpenSSL before 3.0 reads no keys that carry their public half.
        let key = KeypairBytes { secret_key: self.0.to_bytes(), public_key: None };
        key.to_pkcs8_pem(LineEnding::LF).map_err(|error| RemoteError::SigningKey(error.to_string()))
    }

    /// The public key, by which others verify signatures.
    pub fn public_key(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// Signs a receipt.
    ///
    /// # Errors
    /// [`RemoteError::Internal`]
    pub fn sign(&self, receipt: Receipt) -> Result<SignedReceipt, RemoteError> {
        let signature = self.0.sign(&receipt.message()?).to_bytes();
        Ok(SignedReceipt { receipt, signer: self.public_key(), signature })
    }
}

impl fmt::Debug for ReceiptSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReceiptSigner(..)")
    }
}

/// Bytes as hexadecimal digits in lower case.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `N` bytes of `2 N` hexadecimal digits in lower case; `None` for any other text.
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || digits.iter().any(|digit| !matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}
