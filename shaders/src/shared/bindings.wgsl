// What every kernel sees. A dispatch is (words of a limb, limbs, rows): each limb and each row has an entry of eight words in
// `tables`, and all offsets there are in words of the buffer that they lead into.

struct Params {
    // Logarithm of the words in a limb.
    log_n: u32,
    // Where the entries of limbs, rows and terms begin in `tables`.
    limbs: u32,
    rows: u32,
    terms: u32,
    // As each kernel says.
    a: u32,
    b: u32,
    c: u32,
    d: u32,
}

const ENTRY: u32 = 8u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> tables: array<u32>;
@group(0) @binding(2) var<storage, read> primes: array<Prime>;
@group(0) @binding(3) var<storage, read> twiddles: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read_write> out: array<u32>;
@group(0) @binding(5) var<storage, read> x: array<u32>;
@group(0) @binding(6) var<storage, read> y: array<u32>;
@group(0) @binding(7) var<storage, read> z: array<u32>;
@group(0) @binding(8) var<storage, read> w: array<u32>;

// Entry of limb `i`: its prime's number, its offset in `out`, in `x` and in `y`, and four words as each kernel says.
fn limb_entry(i: u32) -> u32 {
    return params.limbs + i * ENTRY;
}

fn row_entry(i: u32) -> u32 {
    return params.rows + i * ENTRY;
}

fn limb_prime(limb: u32) -> Prime {
    return primes[tables[limb]];
}

// A factor in two words of `tables`.
fn factor_at(i: u32) -> vec2<u32> {
    return vec2(tables[i], tables[i + 1u]);
}

fn out_at(limb: u32, row: u32) -> u32 {
    return tables[row] + tables[limb + 1u];
}

fn x_at(limb: u32, row: u32) -> u32 {
    return tables[row + 1u] + tables[limb + 2u];
}

fn y_at(limb: u32, row: u32) -> u32 {
    return tables[row + 2u] + tables[limb + 3u];
}
