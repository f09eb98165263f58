//! Rows of a matrix times a vector of limbs, four at a time: what is read of the vector serves four results.

use super::residues::{LAZY_PRODUCTS, Prime, span};
use crate::Modulus;
use crate::cpu::simd::Lanes;

/// Rows that share what they read.
pub(crate) const ROWS: usize = 4;

#[inline(always)]
pub(super) unsafe fn matrix<V: Lanes>(
    modulus: &Modulus,
    x: &[&[u32]],
    columns: &[u32],
    weights: &[u32],
    outs: &mut [&mut [u32]],
) {
    // SAFETY: see `Factor`.
    unsafe {
        match outs {
            [a, b, c, d] => rows::<V, ROWS>(modulus, x, columns, weights, [a, b, c, d]),
            [a] => rows::<V, 1>(modulus, x, columns, weights, [a]),
            _ => assert!(outs.is_empty(), "four rows at a time, or one"),
        }
    }
}

/// # Safety
/// As for [`super::Factor`].
#[inline(always)]
unsafe fn rows<V: Lanes, const R: usize>(
    modulus: &Modulus,
    x: &[&[u32]],
    columns: &[u32],
    weights: &[u32],
    outs: [&mut [u32]; R],
) {
    let n = span::<V>(outs[0].len(), x);
    let whole = outs.iter().all(|out| out.len() == n) && weights.len() == R * columns.len();
    assert!(whole && columns.iter().all(|&column| (column as usize) < x.len()), "a matrix of another shape");
    let outs = outs.map(<[u32]>::as_mut_ptr);
    // SAFETY: see `Factor`; columns and weights are counted above.
    unsafe {
        let p = Prime::<V>::new(modulus);
        for i in (0..n).step_by(V::N) {
            let mut acc = [V::wide_zero(); R];
            let mut room = LAZY_PRODUCTS;
            for (k, &column) in columns.iter().enumerate() {
                if room == 0 {
                    for acc in &mut acc {
                        *acc = p.fold(*acc);
                    }
                    room = LAZY_PRODUCTS - 1;
                }
                let word = V::load(x.get_unchecked(column as usize).as_ptr().add(i));
                let word = (word, word.odd());
                for (r, acc) in acc.iter_mut().enumerate() {
                    let weight = V::splat(*weights.get_unchecked(R * k + r));
                    *acc = V::wide_mac(*acc, word, (weight, weight));
                }
                room -= 1;
            }
            for (acc, out) in acc.into_iter().zip(outs) {
                p.reduce(acc).store(out.add(i));
            }
        }
    }
}
