//! **The affine attack**: pictures from the stored ones alone, if ciphertexts share their randomness.
//!
//! With `R = r^n` for all pixels, a ciphertext is affine in the pixel: `(1 + m n) R = R + m (n R mod n^2)` modulo `n^2`. So the stored level of grey
//! `m` is `(first + m step) mod period`, rounded: three real numbers, whatever the size of the key. Neighbours are alike, so most of their levels
//! differ by small multiples of the step, modulo the period: a scan over both finds those that make the observed differences most
//! likely. Greys are then unwrapped like phases: each pixel takes the grey, of those with its level, that is most like its
//! neighbours'. The mirror image `255 - m` and, unless all greys are in use, a constant remain unknown; another X-ray decides.

use super::{LEVELS, apart, correlation};
use crate::dense;
use ndarray::Array2;
use rayon::prelude::*;
use std::cmp::Reverse;
use std::ops::RangeInclusive;

/// Neighbours differ by `d` greys about as often as `1 / (TYPICAL + d)^2`.
const TYPICAL: f64 = 6.0;
/// Typical difference of pixels that are [`FAR`] apart.
const TYPICAL_FAR: f64 = 18.0;
/// Pixels.
const FAR: [usize; 2] = [3, 6];
/// The share of differences that may be anything.
const ANYTHING: f64 = 0.05;
/// Periods that are tried: with most greys in use, the lowest and the highest level are nearly a period apart. Pictures with few greys are not
/// opened.
const PERIODS: RangeInclusive<f64> = 255.0..=266.0;
/// Coarse guesses that are looked at closely.
const GUESSES: usize = 48;
/// Number of different slopes that are unwrapped.
const SLOPES: usize = 3;
/// Most greys that are considered for one level: more are only near at steps close to a simple fraction of the period.
const CHOICES: usize = 6;
/// Rounds of a search for a slope, and of one for a line: few are needed where there is something to find.
const CLIMBS: usize = 40;
const POLISHES: usize = 8;
/// Number of pixels that a line is searched on.
const ENOUGH: usize = 1 << 13;
/// Number of pixels that the greys in use are searched on.
const PLENTY: usize = 1 << 18;
/// How far a level may be off the line: half a level by rounding, and a little because the line itself is only known so well.
const SLACK: f64 = 0.65;

/// Share of steady pixels below which there is no picture: fresh noise has 0.13 at most at 8x8, less when larger.
pub const STEADY_NOISE: f64 = 0.2;

/// The result of the attack on stored pictures.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    /// Recovered pictures, one for each stored picture.
    pub pictures: Vec<Vec<u8>>,
    /// The share of pixels that are within a few greys of two neighbours at least: nearly all in an X-ray, few in noise.
    pub steady: f64,
}

/// The pictures that were stored with one randomness, by their levels; `reference` is an X-ray of the same size that is known.
pub fn affine(pictures: &[Vec<u8>], side: usize, reference: &[u8]) -> Opened {
    let line = Parts::of(pictures, side).line(&slopes(pictures, side));
    // Elsewhere there may be greys that the parts do not have.
    let some = (PLENTY / (side * side).max(1)).max(1);
    let whole = Parts { rows: pictures.iter().take(some).map(Vec::as_slice).collect(), side };
    let windows =
        (-128..=128i16).into_par_iter().step_by(4).map(|off| Line { lowest: line.lowest + off, ..line });
    let found = windows.map(|line| whole.tried(line, &[SLACK]));
    let line = found.min_by(|a, b| a.roughness.total_cmp(&b.roughness)).map_or(line, |found| found.line);
    placed(pictures, side, &line.choices(SLACK), reference)
}

/// A grey counted from some other one; none if no grey has the level.
type Grey = Option<i16>;

/// Levels of greys from `lowest` to `lowest + 255`, counted from one whose level is `first`.
#[derive(Clone, Copy, Debug)]
struct Line {
    first: f64,
    step: f64,
    period: f64,
    lowest: i16,
}

/// The greys that a level may stand for.
#[derive(Clone, Copy, Default)]
struct Choices {
    greys: [i16; CHOICES],
    count: usize,
}

