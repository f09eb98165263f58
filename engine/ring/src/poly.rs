//! Polynomials in host memory: keys, and everything of clients that must not reach a device.

use crate::cpu::Kernels;
use crate::sample::Seed;
use crate::{Coeff, Domain, GaloisElement, Limbs, Ntt, NttPermutation, Ring, Simd};
use std::marker::PhantomData;
use std::sync::Arc;
use zeroize::Zeroize;

/// A polynomial over some limbs of a ring, `[limb][coefficient]` canonical words, erased when dropped.
///
/// Operations use the instruction set of [`Simd::preferred`].
#[derive(Clone)]
pub struct Poly<D: Domain> {
    ring: Arc<Ring>,
    limbs: Limbs,
    words: Vec<u32>,
    domain: PhantomData<D>,
}

impl<D: Domain> Poly<D> {
    /// The zero polynomial.
    pub fn zero(ring: &Arc<Ring>, limbs: Limbs) -> Self {
        Self { ring: ring.clone(), limbs, words: vec![0; ring.words(limbs, 1)], domain: PhantomData }
    }

    /// The polynomial with the given words; `None` unless there are `limbs n` of them, all canonical, and the ring has the limbs.
    pub fn from_words(ring: &Arc<Ring>, limbs: Limbs, words: Vec<u32>) -> Option<Self> {
        let canonical = ring.limbs().contains(limbs)
            && words.len() == ring.words(limbs, 1)
            && words
                .chunks(ring.n())
                .zip(ring.moduli(limbs))
                .all(|(limb, modulus)| limb.iter().all(|&x| x < modulus.q()));
        canonical.then(|| Self { ring: ring.clone(), limbs, words, domain: PhantomData })
    }

    /// The limbs of the polynomial.
    pub fn limbs(&self) -> Limbs {
        self.limbs
    }

    /// The words, `[limb][coefficient]`.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// The words of each limb with the position of its prime in the ring.
    pub fn limbs_mut(&mut self) -> impl Iterator<Item = (usize, &mut [u32])> {
        self.ring.indices(self.limbs).zip(self.words.chunks_mut(self.ring.n()))
    }

    /// A copy with fewer limbs.
    ///
    /// # Panics
    /// If `self` lacks a limb of `limbs`.
    pub fn restrict(&self, limbs: Limbs) -> Self {
        let mut out = Self::zero(&self.ring, limbs);
        self.for_each_limb(&mut out, |_, to, from| to.copy_from_slice(from));
        out
    }

    /// `self += other`
    ///
    /// # Panics
    /// If `other` lacks a limb, as for all operations with two operands.
    pub fn add_assign(&mut self, other: &Self) {
        let kernels = self.kernels();
        other.for_each_limb(self, |ring_index, x, y| (kernels.add)(other.ring.modulus(ring_index), x, y));
    }

    /// `self -= other`
    pub fn sub_assign(&mut self, other: &Self) {
        let kernels = self.kernels();
        other.for_each_limb(self, |ring_index, x, y| (kernels.sub)(other.ring.modulus(ring_index), x, y));
    }

    /// `self = -self`
    pub fn neg_assign(&mut self) {
        let kernels = self.kernels();
        let ring = self.ring.clone();
        for (index, x) in self.limbs_mut() {
            (kernels.neg)(ring.modulus(index), x);
        }
    }

    /// Calls `f` with the position of the prime, the limb of `out`, and the same limb of `self`.
    #[expect(clippy::indexing_slicing, reason = "the limbs were compared")]
    fn for_each_limb(&self, out: &mut Self, mut f: impl FnMut(usize, &mut [u32], &[u32])) {
        assert!(self.limbs.contains(out.limbs), "{:?} lacks limbs of {:?}", self.limbs, out.limbs);
        let n = self.ring.n();
        let part = out.limbs;
        for (i, (index, to)) in out.limbs_mut().enumerate() {
            let start = self.limbs.position(part, i) * n;
            f(index, to, &self.words[start..start + n]);
        }
    }

    fn kernels(&self) -> Kernels {
        Kernels::new(Simd::preferred(), self.ring.n())
    }

    fn into_domain<E: Domain>(mut self) -> Poly<E> {
        let words = std::mem::take(&mut self.words);
        Poly { ring: self.ring.clone(), limbs: self.limbs, words, domain: PhantomData }
    }
}

impl Poly<Coeff> {
    /// Signed integers reduced by every prime.
    ///
    /// # Panics
    /// If there are not `n` of them.
    pub fn from_signed(ring: &Arc<Ring>, limbs: Limbs, coefficients: &[i64]) -> Self {
        assert_eq!(coefficients.len(), ring.n(), "one coefficient per power of X");
        let mut out = Self::zero(ring, limbs);
        for (index, limb) in out.limbs_mut() {
            let modulus = ring.modulus(index);
            for (word, &c) in limb.iter_mut().zip(coefficients) {
                *word = modulus.reduce_signed(c);
            }
        }
        out
    }

    /// Small signed integers, as the samplers draw them, modulo every prime; each prime exceeds 128.
    ///
    /// # Panics
    /// If there are not `n` of them.
    pub fn from_small(ring: &Arc<Ring>, limbs: Limbs, coefficients: &[i8]) -> Self {
        assert_eq!(coefficients.len(), ring.n(), "one coefficient per power of X");
        let mut out = Self::zero(ring, limbs);
        for (index, limb) in out.limbs_mut() {
            let q = ring.modulus(index).q();
            for (word, &c) in limb.iter_mut().zip(coefficients) {
                let c = i32::from(c);
                *word = (c as u32).wrapping_add((c >> 31) as u32 & q);
            }
        }
        out
    }

    /// Forward transform.
    pub fn into_ntt(mut self) -> Poly<Ntt> {
        let kernels = self.kernels();
        let ring = self.ring.clone();
        for (index, limb) in self.limbs_mut() {
            (kernels.ntt)(ring.table(index), limb);
        }
        self.into_domain()
    }
}

impl Poly<Ntt> {
    /// Polynomial `number` of a seed: independent uniform words modulo every prime (uniform in either form). Over fewer limbs it is
    /// a part of the one over all of them.
    pub fn uniform(ring: &Arc<Ring>, limbs: Limbs, seed: &Seed, number: u32) -> Self {
        let mut out = Self::zero(ring, limbs);
        for (index, limb) in out.limbs_mut() {
            seed.fill_uniform(number, index, ring.modulus(index), limb);
        }
        out
    }

    /// Inverse transform.
    pub fn into_coeff(mut self) -> Poly<Coeff> {
        let kernels = self.kernels();
        let ring = self.ring.clone();
        for (index, limb) in self.limbs_mut() {
            (kernels.intt)(ring.table(index), limb, 1);
        }
        self.into_domain()
    }

    /// `self b`
    ///
    /// # Panics
    /// If `b` lacks a limb.
    pub fn mul(&self, b: &Self) -> Self {
        let kernels = self.kernels();
        let mut out = self.clone();
        b.for_each_limb(&mut out, |index, x, y| (kernels.mul)(self.ring.modulus(index), x, y));
        out
    }

    /// `X -> X^g`
    pub fn automorphism(&self, g: GaloisElement) -> Self {
        let kernels = self.kernels();
        let permutation = NttPermutation::new(g, self.ring.kind(), self.ring.log_n(), kernels.width);
        let mut out = Self::zero(&self.ring, self.limbs);
        self.for_each_limb(&mut out, |_, to, from| (kernels.permute)(&permutation, from, to));
        out
    }
}

impl<D: Domain> Drop for Poly<D> {
    fn drop(&mut self) {
        self.words.zeroize();
    }
}
