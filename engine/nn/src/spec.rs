//! Client specification: everything that a client needs to use a plan, and no weights.

use crate::BatchLayout;
use crate::InferenceError;
use crate::calibration::{HEADROOM, magnitude};
use crate::layout::Layout;
use crate::scaler::{Scaler, Scalers};
use ndarray::{Array1, ArrayD, ArrayViewD, Axis};
use pleura_ckks::{Ciphertext, KeyRequest, Params};
use serde::{Deserialize, Serialize};

/// Bits of published results, in units of the calibrated range; fewer where the plan is expected to be less exact.
pub const DEFAULT_PUBLISH_BITS: i32 = 12;

/// Relative difference below which scales are equal: floating-point rounding along different paths.
pub(crate) const SCALE_TOLERANCE: f64 = 1e-9;

/// Everything that a client needs to use a plan: parameters, keys to make, layouts and scales, the meaning of inputs
/// and results. It holds no weights.
#[derive(Clone, Debug)]
pub struct ClientSpec {
    pub(crate) params: Params,
    pub(crate) key_request: KeyRequest,
    pub(crate) description: SpecDescription,
    pub(crate) scalers: Scalers,
}

/// A value beyond the range that a plan was calibrated for, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BeyondRange {
    /// The value.
    pub found: String,
    /// The range, as `up to ..` or `from .. to ..`.
    pub calibrated: String,
}

/// The element that exceeds its range most.
pub(crate) struct Excess {
    pub(crate) found: f64,
    pub(crate) offset: f64,
    /// Largest distance from the offset.
    pub(crate) calibrated: f64,
}

/// The serialized part of a [`ClientSpec`], without parameters and keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SpecDescription {
    pub(crate) network: String,
    pub(crate) input: TensorSpec,
    pub(crate) output: TensorSpec,
    /// Error to expect of results, in units of the output's range.
    pub(crate) error: f64,
    pub(crate) metadata: Metadata,
    pub(crate) plan_digest: [u8; 32],
}

/// A tensor in ciphertexts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TensorSpec {
    /// Shape of an item.
    pub(crate) shape: Vec<usize>,
    /// Places of the elements of a group of items.
    pub(crate) layout: Layout,
    /// How the items of a group share the layout.
    pub(crate) batch: BatchLayout,
    /// Slots hold values divided by this power of two.
    pub(crate) unit: f64,
    pub(crate) level: usize,
    pub(crate) scale: f64,
    /// Largest magnitude on the calibration items.
    pub(crate) range: f64,
}

/// Meaning of a network's inputs and results, for the client alone: it changes nothing of what a server computes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// Names of the outputs, if they are classes.
    pub classes: Vec<String>,
    /// Name of the preprocessing that makes inputs, such as a codec and its identity.
    pub preprocessing: Option<String>,
    /// Function that the client applies to decrypted scores.
    pub scores: ScoreTransform,
}

/// Function that the client applies to the decrypted scores of each item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScoreTransform {
    /// None.
    #[default]
    Identity,
    /// `exp(x_i) / sum_j exp(x_j)` over all elements of an item.
    Softmax,
    /// `1 / (1 + exp(-x))` of each element.
    Sigmoid,
    /// `x_i - ln sum_j exp(x_j)` over all elements of an item.
    LogSoftmax,
    /// Position of the largest element of an item, as a tensor of one element.
    ArgMax {
        /// Axes of the result after that of the items, each of extent one.
        axes: usize,
        /// Whether the last of equal elements counts, not the first.
        last: bool,
    },
}

impl ClientSpec {
    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Name of the network.
    pub fn network(&self) -> &str {
        &self.description.network
    }

    /// The keys that the server needs, each at the highest level it is used at.
    pub fn key_request(&self) -> &KeyRequest {
        &self.key_request
    }

    /// Shape of an input item, without a batch axis.
    pub fn input_shape(&self) -> &[usize] {
        &self.description.input.shape
    }

