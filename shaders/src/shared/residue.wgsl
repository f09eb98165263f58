// A signed word mod q.
fn residue(word: u32, p: Prime) -> u32 {
    let above_zero = below(shoup(word + 0x80000000u, Factor(1u, p.one_quotient), p.q), p.q);
    return sub_mod(above_zero, p.offset, p.q);
}
