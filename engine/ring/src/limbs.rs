//! Which primes of a ring a polynomial carries.

/// The limbs a polynomial carries: the first `q` ciphertext primes, then the first `p` special primes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Limbs {
    /// Number of ciphertext primes, counted from `q_0`.
    pub q: usize,
    /// Number of special primes, counted from `p_0`.
    pub p: usize,
}

impl Limbs {
    /// The first `q` ciphertext primes and no special prime.
    pub const fn q(q: usize) -> Self {
        Self { q, p: 0 }
    }

    /// Number of limbs.
    pub const fn count(self) -> usize {
        self.q + self.p
    }

    /// Whether every limb of `other` is here too.
    pub const fn contains(self, other: Self) -> bool {
        other.q <= self.q && other.p <= self.p
    }

    /// Position of limb `i` of `part` among these limbs.
    pub const fn position(self, part: Self, i: usize) -> usize {
        if i < part.q { i } else { self.q + i - part.q }
    }
}
