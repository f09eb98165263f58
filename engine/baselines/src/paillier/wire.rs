//! Bytes of keys and ciphertexts: a magic, the size of the key, and numbers of the length that tells.

use super::{Ciphertext, PaillierError, PublicKey, SecretKey};
use crypto_bigint::{BoxedUint, ConcatenatingSquare, Odd};
use zeroize::Zeroizing;

const PUBLIC: &[u8; 8] = b"PLPAPUB1";
const SECRET: &[u8; 8] = b"PLPASEC1";
const CIPHERTEXTS: &[u8; 8] = b"PLPACTX1";
/// Magic, bits of the key, number of ciphertexts or zero.
const HEADER: usize = 8 + 4 + 4;
/// Of the modulus, to tell keys apart.
const FINGERPRINT: usize = 8;

impl PublicKey {
    /// The modulus and the base of the randomness.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = header(PUBLIC, self.bits, 0);
        bytes.extend_from_slice(&self.n.as_ref().to_be_bytes());
        bytes.extend_from_slice(&self.base.to_be_bytes());
        bytes
    }

    /// The key of such bytes.
    ///
    /// # Errors
    /// [`PaillierError`] if they are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PaillierError> {
        let what = "public Paillier key";
        let (bits, _, rest) = parsed(bytes, PUBLIC, what)?;
        let (n, base) = split(rest, bits as usize / 8, 2 * bits as usize / 8, what)?;
        let n = number(n, bits);
        if n.bits_vartime() != bits {
            return Err(PaillierError::Bytes { what, why: "the modulus has another size" });
        }
        let n = Odd::new(n).into_option().ok_or(PaillierError::Bytes { what, why: "the modulus is even" })?;
        Self::with_base(bits, n, number(base, 2 * bits))
            .ok_or(PaillierError::Bytes { what, why: "the base is none" })
    }

    /// Bytes of ciphertexts under this key.
    pub fn ciphertexts_to_bytes(&self, ciphertexts: &[Ciphertext]) -> Vec<u8> {
        let mut bytes = header(CIPHERTEXTS, self.bits, ciphertexts.len());
        bytes.extend_from_slice(&self.fingerprint());
        ciphertexts.iter().for_each(|c| bytes.extend_from_slice(&c.0.to_be_bytes()));
        bytes
    }

    /// Ciphertexts under this key.
    ///
    /// # Errors
    /// [`PaillierError`] if the bytes hold none, or some of another key.
    pub fn ciphertexts_from_bytes(&self, bytes: &[u8]) -> Result<Vec<Ciphertext>, PaillierError> {
        let what = "Paillier ciphertexts";
        let (bits, count, rest) = parsed(bytes, CIPHERTEXTS, what)?;
        let (fingerprint, rest) = rest
            .split_at_checked(FINGERPRINT)
            .ok_or(PaillierError::Bytes { what, why: "there are too few" })?;
        if bits != self.bits || fingerprint != self.fingerprint() {
            return Err(PaillierError::Bytes { what, why: "they are of another key" });
        }
        let size = self.ciphertext_bytes();
        if rest.len() as u64 != count as u64 * size as u64 {
            return Err(PaillierError::Bytes { what, why: "their length is not what their number tells" });
        }
        let one = |bytes: &[u8]| {
            let c = number(bytes, 2 * bits);
            let below = c < *self.square.modulus().as_ref() && !bool::from(c.is_zero());
            below.then_some(Ciphertext(c)).ok_or(PaillierError::Ciphertext)
        };
        rest.chunks_exact(size).map(one).collect()
    }

    fn fingerprint(&self) -> Vec<u8> {
        self.n.as_ref().to_be_bytes().iter().rev().take(FINGERPRINT).copied().collect()
    }

    fn with_base(bits: u32, n: Odd<BoxedUint>, base: BoxedUint) -> Option<Self> {
        let square = n.as_ref().concatenating_square();
        let below = base < square && !bool::from(base.is_zero());
        below.then(|| Self::new(bits, n, base))
    }
}

impl SecretKey {
    /// The primes and the base. Whoever has these bytes has the key.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let public = self.public();
        let mut bytes = Zeroizing::new(header(SECRET, public.bits, 0));
        // No reallocation, which would leave a copy behind.
        bytes.reserve_exact(3 * public.bits as usize / 8);
        for prime in self.primes() {
            bytes.extend_from_slice(&Zeroizing::new(prime.to_be_bytes().into_vec()));
        }
        bytes.extend_from_slice(&public.base.to_be_bytes());
        bytes
    }

    /// The key of such bytes.
    ///
    /// # Errors
    /// [`PaillierError`] if they are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PaillierError> {
        let what = "secret Paillier key";
        let (bits, _, rest) = parsed(bytes, SECRET, what)?;
        let (primes, base) = split(rest, bits as usize / 8, 2 * bits as usize / 8, what)?;
        let (p, q) = primes.split_at(primes.len() / 2);
        let key = Self::from_prime_bytes(p, q)?;
        let public = PublicKey::with_base(bits, key.public().n.clone(), number(base, 2 * bits));
        let public = public.ok_or(PaillierError::Bytes { what, why: "the base is none" })?;
        Ok(key.with_public(public))
    }
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
        return Err(PaillierError::Bytes { what, why: "its length is not what its size tells" });
    }
    Ok(bytes.split_at(first))
}

fn header(magic: &[u8; 8], bits: u32, count: usize) -> Vec<u8> {
    [&magic[..], &bits.to_le_bytes(), &(count as u32).to_le_bytes()].concat()
}

fn parsed<'a>(
    bytes: &'a [u8],
    magic: &[u8; 8],
    what: &'static str,
) -> Result<(u32, usize, &'a [u8]), PaillierError> {
    let (head, rest) =
        bytes.split_at_checked(HEADER).ok_or(PaillierError::Bytes { what, why: "there are too few" })?;
    let sizes = head
        .strip_prefix(magic)
        .ok_or(PaillierError::Bytes { what, why: "they begin with something else" })?;
    let (words, _) = sizes.as_chunks::<4>();
    let &[bits, count] = words else { return Err(PaillierError::Bytes { what, why: "there are too few" }) };
    let (bits, count) = (u32::from_le_bytes(bits), u32::from_le_bytes(count) as usize);
    if !(128..=8192).contains(&bits) || !bits.is_multiple_of(128) {
        return Err(PaillierError::Bytes { what, why: "keys have no such size" });
    }
    Ok((bits, count, rest))
}
