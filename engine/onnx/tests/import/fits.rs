//! Activations replaced by polynomials.

use crate::model::{Builder, float, kinds, numbers, text};
use pleura_nn::{FitError, FitOptions, Function, fit};
use pleura_onnx::ImportOptions;
use std::f64::consts::{FRAC_1_SQRT_2, LN_2, SQRT_2};

#[test]
fn names_are_read_back() {
    for name in Function::NAMES {
        assert_eq!(name.parse::<Function>().unwrap().name(), name);
    }
    assert!(matches!("step".parse::<Function>(), Err(FitError::Unknown(_))));
}

#[test]
fn values() {
    for (function, x, y) in [
        (Function::Erf, 0.5, 0.520_499_877_813_046_5),
        (Function::Erf, -2.5, -0.999_593_047_982_555),
        (Function::Gelu, 1.0, 0.841_344_746_068_542_9),
        (Function::TanhGelu, 1.0, 0.841_191_990_608_276_8),
        (Function::TanhGelu, -0.5, -0.154_285_990_174_856_06),
        (Function::Silu, -1.0, -0.268_941_421_369_995_1),
        (Function::Softplus, 0.0, LN_2),
        (Function::HardSwish, 1.0, 2.0 / 3.0),
        (Function::Elu(1.0), -1.0, -0.632_120_558_828_557_7),
        (Function::LeakyRelu(0.01), -2.0, -0.02),
    ] {
        assert!((function.evaluate(x) - y).abs() < 1e-14, "{function} of {x}");
    }
}

/// Best errors known from the literature or from the equations themselves.
#[test]
fn errors_are_the_least_possible() {
    // Best quadratic for |x| on [-1, 1] is x^2 + 1/8, off by 1/8.
    let quadratic = fit(Function::Abs, 2, -1.0, 1.0).unwrap();
    assert!((quadratic.max_error - 0.125).abs() < 1e-6, "{quadratic:?}");
    let powers = quadratic.powers().unwrap();
    assert!((powers[0] - 0.125).abs() < 1e-6 && (powers[2] - 1.0).abs() < 1e-6, "{powers:?}");
    // relu is half of x + |x|.
    let relu = fit(Function::Relu, 2, -1.0, 1.0).unwrap();
    assert!((relu.max_error - 0.0625).abs() < 1e-6, "{relu:?}");
    // Quartic for |x|: 0.067621 (Bernstein's constant at 2n = 4 times 1/4).
    let quartic = fit(Function::Abs, 4, -1.0, 1.0).unwrap();
    assert!((quartic.max_error - 0.067_621).abs() < 1e-5, "{quartic:?}");
    // e^x by a straight line on [0, 1]: slope e - 1.
    let line = fit(Function::Exp, 1, 0.0, 1.0).unwrap();
    assert!((line.powers().unwrap()[1] - (1f64.exp() - 1.0)).abs() < 1e-5, "{line:?}");
}

#[test]
fn errors_are_told_truly_and_shrink() {
    for name in Function::NAMES {
        let function: Function = name.parse().unwrap();
        let mut last = f64::INFINITY;
        for degree in [1, 2, 3, 5, 8, 13, 31, 64] {
            let (from, to) = if name == "exp" { (-3.0, 1.0) } else { (-4.0, 6.0) };
            let fitted = fit(function, degree, from, to).unwrap();
            assert_eq!(fitted.chebyshev.len(), degree + 1);
            let worst = (0..=1000)
                .map(|i| {
                    let x = from + (to - from) * i as f64 / 1000.0;
                    (fitted.evaluate(x) - function.evaluate(x)).abs()
                })
                .fold(0.0, f64::max);
            assert!(worst <= fitted.max_error * 1.02 + 1e-9, "{name} {degree}: {worst} {}", fitted.max_error);
            assert!(fitted.mean_error <= fitted.max_error);
            assert!(
                fitted.max_error <= last * 1.001 + 1e-9,
                "{name} {degree}: {} after {last}",
                fitted.max_error
            );
            last = fitted.max_error;
        }
    }
}

