//! Elements read from and written to constant positions.

use crate::constant::{Constant, Data, Int};
use crate::graph::Step;
use crate::importer::{Importer, Value};
use crate::problem::Problem;
use crate::shape::{self, Selection, strides};
use crate::structure::index;
use crate::unsupported::Unsupported;
use pleura_nn::{Linear, Sparse};

impl Importer<'_> {
    pub(crate) fn gather_elements(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let value = self.value(step, 0)?;
        let positions = self.element_positions(step, &value.full_shape())?;
        self.fixed_batch(&value, &positions.shape)?;
        let sources = positions.places.into_iter().map(Some).collect();
        self.select(step, &value, Selection { shape: positions.shape, sources }, 0.0)
    }

    pub(crate) fn gather_nd(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let value = self.value(step, 0)?;
        let batch = step.int("batch_dims", 0);
        let batch =
            usize::try_from(batch).map_err(|_| Problem::attribute("batch_dims", batch, "at least 0"))?;
        let positions = self.tuple_positions(step, &value.full_shape(), batch)?;
        self.fixed_batch(&value, &positions.shape)?;
        let sources = positions.places.into_iter().map(Some).collect();
        self.select(step, &value, Selection { shape: positions.shape, sources }, 0.0)
    }

    pub(crate) fn scatter_elements(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let shape = self.value(step, 0)?.full_shape();
        let positions = self.element_positions(step, &shape)?;
        self.scatter(step, &positions)
    }

    pub(crate) fn scatter_nd(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let shape = self.value(step, 0)?.full_shape();
        let positions = self.tuple_positions(step, &shape, 0)?;
        self.scatter(step, &positions)
    }

    /// Positions that name an index of one axis, the others being those of the index itself.
    fn element_positions(&mut self, step: &Step<'_>, shape: &[usize]) -> Result<Positions, Problem> {
        let indices = self.constant(step, 1, "indices")?;
        let axis = shape::axis(step.int("axis", 0), shape.len())?;
        let fits = indices.shape.len() == shape.len()
            && indices.shape.iter().zip(shape).enumerate().all(|(a, (i, n))| a == axis || i <= n);
        if !fits {
            return Err(Problem::shape("list of indices", &indices.shape, format!("one within {shape:?}")));
        }
        self.builder.budget.charge(indices.len())?;
        let own = strides(&indices.shape);
        let strides = strides(shape);
        let extent = shape::extent(shape, axis)?;
        let mut places = Vec::with_capacity(indices.len());
        for (i, at) in indices.to_ints()?.iter().enumerate() {
            let at = index(at.known()?, extent)?;
            let mut place = 0;
            for (a, ((own, stride), n)) in own.iter().zip(&strides).zip(&indices.shape).enumerate() {
                place += stride * if a == axis { at } else { i / own % n };
            }
            places.push(place as u32);
        }
        Ok(Positions { shape: indices.shape, places })
    }

    /// Positions that name the indices of the first axes behind `batch`, for all of the rest.
    fn tuple_positions(
        &mut self,
        step: &Step<'_>,
        shape: &[usize],
        batch: usize,
    ) -> Result<Positions, Problem> {
        let indices = self.constant(step, 1, "indices")?;
        let misfit =
            || Problem::shape("list of indices", &indices.shape, format!("one that picks from {shape:?}"));
        let (&count, leading) = indices.shape.split_last().ok_or_else(misfit)?;
        let rest = shape.get(batch + count..).ok_or_else(misfit)?;
        if count == 0 || leading.get(..batch) != shape.get(..batch) {
            return Err(misfit());
        }
        let inner = rest.iter().product::<usize>();
        let strides = strides(shape);
        let result = [leading, rest].concat();
        self.builder.budget.charge(crate::budget::elements(&result)?)?;
        let per_batch: usize = leading.iter().skip(batch).product();
        let batch_stride: usize = shape.iter().skip(batch).product();
        let mut places = Vec::new();
        for (i, tuple) in indices.to_ints()?.chunks(count).enumerate() {
            let mut start = i / per_batch.max(1) * batch_stride;
            for (at, (n, stride)) in tuple.iter().zip(shape.iter().zip(&strides).skip(batch)) {
                start += index(at.known()?, *n)? * stride;
            }
            places.extend((start..start + inner).map(|place| place as u32));
        }
        Ok(Positions { shape: result, places })
    }

    /// Writes updates to positions, or combines them with what is there.
    fn scatter(&mut self, step: &Step<'_>, positions: &Positions) -> Result<Value, Problem> {
        let data = self.value(step, 0)?;
        let updates = self.value(step, 2)?;
        let shape = data.full_shape();
        if updates.full_shape() != positions.shape {
            let expected = format!("{:?} as its indices", positions.shape);
            return Err(Problem::shape("list of updates", &updates.full_shape(), expected));
        }
        let reduction = step.string("reduction").unwrap_or("none");
        let mut written = vec![0u32; shape.iter().product()];
        for &place in &positions.places {
            *shape::element(&mut written, place)? += 1;
        }
        if reduction == "none" && written.iter().any(|&count| count > 1) {
            return Err(Problem::attribute("indices", "written twice", "each position once"));
        }
        if let (Value::Constant(data), Value::Constant(updates)) = (&data, &updates) {
            return self.scatter_constants(reduction, data, updates, positions).map(Value::Constant);
        }
        self.fixed_batch(&data, &shape)?;
        self.fixed_batch(&updates, &positions.shape)?;
        if shape.first() != Some(&1) {
            return Err(Problem::MixesBatch);
        }
        let placed = match &updates {
            Value::Constant(updates) => {
                let nothing = vec![0.0; written.len()];
                let nothing = Constant::floats(shape.clone(), nothing).of(updates.element);
                Value::Constant(self.scatter_constants("add", &nothing, updates, positions)?)
            }
            Value::Tensor(x) => {
                self.builder.budget.charge(2 * x.len() + written.len())?;
                let mut entries: Vec<(u32, u32)> =
                    positions.places.iter().enumerate().map(|(i, &place)| (place, i as u32)).collect();
                entries.sort_unstable();
                let mut starts = vec![0u32];
                let mut total = 0;
                for count in &written {
                    total += count;
                    starts.push(total);
                }
                let entries = entries.into_iter().map(|(_, i)| (i, 1.0)).collect();
                let linear = Linear::new(Sparse::new(x.len(), starts, entries)?);
                let item = shape::of_item(&shape)?;
                Value::Tensor(self.builder.linear(&step.name, x, item, linear)?)
            }
        };
        let kept = match reduction {
            "add" => data,
            "none" => {
                let mask = written.iter().map(|&count| f64::from(u8::from(count == 0))).collect();
                let mask = Value::Constant(Constant::floats(shape, mask));
                self.combine(step, "Mul", &data, &mask)?
            }
            "mul" | "min" | "max" => return Err(Unsupported::Comparison.into()),
            other => return Err(Problem::attribute("reduction", other, "none or add")),
        };
        self.combine(step, "Add", &kept, &placed)
    }

    fn scatter_constants(
        &mut self,
        reduction: &str,
        data: &Constant,
        updates: &Constant,
        positions: &Positions,
    ) -> Result<Constant, Problem> {
        if data.element != updates.element {
            let expected = data.element.name().to_owned();
            return Err(Problem::ElementType { found: updates.element.name(), expected });
        }
        self.builder.budget.charge(data.len())?;
        let places = positions.places.iter();
        match (&data.data, &updates.data) {
            (Data::Int(data_list), Data::Int(list)) => {
                let mut out = data_list.to_vec();
                for (&place, x) in places.zip(list.iter()) {
                    let old = shape::element(&mut out, place)?;
                    let a = i128::from(old.known()?);
                    let b = i128::from(x.known()?);
                    let new = match reduction {
                        "none" => b,
                        "add" => a + b,
                        "mul" => a * b,
                        "min" => a.min(b),
                        "max" => a.max(b),
                        other => {
                            return Err(Problem::attribute("reduction", other, "none, add, mul, min or max"));
                        }
                    };
                    *old = Int::Known(data.element.wrap(new)?);
                }
                Ok(Constant::ints(data.shape.clone(), out).of(data.element))
            }
            _ => {
                let mut out = data.to_floats()?.to_vec();
                for (&place, &x) in places.zip(updates.to_floats()?.iter()) {
                    let old = shape::element(&mut out, place)?;
                    *old = match reduction {
                        "none" => x,
                        "add" => *old + x,
                        "mul" => *old * x,
                        "min" => old.min(x),
                        "max" => old.max(x),
                        other => {
                            return Err(Problem::attribute("reduction", other, "none, add, mul, min or max"));
                        }
                    };
                }
                Constant::rounded(data.shape.clone(), out, data.element)
            }
        }
    }

    /// Refuses positions for all items at once, unless the batch is one item by the model's own word.
    fn fixed_batch(&self, value: &Value, shape: &[usize]) -> Result<(), Problem> {
        if value.has_batch() && (self.batch != Int::Known(1) || shape.first() != Some(&1)) {
            return Err(Problem::MixesBatch);
        }
        Ok(())
    }
}

/// Flat positions in a tensor, and the shape of what is read from or written to them.
#[derive(Debug)]
struct Positions {
    shape: Vec<usize>,
    places: Vec<u32>,
}
