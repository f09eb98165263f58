//! `pleura devices`: what there is to compute on, and whether it computes what it should.

use crate::device::{GpuMemory, processor};
use crate::error::CliError;
use crate::model::all_cores;
use crate::table::{Table, bytes_text};
use crate::terminal;
use anyhow::bail;
use clap::Args;
use indicatif::ProgressBar;
use pleura::ckks::Backend;
use pleura::ckks::BackendError;
use pleura::gpu::{self, Adapter, Gpu, GpuError, Options};
use pleura::ring::conformance::{self, Failure};
use pleura::ring::{Cpu, Ring, RingError, Simd};
use serde::Serialize;
use std::cell::Cell;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Degrees that are checked, by their logarithms: transforms are one kernel at the smallest and several ones at the largest.
const DEGREES: [u32; 4] = [10, 12, 13, 14];
/// The same for who is in a hurry.
const QUICK_DEGREES: [u32; 2] = [10, 14];

/// Arguments of `pleura devices`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura devices
  pleura devices --quick
  pleura devices --list --json | jq '.devices[].name'

The numbers are those that --device takes. The self-check runs every operation on operands that are hard for it, and compares every
word of its results with what a plain processor computes: a device that fails gives wrong results, or none. Failures make the
exit code 1.")]
pub(crate) struct DevicesArgs {
    /// Check the smallest and the largest degree alone.
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
    /// Whether kernels compute with 64-bit integers: the device can, and `PLEURA_GPU_NO_INT64` is not set.
    shader_int64: bool,
    timestamps: Option<bool>,
    max_binding_bytes: Option<u64>,
    max_buffer_bytes: Option<u64>,
    workgroup_bytes: Option<u32>,
    check: Option<Check>,
}

/// What came of a check.
#[derive(Serialize)]
struct Check {
    /// Nothing if there was no room for it.
    passed: Option<bool>,
    /// Results that were compared.
    results: usize,
    /// Why it failed, or was not made.
    reason: Option<String>,
}

/// Lists them all.
pub(crate) fn devices(args: &DevicesArgs) -> Result<(), CliError> {
    let options = args.memory.options()?;
    let adapters = gpu::adapters();
    let degrees = match (args.list, args.quick) {
        (true, _) => &[],
        (_, true) => &QUICK_DEGREES[..],
        _ => &DEGREES[..],
    };
    let bar = if args.list { ProgressBar::hidden() } else { terminal::clock().with_prefix("check") };
    bar.set_length(((adapters.len() + 1) * degrees.len()) as u64);
    let mut rows = vec![Row::cpu(degrees, &bar)?];
    rows.extend(
        adapters.iter().enumerate().map(|(i, adapter)| Row::gpu(i, adapter, &options, degrees, &bar)),
    );
    bar.finish_and_clear();
    let found = Devices { devices: rows, diagnosis: crate::device::diagnosis(&adapters) };
    if args.json {
        terminal::publish_json(&found)?
    } else {
        terminal::publish(&found.to_string())?
    }
    let failed = found.failures().count();
    if failed > 0 {
        let of = found.devices.len();
        bail!("{failed} of {of} devices cannot be trusted with a computation, for the reasons above");
    }
    Ok(())
}

impl Row {
    fn cpu(degrees: &[u32], bar: &ProgressBar) -> Result<Self, CliError> {
        let (name, simd) = (processor(None)?, Simd::preferred());
        let make = |ring: Arc<Ring>| -> Result<Cpu, RingError> { Cpu::with(ring, simd, all_cores()) };
        Ok(Self {
            device: "cpu".to_owned(),
            check: check(&name, degrees, bar, None, make),
            name,
            kind: "processor".to_owned(),
            api: None,
            driver: None,
            shader_int64: true,
            timestamps: None,
            max_binding_bytes: None,
            max_buffer_bytes: None,
            workgroup_bytes: None,
        })
    }

    fn gpu(number: usize, adapter: &Adapter, options: &Options, degrees: &[u32], bar: &ProgressBar) -> Self {
        let info = adapter.info().clone();
        let check = || match adapter.open(options) {
            Ok(device) => {
                // The suite keeps but the words of an error.
                let full = Cell::new(false);
                let make = |ring| {
                    let made = Gpu::new(ring, device.clone());
                    full.set(matches!(made, Err(GpuError::Backend(BackendError::OutOfMemory { .. }))));
                    made
                };
                check(&info.name, degrees, bar, options.memory_bytes.is_some().then_some(&full), make)
            }
            Err(error) => Some(Check::failed(terminal::chain(&error.into()))),
        };
        // A list is made without starting anything.
        let check = if degrees.is_empty() { None } else { check() };
        Self {
            device: number.to_string(),
            name: info.name,
            kind: info.kind.to_string(),
            api: Some(info.api),
            driver: Some(info.driver),
            shader_int64: info.shader_int64 && !options.no_int64,
            timestamps: Some(info.timestamps),
            max_binding_bytes: Some(info.max_binding_bytes),
            max_buffer_bytes: Some(info.max_buffer_bytes),
            workgroup_bytes: Some(info.workgroup_bytes),
            check,
        }
    }
}

