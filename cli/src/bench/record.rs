//! What was measured, as it is written and read back.

use crate::error::advice;
use crate::files;
use crate::text::{chain, hex};
use anyhow::{Context, Result, anyhow, bail};
use pleura::bench::{Measured, Times};
use pleura::ckks::Params;
use pleura::nn::ParameterReport;
use pleura::{Device, GpuOptions};
use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use std::fs;
use std::path::Path;

/// Files of results are no larger.
const MAX_RECORD: u64 = 64 << 20;

/// What a file of results says that it is.
const FORMAT: &str = "pleura bench 1";

/// All of it. Whatever is measured on devices has one entry for each of them, in their order.
#[derive(Serialize, Deserialize)]
pub(crate) struct Record {
    format: String,
    /// Of the program.
    pub(crate) version: String,
    pub(crate) suite: String,
    /// Measurements of each time, after one that warms up.
    pub(crate) repeat: usize,
    pub(crate) devices: Vec<DeviceRecord>,
    pub(crate) operations: Vec<OperationRecord>,
    pub(crate) networks: Vec<NetworkRecord>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeviceRecord {
    /// `cpu`, or the number of a GPU.
    pub(crate) device: String,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) api: Option<String>,
    pub(crate) driver: Option<String>,
    /// Whether kernels computed with 64-bit integers.
    #[serde(alias = "wide")]
    pub(crate) shader_int64: bool,
    /// What `--gpu-memory` allowed.
    pub(crate) memory_bytes: Option<u64>,
}

/// Parameters of operations.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Parameters {
    pub(crate) log_n: u32,
    pub(crate) levels: usize,
    /// Primes of a ciphertext; special primes; key-switching digits.
    pub(crate) limbs: usize,
    pub(crate) special: usize,
    pub(crate) digits: usize,
    pub(crate) scale_bits: u32,
    pub(crate) log2_qp: f64,
    pub(crate) security: u32,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct OperationRecord {
    pub(crate) name: String,
    /// Ciphertexts at once.
    pub(crate) batch: usize,
    pub(crate) parameters: Parameters,
    /// Whether all devices gave the same words, each time; nothing where there are not two of them to tell.
    pub(crate) identical: Option<bool>,
    pub(crate) results: Vec<Outcome>,
}

/// What a device made of it.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// For one ciphertext, or one item of a network.
    pub(crate) seconds: Option<Times>,
    /// Of the first device's median, in units of this one's: above 1, this one is faster.
    pub(crate) ratio: Option<f64>,
    /// Runs that each time is a mean of: short ones are not waited for one by one.
    pub(crate) runs: usize,
    /// SHA-256 of the result's words. Keys are made anew each time: it tells nothing from one file to another.
    pub(crate) digest: String,
    /// Whether other runs on the same device gave other words.
    #[serde(default)]
    pub(crate) unsteady: bool,
    pub(crate) error: Option<String>,
    /// What to do about the error.
    #[serde(skip)]
    pub(crate) advice: Option<&'static str>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct NetworkRecord {
    pub(crate) name: String,
    pub(crate) parameters: ParameterReport,
    pub(crate) bytes: Bytes,
    /// On the client, whatever the server's device.
    pub(crate) client: ClientTimes,
    pub(crate) layers: Vec<LayerRecord>,
    pub(crate) identical: Option<bool>,
    pub(crate) results: Vec<NetworkOutcome>,
}

