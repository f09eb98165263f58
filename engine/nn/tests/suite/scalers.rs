//! Inputs and results whose elements have offsets and units of their own.

use crate::common::*;
use pleura_nn::*;

/// Items of uniform numbers, element `i` times `spreads[i]` and then `offsets[i]` more.
fn items(count: usize, spreads: &[f64], offsets: &[f64]) -> Vec<Vec<f64>> {
    (0..count)
        .map(|seed| {
            let scales = spreads.iter().zip(offsets);
            reals(spreads.len(), 90 + seed as u64).iter().zip(scales).map(|(x, (s, o))| x * s + o).collect()
        })
        .collect()
}

fn calibrated(network: &Network, items: &[Vec<f64>]) -> Plan {
    compile(
        network,
        &CompileOptions { calibration: Some(batch(network.input_shape(), items)), ..options(network) },
    )
    .unwrap()
}

/// A matrix whose elements are divided by the spreads of their inputs, and times those of their results.
fn dense(spreads: &[f64], bias: &[f64], results: &[f64]) -> Network {
    let inputs = spreads.len();
    let weights = reals(inputs * bias.len(), 5);
    let weights = weights.iter().enumerate();
    let weights = weights.map(|(i, w)| w / spreads[i % inputs] * results[i / inputs]).collect();
    net(&[inputs], |n| {
        let linear = Linear::new(Dense::new(inputs, weights).unwrap()).plus(bias);
        n.linear("dense", X, &[bias.len()], linear);
    })
}

/// Least bits of each result's deviation from its offset, for `tested`.
#[track_caller]
fn bits_of_spread(network: &Network, plan: &Plan, tested: &[Vec<f64>]) -> Vec<f64> {
    let results: Vec<Vec<f64>> = tested.iter().map(|item| network.evaluate_flat(item)).collect();
    let got = encrypted(plan, tested);
    let spec = plan.client_spec();
    let units = spec.roundings().into_iter().map(|rounding| rounding * f64::from(spec.publish_bits()).exp2());
    let ranges: Vec<f64> = units.map(|unit| unit * spec.output_range()).collect();
    let errors = results.iter().zip(&got).flat_map(|(want, got)| want.iter().zip(got).zip(&ranges));
    let worst = errors.map(|((want, got), range)| (want - got).abs() / range).fold(0.0, f64::max);
    let predicted = plan.report().predicted_bits.unwrap();
    assert!(-worst.log2() > predicted - 4.0, "{:.1} bits, where {predicted:.1} are predicted", -worst.log2());
    (0..results[0].len())
        .map(|i| {
            let column: Vec<f64> = results.iter().map(|result| result[i]).collect();
            let low = column.iter().copied().fold(f64::INFINITY, f64::min);
            let high = column.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let worst = column.iter().zip(&got).map(|(want, got)| (want - got[i]).abs()).fold(0.0, f64::max);
            -(worst / (high - low)).log2()
        })
        .collect()
}

