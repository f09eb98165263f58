//! Bytes of keys and ciphertexts: a magic, the size of the key, a label, numbers whose length follows from the size, and a SHA-256.

use super::{Ciphertext, KEY_BITS, PaillierError, PublicKey, SecretKey};
use crate::sealed::{DIGEST, seal, unsealed};
use crypto_bigint::{BoxedUint, Odd};
use zeroize::Zeroizing;

const PUBLIC: &[u8; 8] = b"PLPAPUB2";
const SECRET: &[u8; 8] = b"PLPASEC2";
const CIPHERTEXTS: &[u8; 8] = b"PLPACTX2";
/// Magic, bits of the key, label of ciphertexts or zero, number of ciphertexts or zero.
const HEADER: usize = 8 + 2 + 2 + 4;
/// Length of the key's fingerprint, the hash of its modulus.
const FINGERPRINT: usize = 8;

impl PublicKey {
    /// The modulus and the base of the randomness.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = header(PUBLIC, self.bits, 0, 0);
        bytes.extend_from_slice(&self.n.as_ref().to_be_bytes());
        bytes.extend_from_slice(&self.base.to_be_bytes());
        seal(&mut bytes);
        bytes
    }

    /// The key of such bytes.
    ///
    /// # Errors
    /// [`PaillierError`] if they are none, or of a size that is not for use.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PaillierError> {
        offered(Self::from_bytes_insecure(bytes)?, Self::bits)
    }

    /// The key of such bytes, of any size, for tests.
    ///
    /// # Errors
    /// [`PaillierError`] if they are none.
    pub fn from_bytes_insecure(bytes: &[u8]) -> Result<Self, PaillierError> {
        let what = "public Paillier key";
        let Parsed { bits, rest, .. } = parsed_key(bytes, PUBLIC, what)?;
        let (n, base) = split(rest, bits as usize / 8, 2 * bits as usize / 8, what)?;
        let n = number(n, bits);
        if n.bit_width_vartime() != bits {
            return Err(PaillierError::Bytes { what, why: "the modulus has another size" });
        }
        let n = Odd::new(n).into_option().ok_or(PaillierError::Bytes { what, why: "the modulus is even" })?;
        Self::new(bits, n, number(base, 2 * bits))
    }

    /// Serializes ciphertexts under this key, with a label of their use; the label is not hidden.
    pub fn ciphertexts_to_bytes(&self, ciphertexts: &[Ciphertext], label: u16) -> Vec<u8> {
        let mut bytes = header(CIPHERTEXTS, self.bits, label, ciphertexts.len());
        bytes.extend_from_slice(&self.fingerprint());
        ciphertexts.iter().for_each(|c| bytes.extend_from_slice(&c.0.to_be_bytes()));
        seal(&mut bytes);
        bytes
    }

    /// Ciphertexts under this key, and their label.
    ///
    /// # Errors
    /// [`PaillierError`] if the bytes hold none, or some of another key.
    pub fn ciphertexts_from_bytes(&self, bytes: &[u8]) -> Result<(Vec<Ciphertext>, u16), PaillierError> {
        let what = "Paillier ciphertexts";
        let Parsed { bits, label, count, rest } = parsed(bytes, CIPHERTEXTS, what)?;
        let (fingerprint, rest) = rest
            .split_at_checked(FINGERPRINT)
            .ok_or(PaillierError::Bytes { what, why: "there are too few" })?;
        if bits != self.bits || fingerprint != self.fingerprint() {
            return Err(PaillierError::Bytes { what, why: "they are of another key" });
        }
        let size = self.ciphertext_bytes();
        if rest.len() as u64 != count as u64 * size as u64 {
            return Err(PaillierError::Bytes { what, why: "their length does not fit their number" });
        }
        Ok((
            rest.chunks_exact(size)
                .map(|bytes| {
                    let c = Ciphertext(number(bytes, 2 * bits));
                    self.check(&c).map(|()| c)
                })
                .collect::<Result<_, _>>()?,
            label,
        ))
    }

    fn fingerprint(&self) -> Vec<u8> {
        self.n.as_ref().to_be_bytes().iter().rev().take(FINGERPRINT).copied().collect()
    }
}

