//! Conversion of residues from one set of primes to another, used by ModUp, ModDown and rescale.
//!
//! For `x` modulo `D = prod d_i` let `y_i = x (D/d_i)^-1 mod d_i`. Then `sum y_i / d_i = x/D + u` for an integer
//! `u`, and the representative of `x` nearest to zero is `sum y_i (D/d_i) - u D`, where `u` is the sum rounded to
//! the nearest integer (Halevi, Polyakov, Shoup, "An improved RNS variant of the BFV scheme", 2019). The sum is
//! taken in fixed point, in integers alone, so that every backend rounds alike; `u` can only be off by one where
//! `x/D` is within `sum d_i / 2^(31 + floor(log2 min d_i))` of a half, where either neighbour is as good. That is
//! `2^-26` for primes of one size and `2^-17` for any mixture of 20 to 30 bits.

use crate::{Modulus, RingError, Shoup};

/// Upper bound of the number of source primes.
pub const MAX_SOURCES: usize = 15;

/// Tables for converting residues modulo the product `D` of the source primes.
#[derive(Debug)]
pub struct BasisConversion {
    qhat_inv: Vec<u32>,
    inv_fixed_point: Vec<u32>,
    fixed_point_bits: u32,
    targets: Vec<Target>,
}

/// Constants of one target prime `t`.
#[derive(Debug)]
pub struct Target {
    /// `D/d_i mod t` for each source, then `-D mod t` for the quotient; times `2^32`.
    pub qhat: Vec<u32>,
    /// `D^-1 mod t`, for division by `D`.
    pub inverse: Shoup,
}

impl BasisConversion {
    /// Tables from the primes `sources` to the primes `targets`; no prime is in both.
    ///
    /// # Errors
    /// [`RingError::TooManySources`] beyond [`MAX_SOURCES`], or if there is none.
    pub fn new(sources: &[&Modulus], targets: &[&Modulus]) -> Result<Self, RingError> {
        let smallest = sources.iter().map(|d| d.q()).min().filter(|_| sources.len() <= MAX_SOURCES);
        let refused = RingError::TooManySources { sources: sources.len(), max: MAX_SOURCES };
        let smallest = smallest.ok_or(refused)?;
        // Reciprocals then stay below 2^32 and their sum of products below 2^64.
        let fixed_point_bits = 31 + smallest.ilog2();
        Ok(Self {
            qhat_inv: sources.iter().map(|d| d.inv(product_of_others(sources, d, d))).collect(),
            inv_fixed_point: sources
                .iter()
                .map(|d| ((1u64 << fixed_point_bits) / u64::from(d.q())) as u32)
                .collect(),
            fixed_point_bits,
            targets: targets.iter().map(|t| Target::new(sources, t)).collect(),
        })
    }

    /// `(D/d_i)^-1 mod d_i` for each source: the factor that makes `y_i` of `x`.
    pub fn qhat_inv(&self) -> &[u32] {
        &self.qhat_inv
    }

    /// `floor(2^fixed_point_bits / d_i)` for each source: its share of the quotient `u`.
    pub fn inv_fixed_point(&self) -> &[u32] {
        &self.inv_fixed_point
    }

    /// Bits after the point of [`BasisConversion::inv_fixed_point`].
    pub fn fixed_point_bits(&self) -> u32 {
        self.fixed_point_bits
    }

    /// The least `y` whose quotient is one, in a conversion from one prime.
    #[expect(clippy::indexing_slicing, reason = "a conversion has a source")]
    pub fn threshold(&self) -> u32 {
        let half = 1u64 << (self.fixed_point_bits - 1);
        half.div_ceil(u64::from(self.inv_fixed_point[0])) as u32
    }

    /// The targets, in the order given.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }
}

impl Target {
    fn new(sources: &[&Modulus], target: &Modulus) -> Self {
        let montgomery = |x| target.mul(x, target.r().w);
        let all = sources.iter().fold(1, |product, d| target.mul(product, d.q()));
        let mut qhat: Vec<u32> =
            sources.iter().map(|d| montgomery(product_of_others(sources, d, target))).collect();
        qhat.push(montgomery(target.neg(all)));
        Self { qhat, inverse: target.shoup(target.inv(all)) }
    }
}

/// `D/d_i` modulo a prime.
fn product_of_others(sources: &[&Modulus], own: &Modulus, modulus: &Modulus) -> u32 {
    let others = sources.iter().filter(|d| d.q() != own.q());
    others.fold(1, |product, d| modulus.mul(product, d.q()))
}
