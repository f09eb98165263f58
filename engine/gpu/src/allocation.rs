//! Allocation of results, uploads, and constants, which stay in host memory when the device is full.
#![expect(clippy::indexing_slicing, reason = "places are made with their segments, a group for each item")]

use crate::device::Device;
use crate::memory::{GpuBuffer, PooledBuffer, Segment, Slab};
use pleura_ring::BackendError;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

/// Smallest size of a buffer.
const SMALLEST: u64 = 1 << 12;

/// Sizes in bytes of the buffers that constants share, so that one kernel can read many keys; the first is smaller, for sessions
/// with few.
const SLAB_BYTES: [u64; 2] = [1 << 24, 1 << 28];

/// Which items must be in the same buffer, because one kernel reads or writes them together.
#[derive(Clone, Copy)]
pub(crate) enum Placement {
    /// No two items need share a buffer.
    Separate,
    /// Groups of this many neighbours.
    Neighbours(usize),
    /// Items at the same position of each of this many parts.
    Parts(usize),
}

impl Placement {
    fn members(self, items: usize) -> usize {
        match self {
            Self::Separate => 1,
            Self::Neighbours(members) | Self::Parts(members) => members.clamp(1, items.max(1)),
        }
    }

    /// The group of an item, and its position there.
    fn place(self, item: usize, items: usize) -> (usize, usize) {
        let members = self.members(items);
        match self {
            Self::Separate => (item, 0),
            Self::Neighbours(_) => (item / members, item % members),
            Self::Parts(_) => {
                let groups = items.div_ceil(members);
                (item % groups, item / groups)
            }
        }
    }
}

/// Constants begin at multiples of this many words.
const ALIGN_CONSTANTS: usize = 16;

impl Device {
    /// A buffer of at least `words` words, with undefined content. Without memory for it, a marked stand-in.
    fn buffer(&self, words: usize) -> PooledBuffer {
        let bytes = 4 * words as u64;
        let taken = self.size(bytes).and_then(|size| self.pool.take(size, self.most(size), false));
        taken.or_else(|| self.unused_buffer(bytes)).unwrap_or_else(|| self.missing_buffer(bytes))
    }

    /// [`Self::buffer`] for data that the host writes: preferably one that no unsubmitted command uses.
    fn buffer_to_write(&self, words: usize) -> PooledBuffer {
        let bytes = 4 * words as u64;
        let settled = self.size(bytes).and_then(|size| self.pool.take(size, self.most(size), true));
        settled.or_else(|| self.unused_buffer(bytes)).unwrap_or_else(|| self.buffer(words))
    }

    /// Size of the largest pooled buffer that is taken for `size` bytes: no larger one than needed where memory is limited.
    fn most(&self, size: u64) -> u64 {
        if self.budget.is_some() { size } else { 2 * size }
    }

    /// A buffer that no command has used yet.
    pub(crate) fn unused_buffer(&self, bytes: u64) -> Option<PooledBuffer> {
        self.buffer_of(self.size(bytes)?)
    }

    /// A new buffer of exactly this size.
    fn buffer_of(&self, size: u64) -> Option<PooledBuffer> {
        let room = || self.budget.is_none_or(|budget| self.pool.bytes().0 + size <= budget);
        if !room() {
            self.release();
        }
        if !room() {
            return None;
        }
        self.pool.create(&self.device, size).or_else(|| {
            // Pooled buffers may occupy the memory.
            self.release();
            self.pool.create(&self.device, size)
        })
    }

    /// A stand-in for a buffer that could not be allocated: its error passes on to everything that would be computed from it.
    fn missing_buffer(&self, bytes: u64) -> PooledBuffer {
        let buffer = self.pool.adopt(self.nothing.buffer.clone(), self.nothing.id, 0, None);
        buffer.damage(&BackendError::OutOfMemory { bytes: bytes as usize });
        buffer
    }

    /// Bytes to allocate for `bytes`: eight sizes between powers of two; `None` beyond the largest buffer.
    fn size(&self, bytes: u64) -> Option<u64> {
        let bytes = bytes.max(SMALLEST);
        let step = (bytes.next_power_of_two() / 8).max(SMALLEST);
        let most = self.limits.max_buffer_size / SMALLEST * SMALLEST;
        let sizes = [bytes.next_multiple_of(step), bytes.next_multiple_of(SMALLEST)];
        sizes.into_iter().find(|&size| size <= most)
    }