impl SecretKey {
    /// Serializes the primes and the base. The bytes are as secret as the key.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let public = self.public();
        let mut bytes = Zeroizing::new(header(SECRET, public.bits, 0, 0));
        // No reallocation, which would leave a copy behind.
        bytes.reserve_exact(3 * public.bits as usize / 8 + DIGEST);
        for prime in self.primes() {
            bytes.extend_from_slice(&Zeroizing::new(prime.to_be_bytes().into_vec()));
        }
        bytes.extend_from_slice(&public.base.to_be_bytes());
        seal(&mut bytes);
        bytes
    }

    /// The key of such bytes.
    ///
    /// # Errors
    /// [`PaillierError`] if they are none, or of a size that is not for use.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PaillierError> {
        offered(Self::from_bytes_insecure(bytes)?, |key| key.public().bits())
    }

    /// The key of such bytes, of any size, for tests.
    ///
    /// # Errors
    /// [`PaillierError`] if they are none.
    pub fn from_bytes_insecure(bytes: &[u8]) -> Result<Self, PaillierError> {
        let what = "secret Paillier key";
        let Parsed { bits, rest, .. } = parsed_key(bytes, SECRET, what)?;
        let (primes, base) = split(rest, bits as usize / 8, 2 * bits as usize / 8, what)?;
        let (p, q) = primes.split_at(primes.len() / 2);
        Self::from_parts(p, q, number(base, 2 * bits))
    }
}

/// A key, if it is of a size that keys are made in.
fn offered<T>(key: T, bits: impl Fn(&T) -> u32) -> Result<T, PaillierError> {
    let bits = bits(&key);
    if KEY_BITS.contains(&bits) { Ok(key) } else { Err(PaillierError::KeyBits { bits }) }
}

struct Parsed<'a> {
    bits: u32,
    label: u16,
    count: usize,
    rest: &'a [u8],
}

fn number(bytes: &[u8], bits: u32) -> BoxedUint {
    BoxedUint::from_be_slice_truncated(bytes, bits)
}

fn split<'a>(
    bytes: &'a [u8],
    first: usize,
    second: usize,
    what: &'static str,
) -> Result<(&'a [u8], &'a [u8]), PaillierError> {
    if bytes.len() != first + second {
        return Err(PaillierError::Bytes { what, why: "its length does not fit its size" });
    }
    Ok(bytes.split_at(first))
}

fn header(magic: &[u8; 8], bits: u32, label: u16, count: usize) -> Vec<u8> {
    [&magic[..], &(bits as u16).to_le_bytes(), &label.to_le_bytes(), &(count as u32).to_le_bytes()].concat()
}

/// A key has neither label nor number of ciphertexts.
fn parsed_key<'a>(bytes: &'a [u8], magic: &[u8; 8], what: &'static str) -> Result<Parsed<'a>, PaillierError> {
    match parsed(bytes, magic, what)? {
        key @ Parsed { label: 0, count: 0, .. } => Ok(key),
        _ => Err(PaillierError::Bytes { what, why: "they were damaged" }),
    }
}

fn parsed<'a>(bytes: &'a [u8], magic: &[u8; 8], what: &'static str) -> Result<Parsed<'a>, PaillierError> {
    if !bytes.starts_with(magic) {
        return Err(PaillierError::Bytes { what, why: "they begin with something else" });
    }
    let body = unsealed(bytes).ok_or(PaillierError::Bytes { what, why: "they were damaged or cut off" })?;
    let Some((&[.., b0, b1, l0, l1, c0, c1, c2, c3], rest)) = body.split_first_chunk::<HEADER>() else {
        return Err(PaillierError::Bytes { what, why: "there are too few" });
    };
    let bits = u32::from(u16::from_le_bytes([b0, b1]));
    let label = u16::from_le_bytes([l0, l1]);
    let count = u32::from_le_bytes([c0, c1, c2, c3]) as usize;
    if !(128..=8192).contains(&bits) || !bits.is_multiple_of(128) {
        return Err(PaillierError::Bytes { what, why: "keys have no such size" });
    }
    Ok(Parsed { bits, label, count, rest })
}
