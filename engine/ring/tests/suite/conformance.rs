//! Every form of the Cpu passes the suite, and devices that err in one word or in one habit do not.
use pleura_ring::conformance::{DEGREES, Failure, check};
use pleura_ring::*;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

#[test]
fn every_instruction_set_passes_with_one_thread() {
    every_instruction_set_passes(1);
}

#[test]
fn every_instruction_set_passes_with_two_threads() {
    every_instruction_set_passes(2);
}

fn every_instruction_set_passes(threads: usize) {
    for simd in crate::support::simds() {
        let report = check(&[10, 11, 12, 13], |ring| Cpu::with(ring, simd, threads)).unwrap();
        let operations: Vec<_> = report.results.iter().map(|(name, _)| *name).collect();
        assert_eq!(operations, OPERATIONS);
        assert!(report.device.contains(simd.name()) && report.words > 100_000_000, "{report:?}");
    }
}

#[test]
fn every_instruction_set_passes_at_small_degrees() {
    for simd in crate::support::simds() {
        // Below 2^5, 2^6 and 2^7 the vectors give way to narrower ones.
        check(&[2, 3, 5, 6, 7, 8, 9], |ring| Cpu::with(ring, simd, 1)).unwrap();
    }
}

#[test]
fn ciphertexts_may_be_computed_one_at_a_time() {
    for threads in [1, 2] {
        check(&[5, 10, 12], |ring| Cpu::with(ring, Simd::widest(), threads).map(|cpu| cpu.with_cache(0)))
            .unwrap();
    }
}

#[test]
fn the_widest_instruction_set_passes_at_a_large_degree() {
    check(&[16], |ring| Cpu::with(ring, Simd::widest(), 2)).unwrap();
}

#[test]
fn a_missing_instruction_set_is_named() {
    let (available, skipped) = crate::support::split(|simd| simd == Simd::Scalar);
    assert_eq!(available, [Simd::Scalar]);
    let expected = ["neon", "avx2", "avx512"].map(|name| format!("skipped: this processor lacks {name}"));
    assert_eq!(skipped, expected);
    let (available, skipped) = crate::support::split(|_| true);
    assert_eq!((available.as_slice(), skipped.len()), (&Simd::ALL[..], 0));
}

#[test]
fn a_device_without_a_fault_passes() {
    check(&DEGREES[..1], |ring| Faulty::new(ring, Fault::None)).unwrap();
}

#[test]
fn one_wrong_word_is_found_in_every_operation() {
    // The last item is a sequence of the others.
    for &operation in &OPERATIONS[..21] {
        let fault = Fault::OneWord(operation);
        let failure = check(&DEGREES[..1], |ring| Faulty::new(ring, fault)).unwrap_err();
        let Failure::Word { at, poly, limb, coefficient, expected, got } = &failure else {
            panic!("{operation}: {failure}");
        };
        assert_eq!((at.operation, at.log_n, at.primes), (operation, DEGREES[0], "large"), "{failure}");
        assert_eq!((*poly, *limb, *coefficient), (0, 0, 5), "{failure}");
        assert_eq!(expected ^ got, 1);
        assert!(failure.to_string().starts_with(operation), "{failure}");
    }
}

#[test]
fn results_that_read_dirty_memory_are_found() {
    let failure = check(&DEGREES[..1], |ring| Faulty::new(ring, Fault::Stale)).unwrap_err();
    let Failure::Word { at, poly: 4, limb: 0, coefficient: 0, expected: 0, got: u32::MAX } = &failure else {
        panic!("{failure}");
    };
    assert_eq!(at.operation, "mul_accumulate");
}

