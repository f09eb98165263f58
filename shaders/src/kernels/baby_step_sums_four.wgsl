// `baby_step_sums` of four rows that take the same baby steps in the same order, as giant steps do: each step is read once for all.

@compute @workgroup_size(128)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = 4u * id.x;
    if i >= 1u << params.log_n {
        return;
    }
    let limb = load_limb_entry(id.y);
    let row_a = load_sum_row(4u * id.z);
    let row_b = load_sum_row(4u * id.z + 1u);
    let row_c = load_sum_row(4u * id.z + 2u);
    let row_d = load_sum_row(4u * id.z + 3u);
    let p = primes[limb.prime];
    let x_offset = limb.x_offset + i;
    let y_offset = limb.y_offset + i;
    let terms = params.terms;
    let part = params.part_words >> 2u;
    var total_a0 = total4_zero();
    var total_a1 = total4_zero();
    var total_b0 = total4_zero();
    var total_b1 = total4_zero();
    var total_c0 = total4_zero();
    var total_c1 = total4_zero();
    var total_d0 = total4_zero();
    var total_d1 = total4_zero();
    for (var first = 0u; first < row_a.terms; first += LAZY_PRODUCTS) {
        let end = min(first + LAZY_PRODUCTS, row_a.terms);
        for (var t = first; t < end; t++) {
            let a = load_baby_step_term(terms, row_a.first_term + t);
            let first_part = y[(a.y_offset + y_offset) >> 2u];
            let second_part = y[((a.y_offset + y_offset) >> 2u) + part];
            let factors_a = diagonal(a, x_offset);
            let factors_b = diagonal(load_baby_step_term(terms, row_b.first_term + t), x_offset);
            let factors_c = diagonal(load_baby_step_term(terms, row_c.first_term + t), x_offset);
            let factors_d = diagonal(load_baby_step_term(terms, row_d.first_term + t), x_offset);
            total4_add(&total_a0, factors_a, first_part);
            total4_add(&total_a1, factors_a, second_part);
            total4_add(&total_b0, factors_b, first_part);
            total4_add(&total_b1, factors_b, second_part);
            total4_add(&total_c0, factors_c, first_part);
            total4_add(&total_c1, factors_c, second_part);
            total4_add(&total_d0, factors_d, first_part);
            total4_add(&total_d1, factors_d, second_part);
        }
        total4_reduce(&total_a0, p);
        total4_reduce(&total_a1, p);
        total4_reduce(&total_b0, p);
        total4_reduce(&total_b1, p);
        total4_reduce(&total_c0, p);
        total4_reduce(&total_c1, p);
        total4_reduce(&total_d0, p);
        total4_reduce(&total_d1, p);
    }
    let at = limb.out_offset + i;
    store_sums(row_a, at, &total_a0, &total_a1, p);
    // Rows that are fewer are filled up with the last one, which counts once.
    if row_b.out_offset != row_a.out_offset {
        store_sums(row_b, at, &total_b0, &total_b1, p);
    }
    if row_c.out_offset != row_b.out_offset {
        store_sums(row_c, at, &total_c0, &total_c1, p);
    }
    if row_d.out_offset != row_c.out_offset {
        store_sums(row_d, at, &total_d0, &total_d1, p);
    }
}
