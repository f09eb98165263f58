//! From a model file to a plan: what `run` and `plan` share.

use crate::cache::{self, CacheError};
use crate::text::{chain, counted, plain, short};
use crate::{files, terminal};
use anyhow::{Context, Result};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use ndarray::{ArrayD, ArrayViewD};
use pleura::PlanKey;
use pleura::ckks::Security;
use pleura::nn::{CompileOptions, DeviceClass, FitOptions, FittedActivation, Metadata, Network, Plan};
use pleura::npy;
use pleura::onnx::{ImportOptions, Imported, import};
use serde_json::json;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

/// ONNX files of more than 2 GiB keep their weights elsewhere, by the limits of their format.
pub(crate) const MAX_MODEL: u64 = 2 << 30;

/// Which network, and how to compile it.
#[derive(Args)]
pub(crate) struct ModelArgs {
    /// The network, in ONNX.
    #[arg(long, value_name = "M.onnx")]
    pub(crate) model: PathBuf,

    /// Bits of security: 128, 192 or 256.
    #[arg(long, value_name = "BITS", default_value = "128", value_parser = security)]
    security: Security,

    /// Least bits of precision of the results, as predicted [default: what costs least for what it
    /// gives].
    #[arg(long, value_name = "BITS", value_parser = precision)]
    precision: Option<f64>,

    /// Replace activations that ciphertexts cannot compute by polynomials of this degree, 1 to 64.
    #[arg(long, value_name = "DEGREE", value_parser = RangedU64ValueParser::<usize>::new().range(1..=64))]
    fit: Option<usize>,

    /// Interval that bounds the fits [default: what the calibration items reach, and a quarter more].
    #[arg(long, value_name = "LO,HI", requires = "fit", allow_hyphen_values = true, value_parser = interval)]
    interval: Option<(f64, f64)>,

    /// Sample inputs for value ranges [default: normal noise].
    #[arg(long, value_name = "X.npy")]
    calibrate: Option<PathBuf>,

    /// The shape of an item, without batch axis, where the model file leaves it open.
    #[arg(long, value_name = "C,H,W", value_delimiter = ',')]
    input_shape: Option<Vec<usize>>,

    /// Which output is wanted, where the model file has several.
    #[arg(long, value_name = "NAME")]
    output_name: Option<String>,

    /// CPU threads [default: all cores].
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    threads: Option<usize>,

    /// Neither read nor write the cache of plans.
    #[arg(long)]
    no_cache: bool,
}

/// The class of devices that a plan is made for, where no device is chosen.
#[derive(Args)]
pub(crate) struct PlannedFor {
    /// Class of the devices that will run the plan, cpu or gpu; either runs it, with the same results.
    #[arg(long = "for", value_name = "CLASS", default_value_t)]
    pub(crate) device: DeviceClass,
}

/// A network and what its plan depends on.
pub(crate) struct Model {
    /// The network of the model file.
    pub(crate) network: Network,
    /// Notes of the importer.
    notes: Vec<String>,
    fit: Option<FitOptions>,
    options: CompileOptions,
    key: PlanKey,
    cached: bool,
}

/// A model with its plan.
pub(crate) struct CompiledModel {
    /// The network of the model file.
    pub(crate) original: Network,
    /// The network that was compiled: polynomials replace activations.
    pub(crate) network: Network,
    /// Activations that polynomials replace.
    pub(crate) fitted: Vec<FittedActivation>,
    pub(crate) notes: Vec<String>,
    pub(crate) compiled: Compiled,
}

/// A plan and how it came about.
pub(crate) struct Compiled {
    pub(crate) plan: Plan,
    pub(crate) seconds: f64,
    pub(crate) from_cache: bool,
}

impl ModelArgs {
    /// How many threads the processor has for this.
    pub(crate) fn threads(&self) -> usize {
        self.threads.unwrap_or_else(all_cores)
    }

