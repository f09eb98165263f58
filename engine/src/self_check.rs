//! Comparison of a device with the scalar reference.

use crate::{Device, DeviceError};
use pleura_gpu::GpuError;
use pleura_ring::conformance::{self, Failure};
use pleura_ring::{Backend, BackendError, Coeff, Ring, primes_below};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

/// Result of [`self_check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelfCheck {
    /// All results, this many, had the words of the scalar reference.
    Passed(usize),
    /// The device has no memory left for the check.
    OutOfMemory,
    /// A result was wrong, or the device failed.
    Failed(String),
}

/// Compares every operation of a device at degree `2^log_n` with the scalar reference.
pub fn self_check(device: &Device, log_n: u32) -> SelfCheck {
    check(
        log_n,
        |ring| device.backend(&ring),
        |error| matches!(error, DeviceError::Gpu(GpuError::Backend(BackendError::OutOfMemory { .. }))),
    )
}

/// Words that a device transforms in a second: forward and inverse transforms of 64 polynomials over four primes of 30 bits at
/// `n = 2^13`, the fastest of three runs. `None` if it fails.
pub fn transform_rate(device: &Device) -> Option<f64> {
    let primes = primes_below(30.0, 1 << SPEED_LOG_N, SPEED_PRIMES, &[]).ok()?;
    let ring = Arc::new(Ring::new(SPEED_LOG_N, &primes, &[]).ok()?);
    let backend = device.backend(&ring).ok()?;
    let limbs = ring.limbs();
    let words = vec![1; ring.words(limbs, SPEED_POLYS)];
    let mut least: Option<f64> = None;
    // The first run warms up.
    for run in 0..=SPEED_RUNS {
        let x = backend.upload::<Coeff>(limbs, SPEED_POLYS, &words).ok()?;
        backend.wait().ok()?;
        let clock = Instant::now();
        drop(backend.intt(backend.ntt(x)));
        backend.wait().ok()?;
        let seconds = clock.elapsed().as_secs_f64();
        least = if run == 0 { None } else { Some(least.map_or(seconds, |least| least.min(seconds))) };
    }
    Some(2.0 * words.len() as f64 / least?)
}

/// Size of the measurement of a device's speed.
const SPEED_LOG_N: u32 = 13;
const SPEED_PRIMES: usize = 4;
const SPEED_POLYS: usize = 64;
const SPEED_RUNS: usize = 3;

fn check<B: Backend, E: std::fmt::Display>(
    log_n: u32,
    make: impl Fn(Arc<Ring>) -> Result<B, E>,
    is_full: impl Fn(&E) -> bool,
) -> SelfCheck {
    // The suite keeps the words of an error alone.
    let full = Cell::new(false);
    match conformance::check(&[log_n], |ring| make(ring).inspect_err(|error| full.set(is_full(error)))) {
        Ok(report) => SelfCheck::Passed(report.results.iter().map(|(_, results)| results).sum()),
        Err(Failure::Device { error: BackendError::OutOfMemory { .. }, .. }) => SelfCheck::OutOfMemory,
        Err(Failure::NoDevice { .. }) if full.get() => SelfCheck::OutOfMemory,
        Err(failure) => SelfCheck::Failed(failure.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pleura_ring::Cpu;

    #[test]
    fn a_lack_of_memory_is_no_failure() {
        let make = |_| Err::<Cpu, _>("full");
        assert_eq!(check(10, make, |_| true), SelfCheck::OutOfMemory);
        assert!(matches!(check(10, make, |_| false), SelfCheck::Failed(_)));
        assert!(matches!(self_check(&Device::cpu(Some(1)), 10), SelfCheck::Passed(_)));
    }
}
