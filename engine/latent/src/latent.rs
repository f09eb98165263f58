//! What lies between encoder and decoder.

use thiserror::Error;

/// Latents have unit variance on X-rays; values beyond this are not latents.
pub(crate) const LARGEST: f32 = 1000.0;
/// Elements: far more than any codec has, few enough that arithmetic on shapes cannot overflow.
const MOST: usize = 1 << 24;

/// A continuous latent image `[channels, height, width]`, of about unit variance on chest X-rays: what is encrypted.
#[derive(Clone, Debug, PartialEq)]
pub struct Latent {
    shape: [usize; 3],
    values: Vec<f32>,
}

/// A quantised latent image: at each of `height * width` positions, row by row, the number of a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codes {
    height: usize,
    width: usize,
    values: Vec<u16>,
}

/// Why numbers are not a latent image.
#[derive(Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum LatentError {
    /// The shape asks for another number of values.
    #[error("a latent image of shape {shape:?} has not {found} values; give one value per element")]
    Count {
        /// The shape, codes have one channel.
        shape: [usize; 3],
        /// The number of values.
        found: usize,
    },
    /// A value that is not finite, or far out of any latent's range.
    #[error(
        "element {index} of a latent image is {value}, outside of -1000 to 1000; compress the X-ray again"
    )]
    Value {
        /// Its place in the order channel, y, x.
        index: usize,
        /// The value.
        value: f32,
    },
}

impl Latent {
    /// A latent of `shape` (channels, height, width) with `values` in that order.
    ///
    /// # Errors
    /// If there is not one value per element, or one is not finite or larger than 1000.
    pub fn new(shape: [usize; 3], values: Vec<f32>) -> Result<Self, LatentError> {
        check_count(shape, values.len())?;
        let strange = |x: &f32| !x.is_finite() || x.abs() > LARGEST;
        match values.iter().copied().enumerate().find(|(_, x)| strange(x)) {
            Some((index, value)) => Err(LatentError::Value { index, value }),
            None => Ok(Self { shape, values }),
        }
    }

    /// A latent of values that come from a network; those out of range are brought into it.
    #[expect(clippy::manual_clamp, reason = "a not-a-number must become a number")]
    pub(crate) fn clamped(shape: [usize; 3], mut values: Vec<f32>) -> Self {
        values.iter_mut().for_each(|x| *x = x.max(-LARGEST).min(LARGEST));
        Self { shape, values }
    }

    /// Channels, height and width.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The values in the order channel, y, x.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

impl Codes {
    /// Codes of `height` rows of `width`.
    ///
    /// # Errors
    /// If there is not one code per position.
    pub fn new(height: usize, width: usize, values: Vec<u16>) -> Result<Self, LatentError> {
        check_count([1, height, width], values.len())?;
        Ok(Self { height, width, values })
    }

    /// Rows of codes.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Codes per row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The codes, row by row.
    pub fn values(&self) -> &[u16] {
        &self.values
    }
}

fn check_count(shape: [usize; 3], found: usize) -> Result<(), LatentError> {
    let count = shape.iter().try_fold(1_usize, |product, &n| product.checked_mul(n));
    match count {
        Some(count) if count == found && count > 0 && count <= MOST => Ok(()),
        _ => Err(LatentError::Count { shape, found }),
    }
}
