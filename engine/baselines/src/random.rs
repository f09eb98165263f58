//! Randomness: ChaCha20 from a seed, which comes from the operating system.

use chacha20::ChaCha20Rng;
use crypto_bigint::rand_core::{Rng, SeedableRng};

/// The system has no randomness to give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random bytes: {reason}")]
pub struct NoEntropy {
    reason: String,
}

/// 32 bytes from the operating system.
pub(crate) fn seed() -> Result<[u8; 32], NoEntropy> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| NoEntropy { reason: e.to_string() })?;
    Ok(seed)
}

/// A generator that nobody else has.
pub(crate) fn generator() -> Result<ChaCha20Rng, NoEntropy> {
    Ok(ChaCha20Rng::from_seed(seed()?))
}

/// Uniform in `[0, 1)`, of 53 bits.
pub(crate) fn uniform(rng: &mut ChaCha20Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Uniform below `bound`, which is not zero.
pub(crate) fn below(rng: &mut ChaCha20Rng, bound: u64) -> u64 {
    // The largest multiple of the bound: what is above would favour small numbers.
    let whole = u64::MAX - u64::MAX % bound;
    loop {
        let x = rng.next_u64();
        if x < whole {
            return x % bound;
        }
    }
}

/// A uniformly random order of `0..len`.
pub(crate) fn order(rng: &mut ChaCha20Rng, len: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    for last in (1..len).rev() {
        order.swap(last, below(rng, last as u64 + 1) as usize);
    }
    order
}
