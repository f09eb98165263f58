//! Latent images: between encoder and decoder.

use ndarray::{Array2, Array3, ArrayView2, ArrayView3};
use thiserror::Error;

/// Latents have unit variance on X-rays; values beyond this are not latents.
pub(crate) const LARGEST: f32 = 1000.0;
/// Elements: far more than any codec has, few enough that arithmetic on shapes cannot overflow.
const MOST: usize = 1 << 24;

/// A continuous latent image `[channels, height, width]`, of about unit variance on chest X-rays: the values that are encrypted.
#[derive(Clone, Debug, PartialEq)]
pub struct Latent {
    values: Array3<f32>,
}

/// A quantized latent image: the number of a code at each position `[height, width]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeIndices {
    values: Array2<u16>,
}

/// Why numbers are not a latent image.
#[derive(Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum LatentError {
    /// No elements, or more than any codec has.
    #[error(
        "a latent image of shape {shape:?} is empty or has more than 2^24 elements; compress the X-ray again"
    )]
    Size {
        /// The shape `[channels, height, width]`; code indices have one channel.
        shape: [usize; 3],
    },
    /// A value that is not finite, or far out of any latent's range.
    #[error(
        "element {index} of a latent image is {value}, outside of -1000 to 1000; compress the X-ray again"
    )]
    Value {
        /// Position of the element in the order channel, y, x.
        index: usize,
        /// The value.
        value: f32,
    },
}

impl Latent {
    /// A latent of the values `[channels, height, width]`.
    ///
    /// # Errors
    /// If there are no values or more than 2^24, or one is not finite or larger than 1000.
    pub fn new(values: Array3<f32>) -> Result<Self, LatentError> {
        check_size(values.dim().into())?;
        match values.iter().copied().enumerate().find(|(_, x)| !x.is_finite() || x.abs() > LARGEST) {
            Some((index, value)) => Err(LatentError::Value { index, value }),
            None => Ok(Self { values }),
        }
    }

    /// A latent of values that come from a network; those out of range are brought into it.
    #[expect(clippy::manual_clamp, reason = "a not-a-number must become a number")]
    pub(crate) fn clamped(values: Array3<f32>) -> Self {
        Self { values: values.mapv_into(|x| x.max(-LARGEST).min(LARGEST)) }
    }

    /// Channels, height and width.
    pub fn shape(&self) -> [usize; 3] {
        self.values.dim().into()
    }

    /// The values `[channels, height, width]`.
    pub fn values(&self) -> ArrayView3<'_, f32> {
        self.values.view()
    }
}

impl CodeIndices {
    /// The numbers of codes at the positions `[height, width]`.
    ///
    /// # Errors
    /// If there are no positions, or more than 2^24.
    pub fn new(values: Array2<u16>) -> Result<Self, LatentError> {
        let (height, width) = values.dim();
        check_size([1, height, width])?;
        Ok(Self { values })
    }

    /// Height and width.
    pub fn shape(&self) -> [usize; 2] {
        self.values.dim().into()
    }

    /// The numbers of codes at the positions `[height, width]`.
    pub fn values(&self) -> ArrayView2<'_, u16> {
        self.values.view()
    }
}

fn check_size(shape: [usize; 3]) -> Result<(), LatentError> {
    let count = shape.iter().try_fold(1_usize, |product, &n| product.checked_mul(n));
    match count {
        Some(1..=MOST) => Ok(()),
        _ => Err(LatentError::Size { shape }),
    }
}
