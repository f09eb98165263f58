//! Parameters: a [`ParamsLiteral`] chosen by the user, and [`Params`], its checked and immutable form.

use crate::Security;
use pleura_ring::convert::MAX_SOURCES;
use pleura_ring::{Gadget, Limbs, Ring, RingError, RingKind, primes_below};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The numbers that determine a parameter set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParamsLiteral {
    /// Kind of the ring: a ciphertext has `n / 2` complex slots, or `n` real ones in a conjugate-invariant ring.
    pub ring: RingKind,
    /// Logarithm of the ring degree `n`, 10 to 17.
    pub log_n: u32,
    /// Number of rescalings that a fresh ciphertext allows.
    pub levels: usize,
    /// Bits of scale, 20 to 60. Up to 30, a level is one prime. Up to 40, levels are one and two primes in turn, of at least 26
    /// bits, and their scales are about `scale_bits` (35 at the least) and a quarter more. Above, a level is two primes of at
    /// least 25 bits, and the scale has 50 bits at the least. [`Params::scale`] returns the exact scale.
    ///
    /// Special primes have 30 bits. Where a level's have as many (30, 40, 60), a digit is as large as their
    /// product, and each key switching costs two to three bits that 28 or 29 would keep.
    pub scale_bits: u32,
    /// Bits of the modulus that is left at level 0. What they exceed the scale by holds the integer part of the
    /// result and its sign.
    pub base_bits: u32,
    /// Primes in a key-switching digit, and special primes: more of them make fewer digits, that is faster
    /// switching and smaller keys, and cost modulus.
    pub digit_limbs: usize,
    /// Security level that the whole modulus is checked against.
    pub security: Security,
}

/// A parameter set that passed all checks. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Params(Arc<Checked>);

#[derive(Debug)]
struct Checked {
    literal: ParamsLiteral,
    ring: Arc<Ring>,
    /// Ciphertext primes at each level.
    limbs: Vec<usize>,
    scales: Vec<f64>,
    hash: [u8; 32],
}

struct Primes {
    /// Ciphertext primes, bottom up.
    q: Vec<u32>,
    special: Vec<u32>,
    /// Number of ciphertext primes at each level.
    limbs: Vec<usize>,
}

/// Why a [`ParamsLiteral`] was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ParamsError {
    /// The modulus is too large for the degree.
    #[error(
        "a modulus of {log2_qp:.1} bits at degree 2^{log_n} is not {bits}-bit secure (at most {max}); use a larger degree, fewer levels or a smaller scale",
        bits = security.bits()
    )]
    Insecure {
        /// Logarithm of the degree.
        log_n: u32,
        /// Bits of the whole modulus.
        log2_qp: f64,
        /// Bits allowed.
        max: f64,
        /// Security level requested.
        security: Security,
    },
    /// A number is out of its range.
    #[error("{field} is {value}; it must be {min} to {max}")]
    OutOfRange {
        /// Name of the number.
        field: &'static str,
        /// The value given.
        value: u64,
        /// Smallest valid value.
        min: u64,
        /// Largest valid value.
        max: u64,
    },
    /// No degree is large enough.
    #[error("no degree up to 2^17 carries {levels} levels of {scale_bits} bits with {bits}-bit security", bits = security.bits())]
    NothingFits {
        /// Levels requested.
        levels: usize,
        /// Bits of scale requested.
        scale_bits: u32,
        /// Security level requested.
        security: Security,
    },
    /// The primes cannot be had.
    #[error(transparent)]
    Ring(#[from] RingError),
}

