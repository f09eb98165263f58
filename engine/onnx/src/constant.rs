//! Constants: tensors of the file and what is computed from them while importing.

use crate::element::Element;
use crate::limits::{MAX_CONSTANT, MAX_RANK};
use crate::problem::Problem;
use crate::proto;
use crate::shape::Selection;
use std::rc::Rc;

/// A tensor whose value is known, but for the batch size. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct Constant {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Data,
    /// Type of the elements; integers and booleans are [`Data::Int`].
    pub(crate) element: Element,
    /// Whether axis 0 is the batch, of extent one: all items have these elements.
    pub(crate) has_batch: bool,
}

/// Where in another file the elements of a tensor are.
#[derive(Debug)]
pub(crate) struct External {
    pub(crate) location: String,
    pub(crate) offset: u64,
    /// Number of bytes; all to the end of the file if the model does not state it.
    pub(crate) length: Option<u64>,
}

/// Elements, the last axis fastest.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Float(Rc<Vec<f64>>),
    /// Booleans too, as 0 and 1.
    Int(Rc<Vec<Int>>),
}

/// An integer of a shape computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Int {
    Known(i64),
    /// The batch size, which is not known.
    Batch,
}

impl Constant {
    pub(crate) fn floats(shape: Vec<usize>, data: Vec<f64>) -> Self {
        Self { shape, data: Data::Float(Rc::new(data)), element: Element::Float, has_batch: false }
    }

    pub(crate) fn ints(shape: Vec<usize>, data: Vec<Int>) -> Self {
        Self { shape, data: Data::Int(Rc::new(data)), element: Element::Int64, has_batch: false }
    }

    /// Changes the element type to another of the same kind that represents all elements.
    pub(crate) fn of(self, element: Element) -> Self {
        Self { element, ..self }
    }

    /// States whether axis 0 is the batch, whose items must be alike.
    pub(crate) fn with_batch(self, has_batch: bool) -> Result<Self, Problem> {
        if has_batch && self.shape.first() != Some(&1) {
            return Err(Problem::MixesBatch);
        }
        Ok(Self { has_batch, ..self })
    }

    /// Floating-point results, rounded to their type and checked to be finite.
    pub(crate) fn rounded(shape: Vec<usize>, data: Vec<f64>, element: Element) -> Result<Self, Problem> {
        let data: Vec<f64> = data.into_iter().map(|x| element.round(x)).collect();
        if !data.iter().all(|x| x.is_finite()) {
            return Err(Problem::NotFinite { what: "result" });
        }
        Ok(Self::floats(shape, data).of(element))
    }

    /// The elements in another type, rounded, cut and wrapped as processors do.
    pub(crate) fn cast(&self, element: Element) -> Result<Self, Problem> {
        if element == self.element {
            return Ok(self.clone());
        }
        if element.is_float() {
            return Self::rounded(self.shape.clone(), self.to_floats()?.to_vec(), element);
        }
        let values: Result<Vec<Int>, Problem> = match &self.data {
            Data::Float(list) => list.iter().map(|&x| element.truncate(x).map(Int::Known)).collect(),
            Data::Int(list) => list
                .iter()
                .map(|&x| match x {
                    Int::Batch if matches!(element, Element::Int64 | Element::Int32) => Ok(Int::Batch),
                    x => element.wrap(x.known()?.into()).map(Int::Known),
                })
                .collect(),
        };
        Ok(Self::ints(self.shape.clone(), values?).of(element))
    }

    /// A tensor of the file, every element checked to be finite.
    pub(crate) fn parse(tensor: &proto::Tensor) -> Result<Self, Problem> {
        let element = Element::new(tensor.data_type.into())?;
        let constant = Self { shape: shape_of(tensor)?, data: data_of(tensor)?, element, has_batch: false };
        let expected = constant.shape.iter().product::<usize>();
        let found = constant.len();
        if expected != found {
            return Err(Problem::Stored { shape: constant.shape, expected, found });
        }
        match &constant.data {
            Data::Float(data) if !data.iter().all(|x| x.is_finite()) => {
                Err(Problem::NotFinite { what: "data" })
            }
            _ => Ok(constant),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match &self.data {
            Data::Float(data) => data.len(),
            Data::Int(data) => data.len(),
        }
    }

    /// The elements as numbers.
    pub(crate) fn to_floats(&self) -> Result<Rc<Vec<f64>>, Problem> {
        match &self.data {
            Data::Float(data) => Ok(Rc::clone(data)),
            Data::Int(data) => Ok(Rc::new(
                data.iter().map(|x| x.known().map(|x| x as f64)).collect::<Result<Vec<_>, Problem>>()?,
            )),
        }
    }

    /// The elements as integers.
    pub(crate) fn to_ints(&self) -> Result<Rc<Vec<Int>>, Problem> {
        match &self.data {
            Data::Int(data) => Ok(Rc::clone(data)),
            Data::Float(_) => Err(Problem::NotIntegers),
        }
    }

    /// The element, if there is one only.
    pub(crate) fn scalar(&self) -> Result<f64, Problem> {
        match self.to_floats()?.as_slice() {
            &[x] => Ok(x),
            other => Err(Problem::Count { what: "constant", found: other.len(), expected: 1 }),
        }
    }

    /// Gives the constant another shape with the same number of elements.
    pub(crate) fn reshaped(&self, shape: Vec<usize>) -> Self {
        Self { shape, data: self.data.clone(), ..*self }
    }

    /// Element `i` of the result is element `sources[i]` of a selection, or `fill`.
    pub(crate) fn select(&self, selection: Selection, fill: f64) -> Result<Self, Problem> {
        fn pick<T: Copy>(data: &[T], sources: &[Option<u32>], fill: T) -> Result<Vec<T>, Problem> {
            let picked = sources.iter().map(|source| match source {
                Some(source) => data.get(*source as usize).copied(),
                None => Some(fill),
            });
            picked.collect::<Option<_>>().ok_or(Problem::Internal("a selection names no element"))
        }
        let Selection { shape, sources } = selection;
        let picked = match &self.data {
            Data::Float(data) => Self::floats(shape, pick(data, &sources, fill)?),
            Data::Int(data) => Self::ints(shape, pick(data, &sources, Int::Known(fill as i64))?),
        };
        Ok(picked.of(self.element))
    }
}

impl External {
    /// The place, if the elements are in another file.
    pub(crate) fn of(tensor: &proto::Tensor) -> Result<Option<Self>, Problem> {
        if tensor.data_location == 0 && tensor.external_data.is_empty() {
            return Ok(None);
        }
        let entry =
            |key: &str| tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| &entry.value);
        let location = entry("location").cloned().unwrap_or_default();
        let number = |key: &str| {
            entry(key)
                .map(|text| {
                    text.parse::<u64>().map_err(|_| Problem::ExternalFile {
                        location: location.clone(),
                        reason: format!("its {key} is no number"),
                    })
                })
                .transpose()
        };
        let offset = number("offset")?.unwrap_or(0);
        let length = number("length")?;
        Ok(Some(Self { location, offset, length }))
    }
}

