//! How the samples of a DICOM image are stored (PS3.3, C.7.6.3), and the samples of its first frame.

use super::elements::{DataSet, PixelData};
use super::file::Compression;
use crate::frame::{Frame, FrameSize};
use crate::grey::ImageNote;
use crate::image_error::DicomError;
use crate::jpeg::{self, JpegColours, JpegHeader};
use crate::{jpeg_ls, jpeg2000, rle};

const SAMPLES: u32 = 0x0028_0002;
const PHOTOMETRIC: u32 = 0x0028_0004;
const PLANAR: u32 = 0x0028_0006;
const FRAMES: u32 = 0x0028_0008;
const ROWS: u32 = 0x0028_0010;
const COLUMNS: u32 = 0x0028_0011;
const ALLOCATED: u32 = 0x0028_0100;
const STORED: u32 = 0x0028_0101;
const HIGH_BIT: u32 = 0x0028_0102;
const SIGNED: u32 = 0x0028_0103;

/// Meaning of the samples of a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Photometric {
    /// Low values are white.
    Monochrome1,
    Monochrome2,
    Palette,
    Rgb,
    /// Luma and two differences of colour, in full range.
    YbrFull,
    /// Two pixels share their differences of colour.
    YbrFull422,
    /// The colour transform of JPEG 2000.
    YbrJpeg2000,
}

/// Storage format of the samples.
pub(super) struct Format {
    pub(super) size: FrameSize,
    pub(super) photometric: Photometric,
    pub(super) allocated: u32,
    pub(super) stored: u32,
    pub(super) high_bit: u32,
    pub(super) signed: bool,
    planar: bool,
    /// Images in the file.
    pub(super) frames: u32,
}

impl Photometric {
    fn read(set: &DataSet<'_>, samples: u16) -> Result<Self, DicomError> {
        let name = set.string(PHOTOMETRIC).unwrap_or_default();
        match (name.as_str(), samples) {
            ("MONOCHROME1", 1) => Ok(Self::Monochrome1),
            ("MONOCHROME2", 1) => Ok(Self::Monochrome2),
            ("PALETTE COLOR", 1) => Ok(Self::Palette),
            ("RGB", 3) => Ok(Self::Rgb),
            ("YBR_FULL", 3) => Ok(Self::YbrFull),
            ("YBR_FULL_422", 3) => Ok(Self::YbrFull422),
            ("YBR_RCT" | "YBR_ICT", 3) => Ok(Self::YbrJpeg2000),
            _ => Err(DicomError::Attribute {
                attribute: "Photometric Interpretation",
                expected: "MONOCHROME1, MONOCHROME2 or PALETTE COLOR of one sample; RGB, YBR_FULL, YBR_FULL_422, YBR_RCT or YBR_ICT of three",
                found: format!("{name:?} of {samples}"),
            }),
        }
    }

    pub(super) fn is_grey(self) -> bool {
        matches!(self, Self::Monochrome1 | Self::Monochrome2)
    }
}

impl Format {
    pub(super) fn read(set: &DataSet<'_>) -> Result<Self, DicomError> {
        let rows = attribute(set, ROWS, "Rows", "1 or more", |x| x > 0)?;
        let columns = attribute(set, COLUMNS, "Columns", "1 or more", |x| x > 0)?;
        let samples = attribute(set, SAMPLES, "Samples per Pixel", "1 or 3", |x| x == 1 || x == 3)?;
        let photometric = Photometric::read(set, samples)?;
        let allocated = attribute(set, ALLOCATED, "Bits Allocated", "8 or 16", |x| x == 8 || x == 16)?;
        let stored =
            attribute(set, STORED, "Bits Stored", "1 to Bits Allocated", |x| (1..=allocated).contains(&x))?;
        let high_bit = match set.integer(HIGH_BIT) {
            Some(_) => attribute(set, HIGH_BIT, "High Bit", "Bits Stored - 1 to Bits Allocated - 1", |x| {
                (stored - 1..allocated).contains(&x)
            })?,
            None => stored - 1,
        };
        let frames = set.decimal(FRAMES).unwrap_or(1.0).max(1.0) as u32;
        Ok(Self {
            size: FrameSize { columns: columns.into(), rows: rows.into(), samples: samples.into() },
            photometric,
            allocated: allocated.into(),
            stored: stored.into(),
            high_bit: high_bit.into(),
            signed: set.integer(SIGNED) == Some(1),
            planar: set.integer(PLANAR) == Some(1),
            frames,
        })
    }

    /// The samples of the first frame, pixel by pixel. Colours that a JPEG transformed are red, green and blue, which the format then says.
    pub(super) fn first_frame(
        &mut self,
        pixels: &PixelData<'_>,
        compression: Compression,
        big_endian: bool,
        notes: &mut Vec<ImageNote>,
    ) -> Result<Frame, DicomError> {
        let fragments = match pixels {
            PixelData::Native { data, words } => return self.native(data, *words, big_endian),
            PixelData::Encapsulated(fragments) => fragments,
        };
        let stream = first_stream(fragments, self.frames);
        let compression = match compression {
            Compression::Unknown | Compression::None => sniff(&stream),
            known => known,
        };
        let (codec, frame) = match compression {
            Compression::Jpeg => {
                let colours = self.jpeg_colours(&stream, notes);
                ("JPEG", jpeg::decode(&stream, self.size, colours))
            }
            Compression::JpegLs => ("JPEG-LS", jpeg_ls::decode(&stream, self.size)),
            Compression::Jpeg2000 => ("JPEG 2000", jpeg2000::decode(&stream, self.size)),
            Compression::Rle => ("RLE", rle::decode(&stream, self.size, self.allocated as usize / 8)),
            Compression::None | Compression::Unknown => return Err(DicomError::NoTransferSyntax),
        };
        let frame = frame.map_err(|reason| DicomError::Codec { codec, reason })?;
        if frame.precision > self.allocated {
            let reason =
                format!("its samples have {} bits, and {} are allocated", frame.precision, self.allocated);
            return Err(DicomError::Codec { codec, reason });
        }
        // Decoders of JPEG and JPEG 2000 undo the colour transforms of their streams.
        match (compression, self.photometric) {
            (Compression::Jpeg, p) if !p.is_grey() && p != Photometric::Palette => {
                self.photometric = Photometric::Rgb;
            }
            (_, Photometric::YbrJpeg2000) => self.photometric = Photometric::Rgb,
            // Only uncompressed samples are shared by pixels.
            (_, Photometric::YbrFull422) => self.photometric = Photometric::YbrFull,
            _ => {}
        }
        Ok(frame)
    }