#[test]
fn other_faults_are_named() {
    let of = |fault| check(&DEGREES[..1], |ring| Faulty::new(ring, fault)).unwrap_err();
    assert!(matches!(of(Fault::Lost), Failure::Device { error: BackendError::DeviceLost { .. }, .. }));
    assert!(matches!(of(Fault::AnyLength), Failure::Accepted { at } if at.operation == "upload"));
    assert!(matches!(of(Fault::AnyPieces), Failure::Accepted { at } if at.operation == "upload_polys"));
    assert!(matches!(of(Fault::OtherNumber), Failure::Word { at, .. } if at.case.contains("of seeds")));
    assert!(matches!(of(Fault::ManyPolys), Failure::Shape { got: (_, 4), expected: (_, 3), .. }));
    assert!(matches!(of(Fault::Operand), Failure::Word { at, .. } if at.case == "operand"));
    // Both downloads are of the words that the device had when they were begun.
    let Failure::Device { at, error: BackendError::Shape { .. } } = of(Fault::Queue) else {
        panic!("a queue of downloads passes");
    };
    assert_eq!((at.operation, at.case.as_str()), ("order", "a later download, waited for first"));
    let refused = check(&[10], |_| Err::<Cpu, _>("not today")).unwrap_err();
    assert_eq!(refused.to_string(), "no device for n = 2^10: not today");
    let no_ring = check(&[1], |ring| Cpu::with(ring, Simd::Scalar, 1)).unwrap_err();
    assert!(matches!(no_ring, Failure::NoDevice { log_n: 1, .. }), "{no_ring}");
}

const OPERATIONS: [&str; 22] = [
    "upload",
    "upload_polys",
    "concat",
    "ntt",
    "intt",
    "add",
    "add_assign",
    "sub_assign",
    "neg_assign",
    "mul_scalar",
    "mul_accumulate",
    "matrix_product",
    "automorphism",
    "mod_up",
    "gadget_product",
    "expand_compact",
    "baby_step_sums",
    "rescale",
    "baby_step_sums_divided",
    "gadget_product_divided",
    "relinearized_product",
    "order",
];

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Word 5 of an operation's result is off.
    OneWord(&'static str),
    /// Outputs of `mul_accumulate` without a term keep what was in memory.
    Stale,
    /// Downloads fail.
    Lost,
    /// The first `wait` returns the words of the download that began first.
    Queue,
    /// Uploads of any length are accepted.
    AnyLength,
    /// Polynomials of any length are accepted if they have as many words as there should be.
    AnyPieces,
    /// The first polynomial of a seed has another number.
    OtherNumber,
    /// `ntt` returns a poly too many.
    ManyPolys,
    /// `rescale` spoils its operand.
    Operand,
}

/// A device that copies everything to a Cpu and back, with a fault.
struct Faulty {
    cpu: Cpu,
    fault: Fault,
    free: Free,
    begun: Arc<Mutex<VecDeque<Vec<u32>>>>,
}

/// The download of a queue.
struct FirstBegun(Arc<Mutex<VecDeque<Vec<u32>>>>);

impl Arrival<Vec<u32>> for FirstBegun {
    fn poll(&mut self, _: &Waker) -> Poll<Result<Vec<u32>, BackendError>> {
        Poll::Ready(Ok(self.0.lock().unwrap().pop_front().unwrap()))
    }

    fn wait(self: Box<Self>) -> Result<Vec<u32>, BackendError> {
        Ok(self.0.lock().unwrap().pop_front().unwrap())
    }
}

/// Storage that was dropped.
type Free = Arc<Mutex<Vec<Vec<u32>>>>;

/// Storage that goes back where it came from.
struct Recycled {
    words: Mutex<Vec<u32>>,
    free: Free,
}

impl Drop for Recycled {
    fn drop(&mut self) {
        let words = std::mem::take(self.words.get_mut().unwrap());
        let mut free = self.free.lock().unwrap();
        free.push(words);
        // The last few are enough to find dirty memory again.
        let excess = free.len().saturating_sub(80);
        free.drain(..excess);
    }
}

impl Faulty {
    fn new(ring: Arc<Ring>, fault: Fault) -> Result<Self, RingError> {
        Ok(Self {
            cpu: Cpu::with(ring, Simd::Scalar, 1)?,
            fault,
            free: Free::default(),
            begun: Arc::default(),
        })
    }

