//! Choice of scalers: offsets and units from the values of calibration items.

#![expect(clippy::indexing_slicing, reason = "nodes are looked up in tables of their own network")]

use crate::calibration::Calibration;
use crate::error::MAX_LOG2_RANGE;
use crate::network::readers;
use crate::options::CompileOptions;
use crate::scaler::{Scaler, Scalers};
use crate::{CompileError, LinearMap, Network, NodeId, NodeMap, Op, ScoreTransform};
use rayon::prelude::*;

/// Calibration items from which on the spread of a feature is trusted.
const LEAST_ITEMS: usize = 16;
/// Ratio between units from which on a feature or a result has its own. A smaller one costs a feature few bits, and a pixel that is faint in all
/// calibration items may be bright in others.
const FEATURE_RATIO: f64 = 64.0;
const RESULT_RATIO: f64 = 16.0;
/// Factor by which an element with a unit of its own may exceed its calibrated range.
const ROOM: f64 = 8.0;
/// Largest ratio of an offset to the unit of a value that is the same in all items, and of any other.
const CONSTANT_RATIO: f64 = 4.0;
const MAX_RATIO: f64 = (1u64 << 36) as f64;
/// Part of a unit that rounding may add to a range.
const MARGIN: f64 = 1e-6;

/// A network between scaled tensors, and calibration items for it.
pub(crate) struct Scaled {
    pub(crate) network: Network,
    pub(crate) calibration: Calibration,
    pub(crate) scalers: Scalers,
}

/// How the values of a tensor are scaled.
struct Form {
    /// Whether elements may have units of their own, and offsets.
    has_own_units: bool,
    has_offsets: bool,
    /// Factor by which values may exceed their calibrated distance from an offset.
    room: f64,
    /// Ratios between units from which on an offset is worth it, and a unit of an element's own.
    least_ratio: f64,
    unit_ratio: f64,
}

/// The interval of an element's values.
#[derive(Clone, Copy)]
struct Interval {
    low: f64,
    high: f64,
}

impl Scaled {
    /// The network between scaled inputs and results, where a scaler is worth it and costs no level.
    ///
    /// # Errors
    /// [`CompileError::Internal`] if scaling breaks the network, which is a bug.
    pub(crate) fn new(
        network: &Network,
        calibration: Calibration,
        options: &CompileOptions,
    ) -> Result<Self, CompileError> {
        // Known ranges are those of unscaled values, and noise has no units.
        let is_given =
            options.calibration.as_ref().is_some_and(|items| !items.is_empty()) && options.ranges.is_empty();
        let is_trusted = is_given && calibration.items.len() >= LEAST_ITEMS;
        let input = Form::of_input(network, is_trusted).filter(|_| is_given);
        let input = input.and_then(|form| form.scaler(&calibration.items));
        let is_result = options.metadata.scores == ScoreTransform::Identity;
        let output = Form::of_output(network).filter(|_| is_trusted && is_result);
        let output = output.and_then(|form| {
            let results: Vec<Vec<f64>> =
                calibration.items.par_iter().map(|item| network.evaluate_flat(item)).collect();
            form.scaler(&results)
        });
        let scalers = Scalers { input, output };
        let network = scalers.apply(network)?;
        let calibration = calibration.scaled(scalers.input.as_ref(), scalers.output.is_some());
        Ok(Self { network, calibration, scalers })
    }
}

impl Form {
    /// The form of a network's input, if layers that are linear read it.
    fn of_input(network: &Network, has_offsets: bool) -> Option<Self> {
        let mut readers =
            network.nodes().iter().filter(|node| node.op.reads().contains(&NodeId::INPUT)).peekable();
        readers.peek()?;
        readers.all(|node| matches!(node.op, Op::Linear(..))).then(|| Self {
            has_own_units: absorbs_factors(network)[NodeId::INPUT],
            has_offsets,
            room: 1.0,
            least_ratio: 4.0,
            unit_ratio: FEATURE_RATIO,
        })
    }

