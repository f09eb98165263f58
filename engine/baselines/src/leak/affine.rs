//! **The affine attack**: pictures from the stored ones alone, if ciphertexts share their randomness.
//!
//! With `R = r^n` for all pixels, a ciphertext is affine in the pixel: `(1 + m n) R = R + m (n R mod n^2)` modulo `n^2`. So the stored level of grey
//! `m` is `(first + m step) mod period`, rounded: three real numbers, whatever the size of the key. Neighbours are alike, so most of their levels
//! differ by small multiples of the step, modulo the period: a scan over both finds those that make the differences seen most
//! likely. Greys are then unwrapped as phases are: of those that a level may stand for, each pixel takes the one most like its neighbours'.
//! What stays unknown is the mirror image `255 - m` and, unless all greys are in use, a constant; another X-ray decides.

use super::{LEVELS, correlation, neighbours};
use faer::linalg::solvers::Solve;
use faer::{Mat, Side};
use rayon::prelude::*;
use std::cmp::Reverse;
use std::ops::RangeInclusive;

/// Neighbours differ by `d` greys about as often as `1 / (TYPICAL + d)^2`.
const TYPICAL: f64 = 6.0;
/// The same of pixels that lie [`FAR`] apart.
const TYPICAL_FAR: f64 = 18.0;
/// Pixels.
const FAR: [usize; 2] = [3, 6];
/// The share of differences that may be anything.
const ANYTHING: f64 = 0.05;
/// Periods that are tried: with most greys in use, the lowest and the highest level are nearly a period apart.
const PERIODS: RangeInclusive<f64> = 255.0..=266.0;
/// Coarse guesses that are looked at closely, and how many that differ are unwrapped.
const GUESSES: (usize, usize) = (48, 3);
/// Most greys that are considered for one level.
const CHOICES: usize = 6;
/// A line is looked for on a part of the pictures with about so many pixels.
const ENOUGH: usize = 1 << 13;
/// The greys in use are looked for on whole pictures with about so many.
const PLENTY: usize = 1 << 18;
/// How far a level may be off the line: half a level by rounding, and what the line is not known to.
const SLACK: f64 = 0.65;

/// The pictures that were stored with one randomness, by their levels; `reference` is another X-ray of the same size.
pub fn affine(pictures: &[Vec<u8>], side: usize, reference: &[u8]) -> Vec<Vec<u8>> {
    let Some(line) = Parts::of(pictures, side).line(&slopes(pictures, side)) else {
        return pictures.to_vec();
    };
    // Elsewhere there may be greys that the parts do not have.
    let some = (PLENTY / (side * side).max(1)).max(1);
    let whole = Parts { rows: pictures.iter().take(some).map(Vec::as_slice).collect(), side };
    let windows =
        (-128..=128i16).into_par_iter().step_by(4).map(|off| Line { lowest: line.lowest + off, ..line });
    let found = windows.map(|line| whole.tried(line, &[SLACK]));
    let line = found.min_by(|a, b| a.roughness.total_cmp(&b.roughness)).map_or(line, |found| found.line);
    let choices = line.choices(SLACK);
    let greys: Vec<_> = pictures.par_iter().map(|picture| unwrapped(picture, side, &choices)).collect();
    placed(&greys, side, reference)
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

    fn greys(&self) -> &[i16] {
        self.greys.get(..self.count).unwrap_or_default()
    }
}

impl Line {
    fn choices(&self, slack: f64) -> Vec<Choices> {
        let mut choices = vec![Choices::default(); LEVELS];
        for grey in self.lowest..self.lowest + LEVELS as i16 {
            let at = (self.first + f64::from(grey) * self.step).rem_euclid(self.period);
            // A period on either side, as levels at the ends are close to each other.
            for at in [at - self.period, at, at + self.period] {
                for level in (at - slack).ceil().max(0.0) as usize..=(at + slack).floor().max(-1.0) as usize {
                    if (at - level as f64).abs() <= slack
                        && let Some(choices) = choices.get_mut(level)
                    {
                        choices.push(grey);
                    }
                }
            }
        }
        choices
    }

    /// The line through all levels and greys that two neighbours confirm, by least squares.
    fn fitted(self, pictures: &[&[u8]], side: usize, greys: &[Vec<Grey>]) -> Self {
        let mut normal = Mat::<f64>::zeros(3, 3);
        let mut right = Mat::<f64>::zeros(3, 1);
        for (picture, greys) in pictures.iter().zip(greys) {
            for (&level, grey) in picture.iter().zip(steady(greys, side)) {
                let Some(grey) = grey.map(f64::from) else { continue };
                let level = f64::from(level);
                let wraps = ((self.first + grey * self.step - level) / self.period).round();
                let row = [1.0, grey, -wraps];
                for (a, x) in row.iter().enumerate() {
                    for (b, y) in row.iter().enumerate() {
                        *normal.get_mut(a, b) += x * y;
                    }
                    *right.get_mut(a, 0) += x * level;
                }
            }
        }
        let Ok(solver) = normal.llt(Side::Lower) else { return self };
        let found = solver.solve(&right);
        Self { first: *found.get(0, 0), step: *found.get(1, 0), period: *found.get(2, 0), ..self }
    }
}

