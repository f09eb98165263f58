//! Transforms of limbs: one pass where a limb fits the memory of a workgroup, otherwise two. Conversions and compact polynomials
//! are fused into the first pass, division into the last.

use crate::allocation::Placement;
use crate::dispatch::{Operands, Table};
use crate::gpu::{Call, Gpu, GpuCompactPolys, HEAD_STAGES, Row, poly};
use crate::memory::GpuBuffer;
use crate::ring_tables::factor;
use pleura_ring::convert::Target;
use pleura_ring::{BasisConversion, Batch, Coeff, Gadget, Limbs, Ntt, RingKind, View, shape};
use pleura_shaders::{
    Block, ConversionQuotient, ConversionSource, ConvertedLimb, InverseLimb, KernelId, KernelParams,
    LimbEntry, RowEntry,
};
use std::sync::Arc;

/// The kernels of a forward transform: of limbs that fit a block, or the head and the rest of larger ones.
#[derive(Clone, Copy)]
struct ForwardKernels {
    whole: fn(Block) -> KernelId,
    head: KernelId,
    rest: fn(Block) -> KernelId,
}

/// Transform of polynomials over the ring's primes.
const NTT: ForwardKernels =
    ForwardKernels { whole: KernelId::Ntt, head: KernelId::NttHead, rest: KernelId::NttRest };

/// Transform of coefficients converted from other primes.
const CONVERTED: ForwardKernels = ForwardKernels {
    whole: KernelId::NttConverted,
    head: KernelId::NttHeadConverted,
    rest: KernelId::NttRest,
};

/// Transform of converted coefficients, followed by the division that they are the remainder of.
const RESCALED: ForwardKernels = ForwardKernels {
    whole: KernelId::NttConvertedRescaled,
    head: KernelId::NttHeadConverted,
    rest: KernelId::NttRestRescaled,
};

/// Transform of compact polynomials.
const COMPACT: ForwardKernels =
    ForwardKernels { whole: KernelId::NttCompact, head: KernelId::NttHeadCompact, rest: KernelId::NttRest };

/// Logarithm of the words of a thread.
pub(crate) const LOG_THREAD_WORDS: u32 = 4;

/// A forward transform.
struct Forward<'a> {
    kernels: ForwardKernels,
    /// Logarithm of the words in a limb.
    log_n: u32,
    /// Logarithm of the number of copies of something shorter in a limb; 0 unless the limb is one thread's words.
    log_copies: u32,
    /// Limbs and terms of the kernel of whole limbs, and of the head.
    limbs: Table<'a>,
    terms: Table<'a>,
    /// Limbs of the rest.
    rest_limbs: Table<'a>,
}

/// Forward transform of a batch.
pub(crate) fn ntt(gpu: &Gpu, x: &Batch<Gpu, Coeff>) -> Batch<Gpu, Ntt> {
    let limbs = x.limbs();
    let polys = x.polys();
    let out = gpu.alloc(limbs, polys, Placement::Separate);
    let entries = gpu.limb_entries(limbs, limbs, limbs);
    let rows = (0..polys).map(|i| Row::map(out.at(i), x.buffer().at(i)));
    let limb_table = Table::of(&entries);
    let forward = Forward {
        kernels: NTT,
        log_n: gpu.ring.log_n(),
        log_copies: 0,
        limbs: limb_table,
        terms: Table::NONE,
        rest_limbs: limb_table,
    };
    forward.run(gpu, rows);
    Batch::from_buffer(out, limbs, polys)
}

/// Inverse transform of a batch.
pub(crate) fn intt(gpu: &Gpu, x: &Batch<Gpu, Ntt>) -> Batch<Gpu, Coeff> {
    let limbs = x.limbs();
    let polys = x.polys();
    let out = gpu.alloc(limbs, polys, Placement::Separate);
    let entries = gpu.limb_entries(limbs, limbs, limbs);
    let entries: Vec<_> = entries.into_iter().map(|base| inverse_limb(gpu, base, 1)).collect();
    inverse(gpu, &entries, (0..polys).map(|i| Row::map(out.at(i), x.buffer().at(i))));
    Batch::from_buffer(out, limbs, polys)
}

