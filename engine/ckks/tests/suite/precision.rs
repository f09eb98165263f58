//! Precision in bits of every operation, per parameter set, against a model of its noise.
//!
//! A typical slot has `-log2(variance)/2` bits of precision by [`NoiseModel`], and 0.9 more in a conjugate-invariant ring, since it has one part. The
//! worst of `n/2` slots has `log2(ln(n) / sqrt(2))` bits less, 2.6 to 3.0. All values have absolute value 1, so that in a product the variances
//! of both factors add up.
//!
//! `cargo test --release -p pleura-ckks --test suite -- --nocapture precision::` prints the table.

use crate::common::*;
use pleura_ckks::*;
use pleura_ring::Cpu;
use std::ops::Deref;

/// By how much the mean of all slots may miss the model. More precise is wrong too: where is the noise?
const AVERAGE: std::ops::RangeInclusive<f64> = -0.5..=1.0;
/// By how much the worst slot may. One result in a million is as bad.
const WORST: f64 = -1.5;

/// [`NoiseModel`], with the rounding of 64-bit floating point.
struct Model<'a> {
    params: &'a Params,
    noise: NoiseModel,
}

impl Deref for Model<'_> {
    type Target = NoiseModel;

    fn deref(&self) -> &NoiseModel {
        &self.noise
    }
}

impl<'a> Model<'a> {
    /// Variance of a rounded constant.
    const ROUND: f64 = 1.0 / 12.0;
    /// Variance in a slot of 64-bit floating point in a transform there and back.
    const FLOAT: f64 = 1.0 / (1u128 << 103) as f64;

    fn new(params: &'a Params) -> Self {
        Self { params, noise: NoiseModel::new(params.literal()).unwrap() }
    }

    /// Bits that the larger of two parts lacks on average: there are as many parts in all, so that the worst is as bad.
    fn one_part(&self) -> f64 {
        if self.is_real() { 0.9 } else { 0.0 }
    }

    fn is_real(&self) -> bool {
        self.params.literal().ring == RingKind::ConjugateInvariant
    }

    fn fresh(&self, scale: f64) -> f64 {
        self.noise.fresh(scale) + Self::FLOAT
    }

    fn public(&self, scale: f64) -> f64 {
        self.noise.public(scale) + Self::FLOAT
    }

    fn encoding(&self, scale: f64) -> f64 {
        self.noise.encoding(self.params.n(), scale) + Self::FLOAT
    }

    /// From the level above at its usual scale: the constant 1 is rounded at the missing scale.
    fn to_level(&self, level: usize) -> f64 {
        let scale = self.params.scale(level);
        let above = self.params.scale(level + 1);
        let missing = scale * self.params.divisor(level + 1) / above;
        self.division(scale) + Self::ROUND / missing.powi(2)
    }

    /// Precision of a typical slot.
    fn bits(&self, variance: f64) -> f64 {
        self.one_part() - 0.5 * variance.log2()
    }

    /// Bits that the worst slot lacks.
    fn worst(&self) -> f64 {
        self.one_part() + ((self.params.n() as f64).ln() / 2f64.sqrt()).log2()
    }
}

struct Table<'a> {
    name: &'a str,
    setup: &'a Setup,
    failures: Vec<String>,
}

impl<'a> Table<'a> {
    fn new(name: &'a str, setup: &'a Setup) -> Self {
        Self { name, setup, failures: Vec::new() }
    }

    fn model(&self) -> Model<'a> {
        Model::new(&self.setup.params)
    }

    fn row(&mut self, operation: &str, x: &CiphertextBatch<Cpu>, want: &[Complex64], variance: f64) {
        let bits = self.model().bits(variance);
        let got = self.print(operation, x, want, variance);
        if !AVERAGE.contains(&(got.avg - bits)) || got.min - bits + self.model().worst() < WORST {
            self.failures.push(format!("{operation}: {got}, where the model says {bits:.1}"));
        }
    }

    /// Adds a row of which `variance` is an upper bound.
    fn bounded_row(&mut self, operation: &str, x: &CiphertextBatch<Cpu>, want: &[Complex64], variance: f64) {
        let bits = self.model().bits(variance);
        let got = self.print(operation, x, want, variance);
        if got.min - bits + self.model().worst() < WORST {
            self.failures.push(format!("{operation}: {got}, where the model bounds {bits:.1}"));
        }
    }

    fn print(
        &self,
        operation: &str,
        x: &CiphertextBatch<Cpu>,
        want: &[Complex64],
        variance: f64,
    ) -> Precision {
        let got = Precision::of(&self.setup.values(x), want);
        let name = self.name;
        let bits = self.model().bits(variance);
        let worst = self.model().worst();
        let level = x.level();
        let log2_scale = x.scale().log2();
        println!(
            "{name:>4} {operation:<20} level {level:>2}, scale 2^{log2_scale:<5.1} model {bits:>4.1}, worst {:>4.1}; {got}",
            bits - worst
        );
        got
    }

    fn finish(self) {
        assert!(self.failures.is_empty(), "{}: {:#?}", self.name, self.failures);
    }
}

