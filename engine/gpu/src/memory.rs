//! Memory on the device: buffers recycled by size class, values cut where a kernel could not see them whole, and constants that stay
//! in the host's memory when the device has no room.

use crate::Device;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A buffer of the device; dropped, it serves again.
pub(crate) struct Memory {
    pub(crate) buffer: wgpu::Buffer,
    /// Names the buffer for as long as it lives, through all its uses.
    pub(crate) id: u64,
    bytes: u64,
    /// Whether commands that were recorded earlier may still use it.
    pub(crate) recycled: bool,
    pool: Arc<Pool>,
}

/// Buffers that wait for their next use, by size class.
#[derive(Default)]
pub(crate) struct Pool {
    free: Mutex<HashMap<u64, Vec<(u64, wgpu::Buffer)>>>,
    next_id: AtomicU64,
    held_bytes: AtomicU64,
    peak_bytes: AtomicU64,
}

/// A place where words lie.
#[derive(Clone)]
pub(crate) enum Chunk {
    /// A buffer, or a part of one.
    Device(Arc<Memory>),
    /// The host's memory: brought over whenever it is used.
    Host(Arc<[u32]>),
}

/// Words of several items, each in one piece: the polynomials of a batch, as a rule.
pub struct GpuBuffer {
    chunks: Vec<Chunk>,
    /// For each item its chunk, and its offset there in words.
    places: Vec<(usize, u32)>,
    /// Whether it may be written to: constants share their buffers with others, which kernels read.
    pub(crate) writable: bool,
}

/// A constant buffer that is being filled, and the words in use.
#[derive(Default)]
pub(crate) struct Slab(Option<(Arc<Memory>, usize, usize)>);

/// Buffers are of 4 KiB or more.
const SMALLEST: u64 = 1 << 12;

/// Constants share buffers of so many bytes, so that one kernel can read many keys; the first is smaller, for those who have few.
const SLAB_BYTES: [u64; 2] = [1 << 24, 1 << 28];

impl Pool {
    /// Bytes in use and waiting, now and at most.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.held_bytes.load(Ordering::Relaxed), self.peak_bytes.load(Ordering::Relaxed))
    }

    /// Gives what waits back to the driver; tells whether there was any.
    pub(crate) fn trim(&self) -> bool {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: u64 = free.iter().map(|(class, buffers)| class * buffers.len() as u64).sum();
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
        free.clear();
        bytes > 0
    }

    /// A waiting buffer of the size class that `bytes` belong to.
    fn take(self: &Arc<Self>, bytes: u64) -> Option<Memory> {
        let bytes = class(bytes);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, buffer) = free.get_mut(&bytes)?.pop()?;
        Some(Memory { buffer, id, bytes, recycled: true, pool: self.clone() })
    }

    /// A new buffer, for all purposes.
    pub(crate) fn create(self: &Arc<Self>, device: &wgpu::Device, bytes: u64) -> Memory {
        let bytes = bytes.next_multiple_of(SMALLEST);
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::UNIFORM
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let held = self.held_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak_bytes.fetch_max(held, Ordering::Relaxed);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Memory { buffer, id, bytes, recycled: false, pool: self.clone() }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.entry(self.bytes).or_default().push((self.id, self.buffer.clone()));
    }
}

/// The size that is allocated for `bytes`: at most a quarter more.
fn class(bytes: u64) -> u64 {
    let bytes = bytes.max(SMALLEST);
    let step = (bytes.next_power_of_two() / 8).max(SMALLEST);
    bytes.next_multiple_of(step)
}

impl Device {
    /// A buffer of at least so many words, with whatever it held before.
    pub(crate) fn memory(&self, words: usize) -> Memory {
        let bytes = 4 * words as u64;
        if let Some(memory) = self.pool.take(bytes) {
            return memory;
        }
        let bytes = class(bytes).min(self.limits.max_buffer_size / 4 * 4).max(bytes);
        if self.budget.is_some_and(|budget| self.pool.bytes().0 + bytes > budget) {
            self.release();
            if self.budget.is_some_and(|budget| self.pool.bytes().0 + bytes > budget) {
                self.fail_out_of_memory(bytes);
            }
        }
        self.fresh(bytes)
    }

