//! Where the server's half runs, chosen at run time.

use crate::any_backend::AnyBackend;
use pleura_gpu::{self as gpu, Adapter, AdapterInfo, DeviceTimes, Gpu, GpuError, Kind};
use pleura_nn::DeviceClass;
use pleura_ring::{Cpu, Ring, RingError, Simd};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

pub use pleura_gpu::Options as GpuOptions;

/// The processor, or a GPU that is started. Clones share it.
#[derive(Clone)]
pub struct Device {
    place: Place,
    notes: Arc<Mutex<Vec<DeviceNote>>>,
}

/// Which device to use: `auto`, `cpu`, `gpu` or the number of a GPU, as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceSelector {
    /// The first GPU in hardware that starts, or else the processor.
    Auto,
    /// The processor.
    Cpu,
    /// The first GPU.
    Gpu,
    /// The GPU of this number: its position in [`pleura_gpu::adapters`].
    Number(usize),
}

/// A text that selects no device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is auto, cpu, gpu or the number of a GPU")]
pub struct DeviceSelectorError;

/// Kind of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// The processor.
    Cpu,
    /// A GPU of some kind.
    Gpu(Kind),
}

/// Note on a device that is not quite what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceNote {
    /// The GPU asked for is a software driver: for tests, and slower than the CPU backend.
    SoftwareGpu {
        /// Name of the GPU.
        name: String,
        /// Probable reason why there is no other, if there is one.
        diagnosis: Option<String>,
    },
    /// A GPU was skipped because it does not start.
    CannotStart {
        /// Number of the GPU.
        number: usize,
        /// Error of the GPU.
        error: GpuError,
    },
    /// The processor computes because there is no hardware GPU.
    NoGpu {
        /// Name of a software GPU that was skipped.
        software: Option<String>,
        /// Probable reason why there is no other, if there is one.
        diagnosis: Option<String>,
    },
    /// The processor computes because no GPU starts.
    NoGpuStarts {
        /// Probable reason, if there is one.
        diagnosis: Option<String>,
    },
    /// The processor computes because the GPU cannot hold a ring.
    RingOnProcessor {
        /// Error of the GPU.
        error: GpuError,
    },
}

