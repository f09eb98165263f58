//! What stored pictures give away: information, grey levels, images, labels.
//!
//! Mutual information is the plug-in estimate from counts, less `(cells - rows - columns + 1) / (2 N ln 2)` bits (Miller 1955), where what
//! counts is seen at least once. With few pixels that is too little: what is left of pairs that share nothing is far from zero. So shuffled
//! pairs, which share nothing, are a test of whether there is any information, and nothing that is subtracted: where a level is a function of
//! the pixel, the estimate has no such bias.

use crate::random;
use chacha20::ChaCha20Rng;
use crypto_bigint::rand_core::SeedableRng;
use faer::linalg::solvers::Solve;
use faer::{Mat, Side};
use rayon::prelude::*;

/// Grey levels.
const LEVELS: usize = 256;
/// Shares of the levels that are taken to stand for two greys, in several attempts.
const TWOFOLD: [f64; 6] = [0.0, 0.1, 0.2, 0.3, 0.45, 0.6];
/// Shuffles that an estimate is held against.
const SHUFFLES: u8 = 8;
/// How many deviations of the shuffled estimates are not chance.
const DEVIATIONS: f64 = 6.0;

/// How much one pixel tells of another, in bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MutualInformation {
    /// Of the plain pixels.
    pub entropy: f64,
    /// Plain and stored, estimated from counts.
    pub estimate: f64,
    /// What the estimate is too high by, by Miller's formula over the pairs that occur: less than `1 / (2 ln 2)`, and below zero where one is a
    /// function of the other.
    pub bias: f64,
    /// What the estimate is for the same pixels, shuffled: mean of several, to test whether there is any information.
    pub shuffled: f64,
    /// Their standard deviation.
    pub deviation: f64,
}

impl MutualInformation {
    /// Of pixels and what they became.
    pub fn of(plain: &[u8], stored: &[u8]) -> Self {
        let count = plain.len().min(stored.len());
        let joint = counts(plain.iter().copied().zip(stored.iter().copied()));
        let [rows, columns] = [marginal(&joint, |k| k / LEVELS), marginal(&joint, |k| k % LEVELS)];
        let seen = |counts: &[u64]| counts.iter().filter(|&&c| c > 0).count() as f64;
        let bias = (seen(&joint) - seen(&rows) - seen(&columns) + 1.0)
            / (2.0 * count.max(1) as f64 * std::f64::consts::LN_2);
        let shuffled = (0..SHUFFLES).map(|round| {
            let order = random::order(&mut ChaCha20Rng::from_seed([round; 32]), count);
            let other = order.iter().filter_map(|&k| stored.get(k).copied());
            information(&counts(plain.iter().copied().zip(other)))
        });
        let rounds: Vec<f64> = shuffled.collect();
        let shuffled = rounds.iter().sum::<f64>() / f64::from(SHUFFLES);
        let squares = rounds.iter().map(|x| (x - shuffled).powi(2)).sum::<f64>();
        let deviation = (squares / f64::from(SHUFFLES - 1)).sqrt();
        Self { entropy: entropy(&rows), estimate: information(&joint), bias, shuffled, deviation }
    }

    /// Miller's estimate, which is too high where pixels are few.
    pub fn corrected(&self) -> f64 {
        (self.estimate - self.bias).max(0.0)
    }

    /// [`MutualInformation::corrected`] if it is more than chance, by the shuffled pairs; nothing otherwise.
    pub fn beyond_chance(&self) -> f64 {
        let chance = self.shuffled + DEVIATIONS * self.deviation + 1e-6;
        if self.estimate > chance { self.corrected() } else { 0.0 }
    }
}

