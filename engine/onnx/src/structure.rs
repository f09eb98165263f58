//! Elements moved from place to place.

use crate::budget;
use crate::constant::{Constant, Int};
use crate::element::Element;
use crate::graph::Step;
use crate::importer::{Importer, Value};
use crate::problem::Problem;
use crate::shape::{self, Selection};
use crate::view::extents;

/// For each index of an axis, the index it comes from.
pub(crate) type Axis = Vec<Option<usize>>;

impl Importer<'_> {
    pub(crate) fn transpose(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let value = self.value(step, 0)?;
        let shape = value.full_shape();
        let order = match step.ints("perm") {
            Some(order) => {
                order.iter().map(|&a| shape::axis(a, shape.len())).collect::<Result<Vec<_>, _>>()?
            }
            None => (0..shape.len()).rev().collect(),
        };
        let mut sorted = order.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..shape.len()) {
            return Err(Problem::attribute("perm", format!("{order:?}"), "a permutation of the axes"));
        }
        if value.has_batch() && order.first() != Some(&0) {
            return Err(Problem::MixesBatch);
        }
        let selection = Selection::permute(&shape, &order, &mut self.builder.budget)?;
        self.select(step, &value, selection, 0.0)
    }

    pub(crate) fn slice(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let value = self.value(step, 0)?;
        let shape = value.full_shape();
        let missing = || Problem::missing("list of starts or ends");
        let starts = self.integers(step, 1, "starts")?.ok_or_else(missing)?;
        let ends = self.integers(step, 2, "ends")?.ok_or_else(missing)?;
        let axes = self.known(step, 3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = self.known(step, 4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
        if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
            let found = ends.len().max(axes.len()).max(steps.len());
            return Err(Problem::Count { what: "ends, axes or steps", found, expected: starts.len() });
        }
        if starts.len() > shape.len() {
            return Err(Problem::Count { what: "list of axes", found: starts.len(), expected: shape.len() });
        }
        let mut picked: Vec<Axis> = shape.iter().map(|&n| Selection::all(n)).collect();
        for (((&start, &end), &a), &by) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
            let a = shape::axis(a, shape.len())?;
            if value.has_batch() && a == 0 {
                let to_end = end == Int::Batch
                    || end.known().is_ok_and(|e| e >= i64::from(i32::MAX) || Int::Known(e) == self.batch);
                if start != Int::Known(0) || by != 1 || !to_end {
                    return Err(Problem::MixesBatch);
                }
                continue;
            }
            let n = shape::extent(&shape, a)? as i64;
            let from_end = |i: i64| if i < 0 { i.saturating_add(n) } else { i };
            let start = from_end(start.known()?);
            let end = from_end(end.known()?);
            let indices: Vec<i64> = match usize::try_from(by.unsigned_abs()) {
                Ok(0) | Err(_) => return Err(Problem::attribute("step", by, "another number than zero")),
                Ok(width) if by > 0 => (start.clamp(0, n)..end.clamp(0, n)).step_by(width).collect(),
                Ok(width) => {
                    ((end.clamp(-1, n - 1) + 1)..=start.clamp(-1, n - 1)).rev().step_by(width).collect()
                }
            };
            *shape::entry(&mut picked, a)? = indices.into_iter().map(|i| usize::try_from(i).ok()).collect();
        }
        self.by_axes(step, &value, &picked, 0.0)
    }

    pub(crate) fn split(&mut self, step: &Step<'_>) -> Result<Vec<Value>, Problem> {
        let value = self.value(step, 0)?;
        let shape = value.full_shape();
        let a = shape::axis(step.int("axis", 0), shape.len())?;
        if value.has_batch() && a == 0 {
            return Err(Problem::MixesBatch);
        }
        let n = shape::extent(&shape, a)?;
        let parts = step.node.output.len();
        let sizes = match self.known(step, 1, "split")? {
            Some(sizes) => sizes,
            None if self.opset < 18 && n % parts.max(1) != 0 => {
                return Err(Problem::attribute(
                    "split",
                    "missing",
                    format!("{parts} sizes that make up {n}"),
                ));
            }
            None if step.has("num_outputs") && step.int("num_outputs", 0) != parts as i64 => {
                return Err(Problem::attribute("num_outputs", step.int("num_outputs", 0), parts.to_string()));
            }
            // All alike, the last smaller if need be.
            None => {
                let size = n.div_ceil(parts.max(1));
                (0..parts).map(|i| n.saturating_sub(i * size).min(size) as i64).collect()
            }
        };
        let sizes: Vec<usize> = sizes.iter().filter_map(|&s| usize::try_from(s).ok()).collect();
        let total = sizes.iter().try_fold(0usize, |sum, &s| sum.checked_add(s));
        if sizes.len() != parts || total != Some(n) {
            let expected = format!("{parts} sizes that make up the {n} indices of axis {a}");
            return Err(Problem::attribute("split", format!("{sizes:?}"), expected));
        }
        let mut start = 0;
        let mut out = Vec::new();
        for size in sizes {
            let mut axes: Vec<Axis> = shape.iter().map(|&n| Selection::all(n)).collect();
            *shape::entry(&mut axes, a)? = (start..start + size).map(Some).collect();
            out.push(self.by_axes(step, &value, &axes, 0.0)?);
            start += size;
        }
        Ok(out)
    }

    pub(crate) fn gather(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let value = self.value(step, 0)?;
        let shape = value.full_shape();
        let indices = self.constant(step, 1, "indices")?;
        let a = shape::axis(step.int("axis", 0), shape.len())?;
        if value.has_batch() && a == 0 {
            return Err(Problem::MixesBatch);
        }
        let n = shape::extent(&shape, a)?;
        let mut axes: Vec<Axis> = shape.iter().map(|&n| Selection::all(n)).collect();
        *shape::entry(&mut axes, a)? = indices
            .to_ints()?
            .iter()
            .map(|i| index(i.known()?, n).map(Some))
            .collect::<Result<_, Problem>>()?;
        let picked = self.by_axes(step, &value, &axes, 0.0)?;
        let (before, after) = shape.split_at(a);
        let after = after.iter().skip(1);
        picked.reshaped(before.iter().chain(&indices.shape).chain(after).copied().collect())
    }

    pub(crate) fn concat(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let values = (0..step.inputs.len()).map(|i| self.value(step, i)).collect::<Result<Vec<_>, _>>()?;
        let first = values.first().ok_or_else(|| Problem::missing("input 0"))?;
        let mut shape = first.full_shape();
        let a = shape::axis(step.required_int("axis")?, shape.len())?;
        let has_batch = values.iter().any(Value::has_batch);
        if has_batch && a == 0 {
            return Err(Problem::MixesBatch);
        }
        let shapes: Vec<Vec<usize>> = values.iter().map(Value::full_shape).collect();
        let mut total = 0usize;
        for other in &shapes {
            let fits = other.len() == shape.len()
                && other.iter().zip(&shape).enumerate().all(|(i, (n, m))| i == a || n == m);
            if !fits {
                return Err(Problem::Concat { shapes: shapes.clone(), axis: a });
            }
            total = total.saturating_add(shape::extent(other, a)?);
        }
        *shape::entry(&mut shape, a)? = total;
        budget::elements(&shape)?;
        if let [only] = values.as_slice() {
            return Ok(only.clone());
        }
        if self.are_constant(step) {
            return self.concat_constants(&values, &shape, a);
        }
        self.concat_tensors(step, &values, shape, a)
    }

    /// The concatenation along axis `a` as a sum of tensors that are zero where another has its part; constants are
    /// summed in a bias.
    fn concat_tensors(
        &mut self,
        step: &Step<'_>,
        values: &[Value],
        shape: Vec<usize>,
        a: usize,
    ) -> Result<Value, Problem> {
        let total = shape::extent(&shape, a)?;
        let mut start = 0;
        let mut sum: Option<Value> = None;
        let mut bias: Option<Vec<f64>> = None;
        for (i, value) in values.iter().enumerate() {
            let part = value.full_shape();
            let mut axes: Vec<Axis> = shape.iter().map(|&n| Selection::all(n)).collect();
            let extent = shape::extent(&part, a)?;
            *shape::entry(&mut axes, a)? =
                (0..total).map(|i| i.checked_sub(start).filter(|&i| i < extent)).collect();
            start += extent;
            let selection = Selection::by_axes(&part, &axes, &mut self.builder.budget)?;
            match value {
                Value::Constant(c) => {
                    if !c.element.is_float() {
                        let expected = "floating point".to_owned();
                        return Err(Problem::ElementType { found: c.element.name(), expected });
                    }
                    let placed = c.select(selection, 0.0)?.to_floats()?;
                    bias = Some(match bias {
                        None => placed.to_vec(),
                        Some(sum) => sum.iter().zip(placed.iter()).map(|(a, b)| a + b).collect(),
                    });
                }
                Value::Tensor(x) => {
                    let placed = self.builder.select(&format!("{}.{i}", step.name), x, selection, 0.0)?;
                    let placed = Value::Tensor(placed);
                    sum = Some(match sum {
                        None => placed,
                        Some(sum) => self.combine(step, "Add", &sum, &placed)?,
                    });
                }
            }
        }
        let sum = sum.ok_or_else(|| Problem::missing("input 0"))?;
        match bias {
            None => Ok(sum),
            Some(bias) => {
                let bias = Value::Constant(Constant::floats(shape, bias));
                self.combine(step, "Add", &sum, &bias)
            }
        }
    }

    fn concat_constants(&mut self, values: &[Value], shape: &[usize], a: usize) -> Result<Value, Problem> {
        let constants: Vec<&Constant> =
            values.iter().filter_map(|v| if let Value::Constant(c) = v { Some(c) } else { None }).collect();
        let len = budget::elements(shape)?;
        self.builder.budget.charge(len)?;
        let outer: usize = shape.iter().take(a).product();
        let element = constants.first().map_or(Element::Float, |c| c.element);
        if let Some(other) = constants.iter().find(|c| c.element != element) {
            return Err(Problem::ElementType {
                found: other.element.name(),
                expected: element.name().into(),
            });
        }
        if !element.is_float() {
            let parts = constants.iter().map(|c| c.to_ints()).collect::<Result<Vec<_>, _>>()?;
            let parts: Vec<&[Int]> = parts.iter().map(|p| p.as_slice()).collect();
            let joined = Constant::ints(shape.to_vec(), interleave(&parts, outer));
            return Ok(Value::Constant(joined.of(element)));
        }
        let parts = constants.iter().map(|c| c.to_floats()).collect::<Result<Vec<_>, _>>()?;
        let parts: Vec<&[f64]> = parts.iter().map(|p| p.as_slice()).collect();
        Ok(Value::Constant(Constant::floats(shape.to_vec(), interleave(&parts, outer)).of(element)))
    }

    pub(crate) fn expand(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let value = self.value(step, 0)?;
        let mut target = self.integers(step, 1, "shape")?.ok_or_else(|| Problem::missing("shape"))?;
        let from = value.full_shape();
        // A shape of fewer axes begins behind the batch.
        let reaches_batch = value.has_batch() && target.len() == from.len();
        if let Some(batch) = target.first_mut().filter(|first| reaches_batch && **first == self.batch) {
            *batch = Int::Batch;
        }
        let has_batch = target.first() == Some(&Int::Batch);
        if has_batch && target.len() < from.len() {
            return Err(Problem::MixesBatch);
        }
        let shape = shape::broadcast(&from, &extents(&target)?)?;
        match &value {
            Value::Constant(c) => self.spread(c, &shape, has_batch),
            Value::Tensor(x) => self.widened(step, x, &shape).map(Value::Tensor),
        }
    }

    pub(crate) fn tile(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let value = self.value(step, 0)?;
        let shape = value.full_shape();
        let repeats = self.integers(step, 1, "repeats")?.unwrap_or_default();
        let has_batch = repeats.first() == Some(&Int::Batch);
        if value.has_batch() && has_batch {
            return Err(Problem::MixesBatch);
        }
        let repeats = extents(&repeats)?;
        let extents = shape.iter().zip(&repeats).map(|(&n, &r)| n.saturating_mul(r)).collect::<Vec<_>>();
        budget::elements(&extents)?;
        if repeats.len() != shape.len() || value.has_batch() && repeats.first() != Some(&1) {
            return Err(Problem::MixesBatch);
        }
        let axes: Vec<Axis> = shape
            .iter()
            .zip(&extents)
            .map(|(&n, &out)| (0..out).map(|i| i.checked_rem(n)).collect())
            .collect();
        let tiled = self.by_axes(step, &value, &axes, 0.0)?;
        if has_batch { tiled.with_batch() } else { Ok(tiled) }
    }

    pub(crate) fn depth_and_space(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let x = self.tensor(step, 0)?;
        let declared = step.required_int("blocksize")?;
        let block = usize::try_from(declared).ok().filter(|b| (1..=64).contains(b));
        let block = block.ok_or_else(|| Problem::attribute("blocksize", declared, "1 to 64"))?;
        let &[c, h, w] = x.shape.as_slice() else {
            return Err(Problem::shape("item", &x.shape, "[channels, height, width]"));
        };
        let (split, order, shape) = if step.op == "DepthToSpace" {
            let depth = c / (block * block);
            let shape = [1, depth, h * block, w * block];
            match step.string("mode").unwrap_or("DCR") {
                "CRD" => ([1, depth, block, block, h, w], [0, 1, 4, 2, 5, 3], shape),
                "DCR" => ([1, block, block, depth, h, w], [0, 3, 4, 1, 5, 2], shape),
                other => return Err(Problem::attribute("mode", other, "DCR or CRD")),
            }
        } else {
            let rows = h / block;
            let columns = w / block;
            let shape = [1, c * block * block, rows, columns];
            let split = [1, c, rows, block, columns, block];
            match step.string("mode").unwrap_or("DCR") {
                "CRD" => (split, [0, 1, 3, 5, 2, 4], shape),
                "DCR" => (split, [0, 3, 5, 1, 2, 4], shape),
                other => return Err(Problem::attribute("mode", other, "DCR or CRD")),
            }
        };
        let value = Value::Tensor(x).reshaped(split.to_vec())?;
        let selection = Selection::permute(&split, &order, &mut self.builder.budget)?;
        self.select(step, &value, selection, 0.0)?.reshaped(shape.to_vec())
    }

    pub(crate) fn by_axes(
        &mut self,
        step: &Step<'_>,
        value: &Value,
        axes: &[Axis],
        fill: f64,
    ) -> Result<Value, Problem> {
        let selection = Selection::by_axes(&value.full_shape(), axes, &mut self.builder.budget)?;
        self.select(step, value, selection, fill)
    }

    pub(crate) fn select(
        &mut self,
        step: &Step<'_>,
        value: &Value,
        selection: Selection,
        fill: f64,
    ) -> Result<Value, Problem> {
        match value {
            Value::Constant(c) => c.select(selection, fill).map(Value::Constant),
            Value::Tensor(x) => self.builder.select(&step.name, x, selection, fill).map(Value::Tensor),
        }
    }
}

/// An index, counted from the end if negative.
pub(crate) fn index(index: i64, extent: usize) -> Result<usize, Problem> {
    shape::axis(index, extent).map_err(|_| Problem::Index { index, extent })
}

#[expect(clippy::indexing_slicing, reason = "each part has a line of the same width for each outer index")]
fn interleave<T: Copy>(parts: &[&[T]], outer: usize) -> Vec<T> {
    (0..outer)
        .flat_map(|i| {
            parts.iter().flat_map(move |part| {
                let width = part.len() / outer.max(1);
                part[i * width..(i + 1) * width].iter().copied()
            })
        })
        .collect()
}
