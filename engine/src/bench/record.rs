//! Results of a benchmark run as they are written and read back.

use crate::bench::facts::{Kernel, Machine, Manifest, Parameters, Roofline, SampleScores};
use crate::bench::operations::Measured;
use crate::bench::times::{NOISE_BOUND, Times};
use crate::bench::work::Work;
use crate::{Device, GpuOptions};
use pleura_nn::{LayerReport, ParameterReport};
use serde::{Deserialize, Serialize};

/// Name and version of the format.
pub const SCHEMA: &str = "pleura.bench/1";

/// Results of a run. Lists of results have one entry for each device, in their order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    schema: String,
    /// Version of the program.
    pub version: String,
    /// Commit that the program was built from.
    #[serde(default)]
    pub commit: Option<String>,
    /// Whether its sources had changes since that commit.
    #[serde(default)]
    pub modified: Option<bool>,
    /// The machine.
    #[serde(default)]
    pub machine: Option<Machine>,
    /// Name of the list of measurements.
    pub suite: String,
    /// The list of measurements.
    #[serde(default)]
    pub manifest: Option<Manifest>,
    /// SHA-256 of the list as compact JSON.
    #[serde(default)]
    pub manifest_sha256: Option<String>,
    /// Bound of [`Times::spread`] that was in use.
    #[serde(default)]
    pub noise_bound: Option<f64>,
    /// Measurements of each time, after one that warms up.
    pub repeat: usize,
    /// The devices.
    pub devices: Vec<DeviceRecord>,
    /// Results of operations.
    pub operations: Vec<OperationRecord>,
    /// Results of networks.
    pub networks: Vec<NetworkRecord>,
}

/// A device in a record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// `cpu`, or the number of a GPU.
    pub device_id: String,
    /// Name of the device.
    pub name: String,
    /// `processor`, or the kind of the GPU.
    pub kind: String,
    /// Interface that the GPU is reached through.
    pub api: Option<String>,
    /// Driver of the GPU and its version.
    pub driver: Option<String>,
    /// Whether kernels computed with 64-bit integers.
    pub shader_int64: bool,
    /// Bytes of the GPU's memory that were allowed, if not all.
    pub memory_bytes: Option<u64>,
    /// Limits of the device, measured before everything else.
    #[serde(default)]
    pub roofline: Option<Roofline>,
    /// The limits again, after everything else: a lower rate shows throttling or other work on the device.
    #[serde(default)]
    pub roofline_after: Option<Roofline>,
}

/// An operation on all devices.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OperationRecord {
    /// Name of the operation.
    pub name: String,
    /// Ciphertexts at once.
    pub batch: usize,
    /// The parameters.
    pub parameters: Parameters,
    /// Least work for one ciphertext of the batch.
    #[serde(default)]
    pub work: Option<Work>,
    /// Whether all devices gave the same words, each time; none if there are not two results.
    pub identical: Option<bool>,
    /// Results of the devices.
    pub results: Vec<Measurement>,
}

/// Times and results on one device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Seconds for one ciphertext, or one item of a network.
    pub seconds: Option<Times>,
    /// The first device's median in units of this one's: above 1, this device is faster.
    pub ratio: Option<f64>,
    /// Ciphertexts or items in a second, by the median.
    #[serde(default)]
    pub items_per_second: Option<f64>,
    /// Runs that each time is the mean of.
    pub runs: usize,
    /// SHA-256 of the words of the result. Keys are new each time, so digests of different files are not
    /// comparable.
    pub digest: String,
    /// Whether other runs on the same device gave other words.
    #[serde(default)]
    pub nondeterministic: bool,
    /// Why there is no result.
    pub error: Option<String>,
}

/// A network on all devices.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NetworkRecord {
    /// Name of the network.
    pub name: String,
    /// Items that share ciphertexts.
    #[serde(default = "one")]
    pub batch: usize,
    /// The parameters.
    pub parameters: ParameterReport,
    /// Sizes.
    pub bytes: Bytes,
    /// Times of the client, whatever the server's device.
    pub client: ClientTimes,
    /// The steps.
    pub layers: Vec<LayerRecord>,
    /// Whether all devices gave the same words, each time; none if there are not two results.
    pub identical: Option<bool>,
    /// Results of the devices.
    pub results: Vec<NetworkMeasurement>,
    /// Names of the classes.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Scores of sample X-rays on the first device that gave some.
    #[serde(default)]
    pub samples: Vec<SampleScores>,
}

