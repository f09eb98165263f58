//! Key switching and the sums of linear transforms, a few limbs at a time, so that intermediate results stay small.

use crate::allocation::Placement;
use crate::conversion::extend_digits;
use crate::gpu::{Gpu, GpuCompactPolys, Row, poly};
use crate::memory::{GpuBuffer, Location};
use crate::recorder::SUBMIT_COST;
use crate::sums::{Inputs, RowKernels, SumKernels, SumTable, Sums, Target};
use crate::transform::{LOG_THREAD_WORDS, TransformedCompact, ntt_compact};
use pleura_ring::{Batch, Diagonals, Digits, GadgetProduct, Limbs, Ntt, Term, View};
use pleura_shaders::{BabyStepTerm, GadgetLimb, GadgetTerm, KernelId, KernelParams, LimbEntry, NONE};
use std::ops::Range;

/// Bytes of the steps between a gadget product and their sums: small enough for the cache of a large GPU.
const SCRATCH_BYTES: usize = 1 << 27;

const BABY_STEP_SUMS: SumKernels<BabyStepTerm> = SumKernels {
    single: KernelId::BabyStepSums,
    several: Some(RowKernels {
        kernels: &[KernelId::BabyStepSumsFour, KernelId::BabyStepSumsPair],
        agree: |a, b| a.y_offset == b.y_offset,
        order: |term| term.y_offset,
    }),
};

/// Key switching up to ModDown.
pub(crate) fn gadget_product(gpu: &Gpu, product: &GadgetProduct<'_, Gpu>) -> Batch<Gpu, Ntt> {
    let GadgetProduct { gadget, batch, outputs, .. } = *product;
    let out = gpu.alloc(gadget.limbs, 2 * outputs * batch, Placement::Parts(2));
    Switching::new(gpu, product).run(0..gadget.limbs.count(), &out);
    Batch::from_buffer(out, gadget.limbs, 2 * outputs * batch)
}

/// Key switching, and sums of products of its results with diagonals.
pub(crate) fn baby_step_sums(
    gpu: &Gpu,
    product: &GadgetProduct<'_, Gpu>,
    diagonals: Diagonals<'_, Gpu>,
    terms: &[Term],
    sums: usize,
) -> Batch<Gpu, Ntt> {
    let GadgetProduct { gadget, batch, outputs, .. } = *product;
    let limbs = gadget.limbs;
    let steps = outputs * batch;
    let switching = Switching::new(gpu, product);
    let out = gpu.alloc(limbs, 2 * sums, Placement::Parts(2));
    let mut wanted: Vec<usize> = terms.iter().map(|t| t.a).collect();
    wanted.sort_unstable();
    wanted.dedup();

    for range in limb_ranges(gpu, limbs, 2 * steps, terms.len(), diagonals, &wanted) {
        let between = gpu.device.alloc(range.len() << gpu.ring.log_n(), 2 * steps, Placement::Parts(2));
        switching.run(range.clone(), &between);
        let factors = Factors::new(gpu, diagonals, limbs, range.clone(), &wanted);
        let targets = (0..sums).map(|i| Target::two(out.at(i), out.at(sums + i))).collect();
        let mut all = Sums::new(targets);
        for term in terms {
            let (diagonal, log_run) = factors.of(term.a);
            let step = between.at(term.b);
            let inputs = Inputs { x: Some(diagonal.segment), y: Some(step.segment), ..Inputs::default() };
            let diagonal = BabyStepTerm::diagonal_at(diagonal.offset, log_run);
            all.add(term.out, inputs, BabyStepTerm { diagonal, y_offset: step.offset });
        }
        // Both parts of a step are neighbours.
        let params = KernelParams { part_words: gpu.offset(range.len()), ..gpu.params() };
        let table = SumTable { params, limbs: factors.limb_entries(gpu, limbs, range) };
        all.run(gpu, BABY_STEP_SUMS, &table, 2);
    }
    Batch::from_buffer(out, limbs, 2 * sums)
}

