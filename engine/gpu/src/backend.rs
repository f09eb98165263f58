//! The operations that touch each word by itself, and the way to the device and back.

use crate::device::{Block, Device, Dispatch};
use crate::download::Source;
use crate::memory::{Chunk, GpuBuffer, Groups, Memory};
use crate::{GpuError, transform};
use pleura_ring::{
    Backend, BackendError, BasisConversion, Batch, Coeff, CompactPoly, Diagonals, Domain, Download, Gadget,
    GadgetProduct, GaloisElement, Limbs, Ntt, Pending, Ring, Term, View,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// A GPU as the backend of one ring. Results are the [`Cpu`](pleura_ring::Cpu)'s, bit for bit.
pub struct Gpu {
    pub(crate) ring: Arc<Ring>,
    pub(crate) device: Arc<Device>,
    /// Primes and twiddles.
    constants: [Memory; 2],
    /// By the positions of the primes they lead from and to.
    pub(crate) conversions: Mutex<Conversions>,
}

type Conversions = HashMap<(Vec<usize>, Vec<usize>), Arc<BasisConversion>>;

/// Compact polynomials on the device.
pub struct GpuCompactPolys {
    /// Their coefficients.
    pub(crate) buffer: GpuBuffer,
    /// The logarithm of how many each has.
    pub(crate) log_lens: Vec<u32>,
}

/// What a kernel does to rows of limbs.
pub(crate) struct Call<'a> {
    pub(crate) kernel: &'static str,
    pub(crate) block: Option<Block>,
    pub(crate) log_n: u32,
    pub(crate) extra: [u32; 4],
    pub(crate) limbs: &'a [[u32; 8]],
    pub(crate) terms: &'a [u32],
    /// Modular products in a word of a row.
    pub(crate) cost: u64,
}

/// One row of a call: the buffers of its result and its operands, and its entry.
pub(crate) struct Row<'a> {
    pub(crate) chunks: [Option<&'a Chunk>; 5],
    pub(crate) entry: [u32; 8],
}

/// The smallest ring: a thread's words in a transform.
const MIN_LOG_N: u32 = 4;

impl Gpu {
    /// Brings the tables of a ring to a device.
    ///
    /// # Errors
    /// [`GpuError::BadDegree`], [`GpuError::Backend`]
    pub fn new(ring: Arc<Ring>, device: Arc<Device>) -> Result<Self, GpuError> {
        let (log_n, max) = (ring.log_n(), transform::max_log(&device));
        if !(MIN_LOG_N..=max).contains(&log_n) {
            return Err(GpuError::BadDegree { log_n, min: MIN_LOG_N, max });
        }
        let (primes, twiddles) = transform::tables(&ring);
        let bring = |words: &[u32]| {
            let bytes = 4 * words.len();
            let memory = Some(words.len()).filter(|&words| words <= device.visible_words);
            let memory = memory.and_then(|_| device.fresh(bytes as u64));
            let memory = memory.ok_or(BackendError::OutOfMemory { bytes })?;
            device.write(&memory, 0, words);
            Ok::<_, BackendError>(memory)
        };
        let constants = [bring(&primes)?, bring(&twiddles)?];
        Ok(Self { ring, device, constants, conversions: Mutex::default() })
    }

    /// The device that it runs on.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Room for polynomials.
    pub(crate) fn alloc(&self, limbs: Limbs, polys: usize, groups: Groups) -> GpuBuffer {
        self.device.alloc(limbs.count() << self.ring.log_n(), polys, groups)
    }

    /// The entries of `limbs` with their offsets in polynomials over the limbs of the result and of what is read.
    pub(crate) fn limb_entries(&self, limbs: Limbs, out: Limbs, x: Limbs) -> Vec<[u32; 8]> {
        let log_n = self.ring.log_n();
        let offset = |of: Limbs, limb| (of.position(limbs, limb) << log_n) as u32;
        let entry =
            |(limb, prime): (usize, usize)| [prime as u32, offset(out, limb), offset(x, limb), 0, 0, 0, 0, 0];
        self.ring.indices(limbs).enumerate().map(entry).collect()
    }

