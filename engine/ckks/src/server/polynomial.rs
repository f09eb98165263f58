//! Polynomials of a ciphertext, slot by slot, at the least possible depth.
//!
//! A polynomial of degree `d` is split as `q T_g + r` at the largest power of two `g <= d`, again and again, down to
//! pieces that are sums of known `T_i` (Paterson and Stockmeyer 1973; for the Chebyshev basis, Chen, Chillotti, Song
//! 2019). The result lies `ceil(log2(d+1))` levels below the argument. Scales are set from the top down (Bossuat et
//! al., eprint 2020/1203): each piece is given the scale of its result, and its constants are encoded so that the result has
//! exactly that scale.

use super::error::EvalError;
use super::evaluator::{Evaluator, below};
use super::objects::{CiphertextBatch, PreparedKeys};
use pleura_ring::Backend;
use std::collections::BTreeMap;

/// Basis of a [`Polynomial`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Basis {
    /// `1, x, x^2, ...`
    Power,
    /// `T_0(y), T_1(y), ...` of `y`, which maps the interval to `[-1, 1]`; well conditioned at any degree.
    Chebyshev {
        /// Lower end of the interval.
        from: f64,
        /// Upper end of the interval.
        to: f64,
    },
}

/// A real polynomial.
#[derive(Clone, Debug, PartialEq)]
pub struct Polynomial {
    basis: Basis,
    coefficients: Vec<f64>,
}

/// Why a polynomial was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolynomialError {
    /// The polynomial is constant, or has no coefficients.
    #[error("a polynomial to evaluate needs degree 1 or more")]
    Constant,
    /// A coefficient or the interval is not finite, or the interval is empty.
    #[error("the coefficients must be finite and the interval not empty")]
    NotFinite,
}

impl Polynomial {
    /// The sum of `coefficients[i]` times the basis' element `i`.
    ///
    /// # Errors
    /// [`PolynomialError`]
    /// ```
    /// use pleura_ckks::{Basis, Polynomial};
    ///
    /// // T_2(y) = 2 y^2 - 1 of y in [-1, 1], which [0, 4] is mapped to.
    /// let basis = Basis::Chebyshev { from: 0.0, to: 4.0 };
    /// let polynomial = Polynomial::new(basis, vec![0.0, 0.0, 1.0])?;
    /// assert_eq!(polynomial.evaluate(2.0), -1.0);
    /// assert_eq!(polynomial.evaluate(4.0), 1.0);
    /// assert_eq!((polynomial.degree(), polynomial.depth()), (2, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(basis: Basis, mut coefficients: Vec<f64>) -> Result<Self, PolynomialError> {
        let interval = match basis {
            Basis::Power => 1.0,
            Basis::Chebyshev { from, to } => to - from,
        };
        let finite = interval.is_finite() && coefficients.iter().all(|c| c.is_finite());
        if !finite || interval <= 0.0 {
            return Err(PolynomialError::NotFinite);
        }
        trim(&mut coefficients);
        if coefficients.len() < 2 { Err(PolynomialError::Constant) } else { Ok(Self { basis, coefficients }) }
    }

    /// The polynomial of degree `degree` that equals `f` at the Chebyshev nodes of an interval.
    ///
    /// # Errors
    /// [`PolynomialError`]
    pub fn interpolate(
        f: impl Fn(f64) -> f64,
        from: f64,
        to: f64,
        degree: usize,
    ) -> Result<Self, PolynomialError> {
        let count = degree + 1;
        let angle = |k: usize| std::f64::consts::PI * (k as f64 + 0.5) / count as f64;
        let values: Vec<f64> =
            (0..count).map(|k| f(0.5 * (from + to) + 0.5 * (to - from) * angle(k).cos())).collect();
        let coefficients = (0..count).map(|i| {
            let sum: f64 = values.iter().enumerate().map(|(k, v)| v * (i as f64 * angle(k)).cos()).sum();
            sum * if i == 0 { 1.0 } else { 2.0 } / count as f64
        });
        Self::new(Basis::Chebyshev { from, to }, coefficients.collect())
    }

    /// Degree of the polynomial.
    pub fn degree(&self) -> usize {
        self.coefficients.len() - 1
    }

    /// The levels it takes: `ceil(log2(degree + 1))`. One more where the interval is not about `[-1, 1]` and the
    /// argument's scale does not make up for that.
    pub fn depth(&self) -> usize {
        depth(self.degree())
    }

    /// Value at a plaintext point.
    #[expect(clippy::indexing_slicing, reason = "a polynomial has two coefficients at least")]
    pub fn evaluate(&self, x: f64) -> f64 {
        match self.basis {
            Basis::Power => self.coefficients.iter().rev().fold(0.0, |acc, c| acc * x + c),
            Basis::Chebyshev { from, to } => {
                // Clenshaw's recurrence.
                let y = (2.0 * x - from - to) / (to - from);
                let (b1, b2) = self
                    .coefficients
                    .iter()
                    .skip(1)
                    .rev()
                    .fold((0.0, 0.0), |(b1, b2), c| (2.0 * y * b1 - b2 + c, b1));
                self.coefficients[0] + y * b1 - b2
            }
        }
    }
}