/// With keys for everything at `level`, which is below the top where that would take long.
fn setup(
    literal: ParamsLiteral,
    level: usize,
    transform: Option<&dyn Fn(&Params) -> LinearTransform>,
) -> Setup {
    Setup::new(literal, |p| {
        let keys = KeyRequest::new().relin(level).rotations(p, [1, 2, 4], level).conjugation(p, level);
        transform.map_or(keys.clone(), |t| keys.merge(&t(p).keys()))
    })
}

/// Operations on two vectors at `level`.
fn operations(name: &str, s: &Setup, level: usize) {
    let e = &s.evaluator;
    let keys = &s.keys;
    let slots = s.slots();
    let mut table = Table::new(name, s);
    let model = table.model();
    let scale = s.params.scale(level);
    let below = level - 1;
    let divisor = s.params.divisor(level);
    let a = units(&s.params, slots, 1);
    let b = units(&s.params, slots, 2);
    let x = s.load_at(&a, level);
    let y = s.load_at(&b, level);
    let plain = s.encoder.encode_at(&b, scale).unwrap();
    let p = e.upload_plaintext(&plain, level).unwrap();

    let fresh = model.fresh(scale);
    let encoding = model.encoding(scale);
    table.row("encrypt", &x, &a, fresh);
    let public = s.secret.public_key().unwrap().encrypt_at(&plain, level).unwrap();
    table.row("encrypt, public key", &e.upload(&[public]).unwrap(), &b, model.public(scale));
    let sum = zip(&a, &b, |a, b| a + b);
    table.row("add", &e.add(&x, &y).unwrap(), &sum, 2.0 * fresh);
    table.row("sub", &e.sub(&x, &y).unwrap(), &zip(&a, &b, |a, b| a - b), 2.0 * fresh);
    table.row("neg", &e.neg(&x).unwrap(), &map(&a, |a| -a), fresh);
    table.row("add_plain", &e.add_plain(&x, &p).unwrap(), &sum, fresh + encoding);
    table.row("add_const", &e.add_const(&x, 0.3).unwrap(), &map(&a, |a| a + 0.3), fresh);
    let constant = 0.09 * fresh + Model::ROUND / scale.powi(2);
    table.row("mul_const", &e.mul_const(&x, 0.3, scale).unwrap(), &map(&a, |a| a * 0.3), constant);
    let product = zip(&a, &b, |a, b| a * b);
    table.row("mul_plain", &e.mul_plain(&x, &p).unwrap(), &product, fresh + encoding);
    let after = scale * scale / divisor;
    let tensor = 2.0 * fresh + model.key_switch(level, scale * scale);
    table.row("mul_no_relin", &e.mul_no_relin(&x, &y).unwrap(), &product, 2.0 * fresh);
    table.row("mul", &e.mul(&x, &y, keys).unwrap(), &product, tensor + model.division(scale * scale));
    table.row("mul_rescale", &e.mul_rescale(&x, &y, keys).unwrap(), &product, tensor + model.division(after));
    let square = map(&a, |a| a * a);
    table.row(
        "square_rescale",
        &e.square_rescale(&x, keys).unwrap(),
        &square,
        tensor + 2.0 * fresh + model.division(after),
    );
    let rotation = model.rotation(level, scale);
    table.row("rotate", &e.rotate(&x, 1, keys).unwrap(), &rotated(&a, 1), fresh + rotation);
    for (steps, y) in [0, 2, 4].into_iter().zip(e.rotate_many(&x, &[0, 2, 4], keys).unwrap()) {
        let variance = if steps == 0 { fresh } else { fresh + rotation };
        table.row(&format!("rotate_many, {steps}"), &y, &rotated(&a, steps), variance);
    }
    let conjugation = if model.is_real() { 0.0 } else { rotation };
    table.row("conjugate", &e.conjugate(&x, keys).unwrap(), &map(&a, |a| a.conj()), fresh + conjugation);
    let mut want = a.clone();
    for steps in [1, 2, 4] {
        want = zip(&want, &rotated(&want, steps), |a, b| a + b);
    }
    table.row("inner_sum, 8", &e.inner_sum(&x, 8, keys).unwrap(), &want, 8.0 * fresh + 7.0 * rotation);
    let lower = e.to_level(&x, below).unwrap();
    table.row("to_level", &lower, &a, fresh + model.to_level(below));
    table.row("drop_level", &e.drop_level(&x, 0).unwrap(), &a, fresh);
    table.finish();
}

