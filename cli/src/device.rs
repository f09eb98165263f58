//! Arguments that choose a device.

use crate::table::Table;
use crate::text::size;
use crate::{cache, terminal};
use anyhow::{Context, Result, bail};
use clap::Args;
use pleura::gpu::{self, Adapter, CompileObserver, DeviceTimes, KernelTime};
use pleura::ring::Simd;
use pleura::{Device, DeviceKind, DeviceNote, DeviceSelector, GpuOptions};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The device of a computation.
#[derive(Args)]
pub(crate) struct DeviceArgs {
    /// Device: auto, cpu, gpu (the first one) or a number from `pleura devices`. auto: first hardware
    /// GPU, else CPU.
    #[arg(long, value_name = "DEVICE", default_value = "auto", allow_hyphen_values = true)]
    device: DeviceSelector,

    #[command(flatten)]
    memory: GpuMemory,
}

/// Limit of a GPU's memory.
#[derive(Args, Clone, Copy)]
pub(crate) struct GpuMemory {
    /// GPU memory limit, e.g. 6GB; keys and weights that do not fit are streamed.
    #[arg(long, value_name = "SIZE", value_parser = size, allow_hyphen_values = true)]
    gpu_memory: Option<u64>,
}

impl DeviceArgs {
    /// Finds and starts the device; `threads` limits the processor only.
    pub(crate) fn find(&self, threads: usize) -> Result<Device> {
        let device = open(self.device, threads, &self.memory.options()?)?;
        terminal::detail(&format!("device {}", device.name()));
        self.memory.tell(is_gpu(&device));
        if switch("PLEURA_GPU_PROFILE")? {
            PROFILED.lock().unwrap_or_else(PoisonError::into_inner).push(device.clone());
        }
        Ok(device)
    }

    /// Bytes of a GPU's memory that may be used, if not all.
    pub(crate) fn memory_limit(&self) -> Option<u64> {
        self.memory.bytes()
    }
}

impl GpuMemory {
    /// Bytes of each GPU's memory that may be used, if not all.
    pub(crate) fn bytes(self) -> Option<u64> {
        self.gpu_memory
    }

    /// Options that a GPU is started with.
    pub(crate) fn options(self) -> Result<GpuOptions> {
        Ok(GpuOptions {
            memory_bytes: self.gpu_memory,
            no_int64: switch("PLEURA_GPU_NO_INT64")?,
            checks: switch("PLEURA_GPU_CHECKS")?,
            profile: switch("PLEURA_GPU_PROFILE")?,
            no_robustness: switch("PLEURA_GPU_NO_ROBUSTNESS")?,
            skipped_kernel: skipped_kernel(),
            cache: cache::kernels()?,
            observer: Some(observer()),
            driver_variable: driver_variable(),
            ..GpuOptions::default()
        })
    }

    /// Prints which options have no effect, given whether a GPU is used.
    pub(crate) fn tell(self, gpu: bool) {
        if !gpu && self.gpu_memory.is_some() {
            terminal::note("--gpu-memory has no effect: the processor computes");
        }
        // The library creates the folder, unless a file has its name.
        if let Some(path) =
            cache::kernels().ok().flatten().filter(|path| gpu && path.exists() && !path.is_dir())
        {
            terminal::warn(&format!(
                "compiled kernels are not cached: {} is not a directory",
                path.display()
            ));
        }
    }
}

/// Time between two lines on kernels that compile; those that compile faster pass without one.
const COMPILE_LINE: Duration = Duration::from_secs(2);

/// Prints how many kernels are compiled, while that takes long.
fn observer() -> CompileObserver {
    let last = Mutex::new(Instant::now());
    CompileObserver(Arc::new(move |done, of| {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if done == 0 {
            *last = Instant::now();
        } else if done < of && last.elapsed() >= COMPILE_LINE {
            *last = Instant::now();
            terminal::say(
                "pleura",
                &format!("compiling kernels of the GPU: {done} of {of}; kept for the next run"),
            );
        }
    }))
}

/// Devices whose kernels' times are printed in the end.
static PROFILED: Mutex<Vec<Device>> = Mutex::new(Vec::new());

/// Prints the times of kernels of all devices that `PLEURA_GPU_PROFILE` is set for.
pub(crate) fn tell_profiles() {
    let devices = std::mem::take(&mut *PROFILED.lock().unwrap_or_else(PoisonError::into_inner));
    devices.iter().for_each(|device| tell_profile(device, &device.name()));
}

/// Prints the times of a device's kernels and submits since the last time, if they are taken.
pub(crate) fn tell_profile(device: &Device, title: &str) {
    if let Some(times) = kernel_times(device) {
        tell_kernels(&times, title);
    }
}

/// Times of a device's kernels and submits since the last time, if they are taken.
pub(crate) fn kernel_times(device: &Device) -> Option<DeviceTimes> {
    match device.kernel_times() {
        Ok(times) => times.filter(|times| !times.kernels.is_empty()),
        Err(error) => {
            terminal::warn(&format!("no times of kernels: {error}"));
            None
        }
    }
}

