//! Element by element: sums, products and powers, of constants and of tensors.

use crate::budget;
use crate::builder::Tensor;
use crate::constant::{Constant, Data, Int};
use crate::graph::Step;
use crate::importer::{Importer, Value};
use crate::polynomial::{Polynomial, Term, term};
use crate::problem::Problem;
use crate::shape::{self, Selection, broadcast};
use crate::unsupported::Unsupported;
use pleura_nn::Op;

impl Importer<'_> {
    pub(crate) fn binary(&mut self, step: &Step<'_>, op: &str) -> Result<Value, Problem> {
        let (a, mut b) = (self.value(step, 0)?, self.value(step, 1)?);
        // Before version 7, the right side started at an axis of the left.
        if self.opset < 7 && step.has("axis") {
            let (rank, mut shape) = (a.full_shape().len(), b.full_shape());
            let axis = shape::axis(step.int("axis", 0), rank)?;
            shape.resize(shape.len().max(rank - axis), 1);
            b = b.reshaped(shape)?;
        }
        self.combine(step, op, &a, &b)
    }

    /// `a op b`, broadcast.
    pub(crate) fn combine(
        &mut self,
        step: &Step<'_>,
        op: &str,
        a: &Value,
        b: &Value,
    ) -> Result<Value, Problem> {
        match (a, b) {
            (Value::Constant(a), Value::Constant(b)) => self.fold_pair(op, a, b).map(Value::Constant),
            (Value::Tensor(x), Value::Constant(c)) => {
                let (x, c) = self.beside(step, x, c, op == "Div")?;
                let c = Polynomial::constant(c);
                let (p, budget) = (x.polynomial(), &mut self.builder.budget);
                let result = match op {
                    "Add" => p.plus(&c, budget),
                    "Sub" => p.plus(&c.times(&Polynomial::of(&[-1.0]), budget)?, budget),
                    _ => p.times(&c, budget),
                };
                Ok(Value::Tensor(x.with(&step.name, result?)))
            }
            (Value::Constant(c), Value::Tensor(x)) => {
                if op == "Div" {
                    return Err(Unsupported::Division.into());
                }
                let (x, c) = self.beside(step, x, c, false)?;
                let c = Polynomial::constant(c);
                let (p, budget) = (x.polynomial(), &mut self.builder.budget);
                let result = match op {
                    "Add" => p.plus(&c, budget),
                    "Sub" => p.times(&Polynomial::of(&[-1.0]), budget)?.plus(&c, budget),
                    _ => p.times(&c, budget),
                };
                Ok(Value::Tensor(x.with(&step.name, result?)))
            }
            (Value::Tensor(_), Value::Tensor(_)) if op == "Div" => Err(Unsupported::Division.into()),
            (Value::Tensor(x), Value::Tensor(y)) => self.tensors(step, op, x, y).map(Value::Tensor),
        }
    }

    fn tensors(&mut self, step: &Step<'_>, op: &str, x: &Tensor, y: &Tensor) -> Result<Tensor, Problem> {
        if x.shape.len() != y.shape.len() {
            return Err(Problem::MixesBatch);
        }
        // One may be what the other is a polynomial of.
        let (x, y) = match (x.made(), y.made()) {
            (Some(node), _) if node == y.base() => (&x.over(node), y),
            (_, Some(node)) if node == x.base() => (x, &y.over(node)),
            _ => (x, y),
        };
        if x.shape == y.shape && x.base() == y.base() {
            let (p, q, budget) = (x.polynomial(), y.polynomial(), &mut self.builder.budget);
            let result = match op {
                "Add" => p.plus(q, budget),
                "Sub" => p.plus(&q.times(&Polynomial::of(&[-1.0]), budget)?, budget),
                _ => p.times(q, budget),
            };
            return Ok(x.with(&step.name, result?));
        }
        let shape = broadcast(&x.full_shape(), &y.full_shape())?;
        let (x, y) = (self.widened(step, x, &shape)?, self.widened(step, y, &shape)?);
        let op = match op {
            "Add" => Op::Add,
            "Sub" => Op::Sub,
            _ => Op::Mul,
        };
        self.builder.pair(&step.name, &x, &y, op)
    }

    /// A tensor repeated to a shape with batch axis.
    pub(crate) fn widened(
        &mut self,
        step: &Step<'_>,
        x: &Tensor,
        shape: &[usize],
    ) -> Result<Tensor, Problem> {
        let full = x.full_shape();
        if full == shape {
            return Ok(x.clone());
        }
        if full.len() != shape.len() || shape.first() != Some(&1) {
            return Err(Problem::MixesBatch);
        }
        let selection = Selection::broadcast(&full, shape, &mut self.builder.budget)?;
        self.builder.select(&format!("{}.broadcast", step.name), x, selection, 0.0)
    }

    /// A tensor and a constant broadcast to each other, the constant inverted or not.
    fn beside(
        &mut self,
        step: &Step<'_>,
        x: &Tensor,
        c: &Constant,
        inverted: bool,
    ) -> Result<(Tensor, Term), Problem> {
        let shape = broadcast(&x.full_shape(), &c.shape)?;
        let x = self.widened(step, x, &shape)?;
        let mut values = c.to_floats()?.to_vec();
        if inverted {
            values.iter_mut().for_each(|c| *c = 1.0 / *c);
        }
        let coefficient = term(values);
        if coefficient.len() == 1 || c.len() == x.len() {
            return Ok((x, coefficient));
        }
        let selection = Selection::broadcast(&c.shape, &shape, &mut self.builder.budget)?;
        let of = |s: &Option<u32>| s.and_then(|s| coefficient.get(s as usize)).copied().unwrap_or(0.0);
        Ok((x, selection.sources.iter().map(of).collect()))
    }

    /// `factor x`
    pub(crate) fn scaled(&mut self, step: &Step<'_>, factor: f64) -> Result<Value, Problem> {
        match self.value(step, 0)? {
            Value::Constant(_) => self.fold(step),
            Value::Tensor(x) => {
                let result = x.polynomial().times(&Polynomial::of(&[factor]), &mut self.builder.budget)?;
                Ok(Value::Tensor(x.with(&step.name, result)))
            }
        }
    }

    /// Sum or Mean of any number of values.
    pub(crate) fn sum(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let mut sum = self.value(step, 0)?;
        for i in 1..step.inputs.len() {
            let next = self.value(step, i)?;
            sum = self.combine(step, "Add", &sum, &next)?;
        }
        if step.op == "Sum" {
            return Ok(sum);
        }
        let count = Value::Constant(Constant::floats(vec![], vec![step.inputs.len() as f64]));
        self.combine(step, "Div", &sum, &count)
    }

    pub(crate) fn power(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let x = match self.value(step, 0)? {
            Value::Constant(_) => return self.fold(step),
            Value::Tensor(x) => x,
        };
        let exponents = self.constant(step, 1, "exponent")?;
        let exponent_error =
            |found: String| Problem::attribute("exponent", found, "one integer from 0 to 64");
        let values = exponents.to_floats()?;
        let Some(&exponent) = values.first().filter(|&first| values.iter().all(|e| e == first)) else {
            return Err(exponent_error(format!("{:?}", values)));
        };
        if exponent.fract() != 0.0 || !(0.0..=64.0).contains(&exponent) {
            return Err(exponent_error(exponent.to_string()));
        }
        if exponents.shape.iter().any(|&d| d != 1) || exponents.shape.len() > x.shape.len() + 1 {
            return Err(Problem::shape("exponent", &exponents.shape, "a scalar"));
        }
        let mut outer = vec![0.0; exponent as usize];
        outer.push(1.0);
        let result = x.polynomial().then(&outer, &mut self.builder.budget)?;
        Ok(Value::Tensor(x.with(&step.name, result)))
    }

    /// An element-wise operator on constants.
    pub(crate) fn fold(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        for i in 0..step.inputs.len() {
            let input = self.constant(step, i, "input")?;
            self.builder.budget.charge(input.len())?;
        }
        let unary = |f: fn(f64) -> f64| -> Result<Constant, Problem> {
            let x = self.constant(step, 0, "input")?;
            let values: Vec<f64> = x.to_floats()?.iter().map(|&x| f(x)).collect();
            finite(Constant::floats(x.shape, values))
        };
        let folded = match step.op {
            "Neg" | "Abs" | "Not" => {
                let x = self.constant(step, 0, "input")?;
                match (&x.data, step.op) {
                    (Data::Int(list), op) => {
                        let values = list.iter().map(|x| {
                            let x = x.known()?;
                            Ok(Int::Known(match op {
                                "Neg" => x.saturating_neg(),
                                "Abs" => x.saturating_abs(),
                                _ => i64::from(x == 0),
                            }))
                        });
                        Ok(Constant::ints(x.shape.clone(), values.collect::<Result<_, Problem>>()?))
                    }
                    (_, "Neg") => unary(|x| -x),
                    _ => unary(f64::abs),
                }
            }
            "Sqrt" => unary(f64::sqrt),
            "Exp" => unary(f64::exp),
            "Log" => unary(f64::ln),
            "Floor" => unary(f64::floor),
            "Ceil" => unary(f64::ceil),
            "Round" => unary(f64::round_ties_even),
            "Reciprocal" => unary(f64::recip),
            "Pow" | "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "And" | "Or"
            | "Mod" => {
                let (a, b) = (self.constant(step, 0, "left side")?, self.constant(step, 1, "right side")?);
                self.fold_pair(step.op, &a, &b)
            }
            "Min" | "Max" => {
                let mut out = self.constant(step, 0, "input")?;
                for i in 1..step.inputs.len() {
                    let next = self.constant(step, i, "input")?;
                    out = self.fold_pair(step.op, &out, &next)?;
                }
                Ok(out)
            }
            "Where" => {
                let condition = self.constant(step, 0, "condition")?;
                let (a, b) =
                    (self.constant(step, 1, "first choice")?, self.constant(step, 2, "second choice")?);
                let shape = broadcast(&condition.shape, &broadcast(&a.shape, &b.shape)?)?;
                let [condition, a, b] =
                    [self.repeat(&condition, &shape)?, self.repeat(&a, &shape)?, self.repeat(&b, &shape)?];
                let chosen = condition.to_ints()?;
                let chosen = chosen.iter().map(|&c| c != Int::Known(0));
                Ok(match (&a.data, &b.data) {
                    (Data::Int(a), Data::Int(b)) => {
                        let values =
                            chosen.zip(a.iter().zip(b.iter())).map(|(c, (&a, &b))| if c { a } else { b });
                        Constant::ints(shape, values.collect())
                    }
                    _ => {
                        let (a, b) = (a.to_floats()?, b.to_floats()?);
                        let values =
                            chosen.zip(a.iter().zip(b.iter())).map(|(c, (&a, &b))| if c { a } else { b });
                        Constant::floats(shape, values.collect())
                    }
                })
            }
            op => Err(Problem::Fold { op: op.to_owned() }),
        };
        folded.map(Value::Constant)
    }

    fn fold_pair(&mut self, op: &str, a: &Constant, b: &Constant) -> Result<Constant, Problem> {
        let shape = broadcast(&a.shape, &b.shape)?;
        self.builder.budget.charge(budget::elements(&shape)?)?;
        let (a, b) = (self.repeat(a, &shape)?, self.repeat(b, &shape)?);
        if let (Data::Int(a), Data::Int(b)) = (&a.data, &b.data) {
            let values =
                a.iter().zip(b.iter()).map(|(&a, &b)| integer(op, a, b)).collect::<Result<_, Problem>>();
            return Ok(Constant::ints(shape, values?));
        }
        let (a, b) = (a.to_floats()?, b.to_floats()?);
        let pairs = || a.iter().zip(b.iter()).map(|(&a, &b)| (a, b));
        let truth = |f: fn(f64, f64) -> bool| {
            let values = pairs().map(|(a, b)| Int::Known(i64::from(f(a, b))));
            Ok(Constant::ints(shape.clone(), values.collect()))
        };
        let f: fn(f64, f64) -> f64 = match op {
            "Add" => |a, b| a + b,
            "Sub" => |a, b| a - b,
            "Mul" => |a, b| a * b,
            "Div" => |a, b| a / b,
            "Pow" => f64::powf,
            "Min" => f64::min,
            "Max" => f64::max,
            "Equal" => return truth(|a, b| a == b),
            "Greater" => return truth(|a, b| a > b),
            "GreaterOrEqual" => return truth(|a, b| a >= b),
            "Less" => return truth(|a, b| a < b),
            "LessOrEqual" => return truth(|a, b| a <= b),
            _ => return Err(Problem::Fold { op: op.to_owned() }),
        };
        let values = pairs().map(|(a, b)| f(a, b)).collect();
        finite(Constant::floats(shape, values))
    }

    fn repeat(&mut self, c: &Constant, shape: &[usize]) -> Result<Constant, Problem> {
        if c.shape == shape {
            return Ok(c.clone());
        }
        budget::elements(shape)?;
        let selection = Selection::broadcast(&c.shape, shape, &mut self.builder.budget)?;
        Ok(c.select(selection.shape, &selection.sources, 0.0))
    }
}

