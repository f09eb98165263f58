// Transforms of limbs as they are.
alias Limb = LimbEntry;

fn limb_at(i: u32) -> Limb {
    return load_limb_entry(i);
}

fn base(limb: Limb) -> LimbEntry {
    return limb;
}
