//! Randomness: ChaCha20 streams and the integer-only, branch-free samplers on them.
//!
//! One [`Seed`] belongs to one object. Each use of it takes its own stream (the cipher's nonce holds a label and a
//! number), so that a public `a` and a secret error never share randomness, whatever order they are drawn in.

use crate::{Limbs, Ntt, Poly, Ring};
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use std::sync::Arc;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// 256 bits that determine everything drawn from them.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Seed([u8; 32]);

/// What a stream is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// A secret key.
    Secret,
    /// The ephemeral secret of an encryption under a public key.
    Ephemeral,
    /// Noise.
    Error,
    /// The uniform half of a public object.
    Public,
}

/// A stream of random words.
pub struct Sampler {
    cipher: ChaCha20,
    block: Zeroizing<[u8; 4096]>,
    used: usize,
}

/// Coin pairs of the centred binomial distribution: standard deviation `sqrt(21/2) = 3.24`.
const BINOMIAL_PAIRS: u32 = 21;

/// The system has no randomness to give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random bytes: {reason}")]
pub struct NoEntropy {
    reason: String,
}

impl Seed {
    /// A fresh seed from the operating system.
    ///
    /// # Errors
    /// [`NoEntropy`] if it has none to give.
    pub fn from_os() -> Result<Self, NoEntropy> {
        let mut seed = Self([0; 32]);
        getrandom::fill(&mut seed.0).map_err(|e| NoEntropy { reason: e.to_string() })?;
        Ok(seed)
    }

    /// A seed received, or fixed for a test.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for seeds that are public.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The stream with this label and number.
    pub fn sampler(&self, label: Label, number: u32) -> Sampler {
        let mut nonce = [0; 12];
        let words = [label as u32 + 1, number, 0];
        for (bytes, word) in nonce.chunks_mut(4).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Sampler {
            cipher: ChaCha20::new(&self.0.into(), &nonce.into()),
            block: Zeroizing::new([0; 4096]),
            used: 4096,
        }
    }
}

impl Sampler {
    /// Independent uniform words modulo every prime, as a transformed polynomial (uniform in either form).
    pub fn uniform(&mut self, ring: &Arc<Ring>, limbs: Limbs) -> Poly<Ntt> {
        let mut out = Poly::zero(ring, limbs);
        for (index, limb) in out.limbs_mut() {
            let q = ring.modulus(index).q();
            let mask = q.next_power_of_two() - 1;
            for word in limb {
                // Rejection on the public half only: its timing tells nothing.
                *word = loop {
                    let candidate = self.word() & mask;
                    if candidate < q {
                        break candidate;
                    }
                };
            }
        }
        out
    }

    /// `n` coefficients, each -1, 0 or 1 with equal probability (up to 2^-32).
    pub fn ternary(&mut self, n: usize) -> Zeroizing<Vec<i8>> {
        // floor(3 x / 2^32) - 1 has no branch to leak through.
        Zeroizing::new((0..n).map(|_| ((u64::from(self.word()) * 3) >> 32) as i8 - 1).collect())
    }

    /// `n` coefficients of the centred binomial distribution.
    pub fn error(&mut self, n: usize) -> Zeroizing<Vec<i8>> {
        let mask = (1 << BINOMIAL_PAIRS) - 1;
        let heads = |word: u32| (word & mask).count_ones() as i8;
        Zeroizing::new((0..n).map(|_| heads(self.word()) - heads(self.word())).collect())
    }

    fn word(&mut self) -> u32 {
        if self.used == self.block.len() {
            self.block.fill(0);
            self.cipher.apply_keystream(self.block.as_mut_slice());
            self.used = 0;
        }
        let mut word = [0; 4];
        if let Some(bytes) = self.block.get(self.used..self.used + 4) {
            word.copy_from_slice(bytes);
        }
        self.used += 4;
        u32::from_le_bytes(word)
    }
}
