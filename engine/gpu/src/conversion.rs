//! Digits converted to other primes between an inverse transform and a forward one: ModUp, ModDown and rescale.

use crate::allocation::Placement;
use crate::dispatch::Table;
use crate::gpu::{Call, Gpu, Row, poly};
use crate::memory::GpuBuffer;
use crate::ring_tables::factor;
use crate::transform::{Forward, ForwardKernels, inverse, inverse_blocks, inverse_limb, transform_cost};
use pleura_ring::convert::Target;
use pleura_ring::{BasisConversion, Batch, Gadget, Limbs, Ntt, RingKind, View, shape};
use pleura_shaders::{
    ConversionFactor, ConversionQuotient, ConversionSource, ConvertedDigit, ConvertedLimb, DIGIT_SIZES,
    DigitSource, DigitTarget, InverseLimb, KernelId, LimbEntry, RowEntry,
};
use std::ops::Range;
use std::sync::Arc;

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
    let mut conversions = Conversions::default();
    for d in 0..digits {
        let digit = gadget.digit(d);
        let others = positions.iter().copied().enumerate().filter(|(limb, _)| !digit.contains(limb));
        let sources = digit.clone().map(|limb| {
            let offset = gpu.offset(limb);
            LimbEntry { prime: limb as u32, out_offset: offset, x_offset: offset, y_offset: 0 }
        });
        let targets = others.map(|(limb, prime)| LimbEntry {
            prime: prime as u32,
            out_offset: gpu.offset(d * limbs.count() + limb),
            x_offset: gpu.offset(digit.start),
            y_offset: 0,
        });
        conversions.add_digit(gpu, &sources.collect::<Vec<_>>(), &targets.collect::<Vec<_>>());
    }
    let coefficients = gpu.alloc(x.limbs(), x.polys(), Placement::Separate);
    let out = gpu.alloc(limbs, x.polys() * digits, Placement::Neighbours(digits)).join(digits);
    let inverse_rows = (0..x.polys()).map(|i| Row::map(coefficients.at(i), poly(x, i)));
    let rows = (0..x.polys()).map(|i| Row::map(out.at(i), coefficients.at(i)));
    let bases: Vec<LimbEntry> = conversions.targets.iter().map(|target| target.base).collect();
    conversions.run(gpu, CONVERTED, Table::of(&bases), inverse_rows, rows);
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
    let sources = dropped.iter().enumerate().map(|(i, &(limb, prime))| LimbEntry {
        prime: prime as u32,
        out_offset: gpu.offset(i),
        x_offset: gpu.offset(limb),
        y_offset: 0,
    });
    let targets = kept.iter().enumerate().map(|(limb, &prime)| LimbEntry {
        prime: prime as u32,
        out_offset: gpu.offset(limb),
        x_offset: 0,
        y_offset: gpu.offset(from.position(to, limb)),
    });
    let mut conversions = Conversions::default();
    conversions.add_digit(gpu, &sources.collect::<Vec<_>>(), &targets.collect::<Vec<_>>());

    let coefficients = gpu.device.alloc(dropped.len() << log_n, x.polys(), Placement::Separate);
    let out = gpu.alloc(to, x.polys(), Placement::Separate);
    let inverse_rows = (0..x.polys()).map(|i| Row::map(coefficients.at(i), poly(x, i)));
    let rows = (0..x.polys()).map(|i| Row::zip(out.at(i), coefficients.at(i), poly(x, i)));
    conversions.run(gpu, RESCALED, Table::of(&conversions.targets), inverse_rows, rows);
    Batch::from_buffer(out, to, x.polys())
}

/// Digits with what they are converted to, and the tables of their kernels.
#[derive(Default)]
struct Conversions {
    sources: Vec<InverseLimb>,
    targets: Vec<ConvertedLimb>,
    /// The conversions' factors, as kernels of single limbs read them.
    terms: Vec<ConversionSource>,
    digits: Vec<DigitConversion>,
}

/// One digit: positions of its limbs among the sources, and of those that it is converted to among the targets.
struct DigitConversion {
    sources: Range<usize>,
    targets: Range<usize>,
    conversion: Arc<BasisConversion>,
}

/// Tables of the kernel that converts whole digits.
#[derive(Default)]
struct DigitTables {
    digits: Vec<ConvertedDigit>,
    /// All sources, then all targets, then all factors.
    terms: Vec<u32>,
}

/// Primes that one workgroup converts to: each thread two of them, in exchange for inverse stages that every workgroup takes by itself.
const TARGETS_AT_ONCE: usize = 8;

impl Conversions {
    /// Adds a digit: its limbs in the polynomial (`x`) and among the coefficients (`out`), and the limbs that it is converted to.
    fn add_digit(&mut self, gpu: &Gpu, sources: &[LimbEntry], targets: &[LimbEntry]) {
        let positions = |limbs: &[LimbEntry]| limbs.iter().map(|limb| limb.prime as usize).collect();
        let conversion = conversion(gpu, positions(sources), positions(targets));
        let first_source = self.sources.len();
        let first_target = self.targets.len();
        let scaled = sources.iter().zip(conversion.qhat_inv());
        self.sources.extend(scaled.map(|(&base, &qhat_inv)| inverse_limb(gpu, base, qhat_inv)));
        for (&base, target) in targets.iter().zip(conversion.targets()) {
            self.targets.push(converted_limb(base, &conversion, target, &mut self.terms));
        }
        self.digits.push(DigitConversion {
            sources: first_source..self.sources.len(),
            targets: first_target..self.targets.len(),
            conversion,
        });
    }

