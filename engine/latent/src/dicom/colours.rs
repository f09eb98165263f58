//! Coloured DICOM images as shades: red, green and blue, luma and differences of colour (PS3.3, C.7.6.3.1.2), palettes.

use super::elements::DataSet;
use super::format::{Format, Photometric};
use super::lut::Lut;
use crate::frame::Frame;
use crate::grey::{ImageNote, Mixer};
use crate::image_error::DicomError;

/// Samples of three channels, or of a palette, from 0 (black) to 1 (white).
pub(super) fn read(
    set: &DataSet<'_>,
    format: &Format,
    frame: &Frame,
    notes: &mut Vec<ImageNote>,
) -> Result<Vec<f32>, DicomError> {
    if format.signed && format.photometric != Photometric::Palette {
        return Err(DicomError::Attribute {
            attribute: "Pixel Representation",
            expected: "unsigned samples in colour",
            found: "signed ones".to_owned(),
        });
    }
    let mut mixer = Mixer::default();
    let values: Vec<f32> = if format.photometric == Photometric::Palette {
        let colours = palette(set, format)?;
        let mixed =
            frame.values.iter().map(|x| colours.get(usize::from(*x)).map(|colour| mixer.mix(*colour)));
        mixed.collect::<Option<_>>().ok_or(DicomError::Internal("a value has no colour"))?
    } else {
        let white = white(format, frame, notes);
        let scaled = |pixel: &[u16; 3]| pixel.map(|x| f32::from(x) / white);
        let triples = frame.values.as_chunks::<3>().0.iter();
        match format.photometric {
            Photometric::Rgb => triples.map(|pixel| mixer.mix(scaled(pixel))).collect(),
            _ => {
                let middle = ((white + 1.0) / 2.0) / white;
                triples.map(|pixel| mixer.mix(rgb_of_ybr(scaled(pixel), middle))).collect()
            }
        }
    };
    notes.extend(mixer.note(values.len()));
    Ok(values)
}

/// Reads the palette: red, green and blue of each sample.
fn palette(set: &DataSet<'_>, format: &Format) -> Result<Vec<[f32; 3]>, DicomError> {
    let luts = Lut::palette(set, format.signed)?;
    let mask = (1_u32 << format.stored) - 1;
    let [red, green, blue] = luts.as_slice() else { return Ok(Vec::new()) };
    Ok((0..=u16::MAX)
        .map(|x| {
            let bits = u32::from(x) & mask;
            let negative = format.signed && bits >> (format.stored - 1) == 1;
            let value = f64::from(bits) - if negative { f64::from(mask) + 1.0 } else { 0.0 };
            [red, green, blue].map(|lut| (lut.apply(value) / lut.highest) as f32)
        })
        .collect())
}

/// The greatest sample.
fn white(format: &Format, frame: &Frame, notes: &mut Vec<ImageNote>) -> f32 {
    let declared = ((1_u32 << format.stored) - 1) as u16;
    if frame.values.iter().all(|x| *x <= declared) {
        return declared.into();
    }
    notes.push(ImageNote::BitsStored { stored: format.stored, allocated: format.allocated, used: true });
    ((1_u32 << format.allocated) - 1) as f32
}

/// Conversion to red, green and blue by PS3.3, C.7.6.3.1.2, with `middle` the sample of no colour.
fn rgb_of_ybr([y, b, r]: [f32; 3], middle: f32) -> [f32; 3] {
    let b = b - middle;
    let r = r - middle;
    [y + 1.402 * r, y - 0.344_136 * b - 0.714_136 * r, y + 1.772 * b].map(|x| x.clamp(0.0, 1.0))
}
