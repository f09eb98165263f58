// Sums of diagonals times baby steps, on four neighbouring words.

// Four words of a diagonal, each of whose words counts for 2^log_run neighbours.
fn diagonal(term: BabyStepTerm, offset: u32) -> vec4<u32> {
    let log_run = term.diagonal >> 27u;
    let at = ((term.diagonal & 0x7ffffffu) << 4u) + (offset >> log_run);
    // All threads take the same way.
    if log_run >= 2u {
        return vec4(x[at]);
    }
    if log_run == 1u {
        return vec4(x[at], x[at], x[at + 1u], x[at + 1u]);
    }
    return vec4(x[at], x[at + 1u], x[at + 2u], x[at + 3u]);
}
