// A compact polynomial's signed coefficients. One of fewer than sixteen words is spread over sixteen: each of its `2^params.a` copies is
// transformed by the first stages alone.
fn load(limb: u32, row: u32, i: u32, p: Prime) -> u32 {
    let above_zero = x[x_at(limb, row) + (i >> params.a)] + 0x80000000u;
    let residue = below(shoup(above_zero, vec2(1u, p.one_quotient), p.q), p.q);
    return sub_mod(residue, p.offset, p.q);
}
