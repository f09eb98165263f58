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

// A word's place: 32 neighbouring threads meet in no bank, whether their words lie side by side or `1 << log_stride` is 1 or 16.
fn place(i: u32) -> u32 {
    return i ^ ((i >> 5u) & 15u) ^ ((i >> 4u) & 16u);
}

// The place of the first of a thread's sixteen words, which lie `1 << log_stride` apart. The first one's number has zeros where those
// of the others differ from it, and places are linear over bits: the others' are the first one's with what all threads have in common.
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
