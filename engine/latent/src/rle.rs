//! DICOM's run-length encoding (PS3.5, annex G): the bytes of samples in planes, the high bytes first, each packed as PackBits.

use crate::frame::{Frame, FrameSize};

const HEADER: usize = 64;
const TRUNCATED: &str = "it is cut off";

/// Decodes samples of one or two bytes.
///
/// # Errors
/// If there are not as many planes, or a plane is not as long, as the size says.
pub(crate) fn decode(stream: &[u8], size: FrameSize, bytes_per_sample: usize) -> Result<Frame, String> {
    let mut header = stream.get(..HEADER).ok_or(TRUNCATED)?.as_chunks::<4>().0.iter();
    let planes = header.next().map_or(0, |b| u32::from_le_bytes(*b) as usize);
    let expected = size.samples * bytes_per_sample;
    if planes != expected {
        return Err(format!("it has {planes} planes and not {expected}"));
    }
    let offsets: Vec<usize> = header.take(planes).map(|b| u32::from_le_bytes(*b) as usize).collect();
    let mut values = vec![0_u16; size.pixels() * size.samples];
    for (plane, &start) in offsets.iter().enumerate() {
        let end = offsets.get(plane + 1).copied().unwrap_or(stream.len());
        let segment = stream.get(start..end).ok_or(TRUNCATED)?;
        let sample = plane / bytes_per_sample;
        let shift = 8 * (bytes_per_sample - 1 - plane % bytes_per_sample);
        let mut to = values.iter_mut().skip(sample).step_by(size.samples);
        unpack(segment, |byte| to.next().map(|value| *value |= u16::from(byte) << shift));
        if to.next().is_some() {
            return Err(TRUNCATED.to_owned());
        }
    }
    Ok(Frame { values, precision: 8 * bytes_per_sample as u32 })
}

/// Gives bytes to `put` until it takes no more, or the segment ends.
fn unpack(segment: &[u8], mut put: impl FnMut(u8) -> Option<()>) {
    let mut rest = segment;
    while let [code, after @ ..] = rest {
        let count = usize::from(*code);
        rest = match *code {
            0..=127 => {
                // Some writers let the last literal reach beyond the segment.
                let (literal, after) = after.split_at(after.len().min(count + 1));
                if literal.iter().any(|byte| put(*byte).is_none()) {
                    return;
                }
                after
            }
            128 => after,
            _ => {
                // A segment of odd length is padded.
                let Some((byte, after)) = after.split_first() else { return };
                if (0..257 - count).any(|_| put(*byte).is_none()) {
                    return;
                }
                after
            }
        };
    }
}
