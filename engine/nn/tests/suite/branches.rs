//! Encrypted inference compared with the plaintext network: sums and products of branches.

use crate::common::*;
use pleura_nn::{Dense, Linear};

// Sums and products.

#[test]
fn sum_of_branches_of_equal_depth() {
    let network = net(&[3, 6, 6], |n| {
        let a = n.conv(X, 4, Moves::of(3, 3).padding(1, 1));
        let b = n.conv(X, 4, Moves::of(1, 1));
        let x = n.add(a, b);
        let x = n.act(x);
        n.dense(x, 3);
    });
    runs(network, 14.0);
}

#[test]
fn residual_over_a_deeper_branch() {
    let network = net(&[3, 6, 6], |n| {
        let stem = n.conv(X, 4, Moves::of(3, 3).padding(1, 1));
        let stem = n.act(stem);
        let x = n.conv(stem, 4, Moves::of(3, 3).padding(1, 1));
        let x = n.act(x);
        let x = n.conv(x, 4, Moves::of(3, 3).padding(1, 1));
        let x = n.add(x, stem);
        let x = n.act(x);
        n.dense(x, 3);
    });
    runs(network, 14.0);
}

#[test]
fn residual_with_a_strided_shortcut() {
    let network = net(&[3, 8, 8], |n| {
        let x = n.conv(X, 4, Moves::of(3, 3).stride(2, 2).padding(1, 1));
        let x = n.act(x);
        let x = n.conv(x, 8, Moves::of(3, 3).stride(2, 2).padding(1, 1));
        let shortcut = n.conv(X, 8, Moves::of(1, 1).stride(4, 4));
        let x = n.add(x, shortcut);
        n.act(x);
    });
    runs(network, 14.0);
}

#[test]
fn residual_of_the_input() {
    let network = net(&[3, 6, 6], |n| {
        let x = n.conv(X, 3, Moves::of(3, 3).padding(1, 1));
        let x = n.act(x);
        let x = n.conv(x, 3, Moves::of(3, 3).padding(1, 1));
        let x = n.add(X, x);
        n.dense(x, 3);
    });
    runs(network, 14.0);
}

/// The branch would leave its own operand few bits if both were computed in units of their sum.
#[test]
fn residuals_over_much_larger_branches() {
    for factor in [1e2, 1e5, 1e9] {
        for of_the_input in [false, true] {
            let network = net(&[8], |n| {
                let shortcut = if of_the_input { X } else { n.dense(X, 8) };
                let x = n.dense(shortcut, 8);
                let x = n.square(x);
                let x = n.affine(x, factor, 0.5);
                let x = n.dense(x, 8);
                let x = n.add(shortcut, x);
                let x = n.square(x);
                n.dense(x, 3);
            });
            runs(network, 17.0);
        }
    }
}

/// The sum itself is read by a much larger branch.
#[test]
fn residuals_that_grow() {
    let network = net(&[8], |n| {
        let mut sum = X;
        for factor in [1.0, 1e3, 1e3] {
            let x = n.dense(sum, 8);
            let x = n.square(x);
            let x = n.affine(x, factor, 0.5);
            let x = n.dense(x, 8);
            sum = n.add(x, sum);
        }
        n.dense(sum, 3);
    });
    runs(network, 14.0);
}

#[test]
fn two_residuals_in_a_row() {
    let network = net(&[9], |n| {
        let mut x = n.dense(X, 12);
        for _ in 0..2 {
            let y = n.act(x);
            let y = n.dense(y, 12);
            x = n.add(x, y);
        }
        n.act(x);
    });
    runs(network, 14.0);
}

#[test]
fn differences() {
    let network = net(&[12], |n| {
        let a = n.dense(X, 8);
        let b = n.act(a);
        let x = n.sub(a, b);
        let c = n.dense(x, 8);
        n.sub(b, c);
    });
    runs(network, 14.0);
}

#[test]
fn sum_with_itself() {
    let network = net(&[12], |n| {
        let x = n.add(X, X);
        let x = n.act(x);
        n.add(x, x);
    });
    runs(network, 14.0);
}

#[test]
fn difference_with_itself_is_zero() {
    let network = net(&[12], |n| {
        let x = n.sub(X, X);
        n.dense(x, 2);
    });
    runs(network, 14.0);
}

#[test]
fn input_and_sum_alone() {
    runs(net(&[12], |n| _ = n.add(X, X)), 14.0);
}

