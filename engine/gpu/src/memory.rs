//! Memory on the device: buffers recycled by size class, values cut where a kernel could not see them whole, and constants that stay
//! in the host's memory when the device has no room.

use crate::Device;
use pleura_ring::BackendError;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A buffer of the device; dropped, it serves again.
pub(crate) struct Memory {
    pub(crate) buffer: wgpu::Buffer,
    /// Names the buffer for as long as it lives, through all its uses.
    pub(crate) id: u64,
    /// Its size, or 0 where another buffer stands in for one that could not be had.
    bytes: u64,
    /// The submit that its last use before this one belongs to, if there was one.
    used_in: Option<u64>,
    /// Bytes that could not be had for what should lie here, or for what it was computed from; 0 if all is well.
    missing: AtomicU64,
    pool: Arc<Pool>,
}

/// Buffers that wait for their next use, by size.
#[derive(Default)]
pub(crate) struct Pool {
    free: Mutex<HashMap<u64, Vec<Waiting>>>,
    next_id: AtomicU64,
    /// Submits so far.
    pub(crate) submits: AtomicU64,
    held_bytes: AtomicU64,
    free_bytes: AtomicU64,
    peak_bytes: AtomicU64,
}

/// A buffer with its name and the submit that its last use belongs to.
type Waiting = (wgpu::Buffer, u64, u64);

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
    fn trim(&self) -> bool {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.clear();
        let bytes = self.free_bytes.swap(0, Ordering::Relaxed);
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
        bytes > 0
    }

    /// A waiting buffer of a size; `settled` ones alone are in no command that is not handed in.
    fn take(self: &Arc<Self>, bytes: u64, settled: bool) -> Option<Memory> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = free.get_mut(&bytes)?;
        let now = self.submits.load(Ordering::Relaxed);
        let found = waiting.iter().rposition(|(_, _, used_in)| !settled || *used_in < now)?;
        let (buffer, id, used_in) = waiting.swap_remove(found);
        self.free_bytes.fetch_sub(bytes, Ordering::Relaxed);
        Some(self.adopt(buffer, id, bytes, Some(used_in)))
    }

    /// A new buffer, for all purposes; `None` if the driver has no room.
    pub(crate) fn create(self: &Arc<Self>, device: &wgpu::Device, bytes: u64) -> Option<Memory> {
        let scope = device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::UNIFORM
                | wgpu::BufferUsages::COPY_SRC
                | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        if pollster::block_on(scope.pop()).is_some() {
            return None;
        }
        let held = self.held_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak_bytes.fetch_max(held, Ordering::Relaxed);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Some(self.adopt(buffer, id, bytes, None))
    }

    fn adopt(self: &Arc<Self>, buffer: wgpu::Buffer, id: u64, bytes: u64, used_in: Option<u64>) -> Memory {
        Memory { buffer, id, bytes, used_in, missing: AtomicU64::new(0), pool: self.clone() }
    }
}

impl Memory {
    /// Whether commands that are not handed in may use it.
    pub(crate) fn is_in_use(&self) -> bool {
        self.used_in.is_some_and(|submit| submit >= self.pool.submits.load(Ordering::Relaxed))
    }

    /// The error of what lies here, if it is not what it should be.
    pub(crate) fn check(&self) -> Result<(), BackendError> {
        match self.missing.load(Ordering::Relaxed) {
            0 => Ok(()),
            bytes => Err(BackendError::OutOfMemory { bytes: bytes as usize }),
        }
    }

    /// Passes on what was missing for an operand.
    pub(crate) fn damage(&self, error: &BackendError) {
        if let BackendError::OutOfMemory { bytes } = error {
            self.missing.store(*bytes as u64, Ordering::Relaxed);
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.pool.submits.load(Ordering::Relaxed);
            free.entry(self.bytes).or_default().push((self.buffer.clone(), self.id, now));
            self.pool.free_bytes.fetch_add(self.bytes, Ordering::Relaxed);
        }
    }
}

impl Device {
    /// A buffer of at least so many words, with whatever it held before; where there is no room, one that says so.
    pub(crate) fn memory(&self, words: usize) -> Memory {
        let bytes = 4 * words as u64;
        let taken = self.size(bytes).and_then(|size| self.pool.take(size, false));
        taken.or_else(|| self.fresh(bytes)).unwrap_or_else(|| self.missing(bytes))
    }

    /// The same for what the host will write: no command that waits to be handed in uses it, if that can be.
    fn memory_to_write(&self, words: usize) -> Memory {
        let bytes = 4 * words as u64;
        let settled = self.size(bytes).and_then(|size| self.pool.take(size, true));
        settled.or_else(|| self.fresh(bytes)).unwrap_or_else(|| self.memory(words))
    }

    /// A buffer that no command has used yet.
    pub(crate) fn fresh(&self, bytes: u64) -> Option<Memory> {
        let size = self.size(bytes)?;
        let room = || self.budget.is_none_or(|budget| self.pool.bytes().0 + size <= budget);
        if !room() {
            self.release();
        }
        if !room() {
            return None;
        }
        self.pool.create(&self.device, size).or_else(|| {
            // What waits for its next use may be in the way.
            self.release();
            self.pool.create(&self.device, size)
        })
    }

