//! Samples of one channel as shades: modality, values of interest and presentation (PS3.3, C.11; PS3.4, N.2).
//!
//! The source of `dicom-pixeldata` 0.10 has no Modality LUT sequence, padding or Presentation LUT; it decodes JPEG-LS by C++ only, and
//! its parser (`dicom-parser`) resizes buffers to the lengths that a file names. So data sets and display are our own.

use super::bits::Values;
use super::elements::DataSet;
use super::format::{Format, Photometric};
use super::groups::Groups;
use super::lut::Lut;
use super::numbers::number;
use super::voi::{Voi, Window};
use crate::grey::ImageNote;
use crate::image_error::{DicomError, ImageError};
use crate::range::robust_range;

const TRANSFORMATION: u32 = 0x0028_9145;
const MODALITY_LUT: u32 = 0x0028_3000;
const INTERCEPT: u32 = 0x0028_1052;
const SLOPE: u32 = 0x0028_1053;
const PRESENTATION_LUT: u32 = 0x2050_0010;
const PRESENTATION_SHAPE: u32 = 0x2050_0020;
/// Shades that differ by less are one shade.
const LEAST_CONTRAST: f64 = 1.0 / 255.0;
/// A window that shows a smaller share of an image as something between black and white is remarked on.
const NARROW: f64 = 0.05;
/// Share of the range of values that may be left out without a remark.
const ABOUT_ALL: f64 = 1.0 / 64.0;

/// Samples of one channel from 0 (black) to 1 (white). Padding is black.
pub(super) fn read(
    set: &DataSet<'_>,
    groups: &Groups<'_>,
    format: &Format,
    raw: &[u16],
    notes: &mut Vec<ImageNote>,
) -> Result<Vec<f32>, ImageError> {
    let mut values = Values::read(set, format, raw, notes);
    let modality = Modality::read(set, groups, format.signed, notes)?;
    values.values.iter_mut().for_each(|x| *x = modality.apply(*x));
    let shown = values.shown();
    let (low, high) = ends(shown.iter().map(|(x, _)| *x));
    if low >= high {
        return Err(ImageError::NoContrast);
    }
    let voi = match Voi::read(set, groups, low < 0.0, notes)? {
        Voi::Open => Voi::Window(open_window(&shown, format, &modality, notes)),
        given => {
            check(&given, &shown, [low, high], notes)?;
            given
        }
    };
    let inverted = is_inverted(set, format.photometric, notes)?;
    let shades = values.values.iter().zip(&values.padding).map(|(x, padding)| {
        let shade = voi.apply(*x).clamp(0.0, 1.0);
        match (padding, inverted) {
            (true, _) => 0.0,
            (false, true) => (1.0 - shade) as f32,
            (false, false) => shade as f32,
        }
    });
    let shades: Vec<f32> = shades.collect();
    let shades = raw.iter().map(|x| shades.get(usize::from(*x)).copied());
    shades.collect::<Option<_>>().ok_or_else(|| DicomError::Internal("a value has no shade").into())
}

/// The transform of stored values into those of the modality (C.11.1).
enum Modality {
    Lut(Lut),
    Linear { slope: f64, intercept: f64 },
}

impl Modality {
    fn read(
        set: &DataSet<'_>,
        groups: &Groups<'_>,
        signed: bool,
        notes: &mut Vec<ImageNote>,
    ) -> Result<Self, DicomError> {
        let places = groups.items(TRANSFORMATION)?;
        let places: Vec<&DataSet<'_>> = places.iter().chain([set]).collect();
        let mut slope = None;
        let mut intercept = None;
        for place in &places {
            slope = slope.or(number(place, SLOPE, "Rescale Slope")?);
            intercept = intercept.or(number(place, INTERCEPT, "Rescale Intercept")?);
        }
        for place in &places {
            let items = place.items(MODALITY_LUT)?;
            let Some(first) = items.first() else { continue };
            let rescaled = slope.is_some_and(|x| x != 1.0) || intercept.is_some_and(|x| x != 0.0);
            if items.len() > 1 || rescaled {
                notes.push(ImageNote::Choice {
                    what: "Modality LUTs and rescalings",
                    count: items.len() + usize::from(rescaled),
                    taken: "the first Modality LUT".to_owned(),
                });
            }
            return Ok(Self::Lut(Lut::read(&first.read()?, "Modality LUT Sequence", signed, notes)?));
        }
        let slope = slope.unwrap_or(1.0);
        if slope == 0.0 {
            return Err(DicomError::Attribute {
                attribute: "Rescale Slope",
                expected: "a number other than 0",
                found: "0".to_owned(),
            });
        }
        Ok(Self::Linear { slope, intercept: intercept.unwrap_or(0.0) })
    }

