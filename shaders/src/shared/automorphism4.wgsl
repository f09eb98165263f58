// Where the automorphism X -> X^g takes four neighbouring words from. Their numbers differ in the two lowest bits, so the exponents of
// their points by multiples of a quarter of the order: they come from four neighbours. If the first one's source is the k-th of these in
// bit-reversed order, the j-th one's is number (k + j g) mod 4 of that order.
fn turned(v: vec4<u32>, first_source: u32, g: u32) -> vec4<u32> {
    var u = vec4(v.x, v.z, v.y, v.w);
    u = select(u, vec4(u.y, u.z, u.w, u.x), (first_source & 2u) != 0u);
    u = select(u, vec4(u.z, u.w, u.x, u.y), (first_source & 1u) != 0u);
    let backwards = (g & 2u) != 0u;
    return vec4(u.x, u.z, select(u.y, u.w, backwards), select(u.w, u.y, backwards));
}
