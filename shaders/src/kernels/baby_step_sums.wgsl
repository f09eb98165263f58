// Both parts of sums of diagonals times baby steps.

fn diagonal(terms: u32, term: u32, offset: u32) -> u32 {
    let entry = load_baby_step_term(terms, term);
    return x[entry.x_offset + (offset >> entry.log_run)];
}

fn first_part(terms: u32, term: u32, offset: u32) -> u32 {
    return y[load_baby_step_term(terms, term).first_y_offset + offset];
}

fn second_part(terms: u32, term: u32, offset: u32) -> u32 {
    return y[load_baby_step_term(terms, term).second_y_offset + offset];
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
    let x_offset = limb.x_offset + i;
    let y_offset = limb.y_offset + i;
    let terms = params.terms;
    let end = row.first_term + row.terms;
    var total0 = total_zero();
    var total1 = total_zero();
    var room = LAZY_PRODUCTS;
    var term = row.first_term;
    // Four at a time, so that what they read comes together.
    for (; term + 3u < end; term += 4u) {
        let diagonals = vec4(
            diagonal(terms, term, x_offset),
            diagonal(terms, term + 1u, x_offset),
            diagonal(terms, term + 2u, x_offset),
            diagonal(terms, term + 3u, x_offset),
        );
        let first_parts = vec4(
            first_part(terms, term, y_offset),
            first_part(terms, term + 1u, y_offset),
            first_part(terms, term + 2u, y_offset),
            first_part(terms, term + 3u, y_offset),
        );
        let second_parts = vec4(
            second_part(terms, term, y_offset),
            second_part(terms, term + 1u, y_offset),
            second_part(terms, term + 2u, y_offset),
            second_part(terms, term + 3u, y_offset),
        );
        if room == 0u {
            total_reduce(&total0, p);
            total_reduce(&total1, p);
            room = LAZY_PRODUCTS;
        }
        total_add4(&total0, diagonals, first_parts);
        total_add4(&total1, diagonals, second_parts);
        room -= 4u;
    }
    if room == 0u {
        total_reduce(&total0, p);
        total_reduce(&total1, p);
    }
    for (; term < end; term++) {
        let factor = diagonal(terms, term, x_offset);
        total_add(&total0, factor, first_part(terms, term, y_offset));
        total_add(&total1, factor, second_part(terms, term, y_offset));
    }
    let to0 = row.out_offset + limb.out_offset + i;
    let to1 = row.second_out_offset + limb.out_offset + i;
    var sum0 = total_residue(total0, p);
    var sum1 = total_residue(total1, p);
    if row.accumulate != 0u {
        sum0 = add_mod(sum0, out[to0], p.q);
        sum1 = add_mod(sum1, out[to1], p.q);
    }
    out[to0] = sum0;
    out[to1] = sum1;
}