    /// The colour space of a JPEG: as its own markers declare, or else as the file does.
    fn jpeg_colours(&self, stream: &[u8], notes: &mut Vec<ImageNote>) -> JpegColours {
        let declared = match self.photometric {
            Photometric::Rgb => JpegColours::Rgb,
            _ => JpegColours::Ybr,
        };
        let Ok(header) = JpegHeader::read(stream) else { return declared };
        let found = header.colours().filter(|_| self.size.samples == 3);
        if found == Some(JpegColours::Ybr) && declared == JpegColours::Rgb {
            notes.push(ImageNote::JpegColours { declared: "RGB", taken: "YCbCr" });
        } else if found == Some(JpegColours::Rgb) && declared == JpegColours::Ybr {
            notes.push(ImageNote::JpegColours { declared: "YCbCr", taken: "RGB" });
        }
        found.unwrap_or(declared)
    }

    /// Samples of an element of bytes, or of words, which big-endian files swap even if samples are bytes.
    fn native(&self, data: &[u8], words: bool, big_endian: bool) -> Result<Frame, DicomError> {
        let shared = self.photometric == Photometric::YbrFull422;
        let pairs = if shared { 2 } else { self.size.samples };
        let bytes = self.size.pixels() * pairs * (self.allocated / 8) as usize;
        let swapped;
        let data = if big_endian && self.allocated == 8 && words {
            swapped = data.as_chunks::<2>().0.iter().flat_map(|[a, b]| [*b, *a]).collect::<Vec<u8>>();
            &swapped
        } else {
            data
        };
        let frame = data.get(..bytes).ok_or(DicomError::Truncated)?;
        let raw: Vec<u16> = match (self.allocated, big_endian) {
            (8, _) => frame.iter().map(|&b| b.into()).collect(),
            (_, false) => frame.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)).collect(),
            (_, true) => frame.as_chunks::<2>().0.iter().map(|b| u16::from_be_bytes(*b)).collect(),
        };
        let values = if shared {
            if self.size.columns % 2 == 1 {
                return Err(DicomError::Attribute {
                    attribute: "Columns",
                    expected: "an even number with YBR_FULL_422",
                    found: self.size.columns.to_string(),
                });
            }
            raw.as_chunks::<4>().0.iter().flat_map(|[a, b, cb, cr]| [*a, *cb, *cr, *b, *cb, *cr]).collect()
        } else if self.size.samples == 3 && self.planar {
            let (first, rest) = raw.split_at(self.size.pixels());
            let (second, third) = rest.split_at(self.size.pixels());
            first.iter().zip(second).zip(third).flat_map(|((a, b), c)| [*a, *b, *c]).collect()
        } else {
            raw
        };
        Ok(Frame { values, precision: self.allocated })
    }
}

/// # Errors
/// If an attribute is missing or does not fit.
fn attribute(
    set: &DataSet<'_>,
    tag: u32,
    attribute: &'static str,
    expected: &'static str,
    fits: impl Fn(u16) -> bool,
) -> Result<u16, DicomError> {
    let found = set.integer(tag);
    found.filter(|&x| fits(x)).ok_or_else(|| DicomError::Attribute {
        attribute,
        expected,
        found: found.map_or_else(|| "nothing".to_owned(), |x| x.to_string()),
    })
}

/// The fragments of the first frame (PS3.5, A.4): all of them, as many as the table of offsets says, or one for each frame.
fn first_stream(fragments: &[&[u8]], frames: u32) -> Vec<u8> {
    let Some((table, fragments)) = fragments.split_first() else { return Vec::new() };
    if frames <= 1 {
        return fragments.concat();
    }
    let second = table.as_chunks::<4>().0.get(1).map(|b| u32::from_le_bytes(*b) as usize);
    let Some(second) = second else {
        let each = if fragments.len() == frames as usize { 1 } else { fragments.len() };
        return fragments.iter().take(each).copied().flatten().copied().collect();
    };
    let mut offset = 0;
    let of_first = fragments.iter().take_while(|fragment| {
        let starts_before = offset < second;
        offset += fragment.len() + 8;
        starts_before
    });
    of_first.copied().collect::<Vec<_>>().concat()
}

/// The compression that the first bytes of a stream show.
fn sniff(stream: &[u8]) -> Compression {
    match stream {
        _ if jpeg2000::is_jpeg2000(stream) => Compression::Jpeg2000,
        [0xff, 0xd8, ..] if stream.windows(2).take(4096).any(|w| w == [0xff, 0xf7]) => Compression::JpegLs,
        [0xff, 0xd8, ..] => Compression::Jpeg,
        [1..=15, 0, 0, 0, 64, 0, 0, 0, ..] => Compression::Rle,
        _ => Compression::Unknown,
    }
}
