//! Linear maps on the slots, by diagonals.
//!
//! A matrix is the sum over its diagonals `d_k[i] = M[i, i+k]` of `d_k rot_k(x)`. With `k = g + b`, giant step `g`
//! and baby step `b`, that is `sum_g rot_g( sum_b rot_-g(d_k) rot_b(x) )`: as many rotations as there are baby and
//! giant steps (Halevi and Shoup 2018). Both kinds are hoisted: the baby steps share one decomposition and stay
//! over the extended primes, where the inner sums are taken; each inner sum is switched once, and all of them are
//! divided by `P` together, with the level's primes (Bossuat, Mouchet, Troncoso-Pastoriza, Hubaux, eprint
//! 2020/1203).

use super::error::{EvalError, TransformError};
use super::evaluator::{Evaluator, check_scale};
use super::objects::{CiphertextBatch, PreparedKeys};
use crate::encode::Encoder;
use crate::{KeyRequest, Params};
use num_complex::Complex64;
use pleura_ring::{
    Backend, Batch, CompactPoly, Diagonals, Digits, GadgetProduct, GadgetTerm, GaloisElement, Limbs, Ntt,
    Term,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A linear map on `slots` slots, given by its non-zero diagonals, and how to run it.
pub struct LinearTransform {
    params: Params,
    level: usize,
    slots: usize,
    diagonals: BTreeMap<usize, Vec<Complex64>>,
    /// The baby steps are the residues of the diagonals modulo this.
    baby: usize,
}

/// A linear map from a group of ciphertexts to another, by real diagonals that stay small coefficients on the device: what
/// a layer of a network is. Baby steps are shared by all outputs, giant steps by all inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockLinearTransform {
    /// The level it is applied at.
    pub level: usize,
    /// The level of the result: the primes between are divided by once.
    pub target_level: usize,
    /// The factor between the diagonals' values and their coefficients.
    pub scale: f64,
    /// Ciphertexts of a group that goes in.
    pub inputs: usize,
    /// Ciphertexts of a group that comes out.
    pub outputs: usize,
    /// Rotations of the inputs.
    pub baby_steps: Vec<i64>,
    /// Rotations of the sums.
    pub giant_steps: Vec<i64>,
    /// The diagonals, whose products are added.
    pub diagonals: Vec<Diagonal>,
}

/// One diagonal of a [`BlockLinearTransform`]: output `output` gains `rot_giant(poly * rot_baby(input))`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagonal {
    /// Number of the input in its group.
    pub input: usize,
    /// Number of the output in its group.
    pub output: usize,
    /// Position among the baby steps.
    pub baby_step: usize,
    /// Position among the giant steps.
    pub giant_step: usize,
    /// From [`Encoder::encode_compact`], of the diagonal rotated back by the giant step.
    pub poly: CompactPoly,
}

/// A linear transform on a device.
pub struct PreparedTransform<B: Backend> {
    params: Params,
    level: usize,
    target_level: usize,
    log_slots: u32,
    inputs: usize,
    outputs: usize,
    diagonals: Stored<B>,
    scale: f64,
    baby_steps: Vec<GaloisElement>,
    /// Per giant step: its rotation, and its terms. The step 0 is first.
    giant_steps: Vec<(GaloisElement, Vec<Product>)>,
}

/// Diagonals on a device.
enum Stored<B: Backend> {
    /// One poly per diagonal, over the extended primes.
    Polys(Batch<B, Ntt>),
    Compact(B::CompactPolys, usize),
}

/// One term of a giant step.
struct Product {
    diagonal: usize,
    baby_step: usize,
    input: usize,
    output: usize,
}

/// Most bytes of diagonals that are kept at full length: they take no time of an inference, but reading more would.
const MAX_EXPANDED_BYTES: usize = 1 << 22;

/// Cost of a giant step in baby steps: it switches keys anew instead of reusing a decomposition (`cargo bench -p benches --bench
/// ckks -- rotate`).
const GIANT_COST: usize = 4;

