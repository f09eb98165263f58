// out (+)= sum x y over the terms of a row.

fn x_word(terms: u32, term: u32, offset: u32) -> u32 {
    return x[load_product_term(terms, term).x_offset + offset];
}

fn y_word(terms: u32, term: u32, offset: u32) -> u32 {
    return y[load_product_term(terms, term).y_offset + offset];
}

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    if i >= 1u << params.log_n {
        return;
    }
    let limb = load_limb_entry(id.y);
    let row = load_sum_row(id.z);
    let p = primes[limb.prime];
    let to = row.out_offset + limb.out_offset + i;
    let x_offset = limb.x_offset + i;
    let y_offset = limb.y_offset + i;
    let terms = params.terms;
    let end = row.first_term + row.terms;
    var total = total_zero();
    var room = LAZY_PRODUCTS;
    var term = row.first_term;
    // Four at a time, so that what they read comes together.
    for (; term + 3u < end; term += 4u) {
        let a = vec4(
            x_word(terms, term, x_offset),
            x_word(terms, term + 1u, x_offset),
            x_word(terms, term + 2u, x_offset),
            x_word(terms, term + 3u, x_offset),
        );
        let b = vec4(
            y_word(terms, term, y_offset),
            y_word(terms, term + 1u, y_offset),
            y_word(terms, term + 2u, y_offset),
            y_word(terms, term + 3u, y_offset),
        );
        if room == 0u {
            total_reduce(&total, p);
            room = LAZY_PRODUCTS;
        }
        total_add4(&total, a, b);
        room -= 4u;
    }
    if room == 0u {
        total_reduce(&total, p);
    }
    for (; term < end; term++) {
        total_add(&total, x_word(terms, term, x_offset), y_word(terms, term, y_offset));
    }
    var sum = total_residue(total, p);
    if row.accumulate != 0u {
        sum = add_mod(sum, out[to], p.q);
    }
    out[to] = sum;
}
