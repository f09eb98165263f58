//! Predicted precision, compared with that of encrypted results.

use crate::common::*;
use pleura_ckks::{RingKind, Security};
use pleura_nn::*;

/// Bits by which the mean of a few keys may miss the prediction. The worst of a few values is two to three bits off for some keys, whose secret is larger
/// in some slots than in others.
const MARGIN: std::ops::RangeInclusive<f64> = -3.0..=3.5;
const KEYS: usize = 3;

/// Runs calibration items, which the prediction is of, and checks that the worst results are as precise as predicted.
#[track_caller]
fn is_predicted(network: &Network, options: &CompileOptions) {
    let plan = compile(network, options).unwrap();
    let items = calibration(network);
    let range = plan.client_spec().output_range();
    let predicted = plan.report().predicted_bits.unwrap();
    let mut sum = 0.0;
    for _ in 0..KEYS {
        let (client, keys) = client(&plan);
        let session = server(&plan).open_session(keys).unwrap();
        let got = decrypt(&client, &infer(&session, &encrypt(&client, &items)).unwrap());
        let results = items.iter().zip(&got);
        let each = results.map(|(item, got)| bits(&network.evaluate_flat(item), got, range));
        sum += each.fold(f64::INFINITY, f64::min);
    }
    let measured = sum / KEYS as f64;
    tell(measured, predicted, &plan);
    assert!(
        MARGIN.contains(&(measured - predicted)),
        "{measured:.1} bits, where {predicted:.1} are predicted"
    );
}

/// A prediction for each kind of ring.
#[track_caller]
fn is_predicted_in_both_rings(network: &Network) {
    for ring in RingKind::ALL {
        is_predicted(network, &CompileOptions { rings: vec![ring], ..options(network) });
    }
}

fn imported(name: &str) -> Network {
    pleura_onnx::import(&reference(&format!("{name}.onnx")), &Default::default()).unwrap().network
}

#[test]
fn of_linear_maps() {
    is_predicted_in_both_rings(&net(&[2, 8, 8], |n| _ = n.conv(X, 3, Moves::of(3, 3).padding(1, 1))));
    is_predicted_in_both_rings(&net(&[3, 8, 8], |n| _ = n.pool(X, Moves::of(2, 2).stride(2, 2), true)));
    is_predicted_in_both_rings(&net(&[100], |n| _ = n.dense(X, 10)));
}

#[test]
fn of_large_weights_and_results() {
    let network = net(&[40], |n| {
        n.gain = 1e4;
        let x = n.dense(X, 20);
        let x = n.square(x);
        n.dense(x, 5);
    });
    is_predicted_in_both_rings(&network);
}

#[test]
fn of_squares_that_multiply_errors() {
    let network = net(&[10], |n| {
        let x = n.dense(X, 8);
        let x = n.square(x);
        let x = n.square(x);
        let x = n.square(x);
        n.dense(x, 8);
    });
    is_predicted_in_both_rings(&network);
}

#[test]
fn of_branches_and_products() {
    let network = net(&[2, 6, 6], |n| {
        let x = n.conv(X, 3, Moves::of(3, 3).padding(1, 1));
        let x = n.square(x);
        let a = n.dense(x, 5);
        let b = n.dense(x, 5);
        let product = n.product(a, b);
        let sum = n.add(product, a);
        n.dense(sum, 3);
    });
    is_predicted_in_both_rings(&network);
}

#[test]
fn of_polynomials() {
    for degree in [3, 7, 15] {
        let network = net(&[20], |n| {
            let x = n.dense(X, 12);
            let x = n.polynomial(x, &reals(degree + 1, degree as u64));
            n.dense(x, 6);
        });
        is_predicted_in_both_rings(&network);
    }
}

#[test]
fn of_layouts_of_batches() {
    let network = net(&[2, 6, 6], |n| {
        let x = n.conv(X, 3, Moves::of(3, 3).padding(1, 1));
        let x = n.square(x);
        n.dense(x, 4);
    });
    for layout in [BatchLayout::SideBySide(2), BatchLayout::Interleaved, BatchLayout::SlotPerItem] {
        is_predicted(&network, &CompileOptions { layout: Some(layout), batch: 3, ..options(&network) });
    }
}

#[test]
fn of_reference_networks() {
    for name in ["lola", "hefnet_16_32_64"] {
        let network = imported(name);
        is_predicted(&network, &CompileOptions { security: Security::Bits128, ..options(&network) });
    }
}

#[test]
fn a_requested_precision_is_kept() {
    let network = imported("lola");
    let options = |precision| CompileOptions { security: Security::Bits128, precision, ..options(&network) };
    let usual = compile(&network, &options(None)).unwrap();
    let predicted = usual.report().predicted_bits.unwrap();
    let same = compile(&network, &options(Some(predicted - 0.5))).unwrap();
    assert_eq!(same.server_plan().digest(), usual.server_plan().digest(), "the plan was precise enough");

    let requested = predicted + 1.0;
    let precise = compile(&network, &options(Some(requested))).unwrap();
    assert!(precise.report().predicted_bits.unwrap() >= requested, "{:?}", precise.report().predicted_bits);
    is_predicted(&network, &options(Some(requested)));
    let read = Plan::from_bytes(&precise.to_bytes().unwrap()).unwrap();
    assert_eq!(read.report(), precise.report());

    let Err(CompileError::Precision { requested, most }) = compile(&network, &options(Some(40.0))) else {
        panic!("a precision of 40 bits");
    };
    assert!(requested == 40.0 && most > predicted && most < 40.0, "{most}");
}
