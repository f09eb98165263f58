//! Randomness: ChaCha20 streams and the integer-only, branch-free samplers on them.
//!
//! One [`Seed`] belongs to one object. Each use of it takes its own stream (the cipher's nonce holds a label and a
//! number), so that a public `a` and a secret error never share randomness, whatever order they are drawn in.
//!
//! A uniform polynomial takes many streams, so that a device expands its words at once: one for each [`UNIFORM_CHUNK`]
//! words of a limb, whose nonce holds the position of the prime and that of the chunk, too. A word `x` of the stream gives
//! the residue `floor(x q / 2^32)` (Lemire, "Fast random integer generation in an interval", 2019), and is skipped where
//! `x q mod 2^32` is below `2^32 mod q`, which leaves each residue as many words: they are exactly uniform.

use crate::{Modulus, RingKind};
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use zeroize::{Zeroize, Zeroizing, zeroize_stack};

/// 256 bits that determine everything drawn from them.
///
/// A seed has one place on the heap, which is erased when the seed is dropped: moving a seed copies a pointer.
#[derive(Clone)]
pub struct Seed(Box<[u8; 32]>);

/// The use of a stream.
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
    /// Rounding of published values.
    Dither,
    /// The key of what a client notes beside its ciphertexts.
    Note,
}

/// A stream of random words.
pub struct Sampler {
    cipher: Box<ChaCha20>,
    block: Zeroizing<Vec<u8>>,
    used: usize,
}

/// Bytes of a stream that are made at once.
const BLOCK: usize = 4096;

/// Words of a uniform limb that share a stream.
pub const UNIFORM_CHUNK: usize = BLOCK / 4;

/// Bytes of stack that the cipher's functions leave key and stream on, with room to spare.
const CIPHER_STACK: usize = 4096;

/// Coin pairs of the centred binomial distribution: standard deviation `sqrt(21/2) = 3.24`.
const BINOMIAL_PAIRS: u32 = 21;

/// The operating system has no randomness.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random bytes: {reason}")]
pub struct NoEntropy {
    reason: String,
}

impl Seed {
    /// A fresh seed from the operating system.
    ///
    /// # Errors
    /// [`NoEntropy`] if the operating system has none.
    pub fn from_os() -> Result<Self, NoEntropy> {
        let mut seed = Self::zero();
        getrandom::fill(seed.0.as_mut_slice()).map_err(|e| NoEntropy { reason: e.to_string() })?;
        Ok(seed)
    }

