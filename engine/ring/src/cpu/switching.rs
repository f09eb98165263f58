//! Key switching on the processor: one limb at a time, so that digits, keys and results meet in the cache.
#![expect(clippy::indexing_slicing, reason = "shapes are asserted where views enter; limbs lie within them")]

use super::buffer::{CpuBuffer, Places};
use super::conversion::Extension;
use super::device::{Cpu, TILE, TRANSFORM};
use super::kernels::{GadgetLimb, PairTerm};
use super::matrix::RowBlocks;
use crate::{Batch, Diagonals, Digits, GadgetProduct, Ntt, Term};
use crate::{IntegerMatrix, Limbs, NttPermutation};
use std::sync::Arc;

/// Words of all steps of a tile and of their keys. More than a core's own cache holds: longer tiles, which the processor fetches ahead of, are
/// worth more.
const STEP_WORDS: usize = 1 << 20;

/// Words of a tile of the keys of several items, which stay in a core's own cache beside digits and results.
const KEY_WORDS: usize = 1 << 15;

/// Shorter tiles would be mostly overhead.
const SMALLEST_TILE: usize = 256;

/// Digits that a sum takes at a time. The processor fetches ahead of a dozen streams at most, and each digit is three.
const DIGITS: usize = 4;

/// A gadget product of some items of a batch, with everything that is common to its limbs. Items are numbered anew.
pub(super) struct Switching<'a> {
    cpu: &'a Cpu,
    product: &'a GadgetProduct<'a, Cpu>,
    /// Numbers of the items in the batch.
    items: Vec<usize>,
    fresh: Option<Extension<'a>>,
    permutations: Vec<Option<Arc<NttPermutation>>>,
    indices: Vec<usize>,
    inputs: usize,
    parts: usize,
    /// Whether `x` is over the ciphertext primes alone: then it counts times P, which vanishes modulo the special
    /// primes.
    over_q: bool,
}

