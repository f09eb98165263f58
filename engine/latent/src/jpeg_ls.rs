//! JPEG-LS (ITU-T T.87), lossless and near-lossless. `charls` is a binding to C++, and `pure_jpegls` 2.0 decodes one component only.
#![expect(
    clippy::indexing_slicing,
    reason = "lines have a pixel more on each side, and contexts follow from bounded gradients"
)]

use crate::frame::{Frame, FrameSize};
use crate::jpeg_segment::{END, Segment, TRUNCATED};

/// Contexts of the regular mode, and the two of interrupted runs behind them.
const REGULAR: usize = 365;
const RUN_LENGTHS: [u32; 32] =
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// Decodes an image of 2 to 16 bits.
///
/// # Errors
/// If it is damaged, has another size, or uses mapping tables, restart markers, subsampling or a colour transform.
pub(crate) fn decode(stream: &[u8], size: FrameSize) -> Result<Frame, String> {
    let mut rest = stream.strip_prefix(&[0xff, 0xd8]).ok_or("it does not start with a JPEG marker")?;
    let mut precision = None;
    let mut preset = Preset::default();
    let mut components: Vec<u8> = Vec::new();
    let mut values = Vec::new();
    let mut done = 0;
    loop {
        let Segment { marker, body, after } = Segment::first(rest)?.ok_or("it lacks a marker")?;
        rest = after;
        match marker {
            END => return Err("it ends before its last component".to_owned()),
            0xf7 => {
                let (bits, identifiers) = frame_header(body, size)?;
                precision = Some(bits);
                components = identifiers;
                values = vec![0; size.pixels() * size.samples];
            }
            0xf8 => preset = Preset::read(body)?,
            0xdd if body.iter().any(|byte| *byte != 0) => return Err("it has restart markers".to_owned()),
            // Hewlett-Packard's colour transforms.
            0xe8 if body.starts_with(b"mrfx") && body.get(4).is_some_and(|t| *t != 0) => {
                return Err("it has a colour transform".to_owned());
            }
            0xda => {
                let precision = precision.ok_or("its scan has no frame")?;
                let header = ScanHeader::read(body)?;
                let first = components.iter().position(|id| Some(id) == header.components.first());
                let first = first.ok_or("its scan names an unknown component")?;
                let count = header.components.len();
                if first != done || done + count > size.samples {
                    return Err("its components are out of order".to_owned());
                }
                let coder = Coder::new(&preset, precision, header.near)?;
                rest = coder.scan(rest, size, [first, count], header.interleave, &mut values)?;
                done += count;
                if done == size.samples {
                    return Ok(Frame { values, precision });
                }
            }
            _ => {}
        }
    }
}

/// Precision, and identifiers of the components.
fn frame_header(body: &[u8], size: FrameSize) -> Result<(u32, Vec<u8>), String> {
    let [precision, r0, r1, c0, c1, count, components @ ..] = body else { return Err(TRUNCATED.to_owned()) };
    size.check(FrameSize {
        columns: u16::from_be_bytes([*c0, *c1]).into(),
        rows: u16::from_be_bytes([*r0, *r1]).into(),
        samples: (*count).into(),
    })?;
    if !(2..=16).contains(precision) {
        return Err(format!("its samples have {precision} bits"));
    }
    let components = components.as_chunks::<3>().0;
    if components.len() != size.samples || components.iter().any(|[_, sampling, _]| *sampling != 0x11) {
        return Err("its components are subsampled".to_owned());
    }
    Ok(((*precision).into(), components.iter().map(|[id, ..]| *id).collect()))
}

/// Parameters of a preset segment (C.2.4.1.1); zeros stand for defaults.
#[derive(Clone, Copy, Default)]
struct Preset {
    highest: i32,
    thresholds: [i32; 3],
    reset: i32,
}

impl Preset {
    fn read(body: &[u8]) -> Result<Self, String> {
        let (kind, rest) = body.split_first().ok_or(TRUNCATED)?;
        if *kind != 1 {
            return Err("it has mapping tables or more than 65,535 lines".to_owned());
        }
        let numbers: Vec<i32> =
            rest.as_chunks::<2>().0.iter().map(|b| u16::from_be_bytes(*b).into()).collect();
        let [highest, t1, t2, t3, reset, ..] = *numbers.as_slice() else { return Err(TRUNCATED.to_owned()) };
        Ok(Self { highest, thresholds: [t1, t2, t3], reset })
    }
}

