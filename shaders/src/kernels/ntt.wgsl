// Forward transform of blocks: of whole limbs, or of what `ntt_head` left of them.

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let limb = limb_at(group.y);
    let row_number = row_of(group, thread);
    // Threads without a row work on the last one, since barriers are for all, and keep the result to themselves.
    let row = load_row_entry(min(row_number, params.row_count - 1u));
    let inside = inside_block(thread);
    let p = primes[base(limb).prime];
    let start = group.x << LOG_BLOCK;
    // The root of this block's tree: block b of 2^h hangs on node 2^h + b.
    let root = (1u << (params.log_n - LOG_BLOCK)) + group.x;

    var log_stride = LOG_BLOCK - 4u;
    var v = load16(limb, row, start + inside, 1u << log_stride, p);
    forward16(&v, root, FIRST, p);
    var done = FIRST;
    put(&v, thread, log_stride);
    while done < STAGES {
        workgroupBarrier();
        log_stride = LOG_BLOCK - done - 4u;
        v = take(thread, log_stride);
        forward16(&v, (root << done) + (inside >> log_stride), 4u, p);
        done += 4u;
        put(&v, thread, log_stride);
    }
    workgroupBarrier();
    // Neighbouring threads write neighbouring words.
    v = take(thread, LOG_BLOCK - 4u);
    if row_number < params.row_count {
        store16(limb, row, start + inside, 1u << (LOG_BLOCK - 4u), &v, p);
    }
}
