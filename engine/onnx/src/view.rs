//! Shapes read, made and changed; no element moves.

use crate::budget;
use crate::constant::{Constant, Int};
use crate::element::Element;
use crate::graph::Step;
use crate::importer::{Importer, Value};
use crate::limits;
use crate::problem::Problem;
use crate::shape::{self, Selection};
use crate::unsupported::Unsupported;

/// Integers below this magnitude are exact in double precision.
pub(crate) const EXACT: f64 = (1u64 << 53) as f64;

impl Importer<'_> {
    pub(crate) fn constant_of_shape(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let shape = self.integers(step, 0, "shape")?.unwrap_or_default();
        let has_batch = shape.first() == Some(&Int::Batch);
        let shape = extents(&shape)?;
        let value = match step.tensor("value") {
            Some(tensor) => Constant::parse(tensor)?,
            None => Constant::floats(vec![1], vec![0.0]),
        };
        if value.len() != 1 {
            return Err(Problem::Count { what: "value", found: value.len(), expected: 1 });
        }
        self.spread(&value.reshaped(vec![1; shape.len()]), &shape, has_batch)
    }

    pub(crate) fn range(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let mut bounds = Vec::new();
        for i in 0..3 {
            bounds.push(self.constant(step, i, "bound")?);
        }
        let element = bounds.first().map_or(Element::Float, |bound| bound.element);
        if let Some(other) = bounds.iter().find(|bound| bound.element != element) {
            return Err(Problem::ElementType {
                found: other.element.name(),
                expected: element.name().into(),
            });
        }
        let numbers = bounds.iter().map(Constant::scalar).collect::<Result<Vec<_>, _>>()?;
        let &[from, to, by] = numbers.as_slice() else { return Err(Problem::missing("bounds")) };
        if !element.is_float() && numbers.iter().any(|bound| bound.abs() >= EXACT) {
            let found = format!("{numbers:?}");
            return Err(Problem::attribute("bounds", found, "integers of at most 53 bits"));
        }
        // Casts saturate, and a count of NaN is none.
        let count = ((to - from) / by).ceil() as usize;
        self.builder.budget.charge(budget::elements(&[count])?)?;
        let values = (0..count).map(|i| from + i as f64 * by);
        let range = if element.is_float() {
            Constant::rounded(vec![count], values.collect(), element)?
        } else {
            let values = values.map(|x| Ok(Int::Known(element.exact(x as i128)?)));
            Constant::ints(vec![count], values.collect::<Result<_, Problem>>()?).of(element)
        };
        Ok(Value::Constant(range))
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
        let from = place(step.int("start", 0));
        let to = place(step.int("end", rank));
        let kept = extents.get(from..to.max(from)).unwrap_or_default().to_vec();
        Ok(Value::Constant(Constant::ints(vec![kept.len()], kept)))
    }

    pub(crate) fn size(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        match self.value(step, 0)? {
            Value::Constant(c) if !c.has_batch => {
                Ok(Value::Constant(Constant::ints(vec![], vec![Int::Known(c.len() as i64)])))
            }
            _ => Err(Problem::MixesBatch),
        }
    }

    pub(crate) fn dropout(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        if self.opset < 7 && step.int("is_test", 0) == 0 {
            return Err(Problem::TrainingMode);
        }
        let training = self.optional_constant(step, 2, "training mode")?;
        match training.map(|c| c.scalar()).transpose()? {
            Some(x) if x != 0.0 => Err(Problem::TrainingMode),
            _ => self.value(step, 0),
        }
    }

    pub(crate) fn cast(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let element = Element::new(step.required_int("to")?)?;
        self.cast_to(step, element)
    }

    pub(crate) fn cast_like(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let element = match self.value(step, 1)? {
            Value::Constant(like) => like.element,
            Value::Tensor(_) if step.inputs.get(1).is_some_and(|name| self.is_integer(name)) => {
                Element::Int64
            }
            Value::Tensor(_) => Element::Float,
        };
        self.cast_to(step, element)
    }

    fn cast_to(&mut self, step: &Step<'_>, element: Element) -> Result<Value, Problem> {
        match self.value(step, 0)? {
            Value::Tensor(x) if element.is_float() => {
                if matches!(element, Element::Half | Element::Brain) {
                    let element = element.name();
                    let name = &step.name;
                    self.notes.push(format!(
                        "{name} rounds to {element} in the model, the network keeps more digits"
                    ));
                }
                Ok(Value::Tensor(x))
            }
            // A label is of integers before.
            Value::Tensor(x) if self.labelled.is_some() && element != Element::Bool => Ok(Value::Tensor(x)),
            Value::Tensor(_) => Err(Unsupported::Rounding.into()),
            Value::Constant(c) => c.cast(element).map(Value::Constant),
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
                // One item only makes this shape. With a free extent, several items would be joined to one.
                Int::Known(1) if self.batch == Int::Batch => !rest.contains(&Int::Known(-1)),
                first => first == self.batch,
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

    /// A constant repeated to a shape, of which axis 0 may be the batch.
    pub(crate) fn spread(
        &mut self,
        c: &Constant,
        shape: &[usize],
        has_batch: bool,
    ) -> Result<Value, Problem> {
        if c.has_batch && shape.len() != c.shape.len() {
            return Err(Problem::MixesBatch);
        }
        let selection = Selection::broadcast(&c.shape, shape, &mut self.builder.budget)?;
        c.select(selection, 0.0)?.with_batch(has_batch).map(Value::Constant)
    }
}

/// Extents of a shape; a batch axis in front counts as one item.
pub(crate) fn extents(list: &[Int]) -> Result<Vec<usize>, Problem> {
    list.iter()
        .enumerate()
        .map(|(i, d)| match *d {
            Int::Batch if i == 0 => Ok(1),
            d => {
                let d = d.known()?;
                usize::try_from(d).map_err(|_| Problem::Extents { found: vec![d] })
            }
        })
        .collect()
}
