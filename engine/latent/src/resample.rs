//! Resizing to a square by a cubic filter that widens with the reduction, as Pillow's `BICUBIC` (Keys 1981, a = -1/2).

use ndarray::Array2;

const REACH: f64 = 2.0;

/// The taps of one output position.
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

/// An image of `width` columns as `[side, side]` values, whatever its proportions.
pub(crate) fn square(values: &[f32], width: usize, height: usize, side: usize) -> Array2<f32> {
    // Each weight but that of the pixel itself would be zero.
    if [width, height] == [side, side]
        && let Ok(same) = Array2::from_shape_vec((side, side), values.to_vec())
    {
        return same;
    }
    let across = line(width, side);
    let down = line(height, side);
    let rows: Vec<f32> = values
        .chunks_exact(width)
        .flat_map(|row| across.iter().map(|taps| taps.sum(row.iter().skip(taps.first))))
        .collect();
    let mut out = Array2::zeros((side, side));
    for (mut row, taps) in out.rows_mut().into_iter().zip(&down) {
        for (x, to) in row.iter_mut().enumerate() {
            *to = taps.sum(rows.iter().skip(taps.first * side + x).step_by(side));
        }
    }
    out
}

impl Taps {
    fn sum<'a>(&self, values: impl Iterator<Item = &'a f32>) -> f32 {
        self.weights.iter().zip(values).map(|(w, x)| w * x).sum()
    }
}

/// The taps of `side` positions spread over `length`.
fn line(length: usize, side: usize) -> Vec<Taps> {
    let step = length as f64 / side as f64;
    (0..side).map(|k| taps(length, (k as f64 + 0.5) * step, step.max(1.0))).collect()
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
