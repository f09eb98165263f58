//! Grey images of any size: where the readers of all formats meet.

use crate::image_error::ImageError;

/// Larger images are refused before they are decoded.
pub(crate) const MAX_PIXELS: u64 = 50_000_000;
/// Channels further apart than this are colour, not the noise of compressed grey.
const COLOURED: f32 = 24.0 / 255.0;
/// An image with a larger share of coloured pixels is a coloured image.
const COLOURED_SHARE: f64 = 0.01;

/// A grey image of any size, rows of values from 0 (black) to 1 (white).
pub(crate) struct Grey {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) values: Vec<f32>,
    pub(crate) notes: Vec<ImageNote>,
}

/// A remark about how an image was read, for the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageNote {
    /// A coloured image, turned to grey.
    Colour,
    /// A file of several images, of which the first was taken.
    Frames {
        /// How many.
        count: u32,
    },
    /// An image that had to be enlarged.
    Enlarged {
        /// Its columns.
        width: usize,
        /// Its rows.
        height: usize,
    },
    /// An image more than twice as long as wide, or the other way round, which lost its proportions.
    Squeezed {
        /// Its columns.
        width: usize,
        /// Its rows.
        height: usize,
    },
}

impl std::fmt::Display for ImageNote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Colour => {
                write!(f, "the image has colours, which were turned to grey; a chest X-ray has none")
            }
            Self::Frames { count } => {
                write!(f, "the file holds {count} images, of which the first was taken")
            }
            Self::Enlarged { width, height } => {
                write!(f, "the image has only {width}x{height} pixels and was enlarged; details are missing")
            }
            Self::Squeezed { width, height } => {
                write!(
                    f,
                    "the image has {width}x{height} pixels and was squeezed into a square; chest X-rays are not as long"
                )
            }
        }
    }
}

/// Refuses images of more than [`MAX_PIXELS`] pixels.
pub(crate) fn check_size(width: u64, height: u64) -> Result<(), ImageError> {
    match width.checked_mul(height) {
        Some(pixels) if pixels <= MAX_PIXELS => Ok(()),
        _ => Err(ImageError::TooLarge { width, height }),
    }
}

/// Turns colours, each from 0 to 1, to grey, and counts them.
#[derive(Default)]
pub(crate) struct Mixer {
    coloured: usize,
}

impl Mixer {
    /// The luma of ITU-R BT.601.
    pub(crate) fn mix(&mut self, [r, g, b]: [f32; 3]) -> f32 {
        let spread = r.max(g).max(b) - r.min(g).min(b);
        self.coloured += usize::from(spread > COLOURED);
        0.299 * r + 0.587 * g + 0.114 * b
    }

    pub(crate) fn note(&self, pixels: usize) -> Option<ImageNote> {
        (self.coloured as f64 > COLOURED_SHARE * pixels as f64).then_some(ImageNote::Colour)
    }
}
