// A compact polynomial's signed coefficients. One of fewer than sixteen words is spread over sixteen: each of its `2^log_run` copies
// is transformed by the first stages alone.
fn load(limb: Limb, row: RowEntry, i: u32, p: Prime) -> u32 {
    let above_zero = x[x_at(base(limb), row) + (i >> params.log_run)] + 0x80000000u;
    let residue = below(shoup(above_zero, Factor(1u, p.one_quotient), p.q), p.q);
    return sub_mod(residue, p.offset, p.q);
}
