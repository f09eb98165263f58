// out -= x

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    if i >= 1u << params.log_n {
        return;
    }
    let limb = load_limb_entry(id.y);
    let row = load_row_entry(id.z);
    let p = primes[limb.prime];
    let at = out_at(limb, row) + i;
    out[at] = sub_mod(out[at], x[x_at(limb, row) + i], p.q);
}
