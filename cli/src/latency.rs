//! Distribution of the times of repeated inferences.

use anyhow::Result;
use serde::Serialize;
use std::fmt;
use std::time::Instant;

/// Most repeated inferences.
pub(crate) const MAX_REPEATS: usize = 1_000_000;

/// Seconds of repeated inferences of one group.
#[derive(Serialize)]
pub(crate) struct Latency {
    /// Number of inferences, without the one that warms up.
    repeats: usize,
    least: f64,
    median: f64,
    /// Below which 90 and 99 in 100 inferences stay.
    p90: f64,
    p99: f64,
    most: f64,
    /// All of them, in order.
    seconds: Vec<f64>,
}

impl Latency {
    /// The distribution of the times of an inference that is repeated, after one that warms up.
    pub(crate) fn of_repeats(repeats: usize, infer: impl Fn() -> Result<()>) -> Result<Option<Self>> {
        infer()?;
        let bar = crate::progress::bar().with_prefix("repeat");
        bar.set_length(repeats as u64);
        let mut seconds = Vec::with_capacity(repeats);
        for _ in 0..repeats {
            let clock = Instant::now();
            infer()?;
            seconds.push(clock.elapsed().as_secs_f64());
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(Self::new(seconds))
    }

    /// The distribution of some times; none without any.
    pub(crate) fn new(seconds: Vec<f64>) -> Option<Self> {
        let mut sorted = seconds.clone();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            repeats: seconds.len(),
            least: *sorted.first()?,
            median: quantile(&sorted, 50)?,
            p90: quantile(&sorted, 90)?,
            p99: quantile(&sorted, 99)?,
            most: *sorted.last()?,
            seconds,
        })
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [least, median, p90, p99, most] =
            [self.least, self.median, self.p90, self.p99, self.most].map(|seconds| 1e3 * seconds);
        write!(
            f,
            "{} inferences of a group: median {median:.2} ms, 90 % below {p90:.2} ms, 99 % below {p99:.2} ms, {least:.2} to {most:.2} ms; \
             {:.1} groups a second",
            self.repeats,
            1e3 / median
        )
    }
}

/// The smallest value that is no less than `percent` in 100 of sorted values.
fn quantile(sorted: &[f64], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_of_the_list() {
        let latency = Latency::new((1..=200).rev().map(f64::from).collect()).unwrap();
        assert_eq!(
            [latency.least, latency.median, latency.p90, latency.p99, latency.most],
            [1.0, 100.0, 180.0, 198.0, 200.0]
        );
        assert!(Latency::new(Vec::new()).is_none());
        assert_eq!(Latency::new(vec![0.5]).unwrap().p99, 0.5);
        assert!(latency.to_string().starts_with("200 inferences of a group: median 100000.00 ms"));
    }
}