    /// Submits recorded commands, so that pooled buffers are free, and returns these to the driver.
    fn release(&self) {
        self.flush();
        self.forget_bind_groups();
        if self.pool.trim() {
            // The driver frees them once it learns that the device is done.
            self.wait_for_submits();
        }
    }

    /// Memory for `items` items of `words` words, in as few buffers as kernels can address.
    pub(crate) fn alloc(&self, words: usize, items: usize, placement: Placement) -> GpuBuffer {
        let members = placement.members(items);
        let sizes: Vec<_> = (0..items.div_ceil(members)).map(|_| words * members).collect();
        let packed = self.alloc_sizes(&sizes);
        let places = (0..items).map(|item| {
            let (group, member) = placement.place(item, items);
            let (segment, at) = packed.places[group];
            (segment, at + (member * words) as u32)
        });
        GpuBuffer { places: places.collect(), ..packed }
    }

    /// Memory for items of these numbers of words.
    pub(crate) fn alloc_sizes(&self, sizes: &[usize]) -> GpuBuffer {
        self.alloc_with(sizes, |words| self.buffer(words))
    }

    /// Memory for items of these numbers of words that the host writes.
    pub(crate) fn alloc_to_write(&self, sizes: &[usize]) -> Result<GpuBuffer, BackendError> {
        let buffer = self.alloc_with(sizes, |words| self.buffer_to_write(words));
        for segment in &buffer.segments {
            if let Segment::Device(segment) = segment {
                segment.check()?;
            }
        }
        Ok(buffer)
    }

    /// A buffer of this many words that the host writes.
    pub(crate) fn shared_buffer_to_write(&self, words: usize) -> Result<Arc<PooledBuffer>, BackendError> {
        let visible = words <= self.visible_words;
        let buffer =
            if visible { self.buffer_to_write(words) } else { self.missing_buffer(4 * words as u64) };
        buffer.check()?;
        Ok(Arc::new(buffer))
    }

    fn alloc_with(&self, sizes: &[usize], buffer: impl Fn(usize) -> PooledBuffer) -> GpuBuffer {
        let (places, lengths) = self.pack(sizes, self.max_words);
        let mut segments = Vec::with_capacity(lengths.len());
        for words in lengths {
            // An item beyond what a kernel can address fails like a missing buffer.
            let visible = words <= self.visible_words;
            let buffer = if visible { buffer(words) } else { self.missing_buffer(4 * words as u64) };
            segments.push(Segment::Device(Arc::new(buffer)));
        }
        GpuBuffer { segments, places, writable: true }
    }

    /// Segment and offset of each item, and the lengths of the segments.
    fn pack(&self, sizes: &[usize], most: usize) -> (Vec<(usize, u32)>, Vec<usize>) {
        let mut places = Vec::with_capacity(sizes.len());
        let mut lengths = Vec::<usize>::new();
        for &words in sizes {
            let start = match lengths.last_mut() {
                Some(length) if *length + words <= most => {
                    let start = *length;
                    *length += words;
                    start
                }
                _ => {
                    lengths.push(words);
                    0
                }
            };
            places.push((lengths.len() - 1, start as u32));
        }
        (places, lengths)
    }

    /// Items of these numbers of words that kernels only read.
    pub(crate) fn constants(&self, words: &[u32], sizes: &[usize]) -> Result<GpuBuffer, BackendError> {
        let mut buffer = self.reserve_constants(sizes)?;
        let GpuBuffer { segments, places, .. } = &mut buffer;
        let mut rest = words;
        for (i, segment) in segments.iter_mut().enumerate() {
            let here: Vec<_> = places.iter().zip(sizes).filter(|((segment, _), _)| *segment == i).collect();
            let ((_, start), _) = here[0];
            let (words, after) = rest.split_at(here.iter().map(|(_, words)| **words).sum());
            rest = after;
            match segment {
                Segment::Device(buffer) => self.write(buffer, *start as usize, words),
                Segment::Host(host) => Arc::make_mut(host).copy_from_slice(words),
            }
        }
        Ok(buffer)
    }