impl LinearTransform {
    /// The map with the given diagonals (number `k`, modulo `slots`, holds `M[i, i+k]` for each row `i`; those of the
    /// same number add up), to be applied at `level`.
    ///
    /// # Errors
    /// [`TransformError`]
    /// ```
    /// use pleura_ckks::{Complex64, Encoder, Evaluator, LinearTransform, Params, SecretKey, Security};
    /// use pleura_ring::Cpu;
    ///
    /// // Row i of the matrix is 1/2 in column i and 1 in column i + 1, cyclically.
    /// let params = Params::choose(2, 29, Security::Bits128)?;
    /// let diagonal = |x: f64| vec![Complex64::from(x); 4];
    /// let matrix = LinearTransform::new(&params, 2, 4, [(0, diagonal(0.5)), (1, diagonal(1.0))])?;
    ///
    /// let encoder = Encoder::new(&params);
    /// let secret = SecretKey::generate(&params)?;
    /// let server = Evaluator::new(&params, Cpu::new(params.ring().clone())?)?;
    /// let keys = server.upload_keys(&secret.evaluation_keys(&matrix.keys())?)?;
    /// let prepared = server.prepare_transform(&matrix, &encoder)?;
    /// let x = server.upload(&[secret.encrypt(&encoder.encode_real(&[1.0, 2.0, 3.0, 4.0])?)?])?;
    /// let y = server.download(&server.transform(&x, &prepared, &keys)?)?.remove(0);
    /// let y = secret.decrypt(&encoder, &y)?.publish_real(8)?;
    /// for (got, expected) in y.iter().zip([2.5, 4.0, 5.5, 3.0]) {
    ///     assert!((got - expected).abs() < 0.01);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(
        params: &Params,
        level: usize,
        slots: usize,
        diagonals: impl IntoIterator<Item = (i64, Vec<Complex64>)>,
    ) -> Result<Self, TransformError> {
        if !slots.is_power_of_two() || slots > params.slots() {
            return Err(TransformError::BadSlots { slots, max: params.slots() });
        }
        if level == 0 || level > params.max_level() {
            return Err(TransformError::BadLevel { level, max: params.max_level() });
        }
        let mut by_index = BTreeMap::<usize, Vec<Complex64>>::new();
        for (index, diagonal) in diagonals {
            if diagonal.len() != slots {
                return Err(TransformError::BadDiagonal { index, got: diagonal.len(), slots });
            }
            let sum = by_index.entry(index.rem_euclid(slots as i64) as usize);
            let sum = sum.or_insert_with(|| vec![Complex64::ZERO; slots]);
            sum.iter_mut().zip(diagonal).for_each(|(sum, x)| *sum += x);
        }
        let baby = Self::best_baby(&by_index.keys().copied().collect::<Vec<_>>(), slots)
            .ok_or(TransformError::Empty)?;
        Ok(Self { params: params.clone(), level, slots, diagonals: by_index, baby })
    }

    /// The power of two that makes the fewest steps, giant ones weighed by their cost.
    fn best_baby(indices: &[usize], slots: usize) -> Option<usize> {
        let powers = std::iter::successors(Some(1), |b| Some(b * 2)).take_while(|&b| b <= slots);
        powers
            .min_by_key(|&baby| {
                let baby_steps: BTreeSet<_> = indices.iter().map(|i| i % baby).collect();
                let giant_steps: BTreeSet<_> = indices.iter().map(|i| i / baby).collect();
                let steps = |set: &BTreeSet<usize>| set.len() - usize::from(set.contains(&0));
                steps(&baby_steps) + GIANT_COST * steps(&giant_steps)
            })
            .filter(|_| !indices.is_empty())
    }

    /// The keys it needs.
    pub fn keys(&self) -> KeyRequest {
        let steps = self.diagonals.keys().flat_map(|i| [i % self.baby, i - i % self.baby]).map(|s| s as i64);
        KeyRequest::new().rotations(&self.params, steps, self.level)
    }

    /// Number of diagonals.
    pub fn diagonals(&self) -> usize {
        self.diagonals.len()
    }

    /// Numbers of baby steps and of giant steps, the identities included.
    pub fn steps(&self) -> (usize, usize) {
        let count =
            |f: &dyn Fn(usize) -> usize| self.diagonals.keys().map(|&i| f(i)).collect::<BTreeSet<_>>().len();
        (count(&|i| i % self.baby), count(&|i| i / self.baby))
    }
}

