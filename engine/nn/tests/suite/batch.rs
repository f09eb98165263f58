//! Several items as one, and layouts of batches.

use crate::common::*;
use pleura_ckks::{RingKind, Security};
use pleura_nn::*;

#[test]
fn items_side_by_side_are_computed_each_on_its_own() {
    for name in ["lola", "hefnet_16_32_64", "lenet5_se", "odd", "separable"] {
        let path = format!("{}/../../models/reference/{name}.onnx", env!("CARGO_MANIFEST_DIR"));
        let onnx = std::fs::read(path).unwrap();
        let network = pleura_onnx::import(&onnx, &Default::default()).unwrap().network;
        let len: usize = network.input_shape().iter().product();
        let items: Vec<Vec<f64>> =
            (0..2).map(|k| (0..len).map(|i| ((i * (k + 2)) as f64 * 0.37).sin()).collect()).collect();
        let both = network.side_by_side(2).unwrap().evaluate_flat(&items.concat());
        let each: Vec<f64> = items.iter().flat_map(|item| network.evaluate_flat(item)).collect();
        let worst = both.iter().zip(&each).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(both.len() == each.len() && worst < 1e-9, "{name}: {worst}");
    }
}

/// A convolution with padding, a pool, squares, a branch and a polynomial of degree 3.
fn every_kind_of_step() -> Network {
    net(&[2, 6, 6], |n| {
        let x = n.conv(X, 3, Moves::of(3, 3).padding(1, 1));
        let x = n.square(x);
        let x = n.pool(x, Moves::of(2, 2).stride(2, 2), true);
        let a = n.dense(x, 5);
        let b = n.dense(x, 5);
        let product = n.product(a, b);
        let sum = n.add(product, a);
        let x = n.polynomial(sum, &[0.1, 0.3, 0.0, 0.2]);
        n.dense(x, 3);
    })
}

/// A plan for batches of `count` items, in the layout that is expected.
fn planned(network: &Network, count: usize, layout: &str) -> Plan {
    let plan = compile(network, &CompileOptions { batch: count, ..options(network) }).unwrap();
    let report = plan.report();
    for tried in &report.layouts {
        assert_eq!(tried.chosen, tried.refusal.is_none());
    }
    let chosen: Vec<_> = report.layouts.iter().filter(|l| l.chosen).map(|l| l.layout.as_str()).collect();
    assert_eq!(chosen, [layout]);
    plan
}

/// Runs more items than whole groups through bytes of a plan, and compares each.
fn every_item_is_right(network: &Network, plan: &Plan, count: usize) {
    let plan = Plan::from_bytes_allow_insecure(&plan.to_bytes().unwrap()).unwrap();
    let items: Vec<Vec<f64>> = (0..count as u64).map(|seed| item(network, seed)).collect();
    let spec = plan.client_spec();
    let (client, keys) = client(&plan);
    let sent = encrypt(&client, &items);
    assert_eq!(sent.len(), count.div_ceil(spec.items()) * spec.input_ciphertexts());
    let got = decrypt(&client, &infer(&server(&plan).open_session(keys).unwrap(), &sent).unwrap());
    assert_eq!(got.len(), count.next_multiple_of(spec.items()));
    for (number, item) in items.iter().enumerate() {
        let want = network.evaluate_flat(item);
        let bits = bits(&want, &got[number], output_range(network));
        assert!(bits >= 12.0, "{bits:.1} bits of item {number}");
    }
    // The last item fills up its group.
    let last = network.evaluate_flat(&items[count - 1]);
    assert!(bits(&last, got.last().unwrap(), output_range(network)) >= 12.0);
}

#[test]
fn a_large_batch_has_an_item_in_each_slot() {
    let network = every_kind_of_step();
    let plan = planned(&network, 10_000, "an item per slot");
    let spec = plan.client_spec();
    assert_eq!(spec.batch_layout(), BatchLayout::SlotPerItem);
    assert_eq!((spec.input_ciphertexts(), spec.output_ciphertexts()), (72, 3));
    assert_eq!(plan.report().rotation_keys, 0, "nothing rotates");
    every_item_is_right(&network, &plan, 9);
}

