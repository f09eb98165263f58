//! The processor as a [`Backend`]: every operation is a list of tasks, one limb each, ordered so that limbs of
//! one prime follow each other and find its tables in the cache.
#![expect(clippy::indexing_slicing, reason = "shapes are asserted where views enter; limbs lie within them")]

mod buffer;
mod kernels;
mod simd;

pub(crate) use kernels::Kernels;
pub use simd::Simd;

use crate::backend::{Backend, BackendError, Batch, Coeff, Digits, Domain, Gadget, GadgetTerm, Ntt, Term, View};
use crate::{Conversion, GaloisElement, Limbs, NttPermutation, Ring, RingError};
use buffer::{CpuBuffer, Pool};
use kernels::GadgetLimb;
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The processor: SIMD chosen at run time, threads over limbs and polynomials.
pub struct Cpu {
    ring: Arc<Ring>,
    simd: Simd,
    kernels: Kernels,
    threads: Option<rayon::ThreadPool>,
    pool: Arc<Pool>,
    conversions: Cache<(Vec<usize>, Vec<usize>), Conversion>,
    permutations: Cache<GaloisElement, NttPermutation>,
}

type Cache<K, V> = Mutex<HashMap<K, Arc<V>>>;

/// Words of a task of [`Backend::mul_accumulate`]: small enough that the operands which several outputs share
/// stay in the nearest cache.
const TILE: usize = 1024;

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
        Ok(Self { ring, simd, kernels, threads, pool, conversions: Cache::default(), permutations: Cache::default() })
    }

    /// Gives recycled memory back to the system.
    pub fn trim(&self) {
        self.pool.clear();
    }

    fn batch<D: Domain>(&self, limbs: Limbs, polys: usize) -> Batch<Self, D> {
        Batch::from_buffer(self.buffer(limbs, polys), limbs, polys)
    }

    fn buffer(&self, limbs: Limbs, polys: usize) -> CpuBuffer {
        CpuBuffer::new(&self.pool, self.ring.words(limbs, polys))
    }

    /// Runs `f` on every task, in order on one thread, in halves on several.
    fn run<T: Send>(&self, words: usize, tasks: Vec<T>, f: impl Fn(T) + Sync + Send) {
        match &self.threads {
            Some(pool) if words >= SERIAL_WORDS => pool.install(|| tasks.into_par_iter().for_each(f)),
            _ => tasks.into_iter().for_each(f),
        }
    }

    /// Runs `f(poly, limb, words)` on every limb of some polynomials, limb by limb.
    fn for_each_limb(&self, words: &mut [u32], limbs: usize, f: impl Fn(usize, usize, &mut [u32]) + Sync + Send) {
        let size = words.len();
        let mut tasks: Vec<_> = words.chunks_mut(self.ring.n()).enumerate().collect();
        tasks.sort_by_key(|(i, _)| (i % limbs, i / limbs));
        self.run(size, tasks, |(i, words)| f(i / limbs, i % limbs, words));
    }

    /// The position in the ring of each limb.
    fn indices(&self, limbs: Limbs) -> Vec<usize> {
        self.ring.indices(limbs).collect()
    }

    /// Limb `limb` of `part`, in poly `poly` of a view whose limbs contain `part`.
    fn limb<'a, D: Domain>(&self, x: View<'a, Self, D>, poly: usize, part: Limbs, limb: usize) -> &'a [u32] {
        let n = self.ring.n();
        let start = ((x.start() + poly) * x.limbs().count() + x.limbs().position(part, limb)) * n;
        &x.batch().buffer()[start..start + n]
    }

    #[expect(clippy::expect_used, reason = "parameters bound the number of primes in a digit")]
    fn conversion(&self, sources: &[usize], targets: &[usize]) -> Arc<Conversion> {
        let make = || Conversion::new(&self.ring, sources, targets).expect("a digit of 1 to 15 primes");
        cached(&self.conversions, (sources.to_vec(), targets.to_vec()), make)
    }

    fn permutation(&self, g: GaloisElement) -> Option<Arc<NttPermutation>> {
        let make = || NttPermutation::new(g, self.ring.log_n(), self.kernels.width);
        (g != GaloisElement::IDENTITY).then(|| cached(&self.permutations, g, make))
    }

    /// The coefficients `y_i` of a conversion and its quotient for each poly of a view: `[poly][source + 1]`.
    fn conversion_sources(
        &self,
        x: View<'_, Self, Ntt>,
        groups: &[(Vec<usize>, Arc<Conversion>)],
    ) -> (CpuBuffer, usize) {
        // A group's sources and its quotient lie side by side.
        let all = self.indices(x.limbs());
        let mut slots = Vec::new();
        for (sources, conversion) in groups {
            slots.extend(sources.iter().zip(conversion.scale()).map(|(&s, &scale)| Some((s, scale))));
            slots.push(None);
        }
        let n = self.ring.n();
        let mut buffer = CpuBuffer::new(&self.pool, x.polys() * slots.len() * n);
        self.for_each_limb(&mut buffer, slots.len(), |poly, slot, y| {
            if let Some((source, scale)) = slots[slot] {
                y.copy_from_slice(self.limb(x, poly, x.limbs(), source));
                (self.kernels.intt)(self.ring.table(all[source]), y, scale);
            }
        });
        let size = buffer.len();
        let mut tasks = Vec::new();
        for mut poly in buffer.chunks_mut(slots.len() * n) {
            for (sources, conversion) in groups {
                let (group, rest) = poly.split_at_mut((sources.len() + 1) * n);
                tasks.push((group, conversion));
                poly = rest;
            }
        }
        self.run(size, tasks, |(group, conversion)| {
            let (sources, quotient) = group.split_at_mut(group.len() - n);
            let sources: Vec<&[u32]> = sources.chunks(n).collect();
            (self.kernels.quotient)(&sources, conversion.quotient(), conversion.shift(), quotient);
        });
        (buffer, slots.len())
    }
}

