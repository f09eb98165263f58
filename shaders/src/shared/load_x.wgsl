// From another buffer.
fn load(limb: u32, row: u32, i: u32, p: Prime) -> u32 {
    return x[x_at(limb, row) + i];
}
