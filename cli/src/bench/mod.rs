//! `pleura bench`: one list of measurements on several devices, whose results must agree to the bit.

mod compare;
mod manifest;
mod record;
mod report;

use crate::device::{self, GpuMemory};
use crate::error::{advice as advice_on, on_gpu};
use crate::model::all_cores;
use crate::text::{chain, plain};
use crate::{classifier, files, memory, terminal};
use anyhow::{Context, Result, bail};
use clap::builder::{OsStringValueParser, RangedU64ValueParser, TypedValueParser};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use manifest::Suite;
use pleura::bench::{
    DeviceRecord, Measurement, NetworkBench, NetworkMeasurement, NetworkRecord, OPERATIONS, Operands,
    OperationRecord, Operations, Parameters, Record,
};
use pleura::ckks::{Params, ParamsLiteral};
use pleura::xray::shipped::SAMPLES;
use pleura::{Device, DeviceSelector, GpuOptions, host_memory};
use report::Report;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

/// Arguments of `pleura bench`.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  pleura bench
  pleura bench --devices cpu,gpu --suite full --json today.json
  pleura bench --devices 0,1 --repeat 15
  pleura bench compare before.json today.json

All devices get the same keys and ciphertexts, and every word of their results is compared: a difference makes the exit code 1, as
does a measurement that fails. Times end when the device is done, not when it was told."
)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    command: Option<BenchCommand>,

    /// Where to compute: any of auto, cpu, gpu and the numbers that `pleura devices` tells, with commas between them.
    #[arg(
        long,
        value_name = "DEVICES",
        value_delimiter = ',',
        default_value = "cpu,auto",
        allow_hyphen_values = true
    )]
    devices: Vec<DeviceSelector>,

    /// What to measure.
    #[arg(long, value_enum, value_name = "SUITE", default_value = "quick")]
    suite: Suite,

    /// Measurements of each time; what is told is their median, their least and their most.
    #[arg(long, value_name = "R", default_value = "5", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1000))]
    repeat: usize,

    /// Where all figures go.
    #[arg(long, value_name = "FILE.json", value_parser = OsStringValueParser::new().try_map(file))]
    json: Option<PathBuf>,

    /// Replace the file of --json if it exists.
    #[arg(long, requires = "json")]
    force: bool,

    /// Threads of the processor; all cores unless said.
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    threads: Option<usize>,

    #[command(flatten)]
    memory: GpuMemory,
}

#[derive(Subcommand)]
enum BenchCommand {
    /// Hold two files of results against each other.
    Compare(compare::CompareArgs),
}

/// A device, and how to start it.
struct Place {
    selector: DeviceSelector,
    threads: usize,
    options: GpuOptions,
    record: DeviceRecord,
}

/// Measures, tells and writes.
pub(crate) fn bench(args: &BenchArgs) -> Result<()> {
    if let Some(BenchCommand::Compare(args)) = &args.command {
        return compare::compare(args);
    }
    if let Some(path) = &args.json {
        files::check_writable(path, args.force)?;
    }
    let threads = args.threads.unwrap_or_else(all_cores);
    let places = Place::all(&args.devices, threads, &args.memory.options()?)?;
    args.memory.tell(places.iter().any(|place| place.selector != DeviceSelector::Cpu));
    let devices = places.iter().map(|place| place.record.clone()).collect();
    let mut record = Record::new(args.suite.name(), args.repeat, devices);

    let mut skipped = Vec::new();
    let mut advice = BTreeSet::new();
    let (literals, batches, names) = (args.suite.literals(), args.suite.batches(), args.suite.networks());
    let most = batches.iter().copied().max().unwrap_or(1);
    let bar = terminal::clock().with_prefix("bench");
    let measurements = literals.len() * batches.len() * OPERATIONS.len() + names.len();
    bar.set_length((measurements * places.len()) as u64);
    for literal in literals {
        bar.set_message(format!("keys at n = 2^{}", literal.log_n));
        match operands(*literal, most) {
            Ok(operands) => {
                let measured = operations(&operands, &places, batches, args.repeat, &bar, &mut advice);
                record.operations.extend(measured);
            }
            Err(error) => {
                advice.extend(advice_on(&error));
                skipped.push(format!("operations at n = 2^{}: {}", literal.log_n, chain(&error)));
            }
        }
    }
    for name in names {
        match network(name, &places, threads, args.repeat, &bar, &mut advice) {
            Ok(network) => record.networks.push(network),
            Err(error) => {
                advice.extend(advice_on(&error));
                skipped.push(format!("{name}: {}", chain(&error)));
            }
        }
    }
    bar.finish_and_clear();

    terminal::publish(&Report(&record).to_string())?;
    if let Some(path) = &args.json {
        record::write(&record, path, args.force)?;
    }
    let failed =
        record.measurements().filter(|measurement| measurement.error.is_some()).count() + skipped.len();
    Report(&record).warnings().iter().chain(&skipped).for_each(|text| terminal::warn(text));
    // The option has another name here.
    advice.iter().for_each(|text| terminal::note(&text.replace("--device cpu", "--devices cpu")));
    match (record.differences(), failed) {
        (0, 0) => Ok(()),
        (0, count) => bail!("{count} measurements failed; what is wrong with them is said above"),
        (count, _) => bail!(
            "{count} results differ between devices or from one time to the next, as said above: do not compute on a device \
             that differs from the processor, or from itself"
        ),
    }
}

