//! The processor as a [`Backend`]: every operation is a list of tasks, one limb each, ordered so that limbs of
//! one prime follow each other and find its tables in the cache.
#![expect(clippy::indexing_slicing, reason = "shapes are asserted where views enter; limbs lie within them")]

mod buffer;
mod kernels;
mod simd;
mod switching;

pub(crate) use kernels::Kernels;
pub use simd::Simd;

use crate::backend::{
    Backend, BackendError, Batch, Coeff, CompactPoly, Diagonals, Domain, Gadget, GadgetProduct, Ntt, Term,
    View,
};
use crate::{BasisConversion, Download, GaloisElement, Limbs, NttPermutation, Pending, Ring, RingError};
use buffer::{CpuBuffer, Pool};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use switching::{Extension, Switching};

/// The processor: SIMD chosen at run time, threads over limbs and polynomials. Memory of dropped batches is kept for new
/// ones until [`Cpu::trim`].
pub struct Cpu {
    ring: Arc<Ring>,
    simd: Simd,
    kernels: Kernels,
    threads: Option<rayon::ThreadPool>,
    pool: Arc<Pool>,
    conversions: Cache<(Vec<usize>, Vec<usize>), BasisConversion>,
    permutations: Cache<GaloisElement, NttPermutation>,
}

type Cache<K, V> = Mutex<HashMap<K, Arc<V>>>;

/// Words of a limb that sums of products take at a time: few enough that the operands which several outputs share stay
/// in the core's own cache, many enough that the processor follows the streams of those that do not.
const TILE: usize = 4096;

/// Words below which an operation is not worth waking threads for.
const SERIAL_WORDS: usize = 1 << 15;

impl Cpu {
    /// All cores, and the widest instruction set unless `PLEURA_SIMD` names another.
    ///
    /// # Errors
    /// [`RingError::BadSimd`], [`RingError::Threads`].
    pub fn new(ring: Arc<Ring>) -> Result<Self, RingError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with(ring, Simd::from_env()?, threads)
    }

    /// A given instruction set and number of threads.
    ///
    /// # Errors
    /// [`RingError::BadSimd`] if this processor lacks the set, [`RingError::Threads`] if the threads do not start.
    pub fn with(ring: Arc<Ring>, simd: Simd, threads: usize) -> Result<Self, RingError> {
        if !simd.is_available() {
            return Err(RingError::BadSimd { wanted: simd.name().to_owned() });
        }
        let threads = match threads {
            0 | 1 => None,
            _ => {
                let built = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
                Some(built.map_err(|e| RingError::Threads { threads, reason: e.to_string() })?)
            }
        };
        let kernels = Kernels::new(simd, ring.n());
        let pool = Arc::default();
        Ok(Self {
            ring,
            simd,
            kernels,
            threads,
            pool,
            conversions: Cache::default(),
            permutations: Cache::default(),
        })
    }

    /// Gives recycled memory back to the system.
    pub fn trim(&self) {
        self.pool.clear();
    }

    fn batch<D: Domain>(&self, limbs: Limbs, polys: usize) -> Batch<Self, D> {
        Batch::from_buffer(self.buffer(limbs, polys), limbs, polys)
    }

    fn buffer(&self, limbs: Limbs, polys: usize) -> CpuBuffer {
        self.scratch(limbs.count() * polys)
    }

    fn scratch(&self, limbs: usize) -> CpuBuffer {
        self.tiles(self.ring.n(), limbs)
    }

    fn tiles(&self, words: usize, tiles: usize) -> CpuBuffer {
        CpuBuffer::new(&self.pool, words, tiles)
    }

    /// Runs `f` on every task, in order on one thread, in halves on several.
    fn run<T: Send>(&self, words: usize, tasks: Vec<T>, f: impl Fn(T) + Sync + Send) {
        match &self.threads {
            Some(pool) if words >= SERIAL_WORDS => pool.install(|| tasks.into_par_iter().for_each(f)),
            _ => tasks.into_iter().for_each(f),
        }
    }

    /// Runs `f(poly, limb, words)` on every limb of some polynomials, limb by limb.
    fn for_each_limb<'a>(
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
    fn indices(&self, limbs: Limbs) -> Vec<usize> {
        self.ring.indices(limbs).collect()
    }

    /// Limb `limb` of `part`, in poly `poly` of a view whose limbs contain `part`.
    fn limb<'a, D: Domain>(&self, x: View<'a, Self, D>, poly: usize, part: Limbs, limb: usize) -> &'a [u32] {
        assert!(
            poly < x.polys() && x.limbs().contains(part),
            "poly {poly} of {}, {part:?} of {:?}",
            x.polys(),
            x.limbs()
        );
        x.batch().buffer().limb((x.start() + poly) * x.limbs().count() + x.limbs().position(part, limb))
    }

    #[expect(clippy::expect_used, reason = "parameters bound the number of primes in a digit")]
    fn conversion(&self, sources: &[usize], targets: &[usize]) -> Arc<BasisConversion> {
        let make = || BasisConversion::new(&self.ring, sources, targets).expect("a digit of 1 to 15 primes");
        cached(&self.conversions, (sources.to_vec(), targets.to_vec()), make)
    }

    fn permutation(&self, g: GaloisElement) -> Option<Arc<NttPermutation>> {
        let make = || NttPermutation::new(g, self.ring.log_n(), self.kernels.width);
        (g != GaloisElement::IDENTITY).then(|| cached(&self.permutations, g, make))
    }

    /// The transform of a polynomial in a power of `X`, modulo the prime at a position: one word for each run.
    fn transform_compact(&self, index: usize, coefficients: &[i32], out: &mut [u32]) {
        let (kernels, table) = (Kernels::new(self.simd, coefficients.len()), self.ring.table(index));
        (kernels.residues)(table.modulus(), coefficients, out);
        (kernels.ntt)(table, out);
    }

    /// The coefficients `y_i` of a conversion and its quotient for each poly of a view: `[poly][source + 1]`.
    fn conversion_sources(
        &self,
        x: View<'_, Self, Ntt>,
        groups: &[(Vec<usize>, Arc<BasisConversion>)],
    ) -> (CpuBuffer, usize) {
        // A group's sources and its quotient lie side by side.
        let all = self.indices(x.limbs());
        let mut slots = Vec::new();
        for (sources, conversion) in groups {
            slots.extend(sources.iter().zip(conversion.qhat_inv()).map(|(&s, &scale)| Some((s, scale))));
            slots.push(None);
        }
        let mut buffer = self.scratch(x.polys() * slots.len());
        self.for_each_limb(buffer.limbs_mut(), slots.len(), |poly, slot, y| {
            if let Some((source, scale)) = slots[slot] {
                y.copy_from_slice(self.limb(x, poly, x.limbs(), source));
                (self.kernels.intt)(self.ring.table(all[source]), y, scale);
            }
        });
        let mut tasks = Vec::new();
        let mut limbs = buffer.limbs_mut();
        for (sources, conversion) in (0..x.polys()).flat_map(|_| groups) {
            let y: Vec<&mut [u32]> = limbs.by_ref().take(sources.len() + 1).collect();
            tasks.push((y, conversion));
        }
        drop(limbs);
        self.run(x.polys() * slots.len() * self.ring.n(), tasks, |(mut y, conversion)| {
            if let Some((quotient, sources)) = y.split_last_mut() {
                let sources: Vec<&[u32]> = sources.iter().map(|s| &**s).collect();
                (self.kernels.quotient)(
                    &sources,
                    conversion.inv_fixed_point(),
                    conversion.fixed_point_bits(),
                    quotient,
                );
            }
        });
        (buffer, slots.len())
    }
}

