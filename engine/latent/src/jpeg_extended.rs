//! JPEG of 12 bits: the extended sequential process with Huffman coding (ITU-T T.81, annexes E and F), which `jpeg-decoder` and
//! `zune-jpeg` refuse. One component, as in radiographs.
#![expect(
    clippy::indexing_slicing,
    reason = "blocks have 64 coefficients, and zig-zag positions and code lengths are below their bounds"
)]

use crate::frame::{Frame, FrameSize};
use crate::jpeg_segment::{END, Segment, TRUNCATED};
use std::f32::consts::PI;

const SIDE: usize = 8;

/// Position in a block, row by row, of each coefficient in the order of the stream.
const ZIG_ZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Decodes a grey image of the process 0xc0 or 0xc1 with up to 12 bits.
///
/// # Errors
/// If it is of another process, has another size, or is damaged.
pub(crate) fn decode(stream: &[u8], size: FrameSize) -> Result<Frame, String> {
    let mut tables = Tables::default();
    let mut precision = None;
    let mut rest = stream.get(2..).ok_or(TRUNCATED)?;
    loop {
        let Segment { marker, body, after } = Segment::first(rest)?.ok_or("it lacks a marker")?;
        rest = after;
        match marker {
            0xc0 | 0xc1 => precision = Some(frame_header(body, size)?),
            0xc2..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                return Err("it is of 12 bits and progressive, lossless or arithmetic".to_owned());
            }
            0xc4 => tables.read_huffman(body)?,
            0xdb => tables.read_quantization(body)?,
            0xdd => {
                let interval = body.first_chunk::<2>().ok_or(TRUNCATED)?;
                tables.restart = u16::from_be_bytes(*interval).into();
            }
            0xda => {
                let (precision, quantization) = precision.ok_or("its scan has no frame")?;
                let [1, _, selectors, ..] = body else {
                    return Err("its scan is not of one component".to_owned());
                };
                let scan = Scan {
                    bits: Bits::new(rest),
                    dc: tables.dc[usize::from(selectors >> 4 & 3)]
                        .as_ref()
                        .ok_or("it lacks a Huffman table")?,
                    ac: tables.ac[usize::from(selectors & 3)].as_ref().ok_or("it lacks a Huffman table")?,
                    quantization: tables.quantization[quantization]
                        .as_ref()
                        .ok_or("it lacks a quantization table")?,
                    restart: tables.restart,
                };
                return Ok(Frame { values: scan.decode(size, precision)?, precision });
            }
            END => return Err("it has no scan".to_owned()),
            _ => {}
        }
    }
}

/// Precision, and the number of the quantization table.
fn frame_header(body: &[u8], size: FrameSize) -> Result<(u32, usize), String> {
    let [precision, r0, r1, c0, c1, count, components @ ..] = body else { return Err(TRUNCATED.to_owned()) };
    size.check(FrameSize {
        columns: u16::from_be_bytes([*c0, *c1]).into(),
        rows: u16::from_be_bytes([*r0, *r1]).into(),
        samples: (*count).into(),
    })?;
    match components {
        [_, _, table] if matches!(precision, 8..=12) => Ok(((*precision).into(), usize::from(table & 3))),
        [_, _, _] => Err(format!("its samples have {precision} bits")),
        _ => Err("it has 12 bits and several components".to_owned()),
    }
}

#[derive(Default)]
struct Tables {
    quantization: [Option<[f32; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    restart: usize,
}

impl Tables {
    fn read_quantization(&mut self, mut body: &[u8]) -> Result<(), String> {
        while let [kind, rest @ ..] = body {
            let width = if kind >> 4 == 0 { 1 } else { 2 };
            let (values, rest) = rest.split_at_checked(64 * width).ok_or(TRUNCATED)?;
            let mut table = [0.0; 64];
            for (k, value) in values.chunks_exact(width).enumerate() {
                table[ZIG_ZAG[k]] = value.iter().fold(0.0, |sum, byte| sum * 256.0 + f32::from(*byte));
            }
            self.quantization[usize::from(kind & 3)] = Some(table);
            body = rest;
        }
        Ok(())
    }

    fn read_huffman(&mut self, mut body: &[u8]) -> Result<(), String> {
        while let [kind, rest @ ..] = body {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(TRUNCATED)?;
            let total = counts.iter().map(|&c| usize::from(c)).sum();
            let (symbols, rest) = rest.split_at_checked(total).ok_or(TRUNCATED)?;
            let tables = if kind >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            tables[usize::from(kind & 3)] = Some(Huffman::new(counts, symbols));
            body = rest;
        }
        Ok(())
    }
}

/// A canonical Huffman code (annex C).
struct Huffman {
    /// For each length, one more than its last code; the first code; and the position of the first symbol.
    lengths: [(u32, u32, usize); 16],
    symbols: Vec<u8>,
}

impl Huffman {
    fn new(counts: &[u8; 16], symbols: &[u8]) -> Self {
        let mut code = 0_u32;
        let mut position = 0;
        let lengths = counts.map(|count| {
            let first = code;
            let start = position;
            code += u32::from(count);
            position += usize::from(count);
            let end = code;
            code <<= 1;
            (end, first, start)
        });
        Self { lengths, symbols: symbols.to_vec() }
    }
}

/// The bits of a scan, in which a zero follows each byte of ones.
struct Bits<'a> {
    rest: &'a [u8],
    held: u32,
    count: u32,
}

impl<'a> Bits<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Self { rest, held: 0, count: 0 }
    }

    fn bit(&mut self) -> Result<u32, String> {
        if self.count == 0 {
            (self.held, self.rest) = match self.rest {
                [0xff, 0, after @ ..] => (0xff, after),
                [0xff, ..] | [] => return Err(TRUNCATED.to_owned()),
                [byte, after @ ..] => (u32::from(*byte), after),
            };
            self.count = 8;
        }
        self.count -= 1;
        Ok(self.held >> self.count & 1)
    }

    fn bits(&mut self, count: u32) -> Result<i32, String> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | self.bit()? as i32;
        }
        Ok(value)
    }

    fn symbol(&mut self, table: &Huffman) -> Result<u8, String> {
        let mut code = 0;
        for (end, first, start) in table.lengths {
            code = code << 1 | self.bit()?;
            if code < end {
                let at = start + code.wrapping_sub(first) as usize;
                return table.symbols.get(at).copied().ok_or_else(|| "it has an unknown code".to_owned());
            }
        }
        Err("it has an unknown code".to_owned())
    }

    /// A signed number of `size` bits, negative in the lower half of the range (F.2.2.1).
    fn signed(&mut self, size: u8) -> Result<i32, String> {
        if size > 15 {
            return Err("it has a coefficient of more than 15 bits".to_owned());
        }
        let value = self.bits(size.into())?;
        let negative = size > 0 && value >> (size - 1) == 0;
        Ok(if negative { value - (1 << size) + 1 } else { value })
    }

    /// Goes behind the next restart marker.
    fn restart(&mut self) -> Result<(), String> {
        self.count = 0;
        match self.rest {
            [0xff, 0xd0..=0xd7, after @ ..] => {
                self.rest = after;
                Ok(())
            }
            _ => Err("it lacks a restart marker".to_owned()),
        }
    }
}

