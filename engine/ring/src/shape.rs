//! Checks of the shapes that operations of [`Backend`] take. For implementations of [`Backend`].

use crate::{
    Backend, BackendError, Batch, CompactPoly, Domain, Gadget, IntegerMatrix, Limbs, Ntt, PolySource, Ring,
    View,
};

/// Checks the polynomials of [`Backend::upload_polys`].
///
/// # Errors
/// [`BackendError::NoSuchLimbs`] if the ring lacks a limb, [`BackendError::Shape`] if a polynomial has more or fewer words than one over
/// `limbs`.
pub fn check_upload(ring: &Ring, limbs: Limbs, polys: &[PolySource<'_>]) -> Result<(), BackendError> {
    if !ring.limbs().contains(limbs) {
        return Err(BackendError::NoSuchLimbs { limbs, ring: ring.limbs() });
    }
    let expected = ring.words(limbs, 1);
    match polys.iter().filter_map(|poly| poly.words()).map(<[u32]>::len).find(|&got| got != expected) {
        None => Ok(()),
        Some(got) => Err(BackendError::Shape { expected, got }),
    }
}

/// Checks the polynomials of [`Backend::upload_compact`].
///
/// # Errors
/// [`BackendError::Shape`] if one has no power of two of coefficients up to `n`.
pub fn check_compact(ring: &Ring, polys: &[CompactPoly]) -> Result<(), BackendError> {
    let fits = |got: usize| got.is_power_of_two() && got <= ring.n();
    match polys.iter().map(|poly| poly.coefficients.len()).find(|&got| !fits(got)) {
        None => Ok(()),
        Some(got) => Err(BackendError::Shape { expected: ring.n(), got }),
    }
}

/// Checks the operands of [`Backend::add_assign`] and [`Backend::sub_assign`].
///
/// # Panics
/// If `x` has fewer than `at + count` polynomials, `y` has none to take, or lacks limbs of `x`.
pub fn check_assign<B: Backend, D: Domain>(x: &Batch<B, D>, at: usize, count: usize, y: View<'_, B, D>) {
    assert!(
        at + count <= x.polys() && (count == 0 || y.polys() > 0),
        "polys {at}+{count} of {} from {}",
        x.polys(),
        y.polys()
    );
    assert!(count == 0 || y.limbs().contains(x.limbs()), "{:?} lacks limbs of {:?}", y.limbs(), x.limbs());
}

/// Checks the operands of [`Backend::add`].
///
/// # Panics
/// If `x` has fewer than `count` polynomials, `y` has none to take, or an operand lacks limbs.
pub fn check_add<B: Backend, D: Domain>(x: View<'_, B, D>, y: View<'_, B, D>, count: usize, limbs: Limbs) {
    assert!(count <= x.polys() && (count == 0 || y.polys() > 0), "{count} polys of {}", x.polys());
    assert!(
        x.limbs().contains(limbs) && y.limbs().contains(limbs),
        "{:?} or {:?} lacks limbs of {limbs:?}",
        x.limbs(),
        y.limbs()
    );
}

/// Checks the scalar of [`Backend::mul_scalar`].
///
/// # Panics
/// Unless there is one residue for each limb of `x`.
pub fn check_scalar<B: Backend, D: Domain>(x: View<'_, B, D>, scalar: &[u32]) {
    assert_eq!(scalar.len(), x.limbs().count(), "one residue per limb");
}

/// Checks the operand of [`Backend::mod_up`], or the fresh digits of a gadget product.
///
/// # Panics
/// Unless it is over the gadget's ciphertext primes.
pub fn check_mod_up(from: Limbs, gadget: Gadget) {
    assert!(from == Limbs::q(gadget.limbs.q), "ModUp of {from:?} to {:?}", gadget.limbs);
}

/// Checks the limbs of [`Backend::rescale`].
///
/// # Panics
/// Unless `to` has some of the limbs of `from`, but not all.
pub fn check_rescale(from: Limbs, to: Limbs) {
    assert!(from.contains(to) && from != to, "rescale from {from:?} to {to:?}");
}

/// Checks the operands of [`Backend::matrix_product`], and gives the number of vectors.
///
/// # Panics
/// Unless `x` is whole vectors over at least `limbs`.
pub fn check_matrix<B: Backend>(x: View<'_, B, Ntt>, matrix: &IntegerMatrix, limbs: Limbs) -> usize {
    let columns = matrix.columns();
    assert!(x.polys().is_multiple_of(columns), "{} polys for {columns} columns", x.polys());
    assert!(x.limbs().contains(limbs), "{:?} lacks limbs of {limbs:?}", x.limbs());
    x.polys() / columns
}
