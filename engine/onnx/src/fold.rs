//! Element-wise operators on constants, with the results of the type that the specification says.

use crate::budget;
use crate::constant::{Constant, Data, Int};
use crate::element::Element;
use crate::graph::Step;
use crate::importer::{Importer, Value};
use crate::problem::Problem;
use crate::shape::{Selection, broadcast};
use crate::view::EXACT;

impl Importer<'_> {
    /// An element-wise operator on constants.
    pub(crate) fn fold(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let mut inputs = Vec::with_capacity(step.inputs.len());
        for i in 0..step.inputs.len() {
            if let Some(input) = self.optional_constant(step, i, "input")? {
                self.builder.budget.charge(input.len())?;
                inputs.push(input);
            }
        }
        let folded = match (step.op, inputs.as_slice()) {
            (
                "Neg" | "Abs" | "Not" | "Sign" | "Sqrt" | "Exp" | "Log" | "Floor" | "Ceil" | "Round"
                | "Reciprocal",
                [x],
            ) => unary(step.op, x),
            ("Where", [condition, a, b]) => self.choose(condition, a, b),
            ("Mod", [a, b]) if step.int("fmod", 0) != 0 => self.fold_pair("Fmod", a, b),
            ("Min" | "Max", [first, rest @ ..]) => {
                let mut out = first.clone();
                for next in rest {
                    out = self.fold_pair(step.op, &out, next)?;
                }
                Ok(out)
            }
            (op, [a, b]) => self.fold_pair(op, a, b),
            (op, _) => Err(Problem::Fold { op: op.to_owned() }),
        };
        folded.map(Value::Constant)
    }

    /// A binary operator on constants.
    pub(crate) fn fold_pair(&mut self, op: &str, a: &Constant, b: &Constant) -> Result<Constant, Problem> {
        let shape = broadcast(&a.shape, &b.shape)?;
        self.builder.budget.charge(budget::elements(&shape)?)?;
        let a = self.repeat(a, &shape)?;
        let b = self.repeat(b, &shape)?;
        if op == "Pow" {
            return power(shape, &a, &b);
        }
        if a.element != b.element {
            return Err(Problem::ElementType { found: b.element.name(), expected: a.element.name().into() });
        }
        let element = a.element;
        let truth = matches!(
            op,
            "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "And" | "Or" | "Xor"
        );
        let logic = matches!(op, "And" | "Or" | "Xor");
        if logic && element != Element::Bool || element == Element::Bool && !logic && op != "Equal" {
            let expected = if logic { "bool" } else { "a number" };
            return Err(Problem::ElementType { found: element.name(), expected: expected.into() });
        }
        if let (Data::Int(a), Data::Int(b)) = (&a.data, &b.data) {
            let element = if truth { Element::Bool } else { element };
            let values = a.iter().zip(b.iter()).map(|(&a, &b)| integer(op, element, a, b));
            return Ok(Constant::ints(shape, values.collect::<Result<_, Problem>>()?).of(element));
        }
        let a = a.to_floats()?;
        let b = b.to_floats()?;
        let pairs = a.iter().zip(b.iter()).map(|(&a, &b)| (a, b));
        if truth {
            let f: fn(f64, f64) -> bool = match op {
                "Equal" => |a, b| a == b,
                "Greater" => |a, b| a > b,
                "GreaterOrEqual" => |a, b| a >= b,
                "Less" => |a, b| a < b,
                _ => |a, b| a <= b,
            };
            let values = pairs.map(|(a, b)| Int::Known(f(a, b).into()));
            return Ok(Constant::ints(shape, values.collect()).of(Element::Bool));
        }
        let f: fn(f64, f64) -> f64 = match op {
            "Add" => |a, b| a + b,
            "Sub" => |a, b| a - b,
            "Mul" => |a, b| a * b,
            "Div" => |a, b| a / b,
            "Min" => f64::min,
            "Max" => f64::max,
            "Fmod" => |a, b| a % b,
            "Mod" if self.opset >= 28 => |a, b| a - (a / b).floor() * b,
            "Mod" => return Err(Problem::attribute("fmod", 0, "1 for numbers of floating point")),
            _ => return Err(Problem::Fold { op: op.to_owned() }),
        };
        Constant::rounded(shape, pairs.map(|(a, b)| f(a, b)).collect(), element)
    }

    fn choose(&mut self, condition: &Constant, a: &Constant, b: &Constant) -> Result<Constant, Problem> {
        if a.element != b.element {
            return Err(Problem::ElementType { found: b.element.name(), expected: a.element.name().into() });
        }
        let shape = broadcast(&condition.shape, &broadcast(&a.shape, &b.shape)?)?;
        let [condition, a, b] =
            [self.repeat(condition, &shape)?, self.repeat(a, &shape)?, self.repeat(b, &shape)?];
        let chosen = truths(&condition)?;
        let chosen = chosen.iter();
        let out = match (&a.data, &b.data) {
            (Data::Int(a), Data::Int(b)) => {
                let values = chosen.zip(a.iter().zip(b.iter())).map(|(&c, (&a, &b))| if c { a } else { b });
                Constant::ints(shape, values.collect())
            }
            _ => {
                let a = a.to_floats()?;
                let b = b.to_floats()?;
                let values = chosen.zip(a.iter().zip(b.iter())).map(|(&c, (&a, &b))| if c { a } else { b });
                Constant::floats(shape, values.collect())
            }
        };
        Ok(out.of(a.element))
    }

    /// A constant repeated to a shape.
    pub(crate) fn repeat(&mut self, c: &Constant, shape: &[usize]) -> Result<Constant, Problem> {
        if c.shape == shape {
            return Ok(c.clone());
        }
        budget::elements(shape)?;
        let selection = Selection::broadcast(&c.shape, shape, &mut self.builder.budget)?;
        c.select(selection, 0.0)
    }
}

