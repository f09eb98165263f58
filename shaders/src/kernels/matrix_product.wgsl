// out (+)= sum x weight over the terms of a row, for weights that are signed words; four neighbouring words in each thread.

@compute @workgroup_size(128)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = 4u * id.x;
    if i >= 1u << params.log_n {
        return;
    }
    let limb = load_limb_entry(id.y);
    let row = load_sum_row(id.z);
    let p = primes[limb.prime];
    let to = (row.out_offset + limb.out_offset + i) >> 2u;
    let x_offset = limb.x_offset + i;
    let terms = params.terms;
    let end = row.first_term + row.terms;
    var total = total4_zero();
    var room = LAZY_PRODUCTS;
    var t = row.first_term;
    // Two at a time, so that what they read comes together.
    for (; t + 1u < end; t += 2u) {
        let term = load_weight_term(terms, t);
        let next = load_weight_term(terms, t + 1u);
        let a = x[(term.x_offset + x_offset) >> 2u];
        let b = vec4(residue(term.weight, p));
        let next_a = x[(next.x_offset + x_offset) >> 2u];
        let next_b = vec4(residue(next.weight, p));
        if room == 0u {
            total4_reduce(&total, p);
            room = LAZY_PRODUCTS;
        }
        total4_add(&total, a, b);
        total4_add(&total, next_a, next_b);
        room -= 2u;
    }
    if t < end {
        if room == 0u {
            total4_reduce(&total, p);
        }
        let term = load_weight_term(terms, t);
        total4_add(&total, x[(term.x_offset + x_offset) >> 2u], vec4(residue(term.weight, p)));
    }
    var sum = total4_residue(&total, p);
    if row.accumulate != 0u {
        sum = add_mod4(sum, out[to], p.q);
    }
    out[to] = sum;
}
