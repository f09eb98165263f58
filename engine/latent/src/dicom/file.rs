//! DICOM files as data sets: preamble, file meta information and transfer syntax (PS3.10, 7), each of which may be missing.

use super::elements::{Encoding, Reader, text};
use crate::grey::ImageNote;
use crate::image_error::DicomError;
use flate2::read::DeflateDecoder;
use std::borrow::Cow;
use std::io::Read;

const PREAMBLE: usize = 128;
const MAGIC: &[u8] = b"DICM";
const META_GROUP: u16 = 2;
const TRANSFER_SYNTAX: u32 = 0x0002_0010;
/// Deflated data sets of more bytes are refused.
const MOST_INFLATED: u64 = 256 << 20;

const EXPLICIT_LITTLE: Encoding = Encoding { implicit: false, big_endian: false };
const IMPLICIT_LITTLE: Encoding = Encoding { implicit: true, big_endian: false };
const EXPLICIT_BIG: Encoding = Encoding { implicit: false, big_endian: true };

const REPRESENTATIONS: [&[u8; 2]; 34] = [
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"OB", b"OD", b"OF",
    b"OL", b"OV", b"OW", b"PN", b"SH", b"SL", b"SQ", b"SS", b"ST", b"SV", b"TM", b"UC", b"UI", b"UL", b"UN",
    b"UR", b"US", b"UT", b"UV",
];

/// Compression of the pixels of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Jpeg,
    JpegLs,
    Jpeg2000,
    Rle,
    /// As the first bytes of the pixels say, because the file does not.
    Unknown,
}

/// The bytes of a data set and what is needed to read them.
pub(super) struct DicomFile<'a> {
    pub(super) data: Cow<'a, [u8]>,
    pub(super) encoding: Encoding,
    pub(super) compression: Compression,
    pub(super) notes: Vec<ImageNote>,
}

/// Whether bytes are a DICOM file: with the magic after a preamble, or, without both, beginning like a data set.
pub(crate) fn is_dicom(bytes: &[u8]) -> bool {
    has_magic(bytes) || first_encoding(bytes).is_some()
}

impl<'a> DicomFile<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, DicomError> {
        let start = if has_magic(bytes) { PREAMBLE + MAGIC.len() } else { 0 };
        let rest = bytes.get(start..).ok_or(DicomError::Truncated)?;
        let mut reader = Reader { rest, encoding: EXPLICIT_LITTLE };
        let mut syntax = String::new();
        while let Some(group) = reader.rest.first_chunk::<2>()
            && u16::from_le_bytes(*group) == META_GROUP
        {
            let header = reader.header()?;
            let value = reader.take(header.length)?;
            if header.tag == TRANSFER_SYNTAX {
                syntax = text(value);
            }
        }
        let (data, declared, compression) = match syntax.as_str() {
            "" => (Cow::Borrowed(reader.rest), None, Compression::Unknown),
            "1.2.840.10008.1.2" => (Cow::Borrowed(reader.rest), Some(IMPLICIT_LITTLE), Compression::None),
            "1.2.840.10008.1.2.1" => (Cow::Borrowed(reader.rest), Some(EXPLICIT_LITTLE), Compression::None),
            "1.2.840.10008.1.2.1.99" => {
                (Cow::Owned(inflate(reader.rest)?), Some(EXPLICIT_LITTLE), Compression::None)
            }
            "1.2.840.10008.1.2.2" => (Cow::Borrowed(reader.rest), Some(EXPLICIT_BIG), Compression::None),
            _ => (Cow::Borrowed(reader.rest), Some(EXPLICIT_LITTLE), compression(&syntax)?),
        };
        // Some writers say explicit and write implicit; no first element can be read both ways.
        let found = first_encoding(&data);
        let encoding = found.or(declared).ok_or(DicomError::NoTransferSyntax)?;
        let mut notes = Vec::new();
        if declared.is_none_or(|declared| declared != encoding) {
            notes.push(ImageNote::TransferSyntax { declared: syntax, taken: encoding_name(encoding) });
        }
        Ok(Self { data, encoding, compression, notes })
    }
}

fn has_magic(bytes: &[u8]) -> bool {
    bytes.get(PREAMBLE..).is_some_and(|rest| rest.starts_with(MAGIC))
}

/// The encoding under which bytes begin with an element that stands at the head of data sets: of group 2 or 8, with a low number.
fn first_encoding(bytes: &[u8]) -> Option<Encoding> {
    let [g0, g1, e0, e1, v0, v1, l0, l1, ..] = *bytes else { return None };
    let explicit = REPRESENTATIONS.iter().any(|r| **r == [v0, v1]);
    let first = |group: u16, element: u16| matches!(group, 2 | 8) && element <= 0x20;
    let little = first(u16::from_le_bytes([g0, g1]), u16::from_le_bytes([e0, e1]));
    let big = first(u16::from_be_bytes([g0, g1]), u16::from_be_bytes([e0, e1]));
    let length = u32::from_le_bytes([v0, v1, l0, l1]);
    match (little, big, explicit) {
        (true, _, true) => Some(EXPLICIT_LITTLE),
        (true, _, false) if length <= 1024 && length % 2 == 0 => Some(IMPLICIT_LITTLE),
        (false, true, true) => Some(EXPLICIT_BIG),
        _ => None,
    }
}

fn encoding_name(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding { big_endian: true, .. } => "Explicit VR Big Endian",
        Encoding { implicit: true, .. } => "Implicit VR Little Endian",
        Encoding { .. } => "Explicit VR Little Endian",
    }
}

fn compression(syntax: &str) -> Result<Compression, DicomError> {
    match syntax.strip_prefix("1.2.840.10008.1.2.") {
        Some("4.50" | "4.51" | "4.57" | "4.70") => Ok(Compression::Jpeg),
        Some("4.80" | "4.81") => Ok(Compression::JpegLs),
        Some("4.90" | "4.91") => Ok(Compression::Jpeg2000),
        Some("5") => Ok(Compression::Rle),
        number => Err(DicomError::TransferSyntax { name: syntax_name(syntax, number.unwrap_or_default()) }),
    }
}

/// The number of a transfer syntax, with the name of those that occur.
fn syntax_name(syntax: &str, number: &str) -> String {
    let name = match number {
        "4.92" | "4.93" => "JPEG 2000 of several components",
        "4.94" | "4.95" => "JPIP (pixels on a server)",
        _ if number.starts_with("4.10") => "MPEG video",
        _ if number.starts_with("4.11") => "JPEG XL",
        _ if number.starts_with("4.20") => "High-Throughput JPEG 2000",
        _ if number.starts_with("4.") => "retired JPEG process",
        _ => return syntax.to_owned(),
    };
    format!("{name} ({syntax})")
}

fn inflate(bytes: &[u8]) -> Result<Vec<u8>, DicomError> {
    let mut data = Vec::new();
    let mut decoder = DeflateDecoder::new(bytes).take(MOST_INFLATED + 1);
    decoder
        .read_to_end(&mut data)
        .map_err(|e| DicomError::Codec { codec: "deflated", reason: e.to_string() })?;
    if data.len() as u64 > MOST_INFLATED {
        return Err(DicomError::Codec { codec: "deflated", reason: "it is larger than 256 MiB".to_owned() });
    }
    Ok(data)
}
