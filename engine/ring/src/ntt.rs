//! Twiddle tables of the number-theoretic transforms of both kinds of ring.
//!
//! In a cyclotomic ring, for `psi` the smallest primitive `2n`-th root of unity mod `q`, the transform of `a` is
//! `A[i] = a(psi^(2 bitrev(i) + 1))`: natural order in, bit-reversed order out. The product in
//! `Z_q[X]/(X^n + 1)` becomes the pointwise one, and merging the powers of `psi` into the butterflies costs
//! nothing (Longa and Naehrig, "Speeding up the NTT", 2016).
//!
//! The butterflies form a binary tree: node 1 is the whole polynomial, node `k` splits into `2k` and `2k + 1`,
//! and its twiddle is `psi^bitrev(k)`. The transform is therefore written as a walk over nodes.
//!
//! In a conjugate-invariant ring `psi` has order `4n` and the points are `psi^(4 bitrev(i) + 1)`. With `i = psi^n`, a square root
//! of -1, every point has `x^n = i` and `x^-j = -i x^(n-j)`, so that an element `a` has the values of the polynomial
//! `b_0 = a_0, b_j = a_j - i a_(n-j)` there: the coefficients are *folded*, and the tree is that of `X^n - i`. Node `k` has the
//! twiddle `psi^(2 e - l)`, with `e = bitrev(k)` and `l` the lowest bit of `e`. The inverse ends in `a_j = (b_j + i b_(n-j)) / 2`.

use crate::{Modulus, RingError, RingKind, Shoup};

/// Tables for one prime and one degree.
#[derive(Debug)]
pub struct NttTable {
    modulus: Modulus,
    log_n: u32,
    psi: u32,
    forward: Twiddles,
    inverse: Twiddles,
    scale: u32,
    fold: Option<Shoup>,
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
    /// [`RingError::NoRoot`] unless `q - 1` is a multiple of [`RingKind::root_order`].
    pub fn new(modulus: Modulus, kind: RingKind, log_n: u32) -> Result<Self, RingError> {
        let n = 1 << log_n;
        let order = kind.root_order(n) as u64;
        let psi = modulus.smallest_root(order)?;
        let powers = modulus.powers(1, psi, order as usize / 2);
        let fold = (kind == RingKind::ConjugateInvariant).then(|| modulus.shoup(modulus.pow(psi, n as u64)));
        Ok(Self {
            modulus,
            log_n,
            psi,
            forward: Twiddles::new(&modulus, kind, log_n, powers.iter().copied()),
            // `psi^-k = -psi^(order / 2 - k)`
            inverse: Twiddles::new(
                &modulus,
                kind,
                log_n,
                std::iter::once(1).chain(powers.iter().skip(1).rev().map(|&power| modulus.neg(power))),
            ),
            // 1/n, and 1/(2 n) where coefficients are unfolded afterwards.
            scale: modulus.inv(modulus.reduce(order / 2)),
            fold,
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

    /// The root of unity in use: the smallest primitive one of the order that [`RingKind::root_order`] gives.
    pub fn psi(&self) -> u32 {
        self.psi
    }

    /// The square root of -1 by which a conjugate-invariant ring folds coefficients; `None` in a cyclotomic ring.
    pub fn fold(&self) -> Option<Shoup> {
        self.fold
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
    /// followed by a multiplication by `factor` for free; what then unfolds has half its words.
    #[expect(
        clippy::indexing_slicing,
        reason = "the root of the tree is node 1, and a ring has two coefficients at least"
    )]
    pub fn last_stage(&self, factor: u32) -> [Shoup; 2] {
        let scaled = self.modulus.mul(self.scale, factor);
        let root = self.inverse.w[1];
        [self.modulus.shoup(scaled), self.modulus.shoup(self.modulus.mul(scaled, root))]
    }
}

impl Twiddles {
    /// Tables of the powers of a root, half as many as its order.
    #[expect(clippy::indexing_slicing, reason = "there are as many nodes as coefficients")]
    fn new(modulus: &Modulus, kind: RingKind, log_n: u32, powers: impl Iterator<Item = u32>) -> Self {
        let n = 1usize << log_n;
        let mut w = vec![0; n];
        let mut quotient = vec![0; n];
        for (exponent, power) in powers.enumerate() {
            let Some(node) = node(exponent, kind, log_n) else { continue };
            let factor = modulus.shoup(power);
            w[node] = factor.w;
            quotient[node] = factor.quotient;
        }
        Self { w, quotient }
    }
}

/// The node whose twiddle is `psi^exponent`; the unused entry 0 for exponent 0. None if there is no such node.
fn node(exponent: usize, kind: RingKind, log_n: u32) -> Option<usize> {
    match kind {
        RingKind::Cyclotomic => Some(bit_reverse(exponent, log_n)),
        RingKind::ConjugateInvariant => {
            // `2 e - l` with `l` the lowest bit of `e`, which is then the lowest bit of the exponent, below a zero.
            let lowest = exponent & exponent.wrapping_neg();
            (exponent & (lowest << 1) == 0).then(|| bit_reverse((exponent + lowest) / 2, log_n))
        }
    }
}

/// Reverses the order of the lowest `bits` bits of `i`, which has no higher ones.
pub fn bit_reverse(i: usize, bits: u32) -> usize {
    if bits == 0 { i } else { i.reverse_bits() >> (usize::BITS - bits) }
}