    /// Shape of a result, without a batch axis.
    pub fn output_shape(&self) -> &[usize] {
        &self.description.output.shape
    }

    /// How the items of a group share its ciphertexts.
    pub fn batch_layout(&self) -> BatchLayout {
        self.description.input.batch
    }

    /// Items that a group of ciphertexts holds.
    pub fn items(&self) -> usize {
        self.description.input.items()
    }

    /// Ciphertexts of a group of input items.
    pub fn input_ciphertexts(&self) -> usize {
        self.description.input.layout.ciphertexts
    }

    /// Ciphertexts of a group's results.
    pub fn output_ciphertexts(&self) -> usize {
        self.description.output.layout.ciphertexts
    }

    /// Largest magnitude of a result on the calibration items; where the client scales results, the largest distance from an offset that leaves
    /// them room.
    pub fn output_range(&self) -> f64 {
        let unit = self.scalers.output.as_ref().map_or(1.0, Scaler::largest_unit);
        self.description.output.range * unit
    }

    /// The element of inputs that exceeds its calibrated range most, if one does by more than four times: beyond eight times, values may
    /// overflow. `values` are whole items.
    pub fn input_beyond_range(&self, values: &[f64]) -> Option<BeyondRange> {
        beyond(self.description.input.range, self.scalers.input.as_ref(), values)
            .map(|excess| excess.in_words())
    }

    /// The element of results that exceeds its calibrated range most, if one does by more than four times: beyond eight times, values may
    /// have overflowed. `values` are whole items.
    pub fn output_beyond_range(&self, values: &[f64]) -> Option<BeyondRange> {
        beyond(self.description.output.range, self.scalers.output.as_ref(), values)
            .map(|excess| excess.in_words())
    }

    /// Whole bits of results that the expected error leaves; less than none where it is larger than their range.
    pub(crate) fn exact_bits(&self) -> i32 {
        (-self.description.error.log2()).floor() as i32
    }

    /// The largest error to expect among the values of a result, in units of their range ([`ClientSpec::output_range`]).
    pub fn expected_error(&self) -> f64 {
        self.description.error
    }

    /// Fractional bits of published results: [`DEFAULT_PUBLISH_BITS`] bits of the output's range, or as many as the
    /// plan is expected to be exact to. Results with units of their own have more ([`ClientSpec::roundings`]).
    pub fn publish_bits(&self) -> i32 {
        DEFAULT_PUBLISH_BITS.min(self.exact_bits()) - self.output_range().log2().ceil() as i32
    }

    /// Published results are multiples of it, one for each element of an item.
    pub fn roundings(&self) -> Vec<f64> {
        let step = f64::from(-self.publish_bits()).exp2();
        match &self.scalers.output {
            None => vec![step; self.output_shape().iter().product()],
            Some(scaler) => scaler.units.iter().map(|unit| step * (unit / scaler.largest_unit())).collect(),
        }
    }

    /// Fractional bits of published results as ciphertexts hold them.
    pub(crate) fn slot_publish_bits(&self) -> i32 {
        let unit = self.scalers.output.as_ref().map_or(1.0, Scaler::largest_unit);
        self.publish_bits() + (self.description.output.unit * unit).log2() as i32
    }

    /// Meaning of inputs and results.
    pub fn metadata(&self) -> &Metadata {
        &self.description.metadata
    }

    /// Digest of the [`ServerPlan`](crate::ServerPlan) that the specification belongs to.
    pub fn plan_digest(&self) -> &[u8; 32] {
        &self.description.plan_digest
    }
}

impl TensorSpec {
    /// Items of a group.
    pub(crate) fn items(&self) -> usize {
        match self.batch {
            BatchLayout::SideBySide(items) => items,
            BatchLayout::SlotPerItem => self.layout.slots,
            BatchLayout::Interleaved => self.layout.run(),
        }
    }

