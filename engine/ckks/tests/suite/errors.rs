//! Every error there is, provoked, with a message that says what to do.

use crate::common::*;
use pleura_ckks::*;
use pleura_ring::{BackendError, Cpu, IntegerMatrix, Ring, RingError};
use std::sync::LazyLock;

static SETUP: LazyLock<Setup> =
    LazyLock::new(|| Setup::new(SMALL, |p| KeyRequest::new().relin(2).rotations(p, [1], 2)));

/// A sentence, with its numbers filled in.
#[track_caller]
fn assert_says(error: &dyn std::error::Error, words: &[&str]) {
    let message = error.to_string();
    assert!(message.len() >= 20 && message.contains(' '), "{message}");
    assert!(!message.ends_with('.') && !message.contains(['{', '}', '\n']), "{message}");
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

/// The error that was expected, which says certain words.
#[track_caller]
fn assert_fails<T, E: std::error::Error + PartialEq>(result: Result<T, E>, expected: E, words: &[&str]) {
    let error = result.err().expect("an error");
    assert_eq!(error, expected);
    assert_says(&error, words);
}

fn other_params() -> Params {
    Params::new(ParamsLiteral { levels: 3, ..SMALL }).unwrap()
}

#[test]
fn of_parameters() {
    for (field, literal, value, min, max) in [
        ("log_n", ParamsLiteral { log_n: 9, ..SMALL }, 9, 10, 17),
        ("log_n", ParamsLiteral { log_n: 18, ..SMALL }, 18, 10, 17),
        ("levels", ParamsLiteral { levels: 101, ..SMALL }, 101, 0, 100),
        ("scale_bits", ParamsLiteral { scale_bits: 19, ..SMALL }, 19, 20, 60),
        ("scale_bits", ParamsLiteral { scale_bits: 61, ..SMALL }, 61, 20, 60),
        ("base_bits", ParamsLiteral { base_bits: 29, ..SMALL }, 29, 30, 120),
        ("base_bits", ParamsLiteral { base_bits: 121, ..SMALL }, 121, 30, 120),
        ("digit_limbs", ParamsLiteral { digit_limbs: 0, ..SMALL }, 0, 1, 14),
        ("digit_limbs", ParamsLiteral { digit_limbs: 15, ..SMALL }, 15, 1, 14),
        ("digit_limbs", ParamsLiteral { digit_limbs: 14, scale_bits: 31, ..SMALL }, 14, 1, 13),
    ] {
        let expected = ParamsError::OutOfRange { field, value, min, max };
        assert_fails(Params::new(literal), expected, &[field, &value.to_string(), &max.to_string()]);
    }
    let insecure = Params::new(ParamsLiteral { levels: 4, ..ParamsLiteral::N13 }).unwrap_err();
    assert_says(&insecure, &["2^13", "128-bit", "at most 214", "larger degree"]);
    let security = Security::Bits256;
    let none = ParamsError::NothingFits { levels: 60, scale_bits: 40, security };
    assert_fails(Params::choose(60, 40, security), none, &["60 levels of 40 bits", "256-bit"]);
    let most = ParamsError::OutOfRange { field: "scale_bits", value: u32::MAX.into(), min: 20, max: 60 };
    assert_fails(Params::choose(3, u32::MAX, security), most, &["scale_bits", "60"]);
    // Few primes of 20 bits are 1 modulo 2^18.
    let few = Params::new(ParamsLiteral { log_n: 17, scale_bits: 20, levels: 10, ..SMALL }).unwrap_err();
    assert!(matches!(few, ParamsError::Ring(RingError::TooFewPrimes { .. })), "{few:?}");
    assert_says(&few, &["primes", "262144"]);
}

#[test]
fn of_encoding() {
    let e = &SETUP.encoder;
    for values in [0, 3, 511, 1024] {
        let expected = EncodeError::Slots { values, max: 512 };
        assert_fails(e.encode(&vector(values, 1)), expected, &[&values.to_string(), "at most 512", "zeros"]);
    }
    for (index, bad) in [(0, f64::NAN), (3, f64::INFINITY), (7, f64::NEG_INFINITY)] {
        let mut values = vector(8, 1);
        values[index].im = bad;
        let expected = EncodeError::NotFinite { index };
        assert_fails(e.encode(&values), expected, &[&index.to_string(), "finite"]);
    }
    let real = Params::new(ParamsLiteral { ring: RingKind::ConjugateInvariant, ..SMALL }).unwrap();
    let complex = [Complex64::ONE, Complex64::I];
    let expected = EncodeError::NotReal { index: 1 };
    assert_fails(Encoder::new(&real).encode(&complex), expected, &["value 1", "imaginary", "real"]);
    for scale in [0.0, -1.0, f64::INFINITY, f64::NEG_INFINITY] {
        assert_fails(
            e.encode_at(&vector(8, 1), scale),
            EncodeError::BadScale { scale },
            &["scale", "positive"],
        );
    }
    let nan = e.encode_at(&vector(8, 1), f64::NAN).err().unwrap();
    assert!(matches!(nan, EncodeError::BadScale { .. }));
    // One coefficient of 2^120; half of it fits. Sums that overflow floating point are too large as well.
    let one = [Complex64::ONE];
    let expected = EncodeError::TooLarge { log2_scale: 120.0 };
    assert_fails(e.encode_at(&one, 120f64.exp2()), expected, &["2^120", "smaller"]);
    assert!(e.encode_at(&one, 119f64.exp2()).is_ok());
    for huge in [f64::MAX, -f64::MAX] {
        for count in [1, 2, 8] {
            let huge = vec![Complex64::new(huge, huge); count];
            assert!(matches!(e.encode(&huge).err(), Some(EncodeError::TooLarge { .. })), "{count}");
        }
    }
}

#[test]
fn of_the_client() {
    let s = &*SETUP;
    let other = other_params();
    let secret = SecretKey::generate(&other).unwrap();
    let encoder = Encoder::new(&other);
    let ours = s.encoder.encode(&vector(8, 1)).unwrap();
    let theirs = encoder.encode(&vector(8, 1)).unwrap();
    let ciphertext = secret.encrypt(&theirs).unwrap();
    let larger = Params::new(ParamsLiteral { log_n: 11, ..SMALL }).unwrap();
    let request = KeyRequest::new().conjugation(&larger, 0);
    let public = s.secret.public_key().unwrap();
    let mismatches = [
        s.secret.encrypt(&theirs).err(),
        public.encrypt(&theirs).err(),
        s.secret.decrypt(&s.encoder, &ciphertext).err(),
        s.secret.decrypt(&encoder, &s.secret.encrypt(&ours).unwrap()).err(),
        s.secret.switching_key_from(&secret, 0).err(),
        s.secret.evaluation_keys(&request).err(),
    ];
    for (case, error) in mismatches.into_iter().enumerate() {
        assert_eq!(error, Some(ClientError::ParamsMismatch), "{case}");
    }
    assert_says(&ClientError::ParamsMismatch, &["other parameters"]);

    let levels = [
        s.secret.encrypt_at(&ours, 3).err(),
        public.encrypt_at(&ours, 3).err(),
        s.secret.switching_key_from(&s.secret, 3).err(),
        s.secret.evaluation_keys(&KeyRequest::new().relin(3)).err(),
        s.secret.evaluation_keys(&KeyRequest::new().rotations(&s.params, [1], 3)).err(),
    ];
    for error in levels {
        assert_fails(
            error.map_or(Ok(()), Err),
            ClientError::NoSuchLevel { level: 3, max: 2 },
            &["3", "0 to 2"],
        );
    }
    // Parameters that would lead to such a key cannot be had, nor a system without randomness.
    assert_says(&ClientError::InsecureKey { level: 3, log2_qp: 250.0 }, &["level 3", "250.0 bits"]);

    let decrypted = s.secret.decrypt(&s.encoder, &s.secret.encrypt(&ours).unwrap()).unwrap();
    let bits = decrypted.max_bits() + 1;
    let max = decrypted.max_bits();
    let words = ["secret key", &format!("at most {max}")];
    assert_fails(decrypted.publish(bits), PublishError { bits, max }, &words);
}

#[test]
fn of_polynomials() {
    let chebyshev = |from, to| Basis::Chebyshev { from, to };
    for constant in [vec![], vec![0.0], vec![3.0], vec![3.0, 0.0, 0.0]] {
        assert_fails(Polynomial::new(Basis::Power, constant), PolynomialError::Constant, &["degree 1"]);
    }
    assert_fails(Polynomial::interpolate(|_| 1.0, -1.0, 1.0, 0), PolynomialError::Constant, &["degree 1"]);
    for (basis, coefficient) in [
        (Basis::Power, f64::NAN),
        (Basis::Power, f64::INFINITY),
        (chebyshev(1.0, 1.0), 1.0),
        (chebyshev(1.0, -1.0), 1.0),
        (chebyshev(f64::NEG_INFINITY, 1.0), 1.0),
        (chebyshev(0.0, f64::NAN), 1.0),
        (chebyshev(-f64::MAX, f64::MAX), 1.0),
    ] {
        let result = Polynomial::new(basis, vec![1.0, coefficient]);
        assert_fails(result, PolynomialError::NotFinite, &["finite", "interval"]);
    }
    let pole = Polynomial::interpolate(|x| 1.0 / x, -1.0, 1.0, 2);
    assert!(pole.is_ok() || pole == Err(PolynomialError::NotFinite));
    let undefined = Polynomial::interpolate(|x| (x - 2.0).sqrt(), -1.0, 1.0, 3);
    assert_fails(undefined, PolynomialError::NotFinite, &["finite"]);
}

#[test]
fn of_transforms() {
    let p = &SETUP.params;
    let new = |level, slots, diagonals: Vec<(i64, usize)>| {
        let diagonals = diagonals.into_iter().map(|(k, length)| (k, vector(length, 1)));
        LinearTransform::new(p, level, slots, diagonals)
    };
    for slots in [0, 3, 1024] {
        let expected = TransformError::BadSlots { slots, max: 512 };
        assert_fails(new(1, slots, vec![(0, slots)]), expected, &[&slots.to_string(), "at most 512"]);
    }
    for level in [0, 3] {
        let expected = TransformError::BadLevel { level, max: 2 };
        assert_fails(new(level, 8, vec![(0, 8)]), expected, &[&level.to_string(), "1 to 2"]);
    }
    let expected = TransformError::BadDiagonal { index: -3, got: 7, slots: 8 };
    assert_fails(new(1, 8, vec![(0, 8), (-3, 7)]), expected, &["-3", "7 entries", "needs 8"]);
    assert_fails(new(1, 8, vec![]), TransformError::Empty, &["at least one diagonal"]);
}

/// Names an operation that fails, and how.
type Case<'a> = (&'a str, Result<CiphertextBatch<Cpu>, EvalError>, EvalError);

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn of_evaluation() {
    let s = &*SETUP;
    let e = &s.evaluator;
    let keys = &s.keys;
    let x = s.load(&vector(512, 1));
    let fewer = s.load(&vector(8, 1));
    let low = s.load_at(&vector(512, 1), 0);
    let pair = e.upload(&[s.encrypt(&vector(512, 1)), s.encrypt(&vector(512, 2))]).unwrap();
    let three = e.mul_no_relin(&x, &x).unwrap();
    let plain =
        |values, level| e.upload_plaintext(&s.encoder.encode(&vector(values, 1)).unwrap(), level).unwrap();
    let linear = |value: f64, slots| {
        let diagonal = vec![Complex64::from(value); slots];
        let linear = LinearTransform::new(&s.params, 1, slots, [(0, diagonal)]).unwrap();
        e.prepare_transform(&linear, &s.encoder)
    };
    let few_slots = linear(1.0, 8).unwrap();
    let line = Polynomial::new(Basis::Power, vec![0.0, 1.0]).unwrap();
    let items = EvalError::Mismatch { what: "numbers of ciphertexts", left: 1, right: 2 };
    let slots = EvalError::Mismatch { what: "logarithms of slots", left: 9, right: 3 };
    let out = |needed, level| EvalError::OutOfLevels { needed, level };
    let parts = |expected, got| EvalError::Parts { expected, got };
    let double = x.scale() * 2.0;
    let scales = EvalError::ScaleMismatch { left: x.scale().log2(), right: double.log2() };
    let constant = |value, scale: f64| EvalError::BadConstant { value, log2_scale: scale.log2() };
    let missing = |what: &str| EvalError::MissingKey { what: what.into(), level: 2 };
    let other_scale = s.load(&vector(512, 1)).with_scale(double);

    let huge = s.load_at(&vector(8, 1), 1).with_scale(s.params.log2_q(1).exp2());
    let scale = s.params.divisor(1) * s.params.scale(0) / s.params.scale(1);
    let log2_scale = (huge.scale() * scale).log2();
    let too_large = EvalError::ScaleTooLarge { log2_scale, log2_q: s.params.log2_q(1) };
    let matrix = MatrixTransform {
        matrix: IntegerMatrix::new(1, vec![vec![(0, 1)]]).unwrap(),
        scale,
        level: 1,
        target_level: 0,
    };
    let cases: Vec<Case<'_>> = vec![
        ("add, batches", e.add(&x, &pair), items.clone()),
        ("mul, batches", e.mul(&x, &pair, keys), items),
        ("add, slots", e.add(&x, &fewer), slots.clone()),
        ("mul, slots", e.mul_no_relin(&x, &fewer), slots.clone()),
        ("transform, slots", e.transform(&x, &few_slots, keys), slots),
        (
            "add_plain, slots",
            e.add_plain(&fewer, &plain(16, 2)),
            EvalError::Mismatch { what: "logarithms of slots", left: 3, right: 4 },
        ),
        ("add, scales", e.add(&x, &other_scale), scales.clone()),
        ("sub, scales", e.sub(&x, &other_scale), scales),
        ("add_plain, level", e.add_plain(&x, &plain(512, 1)), out(2, 1)),
        ("mul_plain, level", e.mul_plain(&x, &plain(512, 1)), out(2, 1)),
        ("rescale", e.rescale(&low), out(1, 0)),
        ("mul_rescale", e.mul_rescale(&low, &low, keys), out(1, 0)),
        ("drop_level", e.drop_level(&low, 1), out(1, 0)),
        ("to_level", e.to_level(&x, 7), out(7, 2)),
        ("to_level of an odd scale", e.to_level(&other_scale, 2), out(3, 2)),
        ("transform", e.transform(&e.drop_level(&fewer, 0).unwrap(), &few_slots, keys), out(1, 0)),
        ("polynomial", e.polynomial(&low, &line, keys), out(1, 0)),
        ("relinearize, two parts", e.relinearize(&x, keys), parts(3, 2)),
        ("relinearize_rescale, two parts", e.relinearize_rescale(&x, keys), parts(3, 2)),
        ("mul, three parts", e.mul(&three, &x, keys), parts(2, 3)),
        ("mul by three parts", e.mul_no_relin(&x, &three), parts(2, 3)),
        ("rotate, three parts", e.rotate(&three, 1, keys), parts(2, 3)),
        ("conjugate, three parts", e.conjugate(&three, keys), parts(2, 3)),
        ("inner_sum, three parts", e.inner_sum(&three, 2, keys), parts(2, 3)),
        ("rotate", e.rotate(&x, 2, keys), missing("the rotation by 2")),
        ("conjugate", e.conjugate(&x, keys), missing("conjugation")),
        ("mul", e.mul(&x, &x, &s.upload_keys(&KeyRequest::new().relin(1))), missing("products")),
        ("add_const, huge", e.add_const(&x, 1e300), constant(1e300, x.scale())),
        ("add_const, infinite", e.add_const(&x, f64::INFINITY), constant(f64::INFINITY, x.scale())),
        ("mul_const, huge", e.mul_const(&x, -1.0, 127f64.exp2()), constant(-1.0, 127f64.exp2())),
        (
            "mul, no modulus for it",
            e.mul_no_relin(&low, &low),
            EvalError::ScaleTooLarge { log2_scale: 2.0 * low.scale().log2(), log2_q: s.params.log2_q(0) },
        ),
        ("transform, no modulus for it", e.transform(&huge, &few_slots, keys), too_large.clone()),
        ("matrix, no modulus for it", e.matrix_transform(&huge, &matrix), too_large),
        ("inner_sum of three", e.inner_sum(&x, 3, keys), EvalError::BadCount { count: 3, max: 512 }),
        ("inner_sum of none", e.inner_sum(&x, 0, keys), EvalError::BadCount { count: 0, max: 512 }),
        ("load of nothing", e.upload(&[]), EvalError::Empty),
        (
            "load of two levels",
            e.upload(&[s.encrypt(&vector(512, 1)), s.fetch(&low)]),
            EvalError::Mismatch { what: "levels", left: 2, right: 0 },
        ),
        (
            "load of two forms",
            e.upload(&[s.encrypt(&vector(512, 1)), s.fetch(&three)]),
            EvalError::Mismatch { what: "numbers of parts", left: 2, right: 3 },
        ),
        (
            "load of two lengths",
            e.upload(&[s.encrypt(&vector(512, 1)), s.encrypt(&vector(2, 1))]),
            EvalError::Mismatch { what: "logarithms of slots", left: 9, right: 1 },
        ),
    ];
    for (name, result, expected) in cases {
        let error = result.expect_err(name);
        assert_eq!(error, expected, "{name}");
        assert_says(&error, &[]);
    }
    assert!(matches!(e.add_const(&x, f64::NAN), Err(EvalError::BadConstant { .. })));
    for scale in [0.0, -1.0, f64::INFINITY, f64::NAN] {
        let results = [e.mul_const(&x, 1.0, scale).err(), e.upload_constant(1.0, scale, 1).err()];
        for error in results {
            assert!(
                matches!(error, Some(EvalError::Encode(EncodeError::BadScale { .. }))),
                "{scale}: {error:?}"
            );
        }
    }
    let level = e.upload_plaintext(&s.encoder.encode(&vector(8, 1)).unwrap(), 3).err();
    assert_eq!(level, Some(out(3, 2)));
    let encoding = linear(f64::NAN, 8).err();
    assert_eq!(encoding, Some(EvalError::Encode(EncodeError::NotFinite { index: 0 })));
    // Only a device that fails says so.
    let lost = BackendError::DeviceLost { reason: "it was unplugged".into() };
    assert_says(&EvalError::from(lost), &["lost", "unplugged"]);
    assert_says(&EvalError::Empty, &["no ciphertext"]);
}