/// **The codebook attack**: from one image that is known plain and stored, every other one stored under the same randomness.
///
/// Each stored level becomes the mean of the plain levels that were stored as it; levels that were not seen become their neighbours' mean.
pub fn codebook(known: &[u8], stored: &[u8], target: &[u8]) -> Vec<u8> {
    let mut sums = [(0u64, 0u64); LEVELS];
    for (&m, &s) in known.iter().zip(stored) {
        if let Some(entry) = sums.get_mut(usize::from(s)) {
            *entry = (entry.0 + u64::from(m), entry.1 + 1);
        }
    }
    let overall = known.iter().map(|&x| u64::from(x)).sum::<u64>() / known.len().max(1) as u64;
    let level = |s: u8| match sums.get(usize::from(s)) {
        Some(&(sum, count)) if count > 0 => (sum / count) as u8,
        _ => overall as u8,
    };
    target.iter().map(|&s| level(s)).collect()
}

/// **The frequency attack**: a picture from the stored one alone, if its pixels share their randomness, knowing only how grey
/// levels are distributed in such pictures.
///
/// Neighbouring pixels are alike, so stored levels that lie side by side stand for like greys. The order in which all are
/// most like their neighbours is that of the second eigenvector of the graph of neighbours (Atkins, Boman, Hendrickson 1998);
/// levels get the greys of `reference` in that order. Eight bits are too few for all greys: some stored levels stand for two greys that
/// are far apart, and tie the ends of the order together. So several orders are tried, with more or fewer of those left out at
/// first, and the smoothest picture is kept. Which end is black is what makes it more like the reference, best of the same size.
pub fn frequency(stored: &[u8], side: usize, reference: &[u8]) -> Vec<u8> {
    let mut used = stored.to_vec();
    used.sort_unstable();
    used.dedup();
    let place = |s: u8| used.binary_search(&s).unwrap_or(0);
    let places: Vec<usize> = stored.iter().map(|&s| place(s)).collect();
    let mut beside = Mat::<f64>::zeros(used.len(), used.len());
    for (a, b) in neighbours(&places, side) {
        // Large even areas would make their levels a world of their own.
        if a != b {
            *beside.get_mut(a, b) += 1.0;
            *beside.get_mut(b, a) += 1.0;
        }
    }
    let picture = |order: &[usize]| {
        let mut rank = vec![0; used.len()];
        for (k, &level) in order.iter().enumerate() {
            if let Some(entry) = rank.get_mut(level) {
                *entry = k;
            }
        }
        let ranks: Vec<usize> = places.iter().map(|&p| rank.get(p).copied().unwrap_or(0)).collect();
        equalised(&ranks, used.len(), reference)
    };
    let rough =
        |picture: &[u8]| neighbours(picture, side).map(|(a, b)| f64::from(a.abs_diff(b))).sum::<f64>();
    let orders: Vec<Vec<usize>> = TWOFOLD
        .par_iter()
        .flat_map_iter(|&share| [2, 3].map(|which| seriated(&beside, share, which)))
        .collect();
    let smoothest = orders.into_iter().min_by(|a, b| rough(&picture(a)).total_cmp(&rough(&picture(b))));
    let order = smoothest.unwrap_or_default();
    let turned: Vec<usize> = order.iter().rev().copied().collect();
    let [one, other] = [picture(&order), picture(&turned)];
    if correlation(&one, reference) >= correlation(&other, reference) { one } else { other }
}