/// Variances of the elements of a basis for an argument of at most 1, where each division adds 1: in the product of `T_a`
/// and `T_b` they add up, times 4 for the factor 2 of `T_(a+b) = 2 T_a T_b - T_(a-b)`, and are one error if `a = b`.
fn element_variances(degree: usize, argument: f64, chebyshev: bool) -> Vec<f64> {
    let mut out = vec![0.0, argument];
    for i in 2..=degree {
        let a = 1 << (i - 1).ilog2();
        let b = i - a;
        let sum = if a == b { 4.0 * out[a] } else { out[a] + out[b] };
        out.push(1.0 + if chebyshev { 4.0 * sum + out[a - b] } else { sum });
    }
    out
}

fn polynomials(name: &str, s: &Setup, degrees: &[usize]) {
    let mut table = Table::new(name, s);
    let model = table.model();
    let scale = s.params.scale(s.top());
    let a = reals(s.slots(), 3);
    let x = s.load(&complex(a.iter().copied()));
    for &degree in degrees {
        // Their sum is below 1, so the values are too.
        let c: Vec<f64> = reals(degree + 1, 4).iter().map(|c| (c + 2.0) / (3 * degree + 3) as f64).collect();
        let chebyshev = |from, to| Basis::Chebyshev { from, to };
        for (title, basis) in
            [("power", Basis::Power), ("[-1, 1]", chebyshev(-1.0, 1.0)), ("[-1, 3]", chebyshev(-1.0, 3.0))]
        {
            let p = Polynomial::new(basis, c.clone()).unwrap();
            let y = s.evaluator.polynomial(&x, &p, &s.keys).unwrap();
            // The coarsest on the way.
            let divisions = (y.level()..s.top()).map(|level| model.division(s.params.scale(level)));
            let division = divisions.fold(0.0, f64::max);
            // An interval of another length costs a level, with another division, or up to two bits.
            let longer = title == "[-1, 3]";
            let argument = model.fresh(scale) / division + f64::from(longer);
            let lost = if longer && y.level() + p.depth() == s.top() { 16.0 } else { 1.0 };
            let variances = element_variances(degree, argument, basis != Basis::Power);
            let deviation: f64 = c.iter().zip(variances).map(|(c, v)| c.abs() * v.sqrt()).sum();
            let want = complex(a.iter().map(|&x| p.evaluate(x)));
            table.bounded_row(
                &format!("degree {degree}, {title}"),
                &y,
                &want,
                lost * division * (1.0 + deviation.powi(2)),
            );
        }
    }
    table.finish();
}

fn transform(params: &Params, level: usize, count: i64) -> (LinearTransform, Vec<Vec<Complex64>>) {
    let slots = params.slots();
    let diagonals: Vec<_> =
        (0..count).map(|k| map(&units(params, slots, 100 + k as u64), |z| z / count as f64)).collect();
    let numbered = diagonals.iter().enumerate().map(|(k, d)| (k as i64, d.clone()));
    (LinearTransform::new(params, level, slots, numbered).unwrap(), diagonals)
}

