//! One backend type for every device, so that generic code is instantiated once.

use pleura_gpu::Gpu;
use pleura_ring::{
    Backend, BackendError, Batch, Coeff, CompactPoly, Cpu, Diagonals, Digits, Domain, Download, Gadget,
    GadgetProduct, GadgetTerm, GaloisElement, IntegerMatrix, Limbs, Ntt, Pending, PolySource, Ring,
    TensorProduct, Term, View,
};
use std::sync::Arc;

/// The backend of a [`Device`](crate::Device) that is chosen at run time. It hands every operation to the backend
/// inside: no word is copied or changed on the way.
pub enum AnyBackend {
    /// The processor.
    Cpu(Cpu),
    /// A GPU.
    Gpu(Gpu),
}

/// The storage of a batch of an [`AnyBackend`].
pub struct AnyBuffer(Storage);

/// Compact polynomials of an [`AnyBackend`].
pub struct AnyCompactPolys(Compact);

enum Storage {
    Cpu(<Cpu as Backend>::Buffer),
    Gpu(<Gpu as Backend>::Buffer),
    /// Placeholder while an operation changes the storage; it stays if that panics.
    Taken,
}

enum Compact {
    Cpu(<Cpu as Backend>::CompactPolys),
    Gpu(<Gpu as Backend>::CompactPolys),
}

/// Evaluates an expression with the backend inside.
macro_rules! with {
    ($any:expr, $device:ident => $result:expr) => {
        match $any {
            AnyBackend::Cpu($device) => $result,
            AnyBackend::Gpu($device) => $result,
        }
    };
}

impl AnyBackend {
    /// Whether it is a GPU.
    pub fn is_gpu(&self) -> bool {
        matches!(self, Self::Gpu(_))
    }

    /// Bytes of a GPU's memory that may be used, if that is known; `None` for the processor.
    pub fn memory_limit(&self) -> Option<u64> {
        match self {
            Self::Cpu(_) => None,
            Self::Gpu(gpu) => gpu.device().memory_limit(),
        }
    }

    /// The most bytes of a GPU's memory that were in use since it was started; `None` for the processor, whose memory
    /// is the process's.
    pub fn peak_memory_bytes(&self) -> Option<u64> {
        match self {
            Self::Cpu(_) => None,
            Self::Gpu(gpu) => Some(gpu.device().memory_bytes().1),
        }
    }
}

/// Operands of other devices than the backend's are bugs, and panic.
impl Backend for AnyBackend {
    type Buffer = AnyBuffer;
    type CompactPolys = AnyCompactPolys;

    fn ring(&self) -> &Arc<Ring> {
        with!(self, device => device.ring())
    }

    fn name(&self) -> String {
        with!(self, device => device.name())
    }

