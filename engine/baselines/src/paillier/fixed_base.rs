//! Powers of one base, by tables of its powers.
//!
//! An exponent is read in digits of [`WINDOW`] bits: `base^e` is the product of `base^(d 2^(5 k))`, one looked up for each digit. No
//! squarings, a fifth as many products as bits. Every look-up reads the whole row and keeps one entry by masks, so that no
//! address depends on a digit.

use chacha20::ChaCha20Rng;
use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::rand_core::Rng;
use crypto_bigint::{BoxedUint, Word};
use std::sync::Arc;
use zeroize::Zeroize;

/// Bits of a digit.
const WINDOW: u32 = 5;
/// Entries of a row.
const ROW: usize = 1 << WINDOW;

/// Powers of a base in Montgomery form, shared among clones.
#[derive(Clone)]
pub(super) struct FixedBase {
    limbs: usize,
    /// `[digit][value][limb]`.
    table: Arc<[Word]>,
}

impl FixedBase {
    /// A table for exponents of `exponent_bits` bits, rounded up to whole digits.
    pub(super) fn new(base: &BoxedMontyForm, exponent_bits: u32) -> Self {
        let limbs = base.as_montgomery().as_words().len();
        let digits = exponent_bits.div_ceil(WINDOW);
        let mut table = Vec::with_capacity(digits as usize * ROW * limbs);
        let mut step = base.clone();
        for _ in 0..digits {
            let mut power = BoxedMontyForm::one(step.params());
            for _ in 0..ROW {
                table.extend_from_slice(power.as_montgomery().as_words());
                power *= &step;
            }
            // Now base^(2^5 steps).
            step = power;
        }
        Self { limbs, table: table.into() }
    }

    /// A uniformly random power.
    pub(super) fn random(&self, rng: &mut ChaCha20Rng, params: &BoxedMontyParams) -> BoxedMontyForm {
        let mut product = BoxedMontyForm::one(params);
        let mut bits = 0u64;
        let mut left = 0;
        let mut entry = vec![0; self.limbs];
        for row in self.table.chunks_exact(ROW * self.limbs) {
            if left < WINDOW {
                (bits, left) = (rng.next_u64(), 64);
            }
            let digit = bits & (ROW as u64 - 1);
            (bits, left) = (bits >> WINDOW, left - WINDOW);
            select(row, digit, &mut entry);
            product *= &BoxedMontyForm::from_montgomery(BoxedUint::from_words(entry.iter().copied()), params);
        }
        entry.zeroize();
        product
    }
}

/// Copies entry `digit` of a row, in a time that does not depend on `digit`.
fn select(row: &[Word], digit: u64, entry: &mut [Word]) {
    entry.fill(0);
    for (index, candidate) in row.chunks_exact(entry.len()).enumerate() {
        let apart = index as u64 ^ digit;
        // All ones if they are equal: only zero has no bit in itself or its negative.
        let mask = std::hint::black_box(((apart | apart.wrapping_neg()) >> 63).wrapping_sub(1)) as Word;
        for (to, from) in entry.iter_mut().zip(candidate) {
            *to |= from & mask;
        }
    }
}
