//! Polynomials in place of functions that ciphertexts cannot compute.
//!
//! The best polynomial of degree `d` is the one whose error takes its greatest magnitude `d + 2` times with
//! alternating signs (Chebyshev). Remez' exchange finds it: solve `p(x_i) + (-1)^i E = f(x_i)` on `d + 2` points,
//! move the points to where the error is greatest, repeat.

use std::f64::consts::{FRAC_1_SQRT_2, PI};
use std::fmt;
use std::str::FromStr;

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// `max(x, 0)`
    Relu,
    /// `x`, times this where negative.
    LeakyRelu(f64),
    /// `x`, or `a (e^x - 1)` where negative.
    Elu(f64),
    /// The scaled elu of self-normalizing networks.
    Selu,
    /// `min(max(x, low), high)`
    Clip {
        /// Least value.
        low: f64,
        /// Greatest value.
        high: f64,
    },
    /// `1 / (1 + e^-x)`
    Sigmoid,
    /// `slope x + offset`, cut to 0 to 1.
    HardSigmoid {
        /// Slope.
        slope: f64,
        /// Value at zero.
        offset: f64,
    },
    /// `x hardsigmoid(x)` of slope 1/6 and offset 1/2.
    HardSwish,
    /// Hyperbolic tangent.
    Tanh,
    /// `x sigmoid(x)`
    Silu,
    /// `x (1 + erf(x / sqrt 2)) / 2`
    Gelu,
    /// `x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2`
    TanhGelu,
    /// `ln(1 + e^x)`
    Softplus,
    /// `|x|`
    Abs,
    /// `e^x`
    Exp,
    /// The error function.
    Erf,
    /// `x / (1 + |x|)`
    Softsign,
    /// `x tanh(ln(1 + e^x))`
    Mish,
}

/// `outer * function(inner * x)`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activation {
    /// The function.
    pub function: Function,
    /// Factor of the argument.
    pub inner: f64,
    /// Factor of the value.
    pub outer: f64,
}

/// A polynomial near a function on an interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// Coefficients of the Chebyshev polynomials `T_0(t), T_1(t), ...` of `t = (2 x - from - to) / (to - from)`.
    pub chebyshev: Vec<f64>,
    /// Lower end of the interval.
    pub from: f64,
    /// Upper end of the interval.
    pub to: f64,
    /// Greatest error on the interval.
    pub max_error: f64,
    /// Mean magnitude of the error on the interval.
    pub mean_error: f64,
}

/// Reason why there is no fit.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// No such function.
    #[error("there is no function {0:?}; choose one of {names}", names = Function::NAMES.join(", "))]
    Unknown(String),
    /// No such degree.
    #[error("a degree of {0}; polynomials have degrees from 1 to {max}", max = MAX_FIT_DEGREE)]
    Degree(usize),
    /// No interval.
    #[error("an interval from {from} to {to}; its ends must be finite numbers in order")]
    Interval {
        /// Lower end.
        from: f64,
        /// Upper end.
        to: f64,
    },
    /// The function cannot be computed there.
    #[error("{function} overflows between {from} and {to}; take a smaller interval")]
    Overflow {
        /// Which function.
        function: &'static str,
        /// Lower end.
        from: f64,
        /// Upper end.
        to: f64,
    },
    /// The ends of the interval are too close for double precision to distinguish.
    #[error("no polynomial is near {function} between {from} and {to}; take a wider interval")]
    TooNarrow {
        /// Which function.
        function: &'static str,
        /// Lower end.
        from: f64,
        /// Upper end.
        to: f64,
    },
}

impl Function {
    /// Names that [`Function::from_str`] accepts.
    pub const NAMES: [&str; 19] = [
        "relu",
        "relu6",
        "leaky_relu",
        "elu",
        "selu",
        "clip",
        "sigmoid",
        "hardsigmoid",
        "hardswish",
        "tanh",
        "silu",
        "gelu",
        "tanh_gelu",
        "softplus",
        "abs",
        "exp",
        "erf",
        "softsign",
        "mish",
    ];

