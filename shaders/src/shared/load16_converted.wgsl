// Sixteen words of a limb, `stride` apart, converted from the coefficients y_j of some primes d_j, which lie side by side in `x`:
// sum y_j (D/d_j) - u D, where u is sum y_j / d_j rounded in fixed point (see the ring's module `convert`). They are a column of a
// whole limb, and folded with the column that mirrors it where the ring is conjugate-invariant.
fn load16(limb: Limb, row: RowEntry, first: u32, stride: u32, p: Prime) -> array<u32, 16> {
    let v = converted16(limb, row, first, stride, p);
    if p.fold.x == 0u {
        return v;
    }
    // The first column mirrors itself, but for the very first word, which stays.
    let inside = first == 0u;
    let m = converted16(limb, row, (stride - first) & (stride - 1u), stride, p);
    return array<u32, 16>(
        select(folded(v[0], m[15], p), v[0], inside),
        folded(v[1], select(m[14], m[15], inside), p),
        folded(v[2], select(m[13], m[14], inside), p),
        folded(v[3], select(m[12], m[13], inside), p),
        folded(v[4], select(m[11], m[12], inside), p),
        folded(v[5], select(m[10], m[11], inside), p),
        folded(v[6], select(m[9], m[10], inside), p),
        folded(v[7], select(m[8], m[9], inside), p),
        folded(v[8], select(m[7], m[8], inside), p),
        folded(v[9], select(m[6], m[7], inside), p),
        folded(v[10], select(m[5], m[6], inside), p),
        folded(v[11], select(m[4], m[5], inside), p),
        folded(v[12], select(m[3], m[4], inside), p),
        folded(v[13], select(m[2], m[3], inside), p),
        folded(v[14], select(m[1], m[2], inside), p),
        folded(v[15], select(m[0], m[1], inside), p),
    );
}

fn converted16(limb: Limb, row: RowEntry, first: u32, stride: u32, p: Prime) -> array<u32, 16> {
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
    // There are fewer than sixteen primes d_j, so u is short.
    return montgomery(sum_add_short(sum, sum_round(shares, quotient.fixed_point_bits), quotient.minus_product), p);
}