/// The share of labels that ridge regression on all other images gives right for each: a classifier that learns from what is stored.
///
/// With a kernel, leaving one out has a closed form: `y_i - f_i = alpha_i / (K + ridge)^-1_ii`.
pub fn leave_one_out(images: &[Vec<u8>], labels: &[bool]) -> f64 {
    let count = images.len().min(labels.len());
    let mean = |image: &Vec<u8>| image.iter().map(|&x| f64::from(x)).sum::<f64>() / image.len().max(1) as f64;
    let centred: Vec<Vec<f64>> = images
        .iter()
        .map(|image| {
            let mean = mean(image);
            let spread = image.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>().sqrt().max(1e-9);
            image.iter().map(|&x| (f64::from(x) - mean) / spread).collect()
        })
        .collect();
    let product = |a: usize, b: usize| match (centred.get(a), centred.get(b)) {
        (Some(a), Some(b)) => a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>(),
        _ => 0.0,
    };
    // One more for the constant term.
    let kernel = Mat::from_fn(count, count, |a, b| product(a, b) + 1.0 + f64::from(u8::from(a == b)) * 0.1);
    let Ok(solver) = kernel.llt(Side::Lower) else { return f64::NAN };
    let target = |i: usize| if labels.get(i) == Some(&true) { 1.0 } else { -1.0 };
    let alpha = solver.solve(Mat::from_fn(count, 1, |i, _| target(i)));
    let inverse = solver.solve(Mat::<f64>::identity(count, count));
    let right = (0..count).filter(|&i| {
        let predicted = target(i) - alpha.get(i, 0) / inverse.get(i, i);
        predicted * target(i) > 0.0
    });
    right.count() as f64 / count.max(1) as f64
}

fn counts(pairs: impl Iterator<Item = (u8, u8)>) -> Vec<u64> {
    let mut counts = vec![0u64; LEVELS * LEVELS];
    for (a, b) in pairs {
        if let Some(entry) = counts.get_mut(usize::from(a) * LEVELS + usize::from(b)) {
            *entry += 1;
        }
    }
    counts
}

fn marginal(joint: &[u64], of: impl Fn(usize) -> usize) -> Vec<u64> {
    let mut sums = vec![0; LEVELS];
    for (k, &count) in joint.iter().enumerate() {
        if let Some(entry) = sums.get_mut(of(k)) {
            *entry += count;
        }
    }
    sums
}

fn entropy(counts: &[u64]) -> f64 {
    let total = counts.iter().sum::<u64>() as f64;
    let each = counts.iter().filter(|&&c| c > 0).map(|&c| c as f64 / total);
    each.map(|p| -p * p.log2()).sum()
}

fn information(joint: &[u64]) -> f64 {
    let marginals = entropy(&marginal(joint, |k| k / LEVELS)) + entropy(&marginal(joint, |k| k % LEVELS));
    // Rounding may leave a little less than nothing.
    (marginals - entropy(joint)).max(0.0)
}

/// Values side by side and one above the other.
fn neighbours<T: Copy>(values: &[T], side: usize) -> impl Iterator<Item = (T, T)> {
    let across = values.chunks(side.max(1)).flat_map(|row| row.iter().zip(row.iter().skip(1)));
    let down = values.iter().zip(values.iter().skip(side.max(1)));
    across.chain(down).map(|(&a, &b)| (a, b))
}