/// The limbs to process at a time, so that neither intermediate results nor a single dispatch become too large.
fn limb_ranges(
    gpu: &Gpu,
    limbs: Limbs,
    steps: usize,
    terms: usize,
    diagonals: Diagonals<'_, Gpu>,
    wanted: &[usize],
) -> Vec<Range<usize>> {
    let n = gpu.ring.n();
    let count = limbs.count();
    let words: usize = match diagonals {
        Diagonals::Polys(_) => 0,
        Diagonals::Compact(GpuCompactPolys { log_lens, .. }) => {
            #[expect(clippy::indexing_slicing, reason = "views are checked where they are made")]
            let lens = wanted.iter().map(|&i| log_lens[i]);
            lens.map(|log| 1 << log.max(LOG_THREAD_WORDS)).sum()
        }
    };
    let most = gpu.device.budget.map_or(SCRATCH_BYTES, |budget| SCRATCH_BYTES.min(budget as usize / 8));
    let by_memory = most / (4 * (steps * n + words)).max(1);
    let by_cost = 2 * SUBMIT_COST as usize / (2 * terms * n).max(1);
    let at_once = by_memory.min(by_cost).clamp(1, count);
    // Pieces of about the same length.
    let at_once = count.div_ceil(count.div_ceil(at_once));
    (0..count).step_by(at_once).map(|start| start..(start + at_once).min(count)).collect()
}

/// Prepared diagonals.
enum Factors<'a> {
    Polys(View<'a, Gpu, Ntt>),
    /// Diagonals that are used, in order, transformed for the current limbs.
    Compact {
        wanted: &'a [usize],
        transformed: TransformedCompact,
    },
}

impl<'a> Factors<'a> {
    /// Diagonals for a range of limbs.
    fn new(
        gpu: &Gpu,
        diagonals: Diagonals<'a, Gpu>,
        limbs: Limbs,
        range: Range<usize>,
        wanted: &'a [usize],
    ) -> Self {
        match diagonals {
            Diagonals::Polys(view) => {
                assert!(view.limbs().contains(limbs), "{:?} lacks limbs of {limbs:?}", view.limbs());
                Self::Polys(view)
            }
            Diagonals::Compact(polys) => {
                let primes: Vec<_> = gpu.ring.indices(limbs).skip(range.start).take(range.len()).collect();
                Self::Compact { wanted, transformed: ntt_compact(gpu, polys, wanted, &primes) }
            }
        }
    }

    /// Place of a diagonal, and the logarithm of the number of words that each of its words stands for.
    #[expect(clippy::indexing_slicing, reason = "every diagonal of a term is wanted, and has a length")]
    fn of(&self, diagonal: usize) -> (Location<'_>, u32) {
        match self {
            Self::Polys(view) => (poly(*view, diagonal), 0),
            Self::Compact { wanted, transformed } => {
                let place = wanted.partition_point(|&w| w < diagonal);
                (transformed.words.at(place), transformed.log_runs[place])
            }
        }
    }

    /// Entries of a range of limbs: in the sums, in diagonals (`x`) and in baby steps (`y`), which have these limbs alone.
    fn limb_entries(&self, gpu: &Gpu, limbs: Limbs, range: Range<usize>) -> Vec<LimbEntry> {
        let start = range.start;
        gpu.ring
            .indices(limbs)
            .enumerate()
            .skip(start)
            .take(range.len())
            .map(|(limb, prime)| LimbEntry {
                prime: prime as u32,
                out_offset: gpu.offset(limb),
                x_offset: match self {
                    Self::Polys(view) => gpu.offset(view.limbs().position(limbs, limb)),
                    Self::Compact { .. } => gpu.offset(limb - start),
                },
                y_offset: gpu.offset(limb - start),
            })
            .collect()
    }
}

/// A gadget product with its digits.
struct Switching<'a> {
    gpu: &'a Gpu,
    product: &'a GadgetProduct<'a, Gpu>,
    inputs: usize,
    parts: usize,
    /// Whether `x` is over the ciphertext primes alone: then it counts times P, which vanishes modulo the special primes.
    over_q: bool,
    /// The digits of each polynomial, if they are extended here.
    fresh: Option<GpuBuffer>,
    /// Copies of the keys whose two polynomials of a digit are not contiguous.
    keys: Vec<Option<GpuBuffer>>,
}

/// Neighbouring digits with their keys, each contiguous: the operands of one kernel term.
struct Span<'a> {
    digits: Range<usize>,
    extended: Location<'a>,
    key: Location<'a>,
}