impl Choices {
    fn push(&mut self, grey: i16) {
        if let Some(place) = self.greys.get_mut(self.count) {
            *place = grey;
            self.count += 1;
        }
    }

    #[expect(clippy::indexing_slicing, reason = "no more greys are counted than there is room for")]
    fn greys(&self) -> &[i16] {
        &self.greys[..self.count]
    }
}

impl Line {
    fn choices(&self, slack: f64) -> Vec<Choices> {
        let mut choices = vec![Choices::default(); LEVELS];
        for grey in self.lowest..self.lowest + LEVELS as i16 {
            let at = (self.first + f64::from(grey) * self.step).rem_euclid(self.period);
            // A period on either side, as levels at the ends are close to each other.
            for at in [at - self.period, at, at + self.period] {
                let start = (at - slack).max(0.0).ceil() as usize;
                let end = (at + slack + 1.0).max(0.0) as usize;
                choices.iter_mut().take(end).skip(start).for_each(|choices| choices.push(grey));
            }
        }
        choices
    }

    /// The line through all levels and greys that two neighbours confirm, by least squares.
    #[expect(clippy::indexing_slicing, reason = "the matrix has the size of what is counted")]
    fn fitted(self, pictures: &[&[u8]], side: usize, greys: &[Vec<Grey>]) -> Self {
        let mut normal = Array2::zeros((3, 3));
        let mut right = Array2::zeros((3, 1));
        for (picture, greys) in pictures.iter().zip(greys) {
            for (&level, grey) in picture.iter().zip(steady(greys, side)) {
                let Some(grey) = grey.map(f64::from) else { continue };
                let level = f64::from(level);
                let wraps = ((self.first + grey * self.step - level) / self.period).round();
                let row = [1.0, grey, -wraps];
                for (a, x) in row.iter().enumerate() {
                    for (b, y) in row.iter().enumerate() {
                        normal[[a, b]] += x * y;
                    }
                    right[[a, 0]] += x * level;
                }
            }
        }
        let Some(found) = dense::solve_positive(&normal, &right) else { return self };
        Self { first: found[[0, 0]], step: found[[1, 0]], period: found[[2, 0]], ..self }
    }
}

/// The middles of some pictures, on which a line is searched.
struct Parts<'a> {
    rows: Vec<&'a [u8]>,
    side: usize,
}

/// A line, and how unlike neighbours are that it leads to.
#[derive(Clone, Copy)]
struct Found {
    roughness: f64,
    line: Line,
}

impl<'a> Parts<'a> {
    fn of(pictures: &'a [Vec<u8>], side: usize) -> Self {
        // Whole rows, the same of each picture.
        let height = (ENOUGH / side.max(1) / pictures.len().max(1)).clamp(side.min(8), side);
        let start = (side - height) / 2 * side;
        let rows = pictures.iter().filter_map(|picture| picture.get(start..start + height * side));
        Self { rows: rows.take(ENOUGH / (height * side).max(1) + 1).collect(), side }
    }

    /// The line, with one of these steps and periods, that makes the smoothest pictures.
    fn line(&self, slopes: &[(f64, f64)]) -> Line {
        let mut frequent: Vec<u8> = (0..=u8::MAX).collect();
        frequent.sort_by_cached_key(|&level| {
            Reverse(self.rows.iter().flat_map(|rows| rows.iter()).filter(|&&l| l == level).count())
        });
        let starts = slopes.iter().flat_map(|&(step, period)| {
            frequent.iter().take(2).flat_map(move |&level| {
                let first = f64::from(level);
                (-255..=0).step_by(5).map(move |lowest| Line { first, step, period, lowest })
            })
        });
        let starts: Vec<Line> = starts.collect();
        let mut found: Vec<Found> =
            starts.into_par_iter().map(|line| self.tried(line, &[1.2, 0.7])).collect();
        found.sort_by(|a, b| a.roughness.total_cmp(&b.roughness));
        found.truncate(4);
        let found = found.into_iter().map(|found| self.polished(found));
        let best = found.min_by(|a, b| a.roughness.total_cmp(&b.roughness));
        best.map_or(Line { first: 0.0, step: 1.0, period: *PERIODS.start(), lowest: 0 }, |found| found.line)
    }

