//! A plan at work: the client with its secret key, the server with everything else.

use crate::Coefficients;
use crate::plan::{Operand, Plan, Step};
use pleura_ckks::{
    Backend, Ciphertext, CiphertextBatch, ClientError, Decrypted, EncodeError, Encoder, EvalError,
    EvaluationKeys, Evaluator, Plaintext, PreparedKeys, PreparedPlaintext, PreparedTransform, PublishError,
    SecretKey,
};
use std::collections::BTreeMap;
use std::time::Instant;

/// Bits of published results, in units of the calibrated range; fewer where the plan is expected to be less exact.
pub const PUBLISHED_BITS: i32 = 12;

/// Encrypts items and decrypts results. Whoever has it can read them.
pub struct Client<'p> {
    plan: &'p Plan,
    secret: SecretKey,
    encoder: Encoder,
}

/// Computes on encrypted items, on the device `B`.
pub struct Server<'p, B: Backend> {
    plan: &'p Plan,
    evaluator: Evaluator<B>,
    encoder: Encoder,
    keys: PreparedKeys<B>,
    prepared: Vec<Prepared<B>>,
}

/// A step's constants on the device.
enum Prepared<B: Backend> {
    Nothing,
    Transform(PreparedTransform<B>, Option<PreparedPlaintext<B>>),
}

/// What can go wrong between a plan and its result.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InferenceError {
    /// An item has the wrong length.
    #[error("an item has {got} elements; the network takes {expected}")]
    ItemLength {
        /// Elements that the network takes.
        expected: usize,
        /// Elements given.
        got: usize,
    },
    /// The ciphertexts are not a whole number of items.
    #[error("{got} ciphertexts are no whole number of items, which have {expected} each")]
    CiphertextCount {
        /// Ciphertexts of an item.
        expected: usize,
        /// Ciphertexts given.
        got: usize,
    },
    /// The client failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Rounding would not hide the noise.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A value cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The server failed.
    #[error(transparent)]
    Eval(#[from] EvalError),
}

impl<'p> Client<'p> {
    /// A client with a fresh secret key.
    ///
    /// # Errors
    /// [`InferenceError::Client`] if the system gives no randomness.
    pub fn new(plan: &'p Plan) -> Result<Self, InferenceError> {
        Ok(Self { plan, secret: SecretKey::generate(plan.params())?, encoder: Encoder::new(plan.params()) })
    }

    /// The keys that a server needs.
    ///
    /// # Errors
    /// [`InferenceError::Client`]
    pub fn evaluation_keys(&self) -> Result<EvaluationKeys, InferenceError> {
        Ok(self.secret.evaluation_keys(&self.plan.keys())?)
    }

    /// The ciphertexts of items, one item after the other.
    ///
    /// # Errors
    /// [`InferenceError::ItemLength`], [`InferenceError::Encode`], [`InferenceError::Client`]
    pub fn encrypt(&self, items: &[Vec<f64>]) -> Result<Vec<Ciphertext>, InferenceError> {
        let mut out = Vec::new();
        for item in items {
            let (expected, got) = (self.plan.input_len, item.len());
            if expected != got {
                return Err(InferenceError::ItemLength { expected, got });
            }
            let plaintexts = encode(self.plan, 0, item, self.plan.scale(0), &self.encoder)?;
            for plaintext in &plaintexts {
                out.push(self.secret.encrypt(plaintext)?);
            }
        }
        Ok(out)
    }

    /// The results, one per item, rounded to [`PUBLISHED_BITS`] bits of the calibrated range or to as many as the plan is
    /// expected to be exact to: what may be shown to others.
    ///
    /// # Errors
    /// [`InferenceError::CiphertextCount`], [`InferenceError::Client`], [`InferenceError::Publish`]
    pub fn publish(&self, ciphertexts: &[Ciphertext]) -> Result<Vec<Vec<f64>>, InferenceError> {
        let range = self.plan.ranges.last().copied().unwrap_or(1.0);
        let exact = (-self.plan.error.log2()).floor().max(0.0) as i32;
        let bits = PUBLISHED_BITS.min(exact) - range.log2().ceil() as i32;
        self.open(ciphertexts, |decrypted| Ok(decrypted.publish_real(bits)?))
    }

    /// The results with all their digits: for the owner of the key alone. Digits that are shown to others may tell of the key.
    ///
    /// # Errors
    /// [`InferenceError::CiphertextCount`], [`InferenceError::Client`]
    pub fn decrypt(&self, ciphertexts: &[Ciphertext]) -> Result<Vec<Vec<f64>>, InferenceError> {
        self.open(ciphertexts, |decrypted| Ok(decrypted.reveal_unrounded().iter().map(|z| z.re).collect()))
    }

