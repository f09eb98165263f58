//! Opening of adapters, in the form of words that is faster there.

use crate::adapter::{Adapter, Options};
use crate::device::Device;
use crate::error::GpuError;
use crate::gpu::Gpu;
use pleura_ring::{Backend, Coeff, Limbs, Ring, primes_below};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Logarithm of the degree that both forms are timed at, and the polynomials that are transformed.
const LOG_N: u32 = 12;
const POLYS: usize = 256;
/// Runs of which the shortest counts.
const RUNS: usize = 3;

impl Adapter {
    /// Opens the device. Kernels compute with 64-bit integers where the adapter can, unless a GPU in hardware is faster without them: both
    /// forms are timed once, and the choice is kept in [`Options::cache`]. Results are the same in both.
    ///
    /// # Errors
    /// [`GpuError::Open`] if the driver refuses, or the device lacks what the kernels need.
    pub fn open(&self, options: &Options) -> Result<Arc<Device>, GpuError> {
        let is_open = options.no_int64 || !self.info().shader_int64 || self.is_software();
        let no_int64 = if is_open { options.no_int64 } else { self.prefers_int32(options) };
        Device::open(self, &Options { no_int64, ..options.clone() }).map(Arc::new)
    }

    /// Whether kernels are faster without 64-bit integers, as it was found before or is now.
    fn prefers_int32(&self, options: &Options) -> bool {
        let file = self.form_file(options);
        match file.as_ref().and_then(|file| fs::read_to_string(file).ok()).as_deref() {
            Some(INT64) => return false,
            Some(INT32) => return true,
            _ => (),
        }
        // A form that fails is not preferred; opening in the usual one gives the error.
        let int64 = self.time_form(options, false);
        let int32 = self.time_form(options, true);
        let (Some(int64), Some(int32)) = (int64, int32) else { return false };
        let prefers_int32 = int32 < int64;
        if let Some(file) = file {
            // Nobody misses it: it would be found again.
            _ = file.parent().map(fs::create_dir_all);
            _ = fs::write(file, if prefers_int32 { INT32 } else { INT64 });
        }
        prefers_int32
    }

    /// The file that the choice is kept in: another driver has another one.
    fn form_file(&self, options: &Options) -> Option<PathBuf> {
        let info = self.info();
        let text = format!("form-{}-{}-{}", info.name, info.api, info.driver);
        let name: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        Some(options.cache.as_ref()?.join(name))
    }

    /// Shortest time of a batch of transforms in one form; `None` if it fails.
    fn time_form(&self, options: &Options, no_int64: bool) -> Option<Duration> {
        let options = Options { no_int64, profile: false, ..options.clone() };
        let device = Arc::new(Device::open(self, &options).ok()?);
        let primes = primes_below(30.0, 1 << LOG_N, 2, &[]).ok()?;
        let ring = Arc::new(Ring::new(LOG_N, &primes, &[]).ok()?);
        let gpu = Gpu::new(ring.clone(), device.clone()).ok()?;
        let limbs = Limbs::q(2);
        let words = vec![1; ring.words(limbs, POLYS)];
        let mut shortest: Option<Duration> = None;
        // The first run warms up.
        for run in 0..=RUNS {
            let x = gpu.upload::<Coeff>(limbs, POLYS, &words).ok()?;
            let (on_device, wall) = device.time(|| drop(gpu.intt(gpu.ntt(x)))).ok()?;
            let time = on_device.unwrap_or(wall);
            shortest = if run == 0 { None } else { Some(shortest.map_or(time, |least| least.min(time))) };
        }
        shortest
    }
}

/// Contents of the file.
const INT64: &str = "int64\n";
const INT32: &str = "int32\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::adapters;

    #[test]
    fn the_faster_form_is_found_once() {
        let folder = std::env::temp_dir().join(format!("pleura-form-{}", std::process::id()));
        let options = Options { cache: Some(folder.clone()), ..Options::default() };
        for adapter in adapters().iter().filter(|adapter| adapter.info().shader_int64) {
            let prefers_int32 = adapter.prefers_int32(&options);
            let file = adapter.form_file(&options).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap() == INT32, prefers_int32);
            // What is kept counts, whatever it is.
            fs::write(&file, if prefers_int32 { INT64 } else { INT32 }).unwrap();
            assert_eq!(adapter.prefers_int32(&options), !prefers_int32);
            fs::write(&file, "int").unwrap();
            adapter.prefers_int32(&options);
            assert_ne!(fs::read_to_string(&file).unwrap(), "int");
        }
        _ = fs::remove_dir_all(&folder);
    }
}
