//! Scalers: the client brings the features of an input, and the results, to one offset and unit.
//!
//! A ciphertext holds all of its values to the same error. A feature with a large offset (a year) or a small unit beside a large one (metres beside
//! picometres) would lose as many bits as it is smaller than the largest value. A client knows its values, so it subtracts offsets and divides by
//! units in double precision before it encrypts, and the first layer computes on the quotients; results in reverse. Units are powers of two and offsets
//! are multiples of them: quotients are exact, and a specification tells no more of the calibration items than where they lie roughly.

#![expect(clippy::indexing_slicing, reason = "nodes are looked up in tables of their own network")]

use crate::{CompileError, Linear, Network, Node, NodeId, NodeMap, Op};
use serde::{Deserialize, Serialize};

/// Elements of a tensor as ciphertexts hold them, `(x - offset) / unit`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scaler {
    /// Multiples of the units.
    pub(crate) offsets: Vec<f64>,
    /// Powers of two.
    pub(crate) units: Vec<f64>,
}

/// Scalers of inputs and results.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scalers {
    pub(crate) input: Option<Scaler>,
    pub(crate) output: Option<Scaler>,
}

impl Scaler {
    /// The elements as ciphertexts hold them.
    pub(crate) fn scale(&self, values: &[f64]) -> Vec<f64> {
        let factors = self.offsets.iter().zip(&self.units);
        values.iter().zip(factors).map(|(x, (offset, unit))| (x - offset) / unit).collect()
    }

    /// The elements of what ciphertexts hold.
    pub(crate) fn unscale(&self, values: &[f64]) -> Vec<f64> {
        let factors = self.offsets.iter().zip(&self.units);
        values.iter().zip(factors).map(|(z, (offset, unit))| z * unit + offset).collect()
    }

    /// Largest unit.
    pub(crate) fn largest_unit(&self) -> f64 {
        self.units.iter().fold(0.0, |largest, unit| unit.max(largest))
    }

    fn unscaling(&self) -> Linear {
        Linear::scale(self.units.clone()).plus(&self.offsets)
    }

    fn scaling(&self) -> Linear {
        let inverses = self.units.iter().map(|unit| unit.recip()).collect();
        let shifts: Vec<f64> =
            self.offsets.iter().zip(&self.units).map(|(offset, unit)| -offset / unit).collect();
        Linear::scale(inverses).plus(&shifts)
    }
}

impl Scalers {
    /// Sentences on what the client does.
    pub(crate) fn notes(&self) -> Vec<String> {
        let scalers = [("inputs", &self.input), ("results", &self.output)];
        let notes = scalers.into_iter().filter_map(|(what, scaler)| {
            let Scaler { offsets, units } = scaler.as_ref()?;
            let shifted = offsets.iter().filter(|offset| **offset != 0.0).count();
            let mut units = units.clone();
            units.sort_by(f64::total_cmp);
            units.dedup();
            Some(format!(
                "{what} are scaled at the client: {shifted} of {} have an offset, and there are {} units",
                offsets.len(),
                units.len()
            ))
        });
        notes.collect()
    }

    /// Whether there is no scaler.
    pub(crate) fn is_empty(&self) -> bool {
        self.input.is_none() && self.output.is_none()
    }

    /// The network between scaled tensors: maps behind its input and its output, which become part of the layers there.
    ///
    /// # Errors
    /// [`CompileError::Internal`] if that breaks the network, which is a bug.
    pub(crate) fn apply(&self, network: &Network) -> Result<Network, CompileError> {
        if self.is_empty() {
            return Ok(network.clone());
        }
        let mut nodes = NodeMap::default();
        let mut new_ids: NodeMap<NodeId> = NodeMap::default();
        for (id, node) in network.iter() {
            let op = node.op.clone().map_reads(|read| new_ids[read]);
            let mut new_id = nodes.push(Node { op, ..node.clone() });
            if let Some(scaler) = self.input.as_ref().filter(|_| id == NodeId::INPUT) {
                new_id =
                    nodes.push(Node::new("", node.shape.clone(), Op::Linear(new_id, scaler.unscaling())));
            }
            new_ids.push(new_id);
        }
        let output = &network[network.output()];
        if let Some(scaler) = &self.output {
            let last = new_ids[network.output()];
            nodes.push(Node::new("", output.shape.clone(), Op::Linear(last, scaler.scaling())));
        }
        Network::new(network.name(), nodes).map_err(|_| CompileError::Internal("scaling breaks the network"))
    }
}
