//! What operations cost, in seconds, from the work they are made of.
//!
//! The constants were measured on one core of an AVX-512 processor (`cargo bench -p benches --bench networks` prints prediction and
//! truth side by side); only their ratios decide between plans.

use crate::lower::{Place, Split};
use pleura_ckks::ParamsLiteral;
use std::collections::BTreeSet;

/// Seconds per word and stage of a transform.
const BUTTERFLY: f64 = 3.6e-11;
/// Seconds per word of a product that is added to a sum.
const MULTIPLY: f64 = 1.3e-10;
/// Seconds per coefficient of a weight that is read and reduced.
const RESIDUE: f64 = 2.8e-10;
/// Seconds per weight and limb, however short.
const WEIGHT: f64 = 3.0e-7;
/// Seconds per byte that comes from main memory, which threads share.
const MEMORY: f64 = 1.2e-10;

/// The parameters that costs depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    n: f64,
    log_n: f64,
    base: usize,
    special: usize,
    threads: f64,
}

/// What a linear step consists of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LinearWork {
    /// Ciphertexts in and out.
    pub(crate) groups: [usize; 2],
    pub(crate) diagonals: usize,
    /// Values after which diagonals repeat.
    pub(crate) period: usize,
    pub(crate) babies: usize,
    pub(crate) giants: usize,
    pub(crate) folds: usize,
    pub(crate) level: usize,
    pub(crate) to: usize,
}

impl Cost {
    pub(crate) fn new(literal: &ParamsLiteral, threads: usize) -> Self {
        let base = (f64::from(literal.base_bits) / 30.0).ceil() as usize;
        let n = f64::from(1u32 << literal.log_n);
        Self {
            n,
            log_n: literal.log_n.into(),
            base,
            special: literal.digit_limbs,
            threads: threads.max(1) as f64,
        }
    }

    pub(crate) fn linear(&self, work: &LinearWork) -> f64 {
        let LinearWork { groups: [inputs, outputs], diagonals, babies, giants, folds, level, to, .. } = *work;
        let (inputs, outputs, limbs) = (inputs as f64, outputs as f64, self.limbs(level));
        let (q, extended) = (limbs, limbs + self.special as f64);
        let (babies, giants) = (babies as f64, giants as f64);
        let lift = if babies > 0.0 { inputs * self.mod_up(level) } else { 0.0 };
        let expansion = self.expansion(2 * work.period) * extended * diagonals as f64;
        let sums = diagonals as f64 * extended * 2.0 * self.n * MULTIPLY;
        let per_giant = self.transforms(self.special as f64 + q) + self.mod_up(level) + self.key(level);
        let key_bytes = self.key_bytes(level) * MEMORY;
        let switch = inputs * babies * self.key(level) + outputs * giants * per_giant;
        let drop = outputs * 2.0 * self.transforms(self.limbs(level) + self.special as f64);
        let folds = folds as f64 * (outputs * self.rotation(to) / self.threads + self.key_bytes(to) * MEMORY);
        (lift + expansion + sums + switch + drop) / self.threads + (babies + giants) * key_bytes + folds
    }

    /// So many rotations of so many ciphertexts, one after the other.
    pub(crate) fn rotations(&self, rotations: usize, count: usize, level: usize) -> f64 {
        let one = count as f64 * self.rotation(level) / self.threads + self.key_bytes(level) * MEMORY;
        rotations as f64 * one
    }

    /// A rotation or relinearization of one ciphertext, without reading the key.
    fn rotation(&self, level: usize) -> f64 {
        let extended = self.limbs(level) + self.special as f64;
        self.mod_up(level) + self.key(level) + self.transforms(2.0 * extended)
    }

    /// A product of two ciphertexts, relinearized.
    pub(crate) fn product(&self, count: usize, level: usize) -> f64 {
        let tensor = 4.0 * self.limbs(level) * self.n * MULTIPLY;
        count as f64 * (tensor + self.rotation(level)) / self.threads + self.key_bytes(level) * MEMORY
    }

    /// Products of ciphertexts by plaintexts, and sums.
    pub(crate) fn pointwise(&self, count: usize, level: usize) -> f64 {
        count as f64 * 4.0 * self.limbs(level) * self.n * MULTIPLY / self.threads
    }

    /// The split that costs least, with the distinct baby and giant steps that are not zero.
    pub(crate) fn split(
        &self,
        places: &BTreeSet<Place>,
        slots: usize,
        work: LinearWork,
    ) -> (Split, LinearWork) {
        let steps: BTreeSet<i64> = places.iter().map(|p| p.step).collect();
        let candidate = |split: Split| {
            let count = |part: fn((i64, i64)) -> i64| {
                let parts: BTreeSet<i64> = steps.iter().map(|&s| part(split.parts(s))).collect();
                parts.len() - usize::from(parts.contains(&0))
            };
            (split, LinearWork { babies: count(|p| p.0), giants: count(|p| p.1), ..work })
        };
        let best = Split::all(slots).map(candidate);
        let best = best.min_by(|a, b| self.linear(&a.1).total_cmp(&self.linear(&b.1)));
        best.unwrap_or((Split::NONE, work))
    }

    /// Bytes of a switching key on a device.
    pub(crate) fn key_bytes(&self, level: usize) -> f64 {
        self.digits(level) * 2.0 * (self.limbs(level) + self.special as f64) * self.n * 4.0
    }

    fn limbs(&self, level: usize) -> f64 {
        (self.base + level) as f64
    }

    fn digits(&self, level: usize) -> f64 {
        (self.limbs(level) / self.special as f64).ceil()
    }

    fn mod_up(&self, level: usize) -> f64 {
        let (q, d) = (self.limbs(level), self.digits(level));
        let conversion = d * (q + self.special as f64) * self.special as f64 * self.n * MULTIPLY;
        self.transforms(d * (q + self.special as f64)) + conversion
    }

    /// The products of a key switch.
    fn key(&self, level: usize) -> f64 {
        self.digits(level) * (self.limbs(level) + self.special as f64) * 2.0 * self.n * MULTIPLY
    }

    fn transforms(&self, count: f64) -> f64 {
        count * self.n * self.log_n * BUTTERFLY
    }

    /// A weight of so many coefficients in one limb.
    fn expansion(&self, len: usize) -> f64 {
        let len = len as f64;
        WEIGHT + len * (len.log2() * BUTTERFLY + RESIDUE)
    }
}
