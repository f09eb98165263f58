// A word below 4q, made canonical.
fn stored(limb: Limb, row: RowEntry, i: u32, value: u32, p: Prime) -> u32 {
    return below(below(value, 2u * p.q), p.q);
}
