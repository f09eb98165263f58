//! Where the server's half runs.

use crate::error::{CliError, on_gpu};
use crate::model::all_cores;
use crate::table::UNITS;
use crate::{cache, memory, terminal};
use anyhow::{Context, bail};
use clap::Args;
use pleura::ckks::Backend;
use pleura::gpu::{self, Adapter, AdapterInfo, Gpu, Options};
use pleura::ring::{Cpu, Ring, Simd};
use std::str::FromStr;
use std::sync::Arc;

/// Context of an error of a GPU that does not start.
const CANNOT_START: &str = "cannot start the GPU";

/// More than any GPU has.
const MAX_GPU_MEMORY: f64 = (1u64 << 50) as f64;

/// Which device, and how it is used.
#[derive(Args)]
pub(crate) struct DeviceArgs {
    /// Where to compute: auto, cpu, gpu (the first one) or the number of a GPU, as `pleura devices` has it. auto takes a
    /// GPU that is none in software, or the processor.
    #[arg(long, value_name = "DEVICE", default_value = "auto", allow_hyphen_values = true)]
    device: Wanted,

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

/// What `--device` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The first GPU that is none in software, or else the processor.
    Auto,
    /// The processor.
    Cpu,
    /// The first GPU.
    Gpu,
    /// The GPU of this number.
    Number(usize),
}

/// A device that is ready.
pub(crate) enum Device {
    /// The processor, with so many threads.
    Cpu { threads: usize },
    /// A GPU.
    Gpu {
        /// Its place in [`gpu::adapters`].
        number: usize,
        info: AdapterInfo,
        device: Arc<gpu::Device>,
        /// Bytes of its memory that may be used, if not all.
        limit: Option<u64>,
        /// The threads of the processor, if that may take over.
        instead: Option<usize>,
    },
}

/// A backend whose memory can be told.
pub(crate) trait Metered: Backend {
    /// The most bytes that were in use: of the GPU's memory since it was started, or of this process's since
    /// [`memory::reset_peak`].
    fn peak_bytes(&self) -> Option<u64>;

    /// Whether it is a GPU: predictions are of a processor.
    fn is_gpu(&self) -> bool;
}

/// Work for whatever backend it turns out to be.
pub(crate) trait OnDevice {
    /// What comes out.
    type Output;

    /// Does the work.
    fn run<B: Metered>(self, backend: B) -> Result<Self::Output, CliError>;
}

impl DeviceArgs {
    /// Finds and starts it; `threads` counts on the processor alone.
    pub(crate) fn find(&self, threads: usize) -> Result<Device, CliError> {
        let device = Device::find(self.device, threads, &self.memory.options()?)?;
        self.memory.tell(matches!(device, Device::Gpu { .. }));
        Ok(device)
    }
}

impl GpuMemory {
    /// What a GPU is started with.
    pub(crate) fn options(self) -> Result<Options, CliError> {
        Ok(Options {
            memory_bytes: self.gpu_memory,
            no_int64: switch("PLEURA_GPU_NO_INT64")?,
            checks: switch("PLEURA_GPU_CHECKS")?,
            cache: cache::kernels()?,
            ..Options::default()
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

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "auto" => Self::Auto,
            "cpu" => Self::Cpu,
            "gpu" => Self::Gpu,
            _ => {
                // One way to write each number, as `pleura devices` does.
                let plain = text == "0" || !text.starts_with(['0', '+']);
                let number = text.parse().ok().filter(|_| plain);
                Self::Number(number.ok_or_else(|| "it is auto, cpu, gpu or the number of a GPU".to_owned())?)
            }
        })
    }
}

impl Device {
    /// Finds and starts it; `threads` counts on the processor alone.
    pub(crate) fn find(wanted: Wanted, threads: usize, options: &Options) -> Result<Self, CliError> {
        // Drivers are not even asked where they are not needed.
        if wanted == Wanted::Cpu {
            return Ok(Self::Cpu { threads });
        }
        let adapters = gpu::adapters();
        let open = |number: usize, adapter: &Adapter, instead: Option<usize>| {
            let device = adapter.open(options).context(CANNOT_START)?;
            let (info, limit) = (adapter.info().clone(), options.memory_bytes);
            Ok::<_, CliError>(Self::Gpu { number, info, device, limit, instead })
        };
        let number = match wanted {
            Wanted::Auto | Wanted::Cpu => return Ok(Self::auto(&adapters, threads, open)),
            Wanted::Gpu => {
                software(&adapters);
                0
            }
            Wanted::Number(number) => number,
        };
        match adapters.get(number) {
            Some(adapter) => open(number, adapter, None),
            None if adapters.is_empty() => {
                let why = diagnosis(&adapters).map_or(String::new(), |why| format!(": {why}"));
                bail!("there is no GPU{why}; --device cpu computes on the processor")
            }
            None => bail!("there is no GPU {number}; {}", known(&adapters)),
        }
    }

