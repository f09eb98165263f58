//! Aligned storage that is recycled: a fresh allocation costs a page fault every 4 KiB, or every 2 MiB in the large pages of the first 256 MB
//! ([`storage`](super::storage)).

use super::storage::{LINE_WORDS, Source, Storage};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Free storage.
#[derive(Default)]
pub(super) struct Pool(Mutex<Free>);

/// Free storage by size, and how many lines it is in all; the maker of more.
#[derive(Default)]
struct Free {
    by_size: BTreeMap<usize, Vec<Storage>>,
    lines: usize,
    source: Source,
}

/// Upper bound of the unused memory in a pool, so that sizes that are no longer used do not accumulate.
const MAX_FREE_BYTES: usize = 2 << 30;

/// Limbs on loan from a pool; their first content is whatever the last owner left.
///
/// Limbs lie one cache line further apart than they are long. At a power of two apart, the same word of every
/// limb would fall into the same set of the cache, which holds a dozen lines, and sums over many limbs would
/// evict their own operands.
pub struct CpuBuffer {
    /// Lines of the limbs, or somewhat more.
    storage: Storage,
    n: usize,
    limbs: usize,
    pool: Arc<Pool>,
}

impl CpuBuffer {
    pub(super) fn new(pool: &Arc<Pool>, n: usize, limbs: usize) -> Self {
        let count = limbs * Self::stride(n);
        let storage = pool.lock().take(count);
        Self { storage, n, limbs, pool: pool.clone() }
    }

    /// Lines from one limb to the next.
    fn stride(n: usize) -> usize {
        n.div_ceil(LINE_WORDS) + 1
    }

    /// Words of limb `i`.
    #[expect(clippy::indexing_slicing, reason = "limb numbers come from shapes that were asserted")]
    pub(super) fn limb(&self, i: usize) -> &[u32] {
        let start = i * Self::stride(self.n) * LINE_WORDS;
        &self.storage.words()[start..start + self.n]
    }

    pub(super) fn limbs(&self) -> impl Iterator<Item = &[u32]> {
        let limbs = self.storage.words().chunks(Self::stride(self.n) * LINE_WORDS).take(self.limbs);
        limbs.filter_map(|limb| limb.get(..self.n))
    }

    pub(super) fn limbs_mut(&mut self) -> impl Iterator<Item = &mut [u32]> {
        let n = self.n;
        let stride = Self::stride(n) * LINE_WORDS;
        let limbs = self.storage.words_mut().chunks_mut(stride).take(self.limbs);
        limbs.filter_map(move |limb| limb.get_mut(..n))
    }
}

/// Parts of storage, each of which is written by one task.
pub(super) struct Places<T>(Vec<Option<T>>);

impl<T> Places<T> {
    pub(super) fn new(parts: impl IntoIterator<Item = T>) -> Self {
        Self(parts.into_iter().map(Some).collect())
    }

    /// Takes a part out.
    #[expect(clippy::expect_used, reason = "tasks that shared a part would overwrite each other's results")]
    pub(super) fn take(&mut self, i: usize) -> T {
        self.0
            .get_mut(i)
            .and_then(Option::take)
            .expect("internal error: a place that is taken twice, or is none")
    }
}

impl Pool {
    fn lock(&self) -> std::sync::MutexGuard<'_, Free> {
        // A list of free storage is sound whatever its last user was doing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn clear(&self) {
        *self.lock() = Free::default();
    }
}

impl Free {
    /// Takes storage of `lines` lines, or up to half as much again, because sizes change from level to level.
    fn take(&mut self, lines: usize) -> Storage {
        let mut fitting = self.by_size.range_mut(lines..=lines + lines / 2);
        let Some(found) = fitting.find_map(|(_, free)| free.pop()) else { return self.source.make(lines) };
        self.lines -= found.lines();
        found
    }

    fn put(&mut self, storage: Storage) {
        let max = MAX_FREE_BYTES / (4 * LINE_WORDS);
        if storage.lines() > max {
            return;
        }
        if self.lines + storage.lines() > max {
            *self = Self::default();
        }
        self.lines += storage.lines();
        self.by_size.entry(storage.lines()).or_default().push(storage);
    }
}

impl Drop for CpuBuffer {
    fn drop(&mut self) {
        let storage = std::mem::take(&mut self.storage);
        self.pool.lock().put(storage);
    }
}
