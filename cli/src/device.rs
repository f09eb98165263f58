//! Arguments that choose a device.

use crate::text::size;
use crate::{cache, terminal};
use anyhow::{Context, Result, bail};
use clap::Args;
use pleura::gpu::{self, Adapter};
use pleura::ring::Simd;
use pleura::{Device, DeviceKind, DeviceNote, DeviceSelector, GpuOptions};

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
            cache: cache::kernels()?,
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
    chosen.context("PLEURA_SIMD names none of this processor's instruction sets")
}

/// The variable of the environment that chooses Vulkan's drivers, if one is set.
fn driver_variable() -> Option<&'static str> {
    gpu::DRIVER_VARIABLES.into_iter().find(|name| std::env::var_os(name).is_some())
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
