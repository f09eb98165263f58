//! Dithered rounding, used by [`Decrypted::publish`](super::Decrypted::publish).
//!
//! Plain rounding hides the noise of a value only until the value is shown again, shifted by known constants: the shift at which
//! the last digit turns reveals the noise, and the noise reveals the key. Therefore each value is first moved by a random part of
//! a unit of the last digit. The dither is drawn anew for each ciphertext that the decryption can distinguish, and repeats
//! whenever that ciphertext is decrypted again.
//!
//! *Distribution.* The dither `u`, in units, has the density `pi/2 cos(pi u)` on `(-1/2, 1/2)`. A value that is a fraction
//! `f` of a unit above a multiple is rounded up with probability `sin^2(pi f / 2)`, and down otherwise. So the error is less than
//! one unit, 0.36 units in the mean square over all `f`, and a value on a multiple stays there. The Fisher information on the
//! value is `pi^2` per squared unit for every `f`, so choosing `f` gains nothing; among roundings whose error is less than a
//! unit, none has a smaller maximum. (A uniform dither is not enough: its information is `1 / (f (1 - f))`, and an attacker who
//! moves the values close to multiples finds the noise with an error of the order `1/k` units from `k` publications instead of
//! `1/sqrt(k)`.)
//!
//! *Derivation.* A tree of ChaCha20 streams under the secret key's seed, with the label [`Label::Dither`]: from the seed along the
//! words of a digest, SHA-256 of everything that the decryption reads of the ciphertext, and then along the number of
//! bits. No key but the seed is kept.

use crate::Params;
use pleura_ring::sample::{Label, Sampler, Seed};
use pleura_ring::{Ntt, Poly};
use sha2::{Digest, Sha256};
use std::f64::consts::PI;

/// Seed of the dithers of one ciphertext under one key, at every precision. As secret as the key.
pub(super) struct DitherSeed(Seed);

/// Dithers of the values of one ciphertext at one precision, in the order of the values.
pub(super) struct Dither(Sampler);

impl DitherSeed {
    /// The seed for a ciphertext of which the decryption reads `parts`, `scale` and `log_slots`.
    pub(super) fn new(
        secret: &Seed,
        params: &Params,
        scale: f64,
        log_slots: u32,
        parts: &[Poly<Ntt>],
    ) -> Self {
        let mut hash = Sha256::new();
        hash.update(params.hash());
        hash.update(scale.to_le_bytes());
        hash.update(log_slots.to_le_bytes());
        hash.update((parts.len() as u32).to_le_bytes());
        for part in parts {
            hash.update((part.words().len() as u64).to_le_bytes());
            for words in part.words().chunks(params.n()) {
                hash.update(words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>());
            }
        }
        let digest: [u8; 32] = hash.finalize().into();
        let words = digest.as_chunks().0.iter().copied().map(u32::from_le_bytes);
        let seed = words.fold(secret.derive(Label::Dither, 0), |seed, word| seed.derive(Label::Dither, word));
        Self(seed)
    }

    /// The dither of values rounded to `bits` fractional bits. Precisions have independent dithers; all of them together reveal a
    /// third more than the finest alone.
    pub(super) fn at(&self, bits: i32) -> Dither {
        Dither(self.0.derive(Label::Dither, bits.cast_unsigned()).sampler(Label::Dither, 0))
    }
}

impl Dither {
    /// A whole number less than one away from `x`, by the next dither.
    pub(super) fn round(&mut self, x: f64) -> f64 {
        let dither = (2.0 * self.0.fraction() - 1.0).asin() / PI;
        (x + dither).round()
    }
}