#[test]
fn sum_of_products() {
    let network = net(&[12], |n| {
        let [a, b, c] = [1, 2, 3].map(|_| n.dense(X, 8));
        let x = n.product(a, b);
        let y = n.product(b, c);
        let x = n.add(x, y);
        n.dense(x, 5);
    });
    runs(network, 14.0);
}

#[test]
fn product_of_branches() {
    let network = net(&[3, 6, 6], |n| {
        let a = n.conv(X, 4, Moves::of(3, 3).padding(1, 1));
        let b = n.conv(X, 4, Moves::of(1, 1));
        let b = n.act(b);
        let x = n.product(a, b);
        n.conv(x, 2, Moves::of(3, 3));
    });
    runs(network, 14.0);
}

#[test]
fn product_of_branches_of_other_depth() {
    let network = net(&[7], |n| {
        let a = n.dense(X, 7);
        let b = n.act(a);
        let b = n.dense(b, 7);
        let b = n.act(b);
        let x = n.product(X, b);
        let x = n.product(x, a);
        n.dense(x, 3);
    });
    runs(network, 14.0);
}

#[test]
fn product_with_itself() {
    let network = net(&[7], |n| {
        let x = n.dense(X, 7);
        n.product(x, x);
    });
    runs(network, 14.0);
}

#[test]
fn squeeze_and_excitation_spread_after_its_polynomial() {
    runs(squeeze_and_excitation(false), 13.0);
}

#[test]
fn squeeze_and_excitation_spread_before_its_polynomial() {
    runs(squeeze_and_excitation(true), 13.0);
}

#[test]
fn spread_of_a_polynomial_of_its_own_for_each_channel() {
    let network = net(&[6, 4, 4], |n| {
        let x = n.global_pool(X);
        let x = n.coefficients(x, vec![reals(6, 1), reals(6, 2), reals(6, 3), reals(6, 4)]);
        let x = n.batch_norm(x);
        let x = n.spread(x, &[6, 4, 4]);
        n.product(X, x);
    });
    runs(network, 13.0);
}

// Constants.

#[test]
fn constants_added_to_the_input_and_to_activations() {
    let network = net(&[10], |n| {
        let x = n.linear("bias", X, &[10], Linear::identity(10).plus(&reals(10, 3)));
        let x = n.square(x);
        let x = n.linear("bias", x, &[10], Linear::identity(10).plus(&reals(10, 4)));
        let x = n.square(x);
        n.dense(x, 4);
    });
    runs(network, 13.0);
}

#[test]
fn a_large_constant_added() {
    for addend in [100.0, 1e4, 1e6] {
        let network = net(&[10], |n| {
            let x = n.affine(X, 1.0, addend);
            let x = n.square(x);
            n.dense(x, 4);
        });
        runs(network, 12.0);
    }
}

#[test]
fn weights_of_zero() {
    let network = net(&[2, 5, 5], |n| {
        n.gain = 0.0;
        let x = n.conv(X, 3, Moves::of(3, 3));
        n.gain = 1.0;
        let x = n.batch_norm(x);
        let x = n.act(x);
        n.dense(x, 4);
    });
    runs(network, 13.0);
}

#[test]
fn a_result_of_zero() {
    let network = net(&[6], |n| {
        let x = n.act(X);
        n.gain = 0.0;
        n.dense(x, 4);
    });
    runs(network, 13.0);
}

#[test]
fn a_result_that_is_constant() {
    runs(net(&[6], |n| _ = n.affine(X, 0.0, 3.0)), 13.0);
    runs(net(&[6], |n| _ = n.polynomial(X, &[3.0])), 13.0);
}

#[test]
fn some_rows_of_zero() {
    let network = net(&[6], |n| {
        let mut weights = reals(36, 4);
        weights[..18].fill(0.0);
        let x = n.linear("dense", X, &[6], Linear::new(Dense::new(6, weights).unwrap()));
        let x = n.act(x);
        n.dense(x, 3);
    });
    runs(network, 13.0);
}

#[test]
fn a_sum_with_a_branch_of_zero() {
    let network = net(&[6], |n| {
        let x = n.act(X);
        n.gain = 0.0;
        let zero = n.dense(X, 6);
        let x = n.add(x, zero);
        n.gain = 1.0;
        n.dense(x, 3);
    });
    runs(network, 13.0);
}

#[test]
fn an_item_of_zeros() {
    let network = small();
    let plan = compile(&network, &options(&network)).unwrap();
    let item = vec![0.0; 60];
    let got = encrypted(&plan, std::slice::from_ref(&item));
    let bits = bits(&network.evaluate_flat(&item), &got[0], output_range(&network));
    assert!(bits >= 14.0, "{bits:.1} bits");
}
