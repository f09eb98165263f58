//! Sums of products: key switching, and the sums of linear transforms, a few limbs at a time so that what lies between the two stays small.

use crate::Gpu;
use crate::backend::{Call, GpuCompactPolys, Row, poly};
use crate::device::SUBMIT_COST;
use crate::memory::{Chunk, GpuBuffer, Groups};
use pleura_ring::{Batch, Diagonals, Digits, GadgetProduct, GadgetTerm, Limbs, Ntt, Term, View};
use std::collections::HashMap;
use std::ops::Range;

/// Bytes of the steps between a gadget product and the sums of them: what lies in a large GPU's cache, as far as that is possible.
const SCRATCH_BYTES: usize = 1 << 27;

/// No digit.
const NONE: u32 = u32::MAX;

impl Gpu {
    /// `out[t.out] += a[t.a] b[t.b]`
    pub(crate) fn sums_of_products(
        &self,
        a: View<'_, Gpu, Ntt>,
        b: View<'_, Gpu, Ntt>,
        terms: &[Term],
        outputs: usize,
        limbs: Limbs,
    ) -> Batch<Gpu, Ntt> {
        let out = self.alloc(limbs, outputs, Groups::Each);
        let mut entries = self.limb_entries(limbs, limbs, a.limbs());
        for (entry, y) in entries.iter_mut().zip(self.limb_entries(limbs, limbs, b.limbs())) {
            entry[3] = y[2];
        }
        let mut sums = Sums::new((0..outputs).map(|i| Target::one(out.at(i))).collect());
        for term in terms {
            let ((x, x_at), (y, y_at)) = (poly(a, term.a), poly(b, term.b));
            sums.add(term.out, 0, [Some(x), Some(y), None, None], &[x_at, y_at]);
        }
        sums.run(self, "mul_accumulate", &[entries], [0; 4], 1);
        Batch::from_buffer(out, limbs, outputs)
    }

    /// Key switching up to ModDown.
    pub(crate) fn switched(&self, product: &GadgetProduct<'_, Gpu>) -> Batch<Gpu, Ntt> {
        let GadgetProduct { gadget, batch, outputs, .. } = *product;
        let out = self.alloc(gadget.limbs, 2 * outputs * batch, Groups::Parts(2));
        Switching::new(self, product).run(0..gadget.limbs.count(), &out);
        Batch::from_buffer(out, gadget.limbs, 2 * outputs * batch)
    }

    /// Key switching, and sums of products of its results with diagonals.
    pub(crate) fn switched_sums(
        &self,
        product: &GadgetProduct<'_, Gpu>,
        diagonals: Diagonals<'_, Gpu>,
        terms: &[Term],
        sums: usize,
    ) -> Batch<Gpu, Ntt> {
        let GadgetProduct { gadget, batch, outputs, .. } = *product;
        let (limbs, log_n, steps) = (gadget.limbs, self.ring.log_n(), outputs * batch);
        let switching = Switching::new(self, product);
        let out = self.alloc(limbs, 2 * sums, Groups::Parts(2));
        let mut wanted: Vec<usize> = terms.iter().map(|t| t.a).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let positions: Vec<_> = self.ring.indices(limbs).collect();
        let entries = self.limb_entries(limbs, limbs, limbs);

        for range in self.ranges(limbs, 2 * steps, terms.len(), diagonals, &wanted) {
            let between = self.device.alloc(range.len() << log_n, 2 * steps, Groups::Parts(2));
            switching.run(range.clone(), &between);
            let here = positions.get(range.clone()).unwrap_or_default();
            let factors = match diagonals {
                Diagonals::Polys(view) => Factors::Polys(view),
                Diagonals::Compact(polys) => {
                    let (words, log_runs) = self.transformed_compact(polys, &wanted, here);
                    Factors::Compact { wanted: &wanted, words, log_runs }
                }
            };
            let mut limb_entries = entries.get(range.clone()).unwrap_or_default().to_vec();
            for (i, entry) in limb_entries.iter_mut().enumerate() {
                entry[2] = match diagonals {
                    Diagonals::Polys(view) => view.limbs().position(limbs, range.start + i) << log_n,
                    Diagonals::Compact(_) => i << log_n,
                } as u32;
                entry[3] = (i << log_n) as u32;
            }
            let targets = (0..sums).map(|i| Target::two(out.at(i), out.at(sums + i))).collect();
            let mut all = Sums::new(targets);
            for term in terms {
                let ((x, x_at), log_run) = factors.of(term.a);
                let ((y, first), (_, second)) = (between.at(term.b), between.at(steps + term.b));
                all.add(term.out, 0, [Some(x), Some(y), None, None], &[x_at, log_run, first, second]);
            }
            all.run(self, "baby_step_sums", &[limb_entries], [0; 4], 2);
        }
        Batch::from_buffer(out, limbs, 2 * sums)
    }

