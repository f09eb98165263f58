//! DICOM images as grey values: the first frame, as a viewer shows it (PS3.3, C.7.6.3 and C.11).

mod bits;
mod colours;
mod contradictions;
mod elements;
mod file;
mod format;
mod groups;
mod identity;
mod lut;
mod numbers;
mod shades;
mod shutter;
mod voi;

use crate::grey::{Grey, ImageNote, check_size};
use crate::image_error::{DicomError, ImageError};
use elements::DataSet;
use file::DicomFile;
use format::Format;
use groups::Groups;

pub(crate) use file::is_dicom;
pub use identity::DicomIdentity;

const FLOATS: [u32; 2] = [0x7fe0_0008, 0x7fe0_0009];

pub(crate) fn read(bytes: &[u8]) -> Result<Grey, ImageError> {
    let mut file = DicomFile::open(bytes)?;
    let set = DataSet::read(&file.data, file.encoding)?;
    let Some(pixels) = &set.pixels else {
        let floats = FLOATS.iter().any(|tag| set.element(*tag).is_some());
        return Err(if floats { DicomError::FloatingPoint } else { DicomError::NoPixels }.into());
    };
    let mut format = Format::read(&set)?;
    check_size(format.size.columns as u64, format.size.rows as u64)?;
    let groups = Groups::read(&set)?;

    let mut notes = std::mem::take(&mut file.notes);
    notes.extend(contradictions::notes(&set, &groups)?);
    if format.frames > 1 {
        notes.push(ImageNote::Frames { count: format.frames });
    }
    let frame = format.first_frame(pixels, file.compression, file.encoding.big_endian, &mut notes)?;
    let mut values = if format.photometric.is_grey() {
        shades::read(&set, &groups, &format, &frame.values, &mut notes)?
    } else {
        colours::read(&set, &format, &frame, &mut notes)?
    };
    shutter::close(&set, &groups, format.size, &mut values)?;
    Ok(Grey { width: format.size.columns, height: format.size.rows, values, notes })
}
