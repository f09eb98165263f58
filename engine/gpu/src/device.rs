//! An open GPU: what is recorded is handed in when there is enough of it, or when somebody waits.

use crate::compiled::CompiledCache;
use crate::failures::Failures;
use crate::memory::{Memory, Pool, Slab};
use crate::{Adapter, AdapterInfo, GpuError, Options};
use pleura_ring::BackendError;
use pleura_shaders::{KERNELS, Kernel, Words};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A GPU at work: its queue, its memory and its compiled kernels, shared by the rings that run on it.
pub struct Device {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    info: AdapterInfo,
    pub(crate) limits: wgpu::Limits,
    pub(crate) budget: Option<u64>,
    /// Words that a kernel can see of one buffer, and how many of them are used.
    pub(crate) visible_words: usize,
    pub(crate) max_words: usize,
    /// Logarithm of the words that a workgroup can transform in the memory it shares.
    pub(crate) max_log_block: u32,
    words: Words,
    checks: bool,
    layouts: Vec<(wgpu::BindGroupLayout, wgpu::PipelineLayout)>,
    pipelines: Mutex<HashMap<(&'static str, Option<Block>), wgpu::ComputePipeline>>,
    compiled: Option<CompiledCache>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) slab: Mutex<Slab>,
    recorder: Mutex<Recorder>,
    uploaded_bytes: AtomicU64,
    pub(crate) streamed_bytes: AtomicU64,
    dispatches: AtomicU64,
    pub(crate) failures: Arc<Failures>,
    /// Stands in for operands that a dispatch does not have, and for memory that there is not.
    pub(crate) nothing: Memory,
}

/// How a block of a limb is transformed in a workgroup's memory: the overrides of the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Block {
    /// Logarithm of its words.
    pub(crate) log: u32,
    /// Stages of the first pass.
    pub(crate) first: u32,
    /// Stages in all.
    pub(crate) stages: u32,
}

