//! `pleura devices`: what there is to compute on, and whether it computes what it should.

mod report;

use crate::cmd::devices::report::Candidate;
use crate::device::{GpuMemory, diagnosis};
use crate::model::all_cores;
use crate::table::Table;
use crate::text::{bytes_text, chain, plain};
use crate::{files, terminal};
use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::ProgressBar;
use pleura::gpu::{self, AdapterInfo, DeviceMemory, Kind};
use pleura::{Device, DeviceSelector, GpuOptions, SelfCheck, self_check, transform_rate};
use serde::Serialize;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// Degrees that are checked, by their logarithms: blocks of several rows share a workgroup at the smallest, and transforms are several
/// kernels at the largest.
const DEGREES: [u32; 8] = [4, 7, 10, 12, 13, 14, 15, 16];
/// Largest degree that is checked of a GPU in software.
const SOFTWARE_LOG_N: u32 = 14;
/// Degrees that `--quick` checks.
const QUICK_DEGREES: [u32; 2] = [10, 14];

/// Arguments of `pleura devices`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura devices
  pleura devices --quick
  pleura devices --list --json | jq '.devices[].name'
  pleura devices --report mine.json

The numbers are values of --device. The self-check runs every operation on hard operands, and
compares every word of its results with the reference on the processor. Failures make the exit
code 1.")]
pub(crate) struct DevicesArgs {
    /// Check 2^10 and 2^14 alone, two of eight degrees from 2^4 to 2^16.
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

    /// JSON file for self-check, figures and limits of all devices, without anything personal.
    #[arg(long, value_name = "F.json", conflicts_with = "list")]
    report: Option<PathBuf>,

    /// Replace the file of --report if it exists.
    #[arg(long, requires = "report")]
    force: bool,
}

/// JSON of `--json`.
#[derive(Serialize)]
struct Devices {
    devices: Vec<DeviceRow>,
    /// Why a GPU may be missing.
    diagnosis: Option<String>,
}

/// A device.
#[derive(Serialize)]
struct DeviceRow {
    /// For `--device`.
    device_id: String,
    #[serde(rename = "device_name")]
    name: String,
    kind: String,
    api: Option<String>,
    driver: Option<String>,
    /// Whether kernels compute with 64-bit integers: where both forms are possible, the faster one once the device was started.
    shader_int64: bool,
    timestamps: Option<bool>,
    max_binding_bytes: Option<u64>,
    max_buffer_bytes: Option<u64>,
    workgroup_bytes: Option<u32>,
    /// Address on the PCI bus.
    pci_bus: Option<String>,
    /// Threads that execute together, least and most.
    subgroup: Option<(u32, u32)>,
    /// Words of a block that a workgroup transforms.
    block_words: Option<usize>,
    /// Identifiers of vendor and model.
    pci_id: Option<(u32, u32)>,
    /// Bytes of the GPU's memory, and those that are free.
    memory_bytes: Option<u64>,
    free_bytes: Option<u64>,
    /// Words that are transformed in a second, if the device was checked.
    transformed_words_per_second: Option<f64>,
    /// An earlier row of the same card, through another interface.
    same_card_as: Option<String>,
    check: Option<Check>,
}

/// Result of a self-check.
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
pub(crate) fn devices(args: &DevicesArgs) -> Result<()> {
    let options = args.memory.options()?;
    if let Some(path) = &args.report {
        files::check_writable(path, args.force)?;
    }
    let adapters = gpu::adapters();
    let degrees = match (args.list, args.quick) {
        (true, _) => &[],
        (_, true) => &QUICK_DEGREES[..],
        _ => &DEGREES[..],
    };
    let bar = if args.list { ProgressBar::hidden() } else { crate::progress::clock().with_prefix("check") };
    bar.set_length(((adapters.len() + 1) * degrees.len()) as u64);
    let mut rows = vec![DeviceRow::cpu(degrees, &bar)];
    rows.extend(
        adapters
            .iter()
            .enumerate()
            .map(|(i, adapter)| DeviceRow::gpu(i, adapter.info(), &options, degrees, &bar)),
    );
    if let Some(path) = &args.report {
        let candidates = rows.iter().map(DeviceRow::candidate).collect::<Result<_>>()?;
        report::write(path, args.force, candidates, &options, &bar)?;
    }
    bar.finish_and_clear();
    for (i, adapter) in adapters.iter().enumerate() {
        let same = adapters.iter().take(i).position(|other| adapter.info().is_same_card(other.info()));
        if let (Some(row), Some(number)) = (rows.get_mut(i + 1), same) {
            row.same_card_as = Some(number.to_string());
        }
    }
    let found = Devices { devices: rows, diagnosis: diagnosis(&adapters) };
    if args.json {
        terminal::print_json("devices", &found)?
    } else {
        terminal::print(&found.to_string())?
    }
    let failed = found.failures().count();
    if failed > 0 {
        let of = found.devices.len();
        bail!("{failed} of {of} devices cannot be trusted with a computation, for the reasons above");
    }
    Ok(())
}

