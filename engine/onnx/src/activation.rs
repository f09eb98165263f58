//! Activations that are no polynomials: kept for a fit, or refused with advice.

use crate::constant::{Constant, Data, Int};
use crate::graph::Step;
use crate::importer::{Importer, Value};
use crate::problem::Problem;
use crate::unsupported::Unsupported;
use pleura_nn::{Activation, Function};

impl Importer<'_> {
    pub(crate) fn activation(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        match step.op {
            "PRelu" => return self.slopes(step),
            "Max" | "Min" => return self.bounded(step),
            _ => {}
        }
        let Some(activation) = self.function(step)? else {
            return Err(Unsupported::operator(step.op).into());
        };
        let x = self.value(step, 0)?;
        self.activate(step, &x, activation)
    }

    fn activate(&mut self, step: &Step<'_>, x: &Value, activation: Activation) -> Result<Value, Problem> {
        let x = match x {
            Value::Tensor(x) => x.clone(),
            Value::Constant(c) => return fold(activation, step.op, c).map(Value::Constant),
        };
        let function = activation.function;
        if matches!(function, Function::Clip { low: f64::NEG_INFINITY, high: f64::INFINITY }) {
            return Ok(Value::Tensor(x));
        }
        if !self.keep_activations {
            return Err(Problem::Activation { function });
        }
        Ok(Value::Tensor(self.builder.activation(&step.name.to_string(), &x, activation)?))
    }

    /// Max and Min of a tensor and constants: `c + relu(x - c)` and `c - relu(c - x)`, or a clip if all of `c` is one number.
    fn bounded(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let mut bound: Option<Constant> = None;
        let mut operand = None;
        for i in 0..step.inputs.len() {
            match (self.value(step, i)?, &bound) {
                (Value::Tensor(_), _) if operand.is_some() => return Err(Unsupported::Comparison.into()),
                (Value::Tensor(x), _) => operand = Some(Value::Tensor(x)),
                (Value::Constant(c), None) => bound = Some(c),
                (Value::Constant(c), Some(before)) => bound = Some(self.fold_pair(step.op, before, &c)?),
            }
        }
        let x = operand.ok_or(Problem::Internal("a maximum of constants is not folded"))?;
        let Some(bound) = bound else { return Ok(x) };
        if !bound.element.is_float() {
            let expected = "floating point".to_owned();
            return Err(Problem::ElementType { found: bound.element.name(), expected });
        }
        let is_max = step.op == "Max";
        let values = bound.to_floats()?;
        let shape = x.full_shape();
        let fits = crate::shape::broadcast(&shape, &bound.shape)? == shape;
        if self.opset < 8 && bound.shape != shape {
            return Err(Problem::Broadcast { left: shape, right: bound.shape });
        }
        match values.first() {
            Some(&limit) if fits && values.iter().all(|&c| c == limit) => {
                let function = match is_max {
                    true => Function::Clip { low: limit, high: f64::INFINITY },
                    false => Function::Clip { low: f64::NEG_INFINITY, high: limit },
                };
                self.activate(step, &x, Activation::plain(function))
            }
            _ => {
                let bound = Value::Constant(bound);
                let (left, right, join) = if is_max { (&x, &bound, "Add") } else { (&bound, &x, "Sub") };
                let beyond = self.combine(step, "Sub", left, right)?;
                let beyond = self.activate(step, &beyond, Activation::plain(Function::Relu))?;
                self.combine(step, join, &bound, &beyond)
            }
        }
    }

    /// PRelu: `s x + (1 - s) relu(x)`, or a leaky relu if all slopes are one.
    fn slopes(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let x = self.value(step, 0)?;
        let mut slopes = self.constant(step, 1, "slope")?;
        let values = slopes.to_floats()?;
        let shape = x.full_shape();
        // Before version 7, slopes were those of channels.
        if self.opset < 7 && slopes.shape.len() == 1 && slopes.len() > 1 {
            let mut channels = vec![slopes.len()];
            channels.resize(shape.len().saturating_sub(1), 1);
            slopes = slopes.reshaped(channels);
        }
        if crate::shape::broadcast(&shape, &slopes.shape)? != shape {
            return Err(Problem::shape("slope", &slopes.shape, format!("one that broadcasts to {shape:?}")));
        }
        match values.first() {
            Some(&slope) if values.iter().all(|&s| s == slope) => {
                self.activate(step, &x, Activation::plain(Function::LeakyRelu(slope)))
            }
            _ => {
                let relu = self.activate(step, &x, Activation::plain(Function::Relu))?;
                let rest: Vec<f64> = values.iter().map(|s| 1.0 - s).collect();
                let rest = Value::Constant(Constant::floats(slopes.shape.clone(), rest).of(slopes.element));
                let straight = self.combine(step, "Mul", &x, &Value::Constant(slopes))?;
                let bent = self.combine(step, "Mul", &relu, &rest)?;
                self.combine(step, "Add", &straight, &bent)
            }
        }
    }

    /// The function of an element that an operator is.
    fn function(&self, step: &Step<'_>) -> Result<Option<Activation>, Problem> {
        let function = match step.op {
            "Relu" => Function::Relu,
            "LeakyRelu" => Function::LeakyRelu(step.float("alpha", 0.01)?),
            "Elu" => Function::Elu(step.float("alpha", 1.0)?),
            "Celu" => return celu(step).map(Some),
            "Selu" => {
                let usual = [1.673_263_242_354_377_3, 1.050_700_987_355_480_5];
                // Before version 7, the defaults had fewer digits.
                let alpha = step.float("alpha", usual[0])?;
                let gamma = step.float("gamma", usual[1])?;
                if [alpha, gamma].iter().zip(usual).all(|(a, b)| (a - b).abs() < 1e-6) {
                    Function::Selu
                } else {
                    let function = Function::Elu(alpha);
                    return Ok(Some(Activation { function, inner: 1.0, outer: gamma }));
                }
            }
            "Clip" => {
                let bound = |i: usize, name: &'static str, default: f64| match self
                    .optional_constant(step, i, name)?
                {
                    Some(c) => c.scalar(),
                    None if step.has(name) => step.float(name, default),
                    None => Ok(default),
                };
                let low = bound(1, "min", f64::NEG_INFINITY)?;
                let high = bound(2, "max", f64::INFINITY)?;
                Function::Clip { low, high }
            }
            "Sigmoid" => Function::Sigmoid,
            "HardSigmoid" => {
                Function::HardSigmoid { slope: step.float("alpha", 0.2)?, offset: step.float("beta", 0.5)? }
            }
            "HardSwish" => Function::HardSwish,
            "Tanh" => Function::Tanh,
            "Silu" => Function::Silu,
            "Swish" => {
                let alpha = nonzero(step, "alpha", 1.0)?;
                return Ok(Some(Activation { function: Function::Silu, inner: alpha, outer: 1.0 / alpha }));
            }
            "Gelu" => match step.string("approximate") {
                None | Some("none") => Function::Gelu,
                Some("tanh") => Function::TanhGelu,
                Some(other) => return Err(Problem::attribute("approximate", other, "none or tanh")),
            },
            "TwiceGelu" => {
                return Ok(Some(Activation { function: Function::Gelu, inner: 1.0, outer: 2.0 }));
            }
            "Softplus" => Function::Softplus,
            "Softsign" => Function::Softsign,
            "Mish" => Function::Mish,
            "Abs" => Function::Abs,
            "Exp" => Function::Exp,
            "Erf" => Function::Erf,
            _ => return Ok(None),
        };
        Ok(Some(Activation::plain(function)))
    }
}