/// One kernel over rows and limbs.
pub(crate) struct Dispatch<'a> {
    pub(crate) kernel: &'static str,
    pub(crate) block: Option<Block>,
    /// Primes and twiddles.
    pub(crate) constants: [&'a Memory; 2],
    /// The result, then what is read.
    pub(crate) operands: [Option<&'a Memory>; 5],
    /// Logarithm of the words in a limb.
    pub(crate) log_n: u32,
    pub(crate) extra: [u32; 4],
    pub(crate) limbs: &'a [[u32; 8]],
    pub(crate) rows: &'a [[u32; 8]],
    pub(crate) terms: &'a [u32],
    /// Modular products, about.
    pub(crate) cost: u64,
}

/// Commands that are not handed in yet.
struct Recorder {
    open: Option<(wgpu::CommandEncoder, wgpu::ComputePass<'static>)>,
    /// The words of the tables of these commands.
    tables: Vec<u32>,
    /// The buffer where they will lie.
    arena: Memory,
    bind_groups: HashMap<[u64; 8], wgpu::BindGroup>,
    cost: u64,
    dispatches: usize,
}

/// Commands are handed in after so many modular products: a few milliseconds of a large GPU, well below the two seconds after
/// which systems take a slow one for hung.
pub(crate) const SUBMIT_COST: u64 = 1 << 30;

/// And after so many dispatches.
const SUBMIT_DISPATCHES: usize = 2048;

/// Uploads wait in the host's memory until they are handed in.
const SUBMIT_UPLOADED: u64 = 1 << 26;

/// Words of tables to begin with.
const ARENA_WORDS: usize = 1 << 20;

/// Parameters of a dispatch begin at multiples of so many words, the largest that any device asks for.
const ALIGN_WORDS: usize = 64;

/// Bytes of a dispatch's parameters.
const PARAMS_BYTES: u64 = 32;

/// Most entries in the second and third dimension of a dispatch.
const MAX_GRID: usize = 65_535;

/// Bind groups that are kept.
const MAX_BIND_GROUPS: usize = 1 << 14;

impl Device {
    pub(crate) fn open(adapter: &Adapter, options: &Options) -> Result<Self, GpuError> {
        let info = adapter.info().clone();
        let refused = |reason: String| GpuError::Open { name: info.name.clone(), reason };
        let wanted =
            wgpu::Features::SHADER_INT64 | wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::PIPELINE_CACHE;
        let mut features = adapter.adapter.features() & wanted;
        if options.narrow {
            features.remove(wgpu::Features::SHADER_INT64);
        }
        let limits = adapter.adapter.limits();
        let (needed, bindings) = (8, limits.max_storage_buffers_per_shader_stage);
        let (bytes, threads) =
            (limits.max_compute_workgroup_storage_size, limits.max_compute_invocations_per_workgroup);
        let threads = threads.min(limits.max_compute_workgroup_size_x);
        if bindings < needed || bytes < 1 << 14 || threads < 256 {
            return Err(refused(format!(
                "it gives kernels {bindings} buffers, {threads} threads and {bytes} bytes to share; they need \
                 {needed}, 256 and 16384"
            )));
        }
        let descriptor = wgpu::DeviceDescriptor {
            label: None,
            required_features: features,
            required_limits: limits.clone(),
            experimental_features: wgpu::ExperimentalFeatures::disabled(),
            memory_hints: wgpu::MemoryHints::Performance,
            trace: wgpu::Trace::Off,
        };
        let (device, queue) = pollster::block_on(adapter.adapter.request_device(&descriptor))
            .map_err(|error| refused(error.to_string()))?;
        let failures = Failures::of(&device);
        let binding_bytes = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        // Offsets are words of 32 bits, with room to add to them.
        let visible_words = (binding_bytes / 4).min(1 << 29) as usize;
        let wanted = options.max_binding_bytes.unwrap_or(u64::MAX);
        let large_blocks = bytes >= 1 << 15 && threads >= 512;
        let pool: Arc<Pool> = Arc::default();
        let layouts = (0..5).map(|inputs| layout(&device, inputs)).collect();
        let compiled = CompiledCache::open(&device, adapter, options);
        let room = |words: usize| {
            let memory = pool.create(&device, 4 * words as u64);
            memory.ok_or_else(|| refused("it has no memory left".to_owned()))
        };
        let (arena, nothing) = (room(ARENA_WORDS)?, room(ALIGN_WORDS)?);
        Ok(Self {
            words: if features.contains(wgpu::Features::SHADER_INT64) { Words::Wide } else { Words::Narrow },
            device,
            queue,
            info,
            limits,
            budget: options.memory_bytes,
            visible_words,
            max_words: visible_words.min((wanted / 4) as usize),
            max_log_block: if large_blocks { 13 } else { 12 },
            checks: options.checks,
            layouts,
            pipelines: Mutex::default(),
            compiled,
            pool,
            slab: Mutex::default(),
            recorder: Mutex::new(Recorder {
                open: None,
                tables: Vec::new(),
                arena,
                bind_groups: HashMap::new(),
                cost: 0,
                dispatches: 0,
            }),
            uploaded_bytes: AtomicU64::new(0),
            streamed_bytes: AtomicU64::new(0),
            dispatches: AtomicU64::new(0),
            failures,
            nothing,
        })
    }

    /// What is known of it.
    pub fn info(&self) -> &AdapterInfo {
        &self.info
    }

    /// Whether its kernels multiply through 64-bit words.
    pub fn is_wide(&self) -> bool {
        self.words == Words::Wide
    }

    /// Bytes of its memory that are in use or kept for the next use: now, and at most so far.
    pub fn memory_bytes(&self) -> (u64, u64) {
        self.pool.bytes()
    }

    /// Bytes of keys and weights that came to it anew because the memory it may use does not hold them all.
    pub fn streamed_bytes(&self) -> u64 {
        self.streamed_bytes.load(Ordering::Relaxed)
    }

    /// How many dispatches were recorded, and how many times some were handed in, so far.
    pub fn dispatches_and_submits(&self) -> (u64, u64) {
        (self.dispatches.load(Ordering::Relaxed), self.pool.submits.load(Ordering::Relaxed))
    }

    /// Waits for everything that was recorded.
    pub(crate) fn wait(&self) -> Result<(), BackendError> {
        self.flush();
        self.poll(wgpu::PollType::wait_indefinitely());
        self.failures.take()
    }

    /// What is known to be wrong so far.
    pub(crate) fn check(&self) -> Result<(), BackendError> {
        self.failures.take()
    }

    /// Records one dispatch, in pieces if it is too long.
    pub(crate) fn dispatch(&self, dispatch: &Dispatch<'_>) {
        let Dispatch { kernel, block, limbs, rows, terms, .. } = *dispatch;
        let Some(kernel) = KERNELS.iter().find(|k| k.name == kernel) else {
            return self.failures.note(format!("there is no kernel {kernel}"));
        };
        // What is computed from what is missing is missing, too.
        if let Some(error) = dispatch.operands.iter().flatten().find_map(|memory| memory.check().err()) {
            if let Some(out) = dispatch.operands[0] {
                out.damage(&error);
            }
            return self.failures.set(error);
        }
        let pipeline = self.pipeline(kernel, block);
        let n = 1u32 << dispatch.log_n;
        let columns = match (block, kernel.threads) {
            (Some(block), _) => n >> block.log,
            (None, Some(64)) => (n / 16).div_ceil(64),
            (None, threads) => n.div_ceil(threads.unwrap_or(1)),
        };
        // No single dispatch is much longer than what is handed in at once, unless it is one limb of one row.
        let pieces = dispatch.cost.div_ceil(SUBMIT_COST).max(1) as usize;
        let rows_at_once = rows.len().div_ceil(pieces).clamp(1, MAX_GRID);
        let pieces_of_rows = rows.len().div_ceil(rows_at_once).max(1);
        let limbs_at_once = limbs.len().div_ceil(pieces.div_ceil(pieces_of_rows)).clamp(1, MAX_GRID);
        let parts = limbs.chunks(limbs_at_once);
        for (limbs, rows) in parts.flat_map(|limbs| rows.chunks(rows_at_once).map(move |rows| (limbs, rows)))
        {
            let words = ALIGN_WORDS + limbs.as_flattened().len() + rows.as_flattened().len() + terms.len();
            let Some(mut recorder) = self.room(words) else { return };
            let at = recorder.tables.len().next_multiple_of(ALIGN_WORDS);
            recorder.tables.resize(at + PARAMS_BYTES as usize / 4, 0);
            let starts = [limbs.as_flattened(), rows.as_flattened(), terms].map(|table| {
                let start = recorder.tables.len() as u32;
                recorder.tables.extend_from_slice(table);
                start
            });
            let [a, b, c, d] = dispatch.extra;
            let params = [dispatch.log_n, starts[0], starts[1], starts[2], a, b, c, d];
            if let Some(words) = recorder.tables.get_mut(at..at + params.len()) {
                words.copy_from_slice(&params);
            }
            let bind_group = self.bind_group(&mut recorder, kernel, dispatch);
            let pass = recorder.pass(&self.device);
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &bind_group, &[4 * at as u32]);
            pass.dispatch_workgroups(columns, limbs.len() as u32, rows.len() as u32);
            recorder.dispatches += 1;
            self.dispatches.fetch_add(1, Ordering::Relaxed);
            recorder.cost += dispatch.cost / pieces as u64;
            if recorder.cost >= SUBMIT_COST || recorder.dispatches >= SUBMIT_DISPATCHES {
                self.submit(&mut recorder);
            }
        }
    }

    /// Hands in what was recorded.
    pub(crate) fn flush(&self) {
        self.submit(&mut self.recorder());
    }

    /// Drops bind groups, which keep their buffers.
    pub(crate) fn forget_bind_groups(&self) {
        self.recorder().bind_groups.clear();
    }

    /// Writes words from an offset on, after everything that was recorded.
    pub(crate) fn write(&self, memory: &Memory, at: usize, words: &[u32]) {
        if memory.is_in_use() {
            self.flush();
        }
        // Uploads of any size go through staging memory of the host; not all of it at once.
        for (i, words) in words.chunks((SUBMIT_UPLOADED / 4) as usize).enumerate() {
            let at = at + i * (SUBMIT_UPLOADED / 4) as usize;
            self.queue.write_buffer(&memory.buffer, 4 * at as u64, bytemuck::cast_slice(words));
            let bytes = 4 * words.len() as u64;
            if self.uploaded_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes >= SUBMIT_UPLOADED {
                self.uploaded_bytes.store(0, Ordering::Relaxed);
                self.flush();
                self.queue.submit([]);
                self.poll(wgpu::PollType::wait_indefinitely());
            }
        }
    }

    /// Lets the driver go on.
    pub(crate) fn poll(&self, kind: wgpu::PollType) {
        self.failures.poll(&self.device, kind);
    }

    fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The recorder, with room for so many words of tables, if that can be had.
    fn room(&self, words: usize) -> Option<MutexGuard<'_, Recorder>> {
        let mut recorder = self.recorder();
        let capacity = recorder.arena.buffer.size() as usize / 4;
        if recorder.tables.len() + words + ALIGN_WORDS > capacity {
            self.submit(&mut recorder);
            if words + ALIGN_WORDS > capacity {
                let words = (words + ALIGN_WORDS).next_power_of_two();
                match self.pool.create(&self.device, 4 * words as u64) {
                    Some(arena) => recorder.arena = arena,
                    None => {
                        self.failures.set(BackendError::OutOfMemory { bytes: 4 * words });
                        return None;
                    }
                }
                recorder.bind_groups.clear();
            }
        }
        Some(recorder)
    }

    fn submit(&self, recorder: &mut Recorder) {
        let Some((encoder, pass)) = recorder.open.take() else { return };
        drop(pass);
        self.queue.write_buffer(&recorder.arena.buffer, 0, bytemuck::cast_slice(&recorder.tables));
        self.queue.submit([encoder.finish()]);
        self.pool.submits.fetch_add(1, Ordering::Relaxed);
        recorder.tables.clear();
        (recorder.cost, recorder.dispatches) = (0, 0);
        // Buffers that the device is done with are freed in passing.
        self.poll(wgpu::PollType::Poll);
    }

    fn bind_group(
        &self,
        recorder: &mut Recorder,
        kernel: &Kernel,
        dispatch: &Dispatch<'_>,
    ) -> wgpu::BindGroup {
        let operands = dispatch.operands.map(|memory| memory.unwrap_or(&self.nothing));
        let [primes, twiddles] = dispatch.constants;
        let [o, x, y, z, w] = operands.map(|memory| memory.id);
        let key = [u64::from(kernel.inputs), primes.id, twiddles.id, o, x, y, z, w];
        if let Some(bind_group) = recorder.bind_groups.get(&key) {
            return bind_group.clone();
        }
        let params = wgpu::BufferBinding {
            buffer: &recorder.arena.buffer,
            offset: 0,
            size: std::num::NonZero::new(PARAMS_BYTES),
        };
        let read = [&recorder.arena, primes, twiddles];
        let used = operands.iter().take(1 + kernel.inputs as usize);
        let whole = read.iter().chain(used).map(|memory| {
            let size = memory.buffer.size().min(self.limits.max_storage_buffer_binding_size);
            wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &memory.buffer,
                offset: 0,
                size: std::num::NonZero::new(size / 4 * 4),
            })
        });
        let resources = std::iter::once(wgpu::BindingResource::Buffer(params)).chain(whole);
        let entries: Vec<_> = resources
            .enumerate()
            .map(|(binding, resource)| wgpu::BindGroupEntry { binding: binding as u32, resource })
            .collect();
        #[expect(clippy::indexing_slicing, reason = "kernels read 0 to 4 buffers, each with its layout")]
        let layout = &self.layouts[kernel.inputs as usize].0;
        let descriptor = wgpu::BindGroupDescriptor { label: None, layout, entries: &entries };
        let bind_group = self.device.create_bind_group(&descriptor);
        if recorder.bind_groups.len() >= MAX_BIND_GROUPS {
            recorder.bind_groups.clear();
        }
        recorder.bind_groups.insert(key, bind_group.clone());
        bind_group
    }

    fn pipeline(&self, kernel: &'static Kernel, block: Option<Block>) -> wgpu::ComputePipeline {
        let mut pipelines = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        let pipeline = pipelines.entry((kernel.name, block)).or_insert_with(|| {
            let source = wgpu::ShaderSource::Wgsl(kernel.source(self.words).into());
            let descriptor = wgpu::ShaderModuleDescriptor { label: Some(kernel.name), source };
            let module = if self.checks {
                self.device.create_shader_module(descriptor)
            } else {
                let checks = wgpu::ShaderRuntimeChecks::unchecked();
                // SAFETY: the kernels are ours. Their loops end with the tables that this crate writes, all offsets lie inside the
                // buffers that it binds, and they divide by nothing; the tests run them with checks on too.
                unsafe { self.device.create_shader_module_trusted(descriptor, checks) }
            };
            let constants = block.map(|Block { log, first, stages }| {
                [
                    ("LOG_BLOCK", f64::from(log)),
                    ("FIRST", f64::from(first)),
                    ("STAGES", f64::from(stages)),
                    ("WORDS", f64::from(1u32 << log)),
                    ("THREADS", f64::from(1u32 << (log - 4))),
                ]
            });
            #[expect(clippy::indexing_slicing, reason = "kernels read 0 to 4 buffers, each with its layout")]
            let layout = &self.layouts[kernel.inputs as usize].1;
            self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(kernel.name),
                layout: Some(layout),
                module: &module,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: constants.as_ref().map_or(&[], |c| c.as_slice()),
                    // The kernels write shared memory before they read it.
                    zero_initialize_workgroup_memory: false,
                },
                cache: self.compiled.as_ref().map(CompiledCache::cache),
            })
        });
        pipeline.clone()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(compiled) = &self.compiled {
            compiled.save();
        }
    }
}

impl Block {
    /// A block that is transformed whole.
    pub(crate) fn whole(log: u32) -> Self {
        Self { log, first: (log - 1) % 4 + 1, stages: log }
    }
}

impl Recorder {
    fn pass(&mut self, device: &wgpu::Device) -> &mut wgpu::ComputePass<'static> {
        let (_, pass) = self.open.get_or_insert_with(|| {
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()).forget_lifetime();
            (encoder, pass)
        });
        pass
    }
}

/// The layout of kernels that read so many buffers beside the tables.
fn layout(device: &wgpu::Device, inputs: u32) -> (wgpu::BindGroupLayout, wgpu::PipelineLayout) {
    let entry = |binding: u32| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: match binding {
                0 => wgpu::BufferBindingType::Uniform,
                binding => wgpu::BufferBindingType::Storage { read_only: binding != 4 },
            },
            has_dynamic_offset: binding == 0,
            min_binding_size: None,
        },
        count: None,
    };
    let entries: Vec<_> = (0..5 + inputs).map(entry).collect();
    let group =
        device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
    let pipeline = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: None,
        bind_group_layouts: &[Some(&group)],
        immediate_size: 0,
    });
    (group, pipeline)
}
