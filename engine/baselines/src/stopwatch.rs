//! Seconds of work.

use std::time::Instant;

/// Does some work and adds its seconds to a sum.
pub(crate) fn timed<T>(sum: &mut f64, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *sum += start.elapsed().as_secs_f64();
    result
}
