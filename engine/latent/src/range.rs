//! The range of an image's values, without few that lie far from the others: a bright marker must not turn a chest dark.

/// Share of pixels at each end that may be a marker, or defects.
const MARKER: f64 = 0.05;
/// Values are far from the others if they lie farther outside than this many times the range of those.
const FENCE: f64 = 0.75;
/// Where values are far, the blurred edges of what they show lie between them and the others: the outermost of those that are
/// not far, up to this share of pixels, are left out too if they stretch the range by more than `EDGE`.
const EDGE_SHARE: f64 = 0.001;
const EDGE: f64 = 0.35;

/// The range to show of values, each with its count, and the share of pixels outside.
pub(crate) fn robust_range(values: &[(f64, u32)]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total = count(&sorted);
    let [Some(first), Some(last)] = [sorted.first(), sorted.last()] else { return (0.0, 0.0, 0.0) };
    let first = first.0;
    let last = last.0;
    let [low, high] = [quantile(&sorted, MARKER), quantile(&sorted, 1.0 - MARKER)];
    if high <= low {
        return (first, last, 0.0);
    }
    let fence = FENCE * (high - low);
    let near: Vec<(f64, u32)> =
        sorted.iter().copied().filter(|(x, _)| (low - fence..=high + fence).contains(x)).collect();
    let inside = |share: f64, otherwise: f64, is_end: bool| {
        if is_end {
            return otherwise;
        }
        let end = if share > 0.5 { near.last() } else { near.first() }.map_or(otherwise, |(x, _)| *x);
        let most = quantile(&near, share);
        if (end - most).abs() > EDGE * (high - low) { most } else { end }
    };
    let bottom = inside(EDGE_SHARE, first, first >= low - fence);
    let top = inside(1.0 - EDGE_SHARE, last, last <= high + fence);
    let shown: Vec<_> = sorted.iter().copied().filter(|(x, _)| (bottom..=top).contains(x)).collect();
    (bottom, top, 1.0 - count(&shown) / total)
}

fn count(values: &[(f64, u32)]) -> f64 {
    values.iter().map(|(_, count)| f64::from(*count)).sum()
}

/// The quantile of sorted values: a share of them is at most this value.
fn quantile(sorted: &[(f64, u32)], share: f64) -> f64 {
    let target = share * count(sorted);
    let mut seen = 0.0;
    let reached = sorted.iter().find(|(_, count)| {
        seen += f64::from(*count);
        seen >= target
    });
    reached.or(sorted.last()).map_or(0.0, |(x, _)| *x)
}
