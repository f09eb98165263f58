//! Limits of a device, by simple operations on it.

use crate::bench::facts::Roofline;
use crate::bench::operations::BenchError;
use crate::bench::times::Times;
use crate::{AnyBackend, Device, DeviceError};
use pleura_ckks::{Backend, Params, ParamsLiteral};
use pleura_ring::{Batch, IntegerMatrix, Ntt};

/// Bytes that are copied: more than caches hold.
const COPIED_BYTES: usize = 128 << 20;
/// Rows of the matrix.
const ROWS: usize = 32;
/// Columns of the matrix.
const COLUMNS: usize = 64;
/// Measurements of each limit.
const ROUNDS: usize = 9;

/// Measures how fast a device copies memory and multiplies integers, in a fraction of a second. The limits are those of
/// this library's kernels, not those of a data sheet.
///
/// # Errors
/// [`BenchError::Device`], [`BenchError::Eval`] if the device fails or has no memory left.
pub fn roofline(device: &Device) -> Result<Roofline, BenchError> {
    let params = Params::new(ParamsLiteral::N13)?;
    let backend = device.backend(params.ring())?;
    let limbs = params.limbs(params.max_level());
    let row_bytes = 4 * params.n() * limbs.count();
    let polys = COPIED_BYTES / row_bytes;
    let source = filled(&backend, &params, polys)?;
    let copy = measured(&backend, || drop(backend.concat(&[source.view()], limbs)))?;
    drop(source);
    let columns = filled(&backend, &params, COLUMNS)?;
    let matrix = IntegerMatrix::new(COLUMNS, (0..ROWS).map(row).collect()).map_err(DeviceError::from)?;
    let product = measured(&backend, || drop(backend.matrix_product(columns.view(), &matrix, limbs)))?;
    let products = ROWS * COLUMNS * limbs.count() * params.n();
    Ok(Roofline {
        copy_bytes_per_second: (2 * polys * row_bytes) as f64 / copy.min,
        products_per_second: products as f64 / product.min,
        copy,
        product,
    })
}

/// A row of small entries that are not all alike.
fn row(row: usize) -> Vec<(u32, i32)> {
    (0..COLUMNS).map(|column| (column as u32, ((row * 31 + column * 17) % 255) as i32 - 127)).collect()
}

fn filled(backend: &AnyBackend, params: &Params, polys: usize) -> Result<Batch<AnyBackend, Ntt>, BenchError> {
    let limbs = params.limbs(params.max_level());
    let moduli = (0..polys).flat_map(|_| params.ring().moduli(limbs));
    let words: Vec<u32> =
        moduli.flat_map(|modulus| (0..params.n()).map(move |i| i as u32 % modulus.q())).collect();
    Ok(backend.upload(limbs, polys, &words)?)
}

/// Seconds of some work, after one that warms up.
fn measured(backend: &AnyBackend, mut work: impl FnMut()) -> Result<Times, BenchError> {
    let mut once = || -> Result<(), BenchError> {
        work();
        Ok(backend.wait()?)
    };
    once()?;
    Times::of(ROUNDS, once)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_has_limits() {
        let found = roofline(&Device::cpu(Some(1))).unwrap();
        assert!(found.copy_bytes_per_second > 1e8 && found.products_per_second > 1e7, "{found:?}");
        assert_eq!((found.copy.all.len(), found.product.all.len()), (ROUNDS, ROUNDS));
    }
}
