//! Linear maps on the slots, by diagonals.
//!
//! A matrix is the sum over its diagonals `d_k[i] = M[i, i+k]` of `d_k rot_k(x)`. With `k = g + b`, giant step `g`
//! and baby step `b`, that is `sum_g rot_g( sum_b rot_-g(d_k) rot_b(x) )`: as many rotations as there are baby and
//! giant steps (Halevi and Shoup 2018). Both kinds are hoisted: the baby steps share one decomposition and stay
//! over the extended primes, where the inner sums are taken; each inner sum is switched once, and all of them are
//! divided by `P` together, with the level's primes (Bossuat, Mouchet, Troncoso-Pastoriza, Hubaux, eprint
//! 2020/1203).

use super::{Ciphertexts, EvalError, Evaluator, PreparedKeys};
use crate::encode::Encoder;
use crate::{EncodeError, KeyRequest, Params};
use num_complex::Complex64;
use pleura_ring::{
    Backend, Batch, Diagonals, Digits, GadgetProduct, GadgetTerm, GaloisElement, Ntt, Term, Weight,
};
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
#[derive(Clone, Debug, PartialEq)]
pub struct BlockTransform {
    /// The level it is applied at.
    pub level: usize,
    /// The level of the result: the primes between are divided by once.
    pub to: usize,
    /// Of the diagonals.
    pub scale: f64,
    /// Ciphertexts that go in and come out.
    pub groups: [usize; 2],
    /// Rotations of the inputs.
    pub babies: Vec<i64>,
    /// Rotations of the sums.
    pub giants: Vec<i64>,
    /// What is added up.
    pub blocks: Vec<Block>,
}

/// One diagonal of a [`BlockTransform`]: output `output` gains `rot_giant(weight * rot_baby(input))`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Which input.
    pub input: usize,
    /// Which output.
    pub output: usize,
    /// Position among the baby steps.
    pub baby: usize,
    /// Position among the giant steps.
    pub giant: usize,
    /// From [`Encoder::encode_weight`], of the diagonal rotated back by the giant step.
    pub weight: Weight,
}

/// A linear transform on a device.
pub struct PreparedTransform<B: Backend> {
    params: Params,
    level: usize,
    to: usize,
    log_slots: u32,
    groups: [usize; 2],
    diagonals: Stored<B>,
    scale: f64,
    babies: Vec<GaloisElement>,
    /// Per giant step: its rotation, and its terms. The step 0 is first.
    giants: Vec<(GaloisElement, Vec<Product>)>,
}

/// Diagonals on a device.
enum Stored<B: Backend> {
    /// One poly per diagonal, over the extended primes.
    Polys(Batch<B, Ntt>),
    Weights(B::Weights, usize),
}

/// One term of a giant step.
struct Product {
    diagonal: usize,
    baby: usize,
    input: usize,
    output: usize,
}

/// What is wrong with a linear transform.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TransformError {
    /// The number of slots is no power of two up to n/2.
    #[error("{slots} slots; it must be a power of two, at most {max}")]
    BadSlots {
        /// Slots asked for.
        slots: usize,
        /// Most there may be.
        max: usize,
    },
    /// A diagonal has the wrong length.
    #[error("diagonal {index} has {got} entries; it needs {slots}")]
    BadDiagonal {
        /// Its number.
        index: i64,
        /// Its entries.
        got: usize,
        /// Entries needed.
        slots: usize,
    },
    /// There is no diagonal.
    #[error("a linear transform needs at least one diagonal")]
    Empty,
    /// A block names an input, an output or a step that there is not.
    #[error("block {index} names an input, an output or a step that there is not")]
    BadBlock {
        /// Its position.
        index: usize,
    },
    /// The result's level is not below the operand's.
    #[error("a linear transform from level {level} to {to}; it must lead down")]
    BadTarget {
        /// The operand's level.
        level: usize,
        /// The result's.
        to: usize,
    },
    /// The level is 0, or above the parameters' highest.
    #[error("a linear transform at level {level}; levels 1 to {max} are possible")]
    BadLevel {
        /// Level asked for.
        level: usize,
        /// Highest level.
        max: usize,
    },
}

/// A giant step takes about as long as so many baby steps: it switches keys anew instead of reusing a
/// decomposition (`cargo bench -p benches --bench ckks -- rotate`).
const GIANT_COST: usize = 4;

