//! Values of any size, and polynomials that no ciphertext can hold.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic, and so may the functions beside the tests"
)]

mod common;

use common::*;
use pleura_ckks::Ciphertext;
use pleura_nn::*;

#[test]
fn values_of_any_size_run_and_come_back_through_bytes() {
    for size in [1e-15, 1e-4, 1e3, 1e12] {
        let network = net(&[6], |n| {
            let x = n.affine(X, size, 0.1 * size);
            let x = n.polynomial(x, &[0.0, 0.5 * size, 0.0, 0.0, size.powi(-3)]);
            let y = n.dense(x, 6);
            let x = n.add(x, y);
            n.dense(x, 3);
        });
        let plan = compile(&network, &options(&network)).unwrap();
        let (client, keys) = client(&plan);
        let session = server(&plan).open_session(keys).unwrap();
        let item = item(&network, 0);
        let got = infer(&session, &encrypt(&client, std::slice::from_ref(&item))).unwrap();
        let got: Vec<_> =
            got.iter().map(|c| Ciphertext::from_bytes(&c.to_bytes(), plan.params()).unwrap()).collect();
        let want = network.evaluate_flat(&item);
        let bits = bits(&want, &decrypt(&client, &got)[0], output_range(&network));
        assert!(bits >= 12.0, "{bits:.1} bits at {size}");
        let published = flat(&client.publish(&got).unwrap());
        let error = published[0].iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(error < output_range(&network) / 2048.0, "{error} at {size}");
    }
}

/// Coefficients of `T_degree` in powers of `x`: values up to 1, coefficients up to about 2.4^degree.
fn chebyshev_in_powers(degree: usize) -> Vec<f64> {
    let (mut before, mut last) = (vec![1.0], vec![0.0, 1.0]);
    for _ in 1..degree {
        let mut next: Vec<f64> = std::iter::once(0.0).chain(last.iter().map(|c| 2.0 * c)).collect();
        next.iter_mut().zip(&before).for_each(|(next, c)| *next -= c);
        (before, last) = (last, next);
    }
    last
}

#[test]
fn polynomials_whose_powers_cancel_keep_their_precision() {
    for (degree, bits) in [(7, 14.0), (20, 11.0), (31, 8.0)] {
        runs(net(&[8], |n| _ = n.polynomial(X, &chebyshev_in_powers(degree))), bits);
    }
}

#[test]
fn polynomials_of_degree_64_keep_their_precision() {
    let mut power = vec![0.0; 65];
    power[64] = 1.0;
    runs(net(&[8], |n| _ = n.polynomial(X, &power)), 12.0);
    for (function, bits) in [(Function::Abs, 14.0), (Function::Tanh, 14.0)] {
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
        let (a, b) = (network.evaluate_flat(&item), fitted.evaluate_flat(&item));
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