    /// The slots of a group's ciphertexts. The last item stands in for those that a group lacks: zeros might be far from
    /// what the network is calibrated for.
    pub(crate) fn fill(&self, items: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let Some(last) = items.last() else { return Vec::new() };
        let group: Vec<&Vec<f64>> = items.iter().chain(std::iter::repeat(last)).take(self.items()).collect();
        match self.batch {
            BatchLayout::SideBySide(_) => {
                self.layout.fill(&group.into_iter().flatten().copied().collect::<Vec<_>>())
            }
            BatchLayout::SlotPerItem => (0..last.len())
                .map(|i| group.iter().filter_map(|item| item.get(i)).copied().collect())
                .collect(),
            BatchLayout::Interleaved => self.layout.fill_runs(&group),
        }
    }

    /// The elements of a group's items, one item after the other, from the slots of its ciphertexts.
    pub(crate) fn read(&self, slots: &[Vec<f64>]) -> Vec<f64> {
        match self.batch {
            BatchLayout::SideBySide(_) => self.layout.read(slots),
            BatchLayout::SlotPerItem => (0..self.items())
                .flat_map(|i| slots.iter().filter_map(move |slots| slots.get(i)).copied())
                .collect(),
            BatchLayout::Interleaved => self.layout.read_runs(slots),
        }
    }

    /// Refuses ciphertexts that do not hold whole items in the slots, at the level and at the scale of the tensor.
    pub(crate) fn check(&self, ciphertexts: &[Ciphertext]) -> Result<(), InferenceError> {
        let expected = self.layout.ciphertexts;
        let got = ciphertexts.len();
        if got == 0 || !got.is_multiple_of(expected) {
            return Err(InferenceError::CiphertextCount { expected, got });
        }
        for ciphertext in ciphertexts {
            self.check_form("level", self.level, ciphertext.level())?;
            self.check_form("number of parts", 2, ciphertext.parts())?;
            self.check_form("number of slots", self.layout.slots, 1 << ciphertext.log_slots())?;
            let difference = (ciphertext.scale() / self.scale - 1.0).abs();
            if difference.is_nan() || difference > SCALE_TOLERANCE {
                let log2 = |scale: f64| format!("2^{:.9}", scale.log2());
                let expected = log2(self.scale);
                let got = log2(ciphertext.scale());
                return Err(InferenceError::CiphertextForm { what: "scale", expected, got });
            }
        }
        Ok(())
    }

    fn check_form(&self, what: &'static str, expected: usize, got: usize) -> Result<(), InferenceError> {
        if expected == got {
            return Ok(());
        }
        Err(InferenceError::CiphertextForm { what, expected: expected.to_string(), got: got.to_string() })
    }
}

/// The element of whole items that exceeds `range` most, in units of its scaler, if one does by more than half of the headroom.
pub(crate) fn beyond(range: f64, scaler: Option<&Scaler>, values: &[f64]) -> Option<Excess> {
    let Some(Scaler { offsets, units }) = scaler else {
        let found = magnitude(values);
        return (found > HEADROOM / 2.0 * range).then_some(Excess { found, offset: 0.0, calibrated: range });
    };
    let scales = offsets.iter().zip(units).cycle();
    let excesses = values.iter().zip(scales).map(|(&found, (&offset, &unit))| {
        let calibrated = range * unit;
        ((found - offset).abs() / calibrated, Excess { found, offset, calibrated })
    });
    let worst = excesses.max_by(|(a, _), (b, _)| a.total_cmp(b));
    worst.filter(|(times, _)| *times > HEADROOM / 2.0).map(|(_, excess)| excess)
}

impl Excess {
    fn in_words(&self) -> BeyondRange {
        let Self { found, offset, calibrated } = *self;
        if offset == 0.0 {
            let calibrated = format!("up to {calibrated:.3e}");
            return BeyondRange { found: format!("{:.3e}", found.abs()), calibrated };
        }
        // As many digits as tell the ends of the range apart.
        let digits = 3 + (offset.abs() / calibrated).log10().max(0.0).ceil() as usize;
        let calibrated =
            format!("from {:.digits$e} to {:.digits$e}", offset - calibrated, offset + calibrated);
        BeyondRange { found: format!("{found:.digits$e}"), calibrated }
    }
}

