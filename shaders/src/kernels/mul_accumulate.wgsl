// out (+)= sum x y over the terms of a row. Words of its entry: the result, none, the first term, how many there are, and whether the
// sum is added to what `out` holds. A term is two offsets.

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
    for (var term = first; term < end; term += 2u) {
        total_add(&total, x[tables[term] + x_offset], y[tables[term + 1u] + y_offset], p);
    }
    var sum = total_residue(total, p);
    if tables[row + 4u] != 0u {
        sum = add_mod(sum, out[to], p.q);
    }
    out[to] = sum;
}
