//! Planes resized: the nearest element, linear and cubic interpolation.

use crate::budget;
use crate::choice::Row;
use crate::constant::Int;
use crate::graph::Step;
use crate::importer::{Importer, Value};
use crate::problem::Problem;
use crate::shape;
use crate::structure::Axis;
use crate::unsupported::Unsupported;

/// One axis: extents before and after, and the factor between them.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    from: usize,
    to: usize,
    scale: f32,
}

impl Importer<'_> {
    pub(crate) fn resize(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let value = self.float_value(step, 0)?;
        let shape = value.full_shape();
        // Old models take the index below; new ones say how they round.
        let old = step.op == "Upsample" || self.opset < 11;
        let stretches = self.stretches(step, &shape, old, value.has_batch())?;
        if value.has_batch() && stretches.first().is_none_or(|s| s.to != 1 || s.scale != 1.0) {
            return Err(Problem::MixesBatch);
        }
        budget::elements(&stretches.iter().map(|s| s.to).collect::<Vec<_>>())?;
        if stretches.iter().all(|s| s.from == s.to) && stretches.iter().any(|s| s.scale != 1.0) {
            self.notes.push(format!(
                "{} keeps all sizes by scales that are not 1: it moves elements, as in the reference implementation of ONNX and \
                 in PyTorch; onnxruntime moves none",
                step.name
            ));
        }
        if step.int("antialias", 0) != 0 {
            return Err(Problem::attribute("antialias", 1, "0"));
        }
        let position = match step.string("coordinate_transformation_mode") {
            _ if old => "asymmetric",
            Some(position) => position,
            None => "half_pixel",
        };
        match step.string("mode").unwrap_or("nearest") {
            "nearest" => self.nearest(step, &value, &stretches, position, old),
            "linear" | "cubic"
                if step.op == "Resize" && self.opset < 11 && step.string("mode") == Some("cubic") =>
            {
                Err(Unsupported::Interpolation.into())
            }
            mode @ ("linear" | "cubic") => {
                let mut out = value;
                for (axis, stretch) in stretches.iter().enumerate() {
                    if stretch.scale == 1.0 && stretch.from == stretch.to {
                        continue;
                    }
                    let rows = interpolation(step, stretch, position, mode)?;
                    out = self.along(step, &out, axis, &rows)?;
                }
                Ok(out)
            }
            _ => Err(Unsupported::Interpolation.into()),
        }
    }

    fn nearest(
        &mut self,
        step: &Step<'_>,
        value: &Value,
        stretches: &[Stretch],
        position: &str,
        old: bool,
    ) -> Result<Value, Problem> {
        let mut picked: Vec<Axis> = Vec::with_capacity(stretches.len());
        for stretch in stretches {
            let rounding = match step.string("nearest_mode") {
                _ if old && stretch.scale < 1.0 => "ceil",
                _ if old => "floor",
                rounding => rounding.unwrap_or("round_prefer_floor"),
            };
            picked.push(
                (0..stretch.to)
                    .map(|i| {
                        let at = stretch.coordinate(i, position)?;
                        let at = match rounding {
                            "floor" => at.floor(),
                            "ceil" => at.ceil(),
                            "round_prefer_ceil" => (at + 0.5).floor(),
                            "round_prefer_floor" => (at - 0.5).ceil(),
                            other => {
                                return Err(Problem::attribute(
                                    "nearest_mode",
                                    other,
                                    "floor or another of ONNX",
                                ));
                            }
                        };
                        Ok(Some(stretch.clamped(at as i64)))
                    })
                    .collect::<Result<_, Problem>>()?,
            );
        }
        self.by_axes(step, value, &picked, 0.0)
    }

    /// Factor and new extent of each axis.
    fn stretches(
        &self,
        step: &Step<'_>,
        shape: &[usize],
        old: bool,
        has_batch: bool,
    ) -> Result<Vec<Stretch>, Problem> {
        let axes = match step.ints("axes") {
            Some(axes) if !axes.is_empty() => {
                // Here the specification and onnxruntime differ.
                let keeps_ratio = step.string("keep_aspect_ratio_policy").is_some_and(|p| p != "stretch");
                if keeps_ratio && axes.iter().any(|&a| a < 0) {
                    let expected = "axes counted from the front, beside keep_aspect_ratio_policy";
                    return Err(Problem::attribute("axes", format!("{axes:?}"), expected));
                }
                axes.iter().map(|&a| shape::axis(a, shape.len())).collect::<Result<Vec<_>, _>>()?
            }
            _ => (0..shape.len()).collect(),
        };
        let mut stretches: Vec<Stretch> =
            shape.iter().map(|&n| Stretch { from: n, to: n, scale: 1.0 }).collect();
        match self.scales(step, old)? {
            Some(scales) => stretch_by(step, &axes, scales, old, &mut stretches)?,
            None => self.stretch_to_sizes(step, &axes, &mut stretches, has_batch)?,
        }
        if stretches.iter().any(|s| s.to == 0 || s.from == 0) {
            return Err(Problem::Empty { shape: stretches.iter().map(|s| s.to).collect() });
        }
        Ok(stretches)
    }

    /// The factors of the axes, if the node gives factors and not sizes.
    fn scales(&self, step: &Step<'_>, old: bool) -> Result<Option<Vec<f64>>, Problem> {
        if let Some(list) = step.floats("scales") {
            return Ok(Some(list.iter().map(|&x| x.into()).collect()));
        }
        if step.op == "Upsample" && self.opset < 7 {
            if !step.has("height_scale") || !step.has("width_scale") {
                return Err(Problem::missing("height_scale or width_scale"));
            }
            let height = step.float("height_scale", 1.0)?;
            let width = step.float("width_scale", 1.0)?;
            return Ok(Some(vec![1.0, 1.0, height, width]));
        }
        match self.optional_constant(step, if old { 1 } else { 2 }, "scales")? {
            Some(c) if c.len() > 0 => c.to_floats().map(|list| Some(list.to_vec())),
            _ => Ok(None),
        }
    }

    /// Stretches axes to the sizes of the node, within its policy on the aspect ratio.
    fn stretch_to_sizes(
        &self,
        step: &Step<'_>,
        axes: &[usize],
        stretches: &mut [Stretch],
        has_batch: bool,
    ) -> Result<(), Problem> {
        let sizes = self.integers(step, 3, "sizes")?.ok_or_else(|| Problem::missing("scales"))?;
        let mut extents: Vec<i64> = Vec::with_capacity(sizes.len());
        for (&size, &axis) in sizes.iter().zip(axes) {
            let batch = has_batch && axis == 0 && (size == Int::Batch || size == self.batch);
            // One item of an open number would be left of all.
            if has_batch && axis == 0 && !batch {
                return Err(Problem::MixesBatch);
            }
            extents.push(if batch { 1 } else { size.known()? });
        }
        if sizes.len() != axes.len() || extents.iter().any(|&extent| extent < 1) {
            return Err(Problem::attribute("sizes", format!("{extents:?}"), one_for_each(axes)));
        }
        let mut ratios = Vec::with_capacity(axes.len());
        for (&axis, &to) in axes.iter().zip(&extents) {
            ratios.push(to as f32 / shape::entry(stretches, axis)?.from as f32);
        }
        let ratios = ratios.into_iter();
        let common = match step.string("keep_aspect_ratio_policy").unwrap_or("stretch") {
            "stretch" => None,
            "not_larger" => Some(ratios.fold(f32::INFINITY, f32::min)),
            "not_smaller" => Some(ratios.fold(0.0, f32::max)),
            other => return Err(Problem::attribute("keep_aspect_ratio_policy", other, "stretch")),
        };
        for (&axis, to) in axes.iter().zip(extents) {
            let stretch = shape::entry(stretches, axis)?;
            stretch.scale = common.unwrap_or(to as f32 / stretch.from as f32);
            stretch.to = common.map_or(to as usize, |scale| (scale * stretch.from as f32).round() as usize);
        }
        Ok(())
    }
}

