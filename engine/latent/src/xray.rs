//! X-rays as the codec sees them, from files in the formats they come in.

use crate::dicom;
use crate::grey::{Grey, ImageNote, MAX_PIXELS};
use crate::image_error::ImageError;
use crate::{picture, resample};
use image::{ExtendedColorType, ImageEncoder};
use ndarray::{Array2, ArrayView2};

/// Rows and columns of an [`Xray`].
pub const SIDE: usize = 256;

/// An image with fewer rows or columns than this part of those that are asked for is refused.
const LEAST_SHARE: usize = 8;

/// A grey image of 256x256 pixels from 0 (black) to 255 (white).
#[derive(Clone, Debug, PartialEq)]
pub struct Xray {
    /// `[256, 256]`.
    values: Array2<f32>,
    /// Values of an image with fewer rows or columns, `[height, width]`.
    small: Option<Array2<f32>>,
}

impl Xray {
    /// Reads a PNG, JPEG, TIFF, BMP, WebP or DICOM file; the content determines the format. The whole image is turned to grey and
    /// brought to 256x256 by a cubic filter whatever its proportions, as the training images were. Images of more than 8 bits
    /// keep their depth until then. Transparent pixels become black.
    ///
    /// White in a 16-bit image is the greatest number of the bits in use, or of those that a PNG file declares significant. A
    /// DICOM image is shown as a viewer shows it: its first frame through modality and VOI look-up tables or its first window,
    /// with black padding. Without a window the range is that of the values, except a few outliers such as a marker. The notes
    /// report where a file left a choice, and where its metadata contradicts a frontal chest radiograph.
    ///
    /// # Errors
    /// If the bytes are not such a file, are damaged, or show fewer than 32 pixels on a side, more than 50 million, or no
    /// contrast; if a DICOM file requires an unsupported way of display.
    pub fn from_bytes(bytes: &[u8]) -> Result<(Self, Vec<ImageNote>), ImageError> {
        Self::from_bytes_for(SIDE, bytes)
    }

    /// Reads a file as [`Xray::from_bytes`] does, for a network that takes `side * side` pixels: images are enlarged, with a note, and
    /// refused by that size in place of 256x256.
    ///
    /// # Errors
    /// Those of [`Xray::from_bytes`], with fewer than an eighth of `side` pixels on a side in place of 32.
    pub fn from_bytes_for(side: usize, bytes: &[u8]) -> Result<(Self, Vec<ImageNote>), ImageError> {
        let grey = if dicom::is_dicom(bytes) { dicom::read(bytes)? } else { picture::read(bytes)? };
        Self::prepared(grey, side)
    }

    /// An image of grey values `[height, width]` from 0 (black) to 1 (white), brought to 256x256 as files are. Values out of
    /// range count as its ends.
    ///
    /// # Errors
    /// As for [`Xray::from_bytes_for`]: fewer than an eighth of `side` pixels on a side, more than 50 million, or no contrast;
    /// [`ImageError::NotANumber`]
    pub fn from_grey(side: usize, values: ArrayView2<'_, f32>) -> Result<(Self, Vec<ImageNote>), ImageError> {
        let (height, width) = values.dim();
        if values.iter().any(|value| !value.is_finite()) {
            return Err(ImageError::NotANumber);
        }
        if values.len() as u64 > MAX_PIXELS {
            return Err(ImageError::TooLarge { width: width as u64, height: height as u64 });
        }
        let values = values.iter().map(|value| value.clamp(0.0, 1.0)).collect();
        Self::prepared(Grey { width, height, values, notes: Vec::new() }, side)
    }

    /// Whether a file whose first bytes are `head` may be an image that is read: the first 512 bytes, or all of a shorter file, tell.
    ///
    /// # Errors
    /// [`ImageError::Empty`], [`ImageError::UnknownFormat`], [`ImageError::OtherFormat`]
    pub fn check_format(head: &[u8]) -> Result<(), ImageError> {
        if dicom::is_dicom(head) { Ok(()) } else { picture::check_format(head) }
    }

    /// An X-ray of the pixels `[256, 256]`, row by row.
    ///
    /// # Errors
    /// [`ImageError::Shape`]
    pub fn from_pixels(pixels: ArrayView2<'_, u8>) -> Result<Self, ImageError> {
        match pixels.dim() {
            (SIDE, SIDE) => Ok(Self { values: pixels.mapv(f32::from), small: None }),
            (height, width) => Err(ImageError::Shape { width, height }),
        }
    }

    /// The pixels `[256, 256]`, row by row, from 0 to 255 and not rounded.
    pub fn values(&self) -> ArrayView2<'_, f32> {
        self.values.view()
    }

    /// The pixels `[height, width]` of the file, row by row, from 0 to 255, if it has fewer than 256 rows or columns.
    pub fn small_values(&self) -> Option<ArrayView2<'_, f32>> {
        self.small.as_ref().map(|values| values.view())
    }

    /// The pixels `[256, 256]`, row by row, rounded.
    pub fn pixels(&self) -> Array2<u8> {
        self.values.mapv(|x| x.round() as u8)
    }

    /// An 8-bit grey PNG file.
    ///
    /// # Errors
    /// If the encoder fails, which it has no reason to.
    pub fn to_png(&self) -> Result<Vec<u8>, ImageError> {
        let mut out = Vec::new();
        let encoder = image::codecs::png::PngEncoder::new(&mut out);
        let side = SIDE as u32;
        let pixels: Vec<u8> = self.pixels().into_iter().collect();
        encoder.write_image(&pixels, side, side, ExtendedColorType::L8).map_err(ImageError::Encode)?;
        Ok(out)
    }

    /// An X-ray of the values `[256, 256]`, those out of range brought to its ends.
    pub(crate) fn clamped(values: Array2<f32>) -> Self {
        debug_assert_eq!(values.dim(), (SIDE, SIDE));
        Self { values: values.mapv_into(clamp), small: None }
    }

    fn prepared(grey: Grey, side: usize) -> Result<(Self, Vec<ImageNote>), ImageError> {
        let Grey { width, height, values, mut notes } = grey;
        let shorter = width.min(height);
        let longer = width.max(height);
        let least = side.div_ceil(LEAST_SHARE).max(1);
        if shorter < least {
            return Err(ImageError::TooSmall { width, height, least, side });
        }
        if shorter < side {
            notes.push(ImageNote::Enlarged { width, height, side });
        }
        if longer > 2 * shorter {
            notes.push(ImageNote::Squeezed { width, height });
        }
        let mut xray = Self::clamped(resample::square(&values, width, height, SIDE) * 255.0);
        let (low, high) = xray.values.iter().fold((255.0_f32, 0.0_f32), |(l, h), x| (l.min(*x), h.max(*x)));
        if high - low < 1.0 {
            return Err(ImageError::NoContrast);
        }
        if shorter < SIDE {
            let shape = ImageError::Shape { width, height };
            let small = Array2::from_shape_vec((height, width), values).map_err(|_| shape)?;
            xray.small = Some(small.mapv_into(|x| clamp(x * 255.0)));
        }
        Ok((xray, notes))
    }
}

#[expect(clippy::manual_clamp, reason = "a not-a-number must become a number")]
fn clamp(x: f32) -> f32 {
    x.max(0.0).min(255.0)
}
