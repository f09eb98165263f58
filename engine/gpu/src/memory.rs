//! Memory of the device: pooled buffers, and where the words of polynomials lie in them. `allocation.rs` decides what lies where.

use pleura_ring::BackendError;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A buffer of the device; dropped, it serves again.
pub(crate) struct PooledBuffer {
    pub(crate) buffer: wgpu::Buffer,
    /// Names the buffer for as long as it lives, through all its uses.
    pub(crate) id: u64,
    /// Size in bytes, or 0 where another buffer stands in for one that could not be had.
    pub(crate) bytes: u64,
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
    pub(crate) free_bytes: AtomicU64,
    peak_bytes: AtomicU64,
}

/// A buffer with its name and the submit that its last use belongs to.
type Waiting = (wgpu::Buffer, u64, u64);

/// A piece of memory that items lie in.
#[derive(Clone)]
pub(crate) enum Segment {
    /// A buffer, or a part of one.
    Device(Arc<PooledBuffer>),
    /// The host's memory: brought over whenever it is used.
    Host(Arc<[u32]>),
}

/// Words of several items, each in one piece: the polynomials of a batch, as a rule.
pub struct GpuBuffer {
    pub(crate) segments: Vec<Segment>,
    /// For each item its segment, and its offset there in words.
    pub(crate) places: Vec<(usize, u32)>,
    /// Whether it may be written to: constants share their buffers with others, which kernels read.
    pub(crate) writable: bool,
}

/// Where an item begins: a segment, and an offset there in words.
#[derive(Clone, Copy)]
pub(crate) struct Location<'a> {
    pub(crate) segment: &'a Segment,
    pub(crate) offset: u32,
}

/// A buffer of constants that is being filled.
pub(crate) struct Slab {
    pub(crate) buffer: Arc<PooledBuffer>,
    pub(crate) used_words: usize,
    pub(crate) words: usize,
}

impl Pool {
    /// Bytes in use and waiting, now and at most.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.held_bytes.load(Ordering::Relaxed), self.peak_bytes.load(Ordering::Relaxed))
    }

    /// Gives what waits back to the driver; tells whether there was any.
    pub(crate) fn trim(&self) -> bool {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.clear();
        let bytes = self.free_bytes.swap(0, Ordering::Relaxed);
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
        bytes > 0
    }

    /// A waiting buffer of a size; `settled` ones alone are in no command that is not handed in.
    pub(crate) fn take(self: &Arc<Self>, bytes: u64, settled: bool) -> Option<PooledBuffer> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = free.get_mut(&bytes)?;
        let now = self.submits.load(Ordering::Relaxed);
        let found = waiting.iter().rposition(|(_, _, used_in)| !settled || *used_in < now)?;
        let (buffer, id, used_in) = waiting.swap_remove(found);
        self.free_bytes.fetch_sub(bytes, Ordering::Relaxed);
        Some(self.adopt(buffer, id, bytes, Some(used_in)))
    }

    /// A new buffer, for all purposes; `None` if the driver has no room.
    pub(crate) fn create(self: &Arc<Self>, device: &wgpu::Device, bytes: u64) -> Option<PooledBuffer> {
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

    /// A buffer that comes back to this pool when it is dropped, unless its `bytes` are 0.
    pub(crate) fn adopt(
        self: &Arc<Self>,
        buffer: wgpu::Buffer,
        id: u64,
        bytes: u64,
        used_in: Option<u64>,
    ) -> PooledBuffer {
        PooledBuffer { buffer, id, bytes, used_in, missing: AtomicU64::new(0), pool: self.clone() }
    }
}

impl PooledBuffer {
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

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.pool.submits.load(Ordering::Relaxed);
            free.entry(self.bytes).or_default().push((self.buffer.clone(), self.id, now));
            self.pool.free_bytes.fetch_add(self.bytes, Ordering::Relaxed);
        }
    }
}

impl Segment {
    /// Tells segments apart.
    pub(crate) fn id(&self) -> usize {
        match self {
            Self::Device(buffer) => Arc::as_ptr(buffer).addr(),
            Self::Host(words) => Arc::as_ptr(words).addr(),
        }
    }
}

impl GpuBuffer {
    /// Where an item begins.
    #[expect(
        clippy::indexing_slicing,
        reason = "views are checked where they are made, places made with their segments"
    )]
    pub(crate) fn at(&self, item: usize) -> Location<'_> {
        let (segment, offset) = self.places[item];
        Location { segment: &self.segments[segment], offset }
    }

    /// Each item as `parts` neighbors of `words` words.
    pub(crate) fn split(self, words: usize, parts: usize) -> Self {
        Self {
            places: self
                .places
                .iter()
                .flat_map(|&(segment, at)| (0..parts).map(move |i| (segment, at + (i * words) as u32)))
                .collect(),
            ..self
        }
    }

    /// Every `parts` neighbors, which lie side by side, as one item.
    pub(crate) fn join(self, parts: usize) -> Self {
        Self { places: self.places.iter().copied().step_by(parts.max(1)).collect(), ..self }
    }
}

impl<'a> Location<'a> {
    /// A number of words further on in the same segment.
    pub(crate) fn plus(self, words: u32) -> Self {
        Self { offset: self.offset + words, ..self }
    }

    /// Whether this is where another location's `words` words end.
    pub(crate) fn follows(self, before: Self, words: u32) -> bool {
        self.segment.id() == before.segment.id() && before.offset + words == self.offset
    }
}
