//! One prime modulus below 2^30, with the reductions that the engine uses.
//!
//! * Barrett for arbitrary 64-bit values (host code, tables).
//! * Shoup where one factor is known beforehand (twiddles, scalars): with `w' = floor(w 2^32 / q)`, the value
//!   `a w - floor(a w' / 2^32) q` lies in `[0, 2q)` for *every* 32-bit `a` (V. Shoup, NTL; D. Harvey, "Faster
//!   arithmetic for number-theoretic transforms", 2014).
//! * Montgomery with `R = 2^32` for sums of products of two variables (in the kernels).

use crate::RingError;

/// Largest number of bits in a prime: four times a residue still fits a 32-bit word, which the lazy
/// butterflies need, and sixteen products of residues fit a 64-bit accumulator.
pub const MAX_PRIME_BITS: u32 = 30;

/// An odd prime `q < 2^30` with its reduction constants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modulus {
    q: u32,
    barrett: u64,
    q_inv: u32,
    r: Shoup,
}

/// A constant factor `w < q` with `floor(w 2^32 / q)`, for products by Shoup's method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Shoup {
    /// The factor, in `[0, q)`.
    pub w: u32,
    /// `floor(w 2^32 / q)`.
    pub quotient: u32,
}

impl Modulus {
    /// Checks that `q` is an odd prime of at most 30 bits.
    ///
    /// # Errors
    /// [`RingError::NotAPrime`] otherwise.
    pub fn new(q: u32) -> Result<Self, RingError> {
        if q < 3 || q >> MAX_PRIME_BITS != 0 || !is_prime(q) {
            return Err(RingError::NotAPrime { q });
        }
        // Newton's iteration doubles the number of right bits; q itself is an inverse modulo 8.
        let q_inv = (0..4).fold(q, |x, _| x.wrapping_mul(2u32.wrapping_sub(q.wrapping_mul(x))));
        let mut modulus = Self { q, barrett: u64::MAX / u64::from(q), q_inv, r: Shoup::default() };
        modulus.r = modulus.shoup(modulus.reduce(1 << 32));
        Ok(modulus)
    }

    /// The prime.
    pub fn q(&self) -> u32 {
        self.q
    }

    /// `q^-1 mod 2^32`, for Montgomery reduction.
    pub fn q_inv(&self) -> u32 {
        self.q_inv
    }

    /// `2^32 mod q`, which undoes a Montgomery reduction.
    pub fn r(&self) -> Shoup {
        self.r
    }

    /// `x mod q` for any 64-bit `x`.
    pub fn reduce(&self, x: u64) -> u32 {
        let r = x.wrapping_sub(self.quotient(x).wrapping_mul(u64::from(self.q)));
        // The estimate is short by at most one. No branch: `x` may be secret.
        r.min(r.wrapping_sub(u64::from(self.q))) as u32
    }

    /// `x mod q` in `[0, q)` for a signed `x`.
    pub fn reduce_signed(&self, x: i64) -> u32 {
        let r = self.reduce(x.unsigned_abs());
        let negative = (x >> 63) as u32;
        (self.neg(r) & negative) | (r & !negative)
    }

    /// `a + b mod q` for residues.
    pub fn add(&self, a: u32, b: u32) -> u32 {
        let s = a + b;
        s.min(s.wrapping_sub(self.q))
    }

    /// `a - b mod q` for residues.
    pub fn sub(&self, a: u32, b: u32) -> u32 {
        let d = a.wrapping_sub(b);
        d.min(d.wrapping_add(self.q))
    }

    /// `-a mod q` for a residue.
    pub fn neg(&self, a: u32) -> u32 {
        self.sub(0, a)
    }

    /// `a b mod q` for any 32-bit words.
    pub fn mul(&self, a: u32, b: u32) -> u32 {
        self.reduce(u64::from(a) * u64::from(b))
    }