    fn open(
        &self,
        ciphertexts: &[Ciphertext],
        slots: impl Fn(&Decrypted) -> Result<Vec<f64>, InferenceError>,
    ) -> Result<Vec<Vec<f64>>, InferenceError> {
        let Some(layout) = self.plan.layouts.last() else { return Ok(Vec::new()) };
        let (expected, got) = (layout.ciphertexts, ciphertexts.len());
        if !got.is_multiple_of(expected) {
            return Err(InferenceError::CiphertextCount { expected, got });
        }
        let open = |item: &[Ciphertext]| {
            let slots = item.iter().map(|c| slots(&self.secret.decrypt(&self.encoder, c)?));
            Ok(layout.read(&slots.collect::<Result<Vec<_>, InferenceError>>()?))
        };
        ciphertexts.chunks(expected).map(open).collect()
    }
}

impl<'p, B: Backend> Server<'p, B> {
    /// Brings keys and weights to a device made for the plan's ring.
    ///
    /// # Errors
    /// [`InferenceError::Eval`], [`InferenceError::Encode`]
    pub fn new(plan: &'p Plan, backend: B, keys: EvaluationKeys) -> Result<Self, InferenceError> {
        let (evaluator, encoder) = (Evaluator::new(plan.params(), backend)?, Encoder::new(plan.params()));
        let keys = evaluator.upload_keys_owned(keys)?;
        let mut prepared = Vec::with_capacity(plan.steps.len());
        for (i, step) in plan.steps.iter().enumerate() {
            prepared.push(match step {
                Step::Transform { transform, bias, .. } => {
                    let blocks = evaluator.prepare_blocks(transform)?;
                    let scale = plan.scale(i);
                    let some = bias.iter().any(|b| *b != 0.0);
                    let bias = some.then(|| encode(plan, i, bias, scale, &encoder)).transpose()?;
                    let bias =
                        bias.map(|b| evaluator.upload_plaintexts(&b, transform.target_level)).transpose()?;
                    Prepared::Transform(blocks, bias)
                }
                _ => Prepared::Nothing,
            });
        }
        Ok(Self { plan, evaluator, encoder, keys, prepared })
    }

    /// The device.
    pub fn backend(&self) -> &B {
        self.evaluator.backend()
    }

    /// The results for the ciphertexts of some items. `observe` hears the number and the seconds of each step in
    /// the order of the report's layers; on devices that work in the background, those seconds are of recording alone.
    ///
    /// # Errors
    /// [`InferenceError::CiphertextCount`], [`InferenceError::Eval`], [`InferenceError::Encode`]
    pub fn infer(
        &self,
        items: &[Ciphertext],
        observe: &mut dyn FnMut(usize, f64),
    ) -> Result<Vec<Ciphertext>, InferenceError> {
        let expected = self.plan.layouts.first().map_or(1, |l| l.ciphertexts);
        if items.is_empty() || !items.len().is_multiple_of(expected) {
            return Err(InferenceError::CiphertextCount { expected, got: items.len() });
        }
        let last_use = self.plan.last_uses();
        let mut values: Vec<Option<CiphertextBatch<B>>> = Vec::new();
        for (i, (step, prepared)) in self.plan.steps.iter().zip(&self.prepared).enumerate() {
            let start = Instant::now();
            let value = match step {
                Step::Input => self.evaluator.upload(items)?,
                step => self.step(i, step, prepared, &values)?,
            };
            values.push(Some(value));
            // Values that nothing reads any more make room.
            for (value, last) in values.iter_mut().zip(&last_use) {
                if *last <= i {
                    *value = None;
                }
            }
            observe(i, start.elapsed().as_secs_f64());
        }
        let result = values.pop().flatten().ok_or(EvalError::Empty)?;
        Ok(self.evaluator.download(&result)?)
    }

