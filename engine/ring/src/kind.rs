//! The two kinds of ring.

/// The ring that polynomials are elements of. Both kinds have `n` coefficients and one security dimension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RingKind {
    /// `Z[X]/(X^n + 1)`, whose elements have `n/2` complex slots; primes are `1 mod 2n`.
    #[default]
    Cyclotomic,
    /// The subring of `Z[X]/(X^2n + 1)` that `X -> X^-1` leaves as it is, whose elements
    /// `a_0 + sum a_j (X^j + X^-j)`, `0 < j < n`, have `n` real slots; primes are `1 mod 4n` (Kim and Song, "Approximate
    /// homomorphic encryption over the conjugate-invariant ring", 2018).
    ConjugateInvariant,
}

impl RingKind {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::Cyclotomic, Self::ConjugateInvariant];

    /// Order of the roots of unity at which elements of degree `n` are evaluated, which divides `q - 1` for every prime `q`.
    pub fn root_order(self, n: usize) -> usize {
        n << self.log_spacing()
    }

    /// The number of slots of an element of degree `n`.
    pub fn slots(self, n: usize) -> usize {
        match self {
            Self::Cyclotomic => n / 2,
            Self::ConjugateInvariant => n,
        }
    }

    /// Number of coefficients of a plaintext whose values repeat after `values` slots.
    pub fn coefficients(self, values: usize) -> usize {
        match self {
            Self::Cyclotomic => 2 * values,
            Self::ConjugateInvariant => values,
        }
    }

    /// Name of the kind in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cyclotomic => "cyclotomic",
            Self::ConjugateInvariant => "conjugate-invariant",
        }
    }

    /// Logarithm of the distance between the exponents of the points: all odd ones, or those that are `1 mod 4`.
    pub fn log_spacing(self) -> u32 {
        match self {
            Self::Cyclotomic => 1,
            Self::ConjugateInvariant => 2,
        }
    }
}
