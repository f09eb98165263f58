//! `pleura bench`: one list of measurements on several devices, whose results must agree to the bit.

mod clock;
mod compare;
mod manifest;
mod networks;
mod operations;
mod record;
mod report;

use crate::device::{Device, GpuMemory, Wanted, processor};
use crate::error::{CliError, advice as advice_on, on_gpu};
use crate::model::all_cores;
use crate::{files, terminal};
use anyhow::bail;
use clap::builder::{OsStringValueParser, RangedU64ValueParser, TypedValueParser};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use manifest::{OPERATIONS, Suite};
use operations::{Operands, Operations};
use pleura::gpu::Options;
use record::{DeviceRecord, OperationRecord, Outcome, Record};
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
    devices: Vec<Wanted>,

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
    wanted: Wanted,
    threads: usize,
    options: Options,
    record: DeviceRecord,
}

/// Measures, tells and writes.
pub(crate) fn bench(args: &BenchArgs) -> Result<(), CliError> {
    if let Some(BenchCommand::Compare(args)) = &args.command {
        return compare::compare(args);
    }
    if let Some(path) = &args.json {
        files::check_writable(path, args.force)?;
    }
    let threads = args.threads.unwrap_or_else(all_cores);
    let places = Place::all(&args.devices, threads, &args.memory.options()?)?;
    args.memory.tell(places.iter().any(|place| place.wanted != Wanted::Cpu));
    let devices = places.iter().map(|place| place.record.clone()).collect();
    let mut record = Record::new(args.suite.name(), args.repeat, devices);

    let mut skipped = Vec::new();
    let mut advice = BTreeSet::new();
    let (literals, batches, names) = (args.suite.literals(), args.suite.batches(), args.suite.networks());
    let bar = terminal::clock().with_prefix("bench");
    let measurements = literals.len() * batches.len() * OPERATIONS.len() + names.len();
    bar.set_length((measurements * places.len()) as u64);
    for literal in literals {
        bar.set_message(format!("keys at n = 2^{}", literal.log_n));
        match Operands::new(*literal, batches) {
            Ok(operands) => {
                record.operations.extend(operations(&operands, &places, batches, args.repeat, &bar))
            }
            Err(error) => {
                advice.extend(advice_on(&error));
                skipped.push(format!("operations at n = 2^{}: {}", literal.log_n, terminal::chain(&error)));
            }
        }
    }
    for name in names {
        match networks::measure(name, &places, threads, args.repeat, &bar) {
            Ok(network) => record.networks.push(network),
            Err(error) => {
                advice.extend(advice_on(&error));
                skipped.push(format!("{name}: {}", terminal::chain(&error)));
            }
        }
    }
    bar.finish_and_clear();

    terminal::publish(&record.to_string())?;
    if let Some(path) = &args.json {
        record.write(path, args.force)?;
    }
    let failed = record.outcomes().filter(|outcome| outcome.error.is_some()).count() + skipped.len();
    advice.extend(record.outcomes().filter_map(|outcome| outcome.advice));
    record.warnings().iter().chain(&skipped).for_each(|text| terminal::warn(text));
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
    fn all(asked: &[Wanted], threads: usize, options: &Options) -> Result<Vec<Self>, CliError> {
        let mut places: Vec<Self> = Vec::new();
        for (i, &wanted) in asked.iter().enumerate() {
            // What is said of a device is said once.
            if asked.get(..i).is_some_and(|before| before.contains(&wanted)) {
                continue;
            }
            let device = Device::find(wanted, threads, options)?;
            let (wanted, name) = match &device {
                Device::Cpu { .. } => (Wanted::Cpu, processor(Some(threads))?),
                Device::Gpu { number, info, .. } => (Wanted::Number(*number), info.name.clone()),
            };
            if places.iter().any(|place| place.wanted == wanted) {
                continue;
            }
            let record = match &device {
                Device::Cpu { .. } => DeviceRecord {
                    device: device.id(),
                    name,
                    kind: "processor".to_owned(),
                    api: None,
                    driver: None,
                    shader_int64: true,
                    memory_bytes: None,
                },
                Device::Gpu { info, .. } => DeviceRecord {
                    device: device.id(),
                    name,
                    kind: info.kind.to_string(),
                    api: Some(info.api.clone()),
                    driver: Some(info.driver.clone()),
                    shader_int64: info.shader_int64 && !options.no_int64,
                    memory_bytes: options.memory_bytes,
                },
            };
            places.push(Self { wanted, threads, options: options.clone(), record });
        }
        Ok(places)
    }

    /// An error, with what this device may use of its memory.
    fn told(&self, error: CliError) -> CliError {
        if self.wanted == Wanted::Cpu {
            return error;
        }
        on_gpu(error, self.options.memory_bytes)
    }

    /// The device with nothing in its memory.
    fn start(&self) -> Result<Device, CliError> {
        Device::find(self.wanted, self.threads, &self.options)
    }
}

/// Where `-` would be taken for standard output.
fn file(name: OsString) -> Result<PathBuf, &'static str> {
    if name == "-" { Err("it takes the name of a file; ./- is one") } else { Ok(name.into()) }
}

/// All operations at one degree.
fn operations(
    operands: &Operands,
    places: &[Place],
    batches: &[usize],
    repeat: usize,
    bar: &ProgressBar,
) -> Vec<OperationRecord> {
    let mut records: Vec<_> = batches
        .iter()
        .flat_map(|&batch| OPERATIONS.map(|(name, _)| (batch, name)))
        .map(|(batch, name)| OperationRecord {
            name: name.to_owned(),
            batch,
            parameters: operands.parameters(),
            identical: None,
            results: Vec::with_capacity(places.len()),
        })
        .collect();
    for place in places {
        let work = Operations { operands, batches, repeat, bar, place };
        let done = place.start().and_then(|device| device.run(operands.params().ring(), work));
        let outcomes = done.unwrap_or_else(|error| vec![Outcome::failed(&error); records.len()]);
        for (record, outcome) in records.iter_mut().zip(outcomes) {
            record.results.push(outcome);
        }
    }
    for record in &mut records {
        record.identical = record::compare(&mut record.results.iter_mut().collect::<Vec<_>>());
    }
    records
}