    fn apply(&self, x: f64) -> f64 {
        match self {
            Self::Lut(lut) => lut.apply(x),
            Self::Linear { slope, intercept } => x * slope + intercept,
        }
    }

    /// The range that values can have.
    fn range(&self, format: &Format) -> [f64; 2] {
        let width = 2_f64.powi(format.stored as i32);
        let first = if format.signed { -width / 2.0 } else { 0.0 };
        match self {
            Self::Lut(lut) => [0.0, lut.highest],
            Self::Linear { .. } => [self.apply(first), self.apply(first + width - 1.0)],
        }
    }
}

/// The range of values without few that lie far from the others.
fn open_window(
    shown: &[(f64, u32)],
    format: &Format,
    modality: &Modality,
    notes: &mut Vec<ImageNote>,
) -> Window {
    let (low, high, left_out) = robust_range(shown);
    let [first, last] = modality.range(format);
    let possible = (last - first).abs();
    let all = (low - first.min(last)).abs() + (high - first.max(last)).abs() <= ABOUT_ALL * possible;
    if left_out > 0.0 || !all {
        notes.push(ImageNote::NoWindow {
            low: format!("{low}"),
            high: format!("{high}"),
            left_out_per_mille: (1000.0 * left_out).ceil() as u32,
        });
    }
    Window::between(low, high)
}

/// Refuses windows and look-up tables that show nothing of an image, and remarks on those that show little.
fn check(
    voi: &Voi,
    shown: &[(f64, u32)],
    [low, high]: [f64; 2],
    notes: &mut Vec<ImageNote>,
) -> Result<(), DicomError> {
    let (darkest, brightest) = ends(shown.iter().map(|(x, _)| voi.apply(*x)));
    if brightest - darkest < LEAST_CONTRAST {
        return Err(DicomError::NothingShown { by: voi.to_string(), low, high });
    }
    let total: f64 = shown.iter().map(|(_, count)| f64::from(*count)).sum();
    let between = shown.iter().filter(|(x, _)| {
        let shade = voi.apply(*x);
        shade > 0.0 && shade < 1.0
    });
    let share = between.map(|(_, count)| f64::from(*count)).sum::<f64>() / total;
    if share < NARROW {
        notes.push(ImageNote::NarrowWindow { by: voi.to_string(), percent: (100.0 * share).round() as u32 });
    }
    Ok(())
}

/// Whether high values are dark (C.7.6.3.1.2, C.11.4 and C.11.6).
fn is_inverted(
    set: &DataSet<'_>,
    photometric: Photometric,
    notes: &mut Vec<ImageNote>,
) -> Result<bool, DicomError> {
    if set.element(PRESENTATION_LUT).is_some_and(|e| !e.value.is_empty()) {
        return Err(DicomError::Attribute {
            attribute: "Presentation LUT Sequence",
            expected: "Presentation LUT Shape",
            found: "a sequence".to_owned(),
        });
    }
    let low_is_white = photometric == Photometric::Monochrome1;
    let shape = set.string(PRESENTATION_SHAPE);
    let inverse = match shape.as_deref() {
        None => return Ok(low_is_white),
        Some("IDENTITY") => false,
        Some("INVERSE") => true,
        Some(other) => {
            return Err(DicomError::Attribute {
                attribute: "Presentation LUT Shape",
                expected: "IDENTITY or INVERSE",
                found: other.to_owned(),
            });
        }
    };
    if inverse != low_is_white {
        notes.push(ImageNote::Presentation {
            photometric: if low_is_white { "MONOCHROME1" } else { "MONOCHROME2" },
            shape: if inverse { "INVERSE" } else { "IDENTITY" },
        });
    }
    Ok(inverse)
}

fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(x), high.max(x)))
}
