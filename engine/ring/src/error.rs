//! What can go wrong, apart from bugs.

/// What can be wrong with a ring's numbers.
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
        /// Its logarithm.
        log_n: u32,
    },
    /// A prime occurs twice.
    #[error("the prime {q} occurs twice")]
    RepeatedPrime {
        /// The prime.
        q: u32,
    },
    /// There are not enough primes of a size.
    #[error("only {found} of {wanted} primes near 2^{bits} are 1 mod {}", 2 * n)]
    TooFewPrimes {
        /// The degree.
        n: usize,
        /// The size, in bits.
        bits: f64,
        /// How many were asked for.
        wanted: usize,
        /// How many there are.
        found: usize,
    },
    /// A conversion from no prime, or from too many.
    #[error("cannot convert from {sources} primes at once (1 to {max})")]
    TooManySources {
        /// How many.
        sources: usize,
        /// The most there may be.
        max: usize,
    },
    /// An instruction set has another name, or is none of this processor's.
    #[error("{wanted:?} is no instruction set of this processor; it has {available}")]
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
        /// Its name.
        chosen: &'static str,
    },
    /// The number of threads cannot be had.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system says.
        reason: String,
    },
}

/// What can go wrong on a device.
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
    /// The device cannot hold a batch.
    #[error("the device has no room for {bytes} bytes more")]
    OutOfMemory {
        /// Size of the batch.
        bytes: usize,
    },
    /// The device stopped.
    #[error("the device was lost: {reason}")]
    DeviceLost {
        /// What its driver says.
        reason: String,
    },
    /// The device is one that may only be awaited.
    #[error("this device cannot be waited for here; await the result")]
    CannotBlock,
}
