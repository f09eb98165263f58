//! The values of interest of a DICOM image (PS3.3, C.11.2): a window, a look-up table, or the range of the values where there is neither.

use super::elements::DataSet;
use super::groups::Groups;
use super::lut::Lut;
use super::numbers::numbers;
use crate::grey::ImageNote;
use crate::image_error::DicomError;

const FRAME_VOI: u32 = 0x0028_9132;
const SOFTCOPY_VOI: u32 = 0x0028_3110;
const VOI_LUT: u32 = 0x0028_3010;
const CENTRE: u32 = 0x0028_1050;
const WIDTH: u32 = 0x0028_1051;
const EXPLANATION: u32 = 0x0028_1055;
const FUNCTION: u32 = 0x0028_1056;

/// The transform of values into shades from 0 to 1.
pub(super) enum Voi {
    Window(Window),
    Lut(Lut),
    /// The file leaves it open.
    Open,
}

/// A window of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Window {
    pub(super) centre: f64,
    pub(super) width: f64,
    function: Function,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Linear,
    LinearExact,
    Sigmoid,
}

impl Voi {
    /// Reads the transform from the frame, from all frames, or from the image. `negative`: whether values may be below zero.
    pub(super) fn read(
        set: &DataSet<'_>,
        groups: &Groups<'_>,
        negative: bool,
        notes: &mut Vec<ImageNote>,
    ) -> Result<Self, DicomError> {
        let mut places = groups.items(FRAME_VOI)?;
        places.extend(set.first_item(SOFTCOPY_VOI)?);
        let says = |place: &DataSet<'_>| {
            place.element(VOI_LUT).is_some_and(|e| !e.value.is_empty()) || !place.decimals(CENTRE).is_empty()
        };
        let saying: Vec<&DataSet<'_>> = places.iter().chain([set]).filter(|place| says(place)).collect();
        let Some(place) = saying.first().copied() else { return Ok(Self::Open) };
        if saying.len() > 1 {
            notes.push(ImageNote::Choice {
                what: "places that say which values to show",
                count: saying.len(),
                taken: "the first, of the frame before the image".into(),
            });
        }
        let luts = place.items(VOI_LUT)?;
        let windows = Window::read_all(place)?;
        if let Some(first) = luts.first() {
            let lut = Lut::read(&first.read()?, "VOI LUT Sequence", negative, notes)?;
            if luts.len() + windows.len() > 1 {
                let name = lut.explanation.clone().map_or_else(String::new, |name| format!(" ({name})"));
                notes.push(ImageNote::Choice {
                    what: "windows and VOI LUTs",
                    count: luts.len() + windows.len(),
                    taken: format!("the first VOI LUT{name}"),
                });
            }
            return Ok(Self::Lut(lut));
        }
        let Some(window) = windows.first().copied() else { return Ok(Self::Open) };
        if windows.iter().any(|other| *other != window) {
            let names = place.string(EXPLANATION).unwrap_or_default();
            let name = names.split('\\').next().filter(|name| !name.is_empty());
            let name = name.map_or_else(String::new, |name| format!(" ({name})"));
            notes.push(ImageNote::Choice {
                what: "windows",
                count: windows.len(),
                taken: format!("the first{name}, {window}"),
            });
        }
        if !window.is_valid() {
            notes.push(ImageNote::InvalidWindow { window: window.to_string() });
            return Ok(Self::Open);
        }
        Ok(Self::Window(window))
    }

    /// The shade of a value.
    pub(super) fn apply(&self, x: f64) -> f64 {
        match self {
            Self::Window(window) => window.apply(x),
            Self::Lut(lut) => lut.apply(x) / lut.highest,
            Self::Open => x,
        }
    }
}

impl std::fmt::Display for Voi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Window(window) => write!(f, "the window ({window})"),
            Self::Lut(_) => f.write_str("the VOI LUT"),
            Self::Open => f.write_str("the range of values"),
        }
    }
}

impl Window {
    /// A window that shows `low` as black and `high` as white.
    pub(super) fn between(low: f64, high: f64) -> Self {
        Self { centre: (low + high) / 2.0, width: high - low, function: Function::LinearExact }
    }

    fn read_all(place: &DataSet<'_>) -> Result<Vec<Self>, DicomError> {
        let centres = numbers(place, CENTRE, "Window Center")?;
        let widths = numbers(place, WIDTH, "Window Width")?;
        if centres.len() != widths.len() {
            return Err(DicomError::Attribute {
                attribute: "Window Width",
                expected: "as many values as Window Center has",
                found: format!("{} for {}", widths.len(), centres.len()),
            });
        }
        let function = match place.string(FUNCTION).as_deref() {
            None | Some("LINEAR") => Function::Linear,
            Some("LINEAR_EXACT") => Function::LinearExact,
            Some("SIGMOID") => Function::Sigmoid,
            Some(other) => {
                return Err(DicomError::Attribute {
                    attribute: "VOI LUT Function",
                    expected: "LINEAR, LINEAR_EXACT or SIGMOID",
                    found: other.to_owned(),
                });
            }
        };
        Ok(centres.into_iter().zip(widths).map(|(centre, width)| Self { centre, width, function }).collect())
    }

    fn is_valid(&self) -> bool {
        match self.function {
            Function::Linear => self.width >= 1.0,
            Function::LinearExact | Function::Sigmoid => self.width > 0.0,
        }
    }

    fn apply(&self, x: f64) -> f64 {
        let Self { centre, width, function } = *self;
        match function {
            // A window of width 1 is a step.
            Function::Linear => ((x - (centre - width / 2.0)) / (width - 1.0).max(1e-6)).clamp(0.0, 1.0),
            Function::LinearExact => ((x - centre) / width + 0.5).clamp(0.0, 1.0),
            Function::Sigmoid => 1.0 / (1.0 + (-4.0 * (x - centre) / width).exp()),
        }
    }
}

impl std::fmt::Display for Window {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "centre {}, width {}", self.centre, self.width)
    }
}