struct ScanHeader {
    components: Vec<u8>,
    near: i32,
    interleave: Interleave,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Interleave {
    None,
    Line,
    Sample,
}

impl ScanHeader {
    fn read(body: &[u8]) -> Result<Self, String> {
        let (count, rest) = body.split_first().ok_or(TRUNCATED)?;
        let (components, rest) = rest.split_at_checked(2 * usize::from(*count)).ok_or(TRUNCATED)?;
        let components = components.as_chunks::<2>().0;
        let [near, interleave, _, ..] = rest else { return Err(TRUNCATED.to_owned()) };
        if components.iter().any(|[_, table]| *table != 0) {
            return Err("it has mapping tables".to_owned());
        }
        let interleave = match (interleave, components.len()) {
            (0..=2, 1) => Interleave::None,
            (1, 2..) => Interleave::Line,
            (2, 2..) => Interleave::Sample,
            _ => return Err("its components are interleaved in an unknown way".to_owned()),
        };
        Ok(Self {
            components: components.iter().map(|[id, _]| *id).collect(),
            near: (*near).into(),
            interleave,
        })
    }
}

/// Statistics of one context.
#[derive(Clone, Copy)]
struct Context {
    /// Sum of the magnitudes of errors.
    magnitude: i32,
    /// Sum of errors; of interrupted runs, how many were negative.
    bias: i32,
    correction: i32,
    count: i32,
}

/// The state of a scan.
struct Coder {
    highest: i32,
    near: i32,
    range: i32,
    /// Bits of an error.
    error_bits: u32,
    /// Most bits of a code.
    limit: u32,
    thresholds: [i32; 3],
    reset: i32,
    contexts: Vec<Context>,
}

impl Coder {
    fn new(preset: &Preset, precision: u32, near: i32) -> Result<Self, String> {
        let largest = (1 << precision) - 1;
        let highest = if preset.highest == 0 { largest } else { preset.highest };
        if highest > largest || near > 255.min(highest / 2) {
            return Err("its parameters contradict each other".to_owned());
        }
        let range = (highest + 2 * near) / (2 * near + 1) + 1;
        let bits = |n: i32| (n - 1).max(0).checked_ilog2().map_or(0, |b| b + 1);
        let sample_bits = bits(highest + 1).max(2);
        let start = Context { magnitude: ((range + 32) / 64).max(2), bias: 0, correction: 0, count: 1 };
        let reset = if preset.reset == 0 { 64 } else { preset.reset };
        if reset < 3 {
            return Err("its parameters contradict each other".to_owned());
        }
        Ok(Self {
            highest,
            near,
            range,
            error_bits: bits(range).max(1),
            limit: 2 * (sample_bits + sample_bits.max(8)),
            thresholds: thresholds(preset, highest, near)?,
            reset,
            contexts: vec![start; REGULAR + 2],
        })
    }

