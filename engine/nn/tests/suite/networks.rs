//! Polynomials, scales and whole networks on ciphertexts, drawn at random and as they come from PyTorch.
//! reference networks at full security.

use crate::common::*;
use pleura_ckks::Security;
use pleura_nn::*;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

// Polynomials.

#[test]
fn square_of_the_input() {
    runs(net(&[10], |n| _ = n.square(X)), 14.0);
}

#[test]
fn squares_without_anything_between() {
    let network = net(&[10], |n| {
        let x = n.square(X);
        let x = n.square(x);
        n.square(x);
    });
    runs(network, 12.0);
}

#[test]
fn quadratics_of_both_signs() {
    for a in [0.3, -0.3, 5.0, -5.0] {
        let network = net(&[10], |n| {
            let x = n.dense(X, 8);
            let x = n.polynomial(x, &[-0.2, 0.7, a]);
            n.dense(x, 4);
        });
        runs(network, 14.0);
    }
}

#[test]
fn quadratics_of_their_own_for_each_channel() {
    let network = net(&[3, 6, 6], |n| {
        let x = n.conv(X, 4, Moves::of(3, 3));
        let x = n.per_channel(
            x,
            &[vec![0.1, -0.2, 0.3, 0.0], vec![0.5, 1.0, -0.7, 0.0], vec![0.2, -0.1, 1.3, -2.0]],
        );
        n.dense(x, 4);
    });
    runs(network, 14.0);
}

#[test]
fn quadratics_that_are_linear_in_one_channel() {
    let network = net(&[3, 6, 6], |n| {
        let x = n.conv(X, 4, Moves::of(3, 3));
        let x = n.per_channel(
            x,
            &[vec![0.1, -0.2, 0.3, 0.0], vec![0.5, 1.0, -0.7, 0.0], vec![0.2, 0.0, 1.3, -2.0]],
        );
        n.dense(x, 4);
    });
    runs(network, 13.0);
}

#[test]
fn quadratics_that_are_all_but_linear() {
    for a in [1e-2, 1e-4, -1e-8] {
        let network = net(&[10], |n| {
            let x = n.dense(X, 8);
            let x = n.polynomial(x, &[0.3, 2.0, a]);
            n.dense(x, 4);
        });
        runs(network, 12.0);
    }
}

#[test]
fn quadratics_with_a_large_constant() {
    let network = net(&[10], |n| {
        let x = n.dense(X, 8);
        let x = n.polynomial(x, &[1000.0, 0.5, 0.5]);
        n.dense(x, 4);
    });
    runs(network, 13.0);
}

#[test]
fn a_quadratic_of_planes_that_padding_empties() {
    let moves = Moves { kernel: [1, 2], stride: [3, 2], dilation: [1, 1], padding: [1, 1], groups: 1 };
    let network = net(&[3, 1, 1], |n| {
        let x = n.conv(X, 1, moves);
        n.polynomial(x, &[0.0, -0.149_565_922, 0.597_698_718]);
    });
    runs(network, 12.0);
}

// Scales.

#[test]
fn one_factor_for_all() {
    let network = net(&[10], |n| {
        let x = n.affine(X, 3.0, 0.0);
        let x = n.affine(x, -0.5, 0.25);
        let y = n.square(x);
        let y = n.affine(y, -2.0, 0.5);
        let x = n.add(x, y);
        let x = n.affine(x, -1.0, 0.0);
        n.square(x);
    });
    runs(network, 13.0);
}

#[test]
fn factors_between_sums_and_products() {
    let network = net(&[10], |n| {
        let a = n.affine(X, -7.0, 0.0);
        let b = n.affine(X, 0.01, 0.0);
        let x = n.sub(a, b);
        let x = n.product(x, a);
        let y = n.affine(x, -0.1, 0.0);
        n.add(x, y);
    });
    runs(network, 13.0);
}

