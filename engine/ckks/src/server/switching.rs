//! Key switching: rotations, conjugation, inner sums, other secrets, and products back to two parts.

use super::evaluator::{Evaluator, check_parts};
use super::{CiphertextBatch, EvalError, PreparedKey, PreparedKeys};
use pleura_ring::{Backend, Batch, Digits, GadgetProduct, GadgetTerm, GaloisElement, Ntt};

impl<B: Backend> Evaluator<B> {
    /// Rotates the slots to the left by `steps` (to the right if negative).
    ///
    /// # Errors
    /// [`EvalError::MissingKey`], [`EvalError::Parts`]
    pub fn rotate(
        &self,
        x: &CiphertextBatch<B>,
        steps: i64,
        keys: &PreparedKeys<B>,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        self.automorphism(x, self.params().ring().rotation(steps), keys)
    }

    /// Several rotations of the same ciphertexts: the decomposition is made once for all (hoisting, Halevi and
    /// Shoup 2018).
    ///
    /// # Errors
    /// [`EvalError::MissingKey`], [`EvalError::Parts`]
    pub fn rotate_many(
        &self,
        x: &CiphertextBatch<B>,
        steps: &[i64],
        keys: &PreparedKeys<B>,
    ) -> Result<Vec<CiphertextBatch<B>>, EvalError> {
        let elements: Vec<_> = steps.iter().map(|&s| self.params().ring().rotation(s)).collect();
        let limbs = self.params().limbs(x.level);
        let data =
            self.hoist(x, &elements, keys, |product| self.backend().gadget_product_divided(product, limbs))?;
        let items = x.items;
        let outputs = elements.len();
        Ok((0..outputs)
            .map(|o| {
                let part = |p: usize| data.slice((p * outputs + o) * items, items);
                x.like(self.backend().concat(&[part(0), part(1)], data.limbs()), x.level, x.scale)
            })
            .collect())
    }

    /// The sum of `x` and its rotations by each of `steps`, with one decomposition and one division for all of them.
    ///
    /// # Errors
    /// [`EvalError::MissingKey`], [`EvalError::Parts`]
    pub fn rotate_and_sum(
        &self,
        x: &CiphertextBatch<B>,
        steps: &[i64],
        keys: &PreparedKeys<B>,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        self.check_params(&x.params)?;
        self.check_params(&keys.params)?;
        check_parts(x, 2)?;
        let mut terms = Vec::with_capacity(steps.len() + 1);
        for &step in std::iter::once(&0).chain(steps) {
            let galois = self.params().ring().rotation(step);
            terms.push(GadgetTerm {
                input: 0,
                output: 0,
                key: keys.galois(galois, x.level)?.map(Batch::view),
                galois,
            });
        }
        let product = GadgetProduct {
            gadget: self.params().gadget(x.level),
            x: x.data.view(),
            digits: Digits::Fresh(x.data.slice(x.items, x.items)),
            first_switched: 0,
            terms: &terms,
            batch: x.items,
            outputs: 1,
        };
        let sum = self.backend().gadget_product_divided(&product, self.params().limbs(x.level));
        Ok(x.like(sum, x.level, x.scale))
    }

    /// Conjugates every slot, which needs no key and changes nothing where slots are real.
    ///
    /// # Errors
    /// [`EvalError::MissingKey`], [`EvalError::Parts`]
    pub fn conjugate(
        &self,
        x: &CiphertextBatch<B>,
        keys: &PreparedKeys<B>,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        self.automorphism(x, self.params().ring().conjugation(), keys)
    }