/// Bytes of an item, and of keys and weights.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Bytes {
    /// Ciphertexts to the server.
    pub up: usize,
    /// Ciphertexts to the client.
    pub down: usize,
    /// Evaluation keys on the wire.
    pub keys_sent: usize,
    /// Evaluation keys on the device.
    pub keys_on_device: usize,
    /// Encoded weights.
    pub weights: usize,
    /// Predicted peak of client and server together.
    pub predicted_peak_bytes: usize,
}

/// Times of a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ClientTimes {
    /// From the X-ray to the values that are encrypted.
    pub compress: Times,
    /// Making all evaluation keys, once.
    pub keys: Option<Times>,
    /// Encoding and encryption.
    pub encrypt: Times,
    /// Decryption; none without a result.
    pub decrypt: Option<Times>,
}

/// A step of a network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Names of the network's nodes.
    pub name: String,
    /// Kind of the step.
    pub kind: String,
    /// Level that the step starts at.
    pub level: usize,
    /// Ciphertexts of the result.
    pub ciphertexts: usize,
    /// Diagonals of a linear step.
    pub diagonals: usize,
    /// Rotations.
    pub rotations: usize,
}

/// A network on one device.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NetworkMeasurement {
    /// From ciphertexts to ciphertexts.
    pub inference: Measurement,
    /// Seconds to start the device.
    #[serde(default)]
    pub open: Option<f64>,
    /// Seconds to bring keys and weights to the device, and to make its kernels ready.
    pub prepare: Option<f64>,
    /// Seconds of the first inference.
    #[serde(default)]
    pub first: Option<f64>,
    /// Seconds of each step when the device is waited for after it: the sum is more than an inference.
    pub layers: Vec<Option<Times>>,
    /// Peak of the GPU's memory, or of the process.
    pub peak_bytes: Option<u64>,
    /// Bits of precision, compared with the plaintext network.
    pub bits: Option<f64>,
    /// Joules of an inference of one item, where the platform measures them.
    #[serde(default)]
    pub joules: Option<f64>,
    /// Times of kernels in all inferences, where they were taken.
    #[serde(default)]
    pub kernels: Vec<Kernel>,
}

fn one() -> usize {
    1
}

/// Why a record that was read is not one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Another format.
    #[error("it is \"{}\", not \"{SCHEMA}\"", found.escape_debug())]
    Format {
        /// The format that the record names.
        found: String,
    },
    /// A list of results has another length than the list of devices.
    #[error("devices and results do not fit")]
    Results,
    /// The digest is of another list of measurements.
    #[error("the list of measurements was changed")]
    Manifest,
    /// A time that is negative or not finite.
    #[error("nothing takes {seconds} seconds")]
    Seconds {
        /// The time.
        seconds: f64,
    },
}

impl Record {
    /// A record without results.
    pub fn new(manifest: Manifest, repeat: usize, devices: Vec<DeviceRecord>) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: None,
            modified: None,
            machine: None,
            suite: manifest.name.clone(),
            manifest_sha256: manifest.digest(),
            manifest: Some(manifest),
            noise_bound: Some(NOISE_BOUND),
            repeat,
            devices,
            operations: Vec::new(),
            networks: Vec::new(),
        }
    }

    /// Checks a record that was read.
    ///
    /// # Errors
    /// [`RecordError`]
    pub fn check(&self) -> Result<(), RecordError> {
        if self.schema != SCHEMA {
            return Err(RecordError::Format { found: self.schema.clone() });
        }
        let devices = self.devices.len();
        let operations = self.operations.iter().all(|operation| operation.results.len() == devices);
        let networks = self.networks.iter().all(|network| network.results.len() == devices);
        if !(operations && networks) {
            return Err(RecordError::Results);
        }
        if self.manifest.as_ref().is_some_and(|manifest| manifest.digest() != self.manifest_sha256) {
            return Err(RecordError::Manifest);
        }
        match self.times().find(|seconds| !seconds.is_finite() || *seconds < 0.0) {
            Some(seconds) => Err(RecordError::Seconds { seconds }),
            None => Ok(()),
        }
    }

    /// Every time in the record.
    fn times(&self) -> impl Iterator<Item = f64> {
        let measured = self.measurements().filter_map(|measurement| measurement.seconds.as_ref());
        let clients = self.networks.iter().map(|network| &network.client);
        let clients = clients
            .flat_map(|c| [Some(&c.compress), c.keys.as_ref(), Some(&c.encrypt), c.decrypt.as_ref()])
            .flatten();
        let results = || self.networks.iter().flat_map(|network| &network.results);
        let layers = results().flat_map(|result| result.layers.iter().flatten());
        let all = measured.chain(clients).chain(layers);
        let all = all.flat_map(|t| [t.median, t.min, t.max].into_iter().chain(t.all.iter().copied()));
        let cold = results().flat_map(|result| [result.open, result.prepare, result.first]);
        all.chain(cold.flatten())
    }

    /// All results of all devices.
    pub fn measurements(&self) -> impl Iterator<Item = &Measurement> {
        let operations = self.operations.iter().flat_map(|operation| &operation.results);
        let networks = self.networks.iter().flat_map(|network| &network.results);
        operations.chain(networks.map(|result| &result.inference))
    }

    /// Number of operations and networks whose results are not the same on all devices, each time.
    pub fn differences(&self) -> usize {
        let operations = self.operations.iter().map(|operation| operation.identical);
        let verdicts = operations.chain(self.networks.iter().map(|network| network.identical));
        verdicts.filter(|identical| *identical == Some(false)).count()
    }
}

