// Between the blocks of an inverse transform and those of a forward one, of limbs that are larger than a block: the last four stages of
// the inverse transform of a digit's limbs, conversion to some other primes, and the first four stages of their forward transform. A
// column of sixteen words that lie `n / 16` apart stays by itself through all of it. A workgroup has sixteen neighbouring columns, and
// four threads for each: they share the primes converted from, then the words of the quotient, then the primes converted to.

const COLUMNS: u32 = 16u;
const LANES: u32 = 4u;

// 256 for each prime of the largest digit.
override COEFFICIENTS: u32;

// Coefficients, [source][word of a column][column], and their quotients.
var<workgroup> coefficients: array<u32, COEFFICIENTS>;
var<workgroup> quotients: array<u32, 256>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let digit = load_converted_digit(group.y);
    let row = load_row_entry(group.z);
    let terms = params.terms;
    let stride = 1u << (params.log_n - 4u);
    let inside = thread & (COLUMNS - 1u);
    let lane = thread / COLUMNS;
    let column = group.x * COLUMNS + inside;

    for (var j = lane; j < digit.sources; j += LANES) {
        let source = load_digit_source(terms, digit.first_source + j);
        let p = primes[source.prime];
        var v = column_of_x(row.x_offset + source.x_offset + column, stride);
        inverse16(&v, 1u, 4u, p);
        inverse_root(&v, source.sum_factor, source.difference_factor, p.q);
        put_coefficients(&v, 256u * j + inside, p.q);
    }
    workgroupBarrier();

    let first_word = 4u * lane * COLUMNS + inside;
    var shares = array<Sum, 4>(sum_zero(), sum_zero(), sum_zero(), sum_zero());
    var bits = 32u;
    for (var j = 0u; j < digit.sources; j++) {
        let source = load_digit_source(terms, digit.first_source + j);
        bits = source.fixed_point_bits;
        let at = 256u * j + first_word;
        shares[0] = sum_add(shares[0], coefficients[at], source.inv_fixed_point);
        shares[1] = sum_add(shares[1], coefficients[at + COLUMNS], source.inv_fixed_point);
        shares[2] = sum_add(shares[2], coefficients[at + 2u * COLUMNS], source.inv_fixed_point);
        shares[3] = sum_add(shares[3], coefficients[at + 3u * COLUMNS], source.inv_fixed_point);
    }
    quotients[first_word] = sum_round(shares[0], bits);
    quotients[first_word + COLUMNS] = sum_round(shares[1], bits);
    quotients[first_word + 2u * COLUMNS] = sum_round(shares[2], bits);
    quotients[first_word + 3u * COLUMNS] = sum_round(shares[3], bits);
    workgroupBarrier();

    for (var t = lane; t < digit.targets; t += LANES) {
        let prime_to = load_digit_target(terms, digit.first_target + t);
        let p = primes[prime_to.prime];
        let a = converted8(prime_to, digit.sources, terms, inside, p);
        let b = converted8(prime_to, digit.sources, terms, 8u * COLUMNS + inside, p);
        var v = array<u32, 16>(
            a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7],
            b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7],
        );
        forward16(&v, 1u, 4u, p);
        write_column(&v, row.out_offset + prime_to.out_offset + column, stride, p.q);
    }
}

fn column_of_x(first: u32, stride: u32) -> array<u32, 16> {
    return array<u32, 16>(
        x[first], x[first + stride], x[first + 2u * stride], x[first + 3u * stride],
        x[first + 4u * stride], x[first + 5u * stride], x[first + 6u * stride], x[first + 7u * stride],
        x[first + 8u * stride], x[first + 9u * stride], x[first + 10u * stride], x[first + 11u * stride],
        x[first + 12u * stride], x[first + 13u * stride], x[first + 14u * stride], x[first + 15u * stride],
    );
}

// A word below 4q, made canonical.
fn canonical(word: u32, q: u32) -> u32 {
    return below(below(word, 2u * q), q);
}