    /// Greys and line by turns, with less and less slack.
    fn tried(&self, mut line: Line, slacks: &[f64]) -> Found {
        let mut greys = Vec::new();
        for &slack in slacks {
            let choices = line.choices(slack);
            greys = self.rows.iter().map(|rows| unwrapped(rows, self.side, &choices)).collect();
            line = line.fitted(&self.rows, self.side, &greys);
        }
        let pairs = greys.iter().flat_map(|greys| apart(greys, self.side, 1));
        let costs = pairs.map(|(a, b)| a.zip(b).map_or(UNLIKE_ANY, |(a, b)| unlike(a.abs_diff(b))));
        Found { roughness: costs.map(f64::from).sum(), line }
    }

    /// Lines nearby, as long as one makes a smoother picture.
    fn polished(&self, mut found: Found) -> Found {
        // Seven steps, seven periods, three windows.
        const AROUND: u16 = 7 * 7 * 3;
        for _ in 0..POLISHES {
            let moved = |k: u16| {
                let off = |k: u16| f64::from(k % 7) - 3.0;
                Line {
                    step: found.line.step + 0.01 * off(k),
                    period: found.line.period + 0.03 * off(k / 7),
                    lowest: found.line.lowest + 4 * ((k / 49) as i16 - 1),
                    ..found.line
                }
            };
            let around = (0..AROUND).into_par_iter().map(|k| self.tried(moved(k), &[SLACK]));
            match around.min_by(|a, b| a.roughness.total_cmp(&b.roughness)) {
                // Less is rounding.
                Some(next) if next.roughness < found.roughness * 0.9999 => found = next,
                _ => break,
            }
        }
        found
    }
}

/// The steps and periods that make the differences of neighbours most likely.
fn slopes(pictures: &[Vec<u8>], side: usize) -> Vec<(f64, f64)> {
    let near = differences(pictures.iter().flat_map(|picture| apart(picture, side, 1)));
    let far = FAR.iter().flat_map(|&far| pictures.iter().flat_map(move |picture| apart(picture, side, far)));
    let far = differences(far);
    let step = 0.04;
    let period = 0.16;
    let periods = ((PERIODS.end() - PERIODS.start()) / period) as u32;
    let scan = (0..=periods).into_par_iter().flat_map_iter(|k| {
        let period = PERIODS.start() + f64::from(k) * period;
        let near = &near;
        (1..(period / 2.0 / step) as u32).map(move |k| {
            let slope = (f64::from(k) * step, period);
            (likelihood(near, slope, 12, TYPICAL), slope)
        })
    });
    let mut found: Vec<(f64, (f64, f64))> = scan.collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.truncate(GUESSES);
    let mut found: Vec<_> = found.into_par_iter().map(|(_, slope)| climbed(&near, &far, slope)).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut distinct: Vec<(f64, f64)> = Vec::new();
    for (_, (step, period)) in found {
        if distinct.iter().all(|other| (other.0 - step).abs() > 0.02 || (other.1 - period).abs() > 0.05) {
            distinct.push((step, period));
        }
    }
    distinct.truncate(SLOPES);
    distinct
}

/// The most likely step and period nearby. Differences of more greys, which determine them better, are considered in turn.
fn climbed(near: &[f64], far: &[f64], mut slope: (f64, f64)) -> (f64, (f64, f64)) {
    let mut best = f64::NEG_INFINITY;
    // Where levels do not wrap, a longer period is slightly more likely.
    for (reach, step) in [(24, 0.02), (48, 0.01), (100, 0.005), (200, 0.003)] {
        let of = |slope| {
            let far = if reach > 24 { likelihood(far, slope, reach, TYPICAL_FAR) } else { 0.0 };
            likelihood(near, slope, reach, TYPICAL) + far
        };
        best = of(slope);
        for step in [step, step / 2.0, step / 4.0] {
            for _ in 0..CLIMBS {
                let off = |k: u32| f64::from(k % 5) - 2.0;
                let around = (0..25).map(|k| (slope.0 + step * off(k), slope.1 + 4.0 * step * off(k / 5)));
                let around = around
                    .filter(|&(step, period)| PERIODS.contains(&period) && step > 0.0 && step <= period / 2.0)
                    .map(|slope| (of(slope), slope));
                match around.max_by(|a, b| a.0.total_cmp(&b.0)) {
                    Some((higher, next)) if higher > best => (best, slope) = (higher, next),
                    _ => break,
                }
            }
        }
    }
    (best, slope)
}

