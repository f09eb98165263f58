//! Sums of terms into rows, in as few dispatches as the segments they lie in allow.

use crate::allocation::Placement;
use crate::dispatch::{Operands, Table};
use crate::gpu::{Call, Gpu, Row, poly};
use crate::memory::{Location, Segment};
use pleura_ring::{Batch, IntegerMatrix, Limbs, Ntt, Term, View, shape};
use pleura_shaders::{Entry, KernelId, KernelParams, LimbEntry, ProductTerm, SumRow, WeightTerm};

/// `out[t.out] += a[t.a] b[t.b]`
pub(crate) fn mul_accumulate(
    gpu: &Gpu,
    a: View<'_, Gpu, Ntt>,
    b: View<'_, Gpu, Ntt>,
    terms: &[Term],
    outputs: usize,
    limbs: Limbs,
) -> Batch<Gpu, Ntt> {
    let out = gpu.alloc(limbs, outputs, Placement::Separate);
    let in_a = gpu.limb_entries(limbs, limbs, a.limbs());
    let in_b = gpu.limb_entries(limbs, limbs, b.limbs());
    let limb_entries: Vec<_> =
        in_a.into_iter().zip(in_b).map(|(a, b)| LimbEntry { y_offset: b.x_offset, ..a }).collect();
    let mut sums = Sums::new((0..outputs).map(|i| Target::one(out.at(i))).collect());
    for term in terms {
        let x = poly(a, term.a);
        let y = poly(b, term.b);
        let inputs = Inputs { x: Some(x.segment), y: Some(y.segment), ..Inputs::default() };
        sums.add(term.out, inputs, ProductTerm { x_offset: x.offset, y_offset: y.offset });
    }
    let table = SumTable { params: gpu.params(), limbs: limb_entries };
    sums.run(gpu, SumKernels::single(KernelId::MulAccumulate), &table, 1);
    Batch::from_buffer(out, limbs, outputs)
}

/// `out[v][row] = sum matrix[row][column] x[v][column]`
pub(crate) fn matrix_product(
    gpu: &Gpu,
    x: View<'_, Gpu, Ntt>,
    matrix: &IntegerMatrix,
    limbs: Limbs,
) -> Batch<Gpu, Ntt> {
    let vectors = shape::check_matrix(x, matrix, limbs);
    let outputs = vectors * matrix.rows().len();
    let out = gpu.alloc(limbs, outputs, Placement::Separate);
    let mut sums = Sums::new((0..outputs).map(|i| Target::one(out.at(i))).collect());
    let rows = (0..vectors).flat_map(|vector| matrix.rows().iter().map(move |row| (vector, row)));
    for (i, (vector, row)) in rows.enumerate() {
        for &(column, weight) in row {
            let x = poly(x, vector * matrix.columns() + column as usize);
            let inputs = Inputs { x: Some(x.segment), ..Inputs::default() };
            sums.add(i, inputs, WeightTerm { x_offset: x.offset, weight: weight.cast_unsigned() });
        }
    }
    let table = SumTable { params: gpu.params(), limbs: gpu.limb_entries(limbs, limbs, x.limbs()) };
    sums.run(gpu, SumKernels::single(KernelId::MatrixProduct), &table, 2);
    Batch::from_buffer(out, limbs, outputs)
}

/// Results of a row: one or two, in one segment.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    segment: &'a Segment,
    out_offset: u32,
    second_out_offset: u32,
}

/// The segments that a term reads.
#[derive(Clone, Copy, Default)]
pub(crate) struct Inputs<'a> {
    pub(crate) x: Option<&'a Segment>,
    pub(crate) y: Option<&'a Segment>,
    pub(crate) z: Option<&'a Segment>,
    pub(crate) w: Option<&'a Segment>,
}

/// Limbs of sums, with the parameters of their dispatches.
pub(crate) struct SumTable<L> {
    pub(crate) params: KernelParams,
    pub(crate) limbs: Vec<L>,
}

/// A kernel of sums, and those of several rows at a time.
#[derive(Clone, Copy)]
pub(crate) struct SumKernels<T> {
    pub(crate) single: KernelId,
    pub(crate) several: Option<RowKernels<T>>,
}

