//! `pleura bench`: one list of measurements on several devices, whose results must agree to the bit.

mod compare;
mod flat;
mod manifest;
mod page;
mod record;
mod report;

use crate::classifier::Target;
use crate::device::{self, GpuMemory};
use crate::error::{advice as advice_on, on_gpu};
use crate::model::all_cores;
use crate::report::ReportArgs;
use crate::text::{chain, plain};
use crate::{classifier, energy, files, machine, memory, progress, terminal};
use anyhow::{Context, Result, bail};
use clap::builder::RangedU64ValueParser;
use clap::{ArgGroup, Args, Subcommand};
use indicatif::ProgressBar;
use manifest::{Choice, Manifest};
use pleura::bench::{
    DeviceRecord, Kernel, Measurement, Meter, NetworkBench, NetworkMeasurement, NetworkRecord, Operands,
    OperationRecord, Operations, Parameters, Record, Roofline, Work, roofline,
};
use pleura::ckks::{Params, ParamsLiteral};
use pleura::gpu::Kind;
use pleura::nn::DeviceClass;
use pleura::{Device, DeviceSelector, GpuOptions, host_memory};
use report::Report;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Arguments of `pleura bench`.
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    group(ArgGroup::new("written").args(["output", "html"]).multiple(true)),
    after_help = "\
Examples:
  pleura bench
  pleura bench --device cpu --device gpu --suite full --json --output today.json
  pleura bench --device 0 --device 1 --repeat 15
  pleura bench --html today.html --format md --output today.md
  pleura bench compare before.json today.json

All devices get the same keys and ciphertexts, and every word of their results is compared. The exit
code is 1 if results differ or a measurement fails. Times include waiting for the device. An
interrupted run reports the rows that were measured."
)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    command: Option<BenchCommand>,

    /// Device, repeatable: auto, cpu, gpu or a number from `pleura devices` [default: cpu and auto].
    #[arg(long, value_name = "DEVICE", allow_hyphen_values = true)]
    device: Vec<DeviceSelector>,

    #[command(flatten)]
    choice: Choice,

    /// Repetitions of each measurement; the report has median, minimum and maximum.
    #[arg(long, value_name = "R", default_value = "5", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1000))]
    repeat: usize,

    #[command(flatten)]
    report: ReportArgs,

    /// HTML file for a page with charts, beside the report.
    #[arg(long, value_name = "F.html")]
    html: Option<PathBuf>,

    /// Print the time of each kernel of a GPU; it makes everything slower.
    #[arg(long)]
    profile: bool,

    /// Replace the files of --output and --html if they exist.
    #[arg(long, requires = "written")]
    force: bool,

    /// CPU threads [default: all cores].
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    threads: Option<usize>,

    #[command(flatten)]
    memory: GpuMemory,
}

#[derive(Subcommand)]
enum BenchCommand {
    /// Compare two files of results.
    Compare(compare::CompareArgs),
}

/// A device with its options.
struct BenchDevice {
    selector: DeviceSelector,
    threads: usize,
    options: GpuOptions,
    record: DeviceRecord,
}

/// Measures all devices, and reports.
pub(crate) fn bench(args: &BenchArgs) -> Result<()> {
    if let Some(BenchCommand::Compare(args)) = &args.command {
        return compare::compare(args);
    }
    args.check_outputs()?;
    let threads = args.threads.unwrap_or_else(all_cores);
    let options = args.memory.options()?;
    let options = GpuOptions { profile: options.profile || args.profile, ..options };
    let devices = BenchDevice::all(&args.devices(), threads, &options)?;
    let software = devices.iter().any(BenchDevice::is_software);
    let manifest = args.choice.manifest(software)?;
    if args.choice.is_reduced(software) {
        terminal::note(
            "a GPU in software is slow: this is the smallest list; --only and --sizes choose more",
        );
    }
    args.memory.tell(devices.iter().any(|device| device.selector != DeviceSelector::Cpu));
    let records = devices.iter().map(|device| device.record.clone()).collect();
    let mut record = Record::new(manifest.record()?, args.repeat, records);
    record.commit = machine::commit();
    record.modified = machine::modified();
    record.machine = Some(machine::machine());
    let mut run = BenchRun {
        args,
        record,
        manifest,
        skipped: Vec::new(),
        advice: BTreeSet::new(),
        bar: progress::clock().with_prefix("bench"),
    };
    run.measure(&devices, threads)?;
    run.bar.finish_and_clear();
    files::forget_partial();
    if let Some(path) = &args.html {
        files::write(path, &[page::record_page(&run.record)?.as_bytes()], args.force, false)?;
    }
    args.report.publish(&Report(&run.record), args.force)?;
    run.conclude()
}

