//! Tensors in NumPy's files (numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
//!
//! Nothing is allocated because a header says so: headers have a limit, and values take memory as they arrive.

use crate::files::{self, cannot_read};
use crate::text::shape_text;
use anyhow::Context;
use std::io::{self, Read};
use std::path::Path;

/// NumPy itself reads no longer ones.
const MAX_HEADER: usize = 10_000;
/// Elements: 4 GiB of them.
const MAX_ELEMENTS: usize = 1 << 29;

/// A tensor, the last axis fastest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    shape: Vec<usize>,
    values: Vec<f64>,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NpyError {
    #[error("it is not an npy file")]
    Magic,
    #[error("it is of npy version {0}.{1}; 1.0 to 3.0 are known")]
    Version(u8, u8),
    #[error("it claims a header of {0} bytes; NumPy reads at most {MAX_HEADER}")]
    LongHeader(usize),
    #[error("it ends within its header")]
    ShortHeader,
    #[error("its header makes no sense: {0:?}")]
    Header(String),
    #[error("its elements are {0:?}; real numbers are wanted (f2, f4, f8, i1 to i8, u1 to u8)")]
    Dtype(String),
    #[error("it claims shape {}, more than {MAX_ELEMENTS} elements", shape_text(.0))]
    Huge(Vec<usize>),
    #[error("it ends after {got} of {expected} bytes of values")]
    Short { got: usize, expected: usize },
    #[error("it goes on after its {0} bytes of values")]
    Long(usize),
    #[error("it cannot be read")]
    Io(#[from] io::Error),
}

impl Tensor {
    /// Reads a file.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = files::open(path)?;
        Self::read(io::BufReader::new(file)).with_context(|| cannot_read(path))
    }

    fn read(mut reader: impl Read) -> Result<Self, NpyError> {
        let header = Header::read(&mut reader)?;
        let Dtype { big_endian, size, decode } = Dtype::parse(&header.descr)?;
        let count = header.shape.iter().try_fold(1usize, |count, &axis| count.checked_mul(axis));
        let count =
            count.filter(|&n| n <= MAX_ELEMENTS).ok_or_else(|| NpyError::Huge(header.shape.clone()))?;

        let expected = count * size;
        let mut bytes = Vec::new();
        reader.by_ref().take(expected as u64 + 1).read_to_end(&mut bytes)?;
        match bytes.len() {
            got if got < expected => return Err(NpyError::Short { got, expected }),
            got if got > expected => return Err(NpyError::Long(expected)),
            _ => {}
        }
        if big_endian {
            bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        let mut values: Vec<f64> = bytes.chunks_exact(size).map(decode).collect();
        if header.fortran_order {
            values = last_axis_fastest(&values, &header.shape);
        }
        Ok(Self { shape: header.shape, values })
    }

    /// Its axes.
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Cuts it along a batch axis, or takes it for the only item; none if its shape is another.
    pub(crate) fn items(self, item: &[usize]) -> Option<Vec<Vec<f64>>> {
        if self.shape == item {
            return Some(vec![self.values]);
        }
        let (&batch, rest) = self.shape.split_first()?;
        let size = item.iter().product::<usize>();
        (rest == item).then(|| self.values.chunks(size.max(1)).take(batch).map(<[f64]>::to_vec).collect())
    }
}

/// A file of f64, the last axis fastest.
pub(crate) fn encode(shape: &[usize], values: impl Iterator<Item = f64>) -> Vec<u8> {
    // Values start at a multiple of 64 bytes.
    const ALIGN: usize = 64;
    let shape = shape_text(shape);
    let text = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}");
    let length = (MAGIC.len() + 4 + text.len() + 1).next_multiple_of(ALIGN) - MAGIC.len() - 4;
    let mut bytes = [MAGIC, &[1, 0], &(length as u16).to_le_bytes(), text.as_bytes()].concat();
    bytes.resize(MAGIC.len() + 4 + length - 1, b' ');
    bytes.push(b'\n');
    values.for_each(|x| bytes.extend(x.to_le_bytes()));
    bytes
}

const MAGIC: &[u8] = b"\x93NUMPY";

struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    fn read(reader: &mut impl Read) -> Result<Self, NpyError> {
        let start = take(reader, 8)?.ok_or(NpyError::Magic)?;
        let [major, minor] = match start.strip_prefix(MAGIC) {
            Some(&[major, minor]) => [major, minor],
            _ => return Err(NpyError::Magic),
        };
        let bytes_of_length = match (major, minor) {
            (1, 0) => 2,
            (2 | 3, 0) => 4,
            _ => return Err(NpyError::Version(major, minor)),
        };
        let length = take(reader, bytes_of_length)?.ok_or(NpyError::ShortHeader)?;
        let length = length.iter().rev().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
        if length > MAX_HEADER {
            return Err(NpyError::LongHeader(length));
        }
        let text = take(reader, length)?.ok_or(NpyError::ShortHeader)?;
        let text = String::from_utf8_lossy(&text);
        Self::parse(&text).ok_or_else(|| NpyError::Header(text.chars().take(120).collect()))
    }

    /// A Python dictionary of three known entries.
    fn parse(text: &str) -> Option<Self> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
        while !rest.is_empty() {
            let (key, value) = string(rest)?;
            let value = value.trim_start().strip_prefix(':')?.trim_start();
            rest = match key {
                "descr" if value.starts_with('[') => {
                    let (list, rest) = bracketed(value)?;
                    descr = Some(list.to_owned());
                    rest
                }
                "descr" => {
                    let (name, rest) = string(value)?;
                    descr = Some(name.to_owned());
                    rest
                }
                "fortran_order" => {
                    let yes = value.strip_prefix("True");
                    fortran_order = Some(yes.is_some());
                    yes.or_else(|| value.strip_prefix("False"))?
                }
                "shape" => {
                    let (axes, rest) = value.strip_prefix('(')?.split_once(')')?;
                    let axes = axes.split(',').map(str::trim).filter(|axis| !axis.is_empty());
                    shape = Some(axes.map(|axis| axis.parse().ok()).collect::<Option<_>>()?);
                    rest
                }
                _ => return None,
            };
            rest = rest.trim_start();
            rest = match rest.strip_prefix(',') {
                Some(next) => next.trim_start(),
                None if rest.is_empty() => rest,
                None => return None,
            };
        }
        Some(Self { descr: descr?, fortran_order: fortran_order?, shape: shape? })
    }
}

/// A quoted string, and what comes after it.
fn string(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| ['\'', '"'].contains(c))?;
    text.strip_prefix(quote)?.split_once(quote)
}

/// A list, lists within it included, and what comes after it.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0usize;
    for (i, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return text.split_at_checked(i + c.len_utf8());
        }
    }
    None
}

/// So many bytes, or none if there are fewer.
fn take(reader: &mut impl Read, count: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    reader.take(count as u64).read_to_end(&mut bytes)?;
    Ok((bytes.len() == count).then_some(bytes))
}

struct Dtype {
    big_endian: bool,
    size: usize,
    decode: fn(&[u8]) -> f64,
}

impl Dtype {
    fn parse(descr: &str) -> Result<Self, NpyError> {
        let unknown = || NpyError::Dtype(descr.to_owned());
        let order = descr.chars().next().filter(|c| "<>|=".contains(*c)).ok_or_else(unknown)?;
        let (size, decode): (usize, fn(&[u8]) -> f64) = match descr.strip_prefix(order).unwrap_or_default() {
            "f2" => (2, |b| half(u16::from_le_bytes(word(b)))),
            "f4" => (4, |b| f32::from_le_bytes(word(b)).into()),
            "f8" => (8, |b| f64::from_le_bytes(word(b))),
            "i1" => (1, |b| i8::from_le_bytes(word(b)).into()),
            "i2" => (2, |b| i16::from_le_bytes(word(b)).into()),
            "i4" => (4, |b| i32::from_le_bytes(word(b)).into()),
            "i8" => (8, |b| i64::from_le_bytes(word(b)) as f64),
            "u1" => (1, |b| u8::from_le_bytes(word(b)).into()),
            "u2" => (2, |b| u16::from_le_bytes(word(b)).into()),
            "u4" => (4, |b| u32::from_le_bytes(word(b)).into()),
            "u8" => (8, |b| u64::from_le_bytes(word(b)) as f64),
            _ => return Err(unknown()),
        };
        Ok(Self { big_endian: order == '>', size, decode })
    }
}

fn word<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

/// IEEE 754's binary16.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let magnitude = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

/// Reorders values whose first axis is fastest.
fn last_axis_fastest(values: &[f64], shape: &[usize]) -> Vec<f64> {
    if values.is_empty() {
        // Any other axis may claim to be huge.
        return Vec::new();
    }
    let (mut sources, mut stride) = (vec![0], 1);
    for &axis in shape {
        sources = sources.iter().flat_map(|at| (0..axis).map(move |i| at + i * stride)).collect();
        stride *= axis;
    }
    sources.iter().filter_map(|&at| values.get(at).copied()).collect()
}

#[cfg(test)]
#[path = "npy_tests.rs"]
mod tests;
