//! Shapes read, made and changed; no element moves.

use crate::budget;
use crate::constant::{Constant, Int};
use crate::graph::Step;
use crate::importer::{Importer, Value, mixes_batch};
use crate::shape::{self, Selection};

impl Importer<'_> {
    pub(crate) fn constant_of_shape(&mut self, step: &Step<'_>) -> Result<Value, String> {
        let shape = self.integers(step, 0, "shape")?.unwrap_or_default();
        let shape = extents(&shape)?;
        let value = match step.tensor("value") {
            Some(tensor) => Constant::parse(tensor).map_err(|e| e.to_string())?,
            None => Constant::floats(vec![1], vec![0.0]),
        };
        self.spread(&value.reshaped(vec![1; shape.len()]), &shape)
    }

    pub(crate) fn range(&mut self, step: &Step<'_>) -> Result<Value, String> {
        let mut bounds = Vec::new();
        for i in 0..3 {
            bounds.push(self.constant(step, i, "bound")?);
        }
        let integers = bounds.iter().all(|bound| bound.to_ints().is_ok());
        let numbers = bounds.iter().map(Constant::scalar).collect::<Result<Vec<_>, _>>()?;
        let &[from, to, by] = numbers.as_slice() else { return Err("its bounds are missing".into()) };
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

    pub(crate) fn shape(&mut self, step: &Step<'_>) -> Result<Value, String> {
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

    pub(crate) fn size(&mut self, step: &Step<'_>) -> Result<Value, String> {
        match self.value(step, 0)? {
            Value::Constant(c) => {
                Ok(Value::Constant(Constant::ints(vec![], vec![Int::Known(c.len() as i64)])))
            }
            Value::Tensor(_) => Err(mixes_batch()),
        }
    }

    pub(crate) fn dropout(&mut self, step: &Step<'_>) -> Result<Value, String> {
        let training = self.optional_constant(step, 2, "training mode")?;
        match training.map(|c| c.scalar()).transpose()? {
            Some(x) if x != 0.0 => Err("it is in training mode; call model.eval() before the export".into()),
            _ => self.value(step, 0),
        }
    }

    pub(crate) fn cast(&mut self, step: &Step<'_>) -> Result<Value, String> {
        let float = matches!(step.int("to", 1), 1 | 10 | 11 | 16);
        let boolean = step.int("to", 1) == 9;
        match self.value(step, 0)? {
            Value::Tensor(x) if float => Ok(Value::Tensor(x)),
            Value::Tensor(_) => {
                Err("it rounds an encrypted value to integers, which is no polynomial; remove it".into())
            }
            Value::Constant(c) if float => {
                Ok(Value::Constant(Constant::floats(c.shape.clone(), c.to_floats()?.to_vec())))
            }
            Value::Constant(c) => {
                let truth = |x: i64| if boolean { i64::from(x != 0) } else { x };
                let values: Result<Vec<Int>, String> = match c.to_ints() {
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

    pub(crate) fn reshape(&mut self, step: &Step<'_>) -> Result<Value, String> {
        let value = self.value(step, 0)?;
        let mut target =
            self.integers(step, 1, "shape")?.ok_or("its shape is missing; export the model again")?;
        let from = value.full_shape();
        let copies = |d: &Int| *d == Int::Known(0) && step.int("allowzero", 0) == 0;
        let mut shape = Vec::new();
        let target = if value.has_batch() {
            let [first, rest @ ..] = target.as_slice() else { return Err(mixes_batch()) };
            let is_batch = match *first {
                Int::Batch => true,
                // It is the batch if the others make an item, which is checked below.
                Int::Known(-1) => !rest.contains(&Int::Known(-1)),
                first if copies(&first) => true,
                first => first == self.batch || first == Int::Known(1) && self.batch == Int::Batch,
            };
            if !is_batch {
                return Err(mixes_batch());
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
                    product = product.checked_mul(d).ok_or("its shape overflows; correct the model")?;
                    shape.push(d);
                }
                Err(_) if d == -1 && unknown.is_none() => {
                    unknown = Some(shape.len());
                    shape.push(1);
                }
                Err(_) => return Err(format!("its shape {known:?} is not valid; correct the model")),
            }
        }
        if let Some(place) = unknown.and_then(|place| shape.get_mut(place)) {
            if product == 0 || !elements.is_multiple_of(product) {
                return Err(format!(
                    "{elements} elements cannot have the shape {known:?}; correct the model"
                ));
            }
            *place = elements / product;
        } else if product != elements && value.has_batch() {
            return Err(mixes_batch());
        }
        value.reshaped(shape)
    }

    pub(crate) fn flatten(&mut self, step: &Step<'_>) -> Result<Value, String> {
        let value = self.value(step, 0)?;
        let shape = value.full_shape();
        let axis = match step.int("axis", 1) {
            a if a == shape.len() as i64 => shape.len(),
            a => shape::axis(a, shape.len().max(1))?,
        };
        if value.has_batch() && axis == 0 {
            return Err(mixes_batch());
        }
        let (left, right) = shape.split_at_checked(axis).unwrap_or((&shape, &[]));
        value.reshaped(vec![left.iter().product(), right.iter().product()])
    }

    pub(crate) fn squeeze(&mut self, step: &Step<'_>) -> Result<Value, String> {
        let value = self.value(step, 0)?;
        let shape = value.full_shape();
        let axes = match self.known(step, 1, "axes")? {
            Some(axes) => axes.iter().map(|&a| shape::axis(a, shape.len())).collect::<Result<Vec<_>, _>>()?,
            None if value.has_batch() => {
                return Err("it does not say which axes it removes; name them".into());
            }
            None => (0..shape.len()).filter(|&a| shape.get(a) == Some(&1)).collect(),
        };
        if value.has_batch() && axes.contains(&0) {
            return Err(mixes_batch());
        }
        let kept = shape.iter().enumerate().filter(|(a, _)| !axes.contains(a)).map(|(_, &d)| d);
        value.reshaped(kept.collect())
    }

    pub(crate) fn unsqueeze(&mut self, step: &Step<'_>) -> Result<Value, String> {
        let value = self.value(step, 0)?;
        let axes = self.known(step, 1, "axes")?.ok_or("its axes are missing; export the model again")?;
        let mut shape = value.full_shape();
        if axes.len() > budget::MAX_RANK {
            return Err(format!("it adds {} axes; correct the model", axes.len()));
        }
        let rank = shape.len() + axes.len();
        let mut axes = axes.iter().map(|&a| shape::axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
        axes.sort_unstable();
        if axes.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
            return Err("it adds an axis twice; correct the model".into());
        }
        if value.has_batch() && axes.first() == Some(&0) {
            return Err(mixes_batch());
        }
        for a in axes {
            shape.insert(a.min(shape.len()), 1);
        }
        value.reshaped(shape)
    }

    pub(crate) fn spread(&mut self, c: &Constant, shape: &[usize]) -> Result<Value, String> {
        let selection = Selection::broadcast(&c.shape, shape, &mut self.builder.budget)?;
        Ok(Value::Constant(c.select(selection.shape, &selection.sources, 0.0)))
    }
}

/// Extents of a shape; a batch axis in front counts as one item.
pub(crate) fn extents(list: &[Int]) -> Result<Vec<usize>, String> {
    let extent = |(i, d): (usize, &Int)| match *d {
        Int::Batch if i == 0 => Ok(1),
        d => {
            let d = d.known()?;
            usize::try_from(d).map_err(|_| format!("an axis of extent {d}; correct the model"))
        }
    };
    list.iter().enumerate().map(extent).collect()
}
