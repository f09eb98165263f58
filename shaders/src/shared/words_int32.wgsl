// 64-bit sums of products from 32-bit words: the low one, then the high one.

alias Sum = vec2<u32>;

fn sum_zero() -> Sum {
    return vec2(0u, 0u);
}

// sum + a b
fn sum_add(sum: Sum, a: u32, b: u32) -> Sum {
    let product = a * b;
    let low = sum.x + product;
    return vec2(low, sum.y + mul_high(a, b) + u32(low < product));
}

// sum + a b, for a below 2^16.
fn sum_add_short(sum: Sum, a: u32, b: u32) -> Sum {
    let product = a * (b & 0xffffu);
    let upper = a * (b >> 16u) + (product >> 16u);
    let low = sum.x + ((upper << 16u) | (product & 0xffffu));
    return vec2(low, sum.y + (upper >> 16u) + u32(low < sum.x));
}

fn sum_low(sum: Sum) -> u32 {
    return sum.x;
}

fn sum_high(sum: Sum) -> u32 {
    return sum.y;
}

// floor(1/2 + sum / 2^shift), for a shift of 32 or more.
fn sum_round(sum: Sum, shift: u32) -> u32 {
    let half = select(vec2(0u, 1u << ((shift - 33u) & 31u)), vec2(0x80000000u, 0u), shift == 32u);
    let low = sum.x + half.x;
    return (sum.y + half.y + u32(low < half.x)) >> (shift - 32u);
}

// floor(a b / 2^32), by halves of words.
fn mul_high(a: u32, b: u32) -> u32 {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let mid = a1 * b0 + ((a0 * b0) >> 16u);
    let carry = a0 * b1 + (mid & 0xffffu);
    return a1 * b1 + (mid >> 16u) + (carry >> 16u);
}
