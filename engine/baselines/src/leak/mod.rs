//! What stored pictures give away: information, grey levels, images, labels.
//!
//! Mutual information is the plug-in estimate from counts, less `(cells - rows - columns + 1) / (2 N ln 2)` bits (Miller 1955), where what
//! counts is seen at least once. With few pixels that is too little: what is left of pairs that share nothing is far from zero. So shuffled
//! pairs, which share nothing, are a test of whether there is any information, and nothing that is subtracted: where a level is a function of
//! the pixel, the estimate has no such bias.

mod affine;
mod frequency;
mod learn;

pub use affine::affine;
pub use frequency::frequency;
pub use learn::{Learned, leave_pair_out};

use crate::random;
use chacha20::ChaCha20Rng;
use crypto_bigint::rand_core::SeedableRng;

/// Grey levels.
const LEVELS: usize = 256;
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
