//! Where the server's half runs.

use crate::error::CliError;
use pleura::ckks::Backend;
use pleura::ring::{Cpu, Ring, Simd};
use std::num::ParseIntError;
use std::str::FromStr;
use std::sync::Arc;

/// What `--device` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The fastest there is.
    Auto,
    /// The processor.
    Cpu,
    /// The first GPU.
    Gpu,
    /// The GPU of this number.
    Number(u32),
}

/// A device that this build has.
pub(crate) enum Device {
    /// The processor, with so many threads.
    Cpu { threads: usize },
}

/// Work for whatever backend it turns out to be.
pub(crate) trait OnDevice {
    /// What comes out.
    type Output;

    /// Does the work.
    fn run<B: Backend>(self, backend: B) -> Result<Self::Output, CliError>;
}

impl FromStr for Wanted {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        Ok(match text {
            "auto" => Self::Auto,
            "cpu" => Self::Cpu,
            "gpu" => Self::Gpu,
            _ => Self::Number(text.parse()?),
        })
    }
}

impl Device {
    /// Finds it; `threads` counts on the processor alone.
    pub(crate) fn find(wanted: Wanted, threads: usize) -> Result<Self, CliError> {
        match wanted {
            Wanted::Auto | Wanted::Cpu => Ok(Self::Cpu { threads }),
            Wanted::Gpu | Wanted::Number(_) => Err(CliError::NoGpu),
        }
    }

    /// Starts it for a ring and hands it the work.
    pub(crate) fn run<T: OnDevice>(&self, ring: &Arc<Ring>, work: T) -> Result<T::Output, CliError> {
        match self {
            Self::Cpu { threads } => work.run(Cpu::with(ring.clone(), Simd::from_env()?, *threads)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named() {
        assert_eq!("auto".parse(), Ok(Wanted::Auto));
        assert_eq!("2".parse(), Ok(Wanted::Number(2)));
        assert!("tpu".parse::<Wanted>().is_err());
        assert!(matches!(Device::find(Wanted::Auto, 3), Ok(Device::Cpu { threads: 3 })));
        assert!(matches!(Device::find(Wanted::Number(0), 3), Err(CliError::NoGpu)));
    }
}
