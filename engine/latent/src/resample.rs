//! Resizing to a square by a cubic filter that widens with the reduction, as Pillow's `BICUBIC` (Keys 1981, a = -1/2).

use crate::xray::SIDE;

const REACH: f64 = 2.0;

/// The taps of one output position.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

/// An image of `width` columns as 256x256 values, whatever its proportions.
pub(crate) fn square(values: &[f32], width: usize, height: usize) -> Vec<f32> {
    let (across, down) = (line(width), line(height));
    let rows: Vec<f32> = values
        .chunks_exact(width)
        .flat_map(|row| across.iter().map(|taps| taps.sum(row.iter().skip(taps.first))))
        .collect();
    let column = |taps: &Taps, x: usize| taps.sum(rows.iter().skip(taps.first * SIDE + x).step_by(SIDE));
    down.iter().flat_map(|taps| (0..SIDE).map(|x| column(taps, x))).collect()
}

impl Taps {
    fn sum<'a>(&self, values: impl Iterator<Item = &'a f32>) -> f32 {
        self.weights.iter().zip(values).map(|(w, x)| w * x).sum()
    }
}

/// The taps of 256 positions spread over `length`.
fn line(length: usize) -> Vec<Taps> {
    let step = length as f64 / SIDE as f64;
    (0..SIDE).map(|k| taps(length, (k as f64 + 0.5) * step, step.max(1.0))).collect()
}

fn taps(length: usize, centre: f64, stretch: f64) -> Taps {
    let reach = REACH * stretch;
    let first = (centre - reach + 0.5).max(0.0) as usize;
    let end = ((centre + reach + 0.5) as usize).min(length);
    let weights: Vec<f64> = (first..end).map(|k| cubic((k as f64 + 0.5 - centre) / stretch)).collect();
    let total: f64 = weights.iter().sum();
    Taps { first, weights: weights.iter().map(|w| (w / total) as f32).collect() }
}

fn cubic(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}
