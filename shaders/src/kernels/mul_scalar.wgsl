// out = x scalar, a residue for each limb

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    if i >= 1u << params.log_n {
        return;
    }
    let limb = load_scalar_limb(id.y);
    let row = load_row_entry(id.z);
    let p = primes[limb.base.prime];
    out[out_at(limb.base, row) + i] = below(shoup(x[x_at(limb.base, row) + i], limb.scalar, p.q), p.q);
}
