// Sixteen words of a limb, `stride` apart, converted from the coefficients y_j of some primes d_j, which lie side by side in `x`:
// sum y_j (D/d_j) - u D, where u is sum y_j / d_j rounded in fixed point (see the ring's module `convert`). Word 4 of a limb's entry
// leads to the table among the terms: how many sources there are, the fixed point, and for each source its qhat and its share of
// the quotient; at the end the factor of u.
fn load16(limb: u32, row: u32, first: u32, stride: u32, p: Prime) -> array<u32, 16> {
    let table = params.terms + tables[limb + 4u];
    let at = x_at(limb, row) + first;
    let a = converted8(table, at, stride, p);
    let b = converted8(table, at + 8u * stride, stride, p);
    return array<u32, 16>(
        a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7],
        b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7],
    );
}

// Eight at a time, so that what they read of a source comes together; sixteen would take more registers than the transform.
fn converted8(table: u32, first: u32, stride: u32, p: Prime) -> array<u32, 8> {
    let sources = tables[table];
    let shift = tables[table + 1u];
    var at = first;
    var sums: Sums;
    var quotients: Sums;
    for (var j = 0u; j < sources; j++) {
        let factors = factor_at(table + 2u + 2u * j);
        source_add(&sums, &quotients, 0u, x[at], factors);
        source_add(&sums, &quotients, 1u, x[at + stride], factors);
        source_add(&sums, &quotients, 2u, x[at + 2u * stride], factors);
        source_add(&sums, &quotients, 3u, x[at + 3u * stride], factors);
        source_add(&sums, &quotients, 4u, x[at + 4u * stride], factors);
        source_add(&sums, &quotients, 5u, x[at + 5u * stride], factors);
        source_add(&sums, &quotients, 6u, x[at + 6u * stride], factors);
        source_add(&sums, &quotients, 7u, x[at + 7u * stride], factors);
        at += 1u << params.log_n;
    }
    let factor = tables[table + 2u + 2u * sources];
    return array<u32, 8>(
        converted(sums[0], quotients[0], shift, factor, p),
        converted(sums[1], quotients[1], shift, factor, p),
        converted(sums[2], quotients[2], shift, factor, p),
        converted(sums[3], quotients[3], shift, factor, p),
        converted(sums[4], quotients[4], shift, factor, p),
        converted(sums[5], quotients[5], shift, factor, p),
        converted(sums[6], quotients[6], shift, factor, p),
        converted(sums[7], quotients[7], shift, factor, p),
    );
}

alias Sums = array<Sum, 8>;

fn source_add(sums: ptr<function, Sums>, quotients: ptr<function, Sums>, k: u32, word: u32, factors: vec2<u32>) {
    (*sums)[k] = sum_add((*sums)[k], word, factors.x);
    (*quotients)[k] = sum_add((*quotients)[k], word, factors.y);
}

fn converted(sum: Sum, quotient: Sum, shift: u32, factor: u32, p: Prime) -> u32 {
    return montgomery(sum_add(sum, sum_round(quotient, shift), factor), p);
}