/// The digits of each poly of a view, extended to all limbs.
pub(crate) fn mod_up(gpu: &Gpu, x: View<'_, Gpu, Ntt>, gadget: Gadget) -> Batch<Gpu, Ntt> {
    let digits = gadget.digits();
    let limbs = gadget.limbs;
    let out = extend_digits(gpu, x, gadget);
    // Each digit's own limbs are there already.
    let own = (0..digits).flat_map(|d| gadget.digit(d).map(move |limb| (d, limb)));
    let entries: Vec<_> = own
        .map(|(d, limb)| LimbEntry {
            prime: limb as u32,
            out_offset: gpu.offset(d * limbs.count() + limb),
            x_offset: gpu.offset(limb),
            y_offset: 0,
        })
        .collect();
    let rows = (0..x.polys()).map(|i| Row::map(out.at(i), poly(x, i)));
    gpu.call_simple(KernelId::Concat, &entries, rows);
    let polys = out.split(limbs.count() << gpu.ring.log_n(), digits);
    Batch::from_buffer(polys, limbs, x.polys() * digits)
}

/// Memory for the digits `[digit][limb]` of each polynomial of a view, with all limbs filled but each digit's own.
pub(crate) fn extend_digits(gpu: &Gpu, x: View<'_, Gpu, Ntt>, gadget: Gadget) -> GpuBuffer {
    let digits = gadget.digits();
    let limbs = gadget.limbs;
    shape::check_mod_up(x.limbs(), gadget);
    let positions: Vec<_> = gpu.ring.indices(limbs).collect();
    let mut sources = Vec::new();
    let mut targets = Vec::new();
    let mut terms = Vec::new();
    for d in 0..digits {
        let digit = gadget.digit(d);
        let others = positions.iter().copied().enumerate().filter(|(limb, _)| !digit.contains(limb));
        let conversion = conversion(gpu, digit.clone().collect(), others.clone().map(|o| o.1).collect());
        for (limb, &qhat_inv) in digit.clone().zip(conversion.qhat_inv()) {
            let offset = gpu.offset(limb);
            let base = LimbEntry { prime: limb as u32, out_offset: offset, x_offset: offset, y_offset: 0 };
            sources.push(inverse_limb(gpu, base, qhat_inv));
        }
        for ((limb, prime), target) in others.zip(conversion.targets()) {
            let base = LimbEntry {
                prime: prime as u32,
                out_offset: gpu.offset(d * limbs.count() + limb),
                x_offset: gpu.offset(digit.start),
                y_offset: 0,
            };
            targets.push(converted_limb(base, &conversion, target, &mut terms));
        }
    }
    let coefficients = gpu.alloc(x.limbs(), x.polys(), Placement::Separate);
    inverse(gpu, &sources, (0..x.polys()).map(|i| Row::map(coefficients.at(i), poly(x, i))));
    let out = gpu.alloc(limbs, x.polys() * digits, Placement::Neighbours(digits)).join(digits);
    let rows = (0..x.polys()).map(|i| Row::map(out.at(i), coefficients.at(i)));
    let bases: Vec<LimbEntry> = targets.iter().map(|target| target.base).collect();
    let forward = Forward {
        kernels: CONVERTED,
        log_n: gpu.ring.log_n(),
        log_copies: 0,
        limbs: Table::of(&targets),
        terms: Table::of(&terms),
        rest_limbs: Table::of(&bases),
    };
    forward.run(gpu, rows);
    out
}

