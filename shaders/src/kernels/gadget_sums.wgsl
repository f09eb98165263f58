// Both parts of sums of diagonals (x) times steps (y). Words of a row's entry: the two results, the first term, how many there are, and
// whether they are added to what `out` holds. A term: the diagonal, the logarithm of how many neighbours each of its words counts
// for, and its step's two parts.

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
    for (var term = first; term < end; term += 4u) {
        let diagonal = x[tables[term] + (x_offset >> tables[term + 1u])];
        total_add(&total0, diagonal, y[tables[term + 2u] + y_offset], p);
        total_add(&total1, diagonal, y[tables[term + 3u] + y_offset], p);
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