impl<'a> Switching<'a> {
    fn new(gpu: &'a Gpu, product: &'a GadgetProduct<'a, Gpu>) -> Self {
        let GadgetProduct { gadget, digits, terms, .. } = *product;
        let (inputs, parts, over_q) = product.shape();
        let fresh = match digits {
            Digits::Fresh(view) if (0..inputs).any(|i| product.is_switched(i)) => {
                Some(extend_digits(gpu, view, gadget))
            }
            _ => None,
        };
        let keys = terms.iter().map(|term| paired(gpu, term.key?)).collect();
        Self { gpu, product, inputs, parts, over_q, fresh, keys }
    }

    /// Both results of each output and item, over the limbs of `out`: `[2][outputs][batch]`.
    fn run(&self, limbs: Range<usize>, out: &GpuBuffer) {
        let GadgetProduct { gadget, terms, batch, outputs, .. } = *self.product;
        let rows = outputs * batch;
        let mut sums = Sums::new((0..rows).map(|i| Target::two(out.at(i), out.at(rows + i))).collect());
        for (term, copy) in terms.iter().zip(&self.keys) {
            for item in 0..batch {
                self.add_terms(&mut sums, term, copy.as_ref(), item);
            }
        }
        let (digit_words, _) = self.digit_words();
        let params = KernelParams { digit_words, ..self.gpu.params() };
        let table = SumTable { params, limbs: self.limb_entries(limbs) };
        let kernels = SumKernels {
            single: KernelId::GadgetProduct,
            several: Some(RowKernels {
                kernels: &[KernelId::GadgetProductPair],
                agree: |a: &GadgetTerm, b: &GadgetTerm| keys_of(a) == keys_of(b),
                // Items of a batch are neighbours.
                order: |_| 0,
            }),
        };
        sums.run(self.gpu, kernels, &table, 2 * gadget.digits() as u64);
    }