/// Division by the primes that `to` lacks.
pub(crate) fn rescale(gpu: &Gpu, x: View<'_, Gpu, Ntt>, to: Limbs) -> Batch<Gpu, Ntt> {
    let from = x.limbs();
    let log_n = gpu.ring.log_n();
    shape::check_rescale(from, to);
    let kept: Vec<_> = gpu.ring.indices(to).collect();
    let all = gpu.ring.indices(from).enumerate();
    let dropped: Vec<_> = all.filter(|(_, prime)| !kept.contains(prime)).collect();
    let conversion = conversion(gpu, dropped.iter().map(|(_, prime)| *prime).collect(), kept.clone());
    let mut sources = Vec::with_capacity(dropped.len());
    for (i, (&(limb, prime), &qhat_inv)) in dropped.iter().zip(conversion.qhat_inv()).enumerate() {
        let base = LimbEntry {
            prime: prime as u32,
            out_offset: gpu.offset(i),
            x_offset: gpu.offset(limb),
            y_offset: 0,
        };
        sources.push(inverse_limb(gpu, base, qhat_inv));
    }
    let mut targets = Vec::with_capacity(kept.len());
    let mut terms = Vec::new();
    for (limb, (&prime, target)) in kept.iter().zip(conversion.targets()).enumerate() {
        let base = LimbEntry {
            prime: prime as u32,
            out_offset: gpu.offset(limb),
            x_offset: 0,
            y_offset: gpu.offset(from.position(to, limb)),
        };
        targets.push(converted_limb(base, &conversion, target, &mut terms));
    }

    let coefficients = gpu.device.alloc(dropped.len() << log_n, x.polys(), Placement::Separate);
    inverse(gpu, &sources, (0..x.polys()).map(|i| Row::map(coefficients.at(i), poly(x, i))));
    let out = gpu.alloc(to, x.polys(), Placement::Separate);
    let rows = (0..x.polys()).map(|i| Row::zip(out.at(i), coefficients.at(i), poly(x, i)));
    let limbs = Table::of(&targets);
    let forward = Forward {
        kernels: RESCALED,
        log_n,
        log_copies: 0,
        limbs,
        terms: Table::of(&terms),
        rest_limbs: limbs,
    };
    forward.run(gpu, rows);
    Batch::from_buffer(out, to, x.polys())
}

/// Compact polynomials at full length.
pub(crate) fn expand_compact(
    gpu: &Gpu,
    polys: &GpuCompactPolys,
    start: usize,
    count: usize,
    limbs: Limbs,
) -> Batch<Gpu, Ntt> {
    let log_n = gpu.ring.log_n();
    let out = gpu.alloc(limbs, count, Placement::Separate);
    let positions: Vec<_> = gpu.ring.indices(limbs).collect();
    let wanted: Vec<_> = (start..start + count).collect();
    let short = ntt_compact(gpu, polys, &wanted, &positions);
    for log_run in 0..=log_n {
        let entries: Vec<_> = positions
            .iter()
            .enumerate()
            .map(|(i, &prime)| LimbEntry {
                prime: prime as u32,
                out_offset: gpu.offset(i),
                x_offset: (i << (log_n - log_run)) as u32,
                y_offset: 0,
            })
            .collect();
        let same = (0..count).zip(&short.log_runs).filter(|(_, run)| **run == log_run);
        let rows = same.map(|(i, _)| Row::map(out.at(i), short.words.at(i)));
        let params = KernelParams { log_run, ..gpu.params() };
        gpu.call_with(KernelId::ExpandCompact, params, &entries, rows);
    }
    Batch::from_buffer(out, limbs, count)
}

/// Compact polynomials, transformed at their own length.
pub(crate) struct TransformedCompact {
    /// Each polynomial, `[prime][word]`.
    pub(crate) words: GpuBuffer,
    /// For each polynomial, the logarithm of the number of neighbouring words of a limb that each of its words stands for.
    pub(crate) log_runs: Vec<u32>,
}

/// Some compact polynomials, transformed modulo the primes at some positions.
pub(crate) fn ntt_compact(
    gpu: &Gpu,
    polys: &GpuCompactPolys,
    wanted: &[usize],
    positions: &[usize],
) -> TransformedCompact {
    let log_n = gpu.ring.log_n();
    #[expect(clippy::indexing_slicing, reason = "views are checked where they are made")]
    let log_len = |i: usize| polys.log_lens[i];
    // At least the words of a thread.
    let log_stored = |i: usize| log_len(i).max(LOG_THREAD_WORDS);
    let sizes: Vec<_> = wanted.iter().map(|&i| positions.len() << log_stored(i)).collect();
    let out = gpu.device.alloc_sizes(&sizes);
    for log in 0..=log_n {
        let stored = log.max(LOG_THREAD_WORDS);
        let entries: Vec<_> = positions
            .iter()
            .enumerate()
            .map(|(i, &prime)| LimbEntry {
                prime: prime as u32,
                out_offset: (i << stored) as u32,
                ..LimbEntry::default()
            })
            .collect();
        let same = wanted.iter().enumerate().filter(|(_, i)| log_len(**i) == log);
        let rows = same.map(|(place, &i)| Row::map(out.at(place), polys.buffer.at(i)));
        let limbs = Table::of(&entries);
        let forward = Forward {
            kernels: COMPACT,
            log_n: stored,
            log_copies: stored - log,
            limbs,
            terms: Table::NONE,
            rest_limbs: limbs,
        };
        forward.run(gpu, rows);
    }
    TransformedCompact { words: out, log_runs: wanted.iter().map(|&i| log_n - log_stored(i)).collect() }
}

