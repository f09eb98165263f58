// out = x + y, or x where a row has no y

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    if i >= 1u << params.log_n {
        return;
    }
    let limb = load_limb_entry(id.y);
    let row = load_row_entry(id.z);
    let p = primes[limb.prime];
    var sum = x[x_at(limb, row) + i];
    if row.y_offset != NONE {
        sum = add_mod(sum, y[y_at(limb, row) + i], p.q);
    }
    out[out_at(limb, row) + i] = sum;
}
