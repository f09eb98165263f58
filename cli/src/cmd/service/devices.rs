//! Arguments that choose the devices of a server.

use crate::device::{self, GpuMemory};
use crate::terminal;
use anyhow::{Result, bail};
use clap::Args;
use pleura::{Device, DeviceSelector};

/// The devices of a server.
#[derive(Args)]
pub(crate) struct DevicesArgs {
    /// Device, repeatable: auto, cpu, gpu (the first one) or a number from `pleura devices` [default: auto].
    #[arg(long, value_name = "DEVICE", allow_hyphen_values = true)]
    device: Vec<DeviceSelector>,

    #[command(flatten)]
    memory: GpuMemory,
}

impl DevicesArgs {
    /// Finds and starts each device once; `threads` limits the processor only.
    pub(crate) fn find(&self, threads: usize) -> Result<Vec<Device>> {
        let asked = if self.device.is_empty() { &[DeviceSelector::Auto][..] } else { &self.device };
        let mut devices: Vec<Device> = Vec::new();
        for &selector in asked {
            let device = device::open(selector, threads, &self.memory.options()?)?;
            if devices.iter().any(|other| other.selector() == device.selector()) {
                bail!("--device {selector} selects {}, as an earlier --device does", device.name());
            }
            terminal::detail(&format!("device {}", device.name()));
            devices.push(device);
        }
        self.memory.tell(devices.iter().any(device::is_gpu));
        Ok(devices)
    }

    /// Bytes of each GPU's memory that may be used, if not all.
    pub(crate) fn memory_limit(&self) -> Option<u64> {
        self.memory.bytes()
    }
}
