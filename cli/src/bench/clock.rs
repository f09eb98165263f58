//! How times are taken.

use crate::bench::record::Times;
use crate::error::CliError;
use std::time::Instant;

/// A measurement of less is one of the clock, and of waking a device up.
const ROUND_SECONDS: f64 = 0.02;

/// Runs that are not waited for one by one, at most.
const MAX_RUNS: usize = 64;

/// Seconds of some work that `repeat` times is done and waited for.
pub(crate) fn each<T, E: Into<CliError>>(
    repeat: usize,
    mut work: impl FnMut() -> Result<T, E>,
) -> Result<Times, CliError> {
    let mut all = Vec::with_capacity(repeat);
    for _ in 0..repeat {
        let clock = Instant::now();
        drop(work().map_err(Into::into)?);
        all.push(clock.elapsed().as_secs_f64());
    }
    Times::of(all).ok_or_else(nothing)
}

/// Seconds that one item of `work(runs)` takes, which does something for `batch` items so many times, then waits, and tells
/// its seconds; and the runs.
pub(crate) fn many(
    repeat: usize,
    batch: usize,
    max_runs: usize,
    mut work: impl FnMut(usize) -> Result<f64, CliError>,
) -> Result<(Times, usize), CliError> {
    // Caches are warm and kernels compiled afterwards.
    work(1)?;
    let once = work(1)?;
    let runs = (ROUND_SECONDS / once.max(1e-9)).ceil() as usize;
    let runs = runs.clamp(1, max_runs.clamp(1, MAX_RUNS));
    let items = (runs * batch) as f64;
    let all = (0..repeat).map(|_| Ok(work(runs)? / items)).collect::<Result<Vec<_>, CliError>>()?;
    Ok((Times::of(all).ok_or_else(nothing)?, runs))
}

/// The command line asks for one measurement at least.
fn nothing() -> CliError {
    anyhow::anyhow!("1 measurement failed")
}
