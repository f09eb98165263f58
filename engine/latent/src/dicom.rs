//! DICOM images as grey values: one frame, its samples through rescale and window (PS3.3, C.7.6.3 and C.11.2).

mod elements;

use crate::grey::{Grey, ImageNote, Mixer, check_size};
use crate::image_error::{DicomError, ImageError};
use elements::{EXPLICIT, Elements, PixelData, syntax_name};

pub(crate) use elements::is_dicom;

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
const PADDING: u32 = 0x0028_0120;
const WINDOW_CENTRE: u32 = 0x0028_1050;
const WINDOW_WIDTH: u32 = 0x0028_1051;
const INTERCEPT: u32 = 0x0028_1052;
const SLOPE: u32 = 0x0028_1053;
const FUNCTION: u32 = 0x0028_1056;

const IMPLICIT: &str = "1.2.840.10008.1.2";
const JPEG: [&str; 4] =
    ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"];

/// How samples are stored.
struct Format {
    columns: usize,
    rows: usize,
    samples: usize,
    photometric: String,
    allocated: u32,
    stored: u32,
    high_bit: u32,
    signed: bool,
    planar: bool,
}

pub(crate) fn read(bytes: &[u8]) -> Result<Grey, ImageError> {
    let elements = Elements::read(bytes)?;
    let pixels = elements.pixels.as_ref().ok_or(DicomError::NoPixels)?;
    let mut format = Format::read(&elements)?;
    check_size(format.columns as u64, format.rows as u64)?;

    let raw = match pixels {
        PixelData::Native(data) if [IMPLICIT, EXPLICIT].contains(&elements.transfer_syntax.as_str()) => {
            format.native(data)?
        }
        PixelData::Encapsulated(fragments) if JPEG.contains(&elements.transfer_syntax.as_str()) => {
            format.jpeg(fragments)?
        }
        _ => return Err(DicomError::TransferSyntax { name: syntax_name(&elements.transfer_syntax) }.into()),
    };
    let mut notes = Vec::new();
    if let Some(count) = elements.decimal(FRAMES).filter(|&count| count > 1.0) {
        notes.push(ImageNote::Frames { count: count as u32 });
    }
    let values = if format.samples == 3 {
        let mut mixer = Mixer::default();
        let colours = raw.as_chunks::<3>().0.iter();
        let values: Vec<f32> = colours.map(|rgb| mixer.mix(rgb.map(|x| f32::from(x) / 255.0))).collect();
        notes.extend(mixer.note(values.len()));
        values
    } else {
        format.shades(&elements, &raw)?
    };
    Ok(Grey { width: format.columns, height: format.rows, values, notes })
}

impl Format {
    fn read(elements: &Elements<'_>) -> Result<Self, DicomError> {
        let integer = |tag, attribute, expected, fits: &dyn Fn(u16) -> bool| {
            let found = elements.integer(tag);
            found.filter(|&x| fits(x)).ok_or_else(|| DicomError::Attribute {
                attribute,
                expected,
                found: found.map_or_else(|| "nothing".to_owned(), |x| x.to_string()),
            })
        };
        let rows = integer(ROWS, "Rows", "1 or more", &|x| x > 0)?;
        let columns = integer(COLUMNS, "Columns", "1 or more", &|x| x > 0)?;
        let samples = integer(SAMPLES, "Samples per Pixel", "1 or 3", &|x| x == 1 || x == 3)?;
        let photometric = elements.string(PHOTOMETRIC).unwrap_or_default();
        let known: &[&str] = match samples {
            1 => &["MONOCHROME1", "MONOCHROME2"],
            _ => &["RGB", "YBR_FULL", "YBR_FULL_422"],
        };
        if !known.contains(&photometric.as_str()) {
            return Err(DicomError::Attribute {
                attribute: "Photometric Interpretation",
                expected: "MONOCHROME1 or 2 of one sample; RGB, YBR_FULL or YBR_FULL_422 of three",
                found: format!("{photometric:?} of {samples}"),
            });
        }
        let allocated = integer(ALLOCATED, "Bits Allocated", "8 or 16, 8 in colour", &|x| {
            x == 8 || (x == 16 && samples == 1)
        })?;
        let stored =
            integer(STORED, "Bits Stored", "1 to Bits Allocated", &|x| (1..=allocated).contains(&x))?;
        let high_bit = elements.integer(HIGH_BIT).filter(|h| (stored - 1..allocated).contains(h));
        Ok(Self {
            columns: columns.into(),
            rows: rows.into(),
            samples: samples.into(),
            photometric,
            allocated: allocated.into(),
            stored: stored.into(),
            high_bit: high_bit.unwrap_or(stored - 1).into(),
            signed: elements.integer(SIGNED) == Some(1),
            planar: elements.integer(PLANAR) == Some(1),
        })
    }

    fn pixels(&self) -> usize {
        self.columns * self.rows
    }

