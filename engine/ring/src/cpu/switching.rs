//! Key switching on the processor: one limb at a time, so that digits, keys and results meet in the cache.
#![expect(clippy::indexing_slicing, reason = "shapes are asserted where views enter; limbs lie within them")]

use super::buffer::CpuBuffer;
use super::device::{Cpu, TILE};
use super::kernels::{GadgetLimb, PairTerm};
use super::matrix::Blocks;
use crate::{BasisConversion, IntegerMatrix, NttPermutation, shape};
use crate::{Batch, Diagonals, Digits, Gadget, GadgetProduct, Ntt, Term, View};
use std::sync::Arc;

/// Words of all steps of a tile: they stay in a core's own cache beside keys and diagonals.
const CACHED_WORDS: usize = 1 << 18;

/// Shorter tiles would be mostly overhead.
const SMALLEST_TILE: usize = 256;

/// A gadget product with everything that is common to its limbs.
pub(super) struct Switching<'a> {
    cpu: &'a Cpu,
    product: &'a GadgetProduct<'a, Cpu>,
    fresh: Option<Extension<'a>>,
    permutations: Vec<Option<Arc<NttPermutation>>>,
    indices: Vec<usize>,
    inputs: usize,
    parts: usize,
    /// Whether `x` is over the ciphertext primes alone: then it counts times P, which vanishes modulo the special
    /// primes.
    over_q: bool,
}

/// The two results of an output in one limb, or a part of it.
type Pair<'a> = (&'a mut [u32], &'a mut [u32]);

/// The words of all outputs of one item and limb from `start` on, and which outputs have a term.
struct Tile<'a> {
    start: usize,
    outs: Vec<Pair<'a>>,
    touched: Vec<bool>,
}

impl<'a> Tile<'a> {
    /// Tiles of some words each.
    fn of(outs: Vec<Pair<'a>>, words: usize) -> Vec<Self> {
        let touched = vec![false; outs.len()];
        let mut tiles: Vec<Self> = Vec::new();
        for (out0, out1) in outs {
            for (i, pair) in out0.chunks_mut(words).zip(out1.chunks_mut(words)).enumerate() {
                if tiles.len() == i {
                    tiles.push(Self { start: i * words, outs: Vec::new(), touched: touched.clone() });
                }
                tiles[i].outs.push(pair);
            }
        }
        tiles
    }
}

/// A part of the work: one limb of one item, from the word `start` on.
#[derive(Clone, Copy)]
struct Spot {
    limb: usize,
    item: usize,
    start: usize,
}

impl<'a> Switching<'a> {
    pub(super) fn new(cpu: &'a Cpu, product: &'a GadgetProduct<'a, Cpu>) -> Self {
        let GadgetProduct { gadget, digits, terms, .. } = *product;
        let (inputs, parts, over_q) = product.shape();
        let fresh = match digits {
            Digits::Fresh(view) if (0..inputs).any(|i| product.is_switched(i)) => {
                Some(Extension::new(cpu, view, gadget))
            }
            _ => None,
        };
        let permutations = terms.iter().map(|t| cpu.permutation(t.galois)).collect();
        let indices = cpu.indices(gadget.limbs);
        Self { cpu, product, fresh, permutations, indices, inputs, parts, over_q }
    }

