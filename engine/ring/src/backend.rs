//! The interface of a compute device: coarse, batched, exact.

use crate::sample::Seed;
use crate::{BackendError, Download, GaloisElement, IntegerMatrix, Limbs, Pending, Ring};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

/// The form of a polynomial: [`Coeff`] or [`Ntt`].
pub trait Domain: Copy + Debug + Send + Sync + 'static {
    /// Whether this is the transformed form.
    const IS_NTT: bool;
}

/// Coefficients, of `X^0` first.
#[derive(Clone, Copy, Debug)]
pub enum Coeff {}

/// Values at the powers of `psi`, in the order that [`crate::ntt`] describes.
#[derive(Clone, Copy, Debug)]
pub enum Ntt {}

impl Domain for Coeff {
    const IS_NTT: bool = false;
}

impl Domain for Ntt {
    const IS_NTT: bool = true;
}

/// A device that computes on batches of polynomials.
///
/// # Contract
/// * **Value.** A [`Batch`] is `[poly][limb][coefficient]` words, each canonical in `[0, q)` of its limb.
/// * **Exact.** The words of every result are determined by the words of the operands: all devices agree bit for
///   bit.
/// * **Ordered, not synchronous.** Operations take effect in program order, and none of them waits for the device's work.
///   [`Backend::download`] and [`Backend::finish`] give a [`Pending`], where a lost device is reported: native code waits for
///   it, and a browser, which must not block, awaits it.
/// * **Memory.** Results are new batches from the device's own pool, whose former content is undefined; dropping
///   a batch returns it. Operands are never changed unless they are `&mut`, which cannot alias.
/// * **Shapes** are the caller's duty: a violation is a bug, and panics.
pub trait Backend: Sized + Send + Sync {
    /// The device's storage of a batch.
    type Buffer: Send + Sync;
    /// The device's storage of compact polynomials.
    type CompactPolys: Send + Sync;

    /// The ring that this device holds tables for.
    fn ring(&self) -> &Arc<Ring>;

    /// Short description of the device.
    fn name(&self) -> String;

    /// Calls a function that calls operations. A device with threads calls it on one of them, which saves waking them for each operation.
    fn series<R: Send>(&self, operations: impl FnOnce() -> R + Send) -> R {
        operations()
    }

    /// Uploads words of `polys` polynomials over `limbs`.
    ///
    /// # Errors
    /// [`BackendError::Shape`] if `words` has another length, [`BackendError::NoSuchLimbs`] if the ring lacks a limb,
    /// [`BackendError::OutOfMemory`], which a later download may report, too. That the words are canonical is the caller's duty.
    #[expect(clippy::indexing_slicing, reason = "the words are counted first")]
    fn upload<D: Domain>(
        &self,
        limbs: Limbs,
        polys: usize,
        words: &[u32],
    ) -> Result<Batch<Self, D>, BackendError> {
        let expected = self.ring().words(limbs, polys);
        if words.len() != expected {
            return Err(BackendError::Shape { expected, got: words.len() });
        }
        let size = self.ring().words(limbs, 1);
        let polys: Vec<_> = (0..polys).map(|i| PolySource::Words(&words[i * size..][..size])).collect();
        self.upload_polys(limbs, &polys)
    }

