//! Secret key of a client, bound to its bundle.

use super::bundle::ClientBundle;
use super::error::RemoteError;
use super::note::Sealer;
use super::origin::{Origin, PREFIX, Prefix};
use super::passphrase;
use pleura_ckks::wire::{self, ObjectKind};
use pleura_ckks::{ClientError, SecretKey};
use pleura_nn::Client;
use pleura_ring::sample::Seed;
use sha2::{Digest, Sha256};
use std::fmt;
use std::io::Write;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Most bytes of a secret key.
pub const MAX_SECRET_BYTES: usize = 512;
/// Bytes of a digest.
const DIGEST: usize = 32;
const PLAIN: u8 = 0;
const PASSPHRASE: u8 = 1;

/// A secret key and the client bundle that it was made for. It cannot be copied or printed, and is erased when dropped.
pub struct ClientKey {
    bundle: Arc<ClientBundle>,
    client: Client,
    origin: Origin,
    sealer: Sealer,
}

impl ClientKey {
    /// A fresh key.
    ///
    /// # Errors
    /// [`RemoteError::Client`] if the system gives no randomness
    pub fn generate(bundle: impl Into<Arc<ClientBundle>>) -> Result<Self, RemoteError> {
        let bundle = bundle.into();
        let secret = SecretKey::generate(bundle.spec().params())?;
        let random = Seed::from_os().map_err(ClientError::from)?;
        let (key, _) =
            random.as_bytes().split_first_chunk().ok_or(RemoteError::Internal("a seed is short"))?;
        Self::new(bundle, secret, *key)
    }

    /// The bundle.
    pub fn bundle(&self) -> &Arc<ClientBundle> {
        &self.bundle
    }

    /// Plan, bundle and identity of the key.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The key as bytes, encrypted under a passphrase if there is one. Without one, the caller sees to it that nobody
    /// else reads them.
    ///
    /// # Errors
    /// [`RemoteError::EmptyPassphrase`], [`RemoteError::KeyDerivation`], [`RemoteError::Client`]
    pub fn to_secret_bytes(&self, passphrase: Option<&[u8]>) -> Result<Zeroizing<Vec<u8>>, RemoteError> {
        let secret = self.client.secret_key().to_secret_bytes();
        let params = self.bundle.spec().params();
        // With room for all of it: a buffer that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES));
        bytes.extend(wire::seal(ObjectKind::ClientSecret, params, &self.origin.to_bytes()));
        match passphrase {
            None => {
                bytes.push(PLAIN);
                bytes.extend_from_slice(&secret);
            }
            Some(passphrase) => {
                let sealed = passphrase::seal(&secret, passphrase, &bytes)?;
                bytes.push(PASSPHRASE);
                bytes.extend(sealed);
            }
        }
        let digest = Sha256::digest(&*bytes);
        bytes.extend(digest);
        Ok(bytes)
    }

    /// Reads a key of `bundle`. Erasing `bytes` is the caller's duty.
    ///
    /// # Errors
    /// [`RemoteError::Wire`], [`RemoteError::Digest`], [`RemoteError::OtherPlan`], [`RemoteError::OtherBundle`],
    /// [`RemoteError::PassphraseMissing`], [`RemoteError::WrongPassphrase`]
    pub fn from_secret_bytes(
        bundle: impl Into<Arc<ClientBundle>>,
        bytes: &[u8],
        passphrase: Option<&[u8]>,
    ) -> Result<Self, RemoteError> {
        let bundle = bundle.into();
        let (origin, protection, body) = open(bytes)?;
        origin.check_plan(bundle.spec().plan_digest())?;
        origin.check_bundle(bundle.digest())?;
        Prefix::read(ObjectKind::ClientSecret, bytes)?.check_params(bundle.spec().params())?;
        let params = bundle.spec().params();
        let secret = match (protection, passphrase) {
            (PLAIN, _) => SecretKey::from_secret_bytes(body, params)?,
            (PASSPHRASE, None) => return Err(RemoteError::PassphraseMissing),
            (PASSPHRASE, Some(passphrase)) => {
                let context = bytes.get(..PREFIX).ok_or(RemoteError::Digest)?;
                SecretKey::from_secret_bytes(&passphrase::open(body, passphrase, context)?, params)?
            }
            _ => return Err(RemoteError::Digest),
        };
        Self::new(bundle, secret, origin.key)
    }

    /// Makes the evaluation keys of the bundle and writes them; the number of bytes. They do not contain the secret
    /// key.
    ///
    /// # Errors
    /// [`RemoteError::Inference`], [`RemoteError::Io`]
    pub fn write_keys(&self, mut out: impl Write) -> Result<u64, RemoteError> {
        let params = self.bundle.spec().params();
        let start = wire::seal(ObjectKind::SessionKeys, params, &self.origin.to_bytes());
        let keys = self.client.evaluation_keys()?.to_bytes();
        let digest = Sha256::new().chain_update(&start).chain_update(&keys).finalize();
        out.write_all(&start)?;
        out.write_all(&keys)?;
        out.write_all(&digest)?;
        out.flush()?;
        Ok((start.len() + keys.len() + digest.len()) as u64)
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    fn new(bundle: Arc<ClientBundle>, secret: SecretKey, key: [u8; 16]) -> Result<Self, RemoteError> {
        let sealer = Sealer::new(&secret);
        let client = Client::with_secret(bundle.spec().clone(), secret)?;
        let origin = Origin { plan: *bundle.spec().plan_digest(), bundle: *bundle.digest(), key };
        Ok(Self { bundle, client, origin, sealer })
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientKey(..)")
    }
}

/// Whether the bytes of a secret key are encrypted under a passphrase.
///
/// # Errors
/// [`RemoteError::Wire`], [`RemoteError::Digest`]
pub fn is_under_passphrase(bytes: &[u8]) -> Result<bool, RemoteError> {
    Ok(open(bytes)?.1 == PASSPHRASE)
}

/// Origin, protection and content of a secret key.
fn open(bytes: &[u8]) -> Result<(Origin, u8, &[u8]), RemoteError> {
    let prefix = Prefix::read(ObjectKind::ClientSecret, bytes)?;
    let (content, digest) = bytes.split_last_chunk::<DIGEST>().ok_or(RemoteError::Digest)?;
    if Sha256::digest(content)[..] != digest[..] {
        return Err(RemoteError::Digest);
    }
    let rest = content.get(PREFIX..).and_then(<[u8]>::split_first);
    let (&protection, body) = rest.ok_or(RemoteError::Digest)?;
    Ok((prefix.origin, protection, body))
}
