//! Aligned storage that is recycled: a fresh allocation costs a page fault every 4 KiB.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// One cache line, the unit of alignment.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u32; 16]);

/// Free storage by size.
#[derive(Default)]
pub(super) struct Pool(Mutex<HashMap<usize, Vec<Vec<Line>>>>);

/// Limbs on loan from a pool; their first content is whatever the last owner left.
///
/// Limbs lie one cache line further apart than they are long. At a power of two apart, the same word of every
/// limb would fall into the same set of the cache, which holds a dozen lines, and sums over many limbs would
/// evict their own operands.
pub struct CpuBuffer {
    lines: Vec<Line>,
    n: usize,
    pool: Arc<Pool>,
}

impl CpuBuffer {
    pub(super) fn new(pool: &Arc<Pool>, n: usize, limbs: usize) -> Self {
        let count = limbs * Self::stride(n);
        let free = pool.lock().get_mut(&count).and_then(Vec::pop);
        let lines = free.unwrap_or_else(|| vec![Line([0; 16]); count]);
        Self { lines, n, pool: pool.clone() }
    }

    /// Lines from one limb to the next.
    fn stride(n: usize) -> usize {
        n.div_ceil(16) + 1
    }

    /// Words of limb `i`.
    #[expect(clippy::indexing_slicing, reason = "limb numbers come from shapes that were asserted")]
    pub(super) fn limb(&self, i: usize) -> &[u32] {
        let start = i * Self::stride(self.n) * 16;
        &bytemuck::cast_slice(&self.lines)[start..start + self.n]
    }

    pub(super) fn limbs(&self) -> impl Iterator<Item = &[u32]> {
        self.lines.chunks(Self::stride(self.n)).filter_map(|lines| bytemuck::cast_slice(lines).get(..self.n))
    }

    pub(super) fn limbs_mut(&mut self) -> impl Iterator<Item = &mut [u32]> {
        let (n, stride) = (self.n, Self::stride(self.n));
        self.lines.chunks_mut(stride).filter_map(move |lines| bytemuck::cast_slice_mut(lines).get_mut(..n))
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