    /// Uploads polynomials over `limbs` that lie apart in the host's memory, or that a seed determines.
    ///
    /// # Errors
    /// As [`Backend::upload`].
    fn upload_polys<D: Domain>(
        &self,
        limbs: Limbs,
        polys: &[PolySource<'_>],
    ) -> Result<Batch<Self, D>, BackendError>;

    /// Announces uploads over special primes (keys, diagonals) of this many words in total, so that they can be placed side by side.
    fn expect_constants(&self, words: usize) {
        _ = words;
    }

    /// Begins to download the words that `x` holds after all earlier operations; later changes to its batch do not show.
    /// Downloads may be waited for in any order. The result is [`BackendError::DeviceLost`] if anything failed since the previous
    /// download.
    fn download<D: Domain>(&self, x: View<'_, Self, D>) -> Download;

    /// Submits all earlier operations. The result arrives when they are done, with the errors of [`Backend::download`]. For
    /// clocks and progress bars.
    fn finish(&self) -> Pending<()>;

    /// Blocks until all earlier operations are done.
    ///
    /// # Errors
    /// As [`Pending::wait`] of [`Backend::finish`].
    fn wait(&self) -> Result<(), BackendError> {
        self.finish().wait()
    }

    /// Concatenates the polynomials of all views, restricted to `limbs`.
    fn concat<D: Domain>(&self, views: &[View<'_, Self, D>], limbs: Limbs) -> Batch<Self, D>;

    /// Forward transform.
    fn ntt(&self, x: Batch<Self, Coeff>) -> Batch<Self, Ntt>;

    /// Inverse transform.
    fn intt(&self, x: Batch<Self, Ntt>) -> Batch<Self, Coeff>;

    /// `x` over `limbs`, with `y[i mod |y|]` added to its first `count` polynomials; both operands may have more limbs.
    fn add<D: Domain>(
        &self,
        x: View<'_, Self, D>,
        y: View<'_, Self, D>,
        count: usize,
        limbs: Limbs,
    ) -> Batch<Self, D> {
        let mut sum = self.concat(&[x], limbs);
        self.add_assign(&mut sum, 0, count, y);
        sum
    }

    /// `x[at + i] += y[i mod |y|]` for `count` polynomials; `y` may have more limbs than `x`.
    fn add_assign<D: Domain>(&self, x: &mut Batch<Self, D>, at: usize, count: usize, y: View<'_, Self, D>);

    /// `x[at + i] -= y[i mod |y|]` for `count` polynomials; `y` may have more limbs than `x`.
    fn sub_assign<D: Domain>(&self, x: &mut Batch<Self, D>, at: usize, count: usize, y: View<'_, Self, D>);

    /// `x = -x`
    fn neg_assign<D: Domain>(&self, x: &mut Batch<Self, D>);

    /// `x scalar`, with the scalar given by its residue in each limb.
    fn mul_scalar<D: Domain>(&self, x: View<'_, Self, D>, scalar: &[u32]) -> Batch<Self, D>;

    /// `out[t.out] += a[t.a] b[t.b]` over all terms, starting from zero: pointwise products, tensor products and
    /// the sums of a linear transform are all of this form. Operands may have more limbs than `limbs`.
    fn mul_accumulate(
        &self,
        a: View<'_, Self, Ntt>,
        b: View<'_, Self, Ntt>,
        terms: &[Term],
        outputs: usize,
        limbs: Limbs,
    ) -> Batch<Self, Ntt>;

    /// Products of a matrix with vectors of polynomials: `out[v][row] = sum matrix[row][column] x[v][column]`, where `x`
    /// is vectors of as many polynomials as the matrix has columns, one after the other. `x` may have more limbs than `limbs`.
    fn matrix_product(
        &self,
        x: View<'_, Self, Ntt>,
        matrix: &IntegerMatrix,
        limbs: Limbs,
    ) -> Batch<Self, Ntt>;

    /// `X -> X^g` on every polynomial.
    fn automorphism<D: Domain>(&self, x: View<'_, Self, D>, g: GaloisElement) -> Batch<Self, D>;

    /// Cuts each polynomial over ciphertext primes into the gadget's digits and extends each digit, as its
    /// representative nearest to zero, to the gadget's limbs: poly `i` becomes polys `i d .. (i+1) d`.
    fn mod_up(&self, x: View<'_, Self, Ntt>, gadget: Gadget) -> Batch<Self, Ntt>;

    /// Key switching up to ModDown, see [`GadgetProduct`].
    fn gadget_product(&self, product: &GadgetProduct<'_, Self>) -> Batch<Self, Ntt>;

    /// Uploads compact polynomials.
    ///
    /// # Errors
    /// [`BackendError::Shape`] if one has no power of two of coefficients up to `n`, [`BackendError::OutOfMemory`].
    fn upload_compact(&self, polys: &[CompactPoly]) -> Result<Self::CompactPolys, BackendError>;

    /// `count` compact polynomials from `start` on, at full length and in transformed form.
    fn expand_compact(
        &self,
        polys: &Self::CompactPolys,
        start: usize,
        count: usize,
        limbs: Limbs,
    ) -> Batch<Self, Ntt>;

    /// Sums of products of a gadget product's results with diagonals, over the gadget's limbs: the baby steps of a
    /// linear transform, which need not pass through memory; nor need the expanded diagonals. For both parts
    /// `out[t.out] += diagonal[t.a] step[t.b]` over all terms, with the steps `[output][item]`: `[2][sums]`.
    fn baby_step_sums(
        &self,
        product: &GadgetProduct<'_, Self>,
        diagonals: Diagonals<'_, Self>,
        terms: &[Term],
        sums: usize,
    ) -> Batch<Self, Ntt> {
        let limbs = product.gadget.limbs;
        let expanded;
        let diagonals = match diagonals {
            Diagonals::Polys(view) => view,
            Diagonals::Compact(polys) => {
                let count = terms.iter().map(|t| t.a + 1).max().unwrap_or(0);
                expanded = self.expand_compact(polys, 0, count, limbs);
                expanded.view()
            }
        };
        let steps = self.gadget_product(product);
        let terms: Vec<_> = (0..2)
            .flat_map(|part| {
                let offset = part * product.outputs * product.batch;
                terms.iter().map(move |t| Term { out: part * sums + t.out, a: t.a, b: offset + t.b })
            })
            .collect();
        self.mul_accumulate(diagonals, steps.view(), &terms, 2 * sums, limbs)
    }

    /// Divides by the product of the primes that `to` lacks, rounding to the nearest integer: rescaling by one or
    /// several primes, ModDown, and both at once. (Next to a tie, as near as [`crate::convert`] says, either
    /// neighbour may come out, the same on every device.) At most [`MAX_SOURCES`](crate::convert::MAX_SOURCES) primes at once.
    fn rescale(&self, x: View<'_, Self, Ntt>, to: Limbs) -> Batch<Self, Ntt>;

    /// [`Backend::rescale`] of [`Backend::baby_step_sums`].
    fn baby_step_sums_divided(
        &self,
        product: &GadgetProduct<'_, Self>,
        diagonals: Diagonals<'_, Self>,
        terms: &[Term],
        sums: usize,
        to: Limbs,
    ) -> Batch<Self, Ntt> {
        self.rescale(self.baby_step_sums(product, diagonals, terms, sums).view(), to)
    }

    /// [`Backend::rescale`] of [`Backend::gadget_product`]: key switching as a whole.
    fn gadget_product_divided(&self, product: &GadgetProduct<'_, Self>, to: Limbs) -> Batch<Self, Ntt> {
        self.rescale(self.gadget_product(product).view(), to)
    }

    /// Products of ciphertexts of two parts each, switched from three parts to two and divided down to `to`: `[2][batch]`.
    fn relinearized_product(&self, product: &TensorProduct<'_, Self>, to: Limbs) -> Batch<Self, Ntt> {
        let TensorProduct { gadget, a, b, batch, .. } = *product;
        let items: Vec<usize> = (0..batch).collect();
        let terms = product.terms(&items);
        let tensor = self.mul_accumulate(a, b, &terms, 3 * batch, Limbs::q(gadget.limbs.q));
        let keyed = product.keyed();
        self.gadget_product_divided(&product.switched(&tensor, &keyed), to)
    }
}

/// A batch of polynomials over the same limbs, on the device `B`.
pub struct Batch<B: Backend, D: Domain> {
    buffer: B::Buffer,
    limbs: Limbs,
    polys: usize,
    domain: PhantomData<D>,
}

/// Some consecutive polynomials of a [`Batch`].
pub struct View<'a, B: Backend, D: Domain> {
    buffer: &'a B::Buffer,
    limbs: Limbs,
    start: usize,
    polys: usize,
    domain: PhantomData<D>,
}

/// A polynomial that is uploaded.
#[derive(Clone, Copy)]
pub enum PolySource<'a> {
    /// Words of a polynomial, `[limb][coefficient]`.
    Words(&'a [u32]),
    /// [`Poly::uniform`](crate::Poly::uniform) of this number, which a device expands by itself; `words` are there if the host has them already.
    Uniform {
        /// The seed.
        seed: &'a Seed,
        /// Number of the polynomial.
        number: u32,
        /// Words of the polynomial, `[limb][coefficient]`.
        words: Option<&'a [u32]>,
    },
    /// A function that writes the words of a limb, given its position among the limbs: a device has it write into its own memory if it
    /// can, on any thread.
    Written(&'a (dyn Fn(usize, &mut [u32]) + Sync)),
}

/// One product of [`Backend::mul_accumulate`]; its fields number polynomials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Output to which the product is added.
    pub out: usize,
    /// Left factor.
    pub a: usize,
    /// Right factor.
    pub b: usize,
}

/// A polynomial with small coefficients, in powers of `X^(n / len)`: plaintexts that repeat after `len / 2` slots are
/// of this form, and one that does not takes no more room than its coefficients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactPoly {
    /// A power of two of them, at most `n`.
    pub coefficients: std::sync::Arc<[i32]>,
}

/// The diagonals that [`Backend::baby_step_sums`] multiplies with.
pub enum Diagonals<'a, B: Backend> {
    /// Polynomials over at least the gadget's limbs.
    Polys(View<'a, B, Ntt>),
    /// Compact polynomials, transformed on the way.
    Compact(&'a B::CompactPolys),
}

/// How key switching decomposes: digits of `digit_limbs` ciphertext primes each (the last may be shorter),
/// extended to `limbs` (Han and Ki, "Better bootstrapping for approximate homomorphic encryption", 2020).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gadget {
    /// The ciphertext primes that are decomposed and the special primes.
    pub limbs: Limbs,
    /// Ciphertext primes in a digit, at most [`MAX_SOURCES`](crate::convert::MAX_SOURCES).
    pub digit_limbs: usize,
}

/// Key switching up to ModDown, of `batch` ciphertexts side by side: `[2][outputs][batch]` over the gadget's limbs.
pub struct GadgetProduct<'a, B: Backend> {
    /// Decomposition of the keys.
    pub gadget: Gadget,
    /// `[parts][inputs][batch]`, two or three parts, over the gadget's ciphertext limbs (then it counts times the
    /// product `P` of the special primes) or over all of the gadget's limbs (then it counts as it is).
    pub x: View<'a, B, Ntt>,
    /// Digits of the parts that are switched: as a rule the last part of each input.
    pub digits: Digits<'a, B>,
    /// The first input that has digits; no term with a key uses one before it.
    pub first_switched: usize,
    /// The products to add: which input, with which key, to which output.
    pub terms: &'a [GadgetTerm<'a, B>],
    /// Number of ciphertexts side by side.
    pub batch: usize,
    /// Number of outputs for each ciphertext.
    pub outputs: usize,
}

/// The digits that a gadget product multiplies with its keys.
pub enum Digits<'a, B: Backend> {
    /// The result of [`Backend::mod_up`], `[inputs - first_switched][batch][digit]`: worth making if several calls use it.
    Extended(View<'a, B, Ntt>),
    /// Polynomials over the gadget's ciphertext limbs, `[inputs - first_switched][batch]`, to be extended on the way,
    /// which can spare the digits the way through memory.
    Fresh(View<'a, B, Ntt>),
}

/// One term of a [`GadgetProduct`]: for every item, output `output` gains, with `s` the automorphism,
///
/// * with a key: `s(x_0) + sum_d s(digit_d) key_d,0` and, if `x` has three parts, `s(x_1)`, else nothing, plus
///   `sum_d s(digit_d) key_d,1`;
/// * without: `(s(x_0), s(x_1))`.
pub struct GadgetTerm<'a, B: Backend> {
    /// Number of the input.
    pub input: usize,
    /// Number of the output.
    pub output: usize,
    /// The key, `[digit][2]` over at least the gadget's limbs; `None` for a term that is not switched.
    pub key: Option<View<'a, B, Ntt>>,
    /// Automorphism of the input and its digits, not of the key.
    pub galois: GaloisElement,
}

/// Products of `batch` ciphertexts, each with the one of its number, and the key that brings them back to two parts.
pub struct TensorProduct<'a, B: Backend> {
    /// Decomposition of the key.
    pub gadget: Gadget,
    /// Left factors, `[2][batch]` over at least the gadget's ciphertext limbs.
    pub a: View<'a, B, Ntt>,
    /// Right factors, as the left ones.
    pub b: View<'a, B, Ntt>,
    /// Key of the third part, as in [`GadgetTerm::key`].
    pub key: View<'a, B, Ntt>,
    /// Number of ciphertexts side by side.
    pub batch: usize,
}

impl<'a> PolySource<'a> {
    /// The words, unless they are still to be expanded or written.
    pub fn words(self) -> Option<&'a [u32]> {
        match self {
            Self::Words(words) => Some(words),
            Self::Uniform { words, .. } => words,
            Self::Written(_) => None,
        }
    }
}

impl Gadget {
    /// Number of digits.
    pub fn digits(&self) -> usize {
        self.limbs.q.div_ceil(self.digit_limbs)
    }

    /// The ciphertext primes of digit `d`.
    pub fn digit(&self, d: usize) -> std::ops::Range<usize> {
        d * self.digit_limbs..((d + 1) * self.digit_limbs).min(self.limbs.q)
    }
}

impl<B: Backend, D: Domain> Batch<B, D> {
    /// Wraps the storage of `polys` polynomials over `limbs`. For implementations of [`Backend`].
    pub fn from_buffer(buffer: B::Buffer, limbs: Limbs, polys: usize) -> Self {
        Self { buffer, limbs, polys, domain: PhantomData }
    }

    /// The storage. For implementations of [`Backend`].
    pub fn buffer(&self) -> &B::Buffer {
        &self.buffer
    }

    /// The storage, mutable. For implementations of [`Backend`].
    pub fn buffer_mut(&mut self) -> &mut B::Buffer {
        &mut self.buffer
    }

    /// The storage, by value. For implementations of [`Backend`].
    pub fn into_buffer(self) -> B::Buffer {
        self.buffer
    }

    /// The limbs of each polynomial.
    pub fn limbs(&self) -> Limbs {
        self.limbs
    }

    /// Number of polynomials.
    pub fn polys(&self) -> usize {
        self.polys
    }

    /// A view of all polynomials.
    pub fn view(&self) -> View<'_, B, D> {
        View::from_buffer(&self.buffer, self.limbs, 0, self.polys)
    }

    /// A view of `polys` polynomials from `start` on.
    ///
    /// # Panics
    /// If the batch has fewer.
    pub fn slice(&self, start: usize, polys: usize) -> View<'_, B, D> {
        assert!(start + polys <= self.polys, "polys {start}+{polys} of {}", self.polys);
        View::from_buffer(&self.buffer, self.limbs, start, polys)
    }
}

impl<'a, B: Backend, D: Domain> View<'a, B, D> {
    /// A view of `polys` polynomials over `limbs` in storage, from polynomial `start` on. For implementations of [`Backend`].
    pub fn from_buffer(buffer: &'a B::Buffer, limbs: Limbs, start: usize, polys: usize) -> Self {
        Self { buffer, limbs, start, polys, domain: PhantomData }
    }

    /// The storage, of which the view may cover a part. For implementations of [`Backend`].
    pub fn buffer(&self) -> &'a B::Buffer {
        self.buffer
    }

    /// Position of the first polynomial of the view.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Number of polynomials in the view.
    pub fn polys(&self) -> usize {
        self.polys
    }

    /// The limbs of each polynomial.
    pub fn limbs(&self) -> Limbs {
        self.limbs
    }
}

impl<B: Backend> GadgetProduct<'_, B> {
    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        1 + self.terms.iter().map(|t| t.input).max().unwrap_or(0)
    }

