//! Generation of keys.

use super::error::ClientError;
use crate::Params;
use crate::objects::{EvaluationKeys, KeyRequest, PublicKey, SwitchingKey};
use pleura_ring::sample::{Label, Seed};
use pleura_ring::{Ntt, Poly};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use std::fmt;

/// A CKKS secret key, which decrypts everything. It cannot be copied or printed, and is erased when dropped.
pub struct SecretKey {
    pub(super) params: Params,
    /// The seed that determines the key and is stored in its place.
    seed: Seed,
    /// The uniform ternary secret over all primes.
    pub(super) s: Poly<Ntt>,
}

impl SecretKey {
    /// A fresh key.
    ///
    /// # Errors
    /// [`ClientError::NoEntropy`]
    pub fn generate(params: &Params) -> Result<Self, ClientError> {
        Ok(Self::from_seed(params, Seed::from_os()?))
    }

    /// Restores the key that a seed determines. The seed must be as secret as the key.
    pub fn from_seed(params: &Params, seed: Seed) -> Self {
        let ring = params.ring();
        let coefficients = seed.sampler(Label::Secret, 0).ternary(ring.n());
        let s = Poly::from_small(ring, ring.limbs(), &coefficients).into_ntt();
        Self { params: params.clone(), seed, s }
    }

    /// The parameters it belongs to.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The seed that [`SecretKey::from_seed`] restores this key from.
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// A key with which anybody encrypts for this one.
    ///
    /// # Errors
    /// [`ClientError::NoEntropy`]
    /// ```
    /// use pleura_ckks::{Encoder, Params, PublicKey, SecretKey, Security};
    ///
    /// let params = Params::choose(1, 28, Security::Bits128)?;
    /// let encoder = Encoder::new(&params);
    /// let secret = SecretKey::generate(&params)?;
    ///
    /// // Another party encrypts and cannot decrypt.
    /// let public = PublicKey::from_bytes(&secret.public_key()?.to_bytes(), &params)?;
    /// let ciphertext = public.encrypt(&encoder.encode_real(&[0.5])?)?;
    /// assert_eq!(secret.decrypt(&encoder, &ciphertext)?.publish_real(8)?, [0.5]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn public_key(&self) -> Result<PublicKey, ClientError> {
        let params = self.params.clone();
        let seed = Seed::from_os()?;
        let a = PublicKey::draw(&params, &seed);
        let b = self.mask(&a, &Seed::from_os()?, 0);
        Ok(PublicKey { params, b, a, seed })
    }

    /// The keys that a computation needs.
    ///
    /// # Errors
    /// [`ClientError::NoSuchLevel`], [`ClientError::NoEntropy`], [`ClientError::ParamsMismatch`] if the request was
    /// made for a larger degree or for a ring of another kind
    pub fn evaluation_keys(&self, request: &KeyRequest) -> Result<EvaluationKeys, ClientError> {
        if request.galois.keys().any(|g| self.params.ring().galois(g.exponent()) != Some(*g)) {
            return Err(ClientError::ParamsMismatch);
        }
        let relin = request.relin.map(|level| self.switching_key(&self.s.mul(&self.s), level)).transpose()?;
        let galois = request
            .galois
            .par_iter()
            .map(|(&g, &level)| Ok((g, self.switching_key(&self.s.automorphism(g), level)?)))
            .collect::<Result<_, ClientError>>()?;
        Ok(EvaluationKeys { params: self.params.clone(), relin, galois })
    }

    /// A key that switches ciphertexts at up to `level` from the secret `from` to this one.
    ///
    /// # Errors
    /// [`ClientError::ParamsMismatch`], [`ClientError::NoSuchLevel`], [`ClientError::NoEntropy`]
    pub fn switching_key_from(&self, from: &Self, level: usize) -> Result<SwitchingKey, ClientError> {
        if from.params != self.params {
            return Err(ClientError::ParamsMismatch);
        }
        self.switching_key(&from.s, level)
    }

    fn switching_key(&self, from: &Poly<Ntt>, level: usize) -> Result<SwitchingKey, ClientError> {
        let params = &self.params;
        if level > params.max_level() {
            return Err(ClientError::NoSuchLevel { level, max: params.max_level() });
        }
        if !SwitchingKey::is_secure(params, level) {
            return Err(ClientError::InsecureKey { level, log2_qp: params.log2_qp(level) });
        }
        let gadget = params.gadget(level);
        let ring = params.ring();
        let seed = Seed::from_os()?;
        let noise = Seed::from_os()?;
        // P s' modulo the ciphertext primes; it vanishes modulo the special ones.
        let mut lifted = from.restrict(gadget.limbs);
        for (index, limb) in lifted.limbs_mut() {
            let modulus = ring.modulus(index);
            let p = ring.special_product(gadget.limbs.p, index);
            limb.iter_mut().for_each(|x| *x = modulus.mul(*x, p));
        }
        let rows = (0..gadget.digits())
            .map(|d| {
                let a = SwitchingKey::uniform(&seed, gadget.limbs, d);
                let mut b = self.mask(a.poly(params), &noise, d as u32);
                let mut digit = lifted.clone();
                digit
                    .limbs_mut()
                    .filter(|(i, _)| !gadget.digit(d).contains(i))
                    .for_each(|(_, limb)| limb.fill(0));
                b.add_assign(&digit);
                (b, a)
            })
            .collect();
        Ok(SwitchingKey { params: params.clone(), level, rows, seed })
    }

    /// `-a s + e` with the error of stream `number`.
    pub(super) fn mask(&self, a: &Poly<Ntt>, noise: &Seed, number: u32) -> Poly<Ntt> {
        let ring = self.params.ring();
        let error = noise.sampler(Label::Error, number).error(ring.kind(), ring.n());
        let mut b = a.mul(&self.s.restrict(a.limbs()));
        b.neg_assign();
        b.add_assign(&Poly::from_small(ring, a.limbs(), &error).into_ntt());
        b
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}