fn put_coefficients(v: ptr<function, array<u32, 16>>, at: u32, q: u32) {
    coefficients[at] = canonical((*v)[0], q);
    coefficients[at + COLUMNS] = canonical((*v)[1], q);
    coefficients[at + 2u * COLUMNS] = canonical((*v)[2], q);
    coefficients[at + 3u * COLUMNS] = canonical((*v)[3], q);
    coefficients[at + 4u * COLUMNS] = canonical((*v)[4], q);
    coefficients[at + 5u * COLUMNS] = canonical((*v)[5], q);
    coefficients[at + 6u * COLUMNS] = canonical((*v)[6], q);
    coefficients[at + 7u * COLUMNS] = canonical((*v)[7], q);
    coefficients[at + 8u * COLUMNS] = canonical((*v)[8], q);
    coefficients[at + 9u * COLUMNS] = canonical((*v)[9], q);
    coefficients[at + 10u * COLUMNS] = canonical((*v)[10], q);
    coefficients[at + 11u * COLUMNS] = canonical((*v)[11], q);
    coefficients[at + 12u * COLUMNS] = canonical((*v)[12], q);
    coefficients[at + 13u * COLUMNS] = canonical((*v)[13], q);
    coefficients[at + 14u * COLUMNS] = canonical((*v)[14], q);
    coefficients[at + 15u * COLUMNS] = canonical((*v)[15], q);
}

// Eight words of a column modulo another prime: sum y_j (D/d_j) - u D (see `load16_converted.wgsl`).
fn converted8(prime_to: DigitTarget, sources: u32, terms: u32, first: u32, p: Prime) -> array<u32, 8> {
    var sums: array<Sum, 8>;
    for (var j = 0u; j < sources; j++) {
        let qhat = load_conversion_factor(terms, prime_to.first_factor + j).qhat;
        let at = 256u * j + first;
        sums[0] = sum_add(sums[0], coefficients[at], qhat);
        sums[1] = sum_add(sums[1], coefficients[at + COLUMNS], qhat);
        sums[2] = sum_add(sums[2], coefficients[at + 2u * COLUMNS], qhat);
        sums[3] = sum_add(sums[3], coefficients[at + 3u * COLUMNS], qhat);
        sums[4] = sum_add(sums[4], coefficients[at + 4u * COLUMNS], qhat);
        sums[5] = sum_add(sums[5], coefficients[at + 5u * COLUMNS], qhat);
        sums[6] = sum_add(sums[6], coefficients[at + 6u * COLUMNS], qhat);
        sums[7] = sum_add(sums[7], coefficients[at + 7u * COLUMNS], qhat);
    }
    let minus_product = prime_to.minus_product;
    return array<u32, 8>(
        montgomery(sum_add_short(sums[0], quotients[first], minus_product), p),
        montgomery(sum_add_short(sums[1], quotients[first + COLUMNS], minus_product), p),
        montgomery(sum_add_short(sums[2], quotients[first + 2u * COLUMNS], minus_product), p),
        montgomery(sum_add_short(sums[3], quotients[first + 3u * COLUMNS], minus_product), p),
        montgomery(sum_add_short(sums[4], quotients[first + 4u * COLUMNS], minus_product), p),
        montgomery(sum_add_short(sums[5], quotients[first + 5u * COLUMNS], minus_product), p),
        montgomery(sum_add_short(sums[6], quotients[first + 6u * COLUMNS], minus_product), p),
        montgomery(sum_add_short(sums[7], quotients[first + 7u * COLUMNS], minus_product), p),
    );
}

fn write_column(v: ptr<function, array<u32, 16>>, first: u32, stride: u32, q: u32) {
    out[first] = canonical((*v)[0], q);
    out[first + stride] = canonical((*v)[1], q);
    out[first + 2u * stride] = canonical((*v)[2], q);
    out[first + 3u * stride] = canonical((*v)[3], q);
    out[first + 4u * stride] = canonical((*v)[4], q);
    out[first + 5u * stride] = canonical((*v)[5], q);
    out[first + 6u * stride] = canonical((*v)[6], q);
    out[first + 7u * stride] = canonical((*v)[7], q);
    out[first + 8u * stride] = canonical((*v)[8], q);
    out[first + 9u * stride] = canonical((*v)[9], q);
    out[first + 10u * stride] = canonical((*v)[10], q);
    out[first + 11u * stride] = canonical((*v)[11], q);
    out[first + 12u * stride] = canonical((*v)[12], q);
    out[first + 13u * stride] = canonical((*v)[13], q);
    out[first + 14u * stride] = canonical((*v)[14], q);
    out[first + 15u * stride] = canonical((*v)[15], q);
}
