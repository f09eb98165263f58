//! Server: a plan on a device, and the sessions of its clients.

#![expect(clippy::indexing_slicing, reason = "nodes are looked up in tables of their own network or program")]

use crate::constants::Constants;
use crate::polynomial::{Form, PreparedPolynomial};
use crate::step::{Operand, Step, StepKind};
use crate::{InferenceError, NodeId, NodeMap, ServerPlan};
use pleura_ckks::{
    Backend, Ciphertext, CiphertextBatch, EvalError, EvaluationKeys, Evaluator, KeyLoadError,
    MatrixTransform, PreparedKeys, PreparedPlaintext, PreparedTransform,
};
use std::io::Read;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

/// A plan whose weights and constants lie on the device `B`, ready for the keys of any number of clients. Clones
/// share the plan and the device.
pub struct Server<B: Backend> {
    prepared: Arc<PreparedPlan<B>>,
}

/// A client's evaluation keys on the device of a [`Server`]. Dropping a session frees the memory of its keys.
pub struct Session<B: Backend> {
    prepared: Arc<PreparedPlan<B>>,
    keys: PreparedKeys<B>,
}

/// A plan on a device.
struct PreparedPlan<B: Backend> {
    plan: Arc<ServerPlan>,
    evaluator: Evaluator<B>,
    steps: NodeMap<PreparedStep<B>>,
    /// The last node that reads each node; `None` for the output.
    last_reader: NodeMap<Option<NodeId>>,
}

/// A step with its constants on the device.
enum PreparedStep<B: Backend> {
    Input,
    Linear {
        input: NodeId,
        /// Factor that the operand is multiplied by, as a gain of scale.
        scale_up: Option<f64>,
        transform: PreparedTransform<B>,
        rotate_and_sum: Vec<Vec<i64>>,
        bias: Option<PreparedPlaintext<B>>,
    },
    Matrix {
        input: NodeId,
        scale_up: Option<f64>,
        transform: MatrixTransform,
        bias: Option<PreparedPlaintext<B>>,
    },
    SetScale {
        input: NodeId,
        negate: bool,
        bias: Option<PreparedPlaintext<B>>,
    },
    SumPool {
        input: NodeId,
        rotate_and_sum: Vec<Vec<i64>>,
    },
    Square {
        input: PreparedOperand,
        /// Added to one of the two factors.
        slope: Option<PreparedPlaintext<B>>,
        constant: Option<PreparedPlaintext<B>>,
    },
    Chebyshev {
        input: NodeId,
        polynomial: PreparedPolynomial<B>,
    },
    Mul {
        inputs: [PreparedOperand; 2],
    },
    Add {
        inputs: [PreparedOperand; 2],
        subtract: bool,
    },
}

/// An operand, and how it is brought to its step: multiplied by one at a scale, then rescaled.
#[derive(Clone, Copy)]
struct PreparedOperand {
    node: NodeId,
    /// Gain of scale before the division.
    scale_up: Option<f64>,
    /// Level and scale once divided.
    level: usize,
    scale: f64,
}

/// An operand: the value of a node, or what was made of it.
enum Held<'v, B: Backend> {
    Value(&'v CiphertextBatch<B>),
    Own(CiphertextBatch<B>),
}

impl<B: Backend> Deref for Held<'_, B> {
    type Target = CiphertextBatch<B>;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Value(value) => value,
            Self::Own(own) => own,
        }
    }
}

