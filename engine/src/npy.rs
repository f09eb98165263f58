//! Arrays in NumPy's files (numpy.org/doc/stable/reference/generated/numpy.lib.format.html).
//!
//! No memory is taken because a header says so: headers have a limit, and values take memory as they arrive.
//!
//! The crate `ndarray-npy` 0.10 is no substitute for hostile files: it allocates the claimed length before it reads,
//! its grammar of headers takes time exponential in the depth of brackets (36 s for a header of 22), and it knows no
//! f2.

use half::f16;
use ndarray::{ArrayD, ArrayView, Axis, Dimension, IxDyn, ShapeBuilder};
use std::io::{self, Read};

/// Longest header in bytes, as in NumPy itself.
const MAX_HEADER: usize = 10_000;
/// Most elements of an array: 4 GiB of f64.
const MAX_ELEMENTS: usize = 1 << 29;
const MAGIC: &[u8] = b"\x93NUMPY";

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NpyError {
    /// It does not begin as npy files do.
    #[error("it is not an npy file")]
    Magic,
    /// The version is unknown.
    #[error("it is of npy version {0}.{1}; 1.0 to 3.0 are known")]
    Version(u8, u8),
    /// The header is longer than NumPy reads.
    #[error("it claims a header of {0} bytes; NumPy reads at most {MAX_HEADER}")]
    LongHeader(usize),
    /// The file ends within its header.
    #[error("it ends within its header")]
    ShortHeader,
    /// The header is no dictionary of the three known entries.
    #[error("its header makes no sense: {0:?}")]
    Header(String),
    /// The elements are no real numbers.
    #[error("its elements are {0:?}; real numbers are wanted (f2, f4, f8, i1 to i8, u1 to u8)")]
    Dtype(String),
    /// The file claims more elements than are read.
    #[error("it claims shape {}, more than {MAX_ELEMENTS} elements", shape_text(.0))]
    Huge(Vec<usize>),
    /// The file ends before its last value.
    #[error("it ends after {got} of {expected} bytes of values")]
    Short {
        /// Bytes of values there are.
        got: usize,
        /// Bytes of values that the header claims.
        expected: usize,
    },
    /// It goes on after its last value.
    #[error("it goes on after its {0} bytes of values")]
    Long(usize),
    /// The reader failed.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
}

/// Why an array is not a batch of items.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ItemsError {
    /// The shape does not fit the network.
    #[error(
        "it has shape {}; the network takes {}, with or without a batch axis before it",
        shape_text(got),
        shape_text(expected)
    )]
    Shape {
        /// Shape of an item.
        expected: Vec<usize>,
        /// Shape of the array.
        got: Vec<usize>,
    },
    /// It has no item.
    #[error("it holds no item: its shape is {}", shape_text(.0))]
    Empty(Vec<usize>),
    /// An element is infinite or no number.
    #[error("element {element} of item {item} of {items} is {}", if *nan { "NaN" } else { "infinite" })]
    NotFinite {
        /// Number of the item.
        item: usize,
        /// Number of items there are.
        items: usize,
        /// Number of the element in row-major order.
        element: usize,
        /// Whether it is no number.
        nan: bool,
    },
}

/// Reads an array of real numbers of any width, in standard or Fortran order.
///
/// # Errors
/// [`NpyError`] if the bytes are no npy file of real numbers, or claim more than 2^29 elements.
pub fn read(mut reader: impl Read) -> Result<ArrayD<f64>, NpyError> {
    let Header { descr, fortran_order, shape } = Header::read(&mut reader)?;
    let Dtype { big_endian, size, decode } = Dtype::parse(&descr)?;
    let count = shape.iter().try_fold(1usize, |count, &axis| count.checked_mul(axis));
    let count = count.filter(|&n| n <= MAX_ELEMENTS).ok_or_else(|| NpyError::Huge(shape.clone()))?;

    let expected = count * size;
    let mut bytes = Vec::new();
    reader.take(expected as u64 + 1).read_to_end(&mut bytes)?;
    match bytes.len() {
        got if got < expected => return Err(NpyError::Short { got, expected }),
        got if got > expected => return Err(NpyError::Long(expected)),
        _ => {}
    }
    if big_endian {
        bytes.chunks_exact_mut(size).for_each(<[u8]>::reverse);
    }
    let values = bytes.chunks_exact(size).map(decode).collect();
    // Next to an axis of none, any other axis may claim to be larger than memory.
    ArrayD::from_shape_vec(IxDyn(&shape).set_f(fortran_order), values).map_err(|_| NpyError::Huge(shape))
}

/// An array as items `[items, ..shape]`: at least one, all elements finite. An array of just that shape is one item.
///
/// # Errors
/// [`ItemsError`] if the array is no such batch.
pub fn items(array: ArrayD<f64>, shape: &[usize]) -> Result<ArrayD<f64>, ItemsError> {
    let got = array.shape().to_vec();
    let items = if got == shape { array.insert_axis(Axis(0)) } else { array };
    if items.shape().get(1..) != Some(shape) {
        return Err(ItemsError::Shape { expected: shape.to_vec(), got });
    }
    if items.is_empty() {
        return Err(ItemsError::Empty(got));
    }
    for (item, values) in items.outer_iter().enumerate() {
        if let Some((element, x)) = values.iter().enumerate().find(|(_, x)| !x.is_finite()) {
            return Err(ItemsError::NotFinite {
                item,
                items: items.len_of(Axis(0)),
                element,
                nan: x.is_nan(),
            });
        }
    }
    Ok(items)
}

/// The bytes of a file of f64 in standard order.
pub fn to_bytes<D: Dimension>(array: ArrayView<'_, f64, D>) -> Vec<u8> {
    // Values start at a multiple of 64 bytes.
    const ALIGN: usize = 64;
    let shape = shape_text(array.shape());
    let text = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}");
    let length = (MAGIC.len() + 4 + text.len() + 1).next_multiple_of(ALIGN) - MAGIC.len() - 4;
    let mut bytes = [MAGIC, &[1, 0], &(length as u16).to_le_bytes(), text.as_bytes()].concat();
    bytes.resize(MAGIC.len() + 4 + length - 1, b' ');
    bytes.push(b'\n');
    array.iter().for_each(|x| bytes.extend(x.to_le_bytes()));
    bytes
}

/// A shape as Python writes a tuple.
pub fn shape_text(shape: &[usize]) -> String {
    match shape {
        [one] => format!("({one},)"),
        _ => format!("({})", shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
    }
}

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
        let mut descr = None;
        let mut fortran_order = None;
        let mut shape = None;
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

/// Takes `len` bytes, or none if there are fewer.
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
        let (size, decode): (usize, fn(&[u8]) -> f64) = match descr.strip_prefix(order).ok_or_else(unknown)? {
            "f2" => (2, |b| f16::from_le_bytes(word(b)).to_f64()),
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
