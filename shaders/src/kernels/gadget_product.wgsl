// Key switching up to ModDown, both results of a row. Words of its entry: the two results, the first term, how many there are, and
// whether they are added to what `out` holds.
//
// A term has eight words: its first extended digit in x, the poly that was extended in y, the addends of both results in z, what it
// has (an addend of the first result: 1, of the second: 2; the first digit's number in byte 1, how many there are in byte 2), the
// first digit's key in w, the automorphism, and the words in a poly of the key. Digits are params.a words apart.
//
// A limb's entry has its own order: its prime, its offset in `out`, in y and z, in the key, the digit that has this limb as its own
// (which is read from y), P mod q with its Shoup quotient (1 where addends count as they are, 0 where they vanish), its offset in x.

const TERM: u32 = 8u;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    if i >= 1u << params.log_n {
        return;
    }
    let limb = limb_entry(id.y);
    let row = row_entry(id.z);
    let p = limb_prime(limb);
    let digit_words = params.a;
    let plain_offset = tables[limb + 2u];
    let key_offset = tables[limb + 3u] + i;
    let own = tables[limb + 4u];
    let lift = factor_at(limb + 5u);
    let digit_offset = tables[limb + 7u];

    var sum0 = 0u;
    var sum1 = 0u;
    var total0 = total_zero();
    var total1 = total_zero();
    var room = LAZY_PRODUCTS;
    let first = params.terms + TERM * tables[row + 2u];
    let end = first + TERM * tables[row + 3u];
    for (var term = first; term < end; term += TERM) {
        let source = source_of(i, tables[term + 6u]);
        let kind = tables[term + 4u];
        if (kind & 1u) != 0u && lift.x != 0u {
            let addend = z[tables[term + 2u] + plain_offset + source];
            sum0 = add_mod(sum0, below(shoup(addend, lift, p.q), p.q), p.q);
        }
        if (kind & 2u) != 0u && lift.x != 0u {
            let addend = z[tables[term + 3u] + plain_offset + source];
            sum1 = add_mod(sum1, below(shoup(addend, lift, p.q), p.q), p.q);
        }
        let key_words = tables[term + 7u];
        var key = tables[term + 5u] + key_offset;
        var digit_at = tables[term] + digit_offset + source;
        let first_digit = (kind >> 8u) & 255u;
        let end_digit = first_digit + (kind >> 16u);
        for (var d = first_digit; d < end_digit; d++) {
            if room == 0u {
                total_reduce(&total0, p);
                total_reduce(&total1, p);
                room = LAZY_PRODUCTS;
            }
            room -= 1u;
            // All that is read, then the products.
            let key0 = w[key];
            let key1 = w[key + key_words];
            var digit: u32;
            if d == own {
                digit = y[tables[term + 1u] + plain_offset + source];
            } else {
                digit = x[digit_at];
            }
            total_add(&total0, digit, key0);
            total_add(&total1, digit, key1);
            key += 2u * key_words;
            digit_at += digit_words;
        }
    }
    sum0 = add_mod(sum0, total_residue(total0, p), p.q);
    sum1 = add_mod(sum1, total_residue(total1, p), p.q);
    let to0 = tables[row] + tables[limb + 1u] + i;
    let to1 = tables[row + 1u] + tables[limb + 1u] + i;
    if tables[row + 4u] != 0u {
        sum0 = add_mod(sum0, out[to0], p.q);
        sum1 = add_mod(sum1, out[to1], p.q);
    }
    out[to0] = sum0;
    out[to1] = sum1;
}
