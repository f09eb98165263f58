//! The ring's [`Backend`](pleura_ring::Backend) on any GPU that Vulkan, Metal or DX12 reaches, through wgpu.
//!
//! A polynomial of `Z_Q[X]/(X^n + 1)` has one layout on every device, `[limb][coefficient]` in canonical 32-bit words. The
//! kernels (crate `pleura_shaders`) return the same words as the [`Cpu`](pleura_ring::Cpu). This crate is everything around them:
//!
//! * **Transforms** of `n = 2^a` words, `a` stages of butterflies, in passes of four: sixteen words of a thread in registers, passes
//!   exchanged through the memory of a workgroup. A limb that fits there is transformed in one kernel; a larger one in two, the first
//!   of which takes `a_(i + k n/16)`, `k = 0..16`, as they are far apart.
//! * **Key switching**: inverse transform of the digits, base conversion as part of the forward transform's first pass, sums of
//!   products with keys, and the same again for ModDown, which ends in the transform's last pass. Five dispatches for a rotation of
//!   limbs that are transformed in one kernel. Of larger ones seven, since the last pass of the inverse transform, conversion and the
//!   first pass of the forward one are one kernel (`convert_head`); nine and two unfoldings in a conjugate-invariant ring.
//! * **Recording.** Operations are recorded, and submitted when a caller waits, after a few milliseconds' worth of work, or after a few
//!   dispatches if the device has nothing to do: sixteen, and then twice as many each time.
//!
//! ```
//! use pleura_gpu::{Gpu, Options, adapters};
//! use pleura_ring::{Backend, Coeff, Limbs, Ring, primes_below};
//! use std::sync::Arc;
//!
//! let ring = Arc::new(Ring::new(10, &primes_below(30.0, 1 << 10, 2, &[])?, &[])?);
//! if let Some(adapter) = adapters().first() {
//!     let gpu = Gpu::new(ring.clone(), adapter.open(&Options::default())?)?;
//!     let words: Vec<u32> = (0..ring.words(Limbs::q(2), 1) as u32).collect();
//!     let x = gpu.upload::<Coeff>(Limbs::q(2), 1, &words)?;
//!     let x = gpu.intt(gpu.ntt(x));
//!     assert_eq!(gpu.download(x.view()).wait()?, words);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod adapter;
mod adapter_memory;
mod allocation;
mod backend;
mod conversion;
mod conversion_tables;
mod device;
mod dispatch;
mod download;
mod error;
mod error_sink;
mod gpu;
mod limits;
mod memory;
mod open;
mod pipeline_cache;
mod pipelines;
mod profile;
mod recorder;
mod ring_tables;
mod robustness;
mod staging;
mod sums;
mod switching;
mod table_arena;
mod timestamps;
mod transform;
mod upload;

pub use adapter::{
    Adapter, AdapterInfo, CompileObserver, DRIVER_VARIABLES, Kind, Options, adapters, diagnosis,
};
pub use adapter_memory::DeviceMemory;
pub use device::Device;
pub use error::GpuError;
pub use gpu::{Gpu, GpuCompactPolys};
pub use memory::GpuBuffer;
pub use timestamps::{DeviceTimes, KernelTime, SubmitTime};
