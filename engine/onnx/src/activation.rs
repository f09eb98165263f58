//! What is no polynomial: refused with advice, or replaced by a polynomial nearby.

use crate::Fit;
use crate::graph::Step;
use crate::importer::{Importer, Value};
use crate::polynomial::Polynomial;
use pleura_nn::{Function, fit};

/// What helps with all activations.
const TRAIN: &str = "replace it by a polynomial such as a*x^2 + b*x + c and train";

impl Importer<'_> {
    pub(crate) fn activation(&mut self, step: &Step<'_>) -> Result<Value, String> {
        let Some((function, factor)) = self.function(step)? else { return Err(advice(step.op)) };
        let x = self.tensor(step, 0)?;
        let Some(Fit { degree, from, to }) = self.fit else {
            return Err(format!(
                "ciphertexts cannot compute {function}; {TRAIN}, or let `--fit DEGREE --interval LO,HI` approximate it"
            ));
        };
        let fitted = fit(function, degree, from, to).map_err(|e| e.to_string())?;
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
    fn function(&self, step: &Step<'_>) -> Result<Option<(Function, f64)>, String> {
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
            "Selu" => Function::Selu,
            "Clip" => {
                let bound =
                    |i: usize, name: &str, default: f64| match self.optional_constant(step, i, name)? {
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
            "Silu" | "Swish" => Function::Silu,
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

/// What to do about an operator that has no polynomial.
fn advice(op: &str) -> String {
    let advice = match op {
        "MaxPool" | "GlobalMaxPool" | "LpPool" | "GlobalLpPool" | "MaxRoiPool" => {
            "ciphertexts cannot be compared; train with average pooling instead"
        }
        "PRelu" => return format!("its slopes differ by channel; {TRAIN}"),
        "Softmax" | "LogSoftmax" => {
            "ciphertexts cannot compute it inside a network; leave it to the client or use polynomials"
        }
        "ArgMax" | "ArgMin" | "TopK" | "Max" | "Min" | "Greater" | "Less" | "GreaterOrEqual"
        | "LessOrEqual" | "Equal" | "Where" | "NonMaxSuppression" | "NonZero" | "Sign" | "Not" | "And"
        | "Or" => "ciphertexts cannot be compared; leave it to the client at the end, or use polynomials",
        "InstanceNormalization"
        | "LayerNormalization"
        | "GroupNormalization"
        | "LpNormalization"
        | "LRN"
        | "MeanVarianceNormalization"
        | "RMSNormalization" => {
            "it divides by a norm of the encrypted values; train with batch normalization instead"
        }
        "Sqrt" | "Reciprocal" | "Log" | "Sin" | "Cos" | "Floor" | "Ceil" | "Round" | "ThresholdedRelu"
        | "Celu" | "Mish" | "Softsign" | "Shrink" => {
            return format!("ciphertexts cannot compute it; {TRAIN}");
        }
        "If" | "Loop" | "Scan" | "SequenceMap" => {
            "sub-graphs are not supported; export the network without control flow"
        }
        "LSTM" | "GRU" | "RNN" => "recurrent layers are not supported; use convolutions or dense layers",
        "QuantizeLinear"
        | "DequantizeLinear"
        | "DynamicQuantizeLinear"
        | "QLinearConv"
        | "ConvInteger"
        | "MatMulInteger"
        | "QLinearMatMul" => "quantized layers are not supported; export the network in floating point",
        _ => {
            "this operator is not supported; rewrite the network with convolutions, dense layers, sums, \
             products and polynomials"
        }
    };
    advice.into()
}