    /// Decodes `count` components from `first` on; gives what follows the scan.
    fn scan<'a>(
        mut self,
        stream: &'a [u8],
        size: FrameSize,
        [first, count]: [usize; 2],
        interleave: Interleave,
        values: &mut [u16],
    ) -> Result<&'a [u8], String> {
        let mut bits = Bits { rest: stream, held: 0, count: 0, after_ones: false };
        // A pixel more on each side.
        let empty = vec![0_i32; size.columns + 2];
        let mut before = vec![empty.clone(); count];
        let mut now = vec![empty; count];
        let mut run_indices = vec![0_usize; count];
        for row in values.chunks_exact_mut(size.columns * size.samples) {
            for (now, before) in now.iter_mut().zip(&mut before) {
                before[size.columns + 1] = before[size.columns];
                now[0] = before[1];
            }
            if interleave == Interleave::Sample {
                self.line(&mut bits, &before, &mut now, &mut run_indices[0])?;
            } else {
                for ((now, before), run_index) in now.iter_mut().zip(&before).zip(&mut run_indices) {
                    self.line(&mut bits, std::slice::from_ref(before), std::slice::from_mut(now), run_index)?;
                }
            }
            for (k, line) in now.iter().enumerate() {
                let to = row.iter_mut().skip(first + k).step_by(size.samples);
                to.zip(&line[1..]).for_each(|(to, value)| *to = *value as u16);
            }
            std::mem::swap(&mut before, &mut now);
        }
        bits.end()
    }

    /// Decodes a line of one component, or of several whose samples alternate.
    fn line(
        &mut self,
        bits: &mut Bits<'_>,
        before: &[Vec<i32>],
        now: &mut [Vec<i32>],
        run_index: &mut usize,
    ) -> Result<(), String> {
        let end = before[0].len() - 1;
        let mut x = 1;
        while x < end {
            let contexts = before.iter().zip(&*now).map(|(before, now)| self.context(before, now, x));
            if contexts.clone().all(|(context, _)| context == 0) {
                x = self.run(bits, before, now, x, run_index)?;
                continue;
            }
            let contexts: Vec<(usize, i32)> = contexts.collect();
            for ((before, now), (context, sign)) in before.iter().zip(&mut *now).zip(contexts) {
                let predicted = predict(now[x - 1], before[x], before[x - 1]);
                now[x] = self.regular(bits, predicted, context, sign)?;
            }
            x += 1;
        }
        Ok(())
    }

    /// The context of a pixel, 0 in flat regions, and the sign of its gradients (A.3).
    fn context(&self, before: &[i32], now: &[i32], x: usize) -> (usize, i32) {
        let gradients = [before[x + 1] - before[x], before[x] - before[x - 1], before[x - 1] - now[x - 1]];
        let [a, b, c] = gradients.map(|d| self.quantize(d));
        let context = 81 * a + 9 * b + c;
        (context.unsigned_abs() as usize, if context < 0 { -1 } else { 1 })
    }

    fn quantize(&self, gradient: i32) -> i32 {
        let [t1, t2, t3] = self.thresholds;
        let magnitude = gradient.abs();
        let level = match magnitude {
            _ if magnitude >= t3 => 4,
            _ if magnitude >= t2 => 3,
            _ if magnitude >= t1 => 2,
            _ if magnitude > self.near => 1,
            _ => 0,
        };
        level * gradient.signum()
    }

    fn regular(&mut self, bits: &mut Bits<'_>, predicted: i32, at: usize, sign: i32) -> Result<i32, String> {
        let Context { magnitude, bias, correction, count } = self.contexts[at];
        let predicted = (predicted + sign * correction).clamp(0, self.highest);
        let k = golomb_parameter(count, magnitude);
        let mapped = self.golomb(bits, k, self.limit)?;
        let error = if self.near == 0 && k == 0 && 2 * bias <= -count {
            if mapped % 2 == 1 { (mapped - 1) / 2 } else { -(mapped / 2) - 1 }
        } else if mapped % 2 == 1 {
            -(mapped + 1) / 2
        } else {
            mapped / 2
        };
        self.contexts[at].update(error, self.near, self.reset);
        Ok(self.reconstruct(predicted, sign * error))
    }

    /// Decodes a run and the pixel that interrupts it; gives the next position (A.7).
    fn run(
        &mut self,
        bits: &mut Bits<'_>,
        before: &[Vec<i32>],
        now: &mut [Vec<i32>],
        start: usize,
        run_index: &mut usize,
    ) -> Result<usize, String> {
        let end = before[0].len() - 1;
        let mut x = start;
        while bits.bit()? == 1 {
            let length = 1 << RUN_LENGTHS[*run_index];
            if length <= end - x {
                *run_index = (*run_index + 1).min(RUN_LENGTHS.len() - 1);
            }
            x += length.min(end - x);
            if x == end {
                repeat(now, start, end);
                return Ok(end);
            }
        }
        x += bits.bits(RUN_LENGTHS[*run_index])? as usize;
        if x >= end {
            return Err("it has a run beyond a line".to_owned());
        }
        repeat(now, start, x);
        let limit = self.limit - RUN_LENGTHS[*run_index] - 1;
        // Of several components, all are coded as if they differed from their left neighbours.
        let alone = now.len() == 1;
        for (before, line) in before.iter().zip(now) {
            let [left, above] = [line[x - 1], before[x]];
            let same = alone && (left - above).abs() <= self.near;
            let error = self.interruption(bits, same, limit)?;
            let sign = if !same && left > above { -1 } else { 1 };
            line[x] = self.reconstruct(if same { left } else { above }, sign * error);
        }
        *run_index = run_index.saturating_sub(1);
        Ok(x + 1)
    }

    fn interruption(&mut self, bits: &mut Bits<'_>, same: bool, limit: u32) -> Result<i32, String> {
        let kind = i32::from(same);
        let at = REGULAR + usize::from(same);
        let Context { magnitude, bias, count, .. } = self.contexts[at];
        let k = golomb_parameter(count, magnitude + if same { count >> 1 } else { 0 });
        let mapped = self.golomb(bits, k, limit)?;
        let odd = (mapped + kind) & 1;
        let size = (mapped + kind + odd) / 2;
        let error = if (k != 0 || 2 * bias >= count) == (odd == 1) { -size } else { size };
        let context = &mut self.contexts[at];
        context.bias += i32::from(error < 0);
        context.magnitude += (mapped + 1 - kind) >> 1;
        if context.count == self.reset {
            context.magnitude >>= 1;
            context.count >>= 1;
            context.bias >>= 1;
        }
        context.count += 1;
        Ok(error)
    }

    /// A code of limited length (A.5.3).
    fn golomb(&self, bits: &mut Bits<'_>, k: u32, limit: u32) -> Result<i32, String> {
        let most = limit.saturating_sub(self.error_bits + 1);
        let mut zeros = 0;
        while bits.bit()? == 0 {
            zeros += 1;
            if zeros > most {
                return Err("it has a code that is too long".to_owned());
            }
        }
        let value = if zeros < most {
            i64::from(zeros) << k | i64::from(bits.bits(k)?)
        } else {
            i64::from(bits.bits(self.error_bits)?) + 1
        };
        // The largest that an encoder makes is about twice an error.
        if value > 2 * i64::from(self.range) + 2 {
            return Err("it has an error out of range".to_owned());
        }
        Ok(value as i32)
    }

    fn reconstruct(&self, predicted: i32, error: i32) -> i32 {
        let step = 2 * self.near + 1;
        let mut value = predicted + error * step;
        if value < -self.near {
            value += self.range * step;
        } else if value > self.highest + self.near {
            value -= self.range * step;
        }
        value.clamp(0, self.highest)
    }
}

