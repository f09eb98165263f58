//! Commands that are recorded and not submitted yet, with the tables that they read.

use crate::memory::PooledBuffer;
use crate::profile::Profile;
use std::collections::HashMap;

/// Commands that are not submitted yet.
pub(crate) struct Recorder {
    /// The encoder and its pass, if anything is recorded.
    pub(crate) open: Option<(wgpu::CommandEncoder, wgpu::ComputePass<'static>)>,
    /// The words of the tables of these commands.
    pub(crate) tables: Vec<u32>,
    /// The buffer that the tables are written to.
    pub(crate) arena: PooledBuffer,
    pub(crate) bind_groups: HashMap<BindGroupKey, wgpu::BindGroup>,
    /// Modular products in these commands.
    pub(crate) cost: u64,
    pub(crate) dispatches: usize,
    /// Dispatches after which commands are submitted.
    submit_after: usize,
    /// Time stamps of all dispatches, if they are wanted.
    pub(crate) profile: Option<Profile>,
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

/// Words of the arena at first.
pub(crate) const ARENA_WORDS: usize = 1 << 20;

/// Alignment of a dispatch's parameters in words: the largest that any device requires.
pub(crate) const ALIGN_WORDS: usize = 64;

/// Bind groups that are kept.
const MAX_BIND_GROUPS: usize = 1 << 14;

impl Recorder {
    /// Nothing recorded.
    pub(crate) fn new(arena: PooledBuffer, profile: Option<Profile>) -> Self {
        Self {
            open: None,
            tables: Vec::new(),
            arena,
            bind_groups: HashMap::new(),
            cost: 0,
            dispatches: 0,
            submit_after: FIRST_SUBMIT_DISPATCHES,
            profile,
        }
    }

    /// Words that fit the arena.
    pub(crate) fn arena_words(&self) -> usize {
        self.arena.buffer.size() as usize / 4
    }

    /// The pass that the next dispatch of a kernel goes to.
    pub(crate) fn pass(
        &mut self,
        device: &wgpu::Device,
        kernel: &'static str,
    ) -> &mut wgpu::ComputePass<'static> {
        if let Some(profile) = &mut self.profile {
            let mut encoder = match self.open.take() {
                Some((encoder, pass)) => {
                    drop(pass);
                    encoder
                }
                None => device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default()),
            };
            let pass = profile.pass(&mut encoder, kernel);
            return &mut self.open.insert((encoder, pass)).1;
        }
        let (_, pass) = self.open.get_or_insert_with(|| {
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()).forget_lifetime();
            (encoder, pass)
        });
        pass
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
    pub(crate) fn device_is_busy(&mut self) {
        self.submit_after = (2 * self.submit_after).min(MAX_SUBMIT_DISPATCHES);
    }

    /// The recorded commands, if there are any. Their tables stay until the caller has written them to the arena.
    pub(crate) fn finish(&mut self, device: &wgpu::Device) -> Option<wgpu::CommandBuffer> {
        let (mut encoder, pass) = self.open.take()?;
        drop(pass);
        if let Some(profile) = &mut self.profile {
            profile.finish(device, &mut encoder);
        }
        self.cost = 0;
        self.dispatches = 0;
        Some(encoder.finish())
    }
}
