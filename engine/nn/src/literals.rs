//! Parameter sets that carry the levels of a network and are secure.

use crate::levels::{Levels, PRIME_BITS};
use pleura_ckks::{ParamsLiteral, RingKind, Security};

/// Most levels that parameters have.
pub(crate) const MAX_LEVELS: usize = 100;
/// Most special primes: they are dropped together with up to three of a level.
const MAX_SPECIAL: usize = 12;
/// Bits by which the smallest modulus exceeds scale times range of the result.
const BASE_BITS: f64 = 6.0;
/// Bits of the smallest modulus whose primes do not run out in a cyclotomic ring.
const PLENTY_BITS: u32 = 44;
/// Degrees that are tried.
const LOG_DEGREES: std::ops::RangeInclusive<u32> = 12..=17;

/// Logarithm of the smallest degree that is secure with this number of levels.
pub(crate) fn smallest_degree(ring: RingKind, levels: &Levels, security: Security) -> Option<u32> {
    LOG_DEGREES.into_iter().find(|&log_n| !literals(ring, levels, security, log_n).is_empty())
}

/// Parameter sets of a degree that are secure, one for each number of special primes.
pub(crate) fn literals(
    ring: RingKind,
    levels: &Levels,
    security: Security,
    log_n: u32,
) -> Vec<ParamsLiteral> {
    let total = levels.total;
    // Small primes are rare at large degrees, where there is room enough for larger ones.
    let base = (levels.result_bits() + BASE_BITS).max(if log_n > 14 { 58.0 } else { 0.0 }) as u32;
    let log2_qp = |special: usize| f64::from(base) + (PRIME_BITS as usize * total + 30 * special) as f64;
    (1..=MAX_SPECIAL.min(total + 2))
        .filter(|&special| log2_qp(special) <= security.max_log2_qp(log_n) && total <= MAX_LEVELS)
        .map(|digit_limbs| ParamsLiteral {
            ring,
            log_n,
            levels: total,
            scale_bits: PRIME_BITS,
            base_bits: base,
            digit_limbs,
            security,
        })
        // Primes of real slots are half as many, and small ones are few: they may run out where others do not.
        .filter(|literal| {
            let are_plenty = ring == RingKind::Cyclotomic && base >= PLENTY_BITS;
            are_plenty || literal.check().is_ok()
        })
        .collect()
}
