//! Calibration: typical items of a network, and the ranges of values that they lead to.

use crate::scaler::Scaler;
use crate::{CompileError, Network, NodeMap};
use ndarray::{ArrayD, ArrayViewD, Axis};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Values beyond the calibrated range by more than this factor may overflow, junk in unused slots included.
pub(crate) const HEADROOM: f64 = 8.0;
/// Number of items that are drawn where none are given.
const DRAWN_ITEMS: usize = 4;

/// Typical items of a network, and how much larger its values get than on them.
pub(crate) struct Calibration {
    /// Each flat; there is at least one.
    pub(crate) items: Vec<Vec<f64>>,
    /// Factors, at least 1, by which known ranges of nodes exceed those of the items.
    growth: BTreeMap<String, f64>,
    /// Largest of the factors, for nodes without a known range.
    most: f64,
    /// The least range of results: a scaler leaves them room.
    least_result: f64,
}

impl Calibration {
    /// The given items, `[items, ..shape]`, or standard normal ones; and the factors by which known ranges of named nodes
    /// exceed them.
    ///
    /// # Errors
    /// [`CompileError::CalibrationShape`], [`CompileError::CalibrationValue`], [`CompileError::Range`],
    /// [`CompileError::Diverges`]
    pub(crate) fn new(
        network: &Network,
        given: Option<&ArrayD<f64>>,
        known: &BTreeMap<String, f64>,
    ) -> Result<Self, CompileError> {
        let items = items(network, given)?;
        if let Some((node, range)) = known.iter().find(|(_, range)| !(**range > 0.0 && range.is_finite())) {
            return Err(CompileError::Range { node: node.clone(), range: *range });
        }
        let seen = by_name(network, &ranges(network, &items)?);
        let factors = seen.into_iter().filter_map(|(name, seen)| {
            let factor = (known.get(&name)? / seen).max(1.0);
            Some((name, factor))
        });
        let growth: BTreeMap<_, _> = factors.collect();
        let most = growth.values().fold(1.0, |most: f64, factor| most.max(*factor));
        Ok(Self { items, growth, most, least_result: 0.0 })
    }

    /// Items of [`Network::side_by_side`]: `count` items one after the other, cyclically from each one on.
    pub(crate) fn side_by_side(&self, count: usize) -> Self {
        Self {
            items: (0..self.items.len())
                .map(|first| self.items.iter().cycle().skip(first).take(count).flatten().copied().collect())
                .collect(),
            growth: self.growth.clone(),
            most: self.most,
            least_result: self.least_result,
        }
    }

    /// Items of a network whose input is scaled, and whose results are in units of a scaler if that is so.
    pub(crate) fn scaled(self, input: Option<&Scaler>, are_results_scaled: bool) -> Self {
        let items = match input {
            Some(scaler) => self.items.iter().map(|item| scaler.scale(item)).collect(),
            None => self.items,
        };
        Self { items, least_result: if are_results_scaled { 1.0 } else { self.least_result }, ..self }
    }

    /// Largest magnitude at each node of a network on these items divided by `unit`, or more where larger values are
    /// known. The network may be a rewritten one, whose nodes keep their names.
    ///
    /// # Errors
    /// [`CompileError::Diverges`]
    pub(crate) fn ranges(&self, network: &Network, unit: f64) -> Result<NodeMap<f64>, CompileError> {
        let items: Vec<Vec<f64>> =
            self.items.iter().map(|item| item.iter().map(|x| x / unit).collect()).collect();
        let mut found = ranges(network, &items)?;
        for (id, range) in found.iter_mut() {
            *range *= self.growth.get(&network[id].name).copied().unwrap_or(self.most);
            if id == network.output() {
                *range = range.max(self.least_result);
            }
        }
        Ok(found)
    }
}

impl Network {
    /// Largest magnitude at each named node, or at all nodes of one name, over `items`, `[items, ..input shape]`: ranges for
    /// [`CompileOptions::ranges`](crate::CompileOptions::ranges).
    ///
    /// # Errors
    /// [`CompileError::CalibrationShape`], [`CompileError::CalibrationValue`], [`CompileError::Diverges`]
    pub fn ranges(&self, items: &ArrayD<f64>) -> Result<BTreeMap<String, f64>, CompileError> {
        Ok(by_name(self, &ranges(self, &items_of(self, items)?)?))
    }
}

/// The largest range of the nodes of each name; nodes without a name are left out.
fn by_name(network: &Network, ranges: &NodeMap<f64>) -> BTreeMap<String, f64> {
    let mut largest = BTreeMap::new();
    for (id, range) in ranges.iter().filter(|(id, _)| !network[*id].name.is_empty()) {
        let entry = largest.entry(network[id].name.clone()).or_insert(*range);
        *entry = entry.max(*range);
    }
    largest
}

/// Items to calibrate with, each flat: the given ones, `[items, ..shape]`, or standard normal ones.
pub(crate) fn items(network: &Network, given: Option<&ArrayD<f64>>) -> Result<Vec<Vec<f64>>, CompileError> {
    match given.filter(|given| given.shape().first() != Some(&0)) {
        Some(given) => items_of(network, given),
        None => Ok(standard_normal_items(network.input_shape().iter().product())),
    }
}

/// The items of `[items, ..shape]`, each flat.
fn items_of(network: &Network, given: &ArrayD<f64>) -> Result<Vec<Vec<f64>>, CompileError> {
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
fn ranges(network: &Network, items: &[Vec<f64>]) -> Result<NodeMap<f64>, CompileError> {
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

/// Standard normal numbers, near enough: sums of twelve uniform ones from splitmix64 (Steele, Lea, Flood, 2014).
pub(crate) struct StandardNormal {
    state: u64,
}

impl StandardNormal {
    /// The numbers of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// `values`, to each of which noise of a variance is added.
    pub(crate) fn around(&mut self, values: &[f64], variance: f64) -> Vec<f64> {
        if variance == 0.0 {
            return values.to_vec();
        }
        let deviation = variance.sqrt();
        values.iter().map(|x| x + deviation * self.draw()).collect()
    }

    fn draw(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }

    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn standard_normal_items(len: usize) -> Vec<Vec<f64>> {
    let mut normal = StandardNormal::new(0);
    (0..DRAWN_ITEMS).map(|_| (0..len).map(|_| normal.draw()).collect()).collect()
}
