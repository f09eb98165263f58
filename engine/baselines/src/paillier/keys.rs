//! Keys, encryption, arithmetic on ciphertexts, decryption.

use super::PaillierError;
use super::fixed_base::FixedBase;
use crate::random;
use chacha20::ChaCha20Rng;
use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, ConcatenatingSquare, NonZero, Odd, RandomMod, Resize};
use crypto_primes::{Flavor, random_prime};
use rayon::prelude::*;
use std::fmt;
use zeroize::{Zeroize, Zeroizing};

/// Sizes of the modulus that keys are made in: about 112 and 128 bits of security.
pub const KEY_BITS: [u32; 2] = [2048, 3072];

/// A message: a number below the modulus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plaintext(pub(super) BoxedUint);

/// A number below the square of the modulus that hides a [`Plaintext`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ciphertext(pub(super) BoxedUint);

/// The public key, with which anybody encrypts and servers compute.
#[derive(Clone)]
pub struct PublicKey {
    pub(super) bits: u32,
    pub(super) n: Odd<BoxedUint>,
    pub(super) square: BoxedMontyParams,
    /// `h^n` with `h = -x^2`: what short powers of are the randomness of ciphertexts.
    pub(super) base: BoxedUint,
    pub(super) powers: FixedBase,
}

/// The factors. Never printed, zeroized when dropped. Not erased is what the big-integer crate keeps of them: its Montgomery parameters,
/// the temporaries of its products, powers, divisions, inverses and prime tests.
pub struct SecretKey {
    public: PublicKey,
    p: Factor,
    q: Factor,
    /// `p^-1 mod q`.
    p_inverse: BoxedUint,
}

/// Origin of the base of the randomness.
enum Base<'a> {
    /// Drawn for a fresh key.
    Random(&'a mut ChaCha20Rng),
    /// `-4`: for known answers.
    Four,
    /// Kept with the key.
    Given(BoxedUint),
}

/// Decryption constants of one prime.
struct Factor {
    prime: Odd<BoxedUint>,
    /// The prime less one: the exponent.
    order: BoxedUint,
    prime_params: BoxedMontyParams,
    square_params: BoxedMontyParams,
    /// `L(g^(p-1) mod p^2)^-1 mod p`.
    h: BoxedUint,
}

impl Plaintext {
    /// A small number.
    pub fn from_u64(value: u64) -> Self {
        Self(BoxedUint::from(value))
    }

    /// A number from its bytes, the most significant first.
    pub fn from_be_bytes(bytes: &[u8]) -> Self {
        Self(BoxedUint::from_be_slice_vartime(bytes))
    }

    /// Big-endian bytes without leading zeros.
    pub fn to_be_bytes(&self) -> Vec<u8> {
        self.0.to_be_bytes_trimmed_vartime().into_vec()
    }

    /// The number, if it is small.
    pub fn to_u64(&self) -> Option<u64> {
        let (first, rest) = self.0.as_words().split_first()?;
        rest.iter().all(|&word| word == 0).then_some(*first)
    }
}

impl Zeroize for Plaintext {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

impl PublicKey {
    /// Builds a key, or fails with [`PaillierError::Base`] if powers of the base are not random: plus or minus one modulo the modulus, or a
    /// number that shares a factor with it. (Only the owner of the factors can check that it is a residue.)
    pub(super) fn new(bits: u32, n: Odd<BoxedUint>, base: BoxedUint) -> Result<Self, PaillierError> {
        use crypto_bigint::Gcd;
        let one = BoxedUint::one_with_precision(bits);
        let remainder = base.rem(n.as_nz_ref());
        let trivial = remainder == one || remainder == n.as_ref().wrapping_sub(&one);
        let n_squared = n.as_ref().concatenating_square();
        let n_squared = Odd::new(n_squared).into_option();
        let n_squared = n_squared.ok_or(PaillierError::Internal("the square of an odd number is even"))?;
        let square = BoxedMontyParams::new_vartime(n_squared);
        if trivial || base >= *square.modulus().as_ref() || remainder.gcd_vartime(n.as_ref()) != one {
            return Err(PaillierError::Base);
        }
        let powers = FixedBase::new(&BoxedMontyForm::new(base.clone(), &square), bits / 2);
        Ok(Self { bits, n, square, base, powers })
    }

