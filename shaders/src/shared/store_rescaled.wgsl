// Division by the primes that were dropped: (y - value) / D, with 1/D in words 5 and 6 of the limb's entry. The value is below 4q.
fn stored(limb: u32, row: u32, i: u32, value: u32, p: Prime) -> u32 {
    let remainder = below(below(value, 2u * p.q), p.q);
    let difference = y[y_at(limb, row) + i] + p.q - remainder;
    return below(shoup(difference, factor_at(limb + 5u), p.q), p.q);
}
