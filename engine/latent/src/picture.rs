//! PNG, JPEG, TIFF, BMP and WebP files as grey values.

use crate::frame::FrameSize;
use crate::grey::{Grey, ImageNote, MAX_PIXELS, Mixer, check_size};
use crate::image_error::ImageError;
use crate::jpeg::{JpegHeader, ends_properly};
use crate::jpeg_extended;
use crate::range::robust_range;
use crate::tiff::Directories;
use image::{DynamicImage, ImageBuffer, ImageDecoder, ImageFormat, ImageReader, Pixel};
use std::io::Cursor;

const PNG_MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Reads an image file; the content determines the format. Transparent pixels become black.
pub(crate) fn read(bytes: &[u8]) -> Result<Grey, ImageError> {
    match bytes {
        [] => Err(ImageError::Empty),
        [0x89, b'P', b'N', b'G', ..] => decoded(bytes, ImageFormat::Png),
        [0xff, 0xd8, ..] => jpeg(bytes),
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => {
            let mut grey = decoded(bytes, ImageFormat::Tiff)?;
            let count = Directories::of(bytes).count();
            if count > 1 {
                grey.notes.push(ImageNote::Frames { count });
            }
            Ok(grey)
        }
        [b'B', b'M', ..] => decoded(bytes, ImageFormat::Bmp),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => decoded(bytes, ImageFormat::WebP),
        _ => Err(unread(bytes)),
    }
}