    /// A copy of a key whose two polys of a digit lie side by side, unless they do so in the key itself.
    fn paired(&self, key: &Batch<Gpu, Ntt>) -> Option<GpuBuffer> {
        let words = (key.limbs().count() << self.ring.log_n()) as u32;
        let beside = |i: usize| {
            let ((chunk, at), (other, other_at)) = (key.buffer().at(i), key.buffer().at(i + 1));
            chunk.id() == other.id() && at + words == other_at
        };
        if (0..key.polys() / 2).all(|d| beside(2 * d)) {
            return None;
        }
        let copy = self.alloc(key.limbs(), key.polys(), Groups::Neighbours(2));
        let entries = self.limb_entries(key.limbs(), key.limbs(), key.limbs());
        let rows = (0..key.polys()).map(|i| Row::map(copy.at(i), key.buffer().at(i)));
        self.pointwise("concat", [0; 4], &entries, rows);
        Some(copy)
    }

    /// The limbs that are taken at a time, so that neither the memory between nor a single dispatch becomes too large.
    fn ranges(
        &self,
        limbs: Limbs,
        steps: usize,
        terms: usize,
        diagonals: Diagonals<'_, Gpu>,
        wanted: &[usize],
    ) -> Vec<Range<usize>> {
        let (n, count) = (self.ring.n(), limbs.count());
        let words = match diagonals {
            Diagonals::Polys(_) => 0,
            Diagonals::Compact(GpuCompactPolys { log_lens, .. }) => {
                wanted.iter().filter_map(|&i| log_lens.get(i)).map(|&log| 1 << log.max(4)).sum()
            }
        };
        let most = self.device.budget.map_or(SCRATCH_BYTES, |budget| SCRATCH_BYTES.min(budget as usize / 8));
        let by_memory = most / (4 * (steps * n + words)).max(1);
        let by_cost = 2 * SUBMIT_COST as usize / (2 * terms * n).max(1);
        let at_once = by_memory.min(by_cost).clamp(1, count);
        // Pieces of about the same length.
        let at_once = count.div_ceil(count.div_ceil(at_once));
        (0..count).step_by(at_once).map(|start| start..(start + at_once).min(count)).collect()
    }
}

/// Diagonals, ready to be multiplied with.
enum Factors<'a> {
    Polys(View<'a, Gpu, Ntt>),
    /// The transforms of those that are wanted, in order.
    Compact {
        wanted: &'a [usize],
        words: GpuBuffer,
        log_runs: Vec<u32>,
    },
}

impl Factors<'_> {
    /// Where a diagonal lies, and the logarithm of how many words each of its words counts for.
    fn of(&self, diagonal: usize) -> ((&Chunk, u32), u32) {
        match self {
            Self::Polys(view) => (poly(*view, diagonal), 0),
            Self::Compact { wanted, words, log_runs } => {
                let place = wanted.partition_point(|&w| w < diagonal);
                (words.at(place), log_runs.get(place).copied().unwrap_or(0))
            }
        }
    }
}

/// A gadget product with its digits.
struct Switching<'a> {
    gpu: &'a Gpu,
    product: &'a GadgetProduct<'a, Gpu>,
    inputs: usize,
    parts: usize,
    /// Whether `x` is over the ciphertext primes alone: then it counts times P, which vanishes modulo the special primes.
    lifted: bool,
    /// The digits of each poly, if they are made here.
    fresh: Option<GpuBuffer>,
    /// Copies of those terms' keys whose two polys of a digit do not lie side by side.
    keys: Vec<Option<GpuBuffer>>,
}