impl BlockLinearTransform {
    /// The keys it needs.
    pub fn keys(&self, params: &Params) -> KeyRequest {
        KeyRequest::new().rotations(
            params,
            self.baby_steps.iter().chain(&self.giant_steps).copied(),
            self.level,
        )
    }
}

impl<B: Backend> Evaluator<B> {
    /// Brings a transform between groups of ciphertexts to the device.
    ///
    /// # Errors
    /// [`EvalError::Transform`], [`EvalError::Encode`], [`EvalError::TooManyPrimes`], [`EvalError::Backend`]
    pub fn prepare_blocks(
        &self,
        transform: &BlockLinearTransform,
    ) -> Result<PreparedTransform<B>, EvalError> {
        let BlockLinearTransform {
            level,
            target_level,
            scale,
            inputs,
            outputs,
            baby_steps,
            giant_steps,
            diagonals,
        } = transform;
        let params = self.params();
        if *level > params.max_level() || *level == 0 {
            return Err(TransformError::BadLevel { level: *level, max: params.max_level() }.into());
        }
        if target_level >= level {
            return Err(TransformError::BadTarget { level: *level, to: *target_level }.into());
        }
        if baby_steps.is_empty() || giant_steps.is_empty() || *inputs == 0 || *outputs == 0 {
            return Err(TransformError::Empty.into());
        }
        check_scale(*scale)?;
        self.check_dropped(params.gadget(*level).limbs, params.limbs(*target_level))?;
        let rotation = |&steps: &i64| params.ring().rotation(steps);
        // Steps that differ by all slots are one: only one of them may be the identity, which has no key.
        let mut sums: Vec<(GaloisElement, Vec<Product>)> = Vec::new();
        for giant in giant_steps.iter().map(rotation) {
            if sums.iter().all(|(g, _)| *g != giant) {
                sums.push((giant, Vec::new()));
            }
        }
        for (index, diagonal) in diagonals.iter().enumerate() {
            let &Diagonal { input, output, baby_step, giant_step, .. } = diagonal;
            let fits = input < *inputs && output < *outputs && baby_step < baby_steps.len();
            let giant = giant_steps.get(giant_step).filter(|_| fits).map(rotation);
            let sum = sums.iter_mut().find(|(g, _)| Some(*g) == giant);
            let (_, terms) = sum.ok_or(TransformError::BadIndex { index })?;
            terms.push(Product { diagonal: index, baby_step, input, output });
        }
        sums.sort_by_key(|(g, _)| *g != GaloisElement::IDENTITY);
        let polys: Vec<_> = diagonals.iter().map(|d| d.poly.clone()).collect();
        let stored = self.backend().upload_compact(&polys)?;
        let limbs = params.gadget(*level).limbs;
        // Few diagonals are expanded once.
        let stored = if 4 * params.ring().words(limbs, polys.len()) <= MAX_EXPANDED_BYTES {
            Stored::Polys(self.backend().expand_compact(&stored, 0, polys.len(), limbs))
        } else {
            Stored::Compact(stored, polys.iter().map(|p| 4 * p.coefficients.len()).sum())
        };
        Ok(PreparedTransform {
            params: params.clone(),
            level: *level,
            target_level: *target_level,
            log_slots: params.max_log_slots(),
            inputs: *inputs,
            outputs: *outputs,
            diagonals: stored,
            scale: *scale,
            baby_steps: baby_steps.iter().map(rotation).collect(),
            giant_steps: sums,
        })
    }

