//! Twiddle tables of the negacyclic number-theoretic transform.
//!
//! For `psi` the smallest primitive `2n`-th root of unity mod `q`, the transform of `a` is
//! `A[i] = a(psi^(2 bitrev(i) + 1))`: natural order in, bit-reversed order out. The product in
//! `Z_q[X]/(X^n + 1)` becomes the pointwise one, and merging the powers of `psi` into the butterflies costs
//! nothing (Longa and Naehrig, "Speeding up the NTT", 2016).
//!
//! The butterflies form a binary tree: node 1 is the whole polynomial, node `k` splits into `2k` and `2k + 1`,
//! and its twiddle is `psi^bitrev(k)`. The transform is therefore written as a walk over nodes.

use crate::{Modulus, RingError, Shoup};

/// Tables for one prime and one degree.
#[derive(Debug)]
pub struct NttTable {
    modulus: Modulus,
    log_n: u32,
    psi: u32,
    forward: Twiddles,
    inverse: Twiddles,
    n_inv: u32,
}

/// The factor of each node and its Shoup quotient, in separate arrays so that vectors of them load directly.
#[derive(Debug)]
pub struct Twiddles {
    /// `w[k]` of node `k`; entry 0 is unused.
    pub w: Vec<u32>,
    /// `floor(w[k] 2^32 / q)`.
    pub quotient: Vec<u32>,
}

impl NttTable {
    /// Tables for degree `2^log_n`.
    ///
    /// # Errors
    /// [`RingError::NoRoot`] unless `q = 1 mod 2n`.
    pub fn new(modulus: Modulus, log_n: u32) -> Result<Self, RingError> {
        let psi = modulus.smallest_root(2 << log_n)?;
        let twiddles = |root| Twiddles::new(&modulus, log_n, root);
        Ok(Self {
            modulus,
            log_n,
            psi,
            forward: twiddles(psi),
            inverse: twiddles(modulus.inv(psi)),
            n_inv: modulus.inv(modulus.reduce(1 << log_n)),
        })
    }

    /// The prime.
    pub fn modulus(&self) -> &Modulus {
        &self.modulus
    }

    /// Logarithm of the degree.
    pub fn log_n(&self) -> u32 {
        self.log_n
    }

    /// The root of unity in use: the smallest primitive `2n`-th one.
    pub fn psi(&self) -> u32 {
        self.psi
    }

    /// Powers of `psi`, by node.
    pub fn forward(&self) -> &Twiddles {
        &self.forward
    }

    /// Powers of `psi^-1`, by node.
    pub fn inverse(&self) -> &Twiddles {
        &self.inverse
    }

    /// The factors that the inverse's last stage applies to its two halves, so that the whole inverse is
    /// followed by a multiplication by `factor` for free.
    pub fn last_stage(&self, factor: u32) -> [Shoup; 2] {
        let scaled = self.modulus.mul(self.n_inv, factor);
        let root = self.inverse.w.get(1).copied().unwrap_or(1);
        [self.modulus.shoup(scaled), self.modulus.shoup(self.modulus.mul(scaled, root))]
    }
}

impl Twiddles {
    fn new(modulus: &Modulus, log_n: u32, root: u32) -> Self {
        let n = 1usize << log_n;
        let mut w = vec![0; n];
        let mut quotient = vec![0; n];
        let mut power = modulus.shoup(1);
        for exponent in 0..n {
            let node = bit_reverse(exponent, log_n);
            if let (Some(slot), Some(slot_quotient)) = (w.get_mut(node), quotient.get_mut(node)) {
                *slot = power.w;
                *slot_quotient = power.quotient;
            }
            power = modulus.shoup(modulus.mul(power.w, root));
        }
        Self { w, quotient }
    }
}

/// Reverses the order of the lowest `bits` bits of `i`, which has no higher ones.
pub fn bit_reverse(i: usize, bits: u32) -> usize {
    if bits == 0 { i } else { i.reverse_bits() >> (usize::BITS - bits) }
}
