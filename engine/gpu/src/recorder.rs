//! Commands that are recorded and not submitted yet, with the tables that they read.

use crate::profile::Profile;
use crate::table_arena::TableArena;
use foldhash::fast::FixedState;
use std::collections::HashMap;
use std::num::NonZero;
use wgpu::util::StagingBelt;

/// Commands that are not submitted yet.
pub(crate) struct Recorder {
    /// The commands, if there are any.
    open: Option<Open>,
    /// The tables of these commands, and of earlier ones.
    pub(crate) arena: TableArena,
    /// Memory of the host for what is uploaded.
    belt: StagingBelt,
    pub(crate) bind_groups: HashMap<BindGroupKey, wgpu::BindGroup, FixedState>,
    /// Modular products in these commands.
    pub(crate) cost: u64,
    pub(crate) dispatches: usize,
    /// Dispatches after which commands are submitted.
    submit_after: usize,
    /// Time stamps of all dispatches, if they are wanted.
    pub(crate) profile: Option<Profile>,
}

/// An encoder, and its pass.
struct Open {
    encoder: wgpu::CommandEncoder,
    pass: Option<wgpu::ComputePass<'static>>,
}

/// Buffers of a bind group, by their names, and how many inputs it has. The arena is the same for all.
pub(crate) type BindGroupKey = (u32, [u64; 7]);

/// Commands are submitted after this many modular products: a few milliseconds of a large GPU, well below the two seconds after
/// which systems take a slow one for hung.
pub(crate) const SUBMIT_COST: u64 = 1 << 30;

/// Commands are also submitted after this many dispatches: few where the device has nothing to do, so that it starts while the host goes
/// on recording; then twice as many each time, since each submit costs the host as much as some dispatches.
const FIRST_SUBMIT_DISPATCHES: usize = 16;
const MAX_SUBMIT_DISPATCHES: usize = 2048;

/// Bytes of a piece of staging memory.
const STAGING_BYTES: u64 = 1 << 20;

/// Alignment of what is copied between buffers.
const COPY_ALIGNMENT: NonZero<u64> = NonZero::new(wgpu::COPY_BUFFER_ALIGNMENT).expect("no zero");

/// Bind groups that are kept.
const MAX_BIND_GROUPS: usize = 1 << 14;

impl Recorder {
    /// Nothing recorded.
    pub(crate) fn new(device: &wgpu::Device, arena: TableArena, profile: Option<Profile>) -> Self {
        Self {
            open: None,
            arena,
            belt: StagingBelt::new(device.clone(), STAGING_BYTES),
            bind_groups: HashMap::default(),
            cost: 0,
            dispatches: 0,
            submit_after: FIRST_SUBMIT_DISPATCHES,
            profile,
        }
    }

    /// The pass that the next dispatch of a kernel goes to.
    pub(crate) fn pass(
        &mut self,
        device: &wgpu::Device,
        kernel: &'static str,
    ) -> &mut wgpu::ComputePass<'static> {
        let Open { encoder, pass } = self.open.get_or_insert_with(|| Open::new(device));
        if let Some(profile) = &mut self.profile {
            *pass = None;
            return pass.insert(profile.pass(encoder, kernel));
        }
        pass.get_or_insert_with(|| {
            encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()).forget_lifetime()
        })
    }

    /// Writes time stamps in a pass of their own.
    pub(crate) fn stamp(&mut self, device: &wgpu::Device, writes: wgpu::ComputePassTimestampWrites<'_>) {
        let encoder = self.open.get_or_insert_with(|| Open::new(device)).encoder();
        drop(encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: None,
            timestamp_writes: Some(writes),
        }));
    }

    /// Copies bytes of a buffer to the beginning of another one.
    pub(crate) fn copy(
        &mut self,
        device: &wgpu::Device,
        from: &wgpu::Buffer,
        start: u64,
        to: &wgpu::Buffer,
        bytes: u64,
    ) {
        self.open
            .get_or_insert_with(|| Open::new(device))
            .encoder()
            .copy_buffer_to_buffer(from, start, to, 0, bytes);
    }

    /// Writes words to a buffer from an offset on, one piece after the other and after the commands so far; `false` without staging
    /// memory, of a lost device for one.
    pub(crate) fn upload(
        &mut self,
        device: &wgpu::Device,
        to: &wgpu::Buffer,
        at: usize,
        pieces: &[&[u32]],
    ) -> bool {
        let words: usize = pieces.iter().map(|words| words.len()).sum();
        let Some(bytes) = NonZero::new(4 * words as u64) else { return true };
        let staged = self.belt.allocate(bytes, COPY_ALIGNMENT);
        let Ok(mut mapped) = staged.get_mapped_range_mut() else { return false };
        let mut start = 0;
        for words in pieces {
            let piece: &[u8] = bytemuck::cast_slice(words);
            mapped.slice(start..start + piece.len()).copy_from_slice(piece);
            start += piece.len();
        }
        drop(mapped);
        let encoder = self.open.get_or_insert_with(|| Open::new(device)).encoder();
        encoder.copy_buffer_to_buffer(staged.buffer(), staged.offset(), to, 4 * at as u64, bytes.get());
        true
    }

    /// Keeps a bind group for the next dispatch of the same buffers.
    pub(crate) fn keep(&mut self, key: BindGroupKey, bind_group: wgpu::BindGroup) {
        if self.bind_groups.len() >= MAX_BIND_GROUPS {
            self.bind_groups.clear();
        }
        self.bind_groups.insert(key, bind_group);
    }

    /// Whether there is enough to be submitted.
    pub(crate) fn is_full(&self) -> bool {
        self.cost >= SUBMIT_COST
            || self.dispatches >= self.submit_after
            || self.profile.as_ref().is_some_and(Profile::is_full)
    }

    /// The device has finished all that was submitted, so the next commands are submitted early.
    pub(crate) fn device_is_idle(&mut self) {
        self.submit_after = FIRST_SUBMIT_DISPATCHES;
    }

    /// Commands were submitted: the next ones may wait until there are more of them.
    pub(crate) fn submitted(&mut self) {
        self.submit_after = (2 * self.submit_after).min(MAX_SUBMIT_DISPATCHES);
        self.belt.recall();
    }

    /// The recorded commands, if there are any. The caller writes their tables to the arena, and says when they are submitted.
    pub(crate) fn finish(&mut self, device: &wgpu::Device) -> Option<wgpu::CommandBuffer> {
        let Open { mut encoder, pass } = self.open.take()?;
        drop(pass);
        if let Some(profile) = &mut self.profile {
            profile.finish(device, &mut encoder);
        }
        self.belt.finish();
        self.cost = 0;
        self.dispatches = 0;
        Some(encoder.finish())
    }
}

impl Open {
    fn new(device: &wgpu::Device) -> Self {
        let encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        Self { encoder, pass: None }
    }

    /// The encoder, outside of a pass.
    fn encoder(&mut self) -> &mut wgpu::CommandEncoder {
        self.pass = None;
        &mut self.encoder
    }
}
