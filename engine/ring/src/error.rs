//! Errors of this crate.

use crate::Limbs;

/// Why a ring, a modulus or an instruction set was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RingError {
    /// A modulus is not an odd prime below `2^30`.
    #[error("{q} is not an odd prime below 2^30")]
    NotAPrime {
        /// The number.
        q: u32,
    },
    /// A prime does not fit the degree.
    #[error("{q} has no primitive root of unity of order {order}")]
    NoRoot {
        /// The prime.
        q: u32,
        /// The order wanted.
        order: u64,
    },
    /// A degree is out of range.
    #[error("degree 2^{log_n} is outside 2^2..2^17")]
    BadDegree {
        /// Logarithm of the degree.
        log_n: u32,
    },
    /// A prime occurs twice.
    #[error("the prime {q} occurs twice")]
    RepeatedPrime {
        /// The prime.
        q: u32,
    },
    /// There are not enough primes of a size.
    #[error("only {found} of {wanted} primes near 2^{bits} are 1 mod {}", 2 * *n as u128)]
    TooFewPrimes {
        /// The degree.
        n: usize,
        /// The size, in bits.
        bits: f64,
        /// Number of primes requested.
        wanted: usize,
        /// Number of primes that exist.
        found: usize,
    },
    /// A conversion from no prime, or from too many.
    #[error("cannot convert from {sources} primes at once (1 to {max})")]
    TooManySources {
        /// Number of source primes.
        sources: usize,
        /// Largest valid number.
        max: usize,
    },
    /// A matrix has no rows or columns, or a row whose columns are out of order or out of range.
    #[error(
        "a matrix of {columns} columns has no row, or its row {row} has columns that do not increase or lie beyond the last"
    )]
    BadMatrix {
        /// The row.
        row: usize,
        /// Number of columns.
        columns: usize,
    },
    /// An instruction set has another name, or is none of this processor's.
    #[error("{wanted:?} is not an instruction set of this processor; it has {available}")]
    BadSimd {
        /// The name given.
        wanted: String,
        /// The names of those that there are.
        available: String,
    },
    /// The default instruction set is chosen, or was needed, before.
    #[error(
        "the instruction set {chosen} is in use already; choose another before the first polynomial is made"
    )]
    SimdInUse {
        /// Name of the chosen instruction set.
        chosen: &'static str,
    },
    /// The number of threads cannot be had.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// Number of threads requested.
        threads: usize,
        /// Error message of the operating system.
        reason: String,
    },
}

/// Why an operation on a device failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The words do not fill the shape.
    #[error("{got} words where the shape needs {expected}")]
    Shape {
        /// Words the shape needs.
        expected: usize,
        /// Words given.
        got: usize,
    },
    /// The ring has no such limbs.
    #[error(
        "polynomials over {} ciphertext and {} special primes of a ring of {} and {}",
        limbs.q, limbs.p, ring.q, ring.p
    )]
    NoSuchLimbs {
        /// Limbs of the polynomials.
        limbs: Limbs,
        /// Limbs of the ring.
        ring: Limbs,
    },
    /// The device cannot hold a batch.
    #[error("the device has no memory for {bytes} more bytes")]
    OutOfMemory {
        /// Size of the batch.
        bytes: usize,
    },
    /// The device stopped.
    #[error("the device was lost: {reason}")]
    DeviceLost {
        /// Error message of the driver.
        reason: String,
    },
    /// The device is one that may only be awaited.
    #[error("this device cannot be waited for here; await the result")]
    CannotBlock,
}
