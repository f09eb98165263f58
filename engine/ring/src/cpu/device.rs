//! The processor at work: its memory, its threads, and lists of tasks, one limb each, ordered so that limbs of one prime
//! follow each other and find its tables in the cache.

use super::buffer::{CpuBuffer, Pool};
use super::kernels::Kernels;
use super::log::{TaskList, TaskLog};
use super::simd::Simd;
use crate::{
    BasisConversion, Batch, CompactPoly, Domain, GaloisElement, Limbs, NttPermutation, Ring, RingError, View,
};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The processor: SIMD chosen at run time, threads over limbs and polynomials. Memory of dropped batches is kept for new
/// ones until [`Cpu::trim`].
pub struct Cpu {
    pub(super) ring: Arc<Ring>,
    pub(super) simd: Simd,
    pub(super) kernels: Kernels,
    pub(super) threads: Option<rayon::ThreadPool>,
    /// Threads that work is cut for.
    cores: usize,
    pub(super) pool: Arc<Pool>,
    pub(super) permutations: Cache<GaloisElement, NttPermutation>,
    pub(super) log: Option<TaskLog>,
    /// Bytes of a core's own cache.
    pub(super) cache_bytes: usize,
}

/// Compact polynomials in memory: their coefficients.
pub struct CpuCompactPolys(pub(super) Vec<CompactPoly>);

type Cache<K, V> = Mutex<HashMap<K, Arc<V>>>;

/// Words of a limb that sums of products take at a time: few enough that the operands which several outputs share stay
/// in the core's own cache, many enough that the processor follows the streams of those that do not.
pub(super) const TILE: usize = 4096;

/// Bytes of a core's own cache, of most server processors.
const CACHE_BYTES: usize = 1 << 20;

/// Words below which an operation is not worth waking threads for.
const SERIAL_WORDS: usize = 1 << 15;

/// Work of transforming a word, in words that are copied or added.
pub(super) const TRANSFORM: usize = 4;