/// Stretches axes by the factors of a node.
fn stretch_by(
    step: &Step<'_>,
    axes: &[usize],
    scales: Vec<f64>,
    old: bool,
    stretches: &mut [Stretch],
) -> Result<(), Problem> {
    if scales.len() != axes.len() || !scales.iter().all(|s| *s > 0.0) {
        return Err(Problem::attribute("scales", format!("{scales:?}"), one_for_each(axes)));
    }
    // Here the specification and its implementations differ.
    let aligned = step.string("coordinate_transformation_mode") == Some("align_corners");
    let are_whole = axes.iter().zip(&scales).all(|(&axis, &scale)| {
        stretches.get(axis).is_none_or(|stretch| (stretch.from as f32 * scale as f32).fract() == 0.0)
    });
    if aligned && !old && !are_whole {
        let expected = "scales that make whole sizes, with align_corners";
        return Err(Problem::attribute("scales", format!("{scales:?}"), expected));
    }
    for (&axis, scale) in axes.iter().zip(scales) {
        // In single precision, as everywhere else.
        let stretch = shape::entry(stretches, axis)?;
        stretch.scale = scale as f32;
        stretch.to = (stretch.from as f32 * stretch.scale).floor() as usize;
    }
    Ok(())
}

fn one_for_each(axes: &[usize]) -> String {
    format!("one positive number for each of {} axes", axes.len())
}

