//! Device memory: pooled buffers, and the places of polynomials in them. `allocation.rs` decides the places.

use pleura_ring::BackendError;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A buffer of the device; dropped, it returns to its pool.
pub(crate) struct PooledBuffer {
    pub(crate) buffer: wgpu::Buffer,
    /// Identifier of the buffer, constant through all its uses.
    pub(crate) id: u64,
    /// Size in bytes; 0 for a stand-in.
    pub(crate) bytes: u64,
    /// The submit of its previous use, if there was one.
    used_in: Option<u64>,
    /// Bytes that could not be allocated for this buffer or for an operand that it was computed from; 0 without an error.
    missing: AtomicU64,
    pool: Arc<Pool>,
}

/// Pooled buffers, by size.
#[derive(Default)]
pub(crate) struct Pool {
    free: Mutex<BTreeMap<u64, Vec<Waiting>>>,
    next_id: AtomicU64,
    /// Number of submits so far.
    pub(crate) submits: AtomicU64,
    held_bytes: AtomicU64,
    pub(crate) free_bytes: AtomicU64,
    peak_bytes: AtomicU64,
}

/// A buffer with its identifier and the submit of its last use.
type Waiting = (wgpu::Buffer, u64, u64);

/// Contiguous memory of some items.
#[derive(Clone)]
pub(crate) enum Segment {
    /// A buffer, or a part of one.
    Device(Arc<PooledBuffer>),
    /// Host memory, streamed to the device when it is used.
    Host(Arc<[u32]>),
}

/// Words of several items, as a rule the polynomials of a batch; the words of an item are contiguous.
pub struct GpuBuffer {
    pub(crate) segments: Vec<Segment>,
    /// For each item its segment, and its offset there in words.
    pub(crate) places: Vec<(usize, u32)>,
    /// Whether it may be written to. Constants share their buffers with others that kernels read, so they may not.
    pub(crate) writable: bool,
}

/// Start of an item: a segment, and an offset in it, in words.
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
    /// Bytes in use and pooled: current value and peak.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        (self.held_bytes.load(Ordering::Relaxed), self.peak_bytes.load(Ordering::Relaxed))
    }

    /// Returns unused buffers to the driver; `false` if there was none.
    pub(crate) fn trim(&self) -> bool {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.clear();
        let bytes = self.free_bytes.swap(0, Ordering::Relaxed);
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
        bytes > 0
    }

    /// The smallest pooled buffer of `bytes` to `most` bytes. With `settled`, one that no unsubmitted command uses.
    pub(crate) fn take(self: &Arc<Self>, bytes: u64, most: u64, settled: bool) -> Option<PooledBuffer> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.submits.load(Ordering::Relaxed);
        let (&bytes, waiting, found) = free.range_mut(bytes..=most).find_map(|(bytes, waiting)| {
            let found = waiting.iter().rposition(|(_, _, used_in)| !settled || *used_in < now)?;
            Some((bytes, waiting, found))
        })?;
        let (buffer, id, used_in) = waiting.swap_remove(found);
        self.free_bytes.fetch_sub(bytes, Ordering::Relaxed);
        Some(self.adopt(buffer, id, bytes, Some(used_in)))
    }

    /// A new buffer for all uses; `None` if the driver has no memory.
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

    /// A buffer that returns to this pool when it is dropped, unless its `bytes` are 0.
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
    /// Whether unsubmitted commands may use it.
    pub(crate) fn is_in_use(&self) -> bool {
        self.used_in.is_some_and(|submit| submit >= self.pool.submits.load(Ordering::Relaxed))
    }

    /// The error of a failed allocation, or of an operand that this was computed from.
    pub(crate) fn check(&self) -> Result<(), BackendError> {
        match self.missing.load(Ordering::Relaxed) {
            0 => Ok(()),
            bytes => Err(BackendError::OutOfMemory { bytes: bytes as usize }),
        }
    }

    /// Passes on an operand's failed allocation.
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
    /// Identifies the segment.
    pub(crate) fn id(&self) -> usize {
        match self {
            Self::Device(buffer) => Arc::as_ptr(buffer).addr(),
            Self::Host(words) => Arc::as_ptr(words).addr(),
        }
    }
}

impl GpuBuffer {
    /// Start of an item.
    #[expect(
        clippy::indexing_slicing,
        reason = "views are checked where they are made, places made with their segments"
    )]
    pub(crate) fn at(&self, item: usize) -> Location<'_> {
        let (segment, offset) = self.places[item];
        Location { segment: &self.segments[segment], offset }
    }

    /// Splits each item into `parts` neighbours of `words` words.
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

    /// Joins every `parts` contiguous neighbours into one item.
    pub(crate) fn join(self, parts: usize) -> Self {
        Self { places: self.places.iter().copied().step_by(parts.max(1)).collect(), ..self }
    }
}

impl<'a> Location<'a> {
    /// The location a number of words further on in the segment.
    pub(crate) fn plus(self, words: u32) -> Self {
        Self { offset: self.offset + words, ..self }
    }

    /// Whether another location's `words` words end here.
    pub(crate) fn follows(self, before: Self, words: u32) -> bool {
        self.segment.id() == before.segment.id() && before.offset + words == self.offset
    }
}
