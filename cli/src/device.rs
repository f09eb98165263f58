//! Where the server's half runs.

use crate::error::CliError;
use crate::model::all_cores;
use crate::{cache, memory, terminal};
use clap::Args;
use pleura::ckks::Backend;
use pleura::gpu::{self, Adapter, AdapterInfo, Gpu, Options};
use pleura::ring::{Cpu, Ring, Simd};
use std::str::FromStr;
use std::sync::Arc;

/// Units of `--gpu-memory`.
const UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Which device, and how it is used.
#[derive(Args)]
pub(crate) struct DeviceArgs {
    /// Where to compute: auto, cpu, gpu (the first one) or the number of a GPU, as `pleura devices` has it. auto takes a
    /// GPU that is none in software, or the processor.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: Wanted,

    #[command(flatten)]
    memory: GpuMemory,
}

/// How much of a GPU's memory is used.
#[derive(Args, Clone, Copy)]
pub(crate) struct GpuMemory {
    /// Memory to use on a GPU, as in 6GB or 512MiB, instead of all it has: keys and weights beyond are brought there as they are
    /// needed.
    #[arg(long, value_name = "SIZE", value_parser = size)]
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
        /// The threads of the processor, if that may take over.
        instead: Option<usize>,
    },
}

/// A backend whose memory can be told.
pub(crate) trait Metered: Backend {
    /// The most bytes that were in use: of the GPU's memory since it was started, or of this process's since
    /// [`memory::reset_peak`].
    fn peak_bytes(&self) -> Option<u64>;
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
        Device::find(self.device, threads, &self.memory.options())
    }
}

impl GpuMemory {
    /// What a GPU is started with.
    pub(crate) fn options(self) -> Options {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
        Options {
            memory_bytes: self.gpu_memory,
            narrow: set("PLEURA_GPU_NARROW"),
            checks: set("PLEURA_GPU_CHECKS"),
            cache: cache::kernels(),
            ..Options::default()
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
                let number =
                    text.parse().map_err(|_| "it is auto, cpu, gpu or the number of a GPU".to_owned());
                Self::Number(number?)
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
            let device = adapter.open(options)?;
            Ok::<_, CliError>(Self::Gpu { number, info: adapter.info().clone(), device, instead })
        };
        let number = match wanted {
            Wanted::Auto | Wanted::Cpu => return Ok(Self::auto(&adapters, threads, open)),
            Wanted::Gpu => 0,
            Wanted::Number(number) => number,
        };
        match adapters.get(number) {
            Some(adapter) => open(number, adapter, None),
            None if adapters.is_empty() => Err(CliError::NoGpu { why: gpu::diagnosis(&adapters) }),
            None => Err(CliError::NoSuchGpu { number, known: known(&adapters) }),
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
        let what = if found { "no GPU can be started" } else { "no GPU found" };
        let why = gpu::diagnosis(adapters).map_or(String::new(), |why| format!(" ({why})"));
        terminal::note(&format!("{what}, using the processor{why}"));
        Self::Cpu { threads }
    }

    /// Makes it ready for a ring and hands it the work.
    pub(crate) fn run<T: OnDevice>(&self, ring: &Arc<Ring>, work: T) -> Result<T::Output, CliError> {
        let cpu = |threads| Ok::<_, CliError>(Cpu::with(ring.clone(), Simd::from_env()?, threads)?);
        match self {
            Self::Cpu { threads } => work.run(cpu(*threads)?),
            Self::Gpu { device, instead, .. } => match (Gpu::new(ring.clone(), device.clone()), instead) {
                (Ok(backend), _) => work.run(backend),
                (Err(error), Some(threads)) => {
                    terminal::warn(&format!("{}: using the processor", terminal::chain(&error)));
                    work.run(cpu(*threads)?)
                }
                (Err(error), None) => Err(error.into()),
            },
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
}

impl Metered for Gpu {
    fn peak_bytes(&self) -> Option<u64> {
        Some(self.device().memory_bytes().1)
    }
}

/// The processor as it says of itself, with all cores unless told otherwise.
pub(crate) fn processor(threads: Option<usize>) -> Result<String, CliError> {
    // The smallest ring there is: a name needs no other.
    let primes = pleura::ring::primes_below(30.0, 1 << 4, 1, &[])?;
    let ring = Arc::new(Ring::new(4, &primes, &[])?);
    Ok(Cpu::with(ring, Simd::from_env()?, threads.unwrap_or_else(all_cores))?.name())
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
    let wrong = || "it is a number with a unit, as in 6GB or 512MiB".to_owned();
    let (number, unit) =
        UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit))).ok_or_else(wrong)?;
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    let bytes = number * unit as f64;
    if bytes.is_finite() && bytes >= 1.0 { Ok(bytes as u64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named() {
        assert_eq!("auto".parse(), Ok(Wanted::Auto));
        assert_eq!("2".parse(), Ok(Wanted::Number(2)));
        assert!("tpu".parse::<Wanted>().unwrap_err().contains("auto, cpu, gpu"));
        assert!("-1".parse::<Wanted>().is_err());
        let options = Options::default();
        let cpu = Device::find(Wanted::Cpu, 3, &options).unwrap();
        assert!(matches!(cpu, Device::Cpu { threads: 3 }) && cpu.id() == "cpu");
        let error = Device::find(Wanted::Number(999), 3, &options).err().unwrap();
        assert!(matches!(error, CliError::NoGpu { .. } | CliError::NoSuchGpu { number: 999, .. }), "{error}");
        assert!(processor(Some(1)).unwrap().starts_with("cpu ("));
    }

    #[test]
    fn sizes_need_a_unit() {
        assert_eq!(size("6GB"), Ok(6_000_000_000));
        assert_eq!(size("1.5 GiB"), Ok(3 << 29));
        assert_eq!(size("512MiB"), Ok(512 << 20));
        for text in ["", "6", "GB", "-1GB", "0GB", "infGB", "nanGB", "6 gigs"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
