//! Buffers that downloads are read from.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Buffers that downloads were read from, kept for the next ones.
#[derive(Default)]
pub(crate) struct StagingBuffers(Mutex<Vec<wgpu::Buffer>>);

/// Most buffers that are kept, and bytes of each.
const KEPT_BUFFERS: usize = 4;
const KEPT_BYTES: u64 = 1 << 22;

impl StagingBuffers {
    /// A buffer of `bytes` to twice as many.
    pub(crate) fn take(&self, bytes: u64) -> Option<wgpu::Buffer> {
        let mut kept = self.kept();
        let place = kept.iter().position(|buffer| (bytes..=2 * bytes).contains(&buffer.size()))?;
        Some(kept.swap_remove(place))
    }

    /// Keeps a buffer that was read, unless it is large or there are enough.
    pub(crate) fn keep(&self, buffer: wgpu::Buffer) {
        buffer.unmap();
        let mut kept = self.kept();
        if buffer.size() <= KEPT_BYTES && kept.len() < KEPT_BUFFERS {
            kept.push(buffer);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<wgpu::Buffer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
