// Uniform residues from the streams of seeds, one stream for each 1024 words of a limb. A word x of it gives floor(x q / 2^32), unless
// x q mod 2^32 is below 2^32 mod q: then it is skipped, so that each residue comes of as many words. Streams are those of ChaCha20
// (RFC 8439); the nonce is the label of public polynomials, the number of the polynomial, and the positions of prime and chunk. Each
// thread computes a block of sixteen words, and writes those that are kept behind those of the threads before it.

const THREADS: u32 = 64u;
const LOG_CHUNK: u32 = 10u;
const PUBLIC: u32 = 4u;

var<workgroup> kept: array<u32, THREADS>;

// The state, four words to a vector, so that a quarter round is one of all four.
struct State {
    a: vec4<u32>,
    b: vec4<u32>,
    c: vec4<u32>,
    d: vec4<u32>,
}

fn turn(v: vec4<u32>, bits: u32) -> vec4<u32> {
    return (v << vec4(bits)) | (v >> vec4(32u - bits));
}

fn quarter_rounds(s: State) -> State {
    var v = s;
    v.a += v.b;
    v.d = turn(v.d ^ v.a, 16u);
    v.c += v.d;
    v.b = turn(v.b ^ v.c, 12u);
    v.a += v.b;
    v.d = turn(v.d ^ v.a, 8u);
    v.c += v.d;
    v.b = turn(v.b ^ v.c, 7u);
    return v;
}

// A block of a stream.
fn chacha20(start: State) -> State {
    var v = start;
    for (var i = 0u; i < 10u; i++) {
        // Columns, then diagonals.
        v = quarter_rounds(v);
        v = quarter_rounds(State(v.a, v.b.yzwx, v.c.zwxy, v.d.wxyz));
        v = State(v.a, v.b.wxyz, v.c.zwxy, v.d.yzwx);
    }
    return State(v.a + start.a, v.b + start.b, v.c + start.c, v.d + start.d);
}

// Where the kept words of a stream go.
struct Place {
    q: u32,
    first_kept: u32,
    start: u32,
    wanted: u32,
}

// How many of four words are kept.
fn kept_of(words: vec4<u32>, place: Place) -> u32 {
    let is_kept = select(vec4(0u), vec4(1u), words * vec4(place.q) >= vec4(place.first_kept));
    return is_kept.x + is_kept.y + is_kept.z + is_kept.w;
}

// Writes a word that is kept; returns the number of those so far.
fn keep(word: u32, at: u32, place: Place) -> u32 {
    if word * place.q < place.first_kept {
        return at;
    }
    if at < place.wanted {
        out[place.start + at] = mul_high(word, place.q);
    }
    return at + 1u;
}

fn keep4(words: vec4<u32>, at: u32, place: Place) -> u32 {
    return keep(words.w, keep(words.z, keep(words.y, keep(words.x, at, place), place), place), place);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let limb = load_limb_entry(group.y);
    let row = load_seed_row(group.z);
    let place = Place(
        primes[limb.prime].q,
        primes[limb.prime].r.x,
        row.out_offset + limb.out_offset + (group.x << LOG_CHUNK),
        min(1u << LOG_CHUNK, 1u << params.log_n),
    );
    let seed = row.x_offset;
    var start = State(
        vec4(0x61707865u, 0x3320646eu, 0x79622d32u, 0x6b206574u),
        vec4(x[seed], x[seed + 1u], x[seed + 2u], x[seed + 3u]),
        vec4(x[seed + 4u], x[seed + 5u], x[seed + 6u], x[seed + 7u]),
        vec4(thread, PUBLIC, row.number, (limb.prime << 16u) | group.x),
    );
    var filled = 0u;
    loop {
        let words = chacha20(start);
        let count =
            kept_of(words.a, place) + kept_of(words.b, place) + kept_of(words.c, place) + kept_of(words.d, place);
        kept[thread] = count;
        workgroupBarrier();
        // Sums of the counts of 1, 2, 4 and more threads up to this one.
        for (var distance = 1u; distance < THREADS; distance <<= 1u) {
            var before = 0u;
            if thread >= distance {
                before = kept[thread - distance];
            }
            workgroupBarrier();
            kept[thread] += before;
            workgroupBarrier();
        }
        let at = keep4(words.b, keep4(words.a, filled + kept[thread] - count, place), place);
        _ = keep4(words.d, keep4(words.c, at, place), place);
        filled += workgroupUniformLoad(&kept[THREADS - 1u]);
        if filled >= place.wanted {
            break;
        }
        start.d.x += THREADS;
    }
}
