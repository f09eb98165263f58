// Both parts of sums of diagonals times baby steps, four neighbouring words in each thread.

@compute @workgroup_size(128)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = 4u * id.x;
    if i >= 1u << params.log_n {
        return;
    }
    let limb = load_limb_entry(id.y);
    let row = load_sum_row(id.z);
    let p = primes[limb.prime];
    let x_offset = limb.x_offset + i;
    let y_offset = limb.y_offset + i;
    let terms = params.terms;
    let part = params.part_words >> 2u;
    let end = row.first_term + row.terms;
    var total0 = total4_zero();
    var total1 = total4_zero();
    var room = LAZY_PRODUCTS;
    var t = row.first_term;
    // Two at a time, so that what they read comes together.
    for (; t + 1u < end; t += 2u) {
        let term = load_baby_step_term(terms, t);
        let next = load_baby_step_term(terms, t + 1u);
        let factors = diagonal(term, x_offset);
        let first_part = y[(term.y_offset + y_offset) >> 2u];
        let second_part = y[((term.y_offset + y_offset) >> 2u) + part];
        let next_factors = diagonal(next, x_offset);
        let next_first_part = y[(next.y_offset + y_offset) >> 2u];
        let next_second_part = y[((next.y_offset + y_offset) >> 2u) + part];
        if room == 0u {
            total4_reduce(&total0, p);
            total4_reduce(&total1, p);
            room = LAZY_PRODUCTS;
        }
        total4_add(&total0, factors, first_part);
        total4_add(&total1, factors, second_part);
        total4_add(&total0, next_factors, next_first_part);
        total4_add(&total1, next_factors, next_second_part);
        room -= 2u;
    }
    if t < end {
        if room == 0u {
            total4_reduce(&total0, p);
            total4_reduce(&total1, p);
        }
        let term = load_baby_step_term(terms, t);
        let factors = diagonal(term, x_offset);
        total4_add(&total0, factors, y[(term.y_offset + y_offset) >> 2u]);
        total4_add(&total1, factors, y[((term.y_offset + y_offset) >> 2u) + part]);
    }
    store_sums(row, limb.out_offset + i, &total0, &total1, p);
}
