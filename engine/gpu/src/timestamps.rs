//! The device's own clock.

use crate::device::Device;
use crate::download::Source;
use pleura_ring::BackendError;
use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

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

/// Times of a device's work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceTimes {
    /// Each kernel, the longest first.
    pub kernels: Vec<KernelTime>,
    /// Each submit, in order.
    pub submits: Vec<SubmitTime>,
}

/// A submit on the clock of the host, from the first record on. The device's clock is set so that no submit begins before it was handed in,
/// and one of them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubmitTime {
    /// Number of dispatches.
    pub dispatches: usize,
    /// When the host recorded the first of them.
    pub recorded: Duration,
    /// When the host handed them in.
    pub submitted: Duration,
    /// When the device began the first of them.
    pub start: Duration,
    /// When the device ended the last of them.
    pub end: Duration,
}

impl Device {
    /// Runs `work` and waits for it: the device's own time, where it has time stamps, and that of the clock. The device's time runs from the
    /// beginning of the first commands of `work` to the end of the last, and includes gaps in which the device waits for the host.
    ///
    /// # Errors
    /// As [`pleura_ring::Backend::wait`].
    pub fn time(&self, work: impl FnOnce()) -> Result<(Option<Duration>, Duration), BackendError> {
        self.wait()?;
        let timestamps = self.info().timestamps.then(|| Timestamps::new(self));
        let start = Instant::now();
        timestamps.iter().for_each(|timestamps| timestamps.record(0));
        work();
        timestamps.iter().for_each(|timestamps| timestamps.record(1));
        self.wait()?;
        let wall = start.elapsed();
        let device = timestamps.map(|timestamps| timestamps.elapsed()).transpose()?.flatten();
        Ok((device, wall))
    }

    /// Waits, and returns the times of all kernels since the last call; `None` unless [`Options::profile`] is set and the device has time
    /// stamps.
    ///
    /// # Errors
    /// As [`pleura_ring::Backend::wait`].
    ///
    /// [`Options::profile`]: crate::Options::profile
    pub fn kernel_times(&self) -> Result<Option<DeviceTimes>, BackendError> {
        self.wait()?;
        let mut recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(profile) = &mut recorder.profile else { return Ok(None) };
        let submitted = std::mem::take(&mut profile.submitted);
        drop(recorder);
        let Some(origin) = submitted.first().map(|submit| submit.recorded) else {
            return Ok(Some(DeviceTimes::default()));
        };
        let period = f64::from(self.queue.get_timestamp_period());
        let duration = |ticks: u64| Duration::from_nanos((ticks as f64 * period) as u64);
        let mut kernels: BTreeMap<&'static str, KernelTime> = BTreeMap::new();
        let mut spans: Vec<(u64, u64)> = Vec::with_capacity(submitted.len());
        for submit in &submitted {
            let stamps = self.stamps(&submit.stamps)?;
            let (pairs, _) = stamps.as_chunks::<2>();
            let (Some([first, _]), Some([_, last])) = (pairs.first(), pairs.last()) else {
                return Err(BackendError::DeviceLost { reason: "it returned no time stamps".into() });
            };
            spans.push((*first, *last));
            let mut previous = None;
            for (&kernel, &[start, end]) in submit.kernels.iter().zip(pairs) {
                let zero = KernelTime { kernel, dispatches: 0, time: Duration::ZERO, gap: Duration::ZERO };
                let entry = kernels.entry(kernel).or_insert(zero);
                entry.dispatches += 1;
                entry.time += duration(end.saturating_sub(start));
                entry.gap += previous.map_or(Duration::ZERO, |end| duration(start.saturating_sub(end)));
                previous = Some(end);
            }
        }
        let mut kernels: Vec<_> = kernels.into_values().collect();
        kernels.sort_by_key(|entry| std::cmp::Reverse(entry.time));
        // The clocks are not compared: the device is taken to begin no submit before the host handed it in, and one of them at once.
        let first = spans.first().map_or(0, |(start, _)| *start);
        let since = |ticks: u64| duration(ticks.saturating_sub(first));
        let handed_in = submitted.iter().map(|submit| submit.submitted - origin);
        let shifts = handed_in.zip(&spans).map(|(at, (start, _))| at.saturating_sub(since(*start)));
        let shift = shifts.fold(Duration::ZERO, Duration::max);
        let submits = submitted.iter().zip(&spans).map(|(submit, &(start, end))| SubmitTime {
            dispatches: submit.kernels.len(),
            recorded: submit.recorded - origin,
            submitted: submit.submitted - origin,
            start: since(start) + shift,
            end: since(end) + shift,
        });
        Ok(Some(DeviceTimes { kernels, submits: submits.collect() }))
    }

    /// Time stamps in ticks of the device.
    fn stamps(&self, staging: &wgpu::Buffer) -> Result<Vec<u64>, BackendError> {
        // Reading reports a buffer that was not mapped.
        staging.map_async(wgpu::MapMode::Read, .., |_| ());
        self.wait_for_submits();
        self.check()?;
        let mapped = staging
            .get_mapped_range(..)
            .map_err(|error| BackendError::DeviceLost { reason: error.to_string() })?;
        Ok(bytemuck::pod_collect_to_vec(&mapped))
    }
}

impl DeviceTimes {
    /// Time in which the device computed while the host recorded further work.
    pub fn overlap(&self) -> Duration {
        let host = self.submits.iter().map(|submit| (submit.recorded, submit.submitted));
        host.flat_map(|(from, to)| {
            self.submits.iter().map(move |device| (from.max(device.start), to.min(device.end)))
        })
        .map(|(from, to)| to.saturating_sub(from))
        .sum()
    }

    /// Time in which the device computed.
    pub fn device(&self) -> Duration {
        self.submits.iter().map(|submit| submit.end.saturating_sub(submit.start)).sum()
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

    /// Records a stamp: it is submitted with the commands around it, so the device does not take the first one before they are there.
    fn record(&self, index: u32) {
        self.device.recorder().stamp(
            &self.device.device,
            wgpu::ComputePassTimestampWrites {
                query_set: &self.queries,
                beginning_of_pass_write_index: (index == 0).then_some(0),
                end_of_pass_write_index: (index == 1).then_some(1),
            },
        );
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
