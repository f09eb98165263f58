//! The device's own clock.

use crate::device::Device;
use crate::download::Source;
use pleura_ring::BackendError;
use std::time::{Duration, Instant};

impl Device {
    /// Runs `work` and waits for it: the time between the device's own time stamps, where it has them, and that of the clock.
    ///
    /// # Errors
    /// As [`pleura_ring::Backend::wait`].
    pub fn time(&self, work: impl FnOnce()) -> Result<(Option<Duration>, Duration), BackendError> {
        self.wait()?;
        let timestamps = self.info().timestamps.then(|| Timestamps::new(self));
        let start = Instant::now();
        timestamps.iter().for_each(|timestamps| timestamps.write(0));
        work();
        self.flush();
        timestamps.iter().for_each(|timestamps| timestamps.write(1));
        self.wait()?;
        let wall = start.elapsed();
        let device = timestamps.map(|timestamps| timestamps.elapsed()).transpose()?.flatten();
        Ok((device, wall))
    }
}

/// Two points in time on the device.
struct Timestamps<'a> {
    device: &'a Device,
    queries: wgpu::QuerySet,
}

impl<'a> Timestamps<'a> {
    fn new(device: &'a Device) -> Self {
        let descriptor = wgpu::QuerySetDescriptor { label: None, ty: wgpu::QueryType::Timestamp, count: 2 };
        Self { device, queries: device.device.create_query_set(&descriptor) }
    }

    /// Between what was handed in before and what comes after.
    fn write(&self, index: u32) {
        let mut encoder =
            self.device.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        drop(encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: None,
            timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                query_set: &self.queries,
                beginning_of_pass_write_index: (index == 0).then_some(0),
                end_of_pass_write_index: (index == 1).then_some(1),
            }),
        }));
        self.device.queue.submit([encoder.finish()]);
    }

    /// The time between the stamps; `None` if the driver has no timestamps.
    fn elapsed(&self) -> Result<Option<Duration>, BackendError> {
        let Device { device, queue, .. } = self.device;
        let resolved = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 16,
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.resolve_query_set(&self.queries, 0..2, &resolved, 0);
        queue.submit([encoder.finish()]);
        let words = self.device.read([Source::Device { buffer: &resolved, at: 0, words: 4 }]).wait()?;
        let [start, end]: [u64; 2] = bytemuck::pod_read_unaligned(bytemuck::cast_slice(&words));
        let nanoseconds = end.wrapping_sub(start) as f64 * f64::from(queue.get_timestamp_period());
        Ok((end > start).then(|| Duration::from_nanos(nanoseconds as u64)))
    }
}