    /// The kernel's terms of one term and item: its addends once, and its digits with their keys.
    fn add_terms<'b>(
        &'b self,
        sums: &mut Sums<'b, GadgetTerm>,
        term: &pleura_ring::GadgetTerm<'b, Gpu>,
        key_copy: Option<&'b GpuBuffer>,
        item: usize,
    ) {
        let GadgetProduct { gadget, x, digits, first_switched, batch, .. } = *self.product;
        let row = term.output * batch + item;
        let addend = |part: usize| poly(x, (part * self.inputs + term.input) * batch + item);
        let without = GadgetTerm {
            digits: 0,
            own: 0,
            first_addend: NONE,
            second_addend: NONE,
            key: 0,
            galois: term.galois.exponent(),
            first_digit: 0,
            digit_count: 0,
            key_words: 0,
            key_gap: 0,
        };
        let first = addend(0);
        let mut addends = GadgetTerm { first_addend: first.offset, ..without };
        if self.parts == 3 || term.key.is_none() {
            let second = addend(1);
            // One segment of addends at a time.
            if second.segment.id() == first.segment.id() {
                addends.second_addend = second.offset;
            } else {
                let inputs = Inputs { z: Some(second.segment), ..Inputs::default() };
                sums.add(row, inputs, GadgetTerm { second_addend: second.offset, ..without });
            }
        }
        let spans = self.spans(term, key_copy, item);
        if spans.is_empty() {
            sums.add(row, Inputs { z: Some(first.segment), ..Inputs::default() }, addends);
        }
        let own = match digits {
            Digits::Fresh(view) if term.key.is_some() => {
                Some(poly(view, (term.input - first_switched) * batch + item))
            }
            _ => None,
        };
        // A key has at least the gadget's limbs.
        let key_limbs = term.key.map_or(gadget.limbs, |key| key.limbs());
        for (i, span) in spans.iter().enumerate() {
            let entry = GadgetTerm {
                digits: span.extended.offset,
                own: own.map_or(0, |own| own.offset),
                key: span.key.offset,
                first_digit: span.digits.start as u32,
                digit_count: span.digits.len() as u32,
                key_words: self.gpu.offset(key_limbs.count()),
                key_gap: self.gpu.offset(key_limbs.q - gadget.limbs.q),
                ..if i == 0 { addends } else { without }
            };
            let inputs = Inputs {
                x: Some(span.extended.segment),
                y: own.map(|own| own.segment),
                z: Some(first.segment),
                w: Some(span.key.segment),
            };
            sums.add(row, inputs, entry);
        }
    }

    /// The digits of a term with their keys, in as few contiguous pieces as possible.
    fn spans<'b>(
        &'b self,
        term: &pleura_ring::GadgetTerm<'b, Gpu>,
        key_copy: Option<&'b GpuBuffer>,
        item: usize,
    ) -> Vec<Span<'b>> {
        let GadgetProduct { gadget, digits, first_switched, batch, .. } = *self.product;
        let mut spans: Vec<Span<'b>> = Vec::new();
        let Some(view) = term.key else { return spans };
        let (digit_words, count) = self.digit_words();
        let key_words = 2 * self.gpu.offset(view.limbs().count());
        let from = (term.input - first_switched) * batch + item;
        for d in 0..gadget.digits() {
            let extended = match (digits, &self.fresh) {
                (Digits::Fresh(_), Some(fresh)) => fresh.at(from).plus(d as u32 * digit_words),
                (Digits::Extended(view), _) => poly(view, from * count + d),
                (Digits::Fresh(view), None) => poly(view, from),
            };
            let key = key_copy.map_or_else(|| poly(view, 2 * d), |copy| copy.at(2 * d));
            match spans.last_mut() {
                Some(span)
                    if extended.follows(span.extended, span.digits.len() as u32 * digit_words)
                        && key.follows(span.key, span.digits.len() as u32 * key_words) =>
                {
                    span.digits.end += 1;
                }
                _ => spans.push(Span { digits: d..d + 1, extended, key }),
            }
        }
        spans
    }

    /// Words of an extended digit, and the number of digits of a polynomial.
    fn digit_words(&self) -> (u32, usize) {
        let GadgetProduct { gadget, digits, .. } = *self.product;
        let limbs = match digits {
            Digits::Extended(view) => view.limbs(),
            Digits::Fresh(_) => gadget.limbs,
        };
        (self.gpu.offset(limbs.count()), gadget.digits())
    }

    /// The kernel's entries of some limbs.
    fn limb_entries(&self, range: Range<usize>) -> Vec<GadgetLimb> {
        let limbs = self.product.gadget.limbs;
        let indices = self.gpu.ring.indices(limbs).enumerate().skip(range.start).take(range.len());
        indices.map(|(limb, prime)| self.limb_entry(limb, prime, range.start)).collect()
    }

    fn limb_entry(&self, limb: usize, prime: usize, start: usize) -> GadgetLimb {
        let GadgetProduct { gadget, digits, .. } = *self.product;
        let ring = &self.gpu.ring;
        let limbs = gadget.limbs;
        let lift = if !self.over_q {
            1
        } else if limb < limbs.q {
            ring.special_product(limbs.p, prime)
        } else {
            0
        };
        let (own_digit, extended) = match digits {
            Digits::Fresh(_) if limb < limbs.q => ((limb / gadget.digit_limbs) as u32, limb),
            Digits::Fresh(_) => (NONE, limb),
            Digits::Extended(view) => (NONE, view.limbs().position(limbs, limb)),
        };
        GadgetLimb {
            base: LimbEntry {
                prime: prime as u32,
                out_offset: self.gpu.offset(limb - start),
                x_offset: self.gpu.offset(extended),
                y_offset: self.gpu.offset(limb),
            },
            lift,
            special: if limb < limbs.q { 0 } else { u32::MAX },
            own_digit,
        }
    }
}

/// A term with what two rows of a pair may differ in left out.
fn keys_of(term: &GadgetTerm) -> GadgetTerm {
    let has = |addend: u32| if addend == NONE { NONE } else { 0 };
    GadgetTerm {
        digits: 0,
        own: 0,
        first_addend: has(term.first_addend),
        second_addend: has(term.second_addend),
        ..*term
    }
}

/// A copy of a key in which the two polynomials of a digit are contiguous, unless they are so in the key itself.
fn paired(gpu: &Gpu, key: View<'_, Gpu, Ntt>) -> Option<GpuBuffer> {
    let words = gpu.offset(key.limbs().count());
    if (0..key.polys() / 2).all(|d| poly(key, 2 * d + 1).follows(poly(key, 2 * d), words)) {
        return None;
    }
    let copy = gpu.alloc(key.limbs(), key.polys(), Placement::Neighbours(2));
    let entries = gpu.limb_entries(key.limbs(), key.limbs(), key.limbs());
    let rows = (0..key.polys()).map(|i| Row::map(copy.at(i), poly(key, i)));
    gpu.call_simple(KernelId::Concat, &entries, rows);
    Some(copy)
}
