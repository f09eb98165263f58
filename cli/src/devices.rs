//! `pleura devices`: what there is to compute on, and whether it computes what it should.

use crate::device::{GpuMemory, processor};
use crate::error::CliError;
use crate::model::all_cores;
use crate::table::{Table, bytes_text};
use crate::terminal;
use clap::Args;
use indicatif::ProgressBar;
use pleura::ckks::Backend;
use pleura::gpu::{self, Adapter, Gpu, Options};
use pleura::ring::conformance::{self, DEGREES};
use pleura::ring::{Cpu, Ring, RingError, Simd};
use serde::Serialize;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Arguments of `pleura devices`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura devices
  pleura devices --quick
  pleura devices --list --json | jq .devices[].name

The numbers are those that --device takes. The self-check runs every operation on operands that are hard for it, and compares every
word of its results with what a plain processor computes: a device that fails gives wrong results, or none. Failures make the
exit code 1.")]
pub(crate) struct DevicesArgs {
    /// Check the smallest degree alone.
    #[arg(long)]
    quick: bool,

    /// Check nothing.
    #[arg(long, conflicts_with = "quick")]
    list: bool,

    #[command(flatten)]
    memory: GpuMemory,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Devices {
    devices: Vec<Row>,
    /// Why a GPU may be missing.
    diagnosis: Option<String>,
}

/// A device.
#[derive(Serialize)]
struct Row {
    /// For `--device`.
    device: String,
    name: String,
    kind: String,
    api: Option<String>,
    driver: Option<String>,
    /// Whether 64-bit words are multiplied, and may be.
    wide: bool,
    timestamps: Option<bool>,
    max_binding_bytes: Option<u64>,
    max_buffer_bytes: Option<u64>,
    workgroup_bytes: Option<u32>,
    check: Option<Check>,
}

/// What came of a check.
#[derive(Serialize)]
struct Check {
    passed: bool,
    /// Results that were compared.
    results: usize,
    /// Why it failed.
    reason: Option<String>,
}

/// Lists them all.
pub(crate) fn devices(args: &DevicesArgs) -> Result<(), CliError> {
    let options = args.memory.options();
    let adapters = gpu::adapters();
    let degrees = match (args.list, args.quick) {
        (true, _) => &[],
        (_, true) => DEGREES.get(..1).unwrap_or_default(),
        _ => &DEGREES[..],
    };
    let bar = terminal::clock().with_prefix("check");
    bar.set_length(((adapters.len() + 1) * degrees.len()) as u64);
    let mut rows = vec![Row::cpu(degrees, &bar)?];
    rows.extend(
        adapters.iter().enumerate().map(|(i, adapter)| Row::gpu(i, adapter, &options, degrees, &bar)),
    );
    bar.finish_and_clear();
    let found = Devices { devices: rows, diagnosis: gpu::diagnosis(&adapters) };
    if args.json {
        terminal::publish_json(&found)?
    } else {
        terminal::publish(&found.to_string())?
    }
    let failed = found.failures().count();
    if failed > 0 { Err(CliError::SelfCheck { failed, of: found.devices.len() }) } else { Ok(()) }
}

impl Row {
    fn cpu(degrees: &[u32], bar: &ProgressBar) -> Result<Self, CliError> {
        let (name, simd) = (processor(None)?, Simd::from_env()?);
        let make = |ring: Arc<Ring>| -> Result<Cpu, RingError> { Cpu::with(ring, simd, all_cores()) };
        Ok(Self {
            device: "cpu".to_owned(),
            check: check(&name, degrees, bar, make),
            name,
            kind: "processor".to_owned(),
            api: None,
            driver: None,
            wide: true,
            timestamps: None,
            max_binding_bytes: None,
            max_buffer_bytes: None,
            workgroup_bytes: None,
        })
    }

    fn gpu(number: usize, adapter: &Adapter, options: &Options, degrees: &[u32], bar: &ProgressBar) -> Self {
        let info = adapter.info().clone();
        let check = match (degrees, adapter.open(options)) {
            ([], _) => None,
            (_, Ok(device)) => check(&info.name, degrees, bar, |ring| Gpu::new(ring, device.clone())),
            (_, Err(error)) => {
                let reason = Some(terminal::chain(&error));
                Some(Check { passed: false, results: 0, reason })
            }
        };
        Self {
            device: number.to_string(),
            name: info.name,
            kind: info.kind.to_string(),
            api: Some(info.api),
            driver: Some(info.driver),
            wide: info.wide && !options.narrow,
            timestamps: Some(info.timestamps),
            max_binding_bytes: Some(info.max_binding_bytes),
            max_buffer_bytes: Some(info.max_buffer_bytes),
            workgroup_bytes: Some(info.workgroup_bytes),
            check,
        }
    }
}

impl Devices {
    /// Devices that failed, and why.
    fn failures(&self) -> impl Iterator<Item = (&str, &str)> {
        self.devices
            .iter()
            .filter_map(|row| Some((row.device.as_str(), row.check.as_ref()?.reason.as_deref()?)))
    }
}

impl Display for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const HEADINGS: [&str; 9] = [
            "device",
            "name",
            "kind",
            "api",
            "driver",
            "64-bit products",
            "self-check",
            "largest binding",
            "workgroup memory",
        ];
        let mut table = Table::new(7, HEADINGS);
        let dash = || "-".to_owned();
        for row in &self.devices {
            table.row([
                row.device.clone(),
                row.name.clone(),
                row.kind.clone(),
                row.api.clone().unwrap_or_else(dash),
                row.driver.clone().unwrap_or_else(dash),
                if row.wide { "yes" } else { "no" }.to_owned(),
                row.check.as_ref().map_or_else(dash, Check::to_string),
                row.max_binding_bytes.map_or_else(dash, bytes_text),
                row.workgroup_bytes.map_or_else(dash, |bytes| bytes_text(bytes.into())),
            ]);
        }
        write!(f, "{table}")?;
        // Cells are cut; these are whole.
        for (device, reason) in self.failures() {
            write!(f, "\ndevice {device} fails: {}\n", terminal::plain(reason))?;
        }
        match &self.diagnosis {
            Some(diagnosis) => write!(f, "\n{diagnosis}\n"),
            None => Ok(()),
        }
    }
}

impl Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.reason {
            None => write!(f, "pass ({} results)", self.results),
            Some(reason) => write!(f, "FAIL: {reason}"),
        }
    }
}

/// Runs the suite; nothing if it is to run at no degree.
fn check<B: Backend, E: Display>(
    name: &str,
    degrees: &[u32],
    bar: &ProgressBar,
    make: impl Fn(Arc<Ring>) -> Result<B, E>,
) -> Option<Check> {
    let mut check = Check { passed: true, results: 0, reason: None };
    for degree in degrees {
        bar.set_message(format!("{} at n = 2^{degree}", terminal::plain(name)));
        // A driver that takes the process down by a panic must not hide the other devices.
        let outcome = catch_unwind(AssertUnwindSafe(|| conformance::check(&[*degree], &make)));
        bar.inc(1);
        match outcome {
            Ok(Ok(report)) => {
                check.results += report.results.iter().map(|(_, results)| results).sum::<usize>()
            }
            Ok(Err(failure)) => check.reason = Some(failure.to_string()),
            Err(_) => check.reason = Some(format!("it panicked at n = 2^{degree}")),
        }
        if check.reason.is_some() {
            check.passed = false;
            break;
        }
    }
    (!degrees.is_empty()).then_some(check)
}
