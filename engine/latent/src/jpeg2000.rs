//! JPEG 2000 codestreams (ITU-T T.800), by `hayro-jpeg2000`, which forbids unsafe code and gives samples of all depths; `openjp2`, the
//! port of OpenJPEG that `dicom-transfer-syntax-registry` uses, is largely unsafe.

use crate::frame::{Frame, FrameSize};
use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};

const CODESTREAM: [u8; 4] = [0xff, 0x4f, 0xff, 0x51];
const JP2: &[u8] = b"\0\0\0\x0cjP  ";
const MOST_BITS: u32 = 16;
/// Largest number of tiles: each costs memory before the first is decoded.
const MOST_TILES: u64 = 65_535;

/// Whether bytes begin like a codestream, or like a file around one.
pub(crate) fn is_jpeg2000(bytes: &[u8]) -> bool {
    bytes.starts_with(&CODESTREAM) || bytes.starts_with(JP2)
}

/// Decodes a codestream; colour transforms of the codestream itself are undone.
///
/// # Errors
/// If it is damaged, or has another size, or samples of more than 16 bits or of different depths.
pub(crate) fn decode(stream: &[u8], size: FrameSize) -> Result<Frame, String> {
    // A file around the codestream is not allowed in DICOM, and occurs.
    let start = stream.windows(4).position(|w| *w == CODESTREAM);
    let stream = start.and_then(|start| stream.get(start..)).ok_or("it has no codestream")?;
    let (precision, signed) = check(stream, size)?;
    let settings = DecodeSettings { resolve_palette_indices: false, strict: true, ..Default::default() };
    let image = Image::new(stream, &settings).map_err(|e| e.to_string())?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(|e| e.to_string())?;
    let components = decoded.components();
    if components.len() != size.samples || components.iter().any(|c| c.samples().len() < size.pixels()) {
        return Err("it lacks components".to_owned());
    }
    // The decoder shifts signed samples as it shifts unsigned ones.
    let shift = if signed { 1 << (precision - 1) } else { 0 };
    let mut values = vec![0; size.pixels() * size.samples];
    for (k, component) in components.iter().enumerate() {
        let to = values.iter_mut().skip(k).step_by(size.samples);
        for (value, sample) in to.zip(component.samples()) {
            let highest = (1_u32 << precision) - 1;
            let sample = sample.round().clamp(0.0, highest as f32) as i32;
            *value = (sample - shift) as u16;
        }
    }
    Ok(Frame { values, precision })
}

/// Precision and signedness from the marker of sizes, which follows the start of the codestream.
fn check(stream: &[u8], size: FrameSize) -> Result<(u32, bool), String> {
    let header = stream.get(4..42).ok_or("it is cut off")?;
    let (words, tail) = header.split_at(36);
    // Length and capabilities, then eight 32-bit numbers.
    let numbers: Vec<u64> = words
        .iter()
        .skip(4)
        .copied()
        .collect::<Vec<u8>>()
        .as_chunks::<4>()
        .0
        .iter()
        .map(|b| u32::from_be_bytes(*b).into())
        .collect();
    let [columns, rows, left, top, tile_columns, tile_rows, ..] = *numbers.as_slice() else {
        return Err("it is cut off".to_owned());
    };
    let samples = tail.first_chunk::<2>().map_or(0, |b| u16::from_be_bytes(*b));
    size.check(FrameSize {
        columns: columns.saturating_sub(left) as usize,
        rows: rows.saturating_sub(top) as usize,
        samples: samples.into(),
    })?;
    let tiles = columns.div_ceil(tile_columns.max(1)) * rows.div_ceil(tile_rows.max(1));
    if tile_columns == 0 || tile_rows == 0 || tiles > MOST_TILES {
        return Err(format!("it has {tiles} tiles"));
    }
    let depths = stream.get(42..42 + 3 * usize::from(samples)).ok_or("it is cut off")?;
    let depth = *depths.first().ok_or("it has no components")?;
    if depths.as_chunks::<3>().0.iter().any(|[d, ..]| *d != depth) {
        return Err("its components have different depths".to_owned());
    }
    let precision = u32::from(depth & 0x7f) + 1;
    if precision > MOST_BITS {
        return Err(format!("its samples have {precision} bits, more than {MOST_BITS}"));
    }
    Ok((precision, depth & 0x80 != 0))
}