#[test]
fn items_side_by_side_share_ciphertexts() {
    let network = every_kind_of_step();
    let layout = Some(BatchLayout::SideBySide(8));
    let plan = compile(&network, &CompileOptions { layout, ..options(&network) }).unwrap();
    assert_eq!(
        (plan.client_spec().batch_layout(), plan.client_spec().items()),
        (BatchLayout::SideBySide(8), 8)
    );
    every_item_is_right(&network, &plan, 11);
}

/// A plan with items interleaved, whatever it costs.
fn planned_interleaved(network: &Network) -> Plan {
    let layout = Some(BatchLayout::Interleaved);
    compile(network, &CompileOptions { layout, batch: 1_000, ..options(network) }).unwrap()
}

#[test]
fn interleaved_items_need_masks_alone() {
    let network = net(&[2, 12, 12], |n| {
        let x = n.conv(X, 4, Moves::of(3, 3));
        let x = n.square(x);
        let x = n.pool(x, Moves::of(2, 2).stride(2, 2), true);
        let x = n.conv(x, 6, Moves { groups: 2, ..Moves::of(3, 3).padding(1, 1) });
        let x = n.square(x);
        n.dense(x, 3);
    });
    let plan = planned_interleaved(&network);
    let spec = plan.client_spec();
    assert_eq!((spec.input_ciphertexts(), spec.output_ciphertexts()), (2, 1));
    let slots = plan.params().slots();
    assert_eq!(
        spec.items(),
        slots / (12 * 12),
        "12 rows and columns leave room for what windows reach beyond"
    );
    // Masks before the padded convolution and of the results.
    let weights = plan.report().layers.iter().map(|layer| layer.bytes).sum::<usize>();
    assert!(weights < 4 * plan.params().n() * (4 + 3) + 10_000, "{weights} bytes");
    every_item_is_right(&network, &plan, spec.items() + 2);
}

#[test]
fn interleaved_items_run_every_kind_of_step() {
    let network = every_kind_of_step();
    let plan = planned(&network, 100, "items interleaved");
    assert_eq!(plan.client_spec().items(), plan.params().slots() / 64, "6 x 6 positions of 8 x 8");
    every_item_is_right(&network, &plan, 5);
    let few = planned(&network, 3, "items interleaved");
    assert_eq!(few.client_spec().items(), 4);
    every_item_is_right(&network, &few, 7);
}

#[test]
fn interleaved_vectors() {
    let network = net(&[8], |n| {
        let x = n.dense(X, 8);
        let x = n.square(x);
        n.dense(x, 3);
    });
    let plan = planned_interleaved(&network);
    assert_eq!(plan.client_spec().items(), plan.params().slots() / 8);
    every_item_is_right(&network, &plan, 5);
}

#[test]
fn a_result_of_fewer_bits_makes_room_for_a_special_prime() {
    let network = net(&[64], |n| {
        let mut x = n.dense(X, 64);
        for _ in 0..5 {
            x = n.square(x);
            x = n.dense(x, 64);
        }
    });
    let secure = CompileOptions {
        security: Security::Bits128,
        rings: vec![RingKind::Cyclotomic],
        layout: Some(BatchLayout::Interleaved),
        batch: 16,
        ..options(&network)
    };
    let plan = compile(&network, &secure).unwrap();
    let p = &plan.report().parameters;
    assert_eq!((p.log_n, p.levels), (14, 11), "{p:?}");
    // The base that a result of six bits more needs would leave room for one.
    assert_eq!(plan.params().literal().digit_limbs, 2, "{p:?}");
    assert!(p.log2_q + 60.0 <= p.max_log2_qp, "{p:?}");
    every_item_is_right(&network, &plan, 3);
}

#[test]
fn large_channels_leave_no_room_for_two_items() {
    let network = net(&[1, 64, 64], |n| {
        n.conv(X, 1, Moves::of(3, 3));
    });
    let layout = Some(BatchLayout::Interleaved);
    let error = compile(&network, &CompileOptions { layout, ..options(&network) }).unwrap_err();
    assert!(matches!(error, CompileError::Layout { .. }), "{error}");
}

#[test]
fn one_item_is_no_batch() {
    let network = every_kind_of_step();
    let plan = planned(&network, 1, "single items");
    assert_eq!((plan.client_spec().items(), plan.report().layouts.len()), (1, 1));
}