    /// `a^e mod q`.
    pub fn pow(&self, a: u32, mut e: u64) -> u32 {
        let mut base = self.reduce(u64::from(a));
        let mut out = 1;
        while e > 0 {
            if e & 1 == 1 {
                out = self.mul(out, base);
            }
            base = self.mul(base, base);
            e >>= 1;
        }
        out
    }

    /// `a^-1 mod q` by Fermat; 0 for 0.
    pub fn inv(&self, a: u32) -> u32 {
        self.pow(a, u64::from(self.q) - 2)
    }

    /// Prepares the factor `w mod q`.
    pub fn shoup(&self, w: u32) -> Shoup {
        let w = self.reduce(u64::from(w));
        let product = u64::from(w) << 32;
        let quotient = self.quotient(product);
        let r = product.wrapping_sub(quotient.wrapping_mul(u64::from(self.q)));
        Shoup { w, quotient: quotient as u32 + u32::from(r >= u64::from(self.q)) }
    }

    /// `floor(x / q)`, or one less.
    fn quotient(&self, x: u64) -> u64 {
        ((u128::from(x) * u128::from(self.barrett)) >> 64) as u64
    }

    /// `first ratio^k mod q` for `count` values of `k` from 0 on.
    pub(crate) fn powers(&self, first: u32, ratio: u32, count: usize) -> Vec<u32> {
        let mut powers = Vec::with_capacity(count);
        powers.push(first);
        let mut factor = ratio;
        // Twice as many at a time, which do not wait for each other.
        while powers.len() < count {
            let known = powers.len();
            powers.extend_from_within(..known.min(count - known));
            powers.iter_mut().skip(known).for_each(|power| *power = self.mul(*power, factor));
            factor = self.mul(factor, factor);
        }
        powers
    }

    /// The smallest primitive `order`-th root of unity, `order` a power of two.
    ///
    /// # Errors
    /// [`RingError::NoRoot`] if `order` does not divide `q - 1`.
    pub fn smallest_root(&self, order: u64) -> Result<u32, RingError> {
        if order < 2 || !order.is_power_of_two() || !u64::from(self.q - 1).is_multiple_of(order) {
            return Err(RingError::NoRoot { q: self.q, order });
        }
        let cofactor = u64::from(self.q - 1) / order;
        // Half of all elements are non-residues, whose cofactor-th power is primitive.
        let Some(root) =
            (2..self.q).map(|g| self.pow(g, cofactor)).find(|&r| self.pow(r, order / 2) == self.q - 1)
        else {
            return Err(RingError::NoRoot { q: self.q, order });
        };
        let roots = self.powers(root, self.mul(root, root), order as usize / 2);
        Ok(roots.into_iter().fold(root, u32::min))
    }
}

/// The `count` largest primes `= 1 mod 2n` below `2^bits` (a real number of bits, 4 to 30) that are not in `taken`, largest first.
///
/// Just below a power of two a residue wastes no bit on the wire, and drawing one uniformly rejects next to nothing.
///
/// # Errors
/// [`RingError::TooFewPrimes`] if the search, which stays above half the bound, ends early, and for other numbers of bits.
pub fn primes_below(bits: f64, n: usize, count: usize, taken: &[u32]) -> Result<Vec<u32>, RingError> {
    let too_few = |found| RingError::TooFewPrimes { n, bits, wanted: count, found };
    let step = n.checked_mul(2).filter(|&step| step > 0 && (4.0..=f64::from(MAX_PRIME_BITS)).contains(&bits));
    let Some(step) = step else { return Err(too_few(0)) };
    let bound = bits.exp2() as u32;
    let top = (bound as usize - 2) / step * step + 1;
    let candidates = (0..).map_while(|k| top.checked_sub(k * step)).map(|c| c as u32);
    let candidates = candidates.take_while(|&c| c > bound / 2).filter(|c| !taken.contains(c) && is_prime(*c));
    let found: Vec<u32> = candidates.take(count).collect();
    if found.len() == count { Ok(found) } else { Err(too_few(found.len())) }
}

