//! Objects that client and server exchange: ciphertexts and public keys. None of them is secret.

use crate::Params;
use pleura_ring::sample::Seed;
use pleura_ring::{Gadget, GaloisElement, Limbs, Ntt, Poly, PolySource};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// The uniform polynomial that a public seed determines. The wire carries the seed in place of it; the host expands it where it needs the
/// words, and devices expand it by themselves.
#[derive(Clone)]
pub(crate) struct SeededPoly {
    seed: Seed,
    number: u32,
    limbs: Limbs,
    poly: OnceLock<Poly<Ntt>>,
}

/// An encrypted vector: `c_0 + c_1 s (+ c_2 s^2)` is the plaintext plus noise.
#[derive(Clone)]
pub struct Ciphertext {
    pub(crate) params: Params,
    pub(crate) level: usize,
    pub(crate) scale: f64,
    pub(crate) log_slots: u32,
    /// Two parts, or three before relinearization, transformed; without the last one if that is seeded.
    pub(crate) parts: Vec<Poly<Ntt>>,
    /// The last part, if it was drawn from a seed.
    pub(crate) seeded: Option<SeededPoly>,
}

/// A public key, which encrypts for the owner of a secret key.
#[derive(Clone)]
pub struct PublicKey {
    pub(crate) params: Params,
    /// `-a s + e`
    pub(crate) b: Poly<Ntt>,
    pub(crate) a: Poly<Ntt>,
    pub(crate) seed: Seed,
}

/// Turns ciphertexts under one secret into ciphertexts under another: row `d` encrypts `P` times the old secret
/// in the primes of digit `d` (hybrid key switching, Han and Ki 2020).
#[derive(Clone)]
pub struct SwitchingKey {
    pub(crate) params: Params,
    pub(crate) level: usize,
    /// Per digit `(-a s + e + P s' [digit], a)`.
    pub(crate) rows: Vec<(Poly<Ntt>, SeededPoly)>,
    pub(crate) seed: Seed,
}

/// The evaluation keys of a server. They decrypt nothing.
#[derive(Clone)]
pub struct EvaluationKeys {
    pub(crate) params: Params,
    pub(crate) relin: Option<SwitchingKey>,
    pub(crate) galois: BTreeMap<GaloisElement, SwitchingKey>,
}

/// Which keys a computation needs, each at the highest level it is used at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRequest {
    pub(crate) relin: Option<usize>,
    pub(crate) galois: BTreeMap<GaloisElement, usize>,
}

impl SeededPoly {
    pub(crate) fn new(seed: Seed, number: u32, limbs: Limbs) -> Self {
        Self { seed, number, limbs, poly: OnceLock::new() }
    }

    pub(crate) fn seed(&self) -> &Seed {
        &self.seed
    }

    pub(crate) fn limbs(&self) -> Limbs {
        self.limbs
    }

    /// The polynomial, which the first call expands.
    pub(crate) fn poly(&self, params: &Params) -> &Poly<Ntt> {
        self.poly.get_or_init(|| Poly::uniform(params.ring(), self.limbs, &self.seed, self.number))
    }

    pub(crate) fn source(&self) -> PolySource<'_> {
        let words = self.poly.get().map(Poly::words);
        PolySource::Uniform { seed: &self.seed, number: self.number, words }
    }
}

impl Ciphertext {
    /// Number of rescalings left.
    pub fn level(&self) -> usize {
        self.level
    }

    /// The factor between values and coefficients.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Logarithm of the number of values, to base 2.
    pub fn log_slots(&self) -> u32 {
        self.log_slots
    }

    /// Number of parts: two, or three before relinearization.
    pub fn parts(&self) -> usize {
        self.parts.len() + usize::from(self.seeded.is_some())
    }

    /// The parameters it belongs to.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The uniform part of a fresh ciphertext.
    pub(crate) fn uniform(params: &Params, seed: Seed, level: usize) -> SeededPoly {
        SeededPoly::new(seed, 0, params.limbs(level))
    }

    /// All parts in order.
    pub(crate) fn polys(&self) -> impl Iterator<Item = &Poly<Ntt>> {
        self.parts.iter().chain(self.seeded.iter().map(|seeded| seeded.poly(&self.params)))
    }

    /// All parts in order, as they are uploaded.
    pub(crate) fn sources(&self) -> Vec<PolySource<'_>> {
        let drawn = self.parts.iter().map(|poly| PolySource::Words(poly.words()));
        drawn.chain(self.seeded.iter().map(SeededPoly::source)).collect()
    }
}

impl PublicKey {
    /// The parameters it belongs to.
    pub fn params(&self) -> &Params {
        &self.params
    }