/// What a line is looked for on: the middles of some pictures.
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
    fn line(&self, slopes: &[(f64, f64)]) -> Option<Line> {
        let mut frequent: Vec<u8> = (0..=u8::MAX).collect();
        let count =
            |level: u8| self.rows.iter().flat_map(|rows| rows.iter()).filter(|&&l| l == level).count();
        frequent.sort_by_cached_key(|&level| Reverse(count(level)));
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
        found.min_by(|a, b| a.roughness.total_cmp(&b.roughness)).map(|found| found.line)
    }

    /// Greys and line by turns, with less and less slack.
    fn tried(&self, mut line: Line, slacks: &[f64]) -> Found {
        let mut greys = Vec::new();
        for &slack in slacks {
            let choices = line.choices(slack);
            greys = self.rows.iter().map(|rows| unwrapped(rows, self.side, &choices)).collect();
            line = line.fitted(&self.rows, self.side, &greys);
        }
        let pairs = greys.iter().flat_map(|greys| neighbours(greys, self.side));
        let cost = |(a, b): (Grey, Grey)| a.zip(b).map_or(UNLIKE_ANY, |(a, b)| unlike(a.abs_diff(b)));
        Found { roughness: pairs.map(cost).map(f64::from).sum(), line }
    }

    /// Lines nearby, as long as one makes a smoother picture.
    fn polished(&self, mut found: Found) -> Found {
        loop {
            let moved = |k: u16| {
                let off = |k: u16| f64::from(k % 7) - 3.0;
                Line {
                    step: found.line.step + 0.01 * off(k),
                    period: found.line.period + 0.03 * off(k / 7),
                    lowest: found.line.lowest + 4 * ((k / 49) as i16 - 1),
                    ..found.line
                }
            };
            let around = (0..147u16).into_par_iter().map(|k| self.tried(moved(k), &[SLACK]));
            match around.min_by(|a, b| a.roughness.total_cmp(&b.roughness)) {
                Some(next) if next.roughness < found.roughness * 0.9999 => found = next,
                _ => return found,
            }
        }
    }
}

/// The steps and periods that make the differences of neighbours most likely.
fn slopes(pictures: &[Vec<u8>], side: usize) -> Vec<(f64, f64)> {
    let near = differences(pictures.iter().flat_map(|picture| neighbours(picture, side)));
    let far = FAR.iter().flat_map(|&far| pictures.iter().flat_map(move |picture| apart(picture, side, far)));
    let far = differences(far);
    let (step, period) = (0.04, 0.16);
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
    found.truncate(GUESSES.0);
    let mut found: Vec<_> = found.into_par_iter().map(|(_, slope)| climbed(&near, &far, slope)).collect();
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut distinct: Vec<(f64, f64)> = Vec::new();
    for (_, (step, period)) in found {
        if distinct.iter().all(|other| (other.0 - step).abs() > 0.02 || (other.1 - period).abs() > 0.05) {
            distinct.push((step, period));
        }
    }
    distinct.truncate(GUESSES.1);
    distinct
}

/// The most likely step and period nearby: differences of more greys, which tell them better, are looked at one after the other.
fn climbed(near: &[f64], far: &[f64], mut slope: (f64, f64)) -> (f64, (f64, f64)) {
    let mut best = f64::NEG_INFINITY;
    for (reach, step) in [(24, 0.02), (48, 0.01), (100, 0.005), (200, 0.003)] {
        let of = |slope| {
            let far = if reach > 24 { likelihood(far, slope, reach, TYPICAL_FAR) } else { 0.0 };
            likelihood(near, slope, reach, TYPICAL) + far
        };
        best = of(slope);
        for step in [step, step / 2.0, step / 4.0] {
            loop {
                let off = |k: u32| f64::from(k % 5) - 2.0;
                let around = (0..25).map(|k| (slope.0 + step * off(k), slope.1 + 4.0 * step * off(k / 5)));
                let next = around.map(|slope| (of(slope), slope)).max_by(|a, b| a.0.total_cmp(&b.0));
                match next {
                    Some((higher, next)) if higher > best => (best, slope) = (higher, next),
                    _ => break,
                }
            }
        }
    }
    (best, slope)
}

