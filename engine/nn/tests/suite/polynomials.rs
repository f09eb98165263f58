//! Polynomials and fits of every degree.

use crate::common::*;
use pleura_nn::*;

#[test]
fn polynomials_of_degree_0_and_1() {
    let network = net(&[10], |n| {
        let x = n.polynomial(X, &[0.5, -2.0]);
        let y = n.polynomial(x, &[0.25]);
        let x = n.add(x, y);
        n.square(x);
    });
    runs(network, 14.0);
}

/// A polynomial between dense layers.
fn of_degree(degree: usize, each: bool) -> Network {
    net(&[10], |n| {
        let x = n.dense(X, 8);
        let x =
            n.coefficients(x, (0..=degree).map(|k| reals(if each { 8 } else { 1 }, 40 + k as u64)).collect());
        n.dense(x, 4);
    })
}

#[test]
fn polynomials_of_degree_3() {
    runs(of_degree(3, false), 12.0);
}

#[test]
fn polynomials_of_degree_4() {
    runs(of_degree(4, false), 12.0);
}

#[test]
fn polynomials_of_degree_5() {
    runs(of_degree(5, false), 12.0);
}

#[test]
fn polynomials_of_degree_6() {
    runs(of_degree(6, false), 12.0);
}

#[test]
fn polynomials_of_degree_7() {
    runs(of_degree(7, false), 12.0);
}

#[test]
fn polynomials_of_degree_8() {
    runs(of_degree(8, false), 12.0);
}

#[test]
fn polynomials_of_degree_15() {
    runs(of_degree(15, false), 10.0);
}

#[test]
fn polynomials_of_degree_16() {
    runs(of_degree(16, false), 10.0);
}

#[test]
fn polynomials_of_degree_3_for_each_element() {
    runs(of_degree(3, true), 12.0);
}

#[test]
fn polynomials_of_degree_4_for_each_element() {
    runs(of_degree(4, true), 12.0);
}

#[test]
fn polynomials_of_degree_7_for_each_element() {
    runs(of_degree(7, true), 12.0);
}

#[test]
fn polynomials_of_degree_15_for_each_element() {
    runs(of_degree(15, true), 10.0);
}

#[test]
fn polynomials_with_coefficients_of_zero() {
    for coefficients in
        [&[0.0, 0.0, 0.0, 1.0][..], &[0.0, 0.0, 0.0, 0.0, 1.0], &[0.0, 1.0, 0.0, 0.2, 0.0, 0.0]]
    {
        let network = net(&[10], |n| {
            let x = n.dense(X, 8);
            let x = n.polynomial(x, coefficients);
            n.dense(x, 4);
        });
        runs(network, 12.0);
    }
}

#[test]
fn polynomial_of_the_input_as_result() {
    runs(net(&[2, 3, 3], |n| _ = n.polynomial(X, &[0.2, 0.5, 0.1, -0.3])), 12.0);
}

#[test]
fn polynomial_of_a_square() {
    let network = net(&[10], |n| {
        let x = n.dense(X, 8);
        let x = n.square(x);
        let x = n.polynomial(x, &[0.1, 0.5, -0.3, 0.4, 0.2]);
        n.dense(x, 4);
    });
    runs(network, 12.0);
}

#[test]
fn polynomials_over_small_and_large_ranges() {
    for range in [1e-3, 1e3] {
        let network = net(&[10], |n| {
            n.gain = range;
            let x = n.dense(X, 8);
            n.gain = 1.0;
            let c = |k: i32, c: f64| c / range.powi(k);
            let x = n.polynomial(x, &[0.3, c(1, 0.6), c(2, 0.2), c(3, -0.1), c(4, 0.1)]);
            n.dense(x, 4);
        });
        runs(network, 12.0);
    }
}

#[test]
fn a_high_power_of_planes_with_gaps() {
    // Slots that hold no element must not outgrow those that do.
    let network = net(&[3, 9, 9], |n| {
        let x = n.conv(X, 5, Moves::of(3, 3).stride(2, 2));
        let x = n.polynomial(x, &[0.1, 0.2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5]);
        let x = n.conv(x, 5, Moves::of(3, 3).padding(1, 1));
        let x = n.polynomial(x, &[0.1, 0.2, 0.0, 0.3]);
        n.dense(x, 3);
    });
    runs(network, 10.0);
}

#[test]
fn a_cubic_of_an_input_that_is_repeated() {
    let network = net(&[1, 2, 4], |n| {
        let x = n.polynomial(X, &[0.0, 0.0, 0.0, 0.96]);
        n.conv(x, 2, Moves::of(1, 1));
    });
    runs(network, 12.0);
}

/// Coefficients of `T_degree` in powers of `x`: values up to 1, coefficients up to about 2.4^degree.
fn chebyshev_in_powers(degree: usize) -> Vec<f64> {
    let mut before = vec![1.0];
    let mut last = vec![0.0, 1.0];
    for _ in 1..degree {
        let mut next: Vec<f64> = std::iter::once(0.0).chain(last.iter().map(|c| 2.0 * c)).collect();
        next.iter_mut().zip(&before).for_each(|(next, c)| *next -= c);
        (before, last) = (last, next);
    }
    last
}

