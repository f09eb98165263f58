// From another buffer.
fn load(limb: Limb, row: RowEntry, i: u32, p: Prime) -> u32 {
    return x[x_at(base(limb), row) + i];
}
