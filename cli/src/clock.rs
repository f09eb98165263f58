//! Seconds of work.

use std::time::Instant;

/// Adds the seconds of some work to a sum.
pub(crate) fn timed<T>(sum: &mut f64, work: impl FnOnce() -> T) -> T {
    let clock = Instant::now();
    let result = work();
    *sum += clock.elapsed().as_secs_f64();
    result
}
