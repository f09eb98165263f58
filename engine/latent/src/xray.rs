//! X-rays as the codec sees them, from files in the formats they come in.

use crate::dicom::{self, DicomError};
use crate::resample;
use image::{
    DynamicImage, ExtendedColorType, ImageBuffer, ImageDecoder, ImageEncoder, ImageFormat, ImageReader, Pixel,
};
use std::io::Cursor;
use thiserror::Error;

/// Rows and columns of an [`Xray`].
pub const SIDE: usize = 256;

/// Larger images are refused before they are decoded.
pub(crate) const MOST_PIXELS: u64 = 50_000_000;
const LEAST_SIDE: usize = 32;
/// Channels further apart than this are colour, not the noise of compressed grey.
const COLOURED: f32 = 24.0 / 255.0;
/// An image with a larger share of coloured pixels is a coloured image.
const COLOURED_SHARE: f64 = 0.01;

/// A grey image of 256x256 pixels from 0 (black) to 255 (white).
#[derive(Clone, Debug, PartialEq)]
pub struct Xray {
    values: Vec<f32>,
}

/// What a user should know about how an image was read.
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

/// Why an image cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImageError {
    /// No bytes.
    #[error("the image file is empty; name a PNG, JPEG or DICOM file")]
    Empty,
    /// Neither of the formats.
    #[error("the file is neither PNG, JPEG nor DICOM; convert the image to one of them")]
    UnknownFormat,
    /// A PNG or JPEG file that ends early.
    #[error("the image file is cut off; copy it again")]
    Truncated,
    /// A PNG or JPEG file that cannot be decoded.
    #[error("the image cannot be decoded ({0}); copy it again or convert it to PNG")]
    Damaged(#[source] image::ImageError),
    /// A DICOM file that cannot be used.
    #[error(transparent)]
    Dicom(#[from] DicomError),
    /// Too many pixels.
    #[error("the image has {width}x{height} pixels, more than 50 million; reduce it first")]
    TooLarge {
        /// Its columns.
        width: u64,
        /// Its rows.
        height: u64,
    },
    /// Too few pixels.
    #[error("the image has {width}x{height} pixels; an X-ray needs at least 32 on each side, better 256")]
    TooSmall {
        /// Its columns.
        width: usize,
        /// Its rows.
        height: usize,
    },
    /// All pixels are equal.
    #[error("the image has no contrast: all its pixels are about equal; check that it is the right file")]
    NoContrast,
    /// The wrong number of pixels.
    #[error("an X-ray has 256x256 = 65536 pixels, not {found}; resize it first")]
    Count {
        /// The number given.
        found: usize,
    },
    /// A PNG file could not be written.
    #[error("the PNG file cannot be made ({0})")]
    Encode(#[source] image::ImageError),
}

/// A grey image of any size, rows of values from 0 (black) to 1 (white).
pub(crate) struct Grey {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) values: Vec<f32>,
    pub(crate) notes: Vec<ImageNote>,
}

impl Xray {
    /// Reads a PNG, JPEG or DICOM file, told apart by content: grey, the whole image brought to 256x256
    /// by a cubic filter whatever its proportions, as the training images were. 16-bit and DICOM images keep their depth until then. What is transparent
    /// is black; a DICOM image is shown through its window, or from its least to its greatest value if it has none.
    ///
    /// # Errors
    /// If the bytes are no such file, are damaged, or show fewer than 32 pixels on a side, more than 50 million, or no contrast.
    pub fn from_bytes(bytes: &[u8]) -> Result<(Self, Vec<ImageNote>), ImageError> {
        let grey = match bytes {
            [] => return Err(ImageError::Empty),
            _ if dicom::is_dicom(bytes) => dicom::read(bytes)?,
            [0x89, b'P', b'N', b'G', ..] => decoded(bytes, ImageFormat::Png)?,
            [0xff, 0xd8, ..] => decoded(bytes, ImageFormat::Jpeg)?,
            _ => return Err(ImageError::UnknownFormat),
        };
        Self::prepared(grey)
    }

    /// From 256 rows of 256 pixels.
    ///
    /// # Errors
    /// If there are not 65,536 of them.
    pub fn from_pixels(pixels: Vec<u8>) -> Result<Self, ImageError> {
        match pixels.len() == SIDE * SIDE {
            true => Ok(Self { values: pixels.into_iter().map(f32::from).collect() }),
            false => Err(ImageError::Count { found: pixels.len() }),
        }
    }

    /// The pixels, row by row, from 0 to 255 and not rounded.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The pixels, row by row, rounded.
    pub fn pixels(&self) -> Vec<u8> {
        self.values.iter().map(|x| x.round() as u8).collect()
    }

    /// An 8-bit grey PNG file.
    ///
    /// # Errors
    /// If the encoder fails, which it has no reason to.
    pub fn to_png(&self) -> Result<Vec<u8>, ImageError> {
        let mut out = Vec::new();
        let encoder = image::codecs::png::PngEncoder::new(&mut out);
        let side = SIDE as u32;
        encoder.write_image(&self.pixels(), side, side, ExtendedColorType::L8).map_err(ImageError::Encode)?;
        Ok(out)
    }

    /// From 65,536 values, those out of range brought to its ends.
    #[expect(clippy::manual_clamp, reason = "a not-a-number must become a number")]
    pub(crate) fn clamped(values: impl Iterator<Item = f32>) -> Self {
        Self { values: values.map(|x| x.max(0.0).min(255.0)).collect() }
    }

    fn prepared(grey: Grey) -> Result<(Self, Vec<ImageNote>), ImageError> {
        let Grey { width, height, values, mut notes } = grey;
        let (shorter, longer) = (width.min(height), width.max(height));
        if shorter < LEAST_SIDE {
            return Err(ImageError::TooSmall { width, height });
        }
        if shorter < SIDE {
            notes.push(ImageNote::Enlarged { width, height });
        }
        if longer > 2 * shorter {
            notes.push(ImageNote::Squeezed { width, height });
        }
        let square = resample::square(&values, width, height);
        let xray = Self::clamped(square.into_iter().map(|x| x * 255.0));
        let (low, high) = xray.values.iter().fold((255.0_f32, 0.0_f32), |(l, h), x| (l.min(*x), h.max(*x)));
        if high - low < 1.0 { Err(ImageError::NoContrast) } else { Ok((xray, notes)) }
    }
}

pub(crate) fn check_size(width: u64, height: u64) -> Result<(), ImageError> {
    match width.checked_mul(height) {
        Some(pixels) if pixels <= MOST_PIXELS => Ok(()),
        _ => Err(ImageError::TooLarge { width, height }),
    }
}

fn decoded(bytes: &[u8], format: ImageFormat) -> Result<Grey, ImageError> {
    if format == ImageFormat::Jpeg && !ends_properly(bytes) {
        return Err(ImageError::Truncated);
    }
    let failed = |e| match e {
        image::ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            ImageError::Truncated
        }
        e => ImageError::Damaged(e),
    };
    let mut decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    check_size(width.into(), height.into())?;
    let orientation = decoder.orientation().map_err(failed)?;
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(10 * MOST_PIXELS);
    decoder.set_limits(limits).map_err(failed)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    image.apply_orientation(orientation);
    match image {
        DynamicImage::ImageLuma8(i) => Ok(grey(&i, 255.0)),
        DynamicImage::ImageLumaA8(i) => Ok(grey(&i, 255.0)),
        DynamicImage::ImageRgb8(i) => Ok(grey(&i, 255.0)),
        DynamicImage::ImageRgba8(i) => Ok(grey(&i, 255.0)),
        DynamicImage::ImageLuma16(i) => Ok(grey(&i, 65535.0)),
        DynamicImage::ImageLumaA16(i) => Ok(grey(&i, 65535.0)),
        DynamicImage::ImageRgb16(i) => Ok(grey(&i, 65535.0)),
        DynamicImage::ImageRgba16(i) => Ok(grey(&i, 65535.0)),
        _ => Err(ImageError::UnknownFormat),
    }
}