    fn upload_polys<D: Domain>(
        &self,
        limbs: Limbs,
        polys: &[PolySource<'_>],
    ) -> Result<Batch<Self, D>, BackendError> {
        with!(self, device => device.upload_polys(limbs, polys).map(wrap))
    }

    fn series<R: Send>(&self, operations: impl FnOnce() -> R + Send) -> R {
        with!(self, device => device.series(operations))
    }

    fn expect_constants(&self, words: usize) {
        with!(self, device => device.expect_constants(words));
    }

    fn download<D: Domain>(&self, x: View<'_, Self, D>) -> Download {
        with!(self, device => device.download(view(x)))
    }

    fn finish(&self) -> Pending<()> {
        with!(self, device => device.finish())
    }

    fn wait(&self) -> Result<(), BackendError> {
        with!(self, device => device.wait())
    }

    fn concat<D: Domain>(&self, views: &[View<'_, Self, D>], limbs: Limbs) -> Batch<Self, D> {
        with!(self, device => wrap(device.concat(&views.iter().map(|&x| view(x)).collect::<Vec<_>>(), limbs)))
    }

    fn ntt(&self, x: Batch<Self, Coeff>) -> Batch<Self, Ntt> {
        with!(self, device => wrap(device.ntt(unwrap(x))))
    }

    fn intt(&self, x: Batch<Self, Ntt>) -> Batch<Self, Coeff> {
        with!(self, device => wrap(device.intt(unwrap(x))))
    }

    fn add<D: Domain>(
        &self,
        x: View<'_, Self, D>,
        y: View<'_, Self, D>,
        count: usize,
        limbs: Limbs,
    ) -> Batch<Self, D> {
        with!(self, device => wrap(device.add(view(x), view(y), count, limbs)))
    }

    fn add_assign<D: Domain>(&self, x: &mut Batch<Self, D>, at: usize, count: usize, y: View<'_, Self, D>) {
        with!(self, device => assign(x, |x| device.add_assign(x, at, count, view(y))));
    }

    fn sub_assign<D: Domain>(&self, x: &mut Batch<Self, D>, at: usize, count: usize, y: View<'_, Self, D>) {
        with!(self, device => assign(x, |x| device.sub_assign(x, at, count, view(y))));
    }

    fn neg_assign<D: Domain>(&self, x: &mut Batch<Self, D>) {
        with!(self, device => assign(x, |x| device.neg_assign(x)));
    }

    fn mul_scalar<D: Domain>(&self, x: View<'_, Self, D>, scalar: &[u32]) -> Batch<Self, D> {
        with!(self, device => wrap(device.mul_scalar(view(x), scalar)))
    }

    fn mul_accumulate(
        &self,
        a: View<'_, Self, Ntt>,
        b: View<'_, Self, Ntt>,
        terms: &[Term],
        outputs: usize,
        limbs: Limbs,
    ) -> Batch<Self, Ntt> {
        with!(self, device => wrap(device.mul_accumulate(view(a), view(b), terms, outputs, limbs)))
    }

    fn matrix_product(
        &self,
        x: View<'_, Self, Ntt>,
        matrix: &IntegerMatrix,
        limbs: Limbs,
    ) -> Batch<Self, Ntt> {
        with!(self, device => wrap(device.matrix_product(view(x), matrix, limbs)))
    }

    fn automorphism<D: Domain>(&self, x: View<'_, Self, D>, g: GaloisElement) -> Batch<Self, D> {
        with!(self, device => wrap(device.automorphism(view(x), g)))
    }

    fn mod_up(&self, x: View<'_, Self, Ntt>, gadget: Gadget) -> Batch<Self, Ntt> {
        with!(self, device => wrap(device.mod_up(view(x), gadget)))
    }

    fn gadget_product(&self, product: &GadgetProduct<'_, Self>) -> Batch<Self, Ntt> {
        with!(self, device => {
            wrap(device.gadget_product(&gadget_product(product, &gadget_terms(product))))
        })
    }

    fn upload_compact(&self, polys: &[CompactPoly]) -> Result<AnyCompactPolys, BackendError> {
        with!(self, device => device.upload_compact(polys).map(|polys| wrap_compact(device, polys)))
    }

    fn expand_compact(
        &self,
        polys: &AnyCompactPolys,
        start: usize,
        count: usize,
        limbs: Limbs,
    ) -> Batch<Self, Ntt> {
        with!(self, device => wrap(device.expand_compact(compact(device, polys), start, count, limbs)))
    }

    fn baby_step_sums(
        &self,
        product: &GadgetProduct<'_, Self>,
        diagonals: Diagonals<'_, Self>,
        terms: &[Term],
        sums: usize,
    ) -> Batch<Self, Ntt> {
        with!(self, device => {
            let keyed = gadget_terms(product);
            let product = gadget_product(product, &keyed);
            wrap(device.baby_step_sums(&product, inner(device, diagonals), terms, sums))
        })
    }

    fn baby_step_sums_divided(
        &self,
        product: &GadgetProduct<'_, Self>,
        diagonals: Diagonals<'_, Self>,
        terms: &[Term],
        sums: usize,
        to: Limbs,
    ) -> Batch<Self, Ntt> {
        with!(self, device => {
            let keyed = gadget_terms(product);
            let product = gadget_product(product, &keyed);
            wrap(device.baby_step_sums_divided(&product, inner(device, diagonals), terms, sums, to))
        })
    }

    fn gadget_product_divided(&self, product: &GadgetProduct<'_, Self>, to: Limbs) -> Batch<Self, Ntt> {
        with!(self, device => {
            wrap(device.gadget_product_divided(&gadget_product(product, &gadget_terms(product)), to))
        })
    }

    fn relinearized_product(&self, product: &TensorProduct<'_, Self>, to: Limbs) -> Batch<Self, Ntt> {
        let TensorProduct { gadget, a, b, key, batch } = *product;
        with!(self, device => {
            let product = TensorProduct { gadget, a: view(a), b: view(b), key: view(key), batch };
            wrap(device.relinearized_product(&product, to))
        })
    }

    fn rescale(&self, x: View<'_, Self, Ntt>, to: Limbs) -> Batch<Self, Ntt> {
        with!(self, device => wrap(device.rescale(view(x), to)))
    }
}

/// A backend that may be inside. `None` stands for storage of another one.
trait Part: Backend {
    fn wrap(buffer: Self::Buffer) -> AnyBuffer;
    fn wrap_compact(polys: Self::CompactPolys) -> AnyCompactPolys;
    fn unwrap(buffer: AnyBuffer) -> Option<Self::Buffer>;
    fn storage(buffer: &AnyBuffer) -> Option<&Self::Buffer>;
    fn compact(polys: &AnyCompactPolys) -> Option<&Self::CompactPolys>;
}

macro_rules! part {
    ($device:ident) => {
        impl Part for $device {
            fn wrap(buffer: Self::Buffer) -> AnyBuffer {
                AnyBuffer(Storage::$device(buffer))
            }

            fn wrap_compact(polys: Self::CompactPolys) -> AnyCompactPolys {
                AnyCompactPolys(Compact::$device(polys))
            }

            fn unwrap(buffer: AnyBuffer) -> Option<Self::Buffer> {
                if let Storage::$device(buffer) = buffer.0 { Some(buffer) } else { None }
            }

            fn storage(buffer: &AnyBuffer) -> Option<&Self::Buffer> {
                if let Storage::$device(buffer) = &buffer.0 { Some(buffer) } else { None }
            }

            fn compact(polys: &AnyCompactPolys) -> Option<&Self::CompactPolys> {
                if let Compact::$device(polys) = &polys.0 { Some(polys) } else { None }
            }
        }
    };
}

part!(Cpu);
part!(Gpu);

fn wrap<B: Part, D: Domain>(x: Batch<B, D>) -> Batch<AnyBackend, D> {
    let limbs = x.limbs();
    let polys = x.polys();
    Batch::from_buffer(B::wrap(x.into_buffer()), limbs, polys)
}

fn unwrap<B: Part, D: Domain>(x: Batch<AnyBackend, D>) -> Batch<B, D> {
    let limbs = x.limbs();
    let polys = x.polys();
    Batch::from_buffer(B::unwrap(x.into_buffer()).unwrap_or_else(|| other_device()), limbs, polys)
}

fn view<'a, B: Part, D: Domain>(x: View<'a, AnyBackend, D>) -> View<'a, B, D> {
    let buffer = B::storage(x.buffer()).unwrap_or_else(|| other_device());
    View::from_buffer(buffer, x.limbs(), x.start(), x.polys())
}

