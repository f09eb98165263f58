//! How alike two X-rays are, on their 8-bit pixels.

use crate::xray::{SIDE, Xray};

const WINDOW: usize = 11;
const SIGMA: f64 = 1.5;

/// Peak signal-to-noise ratio in dB, `10 log10(255^2 / mean square error)`; infinite for equal pixels.
pub fn psnr(a: &Xray, b: &Xray) -> f64 {
    let a = a.pixels();
    let b = b.pixels();
    let squares: f64 = a.iter().zip(&b).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    10.0 * (255.0_f64.powi(2) * a.len() as f64 / squares).log10()
}

/// Structural similarity, at most 1 (Wang, Bovik, Sheikh, Simoncelli 2004): a Gaussian window of 11x11 pixels and deviation 1.5,
/// `K1 = 0.01`, `K2 = 0.03`, averaged over the positions whose window is inside the image.
pub fn ssim(a: &Xray, b: &Xray) -> f64 {
    let a: Vec<f64> = a.pixels().into_iter().map(f64::from).collect();
    let b: Vec<f64> = b.pixels().into_iter().map(f64::from).collect();
    let product = |x: &[f64], y: &[f64]| blurred(&x.iter().zip(y).map(|(x, y)| x * y).collect::<Vec<_>>());
    let mean_a = blurred(&a);
    let mean_b = blurred(&b);
    let square_a = product(&a, &a);
    let square_b = product(&b, &b);
    let cross = product(&a, &b);
    let c1 = (0.01 * 255.0_f64).powi(2);
    let c2 = (0.03 * 255.0_f64).powi(2);
    let moments = mean_a.iter().zip(&mean_b).zip(square_a.iter().zip(&square_b)).zip(&cross);
    let sum: f64 = moments
        .map(|(((ma, mb), (sa, sb)), cross)| {
            let variance_a = sa - ma * ma;
            let variance_b = sb - mb * mb;
            let covariance = cross - ma * mb;
            (2.0 * ma * mb + c1) * (2.0 * covariance + c2)
                / ((ma * ma + mb * mb + c1) * (variance_a + variance_b + c2))
        })
        .sum();
    sum / mean_a.len() as f64
}

/// The Gaussian mean around each position whose window is inside the image.
fn blurred(image: &[f64]) -> Vec<f64> {
    let middle = (WINDOW / 2) as f64;
    let window: Vec<f64> =
        (0..WINDOW).map(|k| (-(k as f64 - middle).powi(2) / (2.0 * SIGMA * SIGMA)).exp()).collect();
    let total: f64 = window.iter().sum();
    let window: Vec<f64> = window.iter().map(|w| w / total).collect();
    let mean = |values: &mut dyn Iterator<Item = &f64>| values.zip(&window).map(|(x, w)| x * w).sum::<f64>();

    let inside = SIDE - WINDOW + 1;
    let across: Vec<f64> =
        image.chunks_exact(SIDE).flat_map(|row| row.windows(WINDOW).map(|w| mean(&mut w.iter()))).collect();
    (0..inside * inside).map(|k| mean(&mut across.iter().skip(k).step_by(inside))).collect()
}