    /// Name of the function, one of [`Function::NAMES`].
    pub fn name(&self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::LeakyRelu(_) => "leaky_relu",
            Self::Elu(_) => "elu",
            Self::Selu => "selu",
            Self::Clip { low: 0.0, high: 6.0 } => "relu6",
            Self::Clip { .. } => "clip",
            Self::Sigmoid => "sigmoid",
            Self::HardSigmoid { .. } => "hardsigmoid",
            Self::HardSwish => "hardswish",
            Self::Tanh => "tanh",
            Self::Silu => "silu",
            Self::Gelu => "gelu",
            Self::TanhGelu => "tanh_gelu",
            Self::Softplus => "softplus",
            Self::Abs => "abs",
            Self::Exp => "exp",
            Self::Erf => "erf",
            Self::Softsign => "softsign",
            Self::Mish => "mish",
        }
    }

    /// Value of the function at `x`.
    pub fn evaluate(&self, x: f64) -> f64 {
        let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
        let elu = |x: f64, a: f64| if x < 0.0 { a * x.exp_m1() } else { x };
        match *self {
            Self::Relu => x.max(0.0),
            Self::LeakyRelu(slope) => x * if x < 0.0 { slope } else { 1.0 },
            Self::Elu(a) => elu(x, a),
            Self::Selu => 1.050_700_987_355_480_5 * elu(x, 1.673_263_242_354_377_3),
            Self::Clip { low, high } => x.max(low).min(high),
            Self::Sigmoid => logistic(x),
            Self::HardSigmoid { slope, offset } => (slope * x + offset).clamp(0.0, 1.0),
            Self::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Self::Tanh => x.tanh(),
            Self::Silu => x * logistic(x),
            Self::Gelu => 0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2)),
            Self::TanhGelu => 0.5 * x * (1.0 + ((x + 0.044_715 * x.powi(3)) * (2.0 / PI).sqrt()).tanh()),
            Self::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Self::Abs => x.abs(),
            Self::Exp => x.exp(),
            Self::Erf => erf(x),
            Self::Softsign => x / (1.0 + x.abs()),
            Self::Mish => x * (x.max(0.0) + (-x.abs()).exp().ln_1p()).tanh(),
        }
    }
}

impl Function {
    /// Places where the slope jumps.
    fn kinks(&self) -> Vec<f64> {
        match *self {
            Self::Relu | Self::LeakyRelu(_) | Self::Elu(_) | Self::Selu | Self::Abs => vec![0.0],
            Self::Clip { low, high } => vec![low, high],
            Self::HardSigmoid { slope, offset } => vec![-offset / slope, (1.0 - offset) / slope],
            Self::HardSwish => vec![-3.0, 3.0],
            Self::Sigmoid | Self::Tanh | Self::Silu | Self::Gelu | Self::Softplus | Self::Exp => Vec::new(),
            Self::TanhGelu | Self::Erf | Self::Softsign | Self::Mish => Vec::new(),
        }
    }
}

impl FromStr for Function {
    type Err = FitError;

    /// One of [`Function::NAMES`], with the usual parameters: 0.01 for leaky_relu, 1 for elu, -1 and 1 for clip,
    /// 1/6 and 1/2 for hardsigmoid.
    fn from_str(name: &str) -> Result<Self, FitError> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "relu" => Self::Relu,
            "relu6" => Self::Clip { low: 0.0, high: 6.0 },
            "leaky_relu" => Self::LeakyRelu(0.01),
            "elu" => Self::Elu(1.0),
            "selu" => Self::Selu,
            "clip" => Self::Clip { low: -1.0, high: 1.0 },
            "sigmoid" => Self::Sigmoid,
            "hardsigmoid" => Self::HardSigmoid { slope: 1.0 / 6.0, offset: 0.5 },
            "hardswish" => Self::HardSwish,
            "tanh" => Self::Tanh,
            "silu" => Self::Silu,
            "gelu" => Self::Gelu,
            "tanh_gelu" => Self::TanhGelu,
            "softplus" => Self::Softplus,
            "abs" => Self::Abs,
            "exp" => Self::Exp,
            "erf" => Self::Erf,
            "softsign" => Self::Softsign,
            "mish" => Self::Mish,
            _ => return Err(FitError::Unknown(name.into())),
        })
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeakyRelu(a) | Self::Elu(a) => write!(f, "{}({a})", self.name()),
            Self::Clip { low, high } => write!(f, "clip({low}, {high})"),
            _ => f.write_str(self.name()),
        }
    }
}

