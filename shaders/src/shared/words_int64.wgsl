// 64-bit sums of products, where the device has 64-bit words.

alias Sum = u64;

fn sum_zero() -> Sum {
    return 0lu;
}

// sum + a b
fn sum_add(sum: Sum, a: u32, b: u32) -> Sum {
    return sum + u64(a) * u64(b);
}

// sum + a b, for a below 2^16.
fn sum_add_short(sum: Sum, a: u32, b: u32) -> Sum {
    return sum_add(sum, a, b);
}

fn sum_low(sum: Sum) -> u32 {
    return u32(sum);
}

fn sum_high(sum: Sum) -> u32 {
    return u32(sum >> 32u);
}

// floor(1/2 + sum / 2^shift), for a shift of 32 or more.
fn sum_round(sum: Sum, shift: u32) -> u32 {
    return u32((sum + (1lu << (shift - 1u))) >> shift);
}

// floor(a b / 2^32)
fn mul_high(a: u32, b: u32) -> u32 {
    return u32((u64(a) * u64(b)) >> 32u);
}