/// What a term of the kernel reads of digits and keys: neighbouring digits in one place.
struct Span<'a> {
    digits: Range<usize>,
    extended: (&'a Chunk, u32),
    key: (&'a Chunk, u32),
}

impl<'a> Switching<'a> {
    fn new(gpu: &'a Gpu, product: &'a GadgetProduct<'a, Gpu>) -> Self {
        let GadgetProduct { gadget, digits, terms, .. } = *product;
        let (inputs, parts, lifted) = product.shape();
        let fresh = match digits {
            Digits::Fresh(view) if (0..inputs).any(|i| product.is_switched(i)) => {
                Some(gpu.extension(view, gadget))
            }
            _ => None,
        };
        let keys = terms.iter().map(|term| gpu.paired(term.key?)).collect();
        Self { gpu, product, inputs, parts, lifted, fresh, keys }
    }

    /// Both results of each output and item in some limbs, which are all that `out` has: `[2][outputs][batch]`.
    fn run(&self, limbs: Range<usize>, out: &GpuBuffer) {
        let GadgetProduct { gadget, x, digits, first_switched, terms, batch, outputs, .. } = *self.product;
        let rows = outputs * batch;
        let mut sums = Sums::new((0..rows).map(|i| Target::two(out.at(i), out.at(rows + i))).collect());
        let mut key_limbs = vec![gadget.limbs];
        let each = terms.iter().zip(&self.keys).flat_map(|term| (0..batch).map(move |item| (term, item)));
        for ((term, key), item) in each {
            let over = term.key.map_or(gadget.limbs, Batch::limbs);
            let table = key_limbs.iter().position(|&limbs| limbs == over).unwrap_or_else(|| {
                key_limbs.push(over);
                key_limbs.len() - 1
            });
            let row = term.output * batch + item;
            let addend = |part: usize| poly(x, (part * self.inputs + term.input) * batch + item);
            let second = (self.parts == 3 || term.key.is_none()).then(|| addend(1));
            let ((z, first_at), galois) = (addend(0), term.galois.exponent());
            // One buffer of addends at a time.
            let both = second.filter(|(chunk, _)| chunk.id() == z.id());
            if let (Some((chunk, at)), None) = (second, both) {
                let words = [0, 0, 0, at, 2, 0, galois, 0];
                sums.add(row, table, [None, None, Some(chunk), None], &words);
            }
            let (second_at, kind) = both.map_or((0, 1), |(_, at)| (at, 3));
            let key = key.as_ref().or(term.key.map(Batch::buffer));
            let spans = self.spans(term, key, item);
            if spans.is_empty() {
                let words = [0, 0, first_at, second_at, kind, 0, galois, 0];
                sums.add(row, table, [None, None, Some(z), None], &words);
            }
            let own = match digits {
                Digits::Fresh(view) if term.key.is_some() => {
                    Some(poly(view, (term.input - first_switched) * batch + item))
                }
                _ => None,
            };
            for (i, Span { digits, extended, key }) in spans.iter().enumerate() {
                // The addends once.
                let kind = if i == 0 { kind } else { 0 };
                let what = kind | (digits.start << 8) as u32 | (digits.len() << 16) as u32;
                let key_words = (over.count() << self.gpu.ring.log_n()) as u32;
                let own_at = own.map_or(0, |(_, at)| at);
                let words = [extended.1, own_at, first_at, second_at, what, key.1, galois, key_words];
                let inputs = [Some(extended.0), own.map(|(chunk, _)| chunk), Some(z), Some(key.0)];
                sums.add(row, table, inputs, &words);
            }
        }
        let tables: Vec<_> = key_limbs.iter().map(|&key| self.limb_entries(limbs.clone(), key)).collect();
        let (digit_words, _) = self.digit_words();
        sums.run(self.gpu, "gadget_product", &tables, [digit_words, 0, 0, 0], 2 * gadget.digits() as u64);
    }

    /// The digits of a term with their keys, in as few pieces as they lie in.
    fn spans<'b>(
        &'b self,
        term: &GadgetTerm<'a, Gpu>,
        place: Option<&'b GpuBuffer>,
        item: usize,
    ) -> Vec<Span<'b>> {
        let GadgetProduct { gadget, digits, first_switched, batch, .. } = *self.product;
        let mut spans: Vec<Span<'b>> = Vec::new();
        let (Some(key), Some(place)) = (term.key, place) else { return spans };
        let (digit_words, count) = self.digit_words();
        let key_words = (2 * key.limbs().count()) << self.gpu.ring.log_n();
        let from = (term.input - first_switched) * batch + item;
        for d in 0..gadget.digits() {
            let extended = match (digits, &self.fresh) {
                (Digits::Fresh(_), Some(fresh)) => {
                    let (chunk, at) = fresh.at(from);
                    (chunk, at + d as u32 * digit_words)
                }
                (Digits::Extended(view), _) => poly(view, from * count + d),
                (Digits::Fresh(view), None) => poly(view, from),
            };
            let key = place.at(2 * d);
            match spans.last_mut() {
                Some(span)
                    if span.extended.0.id() == extended.0.id()
                        && span.key.0.id() == key.0.id()
                        && span.extended.1 + span.digits.len() as u32 * digit_words == extended.1
                        && span.key.1 + (span.digits.len() * key_words) as u32 == key.1 =>
                {
                    span.digits.end += 1;
                }
                _ => spans.push(Span { digits: d..d + 1, extended, key }),
            }
        }
        spans
    }

    /// Words of an extended digit, and how many a poly has.
    fn digit_words(&self) -> (u32, usize) {
        let GadgetProduct { gadget, digits, .. } = *self.product;
        let limbs = match digits {
            Digits::Extended(view) => view.limbs(),
            Digits::Fresh(_) => gadget.limbs,
        };
        ((limbs.count() << self.gpu.ring.log_n()) as u32, gadget.digits())
    }

    /// The kernel's entries of some limbs, for keys over `key_limbs`.
    fn limb_entries(&self, range: Range<usize>, key_limbs: Limbs) -> Vec<[u32; 8]> {
        let GadgetProduct { gadget, digits, .. } = *self.product;
        let (ring, limbs) = (&self.gpu.ring, gadget.limbs);
        let (log_n, start) = (ring.log_n(), range.start);
        let entry = |(limb, prime): (usize, usize)| {
            let modulus = ring.modulus(prime);
            let special = ring.moduli(Limbs { q: 0, ..limbs });
            let product = special.fold(1, |acc, p| modulus.mul(acc, modulus.reduce(p.q().into())));
            let lift = match self.lifted {
                false => modulus.shoup(1),
                true if limb < limbs.q => modulus.shoup(product),
                true => modulus.shoup(0),
            };
            let (own, extended) = match digits {
                Digits::Fresh(_) if limb < limbs.q => ((limb / gadget.digit_limbs) as u32, limb),
                Digits::Fresh(_) => (NONE, limb),
                Digits::Extended(view) => (NONE, view.limbs().position(limbs, limb)),
            };
            let [out, plain, key, extended] =
                [limb - start, limb, key_limbs.position(limbs, limb), extended].map(|l| (l << log_n) as u32);
            [prime as u32, out, plain, key, own, lift.w, lift.quotient, extended]
        };
        ring.indices(limbs).enumerate().skip(start).take(range.len()).map(entry).collect()
    }
}

