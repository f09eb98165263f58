// Where the automorphism X -> X^g takes transformed word i from: word i is the value at psi^(s bitrev(i) + 1), where
// s is 2, or 4 in a conjugate-invariant ring.
fn source_of(i: u32, g: u32) -> u32 {
    let unused = 32u - params.log_n;
    let log_spacing = params.log_spacing;
    let exponent = (((reverseBits(i) >> unused) << log_spacing) + 1u) * g;
    let position = (exponent & ((1u << (params.log_n + log_spacing)) - 1u)) >> log_spacing;
    return reverseBits(position) >> unused;
}