    /// Runs a call, a dispatch for each combination of buffers that its rows have.
    pub(crate) fn call<'a>(&self, call: &Call<'_>, rows: impl IntoIterator<Item = Row<'a>>) {
        type Rows<'a> = ([Option<&'a Chunk>; 5], Vec<[u32; 8]>);
        let mut groups: Vec<Rows<'a>> = Vec::new();
        let ids = |chunks: &[Option<&Chunk>; 5]| chunks.map(|chunk| chunk.map(Chunk::id));
        for Row { chunks, entry } in rows {
            match groups.iter_mut().rev().find(|(group, _)| ids(group) == ids(&chunks)) {
                Some((_, entries)) => entries.push(entry),
                None => groups.push((chunks, vec![entry])),
            }
        }
        for (chunks, rows) in groups {
            if call.limbs.is_empty() {
                continue;
            }
            let resident = chunks.map(|chunk| chunk.map(|chunk| self.device.resident(chunk)));
            self.device.dispatch(&Dispatch {
                kernel: call.kernel,
                block: call.block,
                constants: self.constants.each_ref(),
                operands: resident.each_ref().map(|memory| memory.as_deref()),
                log_n: call.log_n,
                extra: call.extra,
                limbs: call.limbs,
                rows: &rows,
                terms: call.terms,
                cost: call.cost * ((rows.len() * call.limbs.len()) << call.log_n) as u64,
            });
        }
    }

    /// A kernel that has a thread for each word of a ring's limb.
    pub(crate) fn pointwise<'a>(
        &self,
        kernel: &'static str,
        extra: [u32; 4],
        limbs: &[[u32; 8]],
        rows: impl IntoIterator<Item = Row<'a>>,
    ) {
        let log_n = self.ring.log_n();
        self.call(&Call { kernel, block: None, log_n, extra, limbs, terms: &[], cost: 1 }, rows);
    }

    fn zip_assign<D: Domain>(
        &self,
        kernel: &'static str,
        x: &mut Batch<Self, D>,
        at: usize,
        count: usize,
        y: View<'_, Self, D>,
    ) {
        assert!(
            at + count <= x.polys() && (count == 0 || y.polys() > 0),
            "polys {at}+{count} of {}",
            x.polys()
        );
        self.make_writable(x);
        let limbs = self.limb_entries(x.limbs(), x.limbs(), y.limbs());
        let rows = (0..count).map(|i| Row::map(x.buffer().at(at + i), poly(y, i % y.polys())));
        self.pointwise(kernel, [0; 4], &limbs, rows);
    }

    /// Constants are copied before they are changed.
    fn make_writable<D: Domain>(&self, x: &mut Batch<Self, D>) {
        if !x.buffer().writable {
            let limbs = x.limbs();
            *x = self.concat(&[x.view()], limbs);
        }
    }
}

impl<'a> Row<'a> {
    /// From one place to another.
    pub(crate) fn map(out: (&'a Chunk, u32), x: (&'a Chunk, u32)) -> Self {
        Self { chunks: [Some(out.0), Some(x.0), None, None, None], entry: [out.1, x.1, 0, 0, 0, 0, 0, 0] }
    }

    /// In place.
    pub(crate) fn at(out: (&'a Chunk, u32)) -> Self {
        Self { chunks: [Some(out.0), None, None, None, None], entry: [out.1, 0, 0, 0, 0, 0, 0, 0] }
    }
}

/// Where a poly of a view begins.
pub(crate) fn poly<'a, D: Domain>(view: View<'a, Gpu, D>, i: usize) -> (&'a Chunk, u32) {
    assert!(i < view.polys(), "poly {i} of {}", view.polys());
    view.batch().buffer().at(view.start() + i)
}

impl Backend for Gpu {
    type Buffer = GpuBuffer;
    type CompactPolys = GpuCompactPolys;

    fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }

    fn name(&self) -> String {
        let info = self.device.info();
        let products = if self.device.is_wide() { "" } else { ", 32-bit products" };
        format!("{} ({}{products})", info.name, info.api)
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
        let poly_words = limbs.count() << self.ring.log_n();
        // Keys and diagonals, which alone come over special primes, are for reading; both polys of a digit in one kernel.
        let buffer = if limbs.p > 0 && polys > 0 {
            let pair = if polys.is_multiple_of(2) { 2 } else { 1 };
            let packed = self.device.constants(words, &vec![poly_words * pair; polys / pair])?;
            packed.split(poly_words, pair)
        } else {
            self.device.upload(poly_words, words)?
        };
        Ok(Batch::from_buffer(buffer, limbs, polys))
    }

    fn download<D: Domain>(&self, x: View<'_, Self, D>) -> Download {
        if let Err(error) = self.device.check() {
            return Download::ready(Err(error));
        }
        let poly_words = x.limbs().count() << self.ring.log_n();
        let mut sources = Vec::new();
        let mut next = 0;
        while next < x.polys() {
            let (chunk, at) = poly(x, next);
            // Neighbours come in one piece.
            let follows = |&i: &usize| {
                let (other, other_at) = poly(x, i);
                other.id() == chunk.id() && other_at as usize == at as usize + (i - next) * poly_words
            };
            let count = (next..x.polys()).take_while(follows).count();
            let words = count * poly_words;
            match chunk {
                Chunk::Device(memory) => {
                    if let Err(error) = memory.check() {
                        return Download::ready(Err(error));
                    }
                    sources.push(Source::Device { buffer: &memory.buffer, at, words });
                }
                Chunk::Host(host) => {
                    let start = at as usize;
                    sources.push(Source::Host(host.get(start..start + words).unwrap_or_default()));
                }
            }
            next += count;
        }
        Download::new(self.device.read(sources))
    }

    fn finish(&self) -> Pending<()> {
        Pending::new(self.device.finish())
    }

    fn concat<D: Domain>(&self, views: &[View<'_, Self, D>], limbs: Limbs) -> Batch<Self, D> {
        let polys = views.iter().map(View::polys).sum();
        let out = self.alloc(limbs, polys, Groups::Each);
        let mut at = 0;
        for view in views {
            let entries = self.limb_entries(limbs, limbs, view.limbs());
            let rows = (0..view.polys()).map(|i| Row::map(out.at(at + i), poly(*view, i)));
            self.pointwise("concat", [0; 4], &entries, rows);
            at += view.polys();
        }
        Batch::from_buffer(out, limbs, polys)
    }

    fn ntt(&self, x: Batch<Self, Coeff>) -> Batch<Self, Ntt> {
        let (limbs, polys) = (x.limbs(), x.polys());
        let out = self.alloc(limbs, polys, Groups::Each);
        let entries = self.limb_entries(limbs, limbs, limbs);
        let rows = (0..polys).map(|i| Row::map(out.at(i), x.buffer().at(i)));
        self.forward(transform::NTT, self.ring.log_n(), [0; 4], &entries, &[], rows);
        Batch::from_buffer(out, limbs, polys)
    }

    fn intt(&self, x: Batch<Self, Ntt>) -> Batch<Self, Coeff> {
        let (limbs, polys) = (x.limbs(), x.polys());
        let out = self.alloc(limbs, polys, Groups::Each);
        let mut entries = self.limb_entries(limbs, limbs, limbs);
        for entry in &mut entries {
            self.set_factor(entry, 1);
        }
        self.inverse(&entries, (0..polys).map(|i| Row::map(out.at(i), x.buffer().at(i))));
        Batch::from_buffer(out, limbs, polys)
    }

    fn add_assign<D: Domain>(&self, x: &mut Batch<Self, D>, at: usize, count: usize, y: View<'_, Self, D>) {
        self.zip_assign("add_assign", x, at, count, y);
    }

    fn sub_assign<D: Domain>(&self, x: &mut Batch<Self, D>, at: usize, count: usize, y: View<'_, Self, D>) {
        self.zip_assign("sub_assign", x, at, count, y);
    }

    fn neg_assign<D: Domain>(&self, x: &mut Batch<Self, D>) {
        self.make_writable(x);
        let entries = self.limb_entries(x.limbs(), x.limbs(), x.limbs());
        let rows = (0..x.polys()).map(|i| Row::at(x.buffer().at(i)));
        self.pointwise("neg_assign", [0; 4], &entries, rows);
    }

    fn mul_scalar_assign<D: Domain>(&self, x: &mut Batch<Self, D>, scalar: &[u32]) {
        assert_eq!(scalar.len(), x.limbs().count(), "one residue per limb");
        self.make_writable(x);
        let mut entries = self.limb_entries(x.limbs(), x.limbs(), x.limbs());
        for ((entry, modulus), &scalar) in entries.iter_mut().zip(self.ring.moduli(x.limbs())).zip(scalar) {
            let factor = modulus.shoup(scalar);
            [entry[4], entry[5]] = [factor.w, factor.quotient];
        }
        let rows = (0..x.polys()).map(|i| Row::at(x.buffer().at(i)));
        self.pointwise("mul_scalar_assign", [0; 4], &entries, rows);
    }

    fn mul_accumulate(
        &self,
        a: View<'_, Self, Ntt>,
        b: View<'_, Self, Ntt>,
        terms: &[Term],
        outputs: usize,
        limbs: Limbs,
    ) -> Batch<Self, Ntt> {
        self.sums_of_products(a, b, terms, outputs, limbs)
    }

    fn automorphism<D: Domain>(&self, x: View<'_, Self, D>, g: GaloisElement) -> Batch<Self, D> {
        let out = self.alloc(x.limbs(), x.polys(), Groups::Each);
        let extra = if D::IS_NTT {
            [g.exponent(), 0, 0, 0]
        } else {
            // The inverse of an odd number modulo a power of two, by Newton's iteration.
            let g = g.exponent();
            let inverse = (0..4).fold(g, |i, _| i.wrapping_mul(2u32.wrapping_sub(g.wrapping_mul(i))));
            [inverse % (2 << self.ring.log_n()), 1, 0, 0]
        };
        let entries = self.limb_entries(x.limbs(), x.limbs(), x.limbs());
        let rows = (0..x.polys()).map(|i| Row::map(out.at(i), poly(x, i)));
        self.pointwise("automorphism", extra, &entries, rows);
        Batch::from_buffer(out, x.limbs(), x.polys())
    }

    fn mod_up(&self, x: View<'_, Self, Ntt>, gadget: Gadget) -> Batch<Self, Ntt> {
        self.extended(x, gadget)
    }

    fn gadget_product(&self, product: &GadgetProduct<'_, Self>) -> Batch<Self, Ntt> {
        self.switched(product)
    }

    fn upload_compact(&self, polys: &[CompactPoly]) -> Result<GpuCompactPolys, BackendError> {
        let n = self.ring.n();
        let (mut words, mut sizes, mut log_lens) = (Vec::new(), Vec::new(), Vec::new());
        for poly in polys {
            let got = poly.coefficients.len();
            if !got.is_power_of_two() || got > n {
                return Err(BackendError::Shape { expected: n, got });
            }
            words.extend(poly.coefficients.iter().map(|c| c.cast_unsigned()));
            sizes.push(got);
            log_lens.push(got.ilog2());
        }
        Ok(GpuCompactPolys { buffer: self.device.constants(&words, &sizes)?, log_lens })
    }

    fn expand_compact(
        &self,
        polys: &GpuCompactPolys,
        start: usize,
        count: usize,
        limbs: Limbs,
    ) -> Batch<Self, Ntt> {
        self.expanded(polys, start, count, limbs)
    }

    fn baby_step_sums(
        &self,
        product: &GadgetProduct<'_, Self>,
        diagonals: Diagonals<'_, Self>,
        terms: &[Term],
        sums: usize,
    ) -> Batch<Self, Ntt> {
        self.switched_sums(product, diagonals, terms, sums)
    }

    fn rescale(&self, x: View<'_, Self, Ntt>, to: Limbs) -> Batch<Self, Ntt> {
        self.divided(x, to)
    }
}