impl<B: Backend> Evaluator<B> {
    /// `polynomial(x)` in every slot, at the usual scale of its level. Needs the relinearization key at `x`'s level.
    ///
    /// # Errors
    /// [`EvalError::OutOfLevels`], [`EvalError::MissingKey`], [`EvalError::Parts`]; [`EvalError::BadConstant`] or
    /// [`EvalError::ScaleTooLarge`] where a coefficient or the argument's scale is out of all proportion
    #[expect(clippy::expect_used, reason = "as it says")]
    pub fn polynomial(
        &self,
        x: &CiphertextBatch<B>,
        polynomial: &Polynomial,
        keys: &PreparedKeys<B>,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        let mut argument = self.copy(x)?;
        let mut shift = 0.0;
        if let Basis::Chebyshev { from, to } = polynomial.basis {
            // The factor 2 / (to - from) is a matter of scale alone.
            let scale = x.scale() * (to - from) / 2.0;
            argument = argument.with_scale(scale);
            shift = -(from + to) / (to - from);
        }
        // Powers carry an unusual scale to unusual heights: about as many bits of precision are lost as the highest
        // giant step's scale is off, and more than two are worth a level.
        let unusual = (argument.scale() / self.params().scale(argument.level())).log2();
        let lost = unusual.abs() * f64::from(polynomial.degree().ilog2()).exp2();
        if lost.is_nan() || lost > 2.0 {
            let level = below(argument.level())?;
            argument = self.to_level(&argument, level)?;
        }
        if shift != 0.0 {
            argument = self.add_const(&argument, shift)?;
        }

        let needed = polynomial.depth();
        let level = argument.level();
        let Some(out) = level.checked_sub(needed) else {
            return Err(EvalError::OutOfLevels { needed, level });
        };
        let chebyshev = matches!(polynomial.basis, Basis::Chebyshev { .. });
        let mut tower = Tower {
            evaluator: self,
            keys,
            chebyshev,
            level,
            small: 1 << needed.div_ceil(2),
            known: BTreeMap::from([(1, argument)]),
        };
        let scale = self.params().scale(out) * self.params().divisor(out + 1);
        let sum = tower.add_piece(None, &polynomial.coefficients, out + 1, scale)?;
        let sum = sum.expect("a polynomial of degree 1 and more has a term");
        Ok(self.descend(&sum, keys)?.with_scale(self.params().scale(out)))
    }

    /// One level down, relinearized if need be.
    fn descend(
        &self,
        x: &CiphertextBatch<B>,
        keys: &PreparedKeys<B>,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        if x.parts() == 3 { self.relinearize_rescale(x, keys) } else { self.rescale(x) }
    }
}

/// The basis elements of one argument that are known so far.
struct Tower<'a, B: Backend> {
    evaluator: &'a Evaluator<B>,
    keys: &'a PreparedKeys<B>,
    chebyshev: bool,
    /// The argument's.
    level: usize,
    /// Elements below this are cheap: sums of them are not split further.
    small: usize,
    known: BTreeMap<usize, CiphertextBatch<B>>,
}