    /// The first real GPU that starts, or the processor with a line that says so.
    fn auto(
        adapters: &[Adapter],
        threads: usize,
        open: impl Fn(usize, &Adapter, Option<usize>) -> Result<Self, CliError>,
    ) -> Self {
        let mut found = false;
        for (number, adapter) in adapters.iter().enumerate().filter(|(_, adapter)| !adapter.is_software()) {
            found = true;
            match open(number, adapter, Some(threads)) {
                Ok(device) => return device,
                Err(error) => terminal::warn(&terminal::chain(&error)),
            }
        }
        let what = match adapters.first() {
            _ if found => "no GPU can be started".to_owned(),
            Some(passed) => {
                format!("no GPU found ({} is one in software; --device gpu takes it)", passed.info().name)
            }
            None => "no GPU found".to_owned(),
        };
        let why = diagnosis(adapters).map_or(String::new(), |why| format!(" ({why})"));
        terminal::note(&format!("{what}, using the processor{why}"));
        Self::Cpu { threads }
    }

    /// Makes it ready for a ring and hands it the work.
    pub(crate) fn run<T: OnDevice>(&self, ring: &Arc<Ring>, work: T) -> Result<T::Output, CliError> {
        let cpu = |threads| Ok::<_, CliError>(Cpu::with(ring.clone(), Simd::preferred(), threads)?);
        match self {
            Self::Cpu { threads } => work.run(cpu(*threads)?),
            Self::Gpu { device, instead, limit, .. } => {
                let told = |error: CliError| on_gpu(error, *limit);
                match (Gpu::new(ring.clone(), device.clone()).context(CANNOT_START), instead) {
                    (Ok(backend), _) => work.run(backend).map_err(told),
                    (Err(error), Some(threads)) => {
                        terminal::warn(&format!("{}: using the processor", terminal::chain(&told(error))));
                        work.run(cpu(*threads)?)
                    }
                    (Err(error), None) => Err(told(error)),
                }
            }
        }
    }

    /// What `--device` calls it.
    pub(crate) fn id(&self) -> String {
        match self {
            Self::Cpu { .. } => "cpu".to_owned(),
            Self::Gpu { number, .. } => number.to_string(),
        }
    }
}

impl Metered for Cpu {
    fn peak_bytes(&self) -> Option<u64> {
        memory::peak()
    }

    fn is_gpu(&self) -> bool {
        false
    }
}

impl Metered for Gpu {
    fn peak_bytes(&self) -> Option<u64> {
        Some(self.device().memory_bytes().1)
    }

    fn is_gpu(&self) -> bool {
        true
    }
}

/// The processor as it says of itself, with all cores unless told otherwise.
pub(crate) fn processor(threads: Option<usize>) -> Result<String, CliError> {
    // The smallest ring there is: a name needs no other.
    let primes = pleura::ring::primes_below(30.0, 1 << 4, 1, &[])?;
    let ring = Arc::new(Ring::new(4, &primes, &[])?);
    Ok(Cpu::with(ring, Simd::preferred(), threads.unwrap_or_else(all_cores))?.name())
}

/// Why no GPU, or not the one expected, is found.
pub(crate) fn diagnosis(adapters: &[Adapter]) -> Option<String> {
    let variable = gpu::DRIVER_VARIABLES.into_iter().find(|name| std::env::var_os(name).is_some());
    gpu::diagnosis(adapters, variable)
}

/// Chooses the instruction set that `PLEURA_SIMD` names, if it is set.
pub(crate) fn choose_simd() -> Result<(), CliError> {
    let Some(wanted) = std::env::var_os("PLEURA_SIMD") else { return Ok(()) };
    let chosen = wanted.to_string_lossy().parse::<Simd>().and_then(Simd::set_preferred);
    chosen.context("PLEURA_SIMD names none of this processor's instruction sets")
}

/// Says so where the first GPU is none.
fn software(adapters: &[Adapter]) {
    if let Some(first) = adapters.first().filter(|first| first.is_software()) {
        let why = diagnosis(adapters).map_or(String::new(), |why| format!("; {why}"));
        let name = &first.info().name;
        terminal::note(&format!("{name} is a GPU in software: for tests, slower than --device cpu{why}"));
    }
}

fn known(adapters: &[Adapter]) -> String {
    let each = adapters.iter().enumerate();
    let names: Vec<_> = each.map(|(i, adapter)| format!("{i} ({})", adapter.info().name)).collect();
    if names.len() == 1 {
        format!("there is {}", names.concat())
    } else {
        format!("there are {}", names.join(", "))
    }
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
fn switch(name: &'static str) -> Result<bool, CliError> {
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
    fn devices_are_named() {
        assert_eq!("auto".parse(), Ok(Wanted::Auto));
        assert_eq!("2".parse(), Ok(Wanted::Number(2)));
        assert!("tpu".parse::<Wanted>().unwrap_err().contains("auto, cpu, gpu"));
        for text in ["-1", "+0", "00", "01", "", " 1", "1.0"] {
            assert!(text.parse::<Wanted>().is_err(), "{text}");
        }
        let options = Options::default();
        let cpu = Device::find(Wanted::Cpu, 3, &options).unwrap();
        assert!(matches!(cpu, Device::Cpu { threads: 3 }) && cpu.id() == "cpu");
        let error = Device::find(Wanted::Number(999), 3, &options).err().unwrap();
        assert!(error.to_string().starts_with("there is no GPU"), "{error}");
        assert!(processor(Some(1)).unwrap().starts_with("cpu ("));
    }

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
