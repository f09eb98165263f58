//! The tables of conversions. They depend on limbs alone, so each is made once for a ring.

use crate::ring_tables::{factor, inverse_limb};
use pleura_ring::convert::Target;
use pleura_ring::{BasisConversion, Gadget, Limbs, Ring};
use pleura_shaders::{
    ConversionFactor, ConversionQuotient, ConversionSource, ConvertedDigit, ConvertedLimb, DIGIT_SIZES,
    DigitSource, DigitTarget, InverseLimb, LimbEntry,
};
use std::ops::Range;
use std::sync::Arc;

/// A conversion, by the limbs that its tables depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Conversion {
    /// Each digit of a polynomial, to all limbs but its own.
    Digits(Gadget),
    /// The primes that `to` lacks, to those that are left.
    Rescale { from: Limbs, to: Limbs },
}

/// Digits with what they are converted to, as kernels read them.
pub(crate) struct ConversionTables {
    pub(crate) sources: Vec<InverseLimb>,
    pub(crate) targets: Vec<ConvertedLimb>,
    /// Entries of the targets without their conversions.
    pub(crate) bases: Vec<LimbEntry>,
    /// The conversions' factors, as kernels of single limbs read them.
    pub(crate) terms: Vec<ConversionSource>,
    /// The size of the kernel that has room for all digits.
    pub(crate) digit_size: u32,
    /// Tables of the kernel that converts whole digits.
    pub(crate) digits: DigitTables,
}

/// Tables of the kernel that converts whole digits.
#[derive(Default)]
pub(crate) struct DigitTables {
    pub(crate) digits: Vec<ConvertedDigit>,
    /// All sources, then all targets, then all factors.
    pub(crate) terms: Vec<u32>,
}

/// Digits, to which others are added.
#[derive(Default)]
struct Digits {
    sources: Vec<InverseLimb>,
    targets: Vec<ConvertedLimb>,
    terms: Vec<ConversionSource>,
    digits: Vec<DigitConversion>,
}

/// One digit: positions of its limbs among the sources, and of those that it is converted to among the targets.
struct DigitConversion {
    sources: Range<usize>,
    targets: Range<usize>,
    conversion: Arc<BasisConversion>,
}

/// Primes that one workgroup converts to: each thread two of them, in exchange for inverse stages that every workgroup takes by itself.
const TARGETS_AT_ONCE: usize = 8;

impl ConversionTables {
    /// The tables of a conversion.
    pub(crate) fn new(ring: &Ring, conversion: Conversion) -> Self {
        let digits = match conversion {
            Conversion::Digits(gadget) => Digits::of_gadget(ring, gadget),
            Conversion::Rescale { from, to } => Digits::dropped(ring, from, to),
        };
        Self {
            digit_size: digits.digit_size(),
            digits: digits.tables(),
            bases: digits.targets.iter().map(|target| target.base).collect(),
            sources: digits.sources,
            targets: digits.targets,
            terms: digits.terms,
        }
    }
}

impl Digits {
    /// The digits of a polynomial, to `[digit][limb]`.
    fn of_gadget(ring: &Ring, gadget: Gadget) -> Self {
        let limbs = gadget.limbs;
        let positions: Vec<_> = ring.indices(limbs).collect();
        let mut all = Self::default();
        for d in 0..gadget.digits() {
            let digit = gadget.digit(d);
            let others = positions.iter().copied().enumerate().filter(|(limb, _)| !digit.contains(limb));
            let sources = digit.clone().map(|limb| {
                let offset = offset(ring, limb);
                LimbEntry { prime: limb as u32, out_offset: offset, x_offset: offset, y_offset: 0 }
            });
            let targets = others.map(|(limb, prime)| LimbEntry {
                prime: prime as u32,
                out_offset: offset(ring, d * limbs.count() + limb),
                x_offset: offset(ring, digit.start),
                y_offset: 0,
            });
            all.add_digit(ring, &sources.collect::<Vec<_>>(), &targets.collect::<Vec<_>>());
        }
        all
    }

    /// The primes that `to` lacks, as one digit.
    fn dropped(ring: &Ring, from: Limbs, to: Limbs) -> Self {
        let kept: Vec<_> = ring.indices(to).collect();
        let dropped = ring.indices(from).enumerate().filter(|(_, prime)| !kept.contains(prime));
        let sources = dropped.enumerate().map(|(i, (limb, prime))| LimbEntry {
            prime: prime as u32,
            out_offset: offset(ring, i),
            x_offset: offset(ring, limb),
            y_offset: 0,
        });
        let targets = kept.iter().enumerate().map(|(limb, &prime)| LimbEntry {
            prime: prime as u32,
            out_offset: offset(ring, limb),
            x_offset: 0,
            y_offset: offset(ring, from.position(to, limb)),
        });
        let mut all = Self::default();
        all.add_digit(ring, &sources.collect::<Vec<_>>(), &targets.collect::<Vec<_>>());
        all
    }

    /// Adds a digit: its limbs in the polynomial (`x`) and among the coefficients (`out`), and the limbs that it is converted to.
    fn add_digit(&mut self, ring: &Ring, sources: &[LimbEntry], targets: &[LimbEntry]) {
        let positions = |limbs: &[LimbEntry]| limbs.iter().map(|limb| limb.prime as usize).collect();
        let conversion = conversion(ring, positions(sources), positions(targets));
        let first_source = self.sources.len();
        let first_target = self.targets.len();
        let scaled = sources.iter().zip(conversion.qhat_inv());
        self.sources.extend(scaled.map(|(&base, &qhat_inv)| inverse_limb(ring, base, qhat_inv)));
        for (&base, target) in targets.iter().zip(conversion.targets()) {
            self.targets.push(converted_limb(base, &conversion, target, &mut self.terms));
        }
        self.digits.push(DigitConversion {
            sources: first_source..self.sources.len(),
            targets: first_target..self.targets.len(),
            conversion,
        });
    }

    /// The size of the kernel that has room for all digits.
    #[expect(clippy::expect_used, reason = "parameters bound the number of primes in a digit")]
    fn digit_size(&self) -> u32 {
        let largest = self.digits.iter().map(|digit| digit.sources.len() as u32).max();
        DIGIT_SIZES.into_iter().find(|&size| largest <= Some(size)).expect("a digit of at most 15 primes")
    }

    fn tables(&self) -> DigitTables {
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

/// Offset of the limb at a position of a polynomial.
fn offset(ring: &Ring, position: usize) -> u32 {
    (position << ring.log_n()) as u32
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
fn conversion(ring: &Ring, sources: Vec<usize>, targets: Vec<usize>) -> Arc<BasisConversion> {
    ring.conversion(&sources, &targets).expect("a digit of 1 to 15 primes")
}
