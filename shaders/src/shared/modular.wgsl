// Residues of primes below 2^30: canonical in [0, q), or lazily below 2q or 4q.

// [0, 2m) -> [0, m)
fn below(x: u32, m: u32) -> u32 {
    return min(x, x - m);
}

// x w in [0, 2q) for any word x; a factor is w with floor(w 2^32 / q).
fn shoup(x: u32, factor: Factor, q: u32) -> u32 {
    return x * factor.x - mul_high(x, factor.y) * q;
}

// Minus that.
fn minus_shoup(x: u32, factor: Factor, q: u32) -> u32 {
    return mul_high(x, factor.y) * q - x * factor.x;
}

// a + b and a - b of canonical residues.
fn add_mod(a: u32, b: u32, q: u32) -> u32 {
    return below(a + b, q);
}

fn sub_mod(a: u32, b: u32, q: u32) -> u32 {
    let d = a - b;
    return min(d, d + q);
}

// sum / 2^32 mod q, for sums below 2^34 q: sixteen products of residues.
fn montgomery(sum: Sum, p: Prime) -> u32 {
    let high = below(below(sum_high(sum), 2u * p.q), p.q);
    return sub_mod(high, mul_high(sum_low(sum) * p.q_inv, p.q), p.q);
}

// A product of residues that is the same mod q as a sum below 2^34 q.
fn sum_reduced(sum: Sum, p: Prime) -> Sum {
    return sum_add(sum_zero(), montgomery(sum, p), p.r.x);
}

// Sums are reduced to one product after this many: an even number of at most fifteen.
const LAZY_PRODUCTS: u32 = 14u;
