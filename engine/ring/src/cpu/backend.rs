//! The operations of [`Backend`] on the processor.
#![expect(clippy::indexing_slicing, reason = "shapes are asserted where views enter; limbs lie within them")]

use super::blocks;
use super::buffer::CpuBuffer;
use super::conversion::{Division, Extension};
use super::device::{Cpu, CpuCompactPolys, TILE};
use super::matrix;
use super::switching::Switching;
use crate::shape;
use crate::{
    Backend, BackendError, Batch, Coeff, CompactPoly, Diagonals, Domain, Download, Gadget, GadgetProduct,
    GaloisElement, IntegerMatrix, Limbs, Ntt, Pending, PolySource, Ring, TensorProduct, Term, View,
};
use std::sync::Arc;

impl Backend for Cpu {
    type Buffer = CpuBuffer;
    type CompactPolys = CpuCompactPolys;

    fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }

    fn name(&self) -> String {
        let threads = self.threads.as_ref().map_or(1, rayon::ThreadPool::current_num_threads);
        Self::describe(self.simd, threads)
    }

    fn series<R: Send>(&self, operations: impl FnOnce() -> R + Send) -> R {
        match &self.threads {
            Some(pool) => pool.install(operations),
            None => operations(),
        }
    }

    fn upload_polys<D: Domain>(
        &self,
        limbs: Limbs,
        polys: &[PolySource<'_>],
    ) -> Result<Batch<Self, D>, BackendError> {
        shape::check_upload(&self.ring, limbs, polys)?;
        let mut out = self.batch(limbs, polys.len());
        let n = self.ring.n();
        let indices = self.indices(limbs);
        self.for_each_limb(out.buffer_mut().limbs_mut(), limbs.count(), |poly, limb, to| match polys[poly] {
            PolySource::Words(words) | PolySource::Uniform { words: Some(words), .. } => {
                to.copy_from_slice(&words[limb * n..][..n]);
            }
            PolySource::Uniform { seed, number, words: None } => {
                seed.fill_uniform(number, indices[limb], self.ring.modulus(indices[limb]), to);
            }
            PolySource::Written(write) => write(limb, to),
        });
        Ok(out)
    }

    fn download<D: Domain>(&self, x: View<'_, Self, D>) -> Download {
        let limbs = x.limbs().count();
        let mut words = Vec::with_capacity(self.ring.words(x.limbs(), x.polys()));
        for limb in x.buffer().limbs().skip(x.start() * limbs).take(x.polys() * limbs) {
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
        let limbs = x.limbs();
        let polys = x.polys();
        let indices = self.indices(x.limbs());
        self.for_each_limb(x.buffer_mut().limbs_mut(), limbs.count(), |_, limb, words| {
            (self.kernels.ntt)(self.ring.table(indices[limb]), words);
        });
        Batch::from_buffer(x.into_buffer(), limbs, polys)
    }

    fn intt(&self, mut x: Batch<Self, Ntt>) -> Batch<Self, Coeff> {
        let limbs = x.limbs();
        let polys = x.polys();
        let indices = self.indices(x.limbs());
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
        let limbs = x.limbs();
        let indices = self.indices(x.limbs());
        self.for_each_limb(x.buffer_mut().limbs_mut(), limbs.count(), |_, limb, words| {
            (self.kernels.neg)(self.ring.modulus(indices[limb]), words);
        });
    }

    fn mul_scalar<D: Domain>(&self, x: View<'_, Self, D>, scalar: &[u32]) -> Batch<Self, D> {
        let limbs = x.limbs();
        let indices = self.indices(limbs);
        shape::check_scalar(x, scalar);
        let mut out = self.batch(limbs, x.polys());
        self.for_each_limb(out.buffer_mut().limbs_mut(), limbs.count(), |poly, limb, words| {
            let modulus = self.ring.modulus(indices[limb]);
            words.copy_from_slice(self.limb(x, poly, limbs, limb));
            (self.kernels.mul_scalar)(modulus, words, modulus.shoup(scalar[limb]));
        });
        out
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
        let n = self.ring.n();
        let indices = self.indices(limbs);
        let tile = TILE.min(n);
        let mut out = self.batch(limbs, outputs);
        let mut tasks: Vec<_> =
            out.buffer_mut().limbs_mut().flat_map(|limb| limb.chunks_mut(tile)).enumerate().collect();
        // Poly, limb, tile -> limb, tile, poly.
        let tiles = indices.len() * (n / tile);
        tasks.sort_by_key(|(i, _)| (i % tiles, i / tiles));
        self.run(outputs * limbs.count() * n, tasks, |(i, out)| {
            let poly = i / tiles;
            let limb = i % tiles / (n / tile);
            let start = i % (n / tile) * tile;
            let part = |view, poly| &self.limb(view, poly, limbs, limb)[start..start + tile];
            let terms: Vec<_> = of_output[poly].iter().map(|&(i, j)| [part(a, i), part(b, j)]).collect();
            (self.kernels.dot)(self.ring.modulus(indices[limb]), &terms, out);
        });
        out
    }

    fn matrix_product(
        &self,
        x: View<'_, Self, Ntt>,
        matrix: &IntegerMatrix,
        limbs: Limbs,
    ) -> Batch<Self, Ntt> {
        matrix::product(self, x, matrix, limbs)
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
                let modulus = self.ring.modulus(indices[limb]);
                for (i, &c) in from.iter().enumerate() {
                    let (to, negative) = self.ring.image(i, g);
                    words[to] = if negative { modulus.neg(c) } else { c };
                }
            }
        });
        out
    }

    fn mod_up(&self, x: View<'_, Self, Ntt>, gadget: Gadget) -> Batch<Self, Ntt> {
        let limbs = gadget.limbs;
        let digits = gadget.digits();
        let extension = Extension::new(self, x, (0..x.polys()).collect(), gadget);
        let mut out = self.batch(limbs, x.polys() * digits);
        self.for_each_limb(out.buffer_mut().limbs_mut(), limbs.count(), |i, limb, words| {
            extension.extend(i / digits, i % digits, limb, words);
        });
        out
    }

    fn gadget_product(&self, product: &GadgetProduct<'_, Self>) -> Batch<Self, Ntt> {
        Switching::new(self, product, (0..product.batch).collect()).run()
    }

    fn upload_compact(&self, polys: &[CompactPoly]) -> Result<CpuCompactPolys, BackendError> {
        shape::check_compact(&self.ring, polys)?;
        Ok(CpuCompactPolys(polys.to_vec()))
    }

    fn expand_compact(
        &self,
        polys: &CpuCompactPolys,
        start: usize,
        count: usize,
        limbs: Limbs,
    ) -> Batch<Self, Ntt> {
        let n = self.ring.n();
        let indices = self.indices(limbs);
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
        blocks::baby_step_sums(self, product, diagonals, terms, sums)
    }

    fn baby_step_sums_divided(
        &self,
        product: &GadgetProduct<'_, Self>,
        diagonals: Diagonals<'_, Self>,
        terms: &[Term],
        sums: usize,
        to: Limbs,
    ) -> Batch<Self, Ntt> {
        blocks::baby_step_sums_divided(self, product, diagonals, terms, sums, to)
    }

    fn gadget_product_divided(&self, product: &GadgetProduct<'_, Self>, to: Limbs) -> Batch<Self, Ntt> {
        blocks::gadget_product_divided(self, product, to)
    }

    fn relinearized_product(&self, product: &TensorProduct<'_, Self>, to: Limbs) -> Batch<Self, Ntt> {
        blocks::relinearized_product(self, product, to)
    }

    fn rescale(&self, x: View<'_, Self, Ntt>, to: Limbs) -> Batch<Self, Ntt> {
        let division = Division::new(self, x.limbs(), to);
        let mut out = self.batch(to, x.polys());
        division.run(x, blocks::polys_mut(&mut out));
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
        let limbs = x.limbs();
        let indices = self.indices(x.limbs());
        shape::check_assign(x, at, count, y);
        let target = x.buffer_mut().limbs_mut().skip(at * limbs.count()).take(count * limbs.count());
        self.for_each_limb(target, limbs.count(), |poly, limb, words| {
            kernel(self.ring.modulus(indices[limb]), words, self.limb(y, poly % y.polys(), limbs, limb));
        });
    }
}
