//! 95 % intervals for small numbers of images.

/// The 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_964;

/// For a share of `right` in `count` (Wilson 1927).
pub(super) fn wilson(right: usize, count: usize) -> [f64; 2] {
    let n = count.max(1) as f64;
    let (p, z2) = (right as f64 / n, Z * Z);
    let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    [(middle - half).max(0.0), (middle + half).min(1.0)]
}

/// For an AUC over so many sick and healthy (Hanley and McNeil 1982), with the variance at the limit and not at the
/// estimate (Newcombe 2006, method 5): an AUC of one from few images has an interval too.
pub(super) fn auc(auc: f64, sick: usize, healthy: usize) -> [f64; 2] {
    let (m, n) = (sick.max(1) as f64, healthy.max(1) as f64);
    let more = f64::midpoint(m, n) - 1.0;
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

    fn near(got: [f64; 2], expected: [f64; 2]) {
        assert!(got.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3), "{got:?}, not {expected:?}");
    }

    #[test]
    fn wilson_as_tabulated() {
        // Newcombe 1998, table I: 81 of 263, 0 of 20, 1 of 29.
        near(wilson(81, 263), [0.2553, 0.3662]);
        near(wilson(0, 20), [0.0, 0.1611]);
        near(wilson(1, 29), [0.0061, 0.1718]);
    }

    #[test]
    fn an_auc_lies_within_its_limits_and_more_images_bring_them_closer() {
        let mut width = f64::INFINITY;
        for count in [4, 8, 100, 1000] {
            let [low, high] = auc(0.9, count, count);
            assert!(0.0 < low && low < 0.9 && 0.9 < high && high < 1.0, "{count}: {low} to {high}");
            assert!(high - low < width);
            width = high - low;
        }
        let [low, high] = auc(1.0, 8, 8);
        assert!(low > 0.5 && low < 0.9 && (high - 1.0).abs() < 1e-9, "{low} to {high}");
        // It is symmetric: which class is called sick does not matter.
        let ([a, b], [c, d]) = (auc(0.8, 30, 50), auc(0.2, 50, 30));
        assert!((a + d - 1.0).abs() < 1e-9 && (b + c - 1.0).abs() < 1e-9);
    }
}