#[test]
fn refusals() {
    assert_eq!(fit(Function::Relu, 0, -1.0, 1.0), Err(FitError::Degree(0)));
    assert!(fit(Function::Relu, 65, -1.0, 1.0).is_err());
    assert!(fit(Function::Relu, 2, 1.0, -1.0).is_err());
    assert!(fit(Function::Relu, 2, f64::NAN, 1.0).is_err());
    assert!(fit(Function::Relu, 2, f64::NEG_INFINITY, 1.0).is_err());
    assert!(matches!(fit(Function::Exp, 2, 0.0, 1e4), Err(FitError::Overflow { .. })));
    let saturated = fit(Function::Sigmoid, 32, 900.0, 1000.0).unwrap();
    assert!((saturated.evaluate(950.0) - 1.0).abs() < 1e-12, "{saturated:?}");
    let _ = fit(Function::Silu, 4, -1e300, 1e300);
    let _ = fit(Function::Silu, 32, -1e-300, 1e-300);
}

#[test]
fn powers_are_given_where_they_keep_their_precision() {
    let sigmoid = fit(Function::Sigmoid, 15, -8.0, 8.0).unwrap();
    let powers = sigmoid.powers().unwrap();
    for x in [-8.0, -3.5, 0.0, 1.0, 8.0] {
        let y = powers.iter().rev().fold(0.0, |y, c| y * x + c);
        assert!((y - sigmoid.evaluate(x)).abs() < 1e-3 * sigmoid.max_error + 1e-9, "{x}: {y}");
    }
    assert_eq!(fit(Function::Relu, 64, -4.0, 4.0).unwrap().powers(), None);
}

fn options() -> ImportOptions {
    ImportOptions { keep_activations: true, ..ImportOptions::default() }
}

/// Quartic fits between -3 and 3.
const QUARTICS: FitOptions = FitOptions { degree: 4, interval: Some((-3.0, 3.0)) };

#[test]
fn activations_are_kept_and_replaced() {
    let model = Builder::new(&[6]).node("Relu", "x", "y", &[]);
    let network = model.import_with(&options()).unwrap().network;
    assert_eq!(kinds(&network), "I A");
    let x = numbers(6, 0);
    assert_eq!(network.evaluate_flat(&x), x.iter().map(|x| x.max(0.0)).collect::<Vec<_>>());
    let (fitted, of) = network.fit_activations(&QUARTICS, None).unwrap();
    assert_eq!(kinds(&fitted), "I L C4");
    assert_eq!((of[0].name.as_str(), of[0].function, of[0].degree), ("/y", Function::Relu, 4));
    for (y, x) in fitted.evaluate_flat(&x).iter().zip(x) {
        assert!((y - x.max(0.0)).abs() <= of[0].max_error * 1.001, "{x} {y}");
    }
}

#[test]
fn patterns_are_one_function() {
    let silu = Builder::new(&[6]).node("Sigmoid", "x", "s", &[]).node("Mul", "x s", "y", &[]);
    let hard = [float("alpha", 1.0 / 6.0), float("beta", 0.5)];
    let hardswish = Builder::new(&[6]).node("HardSigmoid", "x", "s", &hard).node("Mul", "s x", "y", &[]);
    let constants =
        |b: Builder| b.scalar("one", 1.0).scalar("half", 0.5).scalar("r", SQRT_2).scalar("i", FRAC_1_SQRT_2);
    let erf = constants(Builder::new(&[6])).node("Div", "x r", "d", &[]).node("Erf", "d", "e", &[]);
    let gelu =
        erf.node("Add", "e one", "a", &[]).node("Mul", "x a", "m", &[]).node("Mul", "m half", "y", &[]);
    let erf = constants(Builder::new(&[6])).node("Mul", "x i", "d", &[]).node("Erf", "d", "e", &[]);
    let other =
        erf.node("Mul", "x half", "h", &[]).node("Add", "one e", "a", &[]).node("Mul", "h a", "y", &[]);
    for (model, function) in [
        (silu, Function::Silu),
        (hardswish, Function::HardSwish),
        (gelu, Function::Gelu),
        (other, Function::Gelu),
    ] {
        assert!(model.error().contains(function.name()), "{}", model.error());
        let network = model.import_with(&options()).unwrap().network;
        assert!(kinds(&network).starts_with("I A"), "{function}: {}", kinds(&network));
        for (y, x) in network.evaluate_flat(&numbers(6, 0)).iter().zip(numbers(6, 0)) {
            assert!((y - function.evaluate(x)).abs() < 1e-6, "{function} of {x}: {y}");
        }
        let (fitted, of) = network.fit_activations(&QUARTICS, None).unwrap();
        for (y, x) in fitted.evaluate_flat(&numbers(6, 0)).iter().zip(numbers(6, 0)) {
            assert!(
                (y - function.evaluate(x)).abs() < of[0].max_error * 1.01 + 1e-6,
                "{function} of {x}: {y}"
            );
        }
    }
}

