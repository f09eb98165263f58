// Sums of diagonals times baby steps, on four neighbouring words.

// Four words of a diagonal, each of whose words counts for 2^log_run neighbours.
fn diagonal(term: BabyStepTerm, offset: u32) -> vec4<u32> {
    let at = term.x_offset + (offset >> term.log_run);
    return vec4(x[at], x[at + (1u >> term.log_run)], x[at + (2u >> term.log_run)], x[at + (3u >> term.log_run)]);
}
