// Inverse transform of blocks: of whole limbs, or of what `intt_head` then puts together.

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let limb = limb_at(group.y);
    let row_number = row_of(group, thread);
    // Threads without a row work on the last one, since barriers are for all, and keep the result to themselves.
    let row = load_row_entry(min(row_number, params.row_count - 1u));
    let inside = inside_block(thread);
    let p = primes[base(limb).prime];
    let start = group.x << LOG_BLOCK;
    let root = (1u << (params.log_n - LOG_BLOCK)) + group.x;

    let log_wide = LOG_BLOCK - 4u;
    var v = load16(limb, row, start + inside, 1u << log_wide, p);
    put(&v, thread, log_wide);
    workgroupBarrier();
    for (var done = 0u; done < STAGES - FIRST; done += 4u) {
        let left = STAGES - done - 4u;
        let log_stride = LOG_BLOCK - left - 4u;
        v = take(thread, log_stride);
        let node = (root << left) + (inside >> log_stride);
        inverse16(&v, node, 4u, p);
        inverse_node(&v, node, p);
        put(&v, thread, log_stride);
        workgroupBarrier();
    }
    v = take(thread, log_wide);
    inverse16(&v, root, FIRST, p);
    if root == 1u {
        inverse_root(&v, limb.sum_factor, limb.difference_factor, p.q);
    } else {
        inverse_node(&v, root, p);
    }
    if row_number < params.row_count {
        store16(limb, row, start + inside, 1u << log_wide, &v, p);
    }
}