impl Stretch {
    /// Where index `i` of the result lies between the elements.
    fn coordinate(&self, i: usize, position: &str) -> Result<f32, Problem> {
        let x = i as f32;
        let from = self.from as f32;
        let to = self.to as f32;
        Ok(match position {
            "asymmetric" => x / self.scale,
            "half_pixel" => (x + 0.5) / self.scale - 0.5,
            "half_pixel_symmetric" => {
                let adjustment = to / (self.scale * from);
                from / 2.0 * (1.0 - adjustment) + (x + 0.5) / self.scale - 0.5
            }
            "pytorch_half_pixel" if self.to > 1 => (x + 0.5) / self.scale - 0.5,
            "align_corners" if self.to > 1 => x * (from - 1.0) / (to - 1.0),
            "pytorch_half_pixel" | "align_corners" => 0.0,
            other => {
                return Err(Problem::attribute(
                    "coordinate_transformation_mode",
                    other,
                    "half_pixel or asymmetric",
                ));
            }
        })
    }

    /// The nearest index there is.
    fn clamped(&self, index: i64) -> usize {
        index.clamp(0, self.from.saturating_sub(1) as i64) as usize
    }
}

/// Neighbours and their weights for each index of the result.
fn interpolation(
    step: &Step<'_>,
    stretch: &Stretch,
    position: &str,
    mode: &str,
) -> Result<Vec<Row>, Problem> {
    let a = step.float("cubic_coeff_a", -0.75)?;
    let excluding = step.int("exclude_outside", 0) != 0;
    if excluding && mode == "linear" {
        return Err(Problem::attribute("exclude_outside", 1, "0 for linear interpolation"));
    }
    (0..stretch.to)
        .map(|i| -> Result<Row, Problem> {
            let x = f64::from(stretch.coordinate(i, position)?);
            let low = x.floor();
            let t = x - low;
            let taps: Vec<(i64, f64)> = if mode == "linear" {
                vec![(0, 1.0 - t), (1, t)]
            } else {
                let near = |d: f64| ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
                let far = |d: f64| ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
                vec![(-1, far(1.0 + t)), (0, near(t)), (1, near(1.0 - t)), (2, far(2.0 - t))]
            };
            let inside = |(offset, _): &(i64, f64)| (0..stretch.from as i64).contains(&(low as i64 + offset));
            let kept: Vec<(i64, f64)> = taps.into_iter().filter(|tap| !excluding || inside(tap)).collect();
            let total: f64 = if excluding { kept.iter().map(|(_, w)| w).sum() } else { 1.0 };
            let mut row: Row = Vec::new();
            for (offset, weight) in kept.into_iter().filter(|(_, weight)| *weight != 0.0) {
                let at = stretch.clamped(low as i64 + offset);
                match row.iter_mut().find(|(other, _)| *other == at) {
                    Some((_, sum)) => *sum += weight / total,
                    None => row.push((at, weight / total)),
                }
            }
            Ok(row)
        })
        .collect()
}
