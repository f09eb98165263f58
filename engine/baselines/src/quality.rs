//! How close a recovered picture is to the original.

/// Peak signal-to-noise ratio in dB between two pictures of 8 bits and one size; infinite if they are equal.
pub fn psnr(original: &[u8], other: &[u8]) -> f64 {
    let squares: f64 = original.iter().zip(other).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 * original.len().max(1) as f64 / squares).log10()
}

/// The nearest pixels to numbers in `[0, 255]`.
pub fn pixels(values: &[f64]) -> Vec<u8> {
    values.iter().map(|x| x.round().clamp(0.0, 255.0) as u8).collect()
}
