//! Encryption, with a secret or a public key.

use super::error::ClientError;
use super::keygen::SecretKey;
use crate::objects::{Ciphertext, PublicKey, SeededPoly};
use crate::{Params, Plaintext};
use pleura_ring::Poly;
use pleura_ring::sample::{Label, Seed};

impl SecretKey {
    /// Encrypts at the top level. The uniform half comes from a seed, so that the ciphertext is half as long on the wire.
    ///
    /// # Errors
    /// As for [`SecretKey::encrypt_at`].
    pub fn encrypt(&self, plaintext: &Plaintext) -> Result<Ciphertext, ClientError> {
        self.encrypt_at(plaintext, self.params.max_level())
    }

    /// Encrypts at a level.
    ///
    /// # Errors
    /// [`ClientError::ParamsMismatch`], [`ClientError::NoSuchLevel`], [`ClientError::NoEntropy`]
    pub fn encrypt_at(&self, plaintext: &Plaintext, level: usize) -> Result<Ciphertext, ClientError> {
        check(&self.params, plaintext, level)?;
        let seed = Seed::from_os()?;
        let a = Ciphertext::uniform(&self.params, seed, level);
        let mut b = self.mask(a.poly(&self.params), &Seed::from_os()?, 0);
        b.add_assign(&plaintext.to_poly(a.limbs()).into_ntt());
        Ok(ciphertext(plaintext, level, vec![b], Some(a)))
    }
}

impl PublicKey {
    /// Encrypts at the top level.
    ///
    /// # Errors
    /// As for [`PublicKey::encrypt_at`].
    pub fn encrypt(&self, plaintext: &Plaintext) -> Result<Ciphertext, ClientError> {
        self.encrypt_at(plaintext, self.params.max_level())
    }

    /// Encrypts at a level: `v (b, a) + (m + e_0, e_1)` with an ephemeral ternary `v`.
    ///
    /// # Errors
    /// [`ClientError::ParamsMismatch`], [`ClientError::NoSuchLevel`], [`ClientError::NoEntropy`]
    pub fn encrypt_at(&self, plaintext: &Plaintext, level: usize) -> Result<Ciphertext, ClientError> {
        check(&self.params, plaintext, level)?;
        let ring = self.params.ring();
        let limbs = self.params.limbs(level);
        let seed = Seed::from_os()?;
        let v = seed.sampler(Label::Ephemeral, 0).ternary(ring.n());
        let v = Poly::from_small(ring, limbs, &v).into_ntt();
        let part = |half: &Poly<_>, number, mut message: Poly<pleura_ring::Coeff>| {
            let error = seed.sampler(Label::Error, number).error(ring.kind(), ring.n());
            message.add_assign(&Poly::from_small(ring, limbs, &error));
            let mut part = v.mul(&half.restrict(limbs));
            part.add_assign(&message.into_ntt());
            part
        };
        let parts =
            vec![part(&self.b, 0, plaintext.to_poly(limbs)), part(&self.a, 1, Poly::zero(ring, limbs))];
        Ok(ciphertext(plaintext, level, parts, None))
    }
}

fn ciphertext(
    plaintext: &Plaintext,
    level: usize,
    parts: Vec<Poly<pleura_ring::Ntt>>,
    seeded: Option<SeededPoly>,
) -> Ciphertext {
    let scale = plaintext.scale();
    let log_slots = plaintext.log_slots();
    Ciphertext { params: plaintext.params().clone(), level, scale, log_slots, parts, seeded }
}

fn check(params: &Params, plaintext: &Plaintext, level: usize) -> Result<(), ClientError> {
    if plaintext.params() != params {
        return Err(ClientError::ParamsMismatch);
    }
    let max = params.max_level();
    if level > max { Err(ClientError::NoSuchLevel { level, max }) } else { Ok(()) }
}
