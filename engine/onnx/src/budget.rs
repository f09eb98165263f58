//! Limits: a small file must not make a large network by broadcasting, padding or repeating.

use crate::problem::Problem;

/// Most axes a tensor may have.
pub(crate) const MAX_RANK: usize = 8;
/// Most elements of a tensor in the file.
pub(crate) const MAX_CONSTANT: usize = 1 << 28;
/// Most elements of a tensor that depends on the input, or is computed from constants.
pub(crate) const MAX_ELEMENTS: usize = 1 << 24;
/// Most elements of all that is made while importing.
pub(crate) const MAX_TOTAL: usize = 1 << 27;

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
