// X -> X^g of coefficients. `galois` is the inverse of g: it leads to where a coefficient comes from, which is negated if X^n = -1 was
// passed on the way. In a conjugate-invariant ring X^e + X^-e is the element of 4n - e too, and minus that of 2n - e.

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
    let order = n << params.log_spacing;
    let exponent = (i * params.galois) & (order - 1u);
    var origin = exponent & (n - 1u);
    var negative = exponent >= n;
    if params.log_spacing == 2u {
        let nearest = min(exponent, order - exponent);
        origin = min(nearest, 2u * n - nearest);
        negative = nearest > n;
    }
    let word = x[start + origin];
    out[to] = select(word, sub_mod(0u, word, primes[limb.prime].q), negative);
}