/// Why a device cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// There is no GPU at all.
    #[error("there is no GPU{}", diagnosis.as_ref().map_or(String::new(), |why| format!(": {why}")))]
    NoGpu {
        /// Probable reason, if there is one.
        diagnosis: Option<String>,
    },
    /// There is no GPU of a number.
    #[error("there is no GPU {number}; {}", listed(known))]
    NoSuchGpu {
        /// The number.
        number: usize,
        /// The names of those that there are, in order.
        known: Vec<String>,
    },
    /// The GPU does not start, or cannot hold a ring.
    #[error("cannot start the GPU")]
    Gpu(#[from] GpuError),
    /// The processor's threads do not start.
    #[error(transparent)]
    Ring(#[from] RingError),
}

#[derive(Clone)]
enum Place {
    Cpu {
        threads: usize,
    },
    Gpu {
        number: usize,
        info: AdapterInfo,
        device: Arc<gpu::Device>,
        /// The threads of the processor, if that may take over.
        instead: Option<usize>,
    },
}

impl Device {
    /// The CPU, with a number of threads or one for each core.
    pub fn cpu(threads: Option<usize>) -> Self {
        Self::at(Place::Cpu { threads: threads.unwrap_or_else(all_cores) }, Vec::new())
    }

    /// A GPU that was asked for; [`DeviceSelector::Auto`] means the first, as [`DeviceSelector::Gpu`] does.
    ///
    /// # Errors
    /// [`DeviceError::NoGpu`], [`DeviceError::NoSuchGpu`], [`DeviceError::Gpu`]
    pub fn gpu(selector: DeviceSelector, options: &GpuOptions) -> Result<Self, DeviceError> {
        let adapters = gpu::adapters();
        let diagnosis = gpu::diagnosis(&adapters, options.driver_variable);
        let number = if let DeviceSelector::Number(number) = selector { number } else { 0 };
        let Some(adapter) = adapters.get(number) else {
            return Err(if adapters.is_empty() {
                DeviceError::NoGpu { diagnosis }
            } else {
                let known = adapters.iter().map(|adapter| adapter.info().name.clone()).collect();
                DeviceError::NoSuchGpu { number, known }
            });
        };
        let chosen = matches!(selector, DeviceSelector::Number(_));
        let software = (!chosen && adapter.is_software())
            .then(|| DeviceNote::SoftwareGpu { name: adapter.info().name.clone(), diagnosis });
        Ok(Self::at(Place::start(number, adapter, options, None)?, software.into_iter().collect()))
    }

    /// The first hardware GPU that starts, or else the CPU with a number of threads, or one for each core;
    /// [`Device::notes`] say why.
    /// ```
    /// use pleura::{Device, DeviceKind, GpuOptions};
    ///
    /// let device = Device::auto(None, &GpuOptions::default());
    /// println!("{}", device.name());
    /// // On the CPU, a note says why no GPU was taken.
    /// assert!(device.kind() != DeviceKind::Cpu || !device.notes().is_empty());
    /// ```
    pub fn auto(threads: Option<usize>, options: &GpuOptions) -> Self {
        let threads = threads.unwrap_or_else(all_cores);
        let adapters = gpu::adapters();
        let mut notes = Vec::new();
        for (number, adapter) in adapters.iter().enumerate().filter(|(_, adapter)| !adapter.is_software()) {
            match Place::start(number, adapter, options, Some(threads)) {
                Ok(place) => return Self::at(place, notes),
                Err(error) => notes.push(DeviceNote::CannotStart { number, error }),
            }
        }
        let diagnosis = gpu::diagnosis(&adapters, options.driver_variable);
        notes.push(if notes.is_empty() {
            let software = adapters.first().map(|adapter| adapter.info().name.clone());
            DeviceNote::NoGpu { software, diagnosis }
        } else {
            DeviceNote::NoGpuStarts { diagnosis }
        });
        Self::at(Place::Cpu { threads }, notes)
    }

    /// The device that a selector names; `threads` count on the processor alone. Drivers are not asked where the
    /// processor is named.
    ///
    /// # Errors
    /// As [`Device::gpu`], for selectors of GPUs.
    pub fn select(
        selector: DeviceSelector,
        threads: Option<usize>,
        options: &GpuOptions,
    ) -> Result<Self, DeviceError> {
        match selector {
            DeviceSelector::Auto => Ok(Self::auto(threads, options)),
            DeviceSelector::Cpu => Ok(Self::cpu(threads)),
            DeviceSelector::Gpu | DeviceSelector::Number(_) => Self::gpu(selector, options),
        }
    }

    /// The device, in a few words.
    pub fn name(&self) -> String {
        match &self.place {
            Place::Cpu { threads } => Cpu::describe(Simd::preferred(), *threads),
            Place::Gpu { device, .. } => Gpu::describe(device),
        }
    }

    /// Kind of the device.
    pub fn kind(&self) -> DeviceKind {
        match &self.place {
            Place::Cpu { .. } => DeviceKind::Cpu,
            Place::Gpu { info, .. } => DeviceKind::Gpu(info.kind),
        }
    }

    /// Class of the device, for [`CompileOptions::device`](pleura_nn::CompileOptions::device).
    pub fn class(&self) -> DeviceClass {
        match &self.place {
            Place::Cpu { .. } => DeviceClass::Processor,
            Place::Gpu { .. } => DeviceClass::Accelerator,
        }
    }

    /// Facts about a GPU; `None` for the processor.
    pub fn gpu_info(&self) -> Option<&AdapterInfo> {
        match &self.place {
            Place::Cpu { .. } => None,
            Place::Gpu { info, .. } => Some(info),
        }
    }

    /// Whether it computes with 64-bit integers, which a processor always does.
    pub fn shader_int64(&self) -> bool {
        match &self.place {
            Place::Cpu { .. } => true,
            Place::Gpu { device, .. } => device.shader_int64(),
        }
    }

    /// Selector of this device: `cpu`, or the number of a GPU.
    pub fn selector(&self) -> DeviceSelector {
        match self.place {
            Place::Cpu { .. } => DeviceSelector::Cpu,
            Place::Gpu { number, .. } => DeviceSelector::Number(number),
        }
    }

    /// Notes on the choice of the device so far; [`Device::backend`] may add some.
    pub fn notes(&self) -> Vec<DeviceNote> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The most bytes of a GPU's memory that were in use since it was started; `None` for the processor, whose memory
    /// is the process's.
    pub fn peak_memory_bytes(&self) -> Option<u64> {
        match &self.place {
            Place::Cpu { .. } => None,
            Place::Gpu { device, .. } => Some(device.memory_bytes().1),
        }
    }

    /// Waits, and returns the times of all kernels and submits since the last call; `None` for the processor, and unless
    /// [`GpuOptions::profile`] was set and the GPU has time stamps.
    ///
    /// # Errors
    /// [`BackendError`](pleura_ring::BackendError), if the GPU fails.
    pub fn kernel_times(&self) -> Result<Option<DeviceTimes>, pleura_ring::BackendError> {
        match &self.place {
            Place::Cpu { .. } => Ok(None),
            Place::Gpu { device, .. } => device.kernel_times(),
        }
    }

    /// Makes the device ready for a ring. A GPU that was chosen by [`Device::auto`] and cannot hold the ring leaves
    /// it to the processor, with a note.
    ///
    /// # Errors
    /// [`DeviceError::Gpu`], [`DeviceError::Ring`]
    pub fn backend(&self, ring: &Arc<Ring>) -> Result<AnyBackend, DeviceError> {
        match &self.place {
            Place::Cpu { threads } => cpu(ring, *threads),
            Place::Gpu { device, instead, .. } => match (Gpu::new(ring.clone(), device.clone()), instead) {
                (Ok(gpu), _) => Ok(AnyBackend::Gpu(gpu)),
                (Err(error), Some(threads)) => {
                    let note = DeviceNote::RingOnProcessor { error };
                    self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
                    cpu(ring, *threads)
                }
                (Err(error), None) => Err(error.into()),
            },
        }
    }

    fn at(place: Place, notes: Vec<DeviceNote>) -> Self {
        Self { place, notes: Arc::new(Mutex::new(notes)) }
    }
}

impl DeviceSelector {
    /// Class of the device that it would select, which is not started: `auto` expects that a GPU in hardware starts.
    pub fn class(self) -> DeviceClass {
        match self {
            Self::Cpu => DeviceClass::Processor,
            Self::Gpu | Self::Number(_) => DeviceClass::Accelerator,
            Self::Auto if gpu::adapters().iter().any(|adapter| !adapter.is_software()) => {
                DeviceClass::Accelerator
            }
            Self::Auto => DeviceClass::Processor,
        }
    }
}

impl Place {
    fn start(
        number: usize,
        adapter: &Adapter,
        options: &GpuOptions,
        instead: Option<usize>,
    ) -> Result<Self, GpuError> {
        let device = adapter.open(options)?;
        Ok(Self::Gpu { number, info: adapter.info().clone(), device, instead })
    }
}

impl FromStr for DeviceSelector {
    type Err = DeviceSelectorError;

    fn from_str(text: &str) -> Result<Self, DeviceSelectorError> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "gpu" => Ok(Self::Gpu),
            // One way to write each number.
            _ if text != "0" && text.starts_with(['0', '+']) => Err(DeviceSelectorError),
            _ => text.parse().map(Self::Number).map_err(|_| DeviceSelectorError),
        }
    }
}

