//! Shapes, and maps between tensors that only move elements.

use crate::budget::{self, Budget};
use crate::problem::Problem;

/// Element `i` of a tensor of this shape is element `sources[i]` of another, or a fill value.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub(crate) shape: Vec<usize>,
    pub(crate) sources: Vec<Option<u32>>,
}

impl Selection {
    /// Each axis by itself: index `i` of axis `a` comes from `axes[a][i]`, if from anywhere.
    pub(crate) fn by_axes(
        shape: &[usize],
        axes: &[Vec<Option<usize>>],
        budget: &mut Budget,
    ) -> Result<Self, Problem> {
        let offsets = axes
            .iter()
            .zip(strides(shape))
            .map(|(axis, stride)| axis.iter().map(|i| i.map(|i| i * stride)).collect::<Vec<Option<usize>>>());
        Self::combine(&offsets.collect::<Vec<_>>(), budget)
    }

    /// Axis `a` of the result is axis `order[a]`.
    pub(crate) fn permute(shape: &[usize], order: &[usize], budget: &mut Budget) -> Result<Self, Problem> {
        let strides = strides(shape);
        let axes = order.iter().map(|&a| {
            let stride = extent(&strides, a)?;
            Ok((0..extent(shape, a)?).map(|i| Some(i * stride)).collect())
        });
        Self::combine(&axes.collect::<Result<Vec<_>, Problem>>()?, budget)
    }

    /// Repeats along axes of extent one, and along new ones in front.
    pub(crate) fn broadcast(shape: &[usize], to: &[usize], budget: &mut Budget) -> Result<Self, Problem> {
        budget::elements(to)?;
        let new = to.len().saturating_sub(shape.len());
        let padded: Vec<usize> = std::iter::repeat_n(1, new).chain(shape.iter().copied()).collect();
        let axes = padded
            .iter()
            .zip(to)
            .map(|(&n, &out)| (0..out).map(|i| Some(if n == 1 { 0 } else { i })).collect())
            .collect::<Vec<_>>();
        Self::by_axes(&padded, &axes, budget)
    }

    /// Sums of one offset per axis.
    fn combine(axes: &[Vec<Option<usize>>], budget: &mut Budget) -> Result<Self, Problem> {
        let shape: Vec<usize> = axes.iter().map(Vec::len).collect();
        let len = budget::elements(&shape)?;
        budget.charge(len)?;
        if len == 0 {
            return Ok(Self { shape, sources: Vec::new() });
        }
        let mut sources = vec![Some(0u32)];
        for axis in axes {
            let mut next = Vec::with_capacity(sources.len() * axis.len());
            for source in &sources {
                next.extend(axis.iter().map(|offset| Some((*source)? + u32::try_from((*offset)?).ok()?)));
            }
            sources = next;
        }
        Ok(Self { shape, sources })
    }

    /// An axis that stays as it is.
    pub(crate) fn all(n: usize) -> Vec<Option<usize>> {
        (0..n).map(Some).collect()
    }
}

/// The extent of an axis that the shape has.
pub(crate) fn extent(shape: &[usize], axis: usize) -> Result<usize, Problem> {
    shape.get(axis).copied().ok_or(Problem::Internal("an axis is none of the shape"))
}

/// The entry of an axis in a list with one entry for each axis.
pub(crate) fn entry<T>(list: &mut [T], axis: usize) -> Result<&mut T, Problem> {
    list.get_mut(axis).ok_or(Problem::Internal("an axis is none of the shape"))
}

/// An element of a tensor, by its position in row-major order.
pub(crate) fn element<T>(elements: &mut [T], position: u32) -> Result<&mut T, Problem> {
    elements.get_mut(position as usize).ok_or(Problem::Internal("a position is none of the tensor"))
}

/// The shape of one item of a tensor that has a batch.
pub(crate) fn of_item(shape: &[usize]) -> Result<&[usize], Problem> {
    shape.get(1..).ok_or(Problem::Internal("a batch has no shape"))
}

/// Distance of neighbours along each axis.
pub(crate) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut out = vec![1; shape.len()];
    let mut stride = 1usize;
    for (place, n) in out.iter_mut().zip(shape).rev() {
        *place = stride;
        stride = stride.saturating_mul(*n);
    }
    out
}

/// The common shape that two shapes broadcast to.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Problem> {
    let rank = a.len().max(b.len());
    let padded = |shape: &[usize]| {
        let new = rank - shape.len();
        std::iter::repeat_n(1, new).chain(shape.iter().copied()).collect::<Vec<_>>()
    };
    let pairs = padded(a).into_iter().zip(padded(b));
    let shape = pairs.map(|(a, b)| match (a, b) {
        (1, n) | (n, 1) => Ok(n),
        (a, b) if a == b => Ok(a),
        _ => Err(()),
    });
    let shape = shape.collect::<Result<Vec<_>, ()>>();
    let shape = shape.map_err(|()| Problem::Broadcast { left: a.to_vec(), right: b.to_vec() })?;
    budget::elements(&shape)?;
    Ok(shape)
}

/// An axis, counted from the end if negative.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, Problem> {
    let from_end = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    usize::try_from(from_end).ok().filter(|&a| a < rank).ok_or(Problem::Axis { axis, rank })
}