/// Bytes of an item, and of what is there for all items.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Bytes {
    pub(crate) up: usize,
    pub(crate) down: usize,
    pub(crate) keys_sent: usize,
    pub(crate) keys_on_device: usize,
    pub(crate) weights: usize,
    /// At the busiest moment, as the plan has it.
    pub(crate) planned: usize,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct ClientTimes {
    /// From the X-ray to what is encrypted.
    pub(crate) compress: Times,
    /// All evaluation keys, once.
    pub(crate) keys: Option<Times>,
    /// Encoding and encryption.
    pub(crate) encrypt: Times,
    pub(crate) decrypt: Option<Times>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) level: usize,
    pub(crate) ciphertexts: usize,
    pub(crate) diagonals: usize,
    pub(crate) rotations: usize,
}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct NetworkOutcome {
    /// Ciphertexts in, ciphertexts out.
    pub(crate) inference: Outcome,
    /// Keys and weights to the device.
    pub(crate) prepare: Option<f64>,
    /// Of each layer, when the device is waited for after it: together they take longer than the inference.
    pub(crate) layers: Vec<Option<Times>>,
    /// Of the GPU's memory, or of this process, client and all.
    pub(crate) peak_bytes: Option<u64>,
    /// Of precision, against the clear twin.
    pub(crate) bits: Option<f64>,
}

impl Record {
    /// Nothing measured yet.
    pub(crate) fn new(suite: &str, repeat: usize, devices: Vec<DeviceRecord>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            suite: suite.to_owned(),
            repeat,
            devices,
            operations: Vec::new(),
            networks: Vec::new(),
        }
    }

    /// Reads a file that [`Record::write`] wrote.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        // A pipe would be waited for.
        let found = fs::metadata(path).with_context(|| files::cannot_read(path))?;
        if !found.is_file() && !found.is_dir() {
            bail!("{} is no regular file", path.display());
        }
        let bytes = files::read(path, MAX_RECORD)?;
        let wrong =
            |why: String| anyhow!("{} was not written by `pleura bench --json`: {why}", path.display());
        let record: Self = serde_json::from_slice(&bytes).map_err(|e| wrong(unlike(&e)))?;
        if record.format != FORMAT {
            return Err(wrong(format!("it is {:?}, not {FORMAT:?}", record.format)));
        }
        let devices = record.devices.len();
        let operations = record.operations.iter().all(|o| o.results.len() == devices);
        let networks = record.networks.iter().all(|n| n.results.len() == devices);
        if !(operations && networks) {
            return Err(wrong("devices and results do not fit".into()));
        }
        let wrong = record.times().find(|seconds| !seconds.is_finite() || *seconds < 0.0);
        match wrong {
            Some(seconds) => bail!("{} is damaged: nothing takes {seconds} seconds", path.display()),
            None => Ok(record),
        }
    }

    /// Every time in it.
    fn times(&self) -> impl Iterator<Item = f64> {
        let outcomes = self.outcomes().filter_map(|outcome| outcome.seconds.as_ref());
        let clients = self.networks.iter().map(|network| &network.client);
        let clients = clients
            .flat_map(|c| [Some(&c.compress), c.keys.as_ref(), Some(&c.encrypt), c.decrypt.as_ref()])
            .flatten();
        let results = || self.networks.iter().flat_map(|network| &network.results);
        let layers = results().flat_map(|result| result.layers.iter().flatten());
        let all = outcomes.chain(clients).chain(layers);
        let all = all.flat_map(|t| [t.median, t.min, t.max].into_iter().chain(t.all.iter().copied()));
        all.chain(results().filter_map(|result| result.prepare))
    }

    /// Writes it whole or not at all.
    pub(crate) fn write(&self, path: &Path, replace: bool) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("cannot write the result as JSON")? + "\n";
        files::write(path, &[text.as_bytes()], replace, false)
    }

    /// What each device made of everything.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        let operations = self.operations.iter().flat_map(|o| &o.results);
        operations.chain(self.networks.iter().flat_map(|n| n.results.iter().map(|r| &r.inference)))
    }

    /// How many results are not the same on all devices, each time.
    pub(crate) fn differences(&self) -> usize {
        let verdicts =
            self.operations.iter().map(|o| o.identical).chain(self.networks.iter().map(|n| n.identical));
        verdicts.filter(|identical| *identical == Some(false)).count()
    }
}

