//! Weights of neighbouring output channels, side by side.

/// Output channels that are computed at once.
pub(crate) const GROUP: usize = 8;

/// `[length][lane]` of `[lane][length]`, with zeros in missing lanes.
#[expect(clippy::indexing_slicing, reason = "callers pass a group at most: one more row is a bug, and stops")]
pub(crate) fn interleaved(rows: &[f32], length: usize) -> Vec<[f32; GROUP]> {
    let mut out = vec![[0.0; GROUP]; length];
    for (lane, row) in rows.chunks_exact(length.max(1)).enumerate() {
        for (group, value) in out.iter_mut().zip(row) {
            group[lane] = *value;
        }
    }
    out
}