    /// A seed received, or fixed for a test. Erasing `bytes` is the caller's duty, if they are secret.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut seed = Self::zero();
        seed.0.copy_from_slice(bytes);
        seed
    }

    /// The bytes, for seeds that are public.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Limb `index` of [`Poly::uniform`](crate::Poly::uniform), modulo the prime at this position of the ring.
    pub fn fill_uniform(&self, number: u32, index: usize, modulus: &Modulus, limb: &mut [u32]) {
        let q = u64::from(modulus.q());
        let first_kept = modulus.q().wrapping_neg() % modulus.q();
        let mut block = [0; BLOCK];
        for (chunk, mut words) in limb.chunks_mut(UNIFORM_CHUNK).enumerate() {
            // Nothing here is secret: words are skipped by their public values, and no stack is erased.
            let place = (index << 16 | chunk) as u32;
            let mut cipher = ChaCha20::new((&*self.0).into(), (&nonce(Label::Public, number, place)).into());
            while !words.is_empty() {
                let (stream, _) = block.split_at_mut((4 * words.len()).next_multiple_of(64).min(BLOCK));
                stream.fill(0);
                cipher.apply_keystream(stream);
                for group in stream.as_chunks::<4>().0.as_chunks::<16>().0 {
                    let products = group.map(|word| u64::from(u32::from_le_bytes(word)) * q);
                    let residues = products.map(|product| (product >> 32) as u32);
                    // Most groups are kept whole, and are computed at once.
                    let kept =
                        products.iter().fold(true, |kept, product| kept & (*product as u32 >= first_kept));
                    if kept && let Some(next) = words.split_off_mut(..16) {
                        next.copy_from_slice(&residues);
                        continue;
                    }
                    for (product, residue) in products.into_iter().zip(residues) {
                        if product as u32 >= first_kept {
                            let Some(next) = words.split_off_first_mut() else { break };
                            *next = residue;
                        }
                    }
                }
            }
        }
    }

    /// The stream with this label and number.
    pub fn sampler(&self, label: Label, number: u32) -> Sampler {
        let cipher = self.cipher(label, number);
        Sampler { cipher, block: Zeroizing::new(vec![0; BLOCK]), used: BLOCK }
    }

    /// Derives another seed: the first 256 bits of the stream with this label and number, which must not be drawn from
    /// afterwards. The derived seed reveals nothing about this one.
    #[must_use]
    pub fn derive(&self, label: Label, number: u32) -> Self {
        let mut seed = Self::zero();
        keystream(&mut self.cipher(label, number), seed.0.as_mut_slice());
        seed
    }

    fn zero() -> Self {
        Self(Box::new([0; 32]))
    }

    fn cipher(&self, label: Label, number: u32) -> Box<ChaCha20> {
        let cipher = keyed(&self.0, &nonce(label, number, 0));
        zeroize_stack::<CIPHER_STACK>();
        cipher
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

/// The nonce of a stream; `place` is 0 but for uniform words.
fn nonce(label: Label, number: u32, place: u32) -> [u8; 12] {
    let mut nonce = [0; 12];
    for (bytes, word) in nonce.chunks_mut(4).zip([label as u32 + 1, number, place]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    nonce
}

/// A function of its own, so that callers can erase the stack it used.
#[inline(never)]
fn keyed(key: &[u8; 32], nonce: &[u8; 12]) -> Box<ChaCha20> {
    Box::new(ChaCha20::new(key.into(), nonce.into()))
}

/// Fills zeros with the stream.
fn keystream(cipher: &mut ChaCha20, zeros: &mut [u8]) {
    apply(cipher, zeros);
    zeroize_stack::<CIPHER_STACK>();
}

/// A function of its own, as [`keyed`] is.
#[inline(never)]
fn apply(cipher: &mut ChaCha20, zeros: &mut [u8]) {
    cipher.apply_keystream(zeros);
}

impl Sampler {
    /// `n` coefficients, each -1, 0 or 1 with equal probability (up to 2^-32).
    pub fn ternary(&mut self, n: usize) -> Zeroizing<Vec<i8>> {
        // floor(3 x / 2^32) - 1 has no branch to leak through.
        Zeroizing::new((0..n).map(|_| ((u64::from(self.word()) * 3) >> 32) as i8 - 1).collect())
    }

    /// `n` coefficients of the centred binomial distribution. In a conjugate-invariant ring the first is the sum of two: under the
    /// canonical embedding 1 has the length `sqrt(n)` and every other `X^j + X^-j` the length `sqrt(2 n)`, so that the error has the
    /// same variance in all directions.
    pub fn error(&mut self, kind: RingKind, n: usize) -> Zeroizing<Vec<i8>> {
        let mask = (1 << BINOMIAL_PAIRS) - 1;
        let heads = |word: u32| (word & mask).count_ones() as i8;
        let mut coefficients = Zeroizing::new(Vec::with_capacity(n));
        coefficients.extend((0..n).map(|_| heads(self.word()) - heads(self.word())));
        if kind == RingKind::ConjugateInvariant
            && let Some(first) = coefficients.first_mut()
        {
            *first += heads(self.word()) - heads(self.word());
        }
        coefficients
    }

    /// A number above 0 and below 1, an odd multiple of `2^-53`: each is as likely.
    pub fn fraction(&mut self) -> f64 {
        let low = u64::from(self.word());
        let high = u64::from(self.word());
        let bits = (high << 32 | low) >> 12;
        (2 * bits + 1) as f64 / (1u64 << 53) as f64
    }

    #[expect(clippy::indexing_slicing, reason = "a block is a whole number of words")]
    fn word(&mut self) -> u32 {
        if self.used == BLOCK {
            self.block.fill(0);
            keystream(&mut self.cipher, &mut self.block);
            self.used = 0;
        }
        let mut word = [0; 4];
        word.copy_from_slice(&self.block[self.used..self.used + 4]);
        self.used += 4;
        u32::from_le_bytes(word)
    }
}