fn transforms(name: &str, s: &Setup, level: usize, count: i64) {
    let model = Model::new(&s.params);
    let mut table = Table::new(name, s);
    let (linear, diagonals) = transform(&s.params, level, count);
    let prepared = s.evaluator.prepare_transform(&linear, &s.encoder).unwrap();
    let a = units(&s.params, s.slots(), 5);
    let y = s.evaluator.transform(&s.load_at(&a, level), &prepared, &s.keys).unwrap();
    let terms = diagonals.iter().enumerate().map(|(k, d)| zip(d, &rotated(&a, k as i64), |d, a| d * a));
    let want = terms.reduce(|sum, term| zip(&sum, &term, |a, b| a + b)).unwrap_or_default();
    let scale = s.params.scale(level);
    let below = s.params.scale(level - 1);
    let encoded = s.params.divisor(level) * below / scale;
    let terms = (model.fresh(scale) + model.key_switch(level, scale)) / count as f64
        + model.noise.encoding(s.params.n(), encoded) * count as f64;
    table.row(&format!("transform, {count}"), &y, &want, terms + model.division(below));
    table.finish();
}

/// Products down to level 0: squares, in which an error doubles each time, and by fresh factors, in which they add up.
fn depth(name: &str, s: &Setup, squares: bool) {
    let e = &s.evaluator;
    let model = Model::new(&s.params);
    let mut table = Table::new(name, s);
    let a = units(&s.params, s.slots(), 6);
    let b = units(&s.params, s.slots(), 7);
    let y = s.load(&b);
    let scale = s.params.scale(s.top());
    let mut x = s.load(&a);
    let mut want = a.clone();
    let mut variance = model.fresh(scale);
    for level in (0..s.top()).rev() {
        let arrived = model.division(s.params.scale(level));
        if squares {
            x = e.square_rescale(&x, &s.keys).unwrap();
            want = map(&want, |z| z * z);
            variance = 4.0 * variance + arrived;
            table.row(&format!("depth {}, squares", s.top() - level), &x, &want, variance);
        } else {
            let factor = e.to_level(&y, x.level()).unwrap();
            x = e.mul_rescale(&x, &factor, &s.keys).unwrap();
            want = zip(&want, &b, |a, b| a * b);
            let lowered = if level + 1 < s.top() { model.to_level(level + 1) } else { 0.0 };
            variance += model.fresh(scale) + lowered + arrived;
            table.row(&format!("depth {}, products", s.top() - level), &x, &want, variance);
        }
    }
    table.finish();
}

/// Everything at the top level.
fn all(name: &str, literal: ParamsLiteral, degrees: &[usize], diagonals: i64) {
    let level = literal.levels;
    let s = setup(literal, level, Some(&|p| transform(p, level, diagonals).0));
    operations(name, &s, level);
    transforms(name, &s, level, diagonals);
    depth(name, &s, false);
    if level <= 8 {
        depth(name, &s, true);
    }
    polynomials(name, &s, degrees);
}

#[test]
fn n13() {
    all("N13", ParamsLiteral::N13, &[2, 3], 8);
    all("N13 real", ParamsLiteral { ring: RingKind::ConjugateInvariant, ..ParamsLiteral::N13 }, &[2, 3], 8);
}

#[test]
fn n14() {
    all("N14", ParamsLiteral::N14, &[2, 3, 7, 15, 31], 64);
    all("N14 real", ParamsLiteral { ring: RingKind::ConjugateInvariant, ..ParamsLiteral::N14 }, &[7, 31], 64);
}

#[test]
fn n15() {
    all("N15", ParamsLiteral::N15, &[31], 4);
}

/// High in `Q` the keys are large: a few levels do.
#[test]
fn n16() {
    let s = setup(ParamsLiteral::N16, 3, None);
    operations("N16", &s, 3);
}

/// Levels of one and two primes in turn.
#[test]
fn scale_40() {
    let literal =
        ParamsLiteral { levels: 5, scale_bits: 40, base_bits: 60, digit_limbs: 4, ..ParamsLiteral::N14 };
    all("2^40", literal, &[3, 15], 8);
}

/// Levels of two primes.
#[test]
fn scale_50() {
    let literal =
        ParamsLiteral { levels: 4, scale_bits: 50, base_bits: 70, digit_limbs: 4, ..ParamsLiteral::N14 };
    all("2^50", literal, &[3, 7], 8);
}

#[test]
fn scale_60() {
    let literal =
        ParamsLiteral { levels: 3, scale_bits: 60, base_bits: 90, digit_limbs: 4, ..ParamsLiteral::N14 };
    all("2^60", literal, &[2, 3], 8);
}
