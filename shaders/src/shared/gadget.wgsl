// Terms of key switching on four neighbouring words.

// Adds the addends of a term, a product each.
fn add_addends(
    total0: ptr<function, Total4>,
    total1: ptr<function, Total4>,
    term: GadgetTerm,
    limb: GadgetLimb,
    source: u32,
) {
    if limb.lift == 0u {
        return;
    }
    let at = limb.base.y_offset + source;
    if term.first_addend != NONE {
        let addend = turned(z[(term.first_addend + at) >> 2u], source, term.galois);
        total4_add(total0, addend, vec4(limb.lift));
    }
    if term.second_addend != NONE {
        let addend = turned(z[(term.second_addend + at) >> 2u], source, term.galois);
        total4_add(total1, addend, vec4(limb.lift));
    }
}

// Where the first of a term's keys begins in `w`.
fn first_key(term: GadgetTerm, limb: GadgetLimb) -> u32 {
    return term.key + limb.base.y_offset + (term.key_gap & limb.special);
}
