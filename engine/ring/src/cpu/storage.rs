//! Zeroed memory of the system that begins at a cache line. The first of it has pages of 2 MiB, as far as the system has them: fewer page
//! faults, and fewer misses of the tables of pages.

#[cfg(target_os = "linux")]
use std::sync::Arc;

/// Words of a cache line, the unit of alignment.
pub(super) const LINE_WORDS: usize = 16;

/// Words that begin at a cache line. Pages that nobody writes to are never touched.
#[derive(Default)]
pub(super) struct Storage {
    memory: Memory,
    /// Words before the first one.
    start: usize,
    lines: usize,
}

enum Memory {
    Heap(Vec<u32>),
    /// A part of a mapping, which is this storage's alone.
    #[cfg(target_os = "linux")]
    Mapped(Arc<memmap2::MmapRaw>),
}

/// Maker of storage. It cuts mappings into pieces, and each piece is made once.
#[derive(Default)]
pub(super) struct Source {
    /// Lines made so far.
    made: usize,
    /// The mapping that is cut, and the lines of it that are in use.
    #[cfg(target_os = "linux")]
    slab: Option<(Arc<memmap2::MmapRaw>, usize)>,
}

/// Bytes of a large page.
#[cfg(target_os = "linux")]
const LARGE_PAGE: usize = 2 << 20;

/// Bytes beyond which memory comes from the allocator again. It hands out what others have freed, while the system clears each large page
/// of a mapping: batches with gigabytes took 1.6 times as long in large pages.
#[cfg(target_os = "linux")]
const MOST_MAPPED: usize = 256 << 20;

/// Lines of a mapping that is cut into pieces, of which the largest has a quarter.
#[cfg(target_os = "linux")]
const SLAB_LINES: usize = (32 << 20) / (4 * LINE_WORDS);

impl Source {
    /// Zeros.
    pub(super) fn make(&mut self, lines: usize) -> Storage {
        self.made += lines;
        #[cfg(target_os = "linux")]
        if let Some(storage) = self.mapped(lines) {
            return storage;
        }
        // The allocator takes zeros from the system at its own alignment, and clears pages by itself at a larger one.
        let words = vec![0u32; (lines + 1) * LINE_WORDS];
        let start = words.as_ptr().align_offset(4 * LINE_WORDS);
        Storage { memory: Memory::Heap(words), start, lines }
    }

    /// Storage in large pages; `None` while all storage would not fill one, where there is much already, and if the system refuses.
    #[cfg(target_os = "linux")]
    fn mapped(&mut self, lines: usize) -> Option<Storage> {
        if !(LARGE_PAGE..MOST_MAPPED).contains(&(self.made * 4 * LINE_WORDS)) {
            return None;
        }
        if lines > SLAB_LINES / 4 {
            return Some(Storage { memory: Memory::Mapped(map(lines)?), start: 0, lines });
        }
        let (slab, used) = match self.slab.take() {
            Some((slab, used)) if used + lines <= SLAB_LINES => (slab, used),
            _ => (map(SLAB_LINES)?, 0),
        };
        self.slab = Some((slab.clone(), used + lines));
        Some(Storage { memory: Memory::Mapped(slab), start: used * LINE_WORDS, lines })
    }
}

impl Storage {
    /// Number of cache lines.
    pub(super) fn lines(&self) -> usize {
        self.lines
    }

    #[expect(clippy::indexing_slicing, reason = "memory is as long as it was made")]
    pub(super) fn words(&self) -> &[u32] {
        let count = self.lines * LINE_WORDS;
        match &self.memory {
            Memory::Heap(words) => &words[self.start..][..count],
            #[cfg(target_os = "linux")]
            Memory::Mapped(map) => {
                // SAFETY: The mapping is initialized, aligned to pages, and longer than the piece, which `Source` made of words that no
                // other storage has. While `self` is borrowed nobody writes to them.
                unsafe { std::slice::from_raw_parts(map.as_ptr().cast::<u32>().add(self.start), count) }
            }
        }
    }

    #[expect(clippy::indexing_slicing, reason = "memory is as long as it was made")]
    pub(super) fn words_mut(&mut self) -> &mut [u32] {
        let count = self.lines * LINE_WORDS;
        match &mut self.memory {
            Memory::Heap(words) => &mut words[self.start..][..count],
            #[cfg(target_os = "linux")]
            Memory::Mapped(map) => {
                // SAFETY: As for `words`. While `self` is borrowed nobody else reads them or writes to them.
                unsafe {
                    std::slice::from_raw_parts_mut(map.as_mut_ptr().cast::<u32>().add(self.start), count)
                }
            }
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::Heap(Vec::new())
    }
}

/// A mapping in large pages, but for an end that would fill less than half of one; `None` if the system refuses.
#[cfg(target_os = "linux")]
fn map(lines: usize) -> Option<Arc<memmap2::MmapRaw>> {
    let bytes = 4 * LINE_WORDS * lines;
    // Linux aligns mappings to large pages only if they are some.
    let map = memmap2::MmapMut::map_anon(bytes.next_multiple_of(LARGE_PAGE)).ok()?;
    let large = (bytes + LARGE_PAGE / 2) / LARGE_PAGE * LARGE_PAGE;
    // A system without large pages refuses the advice, and its pages are small.
    _ = map.advise_range(memmap2::Advice::HugePage, 0, large);
    Some(Arc::new(map.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_is_aligned_zero_and_nobody_elses() {
        let mut source = Source::default();
        let sizes =
            [0, 1, 1025, (1 << 15) - 1, 1 << 15, (1 << 15) + 1, 1, 100_000, 1 << 17, (1 << 17) + 1, 3];
        let mut all: Vec<Storage> = (0..4).flat_map(|_| sizes).map(|lines| source.make(lines)).collect();
        for (i, (storage, lines)) in all.iter_mut().zip(sizes.into_iter().cycle()).enumerate() {
            assert_eq!(storage.lines(), lines);
            assert_eq!(storage.words().len(), 16 * lines);
            assert_eq!(storage.words().as_ptr().align_offset(64), 0, "{lines} lines");
            assert!(storage.words().iter().all(|&word| word == 0), "{lines} lines");
            storage.words_mut().fill(i as u32 + 1);
        }
        for (i, storage) in all.iter().enumerate() {
            assert!(storage.words().iter().all(|&word| word == i as u32 + 1));
        }
        // Pieces outlive their maker and each other.
        drop(source);
        let last = all.pop().unwrap();
        drop(all);
        assert_eq!(last.words(), [44; 48]);
        assert!(Storage::default().words().is_empty());
    }
}
