//! An open GPU: its limits, uploads and submits.

use crate::adapter::{Adapter, AdapterInfo, Options};
use crate::error::GpuError;
use crate::error_sink::ErrorSink;
use crate::limits::largest_block;
use crate::memory::{Pool, PooledBuffer, Slab};
use crate::pipeline_cache::PipelineCache;
use crate::pipelines::Pipelines;
use crate::profile::Profile;
use crate::recorder::Recorder;
use crate::robustness::without_robustness;
use crate::staging::StagingBuffers;
use crate::table_arena::{ALIGN_WORDS, ARENA_WORDS, TableArena};
use pleura_ring::BackendError;
use pleura_shaders::Words;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// An open GPU: its queue, its memory and its compiled kernels, shared by the rings that run on it.
pub struct Device {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    info: AdapterInfo,
    pub(crate) limits: wgpu::Limits,
    /// Memory limit in bytes, if there is one.
    pub(crate) budget: Option<u64>,
    /// Words of one buffer that a kernel can address, and how many of them are used.
    pub(crate) visible_words: usize,
    pub(crate) max_words: usize,
    /// Logarithm of the largest block, in words, that a workgroup transforms in its shared memory.
    pub(crate) max_log_block: u32,
    pub(crate) pipelines: Pipelines,
    pub(crate) pool: Arc<Pool>,
    pub(crate) slab: Mutex<Option<Slab>>,
    pub(crate) recorder: Mutex<Recorder>,
    pub(crate) staging: Arc<StagingBuffers>,
    /// Bytes uploaded so far, and bytes of them that wait in host memory.
    uploaded_bytes: AtomicU64,
    waiting_bytes: AtomicU64,
    pub(crate) streamed_bytes: AtomicU64,
    pub(crate) dispatches: AtomicU64,
    /// Name of a kernel that is left out.
    pub(crate) skipped_kernel: Option<String>,
    /// Whether dispatches have no workgroups.
    pub(crate) no_workgroups: bool,
    /// Submits that the driver has reported as finished.
    pub(crate) finished_submits: Arc<AtomicU64>,
    pub(crate) errors: Arc<ErrorSink>,
    /// A stand-in for operands that a dispatch lacks, and for buffers that could not be allocated.
    pub(crate) nothing: PooledBuffer,
}

/// Uploads wait in the host's memory until this many bytes are submitted together.
const SUBMIT_UPLOADED: u64 = 1 << 26;

/// Bytes of an upload that passes through staging memory, which is kept.
const MAX_STAGED: u64 = 1 << 24;

impl Adapter {
    fn refused(&self, reason: impl ToString) -> GpuError {
        GpuError::Open { name: self.info().name.clone(), reason: reason.to_string() }
    }

    /// The device, with all of the adapter's limits and the features that the kernels can use.
    fn request(&self, options: &Options) -> Result<(wgpu::Device, wgpu::Queue), GpuError> {
        let mut features = self.adapter.features()
            & (wgpu::Features::SHADER_INT64
                | wgpu::Features::TIMESTAMP_QUERY
                | wgpu::Features::PIPELINE_CACHE);
        if options.no_int64 {
            features.remove(wgpu::Features::SHADER_INT64);
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: None,
            required_features: features,
            required_limits: self.adapter.limits(),
            experimental_features: wgpu::ExperimentalFeatures::disabled(),
            memory_hints: wgpu::MemoryHints::Performance,
            trace: wgpu::Trace::Off,
        };
        if options.no_robustness
            && let Some(opened) = without_robustness(&self.adapter, &descriptor)
        {
            return opened.map_err(|error| self.refused(error));
        }
        pollster::block_on(self.adapter.request_device(&descriptor)).map_err(|error| self.refused(error))
    }
}

impl Device {
    pub(crate) fn open(adapter: &Adapter, options: &Options) -> Result<Self, GpuError> {
        if let Some(reason) = adapter.info().refusal() {
            return Err(adapter.refused(reason));
        }
        let limits = adapter.adapter.limits();
        let max_log_block = largest_block(&limits).map_err(|reason| adapter.refused(reason))?;
        let (device, queue) = adapter.request(options)?;
        let errors = ErrorSink::of(&device);
        let pool: Arc<Pool> = Arc::default();
        let buffer = |words: usize| {
            let buffer = pool.create(&device, 4 * words as u64);
            buffer.ok_or_else(|| adapter.refused("it has no memory left"))
        };
        let arena = TableArena::new(buffer(ARENA_WORDS)?);
        let nothing = buffer(ALIGN_WORDS)?;
        let int64 = device.features().contains(wgpu::Features::SHADER_INT64);
        let words = if int64 { Words::Int64 } else { Words::Int32 };
        let has_timestamps = device.features().contains(wgpu::Features::TIMESTAMP_QUERY);
        let profile = (options.profile && has_timestamps).then(|| Profile::new(&device));
        let on_disk = PipelineCache::open(&device, adapter, options);
        let recorder = Mutex::new(Recorder::new(&device, arena, profile));
        let visible_words = visible_words(&limits);
        let max_binding_words = options.max_binding_bytes.map_or(usize::MAX, |bytes| (bytes / 4) as usize);
        Ok(Self {
            pipelines: Pipelines::new(&device, words, options, on_disk),
            device,
            queue,
            info: adapter.info().clone(),
            limits,
            budget: options.memory_bytes,
            visible_words,
            max_words: visible_words.min(max_binding_words),
            max_log_block,
            pool,
            slab: Mutex::default(),
            recorder,
            staging: Arc::default(),
            uploaded_bytes: AtomicU64::new(0),
            waiting_bytes: AtomicU64::new(0),
            streamed_bytes: AtomicU64::new(0),
            dispatches: AtomicU64::new(0),
            skipped_kernel: options.skipped_kernel.clone(),
            no_workgroups: options.no_workgroups,
            finished_submits: Arc::default(),
            errors,
            nothing,
        })
    }

