//! Calibration: typical items of a network, and the ranges of values that they lead to.

use crate::{CompileError, Network, NodeMap};
use ndarray::{ArrayD, ArrayViewD, Axis};
use rayon::prelude::*;

/// Values beyond the calibrated range by more than this factor may overflow, junk in unused slots included.
pub(crate) const HEADROOM: f64 = 8.0;
/// Number of items that are drawn where none are given.
const DRAWN_ITEMS: usize = 4;

/// Items to calibrate with, each flat: the given ones, `[items, ..shape]`, or standard normal ones.
pub(crate) fn items(network: &Network, given: Option<&ArrayD<f64>>) -> Result<Vec<Vec<f64>>, CompileError> {
    let Some(given) = given.filter(|given| given.shape().first() != Some(&0)) else {
        return Ok(standard_normal_items(network.input_shape().iter().product()));
    };
    let items = flat_items(given.view(), network.input_shape())
        .map_err(|got| CompileError::CalibrationShape { expected: network.input_shape().to_vec(), got })?;
    match items.iter().position(|item| item.iter().any(|x| !x.is_finite())) {
        Some(item) => Err(CompileError::CalibrationValue { item }),
        None => Ok(items),
    }
}

/// The items of a batch-first array, each flat in row-major order; the shape of an item if it is not `shape`.
pub(crate) fn flat_items(items: ArrayViewD<'_, f64>, shape: &[usize]) -> Result<Vec<Vec<f64>>, Vec<usize>> {
    match items.shape() {
        [_, got @ ..] if got == shape => {
            Ok(items.axis_iter(Axis(0)).map(|item| item.iter().copied().collect()).collect())
        }
        [_, got @ ..] => Err(got.to_vec()),
        [] => Err(Vec::new()),
    }
}

/// Largest magnitude at each node over all items; 1 where all values are zero, which any range fits.
pub(crate) fn ranges(network: &Network, items: &[Vec<f64>]) -> Result<NodeMap<f64>, CompileError> {
    let traces: Vec<_> = items.par_iter().map(|item| network.trace(item)).collect();
    let mut ranges = NodeMap::new(network.len(), |_| 0.0f64);
    for (id, range) in ranges.iter_mut() {
        for trace in &traces {
            *range = range.max(magnitude(&trace[id]));
        }
        if !range.is_finite() {
            return Err(CompileError::Diverges { node: network[id].name.clone() });
        }
        if *range == 0.0 {
            *range = 1.0;
        }
    }
    Ok(ranges)
}

/// Largest magnitude; infinite if a value is not a number.
pub(crate) fn magnitude(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |largest, x| if x.is_nan() { f64::INFINITY } else { largest.max(x.abs()) })
}

/// Sums of twelve uniform numbers from splitmix64 (Steele, Lea, Flood, 2014), which are near enough to normal ones.
fn standard_normal_items(len: usize) -> Vec<Vec<f64>> {
    let mut state = 0u64;
    let mut uniform = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut normal = || (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
    (0..DRAWN_ITEMS).map(|_| (0..len).map(|_| normal()).collect()).collect()
}