impl DeviceRow {
    fn cpu(degrees: &[u32], bar: &ProgressBar) -> Self {
        let device = Device::cpu(Some(all_cores()));
        Self {
            device_id: "cpu".to_owned(),
            check: check(&device, degrees, false, bar),
            transformed_words_per_second: rate(&device, degrees),
            name: device.name(),
            kind: "processor".to_owned(),
            api: None,
            driver: None,
            shader_int64: true,
            timestamps: None,
            max_binding_bytes: None,
            max_buffer_bytes: None,
            workgroup_bytes: None,
            pci_bus: None,
            subgroup: None,
            block_words: None,
            pci_id: None,
            memory_bytes: None,
            free_bytes: None,
            same_card_as: None,
        }
    }

    fn gpu(
        number: usize,
        info: &AdapterInfo,
        options: &GpuOptions,
        degrees: &[u32],
        bar: &ProgressBar,
    ) -> Self {
        // Software takes minutes for the largest.
        let largest = if info.kind == Kind::Software { SOFTWARE_LOG_N } else { u32::MAX };
        let degrees: Vec<u32> = degrees.iter().copied().filter(|degree| *degree <= largest).collect();
        let mut shader_int64 = info.shader_int64 && !options.no_int64;
        let mut transformed = None;
        // A list is made without starting anything.
        let check = if degrees.is_empty() {
            None
        } else {
            match Device::gpu(DeviceSelector::Number(number), options) {
                Ok(device) => {
                    // The faster form of words, where both are possible.
                    shader_int64 = device.shader_int64();
                    let check = check(&device, &degrees, options.memory_bytes.is_some(), bar);
                    transformed = rate(&device, &degrees);
                    check
                }
                Err(error) => Some(Check::failed(chain(&error.into()))),
            }
        };
        let memory = info.memory;
        Self {
            device_id: number.to_string(),
            name: info.name.clone(),
            kind: info.kind.to_string(),
            api: Some(info.api.clone()),
            driver: Some(info.driver.clone()),
            shader_int64,
            transformed_words_per_second: transformed,
            pci_id: Some(info.pci_id),
            memory_bytes: memory.map(|DeviceMemory { total, .. }| total),
            free_bytes: memory.and_then(|memory| memory.free),
            timestamps: Some(info.timestamps),
            max_binding_bytes: Some(info.max_binding_bytes),
            max_buffer_bytes: Some(info.max_buffer_bytes),
            workgroup_bytes: Some(info.workgroup_bytes),
            pci_bus: info.pci_bus.clone(),
            subgroup: Some(info.subgroup),
            block_words: Some(info.block_words),
            same_card_as: None,
            check,
        }
    }
}

impl DeviceRow {
    /// Memory in words; a dash where it is unknown.
    fn memory(&self) -> String {
        match (self.memory_bytes, self.free_bytes) {
            (Some(total), Some(free)) => format!("{} of {} free", bytes_text(free), bytes_text(total)),
            (Some(total), None) => bytes_text(total),
            _ => "-".to_owned(),
        }
    }

    /// The device for a report. Its address on the bus is left out: it says nothing to others.
    fn candidate(&self) -> Result<Candidate> {
        let mut facts = serde_json::to_value(self).context("cannot write the report")?;
        if let Some(facts) = facts.as_object_mut() {
            facts.remove("pci_bus");
        }
        Ok(Candidate { selector: self.device_id.parse()?, name: self.name.clone(), facts })
    }
}

impl Devices {
    /// Devices that failed.
    fn failures(&self) -> impl Iterator<Item = &DeviceRow> {
        self.devices.iter().filter(|row| row.check.as_ref().is_some_and(|check| check.passed == Some(false)))
    }
}