    /// An argument that was given and has no meaning for a shipped network.
    pub(crate) fn given_for_files(&self) -> Option<&'static str> {
        let flags = [
            (self.security != Security::Bits128, "--security"),
            (self.precision.is_some(), "--precision"),
            (self.fit.is_some(), "--fit"),
            (self.calibrate.is_some(), "--calibrate"),
            (self.input_shape.is_some(), "--input-shape"),
            (self.output_name.is_some(), "--output-name"),
        ];
        flags.into_iter().find_map(|(given, flag)| given.then_some(flag))
    }

    /// Whether a plan in the cache may be used.
    pub(crate) fn cached(&self) -> bool {
        !self.no_cache
    }

    /// Files that are read.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.model].into_iter().chain(&self.calibrate)
    }

    /// Polynomials in place of activations, if the user allows them.
    fn fit(&self) -> Option<FitOptions> {
        self.fit.map(|degree| FitOptions { degree, interval: self.interval })
    }

    /// Reads the files.
    pub(crate) fn import(&self) -> Result<Model> {
        let bytes = files::read(&self.model, MAX_MODEL)?;
        let options = ImportOptions {
            input_shape: self.input_shape.clone(),
            output: self.output_name.clone(),
            keep_activations: self.fit.is_some(),
            external_data: self.model.parent().map(|parent| {
                if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_path_buf() }
            }),
        };
        let imported = import(&bytes, &options);
        let Imported { network, scores, external_files, notes, ranges, .. } =
            imported.with_context(|| cannot_import(&self.model))?;
        // Exporters name the graph after themselves.
        let name = self.model.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let network = network.renamed(name.unwrap_or_default());
        let calibrate = self.calibrate.as_deref().map(|path| read_items(path, network.input_shape()));
        let calibration = calibrate.transpose()?;
        let threads = self.threads();
        // Everything that changes the plan.
        let described = json!({
            "security": self.security.bits(),
            "precision": self.precision,
            "threads": threads,
            "fit": self.fit,
            "interval": self.interval,
            "input_shape": options.input_shape,
            "output": options.output,
        })
        .to_string();
        let mut key = cache::key().and(&bytes).and(network.name().as_bytes()).and(described.as_bytes());
        for path in &external_files {
            key = key.and(&files::read(path, MAX_MODEL)?);
        }
        if let Some(items) = &calibration {
            key = key_with(key, items);
        }
        let metadata = Metadata { scores, ..Metadata::default() };
        let options = CompileOptions {
            security: self.security,
            precision: self.precision,
            calibration,
            ranges,
            threads,
            metadata,
            ..CompileOptions::default()
        };
        Ok(Model { network, notes, fit: self.fit(), options, key, cached: !self.no_cache })
    }
}

impl Model {
    /// Whether items were given to calibrate with.
    pub(crate) fn is_calibrated(&self) -> bool {
        self.options.calibration.is_some()
    }

    /// Whether the model file has ranges of values.
    pub(crate) fn has_ranges(&self) -> bool {
        !self.options.ranges.is_empty()
    }

    /// A sentence on where the ranges of values come from.
    pub(crate) fn source_of_ranges(&self) -> String {
        let items = if self.is_calibrated() { "the calibration items" } else { "normal noise" };
        let nodes = counted(self.options.ranges.len(), "node");
        if self.has_ranges() {
            format!(
                "ranges of values: those of {items}, or of the model file ({nodes}) where they are larger"
            )
        } else {
            format!("ranges of values: those of {items}; the model file has none")
        }
    }

    /// The model with `items`, `[items, ..input shape]`, as calibration, unless it has one.
    pub(crate) fn calibrated_by(mut self, items: &ArrayD<f64>) -> Self {
        if self.options.calibration.is_none() {
            self.key = key_with(self.key, items);
            self.options.calibration = Some(items.clone());
        }
        self
    }

    /// The model for batches of as many items; one is the default of a plan.
    pub(crate) fn batched(mut self, batch: usize) -> Self {
        if batch > 1 {
            self.key = self.key.and(b"batch").and(&(batch as u64).to_le_bytes());
            self.options.batch = batch;
        }
        self
    }

    /// The model for a class of devices; processors are the default of a plan.
    pub(crate) fn planned_for(mut self, device: DeviceClass) -> Self {
        self.key = self.key.and(device.to_string().as_bytes());
        self.options.device = device;
        self
    }

    /// Fits polynomials to activations, and takes the plan from the cache or makes it.
    pub(crate) fn compile(self) -> Result<CompiledModel> {
        let Self { network: original, mut notes, fit, options, key, cached } = self;
        let mut network = original.clone();
        let mut fitted = Vec::new();
        if let Some(fit) = fit {
            (network, fitted) = original
                .fit_activations(&fit, options.calibration.as_ref())
                .context("cannot fit polynomials to the activations")?;
        }
        notes.extend(fitted.iter().map(fit_note));
        let compiled = planned(&network, key, options.security, cached, || Ok(options))?;
        Ok(CompiledModel { original, network, fitted, notes, compiled })
    }
}

