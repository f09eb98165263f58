//! X-rays as the codec sees them, from files in the formats they come in.

use crate::dicom;
use crate::grey::{Grey, ImageNote, MAX_PIXELS, Mixer, check_size};
use crate::image_error::ImageError;
use crate::resample;
use image::{
    DynamicImage, ExtendedColorType, ImageBuffer, ImageDecoder, ImageEncoder, ImageFormat, ImageReader, Pixel,
};
use ndarray::{Array2, ArrayView2};
use std::io::Cursor;

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
        let xray = Self::clamped(resample::square(&values, width, height, SIDE) * 255.0);
        let (low, high) = xray.values.iter().fold((255.0_f32, 0.0_f32), |(l, h), x| (l.min(*x), h.max(*x)));
        if high - low < 1.0 { Err(ImageError::NoContrast) } else { Ok((xray, notes)) }
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
    limits.max_alloc = Some(10 * MAX_PIXELS);
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