/// Where the results of a row go: one or two, in one buffer.
#[derive(Clone, Copy)]
struct Target<'a> {
    chunk: &'a Chunk,
    at: [u32; 2],
}

impl<'a> Target<'a> {
    fn one((chunk, at): (&'a Chunk, u32)) -> Self {
        Self { chunk, at: [at, 0] }
    }

    fn two((chunk, first): (&'a Chunk, u32), (_, second): (&'a Chunk, u32)) -> Self {
        Self { chunk, at: [first, second] }
    }
}

/// Sums of terms into rows: as few dispatches as the buffers they lie in allow.
struct Sums<'a> {
    targets: Vec<Target<'a>>,
    dispatches: Vec<SumDispatch<'a>>,
}

/// Terms that one dispatch can read.
struct SumDispatch<'a> {
    table: usize,
    chunks: [Option<&'a Chunk>; 5],
    /// Position of each row.
    places: HashMap<usize, usize>,
    /// Each row with its terms and how many there are.
    rows: Vec<(usize, Vec<u32>, u32)>,
}

impl<'a> Sums<'a> {
    fn new(targets: Vec<Target<'a>>) -> Self {
        Self { targets, dispatches: Vec::new() }
    }

    /// Adds a term to a row; `table` is that of the limbs it is for.
    fn add(&mut self, row: usize, table: usize, inputs: [Option<&'a Chunk>; 4], term: &[u32]) {
        #[expect(clippy::indexing_slicing, reason = "a term names an output")]
        let out = self.targets[row].chunk;
        let [x, y, z, w] = inputs;
        let dispatch = self.dispatch(table, [Some(out), x, y, z, w]);
        let next = dispatch.rows.len();
        let place = *dispatch.places.entry(row).or_insert(next);
        if place == next {
            dispatch.rows.push((row, Vec::new(), 0));
        }
        if let Some((_, terms, count)) = dispatch.rows.get_mut(place) {
            terms.extend_from_slice(term);
            *count += 1;
        }
    }

    /// The dispatch of a table that reads these buffers, or one whose operands leave room for them.
    fn dispatch(&mut self, table: usize, chunks: [Option<&'a Chunk>; 5]) -> &mut SumDispatch<'a> {
        let same = |a: Option<&Chunk>, b: Option<&Chunk>| match (a, b) {
            (Some(a), Some(b)) => a.id() == b.id(),
            _ => true,
        };
        let fits =
            |d: &SumDispatch<'a>| d.table == table && d.chunks.iter().zip(&chunks).all(|(&a, &b)| same(a, b));
        let found = self.dispatches.iter().rposition(fits).unwrap_or_else(|| {
            let (places, rows) = (HashMap::new(), Vec::new());
            self.dispatches.push(SumDispatch { table, chunks, places, rows });
            self.dispatches.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "found or pushed")]
        let dispatch = &mut self.dispatches[found];
        for (have, need) in dispatch.chunks.iter_mut().zip(chunks) {
            *have = have.or(need);
        }
        dispatch
    }

    /// Runs a kernel of sums; rows without terms become zero. `cost` is the products of a term.
    fn run(mut self, gpu: &Gpu, kernel: &'static str, tables: &[Vec<[u32; 8]>], extra: [u32; 4], cost: u64) {
        let mut written = vec![false; self.targets.len()];
        for dispatch in &self.dispatches {
            for (row, ..) in &dispatch.rows {
                if let Some(written) = written.get_mut(*row) {
                    *written = true;
                }
            }
        }
        let empty: Vec<_> = (0..written.len()).filter(|&row| !written.get(row).is_some_and(|w| *w)).collect();
        for row in empty {
            #[expect(clippy::indexing_slicing, reason = "one of the targets")]
            let out = self.targets[row].chunk;
            let table = self.dispatches.first().map_or(0, |d| d.table);
            self.dispatch(table, [Some(out), None, None, None, None]).rows.push((row, Vec::new(), 0));
        }
        written.fill(false);
        for SumDispatch { table, chunks, rows, .. } in self.dispatches {
            let (mut terms, mut entries, mut first) = (Vec::new(), Vec::with_capacity(rows.len()), 0);
            for (row, words, count) in rows {
                terms.extend(words);
                #[expect(clippy::indexing_slicing, reason = "one of the targets")]
                let ([at, second], again) = (self.targets[row].at, &mut written[row]);
                let entry = [at, second, first, count, u32::from(*again), 0, 0, 0];
                *again = true;
                first += count;
                entries.push(Row { chunks, entry });
            }
            let Some(limbs) = tables.get(table) else { continue };
            let log_n = gpu.ring.log_n();
            let cost = (cost * u64::from(first)).div_ceil(entries.len().max(1) as u64);
            gpu.call(&Call { kernel, block: None, log_n, extra, limbs, terms: &terms, cost }, entries);
        }
    }
}
