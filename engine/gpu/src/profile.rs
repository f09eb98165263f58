//! Time of each kernel on the device, by its own time stamps: a pass, and so a barrier, for each dispatch.

use crate::device::Device;
use pleura_ring::BackendError;
use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

/// Time that a kernel took on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelTime {
    /// Name of the kernel.
    pub kernel: &'static str,
    /// Number of dispatches.
    pub dispatches: u64,
    /// Time in the kernel.
    pub time: Duration,
    /// Time between the end of the previous kernel of the same submit and the beginning of this one.
    pub gap: Duration,
}

/// Time stamps of dispatches.
pub(crate) struct Profile {
    queries: wgpu::QuerySet,
    /// Kernels of the recorded dispatches.
    kernels: Vec<&'static str>,
    /// Time stamps of submitted dispatches, and their kernels.
    submitted: Vec<(wgpu::Buffer, Vec<&'static str>)>,
}

/// Most dispatches of a submit that is profiled: drivers limit the time stamps of a set.
const MAX_DISPATCHES: usize = 1024;

impl Profile {
    pub(crate) fn new(device: &wgpu::Device) -> Self {
        let queries = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: None,
            ty: wgpu::QueryType::Timestamp,
            count: 2 * MAX_DISPATCHES as u32,
        });
        Self { queries, kernels: Vec::new(), submitted: Vec::new() }
    }

    /// Whether the next dispatch must be in another submit.
    pub(crate) fn is_full(&self) -> bool {
        self.kernels.len() >= MAX_DISPATCHES
    }

    /// A pass for one dispatch of a kernel.
    pub(crate) fn pass(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        kernel: &'static str,
    ) -> wgpu::ComputePass<'static> {
        let first = 2 * self.kernels.len() as u32;
        self.kernels.push(kernel);
        let pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some(kernel),
            timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                query_set: &self.queries,
                beginning_of_pass_write_index: Some(first),
                end_of_pass_write_index: Some(first + 1),
            }),
        });
        pass.forget_lifetime()
    }

    /// Writes the time stamps of the recorded dispatches where they can be read.
    pub(crate) fn finish(&mut self, device: &wgpu::Device, encoder: &mut wgpu::CommandEncoder) {
        let kernels = std::mem::take(&mut self.kernels);
        let count = 2 * kernels.len() as u32;
        let buffer = |usage| {
            let size = 8 * u64::from(count);
            device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let resolved = buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
        let staging = buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
        encoder.resolve_query_set(&self.queries, 0..count, &resolved, 0);
        encoder.copy_buffer_to_buffer(&resolved, 0, &staging, 0, 8 * u64::from(count));
        self.submitted.push((staging, kernels));
    }
}

impl Device {
    /// Waits, and returns the time of each kernel since the last call, the longest first; `None` unless [`Options::profile`] is set and
    /// the device has time stamps.
    ///
    /// # Errors
    /// As [`pleura_ring::Backend::wait`].
    ///
    /// [`Options::profile`]: crate::Options::profile
    pub fn kernel_times(&self) -> Result<Option<Vec<KernelTime>>, BackendError> {
        self.wait()?;
        let mut recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(profile) = &mut recorder.profile else { return Ok(None) };
        let submitted = std::mem::take(&mut profile.submitted);
        drop(recorder);
        let period = f64::from(self.queue.get_timestamp_period());
        let duration = |ticks: u64| Duration::from_nanos((ticks as f64 * period) as u64);
        let mut times: BTreeMap<&'static str, KernelTime> = BTreeMap::new();
        for (staging, kernels) in submitted {
            // Reading reports a buffer that was not mapped.
            staging.map_async(wgpu::MapMode::Read, .., |_| ());
            self.wait_for_submits();
            self.check()?;
            let mapped = staging
                .get_mapped_range(..)
                .map_err(|error| BackendError::DeviceLost { reason: error.to_string() })?;
            let stamps: Vec<u64> = bytemuck::pod_collect_to_vec(&mapped);
            let mut previous = None;
            for (kernel, stamps) in kernels.into_iter().zip(stamps.chunks_exact(2)) {
                let &[start, end] = stamps else { continue };
                let zero = KernelTime { kernel, dispatches: 0, time: Duration::ZERO, gap: Duration::ZERO };
                let entry = times.entry(kernel).or_insert(zero);
                entry.dispatches += 1;
                entry.time += duration(end.saturating_sub(start));
                entry.gap += previous.map_or(Duration::ZERO, |end| duration(start.saturating_sub(end)));
                previous = Some(end);
            }
        }
        let mut times: Vec<_> = times.into_values().collect();
        times.sort_by_key(|entry| std::cmp::Reverse(entry.time));
        Ok(Some(times))
    }
}
