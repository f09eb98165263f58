//! Operations on many ciphertexts, some of them at a time: what one step of an operation leaves, the next finds in a cache.
#![expect(
    clippy::indexing_slicing,
    reason = "shapes are asserted where views enter; items and sums lie within them"
)]

use super::buffer::Places;
use super::conversion::{Division, in_blocks};
use super::device::Cpu;
use super::switching::{Switching, UsedDiagonals};
use crate::{Backend, Batch, Diagonals, Domain, Gadget, GadgetProduct, Limbs, Ntt, TensorProduct, Term};
use std::collections::BTreeMap;

/// Size of what all cores make of a block of ciphertexts, in caches of a core's own: it stays in the cache that they share, while each
/// key is read once for the block.
const BLOCK_CACHES: usize = 24;

/// Size of the coefficients of inputs whose baby steps are summed at a time by all cores, in caches of a core's own.
const INPUT_CACHES: usize = 8;

/// [`crate::Backend::baby_step_sums`]
pub(super) fn baby_step_sums(
    cpu: &Cpu,
    product: &GadgetProduct<'_, Cpu>,
    diagonals: Diagonals<'_, Cpu>,
    terms: &[Term],
    sums: usize,
) -> Batch<Cpu, Ntt> {
    let mut out = cpu.batch(product.gadget.limbs, 2 * sums);
    let mut places = Places::new(polys_mut(&mut out));
    for part in parts(cpu, product, diagonals, terms, sums) {
        let outs = part.polys(sums).map(|poly| places.take(poly)).collect();
        Switching::new(cpu, product, part.items).run_sums(&part.diagonals, &part.terms, outs);
    }
    out
}

/// [`crate::Backend::baby_step_sums_divided`]
pub(super) fn baby_step_sums_divided(
    cpu: &Cpu,
    product: &GadgetProduct<'_, Cpu>,
    diagonals: Diagonals<'_, Cpu>,
    terms: &[Term],
    sums: usize,
    to: Limbs,
) -> Batch<Cpu, Ntt> {
    let limbs = product.gadget.limbs;
    let division = Division::new(cpu, limbs, to);
    let mut out = cpu.batch(to, 2 * sums);
    let mut places = Places::new(polys_mut(&mut out));
    for part in parts(cpu, product, diagonals, terms, sums) {
        let outs = part.polys(sums).map(|poly| places.take(poly)).collect();
        let mut between = cpu.batch(limbs, 2 * part.sums.len());
        let switching = Switching::new(cpu, product, part.items);
        switching.run_sums(&part.diagonals, &part.terms, polys_mut(&mut between));
        division.run(between.view(), outs);
    }
    out
}

/// [`crate::Backend::gadget_product_divided`]
pub(super) fn gadget_product_divided(
    cpu: &Cpu,
    product: &GadgetProduct<'_, Cpu>,
    to: Limbs,
) -> Batch<Cpu, Ntt> {
    let GadgetProduct { gadget, batch, outputs, .. } = *product;
    let division = Division::new(cpu, gadget.limbs, to);
    let mut out = cpu.batch(to, 2 * outputs * batch);
    let coefficients = product.inputs() * rows(gadget);
    let blocks = Blocks { limbs: coefficients + 2 * outputs * gadget.limbs.count(), outputs, batch };
    blocks.run(cpu, &mut out, |items, outs| {
        let switched = Switching::new(cpu, product, items).run();
        division.run(switched.view(), outs);
    });
    out
}

/// [`crate::Backend::relinearized_product`]
pub(super) fn relinearized_product(
    cpu: &Cpu,
    product: &TensorProduct<'_, Cpu>,
    to: Limbs,
) -> Batch<Cpu, Ntt> {
    let TensorProduct { gadget, a, b, batch, .. } = *product;
    let division = Division::new(cpu, gadget.limbs, to);
    let mut out = cpu.batch(to, 2 * batch);
    let limbs = 3 * gadget.limbs.q + rows(gadget) + 2 * gadget.limbs.count();
    Blocks { limbs, outputs: 1, batch }.run(cpu, &mut out, |items, outs| {
        let count = items.len();
        let terms = product.terms(&items);
        let tensor = cpu.mul_accumulate(a, b, &terms, 3 * count, Limbs::q(gadget.limbs.q));
        let keyed = product.keyed();
        let keyed = product.switched(&tensor, &keyed);
        let switched = Switching::new(cpu, &keyed, (0..count).collect()).run();
        division.run(switched.view(), outs);
    });
    out
}

/// Limbs of coefficients that the digits of a polynomial are made of.
fn rows(gadget: Gadget) -> usize {
    gadget.limbs.q + if gadget.digit_limbs > 1 { gadget.digits() } else { 0 }
}

/// The limbs of each polynomial.
pub(super) fn polys_mut<D: Domain>(x: &mut Batch<Cpu, D>) -> Vec<Vec<&mut [u32]>> {
    let limbs = x.limbs().count();
    in_blocks(x.buffer_mut().limbs_mut(), limbs)
}

/// Ciphertexts that are computed alike, `[2][outputs][batch]`.
struct Blocks {
    /// Limbs that an item takes on its way.
    limbs: usize,
    outputs: usize,
    batch: usize,
}