    /// From the secret key that `key` was made from to the one that made it
    /// ([`SecretKey::switching_key_from`](crate::SecretKey::switching_key_from)).
    ///
    /// # Errors
    /// [`EvalError::MissingKey`], [`EvalError::Parts`]
    pub fn switch_key(
        &self,
        x: &CiphertextBatch<B>,
        key: &PreparedKey<B>,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        self.check_params(&x.params)?;
        self.check_params(&key.params)?;
        check_parts(x, 2)?;
        if key.level < x.level {
            return Err(EvalError::MissingKey { what: "another secret".into(), level: x.level });
        }
        Ok(x.like(self.switch(x, &key.data, x.level), x.level, x.scale))
    }

    /// In every slot the sum of the `count` slots from it on, a power of two; needs the rotations
    /// [`KeyRequest::inner_sum`](crate::KeyRequest::inner_sum).
    ///
    /// # Errors
    /// [`EvalError::BadCount`], [`EvalError::MissingKey`], [`EvalError::Parts`]
    pub fn inner_sum(
        &self,
        x: &CiphertextBatch<B>,
        count: usize,
        keys: &PreparedKeys<B>,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        let max = self.params().slots();
        if !count.is_power_of_two() || count > max {
            return Err(EvalError::BadCount { count, max });
        }
        let mut sum = self.copy(x)?;
        for log in 0..count.ilog2() {
            sum = self.add(&sum, &self.rotate(&sum, 1 << log, keys)?)?;
        }
        Ok(sum)
    }

    fn automorphism(
        &self,
        x: &CiphertextBatch<B>,
        g: GaloisElement,
        keys: &PreparedKeys<B>,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        let limbs = self.params().limbs(x.level);
        let data =
            self.hoist(x, &[g], keys, |product| self.backend().gadget_product_divided(product, limbs))?;
        Ok(x.like(data, x.level, x.scale))
    }

    /// The result of `use_product` on several automorphisms of the same ciphertexts, `[2][element][item]`.
    pub(super) fn hoist(
        &self,
        x: &CiphertextBatch<B>,
        elements: &[GaloisElement],
        keys: &PreparedKeys<B>,
        use_product: impl FnOnce(&GadgetProduct<'_, B>) -> Batch<B, Ntt>,
    ) -> Result<Batch<B, Ntt>, EvalError> {
        self.check_params(&x.params)?;
        self.check_params(&keys.params)?;
        check_parts(x, 2)?;
        let gadget = self.params().gadget(x.level);
        let mut terms = Vec::with_capacity(elements.len());
        for (output, &galois) in elements.iter().enumerate() {
            terms.push(GadgetTerm {
                input: 0,
                output,
                key: keys.galois(galois, x.level)?.map(Batch::view),
                galois,
            });
        }
        Ok(use_product(&GadgetProduct {
            gadget,
            x: x.data.view(),
            digits: Digits::Fresh(x.data.slice(x.items, x.items)),
            first_switched: 0,
            terms: &terms,
            batch: x.items,
            outputs: elements.len(),
        }))
    }

    pub(super) fn relinearize_to(
        &self,
        x: &CiphertextBatch<B>,
        keys: &PreparedKeys<B>,
        level: usize,
    ) -> Result<Batch<B, Ntt>, EvalError> {
        self.check_params(&x.params)?;
        self.check_params(&keys.params)?;
        check_parts(x, 3)?;
        Ok(self.switch(x, keys.relin(x.level)?, level))
    }

    /// Switches the last part, and divides down to `level` with the same division.
    fn switch(&self, x: &CiphertextBatch<B>, key: &Batch<B, Ntt>, level: usize) -> Batch<B, Ntt> {
        let last = (x.parts() - 1) * x.items;
        let product = GadgetProduct {
            gadget: self.params().gadget(x.level),
            x: x.data.view(),
            digits: Digits::Fresh(x.data.slice(last, x.items)),
            first_switched: 0,
            terms: &[GadgetTerm {
                input: 0,
                output: 0,
                key: Some(key.view()),
                galois: GaloisElement::IDENTITY,
            }],
            batch: x.items,
            outputs: 1,
        };
        self.backend().gadget_product_divided(&product, self.params().limbs(level))
    }
}
