//! Polynomials over a node of the network, before they become a node themselves.

use crate::budget::Budget;
use crate::problem::Problem;
use std::rc::Rc;

/// Greatest degree, counted in the node that a polynomial is over.
const MAX_DEGREE: usize = 64;

/// Coefficients of `1, x, x^2, ...`; not empty. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct Polynomial(Vec<Term>);

/// A coefficient: one for all elements, or one for each.
pub(crate) type Term = Rc<[f64]>;

impl Polynomial {
    /// `x`
    pub(crate) fn identity() -> Self {
        Self::of(&[0.0, 1.0])
    }

    /// One polynomial for all elements.
    pub(crate) fn of(coefficients: &[f64]) -> Self {
        let degree = coefficients.iter().rposition(|&c| c != 0.0).unwrap_or(0);
        Self(coefficients.iter().take(degree + 1).map(|&c| Rc::from([c])).collect())
    }

    /// A constant.
    pub(crate) fn constant(term: Term) -> Self {
        Self(vec![term])
    }

    pub(crate) fn terms(&self) -> &[Term] {
        &self.0
    }

    pub(crate) fn degree(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    pub(crate) fn is_identity(&self) -> bool {
        matches!(self.0.as_slice(), [a, b] if is(a, 0.0) && is(b, 1.0))
    }

    pub(crate) fn plus(&self, other: &Self, budget: &mut Budget) -> Result<Self, Problem> {
        let (long, short) = if self.0.len() < other.0.len() { (other, self) } else { (self, other) };
        let mut out = long.0.clone();
        for (a, b) in out.iter_mut().zip(&short.0) {
            *a = sum(a, b, budget)?;
        }
        Self(out).trimmed()
    }

    pub(crate) fn times(&self, other: &Self, budget: &mut Budget) -> Result<Self, Problem> {
        let degree = self.degree() + other.degree();
        if degree > MAX_DEGREE {
            return Err(Problem::Degree { degree, limit: MAX_DEGREE });
        }
        let mut out: Vec<Term> = vec![Rc::from([0.0]); degree + 1];
        for (i, a) in self.0.iter().enumerate() {
            for (b, place) in other.0.iter().zip(out.iter_mut().skip(i)) {
                let product = product(a, b, budget)?;
                *place = sum(place, &product, budget)?;
            }
        }
        Self(out).trimmed()
    }

    /// Horner's rule over polynomials: `outer` of this one.
    pub(crate) fn then(&self, outer: &[f64], budget: &mut Budget) -> Result<Self, Problem> {
        let mut out = Self::of(&[0.0]);
        for &c in outer.iter().rev() {
            out = out.times(self, budget)?.plus(&Self::of(&[c]), budget)?;
        }
        Ok(out)
    }

    fn trimmed(mut self) -> Result<Self, Problem> {
        if !self.0.iter().all(|term| term.iter().all(|c| c.is_finite())) {
            return Err(Problem::Coefficients);
        }
        while self.0.len() > 1 && self.0.last().is_some_and(|term| term.iter().all(|&c| c == 0.0)) {
            self.0.pop();
        }
        Ok(self)
    }
}

/// A coefficient for each, or one for all if they are equal.
pub(crate) fn term(values: Vec<f64>) -> Term {
    match values.first() {
        Some(&first) if values.iter().all(|&v| v == first) => Rc::from([first]),
        _ => Rc::from(values),
    }
}

/// The coefficient of element `i`.
#[expect(clippy::indexing_slicing, reason = "one coefficient, or one for each element")]
pub(crate) fn at(term: &[f64], i: usize) -> f64 {
    term[if term.len() == 1 { 0 } else { i }]
}

fn is(term: &[f64], value: f64) -> bool {
    matches!(term, &[c] if c == value)
}

fn sum(a: &Term, b: &Term, budget: &mut Budget) -> Result<Term, Problem> {
    match (is(a, 0.0), is(b, 0.0)) {
        (true, _) => Ok(Rc::clone(b)),
        (_, true) => Ok(Rc::clone(a)),
        _ => zip(a, b, budget, |a, b| a + b),
    }
}

fn product(a: &Term, b: &Term, budget: &mut Budget) -> Result<Term, Problem> {
    match (is(a, 1.0) || is(b, 0.0), is(b, 1.0) || is(a, 0.0)) {
        (true, _) => Ok(Rc::clone(b)),
        (_, true) => Ok(Rc::clone(a)),
        _ => zip(a, b, budget, |a, b| a * b),
    }
}

fn zip(a: &Term, b: &Term, budget: &mut Budget, f: impl Fn(f64, f64) -> f64) -> Result<Term, Problem> {
    let len = a.len().max(b.len());
    budget.charge(len)?;
    Ok((0..len).map(|i| f(at(a, i), at(b, i))).collect())
}