impl<B: Backend> Server<B> {
    /// Encodes the constants of a plan and brings them with its weights to a device made for the plan's ring.
    ///
    /// # Errors
    /// [`InferenceError::Eval`] if the device has no memory left or is made for another ring,
    /// [`InferenceError::Encode`].
    pub fn new(plan: impl Into<Arc<ServerPlan>>, backend: B) -> Result<Self, InferenceError> {
        let plan = plan.into();
        let evaluator = Evaluator::new(plan.params(), backend)?;
        let constants = Constants::new(&evaluator);
        let steps = &plan.program.steps;
        evaluator.backend().expect_constants(plan.weights());
        let mut prepared = NodeMap::default();
        for (id, _) in steps.iter() {
            prepared.push(PreparedStep::new(&plan, id, &evaluator, &constants)?);
        }
        let mut last_reader = NodeMap::new(steps.len(), |_| None);
        for (id, step) in steps.iter() {
            step.reads().into_iter().for_each(|read| last_reader[read] = Some(id));
        }
        Ok(Self { prepared: Arc::new(PreparedPlan { plan, evaluator, steps: prepared, last_reader }) })
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<ServerPlan> {
        &self.prepared.plan
    }

    /// The device.
    pub fn backend(&self) -> &B {
        self.prepared.evaluator.backend()
    }

    /// Brings a client's keys to the device.
    ///
    /// # Errors
    /// [`InferenceError::Eval`] if a key of [`ServerPlan::key_request`] is missing, the keys belong to other
    /// parameters, or the device has no memory left.
    ///
    /// ```
    /// use pleura_nn::{Client, Coefficients, CompileOptions, Network, Node, NodeMap, Op, Plan, Server};
    /// # let mut nodes = NodeMap::default();
    /// # let x = nodes.push(Node::new("x", [4], Op::Input));
    /// # nodes.push(Node::new("square", [4], Op::Polynomial(x, Coefficients(vec![vec![0.0], vec![0.0], vec![1.0]]))));
    /// # let network = Network::new("square", nodes)?;
    /// # let plan = Plan::compile(&network, &CompileOptions::default(), &mut |_, _, _| ())?;
    /// let backend = pleura_ring::Cpu::new(plan.params().ring().clone())?;
    /// let server = Server::new(plan.server_plan().clone(), backend)?;
    /// for _client in 0..2 {
    ///     let client = Client::new(plan.client_spec().clone())?;
    ///     let session = server.open_session(client.evaluation_keys()?)?;
    ///     assert_eq!(session.plan().params(), client.spec().params());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_session(&self, keys: EvaluationKeys) -> Result<Session<B>, InferenceError> {
        if keys.params() != self.prepared.plan.params() {
            return Err(EvalError::ParamsMismatch.into());
        }
        keys.check_covers(&self.prepared.plan.key_request())?;
        let keys = self.prepared.evaluator.upload_keys_owned(keys)?;
        Ok(Session { prepared: self.prepared.clone(), keys })
    }

    /// Reads a client's keys, the bytes of [`EvaluationKeys`], to the device: see [`Evaluator::load_keys`].
    ///
    /// # Errors
    /// [`KeyLoadError`]
    pub fn load_session(&self, keys: impl Read + Send) -> Result<Session<B>, KeyLoadError> {
        let keys = self.prepared.evaluator.load_keys(keys, &self.prepared.plan.key_request())?;
        Ok(Session { prepared: self.prepared.clone(), keys })
    }
}

impl<B: Backend> Clone for Server<B> {
    fn clone(&self) -> Self {
        Self { prepared: self.prepared.clone() }
    }
}

impl<B: Backend> Session<B> {
    /// The plan of the server.
    pub fn plan(&self) -> &Arc<ServerPlan> {
        &self.prepared.plan
    }

    /// The results for the ciphertexts of some groups of items, one group after the other. `observe` receives each step's
    /// position in [`Report::layers`](crate::Report::layers) and its seconds; a device that works in the background
    /// has only recorded the step by then.
    ///
    /// # Errors
    /// [`InferenceError::CiphertextCount`], [`InferenceError::CiphertextForm`] for ciphertexts that no client of this
    /// plan encrypts, [`InferenceError::Eval`] if the device fails or the ciphertexts belong to other parameters.
    pub fn infer(
        &self,
        ciphertexts: &[Ciphertext],
        observe: &mut (dyn FnMut(usize, f64) + Send),
    ) -> Result<Vec<Ciphertext>, InferenceError> {
        self.prepared.plan.check_input(ciphertexts)?;
        self.prepared.evaluator.backend().series(|| self.infer_on_device(ciphertexts, observe))
    }

    fn infer_on_device(
        &self,
        ciphertexts: &[Ciphertext],
        observe: &mut (dyn FnMut(usize, f64) + Send),
    ) -> Result<Vec<Ciphertext>, InferenceError> {
        let PreparedPlan { plan, evaluator, steps, last_reader } = &*self.prepared;
        let mut values: NodeMap<Option<CiphertextBatch<B>>> = NodeMap::default();
        for (id, step) in steps.iter() {
            let start = Instant::now();
            let value = match step {
                PreparedStep::Input => {
                    evaluator.upload(ciphertexts)?.with_scale(plan.program.steps[id].scale)
                }
                step => self.run(id, step, &values)?,
            };
            values.push(Some(value));
            // Values that no later step reads make room.
            for read in plan.program.steps[id].reads() {
                if last_reader[read] == Some(id) {
                    values[read] = None;
                }
            }
            observe(id.index(), start.elapsed().as_secs_f64());
        }
        let output = self.value(&values, plan.program.output_node())?;
        Ok(evaluator.download(output)?)
    }

