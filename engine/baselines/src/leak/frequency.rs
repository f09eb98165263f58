//! The attack on a substitution of grey levels by the likeness of neighbouring pixels.

use super::{LEVELS, apart, correlation};
use crate::dense;
use ndarray::Array2;
use rayon::prelude::*;

/// Shares of the levels that are taken to stand for two greys, in several attempts.
const TWOFOLD: [f64; 6] = [0.0, 0.1, 0.2, 0.3, 0.45, 0.6];

/// **The frequency attack**: a picture from the stored one alone, if its pixels share their randomness, knowing only how grey
/// levels are distributed in such pictures.
///
/// Neighbouring pixels are alike, so stored levels that lie side by side stand for like greys. The order in which all are
/// most like their neighbours is that of the second eigenvector of the graph of neighbours (Atkins, Boman, Hendrickson 1998), or of the
/// third where a few levels by themselves make up the second;
/// levels get the greys of `reference` in that order. Eight bits are too few for all greys: some stored levels stand for two greys that
/// are far apart, and tie the ends of the order together. So several orders are tried, with more or fewer of those left out at
/// first, and the smoothest picture is kept. Which end is black is what makes it more like the reference, best of the same size.
#[expect(clippy::indexing_slicing, reason = "the matrix has the size of what is counted")]
pub fn frequency(stored: &[u8], side: usize, reference: &[u8]) -> Vec<u8> {
    let mut used = stored.to_vec();
    used.sort_unstable();
    used.dedup();
    let mut place = [0; LEVELS];
    for (k, &level) in used.iter().enumerate() {
        place[usize::from(level)] = k;
    }
    let places: Vec<usize> = stored.iter().map(|&level| place[usize::from(level)]).collect();
    let mut beside = Array2::<f64>::zeros((used.len(), used.len()));
    for (a, b) in apart(&places, side, 1) {
        // Large even areas would make their levels a world of their own.
        if a != b {
            beside[[a, b]] += 1.0;
            beside[[b, a]] += 1.0;
        }
    }
    let picture = |order: &[usize]| {
        let mut rank = vec![0; used.len()];
        for (k, &level) in order.iter().enumerate() {
            rank[level] = k;
        }
        let ranks: Vec<usize> = places.iter().map(|&p| rank[p]).collect();
        equalized(&ranks, used.len(), reference)
    };
    let rough = |picture: &[u8]| apart(picture, side, 1).map(|(a, b)| f64::from(a.abs_diff(b))).sum::<f64>();
    let mut orders: Vec<(f64, Vec<usize>)> = TWOFOLD
        .par_iter()
        .flat_map_iter(|&share| [2, 3].map(|which| seriated(&beside, share, which)))
        .map(|order| (rough(&picture(&order)), order))
        .collect();
    orders.sort_by(|a, b| a.0.total_cmp(&b.0));
    let smoothest = &orders[0].1;
    let turned: Vec<usize> = smoothest.iter().rev().copied().collect();
    let one = picture(smoothest);
    let other = picture(&turned);
    let likeness = |picture: &[u8]| {
        correlation(picture.iter().zip(reference).map(|(&a, &b)| (f64::from(a), f64::from(b))))
    };
    if likeness(&one) >= likeness(&other) { one } else { other }
}

/// Levels in the order in which neighbours are alike, by eigenvector `which` from the top; a `share` of them is put in its place last:
/// those whose neighbours are not each other's neighbours.
#[expect(clippy::indexing_slicing, reason = "the matrix has the size of what is counted")]
fn seriated(beside: &Array2<f64>, share: f64, which: usize) -> Vec<usize> {
    let count = beside.nrows();
    let degree: Vec<f64> = beside.rows().into_iter().map(|row| row.sum().max(1.0)).collect();
    let step = Array2::from_shape_fn((count, count), |(a, b)| beside[[a, b]] / degree[a]);
    let likeness =
        Array2::from_shape_fn((count, count), |(a, b)| beside[[a, b]] / (degree[a] * degree[b]).sqrt());
    let spread = step.dot(&likeness);
    let coherence: Vec<f64> =
        spread.rows().into_iter().zip(step.rows()).map(|(spread, step)| spread.dot(&step)).collect();
    let around = |a: usize| (0..count).map(|b| step[[a, b]] * coherence[b]).sum::<f64>();
    let relative: Vec<f64> =
        coherence.iter().enumerate().map(|(a, c)| c / around(a).max(f64::MIN_POSITIVE)).collect();
    let mut sorted: Vec<usize> = (0..count).collect();
    sorted.sort_by(|&a, &b| relative[b].total_cmp(&relative[a]));
    let (clear, twofold) = sorted.split_at(count - (count as f64 * share) as usize);
    let between = Array2::from_shape_fn((clear.len(), clear.len()), |(a, b)| beside[[clear[a], clear[b]]]);
    let mut places = vec![0.0; count];
    for (rank, &k) in by_eigenvector(&between, which).iter().enumerate() {
        places[clear[k]] = rank as f64;
    }
    for &level in twofold {
        // The weighted median of the places of its neighbours: of two greys, the more frequent one.
        let mut near: Vec<(f64, f64)> =
            clear.iter().map(|&other| (places[other], beside[[level, other]])).collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0));
        let half = near.iter().map(|x| x.1).sum::<f64>() / 2.0;
        let mut sum = 0.0;
        let median = near.iter().find(|x| {
            sum += x.1;
            sum >= half
        });
        if let Some(&(median, _)) = median {
            places[level] = median;
        }
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| places[a].total_cmp(&places[b]));
    order
}

/// The order of a graph's nodes in an eigenvector of its random walk; the first is constant.
#[expect(clippy::indexing_slicing, reason = "the matrix has the size of what is counted")]
fn by_eigenvector(beside: &Array2<f64>, which: usize) -> Vec<usize> {
    let count = beside.nrows();
    let root: Vec<f64> = beside.rows().into_iter().map(|row| row.sum().max(1.0).sqrt()).collect();
    let normalized = Array2::from_shape_fn((count, count), |(a, b)| beside[[a, b]] / (root[a] * root[b]));
    let mut order: Vec<usize> = (0..count).collect();
    if count > which
        && let Some((_, vectors)) = dense::symmetric_eigen(&normalized)
    {
        // In ascending order: the last is the constant one.
        let value = |a: usize| vectors[[count - which, a]] / root[a];
        order.sort_by(|&a, &b| value(a).total_cmp(&value(b)));
    }
    order
}

/// Pixels of given ranks with the greys of a reference; black without one.
#[expect(clippy::indexing_slicing, reason = "ranks are below the number of levels")]
fn equalized(ranks: &[usize], levels: usize, reference: &[u8]) -> Vec<u8> {
    if reference.is_empty() {
        return vec![0; ranks.len()];
    }
    let mut sorted = reference.to_vec();
    sorted.sort_unstable();
    let mut counts = vec![0usize; levels];
    for &rank in ranks {
        counts[rank] += 1;
    }
    let mut below = 0;
    let greys: Vec<u8> = counts
        .iter()
        .map(|count| {
            // The middle of the pixels of this rank.
            let middle = (2 * below + count) * sorted.len() / (2 * ranks.len().max(1));
            below += count;
            sorted[middle.min(sorted.len() - 1)]
        })
        .collect();
    ranks.iter().map(|&rank| greys[rank]).collect()
}