/// Compact polynomials in memory: their coefficients.
pub struct CpuCompactPolys(Vec<CompactPoly>);

impl Backend for Cpu {
    type Buffer = CpuBuffer;
    type CompactPolys = CpuCompactPolys;

    fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }

    fn name(&self) -> String {
        let threads = self.threads.as_ref().map_or(1, rayon::ThreadPool::current_num_threads);
        format!("cpu ({}, {threads} thread{})", self.simd.name(), if threads == 1 { "" } else { "s" })
    }

    fn upload<D: Domain>(
        &self,
        limbs: Limbs,
        polys: usize,
        words: &[u32],
    ) -> Result<Batch<Self, D>, BackendError> {
        let expected = self.ring.words(limbs, polys);
        if words.len() != expected || !self.ring.limbs().contains(limbs) {
            return Err(BackendError::Shape { expected, got: words.len() });
        }
        let mut out = self.batch(limbs, polys);
        for (to, from) in out.buffer_mut().limbs_mut().zip(words.chunks(self.ring.n())) {
            to.copy_from_slice(from);
        }
        Ok(out)
    }

    fn download<D: Domain>(&self, x: View<'_, Self, D>) -> Download {
        let limbs = x.limbs().count();
        let mut words = Vec::with_capacity(self.ring.words(x.limbs(), x.polys()));
        for limb in x.batch().buffer().limbs().skip(x.start() * limbs).take(x.polys() * limbs) {
            words.extend_from_slice(limb);
        }
        Download::ready(Ok(words))
    }

    fn finish(&self) -> Pending<()> {
        Pending::ready(Ok(()))
    }

    fn concat<D: Domain>(&self, views: &[View<'_, Self, D>], limbs: Limbs) -> Batch<Self, D> {
        let sources: Vec<_> =
            views.iter().flat_map(|&view| (0..view.polys()).map(move |i| (view, i))).collect();
        let mut out = self.batch(limbs, sources.len());
        self.for_each_limb(out.buffer_mut().limbs_mut(), limbs.count(), |poly, limb, words| {
            let (view, i) = sources[poly];
            words.copy_from_slice(self.limb(view, i, limbs, limb));
        });
        out
    }

    fn ntt(&self, mut x: Batch<Self, Coeff>) -> Batch<Self, Ntt> {
        let (limbs, polys, indices) = (x.limbs(), x.polys(), self.indices(x.limbs()));
        self.for_each_limb(x.buffer_mut().limbs_mut(), limbs.count(), |_, limb, words| {
            (self.kernels.ntt)(self.ring.table(indices[limb]), words);
        });
        Batch::from_buffer(x.into_buffer(), limbs, polys)
    }

    fn intt(&self, mut x: Batch<Self, Ntt>) -> Batch<Self, Coeff> {
        let (limbs, polys, indices) = (x.limbs(), x.polys(), self.indices(x.limbs()));
        self.for_each_limb(x.buffer_mut().limbs_mut(), limbs.count(), |_, limb, words| {
            (self.kernels.intt)(self.ring.table(indices[limb]), words, 1);
        });
        Batch::from_buffer(x.into_buffer(), limbs, polys)
    }

    fn add_assign<D: Domain>(&self, x: &mut Batch<Self, D>, at: usize, count: usize, y: View<'_, Self, D>) {
        self.zip_assign(x, at, count, y, self.kernels.add);
    }

    fn sub_assign<D: Domain>(&self, x: &mut Batch<Self, D>, at: usize, count: usize, y: View<'_, Self, D>) {
        self.zip_assign(x, at, count, y, self.kernels.sub);
    }

    fn neg_assign<D: Domain>(&self, x: &mut Batch<Self, D>) {
        let (limbs, indices) = (x.limbs(), self.indices(x.limbs()));
        self.for_each_limb(x.buffer_mut().limbs_mut(), limbs.count(), |_, limb, words| {
            (self.kernels.neg)(self.ring.modulus(indices[limb]), words);
        });
    }

    fn mul_scalar_assign<D: Domain>(&self, x: &mut Batch<Self, D>, scalar: &[u32]) {
        let (limbs, indices) = (x.limbs(), self.indices(x.limbs()));
        assert_eq!(scalar.len(), limbs.count(), "one residue per limb");
        self.for_each_limb(x.buffer_mut().limbs_mut(), limbs.count(), |_, limb, words| {
            let modulus = self.ring.modulus(indices[limb]);
            (self.kernels.mul_scalar)(modulus, words, modulus.shoup(scalar[limb]));
        });
    }

    fn mul_accumulate(
        &self,
        a: View<'_, Self, Ntt>,
        b: View<'_, Self, Ntt>,
        terms: &[Term],
        outputs: usize,
        limbs: Limbs,
    ) -> Batch<Self, Ntt> {
        let mut of_output = vec![Vec::new(); outputs];
        for term in terms {
            of_output[term.out].push((term.a, term.b));
        }
        let (n, indices) = (self.ring.n(), self.indices(limbs));
        let tile = TILE.min(n);
        let mut out = self.batch(limbs, outputs);
        let mut tasks: Vec<_> =
            out.buffer_mut().limbs_mut().flat_map(|limb| limb.chunks_mut(tile)).enumerate().collect();
        // Poly, limb, tile -> limb, tile, poly.
        let tiles = indices.len() * (n / tile);
        tasks.sort_by_key(|(i, _)| (i % tiles, i / tiles));
        self.run(outputs * limbs.count() * n, tasks, |(i, out)| {
            let (poly, limb, start) = (i / tiles, i % tiles / (n / tile), i % (n / tile) * tile);
            let part = |view, poly| &self.limb(view, poly, limbs, limb)[start..start + tile];
            let terms: Vec<_> = of_output[poly].iter().map(|&(i, j)| [part(a, i), part(b, j)]).collect();
            (self.kernels.dot)(self.ring.modulus(indices[limb]), &terms, out);
        });
        out
    }

    fn automorphism<D: Domain>(&self, x: View<'_, Self, D>, g: GaloisElement) -> Batch<Self, D> {
        let Some(permutation) = self.permutation(g) else {
            return self.concat(&[x], x.limbs());
        };
        let indices = self.indices(x.limbs());
        let mut out = self.batch(x.limbs(), x.polys());
        self.for_each_limb(out.buffer_mut().limbs_mut(), indices.len(), |poly, limb, words| {
            let from = self.limb(x, poly, x.limbs(), limb);
            if D::IS_NTT {
                (self.kernels.permute)(&permutation, from, words);
            } else {
                let (modulus, n) = (self.ring.modulus(indices[limb]), words.len());
                for (i, &c) in from.iter().enumerate() {
                    let exponent = i * g.exponent() as usize % (2 * n);
                    words[exponent % n] = if exponent < n { c } else { modulus.neg(c) };
                }
            }
        });
        out
    }

    fn mod_up(&self, x: View<'_, Self, Ntt>, gadget: Gadget) -> Batch<Self, Ntt> {
        let (limbs, digits) = (gadget.limbs, gadget.digits());
        let extension = Extension::new(self, x, gadget);
        let mut out = self.batch(limbs, x.polys() * digits);
        self.for_each_limb(out.buffer_mut().limbs_mut(), limbs.count(), |i, limb, words| {
            extension.extend(i / digits, i % digits, limb, words);
        });
        out
    }

    fn gadget_product(&self, product: &GadgetProduct<'_, Self>) -> Batch<Self, Ntt> {
        Switching::new(self, product).run()
    }

    fn upload_compact(&self, polys: &[CompactPoly]) -> Result<CpuCompactPolys, BackendError> {
        for poly in polys {
            let (got, n) = (poly.coefficients.len(), self.ring.n());
            if !got.is_power_of_two() || got > n {
                return Err(BackendError::Shape { expected: n, got });
            }
        }
        Ok(CpuCompactPolys(polys.to_vec()))
    }

    fn expand_compact(
        &self,
        polys: &CpuCompactPolys,
        start: usize,
        count: usize,
        limbs: Limbs,
    ) -> Batch<Self, Ntt> {
        let (n, indices) = (self.ring.n(), self.indices(limbs));
        let mut out = self.batch(limbs, count);
        self.for_each_limb(out.buffer_mut().limbs_mut(), limbs.count(), |poly, limb, words| {
            let coefficients = &polys.0[start + poly].coefficients;
            let run = n / coefficients.len();
            let (short, _) = words.split_at_mut(coefficients.len());
            self.transform_compact(indices[limb], coefficients, short);
            for i in (0..n).rev() {
                words[i] = words[i / run];
            }
        });
        out
    }

    fn baby_step_sums(
        &self,
        product: &GadgetProduct<'_, Self>,
        diagonals: Diagonals<'_, Self>,
        terms: &[Term],
        sums: usize,
    ) -> Batch<Self, Ntt> {
        Switching::new(self, product).run_sums(diagonals, terms, sums)
    }

    fn rescale(&self, x: View<'_, Self, Ntt>, to: Limbs) -> Batch<Self, Ntt> {
        let from = x.limbs();
        assert!(from.contains(to) && from != to, "rescale from {from:?} to {to:?}");
        let (all, kept) = (self.indices(from), self.indices(to));
        let dropped: Vec<_> = (0..from.count()).filter(|&i| !kept.contains(&all[i])).collect();
        let sources: Vec<_> = dropped.iter().map(|&i| all[i]).collect();
        let groups = [(dropped, self.conversion(&sources, &kept))];
        let (coefficients, slots) = self.conversion_sources(x, &groups);
        let mut out = self.batch(to, x.polys());
        self.for_each_limb(out.buffer_mut().limbs_mut(), to.count(), |poly, limb, words| {
            let y: Vec<_> = (0..slots).map(|i| coefficients.limb(poly * slots + i)).collect();
            let (table, target) = (self.ring.table(kept[limb]), &groups[0].1.targets()[limb]);
            (self.kernels.convert)(table.modulus(), &y, &target.qhat, words);
            (self.kernels.ntt)(table, words);
            (self.kernels.sub_mul)(table.modulus(), words, self.limb(x, poly, to, limb), target.inverse);
        });
        out
    }
}

impl Cpu {
    fn zip_assign<D: Domain>(
        &self,
        x: &mut Batch<Self, D>,
        at: usize,
        count: usize,
        y: View<'_, Self, D>,
        kernel: fn(&crate::Modulus, &mut [u32], &[u32]),
    ) {
        let (limbs, indices) = (x.limbs(), self.indices(x.limbs()));
        assert!(
            at + count <= x.polys() && (count == 0 || y.polys() > 0),
            "polys {at}+{count} of {}",
            x.polys()
        );
        let target = x.buffer_mut().limbs_mut().skip(at * limbs.count()).take(count * limbs.count());
        self.for_each_limb(target, limbs.count(), |poly, limb, words| {
            kernel(self.ring.modulus(indices[limb]), words, self.limb(y, poly % y.polys(), limbs, limb));
        });
    }
}

fn cached<K: std::hash::Hash + Eq, V>(cache: &Cache<K, V>, key: K, make: impl FnOnce() -> V) -> Arc<V> {
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    cache.entry(key).or_insert_with(|| Arc::new(make())).clone()
}