/// Greatest degree of [`fit`].
pub const MAX_FIT_DEGREE: usize = 64;
/// Angles at which errors are measured.
const GRID: usize = 4096;

/// A polynomial of at most this degree whose greatest error between the two numbers is near the least possible.
///
/// # Errors
/// [`FitError`] says which number is wrong.
pub fn fit(function: Function, degree: usize, from: f64, to: f64) -> Result<Fitted, FitError> {
    if !(1..=MAX_FIT_DEGREE).contains(&degree) {
        return Err(FitError::Degree(degree));
    }
    if !(from.is_finite() && to.is_finite() && from < to && (to - from).is_finite()) {
        return Err(FitError::Interval { from, to });
    }
    let x_of = |t: f64| from + (to - from) * (0.5 + 0.5 * t);
    let mut ts: Vec<f64> = (0..=GRID).map(|i| -(i as f64 * PI / GRID as f64).cos()).collect();
    // Errors are largest at kinks, which lie between the points of the grid.
    let kinks = function.kinks().into_iter().filter(|kink| from < *kink && *kink < to);
    ts.extend(kinks.map(|kink| (2.0 * kink - from - to) / (to - from)));
    ts.sort_by(f64::total_cmp);
    let values: Vec<f64> = ts.iter().map(|&t| function.evaluate(x_of(t))).collect();
    if !values.iter().all(|y| y.is_finite()) {
        return Err(FitError::Overflow { function: function.name(), from, to });
    }
    // Even and odd functions leave every second degree without use, and the exchange without a direction there.
    let candidates = [degree, degree - 1].map(|d| exchange(&ts, &values, d));
    let worst = |c: &Vec<f64>| greatest(&errors(&ts, &values, c));
    let [a, b] = candidates;
    let best = if worst(&b) < worst(&a) * (1.0 + 1e-9) { b } else { a };

    // Elements that a polynomial of lower degree or of one parity lacks come out as rounding errors.
    let negligible = 1e-13 * greatest(&values).max(f64::MIN_POSITIVE);
    let mut chebyshev: Vec<f64> =
        best.into_iter().map(|c| if c.abs() < negligible { 0.0 } else { c }).collect();
    chebyshev.resize(degree + 1, 0.0);
    let residues = errors(&ts, &values, &chebyshev);
    let max_error = greatest(&residues);
    // Angles are dense at the ends: a mean over the interval weighs each by what it covers.
    let weights = ts.iter().map(|t| (1.0 - t * t).sqrt());
    let sum: f64 = residues.iter().zip(weights.clone()).map(|(e, w)| e.abs() * w).sum();
    let mean_error = sum / weights.sum::<f64>();
    if !max_error.is_finite() {
        return Err(FitError::TooNarrow { function: function.name(), from, to });
    }
    Ok(Fitted { chebyshev, from, to, max_error, mean_error })
}

impl Activation {
    /// The function itself.
    pub fn plain(function: Function) -> Self {
        Self { function, inner: 1.0, outer: 1.0 }
    }

    /// Value at `x`.
    pub fn evaluate(&self, x: f64) -> f64 {
        self.outer * self.function.evaluate(self.inner * x)
    }

    pub(crate) fn apply(&self, x: &[f64]) -> Vec<f64> {
        x.iter().map(|&x| self.evaluate(x)).collect()
    }

