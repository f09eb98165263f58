//! Padding.

use crate::budget;
use crate::graph::Step;
use crate::importer::{Importer, Value};
use crate::problem::Problem;
use crate::shape;
use crate::structure::Axis;

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
        if mode != "constant" {
            check_reach(&shape, &axes, [before, after], mode)?;
        }
        let fill = match self.optional_constant(step, 2, "fill value")? {
            Some(c) if c.len() > 0 => c.scalar()?,
            _ => step.float("value", 0.0)?,
        };
        let mut extents: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
        for ((&a, &before), &after) in axes.iter().zip(before).zip(after) {
            let extent = shape::entry(&mut extents, a)?;
            *extent = extent.saturating_add(before).saturating_add(after).max(0);
            if value.has_batch() && a == 0 && (before != 0 || after != 0) {
                return Err(Problem::MixesBatch);
            }
        }
        budget::elements(&extents.iter().map(|&n| n as usize).collect::<Vec<_>>())?;
        let mut starts = vec![0i64; shape.len()];
        for (&a, &before) in axes.iter().zip(before) {
            *shape::entry(&mut starts, a)? = before;
        }
        let mut picked: Vec<Axis> = Vec::with_capacity(shape.len());
        for ((&n, &extent), &start) in shape.iter().zip(&extents).zip(&starts) {
            let n = n as i64;
            if n == 0 {
                return Err(Problem::Empty { shape });
            }
            let indices = (0..extent)
                .map(|i| source(mode, i.saturating_sub(start), n).map(|at| at.map(|at| at as usize)));
            picked.push(indices.collect::<Result<_, Problem>>()?);
        }
        self.by_axes(step, &value, &picked, fill)
    }
}

/// Checks that pads of each axis are not negative, and no more than the elements that a mode repeats.
fn check_reach(
    shape: &[usize],
    axes: &[usize],
    [before, after]: [&[i64]; 2],
    mode: &str,
) -> Result<(), Problem> {
    for (&a, (&before, &after)) in axes.iter().zip(before.iter().zip(after)) {
        let n = shape::extent(shape, a)? as i64;
        let most = if mode == "reflect" { n - 1 } else { n };
        let refused = |pad: i64| pad < 0 || mode != "edge" && pad > most;
        if let Some(pad) = [before, after].into_iter().find(|&pad| refused(pad)) {
            let limit = if mode == "edge" { "at least 0".to_owned() } else { format!("0 to {most}") };
            let expected = format!("{limit} on an axis of extent {n} in mode {mode}");
            return Err(Problem::attribute("pads", pad, expected));
        }
    }
    Ok(())
}

/// The element of an axis of extent `n` that a mode puts at position `i`, which counts from the first element; `None`
/// for the fill value.
fn source(mode: &str, i: i64, n: i64) -> Result<Option<i64>, Problem> {
    match mode {
        "edge" => Ok(Some(i.clamp(0, n - 1))),
        "wrap" => Ok(Some(i.rem_euclid(n))),
        "reflect" if n > 1 => {
            let at = i.rem_euclid(2 * (n - 1));
            Ok(Some(at.min(2 * (n - 1) - at)))
        }
        "reflect" => Ok(Some(0)),
        "constant" => Ok((0..n).contains(&i).then_some(i)),
        other => Err(Problem::attribute("mode", other, "constant, edge, reflect or wrap")),
    }
}
