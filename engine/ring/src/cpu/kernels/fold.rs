//! Folding of the coefficients of conjugate-invariant rings before the transform, and unfolding after the inverse (see
//! [`crate::ntt`]).
//!
//! Coefficients `j` and `n - j` are taken together: a vector, and the one that mirrors it, in reversed order.

use super::residues::{Factor, Prime};
use crate::cpu::simd::Lanes;
use crate::{Modulus, Shoup};

/// `b_0 = a_0, b_j = a_j - i a_(n-j)`, from residues to words below `3q`.
#[inline(always)]
pub(super) unsafe fn fold<V: Lanes>(modulus: &Modulus, x: &mut [u32], i: Shoup) {
    // SAFETY: see `Factor`.
    unsafe { mirrored::<V, false>(modulus, x, i) }
}

/// `a_0 = 2 b_0, a_j = b_j + i b_(n-j)`, from residues to residues. The inverse's last factors have halved them.
#[inline(always)]
pub(super) unsafe fn unfold<V: Lanes>(modulus: &Modulus, x: &mut [u32], i: Shoup) {
    // SAFETY: see `Factor`.
    unsafe { mirrored::<V, true>(modulus, x, i) }
    if let Some(first) = x.first_mut() {
        *first = modulus.add(*first, *first);
    }
}

#[inline(always)]
unsafe fn mirrored<V: Lanes, const UNFOLD: bool>(modulus: &Modulus, x: &mut [u32], i: Shoup) {
    let n = x.len();
    assert!(n.is_power_of_two() && (V::N == 1 || n >= 4 * V::N), "folding of {n} words");
    // SAFETY: see `Factor`; all vectors lie inside the slice.
    unsafe {
        // The lowest coefficients have no vector of mirrored ones that is theirs alone.
        lowest::<UNFOLD>(modulus, x, i, V::N);
        let p = Prime::<V>::new(modulus);
        let i = Factor::splat(i.w, i.quotient);
        let x = x.as_mut_ptr();
        let mut lanes = [0u32; 16];
        for (lane, mirror) in lanes.iter_mut().zip((0..V::N as u32).rev()) {
            *lane = mirror;
        }
        let reversed = V::load(lanes.as_ptr());
        for j in (V::N..n / 2).step_by(V::N) {
            let low = x.add(j);
            let high = x.add(n - j + 1 - V::N);
            let a = V::load(low);
            let b = V::load(high).permute(reversed);
            pair::<V, UNFOLD>(a, b, i, p).store(low);
            pair::<V, UNFOLD>(b, a, i, p).permute(reversed).store(high);
        }
    }
}

/// `a - i b`, or `a + i b` reduced.
#[inline(always)]
unsafe fn pair<V: Lanes, const UNFOLD: bool>(a: V, b: V, i: Factor<V>, p: Prime<V>) -> V {
    // SAFETY: see `Factor`.
    unsafe {
        let product = i.mul(b, p.q);
        if UNFOLD { p.below_q(p.below_2q(a.add(product))) } else { a.add(p.two_q).sub(product) }
    }
}

/// The coefficients below `count` but for the first, those that mirror them, and the one in the middle.
#[inline(always)]
fn lowest<const UNFOLD: bool>(modulus: &Modulus, x: &mut [u32], i: Shoup, count: usize) {
    let n = x.len();
    for j in (1..count).chain((n > 1).then_some(n / 2)) {
        let a = x[j];
        let b = x[n - j];
        let turned = [modulus.mul(i.w, a), modulus.mul(i.w, b)];
        [x[j], x[n - j]] = if UNFOLD {
            [modulus.add(a, turned[1]), modulus.add(b, turned[0])]
        } else {
            [modulus.sub(a, turned[1]), modulus.sub(b, turned[0])]
        };
    }
}