impl ParamsLiteral {
    /// Degree `2^13`: three levels of 28 bits, three digits.
    pub const N13: Self = Self {
        ring: RingKind::Cyclotomic,
        log_n: 13,
        levels: 3,
        scale_bits: 28,
        base_bits: 56,
        digit_limbs: 2,
        security: Security::Bits128,
    };
    /// Degree `2^14`: eight levels of 29 bits, three digits.
    pub const N14: Self = Self {
        ring: RingKind::Cyclotomic,
        log_n: 14,
        levels: 8,
        scale_bits: 29,
        base_bits: 58,
        digit_limbs: 4,
        security: Security::Bits128,
    };
    /// Degree `2^15`: nineteen levels of 29 bits, three digits.
    pub const N15: Self = Self {
        ring: RingKind::Cyclotomic,
        log_n: 15,
        levels: 19,
        scale_bits: 29,
        base_bits: 58,
        digit_limbs: 7,
        security: Security::Bits128,
    };
    /// Degree `2^16`: forty levels of 29 bits, three digits.
    pub const N16: Self = Self {
        ring: RingKind::Cyclotomic,
        log_n: 16,
        levels: 40,
        scale_bits: 29,
        base_bits: 58,
        digit_limbs: 14,
        security: Security::Bits128,
    };

    /// The smallest secure set in a cyclotomic ring, see [`ParamsLiteral::choose_in`].
    ///
    /// # Errors
    /// As for [`ParamsLiteral::choose_in`].
    pub fn choose(levels: usize, scale_bits: u32, security: Security) -> Result<Self, ParamsError> {
        Self::choose_in(RingKind::Cyclotomic, levels, scale_bits, security)
    }

    /// The smallest secure set with this number of levels of these bits for which primes exist. Among sets of that degree it is
    /// the one whose key switching takes the fewest transforms. [`Params::new`] accepts it.
    ///
    /// # Errors
    /// [`ParamsError::OutOfRange`], [`ParamsError::NothingFits`]
    pub fn choose_in(
        ring: RingKind,
        levels: usize,
        scale_bits: u32,
        security: Security,
    ) -> Result<Self, ParamsError> {
        let base_bits = scale_bits.saturating_add(20).clamp(45, 90);
        let literal = Self { ring, log_n: 10, levels, scale_bits, base_bits, digit_limbs: 1, security };
        literal.check_ranges()?;
        let q = literal.prime_bits().into_iter().flatten().collect::<Vec<_>>();
        for log_n in if security == Security::InsecureForTests { 10..=10 } else { 10..=17 } {
            let mut digits: Vec<usize> = (1..=literal.max_digit_limbs().min(q.len()))
                .filter(|&limbs| q.iter().sum::<f64>() + 30.0 * limbs as f64 <= security.max_log2_qp(log_n))
                .collect();
            digits.sort_by_key(|&a| (q.len().div_ceil(a) + 2) * (q.len() + a));
            let mut sets = digits.into_iter().map(|digit_limbs| Self { log_n, digit_limbs, ..literal });
            if let Some(set) = sets.find(|set| set.check().is_ok()) {
                return Ok(set);
            }
        }
        Err(ParamsError::NothingFits { levels, scale_bits, security })
    }

    /// Checks all that [`Params::new`] does, without its tables.
    ///
    /// # Errors
    /// As for [`Params::new`].
    pub fn check(&self) -> Result<(), ParamsError> {
        self.check_ranges()?;
        self.primes().map(drop)
    }

    /// For each level, the sum of `(D/P)^2` over the digits `D` of a key switching, with the special primes' product `P`.
    ///
    /// # Errors
    /// As for [`Params::new`].
    #[expect(clippy::indexing_slicing, reason = "levels count primes that were found")]
    pub(crate) fn digit_sizes(&self) -> Result<Vec<f64>, ParamsError> {
        self.check_ranges()?;
        let Primes { q, special, limbs } = self.primes()?;
        let log2 = |primes: &[u32]| primes.iter().map(|&prime| f64::from(prime).log2()).sum::<f64>();
        let log2_p = log2(&special);
        let sizes = limbs.iter().map(|&limbs| {
            let digits = q[..limbs].chunks(self.digit_limbs);
            digits.map(|digit| (2.0 * (log2(digit) - log2_p)).exp2()).sum()
        });
        Ok(sizes.collect())
    }