    /// The form of a network's output, if a matrix makes it.
    fn of_output(network: &Network) -> Option<Self> {
        let readers = readers(network.node_map());
        let mut id = network.output();
        loop {
            let Op::Linear(x, linear) = &network[id].op else { return None };
            match linear.maps().iter().rev().find_map(absorbs) {
                Some(true) => {
                    return Some(Self {
                        has_own_units: true,
                        has_offsets: true,
                        room: ROOM,
                        least_ratio: RESULT_RATIO,
                        unit_ratio: RESULT_RATIO,
                    });
                }
                None if readers[*x] == 1 => id = *x,
                None | Some(false) => return None,
            }
        }
    }

    /// The scaler for elements with the values of `items`; none if it is not worth it.
    fn scaler(&self, items: &[Vec<f64>]) -> Option<Scaler> {
        let elements = items.first()?.len();
        let intervals: Vec<Interval> =
            (0..elements).map(|i| Interval::of(items.iter().map(|item| item[i]))).collect();
        let centred: Vec<Option<f64>> =
            intervals.iter().map(|interval| self.centred_unit(*interval)).collect();
        let widths =
            || intervals.iter().zip(&centred).map(|(interval, unit)| unit.unwrap_or(above(interval.reach())));
        let shared = widths().fold(0.0, f64::max);
        let unscaled = above(intervals.iter().map(Interval::reach).fold(0.0, f64::max));
        if shared == 0.0 {
            return None;
        }
        let units = intervals.iter().zip(&centred).map(|(interval, centred)| {
            let unit = centred.unwrap_or(ROOM * above(interval.reach()));
            // Zeros say nothing about their unit.
            let is_own = self.has_own_units && unit > 0.0 && unit * self.unit_ratio <= shared;
            if is_own { unit } else { shared }
        });
        let units: Vec<f64> = units.collect();
        let is_worth_it = shared * self.least_ratio <= unscaled || units.iter().any(|unit| *unit < shared);
        let offsets = intervals.iter().zip(&centred).zip(&units).map(|((interval, centred), unit)| {
            if centred.is_some() { (interval.middle() / unit).round() * unit } else { 0.0 }
        });
        let offsets = offsets.collect();
        is_worth_it.then_some(Scaler { offsets, units })
    }

    /// The unit of an element around the middle of its interval, if that is worth it.
    fn centred_unit(&self, interval: Interval) -> Option<f64> {
        let reach = interval.reach();
        let half = (interval.high - interval.low) / 2.0;
        let is_constant = half * MAX_RATIO < reach;
        // Rounding the offset to a multiple of the unit takes up to half of it.
        let unit = above(if is_constant { reach / CONSTANT_RATIO } else { 2.0 * self.room * half });
        (self.has_offsets && unit > 0.0 && unit * self.least_ratio <= above(reach)).then_some(unit)
    }
}

impl Interval {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let empty = Self { low: f64::INFINITY, high: f64::NEG_INFINITY };
        values.fold(empty, |Self { low, high }, x| Self { low: low.min(x), high: high.max(x) })
    }

    fn reach(&self) -> f64 {
        self.low.abs().max(self.high.abs())
    }

    fn middle(&self) -> f64 {
        self.low + (self.high - self.low) / 2.0
    }
}

/// A power of two above a magnitude, with a margin; zero for zero.
fn above(magnitude: f64) -> f64 {
    if magnitude == 0.0 {
        return 0.0;
    }
    (magnitude * (1.0 + MARGIN)).log2().ceil().clamp(-MAX_LOG2_RANGE, MAX_LOG2_RANGE).exp2()
}

/// Whether a map takes up factors of the elements of its operand or its result at no cost; none if it hands them on.
fn absorbs(map: &LinearMap) -> Option<bool> {
    match map {
        LinearMap::Dense(_) | LinearMap::Sparse(_) => Some(true),
        LinearMap::Convolution(_) | LinearMap::Pool(_) => Some(false),
        LinearMap::DiagonalScale(_) | LinearMap::Gather(_) => None,
    }
}

/// Whether matrices take up factors of each node's elements: convolutions would lose their structure, and elementwise operations take a level.
fn absorbs_factors(network: &Network) -> NodeMap<bool> {
    let mut absorbed = network.node_map().map(|id, _| id != network.output());
    for (id, node) in network.iter().rev() {
        let reading = match &node.op {
            Op::Linear(_, linear) => linear.maps().iter().find_map(absorbs).unwrap_or(absorbed[id]),
            _ => false,
        };
        for read in node.op.reads() {
            absorbed[read] &= reading;
        }
    }
    absorbed
}