impl Int {
    pub(crate) fn known(self) -> Result<i64, Problem> {
        match self {
            Self::Known(x) => Ok(x),
            Self::Batch => Err(Problem::BatchSize),
        }
    }
}

fn shape_of(tensor: &proto::Tensor) -> Result<Vec<usize>, Problem> {
    if tensor.dims.len() > MAX_RANK {
        return Err(Problem::Rank { found: tensor.dims.len() });
    }
    let shape = tensor
        .dims
        .iter()
        .map(|&d| usize::try_from(d).map_err(|_| Problem::Extents { found: tensor.dims.clone() }));
    let shape = shape.collect::<Result<Vec<_>, _>>()?;
    match shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1))) {
        Some(n) if n <= MAX_CONSTANT => Ok(shape),
        _ => Err(Problem::Elements { shape, limit: MAX_CONSTANT }),
    }
}

/// The elements that are there, in whichever of the fields they are.
fn data_of(tensor: &proto::Tensor) -> Result<Data, Problem> {
    if let Some(External { location, .. }) = External::of(tensor)? {
        return Err(Problem::External { location });
    }
    let raw = tensor.raw_data.as_slice();
    let typed = raw.is_empty();
    let small = &tensor.int32_data;
    let float = |data: Vec<f64>| Data::Float(Rc::new(data));
    let int = |data: Vec<Int>| Data::Int(Rc::new(data));
    Ok(match tensor.data_type {
        1 if typed => float(tensor.float_data.iter().map(|&x| x.into()).collect()),
        1 => float(parse(raw, |b| f32::from_le_bytes(b).into())?),
        10 if typed => float(small.iter().map(|&x| half(x as u16)).collect()),
        10 => float(parse(raw, |b| half(u16::from_le_bytes(b)))?),
        11 if typed => float(tensor.double_data.clone()),
        11 => float(parse(raw, f64::from_le_bytes)?),
        16 if typed => float(small.iter().map(|&x| brain(x as u16)).collect()),
        16 => float(parse(raw, |b| brain(u16::from_le_bytes(b)))?),
        2..=6 | 9 if typed => int(small.iter().map(|&x| Int::Known(x.into())).collect()),
        2 | 9 => int(parse(raw, |b| Int::Known(u8::from_le_bytes(b).into()))?),
        3 => int(parse(raw, |b| Int::Known(i8::from_le_bytes(b).into()))?),
        4 => int(parse(raw, |b| Int::Known(u16::from_le_bytes(b).into()))?),
        5 => int(parse(raw, |b| Int::Known(i16::from_le_bytes(b).into()))?),
        6 => int(parse(raw, |b| Int::Known(i32::from_le_bytes(b).into()))?),
        7 if typed => int(tensor.int64_data.iter().map(|&x| Int::Known(x)).collect()),
        7 => int(parse(raw, |b| Int::Known(i64::from_le_bytes(b)))?),
        12 | 13 if typed => int(tensor.uint64_data.iter().map(|&x| unsigned(x)).collect::<Result<_, _>>()?),
        12 => int(parse(raw, |b| Int::Known(u32::from_le_bytes(b).into()))?),
        13 => {
            let list: Vec<u64> = parse(raw, u64::from_le_bytes)?;
            int(list.into_iter().map(unsigned).collect::<Result<_, _>>()?)
        }
        other => {
            return Err(Problem::DataType { found: other.into() });
        }
    })
}

fn unsigned(x: u64) -> Result<Int, Problem> {
    Element::Uint64.wrap(x.into()).map(Int::Known)
}

fn parse<const N: usize, T>(raw: &[u8], read: impl Fn([u8; N]) -> T) -> Result<Vec<T>, Problem> {
    let (chunks, rest) = raw.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(Problem::Bytes { bytes: raw.len(), element: N });
    }
    Ok(chunks.iter().map(|&bytes| read(bytes)).collect())
}

/// IEEE half precision.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from(bits >> 10 & 31);
    let mantissa = f64::from(bits & 1023);
    sign * match exponent {
        0 => mantissa * (-24f64).exp2(),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + mantissa) * f64::from(exponent - 25).exp2(),
    }
}

/// The upper half of single precision.
fn brain(bits: u16) -> f64 {
    f32::from_bits(u32::from(bits) << 16).into()
}