    /// Memory for items of these numbers of words that kernels only read, and that the host still has to write: in slabs, or zeros in host
    /// memory if the device is full.
    pub(crate) fn reserve_constants(&self, sizes: &[usize]) -> Result<GpuBuffer, BackendError> {
        if let Some(words) = sizes.iter().find(|&&words| words > self.visible_words) {
            return Err(BackendError::OutOfMemory { bytes: 4 * words });
        }
        // Small enough to be streamed beside everything else.
        let most = self.budget.map_or(self.max_words, |budget| self.max_words.min(budget as usize / 4 / 16));
        let (mut places, lengths) = self.pack(sizes, most);
        let (segments, starts): (Vec<_>, Vec<_>) =
            lengths.into_iter().map(|words| self.reserve_constant(words)).unzip();
        for (segment, at) in &mut places {
            *at += starts[*segment];
        }
        Ok(GpuBuffer { segments, places, writable: false })
    }

    /// Opens a slab of this size for constants, unless they fit the open one or no slab can be had: kernels read from one buffer at a
    /// time.
    pub(crate) fn expect_constants(&self, words: usize) {
        let mut slab = self.slab.lock().unwrap_or_else(PoisonError::into_inner);
        if slab.as_ref().is_some_and(|slab| slab.has_room(words)) || words > self.max_words {
            return;
        }
        let bytes = 4 * words.next_multiple_of(ALIGN_CONSTANTS) as u64 + SMALLEST;
        if let Some(buffer) = self.slab_buffer(bytes, bytes) {
            *slab = Some(Slab::new(buffer));
        }
    }

    /// Space for words that kernels only read, in a slab that has it, or in host memory if the device is full.
    fn reserve_constant(&self, words: usize) -> (Segment, u32) {
        let on_host = || (Segment::Host(vec![0; words].into()), 0);
        let mut slab = self.slab.lock().unwrap_or_else(PoisonError::into_inner);
        let usual = if slab.is_none() { SLAB_BYTES[0] } else { SLAB_BYTES[1] };
        if let Some(open) = slab.as_mut().filter(|slab| slab.has_room(words)) {
            return open.reserve(words);
        }
        // A driver without memory is no reason to fail either: the words stay with the host.
        let Some(buffer) = self.slab_buffer(usual, 4 * words as u64) else { return on_host() };
        slab.insert(Slab::new(buffer)).reserve(words)
    }

    /// A slab of the usual size, or of `bytes` if that is too much or too little. Half of the budget is reserved for results.
    fn slab_buffer(&self, usual: u64, bytes: u64) -> Option<PooledBuffer> {
        let size = usual.min(4 * self.max_words as u64).max(bytes);
        let live = self.pool.bytes().0 - self.pool.free_bytes.load(Ordering::Relaxed);
        [size, bytes]
            .into_iter()
            .filter(|size| self.budget.is_none_or(|budget| live + size <= budget / 2))
            .map(|size| size.next_multiple_of(SMALLEST))
            .filter(|&size| size <= self.limits.max_buffer_size)
            .find_map(|size| self.buffer_of(size))
    }

    /// A segment on the device: its own buffer, or a temporary copy.
    pub(crate) fn resident(&self, segment: &Segment) -> Arc<PooledBuffer> {
        match segment {
            Segment::Device(buffer) => buffer.clone(),
            Segment::Host(words) => {
                self.streamed_bytes.fetch_add(4 * words.len() as u64, Ordering::Relaxed);
                let buffer = Arc::new(self.buffer_to_write(words.len()));
                if buffer.check().is_ok() {
                    self.write(&buffer, 0, words);
                }
                buffer
            }
        }
    }
}

impl Slab {
    /// An empty slab.
    fn new(buffer: PooledBuffer) -> Self {
        let words = (buffer.bytes / 4) as usize;
        Self { buffer: Arc::new(buffer), used_words: 0, words }
    }

    fn has_room(&self, words: usize) -> bool {
        self.used_words + words <= self.words
    }

    /// Space for words, which the slab has room for.
    fn reserve(&mut self, words: usize) -> (Segment, u32) {
        let start = self.used_words;
        // Kernels read four words at a time.
        self.used_words += words.next_multiple_of(ALIGN_CONSTANTS);
        (Segment::Device(self.buffer.clone()), start as u32)
    }
}