    /// Encodes the diagonals so that ciphertexts at the level's usual scale come out at the next one's, and
    /// brings them to the device.
    ///
    /// # Errors
    /// [`EvalError::ParamsMismatch`], [`EvalError::Encode`], [`EvalError::Backend`]
    pub fn prepare_transform(
        &self,
        transform: &LinearTransform,
        encoder: &Encoder,
    ) -> Result<PreparedTransform<B>, EvalError> {
        let LinearTransform { params, level, slots, diagonals, baby } = transform;
        self.check_params(params)?;
        self.check_params(encoder.params())?;
        let scale = params.divisor(*level) * params.scale(level - 1) / params.scale(*level);
        let limbs = self.gadget(*level).limbs;
        let rotation = |steps: usize| params.ring().rotation(steps as i64);
        let baby_steps: Vec<usize> =
            diagonals.keys().map(|i| i % baby).collect::<BTreeSet<_>>().into_iter().collect();
        let mut giant_steps: BTreeMap<usize, Vec<Product>> = BTreeMap::new();
        let mut encoded = Vec::with_capacity(diagonals.len());
        for (number, (&index, diagonal)) in diagonals.iter().enumerate() {
            let giant = index - index % baby;
            // The giant rotation follows the product: undo it on the diagonal.
            let mut turned = diagonal.clone();
            turned.rotate_right(giant % slots);
            encoded.push(encoder.encode_at(&turned, scale)?.to_poly(limbs).into_ntt());
            let step = baby_steps.partition_point(|&step| step < index % baby);
            let product = Product { diagonal: number, baby_step: step, input: 0, output: 0 };
            giant_steps.entry(giant).or_default().push(product);
        }
        Ok(PreparedTransform {
            params: params.clone(),
            level: *level,
            target_level: level - 1,
            log_slots: slots.ilog2(),
            inputs: 1,
            outputs: 1,
            diagonals: Stored::Polys(self.upload_polys(limbs, &encoded)?),
            scale,
            baby_steps: baby_steps.into_iter().map(rotation).collect(),
            giant_steps: giant_steps.into_iter().map(|(giant, terms)| (rotation(giant), terms)).collect(),
        })
    }

    /// Applies a transform to each group of ciphertexts; the groups follow one another in `x`. A [`LinearTransform`] takes
    /// ciphertexts from the level's usual scale to the next level's.
    ///
    /// # Errors
    /// [`EvalError::ParamsMismatch`], [`EvalError::MissingKey`], [`EvalError::OutOfLevels`], [`EvalError::Mismatch`],
    /// [`EvalError::ScaleTooLarge`], [`EvalError::Parts`]
    pub fn transform(
        &self,
        x: &CiphertextBatch<B>,
        transform: &PreparedTransform<B>,
        keys: &PreparedKeys<B>,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        if x.log_slots != transform.log_slots {
            let left = x.log_slots as usize;
            let right = transform.log_slots as usize;
            return Err(EvalError::Mismatch { what: "logarithms of slots", left, right });
        }
        if !x.items.is_multiple_of(transform.inputs) {
            let left = x.items;
            let right = transform.inputs;
            return Err(EvalError::Mismatch { what: "ciphertexts of a group", left, right });
        }
        self.check_params(&transform.params)?;
        self.check_fits(x.scale * transform.scale, transform.level)?;
        let dropped;
        let x = if x.level == transform.level {
            x
        } else {
            dropped = self.drop_level(x, transform.level)?;
            &dropped
        };
        let items = x.items / transform.inputs * transform.outputs;
        let limbs = self.params().limbs(transform.target_level);
        let data = if transform.giant_steps.iter().all(|(g, _)| *g == GaloisElement::IDENTITY) {
            self.baby_step_sums(x, transform, keys, |steps, diagonals, terms, sums| {
                self.backend().baby_step_sums_divided(steps, diagonals, terms, sums, limbs)
            })?
        } else {
            let sums = self.baby_step_sums(x, transform, keys, |steps, diagonals, terms, sums| {
                self.backend().baby_step_sums(steps, diagonals, terms, sums)
            })?;
            self.giant_step_sums(&sums, items, transform, keys, limbs)?
        };
        let dropped = transform.target_level + 1..=transform.level;
        let divisor: f64 = dropped.map(|level| self.params().divisor(level)).product();
        let scale = x.scale * transform.scale / divisor;
        Ok(CiphertextBatch { items, ..x.like(data, transform.target_level, scale) })
    }

