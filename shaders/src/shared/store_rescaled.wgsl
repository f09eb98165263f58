// Division by the primes that were dropped: (y - value) / D. The value is below 4q.
fn stored(limb: Limb, row: RowEntry, i: u32, value: u32, p: Prime) -> u32 {
    let remainder = below(below(value, 2u * p.q), p.q);
    let difference = y[y_at(limb.base, row) + i] + p.q - remainder;
    return below(shoup(difference, limb.inverse, p.q), p.q);
}