    /// The best polynomial for `x` between two numbers, and its largest and mean error.
    pub(crate) fn fit(&self, degree: usize, from: f64, to: f64) -> Result<Fitted, FitError> {
        let ends = [from * self.inner, to * self.inner];
        let mut fitted = fit(self.function, degree, ends[0].min(ends[1]), ends[0].max(ends[1]))?;
        // A negative factor turns the interval around, and with it the odd elements.
        let turned = self.inner < 0.0;
        for (k, c) in fitted.chebyshev.iter_mut().enumerate() {
            *c *= if turned && k % 2 == 1 { -self.outer } else { self.outer };
        }
        let max_error = fitted.max_error * self.outer.abs();
        let mean_error = fitted.mean_error * self.outer.abs();
        Ok(Fitted { chebyshev: fitted.chebyshev, from, to, max_error, mean_error })
    }
}

impl Fitted {
    /// Value of the polynomial at `x`.
    pub fn evaluate(&self, x: f64) -> f64 {
        chebyshev_sum(&self.chebyshev, (2.0 * x - self.from - self.to) / (self.to - self.from))
    }

    /// Coefficients of `1, x, x^2, ...`; `None` where the powers of `x` cancel each other in double precision.
    pub fn powers(&self) -> Option<Vec<f64>> {
        let powers = to_powers(&self.chebyshev, self.from, self.to);
        let reach = self.from.abs().max(self.to.abs());
        let terms = powers.iter().enumerate().map(|(k, c)| c.abs() * reach.powi(k as i32));
        let rounding = f64::EPSILON * terms.sum::<f64>();
        let size = greatest(&self.chebyshev);
        (rounding <= 1e-3 * self.max_error + 1e-9 * size).then_some(powers)
    }
}

/// Chebyshev coefficients of the best polynomial that a few exchanges find, on `[-1, 1]`.
fn exchange(ts: &[f64], values: &[f64], degree: usize) -> Vec<f64> {
    let count = degree + 2;
    // The extrema of a Chebyshev polynomial, as places in the grid.
    let mut reference: Vec<usize> = (0..count).map(|i| i * (ts.len() - 1) / (count - 1)).collect();
    let mut best = (f64::INFINITY, vec![0.0]);
    for _ in 0..30 {
        let Some(coefficients) = solve(ts, values, &reference) else { break };
        let error = errors(ts, values, &coefficients);
        let worst = greatest(&error);
        let gain = best.0 - worst;
        if worst < best.0 {
            best = (worst, coefficients);
        }
        if gain < worst * 1e-9 && gain > 0.0 {
            break;
        }
        let Some(next) = alternation(&error, count) else { break };
        if next == reference {
            break;
        }
        reference = next;
    }
    best.1
}

/// Where the error is greatest between its changes of sign: `count` places, or none if there are fewer.
fn alternation(error: &[f64], count: usize) -> Option<Vec<usize>> {
    let mut peaks: Vec<(usize, f64)> = Vec::new();
    for (i, &e) in error.iter().enumerate() {
        match peaks.last_mut() {
            Some(last) if last.1.is_sign_negative() == e.is_sign_negative() => {
                if e.abs() > last.1.abs() {
                    *last = (i, e);
                }
            }
            _ => peaks.push((i, e)),
        }
    }
    // Taken from the ends, signs still alternate.
    while peaks.len() > count {
        let first = peaks.first()?.1.abs();
        let last = peaks.last()?.1.abs();
        if first < last {
            peaks.remove(0);
        } else {
            peaks.pop();
        }
    }
    (peaks.len() == count).then(|| peaks.into_iter().map(|(i, _)| i).collect())
}

