// The first four stages of the forward transform of limbs that are larger than a block, in registers.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let stride = 1u << (params.log_n - 4u);
    if id.x >= stride {
        return;
    }
    let limb = limb_at(id.y);
    let row = load_row_entry(id.z);
    let p = primes[base(limb).prime];
    var v = load16(limb, row, id.x, stride, p);
    forward16(&v, 1u, 4u, p);
    store16(limb, row, id.x, stride, &v, p);
}