impl Cpu {
    /// A device on all cores, with the instruction set of [`Simd::preferred`].
    ///
    /// # Errors
    /// [`RingError::Threads`]
    pub fn new(ring: Arc<Ring>) -> Result<Self, RingError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with(ring, Simd::preferred(), threads)
    }

    /// A device with a chosen instruction set and number of threads.
    ///
    /// # Errors
    /// [`RingError::BadSimd`] if this processor lacks the set, [`RingError::Threads`] if the threads do not start.
    pub fn with(ring: Arc<Ring>, simd: Simd, threads: usize) -> Result<Self, RingError> {
        simd.check()?;
        let cores = threads.max(1);
        let threads = match threads {
            0 | 1 => None,
            _ => {
                let built = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                Some(built.map_err(|e| RingError::Threads { threads, reason: e.to_string() })?)
            }
        };
        let kernels = Kernels::new(simd, ring.n());
        let pool = Arc::default();
        let permutations = Cache::default();
        Ok(Self {
            ring,
            simd,
            kernels,
            threads,
            cores,
            pool,
            permutations,
            log: None,
            cache_bytes: CACHE_BYTES,
        })
    }

    /// A device that takes a core's own cache to have this many bytes. They decide how many ciphertexts are computed at a time, and no
    /// result depends on them.
    #[must_use]
    pub fn with_cache(self, bytes: usize) -> Self {
        Self { cache_bytes: bytes, ..self }
    }

    /// A device of one thread that cuts its work as for some cores, and notes how long each task takes.
    ///
    /// # Errors
    /// [`RingError::BadSimd`] if this processor lacks the set.
    pub fn logging(ring: Arc<Ring>, simd: Simd, cores: usize) -> Result<Self, RingError> {
        Ok(Self { log: Some(TaskLog::default()), cores: cores.max(1), ..Self::with(ring, simd, 1)? })
    }

    /// Takes what a [`Cpu::logging`] has noted; any other device has nothing.
    pub fn take_log(&self) -> Vec<TaskList> {
        self.log.as_ref().map_or_else(Vec::new, TaskLog::take)
    }

    /// Name of a processor with this instruction set and number of threads, as [`Backend::name`](crate::Backend::name) gives it.
    pub fn describe(simd: Simd, threads: usize) -> String {
        let threads = threads.max(1);
        format!("cpu ({}, {threads} thread{})", simd.name(), if threads == 1 { "" } else { "s" })
    }

    /// Returns recycled memory to the system.
    pub fn trim(&self) {
        self.pool.clear();
    }

    pub(super) fn batch<D: Domain>(&self, limbs: Limbs, polys: usize) -> Batch<Self, D> {
        Batch::from_buffer(self.buffer(limbs, polys), limbs, polys)
    }

    pub(super) fn buffer(&self, limbs: Limbs, polys: usize) -> CpuBuffer {
        self.scratch(limbs.count() * polys)
    }

    pub(super) fn scratch(&self, limbs: usize) -> CpuBuffer {
        self.tiles(self.ring.n(), limbs)
    }

    pub(super) fn tiles(&self, words: usize, tiles: usize) -> CpuBuffer {
        CpuBuffer::new(&self.pool, words, tiles)
    }

    /// Runs `f` on every task, in order on one thread, in halves on several.
    pub(super) fn run<T: Send>(&self, words: usize, tasks: Vec<T>, f: impl Fn(T) + Sync + Send) {
        match &self.log {
            Some(log) if !log.in_task() => log.run(tasks, words < SERIAL_WORDS, f),
            _ => self.split(words, tasks, f),
        }
    }

    /// Items in blocks of nearly equal size, none of more than `most` items: as many blocks as all threads are busy with together, if there are
    /// enough items.
    pub(super) fn blocks<T>(&self, items: Vec<T>, most: usize) -> Vec<Vec<T>> {
        let count = items.len();
        let blocks = count.div_ceil(most.max(1)).next_multiple_of(self.cores).min(count);
        let mut items = items.into_iter();
        (0..blocks).map(|i| items.by_ref().take((count + i) / blocks).collect()).collect()
    }

    /// Runs `f` on blocks of work that are lists of tasks themselves: a single block is no task of its own.
    pub(super) fn run_blocks<T: Send>(&self, words: usize, mut blocks: Vec<T>, f: impl Fn(T) + Sync + Send) {
        match blocks.pop() {
            Some(only) if blocks.is_empty() => f(only),
            Some(last) => {
                blocks.push(last);
                self.run(words, blocks, f);
            }
            None => {}
        }
    }

    /// Runs `f` on the parts of a task, on this thread and on those that have no task left.
    pub(super) fn split<T: Send>(&self, words: usize, parts: Vec<T>, f: impl Fn(T) + Sync + Send) {
        if words < SERIAL_WORDS {
            return parts.into_iter().for_each(f);
        }
        match (&self.log, &self.threads) {
            (Some(log), _) => log.split(parts, f),
            (None, Some(pool)) => pool.install(|| parts.into_par_iter().for_each(f)),
            (None, None) => parts.into_iter().for_each(f),
        }
    }

    /// Runs `f(poly, limb, words)` on every limb of some polynomials, limb by limb.
    pub(super) fn for_each_limb<'a>(
        &self,
        words: impl Iterator<Item = &'a mut [u32]>,
        limbs: usize,
        f: impl Fn(usize, usize, &mut [u32]) + Sync + Send,
    ) {
        let mut tasks: Vec<_> = words.enumerate().collect();
        tasks.sort_by_key(|(i, _)| (i % limbs, i / limbs));
        self.run(tasks.len() * self.ring.n(), tasks, |(i, words)| f(i / limbs, i % limbs, words));
    }

    /// The position in the ring of each limb.
    pub(super) fn indices(&self, limbs: Limbs) -> Vec<usize> {
        self.ring.indices(limbs).collect()
    }

    /// Limb `limb` of `part`, in poly `poly` of a view whose limbs contain `part`.
    pub(super) fn limb<'a, D: Domain>(
        &self,
        x: View<'a, Self, D>,
        poly: usize,
        part: Limbs,
        limb: usize,
    ) -> &'a [u32] {
        assert!(
            poly < x.polys() && x.limbs().contains(part),
            "poly {poly} of {}, {part:?} of {:?}",
            x.polys(),
            x.limbs()
        );
        x.buffer().limb((x.start() + poly) * x.limbs().count() + x.limbs().position(part, limb))
    }

    #[expect(clippy::expect_used, reason = "parameters bound the number of primes in a digit")]
    pub(super) fn conversion(&self, sources: &[usize], targets: &[usize]) -> Arc<BasisConversion> {
        self.ring.conversion(sources, targets).expect("a digit of 1 to 15 primes")
    }

    pub(super) fn permutation(&self, g: GaloisElement) -> Option<Arc<NttPermutation>> {
        (g != GaloisElement::IDENTITY).then(|| {
            cached(&self.permutations, g, || {
                NttPermutation::new(g, self.ring.kind(), self.ring.log_n(), self.kernels.width)
            })
        })
    }

    /// The transform of a polynomial in a power of `X`, modulo the prime at a position: one word for each run.
    pub(super) fn transform_compact(&self, index: usize, coefficients: &[i32], out: &mut [u32]) {
        let kernels = Kernels::new(self.simd, coefficients.len());
        let table = self.ring.table(index);
        (kernels.residues)(table.modulus(), coefficients, out);
        (kernels.ntt)(table, out);
    }
}

fn cached<K: std::hash::Hash + Eq, V>(cache: &Cache<K, V>, key: K, make: impl FnOnce() -> V) -> Arc<V> {
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    cache.entry(key).or_insert_with(|| Arc::new(make())).clone()
}