    fn step(
        &self,
        number: usize,
        step: &Step,
        prepared: &Prepared<B>,
        values: &[Option<CiphertextBatch<B>>],
    ) -> Result<CiphertextBatch<B>, InferenceError> {
        let (e, keys) = (&self.evaluator, &self.keys);
        let at = |i: usize| values.get(i).and_then(Option::as_ref).ok_or(EvalError::Empty);
        let factor = |o: &Operand| -> Result<CiphertextBatch<B>, EvalError> {
            let x = at(o.step)?;
            let to = x.level() - o.primes.min(x.level());
            if o.boost == 0 {
                return e.rescale_to(x, to);
            }
            // By an integer, which costs nothing but modulus; the values stay, the scale grows.
            e.rescale_to(&e.mul_const(x, 1.0, f64::from(o.boost).exp2())?, to)
        };
        Ok(match (step, prepared) {
            (Step::Transform { input, boost, folds, .. }, Prepared::Transform(transform, bias)) => {
                let mut x = at(*input)?;
                let boosted;
                if *boost > 0 {
                    boosted = e.mul_const(x, 1.0, f64::from(*boost).exp2())?;
                    x = &boosted;
                }
                let y = self.sum_rotations(e.transform(x, transform, keys)?, folds)?;
                // The weights' scale was chosen to lead here; what floating point adds is below any noise.
                let y = y.with_scale(self.plan.scale(number));
                match bias {
                    Some(bias) => e.add_plain(&y, bias)?,
                    None => y,
                }
            }
            (Step::Relabel { input, factor, bias }, _) => {
                let x = at(*input)?;
                let y = if *factor < 0.0 { e.neg(x)? } else { e.copy(x)? };
                let y = y.with_scale(x.scale() / factor.abs());
                if bias.iter().all(|b| *b == 0.0) {
                    return Ok(y);
                }
                let bias = encode(self.plan, number, bias, y.scale(), &self.encoder)?;
                e.add_plain(&y, &e.upload_plaintexts(&bias, y.level())?)?
            }
            (Step::Pool { input, rotations }, _) => {
                let x = at(*input)?;
                let y = self.sum_rotations(e.copy(x)?, rotations)?;
                y.with_scale(self.plan.scale(number))
            }
            (Step::Square { input, slope, constant }, _) => {
                let x = factor(input)?;
                let mut y = e.mul(&x, &x, keys)?;
                if slope.iter().any(|b| *b != 0.0) {
                    y = e.add(&y, &self.times(number, &x, slope, y.scale())?)?;
                }
                e.add_const(&y, *constant)?
            }
            (Step::Product { inputs: [a, b] }, _) => e.mul(&factor(a)?, &factor(b)?, keys)?,
            (Step::Sum { inputs, negative, scale }, _) => {
                let [a, b] = inputs.each_ref().map(|o| self.aligned(o, *scale, values));
                let (a, b) = (a?, b?);
                if *negative { e.sub(&a, &b)? } else { e.add(&a, &b)? }
            }
            (Step::Polynomial { input, coefficients, scale }, _) => {
                let x = factor(input)?;
                let out = x.level() - crate::arrange::polynomial_depth(coefficients.degree()).min(x.level());
                let mut tower =
                    Powers { server: self, step: number, coefficients, known: BTreeMap::from([(1, x)]) };
                let y = tower.sum(0, coefficients.degree(), out, *scale)?;
                let y = if y.parts() == 3 { e.relinearize(&y, keys)? } else { y };
                y.with_scale(*scale)
            }
            _ => return Err(EvalError::Empty.into()),
        })
    }

    /// Adds to the ciphertexts what each rotation in turn makes of them.
    fn sum_rotations(
        &self,
        x: CiphertextBatch<B>,
        rotations: &[i64],
    ) -> Result<CiphertextBatch<B>, EvalError> {
        let add = |x: CiphertextBatch<B>, &steps: &i64| {
            self.evaluator.add(&x, &self.evaluator.rotate(&x, steps, &self.keys)?)
        };
        rotations.iter().try_fold(x, add)
    }

    /// `c x` at a scale, for a constant or one for each element.
    fn times(
        &self,
        step: usize,
        x: &CiphertextBatch<B>,
        c: &[f64],
        scale: f64,
    ) -> Result<CiphertextBatch<B>, InferenceError> {
        let (e, missing) = (&self.evaluator, scale / x.scale());
        let product = match c {
            [shared] => e.mul_const(x, *shared, missing)?,
            each => {
                let factors = encode(self.plan, step, each, missing, &self.encoder)?;
                e.mul_plain(x, &e.upload_plaintexts(&factors, x.level())?)?
            }
        };
        Ok(product.with_scale(scale))
    }

    /// An operand of a sum, at the sum's scale.
    fn aligned(
        &self,
        operand: &Operand,
        scale: f64,
        values: &[Option<CiphertextBatch<B>>],
    ) -> Result<CiphertextBatch<B>, EvalError> {
        let e = &self.evaluator;
        let x = values.get(operand.step).and_then(Option::as_ref).ok_or(EvalError::Empty)?;
        if !operand.aligned {
            return e.copy(x);
        }
        let to = x.level() - operand.primes.min(x.level());
        let divisor: f64 = (to + 1..=x.level()).map(|l| e.params().divisor(l)).product();
        let y = e.rescale_to(&e.mul_const(x, 1.0, scale * divisor / x.scale())?, to)?;
        Ok(y.with_scale(scale))
    }
}