/// That the scan is followed by an end-of-image marker: the decoder itself fills what is missing with grey. A thumbnail inside
/// has one too, but before the scan.
fn ends_properly(jpeg: &[u8]) -> bool {
    let last = |marker: [u8; 2]| jpeg.windows(2).rposition(|w| w == marker);
    last([0xff, 0xd9]) > last([0xff, 0xda])
}

fn grey<P>(image: &ImageBuffer<P, Vec<P::Subpixel>>, white: f32) -> Grey
where
    P: Pixel,
    P::Subpixel: Into<f32>,
{
    let (width, height) = (image.width() as usize, image.height() as usize);
    let mut mixer = Mixer::default();
    let mut values = Vec::with_capacity(width * height);
    for pixel in image.pixels() {
        let scaled = |x: &P::Subpixel| (*x).into() / white;
        values.push(match pixel.channels() {
            [l] => scaled(l),
            [l, alpha] => scaled(l) * scaled(alpha),
            [r, g, b] => mixer.mix([scaled(r), scaled(g), scaled(b)]),
            [r, g, b, alpha] => mixer.mix([scaled(r), scaled(g), scaled(b)].map(|x| x * scaled(alpha))),
            _ => 0.0,
        });
    }
    let notes = mixer.note(values.len()).into_iter().collect();
    Grey { width, height, values, notes }
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
