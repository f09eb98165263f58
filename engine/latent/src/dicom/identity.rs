//! Unique identifiers of a DICOM image (PS3.3, C.7.2.1, C.7.3.1 and C.12.1).

use super::elements::DataSet;
use super::file::{DicomFile, is_dicom};

const INSTANCE: u32 = 0x0008_0018;
const STUDY: u32 = 0x0020_000d;
const SERIES: u32 = 0x0020_000e;
/// Characters of a unique identifier.
const MOST: usize = 64;

/// Unique identifiers of a DICOM image, by which archives find it; those that are missing or no identifiers are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DicomIdentity {
    /// Study Instance UID.
    pub study: Option<String>,
    /// Series Instance UID.
    pub series: Option<String>,
    /// SOP Instance UID.
    pub instance: Option<String>,
}

impl DicomIdentity {
    /// Reads the identifiers of a file; none if it is no DICOM file, or damaged.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if !is_dicom(bytes) {
            return None;
        }
        let file = DicomFile::open(bytes).ok()?;
        let set = DataSet::read(&file.data, file.encoding).ok()?;
        Some(Self { study: uid(&set, STUDY), series: uid(&set, SERIES), instance: uid(&set, INSTANCE) })
    }
}

/// Numbers and dots alone: other text would be somebody's, and not an identifier.
fn uid(set: &DataSet<'_>, tag: u32) -> Option<String> {
    let text = set.string(tag)?;
    let fits = text.len() <= MOST && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    fits.then_some(text)
}
