//! Images under Paillier as published: pixel by pixel, and then as a picture of 8 bits.
//!
//! A ciphertext has thousands of bits, and a picture has eight for a pixel: what is stored is the ciphertext as a floating-point
//! number, scaled so that the smallest of the image (with [`Randomness::Fixed`], of the data set) is black and the largest white. (The published code casts to double
//! precision, which overflows beyond 1024 bits; the leading 53 bits relative to `n^2` are the same number where that works.)

use super::{Ciphertext, PaillierError, Plaintext, PublicKey};
use crate::random;
use crypto_bigint::BoxedUint;
use rayon::prelude::*;

/// The ciphertexts that share their randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Randomness {
    /// No two ciphertexts, as in Paillier's cryptosystem.
    Fresh,
    /// The ciphertexts of one image: within it, equal pixels are equal ciphertexts.
    PerImage,
    /// All of them: one substitution of grey levels for the whole data set.
    Fixed,
}

/// An encrypted image as it is stored for training.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Stored grey levels, one for each pixel of the image.
    pub pixels: Vec<u8>,
}

/// Encrypts images and stores them as pictures.
///
/// # Errors
/// [`PaillierError::NoEntropy`] if the system has no randomness.
pub fn store(
    key: &PublicKey,
    images: &[Vec<u8>],
    randomness: Randomness,
) -> Result<Vec<Stored>, PaillierError> {
    match randomness {
        Randomness::Fresh => images.iter().map(|image| Ok(own_scale(&fresh(key, image)?))).collect(),
        Randomness::PerImage => {
            images.iter().map(|image| Ok(own_scale(&looked_up(&codebook(key)?, image)))).collect()
        }
        Randomness::Fixed => {
            // One scale for the data set, so that it stays one substitution.
            let codebook = codebook(key)?;
            let range = range(&codebook);
            let pictures = images.iter().map(|image| scaled(&looked_up(&codebook, image), range));
            Ok(pictures.map(|pixels| Stored { pixels }).collect())
        }
    }
}

/// A picture scaled by its own smallest and largest number.
fn own_scale(numbers: &[f64]) -> Stored {
    Stored { pixels: scaled(numbers, range(numbers)) }
}

/// Every grey level under one randomness, as a share of `n^2`.
fn codebook(key: &PublicKey) -> Result<Vec<f64>, PaillierError> {
    let residue = key.uniform()?;
    (0..256).map(|m| Ok(leading(key, &key.encrypt_with(&Plaintext::from_u64(m), &residue)?))).collect()
}

#[expect(clippy::indexing_slicing, reason = "a codebook has an entry for each grey level")]
fn looked_up(codebook: &[f64], image: &[u8]) -> Vec<f64> {
    image.iter().map(|&pixel| codebook[usize::from(pixel)]).collect()
}

fn fresh(key: &PublicKey, image: &[u8]) -> Result<Vec<f64>, PaillierError> {
    let runs: Result<Vec<_>, PaillierError> = image
        .par_chunks(64)
        .map(|run| {
            let mut rng = random::generator()?;
            run.iter()
                .map(|&pixel| {
                    let c = key.encrypt_with(&Plaintext::from_u64(u64::from(pixel)), &key.short(&mut rng))?;
                    Ok(leading(key, &c))
                })
                .collect::<Result<Vec<_>, PaillierError>>()
        })
        .collect();
    Ok(runs?.into_iter().flatten().collect())
}

/// A ciphertext as a share of `n^2`, which is between a quarter of `2^(2 bits)` and all of it.
fn leading(key: &PublicKey, c: &Ciphertext) -> f64 {
    top_word(&c.0) / top_word(key.square.modulus().as_ref())
}

/// The most significant word, which may be zero.
#[expect(clippy::indexing_slicing, reason = "a number has a word at least")]
fn top_word(number: &BoxedUint) -> f64 {
    let words = number.as_words();
    words[words.len() - 1] as f64
}

fn range(numbers: &[f64]) -> (f64, f64) {
    let low = numbers.iter().copied().fold(f64::INFINITY, f64::min);
    (low, numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}

/// The smallest black, the largest white.
fn scaled(numbers: &[f64], (low, high): (f64, f64)) -> Vec<u8> {
    let range = if high > low { high - low } else { 1.0 };
    numbers.iter().map(|x| ((x - low) / range * 255.0).round() as u8).collect()
}
