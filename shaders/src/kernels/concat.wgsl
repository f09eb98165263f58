// Copies the limbs that are wanted.

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    if i >= 1u << params.log_n {
        return;
    }
    let limb = load_limb_entry(id.y);
    let row = load_row_entry(id.z);
    out[out_at(limb, row) + i] = x[x_at(limb, row) + i];
}
