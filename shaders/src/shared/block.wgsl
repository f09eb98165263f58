// Blocks of limbs in the memory that a workgroup shares; each thread has sixteen words of one in registers. The first pass takes
// FIRST stages, every other one four; there are STAGES in all, as many as the block has doublings unless it holds copies of
// something shorter. Where a block is short, a workgroup has those of several rows: of 64 threads at least, because some drivers do not
// keep barriers in smaller ones, and others leave lanes empty.

// Logarithm of the words in a block, 4 or more.
override LOG_BLOCK: u32;
override FIRST: u32;
override STAGES: u32;
override ROWS: u32;
override WORDS: u32;
override THREADS: u32;

var<workgroup> block: array<u32, WORDS>;

// The row of a thread, which may be one too many, and the thread's position in its block.
fn row_of(group: vec3<u32>, thread: u32) -> u32 {
    return group.z * ROWS + (thread >> (LOG_BLOCK - 4u));
}

fn inside_block(thread: u32) -> u32 {
    return thread & ((1u << (LOG_BLOCK - 4u)) - 1u);
}

// A word's place: 32 neighbouring threads meet in no bank, whether their words lie side by side or `1 << log_stride` is 1 or 16.
fn place(i: u32) -> u32 {
    return i ^ ((i >> 5u) & 15u) ^ ((i >> 4u) & 16u);
}

// The place of the first of a thread's sixteen words, which lie `1 << log_stride` apart. The first one's number has zeros where those
// of the others differ from it, and places are linear over bits: the others' are the first one's with what all threads have in common.
// Threads of further blocks go on counting, and so do their words.
fn first_place(thread: u32, log_stride: u32) -> u32 {
    let inside = thread & ((1u << log_stride) - 1u);
    return place(((thread - inside) << 4u) + inside);
}

// Where `take` of the same stride takes from, which no other thread does: between the two there needs no barrier.
fn put(v: ptr<function, array<u32, 16>>, thread: u32, log_stride: u32) {
    let first = first_place(thread, log_stride);
    block[first] = (*v)[0];
    block[first ^ place(1u << log_stride)] = (*v)[1];
    block[first ^ place(2u << log_stride)] = (*v)[2];
    block[first ^ place(3u << log_stride)] = (*v)[3];
    block[first ^ place(4u << log_stride)] = (*v)[4];
    block[first ^ place(5u << log_stride)] = (*v)[5];
    block[first ^ place(6u << log_stride)] = (*v)[6];
    block[first ^ place(7u << log_stride)] = (*v)[7];
    block[first ^ place(8u << log_stride)] = (*v)[8];
    block[first ^ place(9u << log_stride)] = (*v)[9];
    block[first ^ place(10u << log_stride)] = (*v)[10];
    block[first ^ place(11u << log_stride)] = (*v)[11];
    block[first ^ place(12u << log_stride)] = (*v)[12];
    block[first ^ place(13u << log_stride)] = (*v)[13];
    block[first ^ place(14u << log_stride)] = (*v)[14];
    block[first ^ place(15u << log_stride)] = (*v)[15];
}

fn take(thread: u32, log_stride: u32) -> array<u32, 16> {
    let first = first_place(thread, log_stride);
    return array<u32, 16>(
        block[first],
        block[first ^ place(1u << log_stride)],
        block[first ^ place(2u << log_stride)],
        block[first ^ place(3u << log_stride)],
        block[first ^ place(4u << log_stride)],
        block[first ^ place(5u << log_stride)],
        block[first ^ place(6u << log_stride)],
        block[first ^ place(7u << log_stride)],
        block[first ^ place(8u << log_stride)],
        block[first ^ place(9u << log_stride)],
        block[first ^ place(10u << log_stride)],
        block[first ^ place(11u << log_stride)],
        block[first ^ place(12u << log_stride)],
        block[first ^ place(13u << log_stride)],
        block[first ^ place(14u << log_stride)],
        block[first ^ place(15u << log_stride)],
    );
}
