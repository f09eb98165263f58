// In place.
fn load(limb: u32, row: u32, i: u32, p: Prime) -> u32 {
    return out[out_at(limb, row) + i];
}