/// Whether bytes begin like a file that [`read`] reads.
pub(crate) fn check_format(head: &[u8]) -> Result<(), ImageError> {
    match head {
        [] => Err(ImageError::Empty),
        [0x89, b'P', b'N', b'G', ..]
        | [0xff, 0xd8, ..]
        | [b'I', b'I', 42 | 43, 0, ..]
        | [b'M', b'M', 0, 42 | 43, ..]
        | [b'B', b'M', ..]
        | [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(()),
        _ => Err(unread(head)),
    }
}

/// Why a file of another format is not read: by name where it is known.
fn unread(bytes: &[u8]) -> ImageError {
    const CONVERT: &str = "convert it to PNG";
    const UNPACK: &str = "unpack it and name the image inside";
    let known: [(&[u8], &'static str, &'static str); 13] = [
        (b"PK\x03\x04", "a ZIP archive", UNPACK),
        (b"PK\x05\x06", "an empty ZIP archive", UNPACK),
        (b"\x1f\x8b", "a gzip archive", UNPACK),
        (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
        (b"Rar!", "a RAR archive", UNPACK),
        (b"GIF8", "a GIF image", CONVERT),
        (b"%PDF", "a PDF document", "export the image in it as PNG"),
        (b"\0\0\0\x0cjP  ", "a JPEG 2000 image", CONVERT),
        (b"\xff\x4f\xff\x51", "a JPEG 2000 image", CONVERT),
        (b"\x93NUMPY", "a NumPy array", CONVERT),
        (b"\x89HDF", "an HDF5 file", CONVERT),
        (b"n+1\0", "a NIfTI volume", CONVERT),
        (b"\0\0\x01\0", "an icon", CONVERT),
    ];
    let found = known.iter().find(|(magic, ..)| bytes.starts_with(magic));
    found.map_or(ImageError::UnknownFormat, |(_, name, advice)| ImageError::OtherFormat { name, advice })
}

fn jpeg(bytes: &[u8]) -> Result<Grey, ImageError> {
    if !ends_properly(bytes) {
        return Err(ImageError::Truncated);
    }
    let Ok(header) = JpegHeader::read(bytes) else { return decoded(bytes, ImageFormat::Jpeg) };
    if header.process == 0xf7 || header.is_lossless() {
        let name = if header.is_lossless() { "a lossless JPEG image" } else { "a JPEG-LS image" };
        return Err(ImageError::OtherFormat { name, advice: "convert it to PNG" });
    }
    if !header.is_extended() {
        return decoded(bytes, ImageFormat::Jpeg);
    }
    check_size(header.columns.into(), header.rows.into())?;
    let size = FrameSize { columns: header.columns.into(), rows: header.rows.into(), samples: 1 };
    let frame = jpeg_extended::decode(bytes, size).map_err(|reason| ImageError::ExtendedJpeg { reason })?;
    let white = ((1_u32 << frame.precision) - 1) as f32;
    let values = frame.values.iter().map(|x| f32::from(*x) / white).collect();
    Ok(Grey { width: size.columns, height: size.rows, values, notes: Vec::new() })
}

fn decoded(bytes: &[u8], format: ImageFormat) -> Result<Grey, ImageError> {
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
    let meaning = Meaning {
        significant: if format == ImageFormat::Png { significant_bits(bytes) } else { None },
        inverted: format == ImageFormat::Tiff && Directories::of(bytes).white_is_zero(),
    };
    match image {
        DynamicImage::ImageLuma8(i) => Ok(grey(&i, 255.0, 255.0)),
        DynamicImage::ImageLumaA8(i) => Ok(grey(&i, 255.0, 255.0)),
        DynamicImage::ImageRgb8(i) => Ok(grey(&i, 255.0, 255.0)),
        DynamicImage::ImageRgba8(i) => Ok(grey(&i, 255.0, 255.0)),
        DynamicImage::ImageLuma16(i) => Ok(grey_of_16_bits(i, meaning)),
        DynamicImage::ImageLumaA16(i) => Ok(grey_of_16_bits(i, meaning)),
        DynamicImage::ImageRgb16(i) => Ok(grey_of_16_bits(i, meaning)),
        DynamicImage::ImageRgba16(i) => Ok(grey_of_16_bits(i, meaning)),
        _ => Err(ImageError::UnknownFormat),
    }
}

/// Statements of a file about samples of 16 bits.
#[derive(Clone, Copy)]
struct Meaning {
    /// Number of significant bits.
    significant: Option<u32>,
    /// Whether zero is white; the decoder has turned samples to 65535 less their values.
    inverted: bool,
}

/// The most significant bits of a channel that a PNG file's sBIT chunk names.
fn significant_bits(png: &[u8]) -> Option<u32> {
    let mut rest = png.strip_prefix(PNG_MAGIC)?;
    loop {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let (kind, after) = after.split_first_chunk::<4>()?;
        let (body, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        match kind {
            b"sBIT" => return body.iter().max().map(|bits| u32::from(*bits)),
            b"IDAT" | b"IEND" => return None,
            _ => rest = after.get(4..)?,
        }
    }
}

/// Instruments write 10 to 14 bits into 16 without scaling them, so white is the greatest number of the bits that sBIT names, or
/// of the bits in use. Few samples far above the others, such as a marker's, are not counted if they alone would need two bits more.
/// Samples that exceed the bits of sBIT were scaled as the PNG specification requires.
#[expect(clippy::indexing_slicing, reason = "there is a count for each of the 65,536 samples")]
fn grey_of_16_bits<P: Pixel<Subpixel = u16>>(mut image: ImageBuffer<P, Vec<u16>>, meaning: Meaning) -> Grey {
    if meaning.inverted {
        // As stored: the bits in use are those of the file.
        image.iter_mut().for_each(|sample| *sample = u16::MAX - *sample);
    }
    let colours = if P::HAS_ALPHA { usize::from(P::CHANNEL_COUNT) - 1 } else { P::CHANNEL_COUNT.into() };
    let mut counts = vec![0_u32; 1 << u16::BITS];
    for sample in image.pixels().flat_map(|pixel| pixel.channels().iter().take(colours)) {
        counts[usize::from(*sample)] += 1;
    }
    let occurring = (0..=u16::MAX).zip(counts).filter(|(_, count)| *count > 0);
    let counted: Vec<(f64, u32)> = occurring.map(|(sample, count)| (sample.into(), count)).collect();
    let needed = counted.last().map_or(0, |(greatest, _)| bits_of(*greatest));
    let usual = bits_of(robust_range(&counted).1);
    let used = match meaning.significant {
        Some(bits) if (usual..=u16::BITS).contains(&bits) && bits > 0 => bits,
        Some(_) => u16::BITS,
        None if usual + 2 <= needed => usual,
        None => needed,
    };
    let white = ((1_u32 << used) - 1).max(1) as f32;
    let opaque = image.pixels().filter_map(|pixel| pixel.channels().get(colours)).copied().max();
    // Alpha was written with the same bits.
    let opaque = opaque.map(f32::from).filter(|most| (1.0..=white).contains(most)).map_or(65535.0, |_| white);
    let mut grey = grey(&image, white, opaque);
    if meaning.inverted {
        grey.values.iter_mut().for_each(|value| *value = 1.0 - *value);
    }
    if (used < u16::BITS || usual < needed) && needed > 0 {
        let total: f64 = counted.iter().map(|(_, count)| f64::from(*count)).sum();
        let brighter = counted.iter().filter(|(sample, _)| *sample > f64::from(white));
        let brighter: f64 = brighter.map(|(_, count)| f64::from(*count)).sum();
        let brighter_per_mille = (1000.0 * brighter / total).ceil() as u32;
        grey.notes.push(ImageNote::SampleBits { stored: u16::BITS, used, brighter_per_mille });
    }
    grey
}

/// Bits of a sample.
fn bits_of(sample: f64) -> u32 {
    let sample = sample as u16;
    u16::BITS - sample.leading_zeros()
}

fn grey<P>(image: &ImageBuffer<P, Vec<P::Subpixel>>, white: f32, opaque: f32) -> Grey
where
    P: Pixel,
    P::Subpixel: Into<f32>,
{
    let width = image.width() as usize;
    let height = image.height() as usize;
    let mut mixer = Mixer::default();
    let mut values = Vec::with_capacity(width * height);
    for pixel in image.pixels() {
        let scaled = |x: &P::Subpixel| ((*x).into() / white).min(1.0);
        let covered = |x: &P::Subpixel| (*x).into() / opaque;
        values.push(match pixel.channels() {
            [l] => scaled(l),
            [l, alpha] => scaled(l) * covered(alpha),
            [r, g, b] => mixer.mix([scaled(r), scaled(g), scaled(b)]),
            [r, g, b, alpha] => mixer.mix([scaled(r), scaled(g), scaled(b)].map(|x| x * covered(alpha))),
            _ => 0.0,
        });
    }
    let notes = mixer.note(values.len()).into_iter().collect();
    Grey { width, height, values, notes }
}