/// The diagonals that some sums use, numbered anew.
pub(super) struct UsedDiagonals<'a> {
    pub(super) all: Diagonals<'a, Cpu>,
    /// Numbers of the used ones.
    pub(super) used: Vec<usize>,
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
    pub(super) fn new(cpu: &'a Cpu, product: &'a GadgetProduct<'a, Cpu>, items: Vec<usize>) -> Self {
        let GadgetProduct { gadget, digits, first_switched, terms, batch, .. } = *product;
        let (inputs, parts, over_q) = product.shape();
        let fresh = match digits {
            Digits::Fresh(view) if (0..inputs).any(|i| product.is_switched(i)) => {
                let inputs = 0..inputs - first_switched;
                let polys = inputs.flat_map(|input| items.iter().map(move |item| input * batch + item));
                Some(Extension::new(cpu, view, polys.collect(), gadget))
            }
            _ => None,
        };
        let permutations = terms.iter().map(|t| cpu.permutation(t.galois)).collect();
        let indices = cpu.indices(gadget.limbs);
        Self { cpu, product, items, fresh, permutations, indices, inputs, parts, over_q }
    }

    /// `[2][outputs][item]`; a task is one limb, split into tiles: a tile of the keys stays in the cache for all items.
    pub(super) fn run(&self) -> Batch<Cpu, Ntt> {
        let GadgetProduct { gadget, outputs, .. } = *self.product;
        let cpu = self.cpu;
        let count = self.items.len();
        let limbs = gadget.limbs.count();
        let mut out = cpu.batch(gadget.limbs, 2 * outputs * count);
        let mut first: Vec<_> = out.buffer_mut().limbs_mut().collect();
        let second = first.split_off(first.len() / 2);
        let mut pairs = Places::new(first.into_iter().zip(second));
        let mut tasks = Vec::with_capacity(limbs);
        for limb in 0..limbs {
            let places = (0..count).flat_map(|item| (0..outputs).map(move |output| output * count + item));
            let outs: Vec<_> = places.map(|place| pairs.take(place * limbs + limb)).collect();
            tasks.push((limb, outs));
        }
        let words = 2 * outputs * count * limbs * cpu.ring.n();
        let per_item = self.scratch_limbs();
        cpu.run(words, tasks, |(limb, outs): (usize, Vec<Pair<'_>>)| {
            let mut tiles = Tile::of(outs, self.tile_of_keys());
            let mut digits = cpu.scratch(per_item * count);
            for input in 0..self.inputs {
                let places: Vec<_> = digits.limbs_mut().enumerate().collect();
                cpu.split(words, places, |(place, out)| {
                    self.extend(limb, place / per_item, input, place % per_item, out);
                });
                let digits: Vec<_> = digits.limbs().collect();
                cpu.split(words, tiles.iter_mut().collect(), |tile: &mut Tile<'_>| {
                    let outs = tile.outs.chunks_mut(outputs).zip(tile.touched.chunks_mut(outputs));
                    for (item, (outs, touched)) in outs.enumerate() {
                        let spot = Spot { limb, item, start: tile.start };
                        self.add_terms(spot, input, &digits[item * per_item..][..per_item], outs, touched);
                    }
                });
            }
            tiles.iter_mut().for_each(|tile| clear_untouched(&mut tile.outs, &tile.touched));
        });
        out
    }

    /// `outs[2][sums] = sum diagonal [2][outputs][item]`, where outputs are lists of limbs; a task is one limb, split into tiles
    /// that stay in the cache.
    pub(super) fn run_sums(&self, diagonals: &UsedDiagonals<'_>, terms: &[Term], outs: Vec<Vec<&mut [u32]>>) {
        let outputs = self.product.outputs;
        let cpu = self.cpu;
        let limbs = self.product.gadget.limbs.count();
        let batch = self.items.len();
        let n = cpu.ring.n();
        let sums = outs.len() / 2;
        let mut of_sum = vec![Vec::new(); sums];
        for term in terms {
            of_sum[term.out].push((term.a, term.b));
        }
        let tile = self.tile();
        let words = 2 * sums * limbs * n;
        let numbers = diagonals
            .numbers(terms, sums, outputs * batch)
            .map(|matrix| RowBlocks::new(cpu, &matrix, &self.indices));
        let mut tasks: Vec<Vec<_>> = (0..limbs).map(|_| Vec::with_capacity(2 * sums)).collect();
        for (i, limb) in outs.into_iter().flatten().enumerate() {
            tasks[i % limbs].push(limb);
        }
        let tasks = tasks.into_iter().enumerate().collect();
        cpu.run(words, tasks, |(limb, outs): (usize, Vec<&mut [u32]>)| {
            let modulus = cpu.ring.modulus(self.indices[limb]);
            let (mut expanded, log_runs) = diagonals.room(cpu, numbers.is_some());
            let diagonals = if numbers.is_some() {
                Vec::new()
            } else {
                diagonals.expand(cpu, self.indices[limb], self.product.gadget.limbs, limb, &mut expanded)
            };
            let digits = self.extend_all(limb, words);
            let digits: Vec<_> = digits.limbs().collect();
            let mut tiles: Vec<_> = (0..n).step_by(tile).map(|start| (start, Vec::new())).collect();
            for out in outs {
                tiles.iter_mut().zip(out.chunks_mut(tile)).for_each(|((_, outs), words)| outs.push(words));
            }
            cpu.split(words, tiles, |(start, mut outs): (usize, Vec<&mut [u32]>)| {
                let steps = self.steps(limb, start, tile, &digits);
                let steps: Vec<_> = steps.limbs().collect();
                let (outs0, outs1) = outs.split_at_mut(sums);
                if let Some(numbers) = &numbers {
                    let (first, second) = steps.split_at(outputs * batch);
                    numbers.multiply(cpu, modulus, limb, first, outs0);
                    numbers.multiply(cpu, modulus, limb, second, outs1);
                    return;
                }
                let mut pairs = Vec::new();
                for ((out0, out1), terms) in outs0.iter_mut().zip(outs1.iter_mut()).zip(&of_sum) {
                    pairs.clear();
                    pairs.extend(terms.iter().map(|&(a, b)| PairTerm {
                        diagonal: &diagonals[a][start >> log_runs[a]..],
                        log_run: log_runs[a],
                        x: [steps[b], steps[outputs * batch + b]],
                    }));
                    (cpu.kernels.dot_pair)(modulus, &pairs, out0, out1);
                }
            });
        });
    }

    /// The words of all results `[2][outputs][item]` in a limb from `start` on, from the digits of [`Switching::extend_all`].
    fn steps(&self, limb: usize, start: usize, words: usize, digits: &[&[u32]]) -> CpuBuffer {
        let outputs = self.product.outputs;
        let count = self.items.len();
        let mut steps = self.cpu.tiles(words, 2 * outputs * count);
        let mut first: Vec<_> = steps.limbs_mut().collect();
        let second = first.split_off(outputs * count);
        let mut pairs = Places::new(first.into_iter().zip(second));
        for item in 0..count {
            let outs = (0..outputs).map(|output| pairs.take(output * count + item));
            self.add_all(Spot { limb, item, start }, digits, &mut outs.collect::<Vec<_>>());
        }
        drop(pairs);
        steps
    }

    /// Words of a limb taken at a time where steps are summed: fewer, the more steps and keys there are.
    fn tile(&self) -> usize {
        let steps = 2 * self.product.outputs * self.items.len();
        self.tile_of(steps + self.keys(|_| true), STEP_WORDS)
    }

    /// Words of a limb taken at a time where several items use the same keys.
    fn tile_of_keys(&self) -> usize {
        let keys = (0..self.inputs).map(|input| self.keys(|of| of == input)).fold(1, usize::max);
        if self.items.len() > 1 { self.tile_of(keys, KEY_WORDS) } else { TILE / 2 }.min(self.cpu.ring.n())
    }

    /// Words that are taken at a time of `limbs` limbs, so that they are `words` words together.
    fn tile_of(&self, limbs: usize, words: usize) -> usize {
        let tile = 1 << (words / limbs.max(1)).max(1).ilog2();
        tile.clamp(SMALLEST_TILE, TILE / 2).min(self.cpu.ring.n())
    }

    /// Limbs of the keys of some inputs modulo one prime.
    fn keys(&self, inputs: impl Fn(usize) -> bool) -> usize {
        let terms = self.product.terms.iter().filter(|term| term.key.is_some() && inputs(term.input));
        2 * terms.count() * self.product.gadget.digits()
    }

    /// Limbs in which an input's digits are extended.
    fn scratch_limbs(&self) -> usize {
        if self.fresh.is_some() { self.product.gadget.digits() } else { 0 }
    }

    /// Extends a digit of one input, if it is to be made here and used. A digit has its own limbs already: nothing is written there.
    fn extend(&self, limb: usize, item: usize, input: usize, digit: usize, out: &mut [u32]) {
        if let (Some(fresh), true) = (&self.fresh, self.product.is_switched(input)) {
            let i = (input - self.product.first_switched) * self.items.len() + item;
            if fresh.unchanged(i, digit, limb).is_none() {
                fresh.extend(i, digit, limb, out);
            }
        }
    }

    /// The extended digits `[inputs][item]` in one limb, for a product that writes so many words.
    fn extend_all(&self, limb: usize, words: usize) -> CpuBuffer {
        let batch = self.items.len();
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
            let place = (input * self.items.len() + spot.item) * per_input;
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
        let digit = |d: usize| match digits {
            Digits::Extended(view) => {
                let poly = (input - first_switched) * batch + self.items[item];
                cpu.limb(view, poly * count + d, limbs, limb)
            }
            Digits::Fresh(_) => {
                let i = (input - first_switched) * self.items.len() + item;
                let unchanged = self.fresh.as_ref().and_then(|fresh| fresh.unchanged(i, d, limb));
                unchanged.unwrap_or(extended[d])
            }
        };
        let addend = |part: usize| {
            let poly = (part * self.inputs + input) * batch + self.items[item];
            (!over_q || limb < limbs.q)
                .then(|| cpu.limb(x, poly, if over_q { x.limbs() } else { limbs }, limb))
        };
        for (term, permutation) in terms.iter().zip(&self.permutations).filter(|(t, _)| t.input == input) {
            let second = if parts == 3 || term.key.is_none() { addend(1) } else { None };
            let (out0, out1) = &mut outs[term.output];
            // Without a key there is one call, for the addends alone.
            let rows = if term.key.is_some() { count } else { 0 };
            for first in (0..rows.max(1)).step_by(DIGITS) {
                let mut digits = [[&[][..]; 3]; DIGITS];
                let taken = (rows - first).min(DIGITS);
                if let Some(key) = term.key {
                    for (i, row) in digits[..taken].iter_mut().enumerate() {
                        let d = first + i;
                        let key = |row| cpu.limb(key, row, limbs, limb);
                        *row = [digit(d), key(2 * d), key(2 * d + 1)];
                    }
                }
                let product = GadgetLimb {
                    start,
                    digits: &digits[..taken],
                    addends: if first == 0 { [addend(0), second] } else { [None; 2] },
                    factor,
                    permutation: permutation.as_deref(),
                    accumulate: touched[term.output],
                };
                (cpu.kernels.gadget)(modulus, &product, out0, out1);
                touched[term.output] = true;
            }
        }
    }
}

