// From another buffer, folded where the ring is conjugate-invariant.
fn load(limb: Limb, row: RowEntry, i: u32, p: Prime) -> u32 {
    let at = x_at(base(limb), row);
    let word = x[at + i];
    if p.fold.x == 0u || i == 0u {
        return word;
    }
    return folded(word, x[at + (1u << params.log_n) - i], p);
}
