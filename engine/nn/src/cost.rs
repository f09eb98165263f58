//! Predicted seconds of operations on a class of devices, from the work they are made of.
//!
//! Constants of a processor were measured on one core with AVX-512 (`cargo bench -p benches --bench networks` prints
//! prediction and truth side by side). Those of a GPU are instructions of the compiled kernels at three quarters of an H100's issue rate,
//! and bytes at three quarters of its bandwidths (`benches/README.md`, static profile). Only ratios decide between plans.

use crate::lower::{Split, SplitSteps};
use crate::options::DeviceClass;
use pleura_ckks::{ParamsLiteral, RingKind};

/// Constants of a class of devices.
#[derive(Debug)]
struct Rates {
    /// Seconds per word and stage of a transform.
    butterfly: f64,
    /// Seconds per word of a product that is added to a sum.
    multiply: f64,
    /// Seconds per word of a product by a number, of which four share what they read.
    matrix_multiply: f64,
    /// Seconds per word of a product by a number that is added to a sum over rotations.
    constant_multiply: f64,
    /// Seconds per coefficient of a weight that is read and reduced.
    residue: f64,
    /// Seconds per weight and limb, however short.
    weight: f64,
    /// Seconds per byte that comes from main memory, which threads share.
    memory: f64,
    /// Seconds per byte of the keys of a sum of rotations, which are few and stay in the cache that threads share.
    sum_key: f64,
    /// Seconds until a kernel that waits for another begins and its first workgroups end.
    dispatch: f64,
    /// Most doublings that one group of rotations replaces: one more doubles the keys.
    max_doublings: usize,
}

const CPU: Rates = Rates {
    butterfly: 3.6e-11,
    multiply: 1.3e-10,
    matrix_multiply: 5.0e-11,
    constant_multiply: 5.0e-11,
    residue: 2.8e-10,
    weight: 3.0e-7,
    memory: 1.2e-10,
    sum_key: 4.3e-11,
    dispatch: 0.0,
    max_doublings: 3,
};

const GPU: Rates = Rates {
    butterfly: 3.5e-13,
    multiply: 8.0e-13,
    matrix_multiply: 5.0e-13,
    constant_multiply: 8.0e-13,
    residue: 4.0e-13,
    weight: 1.0e-10,
    memory: 4.0e-13,
    sum_key: 4.0e-13,
    dispatch: 4.0e-6,
    max_doublings: 4,
};

/// Stages that take as long as the folding of coefficients.
const FOLDING: f64 = 1.5;
/// Logarithm of the largest degree whose transform is one kernel on most GPUs.
const LOG_BLOCK: u32 = 13;

/// How many times as fast longer groups of rotations must be, since they need more keys.
const LONGER_GROUP_RATIO: f64 = 1.1;

/// Seconds to encode and encrypt one ciphertext.
const ENCRYPT: f64 = 0.003;

/// The parameters that costs depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    rates: &'static Rates,
    ring: RingKind,
    n: f64,
    /// Passes over the words of a limb in a transform; folding is another one.
    stages: f64,
    base: usize,
    special: usize,
    threads: f64,
    /// Kernels between coefficients modulo some primes and values modulo others: ModUp, ModDown and rescale.
    conversion: f64,
}

/// Work of a linear step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LinearWork {
    /// Ciphertexts of the operand and of the result.
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) diagonals: usize,
    /// Slots after which diagonals repeat.
    pub(crate) period: usize,
    /// Baby and giant steps that are not zero.
    pub(crate) baby_steps: usize,
    pub(crate) giant_steps: usize,
    /// Level of the operand.
    pub(crate) level: usize,
}

impl Cost {
    /// Costs for some parameters; `threads` are those of a processor.
    pub(crate) fn new(literal: &ParamsLiteral, device: DeviceClass, threads: usize) -> Self {
        let (rates, threads) = match device {
            DeviceClass::Processor => (&CPU, threads.max(1)),
            DeviceClass::Accelerator => (&GPU, 1),
        };
        let base = (f64::from(literal.base_bits) / 30.0).ceil() as usize;
        let n = f64::from(1u32 << literal.log_n);
        Self {
            rates,
            ring: literal.ring,
            n,
            stages: f64::from(literal.log_n) + folding(literal.ring),
            base,
            special: literal.digit_limbs,
            threads: threads as f64,
            conversion: match literal.ring {
                _ if literal.log_n <= LOG_BLOCK => 2.0,
                RingKind::Cyclotomic => 3.0,
                RingKind::ConjugateInvariant => 5.0,
            },
        }
    }