#[test]
fn offsets_and_units_of_features_cost_few_bits() {
    let plain = [1.0; 6];
    let reference = {
        let tested = items(32, &plain, &[0.0; 6]);
        let network = dense(&plain, &[0.5, -0.5], &[1.0; 2]);
        bits_of_spread(&network, &calibrated(&network, &tested), &tested)
    };
    for (spreads, offsets) in [
        ([10.0, 1.0, 1.0, 1.0, 1.0, 1.0], [2000.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
        ([1e3, 1.0, 1.0, 1.0, 1.0, 1.0], [1.7e9, 0.0, 1e4, 0.0, -300.0, 0.0]),
        ([1e-6, 1e6, 1.0, 1.0, 1e-3, 1e3], [0.0; 6]),
        ([1e-6, 1e6, 1.0, 1.0, 1e-3, 1e3], [1e-3, 1e9, 0.0, -50.0, 0.0, 1e5]),
    ] {
        let tested = items(32, &spreads, &offsets);
        let weights = dense(&spreads, &[0.0; 2], &[1.0; 2]);
        let bias: Vec<f64> = weights.evaluate_flat(&offsets).iter().map(|x| -x).collect();
        let network = dense(&spreads, &bias, &[1.0; 2]);
        let found = bits_of_spread(&network, &calibrated(&network, &tested), &tested);
        for (found, reference) in found.iter().zip(&reference) {
            assert!(
                // Units differ by less than 64, or are their own.
                *found > reference - 8.0,
                "{found:.1} bits and not {reference:.1}, of {spreads:?} {offsets:?}"
            );
        }
    }
}

#[test]
fn offsets_and_units_of_results_cost_no_bits() {
    let spreads = [1.0; 6];
    let tested = items(32, &spreads, &[0.0; 6]);
    let network = dense(&spreads, &[1e6, 0.0, 0.0, -3e4], &[1.0, 1e-6, 1.0, 1e-2]);
    let plan = calibrated(&network, &tested);
    let found = bits_of_spread(&network, &plan, &tested);
    assert!(found.iter().all(|bits| *bits > 14.0), "{found:.1?}");
    let spec = ClientSpec::from_bytes_allow_insecure(&plan.client_spec().to_bytes().unwrap()).unwrap();
    let (_, keys) = client(&plan);
    let client = Client::new(spec).unwrap();
    let session = server(&plan).open_session(client.evaluation_keys().unwrap()).unwrap();
    drop(keys);
    let published = flat(&client.publish(&infer(&session, &encrypt(&client, &tested)).unwrap()).unwrap());
    let roundings = client.spec().roundings();
    for (item, got) in tested.iter().zip(&published) {
        let want = network.evaluate_flat(item);
        for ((want, got), rounding) in want.iter().zip(got).zip(&roundings) {
            assert!((want - got).abs() < 1.1 * rounding, "{got} and not {want}, by {rounding}");
            assert_eq!((got / rounding).fract(), 0.0, "{got} is no multiple of {rounding}");
        }
    }
    let spread = [4.0, 4e-6, 4.0, 4e-2];
    assert!(
        roundings.iter().zip(spread).all(|(rounding, spread)| *rounding < spread / 64.0),
        "{roundings:?}"
    );
}

#[test]
fn borders_of_convolutions_see_zeros_and_not_offsets() {
    let offsets = [[30.0; 36], [-20.0; 36]].concat();
    let tested = items(20, &[0.01; 72], &offsets);
    let network = net(&[2, 6, 6], |n| {
        let x = n.conv(X, 3, Moves::of(3, 3).padding(1, 1));
        let x = n.act(x);
        n.dense(x, 4);
    });
    let found = bits_of_spread(&network, &calibrated(&network, &tested), &tested[..4]);
    assert!(found.iter().all(|bits| *bits > 6.0), "{found:.1?}");
    // Items are standardized first, as most networks want them.
    let network = net(&[2, 6, 6], |n| {
        let shifts: Vec<f64> = offsets.iter().map(|offset| -100.0 * offset).collect();
        let x = n.linear("scale", X, &[2, 6, 6], Linear::scale(vec![100.0; 72]).plus(&shifts));
        let x = n.conv(x, 3, Moves::of(3, 3).padding(1, 1));
        let x = n.act(x);
        n.dense(x, 4);
    });
    let found = bits_of_spread(&network, &calibrated(&network, &tested), &tested[..4]);
    let few = bits_of_spread(&network, &calibrated(&network, &tested[..8]), &tested[..4]);
    assert!(found.iter().zip(&few).all(|(found, few)| *found > few + 3.0), "{found:.1?} {few:.1?}");
}

#[test]
fn constants_and_zeros_take_what_comes_later() {
    let mut tested = items(32, &[1.0, 0.0, 0.0, 1.0], &[0.0, 2024.0, 0.0, 1e6]);
    let network = dense(&[1.0; 4], &[-1e6], &[1.0]);
    let plan = calibrated(&network, &tested);
    // Another year, and the first item of a category.
    tested[0][1] = 2025.0;
    tested[1][2] = 1.0;
    let found = bits_of_spread(&network, &plan, &tested);
    assert!(found[0] > 14.0, "{found:.1?}");
}

/// Pixels at the border are dark or faint in the calibration items, and bright in others.
#[test]
fn pixels_have_one_unit() {
    let image = |seed: u64, border: f64| {
        let noise = reals(36, seed);
        let pixels = noise.iter().enumerate().map(|(i, x)| {
            let inner = (1..5).contains(&(i / 6)) && (1..5).contains(&(i % 6));
            255.0
                * x.abs()
                * if inner {
                    1.0
                } else if i < 3 {
                    0.0
                } else {
                    border
                }
        });
        pixels.collect::<Vec<f64>>()
    };
    let calibration: Vec<Vec<f64>> = (0..32).map(|seed| image(seed, 0.004)).collect();
    let network = dense(&[255.0; 36], &[0.0; 3], &[1.0; 3]);
    let spec = calibrated(&network, &calibration).client_spec().clone();
    let mut bright = image(40, 1.0);
    bright[0] = 255.0;
    assert_eq!(spec.input_beyond_range(&bright), None);
}

#[test]
fn values_far_from_an_offset_are_told() {
    let tested = items(32, &[10.0, 1.0], &[2000.0, 0.0]);
    let network = dense(&[10.0, 1.0], &[5e3], &[1.0]);
    let plan = calibrated(&network, &tested);
    let spec = plan.client_spec();
    assert!(tested.iter().all(|item| spec.input_beyond_range(item).is_none()));
    assert!(tested.iter().all(|item| plan.range_violations(&network, ndarray::aview1(item)).is_empty()));
    let far = [2400.0, 0.5];
    let BeyondRange { found, calibrated } = spec.input_beyond_range(&far).unwrap();
    assert!(found.starts_with("2.400") && calibrated.starts_with("from 1."), "{found} {calibrated}");
    let found = plan.range_violations(&network, ndarray::aview1(&far));
    assert!(found.iter().any(|v| v.node == "input" && v.found > 300.0 && v.offset > 1500.0), "{found:?}");
    let result = network.evaluate_flat(&[2000.0, 0.0])[0];
    assert!(spec.output_beyond_range(&[result]).is_none());
    assert!(spec.output_beyond_range(&[result + 1e3]).is_some());
    let far = plan.range_violations(&network, ndarray::aview1(&[2.0e4, 0.0]));
    assert!(far.iter().any(|v| v.node == "dense 1" && v.offset != 0.0), "{far:?}");
}

#[test]
fn items_of_a_batch_are_scaled_each() {
    let spreads = [10.0, 1e-6, 1.0, 1e4];
    let tested = items(48, &spreads, &[2000.0, 0.0, 0.0, 1e7]);
    let network = dense(&spreads, &[-3e3, 1e6], &[1.0; 2]);
    for layout in [BatchLayout::SideBySide(4), BatchLayout::Interleaved, BatchLayout::SlotPerItem] {
        let options = CompileOptions {
            calibration: Some(batch(&[4], &tested)),
            layout: Some(layout),
            batch: 8,
            ..options(&network)
        };
        let plan = compile(&network, &options).unwrap();
        let (client, keys) = client(&plan);
        let session = server(&plan).open_session(keys).unwrap();
        let got = decrypt(&client, &infer(&session, &encrypt(&client, &tested[..6])).unwrap());
        for (item, got) in tested.iter().zip(&got).take(6) {
            for (want, got) in network.evaluate_flat(item).iter().zip(got) {
                assert!((want - got).abs() < 1e-3, "{got} and not {want}, {layout}");
            }
        }
    }
}

#[test]
fn weights_without_room_are_refused() {
    let network = dense(&[1e-9, 1e9, 1.0], &[0.0], &[1.0]);
    let tested = items(3, &[1e-9, 1e9, 1.0], &[0.0; 3]);
    let ranges = [("input".to_owned(), 1e9)].into();
    let options = CompileOptions { calibration: Some(batch(&[3], &tested)), ranges, ..options(&network) };
    let error = compile(&network, &options).unwrap_err();
    assert!(matches!(error, CompileError::Weights { .. }), "{error}");
    assert!(error.to_string().contains("standardize the inputs"), "{error}");
    compile(&network, &CompileOptions { ranges: Default::default(), ..options }).unwrap();
}