/// Whatever was made under other parameters is refused, by either side.
#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn of_other_parameters() {
    let s = &*SETUP;
    let other =
        Setup::new(ParamsLiteral { levels: 3, ..SMALL }, |p| KeyRequest::new().relin(2).rotations(p, [1], 2));
    let e = &s.evaluator;
    let keys = &s.keys;
    let x = s.load_at(&vector(512, 1), 2);
    let y = other.load_at(&vector(512, 1), 2);
    let plain = other.evaluator.upload_plaintext(&other.encoder.encode(&vector(512, 1)).unwrap(), 2).unwrap();
    let linear = LinearTransform::new(&other.params, 2, 512, [(0, vector(512, 1))]).unwrap();
    let prepared = other.evaluator.prepare_transform(&linear, &other.encoder).unwrap();
    let line = Polynomial::new(Basis::Power, vec![0.0, 1.0]).unwrap();
    let switching = other.secret.switching_key_from(&other.secret, 2).unwrap();
    let switching_there = other.evaluator.upload_key(&switching).unwrap();
    let switching_here = e.upload_key(&s.secret.switching_key_from(&s.secret, 2).unwrap()).unwrap();
    let three = e.mul_no_relin(&x, &x).unwrap();
    let results = [
        ("add", e.add(&x, &y)),
        ("add to", e.add(&y, &x)),
        ("sub", e.sub(&x, &y)),
        ("neg", e.neg(&y)),
        ("add_plain", e.add_plain(&x, &plain)),
        ("add_plain to", e.add_plain(&y, &plain)),
        ("mul_plain", e.mul_plain(&x, &plain)),
        ("add_const", e.add_const(&y, 1.0)),
        ("mul_const", e.mul_const(&y, 1.0, 2.0)),
        ("mul", e.mul(&x, &y, keys)),
        ("mul, keys", e.mul(&x, &x, &other.keys)),
        ("mul_rescale", e.mul_rescale(&x, &x, &other.keys)),
        ("mul_no_relin", e.mul_no_relin(&y, &y)),
        ("relinearize", e.relinearize(&three, &other.keys)),
        ("rescale", e.rescale(&y)),
        ("drop_level", e.drop_level(&y, 1)),
        ("to_level", e.to_level(&y, 1)),
        ("rotate", e.rotate(&y, 1, keys)),
        ("rotate, keys", e.rotate(&x, 1, &other.keys)),
        ("rotate_many", e.rotate_many(&x, &[1], &other.keys).map(|mut all| all.remove(0))),
        ("conjugate", e.conjugate(&y, keys)),
        ("inner_sum", e.inner_sum(&y, 2, keys)),
        ("inner_sum, keys", e.inner_sum(&x, 2, &other.keys)),
        ("switch_key", e.switch_key(&y, &switching_here)),
        ("switch_key, key", e.switch_key(&x, &switching_there)),
        ("polynomial", e.polynomial(&y, &line, keys)),
        ("polynomial, keys", e.polynomial(&x, &cubic(), &other.keys)),
        ("transform", e.transform(&y, &prepared, keys)),
        ("transform of", e.transform(&x, &prepared, keys)),
        ("load", e.upload(&[other.fetch(&y)])),
        ("load beside", e.upload(&[s.fetch(&x), other.fetch(&y)])),
    ];
    for (name, result) in results {
        assert_eq!(result.err(), Some(EvalError::ParamsMismatch), "{name}");
    }
    let real = Params::new(ParamsLiteral { ring: RingKind::ConjugateInvariant, ..SMALL }).unwrap();
    let limbs = real.ring().limbs();
    let primes: Vec<_> = real.ring().moduli(limbs).map(|modulus| modulus.q()).collect();
    let cyclotomic = Ring::new(10, &primes[..limbs.q], &primes[limbs.q..]).unwrap();
    let others = [
        ("fetch", e.download(&y).err()),
        ("prepare", e.upload_plaintext(&other.encoder.encode(&vector(8, 1)).unwrap(), 0).err()),
        ("upload_keys", e.upload_keys(&other.evaluation).err()),
        ("upload_key", e.upload_key(&switching).err()),
        ("prepare_transform", e.prepare_transform(&linear, &s.encoder).err()),
        ("prepare_transform, encoder", other.evaluator.prepare_transform(&linear, &s.encoder).err()),
        ("new", Evaluator::new(&s.params, Cpu::new(other.params.ring().clone()).unwrap()).err()),
        ("new, kind of ring", Evaluator::new(&real, Cpu::new(cyclotomic.into()).unwrap()).err()),
    ];
    for (name, error) in others {
        assert_eq!(error, Some(EvalError::ParamsMismatch), "{name}");
    }
    assert_says(&EvalError::ParamsMismatch, &["other parameters"]);
}