#[test]
fn very_large_and_very_small_weights() {
    for gain in [1e6, 1e-6] {
        let network = net(&[2, 5, 5], |n| {
            n.gain = gain;
            let x = n.conv(X, 3, Moves::of(3, 3));
            n.gain = 1.0 / gain;
            let x = n.batch_norm(x);
            let x = n.act(x);
            n.gain = gain;
            n.dense(x, 4);
        });
        runs(network, 13.0);
    }
}

#[test]
fn very_large_and_very_small_ranges() {
    for gain in [1e6, 1e-6] {
        let network = net(&[2, 5, 5], |n| {
            n.gain = gain;
            let x = n.conv(X, 3, Moves::of(3, 3));
            let x = n.square(x);
            n.gain = 1.0;
            n.dense(x, 4);
        });
        runs(network, 13.0);
    }
}

#[test]
fn very_large_and_very_small_inputs() {
    for size in [1e6, 1e-6] {
        let network = net(&[12], |n| {
            let x = n.dense(X, 8);
            let x = n.polynomial(x, &[0.5, 1.0 / size, 0.2 / size / size]);
            n.dense(x, 4);
        });
        let sized = |seed| item(&network, seed).into_iter().map(|x| x * size).collect::<Vec<_>>();
        let calibration: Vec<_> = (1..=3).map(sized).collect();
        let calibration = Some(batch(network.input_shape(), &calibration));
        let plan = compile(&network, &CompileOptions { calibration, ..options(&network) }).unwrap();
        let got = encrypted(&plan, &[sized(0)]);
        let bits = bits(&network.evaluate_flat(&sized(0)), &got[0], 0.0);
        tell(bits, 13.0, &plan);
        assert!(bits >= 13.0, "{bits:.1} bits");
    }
}

#[test]
fn weights_of_very_different_size_in_one_layer() {
    let network = net(&[16], |n| {
        let mut weights = reals(16 * 8, 4);
        weights.iter_mut().enumerate().for_each(|(i, w)| *w *= 10f64.powi(-(i as i32 % 6)));
        let x = n.linear("dense", X, &[8], Linear::new(Dense::new(16, weights).unwrap()));
        let x = n.act(x);
        n.dense(x, 4);
    });
    runs(network, 13.0);
}

// Whole networks.

#[test]
fn only_an_input() {
    runs(net(&[10], |_| ()), 14.0);
    runs(net(&[3, 5, 7], |_| ()), 14.0);
}

#[test]
fn the_identity() {
    runs(net(&[3, 5, 7], |n| _ = n.reshape(X, &[105])), 14.0);
}

#[test]
fn only_an_affine_map() {
    let network = net(&[2, 6, 6], |n| {
        let x = n.conv(X, 4, Moves::of(3, 3));
        let x = n.pool(x, Moves::of(2, 2).stride(2, 2), true);
        n.dense(x, 3);
    });
    runs(network, 14.0);
}

#[test]
fn a_result_of_length_one() {
    let network = net(&[2, 6, 6], |n| {
        let x = n.conv(X, 4, Moves::of(3, 3));
        let x = n.act(x);
        n.dense(x, 1);
    });
    runs(network, 14.0);
    runs(net(&[1], |n| _ = n.act(X)), 14.0);
}

#[test]
fn a_feature_map_as_result() {
    let network = net(&[2, 7, 6], |n| {
        let x = n.conv(X, 4, Moves::of(3, 3).stride(2, 2));
        n.act(x);
    });
    runs(network, 14.0);
}

#[test]
fn a_node_that_nothing_reads() {
    let network = net(&[10], |n| {
        n.dense(X, 7);
        let x = n.act(X);
        n.dense(x, 3);
    });
    runs(network, 14.0);
}

#[test]
fn an_input_that_nothing_reads() {
    let network = net(&[10], |n| {
        let x = n.affine(X, 0.0, 2.0);
        n.square(x);
    });
    runs(network, 14.0);
}

#[test]
fn twelve_layers() {
    let network = net(&[2, 6, 6], |n| {
        let mut x = X;
        for _ in 0..6 {
            x = n.conv(x, 4, Moves::of(3, 3).padding(1, 1));
            x = n.act(x);
        }
        n.dense(x, 3);
    });
    runs(network, 12.0);
}