/// A benchmark in progress.
struct BenchRun<'a> {
    args: &'a BenchArgs,
    manifest: Manifest,
    record: Record,
    /// Measurements that no device could make, with causes.
    skipped: Vec<String>,
    advice: BTreeSet<&'static str>,
    bar: ProgressBar,
}

impl BenchRun<'_> {
    fn measure(&mut self, devices: &[BenchDevice], threads: usize) -> Result<()> {
        let repeat = self.args.repeat;
        let Manifest { literals, batches, networks, operations: names, .. } = &self.manifest;
        let literals = literals.clone();
        let networks = networks.clone();
        let most = batches.iter().copied().max().context("no batch is measured")?;
        let sets = literals.len() * batches.len() * names.len();
        self.bar.set_length(((sets + networks.len()) * devices.len()) as u64);
        for (place, record) in devices.iter().zip(&mut self.record.devices) {
            record.roofline = place.roofline(&self.bar);
        }
        for literal in literals {
            self.bar.set_message(format!("keys at n = 2^{}", literal.log_n));
            match operands(literal, most) {
                Ok(operands) => {
                    let measured =
                        operations(&operands, devices, &self.manifest, repeat, &self.bar, &mut self.advice);
                    self.record.operations.extend(measured);
                }
                Err(error) => self.skip(&format!("operations at n = 2^{}", literal.log_n), &error),
            }
            self.keep()?;
        }
        for (name, batch) in &networks {
            let run = NetworkRun { name, batch: *batch, samples: self.manifest.samples, threads, repeat };
            match run.measure(devices, &self.bar, &mut self.advice) {
                Ok(network) => self.record.networks.push(network),
                Err(error) => self.skip(name, &error),
            }
            self.keep()?;
        }
        for (place, record) in devices.iter().zip(&mut self.record.devices) {
            record.roofline_after = place.roofline(&self.bar);
        }
        Ok(())
    }

    fn skip(&mut self, name: &str, error: &anyhow::Error) {
        self.advice.extend(advice_on(error));
        self.skipped.push(format!("{name}: {}", chain(error)));
    }

    /// Keeps the measured rows for an interruption.
    fn keep(&self) -> Result<()> {
        let report = self.args.report.form(&Report(&self.record))?;
        files::keep_partial(self.args.report.file().cloned(), self.args.force, report);
        Ok(())
    }

    /// Prints warnings and advice; the result of the command.
    fn conclude(&self) -> Result<()> {
        Report(&self.record).warnings().iter().chain(&self.skipped).for_each(|text| terminal::warn(text));
        self.advice.iter().for_each(|text| terminal::note(text));
        let errors = self.record.measurements().filter(|measurement| measurement.error.is_some());
        let failed = errors.count() + self.skipped.len();
        match (self.record.differences(), failed) {
            (0, 0) => Ok(()),
            (0, count) => bail!("{count} measurements failed (see warnings)"),
            (count, _) => bail!(
                "{count} results differ between devices or between repetitions (see warnings): do not use a device that \
                 differs from the processor, or from itself"
            ),
        }
    }
}

impl BenchArgs {
    fn check_outputs(&self) -> Result<()> {
        let outputs: Vec<&PathBuf> = [self.report.file(), self.html.as_ref()].into_iter().flatten().collect();
        files::check_outputs(&outputs, std::iter::empty::<&Path>(), self.force)
    }

    fn devices(&self) -> Vec<DeviceSelector> {
        if self.device.is_empty() {
            return vec![DeviceSelector::Cpu, DeviceSelector::Auto];
        }
        self.device.clone()
    }
}

impl BenchDevice {
    /// Each device once, however often it is asked for.
    fn all(asked: &[DeviceSelector], threads: usize, options: &GpuOptions) -> Result<Vec<Self>> {
        let mut devices: Vec<Self> = Vec::new();
        for (i, &selector) in asked.iter().enumerate() {
            // Remarks about a device are made once.
            if asked.get(..i).is_some_and(|before| before.contains(&selector)) {
                continue;
            }
            let device = device::open(selector, threads, options)?;
            let selector = device.selector();
            if devices.iter().any(|place| place.selector == selector) {
                continue;
            }
            let record = DeviceRecord::new(&device, options);
            devices.push(Self { selector, threads, options: options.clone(), record });
        }
        Ok(devices)
    }

    /// A measurement that failed on this device, and advice about it.
    fn failed(&self, error: anyhow::Error, advice: &mut BTreeSet<&'static str>) -> Measurement {
        let cpu = self.selector == DeviceSelector::Cpu;
        let error = if cpu { error } else { on_gpu(error, self.options.memory_bytes) };
        advice.extend(advice_on(&error));
        Measurement::failed(chain(&error))
    }

    /// Whether it is a GPU in software.
    fn is_software(&self) -> bool {
        self.record.kind == Kind::Software.to_string()
    }

