//! Tables of dispatches on the device. Every inference of a network records the same tables, so they stay where the first one wrote them.

use crate::memory::PooledBuffer;
use foldhash::fast::FixedState;
use pleura_shaders::KernelParams;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

/// The buffer of the tables, and what it holds.
pub(crate) struct TableArena {
    pub(crate) buffer: PooledBuffer,
    /// The words of the buffer as far as it is filled, those that are still to be written included.
    words: Vec<u32>,
    /// Number of words that were written.
    written: usize,
    /// Where a dispatch's parameters begin, by the hash of these and of its tables.
    places: HashMap<u64, usize, FixedState>,
}

/// Words of the buffer at first.
pub(crate) const ARENA_WORDS: usize = 1 << 20;

/// Alignment of a dispatch's parameters in words: the largest that any device requires.
pub(crate) const ALIGN_WORDS: usize = 64;

/// Words of the parameters.
const PARAMS_WORDS: usize = size_of::<KernelParams>() / 4;

impl TableArena {
    /// An empty arena.
    pub(crate) fn new(buffer: PooledBuffer) -> Self {
        Self { buffer, words: Vec::new(), written: 0, places: HashMap::default() }
    }

    /// Words that the buffer has room for.
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.buffer.size() as usize / 4
    }

    /// Where the parameters of a dispatch begin whose tables are in the buffer.
    pub(crate) fn find(&self, params: KernelParams, tables: [&[u32]; 3]) -> Option<u32> {
        let at = *self.places.get(&hash(params, tables))?;
        let mut stored = self.words.get(at..)?;
        for expected in [placed(params, tables, at).as_slice()].into_iter().chain(tables) {
            stored = stored.strip_prefix(expected)?;
        }
        Some(at as u32)
    }

    /// Adds the parameters and tables of a dispatch; `None` without room for them.
    pub(crate) fn add(&mut self, params: KernelParams, tables: [&[u32]; 3]) -> Option<u32> {
        let at = self.words.len().next_multiple_of(ALIGN_WORDS);
        let words: usize = tables.iter().map(|table| table.len()).sum();
        if at + PARAMS_WORDS + words > self.capacity() {
            return None;
        }
        self.words.resize(at, 0);
        self.words.extend(placed(params, tables, at));
        for table in tables {
            self.words.extend_from_slice(table);
        }
        self.places.insert(hash(params, tables), at);
        Some(at as u32)
    }

    /// Forgets all tables. The commands that read them must have been submitted.
    pub(crate) fn clear(&mut self) {
        self.words.clear();
        self.written = 0;
        self.places.clear();
    }

    /// Writes the tables that were added since the last time, before the next commands that are submitted.
    pub(crate) fn write(&mut self, queue: &wgpu::Queue) {
        if let Some(words) = self.words.get(self.written..).filter(|words| !words.is_empty()) {
            queue.write_buffer(&self.buffer.buffer, 4 * self.written as u64, bytemuck::cast_slice(words));
        }
        self.written = self.words.len();
    }
}

/// The parameters of a dispatch at a place, where its tables follow them.
fn placed(params: KernelParams, [limbs, rows, _]: [&[u32]; 3], at: usize) -> [u32; PARAMS_WORDS] {
    let limbs_at = at + PARAMS_WORDS;
    let rows_at = limbs_at + limbs.len();
    let terms_at = rows_at + rows.len();
    bytemuck::cast(KernelParams {
        limbs: limbs_at as u32,
        rows: rows_at as u32,
        terms: terms_at as u32,
        ..params
    })
}

fn hash(params: KernelParams, tables: [&[u32]; 3]) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    hasher.write(bytemuck::bytes_of(&params));
    for table in tables {
        hasher.write_usize(table.len());
        hasher.write(bytemuck::cast_slice(table));
    }
    hasher.finish()
}