impl Backend for Cpu {
    type Buffer = CpuBuffer;

    fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }

    fn name(&self) -> String {
        let threads = self.threads.as_ref().map_or(1, rayon::ThreadPool::current_num_threads);
        format!("cpu ({}, {threads} thread{})", self.simd.name(), if threads == 1 { "" } else { "s" })
    }

    fn upload<D: Domain>(&self, limbs: Limbs, polys: usize, words: &[u32]) -> Result<Batch<Self, D>, BackendError> {
        let expected = self.ring.words(limbs, polys);
        if words.len() != expected || !self.ring.limbs().contains(limbs) {
            return Err(BackendError::Shape { expected, got: words.len() });
        }
        let mut out = self.batch(limbs, polys);
        out.buffer_mut().copy_from_slice(words);
        Ok(out)
    }

    fn download<D: Domain>(&self, x: View<'_, Self, D>) -> Result<Vec<u32>, BackendError> {
        let poly = self.ring.words(x.limbs(), 1);
        Ok(x.batch().buffer()[x.start() * poly..(x.start() + x.polys()) * poly].to_vec())
    }

    fn concat<D: Domain>(&self, views: &[View<'_, Self, D>], limbs: Limbs) -> Batch<Self, D> {
        let sources: Vec<_> = views.iter().flat_map(|&view| (0..view.polys()).map(move |i| (view, i))).collect();
        let mut out = self.batch(limbs, sources.len());
        self.for_each_limb(out.buffer_mut(), limbs.count(), |poly, limb, words| {
            let (view, i) = sources[poly];
            words.copy_from_slice(self.limb(view, i, limbs, limb));
        });
        out
    }

    fn ntt(&self, mut x: Batch<Self, Coeff>) -> Batch<Self, Ntt> {
        let (limbs, polys, indices) = (x.limbs(), x.polys(), self.indices(x.limbs()));
        self.for_each_limb(x.buffer_mut(), limbs.count(), |_, limb, words| {
            (self.kernels.ntt)(self.ring.table(indices[limb]), words);
        });
        Batch::from_buffer(x.into_buffer(), limbs, polys)
    }

    fn intt(&self, mut x: Batch<Self, Ntt>) -> Batch<Self, Coeff> {
        let (limbs, polys, indices) = (x.limbs(), x.polys(), self.indices(x.limbs()));
        self.for_each_limb(x.buffer_mut(), limbs.count(), |_, limb, words| {
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
        self.for_each_limb(x.buffer_mut(), limbs.count(), |_, limb, words| {
            (self.kernels.neg)(self.ring.modulus(indices[limb]), words);
        });
    }

    fn mul_scalar_assign<D: Domain>(&self, x: &mut Batch<Self, D>, scalar: &[u32]) {
        let (limbs, indices) = (x.limbs(), self.indices(x.limbs()));
        assert_eq!(scalar.len(), limbs.count(), "one residue per limb");
        self.for_each_limb(x.buffer_mut(), limbs.count(), |_, limb, words| {
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
        let words = out.buffer().len();
        let mut tasks: Vec<_> = out.buffer_mut().chunks_mut(tile).enumerate().collect();
        // Poly, limb, tile -> limb, tile, poly.
        let tiles = indices.len() * (n / tile);
        tasks.sort_by_key(|(i, _)| (i % tiles, i / tiles));
        self.run(words, tasks, |(i, out)| {
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
        self.for_each_limb(out.buffer_mut(), indices.len(), |poly, limb, words| {
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
        let (limbs, part) = (gadget.limbs, Limbs::q(gadget.limbs.q));
        assert!(x.limbs() == part, "ModUp of {:?} to {limbs:?}", x.limbs());
        let (n, indices, digits) = (self.ring.n(), self.indices(limbs), gadget.digits());
        let groups: Vec<_> = (0..digits)
            .map(|d| {
                let sources: Vec<_> = gadget.digit(d).collect();
                let others: Vec<_> = indices.iter().copied().filter(|i| !sources.contains(i)).collect();
                let conversion = self.conversion(&sources, &others);
                (sources, conversion)
            })
            .collect();
        let (coefficients, slots) = self.conversion_sources(x, &groups);
        let mut out = self.batch(limbs, x.polys() * digits);
        self.for_each_limb(out.buffer_mut(), limbs.count(), |i, limb, words| {
            let (poly, d) = (i / digits, i % digits);
            let digit = gadget.digit(d);
            if digit.contains(&limb) {
                words.copy_from_slice(self.limb(x, poly, part, limb));
                return;
            }
            let (sources, conversion) = &groups[d];
            let target = if limb < digit.start { limb } else { limb - digit.len() };
            let start = (poly * slots + digit.start + d) * n;
            let y: Vec<_> = coefficients[start..].chunks(n).take(sources.len() + 1).collect();
            let table = self.ring.table(indices[limb]);
            (self.kernels.convert)(table.modulus(), &y, &conversion.targets()[target].weights, words);
            (self.kernels.ntt)(table, words);
        });
        out
    }

    fn gadget_product(
        &self,
        x: View<'_, Self, Ntt>,
        digits: Digits<'_, Self>,
        terms: &[GadgetTerm<'_, Self>],
        items: usize,
        outputs: usize,
    ) -> Batch<Self, Ntt> {
        let Digits { batch: extended, gadget, skipped } = digits;
        let limbs = gadget.limbs;
        let base = Limbs::q(limbs.q);
        // Over the ciphertext primes alone, `x` counts times P, which vanishes modulo the special primes.
        let lifted = x.limbs() != limbs;
        assert!(!lifted || x.limbs() == base, "a gadget product over {limbs:?} of {:?}", x.limbs());
        let inputs = 1 + terms.iter().map(|t| t.input).max().unwrap_or(0);
        let parts = if x.polys() == 3 * inputs * items { 3 } else { 2 };
        assert_eq!(x.polys(), parts * inputs * items, "polys of {parts} parts, {inputs} inputs, {items} items");
        let (indices, special) = (self.indices(limbs), self.indices(limbs).split_off(limbs.q));
        let permutations: Vec<_> = terms.iter().map(|t| self.permutation(t.galois)).collect();

        let mut out = self.batch(limbs, 2 * outputs * items);
        let words = out.buffer().len();
        let (halves0, halves1) = out.buffer_mut().split_at_mut(words / 2);
        let n = self.ring.n();
        let mut tasks: Vec<_> = halves0.chunks_mut(n).zip(halves1.chunks_mut(n)).enumerate().collect();
        tasks.sort_by_key(|(i, _)| (i % indices.len(), i / indices.len()));
        self.run(words, tasks, |(i, (out0, out1))| {
            let (poly, limb) = (i / indices.len(), i % indices.len());
            let (output, item) = (poly / items, poly % items);
            let modulus = self.ring.modulus(indices[limb]);
            let product = special.iter().fold(1, |acc, &p| modulus.mul(acc, modulus.reduce(self.ring.modulus(p).q().into())));
            let here = !lifted || limb < limbs.q;
            let mut accumulate = false;
            for (term, permutation) in terms.iter().zip(&permutations).filter(|(t, _)| t.output == output) {
                let part = |part: usize| {
                    let poly = (part * inputs + term.input) * items + item;
                    here.then(|| self.limb(x, poly, if lifted { base } else { limbs }, limb))
                };
                let mut rows = Vec::new();
                if let (Some(key), Some(extended)) = (term.key, extended) {
                    let count = gadget.digits();
                    for d in 0..count {
                        let poly = ((term.input - skipped) * items + item) * count + d;
                        rows.push([
                            self.limb(extended.view(), poly, limbs, limb),
                            self.limb(key.view(), 2 * d, limbs, limb),
                            self.limb(key.view(), 2 * d + 1, limbs, limb),
                        ]);
                    }
                }
                let second = if parts == 3 || term.key.is_none() { part(1) } else { None };
                let product = GadgetLimb {
                    digits: &rows,
                    addends: [part(0), second],
                    factor: if lifted { product } else { 1 },
                    permutation: permutation.as_deref(),
                    accumulate,
                };
                (self.kernels.gadget)(modulus, &product, out0, out1);
                accumulate = true;
            }
            if !accumulate {
                out0.fill(0);
                out1.fill(0);
            }
        });
        out
    }

    fn rescale(&self, x: View<'_, Self, Ntt>, to: Limbs) -> Batch<Self, Ntt> {
        let from = x.limbs();
        assert!(from.contains(to) && from != to, "rescale from {from:?} to {to:?}");
        let (n, all, kept) = (self.ring.n(), self.indices(from), self.indices(to));
        let dropped: Vec<_> = (0..from.count()).filter(|&i| !kept.contains(&all[i])).collect();
        let sources: Vec<_> = dropped.iter().map(|&i| all[i]).collect();
        let groups = [(dropped, self.conversion(&sources, &kept))];
        let (coefficients, slots) = self.conversion_sources(x, &groups);
        let mut out = self.batch(to, x.polys());
        self.for_each_limb(out.buffer_mut(), to.count(), |poly, limb, words| {
            let y: Vec<_> = coefficients[poly * slots * n..].chunks(n).take(slots).collect();
            let (table, target) = (self.ring.table(kept[limb]), &groups[0].1.targets()[limb]);
            (self.kernels.convert)(table.modulus(), &y, &target.weights, words);
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
        assert!(at + count <= x.polys() && (count == 0 || y.polys() > 0), "polys {at}+{count} of {}", x.polys());
        let poly_words = self.ring.words(limbs, 1);
        let target = &mut x.buffer_mut()[at * poly_words..(at + count) * poly_words];
        self.for_each_limb(target, limbs.count(), |poly, limb, words| {
            kernel(self.ring.modulus(indices[limb]), words, self.limb(y, poly % y.polys(), limbs, limb));
        });
    }
}

fn cached<K: std::hash::Hash + Eq, V>(cache: &Cache<K, V>, key: K, make: impl FnOnce() -> V) -> Arc<V> {
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    cache.entry(key).or_insert_with(|| Arc::new(make())).clone()
}
