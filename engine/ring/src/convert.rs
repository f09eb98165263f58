//! Conversion of residues from one set of primes to another, the heart of ModUp, ModDown and rescale.
//!
//! For `x` modulo `D = prod d_i` let `y_i = x (D/d_i)^-1 mod d_i`. Then `sum y_i / d_i = x/D + u` for an integer
//! `u`, and the representative of `x` nearest to zero is `sum y_i (D/d_i) - u D`, where `u` is the sum rounded to
//! the nearest integer (Halevi, Polyakov, Shoup, "An improved RNS variant of the BFV scheme", 2019). The sum is
//! taken in fixed point, in integers alone, so that every backend rounds alike; `u` can only be off by one where
//! `x/D` is within `sum d_i / 2^(31 + floor(log2 min d_i))` of a half, where either neighbour is as good. That is
//! `2^-26` for primes of one size and `2^-17` for any mixture of 20 to 30 bits.

use crate::{Ring, RingError, Shoup};

/// The most primes that can be converted from at once.
pub const MAX_SOURCES: usize = 15;

/// Tables for converting residues modulo the product `D` of the source primes.
#[derive(Debug)]
pub struct Conversion {
    scale: Vec<u32>,
    quotient: Vec<u32>,
    shift: u32,
    targets: Vec<Target>,
}

/// What one target prime `t` needs.
#[derive(Debug)]
pub struct Target {
    /// `D/d_i mod t` for each source, then `-D mod t` for the quotient; times `2^32`.
    pub weights: Vec<u32>,
    /// `D^-1 mod t`, for division by `D`.
    pub inverse: Shoup,
}

impl Conversion {
    /// Tables from the primes at positions `sources` of `ring` to those at `targets`; the two do not overlap.
    ///
    /// # Errors
    /// [`RingError::TooManySources`] beyond [`MAX_SOURCES`].
    pub fn new(ring: &Ring, sources: &[usize], targets: &[usize]) -> Result<Self, RingError> {
        if sources.is_empty() || sources.len() > MAX_SOURCES {
            return Err(RingError::TooManySources { sources: sources.len() });
        }
        let product = |modulus: &crate::Modulus, skip: Option<usize>| {
            let others = sources.iter().filter(|&&s| Some(s) != skip);
            others.fold(1, |acc, &s| modulus.mul(acc, ring.modulus(s).q()))
        };
        let smallest = sources.iter().map(|&s| ring.modulus(s).q()).min().unwrap_or(1);
        // Weights then stay below 2^32 and their sum of products below 2^64.
        let shift = 31 + smallest.ilog2();
        Ok(Self {
            scale: sources.iter().map(|&s| ring.modulus(s).inv(product(ring.modulus(s), Some(s)))).collect(),
            quotient: sources
                .iter()
                .map(|&s| ((1u64 << shift) / u64::from(ring.modulus(s).q())) as u32)
                .collect(),
            shift,
            targets: targets
                .iter()
                .map(|&t| {
                    let modulus = ring.modulus(t);
                    let montgomery = |x| modulus.mul(x, modulus.r().w);
                    let all = product(modulus, None);
                    let mut weights: Vec<u32> =
                        sources.iter().map(|&s| montgomery(product(modulus, Some(s)))).collect();
                    weights.push(montgomery(modulus.neg(all)));
                    Target { weights, inverse: modulus.shoup(modulus.inv(all)) }
                })
                .collect(),
        })
    }

    /// `(D/d_i)^-1 mod d_i` for each source: the factor that makes `y_i` of `x`.
    pub fn scale(&self) -> &[u32] {
        &self.scale
    }

    /// `floor(2^shift / d_i)` for each source: the weights of the quotient `u`.
    pub fn quotient(&self) -> &[u32] {
        &self.quotient
    }

    /// The quotient's fixed point.
    pub fn shift(&self) -> u32 {
        self.shift
    }

    /// The targets, in the order given.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }
}
