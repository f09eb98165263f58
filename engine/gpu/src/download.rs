//! Downloads: words are copied to staging memory in program order, and read when the driver has mapped it.

use crate::device::Device;
use crate::error_sink::ErrorSink;
use crate::staging::StagingBuffers;
use pleura_ring::{Arrival, BackendError};
use std::mem;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// Bytes of one piece of a download.
const DOWNLOAD_BYTES: usize = 1 << 28;

/// A download, or other work, that was submitted.
pub(crate) struct Readback {
    device: wgpu::Device,
    errors: Arc<ErrorSink>,
    finished_submits: Arc<AtomicU64>,
    staging: Arc<StagingBuffers>,
    submission: wgpu::SubmissionIndex,
    pieces: Vec<Piece>,
    signal: Arc<Signal>,
}

/// Source of consecutive words of a download.
pub(crate) enum Source<'a> {
    /// Words of a buffer, from an offset on.
    Device { buffer: &'a wgpu::Buffer, at: u32, words: usize },
    /// Words in host memory.
    Host(&'a [u32]),
}

enum Piece {
    /// The first bytes of a buffer.
    Staging {
        buffer: wgpu::Buffer,
        bytes: u64,
    },
    Host(Vec<u32>),
}

/// Pending callbacks of the driver.
#[derive(Default)]
struct Signal(Mutex<Told>);

#[derive(Default)]
struct Told {
    /// Number of pending callbacks.
    expected: usize,
    waker: Option<Waker>,
}

impl Device {
    /// Begins a download of the words as they are after all recorded commands.
    pub(crate) fn read<'a>(&self, sources: impl IntoIterator<Item = Source<'a>>) -> Readback {
        let mut recorder = self.recorder();
        let mut pieces = Vec::new();
        for source in sources {
            match source {
                Source::Host(words) => pieces.push(Piece::Host(words.to_vec())),
                Source::Device { buffer, at, words } => {
                    let end = 4 * (u64::from(at) + words as u64);
                    for start in (4 * u64::from(at)..end).step_by(DOWNLOAD_BYTES) {
                        let bytes = (end - start).min(DOWNLOAD_BYTES as u64);
                        let staging = self.staging(bytes);
                        recorder.copy(&self.device, buffer, start, &staging, bytes);
                        pieces.push(Piece::Staging { buffer: staging, bytes });
                    }
                }
            }
        }
        let submission = self.submit(&mut recorder).unwrap_or_else(|| self.queue.submit([]));
        drop(recorder);
        let signal = Arc::<Signal>::default();
        for piece in &pieces {
            if let Piece::Staging { buffer, bytes } = piece {
                let heard = signal.expect();
                // Reading reports a buffer that was not mapped.
                buffer.map_async(wgpu::MapMode::Read, ..*bytes, move |_| heard.hear());
            }
        }
        self.readback(submission, pieces, signal)
    }

    /// Submits all recorded commands.
    pub(crate) fn finish(&self) -> Readback {
        let submission = self.submit(&mut self.recorder()).unwrap_or_else(|| self.queue.submit([]));
        let signal = Arc::<Signal>::default();
        let heard = signal.expect();
        self.queue.on_submitted_work_done(move || heard.hear());
        self.readback(submission, Vec::new(), signal)
    }

    fn readback(
        &self,
        submission: wgpu::SubmissionIndex,
        pieces: Vec<Piece>,
        signal: Arc<Signal>,
    ) -> Readback {
        let device = self.device.clone();
        let errors = self.errors.clone();
        let finished_submits = self.finished_submits.clone();
        let staging = self.staging.clone();
        Readback { device, errors, finished_submits, staging, submission, pieces, signal }
    }

    /// A buffer of at least this many bytes that is not mapped.
    fn staging(&self, bytes: u64) -> wgpu::Buffer {
        self.staging.take(bytes).unwrap_or_else(|| {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: bytes,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        })
    }
}

impl Readback {
    /// Blocks until the words have arrived.
    pub(crate) fn wait(mut self) -> Result<Vec<u32>, BackendError> {
        self.block()?;
        self.words()
    }

    fn block(&self) -> Result<(), BackendError> {
        if cfg!(target_arch = "wasm32") {
            return Err(BackendError::CannotBlock);
        }
        let submission_index = Some(self.submission.clone());
        self.errors.wait(&self.device, submission_index, &self.finished_submits);
        self.errors.take()
    }

    /// Whether the driver is done; if not, `waker` is woken when it may be.
    fn is_done(&self, waker: &Waker) -> bool {
        // A browser calls back by itself.
        self.errors.poll(&self.device, wgpu::PollType::Poll);
        if self.signal.is_heard(waker) || self.errors.is_lost() {
            return true;
        }
        if !cfg!(target_arch = "wasm32") {
            // A native driver makes progress only when it is polled.
            waker.wake_by_ref();
        }
        false
    }

    /// The words, of which none are left.
    fn words(&mut self) -> Result<Vec<u32>, BackendError> {
        let count = self.pieces.iter().map(|piece| match piece {
            Piece::Host(host) => host.len(),
            Piece::Staging { bytes, .. } => *bytes as usize / 4,
        });
        let mut words = Vec::with_capacity(count.sum());
        for piece in mem::take(&mut self.pieces) {
            match piece {
                Piece::Host(host) => words.extend_from_slice(&host),
                Piece::Staging { buffer, bytes } => {
                    let mapped = buffer
                        .get_mapped_range(..bytes)
                        .map_err(|error| BackendError::DeviceLost { reason: error.to_string() })?;
                    words.extend_from_slice(bytemuck::cast_slice(&mapped));
                    drop(mapped);
                    self.staging.keep(buffer);
                }
            }
        }
        Ok(words)
    }
}

impl Arrival<Vec<u32>> for Readback {
    fn poll(&mut self, waker: &Waker) -> Poll<Result<Vec<u32>, BackendError>> {
        if self.is_done(waker) {
            Poll::Ready(self.errors.take().and_then(|()| self.words()))
        } else {
            Poll::Pending
        }
    }

    fn wait(self: Box<Self>) -> Result<Vec<u32>, BackendError> {
        Readback::wait(*self)
    }
}

impl Arrival<()> for Readback {
    fn poll(&mut self, waker: &Waker) -> Poll<Result<(), BackendError>> {
        if self.is_done(waker) { Poll::Ready(self.errors.take()) } else { Poll::Pending }
    }

    fn wait(self: Box<Self>) -> Result<(), BackendError> {
        self.block()
    }
}

impl Signal {
    /// Counts one more callback.
    fn expect(self: &Arc<Self>) -> Arc<Self> {
        self.told().expected += 1;
        self.clone()
    }

    fn hear(&self) {
        let mut told = self.told();
        told.expected = told.expected.saturating_sub(1);
        if told.expected == 0 {
            told.waker.take().into_iter().for_each(Waker::wake);
        }
    }

    fn is_heard(&self, waker: &Waker) -> bool {
        let mut told = self.told();
        if told.expected > 0 {
            told.waker = Some(waker.clone());
        }
        told.expected == 0
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
