//! What is no polynomial: refused with advice, or replaced by a polynomial nearby.

use crate::Fit;
use crate::graph::Step;
use crate::importer::{Importer, Value};
use crate::polynomial::Polynomial;
use crate::problem::Problem;
use crate::unsupported::Unsupported;
use pleura_nn::{Function, fit};

impl Importer<'_> {
    pub(crate) fn activation(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let Some((function, factor)) = self.function(step)? else {
            return Err(Unsupported::operator(step.op).into());
        };
        let x = self.tensor(step, 0)?;
        let Some(Fit { degree, from, to }) = self.fit else {
            return Err(Problem::Activation { function });
        };
        let fitted = fit(function, degree, from, to)?;
        self.notes.push(format!(
            "replaced {function} at {} by a polynomial of degree {degree} on {from} to {to}, off by at most \
             {:.2e} and {:.2e} on average",
            step.name, fitted.max_error, fitted.mean_error
        ));
        let coefficients: Vec<f64> = fitted.coefficients.iter().map(|c| c * factor).collect();
        // Over a node of its own: composed with what comes before, the powers of another interval might cancel.
        let node = self.builder.node(&x)?;
        let result = x.over(node).with(&step.name, Polynomial::of(&coefficients));
        Ok(Value::Tensor(result))
    }

    /// The function of an element that an operator is, and a factor.
    fn function(&self, step: &Step<'_>) -> Result<Option<(Function, f64)>, Problem> {
        let function = match step.op {
            "Relu" => Function::Relu,
            "LeakyRelu" => Function::LeakyRelu(step.float("alpha", 0.01)?),
            "PRelu" => {
                let slopes = self.constant(step, 1, "slope")?.to_floats()?;
                match slopes.first() {
                    Some(&slope) if slopes.iter().all(|&s| s == slope) => Function::LeakyRelu(slope),
                    _ => return Ok(None),
                }
            }
            "Elu" => Function::Elu(step.float("alpha", 1.0)?),
            "Selu" => {
                step.expect_float("alpha", 1.673_263_2)?;
                step.expect_float("gamma", 1.050_701)?;
                Function::Selu
            }
            "Clip" => {
                let bound = |i: usize, name: &'static str, default: f64| match self
                    .optional_constant(step, i, name)?
                {
                    Some(c) => c.scalar(),
                    None if step.has(name) => step.float(name, default),
                    None => Ok(default),
                };
                let (low, high) = (bound(1, "min", f64::NEG_INFINITY)?, bound(2, "max", f64::INFINITY)?);
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
                step.expect_float("alpha", 1.0)?;
                Function::Silu
            }
            "Gelu" => Function::Gelu,
            "TwiceGelu" => return Ok(Some((Function::Gelu, 2.0))),
            "Softplus" => Function::Softplus,
            "Abs" => Function::Abs,
            "Exp" => Function::Exp,
            "Erf" => Function::Erf,
            _ => return Ok(None),
        };
        Ok(Some((function, 1.0)))
    }
}
