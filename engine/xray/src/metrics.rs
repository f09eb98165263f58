//! Evaluation of predictions: accuracy, sensitivity, specificity and AUC with 95 % confidence intervals, and the
//! confusion matrix.
//!
//! # Mathematics
//! * Proportions (accuracy, sensitivity, specificity) have Wilson's score interval (Wilson 1927; tabulated by
//!   Newcombe 1998, "Two-sided confidence intervals for the single proportion").
//! * The AUC is the Mann-Whitney statistic: the share of pairs of a positive and a negative item whose scores are in
//!   order, ties counting half (Mann and Whitney 1947). Its interval uses the variance of Hanley and McNeil (1982) at
//!   the limits, as Newcombe's method 5 (2006, "Confidence intervals for an effect size measure based on the
//!   Mann-Whitney statistic").

use ndarray::Array2;
use serde::Serialize;

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_964;

/// An estimate with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Lower and upper limit.
    pub interval: [f64; 2],
}

/// Accuracy and AUC of a classifier of two classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct BinaryMetrics {
    /// Share of correct labels; none without items.
    pub accuracy: Option<Estimate>,
    /// Area under the receiver operating characteristic; none without items of both classes.
    pub auc: Option<Estimate>,
}

/// A point of a receiver operating characteristic.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RocPoint {
    /// Items of at least this score count as positive.
    pub threshold: f64,
    /// Share of the negative items that count as positive.
    pub false_positive_rate: f64,
    /// Share of the positive items that count as positive, the sensitivity.
    pub true_positive_rate: f64,
}

/// Counts of items by true and predicted class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfusionMatrix {
    /// `[true class, predicted class]`.
    counts: Array2<usize>,
}

impl Estimate {
    /// A proportion with Wilson's score interval; none of nothing.
    pub fn proportion(successes: usize, count: usize) -> Option<Self> {
        let [successes, total] = [successes, count].map(|count| count as f64);
        (count > 0).then(|| Self { value: successes / total, interval: wilson_interval(successes, total) })
    }

    /// The AUC of scores that should be larger for positive items; none without items of both classes.
    pub fn auc(positive: &[f64], negative: &[f64]) -> Option<Self> {
        if positive.is_empty() || negative.is_empty() {
            return None;
        }
        let [m, n] = [positive, negative].map(|scores| scores.len() as f64);
        let pairs = positive.iter().flat_map(|a| negative.iter().map(move |b| (a, b)));
        let won: f64 = pairs
            .map(|(a, b)| {
                if a > b {
                    1.0
                } else if a == b {
                    0.5
                } else {
                    0.0
                }
            })
            .sum();
        let value = won / (m * n);
        Some(Self { value, interval: auc_interval(value, m, n) })
    }
}

impl BinaryMetrics {
    /// Metrics of items: whether each is positive, its score (larger for positive items), and whether it was labelled
    /// positive.
    pub fn new(items: &[(bool, f64, bool)]) -> Self {
        let correct = items.iter().filter(|(positive, _, labelled)| positive == labelled).count();
        let scores = |class: bool| -> Vec<f64> {
            items.iter().filter(|item| item.0 == class).map(|item| item.1).collect()
        };
        Self {
            accuracy: Estimate::proportion(correct, items.len()),
            auc: Estimate::auc(&scores(true), &scores(false)),
        }
    }

    /// Metrics of a classifier that was trained on the same few items, some of them left out in turn: its balanced
    /// accuracy (the mean of sensitivity and specificity), its AUC, and the counts of positive and negative items.
    ///
    /// The training of such a classifier varies with the items too, and its scores are not independent: intervals
    /// that ignore it contain the truth less often than they claim. Those for half as many items do contain it
    /// (tested on noise).
    pub fn cross_validated(balanced_accuracy: f64, auc: f64, counts: [usize; 2]) -> Self {
        let [positive, negative] = counts.map(|count| count as f64 / 2.0);
        // A balanced sample of this size gives the same precision.
        let count = 4.0 * positive * negative / (positive + negative);
        let interval = wilson_interval(balanced_accuracy * count, count);
        Self {
            accuracy: Some(Estimate { value: balanced_accuracy, interval }),
            auc: Some(Estimate { value: auc, interval: auc_interval(auc, positive, negative) }),
        }
    }
}

impl ConfusionMatrix {
    /// An empty matrix over some classes.
    pub fn new(classes: usize) -> Self {
        Self { counts: Array2::zeros((classes, classes)) }
    }

