// Inverse transforms, which end in two factors.
alias Limb = InverseLimb;

fn limb_at(i: u32) -> Limb {
    return load_inverse_limb(i);
}

fn base(limb: Limb) -> LimbEntry {
    return limb.base;
}
