//! Shapes read, made and changed; no element moves.

use crate::budget;
use crate::constant::{Constant, Int};
use crate::graph::Step;
use crate::importer::{Importer, Value};
use crate::limits;
use crate::problem::Problem;
use crate::shape::{self, Selection};
use crate::unsupported::Unsupported;

impl Importer<'_> {
    pub(crate) fn constant_of_shape(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let shape = self.integers(step, 0, "shape")?.unwrap_or_default();
        let shape = extents(&shape)?;
        let value = match step.tensor("value") {
            Some(tensor) => Constant::parse(tensor)?,
            None => Constant::floats(vec![1], vec![0.0]),
        };
        self.spread(&value.reshaped(vec![1; shape.len()]), &shape)
    }

    pub(crate) fn range(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let mut bounds = Vec::new();
        for i in 0..3 {
            bounds.push(self.constant(step, i, "bound")?);
        }
        let integers = bounds.iter().all(|bound| bound.to_ints().is_ok());
        let numbers = bounds.iter().map(Constant::scalar).collect::<Result<Vec<_>, _>>()?;
        let &[from, to, by] = numbers.as_slice() else { return Err(Problem::missing("bounds")) };
        // Casts saturate, and a count of NaN is none.
        let count = ((to - from) / by).ceil() as usize;
        self.builder.budget.charge(budget::elements(&[count])?)?;
        let values = (0..count).map(|i| from + i as f64 * by);
        Ok(Value::Constant(if integers {
            Constant::ints(vec![count], values.map(|x| Int::Known(x as i64)).collect())
        } else {
            Constant::floats(vec![count], values.collect())
        }))
    }

    pub(crate) fn shape(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let value = self.value(step, 0)?;
        let mut extents: Vec<Int> = value.full_shape().iter().map(|&d| Int::Known(d as i64)).collect();
        if let (true, Some(first)) = (value.has_batch(), extents.first_mut()) {
            *first = self.batch;
        }
        let rank = extents.len() as i64;
        let from_end = |i: i64| if i < 0 { i.saturating_add(rank) } else { i };
        let place = |i: i64| from_end(i).clamp(0, rank) as usize;
        let (from, to) = (place(step.int("start", 0)), place(step.int("end", rank)));
        let kept = extents.get(from..to.max(from)).unwrap_or_default().to_vec();
        Ok(Value::Constant(Constant::ints(vec![kept.len()], kept)))
    }

    pub(crate) fn size(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        match self.value(step, 0)? {
            Value::Constant(c) => {
                Ok(Value::Constant(Constant::ints(vec![], vec![Int::Known(c.len() as i64)])))
            }
            Value::Tensor(_) => Err(Problem::MixesBatch),
        }
    }

    pub(crate) fn dropout(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let training = self.optional_constant(step, 2, "training mode")?;
        match training.map(|c| c.scalar()).transpose()? {
            Some(x) if x != 0.0 => Err(Problem::TrainingMode),
            _ => self.value(step, 0),
        }
    }

    pub(crate) fn cast(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let float = matches!(step.int("to", 1), 1 | 10 | 11 | 16);
        let boolean = step.int("to", 1) == 9;
        match self.value(step, 0)? {
            Value::Tensor(x) if float => Ok(Value::Tensor(x)),
            Value::Tensor(_) => Err(Unsupported::Rounding.into()),
            Value::Constant(c) if float => {
                Ok(Value::Constant(Constant::floats(c.shape.clone(), c.to_floats()?.to_vec())))
            }
            Value::Constant(c) => {
                let truth = |x: i64| if boolean { i64::from(x != 0) } else { x };
                let values: Result<Vec<Int>, Problem> = match c.to_ints() {
                    Ok(list) => list
                        .iter()
                        .map(|&x| match x {
                            Int::Batch if !boolean => Ok(Int::Batch),
                            x => x.known().map(|x| Int::Known(truth(x))),
                        })
                        .collect(),
                    Err(_) if boolean => {
                        Ok(c.to_floats()?.iter().map(|&x| Int::Known((x != 0.0).into())).collect())
                    }
                    Err(_) => Ok(c.to_floats()?.iter().map(|&x| Int::Known(x as i64)).collect()),
                };
                Ok(Value::Constant(Constant::ints(c.shape, values?)))
            }
        }
    }

    pub(crate) fn reshape(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let value = self.value(step, 0)?;
        let mut target = self.integers(step, 1, "shape")?.ok_or_else(|| Problem::missing("shape"))?;
        let from = value.full_shape();
        let copies = |d: &Int| *d == Int::Known(0) && step.int("allowzero", 0) == 0;
        let mut shape = Vec::new();
        let target = if value.has_batch() {
            let [first, rest @ ..] = target.as_slice() else { return Err(Problem::MixesBatch) };
            let is_batch = match *first {
                Int::Batch => true,
                // It is the batch if the others make an item, which is checked below.
                Int::Known(-1) => !rest.contains(&Int::Known(-1)),
                first if copies(&first) => true,
                first => first == self.batch || first == Int::Known(1) && self.batch == Int::Batch,
            };
            if !is_batch {
                return Err(Problem::MixesBatch);
            }
            shape.push(1);
            target.get_mut(1..).unwrap_or_default()
        } else {
            target.as_mut_slice()
        };
        for (d, &n) in target.iter_mut().zip(from.iter().skip(shape.len())).filter(|(d, _)| copies(d)) {
            *d = Int::Known(n as i64);
        }
        let known: Vec<i64> = target.iter().map(|&d| d.known()).collect::<Result<_, _>>()?;
        let elements: usize = from.iter().product();
        let mut unknown = None;
        let mut product = 1usize;
        for &d in &known {
            match usize::try_from(d) {
                Ok(d) => {
                    product =
                        product.checked_mul(d).ok_or_else(|| Problem::Extents { found: known.clone() })?;
                    shape.push(d);
                }
                Err(_) if d == -1 && unknown.is_none() => {
                    unknown = Some(shape.len());
                    shape.push(1);
                }
                Err(_) => return Err(Problem::Extents { found: known.clone() }),
            }
        }
        if let Some(place) = unknown.and_then(|place| shape.get_mut(place)) {
            if product == 0 || !elements.is_multiple_of(product) {
                return Err(Problem::Reshape { from, to: known });
            }
            *place = elements / product;
        } else if product != elements && value.has_batch() {
            return Err(Problem::MixesBatch);
        }
        value.reshaped(shape)
    }

    pub(crate) fn flatten(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let value = self.value(step, 0)?;
        let shape = value.full_shape();
        let axis = match step.int("axis", 1) {
            a if a == shape.len() as i64 => shape.len(),
            a => shape::axis(a, shape.len().max(1))?,
        };
        if value.has_batch() && axis == 0 {
            return Err(Problem::MixesBatch);
        }
        let (left, right) = shape.split_at_checked(axis).unwrap_or((&shape, &[]));
        value.reshaped(vec![left.iter().product(), right.iter().product()])
    }

    pub(crate) fn squeeze(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let value = self.value(step, 0)?;
        let shape = value.full_shape();
        let axes = match self.known(step, 1, "axes")? {
            Some(axes) => axes.iter().map(|&a| shape::axis(a, shape.len())).collect::<Result<Vec<_>, _>>()?,
            None if value.has_batch() => {
                return Err(Problem::missing("list of axes"));
            }
            None => (0..shape.len()).filter(|&a| shape.get(a) == Some(&1)).collect(),
        };
        if value.has_batch() && axes.contains(&0) {
            return Err(Problem::MixesBatch);
        }
        let kept = shape.iter().enumerate().filter(|(a, _)| !axes.contains(a)).map(|(_, &d)| d);
        value.reshaped(kept.collect())
    }

    pub(crate) fn unsqueeze(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let value = self.value(step, 0)?;
        let axes = self.known(step, 1, "axes")?.ok_or_else(|| Problem::missing("list of axes"))?;
        let mut shape = value.full_shape();
        if axes.len() > limits::MAX_RANK {
            return Err(Problem::Rank { found: shape.len() + axes.len() });
        }
        let rank = shape.len() + axes.len();
        let mut axes = axes.iter().map(|&a| shape::axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
        axes.sort_unstable();
        if axes.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
            return Err(Problem::attribute("axes", format!("{axes:?}"), "each axis once"));
        }
        if value.has_batch() && axes.first() == Some(&0) {
            return Err(Problem::MixesBatch);
        }
        for a in axes {
            shape.insert(a.min(shape.len()), 1);
        }
        value.reshaped(shape)
    }

    pub(crate) fn spread(&mut self, c: &Constant, shape: &[usize]) -> Result<Value, Problem> {
        let selection = Selection::broadcast(&c.shape, shape, &mut self.builder.budget)?;
        Ok(Value::Constant(c.select(selection.shape, &selection.sources, 0.0)))
    }
}

/// Extents of a shape; a batch axis in front counts as one item.
pub(crate) fn extents(list: &[Int]) -> Result<Vec<usize>, Problem> {
    let extent = |(i, d): (usize, &Int)| match *d {
        Int::Batch if i == 0 => Ok(1),
        d => {
            let d = d.known()?;
            usize::try_from(d).map_err(|_| Problem::Extents { found: vec![d] })
        }
    };
    list.iter().enumerate().map(extent).collect()
}