/// Trial division, and Miller-Rabin with the bases 2, 7, 61, which decide every number below 4,759,123,141 (Jaeschke 1993).
fn is_prime(n: u32) -> bool {
    if n < 2 {
        return false;
    }
    if let Some(&divisor) = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31].iter().find(|&&d| n.is_multiple_of(d)) {
        return n == divisor;
    }
    let n64 = u64::from(n);
    let shift = (n - 1).trailing_zeros();
    let mul = |a: u64, b: u64| a * b % n64;
    let pow = |base: u64, mut e: u32| {
        let mut b = base;
        let mut out = 1;
        while e > 0 {
            if e & 1 == 1 {
                out = mul(out, b);
            }
            b = mul(b, b);
            e >>= 1;
        }
        out
    };
    [2u64, 7, 61].iter().filter(|&&base| base < n64).all(|&base| {
        let mut x = pow(base, (n - 1) >> shift);
        if x == 1 {
            return true;
        }
        for _ in 0..shift {
            if x == n64 - 1 {
                return true;
            }
            x = mul(x, x);
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn miller_rabin_agrees_with_trial_division() {
        let by_division = |n: u32| n > 1 && (2..n).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d));
        for n in 0..20_000 {
            assert_eq!(is_prime(n), by_division(n), "{n}");
        }
        // Strong pseudoprimes to base 2, some of them to 3 and 5 or to 7, too, and the square of a prime.
        for n in [2047u32, 3277, 1_373_653, 25_326_001, 314_821, 36_307_981, 134_767_153, 1_072_497_001] {
            assert!(!is_prime(n), "{n}");
        }
    }

    #[test]
    fn rejects_what_is_not_an_odd_prime_below_two_to_the_thirty() {
        for q in [0, 1, 2, 9, 1 << 29, 1_073_741_827, u32::MAX] {
            assert_eq!(Modulus::new(q), Err(RingError::NotAPrime { q }));
        }
    }

    #[test]
    fn finds_primes_below_a_size() {
        let primes = primes_below(28.0, 1 << 14, 10, &[]).unwrap();
        assert_eq!(primes.len(), 10);
        for &q in &primes {
            assert!(is_prime(q) && q % (1 << 15) == 1);
            assert!((27.98..28.0).contains(&f64::from(q).log2()));
        }
        assert!(primes.is_sorted_by(|a, b| a > b));
        let others = primes_below(28.0, 1 << 14, 10, &primes).unwrap();
        assert!(others.iter().all(|q| !primes.contains(q)));
        for (bits, n) in
            [(18.0, 1 << 16), (28.0, 0), (28.0, usize::MAX / 2 + 1), (3.9, 1), (30.1, 1), (f64::NAN, 1)]
        {
            let error = primes_below(bits, n, 40, &[]).unwrap_err();
            assert!(matches!(error, RingError::TooFewPrimes { wanted: 40, .. }), "{error}");
        }
    }

    proptest! {
        #[test]
        fn reductions_agree_with_division(x: u64, a: u32, w: u32, pick in 0usize..4) {
            let modulus = Modulus::new([3, 73, 1_073_738_753, 536_903_681][pick]).unwrap();
            let q = u64::from(modulus.q());
            prop_assert_eq!(u64::from(modulus.reduce(x)), x % q);
            prop_assert_eq!(i128::from(modulus.reduce_signed(x as i64)), i128::from(x as i64).rem_euclid(i128::from(q)));
            prop_assert_eq!(modulus.q().wrapping_mul(modulus.q_inv()), 1);
            let s = modulus.shoup(w);
            let hi = (u64::from(a) * u64::from(s.quotient)) >> 32;
            let lazy = u64::from(a) * u64::from(s.w) - hi * q;
            prop_assert!(lazy < 2 * q);
            prop_assert_eq!(lazy % q, u64::from(a) * (u64::from(w) % q) % q);
            if !u64::from(a).is_multiple_of(q) {
                prop_assert_eq!(modulus.mul(a, modulus.inv(a)), 1);
            }
        }
    }
}
