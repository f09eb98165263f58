//! Options of a compilation.

use crate::{BatchLayout, Metadata};
use ndarray::ArrayD;
use pleura_ckks::{RingKind, Security};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Class of devices that a plan is made for. A plan runs on devices of either class, with the same results; it is faster on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceClass {
    /// Processors, where keys are expensive to read and kernels cost nothing to start.
    #[default]
    #[serde(rename = "cpu")]
    Processor,
    /// GPUs, where few kernels count more than few keys.
    #[serde(rename = "gpu")]
    Accelerator,
}

/// A text that is no class of devices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is cpu or gpu")]
pub struct DeviceClassError;

/// Options of [`Plan::compile`](crate::Plan::compile).
#[derive(Clone, Debug)]
pub struct CompileOptions {
    /// Security of the parameters.
    pub security: Security,
    /// Least precision of results in bits, as [`Report::predicted_bits`](crate::Report::predicted_bits) has it. Without one, precision is
    /// weighed against levels.
    pub precision: Option<f64>,
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
    /// Class of the devices that will run the plan: it decides between plans.
    pub device: DeviceClass,
    /// Threads of a processor that run times are predicted for.
    pub threads: usize,
    /// Description of inputs and results for the client.
    pub metadata: Metadata,
}

/// Receives the progress of a compilation: name of the stage, finished units, total units.
pub type Progress<'a> = &'a mut dyn FnMut(&str, usize, usize);

impl Default for CompileOptions {
    /// 128 bits of security, any precision, both kinds of ring, standard normal calibration items, single items, a processor with all
    /// its threads, no metadata.
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            security: Security::Bits128,
            precision: None,
            rings: RingKind::ALL.to_vec(),
            calibration: None,
            ranges: BTreeMap::new(),
            batch: 1,
            layout: None,
            device: DeviceClass::default(),
            threads,
            metadata: Metadata::default(),
        }
    }
}

impl FromStr for DeviceClass {
    type Err = DeviceClassError;

    fn from_str(text: &str) -> Result<Self, DeviceClassError> {
        match text {
            "cpu" => Ok(Self::Processor),
            "gpu" => Ok(Self::Accelerator),
            _ => Err(DeviceClassError),
        }
    }
}

impl fmt::Display for DeviceClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Processor => "cpu",
            Self::Accelerator => "gpu",
        })
    }
}
