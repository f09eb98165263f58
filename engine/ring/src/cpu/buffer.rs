//! Aligned storage that is recycled: a fresh allocation costs a page fault every 4 KiB.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// One cache line, the unit of alignment.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u32; 16]);

/// Free storage by size.
#[derive(Default)]
pub(super) struct Pool(Mutex<HashMap<usize, Vec<Vec<Line>>>>);

/// Words on loan from a pool; their first content is whatever the last owner left.
pub struct CpuBuffer {
    lines: Vec<Line>,
    words: usize,
    pool: Arc<Pool>,
}

impl CpuBuffer {
    pub(super) fn new(pool: &Arc<Pool>, words: usize) -> Self {
        let count = words.div_ceil(16);
        let free = pool.lock().get_mut(&count).and_then(Vec::pop);
        let lines = free.unwrap_or_else(|| vec![Line([0; 16]); count]);
        Self { lines, words, pool: pool.clone() }
    }
}

impl Pool {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<usize, Vec<Vec<Line>>>> {
        // A list of free storage is sound whatever its last user was doing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }
}

impl Drop for CpuBuffer {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        self.pool.lock().entry(lines.len()).or_default().push(lines);
    }
}

impl Deref for CpuBuffer {
    type Target = [u32];

    #[expect(clippy::indexing_slicing, reason = "the lines hold at least `words` words")]
    fn deref(&self) -> &[u32] {
        &bytemuck::cast_slice(&self.lines)[..self.words]
    }
}

impl DerefMut for CpuBuffer {
    #[expect(clippy::indexing_slicing, reason = "the lines hold at least `words` words")]
    fn deref_mut(&mut self) -> &mut [u32] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.words]
    }
}