/// The powers of one operand that are known so far.
struct Powers<'a, 'p, B: Backend> {
    server: &'a Server<'p, B>,
    step: usize,
    coefficients: &'a Coefficients,
    known: BTreeMap<usize, CiphertextBatch<B>>,
}

impl<B: Backend> Powers<'_, '_, B> {
    /// `sum c_(from+i) x^i` for `i` up to `degree`, at a level and scale: `q x^g + r` with `g` the largest power of two, so that products
    /// are as few levels deep as can be (Paterson and Stockmeyer 1973 with steps of two). May have three parts.
    fn sum(
        &mut self,
        from: usize,
        degree: usize,
        level: usize,
        scale: f64,
    ) -> Result<CiphertextBatch<B>, InferenceError> {
        let e = &self.server.evaluator;
        if degree == 0 {
            // Only as a factor of a power, see below: a constant has no ciphertext.
            return Err(EvalError::Empty.into());
        }
        let giant = 1 << degree.ilog2();
        let power = e.drop_level(self.power(giant)?, level)?;
        let product = if degree == giant {
            let c = self.coefficients.0.get(from + giant).map(Vec::as_slice).unwrap_or_default();
            self.server.times(self.step, &power, c, scale)?
        } else {
            let above = scale / power.scale();
            let divisor = e.params().divisor(level + 1);
            let quotient = self.sum(from + giant, degree - giant, level + 1, above * divisor)?;
            let quotient = if quotient.parts() == 3 {
                e.relinearize_rescale(&quotient, &self.server.keys)?
            } else {
                e.rescale(&quotient)?
            };
            e.mul_no_relin(&quotient.with_scale(above), &power)?.with_scale(scale)
        };
        if giant == 1 {
            return self.plus(&product, from);
        }
        let rest = self.sum(from, giant - 1, level, scale)?;
        Ok(e.add(&rest, &product)?)
    }

    fn power(&mut self, i: usize) -> Result<&CiphertextBatch<B>, EvalError> {
        let server = self.server;
        if !self.known.contains_key(&i) {
            let half = self.power(i / 2)?;
            let square = server.evaluator.square_rescale(half, &server.keys)?;
            self.known.insert(i, square);
        }
        self.known.get(&i).ok_or(EvalError::Empty)
    }

    /// `x + c_k`
    fn plus(&self, x: &CiphertextBatch<B>, k: usize) -> Result<CiphertextBatch<B>, InferenceError> {
        let server = self.server;
        let e = &server.evaluator;
        Ok(match self.coefficients.0.get(k).map(Vec::as_slice) {
            Some([shared]) => e.add_const(x, *shared)?,
            Some(each) => {
                let addends = encode(server.plan, self.step, each, x.scale(), &server.encoder)?;
                e.add_plain(x, &e.upload_plaintexts(&addends, x.level())?)?
            }
            None => return Err(EvalError::Empty.into()),
        })
    }
}

/// Elements of a step's result as plaintexts, each where it belongs.
fn encode(
    plan: &Plan,
    step: usize,
    elements: &[f64],
    scale: f64,
    encoder: &Encoder,
) -> Result<Vec<Plaintext>, EncodeError> {
    let Some(layout) = plan.layouts.get(step) else { return Ok(Vec::new()) };
    let complex = |slots: Vec<f64>| slots.into_iter().map(Into::into).collect::<Vec<_>>();
    layout.fill(elements).into_iter().map(|slots| encoder.encode_at(&complex(slots), scale)).collect()
}

impl Plan {
    /// The scale of a step's result.
    fn scale(&self, step: usize) -> f64 {
        self.scales.get(step).copied().unwrap_or(1.0)
    }

    /// The last step that reads each step's result; `usize::MAX` if none does, as for the output.
    fn last_uses(&self) -> Vec<usize> {
        let mut last: Vec<usize> = vec![usize::MAX; self.steps.len()];
        for (i, step) in self.steps.iter().enumerate() {
            let reads = match step {
                Step::Input => Vec::new(),
                Step::Transform { input, .. } | Step::Relabel { input, .. } | Step::Pool { input, .. } => {
                    vec![*input]
                }
                Step::Square { input, .. } | Step::Polynomial { input, .. } => vec![input.step],
                Step::Product { inputs } | Step::Sum { inputs, .. } => {
                    inputs.iter().map(|o| o.step).collect()
                }
            };
            for read in reads {
                if let Some(last) = last.get_mut(read) {
                    *last = i;
                }
            }
        }
        last
    }
}