fn cubic() -> Polynomial {
    Polynomial::new(Basis::Power, vec![0.0, 1.0, 1.0, 1.0]).unwrap()
}

#[test]
fn of_the_wire() {
    let field = "level";
    for (error, words) in [
        (WireError::BadMagic, ["PLEU", "library"]),
        (
            WireError::UnsupportedVersion { kind: "evaluation keys", got: 1, supported: 2 },
            ["evaluation keys in version 1", "reads version 2: make the object again"],
        ),
        (
            WireError::WrongKind { expected: "a ciphertext", got: "a public key" },
            ["a ciphertext", "a public key"],
        ),
        (WireError::ParamsMismatch, ["other parameters", "made under"]),
        (WireError::Length { expected: 10, got: 9 }, ["9 bytes", "10 are needed"]),
        (WireError::BadField { field, value: 7, min: 0, max: 2 }, ["level is 7", "0 to 2"]),
        (WireError::BadScale { scale: 0.5, log2_q: 50.0 }, ["5e-1", "2^50.0"]),
        (WireError::Residue { prime: 97, value: 98 }, ["98", "modulo 97"]),
        (WireError::BadExponent { exponent: 4 }, ["X^4", "odd"]),
        (WireError::InsecureParams, ["no security", "from_bytes_allow_insecure"]),
        (Params::new(ParamsLiteral { log_n: 9, ..SMALL }).unwrap_err().into(), ["log_n is 9", "10 to 17"]),
    ] {
        assert_says(&error, &words);
    }
}
