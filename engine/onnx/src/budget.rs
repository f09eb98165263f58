//! The elements that may yet be made while importing.

use crate::limits::{MAX_ELEMENTS, MAX_RANK, MAX_TOTAL};
use crate::problem::Problem;

/// What may yet be made.
#[derive(Debug)]
pub(crate) struct Budget {
    left: usize,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self { left: MAX_TOTAL }
    }

    /// Takes so many elements of it, before they are made.
    pub(crate) fn charge(&mut self, elements: usize) -> Result<(), Problem> {
        self.left = self.left.checked_sub(elements).ok_or(Problem::Budget)?;
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