    fn to_cpu<D: Domain>(&self, x: View<'_, Self, D>) -> Batch<Cpu, D> {
        let poly = self.ring().words(x.limbs(), 1);
        let words = x.buffer().words.lock().unwrap();
        self.cpu
            .upload(x.limbs(), x.polys(), &words[x.start() * poly..(x.start() + x.polys()) * poly])
            .unwrap()
    }

    fn wrap<D: Domain>(&self, limbs: Limbs, polys: usize, words: Vec<u32>) -> Batch<Self, D> {
        Batch::from_buffer(Recycled { words: words.into(), free: self.free.clone() }, limbs, polys)
    }

    fn result<D: Domain>(&self, operation: &'static str, x: Batch<Cpu, D>) -> Batch<Self, D> {
        let mut words = self.cpu.download(x.view()).wait().unwrap();
        if self.fault == Fault::OneWord(operation) {
            words[5] ^= 1;
        }
        self.wrap(x.limbs(), x.polys(), words)
    }

    fn assign<D: Domain>(
        &self,
        operation: &'static str,
        x: &mut Batch<Self, D>,
        f: impl FnOnce(&mut Batch<Cpu, D>),
    ) {
        let mut on_cpu = self.to_cpu(x.view());
        f(&mut on_cpu);
        *x = self.result(operation, on_cpu);
    }
}

impl Backend for Faulty {
    type CompactPolys = <Cpu as Backend>::CompactPolys;
    type Buffer = Recycled;

    fn ring(&self) -> &Arc<Ring> {
        self.cpu.ring()
    }

    fn name(&self) -> String {
        "faulty".to_owned()
    }

    fn upload<D: Domain>(
        &self,
        limbs: Limbs,
        polys: usize,
        words: &[u32],
    ) -> Result<Batch<Self, D>, BackendError> {
        if self.fault == Fault::AnyLength && words.len() < self.ring().words(limbs, polys) {
            return Ok(self.wrap(limbs, polys, words.to_vec()));
        }
        Ok(self.result("upload", self.cpu.upload(limbs, polys, words)?))
    }