impl fmt::Display for DeviceSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu => f.write_str("gpu"),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Gpu(kind) => write!(f, "{kind} gpu"),
        }
    }
}

impl fmt::Display for DeviceNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let because = |why: &Option<String>| why.as_ref().map_or(String::new(), |why| format!(" ({why})"));
        match self {
            Self::SoftwareGpu { name, diagnosis } => {
                let why = because(diagnosis);
                write!(
                    f,
                    "{name} is a software driver: it is for tests, and slower than the processor itself{why}"
                )
            }
            Self::CannotStart { number, error } => write!(f, "cannot start GPU {number}: {error}"),
            Self::NoGpu { software: None, diagnosis } => {
                write!(f, "no GPU found, using the processor{}", because(diagnosis))
            }
            Self::NoGpu { software: Some(name), diagnosis } => {
                let why = because(diagnosis);
                write!(
                    f,
                    "no GPU in hardware found, only the software driver {name}: using the processor{why}"
                )
            }
            Self::NoGpuStarts { diagnosis } => {
                write!(f, "no GPU can be started, using the processor{}", because(diagnosis))
            }
            Self::RingOnProcessor { error } => {
                write!(f, "the GPU cannot be used here, using the processor: {error}")
            }
        }
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("name", &self.name())
            .field("kind", &self.kind())
            .finish_non_exhaustive()
    }
}

fn cpu(ring: &Arc<Ring>, threads: usize) -> Result<AnyBackend, DeviceError> {
    Ok(AnyBackend::Cpu(Cpu::with(ring.clone(), Simd::preferred(), threads)?))
}

fn all_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// `there are 0 (A), 1 (B)`
fn listed(known: &[String]) -> String {
    let names: Vec<_> = known.iter().enumerate().map(|(i, name)| format!("{i} ({name})")).collect();
    format!("there {} {}", if names.len() == 1 { "is" } else { "are" }, names.join(", "))
}
