// X -> X^g of transformed words, which only move.

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    let n = 1u << params.log_n;
    if i >= n {
        return;
    }
    let limb = load_limb_entry(id.y);
    let row = load_row_entry(id.z);
    let start = x_at(limb, row);
    let to = out_at(limb, row) + i;
    out[to] = x[start + source_of(i, params.galois)];
}