impl Context {
    fn update(&mut self, error: i32, near: i32, reset: i32) {
        self.bias += error * (2 * near + 1);
        self.magnitude += error.abs();
        if self.count == reset {
            self.magnitude >>= 1;
            self.bias >>= 1;
            self.count >>= 1;
        }
        self.count += 1;
        if self.bias <= -self.count {
            self.bias = (self.bias + self.count).max(1 - self.count);
            self.correction = (self.correction - 1).max(-128);
        } else if self.bias > 0 {
            self.bias = (self.bias - self.count).min(0);
            self.correction = (self.correction + 1).min(127);
        }
    }
}

/// Fills lines from `start` to `end` with the pixel before.
fn repeat(lines: &mut [Vec<i32>], start: usize, end: usize) {
    for line in lines {
        let value = line[start - 1];
        line[start..end].fill(value);
    }
}

/// The median edge detector (A.4.1).
fn predict(left: i32, above: i32, corner: i32) -> i32 {
    if corner >= left.max(above) {
        left.min(above)
    } else if corner <= left.min(above) {
        left.max(above)
    } else {
        left + above - corner
    }
}

fn golomb_parameter(count: i32, magnitude: i32) -> u32 {
    (0..24).find(|&k| i64::from(count) << k >= i64::from(magnitude)).unwrap_or(24)
}

/// Thresholds of gradients (C.2.4.1.1.1).
fn thresholds(preset: &Preset, highest: i32, near: i32) -> Result<[i32; 3], String> {
    let clamped = |i: i32, least: i32| if i > highest || i < least { least } else { i };
    let [d1, d2, d3] = if highest >= 128 {
        let factor = (highest.min(4095) + 128) / 256;
        [factor + 2 + 3 * near, 4 * factor + 3 + 5 * near, 17 * factor + 4 + 7 * near]
    } else {
        let factor = 256 / (highest + 1);
        [(3 / factor + 3 * near).max(2), (7 / factor + 5 * near).max(3), (21 / factor + 7 * near).max(4)]
    };
    let t1 = clamped(d1, near + 1);
    let t2 = clamped(d2, t1);
    let defaults = [t1, t2, clamped(d3, t2)];
    let [a, b, c] = preset.thresholds;
    let chosen =
        [[a, defaults[0]], [b, defaults[1]], [c, defaults[2]]].map(|[x, d]| if x == 0 { d } else { x });
    if chosen[0] <= near || !chosen.is_sorted() {
        return Err("its parameters contradict each other".to_owned());
    }
    Ok(chosen)
}

/// The bits of a scan, in which a zero bit follows each byte of ones.
struct Bits<'a> {
    rest: &'a [u8],
    held: u8,
    count: u32,
    after_ones: bool,
}

impl<'a> Bits<'a> {
    fn bit(&mut self) -> Result<u32, String> {
        if self.count == 0 {
            let (byte, rest) = self.rest.split_first().ok_or(TRUNCATED)?;
            if self.after_ones && *byte >= 0x80 {
                return Err(TRUNCATED.to_owned());
            }
            self.count = if self.after_ones { 7 } else { 8 };
            self.after_ones = *byte == 0xff;
            self.held = *byte;
            self.rest = rest;
        }
        self.count -= 1;
        Ok(u32::from(self.held >> self.count & 1))
    }

    fn bits(&mut self, count: u32) -> Result<u32, String> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | self.bit()?;
        }
        Ok(value)
    }

    /// The bytes that follow, from the next marker on.
    fn end(mut self) -> Result<&'a [u8], String> {
        if self.after_ones {
            // The zero bit after a last byte of ones.
            self.rest = self.rest.get(1..).ok_or(TRUNCATED)?;
        }
        let marker = self.rest.windows(2).position(|w| w[0] == 0xff && w[1] >= 0x80).ok_or(TRUNCATED)?;
        Ok(&self.rest[marker..])
    }
}