    /// Waits until the device has done everything that was asked of it.
    ///
    /// # Errors
    /// [`InferenceError::Eval`] if the device failed since the last wait.
    pub fn wait(&self) -> Result<(), InferenceError> {
        Ok(self.prepared.evaluator.backend().wait().map_err(EvalError::from)?)
    }

    fn run(
        &self,
        id: NodeId,
        step: &PreparedStep<B>,
        values: &NodeMap<Option<CiphertextBatch<B>>>,
    ) -> Result<CiphertextBatch<B>, InferenceError> {
        let evaluator = &self.prepared.evaluator;
        let keys = &self.keys;
        // Scales were chosen to lead here; floating point adds an error far below any noise.
        let scale = self.prepared.plan.program.steps[id].scale;
        Ok(match step {
            PreparedStep::Input => return Err(InferenceError::Internal("the input is computed")),
            PreparedStep::Linear { input, scale_up, transform, rotate_and_sum, bias } => {
                let x = self.value(values, *input)?;
                let y = match scale_up {
                    Some(factor) => {
                        evaluator.transform(&evaluator.mul_const(x, 1.0, *factor)?, transform, keys)?
                    }
                    None => evaluator.transform(x, transform, keys)?,
                };
                self.plus(self.rotate_and_sum(y, rotate_and_sum)?.with_scale(scale), bias.as_ref())?
            }
            PreparedStep::Matrix { input, scale_up, transform, bias } => {
                let x = self.value(values, *input)?;
                let y = match scale_up {
                    Some(factor) => {
                        evaluator.matrix_transform(&evaluator.mul_const(x, 1.0, *factor)?, transform)?
                    }
                    None => evaluator.matrix_transform(x, transform)?,
                };
                self.plus(y.with_scale(scale), bias.as_ref())?
            }
            PreparedStep::SetScale { input, negate, bias } => {
                let x = self.value(values, *input)?;
                let y = if *negate { evaluator.neg(x)? } else { evaluator.copy(x)? };
                self.plus(y.with_scale(scale), bias.as_ref())?
            }
            PreparedStep::SumPool { input, rotate_and_sum } => {
                let x = evaluator.copy(self.value(values, *input)?)?;
                self.rotate_and_sum(x, rotate_and_sum)?.with_scale(scale)
            }
            PreparedStep::Square { input, slope, constant } => {
                let x = self.operand(values, input)?;
                let y = match slope {
                    Some(slope) => evaluator.mul(&x, &evaluator.add_plain(&x, slope)?, keys)?,
                    None => evaluator.mul(&x, &x, keys)?,
                };
                self.plus(y.with_scale(scale), constant.as_ref())?
            }
            PreparedStep::Chebyshev { input, polynomial } => {
                polynomial.evaluate(evaluator, self.value(values, *input)?, keys)?.with_scale(scale)
            }
            PreparedStep::Mul { inputs: [a, b] } => {
                let a = self.operand(values, a)?;
                let b = self.operand(values, b)?;
                evaluator.mul(&a, &b, keys)?.with_scale(scale)
            }
            PreparedStep::Add { inputs: [a, b], subtract } => {
                let a = self.operand(values, a)?;
                let b = self.operand(values, b)?;
                if *subtract { evaluator.sub(&a, &b)? } else { evaluator.add(&a, &b)? }
            }
        })
    }

    fn value<'v>(
        &self,
        values: &'v NodeMap<Option<CiphertextBatch<B>>>,
        id: NodeId,
    ) -> Result<&'v CiphertextBatch<B>, InferenceError> {
        values[id].as_ref().ok_or(InferenceError::Internal("a value is read after its last use"))
    }

    fn operand<'v>(
        &self,
        values: &'v NodeMap<Option<CiphertextBatch<B>>>,
        operand: &PreparedOperand,
    ) -> Result<Held<'v, B>, InferenceError> {
        let evaluator = &self.prepared.evaluator;
        let x = self.value(values, operand.node)?;
        if operand.scale_up.is_none() && x.level() == operand.level && x.scale() == operand.scale {
            return Ok(Held::Value(x));
        }
        let x = match operand.scale_up {
            // A product with an integer, which costs nothing but modulus: values stay, the scale grows.
            Some(factor) => evaluator.rescale_to(&evaluator.mul_const(x, 1.0, factor)?, operand.level)?,
            None => evaluator.rescale_to(x, operand.level)?,
        };
        Ok(Held::Own(x.with_scale(operand.scale)))
    }

    fn plus(
        &self,
        mut x: CiphertextBatch<B>,
        addend: Option<&PreparedPlaintext<B>>,
    ) -> Result<CiphertextBatch<B>, InferenceError> {
        if let Some(addend) = addend {
            self.prepared.evaluator.add_plain_assign(&mut x, addend)?;
        }
        Ok(x)
    }

    fn rotate_and_sum(
        &self,
        x: CiphertextBatch<B>,
        groups: &[Vec<i64>],
    ) -> Result<CiphertextBatch<B>, InferenceError> {
        let mut sum = x;
        for rotations in groups {
            sum = self.prepared.evaluator.rotate_and_sum(&sum, rotations, &self.keys)?;
        }
        Ok(sum)
    }
}