    /// Description of the adapter that was opened.
    pub fn info(&self) -> &AdapterInfo {
        &self.info
    }

    /// Whether the kernels of this device compute with 64-bit integers: the adapter can, and [`Options::no_int64`] is not set.
    pub fn shader_int64(&self) -> bool {
        self.pipelines.words() == Words::Int64
    }

    /// Bytes of device memory that may be used: the limit of [`Options::memory_bytes`], or what the driver reported as free; `None` if neither
    /// is known.
    pub fn memory_limit(&self) -> Option<u64> {
        self.budget.or_else(|| self.info.memory?.free.map(|free| free / 10 * 9))
    }

    /// Bytes of device memory that are in use or pooled: current value and peak.
    pub fn memory_bytes(&self) -> (u64, u64) {
        self.pool.bytes()
    }

    /// Bytes of keys and weights streamed to the device because its memory limit does not hold them all.
    pub fn streamed_bytes(&self) -> u64 {
        self.streamed_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of polynomials uploaded so far, streamed ones included.
    pub fn uploaded_bytes(&self) -> u64 {
        self.uploaded_bytes.load(Ordering::Relaxed)
    }

    /// Numbers of dispatches recorded and of submits so far.
    pub fn dispatches_and_submits(&self) -> (u64, u64) {
        (self.dispatches.load(Ordering::Relaxed), self.pool.submits.load(Ordering::Relaxed))
    }

    /// Waits for all recorded commands.
    pub(crate) fn wait(&self) -> Result<(), BackendError> {
        self.flush();
        self.wait_for_submits();
        self.errors.take()
    }

    /// The first error since the last wait or check.
    pub(crate) fn check(&self) -> Result<(), BackendError> {
        self.errors.take()
    }

    /// Writes words from an offset on, one piece after the other and in program order: through memory that the driver keeps mapped, unless
    /// they are many.
    pub(crate) fn upload_words(&self, buffer: &PooledBuffer, at: usize, pieces: &[&[u32]]) {
        let bytes = 4 * pieces.iter().map(|words| words.len() as u64).sum::<u64>();
        if bytes > MAX_STAGED || !self.recorder().upload(&self.device, &buffer.buffer, at, pieces) {
            return self.write(buffer, at, &pieces.concat());
        }
        self.uploaded_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Writes words from an offset on, after all recorded commands.
    pub(crate) fn write(&self, buffer: &PooledBuffer, at: usize, words: &[u32]) {
        // Uploads pass through staging memory of the host; submitting in pieces bounds it.
        for (i, words) in words.chunks((SUBMIT_UPLOADED / 4) as usize).enumerate() {
            let at = at + i * (SUBMIT_UPLOADED / 4) as usize;
            let bytes = 4 * words.len() as u64;
            let Some(size) = NonZero::new(bytes) else { return };
            // Without memory, the driver's error is in the sink.
            let Some(mut staged) = self.queue.write_buffer_with(&buffer.buffer, 4 * at as u64, size) else {
                return;
            };
            staged.copy_from_slice(bytemuck::cast_slice(words));
            {
                // wgpu executes a write before the commands that another thread is submitting, and these may begin with clearing what
                // nothing had written before they were submitted: no write is handed in while a thread submits.
                let mut recorder = self.recorder();
                if buffer.is_in_use() {
                    self.submit(&mut recorder);
                }
                drop(staged);
            }
            self.uploaded_bytes.fetch_add(bytes, Ordering::Relaxed);
            if self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes >= SUBMIT_UPLOADED {
                self.waiting_bytes.store(0, Ordering::Relaxed);
                self.flush();
                self.queue.submit([]);
                self.wait_for_submits();
            }
        }
    }

    /// Waits until the device has finished everything that was submitted.
    pub(crate) fn wait_for_submits(&self) {
        self.errors.wait(&self.device, None, &self.finished_submits);
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.pipelines.save();
    }
}

/// Words of a buffer that a kernel can address. Offsets are 32-bit words, with headroom for sums.
fn visible_words(limits: &wgpu::Limits) -> usize {
    let bytes = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
    (bytes / 4).min(1 << 29) as usize
}