    /// Stands in for a buffer that cannot be had: whatever is computed from it is not computed, and says so.
    fn missing(&self, bytes: u64) -> Memory {
        let memory = self.pool.adopt(self.nothing.buffer.clone(), self.nothing.id, 0, None);
        memory.damage(&BackendError::OutOfMemory { bytes: bytes as usize });
        memory
    }

    /// What is allocated for `bytes`, one of eight sizes from one power of two to the next; `None` if no buffer may be so large.
    fn size(&self, bytes: u64) -> Option<u64> {
        let bytes = bytes.max(SMALLEST);
        let step = (bytes.next_power_of_two() / 8).max(SMALLEST);
        let most = self.limits.max_buffer_size / SMALLEST * SMALLEST;
        let sizes = [bytes.next_multiple_of(step), bytes.next_multiple_of(SMALLEST)];
        sizes.into_iter().find(|&size| size <= most)
    }

    /// Hands in what was recorded, so that nothing needs the buffers that wait, and gives them back.
    fn release(&self) {
        self.flush();
        self.forget_bind_groups();
        if self.pool.trim() {
            // The driver frees them when it hears that the device is done.
            self.poll(wgpu::PollType::wait_indefinitely());
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
        self.alloc_with(sizes, |words| self.memory(words))
    }

    /// Polynomials that the host brings.
    pub(crate) fn upload(&self, poly_words: usize, words: &[u32]) -> Result<GpuBuffer, BackendError> {
        let sizes = vec![poly_words; words.len().checked_div(poly_words).unwrap_or(0)];
        let buffer = self.alloc_with(&sizes, |words| self.memory_to_write(words));
        let mut rest = words;
        for (i, chunk) in buffer.chunks.iter().enumerate() {
            let Chunk::Device(memory) = chunk else { continue };
            memory.check()?;
            let here = buffer.places.iter().filter(|(chunk, _)| *chunk == i).count();
            let (words, after) = rest.split_at((here * poly_words).min(rest.len()));
            self.write(memory, 0, words);
            rest = after;
        }
        Ok(buffer)
    }

    fn alloc_with(&self, sizes: &[usize], memory: impl Fn(usize) -> Memory) -> GpuBuffer {
        let (places, lengths) = self.pack(sizes, self.max_words);
        // What is larger than a kernel can see is as good as missing.
        let memory = |words: usize| {
            if words > self.visible_words { self.missing(4 * words as u64) } else { memory(words) }
        };
        let chunks = lengths.into_iter().map(|words| Chunk::Device(Arc::new(memory(words)))).collect();
        GpuBuffer { chunks, places, writable: true }
    }

    /// Which chunk each item comes to lie in and where, and the chunks' lengths.
    fn pack(&self, sizes: &[usize], most: usize) -> (Vec<(usize, u32)>, Vec<usize>) {
        let (mut places, mut lengths) = (Vec::with_capacity(sizes.len()), Vec::<usize>::new());
        for &words in sizes {
            let last = lengths.last().copied().filter(|length| length + words <= most);
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
    pub(crate) fn constants(&self, words: &[u32], sizes: &[usize]) -> Result<GpuBuffer, BackendError> {
        if let Some(words) = sizes.iter().find(|&&words| words > self.visible_words) {
            return Err(BackendError::OutOfMemory { bytes: 4 * words });
        }
        // Not larger than can be streamed beside everything else.
        let most = self.budget.map_or(self.max_words, |budget| self.max_words.min(budget as usize / 4 / 16));
        let (mut places, lengths) = self.pack(sizes, most);
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
        Ok(GpuBuffer { chunks, places, writable: false })
    }

    fn constant(&self, words: &[u32]) -> (Chunk, u32) {
        let bytes = 4 * words.len() as u64;
        let mut slab = self.slab.lock().unwrap_or_else(PoisonError::into_inner);
        let room = slab.0.as_ref().is_some_and(|(_, used, size)| used + words.len() <= *size);
        if !room {
            let usual = if slab.0.is_none() { SLAB_BYTES[0] } else { SLAB_BYTES[1] };
            let size = usual.min(4 * self.max_words as u64).max(bytes);
            // Half of the budget is for what is computed.
            let live = self.pool.bytes().0 - self.pool.free_bytes.load(Ordering::Relaxed);
            let fits = |size: &u64| self.budget.is_none_or(|budget| live + size <= budget / 2);
            let memory = [size, bytes].into_iter().filter(fits).find_map(|size| self.fresh(size));
            // A driver that has no room is no reason to give up either.
            let Some(memory) = memory else { return (Chunk::Host(words.into()), 0) };
            let size = (memory.bytes / 4) as usize;
            slab.0 = Some((Arc::new(memory), 0, size));
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
                let memory = Arc::new(self.memory_to_write(words.len()));
                if memory.check().is_ok() {
                    self.write(&memory, 0, words);
                }
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
