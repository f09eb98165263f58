//! Automorphisms `X -> X^g` and how they permute a transformed polynomial.

use crate::RingKind;
use crate::ntt::bit_reverse;

/// An exponent `g`, naming the automorphism `X -> X^g`: odd and below `2n` or, in a conjugate-invariant ring, where `g` and `-g`
/// are one, `1 mod 4` and below `4n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GaloisElement(u32);

impl GaloisElement {
    /// The automorphism that changes nothing.
    pub const IDENTITY: Self = Self(1);

    /// `X -> X^exponent`, if that is an automorphism.
    pub(crate) fn new(exponent: u32, kind: RingKind, n: usize) -> Option<Self> {
        let spacing = 1 << kind.log_spacing();
        (exponent % spacing == 1 && (exponent as usize) < kind.root_order(n)).then_some(Self(exponent))
    }

    /// `5^steps`, which rotates the slots to the left.
    pub(crate) fn rotation(steps: i64, kind: RingKind, n: usize) -> Self {
        let order = kind.slots(n) as i64;
        let modulus = kind.root_order(n) as u64;
        let mut out = 1;
        let mut base = 5;
        let mut e = steps.rem_euclid(order.max(1));
        while e > 0 {
            if e & 1 == 1 {
                out = out * base % modulus;
            }
            base = base * base % modulus;
            e >>= 1;
        }
        Self(out as u32)
    }

    /// `-1`, which conjugates every slot; it is the identity where slots are real.
    pub(crate) fn conjugation(kind: RingKind, n: usize) -> Self {
        match kind {
            RingKind::Cyclotomic => Self(2 * n as u32 - 1),
            RingKind::ConjugateInvariant => Self::IDENTITY,
        }
    }

    /// The exponent.
    pub fn exponent(self) -> u32 {
        self.0
    }
}

/// How `X -> X^g` moves transformed words: `out[i] = in[source(i)]`.
///
/// Entry `i` holds the value at `psi^e`, `e = 2 bitrev(i) + 1` (`4 bitrev(i) + 1` in a conjugate-invariant ring), and the automorphism
/// takes it from exponent `g e`. An aligned block of `w` entries shares the low bits of its exponents, so it comes from *one* aligned
/// block, permuted inside by one of at most `w` patterns that `g` fixes. Vector units and coalesced GPU loads move whole blocks.
#[derive(Debug)]
pub struct NttPermutation {
    width: usize,
    source: Vec<u32>,
    patterns: Vec<u32>,
}

impl NttPermutation {
    /// The permutation of `g` at degree `2^log_n` in blocks of `width`, a power of two up to `n`.
    #[expect(clippy::indexing_slicing, reason = "every index is reduced modulo the table's own size")]
    pub fn new(g: GaloisElement, kind: RingKind, log_n: u32, width: usize) -> Self {
        let n = 1usize << log_n;
        let spacing = 1 << kind.log_spacing();
        let source_of = |i: usize| {
            // The order is a power of two: a product that overflows on a 32-bit host has the same remainder.
            let e = (spacing * bit_reverse(i, log_n) + 1).wrapping_mul(g.0 as usize) % (spacing * n);
            bit_reverse((e - 1) / spacing, log_n)
        };
        let mut patterns = vec![0; width * width];
        let source = (0..n)
            .step_by(width)
            .map(|start| {
                let first = source_of(start);
                let pattern = first % width;
                for lane in 0..width {
                    patterns[pattern * width + lane] = (source_of(start + lane) % width) as u32;
                }
                first as u32
            })
            .collect();
        Self { width, source, patterns }
    }

    /// Number of entries.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.source.len() * self.width
    }

    /// Number of entries in a block.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Per block, the source of its first entry: its high part is the source block, its low part
    /// (modulo the width) the number of the pattern.
    pub fn source(&self) -> &[u32] {
        &self.source
    }

    /// `width` patterns of `width` lane numbers.
    pub fn patterns(&self) -> &[u32] {
        &self.patterns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_any_width_give_the_same_permutation() {
        let kinds =
            [(RingKind::Cyclotomic, [1, 3, 5, 25, 7]), (RingKind::ConjugateInvariant, [1, 5, 9, 25, 61])];
        for (log_n, (kind, exponents)) in [4, 6, 10].into_iter().flat_map(|log_n| kinds.map(|k| (log_n, k))) {
            for exponent in exponents.into_iter().chain([kind.root_order(1 << log_n) as u32 - 3]) {
                let g = GaloisElement::new(exponent, kind, 1 << log_n).unwrap();
                let plain = NttPermutation::new(g, kind, log_n, 1);
                for width in [4usize, 8, 16] {
                    let blocks = NttPermutation::new(g, kind, log_n, width);
                    for i in 0..1usize << log_n {
                        let first = blocks.source()[i / width] as usize;
                        let lane = blocks.patterns()[first % width * width + i % width] as usize;
                        assert_eq!(first / width * width + lane, plain.source()[i] as usize);
                    }
                }
            }
        }
    }

    #[test]
    fn rotations_form_a_group_as_large_as_there_are_slots() {
        let n = 1 << 10;
        for kind in RingKind::ALL {
            let rotation = |steps| GaloisElement::rotation(steps, kind, n);
            let slots = kind.slots(n) as i64;
            let order = kind.root_order(n) as u64;
            assert_eq!(rotation(0), GaloisElement::IDENTITY);
            assert_eq!(rotation(-1), rotation(slots - 1));
            assert!((1..slots).all(|steps| rotation(steps) != GaloisElement::IDENTITY));
            assert_eq!(u64::from(rotation(3).0) * u64::from(rotation(-3).0) % order, 1);
            assert_eq!(GaloisElement::new(4, kind, n), None);
            assert_eq!(GaloisElement::new(order as u32 + 1, kind, n), None);
        }
        assert_eq!(GaloisElement::new(3, RingKind::ConjugateInvariant, n), None);
        assert_eq!(GaloisElement::conjugation(RingKind::ConjugateInvariant, n), GaloisElement::IDENTITY);
    }
}
