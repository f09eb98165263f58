// In place.
fn load(limb: Limb, row: RowEntry, i: u32, p: Prime) -> u32 {
    return out[out_at(base(limb), row) + i];
}
