//! Repeated measurements of a time.

use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Measurements whose interquartile range is a larger share of their median are noisy.
pub const NOISE_BOUND: f64 = 0.1;
/// Fewer measurements have no 99th percentile.
const PERCENTILE_COUNT: usize = 100;
/// Fewer measurements have no interquartile range.
const QUARTILE_COUNT: usize = 4;

/// Repeated measurements of a time, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// Median.
    pub median: f64,
    /// Shortest.
    pub min: f64,
    /// Longest.
    pub max: f64,
    /// 99th percentile, of 100 measurements and more.
    #[serde(default)]
    pub p99: Option<f64>,
    /// Whether [`Times::spread`] is above [`NOISE_BOUND`].
    #[serde(default)]
    pub noisy: Option<bool>,
    /// All measurements in the order they were taken.
    pub all: Vec<f64>,
}

impl Times {
    /// The times of `first` and further measurements.
    #[expect(
        clippy::indexing_slicing,
        reason = "there is one measurement at least, and quantiles lie among them"
    )]
    pub fn new(first: f64, rest: impl IntoIterator<Item = f64>) -> Self {
        let all: Vec<f64> = std::iter::once(first).chain(rest).collect();
        let mut sorted = all.clone();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let median = f64::midpoint(sorted[(count - 1) / 2], sorted[count / 2]);
        let p99 = (count >= PERCENTILE_COUNT).then(|| sorted[(99 * count).div_ceil(100) - 1]);
        let mut times = Self { median, min: sorted[0], max: sorted[count - 1], p99, noisy: None, all };
        times.noisy = times.spread().map(|spread| spread > NOISE_BOUND);
        times
    }

    /// Times of an item each, of work on several.
    #[must_use]
    pub fn per_item(self, items: usize) -> Self {
        let mut each = self.all.iter().map(|seconds| seconds / items as f64);
        match each.next() {
            Some(first) => Self::new(first, each),
            None => self,
        }
    }

    /// Interquartile range as a share of the median, of four measurements and more. One outlier does not count, since it does
    /// not move the median either.
    pub fn spread(&self) -> Option<f64> {
        let mut sorted = self.all.clone();
        sorted.sort_by(f64::total_cmp);
        let quarter = sorted.len() / 4;
        let low = sorted.get(quarter)?;
        let high = sorted.get(sorted.len() - 1 - quarter)?;
        (sorted.len() >= QUARTILE_COUNT && self.median > 0.0).then(|| (high - low) / self.median)
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
        assert_eq!((Times::new(4.0, []).noisy, times.noisy, times.p99), (None, Some(true), None));
        let times = Times::new(1.0, [1.01, 1.02, 1.0, 9.0]);
        assert_eq!(times.noisy, Some(false), "one outlier of five");
        let many = Times::new(1.0, (2..=200).map(f64::from));
        assert_eq!(many.p99, Some(198.0));
        let mut runs = 0;
        let times = Times::of(3, || {
            runs += 1;
            Ok::<_, ()>(())
        });
        assert_eq!((times.unwrap().all.len(), runs), (3, 3));
    }
}
