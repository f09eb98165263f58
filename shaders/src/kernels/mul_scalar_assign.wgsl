// out *= scalar, a residue for each limb

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    if i >= 1u << params.log_n {
        return;
    }
    let limb = load_scalar_limb(id.y);
    let row = load_row_entry(id.z);
    let p = primes[limb.base.prime];
    let at = out_at(limb.base, row) + i;
    out[at] = below(shoup(out[at], limb.scalar, p.q), p.q);
}