/// Kernels of several rows whose terms agree in what they read once for all of them.
#[derive(Clone, Copy)]
pub(crate) struct RowKernels<T> {
    /// Kernels of the most rows first.
    pub(crate) kernels: &'static [KernelId],
    pub(crate) agree: fn(&T, &T) -> bool,
    /// The key by which terms, and rows by their first terms, are sorted, so that those that agree are neighbours.
    pub(crate) order: fn(&T) -> u32,
}

/// Sums of terms into rows.
pub(crate) struct Sums<'a, T> {
    targets: Vec<Target<'a>>,
    dispatches: Vec<SumDispatch<'a, T>>,
}

/// Terms that one dispatch can read.
struct SumDispatch<'a, T> {
    operands: Operands<&'a Segment>,
    /// Position of each row in `rows`, before these are sorted.
    places: Vec<Option<usize>>,
    /// Each row with its terms.
    rows: Vec<(usize, Vec<T>)>,
}

impl<'a> Target<'a> {
    /// One result.
    pub(crate) fn one(out: Location<'a>) -> Self {
        Self { segment: out.segment, out_offset: out.offset, second_out_offset: 0 }
    }

    /// Two results in the same segment.
    pub(crate) fn two(first: Location<'a>, second: Location<'a>) -> Self {
        Self { segment: first.segment, out_offset: first.offset, second_out_offset: second.offset }
    }
}

impl<'a, T: Entry> Sums<'a, T> {
    /// Sums without terms, which are zero.
    pub(crate) fn new(targets: Vec<Target<'a>>) -> Self {
        Self { targets, dispatches: Vec::new() }
    }

    /// Adds a term to a row.
    pub(crate) fn add(&mut self, row: usize, inputs: Inputs<'a>, term: T) {
        let Inputs { x, y, z, w } = inputs;
        let dispatch = self.dispatch(Operands { out: self.target(row).segment, x, y, z, w });
        dispatch.row(row).push(term);
    }

    /// Runs a kernel of sums; rows without terms become zero. `cost` is the modular products of a term.
    pub(crate) fn run<L: Entry>(mut self, gpu: &Gpu, kernels: SumKernels<T>, table: &SumTable<L>, cost: u64) {
        self.add_empty_rows();
        let mut written = vec![false; self.targets.len()];
        for dispatch in &mut self.dispatches {
            if let Some(several) = kernels.several {
                dispatch.sort(several.order);
            }
        }
        for dispatch in &self.dispatches {
            let mut terms = Vec::with_capacity(dispatch.rows.iter().map(|(_, terms)| terms.len()).sum());
            let mut entries = Vec::with_capacity(dispatch.rows.len());
            for (row, row_terms) in &dispatch.rows {
                #[expect(clippy::indexing_slicing, reason = "rows are positions of targets")]
                let again = std::mem::replace(&mut written[*row], true);
                let target = self.target(*row);
                entries.push(SumRow {
                    out_offset: target.out_offset,
                    second_out_offset: target.second_out_offset,
                    first_term: terms.len() as u32,
                    terms: row_terms.len() as u32,
                    accumulate: again.into(),
                });
                terms.extend_from_slice(row_terms);
            }
            let together = kernels.several.and_then(|several| {
                several.kernels.iter().find_map(|&kernel| {
                    let rows = kernel.kernel().grid.rows() as usize;
                    Some((kernel, dispatch.together(&entries, rows, several.agree)?))
                })
            });
            let (kernel, entries) = together.unwrap_or((kernels.single, entries));
            let call = Call {
                kernel,
                params: table.params,
                limbs: Table::of(&table.limbs),
                terms: Table::of(&terms),
                cost: (cost * terms.len() as u64).div_ceil(entries.len().max(1) as u64),
            };
            gpu.call(&call, entries.into_iter().map(|entry| Row { operands: dispatch.operands, entry }));
        }
    }