    /// Numbers of inputs and parts, and whether `x` is over the ciphertext primes alone. Such an `x` counts times P, which
    /// vanishes modulo the special primes. For implementations of [`Backend`].
    ///
    /// # Panics
    /// If the shapes do not fit together.
    pub fn shape(&self) -> (usize, usize, bool) {
        let Self { x, first_switched, batch, .. } = *self;
        let inputs = self.inputs();
        let limbs = self.gadget.limbs;
        let over_q = x.limbs() != limbs;
        assert!(
            !over_q || x.limbs() == Limbs::q(limbs.q),
            "a gadget product over {limbs:?} of {:?}",
            x.limbs()
        );
        let parts = if x.polys() == 3 * inputs * batch { 3 } else { 2 };
        assert_eq!(
            x.polys(),
            parts * inputs * batch,
            "polys of {parts} parts, {inputs} inputs, {batch} batch"
        );
        assert!(
            !(0..first_switched).any(|i| self.is_switched(i)),
            "a term with a key uses an input below first_switched"
        );
        for key in self.terms.iter().filter_map(|term| term.key) {
            let fits = key.limbs().contains(limbs) && key.polys() >= 2 * self.gadget.digits();
            assert!(fits, "a key of {} polys over {:?} for {:?}", key.polys(), key.limbs(), self.gadget);
        }
        if let Digits::Extended(digits) = self.digits
            && (0..inputs).any(|i| self.is_switched(i))
        {
            assert!(digits.limbs().contains(limbs), "{:?} lacks limbs of {limbs:?}", digits.limbs());
        }
        (inputs, parts, over_q)
    }

