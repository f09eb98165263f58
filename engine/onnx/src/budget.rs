//! The elements that may yet be made while importing.

use crate::limits::{MAX_ACTIVATION, MAX_ACTIVATIONS, MAX_ELEMENTS, MAX_RANK, MAX_TOTAL};
use crate::problem::Problem;

/// Number of elements that an import may still allocate.
#[derive(Debug)]
pub(crate) struct Budget {
    left: usize,
    activations: usize,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self { left: MAX_TOTAL, activations: MAX_ACTIVATIONS }
    }

    /// Takes `elements` from the budget, before they are allocated.
    pub(crate) fn charge(&mut self, elements: usize) -> Result<(), Problem> {
        self.left = self.left.checked_sub(elements).ok_or(Problem::Budget)?;
        Ok(())
    }

    /// Takes a tensor of this shape that depends on the input: a plan has more work with it than an importer.
    pub(crate) fn charge_activation(&mut self, shape: &[usize]) -> Result<(), Problem> {
        let len = elements(shape)?;
        if len > MAX_ACTIVATION {
            return Err(Problem::Elements { shape: shape.to_vec(), limit: MAX_ACTIVATION });
        }
        self.activations = self.activations.checked_sub(len).ok_or(Problem::Activations)?;
        Ok(())
    }
}

/// The elements of a shape, checked; its extents too, should one of them be zero.
pub(crate) fn elements(shape: &[usize]) -> Result<usize, Problem> {
    if shape.len() > MAX_RANK {
        return Err(Problem::Rank { found: shape.len() });
    }
    match shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1))) {
        Some(n) if n <= MAX_ELEMENTS => Ok(shape.iter().product()),
        _ => Err(Problem::elements(shape)),
    }
}