impl ScoreTransform {
    /// The function applied to each item of `scores`, `[items, ..]`.
    pub fn apply(self, scores: ArrayViewD<'_, f64>) -> ArrayD<f64> {
        let mut out = scores.to_owned();
        match self {
            Self::Identity => {}
            Self::Sigmoid => out.mapv_inplace(|x| 1.0 / (1.0 + (-x).exp())),
            Self::Softmax if out.ndim() == 0 => out.fill(1.0),
            Self::LogSoftmax if out.ndim() == 0 => out.fill(0.0),
            Self::LogSoftmax => {
                for mut item in out.axis_iter_mut(Axis(0)) {
                    let largest = item.fold(f64::NEG_INFINITY, |m, x| m.max(*x));
                    let sum: f64 = item.iter().map(|x| (x - largest).exp()).sum();
                    item.mapv_inplace(|x| x - largest - sum.ln());
                }
            }
            Self::ArgMax { .. } if out.ndim() == 0 => out.fill(0.0),
            Self::ArgMax { axes, last } => {
                let labels: Vec<f64> = out
                    .axis_iter(Axis(0))
                    .map(|item| {
                        item.iter()
                            .enumerate()
                            .fold((0, f64::NEG_INFINITY), |best, (i, &x)| {
                                if x > best.1 || last && x == best.1 { (i, x) } else { best }
                            })
                            .0 as f64
                    })
                    .collect();
                let mut labels = Array1::from_vec(labels).into_dyn();
                for _ in 0..axes {
                    labels.insert_axis_inplace(Axis(labels.ndim()));
                }
                return labels;
            }
            Self::Softmax => {
                for mut item in out.axis_iter_mut(Axis(0)) {
                    let largest = item.fold(f64::NEG_INFINITY, |m, x| m.max(*x));
                    item.mapv_inplace(|x| (x - largest).exp());
                    let sum = item.sum();
                    item.mapv_inplace(|x| x / sum);
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn probabilities_of_an_item_sum_to_one() {
        let scores = array![[0.0, 0.0], [1000.0, 1001.0], [-1000.0, 1000.0]].into_dyn();
        let p = ScoreTransform::Softmax.apply(scores.view());
        assert_eq!(p.index_axis(Axis(0), 0), array![0.5, 0.5].into_dyn());
        assert!(p.axis_iter(Axis(0)).all(|item| (item.sum() - 1.0).abs() < 1e-12));
        assert!((p[[1, 1]] - 1.0 / (1.0 + (-1.0f64).exp())).abs() < 1e-12);
        assert_eq!(p[[2, 0]], 0.0);
    }

    #[test]
    fn labels_and_logarithms_of_probabilities() {
        let scores = array![[0.0, 1.0, 1.0], [2.0, -1.0, 0.0]].into_dyn();
        let label = |axes, last| ScoreTransform::ArgMax { axes, last }.apply(scores.view());
        assert_eq!(label(0, false), array![1.0, 0.0].into_dyn());
        assert_eq!(label(1, true), array![[2.0], [0.0]].into_dyn());
        let logarithms = ScoreTransform::LogSoftmax.apply(scores.view());
        let expected = ScoreTransform::Softmax.apply(scores.view()).mapv(f64::ln);
        assert!((logarithms - expected).iter().all(|d| d.abs() < 1e-12));
    }

    #[test]
    fn sigmoids_are_taken_one_by_one() {
        let p =
            ScoreTransform::Sigmoid.apply(array![[0.0, f64::INFINITY, f64::NEG_INFINITY]].into_dyn().view());
        assert_eq!(p, array![[0.5, 1.0, 0.0]].into_dyn());
    }
}