impl Devices {
    /// Devices that failed.
    fn failures(&self) -> impl Iterator<Item = &Row> {
        self.devices.iter().filter(|row| row.check.as_ref().is_some_and(|check| check.passed == Some(false)))
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
                if row.shader_int64 { "yes" } else { "no" }.to_owned(),
                row.check.as_ref().map_or_else(dash, Check::to_string),
                row.max_binding_bytes.map_or_else(dash, bytes_text),
                row.workgroup_bytes.map_or_else(dash, |bytes| bytes_text(bytes.into())),
            ]);
        }
        write!(f, "{table}")?;
        // Cells are cut; these are whole.
        for row in &self.devices {
            let Some(Check { passed, reason: Some(reason), .. }) = &row.check else { continue };
            let verdict = if passed.is_some() { "fails" } else { "is not checked" };
            write!(f, "\ndevice {} {verdict}: {}\n", row.device, terminal::plain(reason))?;
        }
        match &self.diagnosis {
            Some(diagnosis) => write!(f, "\n{diagnosis}\n"),
            None => Ok(()),
        }
    }
}

impl Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.passed, &self.reason) {
            (None, _) => f.write_str("not checked"),
            (_, None) => write!(f, "pass ({} results)", self.results),
            (_, Some(reason)) => write!(f, "FAIL: {reason}"),
        }
    }
}

impl Check {
    fn failed(reason: String) -> Self {
        Self { passed: Some(false), results: 0, reason: Some(reason) }
    }
}

/// Runs the suite; nothing if it is to run at no degree. Where memory is `limited`, what has no room says nothing about the
/// device; it tells whether that was so when the device was made.
fn check<B: Backend, E: Display>(
    name: &str,
    degrees: &[u32],
    bar: &ProgressBar,
    limited: Option<&Cell<bool>>,
    make: impl Fn(Arc<Ring>) -> Result<B, E>,
) -> Option<Check> {
    let mut check = Check { passed: Some(true), results: 0, reason: None };
    for degree in degrees {
        bar.set_message(format!("{} at n = 2^{degree}", terminal::plain(name)));
        // A driver that takes the process down by a panic must not hide the other devices.
        let outcome = catch_unwind(AssertUnwindSafe(|| conformance::check(&[*degree], &make)));
        bar.inc(1);
        match outcome {
            Ok(Ok(report)) => {
                check.results += report.results.iter().map(|(_, results)| results).sum::<usize>()
            }
            Ok(Err(failure)) if limited.is_some_and(|unmade| no_room(&failure, unmade.get())) => {
                check.passed = None;
                check.reason = Some(format!("n = 2^{degree} needs more memory than --gpu-memory allows"));
                break;
            }
            Ok(Err(failure)) => check.reason = Some(failure.to_string()),
            Err(_) => check.reason = Some(format!("it panicked at n = 2^{degree}")),
        }
        if check.reason.is_some() {
            check.passed = Some(false);
            break;
        }
    }
    (!degrees.is_empty()).then_some(check)
}

/// Whether it is room that a device lacks: in the middle of the suite, or when it was to be made.
fn no_room(failure: &Failure, unmade: bool) -> bool {
    match failure {
        Failure::Device { error, .. } => matches!(error, BackendError::OutOfMemory { .. }),
        Failure::NoDevice { .. } => unmade,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pleura::ring::conformance::Place;

    #[test]
    fn what_has_no_room_has_not_failed() {
        let at = Place { operation: "ntt", case: String::new(), log_n: 10, primes: "large" };
        let lost = BackendError::DeviceLost { reason: String::new() };
        assert!(no_room(
            &Failure::Device { at: at.clone(), error: BackendError::OutOfMemory { bytes: 1 } },
            false
        ));
        assert!(!no_room(&Failure::Device { at, error: lost }, false));
        let unmade = Failure::NoDevice { log_n: 10, reason: String::new() };
        assert!(no_room(&unmade, true) && !no_room(&unmade, false));
        let make = |_| Err::<Cpu, _>("full");
        let bar = ProgressBar::hidden();
        let checked = |limited| check("x", &[10], &bar, limited, make).unwrap();
        let full = Cell::new(true);
        let told = checked(Some(&full));
        assert_eq!((told.passed, told.to_string().as_str()), (None, "not checked"));
        assert!(checked(None).to_string().starts_with("FAIL: "));
    }
}