/// The log-likelihood of how often levels differ by how much, if greys differ by at most `reach`.
#[expect(clippy::indexing_slicing, reason = "there is an entry for each difference below the longest period")]
fn likelihood(seen: &[f64], (step, period): (f64, f64), reach: u32, typical: f64) -> f64 {
    // Periods are a little longer than the range of levels.
    let mut expected = [0.0; LEVELS + 16];
    let mut add = |at: f64, weight: f64| {
        let low = at as usize;
        let share = at.fract();
        expected[low] += weight * (1.0 - share);
        expected[low + 1] += weight * share;
    };
    let mut total = 0.0;
    for k in (1..=reach).map(f64::from) {
        let weight = (typical + k).powi(-2);
        let apart = (k * step).rem_euclid(period);
        // Whether a period is passed on the way depends on where it begins.
        add(apart, weight * (period - apart) / period);
        add(period - apart, weight * apart / period);
        total += weight;
    }
    seen.iter()
        .zip(&expected)
        .filter(|(count, _)| **count > 0.0)
        .map(|(count, expected)| {
            count * ((1.0 - ANYTHING) * expected / total + ANYTHING / LEVELS as f64).ln()
        })
        .sum()
}

/// Number of pairs at each difference, equal pairs excepted.
#[expect(clippy::indexing_slicing, reason = "there is an entry for each difference of levels")]
fn differences(pairs: impl Iterator<Item = (u8, u8)>) -> Vec<f64> {
    let mut seen = vec![0.0; LEVELS];
    for (a, b) in pairs.filter(|(a, b)| a != b) {
        seen[usize::from(a.abs_diff(b))] += 1.0;
    }
    seen
}

/// The cost of neighbours that differ by `difference` greys: the negative logarithm of its frequency.
fn unlike(difference: u16) -> f32 {
    2.0 * (f32::from(difference) / TYPICAL as f32).ln_1p()
}

/// The cost of a neighbour that has no grey: as if it differed by a hundred.
const UNLIKE_ANY: f32 = 5.75;

/// Selects, of the greys that levels may stand for, those most like their neighbours. Costs add up along rows and columns in both
/// directions, and each pixel takes the grey of the least total (Hirschmueller 2008). There are choices for each of the [`LEVELS`].
#[expect(
    clippy::indexing_slicing,
    reason = "paths stay in the picture, and there is an entry for each level and difference"
)]
fn unwrapped(picture: &[u8], side: usize, choices: &[Choices]) -> Vec<Grey> {
    let costs: Vec<f32> = (0..LEVELS as u16 * 2).map(unlike).collect();
    let none = Choices::default();
    let of: Vec<&Choices> = picture.iter().map(|&level| &choices[usize::from(level)]).collect();
    let mut sums = vec![[0f32; CHOICES]; picture.len()];
    let mut walk = |path: &mut dyn Iterator<Item = usize>| {
        let mut before = &none;
        let mut paid = [0f32; CHOICES];
        for pixel in path {
            let here = of[pixel];
            if here.count == 0 {
                continue;
            }
            let mut next = [0f32; CHOICES];
            for (next, &grey) in next.iter_mut().zip(here.greys()) {
                let least = before
                    .greys()
                    .iter()
                    .zip(&paid)
                    .map(|(&other, paid)| paid + costs[usize::from(grey.abs_diff(other))])
                    .fold(f32::INFINITY, f32::min);
                *next = if before.count == 0 { 0.0 } else { least };
            }
            // Sums along a path must not outgrow the others.
            let least = next.iter().take(here.count).copied().fold(f32::INFINITY, f32::min);
            for (next, sum) in next.iter_mut().zip(&mut sums[pixel]) {
                *next -= least;
                *sum += *next;
            }
            (before, paid) = (here, next);
        }
    };
    let rows = picture.len() / side.max(1);
    for y in 0..rows {
        walk(&mut (y * side..(y + 1) * side));
        walk(&mut (y * side..(y + 1) * side).rev());
    }
    for x in 0..side {
        walk(&mut (0..rows).map(|y| y * side + x));
        walk(&mut (0..rows).rev().map(|y| y * side + x));
    }
    of.iter()
        .zip(&sums)
        .map(|(choices, sums)| {
            let least = choices.greys().iter().zip(sums).min_by(|a, b| a.1.total_cmp(b.1));
            least.map(|(&grey, _)| grey)
        })
        .collect()
}