    /// A buffer that no command has used yet.
    pub(crate) fn fresh(&self, bytes: u64) -> Memory {
        let create = |bytes| {
            let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
            let memory = self.pool.create(&self.device, bytes);
            pollster::block_on(scope.pop()).map_or(Ok(memory), |_| Err(()))
        };
        let memory = create(bytes).or_else(|()| {
            // What waits for its next use may be in the way.
            self.release();
            create(bytes)
        });
        memory.unwrap_or_else(|()| {
            self.fail_out_of_memory(bytes);
            self.pool.create(&self.device, SMALLEST)
        })
    }

    /// Hands in what was recorded, so that nothing needs the buffers that wait, and gives them back.
    fn release(&self) {
        self.flush();
        self.forget_bind_groups();
        if self.pool.trim() {
            // The driver frees them when it hears that the device is done.
            _ = self.device.poll(wgpu::PollType::wait_indefinitely());
        }
    }

    /// Room for items of so many words, in as few buffers as kernels can see; items of the same group lie in one.
    pub(crate) fn alloc(&self, words: usize, items: usize, groups: Groups) -> GpuBuffer {
        let members = groups.members(items);
        let sizes: Vec<_> = (0..items.div_ceil(members)).map(|_| words * members).collect();
        let packed = self.alloc_sizes(&sizes);
        let place = |item: usize| {
            let (group, member) = groups.place(item, items);
            packed.places.get(group).map_or((0, 0), |&(chunk, at)| (chunk, at + (member * words) as u32))
        };
        GpuBuffer { places: (0..items).map(place).collect(), ..packed }
    }

    /// Room for items of so many words each.
    pub(crate) fn alloc_sizes(&self, sizes: &[usize]) -> GpuBuffer {
        let (places, lengths) = self.pack(sizes);
        if let Some(&words) = sizes.iter().find(|&&words| words > self.max_words && !self.limited) {
            self.fail_out_of_memory(4 * words as u64);
        }
        let chunks = lengths.into_iter().map(|words| Chunk::Device(Arc::new(self.memory(words)))).collect();
        GpuBuffer { chunks, places, writable: true }
    }

    /// Which chunk each item comes to lie in and where, and the chunks' lengths.
    fn pack(&self, sizes: &[usize]) -> (Vec<(usize, u32)>, Vec<usize>) {
        let (mut places, mut lengths) = (Vec::with_capacity(sizes.len()), Vec::<usize>::new());
        for &words in sizes {
            let last = lengths.last().copied().filter(|length| length + words <= self.max_words);
            if last.is_none() {
                lengths.push(0);
            }
            let start = last.unwrap_or(0);
            places.push((lengths.len() - 1, start as u32));
            if let Some(length) = lengths.last_mut() {
                *length = start + words;
            }
        }
        (places, lengths)
    }

    /// Items of so many words each that kernels only read.
    pub(crate) fn constants(&self, words: &[u32], sizes: &[usize]) -> GpuBuffer {
        let (mut places, lengths) = self.pack(sizes);
        let (mut chunks, mut rest, mut starts) = (Vec::new(), words, Vec::new());
        for length in lengths {
            let (chunk, after) = rest.split_at(length.min(rest.len()));
            rest = after;
            let (chunk, start) = self.constant(chunk);
            chunks.push(chunk);
            starts.push(start);
        }
        for (chunk, at) in &mut places {
            *at += starts.get(*chunk).copied().unwrap_or(0);
        }
        GpuBuffer { chunks, places, writable: false }
    }

