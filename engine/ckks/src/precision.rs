//! Precision of results, in bits.

use num_complex::Complex64;
use std::fmt;

/// Bits of precision, `-log2` of the absolute error (the larger of real and imaginary part), over all slots.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Precision {
    /// Bits of precision of the worst slot.
    pub min: f64,
    /// Mean bits of precision.
    pub avg: f64,
    /// Bits of precision of the median slot.
    pub median: f64,
    /// Standard deviation of the bits of precision.
    pub std: f64,
}

impl Precision {
    /// Precision of `got` relative to `expected`, slot by slot, over as many slots as both have: not a number without a slot. An error of
    /// zero counts as 60 bits, and a value that is not a finite number as minus infinity.
    pub fn of(got: &[Complex64], expected: &[Complex64]) -> Self {
        let bits = |(g, e): (&Complex64, &Complex64)| {
            let d = g - e;
            // `max` and `min` would let a value that is not a number count as exact.
            if d.is_nan() { f64::NEG_INFINITY } else { (-d.re.abs().max(d.im.abs()).log2()).min(60.0) }
        };
        let mut bits: Vec<f64> = got.iter().zip(expected).map(bits).collect();
        bits.sort_by(f64::total_cmp);
        let count = bits.len() as f64;
        let avg = bits.iter().sum::<f64>() / count;
        let variance = bits.iter().map(|b| (b - avg).powi(2)).sum::<f64>() / count;
        let at = |i: usize| bits.get(i).copied().unwrap_or(f64::NAN);
        Self { min: at(0), avg, median: at(bits.len() / 2), std: variance.sqrt() }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min, avg, median, std } = self;
        write!(f, "min {min:.1}, avg {avg:.1}, median {median:.1}, std {std:.1} bits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_of_each_slot_count() {
        let of = |got: &[f64], expected: &[f64]| {
            let [got, expected] = [got, expected].map(|x| x.iter().map(|&x| x.into()).collect::<Vec<_>>());
            Precision::of(&got, &expected)
        };
        let found = of(&[1.25, 1.0, 1.0 + 2f64.powi(-10)], &[1.0; 3]);
        assert_eq!((found.min, found.median, found.avg), (2.0, 10.0, 24.0));
        for got in [f64::NAN, f64::INFINITY] {
            let found = of(&[got, 1.0], &[1.0; 2]);
            assert_eq!((found.min, found.avg), (f64::NEG_INFINITY, f64::NEG_INFINITY));
        }
        let Precision { min, avg, median, std } = of(&[], &[]);
        assert!([min, avg, median, std].iter().all(|bits| bits.is_nan()));
    }
}
