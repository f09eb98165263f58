// Folding of the coefficients of conjugate-invariant rings: b_i = a_i - i a_(n-i), the first but for the root itself. The transform
// takes words below 4q; this is below 3q.
fn folded(a: u32, mirrored: u32, p: Prime) -> u32 {
    return a + minus_shoup(mirrored, p.fold, p.q) + 2u * p.q;
}
