//! Decryption, and publication of decrypted values.

use super::dither::DitherSeed;
use super::error::ClientError;
use super::keygen::SecretKey;
use crate::encode::Erased;
use crate::{Ciphertext, Encoder};
use num_complex::Complex64;
use pleura_ring::{Limbs, Modulus, Ntt, Poly, Ring};
use zeroize::Zeroizing;

/// Decrypted values, noise included.
///
/// The noise depends on the secret key: these values together with the ciphertext reveal the key (Li and Micciancio, eprint
/// 2020/1533). Therefore they can be neither printed nor serialized. [`Decrypted::publish`] returns values that may be shown.
pub struct Decrypted {
    values: Erased,
    dither: DitherSeed,
    max_bits: i32,
}

/// Units of the last published digit are at least `2^GUARD_BITS n` over the scale, times two to the power of [`Params::noise_bits`]: 100
/// deviations and more of the noise that encryption under the secret key leaves in a slot, 12 of what encryption under a public key
/// leaves.
const GUARD_BITS: f64 = 5.0;

/// The precision asked for would show noise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{bits} fractional bits would publish noise that depends on the secret key; publish at most {max} of a fresh ciphertext of this scale, and fewer of a computed result"
)]
pub struct PublishError {
    /// Bits requested.
    pub bits: i32,
    /// Most bits that may be published.
    pub max: i32,
}

impl SecretKey {
    /// Decrypts and decodes. For the key's owner alone.
    ///
    /// # Errors
    /// [`ClientError::ParamsMismatch`]
    pub fn decrypt(&self, encoder: &Encoder, ciphertext: &Ciphertext) -> Result<Decrypted, ClientError> {
        let Ciphertext { params, level, scale, log_slots, .. } = ciphertext;
        if *params != self.params || *encoder.params() != self.params {
            return Err(ClientError::ParamsMismatch);
        }
        let ring = params.ring();
        // Values are far below the scale times 2^64: the primes beyond need not be looked at.
        let enough = (1..=params.limbs(*level).q).find(|&q| ring.log2(Limbs::q(q)) >= scale.log2() + 64.0);
        let limbs = enough.map_or(params.limbs(*level), Limbs::q);
        let parts: Vec<Poly<Ntt>> = ciphertext.polys().map(|part| part.restrict(limbs)).collect();
        let dither = DitherSeed::new(self.seed(), params, *scale, *log_slots, &parts);
        let s = self.s.restrict(limbs);
        // Horner's rule in s.
        let mut message = Poly::zero(ring, limbs);
        for (i, part) in parts.iter().rev().enumerate() {
            if i > 0 {
                message = message.mul(&s);
            }
            message.add_assign(part);
        }
        let coefficients = centred(ring, limbs, message.into_coeff().words());
        let values = encoder.decode(&coefficients, *log_slots, *scale);
        let unit_bits = f64::from(params.literal().log_n) + GUARD_BITS + params.noise_bits();
        let max_bits = (scale.log2() - unit_bits).floor() as i32;
        Ok(Decrypted { values, dither, max_bits })
    }
}

impl Decrypted {
    /// The values rounded to `bits` fractional bits (negative: to multiples of `2^-bits`).
    ///
    /// Each result is less than one unit of the last bit away from the value, and usually the nearest multiple or the next to it:
    /// a value that is a fraction `f` of a unit above a multiple is rounded up with probability `sin^2(pi f / 2)`. Chance
    /// is a keyed function of ciphertext and slot, so that publishing the same ciphertext again gives the same values;
    /// results of other ciphertexts, copies shifted by a constant among them, are rounded independently.
    ///
    /// # Errors
    /// [`PublishError`] if that would show noise.
    pub fn publish(&self, bits: i32) -> Result<Vec<Complex64>, PublishError> {
        if bits > self.max_bits {
            return Err(PublishError { bits, max: self.max_bits });
        }
        // No value is as large as 2^1000: in coarser units all are zero, too.
        let units = f64::from(bits.max(-1000)).exp2();
        let mut dither = self.dither.at(bits);
        let mut round = |x: f64| dither.round(x * units) / units;
        Ok(self.values.iter().map(|z| Complex64::new(round(z.re), round(z.im))).collect())
    }