impl Place {
    /// Each device once, however often it is asked for.
    fn all(asked: &[DeviceSelector], threads: usize, options: &GpuOptions) -> Result<Vec<Self>> {
        let mut places: Vec<Self> = Vec::new();
        for (i, &selector) in asked.iter().enumerate() {
            // Remarks about a device are made once.
            if asked.get(..i).is_some_and(|before| before.contains(&selector)) {
                continue;
            }
            let device = device::open(selector, threads, options)?;
            let selector = device.selector();
            if places.iter().any(|place| place.selector == selector) {
                continue;
            }
            let record = DeviceRecord::new(&device, options);
            places.push(Self { selector, threads, options: options.clone(), record });
        }
        Ok(places)
    }

    /// A measurement that failed on this device, and advice about it.
    fn failed(&self, error: anyhow::Error, advice: &mut BTreeSet<&'static str>) -> Measurement {
        let cpu = self.selector == DeviceSelector::Cpu;
        let error = if cpu { error } else { on_gpu(error, self.options.memory_bytes) };
        advice.extend(advice_on(&error));
        Measurement::failed(chain(&error))
    }

    /// The device with nothing in its memory.
    fn open(&self) -> Result<Device> {
        Ok(Device::select(self.selector, Some(self.threads), &self.options)?)
    }
}

/// Where `-` would be taken for standard output.
fn file(name: OsString) -> Result<PathBuf, &'static str> {
    if name == "-" { Err("it takes the name of a file; ./- is one") } else { Ok(name.into()) }
}

/// Keys and ciphertexts of a parameter set, if there is memory for them.
fn operands(literal: ParamsLiteral, most: usize) -> Result<Operands> {
    let params = Params::new(literal)?;
    memory::check(Operands::needed_bytes(&params, most), None)?;
    Ok(Operands::new(params, most)?)
}

/// All operations at one degree.
fn operations(
    operands: &Operands,
    places: &[Place],
    batches: &[usize],
    repeat: usize,
    bar: &ProgressBar,
    advice: &mut BTreeSet<&'static str>,
) -> Vec<OperationRecord> {
    let measured = batches.iter().flat_map(|&batch| OPERATIONS.map(|(name, _)| (batch, name)));
    let mut records: Vec<_> = measured
        .map(|(batch, name)| OperationRecord {
            name: name.to_owned(),
            batch,
            parameters: Parameters::new(operands.params()),
            identical: None,
            results: Vec::with_capacity(places.len()),
        })
        .collect();
    for place in places {
        let log_n = operands.params().literal().log_n;
        let opened = place.open().and_then(|device| Ok(Operations::new(operands, &device)?));
        let opened = opened.map_err(|error| place.failed(error, advice));
        for record in &mut records {
            let name = plain(&place.record.name);
            bar.set_message(format!("{} at n = 2^{log_n}, {} at once, on {name}", record.name, record.batch));
            let measured = match &opened {
                Ok(operations) => operations
                    .measure(&record.name, record.batch, repeat)
                    .map_or_else(|error| place.failed(error.into(), advice), Measurement::from),
                Err(failed) => failed.clone(),
            };
            record.results.push(measured);
            bar.inc(1);
        }
    }
    for record in &mut records {
        record.identical = Measurement::compare(&mut record.results.iter_mut().collect::<Vec<_>>());
    }
    records
}

/// A shipped network on all devices.
fn network(
    name: &str,
    places: &[Place],
    threads: usize,
    repeat: usize,
    bar: &ProgressBar,
    advice: &mut BTreeSet<&'static str>,
) -> Result<NetworkRecord> {
    bar.set_message(format!("compiling {name}"));
    let classifier = classifier::load(name)?;
    let plan = classifier::plan(&classifier, threads, true, 1)?;
    memory::check(plan.report().memory_bytes as u64, None)?;
    bar.set_message(format!("{name} on the client"));
    let xray = SAMPLES.first().context("no sample X-ray is shipped")?.xray()?;
    let mut bench = NetworkBench::new(&classifier, &plan, &xray, repeat)?;
    let mut results = Vec::with_capacity(places.len());
    for place in places {
        bar.set_message(format!("{name} on {}", plain(&place.record.name)));
        host_memory::reset_peak();
        // Opened anew, a device has nothing of another network in its memory.
        let measured = place.open().and_then(|device| Ok(bench.measure(&device)?));
        results.push(match measured {
            Ok(measured) => NetworkMeasurement {
                peak_bytes: measured.peak_bytes.or_else(host_memory::peak_bytes),
                ..measured
            },
            Err(error) => {
                NetworkMeasurement { inference: place.failed(error, advice), ..NetworkMeasurement::default() }
            }
        });
        bar.inc(1);
    }
    Ok(bench.record(results)?)
}