#[test]
fn intervals_stay_with_the_activations() {
    // A node that the output does not need comes first.
    let model = Builder::new(&[6]).scalar("c", 0.5).node("Mul", "x c", "unused", &[]);
    let model = model.node("Mul", "x c", "m", &[]).node("Relu", "m", "r", &[]).node("Mul", "r r", "y", &[]);
    let network = model.import_with(&options()).unwrap().network;
    assert_eq!(kinds(&network), "I L A P2");
    let (fitted, of) = network.fit_activations(&QUARTICS, None).unwrap();
    assert_eq!(kinds(&fitted), "I L L C4 P2");
    let [relu] = &of[..] else { panic!("{of:?}") };
    assert_eq!((relu.name.as_str(), relu.from, relu.to), ("/r", -3.0, 3.0));
    let x = numbers(6, 0);
    let reaching = &fitted.trace(&x)[relu.operand];
    assert!(reaching.iter().zip(&x).all(|(m, x)| (m - 0.5 * x).abs() < 1e-12), "{reaching:?}");
}

/// Max and Min of a tensor and constants, of one number or of one for each element.
#[test]
fn bounds_are_clips() {
    let new = || Builder::new(&[2, 3]).scalar("c", 0.25).floats("v", &[3], &[0.5, -1.0, 2.0]);
    let of = [0.5, -1.0, 2.0];
    type Expected<'a> = &'a dyn Fn(usize, f64) -> f64;
    let cases: [(&str, &str, &str, Expected<'_>); 5] = [
        ("Max", "x c", "clip(0.25, inf)", &|_, x| x.max(0.25)),
        ("Min", "c x", "clip(-inf, 0.25)", &|_, x| x.min(0.25)),
        ("Max", "x v", "relu", &|k, x| x.max(of[k])),
        ("Min", "v x", "relu", &|k, x| x.min(of[k])),
        ("Min", "v x c", "relu", &|k, x| x.min(of[k]).min(0.25)),
    ];
    for (op, inputs, function, expected) in cases {
        let model = new().node(op, inputs, "y", &[]);
        assert!(model.error().contains(function), "{}", model.error());
        let network = model.import_with(&options()).unwrap().network;
        assert_eq!(network.activations().count(), 1);
        let x = numbers(6, 0);
        for (i, (y, x)) in network.evaluate_flat(&x).iter().zip(&x).enumerate() {
            assert!((y - expected(i % 3, *x)).abs() < 1e-6, "{op} of {inputs}, {x}: {y}");
        }
    }
    let tanh = [text("approximate", "tanh")];
    let network =
        Builder::new(&[6]).opset(20).node("Gelu", "x", "y", &tanh).import_with(&options()).unwrap().network;
    for (y, x) in network.evaluate_flat(&numbers(6, 0)).iter().zip(numbers(6, 0)) {
        assert_eq!(*y, Function::TanhGelu.evaluate(x));
    }
}
