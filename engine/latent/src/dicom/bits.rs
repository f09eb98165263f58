//! Samples of one channel as integers: which of the allocated bits are the value (PS3.5, 8.1.1), and which values are padding.

use super::elements::DataSet;
use super::format::Format;
use crate::grey::ImageNote;

const PADDING: u32 = 0x0028_0120;
const PADDING_LIMIT: u32 = 0x0028_0121;
const OVERLAYS: std::ops::RangeInclusive<u32> = 0x6000_0000..=0x60ff_ffff;
const OVERLAY_BIT: u32 = 0x0102;
const OVERLAY_DATA: u32 = 0x3000;
/// Samples of 16 bits.
pub(super) const RAWS: usize = 1 << 16;

/// The integer value of each of the 65,536 samples, and the frequency of each.
pub(super) struct Values {
    pub(super) values: Vec<f64>,
    pub(super) counts: Vec<u32>,
    pub(super) padding: Vec<bool>,
}

impl Values {
    #[expect(clippy::indexing_slicing, reason = "there is an entry for each of the 65,536 samples")]
    pub(super) fn read(set: &DataSet<'_>, format: &Format, raw: &[u16], notes: &mut Vec<ImageNote>) -> Self {
        let mut counts = vec![0_u32; RAWS];
        for &sample in raw {
            counts[usize::from(sample)] += 1;
        }
        let padded = Padding::read(set, format);
        let padding: Vec<bool> = (0..=u16::MAX)
            .map(|x| {
                padded.as_ref().is_some_and(|p| p.holds(stored(format, x)) || p.holds(allocated(format, x)))
            })
            .collect();
        let shown = |x: u16| {
            let at = usize::from(x);
            counts[at] > 0 && !padding[at]
        };
        let wide = beyond_stored(format, shown) && !overlay_in_samples(set, format) && {
            let counted: Vec<(u16, u32)> =
                (0..=u16::MAX).zip(counts.iter().copied()).filter(|(x, _)| shown(*x)).collect();
            let [narrow, full] =
                [stored, allocated].map(|value: Reading| Roughness::of(format, raw, &counted, value));
            let wide = full.is_less_than(&narrow);
            notes.push(ImageNote::BitsStored {
                stored: format.stored,
                allocated: format.allocated,
                used: wide,
            });
            wide
        };
        let value = if wide { allocated } else { stored };
        Self { values: (0..=u16::MAX).map(|x| value(format, x).into()).collect(), counts, padding }
    }

    /// The samples that occur and are no padding; all that occur if nothing else does.
    pub(super) fn shown(&self) -> Vec<(f64, u32)> {
        let all =
            || self.values.iter().zip(&self.counts).zip(&self.padding).filter(|((_, count), _)| **count > 0);
        let pairs = |((value, count), _): ((&f64, &u32), &bool)| (*value, *count);
        let shown: Vec<_> = all().filter(|(_, padding)| !**padding).map(pairs).collect();
        if shown.is_empty() { all().map(pairs).collect() } else { shown }
    }
}

/// Gives the value of a sample.
type Reading = fn(&Format, u16) -> i32;

/// How much the values of an image change from pixel to pixel. Of two readings, that of an image changes less, be it in values, because
/// no bits of an overlay are in it, or in relation to how far values spread, because none wrap around.
struct Roughness {
    steps: f64,
    relative: f64,
}

impl Roughness {
    fn of(format: &Format, raw: &[u16], counted: &[(u16, u32)], reading: Reading) -> Self {
        let value = |x: u16| f64::from(reading(format, x));
        let total: f64 = counted.iter().map(|(_, count)| f64::from(*count)).sum();
        let mean = counted.iter().map(|(x, count)| value(*x) * f64::from(*count)).sum::<f64>() / total;
        let spread: f64 = counted.iter().map(|(x, count)| (value(*x) - mean).abs() * f64::from(*count)).sum();
        let rows = raw.chunks_exact(format.size.columns);
        let pairs = rows.flat_map(|row| row.iter().zip(row.iter().skip(1)));
        let steps: f64 = pairs.map(|(a, b)| (value(*a) - value(*b)).abs()).sum();
        Self { steps, relative: steps / spread.max(f64::MIN_POSITIVE) }
    }

    fn is_less_than(&self, other: &Self) -> bool {
        self.steps < other.steps || self.relative < other.relative / 2.0
    }
}

/// The value in the bits that are said to be stored.
fn stored(format: &Format, raw: u16) -> i32 {
    let bits = i32::from(raw) >> (format.high_bit + 1 - format.stored) & ((1 << format.stored) - 1);
    extended(bits, format.stored, format.signed)
}

/// The value in all bits.
fn allocated(format: &Format, raw: u16) -> i32 {
    extended(i32::from(raw) & ((1 << format.allocated) - 1), format.allocated, format.signed)
}

fn extended(bits: i32, width: u32, signed: bool) -> i32 {
    if signed && bits >> (width - 1) == 1 { bits - (1 << width) } else { bits }
}

/// Whether bits above the stored ones are set, in a way that is neither that of a sign nor the same in all samples.
fn beyond_stored(format: &Format, shown: impl Fn(u16) -> bool) -> bool {
    if format.high_bit + 1 != format.stored || format.stored == format.allocated {
        return false;
    }
    let above = |x: u16| (i32::from(x) & ((1 << format.allocated) - 1)) >> format.stored;
    let ones = (1 << (format.allocated - format.stored)) - 1;
    let samples = || (0..=u16::MAX).filter(|x| shown(*x));
    let first = samples().next().map(above);
    !samples().all(|x| {
        let negative = format.signed && i32::from(x) >> (format.stored - 1) & 1 == 1;
        above(x) == 0 || (negative && above(x) == ones)
    }) && !samples().all(|x| Some(above(x)) == first)
}

/// Whether an overlay is kept in bits of the samples, as it once could be.
fn overlay_in_samples(set: &DataSet<'_>, format: &Format) -> bool {
    let positions = set.tags(OVERLAYS).filter(|tag| tag & 0xffff == OVERLAY_BIT);
    positions.into_iter().any(|tag| {
        let data = set.element(tag & 0xffff_0000 | OVERLAY_DATA);
        data.is_none() && set.integer(tag).is_some_and(|bit| u32::from(bit) >= format.stored)
    })
}

/// The values of pixels that are no part of the image (C.7.5.1.1.2).
struct Padding {
    from: i32,
    to: i32,
}

impl Padding {
    fn read(set: &DataSet<'_>, format: &Format) -> Option<Self> {
        let value = |tag| {
            let bits = set.integer(tag)?;
            Some(if format.signed { i32::from(bits as i16) } else { bits.into() })
        };
        let first = value(PADDING)?;
        let second = value(PADDING_LIMIT).unwrap_or(first);
        Some(Self { from: first.min(second), to: first.max(second) })
    }

    fn holds(&self, value: i32) -> bool {
        (self.from..=self.to).contains(&value)
    }
}
