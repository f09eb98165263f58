//! `pleura devices --report`: self-check, five figures and limits of each device, as a file that others can read.

use crate::classifier::Target;
use crate::model::all_cores;
use crate::text::{chain, plain};
use crate::{classifier, files, machine, terminal};
use anyhow::{Context, Result};
use indicatif::ProgressBar;
use pleura::bench::{Machine, NetworkBench, Operands, Operations, PARAMETER_SETS, Roofline, Times, roofline};
use pleura::ckks::Params;
use pleura::nn::DeviceClass;
use pleura::{Device, DeviceSelector, GpuOptions};
use serde::Serialize;
use serde_json::Value;
use std::path::Path;

/// The degree of operations, by its logarithm.
const LOG_N: u32 = 14;
/// Repetitions of each measurement.
const ROUNDS: usize = 5;
/// The network that is timed.
const NETWORK: &str = "pneumonia";

/// A report on all devices of a machine; nothing in it names a person, a host or a place.
#[derive(Serialize)]
struct DeviceReport {
    version: &'static str,
    commit: Option<String>,
    modified: Option<bool>,
    machine: Machine,
    /// Degree of transform and rotation, by its logarithm.
    log_n: u32,
    /// Network of the inference.
    network: &'static str,
    devices: Vec<Reported>,
}

/// A device that is measured.
pub(crate) struct Candidate {
    pub(crate) selector: DeviceSelector,
    pub(crate) name: String,
    /// An object with all that is known of it.
    pub(crate) facts: Value,
}

/// A device with its figures.
#[derive(Serialize)]
struct Reported {
    #[serde(flatten)]
    facts: Value,
    figures: Option<Figures>,
    /// Why there are no figures.
    error: Option<String>,
}

/// Five figures of a device.
#[derive(Serialize)]
struct Figures {
    /// Bytes a second of a copy, and products of 32-bit integers a second.
    limits: Roofline,
    /// Seconds of the transform of a polynomial.
    ntt: Times,
    /// Seconds of the rotation of a ciphertext.
    rotate: Times,
    /// Seconds of an inference of the default network.
    inference: Times,
    /// SHA-256 of the words of the inference's result; equal keys are on all devices.
    digest: String,
    /// Bits of precision of the inference.
    bits: Option<f64>,
}

/// Measures devices and writes the report.
pub(crate) fn write(
    path: &Path,
    force: bool,
    candidates: Vec<Candidate>,
    options: &GpuOptions,
    bar: &ProgressBar,
) -> Result<()> {
    let params = PARAMETER_SETS.into_iter().find(|literal| literal.log_n == LOG_N);
    let params = Params::new(params.context("there are no parameters to measure with")?)?;
    let operands = Operands::new(params, 1)?;
    let classifier = classifier::load(NETWORK)?;
    let on_gpu = candidates.iter().any(|candidate| candidate.selector != DeviceSelector::Cpu);
    let device = if on_gpu { DeviceClass::Accelerator } else { DeviceClass::Processor };
    let plan = classifier::plan(&classifier, Target { device, threads: all_cores() }, true, 1)?;
    let mut network = NetworkBench::new(&classifier, &plan, 1, 0, ROUNDS)?;
    let mut devices = Vec::new();
    for Candidate { selector, name, facts } in candidates {
        bar.set_message(format!("figures of {}", plain(&name)));
        let (figures, error) = match figures(selector, options, &operands, &mut network) {
            Ok(figures) => (Some(figures), None),
            Err(error) => (None, Some(chain(&error))),
        };
        devices.push(Reported { facts, figures, error });
    }
    let report = DeviceReport {
        version: env!("CARGO_PKG_VERSION"),
        commit: machine::commit(),
        modified: machine::modified(),
        machine: machine::machine(),
        log_n: LOG_N,
        network: NETWORK,
        devices,
    };
    let line = terminal::json("device-report", &report)?;
    let value: Value = serde_json::from_str(&line).context("cannot write the report")?;
    let text = serde_json::to_string_pretty(&value).context("cannot write the report")? + "\n";
    files::write(path, &[text.as_bytes()], force, false)
}

fn figures(
    selector: DeviceSelector,
    options: &GpuOptions,
    operands: &Operands,
    network: &mut NetworkBench<'_>,
) -> Result<Figures> {
    let open = || Device::select(selector, Some(all_cores()), options);
    let limits = roofline(&open()?)?;
    let device = open()?;
    let operations = Operations::new(operands, &device)?;
    let ntt = operations.measure("ntt", 1, ROUNDS)?.times;
    let rotate = operations.measure("rotate", 1, ROUNDS)?.times;
    drop(operations);
    let measured = network.measure(&open()?, None)?;
    let inference = measured.inference.seconds.context("the inference has no time")?;
    Ok(Figures { limits, ntt, rotate, inference, digest: measured.inference.digest, bits: measured.bits })
}
