//! Sums of products of a tensor with a constant along any axes: batched matrices and Einsum.

use crate::budget;
use crate::builder::Tensor;
use crate::constant::Constant;
use crate::graph::Step;
use crate::importer::{Importer, Value};
use crate::problem::Problem;
use crate::shape::{self, strides};
use crate::unsupported::Unsupported;
use pleura_nn::{Linear, Sparse};
use std::collections::BTreeMap;

/// Most axes of an equation.
const MAX_LABELS: usize = 16;

/// An axis that both operands are walked along: its extent, and how far apart its indices are in either.
#[derive(Clone, Copy, Debug)]
struct Walk {
    extent: usize,
    left: usize,
    right: usize,
}

impl Importer<'_> {
    /// A matrix product of any rank, of which one side is constant.
    pub(crate) fn product(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let a = self.float_value(step, 0)?;
        let b = self.float_value(step, 1)?;
        let mut left = a.full_shape();
        let mut right = b.full_shape();
        let misfit = || Problem::Broadcast { left: a.full_shape(), right: b.full_shape() };
        if left.is_empty() || right.is_empty() {
            return Err(misfit());
        }
        let is_row = left.len() == 1;
        let is_column = right.len() == 1;
        if is_row && a.has_batch() || is_column && b.has_batch() {
            return Err(Problem::NoFeatures);
        }
        if is_row {
            left.insert(0, 1);
        }
        if is_column {
            right.push(1);
        }
        let steps_left = strides(&left);
        let steps_right = strides(&right);
        let rank = left.len().max(right.len());
        let at = |shape: &[usize], steps: &[usize], place: usize| -> Result<(usize, usize), Problem> {
            let Some(own) = (place + shape.len()).checked_sub(rank) else { return Ok((1, 0)) };
            let extent = shape::extent(shape, own)?;
            Ok((extent, if extent == 1 { 0 } else { shape::extent(steps, own)? }))
        };
        let mut out = Vec::new();
        for place in 0..rank {
            let (n, by) = at(&left, &steps_left, place)?;
            let (m, other) = at(&right, &steps_right, place)?;
            out.push(match place {
                _ if place + 2 == rank => Walk { extent: n, left: by, right: 0 },
                _ if place + 1 == rank => Walk { extent: m, left: 0, right: other },
                _ if n == m || m == 1 || n == 1 => {
                    Walk { extent: if n == 1 { m } else { n }, left: by, right: other }
                }
                _ => return Err(misfit()),
            });
        }
        let (inner, by) = at(&left, &steps_left, rank - 1)?;
        let (rows, other) = at(&right, &steps_right, rank - 2)?;
        if inner != rows {
            return Err(misfit());
        }
        let mut shape: Vec<usize> = out.iter().map(|walk| walk.extent).collect();
        if is_column {
            shape.pop();
        }
        if is_row {
            shape.remove(rank - 2);
        }
        let batch_is_first = |value: &Value, own: &[usize]| !value.has_batch() || own.len() == rank;
        if !batch_is_first(&a, &left) || !batch_is_first(&b, &right) || b.has_batch() && right.len() == 2 {
            return Err(Problem::MixesBatch);
        }
        self.contract(step, &a, &b, shape, &out, &[Walk { extent: inner, left: by, right: other }])
    }

    pub(crate) fn einsum(&mut self, step: &Step<'_>) -> Result<Value, Problem> {
        let equation = step.string("equation").ok_or_else(|| Problem::missing("equation"))?.replace(' ', "");
        let refused =
            || Problem::attribute("equation", &equation, "one of two operands with labels and an arrow");
        let (operands, result) = match equation.split_once("->") {
            Some((operands, result)) => (operands.to_owned(), Some(result.to_owned())),
            None => (equation.clone(), None),
        };
        let labels: Vec<Vec<char>> = operands.split(',').map(|part| part.chars().collect()).collect();
        if labels.len() != step.inputs.len()
            || labels.len() > 2
            || !labels.iter().all(|part| part.iter().all(char::is_ascii_alphabetic))
        {
            return Err(refused());
        }
        let a = self.float_value(step, 0)?;
        let b = match labels.len() {
            1 => Value::Constant(Constant::floats(vec![], vec![1.0])),
            _ => self.float_value(step, 1)?,
        };
        let mut walks: BTreeMap<char, Walk> = BTreeMap::new();
        for (value, labels, is_left) in [(&a, labels.first(), true), (&b, labels.get(1), false)] {
            let shape = value.full_shape();
            let labels = labels.map(Vec::as_slice).unwrap_or_default();
            if labels.len() != shape.len() {
                return Err(refused());
            }
            for ((&label, &extent), by) in labels.iter().zip(&shape).zip(strides(&shape)) {
                let walk = walks.entry(label).or_insert(Walk { extent, left: 0, right: 0 });
                if walk.extent != extent {
                    return Err(Problem::shape("operand", &shape, format!("one that fits {equation:?}")));
                }
                if is_left { walk.left += by } else { walk.right += by }
            }
        }
        let all: Vec<char> = labels.concat();
        let result: Vec<char> = match result {
            Some(result) => result.chars().collect(),
            // The labels that stand once, in the order of the alphabet.
            None => walks.keys().copied().filter(|l| all.iter().filter(|&m| m == l).count() == 1).collect(),
        };
        let twice = |l: &char| result.iter().filter(|&m| m == l).count() > 1;
        if walks.len() > MAX_LABELS || result.iter().any(|l| !walks.contains_key(l) || twice(l)) {
            return Err(refused());
        }
        let tensor_labels = if a.has_batch() { labels.first() } else { labels.get(1) };
        let batch = tensor_labels.filter(|_| a.has_batch() || b.has_batch()).and_then(|l| l.first());
        if let Some(batch) = batch
            && (result.first() != Some(batch) || all.iter().filter(|&l| l == batch).count() > 1)
        {
            return Err(Problem::MixesBatch);
        }
        let out: Vec<Walk> = result.iter().filter_map(|label| walks.remove(label)).collect();
        let sum: Vec<Walk> = walks.into_values().collect();
        let shape = out.iter().map(|walk| walk.extent).collect();
        self.contract(step, &a, &b, shape, &out, &sum)
    }

    /// For each index of `out`, the sum over those of `sum` of the products of both operands.
    #[expect(clippy::indexing_slicing, reason = "places are sums of steps within both operands")]
    fn contract(
        &mut self,
        step: &Step<'_>,
        a: &Value,
        b: &Value,
        shape: Vec<usize>,
        out: &[Walk],
        sum: &[Walk],
    ) -> Result<Value, Problem> {
        let len = budget::elements(&shape)?;
        let terms =
            sum.iter().try_fold(1usize, |n, walk| n.checked_mul(walk.extent)).ok_or(Problem::Budget)?;
        self.builder.budget.charge(len.saturating_mul(terms).saturating_mul(2).saturating_add(len))?;
        let places = |i: usize, walks: &[Walk]| {
            let mut rest = i;
            let mut left = 0;
            let mut right = 0;
            for walk in walks.iter().rev() {
                let at = rest % walk.extent.max(1);
                rest /= walk.extent.max(1);
                left += at * walk.left;
                right += at * walk.right;
            }
            (left, right)
        };
        let pairs = |i: usize| {
            let (left, right) = places(i, out);
            (0..terms).map(move |j| places(j, sum)).map(move |(l, r)| (left + l, right + r))
        };
        let (x, weights, is_left): (&Tensor, _, bool) = match (a, b) {
            (Value::Tensor(x), Value::Constant(w)) => (x, w.to_floats()?, true),
            (Value::Constant(w), Value::Tensor(x)) => (x, w.to_floats()?, false),
            (Value::Tensor(_), Value::Tensor(_)) => return Err(Unsupported::EncryptedMatrices.into()),
            (Value::Constant(a), Value::Constant(b)) => {
                let x = a.to_floats()?;
                let y = b.to_floats()?;
                let values = (0..len).map(|i| pairs(i).map(|(l, r)| x[l] * y[r]).sum::<f64>()).collect();
                return Constant::rounded(shape, values, a.element).map(Value::Constant);
            }
        };
        let mut starts = vec![0u32];
        let mut entries = Vec::new();
        for i in 0..len {
            entries.extend(pairs(i).map(|(l, r)| {
                let (source, weight) = if is_left { (l, r) } else { (r, l) };
                (source as u32, weights[weight])
            }));
            starts.push(entries.len() as u32);
        }
        let [1, item @ ..] = shape.as_slice() else { return Err(Problem::MixesBatch) };
        let linear = Linear::new(Sparse::new(x.len(), starts, entries)?);
        self.builder.linear(&step.name, x, item, linear).map(Value::Tensor)
    }
}