    /// Seconds of encoding and encrypting ciphertexts.
    pub(crate) fn encryption(&self, count: usize) -> f64 {
        count as f64 * ENCRYPT
    }

    /// Seconds of a linear step, without the sums of rotations that complete it.
    pub(crate) fn linear(&self, work: &LinearWork) -> f64 {
        let level = work.level;
        let inputs = work.inputs as f64;
        let outputs = work.outputs as f64;
        let diagonals = work.diagonals as f64;
        let baby_steps = work.baby_steps as f64;
        let giant_steps = work.giant_steps as f64;
        let q = self.limbs(level);
        let extended = self.extended_limbs(level);
        let lift = if baby_steps > 0.0 { inputs * self.mod_up(level) } else { 0.0 };
        let numbers = work.period == 1;
        let per_weight =
            if numbers { self.rates.residue } else { self.expansion(self.ring.coefficients(work.period)) };
        let expansion = per_weight * extended * diagonals;
        let per_word = if numbers { self.rates.constant_multiply } else { self.rates.multiply };
        let sums = diagonals * extended * 2.0 * self.n * per_word;
        let per_giant_step = self.transforms(self.special as f64 + q) + self.mod_up(level) + self.key(level);
        let switch = inputs * baby_steps * self.key(level) + outputs * giant_steps * per_giant_step;
        let drop = outputs * 2.0 * self.transforms(extended);
        let keys = (baby_steps + giant_steps) * self.key_bytes(level) * self.rates.memory;
        // Key products, weights and sums are a kernel each.
        let mut kernels = 3.0 + self.conversion;
        if baby_steps > 0.0 {
            kernels += self.conversion;
        }
        if giant_steps > 0.0 {
            kernels += 1.0 + 2.0 * self.conversion;
        }
        (lift + expansion + sums + switch + drop) / self.threads + keys + self.dispatches(kernels)
    }

    /// Seconds of a matrix between ciphertexts of elements, whose entries count as `diagonals`.
    pub(crate) fn matrix(&self, work: &LinearWork) -> f64 {
        let words = 2.0 * self.n * self.limbs(work.level);
        let products = work.diagonals as f64 * words * self.rates.matrix_multiply;
        let drop = work.outputs as f64 * 2.0 * self.transforms(self.limbs(work.level));
        (products + drop) / self.threads + self.dispatches(1.0 + self.conversion)
    }

    /// Groups of rotations that together sum what doubling by each of `doublings` sums. A group of `2^k - 1` rotations
    /// shares one decomposition and one division, and needs as many keys.
    pub(crate) fn rotate_and_sum_groups(
        &self,
        doublings: &[i64],
        ciphertexts: usize,
        level: usize,
    ) -> Vec<Vec<i64>> {
        let mut best: Vec<Vec<i64>> = doublings.iter().map(|&step| vec![step]).collect();
        let mut best_seconds = self.rotate_and_sum(&best, ciphertexts, level);
        for doublings_per_group in 2..=self.rates.max_doublings {
            let groups = doublings.chunks(doublings_per_group).map(subset_sums).collect::<Vec<_>>();
            let seconds = self.rotate_and_sum(&groups, ciphertexts, level);
            if seconds * LONGER_GROUP_RATIO < best_seconds {
                (best, best_seconds) = (groups, seconds);
            }
        }
        best
    }

    /// Seconds of sums of rotations, one group after the other.
    pub(crate) fn rotate_and_sum(&self, groups: &[Vec<i64>], ciphertexts: usize, level: usize) -> f64 {
        let division = self.transforms(2.0 * self.extended_limbs(level));
        groups
            .iter()
            .map(|rotations| {
                let keys = rotations.len() as f64;
                let work = self.mod_up(level) + keys * self.key(level) + division;
                let key_switch = self.dispatches(1.0 + 2.0 * self.conversion);
                ciphertexts as f64 * work / self.threads
                    + keys * self.key_bytes(level) * self.rates.sum_key
                    + key_switch
            })
            .sum()
    }

    /// A rotation or relinearization of one ciphertext, without reading the key.
    fn rotation(&self, level: usize) -> f64 {
        self.mod_up(level) + self.key(level) + self.transforms(2.0 * self.extended_limbs(level))
    }

