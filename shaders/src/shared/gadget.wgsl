// Terms of key switching on four neighbouring words.

// Adds the addends of a term, which `lift` brings to the form of sums that await their Montgomery reduction.
fn add_addends(
    total0: ptr<function, Total4>,
    total1: ptr<function, Total4>,
    term: GadgetTerm,
    limb: GadgetLimb,
    source: u32,
    q: u32,
) {
    if limb.lift.x == 0u {
        return;
    }
    let at = limb.base.y_offset + source;
    if term.first_addend != NONE {
        let addend = turned(z[(term.first_addend + at) >> 2u], source, term.galois);
        (*total0).done = add_mod4((*total0).done, mul_factor4(addend, limb.lift, q), q);
    }
    if term.second_addend != NONE {
        let addend = turned(z[(term.second_addend + at) >> 2u], source, term.galois);
        (*total1).done = add_mod4((*total1).done, mul_factor4(addend, limb.lift, q), q);
    }
}

// Where the first of a term's keys begins in `w`.
fn first_key(term: GadgetTerm, limb: GadgetLimb) -> u32 {
    return term.key + limb.base.y_offset + (term.key_gap & limb.special);
}