impl Blocks {
    /// Calls `f` with the numbers of some items and the limbs of their results, `[2][outputs][item]`, until all are done.
    fn run(&self, cpu: &Cpu, out: &mut Batch<Cpu, Ntt>, mut f: impl FnMut(Vec<usize>, Vec<Vec<&mut [u32]>>)) {
        let Self { limbs, outputs, batch } = *self;
        let n = cpu.ring.n();
        let mut places = Places::new(polys_mut(out));
        for items in in_blocks(0..batch, BLOCK_CACHES * cpu.cache_bytes / (4 * n * limbs)) {
            let polys =
                (0..2 * outputs).flat_map(|output| items.iter().map(move |item| output * batch + item));
            let outs = polys.map(|poly| places.take(poly)).collect();
            f(items, outs);
        }
    }
}

/// Sums over baby steps that share no input with other parts.
struct Part<'a> {
    /// Numbers of the items of the batch, and of the sums.
    items: Vec<usize>,
    sums: Vec<usize>,
    diagonals: UsedDiagonals<'a>,
    /// Terms with sums, diagonals and items numbered anew.
    terms: Vec<Term>,
}

impl Part<'_> {
    /// The polynomials of the part's sums among both parts of `all` sums.
    fn polys(&self, all: usize) -> impl Iterator<Item = usize> {
        (0..2).flat_map(move |part| self.sums.iter().map(move |sum| part * all + sum))
    }
}

/// The sums in parts that share no input, nor a diagonal that is transformed on the way: as few as have so few inputs that their
/// coefficients stay in a cache.
fn parts<'a>(
    cpu: &Cpu,
    product: &GadgetProduct<'_, Cpu>,
    diagonals: Diagonals<'a, Cpu>,
    terms: &[Term],
    sums: usize,
) -> Vec<Part<'a>> {
    let GadgetProduct { gadget, batch, .. } = *product;
    let rows = product.inputs() * rows(gadget);
    let most = (INPUT_CACHES * cpu.cache_bytes / (4 * cpu.ring.n() * rows)).max(1);
    let mut groups = vec![(0..batch).collect()];
    if batch > most {
        groups = gathered(connected(terms, batch, diagonals), most);
    }
    let mut part_of_item = vec![0; batch];
    for (part, items) in groups.iter().enumerate() {
        items.iter().for_each(|&item| part_of_item[item] = part);
    }
    // A sum of nothing is zero in whatever part.
    let mut part_of_sum = vec![0; sums];
    terms.iter().for_each(|term| part_of_sum[term.out] = part_of_item[term.b % batch]);
    let item = numbered(&part_of_item, groups.len());
    let sum = numbered(&part_of_sum, groups.len());
    let mut parts: Vec<_> = groups
        .into_iter()
        .map(|items| Part {
            items,
            sums: Vec::new(),
            diagonals: UsedDiagonals { all: diagonals, used: Vec::new() },
            terms: Vec::new(),
        })
        .collect();
    (0..sums).for_each(|sum| parts[part_of_sum[sum]].sums.push(sum));
    let mut of_part = vec![Vec::new(); parts.len()];
    terms.iter().for_each(|term| of_part[part_of_sum[term.out]].push(term));
    // The last part that uses each diagonal, and its number there.
    let mut numbers = vec![None; terms.iter().map(|term| term.a + 1).max().unwrap_or(0)];
    for (number, (part, of_part)) in parts.iter_mut().zip(of_part).enumerate() {
        for term in of_part {
            let a = match numbers[term.a] {
                Some((last, a)) if last == number => a,
                _ => {
                    part.diagonals.used.push(term.a);
                    part.diagonals.used.len() - 1
                }
            };
            numbers[term.a] = Some((number, a));
            let b = term.b / batch * part.items.len() + item[term.b % batch];
            part.terms.push(Term { out: sum[term.out], a, b });
        }
    }
    parts
}

/// The position of each member among those of its part.
fn numbered(parts: &[usize], count: usize) -> Vec<usize> {
    let mut members = vec![0; count];
    let mut numbers = Vec::with_capacity(parts.len());
    for &part in parts {
        numbers.push(members[part]);
        members[part] += 1;
    }
    numbers
}

/// Items that are connected by sums, or by a diagonal that they share and that is transformed on the way: a list for each set.
fn connected(terms: &[Term], batch: usize, diagonals: Diagonals<'_, Cpu>) -> Vec<Vec<usize>> {
    let mut parents: Vec<usize> = (0..batch).collect();
    let mut of_sum: BTreeMap<usize, usize> = BTreeMap::new();
    let mut of_diagonal: BTreeMap<usize, usize> = BTreeMap::new();
    for term in terms {
        let item = term.b % batch;
        join(&mut parents, item, *of_sum.entry(term.out).or_insert(item));
        if let Diagonals::Compact(polys) = diagonals
            && polys.0[term.a].coefficients.len() > 1
        {
            join(&mut parents, item, *of_diagonal.entry(term.a).or_insert(item));
        }
    }
    let mut sets: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for item in 0..batch {
        sets.entry(root(&mut parents, item)).or_default().push(item);
    }
    sets.into_values().collect()
}

fn join(parents: &mut [usize], a: usize, b: usize) {
    let a = root(parents, a);
    let b = root(parents, b);
    parents[a.max(b)] = a.min(b);
}

fn root(parents: &mut [usize], mut item: usize) -> usize {
    while parents[item] != item {
        parents[item] = parents[parents[item]];
        item = parents[item];
    }
    item
}

/// Neighbouring lists joined while they have `most` items or fewer together.
fn gathered(lists: Vec<Vec<usize>>, most: usize) -> Vec<Vec<usize>> {
    let mut gathered: Vec<Vec<usize>> = Vec::new();
    for list in lists {
        match gathered.last_mut() {
            Some(last) if last.len() + list.len() <= most => last.extend(list),
            _ => gathered.push(list),
        }
    }
    gathered.iter_mut().for_each(|list| list.sort_unstable());
    gathered
}
