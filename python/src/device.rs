//! Devices by the names that Python gives them.

use crate::failure::{Failure, Kind};
use crate::work;
use pleura::gpu;
use pleura::nn::{DeviceClass, Report};
use pleura::{Device, DeviceNote, DeviceSelector, GpuOptions, SelfCheck, host_memory, self_check};
use pyo3::prelude::*;
use serde_json::{Value, json};

/// Ring degree of the check of [`devices`], as a power of two.
const CHECKED_DEGREE: u32 = 10;
/// Most threads of the processor.
const MAX_THREADS: usize = 1024;

/// Device to use, as Python names it.
#[derive(Clone, Copy)]
pub(crate) struct Choice {
    selector: DeviceSelector,
    threads: Option<usize>,
}

impl Choice {
    /// A choice by name: `auto`, `cpu`, `gpu` or the number of a GPU.
    ///
    /// # Errors
    /// `InputError`
    pub(crate) fn parse(device: &str, threads: Option<usize>) -> Result<Self, Failure> {
        let selector = device.parse().map_err(|error| {
            Failure::new(Kind::Input, format!("there is no device \"{}\"; {error}", device.escape_debug()))
        })?;
        if threads.is_some_and(|threads| !(1..=MAX_THREADS).contains(&threads)) {
            return Err(Failure::new(
                Kind::Input,
                format!("threads must be 1 to {MAX_THREADS}, or None for one per core"),
            ));
        }
        Ok(Self { selector, threads })
    }

    /// Class of the device, which is not started.
    pub(crate) fn class(self) -> DeviceClass {
        self.selector.class()
    }

    /// Starts the device.
    ///
    /// # Errors
    /// `DeviceError`
    pub(crate) fn start(self) -> Result<Device, Failure> {
        Ok(Device::select(self.selector, self.threads, &GpuOptions::default())?)
    }
}

/// Refuses a plan that needs more bytes of memory than `limit`, or than are available if there is no limit: a system that
/// runs out of memory ends the interpreter without a word.
///
/// # Errors
/// `DeviceError`
pub(crate) fn check_memory(report: &Report, limit: Option<u64>) -> Result<(), Failure> {
    let needed = report.predicted_peak_bytes as u64;
    let allowed = limit.or_else(host_memory::available_bytes);
    let Some(allowed) = allowed.filter(|&allowed| needed > allowed) else { return Ok(()) };
    let [needed, allowed] = [needed, allowed].map(|bytes| bytes.div_ceil(1 << 20));
    let text = match limit {
        Some(_) => {
            format!(
                "the network needs {needed} MiB of peak memory, and max_memory= allows {allowed} MiB: set a larger limit"
            )
        }
        None => format!(
            "the network needs {needed} MiB of peak memory, and {allowed} MiB are available; max_memory= sets another limit"
        ),
    };
    Err(Failure::new(Kind::Device, text))
}

/// Notes on a device, each with whether a user should be warned.
pub(crate) fn notes(device: &Device) -> Vec<(bool, String)> {
    let serious = |note: &DeviceNote| {
        matches!(note, DeviceNote::CannotStart { .. } | DeviceNote::RingOnProcessor { .. })
    };
    device.notes().iter().map(|note| (serious(note), note.to_string())).collect()
}

/// The processor and all GPUs, as JSON; with `check`, each computes some results that are compared with the processor's.
#[pyfunction]
pub(crate) fn devices(py: Python<'_>, check: bool) -> PyResult<String> {
    work::run(py, move |interruption| {
        let adapters = gpu::adapters();
        let cpu = Device::cpu(None);
        let mut rows = vec![json!({
            "id": "cpu",
            "name": cpu.name(),
            "kind": "processor",
            "check": checked(check, || Ok(cpu.clone())),
        })];
        for (number, adapter) in adapters.iter().enumerate() {
            interruption.check()?;
            let info = adapter.info();
            rows.push(json!({
                "id": number.to_string(),
                "name": info.name,
                "kind": info.kind.to_string(),
                "api": info.api,
                "driver": info.driver,
                "shader_int64": info.shader_int64,
                "check": checked(check, || Device::gpu(DeviceSelector::Number(number), &GpuOptions::default())),
            }));
        }
        let diagnosis = gpu::diagnosis(&adapters, None);
        Ok(json!({ "devices": rows, "diagnosis": diagnosis }).to_string())
    })
}

fn checked(check: bool, device: impl FnOnce() -> Result<Device, pleura::DeviceError>) -> Value {
    if !check {
        return Value::Null;
    }
    let outcome = match device() {
        Ok(device) => self_check(&device, CHECKED_DEGREE),
        Err(error) => SelfCheck::Failed(error.to_string()),
    };
    match outcome {
        SelfCheck::Passed(results) => json!(format!("pass ({results} results)")),
        SelfCheck::OutOfMemory => json!("FAIL: it has no memory left"),
        SelfCheck::Failed(reason) => json!(format!("FAIL: {reason}")),
    }
}
