//! The least that an operation has to do, whatever computes it.

use crate::bench::facts::Parameters;
use serde::{Deserialize, Serialize};

/// Integer products in a modular product by Shoup's method: the quotient, and two low halves.
const SHOUP: f64 = 3.0;

/// Bytes and integer products of an operation for one ciphertext of a batch. Operands, keys and results pass through memory once; what
/// is read for all ciphertexts of a batch is shared by them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Bytes to and from memory.
    pub bytes: f64,
    /// Products of two 32-bit integers.
    pub products: f64,
}

/// Sizes that work is counted in.
struct Sizes {
    /// Words of a limb.
    n: f64,
    /// Ciphertext limbs.
    k: f64,
    /// Ciphertext and special limbs.
    m: f64,
    /// Special limbs.
    special: f64,
    digits: f64,
    batch: f64,
    /// Products of the transform of one limb.
    transform: f64,
}

impl Work {
    /// Work of one of [`OPERATIONS`](crate::bench::OPERATIONS) on a batch; nothing for other names.
    pub fn of(name: &str, parameters: &Parameters, batch: usize) -> Option<Self> {
        let n = f64::from(1 << parameters.log_n);
        let s = Sizes {
            n,
            k: parameters.limbs as f64,
            m: (parameters.limbs + parameters.special) as f64,
            special: parameters.special as f64,
            digits: parameters.digits as f64,
            batch: batch as f64,
            transform: SHOUP * n / 2.0 * f64::from(parameters.log_n),
        };
        // A word is four bytes; a ciphertext has two polynomials.
        let ciphertext = 8.0 * s.k * s.n;
        Some(match name {
            "ntt" | "intt" => Self { bytes: 8.0 * s.k * s.n, products: s.k * s.transform },
            "rotate" => Self {
                bytes: 2.0 * ciphertext + s.key() / s.batch,
                products: s.mod_up() + s.inner() + s.mod_down(s.k),
            },
            // Two ciphertexts in, one out with a limb less.
            "mul_rescale" => Self {
                bytes: 3.0 * ciphertext + s.key() / s.batch,
                products: s.mod_up() + s.inner() + s.mod_down(s.k - 1.0) + 4.0 * SHOUP * s.k * s.n,
            },
            "rotate_many_8" => Self {
                bytes: 9.0 * ciphertext + 8.0 * s.key() / s.batch,
                products: s.mod_up() + 8.0 * (s.inner() + s.mod_down(s.k)),
            },
            // Eight baby and eight giant steps, of which the first of each needs no key; 64 diagonals over all limbs.
            "linear_transform_64" => Self {
                bytes: 2.0 * ciphertext + (14.0 * s.key() + 64.0 * 4.0 * s.m * s.n) / s.batch,
                products: 8.0 * s.mod_up() + 14.0 * s.inner() + 128.0 * s.m * s.n + 8.0 * s.mod_down(s.k),
            },
            _ => return None,
        })
    }

    /// Seconds that a device with these limits needs at least.
    pub fn seconds(&self, bytes_per_second: f64, products_per_second: f64) -> f64 {
        (self.bytes / bytes_per_second).max(self.products / products_per_second)
    }
}

impl Sizes {
    /// Bytes of a switching key.
    fn key(&self) -> f64 {
        8.0 * self.digits * self.m * self.n
    }

    /// One polynomial to digits over all limbs.
    fn mod_up(&self) -> f64 {
        let extended = self.digits * self.m - self.k;
        let conversion = self.k / self.digits * extended * self.n;
        (self.k + extended) * self.transform + conversion
    }

    /// Digits with a key.
    fn inner(&self) -> f64 {
        2.0 * self.digits * self.m * self.n
    }

    /// Two polynomials back to some ciphertext limbs.
    fn mod_down(&self, limbs: f64) -> f64 {
        let dropped = self.special + self.k - limbs;
        2.0 * ((dropped + limbs) * self.transform + dropped * limbs * self.n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::OPERATIONS;

    #[test]
    fn every_operation_has_work_and_batches_share_keys() {
        let parameters = Parameters {
            log_n: 14,
            levels: 9,
            limbs: 11,
            special: 4,
            digits: 3,
            scale_bits: 28,
            log2_qp: 430.0,
            security: 128,
        };
        for (name, _) in OPERATIONS {
            let one = Work::of(name, &parameters, 1).unwrap();
            let eight = Work::of(name, &parameters, 8).unwrap();
            assert!(one.bytes >= eight.bytes && one.products == eight.products, "{name}");
        }
        // 11 limbs of 14 stages of 8,192 butterflies, three products each.
        let ntt = Work::of("ntt", &parameters, 1).unwrap();
        assert_eq!((ntt.bytes, ntt.products), (8.0 * 11.0 * 16384.0, 11.0 * 14.0 * 8192.0 * 3.0));
        assert_eq!(ntt.seconds(1e9, 1e12), ntt.bytes / 1e9);
        assert_eq!(Work::of("spin", &parameters, 1), None);
    }
}