    /// The real parts of [`Decrypted::publish`].
    ///
    /// # Errors
    /// [`PublishError`]
    /// ```
    /// use pleura_ckks::{Encoder, Params, SecretKey, Security};
    ///
    /// let params = Params::choose(1, 28, Security::Bits128)?;
    /// let encoder = Encoder::new(&params);
    /// let secret = SecretKey::generate(&params)?;
    /// let decrypted = secret.decrypt(&encoder, &secret.encrypt(&encoder.encode_real(&[0.3])?)?)?;
    /// // Less than a unit of the last bit away, here 1/256.
    /// let published = decrypted.publish_real(8)?;
    /// assert!((published[0] - 0.3).abs() < 1.0 / 256.0);
    /// // More bits would show noise.
    /// assert!(decrypted.publish_real(decrypted.max_bits() + 1).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish_real(&self, bits: i32) -> Result<Vec<f64>, PublishError> {
        Ok(self.publish(bits)?.into_iter().map(|z| z.re).collect())
    }

    /// The most fractional bits that hide the noise of a *fresh* ciphertext. A computation adds noise, and may amplify
    /// it: publish as many bits as the result is exact to, not more.
    pub fn max_bits(&self) -> i32 {
        self.max_bits
    }

    /// The values with their noise, for the owner of the secret key alone: never show, store or send them.
    pub fn reveal_unrounded(&self) -> &[Complex64] {
        &self.values
    }
}

/// The coefficients nearest to zero, by mixed radix: `x = v_0 + v_1 q_0 + v_2 q_0 q_1 + ...`
///
/// A negative number is recognized by comparing its digits with those of `(Q-1)/2`, which are `(q_i-1)/2`. The digits of its
/// magnitude are the complements `q_i-1-v_i`, plus one: no cancellation in the floating-point sum.
#[expect(clippy::indexing_slicing, reason = "a row has a word for each column")]
fn centred(ring: &Ring, limbs: Limbs, words: &[u32]) -> Zeroizing<Vec<f64>> {
    let n = ring.n();
    let moduli = ring.moduli(limbs).copied().collect::<Vec<_>>();
    // inverses[i] = (q_0 ... q_(i-1))^-1 mod q_i, and the factors of Horner's rule.
    let inverses: Vec<u32> =
        moduli.iter().enumerate().map(|(i, m)| m.inv(product(m, moduli.iter().take(i)))).collect();
    let rows: Vec<&[u32]> = words.chunks(n).collect();
    let mut digits = Zeroizing::new(Vec::with_capacity(moduli.len()));
    let mut out = Zeroizing::new(Vec::with_capacity(n));
    for column in 0..n {
        digits.clear();
        for ((modulus, &inverse), row) in moduli.iter().zip(&inverses).zip(&rows) {
            let x = row[column];
            // The value of the digits found so far, modulo this prime.
            let known = moduli.iter().zip(digits.iter()).rev().fold(0, |acc, (q, &digit): (_, &u32)| {
                modulus.add(modulus.mul(acc, q.q()), modulus.reduce(digit.into()))
            });
            digits.push(modulus.mul(modulus.sub(x, known), inverse));
        }
        let pairs = || digits.iter().zip(&moduli).rev();
        let negative = pairs().find(|(v, m)| **v != m.q() / 2).is_some_and(|(&v, m)| v > m.q() / 2);
        let magnitude = pairs().fold(0.0, |acc, (&v, m)| {
            let digit = if negative { m.q() - 1 - v } else { v };
            acc * f64::from(m.q()) + f64::from(digit)
        });
        out.push(if negative { -(magnitude + 1.0) } else { magnitude });
    }
    out
}

fn product<'a>(modulus: &Modulus, factors: impl Iterator<Item = &'a Modulus>) -> u32 {
    factors.fold(1, |acc, f| modulus.mul(acc, modulus.reduce(f.q().into())))
}