/// The elements of a condition.
pub(crate) fn truths(condition: &Constant) -> Result<Vec<bool>, Problem> {
    if condition.element != Element::Bool {
        return Err(Problem::ElementType { found: condition.element.name(), expected: "bool".into() });
    }
    condition.to_ints()?.iter().map(|c| Ok(c.known()? != 0)).collect()
}

fn unary(op: &str, x: &Constant) -> Result<Constant, Problem> {
    let refused =
        |expected: &str| Problem::ElementType { found: x.element.name(), expected: expected.into() };
    match &x.data {
        Data::Int(list) => {
            let f: fn(i128) -> i128 = match op {
                "Not" if x.element == Element::Bool => |x| (x == 0).into(),
                _ if x.element == Element::Bool => return Err(refused("a number")),
                "Neg" => |x| -x,
                "Abs" => i128::abs,
                "Sign" => i128::signum,
                "Not" => return Err(refused("bool")),
                _ => return Err(refused("floating point")),
            };
            let values = list.iter().map(|v| Ok(Int::Known(x.element.wrap(f(v.known()?.into()))?)));
            Ok(Constant::ints(x.shape.clone(), values.collect::<Result<_, Problem>>()?).of(x.element))
        }
        Data::Float(list) => {
            let f: fn(f64) -> f64 = match op {
                "Neg" => |x| -x,
                "Abs" => f64::abs,
                "Sign" => |x| if x == 0.0 { 0.0 } else { x.signum() },
                "Sqrt" => f64::sqrt,
                "Exp" => f64::exp,
                "Log" => f64::ln,
                "Floor" => f64::floor,
                "Ceil" => f64::ceil,
                "Round" => f64::round_ties_even,
                "Reciprocal" => f64::recip,
                _ => return Err(refused("bool")),
            };
            Constant::rounded(x.shape.clone(), list.iter().map(|&x| f(x)).collect(), x.element)
        }
    }
}

/// Powers in the type of the base; those of integers without what is behind the point.
fn power(shape: Vec<usize>, base: &Constant, exponent: &Constant) -> Result<Constant, Problem> {
    let element = base.element;
    if element == Element::Bool || exponent.element == Element::Bool {
        return Err(Problem::ElementType { found: "bool", expected: "a number".into() });
    }
    let values = base.to_floats()?;
    let exponents = exponent.to_floats()?;
    let powers: Vec<f64> = values.iter().zip(exponents.iter()).map(|(a, b)| a.powf(*b)).collect();
    if element.is_float() {
        return Constant::rounded(shape, powers, element);
    }
    Ok(Constant::ints(
        shape,
        powers
            .into_iter()
            .map(|x| -> Result<Int, Problem> {
                // Processors differ where double precision rounds.
                if x.abs() < EXACT {
                    Ok(Int::Known(element.exact(x.trunc() as i128)?))
                } else {
                    Err(Problem::Overflow { value: x.to_string(), element: element.name() })
                }
            })
            .collect::<Result<_, Problem>>()?,
    )
    .of(element))
}

fn integer(op: &str, element: Element, a: Int, b: Int) -> Result<Int, Problem> {
    match (op, a, b) {
        ("Mul", Int::Batch, Int::Known(1)) | ("Mul", Int::Known(1), Int::Batch) => return Ok(Int::Batch),
        ("Div", Int::Batch, Int::Known(1)) | ("Add" | "Sub", Int::Batch, Int::Known(0)) => {
            return Ok(Int::Batch);
        }
        // A comparison with the placeholder -1; no batch has that size, nor none at all.
        ("Equal", Int::Batch, Int::Known(..=0)) | ("Equal", Int::Known(..=0), Int::Batch) => {
            return Ok(Int::Known(0));
        }
        ("Equal", Int::Batch, Int::Batch) => return Ok(Int::Known(1)),
        _ => {}
    }
    let a = i128::from(a.known()?);
    let b = i128::from(b.known()?);
    let result = match op {
        "Add" => Some(a + b),
        "Sub" => Some(a - b),
        "Mul" => Some(a * b),
        // Toward zero; the remainder has the sign of the divisor, that of `fmod` the sign of the dividend.
        "Div" => a.checked_div(b),
        "Mod" => a.checked_rem(b).map(|r| if r != 0 && (r < 0) != (b < 0) { r + b } else { r }),
        "Fmod" => a.checked_rem(b),
        "Min" => Some(a.min(b)),
        "Max" => Some(a.max(b)),
        "Equal" => Some((a == b).into()),
        "Greater" => Some((a > b).into()),
        "GreaterOrEqual" => Some((a >= b).into()),
        "Less" => Some((a < b).into()),
        "LessOrEqual" => Some((a <= b).into()),
        "And" => Some((a != 0 && b != 0).into()),
        "Or" => Some((a != 0 || b != 0).into()),
        "Xor" => Some(((a != 0) != (b != 0)).into()),
        _ => None,
    };
    Ok(Int::Known(element.wrap(result.ok_or_else(|| Problem::NoResult {
        op: op.to_owned(),
        left: a as i64,
        right: b as i64,
    })?)?))
}
