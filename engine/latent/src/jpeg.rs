//! JPEG streams (ITU-T T.81): what their headers say, and images of 8 bits, or lossless ones, by `jpeg-decoder`.

use crate::frame::{Frame, FrameSize};
use crate::jpeg_extended;
use crate::jpeg_segment::{Segment, TRUNCATED};
use jpeg_decoder::{ColorTransform, Decoder, PixelFormat};

/// The segments before the scan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct JpegHeader {
    /// The second byte of the start-of-frame marker, 0xc0 to 0xcf, or 0xf7 for JPEG-LS.
    pub(crate) process: u8,
    pub(crate) precision: u8,
    pub(crate) columns: u16,
    pub(crate) rows: u16,
    /// Identifiers of the components.
    pub(crate) components: Vec<u8>,
    jfif: bool,
    /// Adobe's number of the colour transform.
    adobe: Option<u8>,
}

/// The colours of a JPEG of three components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JpegColours {
    Rgb,
    Ybr,
}

impl JpegHeader {
    /// Reads up to the start of the frame.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn read(stream: &[u8]) -> Result<Self, String> {
        let mut header = Self::default();
        let mut rest = stream.strip_prefix(&[0xff, 0xd8]).ok_or("it does not start with a JPEG marker")?;
        loop {
            let Segment { marker, body, after } = Segment::first(rest)?.ok_or("it has no frame")?;
            rest = after;
            match marker {
                0xe0 if body.starts_with(b"JFIF") => header.jfif = true,
                0xee if body.starts_with(b"Adobe") => header.adobe = body.get(11).copied(),
                0xc0..=0xcf | 0xf7 if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                    let [precision, r0, r1, c0, c1, _, components @ ..] = body else {
                        return Err(TRUNCATED.to_owned());
                    };
                    header.process = marker;
                    header.precision = *precision;
                    header.rows = u16::from_be_bytes([*r0, *r1]);
                    header.columns = u16::from_be_bytes([*c0, *c1]);
                    header.components = components.as_chunks::<3>().0.iter().map(|[id, ..]| *id).collect();
                    return Ok(header);
                }
                _ => {}
            }
        }
    }

    /// The colours that the stream itself names, by Adobe's marker, its components' identifiers or JFIF's marker.
    pub(crate) fn colours(&self) -> Option<JpegColours> {
        match (self.adobe, self.components.as_slice(), self.jfif) {
            (Some(0), ..) => Some(JpegColours::Rgb),
            (Some(_), ..) => Some(JpegColours::Ybr),
            (None, b"RGB", _) => Some(JpegColours::Rgb),
            (None, _, true) => Some(JpegColours::Ybr),
            _ => None,
        }
    }

    /// Whether frames are coded without loss.
    pub(crate) fn is_lossless(&self) -> bool {
        self.process == 0xc3
    }

    /// Whether samples have 12 bits, as only medical images do.
    pub(crate) fn is_extended(&self) -> bool {
        self.precision > 8 && !self.is_lossless()
    }
}

/// Decodes an image of any process but the arithmetic and hierarchical ones. Three components come out as red, green and blue if
/// `colours` names what they are.
///
/// # Errors
/// If the stream is damaged or cut off, or the image has another size.
pub(crate) fn decode(stream: &[u8], size: FrameSize, colours: JpegColours) -> Result<Frame, String> {
    let header = JpegHeader::read(stream)?;
    let found = FrameSize {
        columns: header.columns.into(),
        rows: header.rows.into(),
        samples: header.components.len(),
    };
    size.check(found)?;
    if !ends_properly(stream) {
        return Err(TRUNCATED.to_owned());
    }
    if header.is_extended() {
        return jpeg_extended::decode(stream, size);
    }
    let mut decoder = Decoder::new(stream);
    decoder.set_max_decoding_buffer_size(size.pixels() * size.samples * 2);
    if size.samples == 3 {
        decoder.set_color_transform(match colours {
            JpegColours::Rgb => ColorTransform::RGB,
            JpegColours::Ybr => ColorTransform::YCbCr,
        });
    }
    let bytes = decoder.decode().map_err(|e| e.to_string())?;
    let format = decoder.info().map(|info| info.pixel_format);
    let values: Vec<u16> = match format {
        // Lossless images of odd depths come with two bytes a sample whatever their format says.
        Some(PixelFormat::L16) => bytes.as_chunks::<2>().0.iter().map(|b| u16::from_ne_bytes(*b)).collect(),
        _ => bytes.into_iter().map(u16::from).collect(),
    };
    if values.len() != size.pixels() * size.samples {
        return Err(format!("it has {} samples", values.len()));
    }
    Ok(Frame { values, precision: header.precision.into() })
}

/// That the scan is followed by an end-of-image marker: decoders themselves fill what is missing with grey. A thumbnail inside
/// has one too, but before the scan.
pub(crate) fn ends_properly(jpeg: &[u8]) -> bool {
    let last = |marker: [u8; 2]| jpeg.windows(2).rposition(|w| w == marker);
    last([0xff, 0xd9]) > last([0xff, 0xda])
}
