//! Shared by the tests of this crate.

use pleura_ring::Simd;

/// The instruction sets to test. Missing ones are named on standard error.
pub(crate) fn simds() -> Vec<Simd> {
    let (available, skipped) = split(Simd::is_available);
    for line in skipped {
        eprintln!("{line}");
    }
    available
}

/// Those sets that are there, and a line for each that is not.
pub(crate) fn split(is_available: impl Fn(Simd) -> bool) -> (Vec<Simd>, Vec<String>) {
    let (available, missing): (Vec<_>, Vec<_>) = Simd::ALL.into_iter().partition(|&simd| is_available(simd));
    let notes = missing.into_iter().map(|simd| format!("skipped: this processor lacks {}", simd.name()));
    (available, notes.collect())
}
