//! The ring in residue form: its degree, its primes, and which of them a polynomial carries.

use crate::{BasisConversion, GaloisElement, Limbs, Modulus, NttTable, RingError, RingKind};
use rayon::prelude::*;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A ring of some [`RingKind`] modulo a chain of ciphertext primes `q_0, q_1, ...` and special primes `p_0, p_1, ...`.
pub struct Ring {
    kind: RingKind,
    log_n: u32,
    primes: Vec<NttTable>,
    num_q: usize,
    conversions: Mutex<Conversions>,
}

/// Conversions by the positions of the primes they lead from and to.
type Conversions = HashMap<(Vec<usize>, Vec<usize>), Arc<BasisConversion>>;

impl Ring {
    /// Builds the tables of the cyclotomic ring of degree `2^log_n`.
    ///
    /// # Errors
    /// As [`Ring::of_kind`].
    pub fn new(log_n: u32, q: &[u32], p: &[u32]) -> Result<Self, RingError> {
        Self::of_kind(RingKind::Cyclotomic, log_n, q, p)
    }

    /// Builds the tables of a ring of degree `2^log_n`.
    ///
    /// # Errors
    /// A degree outside `2^2..=2^17`, a number that is no prime below `2^30`, a prime that is not
    /// `1 mod 2n` (`1 mod 4n` in a conjugate-invariant ring), or one that occurs twice.
    pub fn of_kind(kind: RingKind, log_n: u32, q: &[u32], p: &[u32]) -> Result<Self, RingError> {
        if !(2..=17).contains(&log_n) {
            return Err(RingError::BadDegree { log_n });
        }
        let all: Vec<u32> = q.iter().chain(p).copied().collect();
        if let Some((_, &twice)) = all.iter().enumerate().find(|&(i, x)| all.iter().take(i).any(|y| y == x)) {
            return Err(RingError::RepeatedPrime { q: twice });
        }
        let primes = all
            .par_iter()
            .map(|&q| NttTable::new(Modulus::new(q)?, kind, log_n))
            .collect::<Result<Vec<_>, RingError>>()?;
        Ok(Self { kind, log_n, primes, num_q: q.len(), conversions: Mutex::default() })
    }

    /// The kind of the ring.
    pub fn kind(&self) -> RingKind {
        self.kind
    }

    /// The number of slots of an element: `n/2` complex ones, or `n` real ones.
    pub fn slots(&self) -> usize {
        self.kind.slots(self.n())
    }

    /// The automorphism that rotates the slots to the left by `steps` (to the right if negative).
    pub fn rotation(&self, steps: i64) -> GaloisElement {
        GaloisElement::rotation(steps, self.kind, self.n())
    }

    /// The automorphism that conjugates every slot: the identity where slots are real.
    pub fn conjugation(&self) -> GaloisElement {
        GaloisElement::conjugation(self.kind, self.n())
    }

    /// The automorphism `X -> X^exponent`; `None` unless it is an odd exponent below `2n` or, in a conjugate-invariant ring, one
    /// that is `1 mod 4` below `4n`.
    pub fn galois(&self, exponent: u32) -> Option<GaloisElement> {
        GaloisElement::new(exponent, self.kind, self.n())
    }

    /// The index of the coefficient to which an automorphism moves coefficient `i`, and whether it is negated on the way.
    pub fn image(&self, i: usize, g: GaloisElement) -> (usize, bool) {
        let n = self.n();
        let order = self.kind.root_order(n);
        // The order is a power of two: a product that overflows on a 32-bit host has the same remainder.
        let exponent = i.wrapping_mul(g.exponent() as usize) % order;
        match self.kind {
            RingKind::Cyclotomic => (exponent % n, exponent >= n),
            // `X^e + X^-e` is the element of `4n - e` too, and minus that of `2n - e`.
            RingKind::ConjugateInvariant => {
                let exponent = exponent.min(order - exponent);
                (exponent.min(2 * n - exponent), exponent > n)
            }
        }
    }

    /// The degree.
    pub fn n(&self) -> usize {
        1 << self.log_n
    }

    /// Logarithm of the degree, to base 2.
    pub fn log_n(&self) -> u32 {
        self.log_n
    }

    /// All limbs of the ring.
    pub fn limbs(&self) -> Limbs {
        Limbs { q: self.num_q, p: self.primes.len() - self.num_q }
    }

    /// The prime numbers of `limbs`, as positions in the ring's list: ciphertext primes first.
    ///
    /// # Panics
    /// If the ring has no such limbs.
    pub fn indices(&self, limbs: Limbs) -> impl DoubleEndedIterator<Item = usize> + Clone + use<> {
        assert!(self.limbs().contains(limbs), "{limbs:?} of a ring of {:?}", self.limbs());
        (0..limbs.q).chain(self.num_q..self.num_q + limbs.p)
    }

    /// The transform tables of the prime at a position that [`Ring::indices`] gave.
    #[expect(clippy::indexing_slicing, reason = "positions come from `indices`")]
    pub fn table(&self, index: usize) -> &NttTable {
        &self.primes[index]
    }

    /// The prime at a position that [`Ring::indices`] gave.
    pub fn modulus(&self, index: usize) -> &Modulus {
        self.table(index).modulus()
    }

    /// The moduli of `limbs`, in order.
    pub fn moduli(&self, limbs: Limbs) -> impl Iterator<Item = &Modulus> {
        self.indices(limbs).map(|i| self.modulus(i))
    }

    /// The product `P` of the first `special` special primes modulo the prime at a position that [`Ring::indices`] gave.
    ///
    /// # Panics
    /// If the ring has fewer special primes.
    pub fn special_product(&self, special: usize, index: usize) -> u32 {
        let modulus = self.modulus(index);
        let primes = self.moduli(Limbs { q: 0, p: special });
        primes.fold(1, |product, p| modulus.mul(product, modulus.reduce(p.q().into())))
    }

    /// Tables for converting residues modulo the primes at positions `from` to those at positions `to`; none is in both. They
    /// are made once and kept.
    ///
    /// # Errors
    /// [`RingError::TooManySources`] beyond [`MAX_SOURCES`](crate::convert::MAX_SOURCES), or if there is none.
    pub fn conversion(&self, from: &[usize], to: &[usize]) -> Result<Arc<BasisConversion>, RingError> {
        let mut conversions = self.conversions.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (from.to_vec(), to.to_vec());
        if let Some(conversion) = conversions.get(&key) {
            return Ok(conversion.clone());
        }
        let [sources, targets] = [from, to].map(|of| of.iter().map(|&i| self.modulus(i)).collect::<Vec<_>>());
        let conversion = Arc::new(BasisConversion::new(&sources, &targets)?);
        conversions.insert(key, conversion.clone());
        Ok(conversion)
    }

    /// Bits in the product of the primes of `limbs`.
    pub fn log2(&self, limbs: Limbs) -> f64 {
        self.moduli(limbs).map(|m| f64::from(m.q()).log2()).sum()
    }

    /// The primes of `limbs` times `polys` polynomials, in words.
    pub fn words(&self, limbs: Limbs, polys: usize) -> usize {
        (polys * limbs.count()) << self.log_n
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let primes: Vec<_> = self.primes.iter().map(|t| t.modulus().q()).collect();
        let Self { kind, log_n, num_q, .. } = self;
        f.debug_struct("Ring")
            .field("kind", kind)
            .field("log_n", log_n)
            .field("num_q", num_q)
            .field("primes", &primes)
            .finish()
    }
}