impl DeviceRecord {
    /// A device that was started with these options.
    pub(crate) fn new(device: &Device, options: &GpuOptions) -> Self {
        let info = device.gpu_info();
        Self {
            device: device.selector().to_string(),
            name: info.map_or_else(|| device.name(), |info| info.name.clone()),
            kind: info.map_or_else(|| "processor".to_owned(), |info| info.kind.to_string()),
            api: info.map(|info| info.api.clone()),
            driver: info.map(|info| info.driver.clone()),
            shader_int64: info.is_none_or(|info| info.shader_int64 && !options.no_int64),
            memory_bytes: info.and(options.memory_bytes),
        }
    }
}

impl Parameters {
    /// The figures of a parameter set.
    pub(crate) fn new(params: &Params) -> Self {
        let top = params.max_level();
        let gadget = params.gadget(top);
        Self {
            log_n: params.literal().log_n,
            levels: top,
            limbs: gadget.limbs.q,
            special: gadget.limbs.p,
            digits: gadget.digits(),
            scale_bits: params.literal().scale_bits,
            log2_qp: params.log2_qp(top),
            security: params.literal().security.bits(),
        }
    }
}

impl From<Measured> for Outcome {
    fn from(measured: Measured) -> Self {
        let Measured { times, runs, digest } = measured;
        Self { seconds: Some(times), runs, digest: hex(&digest), ..Self::default() }
    }
}

impl Outcome {
    /// A device that did not make it.
    pub(crate) fn failed(error: &anyhow::Error) -> Self {
        Self { error: Some(chain(error)), advice: advice(error), ..Self::default() }
    }

    /// The median, if it was measured.
    pub(crate) fn median(&self) -> Option<f64> {
        self.seconds.as_ref().map(|times| times.median)
    }
}

/// What is wrong with JSON, in words for who does not know the types here.
fn unlike(error: &serde_json::Error) -> String {
    match error.classify() {
        Category::Eof => "it ends too early".to_owned(),
        Category::Data => format!("line {}, column {} is not as it writes it", error.line(), error.column()),
        _ => format!("it is no JSON at line {}, column {}", error.line(), error.column()),
    }
}

/// Notes how much faster than the first each outcome is; tells whether all have the same words.
pub(crate) fn compare(outcomes: &mut [&mut Outcome]) -> Option<bool> {
    let first = outcomes.first().and_then(|outcome| outcome.median());
    for outcome in outcomes.iter_mut() {
        outcome.ratio = first.zip(outcome.median()).map(|(first, this)| first / this);
    }
    // Whoever gives other words another time is no more to be trusted than who does so at once.
    if outcomes.iter().any(|outcome| outcome.unsteady) {
        return Some(false);
    }
    let mut digests =
        outcomes.iter().filter(|outcome| outcome.error.is_none()).map(|outcome| &outcome.digest);
    let first = digests.next()?;
    let rest: Vec<_> = digests.collect();
    (!rest.is_empty()).then(|| rest.iter().all(|digest| *digest == first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(seconds: f64, digest: &str) -> Outcome {
        Outcome {
            seconds: Some(Times::new(seconds, [seconds; 2])),
            digest: digest.into(),
            ..Outcome::default()
        }
    }

    #[test]
    fn devices_are_held_against_the_first() {
        let (mut a, mut b, mut c) =
            (outcome(2.0, "x"), outcome(0.5, "x"), Outcome::failed(&anyhow!("it failed")));
        assert_eq!(compare(&mut [&mut a, &mut b, &mut c]), Some(true));
        assert_eq!((a.ratio, b.ratio, c.ratio), (Some(1.0), Some(4.0), None));
        assert_eq!(compare(&mut [&mut a, &mut c]), None);
        assert_eq!(compare(&mut [&mut a, &mut b, &mut outcome(1.0, "y")]), Some(false));
        assert_eq!(compare(&mut [&mut a]), None);
        a.unsteady = true;
        assert_eq!(compare(&mut [&mut a]), Some(false));
    }
}
