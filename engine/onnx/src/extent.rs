//! Planes made larger or smaller: padding and resizing.

use crate::budget;
use crate::constant::{Constant, Int};
use crate::graph::Step;
use crate::importer::{Importer, Value};
use crate::problem::Problem;
use crate::shape;
use crate::structure::Axis;
use crate::unsupported::Unsupported;

impl Importer<'_> {
    pub(crate) fn pad(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let value = self.value(step, 0)?;
        let shape = value.full_shape();
        let pads = self.known(step, 1, "pads")?.ok_or_else(|| Problem::missing("pads"))?;
        let axes = match self.known(step, 3, "axes")? {
            Some(axes) => axes.iter().map(|&a| shape::axis(a, shape.len())).collect::<Result<Vec<_>, _>>()?,
            None => (0..shape.len()).collect(),
        };
        if pads.len() != 2 * axes.len() {
            return Err(Problem::Count { what: "pads", found: pads.len(), expected: 2 * axes.len() });
        }
        let (before, after) = pads.split_at(axes.len());
        let mode = step.string("mode").unwrap_or("constant");
        let fill = match self.optional_constant(step, 2, "fill value")? {
            Some(c) if c.len() > 0 => c.scalar()?,
            _ => step.float("value", 0.0)?,
        };
        let mut extents: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
        for ((&a, &before), &after) in axes.iter().zip(before).zip(after) {
            if let Some(extent) = extents.get_mut(a) {
                *extent = extent.saturating_add(before).saturating_add(after).max(0);
            }
            if value.has_batch() && a == 0 && (before != 0 || after != 0) {
                return Err(Problem::MixesBatch);
            }
        }
        budget::elements(&extents.iter().map(|&n| n as usize).collect::<Vec<_>>())?;
        let mut starts = vec![0i64; shape.len()];
        for (&a, &before) in axes.iter().zip(before) {
            if let Some(start) = starts.get_mut(a) {
                *start = before;
            }
        }
        let source = |i: i64, n: i64| match mode {
            "edge" => Ok(Some(i.clamp(0, n - 1))),
            "wrap" => Ok(Some(i.rem_euclid(n))),
            "reflect" if n > 1 => {
                let at = i.rem_euclid(2 * (n - 1));
                Ok(Some(at.min(2 * (n - 1) - at)))
            }
            "reflect" => Ok(Some(0)),
            "constant" => Ok((0..n).contains(&i).then_some(i)),
            other => Err(Problem::attribute("mode", other, "constant, edge, reflect or wrap")),
        };
        let mut picked: Vec<Axis> = Vec::with_capacity(shape.len());
        for ((&n, &extent), &start) in shape.iter().zip(&extents).zip(&starts) {
            let n = n as i64;
            if n == 0 {
                return Err(Problem::Empty { shape });
            }
            let indices =
                (0..extent).map(|i| source(i.saturating_sub(start), n).map(|at| at.map(|at| at as usize)));
            picked.push(indices.collect::<Result<_, Problem>>()?);
        }
        self.by_axes(step, &value, &picked, fill)
    }

    pub(crate) fn resize(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let value = self.value(step, 0)?;
        let shape = value.full_shape();
        let mode = step.string("mode").unwrap_or("nearest");
        if mode != "nearest" {
            return Err(Unsupported::Interpolation.into());
        }
        if step.has("axes") || step.string("keep_aspect_ratio_policy").is_some_and(|p| p != "stretch") {
            return Err(Unsupported::AspectRatio.into());
        }
        let (scales, extents) = self.resized(step, &shape)?;
        if value.has_batch() && extents.first() != Some(&1) {
            return Err(Problem::MixesBatch);
        }
        budget::elements(&extents)?;
        // Old models take the index below; new ones say how they round.
        let old = step.op == "Upsample" || self.opset < 11;
        let position = if old {
            "asymmetric"
        } else {
            step.string("coordinate_transformation_mode").unwrap_or("half_pixel")
        };
        let rounding =
            if old { "floor" } else { step.string("nearest_mode").unwrap_or("round_prefer_floor") };
        let mut picked: Vec<Axis> = Vec::with_capacity(shape.len());
        for ((&n, &out), &scale) in shape.iter().zip(&extents).zip(&scales) {
            let index = |i: usize| {
                let x = i as f64;
                let at = match position {
                    "asymmetric" => x / scale,
                    "half_pixel" => (x + 0.5) / scale - 0.5,
                    "pytorch_half_pixel" if out > 1 => (x + 0.5) / scale - 0.5,
                    "align_corners" if out > 1 => x * (n as f64 - 1.0) / (out as f64 - 1.0),
                    "pytorch_half_pixel" | "align_corners" => 0.0,
                    other => {
                        return Err(Problem::attribute(
                            "coordinate_transformation_mode",
                            other,
                            "asymmetric",
                        ));
                    }
                };
                let at = match rounding {
                    "floor" => at.floor(),
                    "ceil" => at.ceil(),
                    "round_prefer_ceil" => (at + 0.5).floor(),
                    _ => (at - 0.5).ceil(),
                };
                Ok(Some(at.clamp(0.0, n.saturating_sub(1) as f64) as usize))
            };
            picked.push((0..out).map(index).collect::<Result<_, Problem>>()?);
        }
        self.by_axes(step, &value, &picked, 0.0)
    }

    /// Factor and new extent of each axis.
    fn resized(&self, step: &Step<'_>, shape: &[usize]) -> Result<(Vec<f64>, Vec<usize>), Problem> {
        let numbers = |c: Option<Constant>| match c {
            Some(c) if c.len() > 0 => c.to_floats().map(|list| Some(list.to_vec())),
            _ => Ok(None),
        };
        let input = if step.op == "Upsample" || self.opset < 11 { 1 } else { 2 };
        let scales = match step.floats("scales") {
            Some(list) => Some(list.iter().map(|&x| x.into()).collect()),
            None => numbers(self.optional_constant(step, input, "scales")?)?,
        };
        if let Some(scales) = scales {
            if scales.len() != shape.len() || !scales.iter().all(|s| *s > 0.0) {
                let expected = format!("one positive number for each of {} axes", shape.len());
                return Err(Problem::attribute("scales", format!("{scales:?}"), expected));
            }
            let extents = shape.iter().zip(&scales).map(|(&n, s)| (n as f64 * s).floor() as usize).collect();
            return Ok((scales, extents));
        }
        let sizes = self.integers(step, 3, "sizes")?.ok_or_else(|| Problem::missing("scales"))?;
        let mut extents = Vec::with_capacity(sizes.len());
        for (i, &size) in sizes.iter().enumerate() {
            let batch = i == 0 && (size == Int::Batch || size == self.batch);
            extents.push(if batch { 1 } else { usize::try_from(size.known()?).unwrap_or(0) });
        }
        if extents.len() != shape.len() || extents.contains(&0) {
            let expected = format!("one positive number for each of {} axes", shape.len());
            return Err(Problem::attribute("sizes", format!("{extents:?}"), expected));
        }
        let scales = shape.iter().zip(&extents).map(|(&n, &out)| out as f64 / n as f64).collect();
        Ok((scales, extents))
    }
}
