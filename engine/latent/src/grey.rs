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
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageNote {
    /// A coloured image, turned to grey.
    Colour,
    /// A file of several images, of which the first was taken.
    Frames {
        /// Number of images.
        count: u32,
    },
    /// An image that had to be enlarged.
    Enlarged {
        /// Number of columns.
        width: usize,
        /// Number of rows.
        height: usize,
        /// Columns and rows that were asked for.
        side: usize,
    },
    /// An image more than twice as long as wide, or the other way round, which lost its proportions.
    Squeezed {
        /// Number of columns.
        width: usize,
        /// Number of rows.
        height: usize,
    },
    /// A 16-bit PNG or TIFF image whose samples use fewer bits, or all of them for a few samples only.
    SampleBits {
        /// Bits of the samples.
        stored: u32,
        /// Bits in use; the greatest number that they hold was taken as white.
        used: u32,
        /// Samples out of a thousand that are brighter, such as a marker's.
        brighter_per_mille: u32,
    },
    /// A DICOM image with samples beyond their Bits Stored.
    BitsStored {
        /// Bits Stored.
        stored: u32,
        /// Bits Allocated.
        allocated: u32,
        /// Whether all bits were taken as the value, or those above Bits Stored left out.
        used: bool,
    },
    /// A DICOM look-up table whose entries need more bits than it declares.
    LutBits {
        /// Name of the table.
        name: &'static str,
        /// Bits that it declares.
        declared: u32,
        /// Bits of its entries; the greatest number that they hold was taken as white.
        used: u32,
    },
    /// A DICOM image without a window whose range was taken from its values.
    NoWindow {
        /// Value shown as black.
        low: String,
        /// Value shown as white.
        high: String,
        /// Pixels out of a thousand that are blacker or whiter.
        left_out_per_mille: u32,
    },
    /// A DICOM window that is none.
    InvalidWindow {
        /// Centre and width of the window.
        window: String,
    },
    /// A DICOM window or look-up table that shows few pixels as something between black and white.
    NarrowWindow {
        /// Name of the window or look-up table.
        by: String,
        /// The share of those pixels.
        percent: u32,
    },
    /// A DICOM file that leaves a choice.
    Choice {
        /// Name of the alternatives.
        what: &'static str,
        /// Number of alternatives.
        count: usize,
        /// The alternative that was taken.
        taken: String,
    },
    /// DICOM metadata that does not go with a frontal chest radiograph.
    Metadata {
        /// Name of the attribute.
        attribute: &'static str,
        /// Value of the attribute.
        found: String,
        /// Values that the networks were trained on.
        expected: &'static str,
    },
    /// A DICOM file whose Presentation LUT Shape contradicts its Photometric Interpretation.
    Presentation {
        /// Photometric Interpretation.
        photometric: &'static str,
        /// Presentation LUT Shape, which was followed.
        shape: &'static str,
    },
    /// A JPEG image in a DICOM file with other colours than the file says.
    JpegColours {
        /// Colour space that the file declares.
        declared: &'static str,
        /// Colour space of the JPEG, which was followed.
        taken: &'static str,
    },
    /// A DICOM file without a transfer syntax, or with a wrong one.
    TransferSyntax {
        /// Number of the transfer syntax, empty if there is none.
        declared: String,
        /// Transfer syntax of the elements, as found.
        taken: &'static str,
    },
    /// Overlays of a DICOM file, which are not drawn.
    Overlays {
        /// Number of overlays.
        count: u32,
    },
}

impl std::fmt::Display for ImageNote {
    #[expect(clippy::too_many_lines, reason = "one sentence for each variant")]
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Colour => {
                write!(f, "the image has colours, which were turned to grey; a chest X-ray has none")
            }
            Self::Frames { count } => {
                write!(f, "the file holds {count} images, of which the first was taken")
            }
            Self::Enlarged { width, height, side } => {
                write!(
                    f,
                    "the image has only {width}x{height} pixels and was enlarged to {side}x{side}; details are missing"
                )
            }
            Self::Squeezed { width, height } => {
                write!(
                    f,
                    "the image has {width}x{height} pixels and was squeezed into a square; chest X-rays are not as long"
                )
            }
            Self::SampleBits { stored, used, brighter_per_mille } => {
                let white = (1_u64 << used) - 1;
                write!(f, "the image uses {used} of its {stored} bits: {white} was taken as white")?;
                outside(f, *brighter_per_mille)
            }
            Self::BitsStored { stored, allocated, used } => {
                write!(f, "the DICOM file says Bits Stored = {stored}, and samples have more: ")?;
                match used {
                    true => write!(f, "all {allocated} bits were taken as the value"),
                    false => write!(f, "the bits above are no part of the image and were left out"),
                }
            }
            Self::LutBits { name, declared, used } => {
                let white = (1_u64 << used) - 1;
                write!(
                    f,
                    "the DICOM file's {name} declares {declared} bits and has entries of {used}: {white} was taken as white"
                )
            }
            Self::NoWindow { low, high, left_out_per_mille } => {
                write!(f, "the DICOM file has no window: {low} was taken as black and {high} as white")?;
                outside(f, *left_out_per_mille)
            }
            Self::InvalidWindow { window } => {
                write!(f, "the DICOM file's window ({window}) is invalid, and was ignored")
            }
            Self::NarrowWindow { by, percent } => {
                write!(
                    f,
                    "{by} of the DICOM file shows only {percent} % of the pixels between black and white"
                )
            }
            Self::Choice { what, count, taken } => {
                write!(f, "the DICOM file has {count} {what}, of which {taken} was taken")
            }
            Self::Metadata { attribute, found, expected } => {
                write!(f, "the DICOM file says {attribute} = {found}; the networks expect {expected}")
            }
            Self::Presentation { photometric, shape } => {
                write!(
                    f,
                    "the DICOM file says Photometric Interpretation = {photometric} and Presentation LUT Shape = {shape}; the shape was followed"
                )
            }
            Self::JpegColours { declared, taken } => {
                write!(
                    f,
                    "the DICOM file says that its JPEG image is {declared}, and the image says {taken}, which was taken"
                )
            }
            Self::TransferSyntax { declared, taken } if declared.is_empty() => {
                write!(f, "the DICOM file names no transfer syntax; it was read as {taken}")
            }
            Self::TransferSyntax { declared, taken } => {
                write!(
                    f,
                    "the DICOM file names the transfer syntax {declared}, and was read as {taken}, which it is"
                )
            }
            Self::Overlays { count } => {
                write!(
                    f,
                    "the DICOM file has {count} overlays, which are not part of the image and were left out"
                )
            }
        }
    }
}

/// The rest of a remark: the share of pixels that a range leaves out, if there are any.
fn outside(f: &mut std::fmt::Formatter<'_>, per_mille: u32) -> std::fmt::Result {
    match per_mille {
        0 => Ok(()),
        _ => write!(f, ", with {}.{} % of the pixels outside", per_mille / 10, per_mille % 10),
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
