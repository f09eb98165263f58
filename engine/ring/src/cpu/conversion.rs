//! Digits of polynomials, extended to the primes of a gadget, and polynomials divided by some of their primes.
#![expect(clippy::indexing_slicing, reason = "shapes are asserted where views enter; limbs lie within them")]

use super::buffer::CpuBuffer;
use super::device::{Cpu, TRANSFORM};
use crate::{BasisConversion, Gadget, Limbs, Ntt, View, shape};
use std::sync::Arc;

/// Limbs by their positions in polynomials, and the conversion from their primes to others.
struct Sources {
    limbs: Vec<usize>,
    conversion: Arc<BasisConversion>,
}

/// The part of conversions of some polynomials that all primes have in common: coefficients `y_i` of each group of sources, with
/// the quotient of a group of several.
struct Coefficients {
    groups: Vec<Sources>,
    /// `[poly][row]`
    buffer: CpuBuffer,
    /// Rows of a polynomial.
    rows: usize,
    /// The first row of each group.
    starts: Vec<usize>,
    /// The primes of the polynomials.
    primes: Vec<usize>,
}

impl Sources {
    /// Rows of coefficients; one source needs no quotient.
    fn rows(&self) -> usize {
        self.limbs.len() + usize::from(self.limbs.len() > 1)
    }
}

impl Coefficients {
    /// The coefficients of the polynomials `polys` of a view.
    fn new(cpu: &Cpu, x: View<'_, Cpu, Ntt>, polys: &[usize], groups: Vec<Sources>) -> Self {
        let primes = cpu.indices(x.limbs());
        let mut slots = Vec::new();
        let mut starts = Vec::new();
        for group in &groups {
            starts.push(slots.len());
            let scales = group.limbs.iter().zip(group.conversion.qhat_inv());
            slots.extend(scales.map(|(&limb, &scale)| Some((limb, scale))));
            slots.resize(starts[starts.len() - 1] + group.rows(), None);
        }
        let rows = slots.len();
        let mut buffer = cpu.scratch(polys.len() * rows);
        let places = polys.iter().copied().zip(in_blocks(buffer.limbs_mut(), rows)).collect();
        let blocks = cpu.blocks(places, usize::MAX);
        cpu.run_blocks(polys.len() * rows * cpu.ring.n(), blocks, |mut block| {
            let mut tasks = Vec::new();
            for (poly, y) in &mut block {
                let sources = slots.iter().zip(y).filter_map(|(slot, y)| slot.map(|source| (source, y)));
                tasks.extend(
                    sources.map(|((limb, scale), y)| (limb, cpu.limb(x, *poly, x.limbs(), limb), scale, y)),
                );
            }
            tasks.sort_by_key(|(limb, ..)| *limb);
            cpu.run(TRANSFORM * tasks.len() * cpu.ring.n(), tasks, |(limb, from, scale, y)| {
                y.copy_from_slice(from);
                (cpu.kernels.intt)(cpu.ring.table(primes[limb]), y, scale);
            });
            Self::add_quotients(cpu, &groups, block.into_iter().map(|(_, y)| y));
        });
        Self { groups, buffer, rows, starts, primes }
    }

    /// Fills the last row of each group of several sources in the rows of some polynomials.
    fn add_quotients<'a>(cpu: &Cpu, groups: &[Sources], polys: impl Iterator<Item = Vec<&'a mut [u32]>>) {
        let mut tasks = Vec::new();
        for poly in polys {
            let mut rows = poly.into_iter();
            for group in groups {
                let y: Vec<&mut [u32]> = rows.by_ref().take(group.rows()).collect();
                if y.len() > 1 {
                    tasks.push((y, &group.conversion));
                }
            }
        }
        cpu.run(tasks.len() * cpu.ring.n(), tasks, |(mut y, conversion)| {
            if let Some((quotient, sources)) = y.split_last_mut() {
                let sources: Vec<&[u32]> = sources.iter().map(|s| &**s).collect();
                let weights = conversion.inv_fixed_point();
                (cpu.kernels.quotient)(&sources, weights, conversion.fixed_point_bits(), quotient);
            }
        });
    }

    /// Group `group` of the `i`-th polynomial, converted to a target, which is the prime at position `index`.
    fn convert(&self, cpu: &Cpu, i: usize, group: usize, target: usize, index: usize, out: &mut [u32]) {
        let Sources { limbs, conversion } = &self.groups[group];
        let modulus = cpu.ring.modulus(index);
        let start = i * self.rows + self.starts[group];
        if let [limb] = limbs[..] {
            let source = cpu.ring.modulus(self.primes[limb]);
            (cpu.kernels.lift)(modulus, source, conversion.threshold(), self.buffer.limb(start), out);
            return;
        }
        let y: Vec<_> = (start..=start + limbs.len()).map(|row| self.buffer.limb(row)).collect();
        (cpu.kernels.convert)(modulus, &y, &conversion.targets()[target].qhat, out);
    }
}

/// The digits of some polynomials of a view, as far as they are common to all target primes.
pub(super) struct Extension<'a> {
    cpu: &'a Cpu,
    x: View<'a, Cpu, Ntt>,
    polys: Vec<usize>,
    gadget: Gadget,
    coefficients: Coefficients,
}

