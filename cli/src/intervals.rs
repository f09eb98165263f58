//! Figures of few images, with their 95 % intervals.

use pleura::baselines::leak::Learned;
use serde::Serialize;

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_964;

/// A figure with the ends of its interval.
#[derive(Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Measured {
    pub(crate) value: f64,
    pub(crate) interval: [f64; 2],
}

/// How well two kinds of images are told apart, as far as it is known.
#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct Quality {
    pub(crate) accuracy: Option<Measured>,
    pub(crate) auc: Option<Measured>,
}

impl Quality {
    /// Of a classifier that was there before: `right` of all the sick and healthy, whose scores have this AUC.
    pub(crate) fn of(right: usize, auc: f64, sick: usize, healthy: usize) -> Self {
        let [right, sick, healthy] = [right, sick, healthy].map(|count| count as f64);
        let count = sick + healthy;
        let accuracy =
            (count > 0.0).then(|| Measured { value: right / count, interval: wilson(right, count) });
        let auc =
            (sick * healthy > 0.0).then(|| Measured { value: auc, interval: self::auc(auc, sick, healthy) });
        Self { accuracy, auc }
    }

    /// Of a classifier that is trained on the same few images, with some left out in turn: accuracy is the mean of both labels' shares.
    ///
    /// What it learns varies with the images too, and scores are not independent: intervals that take them for such hold the truth less
    /// often than they say. Those of half as many images do (tested on noise).
    pub(crate) fn learned(learned: &Learned) -> Self {
        let [sick, healthy] = learned.counts.map(|count| count as f64 / 2.0);
        // As many as would tell as much if labels were in balance.
        let count = 4.0 * sick * healthy / (sick + healthy);
        let accuracy = learned.balanced_accuracy;
        Self {
            accuracy: Some(Measured { value: accuracy, interval: wilson(accuracy * count, count) }),
            auc: Some(Measured { value: learned.auc, interval: auc(learned.auc, sick, healthy) }),
        }
    }

    /// `87.5 % (64 to 97)`, or `-`.
    pub(crate) fn accuracy_text(&self) -> String {
        let text = |Measured { value, interval: [low, high] }| {
            format!("{:.1} % ({:.0} to {:.0})", 100.0 * value, 100.0 * low, 100.0 * high)
        };
        self.accuracy.map_or_else(|| "-".to_owned(), text)
    }

    /// `0.984 (0.73 to 1.00)`, or `-`.
    pub(crate) fn auc_text(&self) -> String {
        let text = |Measured { value, interval: [low, high] }| format!("{value:.3} ({low:.2} to {high:.2})");
        self.auc.map_or_else(|| "-".to_owned(), text)
    }
}

/// For a share of `right` in `count` (Wilson 1927).
fn wilson(right: f64, count: f64) -> [f64; 2] {
    let n = count;
    let (p, z2) = (right / n, Z * Z);
    let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    // Rounding must not leave the share itself outside.
    [(middle - half).clamp(0.0, p), (middle + half).clamp(p, 1.0)]
}

/// For an AUC over so many sick and healthy (Hanley and McNeil 1982), with the variance at the limit and not at the
/// estimate (Newcombe 2006, method 5): an AUC of one from few images has an interval too.
fn auc(auc: f64, sick: f64, healthy: f64) -> [f64; 2] {
    let (m, n) = (sick, healthy);
    // Half a pair is no less certain than one.
    let more = (f64::midpoint(m, n) - 1.0).max(0.0);
    let inside = |limit: f64| {
        let spread = 1.0 + more * (1.0 - limit) / (2.0 - limit) + more * limit / (1.0 + limit);
        (auc - limit).abs() <= Z * (limit * (1.0 - limit) * spread / (m * n)).sqrt()
    };
    // Between the estimate, which is inside, and an end, which is not.
    let limit = |end: f64| {
        let (mut within, mut beyond) = (auc, end);
        for _ in 0..60 {
            let middle = f64::midpoint(within, beyond);
            *(if inside(middle) { &mut within } else { &mut beyond }) = middle;
        }
        within
    };
    [limit(0.0), limit(1.0)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use pleura::baselines::leak::leave_pair_out;

    fn near(got: [f64; 2], expected: [f64; 2]) {
        assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3), "{got:?}, not {expected:?}");
    }

    #[test]
    fn intervals_of_what_is_learned_hold_chance_where_there_is_nothing_to_learn() {
        const TRIALS: usize = 400;
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut byte = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 56) as u8
        };
        for (count, sick) in [(16, 8), (24, 6)] {
            let labels: Vec<bool> = (0..count).map(|k| k < sick).collect();
            // Accuracy and AUC.
            let mut held = [0usize; 2];
            for _ in 0..TRIALS {
                let images: Vec<Vec<u8>> = (0..count).map(|_| (0..64).map(|_| byte()).collect()).collect();
                let told = Quality::learned(&leave_pair_out(&images, &labels).unwrap());
                for (held, found) in held.iter_mut().zip([told.accuracy, told.auc]) {
                    let [low, high] = found.unwrap().interval;
                    *held += usize::from(low <= 0.5 && 0.5 <= high);
                }
            }
            let share = held.map(|held| held as f64 / TRIALS as f64);
            assert!(share.iter().all(|&share| share > 0.93), "{count}, {sick}: {share:?}");
        }
    }

    #[test]
    fn what_is_unknown_is_a_dash() {
        let texts = |quality: Quality| [quality.accuracy_text(), quality.auc_text()];
        assert_eq!(texts(Quality::of(14, 0.984, 8, 8)), ["87.5 % (64 to 97)", "0.984 (0.73 to 1.00)"]);
        let learned = Learned { balanced_accuracy: 0.875, auc: 0.984, counts: [8, 8] };
        assert_eq!(texts(Quality::learned(&learned)), ["87.5 % (53 to 98)", "0.984 (0.56 to 1.00)"]);
        assert_eq!(texts(Quality::of(1, 0.0, 2, 0)), ["50.0 % (9 to 91)", "-"]);
        assert_eq!(texts(Quality::of(0, 0.0, 0, 0)), ["-", "-"]);
    }

    #[test]
    fn wilson_as_tabulated() {
        // Newcombe 1998, table I: 81 of 263, 0 of 20, 1 of 29.
        near(wilson(81.0, 263.0), [0.2553, 0.3662]);
        near(wilson(0.0, 20.0), [0.0, 0.1611]);
        near(wilson(1.0, 29.0), [0.0061, 0.1718]);
        for n in (1..300).map(f64::from) {
            assert!(wilson(n, n)[1] == 1.0 && wilson(0.0, n)[0] == 0.0, "{n}");
        }
    }

    #[test]
    fn an_auc_lies_within_its_limits_and_more_images_bring_them_closer() {
        let mut width = f64::INFINITY;
        for count in [4.0, 8.0, 100.0, 1000.0] {
            let [low, high] = auc(0.9, count, count);
            assert!(0.0 < low && low < 0.9 && 0.9 < high && high < 1.0, "{count}: {low} to {high}");
            assert!(high - low < width);
            width = high - low;
        }
        let [low, high] = auc(1.0, 8.0, 8.0);
        assert!(low > 0.5 && low < 0.9 && (high - 1.0).abs() < 1e-9, "{low} to {high}");
        // It is symmetric: which class is called sick does not matter.
        let ([a, b], [c, d]) = (auc(0.8, 30.0, 50.0), auc(0.2, 50.0, 30.0));
        assert!((a + d - 1.0).abs() < 1e-9 && (b + c - 1.0).abs() < 1e-9);
    }
}