    /// Bits of the modulus.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// Bytes of a ciphertext.
    pub fn ciphertext_bytes(&self) -> usize {
        2 * self.bits as usize / 8
    }

    /// Encrypts each with fresh randomness, on all cores.
    ///
    /// The randomness is a random power of a fixed base, of half the modulus's bits (Damgard, Jurik, Nielsen 2010): with tables it
    /// takes a tenth of the time of `r^n`.
    ///
    /// # Errors
    /// [`PaillierError`] if a plaintext is too large, or the system has no randomness.
    pub fn encrypt(&self, plaintexts: &[Plaintext]) -> Result<Vec<Ciphertext>, PaillierError> {
        // A generator for each run of plaintexts, all of them seeded by the system.
        let runs: Result<Vec<_>, PaillierError> = plaintexts
            .par_chunks(64)
            .map(|run| {
                let mut rng = random::generator()?;
                run.iter().map(|m| self.encrypt_with(m, &self.short(&mut rng))).collect::<Result<Vec<_>, _>>()
            })
            .collect();
        Ok(runs?.into_iter().flatten().collect())
    }

    /// Encrypts with `r^n` for a given `r`, for known answers: anybody who knows `r` can read the plaintext.
    ///
    /// # Errors
    /// [`PaillierError::Plaintext`] if the plaintext is too large.
    pub fn encrypt_with_r(&self, plaintext: &Plaintext, r: &Plaintext) -> Result<Ciphertext, PaillierError> {
        self.encrypt_with(plaintext, &self.nth_power(&r.0))
    }

    /// The sum of two plaintexts.
    ///
    /// # Errors
    /// [`PaillierError::Ciphertext`] if one is none under the key.
    pub fn add(&self, a: &Ciphertext, b: &Ciphertext) -> Result<Ciphertext, PaillierError> {
        Ok(self.close(&(self.form(a)? * self.form(b)?)))
    }

    /// The plaintext times a constant, which is no secret.
    ///
    /// # Errors
    /// [`PaillierError::Ciphertext`] if it is none under the key.
    pub fn mul(&self, a: &Ciphertext, constant: &Plaintext) -> Result<Ciphertext, PaillierError> {
        let bits = constant.0.bit_width_vartime().max(1);
        Ok(self.close(&self.form(a)?.pow_bounded_exp(&constant.0, bits)))
    }

    /// The negated plaintext.
    ///
    /// # Errors
    /// [`PaillierError::Ciphertext`] if it is none under the key.
    pub fn negate(&self, a: &Ciphertext) -> Result<Ciphertext, PaillierError> {
        let inverse = self.form(a)?.invert_vartime().into_option().ok_or(PaillierError::Ciphertext)?;
        Ok(self.close(&inverse))
    }

    /// Randomizes a ciphertext anew, so that even the owner of the key learns nothing but the plaintext.
    ///
    /// The randomness is `r^n` for a uniform `r`: short powers of the key's base may hide nothing from the party that chose the
    /// base.
    ///
    /// # Errors
    /// [`PaillierError`] if it is no ciphertext under the key, or the system has no randomness.
    pub fn rerandomize(&self, a: &Ciphertext) -> Result<Ciphertext, PaillierError> {
        Ok(self.close(&(self.form(a)? * self.uniform()?)))
    }

    /// Encrypts with a given `n`-th residue.
    pub(super) fn encrypt_with(
        &self,
        plaintext: &Plaintext,
        residue: &BoxedMontyForm,
    ) -> Result<Ciphertext, PaillierError> {
        if plaintext.0 >= *self.n.as_ref() {
            return Err(PaillierError::Plaintext);
        }
        // (1 + n)^m = 1 + m n, and that is below n^2.
        let power = (&plaintext.0).resize(2 * self.bits).wrapping_mul(self.n.as_ref());
        let power = power.wrapping_add(BoxedUint::one_with_precision(2 * self.bits));
        Ok(self.close(&(BoxedMontyForm::new(power, &self.square) * residue)))
    }