impl<'a> Extension<'a> {
    pub(super) fn new(cpu: &'a Cpu, x: View<'a, Cpu, Ntt>, polys: Vec<usize>, gadget: Gadget) -> Self {
        shape::check_mod_up(x.limbs(), gadget);
        let coefficients = Coefficients::new(cpu, x, &polys, Self::conversions(cpu, gadget));
        Self { cpu, x, polys, gadget, coefficients }
    }

    /// Digit `d` of the `i`-th of the polynomials in limb `limb` of the gadget where that is a limb of the digit, which is the
    /// polynomial's.
    pub(super) fn unchanged(&self, i: usize, d: usize, limb: usize) -> Option<&'a [u32]> {
        let Self { cpu, x, gadget, polys, .. } = self;
        gadget.digit(d).contains(&limb).then(|| cpu.limb(*x, polys[i], x.limbs(), limb))
    }

    /// Digit `d` of the `i`-th of the polynomials in limb `limb` of the gadget, transformed.
    pub(super) fn extend(&self, i: usize, d: usize, limb: usize, out: &mut [u32]) {
        if let Some(words) = self.unchanged(i, d, limb) {
            out.copy_from_slice(words);
            return;
        }
        let Self { cpu, gadget, .. } = self;
        let digit = gadget.digit(d);
        let target = if limb < digit.start { limb } else { limb - digit.len() };
        let index = if limb < gadget.limbs.q { limb } else { limb - gadget.limbs.q + cpu.ring.limbs().q };
        let table = cpu.ring.table(index);
        self.coefficients.convert(cpu, i, d, target, index, out);
        (cpu.kernels.ntt)(table, out);
    }

    /// The ciphertext primes of each digit, and the conversion from them to all other primes.
    fn conversions(cpu: &Cpu, gadget: Gadget) -> Vec<Sources> {
        (0..gadget.digits())
            .map(|d| {
                let sources: Vec<_> = gadget.digit(d).collect();
                let others: Vec<_> =
                    cpu.ring.indices(gadget.limbs).filter(|i| !sources.contains(i)).collect();
                let conversion = cpu.conversion(&sources, &others);
                Sources { limbs: sources, conversion }
            })
            .collect()
    }
}

/// Division of polynomials over some limbs by the primes that fewer limbs lack.
pub(super) struct Division<'a> {
    cpu: &'a Cpu,
    to: Limbs,
    /// The primes of `to`.
    kept: Vec<usize>,
    dropped: Vec<usize>,
    conversion: Arc<BasisConversion>,
}

impl<'a> Division<'a> {
    pub(super) fn new(cpu: &'a Cpu, from: Limbs, to: Limbs) -> Self {
        shape::check_rescale(from, to);
        let all = cpu.indices(from);
        let kept = cpu.indices(to);
        let dropped: Vec<_> = (0..from.count()).filter(|&i| !kept.contains(&all[i])).collect();
        let sources: Vec<_> = dropped.iter().map(|&i| all[i]).collect();
        let conversion = cpu.conversion(&sources, &kept);
        Self { cpu, to, kept, dropped, conversion }
    }

    /// Divides the polynomials of `x`, as many at a time as leave coefficients that stay in a core's own cache while each limb reads
    /// them; `outs` are the limbs of their results.
    pub(super) fn run(&self, x: View<'_, Cpu, Ntt>, outs: Vec<Vec<&mut [u32]>>) {
        let n = self.cpu.ring.n();
        let words = outs.len() * self.kept.len() * n;
        let at_once = self.cpu.cache_bytes / (4 * n * self.sources().rows());
        let blocks = self.cpu.blocks(outs.into_iter().enumerate().collect(), at_once);
        self.cpu.run_blocks(words, blocks, |block| self.divide(x, block));
    }

    /// Divides polynomials given by their numbers, limb by limb.
    fn divide(&self, x: View<'_, Cpu, Ntt>, outs: Vec<(usize, Vec<&mut [u32]>)>) {
        let cpu = self.cpu;
        let polys: Vec<usize> = outs.iter().map(|(poly, _)| *poly).collect();
        let coefficients = Coefficients::new(cpu, x, &polys, vec![self.sources()]);
        let limbs = outs.into_iter().flat_map(|(_, limbs)| limbs);
        cpu.for_each_limb(limbs, self.kept.len(), |i, limb, words| {
            let table = cpu.ring.table(self.kept[limb]);
            coefficients.convert(cpu, i, 0, limb, self.kept[limb], words);
            (cpu.kernels.ntt)(table, words);
            let from = cpu.limb(x, polys[i], self.to, limb);
            let inverse = self.conversion.targets()[limb].inverse;
            (cpu.kernels.sub_mul)(table.modulus(), words, from, inverse);
        });
    }

    fn sources(&self) -> Sources {
        Sources { limbs: self.dropped.clone(), conversion: self.conversion.clone() }
    }
}

/// Blocks of `size` items, one at least.
pub(super) fn in_blocks<T>(items: impl IntoIterator<Item = T>, size: usize) -> Vec<Vec<T>> {
    let mut items = items.into_iter();
    std::iter::from_fn(|| Some(items.by_ref().take(size.max(1)).collect::<Vec<T>>()))
        .take_while(|block| !block.is_empty())
        .collect()
}