    fn upload_polys<D: Domain>(
        &self,
        limbs: Limbs,
        polys: &[PolySource<'_>],
    ) -> Result<Batch<Self, D>, BackendError> {
        let words: Option<Vec<&[u32]>> = polys.iter().map(|poly| poly.words()).collect();
        if let (Fault::AnyPieces, Some(words)) = (self.fault, words) {
            return self.upload(limbs, polys.len(), &words.concat());
        }
        if let (Fault::OtherNumber, [first, rest @ ..]) = (self.fault, polys) {
            let first = match *first {
                PolySource::Uniform { seed, number, words } => {
                    PolySource::Uniform { seed, number: number ^ 1, words }
                }
                words => words,
            };
            let polys: Vec<_> = std::iter::once(first).chain(rest.iter().copied()).collect();
            return Ok(self.result("upload_polys", self.cpu.upload_polys(limbs, &polys)?));
        }
        Ok(self.result("upload_polys", self.cpu.upload_polys(limbs, polys)?))
    }

    fn download<D: Domain>(&self, x: View<'_, Self, D>) -> Download {
        if self.fault == Fault::Lost {
            return Download::ready(Err(BackendError::DeviceLost { reason: "as planned".to_owned() }));
        }
        let download = self.cpu.download(self.to_cpu(x).view());
        if self.fault != Fault::Queue {
            return download;
        }
        self.begun.lock().unwrap().push_back(download.wait().unwrap());
        Download::new(FirstBegun(self.begun.clone()))
    }

    fn finish(&self) -> Pending<()> {
        self.cpu.finish()
    }

    fn concat<D: Domain>(&self, views: &[View<'_, Self, D>], limbs: Limbs) -> Batch<Self, D> {
        let on_cpu: Vec<_> = views.iter().map(|&x| self.to_cpu(x)).collect();
        let views: Vec<_> = on_cpu.iter().map(Batch::view).collect();
        self.result("concat", self.cpu.concat(&views, limbs))
    }

    fn ntt(&self, x: Batch<Self, Coeff>) -> Batch<Self, Ntt> {
        let mut x = self.to_cpu(x.view());
        if self.fault == Fault::ManyPolys {
            x = self.cpu.concat(&[x.view(), x.slice(0, 1)], x.limbs());
        }
        self.result("ntt", self.cpu.ntt(x))
    }

    fn intt(&self, x: Batch<Self, Ntt>) -> Batch<Self, Coeff> {
        self.result("intt", self.cpu.intt(self.to_cpu(x.view())))
    }

    fn add<D: Domain>(
        &self,
        x: View<'_, Self, D>,
        y: View<'_, Self, D>,
        count: usize,
        limbs: Limbs,
    ) -> Batch<Self, D> {
        let sum = self.cpu.add(self.to_cpu(x).view(), self.to_cpu(y).view(), count, limbs);
        self.result("add", sum)
    }

    fn add_assign<D: Domain>(&self, x: &mut Batch<Self, D>, at: usize, count: usize, y: View<'_, Self, D>) {
        let y = self.to_cpu(y);
        self.assign("add_assign", x, |x| self.cpu.add_assign(x, at, count, y.view()));
    }

    fn sub_assign<D: Domain>(&self, x: &mut Batch<Self, D>, at: usize, count: usize, y: View<'_, Self, D>) {
        let y = self.to_cpu(y);
        self.assign("sub_assign", x, |x| self.cpu.sub_assign(x, at, count, y.view()));
    }

    fn neg_assign<D: Domain>(&self, x: &mut Batch<Self, D>) {
        self.assign("neg_assign", x, |x| self.cpu.neg_assign(x));
    }

    fn mul_scalar<D: Domain>(&self, x: View<'_, Self, D>, scalar: &[u32]) -> Batch<Self, D> {
        self.result("mul_scalar", self.cpu.mul_scalar(self.to_cpu(x).view(), scalar))
    }

    fn mul_accumulate(
        &self,
        a: View<'_, Self, Ntt>,
        b: View<'_, Self, Ntt>,
        terms: &[Term],
        outputs: usize,
        limbs: Limbs,
    ) -> Batch<Self, Ntt> {
        let a = self.to_cpu(a);
        let b = self.to_cpu(b);
        let product = self.cpu.mul_accumulate(a.view(), b.view(), terms, outputs, limbs);
        let product = self.result("mul_accumulate", product);
        if self.fault == Fault::Stale {
            let mut words = product.buffer().words.lock().unwrap();
            let recycled = self.free.lock().unwrap().iter().rfind(|free| free.len() == words.len()).cloned();
            let poly = self.ring().words(limbs, 1);
            for out in (0..outputs).filter(|&out| terms.iter().all(|t| t.out != out)) {
                let stale = out * poly..(out + 1) * poly;
                words[stale.clone()].copy_from_slice(&recycled.as_ref().unwrap()[stale]);
            }
        }
        product
    }

    fn matrix_product(
        &self,
        x: View<'_, Self, Ntt>,
        matrix: &IntegerMatrix,
        limbs: Limbs,
    ) -> Batch<Self, Ntt> {
        self.result("matrix_product", self.cpu.matrix_product(self.to_cpu(x).view(), matrix, limbs))
    }

    fn automorphism<D: Domain>(&self, x: View<'_, Self, D>, g: GaloisElement) -> Batch<Self, D> {
        self.result("automorphism", self.cpu.automorphism(self.to_cpu(x).view(), g))
    }

    fn mod_up(&self, x: View<'_, Self, Ntt>, gadget: Gadget) -> Batch<Self, Ntt> {
        self.result("mod_up", self.cpu.mod_up(self.to_cpu(x).view(), gadget))
    }

    fn gadget_product(&self, product: &GadgetProduct<'_, Self>) -> Batch<Self, Ntt> {
        let (on_cpu, fresh) = match product.digits {
            Digits::Extended(view) => (self.to_cpu(view), false),
            Digits::Fresh(view) => (self.to_cpu(view), true),
        };
        let keys: Vec<_> = product.terms.iter().map(|t| t.key.map(|key| self.to_cpu(key))).collect();
        let terms: Vec<_> = product
            .terms
            .iter()
            .zip(&keys)
            .map(|(t, key)| GadgetTerm {
                input: t.input,
                output: t.output,
                key: key.as_ref().map(Batch::view),
                galois: t.galois,
            })
            .collect();
        let x = self.to_cpu(product.x);
        let product = GadgetProduct {
            gadget: product.gadget,
            x: x.view(),
            digits: if fresh { Digits::Fresh(on_cpu.view()) } else { Digits::Extended(on_cpu.view()) },
            first_switched: product.first_switched,
            terms: &terms,
            batch: product.batch,
            outputs: product.outputs,
        };
        self.result("gadget_product", self.cpu.gadget_product(&product))
    }

    fn upload_compact(&self, weights: &[CompactPoly]) -> Result<Self::CompactPolys, BackendError> {
        self.cpu.upload_compact(weights)
    }

    fn expand_compact(
        &self,
        polys: &Self::CompactPolys,
        start: usize,
        count: usize,
        limbs: Limbs,
    ) -> Batch<Self, Ntt> {
        self.result("expand_compact", self.cpu.expand_compact(polys, start, count, limbs))
    }

    fn baby_step_sums(
        &self,
        product: &GadgetProduct<'_, Self>,
        diagonals: Diagonals<'_, Self>,
        terms: &[Term],
        sums: usize,
    ) -> Batch<Self, Ntt> {
        let limbs = product.gadget.limbs;
        let expanded = match diagonals {
            Diagonals::Polys(view) => self.concat(&[view], limbs),
            Diagonals::Compact(polys) => self.expand_compact(polys, 0, 5, limbs),
        };
        let steps = self.gadget_product(product);
        let offset = steps.polys() / 2;
        let part =
            |p: usize| terms.iter().map(move |t| Term { out: p * sums + t.out, a: t.a, b: p * offset + t.b });
        let both: Vec<_> = part(0).chain(part(1)).collect();
        let mut out = self.mul_accumulate(expanded.view(), steps.view(), &both, 2 * sums, limbs);
        self.assign("baby_step_sums", &mut out, |_| ());
        out
    }

    fn rescale(&self, x: View<'_, Self, Ntt>, to: Limbs) -> Batch<Self, Ntt> {
        let out = self.result("rescale", self.cpu.rescale(self.to_cpu(x).view(), to));
        if self.fault == Fault::Operand {
            x.buffer().words.lock().unwrap().fill(0);
        }
        out
    }

    fn baby_step_sums_divided(
        &self,
        product: &GadgetProduct<'_, Self>,
        diagonals: Diagonals<'_, Self>,
        terms: &[Term],
        sums: usize,
        to: Limbs,
    ) -> Batch<Self, Ntt> {
        let mut out = self.rescale(self.baby_step_sums(product, diagonals, terms, sums).view(), to);
        self.assign("baby_step_sums_divided", &mut out, |_| ());
        out
    }

    fn gadget_product_divided(&self, product: &GadgetProduct<'_, Self>, to: Limbs) -> Batch<Self, Ntt> {
        let mut out = self.rescale(self.gadget_product(product).view(), to);
        self.assign("gadget_product_divided", &mut out, |_| ());
        out
    }

    fn relinearized_product(&self, product: &TensorProduct<'_, Self>, to: Limbs) -> Batch<Self, Ntt> {
        let TensorProduct { gadget, a, b, batch, .. } = *product;
        let terms = product.terms(&(0..batch).collect::<Vec<_>>());
        let tensor = self.mul_accumulate(a, b, &terms, 3 * batch, Limbs::q(gadget.limbs.q));
        let mut out = self.gadget_product_divided(&product.switched(&tensor, &product.keyed()), to);
        self.assign("relinearized_product", &mut out, |_| ());
        out
    }
}
