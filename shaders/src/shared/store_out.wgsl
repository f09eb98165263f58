// A word below 4q, made canonical.
fn store(limb: u32, row: u32, i: u32, value: u32, p: Prime) {
    out[out_at(limb, row) + i] = below(below(value, 2u * p.q), p.q);
}
