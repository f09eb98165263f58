//! Choices by constant conditions, running sums, and linear maps along one axis.

use crate::constant::{Constant, Data, Int};
use crate::fold::truths;
use crate::graph::Step;
use crate::importer::{Importer, Value};
use crate::problem::Problem;
use crate::shape;
use crate::unsupported::Unsupported;
use pleura_nn::{Linear, Sparse};

/// Indices that make up a result along an axis, each with its factor.
pub(crate) type Row = Vec<(usize, f64)>;

impl Importer<'_> {
    /// Where: `c a + (1 - c) b`
    pub(crate) fn choice(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        if self.are_constant(step) {
            return self.fold(step);
        }
        let condition = match self.value(step, 0)? {
            Value::Constant(c) => c,
            Value::Tensor(_) => return Err(Unsupported::Comparison.into()),
        };
        let chosen = truths(&condition)?;
        let mask = |truth: bool| {
            let values = chosen.iter().map(|&c| f64::from(u8::from(c == truth))).collect();
            Value::Constant(Constant::floats(condition.shape.clone(), values))
        };
        let a = self.float_value(step, 1)?;
        let b = self.float_value(step, 2)?;
        let left = self.combine(step, "Mul", &a, &mask(true))?;
        let right = self.combine(step, "Mul", &b, &mask(false))?;
        self.combine(step, "Add", &left, &right)
    }

    /// Trilu: a triangle of the last two axes, zero outside of it.
    pub(crate) fn triangle(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let value = self.value(step, 0)?;
        let shape = value.full_shape();
        let [.., rows, columns] = *shape.as_slice() else {
            return Err(Problem::shape("input", &shape, "a matrix"));
        };
        if value.has_batch() && shape.len() == 2 {
            return Err(Problem::MixesBatch);
        }
        let offset = match self.optional_constant(step, 1, "k")? {
            Some(k) => k.scalar()?,
            None => 0.0,
        };
        let upper = step.int("upper", 1) != 0;
        let kept = |i: usize| {
            let row = i / columns % rows;
            let column = i % columns;
            let above = column as f64 - row as f64;
            if upper { above >= offset } else { above <= offset }
        };
        let len = crate::budget::elements(&shape)?;
        self.builder.budget.charge(len)?;
        let sources = (0..len).map(|i| kept(i).then_some(i as u32)).collect();
        self.select(step, &value, shape::Selection { shape, sources }, 0.0)
    }

    pub(crate) fn cumulative_sum(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let value = self.value(step, 0)?;
        let shape = value.full_shape();
        let axis = self.constant(step, 1, "axis")?;
        let axis = match axis.to_ints()?.as_slice() {
            [axis] => shape::axis(axis.known()?, shape.len())?,
            other => return Err(Problem::Count { what: "axis", found: other.len(), expected: 1 }),
        };
        let n = shape::extent(&shape, axis)?;
        self.builder.budget.charge(n.saturating_mul(n))?;
        let exclusive = step.int("exclusive", 0) != 0;
        let reverse = step.int("reverse", 0) != 0;
        self.along(
            step,
            &value,
            axis,
            &(0..n)
                .map(|i| -> Row {
                    let range = match (reverse, exclusive) {
                        (false, false) => 0..i + 1,
                        (false, true) => 0..i,
                        (true, false) => i..n,
                        (true, true) => i + 1..n,
                    };
                    range.map(|i| (i, 1.0)).collect()
                })
                .collect::<Vec<_>>(),
        )
    }

    /// A linear map along one axis, the same for all others.
    #[expect(clippy::indexing_slicing, reason = "a remainder modulo the number of rows")]
    pub(crate) fn along(
        &mut self,
        step: &Step<'_>,
        value: &Value,
        axis: usize,
        rows: &[Row],
    ) -> Result<Value, Problem> {
        if value.has_batch() && axis == 0 {
            return Err(Problem::MixesBatch);
        }
        let from = value.full_shape();
        let mut shape = from.clone();
        *shape::entry(&mut shape, axis)? = rows.len();
        let len = crate::budget::elements(&shape)?;
        let inner: usize = from.iter().skip(axis + 1).product();
        let extent = shape::extent(&from, axis)?;
        let entries: usize = rows.iter().map(Vec::len).sum();
        self.builder
            .budget
            .charge((len / rows.len().max(1)).saturating_mul(2 * entries).saturating_add(len))?;
        let entries_of = |i: usize| {
            let outer = i / inner / rows.len();
            let at = i / inner % rows.len();
            let offset = i % inner;
            rows[at].iter().map(move |&(index, factor)| ((outer * extent + index) * inner + offset, factor))
        };
        match value {
            Value::Tensor(x) => {
                let mut starts = vec![0u32];
                let mut entries = Vec::new();
                for i in 0..len {
                    entries.extend(entries_of(i).map(|(source, factor)| (source as u32, factor)));
                    starts.push(entries.len() as u32);
                }
                let linear = Linear::new(Sparse::new(x.len(), starts, entries)?);
                self.builder.linear(&step.name, x, shape::of_item(&shape)?, linear).map(Value::Tensor)
            }
            Value::Constant(c) => combine(c, shape, len, entries_of).map(Value::Constant),
        }
    }

    /// Input `i`, whose elements must be of floating point.
    pub(crate) fn float_value(&self, step: &Step<'_>, i: usize) -> Result<Value, Problem> {
        match self.value(step, i)? {
            Value::Constant(c) if !c.element.is_float() => {
                Err(Problem::ElementType { found: c.element.name(), expected: "floating point".into() })
            }
            value => Ok(value),
        }
    }
}

/// A constant of `len` elements, each the sum of its entries: indices of `c` with their factors.
#[expect(clippy::indexing_slicing, reason = "indices of elements of the constant")]
fn combine<I: Iterator<Item = (usize, f64)>>(
    c: &Constant,
    shape: Vec<usize>,
    len: usize,
    entries_of: impl Fn(usize) -> I,
) -> Result<Constant, Problem> {
    match &c.data {
        Data::Float(list) => {
            let sums = (0..len).map(|i| entries_of(i).map(|(at, factor)| list[at] * factor).sum::<f64>());
            Constant::rounded(shape, sums.collect(), c.element)
        }
        Data::Int(list) => {
            let mut out = Vec::with_capacity(len);
            for i in 0..len {
                let mut sum = 0i128;
                for (at, factor) in entries_of(i) {
                    if factor.fract() != 0.0 {
                        return Err(Problem::NotIntegers);
                    }
                    sum += i128::from(list[at].known()?) * factor as i128;
                }
                out.push(Int::Known(c.element.wrap(sum)?));
            }
            Ok(Constant::ints(shape, out).of(c.element))
        }
    }
}