impl<'a> UsedDiagonals<'a> {
    /// The matrix of the sums over steps, if all diagonals are numbers and no sum has a step twice: rows with the same steps then
    /// share what they read.
    fn numbers(&self, terms: &[Term], sums: usize, steps: usize) -> Option<IntegerMatrix> {
        let Diagonals::Compact(polys) = self.all else { return None };
        let mut rows = vec![Vec::new(); sums];
        for term in terms {
            let [number] = polys.0[self.used[term.a]].coefficients[..] else { return None };
            rows[term.out].push((term.b as u32, number));
        }
        rows.iter_mut().for_each(|row| row.sort_unstable());
        IntegerMatrix::new(steps, rows).ok()
    }

    /// Memory for the transforms of all compact polynomials in one limb, unless they are numbers, and the number of neighbouring words
    /// that each word of a diagonal stands for.
    fn room(&self, cpu: &Cpu, are_numbers: bool) -> (CpuBuffer, Vec<u32>) {
        let lengths: Vec<usize> = match self.all {
            Diagonals::Polys(_) => vec![cpu.ring.n(); self.used.len()],
            Diagonals::Compact(polys) => self.used.iter().map(|&i| polys.0[i].coefficients.len()).collect(),
        };
        let is_empty = are_numbers || matches!(self.all, Diagonals::Polys(_));
        let words = if is_empty { 0 } else { lengths.iter().sum() };
        (cpu.tiles(words, 1), lengths.iter().map(|len| cpu.ring.log_n() - len.ilog2()).collect())
    }

