//! Polynomials, linear transforms, and the keys that they and everything else need: all of them, at the level of use,
//! and no more.

use crate::common::*;
use pleura_ckks::*;
use pleura_ring::Cpu;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// With the key for products.
static SETUP: LazyLock<Setup> = LazyLock::new(|| Setup::new(DEEP, |_| KeyRequest::new().relin(8)));

type Outcome = Result<CiphertextBatch<Cpu>, EvalError>;

#[track_caller]
fn assert_missing(result: Outcome, at: usize) {
    match result {
        Err(EvalError::MissingKey { level, .. }) => assert_eq!(level, at),
        other => panic!("{other:?} where a key is missing"),
    }
}

// Polynomials.

const CHEBYSHEV: Basis = Basis::Chebyshev { from: -1.0, to: 1.0 };

/// `p` of real values in the interval, against the clear. Returns the levels it took.
fn check_polynomial(p: &Polynomial, from: f64, to: f64, bits: f64) -> usize {
    let s = &*SETUP;
    let a: Vec<f64> = reals(s.slots(), 5).iter().map(|x| 0.5 * (from + to) + 0.5 * (to - from) * x).collect();
    let y = s.evaluator.polynomial(&s.load(&complex(a.iter().copied())), p, &s.keys).unwrap();
    assert_eq!(y.scale(), s.params.scale(y.level()));
    assert_eq!(y.parts(), 2);
    let precision = Precision::of(&s.values(&y), &complex(a.iter().map(|&x| p.evaluate(x))));
    assert!(precision.min >= bits, "{p:?}: {precision}");
    8 - y.level()
}

#[test]
fn every_degree_has_the_least_depth() {
    for degree in 1..=33usize {
        let depth = (degree as f64 + 1.0).log2().ceil() as usize;
        let c: Vec<f64> = reals(degree + 1, 7).iter().map(|c| c / (degree + 1) as f64).collect();
        // Only the highest coefficient; all; those of even and odd functions.
        let shapes: [fn(usize, usize) -> bool; 4] =
            [|i, d| i == d, |_, _| true, |i, d| i % 2 == d % 2, |i, d| i == d || i == 0];
        for (shape, basis) in shapes.into_iter().flat_map(|shape| [(shape, Basis::Power), (shape, CHEBYSHEV)])
        {
            let kept = c.iter().enumerate().map(|(i, &c)| if shape(i, degree) { c } else { 0.0 });
            let p = Polynomial::new(basis, kept.collect()).unwrap();
            assert_eq!((p.degree(), p.depth()), (degree, depth));
            assert_eq!(check_polynomial(&p, -1.0, 1.0, 10.0), depth, "{p:?}");
        }
    }
}

/// An interval about `[-1, 1]` costs nothing; another costs the level that brings its length there.
#[test]
fn intervals() {
    let f = |x: f64| 1.0 / (1.0 + (-x).exp());
    let cases = [
        (-1.0, 1.0, 7, 3),
        (-1.01, 1.0, 7, 3),
        (0.0, 2.0, 15, 4),
        (9.0, 11.0, 3, 2),
        (-2.0, 2.0, 3, 2),
        (-2.0, 2.0, 7, 4),
        (0.0, 1.0, 15, 5),
        (-8.0, 8.0, 31, 6),
        (-100.0, 28.0, 15, 5),
        (-0.001, 0.001, 3, 3),
    ];
    for (from, to, degree, depth) in cases {
        let p = Polynomial::interpolate(f, from, to, degree).unwrap();
        assert_eq!(check_polynomial(&p, from, to, 8.0), depth, "{p:?}");
    }
    // What it interpolates.
    let p = Polynomial::interpolate(f, -8.0, 8.0, 31).unwrap();
    assert!((-80..=80).map(|i| f64::from(i) / 10.0).all(|x| (p.evaluate(x) - f(x)).abs() < 1e-3));
}

