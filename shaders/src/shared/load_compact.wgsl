// A compact polynomial's signed coefficients, folded where the ring is conjugate-invariant. One of fewer than sixteen words is spread
// over sixteen: each of its `2^log_run` copies is transformed by the first stages alone.
fn load(limb: Limb, row: RowEntry, i: u32, p: Prime) -> u32 {
    let at = x_at(base(limb), row);
    let j = i >> params.log_run;
    let word = residue(x[at + j], p);
    if p.fold.x == 0u || j == 0u {
        return word;
    }
    return folded(word, residue(x[at + (1u << (params.log_n - params.log_run)) - j], p), p);
}