    /// A random `n`-th residue from the table.
    pub(super) fn short(&self, rng: &mut ChaCha20Rng) -> BoxedMontyForm {
        self.powers.random(rng, &self.square)
    }

    /// A random `n`-th residue, uniform: `r^n`.
    pub(super) fn uniform(&self) -> Result<BoxedMontyForm, PaillierError> {
        let n = self.n.as_nz_ref();
        Ok(self.nth_power(&BoxedUint::random_mod_vartime(&mut random::generator()?, n)))
    }

    fn nth_power(&self, r: &BoxedUint) -> BoxedMontyForm {
        BoxedMontyForm::new(r.resize(2 * self.bits), &self.square).pow(self.n.as_ref())
    }

    pub(super) fn form(&self, a: &Ciphertext) -> Result<BoxedMontyForm, PaillierError> {
        self.check(a)?;
        Ok(BoxedMontyForm::new(a.0.clone(), &self.square))
    }

    /// Checks that a ciphertext is not zero and below the square of the modulus.
    pub(super) fn check(&self, a: &Ciphertext) -> Result<(), PaillierError> {
        let size = a.0.bits_precision() == 2 * self.bits;
        let fits = size && a.0 < *self.square.modulus().as_ref() && !bool::from(a.0.is_zero());
        if fits { Ok(()) } else { Err(PaillierError::Ciphertext) }
    }

    pub(super) fn close(&self, form: &BoxedMontyForm) -> Ciphertext {
        Ciphertext(form.retrieve())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").field("bits", &self.bits).finish_non_exhaustive()
    }
}

impl SecretKey {
    /// A fresh key with a modulus of one of [`KEY_BITS`].
    ///
    /// # Errors
    /// [`PaillierError`] for another size, or if the system has no randomness.
    pub fn generate(bits: u32) -> Result<Self, PaillierError> {
        if !KEY_BITS.contains(&bits) {
            return Err(PaillierError::KeyBits { bits });
        }
        Self::generate_insecure(bits)
    }

    /// A fresh key of any size, for tests.
    ///
    /// # Errors
    /// As for [`SecretKey::generate`].
    pub fn generate_insecure(bits: u32) -> Result<Self, PaillierError> {
        if !(128..=8192).contains(&bits) || !bits.is_multiple_of(128) {
            return Err(PaillierError::KeyBits { bits });
        }
        let mut rng = random::generator()?;
        loop {
            let [p, q] = [0; 2].map(|_| Zeroizing::new(prime_of_three_mod_four(&mut rng, bits / 2)));
            // The squares modulo n form a cyclic group only if p - 1 and q - 1 share nothing but 2. A random square generates all of it
            // only with some probability, and nearly all of it mostly: only small primes in p - 1 and q - 1 are likely to be lost.
            let key = Self::from_primes(bits, &p, &q, Base::Random(&mut rng));
            if let Ok(key) = key {
                return Ok(key);
            }
        }
    }

    /// The key of two primes of any size, the most significant byte first, with a base that is the same for all keys: for known answers.
    ///
    /// # Errors
    /// [`PaillierError`] if they are none, or not of one size.
    pub fn from_prime_bytes_insecure(p: &[u8], q: &[u8]) -> Result<Self, PaillierError> {
        Self::from_prime_bytes(p, q, Base::Four)
    }

    /// A key from its primes and its stored base.
    pub(super) fn from_parts(p: &[u8], q: &[u8], base: BoxedUint) -> Result<Self, PaillierError> {
        let key = Self::from_prime_bytes(p, q, Base::Given(base))?;
        // Otherwise powers of the base would change what is encrypted.
        let zero = key.decrypt_one(&Ciphertext(key.public.base.clone()))?;
        if !bool::from(zero.0.is_zero()) {
            return Err(PaillierError::Base);
        }
        Ok(key)
    }