#[test]
fn polynomials_of_unusual_arguments() {
    let s = &*SETUP;
    let e = &s.evaluator;
    let a = phases(s.slots(), 1);
    let p = Polynomial::new(Basis::Power, vec![0.5, 0.25, -0.5, 0.125, 0.25]).unwrap();
    let want = map(&a, |x| 0.5 + x * (0.25 + x * (-0.5 + x * (0.125 + x * 0.25))));
    let x = s.load(&a);
    // Complex values; a product that was not rescaled, which costs a level; a level below the top.
    let product = e.mul_const(&x, 1.0, s.params.scale(8)).unwrap();
    for (x, level) in
        [(&x, 5), (&product, 4), (&e.drop_level(&x, 4).unwrap(), 1), (&e.drop_level(&x, 3).unwrap(), 0)]
    {
        let y = e.polynomial(x, &p, &s.keys).unwrap();
        assert_eq!(y.level(), level);
        assert_near(&s.values(&y), &want, 10.0);
    }
    let low = e.drop_level(&x, 2).unwrap();
    assert_eq!(e.polynomial(&low, &p, &s.keys).err(), Some(EvalError::OutOfLevels { needed: 3, level: 2 }));
    let three = e.mul_no_relin(&x, &x).unwrap().with_scale(x.scale());
    assert_eq!(e.polynomial(&three, &p, &s.keys).err(), Some(EvalError::Parts { expected: 2, got: 3 }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_polynomial(
        coefficients in prop::collection::vec(prop_oneof![Just(0.0), -1f64..1.0, Just(1e-9)], 2..64), chebyshev: bool,
    ) {
        let size = coefficients.iter().map(|c: &f64| c.abs()).sum::<f64>().max(1.0);
        let basis = if chebyshev { CHEBYSHEV } else { Basis::Power };
        if let Ok(p) = Polynomial::new(basis, coefficients.iter().map(|c| c / size).collect()) {
            prop_assert_eq!(check_polynomial(&p, -1.0, 1.0, 8.0), p.depth());
        }
    }
}

// Linear transforms.

type Diagonals = Vec<(i64, Vec<Complex64>)>;

fn diagonals(slots: usize, indices: impl IntoIterator<Item = i64>) -> Diagonals {
    let random = |k: i64| vector(slots, (k + 10_000) as u64);
    indices.into_iter().map(|k| (k, random(k))).collect()
}

fn applied(x: &[Complex64], diagonals: &Diagonals) -> Vec<Complex64> {
    let zero = vec![Complex64::ZERO; x.len()];
    diagonals.iter().fold(zero, |sum, (k, d)| zip(&sum, &zip(d, &rotated(x, *k), |d, x| d * x), |a, b| a + b))
}

/// The step of each key.
fn steps_of(s: &Setup, keys: &EvaluationKeys) -> Vec<i64> {
    let by_element: BTreeMap<_, _> =
        (0..s.slots() as i64).map(|k| (s.params.ring().rotation(k), k)).collect();
    keys.galois().keys().map(|g| by_element[g]).collect()
}

/// A transform on its own keys, against the clear; and none of the keys can be spared, nor be of a lower level.
fn check_transform(slots: usize, level: usize, diagonals: &Diagonals) -> LinearTransform {
    let s = &*SETUP;
    let linear = LinearTransform::new(&s.params, level, slots, diagonals.clone()).unwrap();
    let prepared = s.evaluator.prepare_transform(&linear, &s.encoder).unwrap();
    let evaluation = s.secret.evaluation_keys(&linear.keys()).unwrap();
    assert!(evaluation.relin().is_none() && evaluation.galois().values().all(|key| key.level() == level));

    let a = vector(slots, 1);
    let x = s.load_at(&a, level);
    let keys = s.evaluator.upload_keys(&evaluation).unwrap();
    let y = s.evaluator.transform(&x, &prepared, &keys).unwrap();
    assert_eq!(y.level(), level - 1);
    assert!((y.scale() / s.params.scale(level - 1) - 1.0).abs() < 1e-14);
    // Errors add up like the diagonals.
    let bits = 14.0 - 0.5 * (diagonals.len() as f64).log2();
    assert_near(&s.values(&y), &applied(&a, diagonals), bits - 2.0);

    let steps = steps_of(s, &evaluation);
    for (i, &spared) in steps.iter().enumerate().step_by(1 + steps.len() / 4) {
        let others = steps.iter().enumerate().filter(|&(j, _)| j != i).map(|(_, &step)| step);
        let fewer = KeyRequest::new().rotations(&s.params, others, level);
        assert_missing(s.evaluator.transform(&x, &prepared, &s.upload_keys(&fewer)), level);
        let lower = fewer.rotations(&s.params, [spared], level - 1);
        assert_missing(s.evaluator.transform(&x, &prepared, &s.upload_keys(&lower)), level);
    }
    linear
}

#[test]
fn transforms_of_every_shape() {
    for (slots, indices) in [
        (512, vec![0]),
        (512, vec![3]),
        (512, vec![-1]),
        (512, (-2..=2).collect()),
        (512, (0..8).map(|k| 64 * k).collect()),
        (512, (0..32).collect()),
        (512, vec![0, 1, 2, 100, 101, 102, 400]),
        (16, (0..16).collect()),
        (2, vec![0, 1]),
        (1, vec![0]),
    ] {
        let linear = check_transform(slots, 3, &diagonals(slots, indices.clone()));
        assert_eq!(linear.diagonals(), indices.len());
        assert!(linear.keys().count() <= indices.len(), "{indices:?}");
    }
    // Few neighbours share one giant step; many diagonals take about the square root of their number.
    assert_eq!(check_transform(512, 3, &diagonals(512, 0..4)).steps(), (4, 1));
    assert_eq!(check_transform(64, 3, &diagonals(64, 0..64)).steps(), (16, 4));
    // The identity, and every map of single slots, needs no key.
    let one = vec![Complex64::ONE; 512];
    assert_eq!(check_transform(512, 1, &vec![(0, one)]).keys(), KeyRequest::new());
    // Diagonals of the same number add up.
    check_transform(512, 2, &diagonals(512, [3, 3 - 512, 0, 512]));
}

#[test]
fn transforms_of_batches_and_from_above() {
    let s = &*SETUP;
    let diagonals = diagonals(512, [0, 1, 2, 16, 17, 35, -64]);
    let linear = LinearTransform::new(&s.params, 3, 512, diagonals.clone()).unwrap();
    let prepared = s.evaluator.prepare_transform(&linear, &s.encoder).unwrap();
    let keys = s.upload_keys(&linear.keys());
    let inputs: Vec<_> = (0..3).map(|i| vector(512, 20 + i)).collect();
    let fresh: Vec<_> = inputs.iter().map(|x| s.encrypt(x)).collect();
    let x = s.evaluator.upload(&fresh).unwrap();
    let y = s.evaluator.transform(&x, &prepared, &keys).unwrap();
    for (got, input) in s.evaluator.download(&y).unwrap().iter().zip(&inputs) {
        assert_eq!(got.level(), 2);
        assert_near(&s.decrypt(got), &applied(input, &diagonals), 10.0);
    }
    let low = s.evaluator.drop_level(&x, 2).unwrap();
    assert_eq!(
        s.evaluator.transform(&low, &prepared, &keys).err(),
        Some(EvalError::OutOfLevels { needed: 3, level: 2 })
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_transform(
        log_slots in 0u32..=9, level in 1usize..=4,
        indices in prop::collection::btree_set(-512i64..512, 1..12), stride in prop::sample::select(vec![1i64, 1, 3, 16]),
    ) {
        check_transform(1 << log_slots, level, &diagonals(1 << log_slots, indices.iter().map(|k| k * stride)));
    }
}

// Keys.

/// A key serves its level and all below.
#[test]
fn keys_serve_their_level_and_those_below() {
    let s = &*SETUP;
    let e = &s.evaluator;
    let a = vector(s.slots(), 1);
    let request = KeyRequest::new().relin(4).rotations(&s.params, [1, 2, -5], 4).conjugation(&s.params, 4);
    let keys = s.upload_keys(&request);
    assert_eq!(request.count(), 5);
    let cubic = Polynomial::new(Basis::Power, vec![0.5, -1.0, 0.25, 0.5]).unwrap();
    for level in (0..=8).rev() {
        let x = s.load_at(&a, level);
        let mut cases = vec![
            (e.mul(&x, &x, &keys), map(&a, |a| a * a)),
            (e.rotate(&x, 1, &keys), rotated(&a, 1)),
            (e.rotate(&x, -5, &keys), rotated(&a, -5)),
            (e.rotate_many(&x, &[1, 0, 2], &keys).map(|mut all| all.remove(2)), rotated(&a, 2)),
            (e.conjugate(&x, &keys), map(&a, |a| a.conj())),
            (e.inner_sum(&x, 4, &keys), (0..512).map(|i| (i..i + 4).map(|j| a[j % 512]).sum()).collect()),
        ];
        if level >= 2 {
            cases.push((e.mul_rescale(&x, &x, &keys), map(&a, |a| a * a)));
            cases.push((
                e.polynomial(&x, &cubic, &keys),
                map(&a, |a| 0.5 + a * (-1.0 + a * (0.25 + a * 0.5))),
            ));
        }
        for (result, want) in cases {
            if level > 4 {
                assert_missing(result, level);
            } else {
                assert_near(&s.values(&result.unwrap()), &want, 10.0);
            }
        }
    }
}

#[test]
fn keys_of_other_operations_are_not_used() {
    let s = &*SETUP;
    let e = &s.evaluator;
    let x = s.load(&vector(s.slots(), 1));
    let keys = s.upload_keys(&KeyRequest::new().rotations(&s.params, [1, 2], 8));
    assert_missing(e.mul(&x, &x, &keys), 8);
    assert_missing(e.square_rescale(&x, &keys), 8);
    assert_missing(e.rotate(&x, 3, &keys), 8);
    assert_missing(e.rotate(&x, -1, &keys), 8);
    assert_missing(e.rotate_many(&x, &[1, 3], &keys).map(|mut all| all.remove(0)), 8);
    assert_missing(e.conjugate(&x, &keys), 8);
    assert_missing(e.inner_sum(&x, 8, &keys), 8);
    assert!(e.inner_sum(&x, 4, &keys).is_ok());
    // What changes nothing needs no key.
    let none = s.upload_keys(&KeyRequest::new());
    assert!(
        e.rotate(&x, 0, &none).is_ok()
            && e.rotate(&x, 512, &none).is_ok()
            && e.inner_sum(&x, 1, &none).is_ok()
    );
}

/// Requests merge to the highest level of each key; steps that are the same rotation share one.
#[test]
fn inner_sums_ask_for_their_rotations() {
    let params =
        Params::new(ParamsLiteral { security: Security::InsecureForTests, log_n: 10, ..ParamsLiteral::N13 })
            .unwrap();
    let sum = |count| KeyRequest::new().inner_sum(&params, count, 2);
    assert_eq!(sum(8), KeyRequest::new().rotations(&params, [1, 2, 4], 2));
    assert_eq!(sum(1).count(), 0);
    assert_eq!(sum(512).count(), 9);
}

#[test]
fn requests_merge() {
    let p = &SETUP.params;
    let left = KeyRequest::new().relin(2).rotations(p, [1, 2, 3], 5).rotations(p, [1], 3);
    let right = KeyRequest::new().relin(4).rotations(p, [2, 4], 7).conjugation(p, 1);
    let merged = left.clone().merge(&right);
    assert_eq!(merged, right.merge(&left));
    let keys = SETUP.secret.evaluation_keys(&merged).unwrap();
    let level = |steps| keys.galois()[&p.ring().rotation(steps)].level();
    assert_eq!([1, 2, 3, 4].map(level), [5, 7, 5, 7]);
    assert_eq!(keys.relin().map(SwitchingKey::level), Some(4));
    assert_eq!(keys.galois()[&p.ring().conjugation()].level(), 1);
    assert_eq!((merged.count(), keys.galois().len()), (6, 5));
    assert_eq!(KeyRequest::new().rotations(p, [0, 512, 1, 513, -511], 1).count(), 1);
}

/// Ciphertexts under one secret become ciphertexts under another.
#[test]
fn secrets_are_switched() {
    let s = &*SETUP;
    let a = vector(s.slots(), 1);
    let old = SecretKey::generate(&s.params).unwrap();
    let key = s.evaluator.upload_key(&s.secret.switching_key_from(&old, 3).unwrap()).unwrap();
    for level in [0, 1, 3, 4] {
        let plaintext = s.encoder.encode_at(&a, s.params.scale(level)).unwrap();
        let x = s.evaluator.upload(&[old.encrypt_at(&plaintext, level).unwrap()]).unwrap();
        let result = s.evaluator.switch_key(&x, &key);
        if level > 3 {
            assert_missing(result, level);
        } else {
            assert_near(&s.values(&result.unwrap()), &a, 14.0);
            assert!(Precision::of(&s.values(&x), &a).median < 0.0, "it was not under another key");
        }
    }
}
