// `baby_step_sums` of two rows that take the same baby steps in the same order, as giant steps do: each step is read once for both.

@compute @workgroup_size(128)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = 4u * id.x;
    if i >= 1u << params.log_n {
        return;
    }
    let limb = load_limb_entry(id.y);
    let row_a = load_sum_row(2u * id.z);
    let row_b = load_sum_row(2u * id.z + 1u);
    let p = primes[limb.prime];
    let x_offset = limb.x_offset + i;
    let y_offset = limb.y_offset + i;
    let terms = params.terms;
    let part = params.part_words >> 2u;
    var total_a0 = total4_zero();
    var total_a1 = total4_zero();
    var total_b0 = total4_zero();
    var total_b1 = total4_zero();
    for (var first = 0u; first < row_a.terms; first += LAZY_PRODUCTS) {
        let end = min(first + LAZY_PRODUCTS, row_a.terms);
        for (var t = first; t < end; t++) {
            let a = load_baby_step_term(terms, row_a.first_term + t);
            let b = load_baby_step_term(terms, row_b.first_term + t);
            let factors_a = diagonal(a, x_offset);
            let factors_b = diagonal(b, x_offset);
            let first_part = y[(a.y_offset + y_offset) >> 2u];
            let second_part = y[((a.y_offset + y_offset) >> 2u) + part];
            total4_add(&total_a0, factors_a, first_part);
            total4_add(&total_a1, factors_a, second_part);
            total4_add(&total_b0, factors_b, first_part);
            total4_add(&total_b1, factors_b, second_part);
        }
        total4_reduce(&total_a0, p);
        total4_reduce(&total_a1, p);
        total4_reduce(&total_b0, p);
        total4_reduce(&total_b1, p);
    }
    let at = limb.out_offset + i;
    store_sums(row_a, at, &total_a0, &total_a1, p);
    // A row without a partner is both rows, and counts once.
    if row_b.out_offset != row_a.out_offset {
        store_sums(row_b, at, &total_b0, &total_b1, p);
    }
}