    /// The samples of the first frame, in colour red, green and blue side by side.
    fn native(&self, data: &[u8]) -> Result<Vec<u16>, DicomError> {
        if self.photometric == "YBR_FULL_422" {
            return Err(DicomError::Attribute {
                attribute: "Photometric Interpretation",
                expected: "YBR_FULL_422 inside JPEG only",
                found: self.photometric.clone(),
            });
        }
        let bytes = self.pixels() * self.samples * (self.allocated / 8) as usize;
        let frame = data.get(..bytes).ok_or(DicomError::Truncated)?;
        let raw: Vec<u16> = match self.allocated {
            8 => frame.iter().map(|&b| b.into()).collect(),
            _ => frame.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)).collect(),
        };
        if self.samples == 1 {
            return Ok(raw);
        }
        let triples: Vec<[u16; 3]> = if self.planar {
            let (first, rest) = raw.split_at(self.pixels());
            let (second, third) = rest.split_at(self.pixels());
            first.iter().zip(second).zip(third).map(|((a, b), c)| [*a, *b, *c]).collect()
        } else {
            raw.as_chunks::<3>().0.to_vec()
        };
        Ok(match self.photometric.as_str() {
            "RGB" => triples.into_flattened(),
            _ => triples.into_iter().flat_map(rgb_of_ybr).collect(),
        })
    }

    /// Like [`native`](Self::native), from the first JPEG image in the fragments.
    fn jpeg(&mut self, fragments: &[&[u8]]) -> Result<Vec<u16>, DicomError> {
        use jpeg_decoder::PixelFormat;

        let stream = fragments.get(1..).unwrap_or_default().concat();
        let mut decoder = jpeg_decoder::Decoder::new(stream.as_slice());
        decoder.set_max_decoding_buffer_size(self.pixels() * self.samples * 2);
        decoder.read_info()?;
        let expected = match (self.samples, self.allocated) {
            (1, 8) => PixelFormat::L8,
            (1, _) => PixelFormat::L16,
            _ => PixelFormat::RGB24,
        };
        let found = decoder.info().map(|i| (usize::from(i.width), usize::from(i.height), i.pixel_format));
        let fits = found.is_some_and(|(width, height, format)| {
            // Eight stored bits may be declared as sixteen allocated ones.
            let depth = format == expected || (format == PixelFormat::L8 && expected == PixelFormat::L16);
            (width, height) == (self.columns, self.rows) && depth
        });
        let unfit = || DicomError::Attribute {
            attribute: "an embedded JPEG",
            expected: "an image of the size and depth that Rows, Columns and Bits Allocated say",
            found: format!("{found:?}"),
        };
        if !fits {
            return Err(unfit());
        }
        let bytes = decoder.decode()?;
        // Lossless images of odd depths come with two bytes a sample whatever their format says.
        let each = if found.is_some_and(|f| f.2 == PixelFormat::L16) { 2 } else { 1 };
        if bytes.len() != self.pixels() * self.samples * each {
            return Err(unfit());
        }
        Ok(match found {
            Some((_, _, PixelFormat::L16)) => {
                bytes.as_chunks::<2>().0.iter().map(|b| u16::from_ne_bytes(*b)).collect()
            }
            _ => bytes.into_iter().map(u16::from).collect(),
        })
    }

    /// Samples of one channel from 0 (black) to 1 (white).
    fn shades(&self, elements: &Elements<'_>, raw: &[u16]) -> Result<Vec<f32>, ImageError> {
        let slope = elements.decimal(SLOPE).filter(|&s| s != 0.0).unwrap_or(1.0);
        let intercept = elements.decimal(INTERCEPT).unwrap_or(0.0);
        let rescaled = |x: u16| self.value(x) * slope + intercept;
        let window = match (elements.decimal(WINDOW_CENTRE), elements.decimal(WINDOW_WIDTH)) {
            (Some(centre), Some(width)) if width >= 1.0 => {
                Window::new(elements.string(FUNCTION).as_deref(), centre, width)
            }
            _ => {
                let padding = elements.integer(PADDING);
                let shown = raw.iter().filter(|&&x| Some(x) != padding).map(|&x| rescaled(x));
                let (low, high) = shown.fold((f64::MAX, f64::MIN), |(l, h), x| (l.min(x), h.max(x)));
                Window::Linear { low, span: high - low }
            }
        };
        if let Window::Linear { span, .. } = window
            && span <= 0.0
        {
            return Err(ImageError::NoContrast);
        }
        let inverted = self.photometric == "MONOCHROME1";
        let shade = |&x: &u16| {
            let y = window.apply(rescaled(x));
            (if inverted { 1.0 - y } else { y }) as f32
        };
        Ok(raw.iter().map(shade).collect())
    }

    fn value(&self, raw: u16) -> f64 {
        let bits = u32::from(raw) >> (self.high_bit + 1 - self.stored) & ((1 << self.stored) - 1);
        let negative = self.signed && bits >> (self.stored - 1) == 1;
        f64::from(bits) - if negative { f64::from(1_u32 << self.stored) } else { 0.0 }
    }
}

/// What is shown between black and white.
enum Window {
    Linear { low: f64, span: f64 },
    Sigmoid { centre: f64, width: f64 },
}

impl Window {
    fn new(function: Option<&str>, centre: f64, width: f64) -> Self {
        match function {
            Some("SIGMOID") => Self::Sigmoid { centre, width },
            Some("LINEAR_EXACT") => Self::Linear { low: centre - width / 2.0, span: width },
            // A window of width 1 is a step.
            _ => Self::Linear { low: centre - width / 2.0, span: (width - 1.0).max(1e-6) },
        }
    }

    fn apply(&self, x: f64) -> f64 {
        match self {
            Self::Linear { low, span } => ((x - low) / span).clamp(0.0, 1.0),
            Self::Sigmoid { centre, width } => 1.0 / (1.0 + (-4.0 * (x - centre) / width).exp()),
        }
    }
}

/// By PS3.3, C.7.6.3.1.2.
fn rgb_of_ybr([y, b, r]: [u16; 3]) -> [u16; 3] {
    let (y, b, r) = (f64::from(y), f64::from(b) - 128.0, f64::from(r) - 128.0);
    [y + 1.402 * r, y - 0.3441 * b - 0.7141 * r, y + 1.772 * b].map(|x| x.round().clamp(0.0, 255.0) as u16)
}
