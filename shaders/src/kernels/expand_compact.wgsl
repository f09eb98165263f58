// Compact polynomials that were transformed as short ones, at full length: each word counts for 2^log_run neighbours.

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    if i >= 1u << params.log_n {
        return;
    }
    let limb = load_limb_entry(id.y);
    let row = load_row_entry(id.z);
    out[out_at(limb, row) + i] = x[x_at(limb, row) + (i >> params.log_run)];
}