    /// The primes, within the modulus that is secure.
    fn primes(&self) -> Result<Primes, ParamsError> {
        let half_order = self.ring.root_order(1 << self.log_n) / 2;
        // Special primes first: they must not be smaller than a digit's.
        let special = primes_below(30.0, half_order, self.digit_limbs, &[])?;
        let mut taken = special.clone();
        let mut limbs = Vec::new();
        for group in self.prime_bits() {
            let mut missing = 0.0;
            for bits in group {
                let found = primes_below(bits, half_order, 1, &taken);
                // Small primes are rare: one of the base has the bits that those before it lack.
                let found = found.or_else(|_| primes_below(bits + missing, half_order, 1, &taken))?;
                missing += found.iter().map(|&prime| bits - f64::from(prime).log2()).sum::<f64>();
                taken.extend(found);
            }
            limbs.push(taken.len() - special.len());
        }
        let log2_qp = taken.iter().map(|&q| f64::from(q).log2()).sum();
        let &Self { log_n, security, .. } = self;
        let max = security.max_log2_qp(log_n);
        if log2_qp > max {
            return Err(ParamsError::Insecure { log_n, log2_qp, max, security });
        }
        Ok(Primes { q: taken.split_off(special.len()), special, limbs })
    }

    /// See [`Params::noise_bits`].
    pub fn noise_bits(&self) -> f64 {
        match self.ring {
            RingKind::Cyclotomic => 0.0,
            RingKind::ConjugateInvariant => 1.5,
        }
    }

    /// ModDown and a level's primes are dropped at once, from at most [`MAX_SOURCES`].
    fn max_digit_limbs(&self) -> usize {
        MAX_SOURCES - if self.scale_bits > 30 { 2 } else { 1 }
    }

    fn check_ranges(&self) -> Result<(), ParamsError> {
        let check = |field, value: u64, min: u64, max: u64| {
            let fits = (min..=max).contains(&value);
            if fits { Ok(()) } else { Err(ParamsError::OutOfRange { field, value, min, max }) }
        };
        check("log_n", self.log_n.into(), 10, 17)?;
        check("levels", self.levels as u64, 0, 100)?;
        check("scale_bits", self.scale_bits.into(), 20, 60)?;
        check("base_bits", self.base_bits.into(), u64::from(self.scale_bits) + 2, 120)?;
        check("digit_limbs", self.digit_limbs as u64, 1, self.max_digit_limbs() as u64)
    }

    /// Bits of each prime of the base, then of each level, bottom up.
    fn prime_bits(&self) -> Vec<Vec<f64>> {
        let base_bits = f64::from(self.base_bits);
        let base_primes = (base_bits / 30.0).ceil();
        let scale_bits = f64::from(self.scale_bits);
        let mut out = vec![vec![base_bits / base_primes; base_primes as usize]];
        out.extend((0..self.levels).map(|level| match self.scale_bits {
            0..=30 => vec![scale_bits],
            // D_1 = 3/2 s lifts a scale of s bits to 5/4 s, and D_2 = 3/4 s brings it back.
            31..=40 => vec![(0.75 * scale_bits).max(26.0); if level % 2 == 0 { 2 } else { 1 }],
            _ => vec![(0.5 * scale_bits).max(25.0); 2],
        }));
        out
    }
}