    fn constant(&self, words: &[u32]) -> (Chunk, u32) {
        let bytes = 4 * words.len() as u64;
        let mut slab = self.slab.lock().unwrap_or_else(PoisonError::into_inner);
        let room = slab.0.as_ref().is_some_and(|(_, used, size)| used + words.len() <= *size);
        if !room {
            let usual = if slab.0.is_none() { SLAB_BYTES[0] } else { SLAB_BYTES[1] };
            let limit = 4 * self.max_words as u64;
            let size = usual.min(limit).max(bytes);
            // Half of the budget is for what is computed.
            let held = self.pool.bytes().0;
            let fits = |size: u64| self.budget.is_none_or(|budget| held + size <= budget / 2);
            let Some(size) = [size, bytes].into_iter().find(|&size| fits(size)) else {
                return (Chunk::Host(words.into()), 0);
            };
            slab.0 = Some((Arc::new(self.fresh(size)), 0, (size / 4) as usize));
        }
        let Some((memory, used, _)) = &mut slab.0 else { return (Chunk::Host(words.into()), 0) };
        let start = *used;
        *used += words.len();
        let memory = memory.clone();
        drop(slab);
        self.write(&memory, start, words);
        (Chunk::Device(memory), start as u32)
    }

    /// A chunk on the device: itself, or a copy for the time being.
    pub(crate) fn resident(&self, chunk: &Chunk) -> Arc<Memory> {
        match chunk {
            Chunk::Device(memory) => memory.clone(),
            Chunk::Host(words) => {
                self.streamed_bytes.fetch_add(4 * words.len() as u64, Ordering::Relaxed);
                let memory = Arc::new(self.memory(words.len()));
                self.write(&memory, 0, words);
                memory
            }
        }
    }
}

/// Items that must lie in the same buffer, because one kernel reads or writes them together.
#[derive(Clone, Copy)]
pub(crate) enum Groups {
    /// Each by itself.
    Each,
    /// So many neighbours.
    Neighbours(usize),
    /// Those at the same position of each of so many parts.
    Parts(usize),
}

impl Groups {
    fn members(self, items: usize) -> usize {
        match self {
            Self::Each => 1,
            Self::Neighbours(members) | Self::Parts(members) => members.clamp(1, items.max(1)),
        }
    }

    /// An item's group, and its position there.
    fn place(self, item: usize, items: usize) -> (usize, usize) {
        let members = self.members(items);
        match self {
            Self::Each => (item, 0),
            Self::Neighbours(_) => (item / members, item % members),
            Self::Parts(_) => {
                let groups = items.div_ceil(members);
                (item % groups, item / groups)
            }
        }
    }
}

impl Chunk {
    /// Tells chunks apart.
    pub(crate) fn id(&self) -> usize {
        match self {
            Self::Device(memory) => Arc::as_ptr(memory).addr(),
            Self::Host(words) => Arc::as_ptr(words).addr(),
        }
    }
}

impl GpuBuffer {
    /// Where an item begins.
    pub(crate) fn at(&self, item: usize) -> (&Chunk, u32) {
        #[expect(clippy::indexing_slicing, reason = "views are checked where they are made")]
        let (chunk, at) = self.places[item];
        #[expect(clippy::indexing_slicing, reason = "places were made with their chunks")]
        (&self.chunks[chunk], at)
    }

    /// Each item as so many neighbours of `words` words.
    pub(crate) fn split(self, words: usize, parts: usize) -> Self {
        let part = |(chunk, at): &(usize, u32)| {
            let (chunk, at) = (*chunk, *at);
            (0..parts).map(move |i| (chunk, at + (i * words) as u32))
        };
        Self { places: self.places.iter().flat_map(part).collect(), ..self }
    }

    /// So many neighbours, which lie side by side, as one item.
    pub(crate) fn join(self, parts: usize) -> Self {
        Self { places: self.places.iter().copied().step_by(parts.max(1)).collect(), ..self }
    }
}