/// Chebyshev coefficients with `p(t_i) + (-1)^i E = f(t_i)`, by Gaussian elimination.
#[expect(clippy::indexing_slicing, reason = "the matrix has one row per place and one column more")]
fn solve(ts: &[f64], values: &[f64], reference: &[usize]) -> Option<Vec<f64>> {
    let n = reference.len();
    let mut rows: Vec<Vec<f64>> = Vec::with_capacity(n);
    for (i, &place) in reference.iter().enumerate() {
        let mut row = chebyshev(*ts.get(place)?, n - 1);
        row.push(if i % 2 == 0 { 1.0 } else { -1.0 });
        row.push(*values.get(place)?);
        rows.push(row);
    }
    for column in 0..n {
        let pivot = (column..n).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()))?;
        rows.swap(column, pivot);
        if rows[column][column].abs() < 1e-13 {
            return None;
        }
        let (above, below) = rows.split_at_mut(column + 1);
        for row in below {
            let factor = row[column] / above[column][column];
            row.iter_mut().zip(&above[column]).skip(column).for_each(|(a, b)| *a -= factor * b);
        }
    }
    let mut out = vec![0.0; n];
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|j| rows[i][j] * out[j]).sum();
        out[i] = (rows[i][n] - known) / rows[i][i];
    }
    out.pop();
    Some(out)
}

/// `T_0(t) ... T_{n-1}(t)`
fn chebyshev(t: f64, n: usize) -> Vec<f64> {
    let mut out = Vec::with_capacity(n);
    let mut a = 1.0;
    let mut b = t;
    for _ in 0..n {
        out.push(a);
        (a, b) = (b, 2.0 * t * b - a);
    }
    out
}

fn errors(ts: &[f64], values: &[f64], coefficients: &[f64]) -> Vec<f64> {
    ts.iter().zip(values).map(|(&t, y)| chebyshev_sum(coefficients, t) - y).collect()
}

/// `sum c_k T_k(t)` by Clenshaw's recurrence; zero without coefficients.
fn chebyshev_sum(coefficients: &[f64], t: f64) -> f64 {
    let [first, rest @ ..] = coefficients else { return 0.0 };
    let mut a = 0.0;
    let mut b = 0.0;
    for &c in rest.iter().rev() {
        (a, b) = (c + 2.0 * t * a - b, a);
    }
    first + t * a - b
}

fn greatest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |m, x| x.abs().max(m))
}

/// From Chebyshev polynomials in `t` on `[-1, 1]` to powers of `x` on `[from, to]`.
fn to_powers(coefficients: &[f64], from: f64, to: f64) -> Vec<f64> {
    let [first, rest @ ..] = coefficients else { return Vec::new() };
    // t = u x + v; Clenshaw's recurrence on polynomials.
    let u = 2.0 / (to - from);
    let v = -(from + to) / (to - from);
    let by_t = |p: &[f64]| {
        let mut out = vec![0.0; p.len() + 1];
        out.iter_mut().zip(p).for_each(|(o, c)| *o += v * c);
        out.iter_mut().skip(1).zip(p).for_each(|(o, c)| *o += u * c);
        out
    };
    let mut a: Vec<f64> = Vec::new();
    let mut b: Vec<f64> = Vec::new();
    let step = |a: &[f64], b: &[f64], c: f64, factor: f64| {
        let mut out = by_t(a);
        out.iter_mut().for_each(|o| *o *= factor);
        out.iter_mut().zip(b).for_each(|(o, b)| *o -= b);
        if let Some(first) = out.first_mut() {
            *first += c;
        }
        out
    };
    for &c in rest.iter().rev() {
        let next = step(&a, &b, c, 2.0);
        b = std::mem::replace(&mut a, next);
    }
    step(&a, &b, *first, 1.0)
}

/// `2/sqrt(pi) e^(-x^2) sum 2^n x^(2n+1) / (2n+1)!!`, whose terms all have one sign.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let mut term = x;
    let mut sum = x;
    for n in 1..400 {
        term *= 2.0 * x * x / f64::from(2 * n + 1);
        sum += term;
        if term.abs() <= sum.abs() * 1e-17 {
            break;
        }
    }
    2.0 / PI.sqrt() * (-x * x).exp() * sum
}
