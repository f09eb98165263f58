//! A picture whose pixels are encrypted, one or several in a ciphertext.

use super::runs::in_runs;
use super::{Ciphertext, Packing, PaillierError, Plaintext, PublicKey, SecretKey};
use std::ops::RangeInclusive;
use zeroize::Zeroizing;

/// Bits of a slot for a pixel: sixteen million of them can be added up.
const PIXEL_BITS: u32 = 33;
/// Flag in the label of ciphertexts, beside the side of the picture: pixels are packed.
const PACKED: u16 = 1 << 15;

/// A square picture under Paillier.
pub struct EncryptedPicture {
    side: usize,
    packed: bool,
    ciphertexts: Vec<Ciphertext>,
}

impl EncryptedPicture {
    /// Sides of pictures that are encrypted.
    pub const SIDES: RangeInclusive<usize> = 8..=256;

    /// Encrypts the pixels of a square picture, packed if several share a ciphertext. `done` is called with the number of
    /// ciphertexts encrypted and their total.
    ///
    /// # Errors
    /// [`PaillierError`] if the pixels make no square of one of [`EncryptedPicture::SIDES`], or the system has no randomness.
    pub fn encrypt(
        key: &PublicKey,
        pixels: &[u8],
        packed: bool,
        done: &mut dyn FnMut(usize, usize),
    ) -> Result<Self, PaillierError> {
        let side = pixels.len().isqrt();
        if side * side != pixels.len() || !Self::SIDES.contains(&side) {
            return Err(refused("pictures of such a side are not encrypted"));
        }
        let plaintexts: Vec<Plaintext> = if packed {
            let packing = Packing::new(key, PIXEL_BITS)?;
            let values: Vec<i64> = pixels.iter().map(|&pixel| i64::from(pixel)).collect();
            values.chunks(packing.slots()).map(|run| packing.pack(key, run)).collect::<Result<_, _>>()?
        } else {
            pixels.iter().map(|&pixel| Plaintext::from_u64(u64::from(pixel))).collect()
        };
        let of = plaintexts.len();
        let ciphertexts = in_runs(&plaintexts, &mut |number| done(number, of), |run| key.encrypt(run))?;
        Ok(Self { side, packed, ciphertexts })
    }

    /// Decrypts into pixels. `done` is called with the number of ciphertexts decrypted and their total.
    ///
    /// # Errors
    /// [`PaillierError`] if the ciphertexts do not hold pixels.
    pub fn decrypt(
        &self,
        key: &SecretKey,
        done: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<u8>, PaillierError> {
        let of = self.ciphertexts.len();
        let opened = in_runs(&self.ciphertexts, &mut |number| done(number, of), |run| key.decrypt(run))?;
        let opened = Zeroizing::new(opened);
        let pixels: Option<Vec<u8>> = if self.packed {
            let packing = Packing::new(key.public(), PIXEL_BITS)?;
            let values = opened.iter().flat_map(|m| packing.unpack(key.public(), m, packing.slots()));
            values.take(self.side * self.side).map(|x| u8::try_from(x).ok()).collect()
        } else {
            opened.iter().map(|m| u8::try_from(m.to_u64()?).ok()).collect()
        };
        pixels.ok_or(refused("what is in it are no pixels"))
    }

    /// Side in pixels.
    pub fn side(&self) -> usize {
        self.side
    }

    /// Whether several pixels share a ciphertext.
    pub fn is_packed(&self) -> bool {
        self.packed
    }

    /// Number of ciphertexts.
    pub fn ciphertexts(&self) -> usize {
        self.ciphertexts.len()
    }

    /// Bytes of the picture under the key that encrypted it.
    pub fn to_bytes(&self, key: &PublicKey) -> Vec<u8> {
        let label = self.side as u16 | if self.packed { PACKED } else { 0 };
        key.ciphertexts_to_bytes(&self.ciphertexts, label)
    }

    /// The picture in bytes from [`EncryptedPicture::to_bytes`].
    ///
    /// # Errors
    /// [`PaillierError`] if the bytes are no ciphertexts under the key, or not as many as a picture of their side has.
    pub fn from_bytes(key: &PublicKey, bytes: &[u8]) -> Result<Self, PaillierError> {
        let (ciphertexts, label) = key.ciphertexts_from_bytes(bytes)?;
        let side = usize::from(label & !PACKED);
        let packed = label & PACKED != 0;
        if !Self::SIDES.contains(&side) {
            return Err(refused("pictures of such a side are not encrypted"));
        }
        // Packed pixels fill their last ciphertext up with zeros.
        let slots = if packed { Packing::new(key, PIXEL_BITS)?.slots() } else { 1 };
        if ciphertexts.len() != (side * side).div_ceil(slots) {
            return Err(refused("its number of pixels does not fit its side"));
        }
        Ok(Self { side, packed, ciphertexts })
    }
}

fn refused(why: &'static str) -> PaillierError {
    PaillierError::Bytes { what: "encrypted picture", why }
}
