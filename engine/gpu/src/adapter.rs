//! The GPUs of this machine, their capabilities, and why one may be missing.

use crate::adapter_memory::{DeviceMemory, device_memory};
use crate::limits::largest_block;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

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
    /// Graphics interface: `vulkan`, `metal` or `dx12`.
    pub api: String,
    /// The driver and its version.
    pub driver: String,
    /// Whether kernels can compute with 64-bit integers (wgpu's `SHADER_INT64`), which makes them faster.
    pub shader_int64: bool,
    /// Whether it supports timestamps of its own work.
    pub timestamps: bool,
    /// Bytes of one buffer that one kernel can address.
    pub max_binding_bytes: u64,
    /// Maximum size of a buffer in bytes.
    pub max_buffer_bytes: u64,
    /// Bytes of workgroup memory.
    pub workgroup_bytes: u32,
    /// Address on the PCI bus, `0000:01:00.0`, where the driver gives it: it tells two cards of the same name apart.
    pub pci_bus: Option<String>,
    /// Identifiers of vendor and model.
    pub pci_id: (u32, u32),
    /// Threads that execute together: least and most.
    pub subgroup: (u32, u32),
    /// Words of the largest block that a workgroup transforms; 0 if it can run no kernel.
    pub block_words: usize,
    /// Memory of the GPU, where the interface says.
    pub memory: Option<DeviceMemory>,
}

/// Kinds of GPU, the fastest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A discrete GPU.
    Discrete,
    /// A GPU integrated into the processor.
    Integrated,
    /// A GPU of a virtual machine.
    Virtual,
    /// Unknown: the driver does not report the kind.
    Other,
    /// A driver in software, for tests.
    Software,
}

/// Options of opening a GPU.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Memory limit in bytes. Keys and weights that do not fit are streamed to the device when they are used.
    pub memory_bytes: Option<u64>,
    /// Limit of the bytes that one kernel addresses in one buffer, below the device's own: for tests of split batches.
    pub max_binding_bytes: Option<u64>,
    /// Disables 64-bit integers in kernels even where the device has them: for tests.
    pub no_int64: bool,
    /// Enables bounds checks in the kernels: slow, for tests.
    pub checks: bool,
    /// Opens a Vulkan device without robust buffer access, which drivers check every access to buffers for: to measure what that costs. Other
    /// interfaces ignore it.
    pub no_robustness: bool,
    /// Name of a kernel that is left out, or `all`: results are wrong, and the time that is saved is the kernel's share. To measure.
    pub skipped_kernel: Option<String>,
    /// Dispatches every kernel without workgroups, so that the device computes nothing: results are wrong, and the time that remains is the
    /// share of the host and the driver. To measure.
    pub no_workgroups: bool,
    /// Takes the time of every kernel, for [`Device::kernel_times`](crate::Device::kernel_times): each dispatch waits for the one before.
    pub profile: bool,
    /// Receives the numbers of kernels that are compiled, and of all, while a ring's are.
    pub observer: Option<CompileObserver>,
    /// Folder of the pipeline cache, which keeps compiled kernels between runs.
    pub cache: Option<PathBuf>,
    /// The one of [`DRIVER_VARIABLES`] that is set in the environment, if any; [`diagnosis`] names it.
    pub driver_variable: Option<&'static str>,
}

/// Receives the progress of a compilation: finished kernels, and all. It is called on several threads.
#[derive(Clone)]
pub struct CompileObserver(pub Arc<dyn Fn(usize, usize) + Send + Sync>);

impl fmt::Debug for CompileObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CompileObserver")
    }
}

/// All GPUs, the fastest kind first and software last. A GPU's position is the number that users select it by.
pub fn adapters() -> Vec<Adapter> {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    // Beyond its memory a driver may page to that of the host, ten times as slow. As an error it makes constants stay with the host.
    descriptor.memory_budget_thresholds.for_resource_creation = Some(MEMORY_PERCENT);
    let instance = wgpu::Instance::new(descriptor);
    let found = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let mut adapters: Vec<_> = found.into_iter().map(Adapter::new).collect();
    adapters.sort_by_key(|a| a.info.kind);
    adapters
}

/// Share of a device's free memory, in per cent, beyond which buffers are refused.
const MEMORY_PERCENT: u8 = 90;

/// Environment variables that restrict the Vulkan loader to some drivers.
pub const DRIVER_VARIABLES: [&str; 2] = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];

/// Why no GPU, or not the expected one, is found: a sentence that says what to do, or `None` if no cause is apparent. `variable`
/// is the one of [`DRIVER_VARIABLES`] that is set, if any.
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
            pci_bus: Some(info.device_pci_bus_id).filter(|bus| !bus.is_empty()),
            pci_id: (info.vendor, info.device),
            subgroup: (info.subgroup_min_size, info.subgroup_max_size),
            block_words: largest_block(&limits).map_or(0, |log_words| 1 << log_words),
            memory: device_memory(&adapter),
        };
        Self { adapter, info }
    }

    /// Description of the GPU.
    pub fn info(&self) -> &AdapterInfo {
        &self.info
    }

    /// Whether it is a software driver, which computes on the processor.
    pub fn is_software(&self) -> bool {
        self.info.kind == Kind::Software
    }
}

impl AdapterInfo {
    /// Whether another adapter is the same card through another interface.
    pub fn is_same_card(&self, other: &Self) -> bool {
        let same_bus = match (&self.pci_bus, &other.pci_bus) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        self.api != other.api && self.pci_id == other.pci_id && same_bus
    }

    /// Why the kernels are not compiled for this GPU at all.
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        // wgpu falls back to the old compiler where it finds no new one; there are no 64-bit integers then.
        (self.api == "dx12" && !self.shader_int64).then_some(
            "DX12 has no 64-bit integers here, so the old compiler FXC would be used, which takes minutes: use the card through Vulkan, or \
             put dxcompiler.dll (from Microsoft's DirectXShaderCompiler) on the PATH",
        )
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

#[cfg(test)]
mod tests {
    use super::*;

    fn card(api: &str, bus: Option<&str>) -> AdapterInfo {
        AdapterInfo {
            name: "card".to_owned(),
            kind: Kind::Discrete,
            api: api.to_owned(),
            driver: String::new(),
            shader_int64: true,
            timestamps: true,
            max_binding_bytes: 0,
            max_buffer_bytes: 0,
            workgroup_bytes: 0,
            pci_bus: bus.map(str::to_owned),
            pci_id: (0x10de, 1),
            subgroup: (32, 32),
            block_words: 1 << 13,
            memory: None,
        }
    }

    #[test]
    fn a_card_is_recognized_through_two_interfaces() {
        let first = card("vulkan", Some("0000:01:00.0"));
        assert!(first.is_same_card(&card("dx12", None)));
        assert!(first.is_same_card(&card("dx12", Some("0000:01:00.0"))));
        // Two cards of a kind.
        assert!(!first.is_same_card(&card("dx12", Some("0000:02:00.0"))));
        assert!(!first.is_same_card(&card("vulkan", Some("0000:02:00.0"))));
    }

    #[test]
    fn the_old_compiler_of_dx12_is_refused() {
        assert_eq!(card("dx12", None).refusal(), None);
        let without = AdapterInfo { shader_int64: false, ..card("dx12", None) };
        assert!(without.refusal().unwrap().contains("dxcompiler.dll"));
        assert_eq!(AdapterInfo { shader_int64: false, ..card("vulkan", None) }.refusal(), None);
    }
}
