//! Repeated measurements of a time.

use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Repeated measurements of a time, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// Median.
    pub median: f64,
    /// Shortest.
    pub min: f64,
    /// Longest.
    pub max: f64,
    /// All measurements in the order they were taken.
    pub all: Vec<f64>,
}

impl Times {
    /// The times of `first` and further measurements.
    pub fn new(first: f64, rest: impl IntoIterator<Item = f64>) -> Self {
        let all: Vec<f64> = std::iter::once(first).chain(rest).collect();
        let mut sorted = all.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |i: usize| sorted.get(i).copied().unwrap_or(first);
        let median = f64::midpoint(at((all.len() - 1) / 2), at(all.len() / 2));
        Self { median, min: at(0), max: at(all.len() - 1), all }
    }

    /// The times of some work, done and waited for `repeat` times, once at least.
    ///
    /// # Errors
    /// Those of the work.
    pub fn of<T, E>(repeat: usize, mut work: impl FnMut() -> Result<T, E>) -> Result<Self, E> {
        let mut one = || -> Result<f64, E> {
            let clock = Instant::now();
            drop(work()?);
            Ok(clock.elapsed().as_secs_f64())
        };
        let first = one()?;
        let rest: Vec<f64> = (1..repeat).map(|_| one()).collect::<Result<_, E>>()?;
        Ok(Self::new(first, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_middle() {
        let times = Times::new(3.0, [1.0, 2.0, 10.0]);
        assert_eq!((times.median, times.min, times.max), (2.5, 1.0, 10.0));
        assert_eq!(Times::new(4.0, []).median, 4.0);
        let mut runs = 0;
        let times = Times::of(3, || {
            runs += 1;
            Ok::<_, ()>(())
        });
        assert_eq!((times.unwrap().all.len(), runs), (3, 3));
    }
}
