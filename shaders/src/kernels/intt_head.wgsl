// The last four stages of the inverse transform of limbs that are larger than a block, in registers. Words 4 to 7 of a limb's entry
// are the two factors of the last stage.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let stride = 1u << (params.log_n - 4u);
    if id.x >= stride {
        return;
    }
    let limb = limb_entry(id.y);
    let row = row_entry(id.z);
    let p = limb_prime(limb);
    var v = load16(limb, row, id.x, stride, p);
    inverse16(&v, 1u, 4u, p);
    inverse_root(&v, vec4(factor_at(limb + 4u), factor_at(limb + 6u)), p.q);
    store16(limb, row, id.x, stride, &v, p);
}
