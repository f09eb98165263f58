//! Several small numbers in one plaintext.

use super::{PaillierError, Plaintext, PublicKey};
use crypto_bigint::{BoxedUint, Resize};

/// Signed slots side by side: `sum_j x_j 2^(B j)` modulo the modulus. Sums and multiples stay in their slots as long as every result is
/// below `2^(B-1)` in magnitude.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packing {
    slots: usize,
    slot_bits: u32,
    bits: u32,
}

impl Packing {
    /// As many slots of `slot_bits` (2 to 62) as a plaintext under the key has room for.
    ///
    /// # Errors
    /// [`PaillierError::Packing`] if there is room for none.
    pub fn new(key: &PublicKey, slot_bits: u32) -> Result<Self, PaillierError> {
        let bits = key.bits();
        let slots = ((bits - 2) / slot_bits.max(1)) as usize;
        if !(2..=62).contains(&slot_bits) || slots == 0 {
            return Err(PaillierError::Packing { slots: slots.max(1), slot_bits, bits });
        }
        Ok(Self { slots, slot_bits, bits })
    }

    /// Number of slots in a plaintext.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Packs up to [`Packing::slots`] numbers.
    ///
    /// # Errors
    /// [`PaillierError`] if there are more, or one does not fit.
    pub fn pack(&self, key: &PublicKey, values: &[i64]) -> Result<Plaintext, PaillierError> {
        let Self { slots, slot_bits, bits } = *self;
        if values.len() > slots {
            return Err(PaillierError::Length { what: "values to pack", expected: slots, got: values.len() });
        }
        let half = 1i64 << (slot_bits - 1);
        let mut sum = BoxedUint::zero_with_precision(bits);
        let mut offset = BoxedUint::zero_with_precision(bits);
        for &value in values.iter().rev() {
            if !(-half..half).contains(&value) {
                return Err(PaillierError::Slot { value, slot_bits });
            }
            let next =
                |x: &BoxedUint, low: u64| x.shl(slot_bits).wrapping_add(BoxedUint::from(low).resize(bits));
            sum = next(&sum, (value + half) as u64);
            offset = next(&offset, half as u64);
        }
        Ok(Plaintext(sum.sub_mod(&offset, key.n.as_nz_ref())))
    }

    /// The first `count` numbers.
    #[expect(clippy::indexing_slicing, reason = "a number has a word at least")]
    pub fn unpack(&self, key: &PublicKey, plaintext: &Plaintext, count: usize) -> Vec<i64> {
        let Self { slots, slot_bits, bits } = *self;
        let half = 1i64 << (slot_bits - 1);
        let mut offset = BoxedUint::zero_with_precision(bits);
        for _ in 0..slots {
            offset = offset.shl(slot_bits).wrapping_add(BoxedUint::from(half as u64).resize(bits));
        }
        let mut rest = plaintext.0.rem(key.n.as_nz_ref()).add_mod(&offset, key.n.as_nz_ref());
        let mask = (1u64 << slot_bits) - 1;
        (0..count.min(slots))
            .map(|_| {
                let low = rest.as_words()[0] & mask;
                rest = rest.shr(slot_bits);
                low as i64 - half
            })
            .collect()
    }
}
