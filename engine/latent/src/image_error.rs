//! Errors of reading images.

use thiserror::Error;

/// Why an image cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImageError {
    /// No bytes.
    #[error("the image file is empty; name a PNG, JPEG, TIFF, BMP, WebP or DICOM file")]
    Empty,
    /// The bytes are in none of the supported formats.
    #[error("the file is neither PNG, JPEG, TIFF, BMP, WebP nor DICOM; convert the image to one of them")]
    UnknownFormat,
    /// A format that is known and not read.
    #[error("the file is {name}, which is not read; {advice}")]
    OtherFormat {
        /// Name of the format, with an article.
        name: &'static str,
        /// Advice to the user.
        advice: &'static str,
    },
    /// A file that ends early.
    #[error("the image file is cut off; copy it again")]
    Truncated,
    /// A file that cannot be decoded.
    #[error("the image cannot be decoded ({}); copy it again or convert it to PNG", .0.to_string().trim_end())]
    Damaged(#[source] image::ImageError),
    /// A 12-bit JPEG file that cannot be decoded.
    #[error("the 12-bit JPEG image cannot be decoded ({reason}); copy it again or convert it to PNG")]
    ExtendedJpeg {
        /// The cause.
        reason: String,
    },
    /// A DICOM file that cannot be used.
    #[error(transparent)]
    Dicom(#[from] DicomError),
    /// Too many pixels.
    #[error("the image has {width}x{height} pixels, more than 50 million; reduce it first")]
    TooLarge {
        /// Number of columns.
        width: u64,
        /// Number of rows.
        height: u64,
    },
    /// Too few pixels.
    #[error(
        "the image has {width}x{height} pixels; an X-ray needs at least {least} on each side, better {side}"
    )]
    TooSmall {
        /// Number of columns.
        width: usize,
        /// Number of rows.
        height: usize,
        /// Least number of columns and of rows.
        least: usize,
        /// Columns and rows that need no enlarging.
        side: usize,
    },
    /// All pixels are equal.
    #[error("the image has no contrast: all its pixels are about equal; check that it is the right file")]
    NoContrast,
    /// An array with a value that is no finite number.
    #[error("the image has a value that is NaN or infinite; grey values are 0 (black) to 1 (white)")]
    NotANumber,
    /// An array of another size than 256x256.
    #[error("an X-ray has 256x256 pixels, not {width}x{height}; resize it first")]
    Shape {
        /// Columns of the array.
        width: usize,
        /// Rows of the array.
        height: usize,
    },
    /// A PNG file could not be written.
    #[error("the PNG file cannot be made ({0})")]
    Encode(#[source] image::ImageError),
}

/// Why a DICOM file cannot be read as an image.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DicomError {
    /// The file ends inside an element.
    #[error("the DICOM file is cut off; copy it again")]
    Truncated,
    /// Bytes that are no element.
    #[error("the DICOM file is damaged near element ({:04x},{:04x}); copy it again", tag >> 16, tag & 0xffff)]
    Damaged {
        /// Group and element number.
        tag: u32,
    },
    /// No pixels.
    #[error(
        "the DICOM file holds no image (it may be a report or a directory); name a file of the X-ray itself"
    )]
    NoPixels,
    /// An encoding of pixels that is not read.
    #[error(
        "the DICOM file's transfer syntax {name} is not supported; save it uncompressed, as JPEG or JPEG 2000, or export a PNG"
    )]
    TransferSyntax {
        /// Name and number of the attribute.
        name: String,
    },
    /// An attribute is missing or has a value that is not read.
    #[error("the DICOM file has {attribute} = {found}, supported is {expected}; export the image as PNG")]
    Attribute {
        /// Name of the attribute.
        attribute: &'static str,
        /// Values that are supported.
        expected: &'static str,
        /// Value of the attribute, "nothing" if it is missing.
        found: String,
    },
    /// Neither a transfer syntax nor pixels that show how they are compressed.
    #[error(
        "the DICOM file does not say how it is written (its transfer syntax is missing), and its pixels do not show it; export it again with file meta information"
    )]
    NoTransferSyntax,
    /// Pixels in floating point.
    #[error("the DICOM file holds Float Pixel Data, supported are integers; export the image as PNG")]
    FloatingPoint,
    /// Compressed pixels that cannot be decoded.
    #[error("the DICOM file's {codec} image cannot be decoded ({reason}); copy it again or export a PNG")]
    Codec {
        /// Name of the compression.
        codec: &'static str,
        /// The cause.
        reason: String,
    },
    /// A window or look-up table that shows all pixels alike.
    #[error(
        "{by} of the DICOM file lies beside its values, {low} to {high}, and shows none of them; save the image with another window, or without one"
    )]
    NothingShown {
        /// Name of the window or look-up table.
        by: String,
        /// The least value.
        low: f64,
        /// The greatest value.
        high: f64,
    },
    /// A bug of this library.
    #[error("internal error: {0}; please report it")]
    Internal(&'static str),
}