struct Scan<'a> {
    bits: Bits<'a>,
    dc: &'a Huffman,
    ac: &'a Huffman,
    quantization: &'a [f32; 64],
    /// Blocks between restart markers, 0 if there are none.
    restart: usize,
}

impl Scan<'_> {
    fn decode(mut self, size: FrameSize, precision: u32) -> Result<Vec<u16>, String> {
        let highest = ((1_u32 << precision) - 1) as f32;
        let middle = (1_u32 << (precision - 1)) as f32;
        let cosines = cosines();
        let mut values = vec![0; size.pixels()];
        let mut previous = 0;
        let mut block = 0;
        for top in (0..size.rows).step_by(SIDE) {
            for left in (0..size.columns).step_by(SIDE) {
                if self.restart > 0 && block > 0 && block % self.restart == 0 {
                    self.bits.restart()?;
                    previous = 0;
                }
                block += 1;
                let pixels = inverse(&self.block(&mut previous)?, &cosines);
                for (y, row) in pixels.as_chunks::<SIDE>().0.iter().take(size.rows - top).enumerate() {
                    let start = (top + y) * size.columns + left;
                    let end = (top + y + 1) * size.columns;
                    for (to, pixel) in values[start..end].iter_mut().zip(row) {
                        *to = (pixel + middle).round().clamp(0.0, highest) as u16;
                    }
                }
            }
        }
        Ok(values)
    }

    fn block(&mut self, previous: &mut i32) -> Result<[f32; 64], String> {
        let mut block = [0.0; 64];
        let size = self.bits.symbol(self.dc)?;
        *previous = previous.wrapping_add(self.bits.signed(size)?);
        block[0] = *previous as f32 * self.quantization[0];
        let mut k = 1;
        while k < 64 {
            let symbol = self.bits.symbol(self.ac)?;
            let zeros = usize::from(symbol >> 4);
            let size = symbol & 15;
            if size == 0 {
                if zeros < 15 {
                    break;
                }
                k += 16;
                continue;
            }
            k += zeros;
            let value = self.bits.signed(size)?;
            let at = *ZIG_ZAG.get(k).ok_or("it has a block of more than 64 coefficients")?;
            block[at] = value as f32 * self.quantization[at];
            k += 1;
        }
        Ok(block)
    }
}

/// `[frequency, position]`: the rows of the orthonormal transform.
fn cosines() -> [[f32; SIDE]; SIDE] {
    std::array::from_fn(|frequency| {
        let norm = if frequency == 0 { 0.125_f32.sqrt() } else { 0.5 };
        std::array::from_fn(|x| norm * ((2 * x + 1) as f32 * frequency as f32 * PI / 16.0).cos())
    })
}

/// The inverse cosine transform (A.3.3), columns first.
fn inverse(block: &[f32; 64], cosines: &[[f32; SIDE]; SIDE]) -> [f32; 64] {
    let mut columns = [0.0; 64];
    for (v, row) in block.as_chunks::<SIDE>().0.iter().enumerate() {
        if row.iter().all(|c| *c == 0.0) {
            continue;
        }
        for y in 0..SIDE {
            for x in 0..SIDE {
                columns[y * SIDE + x] += cosines[v][y] * row[x];
            }
        }
    }
    let mut out = [0.0; 64];
    for y in 0..SIDE {
        for u in 0..SIDE {
            let coefficient = columns[y * SIDE + u];
            for x in 0..SIDE {
                out[y * SIDE + x] += coefficient * cosines[u][x];
            }
        }
    }
    out
}
