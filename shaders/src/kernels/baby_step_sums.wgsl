// Both parts of sums of diagonals (x) times steps (y). Words of a row's entry: the two results, the first term, how many there are, and
// whether they are added to what `out` holds. A term: the diagonal, the logarithm of how many neighbours each of its words counts
// for, and its step's two parts.

fn diagonal(term: u32, offset: u32) -> u32 {
    return x[tables[term] + (offset >> tables[term + 1u])];
}

fn step_word(term: u32, part: u32, offset: u32) -> u32 {
    return y[tables[term + 2u + part] + offset];
}

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    if i >= 1u << params.log_n {
        return;
    }
    let limb = limb_entry(id.y);
    let row = row_entry(id.z);
    let p = limb_prime(limb);
    let x_offset = tables[limb + 2u] + i;
    let y_offset = tables[limb + 3u] + i;
    let first = params.terms + 4u * tables[row + 2u];
    let end = first + 4u * tables[row + 3u];
    var total0 = total_zero();
    var total1 = total_zero();
    var room = LAZY_PRODUCTS;
    var term = first;
    // Four at a time, so that what they read comes together.
    for (; term + 12u < end; term += 16u) {
        let diagonals = vec4(
            diagonal(term, x_offset),
            diagonal(term + 4u, x_offset),
            diagonal(term + 8u, x_offset),
            diagonal(term + 12u, x_offset),
        );
        let first_parts = vec4(
            step_word(term, 0u, y_offset),
            step_word(term + 4u, 0u, y_offset),
            step_word(term + 8u, 0u, y_offset),
            step_word(term + 12u, 0u, y_offset),
        );
        let second_parts = vec4(
            step_word(term, 1u, y_offset),
            step_word(term + 4u, 1u, y_offset),
            step_word(term + 8u, 1u, y_offset),
            step_word(term + 12u, 1u, y_offset),
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
    for (; term < end; term += 4u) {
        let factor = diagonal(term, x_offset);
        total_add(&total0, factor, step_word(term, 0u, y_offset));
        total_add(&total1, factor, step_word(term, 1u, y_offset));
    }
    let to0 = tables[row] + tables[limb + 1u] + i;
    let to1 = tables[row + 1u] + tables[limb + 1u] + i;
    var sum0 = total_residue(total0, p);
    var sum1 = total_residue(total1, p);
    if tables[row + 4u] != 0u {
        sum0 = add_mod(sum0, out[to0], p.q);
        sum1 = add_mod(sum1, out[to1], p.q);
    }
    out[to0] = sum0;
    out[to1] = sum1;
}