/// Prints times of kernels and submits.
pub(crate) fn tell_kernels(times: &DeviceTimes, title: &str) {
    terminal::say("profile", title);
    let tables = [kernels(times), submits(times)].map(|table| table.to_string());
    tables.iter().flat_map(|table| table.lines()).for_each(|line| terminal::say("profile", line));
    let ms = |time: Duration| 1e3 * time.as_secs_f64();
    terminal::say(
        "profile",
        &format!(
            "{:.2} ms on the device, {:.2} ms of them while the host recorded",
            ms(times.device()),
            ms(times.overlap())
        ),
    );
}

fn kernels(times: &DeviceTimes) -> Table {
    let total: f64 = times.kernels.iter().map(|time| time.time.as_secs_f64()).sum();
    let mut table = Table::new(1, ["kernel", "dispatches", "ms", "us each", "gap before, us", "share, %"]);
    for &KernelTime { kernel, dispatches, time, gap } in &times.kernels {
        let each = |seconds: f64| format!("{:.2}", 1e6 * seconds / dispatches as f64);
        table.row([
            kernel.to_owned(),
            dispatches.to_string(),
            format!("{:.3}", 1e3 * time.as_secs_f64()),
            each(time.as_secs_f64()),
            each(gap.as_secs_f64()),
            format!("{:.1}", 100.0 * time.as_secs_f64() / total.max(f64::MIN_POSITIVE)),
        ]);
    }
    table
}

/// Host and device on one clock.
fn submits(times: &DeviceTimes) -> Table {
    let mut table = Table::new(
        0,
        ["submit", "dispatches", "host records, ms", "submits, ms", "device begins, ms", "ends, ms"],
    );
    let skipped = times.submits.len().saturating_sub(MAX_SUBMITS);
    for (number, submit) in times.submits.iter().enumerate().skip(skipped) {
        let times = [submit.recorded, submit.submitted, submit.start, submit.end];
        let [recorded, submitted, start, end] = times.map(|time| format!("{:.3}", 1e3 * time.as_secs_f64()));
        table.row([number.to_string(), submit.dispatches.to_string(), recorded, submitted, start, end]);
    }
    table
}

/// Submits that are printed: the last ones.
const MAX_SUBMITS: usize = 32;

/// Starts a device, and prints the library's notes on it.
pub(crate) fn open(selector: DeviceSelector, threads: usize, options: &GpuOptions) -> Result<Device> {
    let device = Device::select(selector, Some(threads), options)?;
    device.notes().iter().for_each(tell);
    Ok(device)
}

/// Warns if a GPU leaves a plan to the processor.
pub(crate) fn tell_fallback(device: &Device) {
    device.notes().iter().filter(|note| matches!(note, DeviceNote::RingOnProcessor { .. })).for_each(tell);
}

/// Whether a device is a GPU: predictions are of a processor.
pub(crate) fn is_gpu(device: &Device) -> bool {
    device.kind() != DeviceKind::Cpu
}

fn tell(note: &DeviceNote) {
    match note {
        DeviceNote::CannotStart { .. } | DeviceNote::RingOnProcessor { .. } => {
            terminal::warn(&note.to_string())
        }
        DeviceNote::NoGpu { software: Some(_), .. } => {
            terminal::note(&format!("{note}; --device gpu uses the software driver"));
        }
        _ => terminal::note(&note.to_string()),
    }
}

/// Why no GPU, or not the one expected, is found.
pub(crate) fn diagnosis(adapters: &[Adapter]) -> Option<String> {
    gpu::diagnosis(adapters, driver_variable())
}

/// Chooses the instruction set that `PLEURA_SIMD` names, if it is set.
pub(crate) fn choose_simd() -> Result<()> {
    let Some(wanted) = std::env::var_os("PLEURA_SIMD") else { return Ok(()) };
    let chosen = wanted.to_string_lossy().parse::<Simd>().and_then(Simd::set_preferred);
    chosen.context("cannot use the value of PLEURA_SIMD")
}

/// The variable of the environment that chooses Vulkan's drivers, if one is set.
fn driver_variable() -> Option<&'static str> {
    gpu::DRIVER_VARIABLES.into_iter().find(|name| std::env::var_os(name).is_some())
}

/// The kernel that `PLEURA_GPU_SKIP` leaves out, with a warning.
fn skipped_kernel() -> Option<String> {
    let kernel = std::env::var_os("PLEURA_GPU_SKIP")?.to_string_lossy().into_owned();
    if kernel.is_empty() {
        return None;
    }
    terminal::warn(&format!("PLEURA_GPU_SKIP leaves out the kernel {kernel}: all results are wrong"));
    Some(kernel)
}

/// Whether a variable of the environment is on.
fn switch(name: &'static str) -> Result<bool> {
    let value = std::env::var_os(name).unwrap_or_default();
    match value.to_str() {
        Some("" | "0") => Ok(false),
        Some("1") => Ok(true),
        _ => bail!("{name} must be 0 or 1, not \"{}\"", value.to_string_lossy()),
    }
}
