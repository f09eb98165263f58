// Key switching up to ModDown: both results of a row, as sums over its terms.

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    if i >= 1u << params.log_n {
        return;
    }
    let limb = load_gadget_limb(id.y);
    let row = load_sum_row(id.z);
    let p = primes[limb.base.prime];

    var sum0 = 0u;
    var sum1 = 0u;
    var total0 = total_zero();
    var total1 = total_zero();
    var room = LAZY_PRODUCTS;
    let terms = params.terms;
    let digit_words = params.digit_words;
    let key_words = params.key_words;
    let end = row.first_term + row.terms;
    for (var t = row.first_term; t < end; t++) {
        let term = load_gadget_term(terms, t);
        let source = source_of(i, term.galois);
        if term.first_addend != NONE && limb.lift.x != 0u {
            let addend = z[term.first_addend + limb.base.y_offset + source];
            sum0 = add_mod(sum0, below(shoup(addend, limb.lift, p.q), p.q), p.q);
        }
        if term.second_addend != NONE && limb.lift.x != 0u {
            let addend = z[term.second_addend + limb.base.y_offset + source];
            sum1 = add_mod(sum1, below(shoup(addend, limb.lift, p.q), p.q), p.q);
        }
        var key = term.key + limb.key_offset + i;
        var digit_at = term.digits + limb.base.x_offset + source;
        let end_digit = term.first_digit + term.digit_count;
        for (var d = term.first_digit; d < end_digit; d++) {
            if room == 0u {
                total_reduce(&total0, p);
                total_reduce(&total1, p);
                room = LAZY_PRODUCTS;
            }
            room -= 1u;
            // All that is read, then the products.
            let key0 = w[key];
            let key1 = w[key + key_words];
            var digit: u32;
            if d == limb.own_digit {
                digit = y[term.own + limb.base.y_offset + source];
            } else {
                digit = x[digit_at];
            }
            total_add(&total0, digit, key0);
            total_add(&total1, digit, key1);
            key += 2u * key_words;
            digit_at += digit_words;
        }
    }
    sum0 = add_mod(sum0, total_residue(total0, p), p.q);
    sum1 = add_mod(sum1, total_residue(total1, p), p.q);
    let to0 = row.out_offset + limb.base.out_offset + i;
    let to1 = row.second_out_offset + limb.base.out_offset + i;
    if row.accumulate != 0u {
        sum0 = add_mod(sum0, out[to0], p.q);
        sum1 = add_mod(sum1, out[to1], p.q);
    }
    out[to0] = sum0;
    out[to1] = sum1;
}