impl<B: Backend> Tower<'_, B> {
    /// Adds `sum c_i T_i` to `sum`, everything at `level` and `scale`. Products stay in three parts, so that one relinearization
    /// at the rescaling serves all of them.
    fn add_piece(
        &mut self,
        sum: Option<CiphertextBatch<B>>,
        coefficients: &[f64],
        level: usize,
        scale: f64,
    ) -> Result<Option<CiphertextBatch<B>>, EvalError> {
        let terms: Vec<_> = coefficients.iter().enumerate().skip(1).filter(|&(_, c)| *c != 0.0).collect();
        let reachable = terms
            .iter()
            .all(|&(i, _)| (i < self.small || i.is_power_of_two()) && self.level - depth(i - 1) >= level);
        if reachable {
            let mut sum = sum;
            for (i, &c) in terms {
                let element = self.element_at(i, level)?;
                let missing = scale / element.scale();
                let term = self.evaluator.mul_const(&element, c, missing)?.with_scale(scale);
                sum = Some(self.join(sum, term)?);
            }
            return match (sum, coefficients.first()) {
                (Some(sum), Some(&c)) if c != 0.0 => Ok(Some(self.evaluator.add_const(&sum, c)?)),
                (sum, _) => Ok(sum),
            };
        }
        let degree = terms.last().map_or(0, |&(i, _)| i);
        let giant = 1 << degree.ilog2();
        let (quotient, remainder) = self.split(coefficients, giant);
        let element = self.element_at(giant, level)?;
        let mut sum = sum;
        let params = self.evaluator.params();
        let above = scale / element.scale();
        let needed = params.divisor(level + 1);
        if let Some(quotient) = self.add_piece(None, &quotient, level + 1, above * needed)? {
            let quotient = self.evaluator.descend(&quotient, self.keys)?.with_scale(above);
            let product = self.evaluator.mul_no_relin(&quotient, &element)?.with_scale(scale);
            sum = Some(self.join(sum, product)?);
        } else if let Some(&c) = quotient.first() {
            let product = self.evaluator.mul_const(&element, c, above)?.with_scale(scale);
            sum = Some(self.join(sum, product)?);
        }
        self.add_piece(sum, &remainder, level, scale)
    }

    fn join(
        &self,
        sum: Option<CiphertextBatch<B>>,
        term: CiphertextBatch<B>,
    ) -> Result<CiphertextBatch<B>, EvalError> {
        match sum {
            Some(sum) => self.evaluator.add(&sum, &term),
            None => Ok(term),
        }
    }

    /// `p = q T_g + r` with both of degree below `g`, by `T_(g+i) = 2 T_g T_i - T_(g-i)` in the Chebyshev basis.
    fn split(&self, coefficients: &[f64], giant: usize) -> (Vec<f64>, Vec<f64>) {
        let (low, high) = coefficients.split_at(giant);
        let mut quotient = high.to_vec();
        let mut remainder = low.to_vec();
        if self.chebyshev {
            // The degree is below `2 g`, so that each `T_(g-i)` is in the remainder.
            for (q, r) in quotient.iter_mut().skip(1).zip(remainder.iter_mut().rev()) {
                *r -= *q;
                *q *= 2.0;
            }
        }
        trim(&mut quotient);
        trim(&mut remainder);
        (quotient, remainder)
    }

    /// Element `i` at `level`. Where levels differ in scale it is brought to the level's own: what it multiplies would
    /// have the rest, which may be too little.
    #[expect(clippy::indexing_slicing, reason = "it was found")]
    fn element_at(&mut self, i: usize, level: usize) -> Result<CiphertextBatch<B>, EvalError> {
        self.find(i)?;
        let element = &self.known[&i];
        let unusual = (element.scale() / self.evaluator.params().scale(level)).log2().abs();
        if element.level() > level && unusual > 1.0 {
            return self.evaluator.to_level(element, level);
        }
        self.evaluator.drop_level(element, level)
    }

    /// Computes element `i` if it is not known: `T_(a+b) = 2 T_a T_b - T_(a-b)`, or `x^(a+b) = x^a x^b`.
    fn find(&mut self, i: usize) -> Result<(), EvalError> {
        if self.known.contains_key(&i) {
            return Ok(());
        }
        let a = 1 << (i - 1).ilog2();
        let b = i - a;
        // The last product is the lowest.
        let level = self.level - depth(i - 1) + 1;
        let left = self.element_at(a, level)?;
        let right = self.element_at(b, level)?;
        let evaluator = self.evaluator;
        let mut product = evaluator.mul_no_relin(&left, &right)?;
        if self.chebyshev {
            product = evaluator.mul_const(&product, 2.0, 1.0)?;
            product = if a == b {
                evaluator.add_const(&product, -1.0)?
            } else {
                let low = self.element_at(a - b, level)?;
                let missing = product.scale() / low.scale();
                let low = evaluator.mul_const(&low, -1.0, missing)?.with_scale(product.scale());
                evaluator.add(&product, &low)?
            };
        }
        let element = evaluator.relinearize_rescale(&product, self.keys)?;
        self.known.insert(i, element);
        Ok(())
    }
}

/// The levels below the argument at which a polynomial of degree `d` is known.
fn depth(degree: usize) -> usize {
    (degree + 1).next_power_of_two().ilog2() as usize
}

fn trim(coefficients: &mut Vec<f64>) {
    let length = coefficients.iter().rposition(|&c| c != 0.0).map_or(0, |last| last + 1);
    coefficients.truncate(length);
}
