//! Metrics of classifiers, as people read them.

use pleura::xray::metrics::{BinaryMetrics, Estimate};

/// `87.5 % (64 to 97)`, or `-`.
pub(crate) fn accuracy_text(metrics: &BinaryMetrics) -> String {
    metrics.accuracy.map_or_else(
        || "-".to_owned(),
        |Estimate { value, interval: [low, high] }| {
            format!("{:.1} % ({:.0} to {:.0})", 100.0 * value, 100.0 * low, 100.0 * high)
        },
    )
}

/// `0.984 (0.73 to 1.00)`, or `-`.
pub(crate) fn auc_text(metrics: &BinaryMetrics) -> String {
    metrics.auc.map_or_else(
        || "-".to_owned(),
        |Estimate { value, interval: [low, high] }| format!("{value:.3} ({low:.2} to {high:.2})"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_metrics_are_a_dash() {
        let texts = |metrics: BinaryMetrics| [accuracy_text(&metrics), auc_text(&metrics)];
        // 14 of 16 are right, and 63 of 64 pairs in order.
        let mut items: Vec<(bool, f64, bool)> = (0..16)
            .map(|k: usize| (k < 8, if k < 8 { 1.0 + k as f64 } else { 0.0 }, k < 7 || k == 15))
            .collect();
        items[8].1 = 1.5;
        assert_eq!(texts(BinaryMetrics::new(&items)), ["87.5 % (64 to 97)", "0.984 (0.73 to 1.00)"]);
        let learned = BinaryMetrics::cross_validated(0.875, 0.984, [8, 8]);
        assert_eq!(texts(learned), ["87.5 % (53 to 98)", "0.984 (0.56 to 1.00)"]);
        let sick = BinaryMetrics::new(&[(true, 0.0, true), (true, 0.0, false)]);
        assert_eq!(texts(sick), ["50.0 % (9 to 91)", "-"]);
        assert_eq!(texts(BinaryMetrics::new(&[])), ["-", "-"]);
    }
}