impl Display for Devices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const HEADINGS: [&str; 15] = [
            "device",
            "name",
            "kind",
            "api",
            "driver",
            "64-bit products",
            "self-check",
            "transforms",
            "memory",
            "PCI bus",
            "PCI id",
            "subgroup",
            "largest binding",
            "workgroup memory",
            "block words",
        ];
        let mut table = Table::new(12, HEADINGS);
        let dash = || "-".to_owned();
        for row in &self.devices {
            table.row([
                row.device_id.clone(),
                row.same_card_as
                    .as_ref()
                    .map_or_else(|| row.name.clone(), |other| format!("{} (also {other})", row.name)),
                row.kind.clone(),
                row.api.clone().unwrap_or_else(dash),
                row.driver.clone().unwrap_or_else(dash),
                if row.shader_int64 { "yes" } else { "no" }.to_owned(),
                row.check.as_ref().map_or_else(dash, Check::to_string),
                row.transformed_words_per_second
                    .map_or_else(dash, |rate| format!("{:.0} Mwords/s", rate / 1e6)),
                row.memory(),
                row.pci_bus.clone().unwrap_or_else(dash),
                row.pci_id.map_or_else(dash, |(vendor, model)| format!("{vendor:04x}:{model:04x}")),
                row.subgroup.map_or_else(dash, |(least, most)| match least == most {
                    true => least.to_string(),
                    false => format!("{least} to {most}"),
                }),
                row.max_binding_bytes.map_or_else(dash, bytes_text),
                row.workgroup_bytes.map_or_else(dash, |bytes| bytes_text(bytes.into())),
                row.block_words.map_or_else(dash, |words| words.to_string()),
            ]);
        }
        write!(f, "{table}")?;
        // Cells are cut; these are whole.
        for row in &self.devices {
            let Some(Check { passed, reason: Some(reason), .. }) = &row.check else { continue };
            let verdict = if passed.is_some() { "fails" } else { "is not checked" };
            write!(f, "\ndevice {} {verdict}: {}\n", row.device_id, plain(reason))?;
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

/// Speed of a device that is checked.
fn rate(device: &Device, degrees: &[u32]) -> Option<f64> {
    if degrees.is_empty() { None } else { transform_rate(device) }
}

/// Checks a device at some degrees; nothing if there are none. A lack of memory is no failure if memory is `limited`.
fn check(device: &Device, degrees: &[u32], limited: bool, bar: &ProgressBar) -> Option<Check> {
    let mut check = Check { passed: Some(true), results: 0, reason: None };
    for degree in degrees {
        bar.set_message(format!("{} at n = 2^{degree}", plain(&device.name())));
        // A driver that takes the process down by a panic must not hide the other devices.
        let outcome = catch_unwind(AssertUnwindSafe(|| self_check(device, *degree)));
        bar.inc(1);
        match outcome {
            Ok(SelfCheck::Passed(results)) => {
                check.results += results;
                continue;
            }
            Ok(SelfCheck::OutOfMemory) if limited => {
                check.passed = None;
                check.reason = Some(format!("n = 2^{degree} needs more memory than --gpu-memory allows"));
            }
            Ok(SelfCheck::OutOfMemory) => {
                let reason = format!("it has no memory left at n = 2^{degree}");
                check = Check { results: check.results, ..Check::failed(reason) };
            }
            Ok(SelfCheck::Failed(reason)) => {
                check = Check { results: check.results, ..Check::failed(reason) };
            }
            Err(_) => {
                let reason = format!("it panicked at n = 2^{degree}");
                check = Check { results: check.results, ..Check::failed(reason) };
            }
        }
        break;
    }
    (!degrees.is_empty()).then_some(check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_the_degrees_of_the_quick_check() {
        let help = DevicesArgs::augment_args(clap::Command::new("devices")).render_help().to_string();
        let quick = QUICK_DEGREES.map(|log_n| format!("2^{log_n}")).join(" and ");
        assert!(help.contains(&quick), "{help}");
        assert_eq!(DEGREES.len(), 8, "{help}");
        assert!(help.contains("eight degrees from 2^4 to 2^16") && DEGREES[0] == 4 && DEGREES[7] == 16);
    }
}