fn finite(constant: Constant) -> Result<Constant, Problem> {
    match &constant.data {
        Data::Float(values) if !values.iter().all(|x| x.is_finite()) => {
            Err(Problem::NotFinite { what: "result" })
        }
        _ => Ok(constant),
    }
}

fn integer(op: &str, a: Int, b: Int) -> Result<Int, Problem> {
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
    let (a, b) = (a.known()?, b.known()?);
    let result = match op {
        "Add" => a.checked_add(b),
        "Sub" => a.checked_sub(b),
        "Mul" => a.checked_mul(b),
        "Div" => a.checked_div(b),
        "Mod" => a.checked_rem_euclid(b).filter(|_| b > 0),
        "Pow" => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
        "Min" => Some(a.min(b)),
        "Max" => Some(a.max(b)),
        "Equal" => Some((a == b).into()),
        "Greater" => Some((a > b).into()),
        "GreaterOrEqual" => Some((a >= b).into()),
        "Less" => Some((a < b).into()),
        "LessOrEqual" => Some((a <= b).into()),
        "And" => Some((a != 0 && b != 0).into()),
        "Or" => Some((a != 0 || b != 0).into()),
        _ => None,
    };
    result.map(Int::Known).ok_or_else(|| Problem::NoResult { op: op.to_owned(), left: a, right: b })
}
