// Key switching up to ModDown: both results of a row, as sums over its terms, four neighbouring words in each thread.

@compute @workgroup_size(128)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = 4u * id.x;
    if i >= 1u << params.log_n {
        return;
    }
    let limb = load_gadget_limb(id.y);
    let row = load_sum_row(id.z);
    let p = primes[limb.base.prime];

    var total0 = total4_zero();
    var total1 = total4_zero();
    var room = LAZY_PRODUCTS;
    let terms = params.terms;
    let digit_words = params.digit_words;
    let end = row.first_term + row.terms;
    for (var t = row.first_term; t < end; t++) {
        let term = load_gadget_term(terms, t);
        let source = source_of(i, term.galois);
        if room == 0u {
            total4_reduce(&total0, p);
            total4_reduce(&total1, p);
            room = LAZY_PRODUCTS;
        }
        room -= 1u;
        add_addends(&total0, &total1, term, limb, source);
        var key = first_key(term, limb) + i;
        var digit_at = term.digits + limb.base.x_offset + source;
        let own_at = term.own + limb.base.y_offset + source;
        let end_digit = term.first_digit + term.digit_count;
        for (var d = term.first_digit; d < end_digit; d++) {
            if room == 0u {
                total4_reduce(&total0, p);
                total4_reduce(&total1, p);
                room = LAZY_PRODUCTS;
            }
            room -= 1u;
            // All that is read, then the products.
            let key0 = w[key >> 2u];
            let key1 = w[(key + term.key_words) >> 2u];
            var digit: vec4<u32>;
            if d == limb.own_digit {
                digit = y[own_at >> 2u];
            } else {
                digit = x[digit_at >> 2u];
            }
            digit = turned(digit, source, term.galois);
            total4_add(&total0, digit, key0);
            total4_add(&total1, digit, key1);
            key += 2u * term.key_words;
            digit_at += digit_words;
        }
    }
    store_sums(row, limb.base.out_offset + i, &total0, &total1, p);
}