#[test]
fn items_together_are_as_items_alone() {
    for network in [small(), squeeze_and_excitation(false), net(&[3000], |n| _ = n.dense(X, 3))] {
        let plan = compile(&network, &options(&network)).unwrap();
        let (client, keys) = client(&plan);
        let session = server(&plan).open_session(keys).unwrap();
        let items: Vec<_> = (0..3).map(|seed| item(&network, seed)).collect();
        let sent = encrypt(&client, &items);
        let together = infer(&session, &sent).unwrap();
        let alone = sent.chunks(plan.report().input_ciphertexts).map(|item| infer(&session, item).unwrap());
        let alone: Vec<_> = alone.flatten().collect();
        assert_eq!(decrypt(&client, &together), decrypt(&client, &alone));
        for (item, got) in items.iter().zip(decrypt(&client, &together)) {
            let bits = bits(&network.evaluate_flat(item), &got, output_range(&network));
            assert!(bits >= 12.0, "{bits:.1} bits");
        }
    }
}

#[test]
fn a_server_answers_again_and_again() {
    let network = small();
    let plan = compile(&network, &options(&network)).unwrap();
    let (client, keys) = client(&plan);
    let session = server(&plan).open_session(keys).unwrap();
    for seed in 0..3 {
        let item = item(&network, seed);
        let got = infer(&session, &encrypt(&client, std::slice::from_ref(&item))).unwrap();
        let got = decrypt(&client, &got);
        let bits = bits(&network.evaluate_flat(&item), &got[0], output_range(&network));
        assert!(bits >= 14.0, "{bits:.1} bits");
    }
}

#[test]
fn without_calibration_items_normal_ones_are_taken() {
    let network = small();
    let plan = compile(&network, &CompileOptions { calibration: None, ..options(&network) }).unwrap();
    let item = item(&network, 0);
    let got = encrypted(&plan, std::slice::from_ref(&item));
    let bits = bits(&network.evaluate_flat(&item), &got[0], 0.0);
    assert!(bits >= 12.0, "{bits:.1} bits");
}

// Networks drawn at random.

/// A layer as drawn; what does not fit where it comes to stand is left out or made to fit.
#[derive(Clone, Debug)]
enum Layer {
    Convolution {
        channels: usize,
        moves: Moves,
        groups: usize,
    },
    Pool {
        moves: Moves,
        counts: bool,
    },
    Norm,
    Dense(usize),
    Quadratic([f64; 3]),
    PerChannel(u64),
    Polynomial(Vec<f64>),
    /// With the last tensor of the same shape.
    Add,
    Product,
}

fn moves() -> impl Strategy<Value = Moves> {
    let pair = |from: usize, to: usize| [from..=to, from..=to];
    (pair(1, 4), pair(1, 3), pair(1, 2), pair(0, 2)).prop_map(|(kernel, stride, dilation, padding)| Moves {
        kernel,
        stride,
        dilation,
        padding,
        groups: 1,
    })
}

fn layer() -> impl Strategy<Value = Layer> {
    let coefficient = || -1.0..1.0;
    prop_oneof![
        4 => (1usize..=9, moves(), 1usize..=4)
            .prop_map(|(channels, moves, groups)| Layer::Convolution { channels, moves, groups }),
        2 => (moves(), any::<bool>()).prop_map(|(moves, counts)| Layer::Pool { moves, counts }),
        1 => Just(Layer::Norm),
        2 => (1usize..=40).prop_map(Layer::Dense),
        3 => [coefficient(), coefficient(), coefficient()].prop_map(Layer::Quadratic),
        1 => any::<u64>().prop_map(Layer::PerChannel),
        1 => proptest::collection::vec(coefficient(), 4..=5).prop_map(Layer::Polynomial),
        2 => Just(Layer::Add),
        1 => Just(Layer::Product),
    ]
}

fn chain() -> impl Strategy<Value = (Vec<usize>, Vec<Layer>)> {
    let shape = [1usize..=5, 1usize..=12, 1usize..=12].prop_map(|shape| shape.to_vec());
    (shape, proptest::collection::vec(layer(), 2..=5))
}