    pub(crate) fn draw(params: &Params, seed: &Seed) -> Poly<Ntt> {
        Poly::uniform(params.ring(), params.limbs(params.max_level()), seed, 0)
    }
}

impl SwitchingKey {
    /// The highest level it can be used at.
    pub fn level(&self) -> usize {
        self.level
    }

    /// The parameters it belongs to.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Words of the key on a device.
    pub fn words(&self) -> usize {
        self.rows.iter().map(|(b, _)| 2 * b.words().len()).sum()
    }

    /// Whether a key of this level is as secure as the parameters claim. It holds for every key that can be
    /// made or read; checked per key, since a key made at the wrong level is how others went wrong.
    ///
    /// # Panics
    /// If the level is above the parameters' highest.
    pub fn is_secure(params: &Params, level: usize) -> bool {
        let literal = params.literal();
        params.log2_qp(level) <= literal.security.max_log2_qp(literal.log_n)
    }

    pub(crate) fn gadget(&self) -> Gadget {
        self.params.gadget(self.level)
    }

    /// The uniform half of row `digit`.
    pub(crate) fn uniform(seed: &Seed, limbs: Limbs, digit: usize) -> SeededPoly {
        SeededPoly::new(seed.clone(), digit as u32, limbs)
    }

    /// The polynomials of its rows as they are uploaded, `[digit][2]`.
    pub(crate) fn sources(&self) -> Vec<PolySource<'_>> {
        self.rows.iter().flat_map(|(b, a)| [PolySource::Words(b.words()), a.source()]).collect()
    }
}

impl EvaluationKeys {
    /// The parameters they belong to.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The key for products, if there is one.
    pub fn relin(&self) -> Option<&SwitchingKey> {
        self.relin.as_ref()
    }

    /// The keys for automorphisms.
    pub fn galois(&self) -> &BTreeMap<GaloisElement, SwitchingKey> {
        &self.galois
    }

    /// The request that they answer.
    pub(crate) fn request(&self) -> KeyRequest {
        KeyRequest {
            relin: self.relin.as_ref().map(SwitchingKey::level),
            galois: self.galois.iter().map(|(&g, key)| (g, key.level)).collect(),
        }
    }
}

impl KeyRequest {
    /// An empty request.
    pub fn new() -> Self {
        Self::default()
    }

    /// The level of the relinearization key, if one is requested.
    pub fn relin_level(&self) -> Option<usize> {
        self.relin
    }

    /// Adds the relinearization key at a level.
    #[must_use]
    pub fn relin(mut self, level: usize) -> Self {
        self.relin = self.relin.max(Some(level));
        self
    }

    /// Adds keys for rotations of the slots at a level.
    #[must_use]
    pub fn rotations(self, params: &Params, steps: impl IntoIterator<Item = i64>, level: usize) -> Self {
        let ring = params.ring();
        steps.into_iter().fold(self, |keys, steps| keys.galois(ring.rotation(steps), level))
    }

    /// Adds the key for conjugation at a level; real slots need none.
    #[must_use]
    pub fn conjugation(self, params: &Params, level: usize) -> Self {
        self.galois(params.ring().conjugation(), level)
    }

    /// Adds the keys of an inner sum over `count` slots, a power of two, at a level.
    #[must_use]
    pub fn inner_sum(self, params: &Params, count: usize, level: usize) -> Self {
        let steps =
            std::iter::successors(Some(1), |s| Some(s * 2)).take_while(|&s| s < count.min(params.n()) as i64);
        self.rotations(params, steps, level)
    }

    /// The union of two requests, which must belong to the same parameters.
    #[must_use]
    pub fn merge(self, other: &Self) -> Self {
        let keys = other.relin.into_iter().fold(self, Self::relin);
        other.galois.iter().fold(keys, |keys, (&g, &level)| keys.galois(g, level))
    }

    /// Number of keys.
    pub fn count(&self) -> usize {
        usize::from(self.relin.is_some()) + self.galois.len()
    }

    /// Bytes that the keys take on a device.
    ///
    /// # Panics
    /// If a level is above the parameters' highest.
    pub fn bytes(&self, params: &Params) -> usize {
        let key = |level: usize| {
            let gadget = params.gadget(level);
            8 * gadget.digits() * params.ring().words(gadget.limbs, 1)
        };
        self.relin.iter().chain(self.galois.values()).map(|&level| key(level)).sum()
    }

    /// Adds the key of an automorphism at a level; the identity needs none.
    #[must_use]
    pub(crate) fn galois(mut self, g: GaloisElement, level: usize) -> Self {
        if g != GaloisElement::IDENTITY {
            let entry = self.galois.entry(g).or_insert(level);
            *entry = level.max(*entry);
        }
        self
    }
}
