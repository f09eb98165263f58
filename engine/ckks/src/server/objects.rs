//! Objects on a device: ciphertexts, keys and plaintexts.

use super::error::EvalError;
use crate::Params;
use crate::objects::{EvaluationKeys, KeyRequest};
use pleura_ring::{Backend, Batch, GaloisElement, Ntt, Ring};
use std::collections::BTreeMap;
use std::fmt;

/// A batch of ciphertexts of one level and scale on a device: `[part][item]`.
pub struct CiphertextBatch<B: Backend> {
    pub(super) params: Params,
    pub(super) data: Batch<B, Ntt>,
    pub(super) items: usize,
    pub(super) level: usize,
    pub(super) scale: f64,
    pub(super) log_slots: u32,
}

/// Evaluation keys on a device.
pub struct PreparedKeys<B: Backend> {
    pub(super) params: Params,
    pub(super) relin: Option<PreparedKey<B>>,
    pub(super) galois: BTreeMap<GaloisElement, PreparedKey<B>>,
}

/// A switching key on a device.
pub struct PreparedKey<B: Backend> {
    pub(super) params: Params,
    /// `[digit][2]`
    pub(super) data: Batch<B, Ntt>,
    pub(super) level: usize,
}

/// A plaintext on a device.
pub struct PreparedPlaintext<B: Backend> {
    pub(super) params: Params,
    pub(super) data: Batch<B, Ntt>,
    pub(super) level: usize,
    pub(super) scale: f64,
    pub(super) log_slots: u32,
}

impl<B: Backend> CiphertextBatch<B> {
    /// Number of ciphertexts.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Number of rescalings left.
    pub fn level(&self) -> usize {
        self.level
    }

    /// The factor between values and coefficients.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Two, or three before relinearization.
    pub fn parts(&self) -> usize {
        self.data.polys() / self.items
    }

    /// Declares the scale to be `scale`, which multiplies the encrypted values by the old scale over the new,
    /// exactly and at no cost.
    #[must_use]
    pub fn with_scale(self, scale: f64) -> Self {
        Self { scale, ..self }
    }

    /// A batch with these attributes and other polynomials.
    pub(super) fn like(&self, data: Batch<B, Ntt>, level: usize, scale: f64) -> Self {
        Self { params: self.params.clone(), data, items: self.items, level, scale, log_slots: self.log_slots }
    }
}

impl<B: Backend> PreparedKeys<B> {
    /// Bytes that the keys take on the device.
    pub fn bytes(&self) -> usize {
        let keys = self.relin.iter().chain(self.galois.values());
        keys.map(|k| 4 * self.params.ring().words(k.data.limbs(), k.data.polys())).sum()
    }

    pub(super) fn relin(&self, level: usize) -> Result<&Batch<B, Ntt>, EvalError> {
        let found = self.relin.as_ref().filter(|k| k.level >= level);
        found.map(|k| &k.data).ok_or(EvalError::MissingKey { what: "products".into(), level })
    }

    /// The key of an automorphism; the identity needs none.
    pub(super) fn galois(&self, g: GaloisElement, level: usize) -> Result<Option<&Batch<B, Ntt>>, EvalError> {
        if g == GaloisElement::IDENTITY {
            return Ok(None);
        }
        let found = self.galois.get(&g).filter(|k| k.level >= level);
        found
            .map(|k| Some(&k.data))
            .ok_or_else(|| EvalError::MissingKey { what: describe(g, self.params.ring()), level })
    }
}

impl EvaluationKeys {
    /// Checks that the keys cover a request: a key for each automorphism, at its level or above.
    ///
    /// # Errors
    /// [`EvalError::MissingKey`]
    pub fn check_covers(&self, request: &KeyRequest) -> Result<(), EvalError> {
        self.request().check_covers(request, self.params.ring())
    }
}

impl KeyRequest {
    /// Checks that it asks for all that another one does.
    pub(super) fn check_covers(&self, needed: &Self, ring: &Ring) -> Result<(), EvalError> {
        if let Some(level) = needed.relin
            && self.relin.is_none_or(|made| made < level)
        {
            return Err(EvalError::MissingKey { what: "products".into(), level });
        }
        for (g, &level) in &needed.galois {
            if self.galois.get(g).is_none_or(|&made| made < level) {
                return Err(EvalError::MissingKey { what: describe(*g, ring), level });
            }
        }
        Ok(())
    }
}

impl<B: Backend> fmt::Debug for CiphertextBatch<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { items, level, scale, log_slots, .. } = self;
        let mut out = f.debug_struct("CiphertextBatch");
        out.field("items", items).field("level", level).field("scale", scale).field("log_slots", log_slots);
        out.finish_non_exhaustive()
    }
}

/// An automorphism in the words of a key request.
fn describe(g: GaloisElement, ring: &Ring) -> String {
    if g == ring.conjugation() {
        return "conjugation".into();
    }
    let steps = (1..ring.slots() as i64).find(|&steps| ring.rotation(steps) == g);
    steps.map_or_else(|| format!("X -> X^{}", g.exponent()), |steps| format!("the rotation by {steps}"))
}