/// The values of constants.
fn fold(activation: Activation, op: &str, c: &Constant) -> Result<Constant, Problem> {
    match &c.data {
        Data::Float(list) => Constant::rounded(
            c.shape.clone(),
            list.iter().map(|&x| activation.evaluate(x)).collect(),
            c.element,
        ),
        Data::Int(list) if matches!(op, "Relu" | "Clip") => {
            let values = list
                .iter()
                .map(|x| c.element.exact(activation.evaluate(x.known()? as f64) as i128).map(Int::Known))
                .collect::<Result<_, Problem>>()?;
            Ok(Constant::ints(c.shape.clone(), values).of(c.element))
        }
        Data::Int(_) => {
            Err(Problem::ElementType { found: c.element.name(), expected: "floating point".into() })
        }
    }
}

fn celu(step: &Step<'_>) -> Result<Activation, Problem> {
    let alpha = nonzero(step, "alpha", 1.0)?;
    // A negative factor would take the branches of `elu` for each other.
    if alpha < 0.0 {
        return Err(Problem::attribute("alpha", alpha, "a positive number"));
    }
    Ok(Activation { function: Function::Elu(1.0), inner: 1.0 / alpha, outer: alpha })
}

fn nonzero(step: &Step<'_>, name: &'static str, default: f64) -> Result<f64, Problem> {
    let value = step.float(name, default)?;
    if value == 0.0 { Err(Problem::attribute(name, value, "another number than zero")) } else { Ok(value) }
}
