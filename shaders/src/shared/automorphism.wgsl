// Where the automorphism X -> X^g takes transformed word i from: word i is the value at psi^(2 bitrev(i) + 1).
fn source_of(i: u32, g: u32) -> u32 {
    let unused = 32u - params.log_n;
    let exponent = (2u * (reverseBits(i) >> unused) + 1u) * g;
    let position = (exponent & ((2u << params.log_n) - 1u)) >> 1u;
    return reverseBits(position) >> unused;
}