impl Params {
    /// The smallest secure set for `levels` rescalings at `scale_bits` bits, see [`ParamsLiteral::choose`].
    ///
    /// # Errors
    /// As for [`ParamsLiteral::choose`].
    /// ```
    /// use pleura_ckks::{Params, Security};
    ///
    /// let params = Params::choose(3, 29, Security::Bits128)?;
    /// assert_eq!((params.n(), params.max_level()), (8192, 3));
    /// assert!(params.log2_qp(3) <= Security::Bits128.max_log2_qp(13));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn choose(levels: usize, scale_bits: u32, security: Security) -> Result<Self, ParamsError> {
        Self::new(ParamsLiteral::choose(levels, scale_bits, security)?)
    }

    /// Finds the primes and checks everything.
    ///
    /// # Errors
    /// [`ParamsError`] says which number is wrong.
    pub fn new(literal: ParamsLiteral) -> Result<Self, ParamsError> {
        literal.check_ranges()?;
        let Primes { q, special, limbs } = literal.primes()?;
        let ring = Arc::new(Ring::of_kind(literal.ring, literal.log_n, &q, &special)?);
        // The scale of level l is the one that squaring and rescaling turns into that of level l - 1. Taken from
        // the bottom up, these means of the primes stay among them; from the top down they would run away.
        let mut scale = f64::from(literal.scale_bits).exp2();
        let mut scales = vec![scale];
        for (&below, &here) in limbs.iter().zip(limbs.iter().skip(1)) {
            let dropped = ring.moduli(Limbs::q(here)).skip(below).map(|m| f64::from(m.q()));
            scale = (scale * dropped.product::<f64>()).sqrt();
            scales.push(scale);
        }
        let mut hash = Sha256::new();
        let words = [literal.log_n, literal.scale_bits, literal.security.bits(), literal.levels as u32];
        for word in words.into_iter().chain(q).chain(special) {
            hash.update(word.to_le_bytes());
        }
        if literal.ring == RingKind::ConjugateInvariant {
            hash.update(literal.ring.name());
        }
        let hash = hash.finalize().into();
        Ok(Self(Arc::new(Checked { literal, ring, limbs, scales, hash })))
    }

    /// The literal that the parameters were made from.
    pub fn literal(&self) -> &ParamsLiteral {
        &self.0.literal
    }

    /// The ring of all primes.
    pub fn ring(&self) -> &Arc<Ring> {
        &self.0.ring
    }

    /// The ring's degree.
    pub fn n(&self) -> usize {
        self.0.ring.n()
    }

    /// The number of slots of a ciphertext: `n/2` complex ones, or `n` real ones in a conjugate-invariant ring.
    pub fn slots(&self) -> usize {
        self.0.ring.slots()
    }

    /// Logarithm of the number of slots.
    pub fn max_log_slots(&self) -> u32 {
        self.slots().ilog2()
    }

    /// Bits by which noise in the slots of a conjugate-invariant ring exceeds that of a cyclotomic ring of the same degree: the
    /// real part of a product of two polynomials with independent coefficients of variance 1 has the variance `n^2 / 2` in a
    /// cyclotomic ring and `4 n^2` here.
    pub fn noise_bits(&self) -> f64 {
        self.0.literal.noise_bits()
    }

    /// The level of a fresh ciphertext: how many rescalings it allows.
    pub fn max_level(&self) -> usize {
        self.0.literal.levels
    }

    /// The ciphertext primes at a level.
    ///
    /// # Panics
    /// If there is no such level, as for everything here that takes a level.
    #[expect(clippy::indexing_slicing, reason = "documented; levels of every parsed object are checked")]
    pub fn limbs(&self, level: usize) -> Limbs {
        Limbs::q(self.0.limbs[level])
    }

    /// The usual scale at a level: squaring and rescaling leads from one to the next exactly.
    #[expect(clippy::indexing_slicing, reason = "documented; levels of every parsed object are checked")]
    pub fn scale(&self, level: usize) -> f64 {
        self.0.scales[level]
    }

    /// The divisor of a rescaling at `level`: the product of the primes that `level - 1` lacks; 1 at level 0.
    pub fn divisor(&self, level: usize) -> f64 {
        let kept = self.limbs(level.saturating_sub(1)).q;
        let ring = self.ring();
        ring.moduli(self.limbs(level)).skip(kept).map(|m| f64::from(m.q())).product()
    }

    /// Decomposition of a ciphertext at a level for key switching.
    pub fn gadget(&self, level: usize) -> Gadget {
        let digit_limbs = self.0.literal.digit_limbs;
        Gadget { limbs: Limbs { p: digit_limbs, ..self.limbs(level) }, digit_limbs }
    }

    /// Bits of the whole modulus at a level, special primes included.
    pub fn log2_qp(&self, level: usize) -> f64 {
        self.ring().log2(self.gadget(level).limbs)
    }

    /// Bits of the ciphertext modulus at a level.
    pub fn log2_q(&self, level: usize) -> f64 {
        self.ring().log2(self.limbs(level))
    }

    /// Identifies the set; every object on the wire carries it.
    pub fn hash(&self) -> &[u8; 32] {
        &self.0.hash
    }
}

impl PartialEq for Params {
    fn eq(&self, other: &Self) -> bool {
        self.0.hash == other.0.hash
    }
}