    /// Transforms, converts and transforms back. `inverse_rows` lead from polynomials to coefficients, `rows` from these to results;
    /// `rest_limbs` are the entries of `kernels.rest`.
    fn run<'a>(
        &self,
        gpu: &Gpu,
        kernels: ForwardKernels,
        rest_limbs: Table<'_>,
        inverse_rows: impl Iterator<Item = Row<'a, RowEntry>> + Clone,
        rows: impl Iterator<Item = Row<'a, RowEntry>> + Clone,
    ) {
        let log_n = gpu.ring.log_n();
        let forward = Forward {
            kernels,
            log_n,
            log_copies: 0,
            limbs: Table::of(&self.targets),
            terms: Table::of(&self.terms),
            rest_limbs,
        };
        let is_large = log_n > gpu.device.max_log_block;
        // Columns are converted by themselves unless folding mixes them.
        if !is_large || gpu.ring.kind() == RingKind::ConjugateInvariant {
            inverse(gpu, &self.sources, inverse_rows);
            forward.run(gpu, rows);
            return;
        }
        inverse_blocks(gpu, &self.sources, inverse_rows);
        let tables = self.digit_tables();
        let products = self.targets.len() as u64 * transform_cost(log_n);
        let call = Call {
            kernel: KernelId::ConvertHead(self.digit_size()),
            params: gpu.params(),
            limbs: Table::of(&tables.digits),
            terms: Table::of_words::<DigitSource>(&tables.terms),
            cost: products.div_ceil(tables.digits.len().max(1) as u64),
        };
        gpu.call(&call, rows.clone());
        forward.run_rest(gpu, rows);
    }

    /// The size of the kernel that has room for all digits.
    #[expect(clippy::expect_used, reason = "parameters bound the number of primes in a digit")]
    fn digit_size(&self) -> u32 {
        let largest = self.digits.iter().map(|digit| digit.sources.len() as u32).max();
        DIGIT_SIZES.into_iter().find(|&size| largest <= Some(size)).expect("a digit of at most 15 primes")
    }

    fn digit_tables(&self) -> DigitTables {
        let mut tables = DigitTables::default();
        let mut targets: Vec<DigitTarget> = Vec::with_capacity(self.targets.len());
        let mut factors: Vec<ConversionFactor> = Vec::new();
        let source_words = self.sources.len() * size_of::<DigitSource>() / 4;
        let target_words = self.targets.len() * size_of::<DigitTarget>() / 4;
        let first_target = source_words * 4 / size_of::<DigitTarget>();
        for DigitConversion { sources, targets: range, conversion } in &self.digits {
            let shares = conversion.inv_fixed_point();
            for (source, &inv_fixed_point) in self.sources.iter().skip(sources.start).zip(shares) {
                let entry = DigitSource {
                    prime: source.base.prime,
                    x_offset: source.base.out_offset,
                    sum_factor: source.sum_factor,
                    difference_factor: source.difference_factor,
                    inv_fixed_point,
                    fixed_point_bits: conversion.fixed_point_bits(),
                };
                tables.terms.extend_from_slice(bytemuck::cast_slice(&[entry]));
            }
            for (limb, target) in self.targets.iter().skip(range.start).zip(conversion.targets()) {
                targets.push(DigitTarget {
                    prime: limb.base.prime,
                    out_offset: limb.base.out_offset,
                    minus_product: minus_product(conversion, target),
                    first_factor: (source_words + target_words + factors.len()) as u32,
                });
                factors.extend(target.qhat.iter().zip(shares).map(|(&qhat, _)| ConversionFactor { qhat }));
            }
            // Pieces of about the same length.
            let at_once = range.len().div_ceil(range.len().div_ceil(TARGETS_AT_ONCE).max(1)).max(1);
            tables.digits.extend(range.clone().step_by(at_once).map(|start| ConvertedDigit {
                first_source: sources.start as u32,
                sources: sources.len() as u32,
                first_target: (first_target + start) as u32,
                targets: at_once.min(range.end - start) as u32,
            }));
        }
        tables.terms.extend_from_slice(bytemuck::cast_slice(&targets));
        tables.terms.extend_from_slice(bytemuck::cast_slice(&factors));
        tables
    }
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
        minus_product: minus_product(conversion, target),
        fixed_point_bits: conversion.fixed_point_bits(),
    };
    // Entries of one size, so that they can be in one table.
    terms.push(bytemuck::cast(quotient));
    ConvertedLimb { base, inverse: factor(target.inverse), first_source, sources: shares.len() as u32 }
}

/// The factor that follows those of a target's sources.
#[expect(clippy::indexing_slicing, reason = "a target has one more factor than there are sources")]
fn minus_product(conversion: &BasisConversion, target: &Target) -> u32 {
    target.qhat[conversion.inv_fixed_point().len()]
}

#[expect(clippy::expect_used, reason = "parameters bound the number of primes in a digit")]
fn conversion(gpu: &Gpu, sources: Vec<usize>, targets: Vec<usize>) -> Arc<BasisConversion> {
    gpu.ring.conversion(&sources, &targets).expect("a digit of 1 to 15 primes")
}
