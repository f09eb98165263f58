//! Leakage of stored pictures: information, grey levels, images, labels.
//!
//! Mutual information is the plug-in estimate from counts, less its bias of `(cells - rows - columns + 1) / (2 N ln 2)` bits
//! (Miller 1955), where only occupied cells, rows and columns count. With few pixels this is less than the whole bias:
//! independent pairs still seem to share information. Therefore shuffled pairs, which are independent, test whether there is any
//! information. Their estimate is not subtracted, since a level that is a function of the pixel has no such bias.

mod affine;
mod frequency;
mod learn;

pub use affine::{Opened, STEADY_NOISE, affine};
pub use frequency::frequency;
pub use learn::{FEWEST_LABELLED, Learned, learnable, leave_pair_out};

use crate::random;
use chacha20::ChaCha20Rng;
use crypto_bigint::rand_core::SeedableRng;

/// Grey levels.
const LEVELS: usize = 256;
/// Number of shuffles that an estimate is compared with.
const SHUFFLES: u8 = 16;
/// Pixels that information is estimated from, spread over all: more make it no clearer.
const SAMPLED: usize = 1 << 20;
/// Deviations of the shuffled estimates beyond which an estimate is significant.
const DEVIATIONS: f64 = 6.0;

/// Mutual information of a pixel and its stored level, in bits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MutualInformation {
    /// Entropy of the plain pixels, in bits.
    pub entropy: f64,
    /// Plain and stored, estimated from counts.
    pub estimate: f64,
    /// Bias of the estimate, by Miller's formula over the pairs that occur: less than `1 / (2 ln 2)`, and below zero where one is
    /// a function of the other.
    pub bias: f64,
    /// Mean estimate for shuffled pixels, which tests whether there is any information.
    pub shuffled: f64,
    /// Their standard deviation.
    pub deviation: f64,
}

impl MutualInformation {
    /// Information between pixels and their stored levels.
    pub fn of(plain: &[u8], stored: &[u8]) -> Self {
        let count = plain.len().min(stored.len());
        let pairs = plain.iter().copied().zip(stored.iter().copied());
        let (plain, stored): (Vec<u8>, Vec<u8>) = pairs.step_by(count.div_ceil(SAMPLED).max(1)).unzip();
        let count = plain.len();
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

    /// Mean over several images, each with a substitution of its own. (Over the pixels of all images together, information falls
    /// with the number of images, which does not show how well each is hidden.)
    pub fn mean(of: &[Self]) -> Self {
        let count = of.len().max(1) as f64;
        let mean = |field: fn(&Self) -> f64| of.iter().map(field).sum::<f64>() / count;
        Self {
            entropy: mean(|x| x.entropy),
            estimate: mean(|x| x.estimate),
            bias: mean(|x| x.bias),
            shuffled: mean(|x| x.shuffled),
            deviation: mean(|x| x.deviation) / count.sqrt(),
        }
    }

    /// The estimate less its bias, at most the entropy.
    pub fn corrected(&self) -> f64 {
        (self.estimate - self.bias).clamp(0.0, self.entropy.max(0.0))
    }

    /// [`MutualInformation::corrected`] if it is more than chance, by the shuffled pairs; nothing otherwise.
    pub fn beyond_chance(&self) -> f64 {
        let chance = self.shuffled + DEVIATIONS * self.deviation + 1e-6;
        if self.estimate > chance { self.corrected() } else { 0.0 }
    }
}

/// **The codebook attack**: from images that are known plain and stored, all others stored under the same randomness.
///
/// Each stored level becomes the mean of the plain pixels that were stored as it, and a level that was not seen the mean of all.
#[derive(Clone, Debug)]
pub struct Codebook {
    /// Sum of the plain pixels of each level, and their number.
    sums: Vec<(u64, u64)>,
}

impl Default for Codebook {
    fn default() -> Self {
        Self { sums: vec![(0, 0); LEVELS] }
    }
}

impl Codebook {
    /// Adds an image that is known.
    #[expect(clippy::indexing_slicing, reason = "there is an entry for each level")]
    pub fn learn(&mut self, known: &[u8], stored: &[u8]) {
        for (&m, &s) in known.iter().zip(stored) {
            let (sum, count) = &mut self.sums[usize::from(s)];
            *sum += u64::from(m);
            *count += 1;
        }
    }

    /// The codebook without an image that was added.
    pub fn without(&self, known: &[u8], stored: &[u8]) -> Self {
        let mut own = Self::default();
        own.learn(known, stored);
        let pairs = self.sums.iter().zip(own.sums);
        Self { sums: pairs.map(|(a, b)| (a.0.saturating_sub(b.0), a.1.saturating_sub(b.1))).collect() }
    }

    /// A stored image as far as it is known.
    #[expect(clippy::indexing_slicing, reason = "there is an entry for each level")]
    pub fn open(&self, stored: &[u8]) -> Vec<u8> {
        let all = self.sums.iter().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
        let mean = |(sum, count): (u64, u64)| (sum / count.max(1)) as u8;
        stored
            .iter()
            .map(|&level| {
                let seen = self.sums[usize::from(level)];
                mean(if seen.1 > 0 { seen } else { all })
            })
            .collect()
    }
}

#[expect(clippy::indexing_slicing, reason = "there is an entry for each pair of levels")]
fn counts(pairs: impl Iterator<Item = (u8, u8)>) -> Vec<u64> {
    let mut counts = vec![0u64; LEVELS * LEVELS];
    for (a, b) in pairs {
        counts[usize::from(a) * LEVELS + usize::from(b)] += 1;
    }
    counts
}

#[expect(clippy::indexing_slicing, reason = "callers name a level of a pair")]
fn marginal(joint: &[u64], of: impl Fn(usize) -> usize) -> Vec<u64> {
    let mut sums = vec![0; LEVELS];
    for (k, &count) in joint.iter().enumerate() {
        sums[of(k)] += count;
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

/// Values that lie so far apart in a row or a column.
fn apart<T: Copy>(values: &[T], side: usize, far: usize) -> impl Iterator<Item = (T, T)> {
    let across = values.chunks(side.max(1)).flat_map(move |row| row.iter().zip(row.iter().skip(far)));
    let down = values.iter().zip(values.iter().skip(far * side.max(1)));
    across.chain(down).map(|(&a, &b)| (a, b))
}

/// Pearson's, of pairs of pixels; zero where either is even.
fn correlation(pairs: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let count = pairs.clone().count().max(1) as f64;
    let (sum_a, sum_b) = pairs.clone().fold((0.0, 0.0), |(a, b), (x, y)| (a + x, b + y));
    let mean_a = sum_a / count;
    let mean_b = sum_b / count;
    let [ab, aa, bb] = pairs.fold([0.0; 3], |[ab, aa, bb], (x, y)| {
        let x = x - mean_a;
        let y = y - mean_b;
        [ab + x * y, aa + x * x, bb + y * y]
    });
    ab / (aa * bb).sqrt().max(1e-9)
}
