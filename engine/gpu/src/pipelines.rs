//! Compute pipelines, compiled on all cores when a ring comes to a device, or when a kernel is used first, and the layouts of what they
//! bind.

use crate::adapter::{CompileObserver, Options};
use crate::limits::{COMMON_BINDINGS, MAX_INPUTS};
use crate::pipeline_cache::PipelineCache;
use foldhash::fast::FixedState;
use pleura_shaders::{ENTRY_POINT, Kernel, KernelId, Words};
use std::collections::HashMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

/// The pipelines of a device.
pub(crate) struct Pipelines {
    words: Words,
    /// Whether kernels check the bounds of what they read and write.
    checks: bool,
    /// Layouts by the number of buffers that a kernel reads.
    layouts: [Layout; MAX_INPUTS + 1],
    compiled: Mutex<HashMap<KernelId, Arc<OnceLock<wgpu::ComputePipeline>>, FixedState>>,
    on_disk: Option<PipelineCache>,
    observer: Option<CompileObserver>,
}

/// Bindings of kernels with the same number of inputs.
struct Layout {
    bind_group: wgpu::BindGroupLayout,
    pipeline: wgpu::PipelineLayout,
}

/// Binding of the parameters, and of the result.
const PARAMS_BINDING: u32 = 0;
const OUT_BINDING: u32 = 4;

impl Pipelines {
    /// The pipelines of a device, none of them compiled.
    pub(crate) fn new(
        device: &wgpu::Device,
        words: Words,
        options: &Options,
        on_disk: Option<PipelineCache>,
    ) -> Self {
        let layouts = std::array::from_fn(|inputs| Layout::new(device, inputs as u32));
        Self {
            words,
            checks: options.checks,
            layouts,
            compiled: Mutex::default(),
            on_disk,
            observer: options.observer.clone(),
        }
    }

    /// The form of words that the kernels compute with.
    pub(crate) fn words(&self) -> Words {
        self.words
    }

    /// Layout of the bind groups of a kernel.
    pub(crate) fn bind_group_layout(&self, kernel: &Kernel) -> &wgpu::BindGroupLayout {
        &self.layout(kernel).bind_group
    }

    /// The pipeline of a kernel.
    pub(crate) fn get(&self, device: &wgpu::Device, id: KernelId) -> wgpu::ComputePipeline {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        let pipeline = compiled.entry(id).or_default().clone();
        drop(compiled);
        pipeline.get_or_init(|| self.compile(device, &id.kernel())).clone()
    }

    /// Compiles kernels on all cores, and keeps them for the next run at once: a program that is killed loses nothing.
    pub(crate) fn compile_all(&self, device: &wgpu::Device, ids: &[KernelId]) {
        // A browser compiles on its own threads.
        if cfg!(target_arch = "wasm32") {
            return;
        }
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let next = AtomicUsize::new(0);
        let done = AtomicUsize::new(0);
        let observe = |done: usize| {
            if let Some(CompileObserver(observer)) = &self.observer {
                observer(done, ids.len());
            }
        };
        observe(0);
        thread::scope(|scope| {
            for _ in 0..cores.min(ids.len()) {
                scope.spawn(|| {
                    while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                        self.get(device, *id);
                        observe(done.fetch_add(1, Ordering::Relaxed) + 1);
                    }
                });
            }
        });
        self.save();
    }

    /// Keeps what was compiled for the next run.
    pub(crate) fn save(&self) {
        if let Some(cache) = &self.on_disk {
            cache.save();
        }
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "kernels read 0 to 4 buffers, and each number has its layout"
    )]
    fn layout(&self, kernel: &Kernel) -> &Layout {
        &self.layouts[kernel.inputs as usize]
    }

    fn compile(&self, device: &wgpu::Device, kernel: &Kernel) -> wgpu::ComputePipeline {
        let module = self.module(device, kernel);
        device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(kernel.name),
            layout: Some(&self.layout(kernel).pipeline),
            module: &module,
            entry_point: Some(ENTRY_POINT),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &kernel.grid.constants(),
                // The kernels write shared memory before they read it.
                zero_initialize_workgroup_memory: false,
            },
            cache: self.on_disk.as_ref().map(PipelineCache::cache),
        })
    }

    fn module(&self, device: &wgpu::Device, kernel: &Kernel) -> wgpu::ShaderModule {
        let source = wgpu::ShaderSource::Wgsl(kernel.source(self.words).into());
        let descriptor = wgpu::ShaderModuleDescriptor { label: Some(kernel.name), source };
        if self.checks {
            return device.create_shader_module(descriptor);
        }
        let checks = wgpu::ShaderRuntimeChecks::unchecked();
        // SAFETY: the kernels are ours. Their loops end with the tables that this crate writes, all offsets lie inside the
        // buffers that it binds, and they divide by nothing; the tests run them with checks on too.
        unsafe { device.create_shader_module_trusted(descriptor, checks) }
    }
}

impl Layout {
    fn new(device: &wgpu::Device, inputs: u32) -> Self {
        let entries: Vec<_> = (0..COMMON_BINDINGS + inputs).map(binding_layout).collect();
        let bind_group = device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let pipeline = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&bind_group)],
            immediate_size: 0,
        });
        Self { bind_group, pipeline }
    }
}

fn binding_layout(binding: u32) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: match binding {
                PARAMS_BINDING => wgpu::BufferBindingType::Uniform,
                binding => wgpu::BufferBindingType::Storage { read_only: binding != OUT_BINDING },
            },
            has_dynamic_offset: binding == PARAMS_BINDING,
            min_binding_size: None,
        },
        count: None,
    }
}
