// The end of the inverse transform of a conjugate-invariant ring, in place: a_j = b_j + i b_(n-j), and a_0 = 2 b_0. A thread has both
// words of a pair.

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    let n = 1u << params.log_n;
    if i > n / 2u {
        return;
    }
    let limb = load_inverse_limb(id.y);
    let row = load_row_entry(id.z);
    let p = primes[limb.base.prime];
    let start = out_at(limb.base, row);
    let low = start + i;
    if i == 0u {
        let first = out[low];
        out[low] = add_mod(first, first, p.q);
        return;
    }
    let high = start + n - i;
    let a = out[low];
    let b = out[high];
    out[low] = unfolded(a, b, p);
    out[high] = unfolded(b, a, p);
}

fn unfolded(b: u32, mirrored: u32, p: Prime) -> u32 {
    return below(below(b + shoup(mirrored, p.fold, p.q), 2u * p.q), p.q);
}