    /// Counts an item; false if a class does not exist, and nothing was counted.
    pub fn add(&mut self, truth: usize, predicted: usize) -> bool {
        let count = self.counts.get_mut((truth, predicted));
        count.map(|count| *count += 1).is_some()
    }

    /// Counts `[true class, predicted class]`.
    pub fn counts(&self) -> &Array2<usize> {
        &self.counts
    }

    /// Number of items.
    pub fn total(&self) -> usize {
        self.counts.sum()
    }

    /// Number of items with the correct label.
    pub fn correct(&self) -> usize {
        self.counts.diag().sum()
    }

    /// Share of correct labels; none without items.
    pub fn accuracy(&self) -> Option<Estimate> {
        Estimate::proportion(self.correct(), self.total())
    }

    /// Share of a class's items that are labelled as it; none without such items.
    pub fn sensitivity(&self, class: usize) -> Option<Estimate> {
        let row: usize = self.counts.rows().into_iter().nth(class)?.sum();
        Estimate::proportion(*self.counts.get((class, class))?, row)
    }

    /// Share of the other classes' items that are not labelled as a class; none without such items.
    pub fn specificity(&self, class: usize) -> Option<Estimate> {
        let row: usize = self.counts.rows().into_iter().nth(class)?.sum();
        let column: usize = self.counts.columns().into_iter().nth(class)?.sum();
        let others = self.total() - row;
        let mistaken = column - self.counts.get((class, class))?;
        Estimate::proportion(others - mistaken, others)
    }
}

/// The receiver operating characteristic of scores that should be larger for positive items, by falling thresholds. Points on a
/// horizontal or vertical line between two others are left out. The first point has the largest score as its threshold; the
/// curve begins at (0, 0), to which no threshold belongs. Empty without items of both classes.
pub fn roc(positive: &[f64], negative: &[f64]) -> Vec<RocPoint> {
    let mut points: Vec<RocPoint> = Vec::new();
    if positive.is_empty() || negative.is_empty() {
        return points;
    }
    let mut items: Vec<(f64, bool)> = positive.iter().map(|score| (*score, true)).collect();
    items.extend(negative.iter().map(|score| (*score, false)));
    items.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut counts = [0_usize; 2];
    for tied in items.chunk_by(|a, b| a.0 == b.0) {
        let [(threshold, _), ..] = *tied else { continue };
        let hits = tied.iter().filter(|item| item.1).count();
        counts = [counts[0] + tied.len() - hits, counts[1] + hits];
        let point = RocPoint {
            threshold,
            false_positive_rate: counts[0] as f64 / negative.len() as f64,
            true_positive_rate: counts[1] as f64 / positive.len() as f64,
        };
        if let [.., before, last] = points.as_slice() {
            let across = before.true_positive_rate == point.true_positive_rate
                && last.true_positive_rate == point.true_positive_rate;
            let up = before.false_positive_rate == point.false_positive_rate
                && last.false_positive_rate == point.false_positive_rate;
            if across || up {
                points.pop();
            }
        }
        points.push(point);
    }
    points
}

/// Wilson's score interval of the proportion `successes / count`.
fn wilson_interval(successes: f64, count: f64) -> [f64; 2] {
    let n = count;
    let p = successes / n;
    let z2 = Z * Z;
    let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    // Rounding must not leave the estimate itself outside.
    [(middle - half).clamp(0.0, p), (middle + half).clamp(p, 1.0)]
}