/// Levels in the order in which neighbours are alike, by eigenvector `which` from the top; a `share` of them is put in its place last:
/// those whose neighbours are not each other's neighbours.
fn seriated(beside: &Mat<f64>, share: f64, which: usize) -> Vec<usize> {
    let count = beside.nrows();
    let degree: Vec<f64> =
        (0..count).map(|a| (0..count).map(|b| beside.get(a, b)).sum::<f64>().max(1.0)).collect();
    let of = |values: &[f64], a: usize| values.get(a).copied().unwrap_or(0.0);
    let step = Mat::from_fn(count, count, |a, b| beside.get(a, b) / of(&degree, a));
    let likeness =
        Mat::from_fn(count, count, |a, b| beside.get(a, b) / (of(&degree, a) * of(&degree, b)).sqrt());
    let spread = &step * &likeness;
    let coherence: Vec<f64> =
        (0..count).map(|a| (0..count).map(|b| spread.get(a, b) * step.get(a, b)).sum()).collect();
    let around = |a: usize| (0..count).map(|b| step.get(a, b) * of(&coherence, b)).sum::<f64>();
    let relative: Vec<f64> =
        coherence.iter().enumerate().map(|(a, c)| c / around(a).max(f64::MIN_POSITIVE)).collect();
    let mut sorted: Vec<usize> = (0..count).collect();
    sorted.sort_by(|&a, &b| of(&relative, b).total_cmp(&of(&relative, a)));
    let (clear, twofold) = sorted.split_at(count - (count as f64 * share) as usize);
    let between = Mat::from_fn(clear.len(), clear.len(), |a, b| match (clear.get(a), clear.get(b)) {
        (Some(&a), Some(&b)) => beside.get(a, b).to_owned(),
        _ => 0.0,
    });
    let mut places = vec![0.0; count];
    for (rank, &k) in by_eigenvector(&between, which).iter().enumerate() {
        if let Some(place) = clear.get(k).and_then(|&level| places.get_mut(level)) {
            *place = rank as f64;
        }
    }
    for &level in twofold {
        // The weighted median of the places of its neighbours: of two greys, the more frequent one.
        let mut near: Vec<(f64, f64)> =
            clear.iter().map(|&other| (of(&places, other), beside.get(level, other).to_owned())).collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0));
        let half = near.iter().map(|x| x.1).sum::<f64>() / 2.0;
        let mut sum = 0.0;
        let median = near.iter().find(|x| {
            sum += x.1;
            sum >= half
        });
        if let (Some(place), Some(&(median, _))) = (places.get_mut(level), median) {
            *place = median;
        }
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| of(&places, a).total_cmp(&of(&places, b)));
    order
}

/// The order of a graph's nodes in an eigenvector of its random walk; the first is constant.
fn by_eigenvector(beside: &Mat<f64>, which: usize) -> Vec<usize> {
    let count = beside.nrows();
    let root: Vec<f64> =
        (0..count).map(|a| (0..count).map(|b| beside.get(a, b)).sum::<f64>().max(1.0).sqrt()).collect();
    let of = |a: usize| root.get(a).copied().unwrap_or(1.0);
    let normalised = Mat::from_fn(count, count, |a, b| beside.get(a, b) / (of(a) * of(b)));
    let mut order: Vec<usize> = (0..count).collect();
    if count > which
        && let Ok(eigen) = normalised.self_adjoint_eigen(Side::Lower)
    {
        // In ascending order: the last is the constant one.
        let value = |a: usize| eigen.U().get(a, count - which) / of(a);
        order.sort_by(|&a, &b| value(a).total_cmp(&value(b)));
    }
    order
}

/// Pixels of given ranks with the greys of a reference.
fn equalised(ranks: &[usize], levels: usize, reference: &[u8]) -> Vec<u8> {
    let mut sorted = reference.to_vec();
    sorted.sort_unstable();
    let mut counts = vec![0usize; levels];
    for &rank in ranks {
        if let Some(entry) = counts.get_mut(rank) {
            *entry += 1;
        }
    }
    let mut below = 0;
    let grey = |count: &usize| {
        // The middle of the pixels of this rank.
        let middle = (2 * below + count) * sorted.len() / (2 * ranks.len().max(1));
        below += count;
        sorted.get(middle.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
    };
    let greys: Vec<u8> = counts.iter().map(grey).collect();
    ranks.iter().map(|&rank| greys.get(rank).copied().unwrap_or(0)).collect()
}

/// Pearson's, of pixels at the same place.
fn correlation(a: &[u8], b: &[u8]) -> f64 {
    let count = a.len().min(b.len()).max(1) as f64;
    let mean = |x: &[u8]| x.iter().map(|&x| f64::from(x)).sum::<f64>() / x.len().max(1) as f64;
    let (ma, mb) = (mean(a), mean(b));
    let product = |(&x, &y): (&u8, &u8)| (f64::from(x) - ma) * (f64::from(y) - mb);
    let spread =
        |x: &[u8], m: f64| (x.iter().map(|&x| (f64::from(x) - m).powi(2)).sum::<f64>() / count).sqrt();
    a.iter().zip(b).map(product).sum::<f64>() / count / (spread(a, ma) * spread(b, mb)).max(1e-9)
}
