// X -> X^g of coefficients. `galois` is the inverse of g: it leads to where a coefficient comes from, which is negated if X^n = -1 was
// passed on the way.

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
    let exponent = (i * params.galois) & (2u * n - 1u);
    let word = x[start + (exponent & (n - 1u))];
    out[to] = select(word, sub_mod(0u, word, primes[limb.prime].q), exponent >= n);
}