    /// The result of `use_sums` on sums of rotated inputs times diagonals, one for each giant step and output, over the limbs of the gadget:
    /// `[2][giant][group][output] = sum over its terms of diagonal [2][baby][group][input]`.
    fn baby_step_sums(
        &self,
        x: &CiphertextBatch<B>,
        transform: &PreparedTransform<B>,
        keys: &PreparedKeys<B>,
        use_sums: impl FnOnce(&GadgetProduct<'_, B>, Diagonals<'_, B>, &[Term], usize) -> Batch<B, Ntt>,
    ) -> Result<Batch<B, Ntt>, EvalError> {
        let PreparedTransform { diagonals, baby_steps, giant_steps, inputs, outputs, .. } = transform;
        let groups = x.items / inputs;
        let items = groups * outputs;
        let mut products = Vec::new();
        for (giant, (_, terms)) in giant_steps.iter().enumerate() {
            for (product, group) in terms.iter().flat_map(|t| (0..groups).map(move |g| (t, g))) {
                let out = giant * items + group * outputs + product.output;
                let step = product.baby_step * x.items + group * inputs + product.input;
                products.push(Term { out, a: product.diagonal, b: step });
            }
        }
        let diagonals = match diagonals {
            Stored::Polys(polys) => Diagonals::Polys(polys.view()),
            Stored::Compact(polys, _) => Diagonals::Compact(polys),
        };
        let sums = giant_steps.len() * items;
        self.hoist(x, baby_steps, keys, |steps| use_sums(steps, diagonals, &products, sums))
    }

    /// The sum of `sums` after the rotation by each giant step, divided down to `limbs`. The sums of the identity come first and are not
    /// switched.
    fn giant_step_sums(
        &self,
        sums: &Batch<B, Ntt>,
        items: usize,
        transform: &PreparedTransform<B>,
        keys: &PreparedKeys<B>,
        limbs: Limbs,
    ) -> Result<Batch<B, Ntt>, EvalError> {
        let PreparedTransform { level, giant_steps, .. } = transform;
        let count = giant_steps.len();
        let first_switched = giant_steps.iter().take_while(|(g, _)| *g == GaloisElement::IDENTITY).count();
        let second = sums.slice((count + first_switched) * items, (count - first_switched) * items);
        let second = self.backend().rescale(second, self.params().limbs(*level));
        let mut terms = Vec::with_capacity(count);
        for (input, &(galois, _)) in giant_steps.iter().enumerate() {
            let key = keys.galois(galois, *level)?.map(Batch::view);
            terms.push(GadgetTerm { input, output: 0, key, galois });
        }
        let product = GadgetProduct {
            gadget: self.gadget(*level),
            x: sums.view(),
            digits: Digits::Fresh(second.view()),
            first_switched,
            terms: &terms,
            batch: items,
            outputs: 1,
        };
        Ok(self.backend().gadget_product_divided(&product, limbs))
    }
}

impl<B: Backend> PreparedTransform<B> {
    /// Bytes that the diagonals take on the device.
    pub fn bytes(&self) -> usize {
        match &self.diagonals {
            Stored::Polys(polys) => 4 * self.params.ring().words(polys.limbs(), polys.polys()),
            Stored::Compact(_, bytes) => *bytes,
        }
    }
}