    #[expect(clippy::indexing_slicing, reason = "a term names an output")]
    fn target(&self, row: usize) -> Target<'a> {
        self.targets[row]
    }

    /// The dispatch that reads these segments, or one whose operands leave room for them.
    fn dispatch(&mut self, operands: Operands<&'a Segment>) -> &mut SumDispatch<'a, T> {
        let mut dispatches = self.dispatches.iter().enumerate().rev();
        let found = dispatches.find_map(|(i, dispatch)| Some((i, dispatch.merged(operands)?)));
        let (place, operands) = found.unwrap_or_else(|| {
            self.dispatches.push(SumDispatch { operands, places: Vec::new(), rows: Vec::new() });
            (self.dispatches.len() - 1, operands)
        });
        #[expect(clippy::indexing_slicing, reason = "found or pushed")]
        let dispatch = &mut self.dispatches[place];
        dispatch.operands = operands;
        dispatch
    }

    /// Rows that no term names, to some dispatch of their segment.
    fn add_empty_rows(&mut self) {
        let mut named = vec![false; self.targets.len()];
        for (row, _) in self.dispatches.iter().flat_map(|dispatch| &dispatch.rows) {
            #[expect(clippy::indexing_slicing, reason = "rows are positions of targets")]
            let named = &mut named[*row];
            *named = true;
        }
        let empty: Vec<usize> = (0..).zip(named).filter(|(_, named)| !named).map(|(row, _)| row).collect();
        for row in empty {
            self.dispatch(Operands::in_place(self.target(row).segment)).row(row);
        }
    }
}

impl<T> SumKernels<T> {
    /// A kernel of single rows.
    pub(crate) fn single(single: KernelId) -> Self {
        Self { single, several: None }
    }
}

impl<'a, T> SumDispatch<'a, T> {
    /// These operands and others, if they agree where both have one.
    fn merged(&self, other: Operands<&'a Segment>) -> Option<Operands<&'a Segment>> {
        let merge = |a: Option<&'a Segment>, b: Option<&'a Segment>| match (a, b) {
            (Some(a), Some(b)) => (a.id() == b.id()).then_some(Some(a)),
            (a, b) => Some(a.or(b)),
        };
        let Operands { out, x, y, z, w } = self.operands;
        if out.id() != other.out.id() {
            return None;
        }
        Some(Operands {
            out,
            x: merge(x, other.x)?,
            y: merge(y, other.y)?,
            z: merge(z, other.z)?,
            w: merge(w, other.w)?,
        })
    }

    /// Sorts the terms of rows, and rows by their first terms, when no more are added.
    fn sort(&mut self, order: fn(&T) -> u32) {
        for (_, terms) in &mut self.rows {
            terms.sort_by_key(order);
        }
        self.rows.sort_by_key(|(_, terms)| terms.first().map(order));
    }

    /// Entries of `count` rows at a time: neighbours whose terms agree, and the last of them again where they are fewer. `None` if that
    /// is so of many.
    fn together(&self, entries: &[SumRow], count: usize, agree: fn(&T, &T) -> bool) -> Option<Vec<SumRow>> {
        let mut rows = self.rows.iter().map(|(_, terms)| terms).zip(entries).peekable();
        let mut together = Vec::with_capacity(entries.len());
        let mut again = 0;
        while let Some((terms, &entry)) = rows.next() {
            let mut last = entry;
            together.push(entry);
            for _ in 1..count {
                let partner = rows.next_if(|(others, other)| {
                    let agrees = terms.iter().zip(*others).all(|(a, b)| agree(a, b));
                    agrees && terms.len() == others.len() && entry.accumulate == other.accumulate
                });
                again += usize::from(partner.is_none());
                last = partner.map_or(last, |(_, &other)| other);
                together.push(last);
            }
        }
        (4 * again <= together.len()).then_some(together)
    }

    /// The terms of a row, which is there from now on.
    fn row(&mut self, row: usize) -> &mut Vec<T> {
        if self.places.len() <= row {
            self.places.resize(row + 1, None);
        }
        #[expect(clippy::indexing_slicing, reason = "there are as many places")]
        let place = *self.places[row].get_or_insert(self.rows.len());
        if place == self.rows.len() {
            self.rows.push((row, Vec::new()));
        }
        #[expect(clippy::indexing_slicing, reason = "found or pushed")]
        &mut self.rows[place].1
    }
}