/// Greys that are like two neighbours at least.
fn steady(greys: &[Grey], side: usize) -> impl Iterator<Item = Grey> {
    greys.iter().enumerate().map(move |(k, grey)| {
        let x = k % side.max(1);
        let left = k.checked_sub(1).filter(|_| x > 0);
        let right = Some(k + 1).filter(|_| x + 1 < side);
        let around = [left, right, k.checked_sub(side), Some(k + side)];
        let like = |k: usize, grey: i16| {
            greys.get(k).copied().flatten().is_some_and(|g| f64::from(g.abs_diff(grey)) <= TYPICAL)
        };
        grey.filter(|&grey| around.into_iter().flatten().filter(|&k| like(k, grey)).count() >= 2)
    })
}

/// Pictures with greys as they are or mirrored, whichever is more like the reference, and the darkest as dark as there.
fn placed(pictures: &[Vec<u8>], side: usize, choices: &[Choices], reference: &[u8]) -> Opened {
    let greys = |picture: &Vec<u8>| unwrapped(picture, side, choices);
    let tally = |picture: &Vec<u8>| {
        let greys = greys(picture);
        let pairs =
            greys.iter().zip(reference).filter_map(|(grey, &r)| Some((f64::from((*grey)?), f64::from(r))));
        let mut tally = Tally { likeness: correlation(pairs), ..Tally::default() };
        steady(&greys, side).flatten().for_each(|grey| tally.add(grey));
        tally
    };
    let tally = pictures.par_iter().map(tally).reduce(Tally::default, Tally::with);
    let sign = if tally.likeness < 0.0 { -1 } else { 1 };
    let mut black = Tally::default();
    reference.iter().for_each(|&pixel| black.add(i16::from(pixel)));
    let shift = black.darkest(1) - tally.darkest(sign);
    // Twice unwrapped, so that greys of all pictures need not be kept.
    let all: usize = pictures.iter().map(Vec::len).sum();
    Opened {
        pictures: pictures
            .par_iter()
            .map(|picture| {
                greys(picture)
                    .iter()
                    .map(|grey| grey.map_or(128, |grey| (sign * grey + shift).clamp(0, 255) as u8))
                    .collect()
            })
            .collect(),
        steady: tally.counts.iter().sum::<u64>() as f64 / all.max(1) as f64,
    }
}

/// How often greys occur, and how much their pictures are like a reference.
struct Tally {
    counts: Vec<u64>,
    likeness: f64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { counts: vec![0; 2 * Self::ZERO as usize], likeness: 0.0 }
    }
}

impl Tally {
    /// Where grey zero is counted; windows lie within some hundreds of it.
    const ZERO: i16 = 1024;

    #[expect(clippy::indexing_slicing, reason = "all windows of greys lie within the counts")]
    fn add(&mut self, grey: i16) {
        self.counts[(grey + Self::ZERO) as usize] += 1;
    }

    fn with(mut self, other: Self) -> Self {
        self.counts.iter_mut().zip(other.counts).for_each(|(a, b)| *a += b);
        Self { likeness: self.likeness + other.likeness, ..self }
    }

    /// The least grey, or the least of their negatives, but for a few that may be wrong; zero if none was counted.
    fn darkest(&self, sign: i16) -> i16 {
        let mut few = self.counts.iter().sum::<u64>() / 200;
        let mut counted: Vec<(i16, u64)> = (-Self::ZERO..).zip(self.counts.iter().copied()).collect();
        if sign < 0 {
            counted.reverse();
        }
        let least = counted.into_iter().find(|&(_, count)| {
            let found = count > few;
            few = few.saturating_sub(count);
            found
        });
        least.map_or(0, |(grey, _)| sign * grey)
    }
}
