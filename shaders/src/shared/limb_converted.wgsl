// Transforms of limbs that are converted from other primes, or taken from what they are the remainder of.
alias Limb = ConvertedLimb;

fn limb_at(i: u32) -> Limb {
    return load_converted_limb(i);
}

fn base(limb: Limb) -> LimbEntry {
    return limb.base;
}