    /// Limb `limb` of each diagonal, of the prime at position `index`; compact polynomials are transformed into `room`.
    fn expand<'d>(
        &self,
        cpu: &'d Cpu,
        index: usize,
        limbs: Limbs,
        limb: usize,
        room: &'d mut CpuBuffer,
    ) -> Vec<&'d [u32]>
    where
        'a: 'd,
    {
        match self.all {
            Diagonals::Polys(view) => self.used.iter().map(|&i| cpu.limb(view, i, limbs, limb)).collect(),
            Diagonals::Compact(polys) => {
                let mut rest: &mut [u32] = room.limbs_mut().next().unwrap_or_default();
                let words = rest.len();
                let mut tasks = Vec::with_capacity(self.used.len());
                for &i in &self.used {
                    let coefficients = &polys.0[i].coefficients;
                    let (words, after) = rest.split_at_mut(coefficients.len());
                    tasks.push((coefficients, words));
                    rest = after;
                }
                cpu.split(TRANSFORM * words, tasks, |(coefficients, words)| {
                    cpu.transform_compact(index, coefficients, words);
                });
                let mut rest = room.limb(0);
                let mut expanded = Vec::with_capacity(self.used.len());
                for &i in &self.used {
                    let (words, after) = rest.split_at(polys.0[i].coefficients.len());
                    expanded.push(words);
                    rest = after;
                }
                expanded
            }
        }
    }
}

fn clear_untouched(outs: &mut [Pair<'_>], touched: &[bool]) {
    for ((out0, out1), _) in outs.iter_mut().zip(touched).filter(|(_, touched)| !**touched) {
        out0.fill(0);
        out1.fill(0);
    }
}