impl DeviceRecord {
    /// A device that was started with these options.
    pub fn new(device: &Device, options: &GpuOptions) -> Self {
        let info = device.gpu_info();
        Self {
            device_id: device.selector().to_string(),
            name: info.map_or_else(|| device.name(), |info| info.name.clone()),
            kind: info.map_or_else(|| "processor".to_owned(), |info| info.kind.to_string()),
            api: info.map(|info| info.api.clone()),
            driver: info.map(|info| info.driver.clone()),
            shader_int64: info.is_none_or(|info| info.shader_int64 && !options.no_int64),
            memory_bytes: info.and(options.memory_bytes),
            roofline: None,
            roofline_after: None,
        }
    }
}

impl From<&LayerReport> for LayerRecord {
    fn from(layer: &LayerReport) -> Self {
        Self {
            name: layer.name.clone(),
            kind: layer.kind.clone(),
            level: layer.level,
            ciphertexts: layer.ciphertexts,
            diagonals: layer.diagonals,
            rotations: layer.rotations,
        }
    }
}

impl From<Measured> for Measurement {
    fn from(measured: Measured) -> Self {
        let Measured { times, runs, digest } = measured;
        let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let items_per_second = (times.median > 0.0).then(|| times.median.recip());
        Self { seconds: Some(times), items_per_second, runs, digest, ..Self::default() }
    }
}

impl Measurement {
    /// A measurement that failed.
    pub fn failed(error: String) -> Self {
        Self { error: Some(error), ..Self::default() }
    }

    /// The median, if there is a result.
    pub fn median(&self) -> Option<f64> {
        self.seconds.as_ref().map(|times| times.median)
    }

    /// Notes how much faster than the first each device is, and returns whether all gave the same words; none if
    /// there are not two results.
    pub fn compare(all: &mut [&mut Self]) -> Option<bool> {
        let first = all.first().and_then(|measurement| measurement.median());
        for measurement in all.iter_mut() {
            measurement.ratio = first.zip(measurement.median()).map(|(first, this)| first / this);
        }
        // A device that gives other words another time is no more to be trusted than one that does so at once.
        if all.iter().any(|measurement| measurement.nondeterministic) {
            return Some(false);
        }
        let valid = all.iter().filter(|measurement| measurement.error.is_none());
        let mut digests = valid.map(|measurement| &measurement.digest);
        let first = digests.next()?;
        let rest: Vec<_> = digests.collect();
        (!rest.is_empty()).then(|| rest.iter().all(|digest| *digest == first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement(seconds: f64, digest: &str) -> Measurement {
        let seconds = Some(Times::new(seconds, [seconds; 2]));
        Measurement { seconds, digest: digest.into(), ..Measurement::default() }
    }

    #[test]
    fn devices_are_compared_with_the_first() {
        let compare = Measurement::compare;
        let mut a = measurement(2.0, "x");
        let mut b = measurement(0.5, "x");
        let mut c = Measurement::failed("it failed".into());
        assert_eq!(compare(&mut [&mut a, &mut b, &mut c]), Some(true));
        assert_eq!((a.ratio, b.ratio, c.ratio), (Some(1.0), Some(4.0), None));
        assert_eq!(compare(&mut [&mut a, &mut c]), None);
        assert_eq!(compare(&mut [&mut a, &mut b, &mut measurement(1.0, "y")]), Some(false));
        assert_eq!(compare(&mut [&mut a]), None);
        a.nondeterministic = true;
        assert_eq!(compare(&mut [&mut a]), Some(false));
    }
}
