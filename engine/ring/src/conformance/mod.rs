//! The suite that holds a [`Backend`] to the words of the scalar [`Cpu`].
//!
//! One function per operation of the trait, generic over the device. It runs on the reference, which records the
//! words of every result, then on the device with the same operands, whose words must be the same. Before each
//! case the device uploads and drops garbage, so that a result which relies on fresh memory shows itself, and
//! after it the operands must be as they were.

mod operations;
mod switching;
mod trial;

pub use trial::{Failure, Place};

use crate::{Backend, Cpu, Ring, RingError, RingKind, Simd, primes_below};
use operations::operations;
use std::fmt::Display;
use std::sync::Arc;
use trial::Trial;

/// Logarithms of degrees that take a device through transforms of several shapes, in seconds.
pub const DEGREES: [u32; 3] = [10, 12, 13];

/// Beyond this degree there is one ring of few primes, to save memory and time: cases with more are left out.
const MAX_WIDE_LOG_N: u32 = 13;

/// Results that a device passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The device's name.
    pub device: String,
    /// Number of results compared, for each operation.
    pub results: Vec<(&'static str, usize)>,
    /// Number of words compared, over all operations.
    pub words: u64,
}

/// Runs every operation of both kinds of ring on devices from `make`, at degrees given by their logarithms, for instance [`DEGREES`].
///
/// # Errors
/// The first [`Failure`].
pub fn check<B: Backend, E: Display>(
    log_degrees: &[u32],
    make: impl Fn(Arc<Ring>) -> Result<B, E>,
) -> Result<Report, Failure> {
    let mut report = Report::default();
    for &log_n in log_degrees {
        let no_device = |reason: String| Failure::NoDevice { log_n, reason };
        for (primes, ring) in all_rings(log_n).map_err(|e| no_device(e.to_string()))? {
            let reference = Cpu::with(ring.clone(), Simd::Scalar, 1).map_err(|e| no_device(e.to_string()))?;
            let device = make(ring).map_err(|e| no_device(e.to_string()))?;
            report.device = device.name();
            for ((name, record), (_, test)) in operations().into_iter().zip(operations()) {
                let at = Place {
                    operation: name,
                    case: String::new(),
                    kind: reference.ring().kind(),
                    log_n,
                    primes,
                };
                let mut recorder = Trial::new(&reference, at.clone(), None);
                record(&mut recorder)?;
                let mut trial = Trial::new(&device, at, Some(recorder.recorded));
                test(&mut trial)?;
                match report.results.iter_mut().find(|(operation, _)| *operation == name) {
                    Some((_, results)) => *results += trial.results,
                    None => report.results.push((name, trial.results)),
                }
                report.words += trial.words;
            }
        }
    }
    Ok(report)
}

/// The rings of both kinds.
fn all_rings(log_n: u32) -> Result<Vec<(&'static str, Arc<Ring>)>, RingError> {
    let mut all = Vec::new();
    for kind in RingKind::ALL {
        all.extend(rings(kind, log_n)?);
    }
    Ok(all)
}

/// A ring of mixed primes, and one of primes just below `2^30`, where accumulators come closest to overflow.
fn rings(kind: RingKind, log_n: u32) -> Result<Vec<(&'static str, Arc<Ring>)>, RingError> {
    // Half the order of the roots, which primes are congruent to 1 modulo.
    let half = kind.root_order(1 << log_n.min(17)) / 2;
    let wide = log_n <= MAX_WIDE_LOG_N;
    let mut primes = Vec::new();
    for bits in [30, 20, 27, 22, 29, 24, 26, 30, 23, 28] {
        // A prime of b bits needs room for several candidates.
        primes.extend(primes_below(f64::from(bits.max(half.ilog2() + 7)), half, 1, &primes)?);
    }
    let (q, p) = primes.split_at(if wide { 7 } else { 5 });
    let p = p.split_at(if wide { 3 } else { 2 }).0;
    let mut rings = vec![("mixed", Arc::new(Ring::of_kind(kind, log_n, q, p)?))];
    if wide {
        let primes = primes_below(30.0, half, 21, &[])?;
        let (q, p) = primes.split_at(18);
        rings.insert(0, ("large", Arc::new(Ring::of_kind(kind, log_n, q, p)?)));
    }
    Ok(rings)
}
