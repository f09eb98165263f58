//! Element by element: sums, products and powers, of constants and of tensors.

use crate::builder::Tensor;
use crate::constant::Constant;
use crate::graph::Step;
use crate::importer::{Importer, Value};
use crate::polynomial::{Polynomial, Term, term};
use crate::problem::Problem;
use crate::shape::{self, Selection, broadcast};
use crate::unsupported::Unsupported;
use pleura_nn::Op;

impl Importer<'_> {
    pub(crate) fn binary(&mut self, step: &Step<'_>, op: &str) -> Result<Value, Problem> {
        let (a, b) = self.sides(step)?;
        self.combine(step, op, &a, &b)
    }

    /// Both operands; before version 7, the right side started at an axis of the left, and only if it was said so.
    fn sides(&self, step: &Step<'_>) -> Result<(Value, Value), Problem> {
        let a = self.value(step, 0)?;
        let b = self.value(step, 1)?;
        if self.opset >= 7 {
            return Ok((a, b));
        }
        let left = a.full_shape();
        let mut right = b.full_shape();
        if step.int("broadcast", 0) == 0 {
            let is_plain = left == right && !step.has("axis");
            return if is_plain { Ok((a, b)) } else { Err(Problem::Broadcast { left, right }) };
        }
        if step.has("axis") {
            let axis = shape::axis(step.int("axis", 0), left.len())?;
            right.resize(right.len().max(left.len() - axis), 1);
        }
        // Only the right side is repeated.
        if broadcast(&left, &right)? != left {
            return Err(Problem::Broadcast { left, right });
        }
        Ok((a, b.reshaped(right)?))
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
                let p = x.polynomial();
                let budget = &mut self.builder.budget;
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
                let p = x.polynomial();
                let budget = &mut self.builder.budget;
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
            let p = x.polynomial();
            let q = y.polynomial();
            let budget = &mut self.builder.budget;
            let result = match op {
                "Add" => p.plus(q, budget),
                "Sub" => p.plus(&q.times(&Polynomial::of(&[-1.0]), budget)?, budget),
                _ => p.times(q, budget),
            };
            return Ok(x.with(&step.name, result?));
        }
        let shape = broadcast(&x.full_shape(), &y.full_shape())?;
        let x = self.widened(step, x, &shape)?;
        let y = self.widened(step, y, &shape)?;
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
        if !c.element.is_float() {
            return Err(Problem::ElementType { found: c.element.name(), expected: "floating point".into() });
        }
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
        Ok((
            x,
            selection
                .sources
                .iter()
                .map(|s| s.and_then(|s| coefficient.get(s as usize)).copied())
                .collect::<Option<_>>()
                .ok_or(Problem::Internal("a constant has fewer elements than its shape"))?,
        ))
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
        let mut sum = self.float_value(step, 0)?;
        for i in 1..step.inputs.len() {
            let next = self.float_value(step, i)?;
            sum = self.combine(step, "Add", &sum, &next)?;
        }
        if step.op == "Sum" {
            return Ok(sum);
        }
        let count = Constant::floats(vec![], vec![step.inputs.len() as f64]);
        let count = Value::Constant(match &sum {
            Value::Constant(sum) => count.of(sum.element),
            Value::Tensor(_) => count,
        });
        self.combine(step, "Div", &sum, &count)
    }

    pub(crate) fn power(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let x = match self.value(step, 0)? {
            Value::Constant(_) => {
                self.constant(step, 1, "exponent")?;
                return self.binary(step, "Pow");
            }
            Value::Tensor(x) => x,
        };
        let exponents = self.constant(step, 1, "exponent")?;
        self.sides(step)?;
        let exponent_error =
            |found: String| Problem::attribute("exponent", found, "one integer from 0 to 64");
        let values = exponents.to_floats()?;
        let Some(&exponent) = values.first().filter(|&first| values.iter().all(|e| e == first)) else {
            return Err(exponent_error(format!("{:?}", values)));
        };
        if exponent.fract() != 0.0 || exponent < 0.0 {
            return Err(Unsupported::Function.into());
        }
        if exponent > 64.0 {
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
}