    /// A product of two ciphertexts, relinearized.
    pub(crate) fn product(&self, count: usize, level: usize) -> f64 {
        let tensor = 4.0 * self.limbs(level) * self.n * self.rates.multiply;
        let kernels = self.dispatches(2.0 + 2.0 * self.conversion);
        count as f64 * (tensor + self.rotation(level)) / self.threads
            + self.key_bytes(level) * self.rates.memory
            + kernels
    }

    /// Products of ciphertexts by plaintexts, and sums.
    pub(crate) fn pointwise(&self, count: usize, level: usize) -> f64 {
        count as f64 * 4.0 * self.limbs(level) * self.n * self.rates.multiply / self.threads
            + self.dispatches(1.0)
    }

    /// The split that costs least, and the work with its baby and giant steps.
    pub(crate) fn split(&self, splits: &[SplitSteps], work: LinearWork) -> (Split, LinearWork) {
        let priced = splits.iter().map(|&SplitSteps { split, baby_steps, giant_steps }| {
            (split, LinearWork { baby_steps, giant_steps, ..work })
        });
        let best = priced.min_by(|a, b| self.linear(&a.1).total_cmp(&self.linear(&b.1)));
        best.unwrap_or((Split::NONE, work))
    }

    /// Bytes of a switching key on a device.
    pub(crate) fn key_bytes(&self, level: usize) -> f64 {
        self.digits(level) * 2.0 * (self.limbs(level) + self.special as f64) * self.n * 4.0
    }

    fn limbs(&self, level: usize) -> f64 {
        (self.base + level) as f64
    }

    fn extended_limbs(&self, level: usize) -> f64 {
        self.limbs(level) + self.special as f64
    }

    fn digits(&self, level: usize) -> f64 {
        (self.limbs(level) / self.special as f64).ceil()
    }

    fn mod_up(&self, level: usize) -> f64 {
        let q = self.limbs(level);
        let d = self.digits(level);
        let conversion = d * (q + self.special as f64) * self.special as f64 * self.n * self.rates.multiply;
        self.transforms(d * (q + self.special as f64)) + conversion
    }

    /// The products of a key switch.
    fn key(&self, level: usize) -> f64 {
        self.digits(level) * (self.limbs(level) + self.special as f64) * 2.0 * self.n * self.rates.multiply
    }

    /// Seconds between kernels that follow one another.
    fn dispatches(&self, kernels: f64) -> f64 {
        kernels * self.rates.dispatch
    }

    fn transforms(&self, count: f64) -> f64 {
        count * self.n * self.stages * self.rates.butterfly
    }

    /// Seconds to expand a compact polynomial of this many coefficients in one limb.
    fn expansion(&self, len: usize) -> f64 {
        let len = len as f64;
        self.rates.weight
            + len * ((len.log2() + folding(self.ring)) * self.rates.butterfly + self.rates.residue)
    }
}

/// Stages of a transform that take as long as folding.
fn folding(ring: RingKind) -> f64 {
    match ring {
        RingKind::Cyclotomic => 0.0,
        RingKind::ConjugateInvariant => FOLDING,
    }
}

/// All sums of some of the steps, but for the empty one.
fn subset_sums(steps: &[i64]) -> Vec<i64> {
    let mut sums = vec![0];
    for &step in steps {
        let longer: Vec<i64> = sums.iter().map(|sum| sum + step).collect();
        sums.extend(longer);
    }
    sums.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_sums_what_its_doublings_sum() {
        assert_eq!(subset_sums(&[4]), [4]);
        assert_eq!(subset_sums(&[4, 8]), [4, 8, 12]);
        assert_eq!(subset_sums(&[1, 2, 4]), [1, 2, 3, 4, 5, 6, 7]);
        // Down and across a plane.
        assert_eq!(subset_sums(&[32, 1]), [32, 1, 33]);
    }

    #[test]
    fn several_threads_group_rotations_in_pairs() {
        // Parameters of the default network.
        let literal = ParamsLiteral { levels: 3, base_bits: 48, digit_limbs: 2, ..ParamsLiteral::N13 };
        for threads in [1, 2] {
            let cost = Cost::new(&literal, DeviceClass::Processor, threads);
            let groups = cost.rotate_and_sum_groups(&[1, 2, 4, 8], 1, 0);
            assert_eq!(groups, [vec![1, 2, 3], vec![4, 8, 12]], "{threads} threads");
        }
    }
}