/// The log-likelihood of how often levels differ by how much, if greys differ by at most `reach`.
fn likelihood(seen: &[f64], (step, period): (f64, f64), reach: u32, typical: f64) -> f64 {
    let mut expected = [0.0; LEVELS + 16];
    let mut add = |at: f64, weight: f64| {
        let (low, share) = (at as usize, at.fract());
        if let Some([a, b]) = expected.get_mut(low..low + 2) {
            *a += weight * (1.0 - share);
            *b += weight * share;
        }
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
    let log = |(count, expected): (&f64, &f64)| {
        count * ((1.0 - ANYTHING) * expected / total + ANYTHING / LEVELS as f64).ln()
    };
    seen.iter().zip(&expected).filter(|(count, _)| **count > 0.0).map(log).sum()
}

/// How many pairs differ by how much, but for equal ones.
fn differences(pairs: impl Iterator<Item = (u8, u8)>) -> Vec<f64> {
    let mut seen = vec![0.0; LEVELS];
    for (a, b) in pairs.filter(|(a, b)| a != b) {
        if let Some(count) = seen.get_mut(usize::from(a.abs_diff(b))) {
            *count += 1.0;
        }
    }
    seen
}

/// Pixels that lie so far apart, in a row or a column.
fn apart(picture: &[u8], side: usize, far: usize) -> impl Iterator<Item = (u8, u8)> {
    let across = picture.chunks(side.max(1)).flat_map(move |row| row.iter().zip(row.iter().skip(far)));
    let down = picture.iter().zip(picture.iter().skip(far * side));
    across.chain(down).map(|(&a, &b)| (a, b))
}

/// The cost of neighbours that differ by so many greys: the logarithm of how seldom they do.
fn unlike(difference: u16) -> f32 {
    2.0 * (f32::from(difference) / TYPICAL as f32).ln_1p()
}

/// The cost of a neighbour that has no grey: that of this many.
const UNLIKE_ANY: f32 = 5.75;

/// Of the greys that levels may stand for, those most like their neighbours: costs add up along rows and columns, there and back, and each
/// pixel takes what costs least in all (Hirschmueller 2008).
fn unwrapped(picture: &[u8], side: usize, choices: &[Choices]) -> Vec<Grey> {
    let costs: Vec<f32> = (0..LEVELS as u16 * 2).map(unlike).collect();
    let none = Choices::default();
    let of: Vec<&Choices> =
        picture.iter().map(|&level| choices.get(usize::from(level)).unwrap_or(&none)).collect();
    let mut sums = vec![[0f32; CHOICES]; picture.len()];
    let mut walk = |path: &mut dyn Iterator<Item = usize>| {
        let (mut before, mut paid) = (&none, [0f32; CHOICES]);
        for pixel in path {
            let (Some(&here), Some(sums)) = (of.get(pixel), sums.get_mut(pixel)) else { continue };
            if here.count == 0 {
                continue;
            }
            let mut next = [0f32; CHOICES];
            for (next, &grey) in next.iter_mut().zip(here.greys()) {
                let step = |(&other, paid): (&i16, &f32)| {
                    paid + costs.get(usize::from(grey.abs_diff(other))).copied().unwrap_or(UNLIKE_ANY)
                };
                let least = before.greys().iter().zip(&paid).map(step).fold(f32::INFINITY, f32::min);
                *next = if before.count == 0 { 0.0 } else { least };
            }
            // Sums along a path must not outgrow the others.
            let least = next.iter().take(here.count).copied().fold(f32::INFINITY, f32::min);
            for (next, sum) in next.iter_mut().zip(sums) {
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
    let best = |(choices, sums): (&&Choices, &[f32; CHOICES])| {
        let least = choices.greys().iter().zip(sums).min_by(|a, b| a.1.total_cmp(b.1));
        least.map(|(&grey, _)| grey)
    };
    of.iter().zip(&sums).map(best).collect()
}

/// Greys that are like two neighbours at least.
fn steady(greys: &[Grey], side: usize) -> impl Iterator<Item = Grey> {
    greys.iter().enumerate().map(move |(k, grey)| {
        let around = [k.wrapping_sub(1), k + 1, k.wrapping_sub(side), k + side];
        let like = |k: usize, grey: i16| {
            greys.get(k).copied().flatten().is_some_and(|g| f64::from(g.abs_diff(grey)) <= TYPICAL)
        };
        grey.filter(|&grey| around.into_iter().filter(|&k| like(k, grey)).count() >= 2)
    })
}

/// Pictures with greys as they are or mirrored, whichever is more like the reference, and the darkest as dark as there.
fn placed(greys: &[Vec<Grey>], side: usize, reference: &[u8]) -> Vec<Vec<u8>> {
    let black = darkest(reference.iter().map(|&pixel| i16::from(pixel)).collect());
    let turned = [1, -1].map(|sign| {
        let steady = greys.iter().flat_map(|greys| steady(greys, side)).flatten();
        let shift = black - darkest(steady.map(|grey| sign * grey).collect());
        let pixel = |grey: &Grey| grey.map_or(128, |grey| (sign * grey + shift).clamp(0, 255) as u8);
        greys.iter().map(|greys| greys.iter().map(pixel).collect()).collect::<Vec<Vec<u8>>>()
    });
    let likeness = |pictures: &[Vec<u8>]| pictures.iter().map(|p| correlation(p, reference)).sum::<f64>();
    let [one, other] = turned;
    if likeness(&one) >= likeness(&other) { one } else { other }
}

/// The least, but for a few that may be wrong.
fn darkest(mut greys: Vec<i16>) -> i16 {
    greys.sort_unstable();
    greys.get(greys.len() / 200).copied().unwrap_or(0)
}
