//! Automorphisms `X -> X^g` and how they permute a transformed polynomial.

use crate::ntt::bit_reverse;

/// An odd exponent `g` modulo `2n`, naming the automorphism `X -> X^g`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GaloisElement(u32);

impl GaloisElement {
    /// The automorphism that changes nothing.
    pub const IDENTITY: Self = Self(1);

    /// `X -> X^exponent` at degree `n`; `None` for an even exponent or one of `2n` or more.
    pub fn new(exponent: u32, n: usize) -> Option<Self> {
        (exponent % 2 == 1 && (exponent as usize) < 2 * n).then_some(Self(exponent))
    }

    /// `5^steps`: rotates the `n/2` slots to the left by `steps` (to the right if negative).
    pub fn rotation(steps: i64, n: usize) -> Self {
        let order = n as i64 / 2;
        let modulus = 2 * n as u64;
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

    /// `-1`: conjugates every slot.
    pub fn conjugation(n: usize) -> Self {
        Self(2 * n as u32 - 1)
    }

    /// The exponent.
    pub fn exponent(self) -> u32 {
        self.0
    }
}

/// How `X -> X^g` moves transformed words: `out[i] = in[source(i)]`.
///
/// Entry `i` holds the value at `psi^e`, `e = 2 bitrev(i) + 1`, and the automorphism takes it from exponent
/// `g e`. An aligned block of `w` entries shares the low bits of its exponents, so it comes from *one* aligned
/// block, permuted inside by one of at most `w` patterns that `g` fixes. Vector units and coalesced
/// GPU loads move whole blocks.
#[derive(Debug)]
pub struct NttPermutation {
    width: usize,
    source: Vec<u32>,
    patterns: Vec<u32>,
}

impl NttPermutation {
    /// The permutation of `g` at degree `2^log_n` in blocks of `width`, a power of two up to `n`.
    #[expect(clippy::indexing_slicing, reason = "every index is reduced modulo the table's own size")]
    pub fn new(g: GaloisElement, log_n: u32, width: usize) -> Self {
        let n = 1usize << log_n;
        let source_of = |i: usize| {
            let e = (2 * bit_reverse(i, log_n) + 1) * g.0 as usize % (2 * n);
            bit_reverse((e - 1) / 2, log_n)
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
        for log_n in [4, 6, 10] {
            for exponent in [1, 3, 5, 25, (2 << log_n) - 1] {
                let g = GaloisElement::new(exponent, 1 << log_n).unwrap();
                let plain = NttPermutation::new(g, log_n, 1);
                for width in [4usize, 8, 16] {
                    let blocks = NttPermutation::new(g, log_n, width);
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
    fn rotations_form_a_group_of_order_n_over_two() {
        let n = 1 << 10;
        assert_eq!(GaloisElement::rotation(0, n), GaloisElement::IDENTITY);
        assert_eq!(GaloisElement::rotation(-1, n), GaloisElement::rotation(n as i64 / 2 - 1, n));
        let both = u64::from(GaloisElement::rotation(3, n).0) * u64::from(GaloisElement::rotation(-3, n).0);
        assert_eq!(both % (2 * n as u64), 1);
        assert_eq!(GaloisElement::new(4, n), None);
        assert_eq!(GaloisElement::new(2 * n as u32 + 1, n), None);
    }
}