/// A sentence about a fit.
fn fit_note(fitted: &FittedActivation) -> String {
    let FittedActivation { name, function, degree, from, to, max_error, mean_error, .. } = fitted;
    format!(
        "replaced {function} at {name} by a polynomial of degree {degree} on {} to {}, off by at most {} and {} on average",
        short(*from),
        short(*to),
        short(*max_error),
        short(*mean_error)
    )
}

/// The key of plans that depend on calibration items.
fn key_with(key: PlanKey, items: &ArrayD<f64>) -> PlanKey {
    let bytes = |item: ArrayViewD<'_, f64>| item.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>();
    items.outer_iter().fold(key, |key, item| key.and(&bytes(item)))
}

/// Threads that the processor runs at once.
pub(crate) fn all_cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The plan of `key` from the cache; otherwise it is made, with options that only then are needed.
pub(crate) fn planned(
    network: &Network,
    key: PlanKey,
    security: Security,
    cached: bool,
    options: impl FnOnce() -> Result<CompileOptions>,
) -> Result<Compiled> {
    let clock = Instant::now();
    let cache = match cached.then(cache::plans) {
        Some(Err(error @ CacheError::Empty)) => return Err(error.into()),
        found => found.and_then(|cache| cache.map_err(|e| unwell(&e.into())).ok()),
    };
    let found = cache.as_ref().and_then(|cache| cache.load(&key));
    // A plan from a directory that others can write may be of anything, but not of less security.
    if let Some(plan) = found.filter(|plan| plan.params().literal().security == security) {
        return Ok(Compiled { plan, seconds: clock.elapsed().as_secs_f64(), from_cache: true });
    }
    let plan = compile(network, &options()?)?;
    let seconds = clock.elapsed().as_secs_f64();
    if let Some(Err(error)) = cache.map(|cache| cache.store(&key, &plan)) {
        unwell(&error.into());
    }
    Ok(Compiled { plan, seconds, from_cache: false })
}

fn compile(network: &Network, options: &CompileOptions) -> Result<Plan> {
    // Layers differ in cost, so that a rate would say little of the time that is left.
    let bar = crate::progress::clock().with_prefix("compile");
    let mut observe = |step: &str, done: usize, of: usize| {
        bar.set_length(of as u64);
        bar.set_position(done as u64);
        bar.set_message(plain(step));
    };
    let plan = Plan::compile(network, options, &mut observe);
    bar.finish_and_clear();
    plan.context("cannot compile the network")
}

/// Context of an error that came of reading a network.
pub(crate) fn cannot_import(path: &Path) -> String {
    format!("cannot import {}", path.display())
}

fn unwell(error: &anyhow::Error) {
    terminal::warn(&format!("the plan is not cached: {}", chain(error)));
}

/// Items of a shape from an npy file, `[items, ..shape]`.
pub(crate) fn read_items(path: &Path, shape: &[usize]) -> Result<ArrayD<f64>> {
    let array = npy::read(BufReader::new(files::open(path)?)).with_context(|| files::cannot_read(path))?;
    npy::items(array, shape).with_context(|| format!("cannot use the items in {}", path.display()))
}

fn precision(text: &str) -> Result<f64, String> {
    let precision = text.parse().ok().filter(|bits| (1.0..=40.0).contains(bits));
    precision.ok_or_else(|| "it is 1 to 40".to_owned())
}

fn security(text: &str) -> Result<Security, String> {
    let security = text.parse().ok().and_then(Security::from_bits);
    security.filter(|&s| s != Security::InsecureForTests).ok_or_else(|| "it is 128, 192 or 256".to_owned())
}

/// Two numbers in order, with a comma between them.
pub(crate) fn interval(text: &str) -> Result<(f64, f64), String> {
    let ends = text.split_once(',').and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)));
    ends.filter(|&(from, to): &(f64, f64)| from.is_finite() && to.is_finite() && from < to)
        .ok_or_else(|| "it is two numbers in order, as in -4,4".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_ordered() {
        assert_eq!(interval("-4,4"), Ok((-4.0, 4.0)));
        assert_eq!(interval(" 0 , 1e3"), Ok((0.0, 1000.0)));
        for text in ["", "4", "4,-4", "1,1", "0,inf", "nan,1", "a,b", "1,2,3"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }

    #[test]
    fn insecurity_is_not_to_be_had() {
        assert_eq!(security("192"), Ok(Security::Bits192));
        for text in ["0", "80", "-128", "high"] {
            assert!(security(text).is_err(), "{text}");
        }
    }
}
