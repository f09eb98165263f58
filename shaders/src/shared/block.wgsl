// A block of a limb in the memory that a workgroup shares; each thread has sixteen words of it in registers. The first pass takes
// FIRST stages, every other one four; there are STAGES in all, as many as the block has doublings unless it holds copies of
// something shorter.

// Logarithm of the words in a block, 4 or more.
override LOG_BLOCK: u32;
override FIRST: u32;
override STAGES: u32;
override WORDS: u32;
override THREADS: u32;

var<workgroup> block: array<u32, WORDS>;

// A word's place: the banks of neighbouring threads differ whatever their stride is.
fn place(i: u32) -> u32 {
    return i ^ ((i >> 5u) & 31u);
}

// The first word of a thread's sixteen, which lie `1 << log_stride` apart.
fn first_word(thread: u32, log_stride: u32) -> u32 {
    let inside = thread & ((1u << log_stride) - 1u);
    return ((thread - inside) << 4u) + inside;
}

fn put(v: ptr<function, array<u32, 16>>, thread: u32, log_stride: u32) {
    let first = first_word(thread, log_stride);
    block[place(first)] = (*v)[0];
    block[place(first + (1u << log_stride))] = (*v)[1];
    block[place(first + (2u << log_stride))] = (*v)[2];
    block[place(first + (3u << log_stride))] = (*v)[3];
    block[place(first + (4u << log_stride))] = (*v)[4];
    block[place(first + (5u << log_stride))] = (*v)[5];
    block[place(first + (6u << log_stride))] = (*v)[6];
    block[place(first + (7u << log_stride))] = (*v)[7];
    block[place(first + (8u << log_stride))] = (*v)[8];
    block[place(first + (9u << log_stride))] = (*v)[9];
    block[place(first + (10u << log_stride))] = (*v)[10];
    block[place(first + (11u << log_stride))] = (*v)[11];
    block[place(first + (12u << log_stride))] = (*v)[12];
    block[place(first + (13u << log_stride))] = (*v)[13];
    block[place(first + (14u << log_stride))] = (*v)[14];
    block[place(first + (15u << log_stride))] = (*v)[15];
}

fn take(thread: u32, log_stride: u32) -> array<u32, 16> {
    let first = first_word(thread, log_stride);
    return array<u32, 16>(
        block[place(first)],
        block[place(first + (1u << log_stride))],
        block[place(first + (2u << log_stride))],
        block[place(first + (3u << log_stride))],
        block[place(first + (4u << log_stride))],
        block[place(first + (5u << log_stride))],
        block[place(first + (6u << log_stride))],
        block[place(first + (7u << log_stride))],
        block[place(first + (8u << log_stride))],
        block[place(first + (9u << log_stride))],
        block[place(first + (10u << log_stride))],
        block[place(first + (11u << log_stride))],
        block[place(first + (12u << log_stride))],
        block[place(first + (13u << log_stride))],
        block[place(first + (14u << log_stride))],
        block[place(first + (15u << log_stride))],
    );
}