impl Forward<'_> {
    fn run<'a>(&self, gpu: &Gpu, rows: impl Iterator<Item = Row<'a, RowEntry>> + Clone) {
        let log_n = self.log_n;
        let call = Call {
            kernel: self.kernels.head,
            params: KernelParams { log_n, log_run: self.log_copies, ..KernelParams::default() },
            limbs: self.limbs,
            terms: self.terms,
            cost: transform_cost(log_n),
        };
        if log_n <= gpu.device.max_log_block {
            let block = match self.log_copies {
                0 => Block::whole(log_n),
                log_copies => Block::copies(log_copies),
            };
            gpu.call(&Call { kernel: (self.kernels.whole)(block), ..call }, rows);
            return;
        }
        gpu.call(&call, rows.clone());
        // The remainder is transformed in place; the minuend stays.
        let rest = rows.map(|row| Row { operands: Operands { x: None, ..row.operands }, ..row });
        let kernel = (self.kernels.rest)(Block::whole(log_n - HEAD_STAGES));
        gpu.call(&Call { kernel, limbs: self.rest_limbs, terms: Table::NONE, ..call }, rest);
    }
}

/// Inverse transform of the ring's limbs, scaled by the factor in each limb's entry.
fn inverse<'a>(gpu: &Gpu, limbs: &[InverseLimb], rows: impl Iterator<Item = Row<'a, RowEntry>> + Clone) {
    let log_n = gpu.ring.log_n();
    let call = Call {
        kernel: KernelId::InttHead,
        params: gpu.params(),
        limbs: Table::of(limbs),
        terms: Table::NONE,
        cost: transform_cost(log_n),
    };
    let in_place = rows.clone().map(|row| Row { operands: Operands::in_place(row.operands.out), ..row });
    if log_n <= gpu.device.max_log_block {
        gpu.call(&Call { kernel: KernelId::Intt(Block::whole(log_n)), ..call }, rows);
    } else {
        let kernel = KernelId::Intt(Block::whole(log_n - HEAD_STAGES));
        gpu.call(&Call { kernel, ..call }, rows);
        gpu.call(&call, in_place.clone());
    }
    if gpu.ring.kind() == RingKind::ConjugateInvariant {
        gpu.call(&Call { kernel: KernelId::Unfold, cost: 1, ..call }, in_place);
    }
}

/// Number of modular products in a word of a transform.
fn transform_cost(log_n: u32) -> u64 {
    u64::from(log_n).div_ceil(2)
}

/// A limb of an inverse transform whose result is multiplied by `scale`.
fn inverse_limb(gpu: &Gpu, base: LimbEntry, scale: u32) -> InverseLimb {
    let [sum, difference] = gpu.ring.table(base.prime as usize).last_stage(scale);
    InverseLimb { base, sum_factor: factor(sum), difference_factor: factor(difference) }
}

/// A limb of a conversion, whose terms are appended to `terms`.
fn converted_limb(
    base: LimbEntry,
    conversion: &BasisConversion,
    target: &Target,
    terms: &mut Vec<ConversionSource>,
) -> ConvertedLimb {
    let first_source = terms.len() as u32;
    let shares = conversion.inv_fixed_point();
    let sources = target.qhat.iter().zip(shares);
    terms.extend(sources.map(|(&qhat, &inv_fixed_point)| ConversionSource { qhat, inv_fixed_point }));
    let quotient = ConversionQuotient {
        #[expect(clippy::indexing_slicing, reason = "a target has one more factor than there are sources")]
        minus_product: target.qhat[shares.len()],
        fixed_point_bits: conversion.fixed_point_bits(),
    };
    // Entries of one size, so that they can be in one table.
    terms.push(bytemuck::cast(quotient));
    ConvertedLimb { base, inverse: factor(target.inverse), first_source, sources: shares.len() as u32 }
}

#[expect(clippy::expect_used, reason = "parameters bound the number of primes in a digit")]
fn conversion(gpu: &Gpu, sources: Vec<usize>, targets: Vec<usize>) -> Arc<BasisConversion> {
    gpu.ring.conversion(&sources, &targets).expect("a digit of 1 to 15 primes")
}
