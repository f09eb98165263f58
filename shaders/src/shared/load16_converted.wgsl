// Sixteen words of a limb, `stride` apart, converted from the coefficients y_j of some primes d_j, which lie side by side in `x`:
// sum y_j (D/d_j) - u D, where u is sum y_j / d_j rounded in fixed point (see the ring's module `convert`).
fn load16(limb: Limb, row: RowEntry, first: u32, stride: u32, p: Prime) -> array<u32, 16> {
    let at = x_at(limb.base, row) + first;
    let a = converted8(limb, at, stride, p);
    let b = converted8(limb, at + 8u * stride, stride, p);
    return array<u32, 16>(
        a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7],
        b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7],
    );
}

// Eight at a time, so that what they read of a source comes together; sixteen would take more registers than the transform.
fn converted8(limb: Limb, first: u32, stride: u32, p: Prime) -> array<u32, 8> {
    let terms = params.terms;
    var at = first;
    var sums: Sums;
    var shares: Sums;
    for (var j = 0u; j < limb.sources; j++) {
        let source = load_conversion_source(terms, limb.first_source + j);
        source_add(&sums, &shares, 0u, x[at], source);
        source_add(&sums, &shares, 1u, x[at + stride], source);
        source_add(&sums, &shares, 2u, x[at + 2u * stride], source);
        source_add(&sums, &shares, 3u, x[at + 3u * stride], source);
        source_add(&sums, &shares, 4u, x[at + 4u * stride], source);
        source_add(&sums, &shares, 5u, x[at + 5u * stride], source);
        source_add(&sums, &shares, 6u, x[at + 6u * stride], source);
        source_add(&sums, &shares, 7u, x[at + 7u * stride], source);
        at += 1u << params.log_n;
    }
    let quotient = load_conversion_quotient(terms, limb.first_source + limb.sources);
    return array<u32, 8>(
        converted(sums[0], shares[0], quotient, p),
        converted(sums[1], shares[1], quotient, p),
        converted(sums[2], shares[2], quotient, p),
        converted(sums[3], shares[3], quotient, p),
        converted(sums[4], shares[4], quotient, p),
        converted(sums[5], shares[5], quotient, p),
        converted(sums[6], shares[6], quotient, p),
        converted(sums[7], shares[7], quotient, p),
    );
}

alias Sums = array<Sum, 8>;

fn source_add(sums: ptr<function, Sums>, shares: ptr<function, Sums>, k: u32, word: u32, source: ConversionSource) {
    (*sums)[k] = sum_add((*sums)[k], word, source.qhat);
    (*shares)[k] = sum_add((*shares)[k], word, source.inv_fixed_point);
}

fn converted(sum: Sum, shares: Sum, quotient: ConversionQuotient, p: Prime) -> u32 {
    return montgomery(sum_add(sum, sum_round(shares, quotient.fixed_point_bits), quotient.minus_product), p);
}