    /// `[2][outputs][batch]`; a task is one limb of all outputs of one item.
    pub(super) fn run(&self) -> Batch<Cpu, Ntt> {
        let GadgetProduct { gadget, batch, outputs, .. } = *self.product;
        let cpu = self.cpu;
        let limbs = gadget.limbs.count();
        let mut out = cpu.batch(gadget.limbs, 2 * outputs * batch);
        let mut first: Vec<_> = out.buffer_mut().limbs_mut().collect();
        let second = first.split_off(first.len() / 2);
        let mut tasks: Vec<Vec<_>> = (0..limbs * batch).map(|_| Vec::with_capacity(outputs)).collect();
        for (i, pair) in first.into_iter().zip(second).enumerate() {
            tasks[i % limbs * batch + i / limbs % batch].push(pair);
        }
        let words = 2 * outputs * batch * limbs * cpu.ring.n();
        let tasks = tasks.into_iter().enumerate().collect();
        cpu.run(words, tasks, |(task, outs): (usize, Vec<Pair<'_>>)| {
            let limb = task / batch;
            let item = task % batch;
            let mut tiles = Tile::of(outs, (TILE / 2).min(cpu.ring.n()));
            let mut digits = cpu.scratch(self.scratch_limbs());
            for input in 0..self.inputs {
                let places: Vec<_> = digits.limbs_mut().enumerate().collect();
                cpu.split(words, places, |(d, place)| self.extend(limb, item, input, d, place));
                let digits: Vec<_> = digits.limbs().collect();
                cpu.split(words, tiles.iter_mut().collect(), |tile: &mut Tile<'_>| {
                    let spot = Spot { limb, item, start: tile.start };
                    self.add_terms(spot, input, &digits, &mut tile.outs, &mut tile.touched);
                });
            }
            tiles.iter_mut().for_each(|tile| clear_untouched(&mut tile.outs, &tile.touched));
        });
        out
    }

    /// `[2][sums] = sum diagonal [2][outputs][batch]`; a task is one limb, split into tiles that stay in the cache.
    pub(super) fn run_sums(
        &self,
        diagonals: Diagonals<'_, Cpu>,
        terms: &[Term],
        sums: usize,
    ) -> Batch<Cpu, Ntt> {
        let GadgetProduct { gadget, batch, outputs, .. } = *self.product;
        let cpu = self.cpu;
        let limbs = gadget.limbs;
        let n = cpu.ring.n();
        let mut of_sum = vec![Vec::new(); sums];
        for term in terms {
            of_sum[term.out].push((term.a, term.b));
        }
        let mut out = cpu.batch(limbs, 2 * sums);
        let mut tasks: Vec<Vec<_>> = (0..limbs.count()).map(|_| Vec::with_capacity(2 * sums)).collect();
        for (i, limb) in out.buffer_mut().limbs_mut().enumerate() {
            tasks[i % limbs.count()].push(limb);
        }
        let tile = self.tile();
        let words = 2 * sums * limbs.count() * n;
        let numbers = numbers(diagonals, terms, sums, outputs * batch)
            .map(|matrix| Blocks::new(cpu, &matrix, &self.indices));
        let tasks = tasks.into_iter().enumerate().collect();
        cpu.run(words, tasks, |(limb, outs): (usize, Vec<&mut [u32]>)| {
            let modulus = cpu.ring.modulus(self.indices[limb]);
            let (mut expanded, log_runs) = self.expansion(diagonals);
            let diagonals = self.diagonals(diagonals, &mut expanded, limb);
            let digits = self.extend_all(limb, words);
            let digits: Vec<_> = digits.limbs().collect();
            let mut tiles: Vec<_> = (0..n).step_by(tile).map(|start| (start, Vec::new())).collect();
            for out in outs {
                tiles.iter_mut().zip(out.chunks_mut(tile)).for_each(|((_, outs), words)| outs.push(words));
            }
            cpu.split(words, tiles, |(start, mut outs): (usize, Vec<&mut [u32]>)| {
                let mut steps = cpu.tiles(tile, 2 * outputs * batch);
                let (outs0, outs1) = outs.split_at_mut(sums);
                let mut second: Vec<_> = steps.limbs_mut().map(Some).collect();
                let mut first: Vec<_> = second.drain(..outputs * batch).collect();
                for item in 0..batch {
                    let mut pairs: Vec<Pair<'_>> = (0..outputs)
                        .filter_map(|o| first[o * batch + item].take().zip(second[o * batch + item].take()))
                        .collect();
                    self.add_all(Spot { limb, item, start }, &digits, &mut pairs);
                }
                let steps: Vec<_> = steps.limbs().collect();
                if let Some(numbers) = &numbers {
                    let (first, second) = steps.split_at(outputs * batch);
                    numbers.multiply(cpu, modulus, limb, first, outs0);
                    numbers.multiply(cpu, modulus, limb, second, outs1);
                    return;
                }
                for ((out0, out1), terms) in outs0.iter_mut().zip(outs1.iter_mut()).zip(&of_sum) {
                    let terms = terms.iter().map(|&(a, b)| PairTerm {
                        diagonal: &diagonals[a][start >> log_runs[a]..],
                        log_run: log_runs[a],
                        x: [steps[b], steps[outputs * batch + b]],
                    });
                    let terms: Vec<_> = terms.collect();
                    (cpu.kernels.dot_pair)(modulus, &terms, out0, out1);
                }
            });
        });
        out
    }

    /// One limb of each diagonal; compact polynomials are transformed into `expanded`.
    fn diagonals<'d>(
        &self,
        diagonals: Diagonals<'d, Cpu>,
        expanded: &'d mut CpuBuffer,
        limb: usize,
    ) -> Vec<&'d [u32]> {
        match diagonals {
            Diagonals::Polys(view) => {
                (0..view.polys()).map(|i| self.cpu.limb(view, i, self.product.gadget.limbs, limb)).collect()
            }
            Diagonals::Compact(polys) => {
                let mut rest: &mut [u32] = expanded.limbs_mut().next().unwrap_or_default();
                let mut limbs = Vec::with_capacity(polys.0.len());
                for poly in &polys.0 {
                    let (words, after) = rest.split_at_mut(poly.coefficients.len());
                    self.cpu.transform_compact(self.indices[limb], &poly.coefficients, words);
                    limbs.push(&*words);
                    rest = after;
                }
                limbs
            }
        }
    }

    /// Memory for the transforms of all compact polynomials in one limb, and the number of neighbouring words that each word of a
    /// diagonal stands for.
    fn expansion(&self, diagonals: Diagonals<'_, Cpu>) -> (CpuBuffer, Vec<u32>) {
        let lengths: Vec<usize> = match diagonals {
            Diagonals::Polys(view) => vec![self.cpu.ring.n(); view.polys()],
            Diagonals::Compact(polys) => polys.0.iter().map(|w| w.coefficients.len()).collect(),
        };
        let words = if matches!(diagonals, Diagonals::Compact(_)) { lengths.iter().sum() } else { 0 };
        (self.cpu.tiles(words, 1), lengths.iter().map(|len| self.cpu.ring.log_n() - len.ilog2()).collect())
    }

    /// Words of a limb taken at a time: fewer, the more steps there are, so that they stay in the core's own cache.
    fn tile(&self) -> usize {
        let GadgetProduct { batch, outputs, .. } = *self.product;
        let most = CACHED_WORDS / (2 * outputs * batch).max(1);
        let tile = TILE.min(most.next_power_of_two()).max(SMALLEST_TILE);
        tile.min(self.cpu.ring.n())
    }

    /// Limbs in which an input's digits are extended.
    fn scratch_limbs(&self) -> usize {
        if self.fresh.is_some() { self.product.gadget.digits() } else { 0 }
    }

    /// Extends a digit of one input, if it is to be made here and used. A digit has its own limbs already: nothing is written there.
    fn extend(&self, limb: usize, item: usize, input: usize, digit: usize, out: &mut [u32]) {
        let GadgetProduct { first_switched, batch, .. } = *self.product;
        if let (Some(fresh), true) = (&self.fresh, self.product.is_switched(input)) {
            let poly = (input - first_switched) * batch + item;
            if fresh.unchanged(poly, digit, limb).is_none() {
                fresh.extend(poly, digit, limb, out);
            }
        }
    }

    /// The extended digits `[inputs][batch]` in one limb, for a product that writes so many words.
    fn extend_all(&self, limb: usize, words: usize) -> CpuBuffer {
        let batch = self.product.batch;
        let per_input = self.scratch_limbs();
        let mut digits = self.cpu.scratch(per_input * self.inputs * batch);
        // An input that is not switched keeps its places, unused; if none is, there are no places at all.
        self.cpu.split(words, digits.limbs_mut().enumerate().collect(), |(place, out)| {
            let i = place / per_input;
            self.extend(limb, i % batch, i / batch, place % per_input, out);
        });
        digits
    }

    /// The words of all outputs of one item, from the digits of [`Switching::extend_all`].
    fn add_all(&self, spot: Spot, digits: &[&[u32]], outs: &mut [Pair<'_>]) {
        let mut touched = vec![false; outs.len()];
        let per_input = self.scratch_limbs();
        for input in 0..self.inputs {
            let place = (input * self.product.batch + spot.item) * per_input;
            self.add_terms(spot, input, &digits[place..place + per_input], outs, &mut touched);
        }
        clear_untouched(outs, &touched);
    }

    /// Adds the terms of one input to the words of the outputs.
    fn add_terms(
        &self,
        spot: Spot,
        input: usize,
        extended: &[&[u32]],
        outs: &mut [Pair<'_>],
        touched: &mut [bool],
    ) {
        let Spot { limb, item, start } = spot;
        let Self { cpu, parts, over_q, .. } = *self;
        let GadgetProduct { gadget, x, digits, first_switched, terms, batch, .. } = *self.product;
        let limbs = gadget.limbs;
        let count = gadget.digits();
        let modulus = cpu.ring.modulus(self.indices[limb]);
        let factor = if over_q { cpu.ring.special_product(limbs.p, self.indices[limb]) } else { 1 };
        let digit = |d: usize| {
            let poly = (input - first_switched) * batch + item;
            match digits {
                Digits::Extended(view) => cpu.limb(view, poly * count + d, limbs, limb),
                Digits::Fresh(_) => {
                    let unchanged = self.fresh.as_ref().and_then(|fresh| fresh.unchanged(poly, d, limb));
                    unchanged.unwrap_or(extended[d])
                }
            }
        };
        let addend = |part: usize| {
            let poly = (part * self.inputs + input) * batch + item;
            (!over_q || limb < limbs.q)
                .then(|| cpu.limb(x, poly, if over_q { x.limbs() } else { limbs }, limb))
        };
        for (term, permutation) in terms.iter().zip(&self.permutations).filter(|(t, _)| t.input == input) {
            let key = |key: View<'a, Cpu, Ntt>, row: usize| cpu.limb(key, row, limbs, limb);
            let rows = term.key.iter().flat_map(|k| (0..count).map(move |d| (*k, d)));
            let rows: Vec<_> = rows.map(|(k, d)| [digit(d), key(k, 2 * d), key(k, 2 * d + 1)]).collect();
            let second = if parts == 3 || term.key.is_none() { addend(1) } else { None };
            let product = GadgetLimb {
                start,
                digits: &rows,
                addends: [addend(0), second],
                factor,
                permutation: permutation.as_deref(),
                accumulate: touched[term.output],
            };
            let (out0, out1) = &mut outs[term.output];
            (cpu.kernels.gadget)(modulus, &product, out0, out1);
            touched[term.output] = true;
        }
    }
}

/// The matrix of the sums over steps, if all diagonals are numbers and no sum has a step twice: rows with the same steps then share
/// what they read.
fn numbers(
    diagonals: Diagonals<'_, Cpu>,
    terms: &[Term],
    sums: usize,
    steps: usize,
) -> Option<IntegerMatrix> {
    let Diagonals::Compact(polys) = diagonals else { return None };
    let mut rows = vec![Vec::new(); sums];
    for term in terms {
        let [number] = polys.0[term.a].coefficients[..] else { return None };
        rows[term.out].push((term.b as u32, number));
    }
    rows.iter_mut().for_each(|row| row.sort_unstable());
    IntegerMatrix::new(steps, rows).ok()
}

fn clear_untouched(outs: &mut [Pair<'_>], touched: &[bool]) {
    for ((out0, out1), _) in outs.iter_mut().zip(touched).filter(|(_, touched)| !**touched) {
        out0.fill(0);
        out1.fill(0);
    }
}

/// The digits of some polynomials, as far as they are common to all target primes.
pub(super) struct Extension<'a> {
    cpu: &'a Cpu,
    x: View<'a, Cpu, Ntt>,
    gadget: Gadget,
    digits: Vec<(Vec<usize>, Arc<BasisConversion>)>,
    coefficients: CpuBuffer,
    rows: usize,
}

impl<'a> Extension<'a> {
    pub(super) fn new(cpu: &'a Cpu, x: View<'a, Cpu, Ntt>, gadget: Gadget) -> Self {
        shape::check_mod_up(x.limbs(), gadget);
        let digits = Self::conversions(cpu, gadget);
        let (coefficients, rows) = cpu.conversion_sources(x, &digits);
        Self { cpu, x, gadget, digits, coefficients, rows }
    }

    /// Digit `d` of poly `poly` in limb `limb` of the gadget where that is a limb of the digit, which is the polynomial's.
    fn unchanged(&self, poly: usize, d: usize, limb: usize) -> Option<&'a [u32]> {
        let Self { cpu, x, gadget, .. } = self;
        gadget.digit(d).contains(&limb).then(|| cpu.limb(*x, poly, x.limbs(), limb))
    }

    /// Digit `d` of poly `poly` in limb `limb` of the gadget, transformed.
    pub(super) fn extend(&self, poly: usize, d: usize, limb: usize, out: &mut [u32]) {
        if let Some(words) = self.unchanged(poly, d, limb) {
            out.copy_from_slice(words);
            return;
        }
        let Self { cpu, gadget, .. } = self;
        let digit = gadget.digit(d);
        let (sources, conversion) = &self.digits[d];
        let target = if limb < digit.start { limb } else { limb - digit.len() };
        let start = poly * self.rows + digit.start + d;
        let y: Vec<_> = (start..=start + sources.len()).map(|i| self.coefficients.limb(i)).collect();
        let index = if limb < gadget.limbs.q { limb } else { limb - gadget.limbs.q + cpu.ring.limbs().q };
        let table = cpu.ring.table(index);
        (cpu.kernels.convert)(table.modulus(), &y, &conversion.targets()[target].qhat, out);
        (cpu.kernels.ntt)(table, out);
    }

    /// The ciphertext primes of each digit, and the conversion from them to all other primes.
    fn conversions(cpu: &Cpu, gadget: Gadget) -> Vec<(Vec<usize>, Arc<BasisConversion>)> {
        (0..gadget.digits())
            .map(|d| {
                let sources: Vec<_> = gadget.digit(d).collect();
                let others: Vec<_> =
                    cpu.ring.indices(gadget.limbs).filter(|i| !sources.contains(i)).collect();
                let conversion = cpu.conversion(&sources, &others);
                (sources, conversion)
            })
            .collect()
    }
}