/// Interval of an AUC over numbers of positive and negative items: the variance of Hanley and McNeil, taken at the
/// limit and not at the estimate (Newcombe's method 5), so that an AUC of one from few images has an interval too.
fn auc_interval(auc: f64, positive: f64, negative: f64) -> [f64; 2] {
    let m = positive;
    let n = negative;
    // Half a pair is no less certain than one.
    let more = (f64::midpoint(m, n) - 1.0).max(0.0);
    let inside = |limit: f64| {
        let spread = 1.0 + more * (1.0 - limit) / (2.0 - limit) + more * limit / (1.0 + limit);
        (auc - limit).abs() <= Z * (limit * (1.0 - limit) * spread / (m * n)).sqrt()
    };
    // Between the estimate, which is inside, and an end, which is not.
    let limit = |end: f64| {
        let mut within = auc;
        let mut beyond = end;
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
    use pleura_baselines::leak::leave_pair_out;

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
                let learned = leave_pair_out(&images, &labels).unwrap();
                let told =
                    BinaryMetrics::cross_validated(learned.balanced_accuracy, learned.auc, learned.counts);
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
    fn metrics_of_two_classes() {
        // One of four pairs is out of order, one tied.
        let items = [(true, 3.0, true), (true, 1.0, false), (false, 1.0, false), (false, 2.0, true)];
        let BinaryMetrics { accuracy, auc } = BinaryMetrics::new(&items);
        assert_eq!((accuracy.unwrap().value, auc.unwrap().value), (0.5, 0.625));
        assert_eq!(BinaryMetrics::new(&items[..2]).auc, None);
        assert_eq!(BinaryMetrics::new(&[]), BinaryMetrics::default());
    }

    #[test]
    fn a_characteristic_has_its_corners() {
        let points = |positive: &[f64], negative: &[f64]| -> Vec<[f64; 3]> {
            let points = roc(positive, negative);
            points.iter().map(|p| [p.threshold, p.false_positive_rate, p.true_positive_rate]).collect()
        };
        assert!(points(&[1.0], &[]).is_empty());
        assert_eq!(points(&[2.0], &[1.0]), [[2.0, 0.0, 1.0], [1.0, 1.0, 1.0]]);
        let found = points(&[0.9, 0.8, 0.7, 0.4], &[0.6, 0.5, 0.4, 0.1]);
        let expected =
            [[0.9, 0.0, 0.25], [0.7, 0.0, 0.75], [0.5, 0.5, 0.75], [0.4, 0.75, 1.0], [0.1, 1.0, 1.0]];
        assert_eq!(found, expected);
        // Its area is the AUC.
        let mut last = [0.0, 0.0];
        let mut area = 0.0;
        for [_, x, y] in found {
            area += (x - last[0]) * f64::midpoint(y, last[1]);
            last = [x, y];
        }
        let auc = Estimate::auc(&[0.9, 0.8, 0.7, 0.4], &[0.6, 0.5, 0.4, 0.1]).unwrap().value;
        assert!((area - auc).abs() < 1e-12, "{area}, {auc}");
    }

    #[test]
    fn a_confusion_matrix_gives_sensitivity_and_specificity() {
        let mut matrix = ConfusionMatrix::new(3);
        for (truth, predicted, times) in [(0, 0, 5), (0, 1, 1), (1, 1, 3), (2, 1, 2), (2, 2, 4)] {
            assert!((0..times).all(|_| matrix.add(truth, predicted)));
        }
        assert!(!matrix.add(0, 3) && !matrix.add(3, 0));
        let value = |estimate: Option<Estimate>| estimate.map(|estimate| estimate.value);
        assert_eq!((matrix.total(), matrix.correct()), (15, 12));
        assert_eq!(value(matrix.accuracy()), Some(0.8));
        assert_eq!(
            [0, 1, 2].map(|class| value(matrix.sensitivity(class))),
            [Some(5.0 / 6.0), Some(1.0), Some(4.0 / 6.0)]
        );
        assert_eq!(
            [0, 1, 2].map(|class| value(matrix.specificity(class))),
            [Some(1.0), Some(9.0 / 12.0), Some(1.0)]
        );
        assert_eq!(matrix.sensitivity(3), None);
        assert_eq!(ConfusionMatrix::new(2).accuracy(), None);
    }

    #[test]
    fn wilson_as_tabulated() {
        // Newcombe 1998, table I: 81 of 263, 0 of 20, 1 of 29.
        near(wilson_interval(81.0, 263.0), [0.2553, 0.3662]);
        near(wilson_interval(0.0, 20.0), [0.0, 0.1611]);
        near(wilson_interval(1.0, 29.0), [0.0061, 0.1718]);
        for n in (1..300).map(f64::from) {
            assert!(wilson_interval(n, n)[1] == 1.0 && wilson_interval(0.0, n)[0] == 0.0, "{n}");
        }
    }

    #[test]
    fn an_auc_lies_within_its_limits_and_more_images_bring_them_closer() {
        let mut width = f64::INFINITY;
        for count in [4.0, 8.0, 100.0, 1000.0] {
            let [low, high] = auc_interval(0.9, count, count);
            assert!(0.0 < low && low < 0.9 && 0.9 < high && high < 1.0, "{count}: {low} to {high}");
            assert!(high - low < width);
            width = high - low;
        }
        let [low, high] = auc_interval(1.0, 8.0, 8.0);
        assert!(low > 0.5 && low < 0.9 && (high - 1.0).abs() < 1e-9, "{low} to {high}");
        // It is symmetric: which class is called sick does not matter.
        let [a, b] = auc_interval(0.8, 30.0, 50.0);
        let [c, d] = auc_interval(0.2, 50.0, 30.0);
        assert!((a + d - 1.0).abs() < 1e-9 && (b + c - 1.0).abs() < 1e-9);
    }
}
