//! X-rays as the codec sees them, from files in the formats they come in.

use crate::dicom;
use crate::grey::{Grey, ImageNote};
use crate::image_error::ImageError;
use crate::{picture, resample};
use image::{ExtendedColorType, ImageEncoder};
use ndarray::{Array2, ArrayView2};

/// Rows and columns of an [`Xray`].
pub const SIDE: usize = 256;

const LEAST_SIDE: usize = 32;

/// A grey image of 256x256 pixels from 0 (black) to 255 (white).
#[derive(Clone, Debug, PartialEq)]
pub struct Xray {
    /// `[256, 256]`.
    values: Array2<f32>,
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
        let grey = if dicom::is_dicom(bytes) { dicom::read(bytes)? } else { picture::read(bytes)? };
        Self::prepared(grey)
    }

    /// An X-ray of the pixels `[256, 256]`, row by row.
    ///
    /// # Errors
    /// [`ImageError::Shape`]
    pub fn from_pixels(pixels: ArrayView2<'_, u8>) -> Result<Self, ImageError> {
        match pixels.dim() {
            (SIDE, SIDE) => Ok(Self { values: pixels.mapv(f32::from) }),
            (height, width) => Err(ImageError::Shape { width, height }),
        }
    }

    /// The pixels `[256, 256]`, row by row, from 0 to 255 and not rounded.
    pub fn values(&self) -> ArrayView2<'_, f32> {
        self.values.view()
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
    #[expect(clippy::manual_clamp, reason = "a not-a-number must become a number")]
    pub(crate) fn clamped(values: Array2<f32>) -> Self {
        debug_assert_eq!(values.dim(), (SIDE, SIDE));
        Self { values: values.mapv_into(|x| x.max(0.0).min(255.0)) }
    }

    fn prepared(grey: Grey) -> Result<(Self, Vec<ImageNote>), ImageError> {
        let Grey { width, height, values, mut notes } = grey;
        let shorter = width.min(height);
        let longer = width.max(height);
        if shorter < LEAST_SIDE {
            return Err(ImageError::TooSmall { width, height });
        }
        if shorter < SIDE {
            notes.push(ImageNote::Enlarged { width, height });
        }
        if longer > 2 * shorter {
            notes.push(ImageNote::Squeezed { width, height });
        }
        let xray = Self::clamped(resample::square(&values, width, height, SIDE) * 255.0);
        let (low, high) = xray.values.iter().fold((255.0_f32, 0.0_f32), |(l, h), x| (l.min(*x), h.max(*x)));
        if high - low < 1.0 { Err(ImageError::NoContrast) } else { Ok((xray, notes)) }
    }
}
