//! Arguments that choose a device.

use crate::text::UNITS;
use crate::{cache, terminal};
use anyhow::{Context, Result, bail};
use clap::Args;
use pleura::gpu::{self, Adapter};
use pleura::ring::Simd;
use pleura::{Device, DeviceKind, DeviceNote, DeviceSelector, GpuOptions};

/// More than any GPU has.
const MAX_GPU_MEMORY: f64 = (1u64 << 50) as f64;

/// Which device, and how it is used.
#[derive(Args)]
pub(crate) struct DeviceArgs {
    /// Where to compute: auto, cpu, gpu (the first one) or the number of a GPU, as `pleura devices` has it. auto takes a
    /// GPU that is none in software, or the processor.
    #[arg(long, value_name = "DEVICE", default_value = "auto", allow_hyphen_values = true)]
    device: DeviceSelector,

    #[command(flatten)]
    memory: GpuMemory,
}

/// How much of a GPU's memory is used.
#[derive(Args, Clone, Copy)]
pub(crate) struct GpuMemory {
    /// Memory to use on a GPU, as in 6GB or 512MiB, instead of all it has: keys and weights beyond are brought there as they are
    /// needed.
    #[arg(long, value_name = "SIZE", value_parser = size, allow_hyphen_values = true)]
    gpu_memory: Option<u64>,
}

impl DeviceArgs {
    /// Finds and starts the device; `threads` counts on the processor alone.
    pub(crate) fn find(&self, threads: usize) -> Result<Device> {
        let device = open(self.device, threads, &self.memory.options()?)?;
        self.memory.tell(is_gpu(&device));
        Ok(device)
    }

    /// Bytes of a GPU's memory that may be used, if not all.
    pub(crate) fn memory_limit(&self) -> Option<u64> {
        self.memory.gpu_memory
    }
}

impl GpuMemory {
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

    /// Says what comes to nothing, given whether a GPU is used.
    pub(crate) fn tell(self, gpu: bool) {
        if !gpu && self.gpu_memory.is_some() {
            terminal::note("--gpu-memory has no effect: the processor computes");
        }
        // Whoever starts a GPU makes the folder, if nothing is in its place.
        if let Some(path) =
            cache::kernels().ok().flatten().filter(|path| gpu && path.exists() && !path.is_dir())
        {
            terminal::warn(&format!("compiled kernels are not kept: {} is no directory", path.display()));
        }
    }
}

/// Starts a device, with the remarks that come with it.
pub(crate) fn open(selector: DeviceSelector, threads: usize, options: &GpuOptions) -> Result<Device> {
    let device = Device::select(selector, Some(threads), options)?;
    device.notes().iter().for_each(tell);
    Ok(device)
}

/// Tells that a GPU leaves a plan to the processor, if it did.
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
            terminal::note(&format!("{note}; --device gpu takes the one in software"));
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

/// Bytes, with a unit.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || {
        "it is a number with a unit, as in 6GB or 512MiB: kB, MB, GB, TB (or k, M, G, T) or KiB, MiB, GiB, TiB".to_owned()
    };
    let lower = text.trim().to_ascii_lowercase();
    let units = UNITS.iter().map(|(name, unit)| (name.to_ascii_lowercase(), *unit));
    let short = UNITS.iter().filter_map(|(name, unit)| {
        let letter = name.strip_suffix('B')?.to_ascii_lowercase();
        (!letter.ends_with('i')).then_some((letter, *unit))
    });
    let parts =
        units.chain(short).find_map(|(name, unit)| Some((lower.strip_suffix(&name)?.to_owned(), unit)));
    let (number, unit) = parts.ok_or_else(wrong)?;
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    let bytes = number * unit as f64;
    if bytes > MAX_GPU_MEMORY && bytes.is_finite() {
        return Err("no GPU has as much: 1024TiB at most".to_owned());
    }
    if bytes.is_finite() && bytes >= 1.0 { Ok(bytes as u64) } else { Err(wrong()) }
}

/// Whether a variable of the environment is on.
fn switch(name: &'static str) -> Result<bool> {
    let value = std::env::var_os(name).unwrap_or_default();
    match value.to_str() {
        Some("" | "0") => Ok(false),
        Some("1") => Ok(true),
        _ => bail!("{name} is {:?}: 1 turns it on, 0 or nothing off", value.to_string_lossy()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_need_a_unit() {
        assert_eq!(size("6GB"), Ok(6_000_000_000));
        assert_eq!(size("1.5 GiB"), Ok(3 << 29));
        assert_eq!(size("512MiB"), Ok(512 << 20));
        for (text, bytes) in [("6gb", 6_000_000_000), ("6g", 6_000_000_000), ("3K", 3000), ("3kib", 3072)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        assert_eq!(size("1024tib"), Ok(1 << 50));
        assert!(size("1025TiB").unwrap_err().contains("at most"));
        for text in ["", "6", "GB", "-1GB", "0GB", "infGB", "nanGB", "6 gigs", "1e400GB", "6ki", "6b", "-1"] {
            assert!(size(text).unwrap_err().contains("KiB, MiB"), "{text}");
        }
    }
}