impl<B: Backend> PreparedStep<B> {
    fn new(
        plan: &ServerPlan,
        id: NodeId,
        evaluator: &Evaluator<B>,
        constants: &Constants<'_, B>,
    ) -> Result<Self, InferenceError> {
        let program = &plan.program;
        let Step { kind, level, scale, .. } = &program.steps[id];
        let layout = program.layout(id);
        Ok(match kind {
            StepKind::Input => Self::Input,
            StepKind::Linear { input, scale_up_log2, transform, rotate_and_sum, bias } => Self::Linear {
                input: *input,
                scale_up: power_of_two(*scale_up_log2),
                transform: evaluator.prepare_blocks(transform)?,
                rotate_and_sum: rotate_and_sum.clone(),
                bias: constants.optional_addend(layout, bias, *scale, *level)?,
            },
            StepKind::Matrix { input, scale_up_log2, transform, bias } => Self::Matrix {
                input: *input,
                scale_up: power_of_two(*scale_up_log2),
                transform: transform.clone(),
                bias: constants.optional_addend(layout, bias, *scale, *level)?,
            },
            StepKind::SetScale { input, factor, bias } => Self::SetScale {
                input: *input,
                negate: *factor < 0.0,
                bias: constants.optional_addend(layout, bias, *scale, *level)?,
            },
            StepKind::SumPool { input, rotate_and_sum } => {
                Self::SumPool { input: *input, rotate_and_sum: rotate_and_sum.clone() }
            }
            StepKind::Square { input, slope, constant } => {
                let input = PreparedOperand::factor(plan, input);
                Self::Square {
                    input,
                    slope: constants.optional_addend(layout, slope, input.scale, input.level)?,
                    constant: constants.optional_addend(layout, &[*constant], *scale, *level)?,
                }
            }
            StepKind::Chebyshev { input, coefficients } => {
                let operand = &program.steps[*input];
                let operand = Form { level: operand.level, scale: operand.scale };
                let result = Form { level: *level, scale: *scale };
                let polynomial = PreparedPolynomial::new(constants, layout, coefficients, operand, result)?;
                Self::Chebyshev { input: *input, polynomial }
            }
            StepKind::Mul { inputs } => {
                Self::Mul { inputs: inputs.each_ref().map(|input| PreparedOperand::factor(plan, input)) }
            }
            StepKind::Add { inputs, subtract } => Self::Add {
                inputs: inputs.each_ref().map(|input| PreparedOperand::addend(plan, input, *scale)),
                subtract: *subtract,
            },
        })
    }
}

impl PreparedOperand {
    /// An operand of a product.
    fn factor(plan: &ServerPlan, operand: &Operand) -> Self {
        let Step { level: from, scale, .. } = plan.program.steps[operand.node];
        let level = from - operand.rescale_by;
        let gain = f64::from(operand.scale_up_log2).exp2();
        let scale = scale * gain / plan.divisor(from, level);
        Self { node: operand.node, scale_up: power_of_two(operand.scale_up_log2), level, scale }
    }

    /// An operand of a sum at a scale.
    fn addend(plan: &ServerPlan, operand: &Operand, sum_scale: f64) -> Self {
        let Step { level: from, scale, .. } = plan.program.steps[operand.node];
        if !operand.aligned {
            return Self { node: operand.node, scale_up: None, level: from, scale: sum_scale };
        }
        let level = from - operand.rescale_by;
        let scale_up = Some(sum_scale * plan.divisor(from, level) / scale);
        Self { node: operand.node, scale_up, level, scale: sum_scale }
    }
}

/// `2^log2`, or nothing for a factor of one.
fn power_of_two(log2: u32) -> Option<f64> {
    (log2 > 0).then(|| f64::from(log2).exp2())
}