    fn from_prime_bytes(p: &[u8], q: &[u8], base: Base) -> Result<Self, PaillierError> {
        let bits = 8 * p.len() as u32;
        if p.len() != q.len() || !(64..=4096).contains(&bits) || !bits.is_multiple_of(64) {
            return Err(PaillierError::Primes { why: "they are not of one size" });
        }
        let [p, q] = [p, q].map(|bytes| Zeroizing::new(BoxedUint::from_be_slice_truncated(bytes, bits)));
        if ![&p, &q].iter().all(|x| crypto_primes::is_prime(Flavor::Any, &***x)) {
            return Err(PaillierError::Primes { why: "one of them is no prime" });
        }
        Self::from_primes(2 * bits, &p, &q, base)
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Decrypts each, on all cores: modulo the primes' squares, put together by the Chinese remainder theorem.
    ///
    /// # Errors
    /// [`PaillierError::Ciphertext`] if one is none under the key: of another size, not below the square of the modulus, or sharing a factor with it.
    pub fn decrypt(&self, ciphertexts: &[Ciphertext]) -> Result<Vec<Plaintext>, PaillierError> {
        ciphertexts.par_iter().map(|c| self.decrypt_one(c)).collect()
    }

    pub(super) fn primes(&self) -> [&BoxedUint; 2] {
        [self.p.prime.as_ref(), self.q.prime.as_ref()]
    }

    fn decrypt_one(&self, c: &Ciphertext) -> Result<Plaintext, PaillierError> {
        self.public.check(c)?;
        let bits = self.public.bits;
        let m_p = self.p.decrypt(&c.0)?;
        let m_q = self.q.decrypt(&c.0)?;
        // m = m_p + p ((m_q - m_p) p^-1 mod q)
        let q = self.q.prime.as_nz_ref();
        let reduced = Zeroizing::new(m_p.rem(q));
        let apart = Zeroizing::new(m_q.sub_mod(&reduced, q));
        let times = Zeroizing::new(apart.mul_mod(&self.p_inverse, q));
        let times = Zeroizing::new((&*times).resize(bits));
        let product = Zeroizing::new(times.wrapping_mul(self.p.prime.as_ref()));
        let rest = Zeroizing::new((&*m_p).resize(bits));
        Ok(Plaintext(product.wrapping_add(&*rest)))
    }

    fn from_primes(bits: u32, p: &BoxedUint, q: &BoxedUint, base: Base) -> Result<Self, PaillierError> {
        let half = bits / 2;
        let odd = |x: BoxedUint| {
            Odd::new(x).into_option().ok_or(PaillierError::Primes { why: "one of them is even" })
        };
        let kept_p = Zeroizing::new(odd(p.clone())?);
        let kept_q = Zeroizing::new(odd(q.clone())?);
        let p: &Odd<BoxedUint> = &kept_p;
        let q: &Odd<BoxedUint> = &kept_q;
        let n = Zeroizing::new(p.as_ref().resize(bits)).wrapping_mul(q.as_ref());
        if p == q || n.bit_width_vartime() != bits {
            return Err(PaillierError::Primes { why: "their product has another size" });
        }
        let one = BoxedUint::one_with_precision(half);
        let orders = [p, q].map(|x| Zeroizing::new(x.as_ref().wrapping_sub(&one)));
        let [p_half, q_half] = orders.each_ref().map(|order| Zeroizing::new(order.shr(1)));
        if !coprime(&p_half, &q_half) {
            return Err(PaillierError::Primes { why: "p - 1 and q - 1 share a factor" });
        }
        let n = odd(n)?;
        let square = BoxedMontyParams::new_vartime(odd(n.as_ref().concatenating_square())?);
        // h^n for h = -x^2.
        let of = |x: BoxedUint| {
            let params = BoxedMontyParams::new_vartime(n.clone());
            let h = (-BoxedMontyForm::new(x, &params).square()).retrieve();
            BoxedMontyForm::new(h.resize(2 * bits), &square).pow(n.as_ref()).retrieve()
        };
        let base = match base {
            Base::Random(rng) => of(BoxedUint::random_mod_vartime(rng, n.as_nz_ref())),
            Base::Four => of(BoxedUint::from(2u64).resize(bits)),
            Base::Given(base) => base,
        };
        let inverse = |of: &BoxedUint, modulus: &Odd<BoxedUint>| {
            let of = Zeroizing::new(of.rem(modulus.as_nz_ref()));
            of.invert_odd_mod(modulus)
                .into_option()
                .ok_or(PaillierError::Primes { why: "they share a factor" })
        };
        let p_inverse = inverse(p.as_ref(), q)?;
        let factor = |prime: &Odd<BoxedUint>, other: &Odd<BoxedUint>, order: &BoxedUint| {
            let square = odd(prime.as_ref().concatenating_square())?;
            // L((1 + n)^(p-1) mod p^2) = (p - 1) q mod p = -q mod p.
            let reduced = Zeroizing::new(other.as_ref().rem(prime.as_nz_ref()));
            let negated = Zeroizing::new(reduced.neg_mod(prime.as_nz_ref()));
            Ok::<_, PaillierError>(Factor {
                prime: prime.clone(),
                order: order.clone(),
                prime_params: BoxedMontyParams::new(prime.clone()),
                square_params: BoxedMontyParams::new(square),
                h: inverse(&negated, prime)?,
            })
        };
        let [p_order, q_order] = &orders;
        let public = PublicKey::new(bits, n, base)?;
        Ok(Self { public, p: factor(p, q, p_order)?, q: factor(q, p, q_order)?, p_inverse })
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").field("bits", &self.public.bits).finish_non_exhaustive()
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.p_inverse.zeroize();
    }
}

impl Factor {
    /// The plaintext modulo the prime.
    fn decrypt(&self, c: &BoxedUint) -> Result<Zeroizing<BoxedUint>, PaillierError> {
        let bits = self.prime.as_ref().bits_precision();
        let square = self.square_params.modulus().as_nz_ref();
        let reduced = Zeroizing::new(c.rem(square));
        // The sender of such a number knows the factors already.
        if bool::from(Zeroizing::new(reduced.rem(self.prime.as_nz_ref())).is_zero()) {
            return Err(PaillierError::Ciphertext);
        }
        let form = Zeroizing::new(BoxedMontyForm::new((*reduced).clone(), &self.square_params));
        let power = Zeroizing::new(Zeroizing::new(form.pow(&self.order)).retrieve());
        // L(x) = (x - 1) / p, exact.
        let less = Zeroizing::new(power.wrapping_sub(BoxedUint::one_with_precision(2 * bits)));
        let quotient = Zeroizing::new(less.div_rem(self.prime.as_nz_ref()).0);
        let quotient = Zeroizing::new(BoxedMontyForm::new((&*quotient).resize(bits), &self.prime_params));
        let h = Zeroizing::new(BoxedMontyForm::new(self.h.clone(), &self.prime_params));
        Ok(Zeroizing::new(Zeroizing::new(&*quotient * &*h).retrieve()))
    }
}

impl Drop for Factor {
    fn drop(&mut self) {
        self.order.zeroize();
        self.h.zeroize();
        self.prime.zeroize();
    }
}

fn prime_of_three_mod_four(rng: &mut ChaCha20Rng, bits: u32) -> BoxedUint {
    loop {
        let prime: BoxedUint = random_prime(rng, Flavor::Any, bits);
        if prime.as_words().first().is_some_and(|word| word & 3 == 3) {
            return prime;
        }
    }
}

/// Whether two odd numbers are coprime.
fn coprime(a: &BoxedUint, b: &BoxedUint) -> bool {
    use crypto_bigint::Gcd;
    NonZero::new(a.gcd(b)).into_option().is_some_and(|gcd| gcd.as_ref().bit_width_vartime() == 1)
}