impl LinearTransform {
    /// The map with the given diagonals (number `k`, modulo `slots`, holds `M[i, i+k]` for each row `i`; those of the
    /// same number add up), to be applied at `level`.
    ///
    /// # Errors
    /// [`TransformError`]
    pub fn new(
        params: &Params,
        level: usize,
        slots: usize,
        diagonals: impl IntoIterator<Item = (i64, Vec<Complex64>)>,
    ) -> Result<Self, TransformError> {
        if !slots.is_power_of_two() || slots > params.n() / 2 {
            return Err(TransformError::BadSlots { slots, max: params.n() / 2 });
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
        let cost = |&baby: &usize| {
            let babies: BTreeSet<_> = indices.iter().map(|i| i % baby).collect();
            let giants: BTreeSet<_> = indices.iter().map(|i| i / baby).collect();
            let steps = |set: &BTreeSet<usize>| set.len() - usize::from(set.contains(&0));
            steps(&babies) + GIANT_COST * steps(&giants)
        };
        let powers = std::iter::successors(Some(1), |b| Some(b * 2)).take_while(|&b| b <= slots);
        powers.min_by_key(cost).filter(|_| !indices.is_empty())
    }

    /// The keys it needs.
    pub fn keys(&self) -> KeyRequest {
        let steps = self.diagonals.keys().flat_map(|i| [i % self.baby, i - i % self.baby]).map(|s| s as i64);
        KeyRequest::new().rotations(&self.params, steps, self.level)
    }

    /// How many diagonals there are.
    pub fn diagonals(&self) -> usize {
        self.diagonals.len()
    }

    /// How many baby steps and giant steps there are, those of zero included.
    pub fn steps(&self) -> (usize, usize) {
        let count =
            |f: &dyn Fn(usize) -> usize| self.diagonals.keys().map(|&i| f(i)).collect::<BTreeSet<_>>().len();
        (count(&|i| i % self.baby), count(&|i| i / self.baby))
    }
}

impl BlockTransform {
    /// The keys it needs.
    pub fn keys(&self, params: &Params) -> KeyRequest {
        KeyRequest::new().rotations(params, self.babies.iter().chain(&self.giants).copied(), self.level)
    }
}

impl<B: Backend> Evaluator<B> {
    /// Brings a transform between groups of ciphertexts to the device.
    ///
    /// # Errors
    /// [`EvalError::Transform`], [`EvalError::Encode`], [`EvalError::TooManyPrimes`], [`EvalError::Backend`]
    pub fn prepare_blocks(&self, transform: &BlockTransform) -> Result<PreparedTransform<B>, EvalError> {
        let BlockTransform { level, to, scale, groups, babies, giants, blocks } = transform;
        let params = self.params();
        if *level > params.max_level() || *level == 0 {
            return Err(TransformError::BadLevel { level: *level, max: params.max_level() }.into());
        }
        if to >= level {
            return Err(TransformError::BadTarget { level: *level, to: *to }.into());
        }
        if babies.is_empty() || giants.is_empty() || groups.contains(&0) {
            return Err(TransformError::Empty.into());
        }
        if !(scale.is_finite() && *scale > 0.0) {
            return Err(EncodeError::BadScale { scale: *scale }.into());
        }
        self.check_dropped(params.gadget(*level).limbs, params.limbs(*to))?;
        let rotation = |&steps: &i64| GaloisElement::rotation(steps, params.n());
        // Steps that differ by all slots are one: only one of them may be the identity, which has no key.
        let mut sums: Vec<(GaloisElement, Vec<Product>)> = Vec::new();
        for giant in giants.iter().map(rotation) {
            if sums.iter().all(|(g, _)| *g != giant) {
                sums.push((giant, Vec::new()));
            }
        }
        for (diagonal, block) in blocks.iter().enumerate() {
            let &Block { input, output, baby, giant, .. } = block;
            let fits = input < groups[0] && output < groups[1] && baby < babies.len();
            let giant = giants.get(giant).filter(|_| fits).map(rotation);
            let sum = sums.iter_mut().find(|(g, _)| Some(*g) == giant);
            let (_, terms) = sum.ok_or(TransformError::BadBlock { index: diagonal })?;
            terms.push(Product { diagonal, baby, input, output });
        }
        sums.sort_by_key(|(g, _)| *g != GaloisElement::IDENTITY);
        let weights: Vec<_> = blocks.iter().map(|b| b.weight.clone()).collect();
        let bytes = weights.iter().map(|w| 4 * w.coefficients.len()).sum();
        Ok(PreparedTransform {
            params: params.clone(),
            level: *level,
            to: *to,
            log_slots: params.max_log_slots(),
            groups: *groups,
            diagonals: Stored::Weights(self.backend().upload_weights(&weights)?, bytes),
            scale: *scale,
            babies: babies.iter().map(rotation).collect(),
            giants: sums,
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
        let rotation = |steps: usize| GaloisElement::rotation(steps as i64, params.n());
        let babies: Vec<usize> =
            diagonals.keys().map(|i| i % baby).collect::<BTreeSet<_>>().into_iter().collect();
        let mut giants: BTreeMap<usize, Vec<Product>> = BTreeMap::new();
        let mut encoded = Vec::with_capacity(diagonals.len());
        for (number, (&index, diagonal)) in diagonals.iter().enumerate() {
            let giant = index - index % baby;
            // The giant rotation follows the product: undo it on the diagonal.
            let mut turned = diagonal.clone();
            turned.rotate_right(giant % slots);
            encoded.push(encoder.encode_at(&turned, scale)?.to_poly(limbs).into_ntt());
            let step = babies.binary_search(&(index % baby)).unwrap_or(0);
            let product = Product { diagonal: number, baby: step, input: 0, output: 0 };
            giants.entry(giant).or_default().push(product);
        }
        Ok(PreparedTransform {
            params: params.clone(),
            level: *level,
            to: level - 1,
            log_slots: slots.ilog2(),
            groups: [1, 1],
            diagonals: Stored::Polys(self.upload(limbs, &encoded)?),
            scale,
            babies: babies.into_iter().map(rotation).collect(),
            giants: giants.into_iter().map(|(giant, terms)| (rotation(giant), terms)).collect(),
        })
    }

    /// Applies a transform to each group of ciphertexts that its input takes, the groups one after the other. Ciphertexts at
    /// the level's usual scale come out of a [`LinearTransform`] one level down, at that level's.
    ///
    /// # Errors
    /// [`EvalError::ParamsMismatch`], [`EvalError::MissingKey`], [`EvalError::OutOfLevels`], [`EvalError::Mismatch`],
    /// [`EvalError::Parts`]
    pub fn transform(
        &self,
        x: &Ciphertexts<B>,
        transform: &PreparedTransform<B>,
        keys: &PreparedKeys<B>,
    ) -> Result<Ciphertexts<B>, EvalError> {
        let PreparedTransform { level, to, diagonals, babies, giants, groups: [inputs, outputs], .. } =
            transform;
        if x.log_slots != transform.log_slots {
            let (left, right) = (x.log_slots as usize, transform.log_slots as usize);
            return Err(EvalError::Mismatch { what: "logarithms of slots", left, right });
        }
        if !x.items.is_multiple_of(*inputs) {
            let (left, right) = (x.items, *inputs);
            return Err(EvalError::Mismatch { what: "ciphertexts of a group", left, right });
        }
        self.check_params(&transform.params)?;
        let dropped;
        let x = if x.level == *level {
            x
        } else {
            dropped = self.drop_level(x, *level)?;
            &dropped
        };
        let (backend, gadget, base) = (self.backend(), self.gadget(*level), self.params().limbs(*level));

        // [2][giant][group][output] = sum over its terms of diagonal [2][baby][group][input].
        let (groups, count) = (x.items / inputs, giants.len());
        let items = groups * outputs;
        let mut products = Vec::new();
        for (giant, (_, terms)) in giants.iter().enumerate() {
            for (product, group) in terms.iter().flat_map(|t| (0..groups).map(move |g| (t, g))) {
                let out = giant * items + group * outputs + product.output;
                let step = product.baby * x.items + group * inputs + product.input;
                products.push(Term { out, a: product.diagonal, b: step });
            }
        }
        let diagonals = match diagonals {
            Stored::Polys(polys) => Diagonals::Polys(polys.view()),
            Stored::Weights(weights, _) => Diagonals::Weights(weights),
        };
        let sums = self.hoist(x, babies, keys, |steps| {
            backend.gadget_sums(steps, diagonals, &products, count * items)
        })?;

        let skipped = giants.iter().take_while(|(g, _)| *g == GaloisElement::IDENTITY).count();
        let (to, dropped) = (self.params().limbs(*to), to + 1..=*level);
        let switched = if skipped == count {
            sums
        } else {
            let second = sums.slice((count + skipped) * items, (count - skipped) * items);
            let second = backend.rescale(second, base);
            let mut terms = Vec::with_capacity(count);
            for (input, &(galois, _)) in giants.iter().enumerate() {
                terms.push(GadgetTerm { input, output: 0, key: keys.galois(galois, *level)?, galois });
            }
            backend.gadget_product(&GadgetProduct {
                gadget,
                x: sums.view(),
                digits: Digits::Fresh(second.view()),
                skipped,
                terms: &terms,
                items,
                outputs: 1,
            })
        };
        let data = self.backend().rescale(switched.view(), to);
        let divisor: f64 = dropped.map(|level| self.params().divisor(level)).product();
        let scale = x.scale * transform.scale / divisor;
        Ok(Ciphertexts { items, ..x.like(data, transform.to, scale) })
    }
}

impl<B: Backend> PreparedTransform<B> {
    /// Bytes that the diagonals take on the device.
    pub fn bytes(&self) -> usize {
        match &self.diagonals {
            Stored::Polys(polys) => 4 * self.params.ring().words(polys.limbs(), polys.polys()),
            Stored::Weights(_, bytes) => *bytes,
        }
    }
}