fn place(n: &mut Net, layer: Layer) {
    let x = n.last();
    let shape = n.shape(x).to_vec();
    let twin = n.nodes.ids().rev().find(|&y| y < x && n.shape(y) == shape);
    let fits = |moves: Moves| shape.len() == 3 && moves.window([shape[1], shape[2]]).is_some();
    match layer {
        Layer::Convolution { channels, moves, groups } if fits(moves) => {
            let groups = (1..=groups).rev().find(|&g| shape[0].is_multiple_of(g)).unwrap();
            n.conv(x, channels * groups, moves.groups(groups));
        }
        Layer::Pool { mut moves, counts } => {
            // A window of padding alone has no average.
            moves.padding = [0, 1].map(|axis| moves.padding[axis].min((moves.kernel[axis] - 1) / 2));
            moves.dilation = [1, 1];
            if fits(moves) {
                n.pool(x, moves, counts);
            }
        }
        Layer::Norm => _ = n.batch_norm(x),
        Layer::Dense(outputs) => _ = n.dense(x, outputs),
        Layer::Quadratic(coefficients) => _ = n.polynomial(x, &coefficients),
        Layer::PerChannel(seed) => {
            let coefficients = [0, 1, 2].map(|k| reals(shape[0], seed.wrapping_add(k)));
            n.per_channel(x, &coefficients);
        }
        Layer::Polynomial(coefficients) => _ = n.polynomial(x, &coefficients),
        Layer::Add => _ = n.add(x, twin.unwrap_or(x)),
        Layer::Product => _ = n.product(x, twin.unwrap_or(x)),
        Layer::Convolution { .. } => {}
    }
}

proptest! {
    // The same networks every time, so that CI does not fail by chance. Other seeds, for a search: PROPTEST_RNG_SEED.
    #![proptest_config(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        rng_seed: std::env::var("PROPTEST_RNG_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .map_or(RngSeed::Fixed(2018), RngSeed::Fixed),
        ..ProptestConfig::default()
    })]

    #[test]
    fn networks_drawn_at_random((shape, layers) in chain()) {
        runs(net(&shape, |n| layers.into_iter().for_each(|layer| place(n, layer))), 10.0);
    }
}

// The reference networks.

/// Runs a reference network at full security; PyTorch's results are the ones to come to.
#[track_caller]
fn reference_runs(name: &str, min_bits: f64) {
    let file = reference(&format!("{name}.onnx"));
    let network = pleura_onnx::import(&file, &Default::default()).unwrap().network;
    let item = first_item(&format!("{name}.input.npy"));
    let torch = first_item(&format!("{name}.output.npy"));
    let clear = network.evaluate_flat(&item);
    assert!(bits(&torch, &clear, 1.0) >= 16.0, "the plaintext network itself differs");
    let options = CompileOptions { security: Security::Bits128, ..CompileOptions::default() };
    let plan = compile(&network, &options).unwrap();
    let got = encrypted(&plan, &[item]);
    let shape = network.output_shape();
    let fidelity = Fidelity::new(batch(shape, &[torch]).view(), batch(shape, &got).view());
    tell(fidelity.bits, min_bits, &plan);
    assert!(fidelity.bits >= min_bits, "{fidelity:?}");
    assert_eq!(fidelity.label_agreement, 1.0);
}

#[test]
fn mlp_at_128_bits() {
    reference_runs("mlp", 12.0);
}

#[test]
fn lola_at_128_bits() {
    reference_runs("lola", 12.0);
}

#[test]
fn hefnet_16_32_64_at_128_bits() {
    reference_runs("hefnet_16_32_64", 12.0);
}

#[test]
fn dilated_at_128_bits() {
    reference_runs("dilated", 12.0);
}

#[test]
fn separable_at_128_bits() {
    reference_runs("separable", 12.0);
}

#[test]
fn odd_at_128_bits() {
    reference_runs("odd", 12.0);
}
