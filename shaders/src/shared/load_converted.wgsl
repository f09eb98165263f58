// Converted from the coefficients y_j of some primes d_j, which lie side by side in `x`: sum y_j (D/d_j) - u D, where u is
// sum y_j / d_j rounded in fixed point (see the ring's module `convert`). Word 4 of a limb's entry leads to the table among the terms: how many
// sources there are, the fixed point, and for each source its weight and its share of the quotient; at the end the weight of u.
fn load(limb: u32, row: u32, i: u32, p: Prime) -> u32 {
    let table = params.terms + tables[limb + 4u];
    let sources = tables[table];
    var at = x_at(limb, row) + i;
    var sum = sum_zero();
    var quotient = sum_zero();
    for (var j = 0u; j < sources; j++) {
        let source = x[at];
        sum = sum_add(sum, source, tables[table + 2u + 2u * j]);
        quotient = sum_add(quotient, source, tables[table + 3u + 2u * j]);
        at += 1u << params.log_n;
    }
    let u = sum_round(quotient, tables[table + 1u]);
    return montgomery(sum_add(sum, u, tables[table + 2u + 2u * sources]), p);
}