#[test]
fn polynomials_whose_powers_cancel_keep_their_precision() {
    // Each run draws its noise. The three keep about 17.5, 13.5 and 11 bits, with deviations of about 1.
    for (degree, bits) in [(7, 12.0), (20, 8.5), (31, 4.0)] {
        runs(net(&[8], |n| _ = n.polynomial(X, &chebyshev_in_powers(degree))), bits);
    }
}

#[test]
fn polynomials_of_degree_64_keep_their_precision() {
    let mut power = vec![0.0; 65];
    power[64] = 1.0;
    runs(net(&[8], |n| _ = n.polynomial(X, &power)), 12.0);
    // Each run draws its noise. The three keep about 20.5, 17 and 15 bits with a deviation of 1.
    for (function, bits) in [(Function::Abs, 11.0), (Function::Tanh, 9.0)] {
        let network = net(&[2, 5, 5], |n| {
            let x = n.conv(X, 3, Moves::of(3, 3).stride(2, 2));
            n.activation(x, Activation { function, inner: 8.0, outer: -0.5 });
        });
        let (fitted, of) = fitted(&network, 64, None);
        runs(fitted, bits);
        assert!(of[0].max_error < 0.1, "{of:?}");
    }
}

#[test]
fn fits_off_center_run_after_sums_products_and_pools() {
    // Slots without an element would leave the domain of the polynomials by far.
    let network = net(&[2, 6, 6], |n| {
        let x = n.conv(X, 3, Moves::of(3, 3).stride(2, 2).padding(1, 1));
        let x = n.affine(x, 0.5, 6.0);
        let x = n.activation(x, Activation::plain(Function::Silu));
        let y = n.affine(x, 0.25, -3.0);
        let x = n.product(x, y);
        let x = n.activation(x, Activation { function: Function::Tanh, inner: -0.5, outer: 2.0 });
        let z = n.add(x, y);
        let z = n.activation(z, Activation::plain(Function::Elu(1.0)));
        let z = n.pool(z, Moves::of(3, 3).stride(3, 3), false);
        let z = n.activation(z, Activation::plain(Function::Sigmoid));
        n.dense(z, 4);
    });
    let (fitted, of) = fitted(&network, 12, None);
    assert_eq!(of.len(), 4);
    let error = |item: Vec<f64>| {
        let a = network.evaluate_flat(&item);
        let b = fitted.evaluate_flat(&item);
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    assert!(error(item(&network, 1)) < 0.05 * output_range(&network));
    runs(fitted, 11.0);
}

#[test]
fn fits_take_the_values_that_reach_them_within_the_interval() {
    let network = net(&[4], |n| {
        let x = n.affine(X, 3.0, 1.0);
        n.activation(x, Activation::plain(Function::Relu));
    });
    let reached = calibration(&network).concat().into_iter().map(|x| 3.0 * x + 1.0);
    let (low, high) = reached.fold((f64::INFINITY, -f64::INFINITY), |(l, h), x| (l.min(x), h.max(x)));
    let (_, of) = fitted(&network, 8, None);
    let margin = 0.125 * (high - low);
    assert!(
        (of[0].from - (low - margin)).abs() < 1e-12 && (of[0].to - (high + margin)).abs() < 1e-12,
        "{of:?}"
    );
    let (_, of) = fitted(&network, 8, Some((-0.5, 100.0)));
    assert_eq!((of[0].from, of[0].name.as_str()), (-0.5, "activation 2"));
    // An interval that no item reaches, and no items.
    let (_, of) = fitted(&network, 8, Some((50.0, 60.0)));
    assert_eq!((of[0].from, of[0].to), (50.0, 60.0));
    let options = FitOptions { degree: 8, interval: Some((-2.0, 3.0)) };
    let (_, of) = network.fit_activations(&options, None).unwrap();
    assert_eq!((of[0].from, of[0].to), (-2.0, 3.0));
    let error = network.fit_activations(&FitOptions { degree: 65, interval: None }, None).unwrap_err();
    assert!(error.to_string().contains("activation 2: a degree of 65"), "{error}");
}

#[test]
fn activations_that_nothing_replaces_do_not_compile() {
    let network = net(&[4], |n| _ = n.activation(X, Activation::plain(Function::Gelu)));
    let error = compile(&network, &options(&network)).unwrap_err();
    assert!(matches!(error, CompileError::Activation { function: "gelu", .. }), "{error}");
}

#[test]
fn polynomials_that_keep_no_precision_are_refused() {
    // At the ends of the domain, where all calibration items lie, the elements cancel.
    let mut coefficients = vec![vec![0.0]; 41];
    coefficients[40] = vec![1.0];
    coefficients[38] = vec![-1.0];
    coefficients[0] = vec![1e-4];
    let network = net(&[8], |n| _ = n.push("ends", &[8], Op::Chebyshev(X, Coefficients(coefficients))));
    let calibration = Some(batch(&[8], &[vec![1.0; 8], vec![-1.0; 8]]));
    let error = compile(&network, &CompileOptions { calibration, ..options(&network) }).unwrap_err();
    let CompileError::Imprecise { degree: 40, bits, node } = error else { panic!("{error:?}") };
    assert!(node == "ends 1" && bits < 4, "{bits} bits at {node}");
}

/// The network with fits on its calibration items.
fn fitted(
    network: &Network,
    degree: usize,
    interval: Option<(f64, f64)>,
) -> (Network, Vec<FittedActivation>) {
    let items = batch(network.input_shape(), &calibration(network));
    network.fit_activations(&FitOptions { degree, interval }, Some(&items)).unwrap()
}
