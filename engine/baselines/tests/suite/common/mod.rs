//! Pictures and layers for the tests.
use pleura_baselines::mole::{FirstLayer, LayerShape};
use std::path::Path;

/// Numbers between -1 and 1 that are the same each time.
pub(crate) fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// A layer with random weights.
pub(crate) fn layer(shape: LayerShape) -> FirstLayer {
    FirstLayer::new(shape, numbers(shape.filters * shape.taps(), 5)).unwrap()
}

/// A picture with structure: waves in `[0, 255]`, another for each number.
pub(crate) fn picture(channels: usize, side: usize, number: usize) -> Vec<u8> {
    let noise = numbers(channels * side * side, number as u64 + 1);
    noise
        .into_iter()
        .enumerate()
        .map(|(k, noise)| {
            let c = k / (side * side);
            let y = (k / side) % side;
            let x = k % side;
            let y = y as f64 / side as f64;
            let x = x as f64 / side as f64;
            let turn = number as f64 * 0.7 + c as f64;
            let wave = (6.0 * x + turn).sin() * (5.0 * y - turn).cos() + 0.4 * (17.0 * x * y + turn).sin();
            (128.0 + 70.0 * wave + 8.0 * noise).clamp(0.0, 255.0) as u8
        })
        .collect()
}

/// A sample X-ray at `side` squared.
pub(crate) fn xray(name: &str, side: u32) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/samples").join(name);
    let image = image::open(path).unwrap().to_luma8();
    image::imageops::resize(&image, side, side, image::imageops::FilterType::Triangle).into_raw()
}

pub(crate) fn as_f32(pixels: &[u8]) -> Vec<f32> {
    pixels.iter().map(|&x| f32::from(x) / 255.0).collect()
}

pub(crate) fn as_pixels(values: &[f64]) -> Vec<u8> {
    pleura_baselines::pixels(&values.iter().map(|x| x * 255.0).collect::<Vec<_>>())
}
