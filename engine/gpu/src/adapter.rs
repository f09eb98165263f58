//! The GPUs of this machine: which there are, what they can, and why one may be missing.

use std::fmt;
use std::path::PathBuf;

/// A GPU that a driver offers, not yet opened.
pub struct Adapter {
    pub(crate) adapter: wgpu::Adapter,
    info: AdapterInfo,
}

/// Description of a GPU that need not be open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterInfo {
    /// Name, as the driver gives it.
    pub name: String,
    /// Kind of GPU.
    pub kind: Kind,
    /// The interface it is reached through: `vulkan`, `metal` or `dx12`.
    pub api: String,
    /// The driver and its version.
    pub driver: String,
    /// Whether its kernels can compute with 64-bit integers, which makes them faster (wgpu's `SHADER_INT64`).
    pub shader_int64: bool,
    /// Whether it tells the time of its own work.
    pub timestamps: bool,
    /// Bytes that one kernel can see of one buffer.
    pub max_binding_bytes: u64,
    /// Bytes of one buffer.
    pub max_buffer_bytes: u64,
    /// Bytes that the threads of a workgroup share.
    pub workgroup_bytes: u32,
}

/// Kinds of GPU, the fastest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A card of its own.
    Discrete,
    /// A part of the processor.
    Integrated,
    /// Given to a virtual machine.
    Virtual,
    /// The driver does not say.
    Other,
    /// The processor, playing a GPU: for tests.
    Software,
}

/// How a GPU is used.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Bytes that may lie on the device, if not all it has: keys and weights beyond are streamed to it when they are used.
    pub memory_bytes: Option<u64>,
    /// Bytes that one kernel may see of one buffer, if fewer than the device's limit: for tests of what is split there.
    pub max_binding_bytes: Option<u64>,
    /// Kernels without 64-bit integers even where the device has them: for tests.
    pub no_int64: bool,
    /// Bounds checks in the kernels: slow, for tests.
    pub checks: bool,
    /// A folder where compiled kernels are kept from one run to the next.
    pub cache: Option<PathBuf>,
    /// The one of [`DRIVER_VARIABLES`] that is set in the environment, if any: for [`diagnosis`].
    pub driver_variable: Option<&'static str>,
}

/// All GPUs, the fastest kind first and software last; their positions are the numbers that users give.
pub fn adapters() -> Vec<Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    let instance = wgpu::Instance::new(descriptor);
    let found = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let mut adapters: Vec<_> = found.into_iter().map(Adapter::new).collect();
    adapters.sort_by_key(|a| a.info.kind);
    adapters
}

/// Variables of the environment that name the only Vulkan drivers to be used, as the loader reads them.
pub const DRIVER_VARIABLES: [&str; 2] = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];

/// Why no GPU, or not the one expected, is found: a sentence with what to do, if anything stands out. `variable` is the one of
/// [`DRIVER_VARIABLES`] that is set, if any.
pub fn diagnosis(adapters: &[Adapter], variable: Option<&str>) -> Option<String> {
    let exists = |path: &str| std::path::Path::new(path).exists();
    let real = adapters.iter().any(|a| !a.is_software());
    let says = |text: &str| Some(text.to_owned());
    if real {
        None
    } else if let (Some(name), true) = (variable, adapters.is_empty()) {
        Some(format!("{name} is set, and no Vulkan driver that it names can be used"))
    } else if exists("/proc/driver/nvidia/version") || exists("/dev/nvidiactl") {
        says(
            "an NVIDIA driver is loaded, but it hides Vulkan: in a container, start it with the driver capability \
             `graphics` (NVIDIA_DRIVER_CAPABILITIES=all), and install the loader (libvulkan1 on Debian)",
        )
    } else if exists("/dev/dri/renderD128") {
        says(
            "there is a graphics device, but no Vulkan driver for it: install one (mesa-vulkan-drivers on Debian) \
             and see that you may open /dev/dri/renderD128",
        )
    } else if adapters.is_empty() && cfg!(target_os = "linux") {
        says("no Vulkan driver can be used; mesa-vulkan-drivers (Debian) brings one in software, for tests")
    } else {
        None
    }
}

impl Adapter {
    fn new(adapter: wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        let limits = adapter.limits();
        let features = adapter.features();
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => Kind::Discrete,
            wgpu::DeviceType::IntegratedGpu => Kind::Integrated,
            wgpu::DeviceType::VirtualGpu => Kind::Virtual,
            wgpu::DeviceType::Cpu => Kind::Software,
            wgpu::DeviceType::Other => Kind::Other,
        };
        let info = AdapterInfo {
            name: info.name,
            kind,
            api: info.backend.to_str().to_owned(),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            shader_int64: features.contains(wgpu::Features::SHADER_INT64),
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            max_buffer_bytes: limits.max_buffer_size,
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
        };
        Self { adapter, info }
    }

    /// Description of the GPU.
    pub fn info(&self) -> &AdapterInfo {
        &self.info
    }

    /// Whether it is the processor in disguise.
    pub fn is_software(&self) -> bool {
        self.info.kind == Kind::Software
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Other => "unknown",
            Self::Software => "software",
        })
    }
}