    /// Limits of the device; nothing of a GPU in software, and nothing if it fails, which its first measurement will say.
    fn roofline(&self, bar: &ProgressBar) -> Option<Roofline> {
        if self.is_software() {
            return None;
        }
        bar.set_message(format!("limits of {}", plain(&self.record.name)));
        roofline(&self.open().ok()?).ok()
    }

    /// Meter of the device's energy, where the platform has one.
    fn meter(&self, device: &Device) -> Option<Box<dyn Meter>> {
        match device.gpu_info() {
            None => energy::processor(),
            Some(info) => energy::nvidia(info.pci_bus.as_ref()?),
        }
    }

    /// The device with nothing in its memory.
    fn open(&self) -> Result<Device> {
        Ok(Device::select(self.selector, Some(self.threads), &self.options)?)
    }
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
    devices: &[BenchDevice],
    manifest: &Manifest,
    repeat: usize,
    bar: &ProgressBar,
    advice: &mut BTreeSet<&'static str>,
) -> Vec<OperationRecord> {
    let measured =
        manifest.batches.iter().flat_map(|&batch| manifest.operations.iter().map(move |&name| (batch, name)));
    let mut records: Vec<_> = measured
        .map(|(batch, name)| OperationRecord {
            name: name.to_owned(),
            batch,
            work: Work::of(name, &Parameters::new(operands.params()), batch),
            parameters: Parameters::new(operands.params()),
            identical: None,
            results: Vec::with_capacity(devices.len()),
        })
        .collect();
    for place in devices {
        let log_n = operands.params().literal().log_n;
        let opened = place.open().and_then(|device| Ok((Operations::new(operands, &device)?, device)));
        let opened = opened.map_err(|error| place.failed(error, advice));
        for record in &mut records {
            let name = plain(&place.record.name);
            bar.set_message(format!("{} at n = 2^{log_n}, {} at once, on {name}", record.name, record.batch));
            let measured = match &opened {
                Ok((operations, device)) => {
                    let measured = operations.measure(&record.name, record.batch, repeat);
                    let title = format!("{} at n = 2^{log_n}, {} at once", record.name, record.batch);
                    device::tell_profile(device, &title);
                    measured.map_or_else(|error| place.failed(error.into(), advice), Measurement::from)
                }
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

/// A shipped network and how it is measured.
struct NetworkRun<'a> {
    name: &'a str,
    /// X-rays that share ciphertexts.
    batch: usize,
    samples: usize,
    threads: usize,
    repeat: usize,
}

impl NetworkRun<'_> {
    /// Measures the network on all devices.
    fn measure(
        &self,
        devices: &[BenchDevice],
        bar: &ProgressBar,
        advice: &mut BTreeSet<&'static str>,
    ) -> Result<NetworkRecord> {
        let Self { name, batch, samples, threads, repeat } = *self;
        bar.set_message(format!("compiling {name}"));
        let classifier = classifier::load(name)?;
        // One plan for all, so that their results can be compared.
        let on_gpu = devices.iter().any(|place| place.selector != DeviceSelector::Cpu);
        let device = if on_gpu { DeviceClass::Accelerator } else { DeviceClass::Processor };
        let plan = classifier::plan(&classifier, Target { device, threads }, true, batch)?;
        memory::check(plan.report().predicted_peak_bytes as u64, None)?;
        bar.set_message(format!("{name} on the client"));
        let mut bench = NetworkBench::new(&classifier, &plan, batch, samples, repeat)?;
        let mut results = Vec::with_capacity(devices.len());
        for place in devices {
            bar.set_message(format!("{name} on {}", plain(&place.record.name)));
            results.push(match measure_on(&mut bench, place, name) {
                Ok(measured) => measured,
                Err(error) => NetworkMeasurement {
                    inference: place.failed(error, advice),
                    ..NetworkMeasurement::default()
                },
            });
            bar.inc(1);
        }
        Ok(bench.record(results)?)
    }
}

/// A network on a device that is started for it: it has nothing of another network in its memory.
fn measure_on(bench: &mut NetworkBench<'_>, place: &BenchDevice, name: &str) -> Result<NetworkMeasurement> {
    host_memory::reset_peak();
    let clock = Instant::now();
    let device = place.open()?;
    let open = clock.elapsed().as_secs_f64();
    let measured = bench.measure(&device, place.meter(&device))?;
    let times = device::kernel_times(&device);
    let kernels = times.iter().flat_map(|times| &times.kernels).map(Kernel::from).collect();
    if let Some(times) = &times {
        device::tell_kernels(times, name);
    }
    Ok(NetworkMeasurement {
        open: Some(open),
        kernels,
        peak_bytes: measured.peak_bytes.or_else(host_memory::peak_bytes),
        ..measured
    })
}
