//! The trait [`Backend`], and the operations that touch each word by itself.

use crate::allocation::Placement;
use crate::download::Source;
use crate::gpu::{Gpu, GpuCompactPolys, Row, poly};
use crate::memory::{GpuBuffer, Segment};
use crate::ring_tables::factor;
use crate::{conversion, sums, switching, transform, upload};
use pleura_ring::{
    Backend, BackendError, Batch, Coeff, CompactPoly, Diagonals, Domain, Download, Gadget, GadgetProduct,
    GaloisElement, IntegerMatrix, Limbs, Ntt, Pending, PolySource, Ring, Term, View, shape,
};
use pleura_shaders::{KernelId, KernelParams, LimbEntry, NONE, RowEntry, ScalarLimb};
use std::sync::Arc;

impl Gpu {
    fn zip_assign<D: Domain>(
        &self,
        kernel: KernelId,
        x: &mut Batch<Self, D>,
        at: usize,
        count: usize,
        y: View<'_, Self, D>,
    ) {
        shape::check_assign(x, at, count, y);
        if count == 0 {
            return;
        }
        self.make_writable(x);
        let limbs = self.limb_entries(x.limbs(), x.limbs(), y.limbs());
        let rows = (0..count).map(|i| Row::map(x.buffer().at(at + i), poly(y, i % y.polys())));
        self.call_simple(kernel, &limbs, rows);
    }

    /// Places of the words of a view.
    fn sources<'a, D: Domain>(&self, x: View<'a, Self, D>) -> Result<Vec<Source<'a>>, BackendError> {
        self.device.check()?;
        let poly_words = x.limbs().count() << self.ring.log_n();
        let mut sources = Vec::new();
        let mut next = 0;
        while next < x.polys() {
            let start = poly(x, next);
            // Neighbours come in one piece.
            let count = (next..x.polys())
                .take_while(|&i| poly(x, i).follows(start, ((i - next) * poly_words) as u32))
                .count();
            let words = count * poly_words;
            sources.push(match start.segment {
                Segment::Device(buffer) => {
                    buffer.check()?;
                    Source::Device { buffer: &buffer.buffer, at: start.offset, words }
                }
                Segment::Host(host) => {
                    let first = start.offset as usize;
                    #[expect(clippy::indexing_slicing, reason = "places are made with their segments")]
                    Source::Host(&host[first..first + words])
                }
            });
            next += count;
        }
        Ok(sources)
    }

    /// Constants are copied before they are changed.
    fn make_writable<D: Domain>(&self, x: &mut Batch<Self, D>) {
        if !x.buffer().writable {
            let limbs = x.limbs();
            *x = self.concat(&[x.view()], limbs);
        }
    }
}

impl Backend for Gpu {
    type Buffer = GpuBuffer;
    type CompactPolys = GpuCompactPolys;

    fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }

    fn name(&self) -> String {
        Self::describe(&self.device)
    }

    fn upload_polys<D: Domain>(
        &self,
        limbs: Limbs,
        polys: &[PolySource<'_>],
    ) -> Result<Batch<Self, D>, BackendError> {
        Ok(Batch::from_buffer(upload::upload_polys(self, limbs, polys)?, limbs, polys.len()))
    }

    fn expect_constants(&self, words: usize) {
        self.device.expect_constants(words);
    }

    fn download<D: Domain>(&self, x: View<'_, Self, D>) -> Download {
        match self.sources(x) {
            Ok(sources) => Download::new(self.device.read(sources)),
            Err(error) => Download::ready(Err(error)),
        }
    }

    fn finish(&self) -> Pending<()> {
        Pending::new(self.device.finish())
    }

    fn concat<D: Domain>(&self, views: &[View<'_, Self, D>], limbs: Limbs) -> Batch<Self, D> {
        let polys = views.iter().map(View::polys).sum();
        let out = self.alloc(limbs, polys, Placement::Separate);
        let mut at = 0;
        for view in views {
            let entries = self.limb_entries(limbs, limbs, view.limbs());
            let rows = (0..view.polys()).map(|i| Row::map(out.at(at + i), poly(*view, i)));
            self.call_simple(KernelId::Concat, &entries, rows);
            at += view.polys();
        }
        Batch::from_buffer(out, limbs, polys)
    }

    fn ntt(&self, x: Batch<Self, Coeff>) -> Batch<Self, Ntt> {
        transform::ntt(self, &x)
    }

    fn intt(&self, x: Batch<Self, Ntt>) -> Batch<Self, Coeff> {
        transform::intt(self, &x)
    }

    fn add<D: Domain>(
        &self,
        x: View<'_, Self, D>,
        y: View<'_, Self, D>,
        count: usize,
        limbs: Limbs,
    ) -> Batch<Self, D> {
        shape::check_add(x, y, count, limbs);
        if count == 0 {
            return self.concat(&[x], limbs);
        }
        let out = self.alloc(limbs, x.polys(), Placement::Separate);
        let in_x = self.limb_entries(limbs, limbs, x.limbs());
        let in_y = self.limb_entries(limbs, limbs, y.limbs());
        let entries: Vec<_> =
            in_x.into_iter().zip(in_y).map(|(x, y)| LimbEntry { y_offset: y.x_offset, ..x }).collect();
        let rows = (0..x.polys()).map(|i| {
            let Row { operands, entry } = Row::zip(out.at(i), poly(x, i), poly(y, i % y.polys()));
            // The others are copied.
            let y_offset = if i < count { entry.y_offset } else { NONE };
            Row { operands, entry: RowEntry { y_offset, ..entry } }
        });
        self.call_simple(KernelId::Add, &entries, rows);
        Batch::from_buffer(out, limbs, x.polys())
    }

    fn add_assign<D: Domain>(&self, x: &mut Batch<Self, D>, at: usize, count: usize, y: View<'_, Self, D>) {
        self.zip_assign(KernelId::AddAssign, x, at, count, y);
    }

    fn sub_assign<D: Domain>(&self, x: &mut Batch<Self, D>, at: usize, count: usize, y: View<'_, Self, D>) {
        self.zip_assign(KernelId::SubAssign, x, at, count, y);
    }

    fn neg_assign<D: Domain>(&self, x: &mut Batch<Self, D>) {
        self.make_writable(x);
        let entries = self.limb_entries(x.limbs(), x.limbs(), x.limbs());
        let rows = (0..x.polys()).map(|i| Row::in_place(x.buffer().at(i)));
        self.call_simple(KernelId::NegAssign, &entries, rows);
    }

    fn mul_scalar<D: Domain>(&self, x: View<'_, Self, D>, scalar: &[u32]) -> Batch<Self, D> {
        shape::check_scalar(x, scalar);
        let out = self.alloc(x.limbs(), x.polys(), Placement::Separate);
        let bases = self.limb_entries(x.limbs(), x.limbs(), x.limbs());
        let moduli = self.ring.moduli(x.limbs());
        let entries: Vec<_> = bases
            .into_iter()
            .zip(moduli.zip(scalar))
            .map(|(base, (modulus, &scalar))| ScalarLimb { base, scalar: factor(modulus.shoup(scalar)) })
            .collect();
        let rows = (0..x.polys()).map(|i| Row::map(out.at(i), poly(x, i)));
        self.call_simple(KernelId::MulScalar, &entries, rows);
        Batch::from_buffer(out, x.limbs(), x.polys())
    }

    fn mul_accumulate(
        &self,
        a: View<'_, Self, Ntt>,
        b: View<'_, Self, Ntt>,
        terms: &[Term],
        outputs: usize,
        limbs: Limbs,
    ) -> Batch<Self, Ntt> {
        sums::mul_accumulate(self, a, b, terms, outputs, limbs)
    }

    fn matrix_product(
        &self,
        x: View<'_, Self, Ntt>,
        matrix: &IntegerMatrix,
        limbs: Limbs,
    ) -> Batch<Self, Ntt> {
        sums::matrix_product(self, x, matrix, limbs)
    }

    fn automorphism<D: Domain>(&self, x: View<'_, Self, D>, g: GaloisElement) -> Batch<Self, D> {
        let out = self.alloc(x.limbs(), x.polys(), Placement::Separate);
        let (kernel, galois) = if D::IS_NTT {
            (KernelId::Automorphism, g.exponent())
        } else {
            (KernelId::AutomorphismCoeff, inverse_exponent(g, &self.ring))
        };
        let entries = self.limb_entries(x.limbs(), x.limbs(), x.limbs());
        let rows = (0..x.polys()).map(|i| Row::map(out.at(i), poly(x, i)));
        self.call_with(kernel, KernelParams { galois, ..self.params() }, &entries, rows);
        Batch::from_buffer(out, x.limbs(), x.polys())
    }

    fn mod_up(&self, x: View<'_, Self, Ntt>, gadget: Gadget) -> Batch<Self, Ntt> {
        conversion::mod_up(self, x, gadget)
    }

    fn gadget_product(&self, product: &GadgetProduct<'_, Self>) -> Batch<Self, Ntt> {
        switching::gadget_product(self, product)
    }

    fn upload_compact(&self, polys: &[CompactPoly]) -> Result<GpuCompactPolys, BackendError> {
        shape::check_compact(&self.ring, polys)?;
        let mut words = Vec::new();
        let mut sizes = Vec::new();
        let mut log_lens = Vec::new();
        for poly in polys {
            let len = poly.coefficients.len();
            words.extend(poly.coefficients.iter().map(|c| c.cast_unsigned()));
            sizes.push(len);
            log_lens.push(len.ilog2());
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
        transform::expand_compact(self, polys, start, count, limbs)
    }

    fn baby_step_sums(
        &self,
        product: &GadgetProduct<'_, Self>,
        diagonals: Diagonals<'_, Self>,
        terms: &[Term],
        sums: usize,
    ) -> Batch<Self, Ntt> {
        switching::baby_step_sums(self, product, diagonals, terms, sums)
    }

    fn rescale(&self, x: View<'_, Self, Ntt>, to: Limbs) -> Batch<Self, Ntt> {
        conversion::rescale(self, x, to)
    }
}

/// Exponent of the inverse of an automorphism.
fn inverse_exponent(g: GaloisElement, ring: &Ring) -> u32 {
    let g = g.exponent();
    // The inverse of an odd number modulo a power of two, by Newton's iteration.
    let inverse = (0..4).fold(g, |i, _| i.wrapping_mul(2u32.wrapping_sub(g.wrapping_mul(i))));
    inverse % ring.kind().root_order(ring.n()) as u32
}
