//! Options of a compilation.

use crate::{BatchLayout, Metadata};
use ndarray::ArrayD;
use pleura_ckks::{RingKind, Security};
use std::collections::BTreeMap;

/// Options of [`Plan::compile`](crate::Plan::compile).
#[derive(Clone, Debug)]
pub struct CompileOptions {
    /// Security of the parameters.
    pub security: Security,
    /// Kinds of ring that are tried.
    pub rings: Vec<RingKind>,
    /// Typical items, `[items, ..input shape]`, to take the ranges of values from. Without them, standard normal
    /// items are drawn.
    pub calibration: Option<ArrayD<f64>>,
    /// Largest magnitudes at nodes by their names, seen on more items than `calibration` has, see
    /// [`Network::ranges`](crate::Network::ranges). Other names have no effect. Where values of `calibration` are larger, they count.
    pub ranges: BTreeMap<String, f64>,
    /// Items that are to be run at a time: the layout that is cheapest for as many is chosen. A batch of one has its items in
    /// ciphertexts of their own.
    pub batch: usize,
    /// The layout of a batch, whatever it costs; the cheapest without one.
    pub layout: Option<BatchLayout>,
    /// Threads that run times are predicted for.
    pub threads: usize,
    /// Description of inputs and results for the client.
    pub metadata: Metadata,
}

/// Receives the progress of a compilation: name of the stage, finished units, total units.
pub type Progress<'a> = &'a mut dyn FnMut(&str, usize, usize);

impl Default for CompileOptions {
    /// 128 bits of security, both kinds of ring, standard normal calibration items, single items, all threads of the processor, no metadata.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            security: Security::Bits128,
            rings: RingKind::ALL.to_vec(),
            calibration: None,
            ranges: BTreeMap::new(),
            batch: 1,
            layout: None,
            threads,
            metadata: Metadata::default(),
        }
    }
}
