//! Arrays of NumPy into arrays of the engine and back.

use crate::failure::{Failure, Kind};
use ndarray::{ArrayD, Axis};
use numpy::{IntoPyArray, PyArrayDyn, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyString;

/// An array as the engine takes it.
pub(crate) struct Input {
    pub(crate) values: ArrayD<f64>,
    /// Whether it came as float32: results go back as they came.
    single: bool,
}

impl Input {
    /// A copy of a NumPy array of float32 or float64, in C or Fortran order or with any strides.
    ///
    /// # Errors
    /// `InputError` for any other object, and for one with masked values
    pub(crate) fn new(object: &Bound<'_, PyAny>) -> Result<Self, Failure> {
        if is_masked(object) {
            let text = "the array has values that are masked; leave out or fill in such items";
            return Err(Failure::new(Kind::Input, text));
        }
        if let Ok(array) = object.cast::<PyArrayDyn<f64>>() {
            return Ok(Self { values: read(array)?, single: false });
        }
        if let Ok(array) = object.cast::<PyArrayDyn<f32>>() {
            return Ok(Self { values: read(array)?.mapv(f64::from), single: true });
        }
        let found = match object.cast::<PyUntypedArray>() {
            Ok(array) => format!("an array of {}", array.dtype()),
            Err(_) => format!(
                "a {}",
                object.get_type().name().unwrap_or_else(|_| PyString::new(object.py(), "object"))
            ),
        };
        Err(Failure::new(
            Kind::Input,
            format!(
                "the input is {found}; give a NumPy array of float32 or float64, as numpy.asarray(x, numpy.float32) makes it"
            ),
        ))
    }

    /// A copy of a batch `[items, ..shape]`, with at least one item and finite values.
    ///
    /// # Errors
    /// `InputError`
    pub(crate) fn batch(object: &Bound<'_, PyAny>, shape: &[usize]) -> Result<Self, Failure> {
        let input = Self::new(object)?;
        let got = input.values.shape();
        let expected: Vec<String> = shape.iter().map(ToString::to_string).collect();
        let expected = format!("(batch, {})", expected.join(", "));
        if got == shape {
            return Err(Failure::new(
                Kind::Input,
                format!("the array is one item; the network takes {expected}: use x[None]"),
            ));
        }
        if got.get(1..) != Some(shape) {
            return Err(Failure::new(
                Kind::Input,
                format!("the array has shape {}; the network takes {expected}", pleura::npy::shape_text(got)),
            ));
        }
        if input.values.is_empty() {
            return Err(Failure::new(
                Kind::Input,
                format!("the array holds no item; the network takes {expected}"),
            ));
        }
        for (item, values) in input.values.axis_iter(Axis(0)).enumerate() {
            if values.iter().any(|x| !x.is_finite()) {
                return Err(Failure::new(
                    Kind::Input,
                    format!("item {item} has a value that is NaN or infinite; numpy.isfinite finds it"),
                ));
            }
        }
        Ok(input)
    }

    /// A result as an array of the input's type.
    pub(crate) fn like<'py>(single: bool, result: ArrayD<f64>, py: Python<'py>) -> Bound<'py, PyAny> {
        if single {
            result.mapv(|x| x as f32).into_pyarray(py).into_any()
        } else {
            result.into_pyarray(py).into_any()
        }
    }

    /// Whether the array is of float32.
    pub(crate) fn is_single(&self) -> bool {
        self.single
    }
}

/// Whether an array is a `numpy.ma.MaskedArray` with values that are masked: below the mask is anything.
fn is_masked(object: &Bound<'_, PyAny>) -> bool {
    let any = object.getattr("mask").and_then(|mask| mask.call_method0("any"));
    object.cast::<PyUntypedArray>().is_ok() && any.and_then(|any| any.is_truthy()).unwrap_or(false)
}

fn read<T: numpy::Element + Copy>(array: &Bound<'_, PyArrayDyn<T>>) -> Result<ArrayD<T>, Failure> {
    let being_written = || Failure::new(Kind::Input, "the array is being written; copy it first");
    // A field of packed records may lie at any byte, and `ndarray` counts strides in elements.
    let size = size_of::<T>().cast_signed();
    let is_aligned = array.data().is_aligned() && array.strides().iter().all(|stride| stride % size == 0);
    if is_aligned {
        return Ok(array.try_readonly().map_err(|_| being_written())?.as_array().to_owned());
    }
    let copy = array.call_method0("copy");
    let copy = copy.map_err(|error| Failure::new(Kind::Input, format!("the array has no copy: {error}")))?;
    let copy = copy.cast::<PyArrayDyn<T>>();
    let copy = copy.map_err(|_| Failure::new(Kind::Input, "the copy of the array is of another type"))?;
    Ok(copy.try_readonly().map_err(|_| being_written())?.as_array().to_owned())
}
