//! Factors and primes in every lane, and arithmetic on residues with them.

use crate::Modulus;
use crate::cpu::simd::Lanes;

/// Products of residues that fit a 64-bit accumulator: `16 q^2 < 2^64`.
pub(super) const LAZY_PRODUCTS: usize = 16;

/// A twiddle in every lane, with its quotient ready for the odd lanes.
#[derive(Clone, Copy)]
pub(super) struct Factor<V> {
    pub(super) w: V,
    pub(super) even: V,
    pub(super) odd: V,
}

/// A prime in every lane.
#[derive(Clone, Copy)]
pub(super) struct Prime<V> {
    pub(super) q: V,
    pub(super) two_q: V,
    pub(super) q_inv: V,
    pub(super) r: Factor<V>,
}

/// # Safety
/// As for [`Lanes`], for every method here and every function below: the kernels are called through
/// `Kernels`, which vouches for the instruction set, and take their pointers from slices of equal length, a
/// multiple of the vector width (asserted by `span`).
impl<V: Lanes> Factor<V> {
    #[inline(always)]
    pub(super) unsafe fn splat(w: u32, quotient: u32) -> Self {
        // SAFETY: see the block's contract.
        unsafe {
            let even = V::splat(quotient);
            Self { w: V::splat(w), even, odd: even }
        }
    }

    /// `x w` in `[0, 2q)`.
    #[inline(always)]
    pub(super) unsafe fn mul(self, x: V, q: V) -> V {
        // SAFETY: see the block's contract.
        unsafe { x.mul_lo(self.w).sub(x.mul_hi(self.even, self.odd).mul_lo(q)) }
    }
}

/// # Safety
/// As for [`Factor`].
impl<V: Lanes> Prime<V> {
    #[inline(always)]
    pub(super) unsafe fn new(modulus: &Modulus) -> Self {
        // SAFETY: see the block's contract.
        unsafe {
            Self {
                q: V::splat(modulus.q()),
                two_q: V::splat(2 * modulus.q()),
                q_inv: V::splat(modulus.q_inv()),
                r: Factor::splat(modulus.r().w, modulus.r().quotient),
            }
        }
    }

    /// `[0, 2q) -> [0, q)`
    #[inline(always)]
    pub(super) unsafe fn below_q(self, x: V) -> V {
        // SAFETY: see the block's contract.
        unsafe { x.min(x.sub(self.q)) }
    }

    /// `[0, 4q) -> [0, 2q)`
    #[inline(always)]
    pub(super) unsafe fn below_2q(self, x: V) -> V {
        // SAFETY: see the block's contract.
        unsafe { x.min(x.sub(self.two_q)) }
    }

    /// `a - b` for residues.
    #[inline(always)]
    pub(super) unsafe fn difference(self, a: V, b: V) -> V {
        // SAFETY: see the block's contract.
        unsafe {
            let d = a.sub(b);
            d.min(d.add(self.q))
        }
    }

    /// `acc / 2^32 mod q`, for an accumulator below `2^34 q`.
    #[inline(always)]
    pub(super) unsafe fn montgomery(self, acc: V::Wide) -> V {
        // SAFETY: see the block's contract.
        unsafe {
            let hi = self.below_q(self.below_2q(V::wide_hi(acc)));
            self.difference(hi, V::wide_montgomery(acc, self.q_inv, self.q))
        }
    }

    /// `acc mod q`, for an accumulator below `2^34 q`.
    #[inline(always)]
    pub(super) unsafe fn reduce(self, acc: V::Wide) -> V {
        // SAFETY: see the block's contract.
        unsafe { self.below_q(self.r.mul(self.montgomery(acc), self.q)) }
    }

    /// A small accumulator with the same residue.
    #[inline(always)]
    pub(super) unsafe fn fold(self, acc: V::Wide) -> V::Wide {
        // SAFETY: see the block's contract.
        unsafe {
            let reduced = self.reduce(acc);
            let one = V::splat(1);
            V::wide_mac(V::wide_zero(), (reduced, reduced.odd()), (one, one))
        }
    }
}

/// The common length of the operands.
#[inline(always)]
pub(super) fn span<V: Lanes>(n: usize, others: &[&[u32]]) -> usize {
    assert!(n.is_multiple_of(V::N) && others.iter().all(|o| o.len() == n), "limbs of unequal length");
    n
}