/// `device` says which backend's polynomials these are, as it does in [`compact`].
fn wrap_compact<B: Part>(_device: &B, polys: B::CompactPolys) -> AnyCompactPolys {
    B::wrap_compact(polys)
}

fn compact<'a, B: Part>(_device: &B, polys: &'a AnyCompactPolys) -> &'a B::CompactPolys {
    B::compact(polys).unwrap_or_else(|| other_device())
}

fn inner<'a, B: Part>(device: &B, diagonals: Diagonals<'a, AnyBackend>) -> Diagonals<'a, B> {
    match diagonals {
        Diagonals::Polys(polys) => Diagonals::Polys(view(polys)),
        Diagonals::Compact(polys) => Diagonals::Compact(compact(device, polys)),
    }
}

/// Changes a batch in place.
fn assign<B: Part, D: Domain>(x: &mut Batch<AnyBackend, D>, change: impl FnOnce(&mut Batch<B, D>)) {
    let taken = std::mem::replace(x.buffer_mut(), AnyBuffer(Storage::Taken));
    let mut inside = unwrap(Batch::from_buffer(taken, x.limbs(), x.polys()));
    change(&mut inside);
    *x = wrap(inside);
}

fn gadget_terms<'a, B: Part>(product: &GadgetProduct<'a, AnyBackend>) -> Vec<GadgetTerm<'a, B>> {
    product
        .terms
        .iter()
        .map(|&GadgetTerm { input, output, key, galois }: &GadgetTerm<'a, AnyBackend>| GadgetTerm {
            input,
            output,
            key: key.map(view),
            galois,
        })
        .collect()
}

fn gadget_product<'a, B: Part>(
    product: &GadgetProduct<'a, AnyBackend>,
    terms: &'a [GadgetTerm<'a, B>],
) -> GadgetProduct<'a, B> {
    GadgetProduct {
        gadget: product.gadget,
        x: view(product.x),
        digits: match product.digits {
            Digits::Extended(digits) => Digits::Extended(view(digits)),
            Digits::Fresh(digits) => Digits::Fresh(view(digits)),
        },
        first_switched: product.first_switched,
        terms,
        batch: product.batch,
        outputs: product.outputs,
    }
}

#[expect(clippy::panic, reason = "documented: an operand of another device is a bug of the caller")]
fn other_device() -> ! {
    panic!("the operand lies on another device")
}