    /// Whether some term switches an input.
    pub fn is_switched(&self, input: usize) -> bool {
        self.terms.iter().any(|t| t.input == input && t.key.is_some())
    }
}

impl<'a, B: Backend> TensorProduct<'a, B> {
    /// The terms of [`Backend::mul_accumulate`] that multiply some items: `[3][item]`. For implementations of [`Backend`].
    pub fn terms(&self, items: &[usize]) -> Vec<Term> {
        let mut terms = Vec::with_capacity(4 * items.len());
        for (i, item) in items.iter().enumerate() {
            for (a, b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let out = (a + b) * items.len() + i;
                terms.push(Term { out, a: a * self.batch + item, b: b * self.batch + item });
            }
        }
        terms
    }

    /// The term that switches the third part. For implementations of [`Backend`].
    pub fn keyed(&self) -> [GadgetTerm<'a, B>; 1] {
        [GadgetTerm { input: 0, output: 0, key: Some(self.key), galois: GaloisElement::IDENTITY }]
    }

    /// The gadget product of products in three parts, with the term of [`TensorProduct::keyed`]. For implementations of [`Backend`].
    pub fn switched<'t>(
        &self,
        tensor: &'t Batch<B, Ntt>,
        terms: &'t [GadgetTerm<'a, B>],
    ) -> GadgetProduct<'t, B>
    where
        'a: 't,
    {
        let batch = tensor.polys() / 3;
        GadgetProduct {
            gadget: self.gadget,
            x: tensor.view(),
            digits: Digits::Fresh(tensor.slice(2 * batch, batch)),
            first_switched: 0,
            terms,
            batch,
            outputs: 1,
        }
    }
}

impl<B: Backend> Clone for Digits<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for Digits<'_, B> {}

impl<B: Backend> Clone for Diagonals<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for Diagonals<'_, B> {}

impl<B: Backend, D: Domain> Clone for View<'_, B, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend, D: Domain> Copy for View<'_, B, D> {}

impl<B: Backend, D: Domain> Debug for Batch<B, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { limbs, polys, .. } = self;
        f.debug_struct("Batch").field("limbs", limbs).field("polys", polys).finish_non_exhaustive()
    }
}
