//! The elements of a DICOM file (PS3.10, PS3.5): little-endian, with or without value representations.
//!
//! Values are slices of the file, so no length in it can make this allocate; nested sequences are walked over, not entered.

use crate::image_error::DicomError;

pub(super) const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const IMPLICIT: &str = "1.2.840.10008.1.2";
const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
const DEFLATED: &str = "1.2.840.10008.1.2.1.99";

const PREAMBLE: usize = 128;
const MAGIC: &[u8] = b"DICM";
const TRANSFER_SYNTAX: u32 = 0x0002_0010;
pub(super) const PIXEL_DATA: u32 = 0x7fe0_0010;
const ITEM: u32 = 0xfffe_e000;
const ITEM_END: u32 = 0xfffe_e00d;
const SEQUENCE_END: u32 = 0xfffe_e0dd;
const UNDEFINED: u32 = u32::MAX;
/// No image has more elements that describe its pixels.
const MOST_ELEMENTS: usize = 256;

pub(crate) fn is_dicom(bytes: &[u8]) -> bool {
    bytes.get(PREAMBLE..).is_some_and(|rest| rest.starts_with(MAGIC))
}

/// The elements that describe pixels, and the pixels.
#[derive(Default)]
pub(super) struct Elements<'a> {
    pub(super) transfer_syntax: String,
    described: Vec<(u32, &'a [u8])>,
    pub(super) pixels: Option<PixelData<'a>>,
}

pub(super) enum PixelData<'a> {
    Native(&'a [u8]),
    /// Fragments, the first of which is the table of offsets.
    Encapsulated(Vec<&'a [u8]>),
}

impl<'a> Elements<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, DicomError> {
        let mut reader =
            Reader { rest: bytes.get(PREAMBLE + MAGIC.len()..).unwrap_or_default(), implicit: false };
        let mut elements = Self::default();
        while let Some(group) = reader.rest.first_chunk::<2>()
            && u16::from_le_bytes(*group) == 2
        {
            let (tag, _, length) = reader.header()?;
            let value = reader.take(length)?;
            if tag == TRANSFER_SYNTAX {
                elements.transfer_syntax = text(value);
            }
        }
        reader.implicit = elements.transfer_syntax == IMPLICIT;
        if matches!(elements.transfer_syntax.as_str(), "" | BIG_ENDIAN | DEFLATED) {
            return Err(DicomError::TransferSyntax { name: syntax_name(&elements.transfer_syntax) });
        }
        while !reader.rest.is_empty() {
            elements.next(&mut reader)?;
            if elements.pixels.is_some() {
                break;
            }
        }
        Ok(elements)
    }

    fn next(&mut self, reader: &mut Reader<'a>) -> Result<(), DicomError> {
        let (tag, unknown, length) = reader.header()?;
        match (tag, length) {
            (PIXEL_DATA, UNDEFINED) => self.pixels = Some(PixelData::Encapsulated(reader.fragments()?)),
            (PIXEL_DATA, _) => self.pixels = Some(PixelData::Native(reader.take(length)?)),
            (_, UNDEFINED) => reader.skip_sequence(unknown)?,
            _ => {
                let value = reader.take(length)?;
                if tag >> 16 == 0x0028 && self.described.len() < MOST_ELEMENTS {
                    self.described.push((tag, value));
                }
            }
        }
        Ok(())
    }

    /// The first of an element's 16-bit integers.
    pub(super) fn integer(&self, tag: u32) -> Option<u16> {
        self.value(tag)?.first_chunk().map(|b| u16::from_le_bytes(*b))
    }

    /// The first of an element's decimal strings.
    pub(super) fn decimal(&self, tag: u32) -> Option<f64> {
        self.string(tag)?.split('\\').next()?.trim().parse().ok().filter(|x: &f64| x.is_finite())
    }

    pub(super) fn string(&self, tag: u32) -> Option<String> {
        self.value(tag).map(text).filter(|text| !text.is_empty())
    }

    fn value(&self, tag: u32) -> Option<&'a [u8]> {
        self.described.iter().find(|(t, _)| *t == tag).map(|(_, value)| *value)
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    implicit: bool,
}

