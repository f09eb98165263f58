//! Sums and means along axes.

use crate::budget;
use crate::constant::{Constant, Data, Int};
use crate::element::Element;
use crate::graph::Step;
use crate::importer::{Importer, Value};
use crate::pool::mean_of_planes;
use crate::problem::Problem;
use crate::shape::{self, Selection};
use crate::unsupported::Unsupported;
use pleura_nn::{Linear, Sparse};

impl Importer<'_> {
    /// Reductions: of constants any, of tensors those that are sums.
    pub(crate) fn reduce(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let value = self.value(step, 0)?;
        let shape = value.full_shape();
        let axes = self.known(step, 1, "axes")?.filter(|axes| !axes.is_empty());
        let axes = match axes {
            Some(axes) => axes.iter().map(|&a| shape::axis(a, shape.len())).collect::<Result<Vec<_>, _>>()?,
            None if step.int("noop_with_empty_axes", 0) != 0 && step.op != "ReduceSumSquare" => {
                return Ok(value);
            }
            None if step.int("noop_with_empty_axes", 0) != 0 => {
                return Err(Problem::attribute("noop_with_empty_axes", 1, "0"));
            }
            None => (0..shape.len()).collect(),
        };
        if value.has_batch() && axes.contains(&0) {
            return Err(Problem::MixesBatch);
        }
        let reduced = |a: usize| axes.contains(&a);
        let kept_shape: Vec<usize> =
            shape.iter().enumerate().map(|(a, &n)| if reduced(a) { 1 } else { n }).collect();
        let result_shape = if step.int("keepdims", 1) != 0 {
            kept_shape.clone()
        } else {
            shape.iter().enumerate().filter(|(a, _)| !reduced(*a)).map(|(_, &n)| n).collect()
        };
        let x = match &value {
            Value::Constant(c) => return self.reduce_constant(step, c, &kept_shape, result_shape),
            Value::Tensor(x) => x,
        };
        let squared;
        let x = match step.op {
            "ReduceMean" | "ReduceSum" => x,
            "ReduceSumSquare" => {
                squared = x.with(&step.name, x.polynomial().times(x.polynomial(), &mut self.builder.budget)?);
                &squared
            }
            _ => return Err(Unsupported::Reduction.into()),
        };
        let places = self.places(&shape, &kept_shape)?;
        let count = x.len() / places.iter().max().map_or(1, |last| *last as usize + 1);
        let factor = if step.op == "ReduceMean" { 1.0 / count as f64 } else { 1.0 };
        let trailing = (0..shape.len()).skip_while(|&a| !reduced(a)).all(reduced);
        let linear = if trailing {
            let mean = Linear::new(mean_of_planes(x.len() / count, &x.shape, count)?);
            match step.op {
                "ReduceMean" => mean,
                _ => mean.then(Linear::scale(vec![count as f64; x.len() / count])),
            }
        } else {
            let mut rows: Vec<(u32, u32)> = places.iter().enumerate().map(|(i, &o)| (o, i as u32)).collect();
            rows.sort_unstable();
            let starts = (0..=x.len() / count).map(|row| (row * count) as u32).collect();
            let entries = rows.into_iter().map(|(_, i)| (i, factor)).collect();
            Linear::new(Sparse::new(x.len(), starts, entries)?)
        };
        let [_, item @ ..] = result_shape.as_slice() else { return Err(Problem::MixesBatch) };
        self.builder.linear(&step.name, x, item, linear).map(Value::Tensor)
    }

    fn reduce_constant(
        &mut self,
        step: &Step<'_>,
        c: &Constant,
        kept: &[usize],
        shape: Vec<usize>,
    ) -> Result<Value, Problem> {
        let places = self.places(&c.shape, kept)?;
        if let Data::Int(list) = &c.data {
            return reduce_integers(step, c, list, &places, shape);
        }
        let (start, f): (f64, fn(f64, f64) -> f64) = match step.op {
            "ReduceProd" => (1.0, |a, b| a * b),
            "ReduceMax" => (f64::NEG_INFINITY, f64::max),
            "ReduceMin" => (f64::INFINITY, f64::min),
            "ReduceSumSquare" => (0.0, |a, b| a + b * b),
            _ => (0.0, |a, b| a + b),
        };
        let mut out = vec![start; budget::elements(kept)?];
        for (&place, &x) in places.iter().zip(c.to_floats()?.iter()) {
            let out = shape::element(&mut out, place)?;
            *out = f(*out, x);
        }
        if step.op == "ReduceMean" {
            let count = c.len() as f64 / out.len() as f64;
            out.iter_mut().for_each(|x| *x /= count);
        }
        if !out.iter().all(|x| x.is_finite()) {
            return Err(Problem::NotFinite { what: "result" });
        }
        Constant::rounded(shape, out, c.element).map(Value::Constant)
    }

    /// For each element, where it goes if its axes of extent 1 in `kept` collapse.
    fn places(&mut self, shape: &[usize], kept: &[usize]) -> Result<Vec<u32>, Problem> {
        let selection = Selection::broadcast(kept, shape, &mut self.builder.budget)?;
        let places = selection.sources.into_iter().collect::<Option<_>>();
        places.ok_or(Problem::Internal("a broadcast has an element without a source"))
    }
}

/// Reductions of integers, in their own arithmetic.
fn reduce_integers(
    step: &Step<'_>,
    c: &Constant,
    list: &[Int],
    places: &[u32],
    shape: Vec<usize>,
) -> Result<Value, Problem> {
    if c.element == Element::Bool {
        return Err(Problem::ElementType { found: "bool", expected: "a number".into() });
    }
    let mut out: Vec<Option<i128>> = vec![None; budget::elements(&shape)?];
    for (&place, x) in places.iter().zip(list) {
        let x = i128::from(x.known()?);
        let x = if step.op == "ReduceSumSquare" { c.element.exact(x * x)?.into() } else { x };
        let out = shape::element(&mut out, place)?;
        *out = Some(match (*out, step.op) {
            (None, _) => x,
            (Some(so_far), "ReduceProd") => i128::from(c.element.exact(so_far)?) * x,
            (Some(so_far), "ReduceMax") => so_far.max(x),
            (Some(so_far), "ReduceMin") => so_far.min(x),
            (Some(so_far), _) => so_far + x,
        });
    }
    let count = if step.op == "ReduceMean" { (c.len() / out.len().max(1)) as i128 } else { 1 };
    let values = out.into_iter().map(|x| match (x, step.op) {
        (Some(x), _) => Ok(Int::Known(c.element.exact(x / count)?)),
        (None, "ReduceSum" | "ReduceSumSquare") => Ok(Int::Known(0)),
        (None, "ReduceProd") => Ok(Int::Known(1)),
        (None, _) => Err(Problem::NotFinite { what: "result" }),
    });
    Ok(Value::Constant(Constant::ints(shape, values.collect::<Result<_, Problem>>()?).of(c.element)))
}
