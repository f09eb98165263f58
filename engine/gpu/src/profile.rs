//! Time stamps of each dispatch: a pass, and so a barrier, for each. `timestamps.rs` reads them.

use std::time::Instant;

/// Time stamps of dispatches.
pub(crate) struct Profile {
    queries: wgpu::QuerySet,
    /// The recorded dispatches, if there are any.
    recorded: Option<Recorded>,
    pub(crate) submitted: Vec<Submitted>,
}

/// Dispatches that are not submitted yet: their kernels, and when the first of them was recorded.
struct Recorded {
    kernels: Vec<&'static str>,
    since: Instant,
}

/// Dispatches that were submitted together, at least one.
pub(crate) struct Submitted {
    /// Their time stamps, two for each.
    pub(crate) stamps: wgpu::Buffer,
    pub(crate) kernels: Vec<&'static str>,
    /// Times of the host: of the first record, and of the submit.
    pub(crate) recorded: Instant,
    pub(crate) submitted: Instant,
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
        Self { queries, recorded: None, submitted: Vec::new() }
    }

    /// Whether the next dispatch must be in another submit.
    pub(crate) fn is_full(&self) -> bool {
        self.recorded.as_ref().is_some_and(|recorded| recorded.kernels.len() >= MAX_DISPATCHES)
    }

    /// A pass for one dispatch of a kernel.
    pub(crate) fn pass(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        kernel: &'static str,
    ) -> wgpu::ComputePass<'static> {
        let Recorded { kernels, .. } =
            self.recorded.get_or_insert_with(|| Recorded { kernels: Vec::new(), since: Instant::now() });
        let first = 2 * kernels.len() as u32;
        kernels.push(kernel);
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
        let Some(Recorded { kernels, since }) = self.recorded.take() else { return };
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
        self.submitted.push(Submitted {
            stamps: staging,
            kernels,
            recorded: since,
            submitted: Instant::now(),
        });
    }
}