impl<'a> Reader<'a> {
    /// Tag, whether the representation is "unknown", and length.
    fn header(&mut self) -> Result<(u32, bool, u32), DicomError> {
        let [g0, g1, e0, e1] = self.bytes()?;
        let tag = u32::from(u16::from_le_bytes([g0, g1])) << 16 | u32::from(u16::from_le_bytes([e0, e1]));
        if self.implicit || tag >> 16 == ITEM >> 16 {
            return Ok((tag, false, u32::from_le_bytes(self.bytes()?)));
        }
        let [v0, v1, l0, l1] = self.bytes()?;
        let length = match &[v0, v1] {
            b"OB" | b"OD" | b"OF" | b"OL" | b"OV" | b"OW" | b"SQ" | b"SV" | b"UC" | b"UN" | b"UR" | b"UT"
            | b"UV" => u32::from_le_bytes(self.bytes()?),
            [b'A'..=b'Z', b'A'..=b'Z'] => u16::from_le_bytes([l0, l1]).into(),
            _ => return Err(DicomError::Damaged { tag }),
        };
        Ok((tag, [v0, v1] == *b"UN", length))
    }

    fn fragments(&mut self) -> Result<Vec<&'a [u8]>, DicomError> {
        let mut fragments = Vec::new();
        loop {
            match self.header()? {
                (ITEM, _, length) => fragments.push(self.take(length)?),
                (SEQUENCE_END, ..) => return Ok(fragments),
                (tag, ..) => return Err(DicomError::Damaged { tag }),
            }
        }
    }

    /// Walks to the end of a sequence of undefined length. One of unknown representation is implicit inside (PS3.5, 6.2.2).
    fn skip_sequence(&mut self, unknown: bool) -> Result<(), DicomError> {
        let outside = self.implicit;
        self.implicit |= unknown;
        let mut open = 1_usize;
        let mut explicit_below = if unknown { Some(0) } else { None };
        while open > 0 {
            let (tag, unknown, length) = self.header()?;
            match (tag, length) {
                (ITEM_END | SEQUENCE_END, _) => {
                    open -= 1;
                    if explicit_below == Some(open) {
                        self.implicit = outside;
                        explicit_below = None;
                    }
                }
                (_, UNDEFINED) => {
                    if unknown && explicit_below.is_none() {
                        explicit_below = Some(open);
                        self.implicit = true;
                    }
                    open += 1;
                }
                _ => drop(self.take(length)?),
            }
        }
        self.implicit = outside;
        Ok(())
    }

    fn take(&mut self, length: u32) -> Result<&'a [u8], DicomError> {
        let (value, rest) = self.rest.split_at_checked(length as usize).ok_or(DicomError::Truncated)?;
        self.rest = rest;
        Ok(value)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], DicomError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(DicomError::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }
}

/// Strings are padded to even length, with a space or a zero.
fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_matches(['\0', ' ']).chars().take(200).collect()
}

/// The number of a transfer syntax, with the name of those that occur.
pub(super) fn syntax_name(syntax: &str) -> String {
    let name = match syntax {
        "" => return "(missing)".to_owned(),
        "1.2.840.10008.1.2.1.99" => "Deflated Explicit VR Little Endian",
        "1.2.840.10008.1.2.2" => "Explicit VR Big Endian",
        "1.2.840.10008.1.2.5" => "RLE Lossless",
        _ if syntax.starts_with("1.2.840.10008.1.2.4.8") => "JPEG-LS",
        _ if syntax.starts_with("1.2.840.10008.1.2.4.9") => "JPEG 2000",
        _ if syntax.starts_with("1.2.840.10008.1.2.4.10") => "MPEG video",
        _ if syntax.starts_with("1.2.840.10008.1.2.4.11") => "JPEG XL",
        _ if syntax.starts_with("1.2.840.10008.1.2.4.20") => "HTJ2K",
        _ => return syntax.to_owned(),
    };
    format!("{name} ({syntax})")
}
