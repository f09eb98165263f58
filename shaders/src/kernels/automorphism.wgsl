// X -> X^g. Transformed words move as `source_of` says with g = params.a. Coefficients (params.b = 1) come from where the inverse of
// g, params.a, leads back to, negated where X^n = -1 was passed.

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    let n = 1u << params.log_n;
    if i >= n {
        return;
    }
    let limb = limb_entry(id.y);
    let row = row_entry(id.z);
    let start = x_at(limb, row);
    let to = out_at(limb, row) + i;
    if params.b == 0u {
        out[to] = x[start + source_of(i, params.a)];
        return;
    }
    let exponent = (i * params.a) & (2u * n - 1u);
    let word = x[start + (exponent & (n - 1u))];
    out[to] = select(word, sub_mod(0u, word, limb_prime(limb).q), exponent >= n);
}
