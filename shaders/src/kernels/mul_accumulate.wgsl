// out (+)= sum x y over the terms of a row. Words of its entry: the result, none, the first term, how many there are, and whether the
// sum is added to what `out` holds. A term is two offsets.

fn x_word(term: u32, offset: u32) -> u32 {
    return x[tables[term] + offset];
}

fn y_word(term: u32, offset: u32) -> u32 {
    return y[tables[term + 1u] + offset];
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
    let to = out_at(limb, row) + i;
    let x_offset = tables[limb + 2u] + i;
    let y_offset = tables[limb + 3u] + i;
    let first = params.terms + 2u * tables[row + 2u];
    let end = first + 2u * tables[row + 3u];
    var total = total_zero();
    var room = LAZY_PRODUCTS;
    var term = first;
    // Four at a time, so that what they read comes together.
    for (; term + 6u < end; term += 8u) {
        let a = vec4(
            x_word(term, x_offset),
            x_word(term + 2u, x_offset),
            x_word(term + 4u, x_offset),
            x_word(term + 6u, x_offset),
        );
        let b = vec4(
            y_word(term, y_offset),
            y_word(term + 2u, y_offset),
            y_word(term + 4u, y_offset),
            y_word(term + 6u, y_offset),
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
    for (; term < end; term += 2u) {
        total_add(&total, x_word(term, x_offset), y_word(term, y_offset));
    }
    var sum = total_residue(total, p);
    if tables[row + 4u] != 0u {
        sum = add_mod(sum, out[to], p.q);
    }
    out[to] = sum;
}
