// `gadget_product` of two rows that take the same keys in the same order, as ciphertexts of a batch do: each key is read once for both.

@compute @workgroup_size(128)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = 4u * id.x;
    if i >= 1u << params.log_n {
        return;
    }
    let limb = load_gadget_limb(id.y);
    let row_a = load_sum_row(2u * id.z);
    let row_b = load_sum_row(2u * id.z + 1u);
    let p = primes[limb.base.prime];

    var total_a0 = total4_zero();
    var total_a1 = total4_zero();
    var total_b0 = total4_zero();
    var total_b1 = total4_zero();
    var room = LAZY_PRODUCTS;
    let terms = params.terms;
    let digit_words = params.digit_words;
    for (var t = 0u; t < row_a.terms; t++) {
        let a = load_gadget_term(terms, row_a.first_term + t);
        let b = load_gadget_term(terms, row_b.first_term + t);
        let source = source_of(i, a.galois);
        if room == 0u {
            total4_reduce(&total_a0, p);
            total4_reduce(&total_a1, p);
            total4_reduce(&total_b0, p);
            total4_reduce(&total_b1, p);
            room = LAZY_PRODUCTS;
        }
        room -= 1u;
        add_addends(&total_a0, &total_a1, a, limb, source);
        add_addends(&total_b0, &total_b1, b, limb, source);
        var key = first_key(a, limb) + i;
        var digit_at = a.digits + limb.base.x_offset + source;
        let own_at = a.own + limb.base.y_offset + source;
        // From a word of the first row to that of the second one.
        let digits_apart = b.digits - a.digits;
        let own_apart = b.own - a.own;
        let end_digit = a.first_digit + a.digit_count;
        for (var d = a.first_digit; d < end_digit; d++) {
            if room == 0u {
                total4_reduce(&total_a0, p);
                total4_reduce(&total_a1, p);
                total4_reduce(&total_b0, p);
                total4_reduce(&total_b1, p);
                room = LAZY_PRODUCTS;
            }
            room -= 1u;
            // All that is read, then the products.
            let key0 = w[key >> 2u];
            let key1 = w[(key + a.key_words) >> 2u];
            var digit_a: vec4<u32>;
            var digit_b: vec4<u32>;
            if d == limb.own_digit {
                digit_a = y[own_at >> 2u];
                digit_b = y[(own_at + own_apart) >> 2u];
            } else {
                digit_a = x[digit_at >> 2u];
                digit_b = x[(digit_at + digits_apart) >> 2u];
            }
            digit_a = turned(digit_a, source, a.galois);
            digit_b = turned(digit_b, source, a.galois);
            total4_add(&total_a0, digit_a, key0);
            total4_add(&total_a1, digit_a, key1);
            total4_add(&total_b0, digit_b, key0);
            total4_add(&total_b1, digit_b, key1);
            key += 2u * a.key_words;
            digit_at += digit_words;
        }
    }
    let at = limb.base.out_offset + i;
    store_sums(row_a, at, &total_a0, &total_a1, p);
    // A row without a partner is both rows, and counts once.
    if row_b.out_offset != row_a.out_offset {
        store_sums(row_b, at, &total_b0, &total_b1, p);
    }
}
