//! Plans: what they say of themselves, what they refuse, and what becomes of them as bytes.

use crate::common::*;
use ndarray::{ArrayD, ArrayView1, ShapeBuilder};
use pleura_ckks::{Ciphertext, ClientError, EvalError, SecretKey, Security};
use pleura_nn::*;

/// Where the bytes of a ciphertext have the logarithm of its slots: after header, level and scale.
const LOG_SLOTS: usize = 49;

fn plan_of(network: &Network) -> Plan {
    compile(network, &options(network)).unwrap()
}

/// Compiles at some security, without calibration items of its own.
fn at(network: &Network, security: Security) -> Result<Plan, CompileError> {
    compile(network, &CompileOptions { security, ..CompileOptions::default() })
}

fn reference_network(name: &str) -> Network {
    pleura_onnx::import(&reference(&format!("{name}.onnx")), &Default::default()).unwrap().network
}

/// Whether a message reads as one: some words, the first not capitalized unless a name, no end mark, nothing of Rust's.
#[track_caller]
fn assert_sentence(error: &impl std::error::Error) {
    let message = error.to_string();
    assert!(message.split_whitespace().count() >= 4, "{message:?} has too few words");
    assert!(!message.ends_with(['.', '!', '\n']), "{message:?} ends with a mark");
    for foreign in ["{", "Some(", "None", "Err(", "::", "unwrap"] {
        assert!(!message.contains(foreign), "{message:?} contains {foreign}");
    }
}

// The report.

#[test]
fn parameters_are_as_secure_as_asked_for() {
    for network in [small(), reference_network("lola")] {
        for (security, promised) in
            [(Security::Bits128, 128), (Security::Bits192, 192), (Security::Bits256, 256)]
        {
            let plan = at(&network, security).unwrap();
            let p = &plan.report().parameters;
            assert_eq!(p.security, promised);
            assert_eq!(p.max_log2_qp, security.max_log2_qp(p.log_n));
            assert!(p.log2_qp <= p.max_log2_qp, "{p:?}");
            assert!(p.log2_q < p.log2_qp, "{p:?}");
            assert!((plan.params().log2_qp(p.levels) - p.log2_qp).abs() < 1e-9);
            assert_eq!(plan.params().literal().security, security);
            assert_eq!(p.slots, plan.params().slots());
            assert_eq!(p.levels, plan.params().max_level());
        }
    }
}

#[test]
fn the_smallest_secure_degree_is_chosen() {
    for name in ["mlp", "lola"] {
        let plan = at(&reference_network(name), Security::Bits128).unwrap();
        let p = &plan.report().parameters;
        // A degree half as large has no room even for one special prime less than the fewest.
        assert!(p.log2_q + 30.0 > Security::Bits128.max_log2_qp(p.log_n - 1), "{p:?}");
    }
    // A layer needs one level, and is content with little.
    let plan = at(&net(&[10], |n| _ = n.dense(X, 5)), Security::Bits128).unwrap();
    assert_eq!(plan.report().parameters.log_n, 12, "{:?}", plan.report().parameters);
}

#[test]
fn more_security_takes_a_larger_degree() {
    let degrees = [Security::Bits128, Security::Bits192, Security::Bits256]
        .map(|security| at(&small(), security).unwrap().report().parameters.log_n);
    assert!(degrees.is_sorted(), "{degrees:?}");
}

#[test]
fn the_report_adds_up() {
    let network = net(&[3, 8, 8], |n| {
        let stem = n.conv(X, 4, Moves::of(3, 3).padding(1, 1));
        let x = n.act(stem);
        let x = n.conv(x, 4, Moves::of(3, 3).padding(1, 1));
        let x = n.add(x, stem);
        let x = n.polynomial(x, &[0.1, 0.5, 0.2, 0.1]);
        n.dense(x, 3);
    });
    let plan = plan_of(&network);
    let report = plan.report();
    assert_eq!(report.network, "test");
    assert_eq!(report.weight_bytes, report.layers.iter().map(|l| l.bytes).sum::<usize>());
    let seconds = report.layers.iter().map(|l| l.predicted_seconds).sum::<f64>();
    assert!(report.predicted_seconds > 0.0 && (report.predicted_seconds - seconds).abs() < 1e-9);
    assert!(report.rotation_keys > 0);
    assert_eq!(report.key_bytes, plan.client_spec().key_request().bytes(plan.params()));
    assert!(report.key_wire_bytes < report.key_bytes);
    assert!(report.predicted_peak_bytes > report.key_bytes + report.weight_bytes);
    assert!(!report.notes.is_empty());
    let levels = report.parameters.levels;
    for layer in &report.layers {
        assert!(layer.level <= levels, "{layer:?}");
        assert!(layer.ciphertexts > 0 && !layer.name.is_empty() && !layer.layout.is_empty(), "{layer:?}");
        assert_eq!(layer.diagonals > 0, layer.kind == "linear", "{layer:?}");
        assert_eq!(layer.bytes > 0, layer.kind == "linear", "{layer:?}");
    }
    let kinds: Vec<_> = report.layers.iter().map(|l| l.kind.as_str()).collect();
    for kind in ["input", "linear", "square", "polynomial", "add"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    assert_eq!(report.layers[0].level, levels);
}

#[test]
fn every_layer_of_the_report_is_a_step_that_is_run() {
    let network = small();
    let plan = plan_of(&network);
    let (client, keys) = client(&plan);
    let session = server(&plan).open_session(keys).unwrap();
    let sent = encrypt(&client, &[item(&network, 0)]);
    let mut steps = Vec::new();
    session.infer(&sent, &mut |step, _| steps.push(step)).unwrap();
    assert_eq!(steps, (0..plan.report().layers.len()).collect::<Vec<_>>());
}

#[test]
fn transfers_have_the_sizes_and_levels_of_the_report() {
    let network = reference_network("lola");
    let plan = at(&network, Security::Bits128).unwrap();
    let (client, keys) = client(&plan);
    let report = plan.report();
    let near = |bytes: usize, told: usize, what: &str| {
        assert_eq!(bytes, told, "{what}");
    };
    near(keys.to_bytes().len(), report.key_wire_bytes, "keys");
    // A relinearization key, and one for each rotation.
    assert_eq!(keys.galois().len(), report.rotation_keys);
    assert!(keys.relin().is_some());
    assert_eq!(plan.client_spec().key_request().count(), report.rotation_keys + 1);
    let sent = encrypt(&client, &[item(&network, 0)]);
    assert_eq!(sent.len(), report.input_ciphertexts);
    near(sent.iter().map(|c| c.to_bytes().len()).sum(), report.input_bytes, "input");
    let session = server(&plan).open_session(keys).unwrap();
    let got = infer(&session, &sent).unwrap();
    assert_eq!(got.len(), report.output_ciphertexts);
    near(got.iter().map(|c| c.to_bytes().len()).sum(), report.output_bytes, "output");
    assert!(got.iter().all(|c| c.level() == 0), "the result has levels left");
}

#[test]
fn keys_are_for_the_highest_level_they_are_used_at_and_no_higher() {
    let plan = at(&reference_network("lola"), Security::Bits128).unwrap();
    let (_, keys) = client(&plan);
    let levels = plan.report().parameters.levels;
    let used: Vec<_> = plan.report().layers.iter().filter(|l| l.rotations > 0).map(|l| l.level).collect();
    let highest = used.iter().copied().max().unwrap();
    assert!(keys.galois().values().all(|key| key.level() <= highest));
    let products = plan.report().layers.iter().filter(|l| ["square", "product"].contains(&l.kind.as_str()));
    assert_eq!(keys.relin().unwrap().level(), products.map(|l| l.level).max().unwrap());
    assert!(keys.relin().unwrap().level() < levels);
    assert!(keys.galois().values().any(|key| key.level() < levels), "no key is smaller than the largest");
}

#[test]
fn compiling_twice_gives_the_same_plan() {
    let network = small();
    assert_eq!(plan_of(&network).to_bytes().unwrap(), plan_of(&network).to_bytes().unwrap());
}

#[test]
fn compiling_reports_progress() {
    let network = small();
    let mut heard = Vec::new();
    let hear = &mut |what: &str, done: usize, of: usize| heard.push((what.to_owned(), done, of));
    Plan::compile(&network, &options(&network), hear).unwrap();
    assert!(heard.len() > 2, "{heard:?}");
    assert!(heard.iter().all(|(what, done, of)| !what.is_empty() && done <= of), "{heard:?}");
}

// Refusals.

#[test]
fn too_deep_a_network_is_refused_with_its_levels() {
    let deep = |layers: usize| {
        net(&[8], |n| {
            let mut x = X;
            for _ in 0..layers {
                x = n.dense(x, 8);
                x = n.polynomial(x, &[0.1, 0.5, 0.2]);
            }
        })
    };
    // The last ones are beyond every table, and beyond what parameters can have at all.
    for layers in [40, 50, 55, 60, 100] {
        for security in [Security::Bits128, Security::Bits256] {
            let Err(error) = at(&deep(layers), security) else {
                assert!(layers < 60, "{layers} layers have a plan");
                continue;
            };
            let CompileError::TooDeep { levels, security: promised } = error else {
                panic!("{layers} layers: {error:?}")
            };
            assert!(levels >= 2 * layers, "{levels} levels");
            assert_eq!(promised, security.bits());
            assert_sentence(&error);
            assert!(error.to_string().contains(&levels.to_string()), "{error}");
        }
    }
    let error = at(&deep(60), Security::InsecureForTests).unwrap_err();
    assert!(matches!(error, CompileError::TooDeep { .. }), "{error:?}");
}

/// Planes of four times the height and width, by the nearest element: nearly each element is moved on its own.
#[test]
fn networks_of_too_many_weights_are_refused_by_name() {
    let rows = (0..3 * 512).map(|y| y / 512 * 128 + y % 512 / 4);
    let sources = rows.flat_map(|y| (0..512).map(move |x| Some(y * 128 + x / 4))).collect();
    let gather = Gather::new(3 * 128 * 128, sources).unwrap();
    let mut nodes = NodeMap::default();
    let x = nodes.push(Node::new("x", [3, 128, 128], Op::Input));
    nodes.push(Node::new("resize", [3, 512, 512], Op::Linear(x, Linear::new(gather))));
    let network = Network::new("resized", nodes).unwrap();
    let error = at(&network, Security::Bits128).unwrap_err();
    assert!(
        matches!(&error, CompileError::TooManyWeights { node, weights } if node == "resize" && *weights > 1 << 28)
    );
    assert_sentence(&error);
}

#[test]
fn calibration_items_that_do_not_fit_are_refused() {
    let network = small();
    let good = item(&network, 1);
    let with = |shape: &[usize], items: &[Vec<f64>]| {
        let calibration = Some(batch(shape, items));
        compile(&network, &CompileOptions { calibration, ..options(&network) }).unwrap_err()
    };
    for shape in [&[60][..], &[1, 2, 5, 6], &[5, 6, 2]] {
        let error = with(shape, std::slice::from_ref(&good));
        assert_eq!(error, CompileError::CalibrationShape { expected: vec![2, 5, 6], got: shape.to_vec() });
        assert_sentence(&error);
    }
    for x in [f64::NAN, f64::INFINITY] {
        let bad = [vec![x], good[1..].to_vec()].concat();
        let error = with(&[2, 5, 6], &[good.clone(), bad]);
        assert_eq!(error, CompileError::CalibrationValue { item: 1 });
        assert_sentence(&error);
    }
}

#[test]
fn networks_that_overflow_are_refused_by_name() {
    let network = net(&[4], |n| {
        n.gain = 1e200;
        let x = n.dense(X, 4);
        n.square(x);
    });
    let error = compile(&network, &options(&network)).unwrap_err();
    assert_eq!(error, CompileError::Diverges { node: "polynomial 2".into() });
    assert_sentence(&error);
    let network = net(&[4], |n| _ = n.affine(X, f64::NAN, 0.0));
    let error = compile(&network, &options(&network)).unwrap_err();
    assert_eq!(error, CompileError::Diverges { node: "scale 1".into() });
}

#[test]
fn networks_whose_results_no_plan_can_state_are_refused_by_name() {
    for gain in [1e80, 1e-80] {
        let network = net(&[4], |n| _ = n.affine(X, gain, 0.0));
        let error = compile(&network, &options(&network)).unwrap_err();
        assert!(matches!(&error, CompileError::Magnitude { node, .. } if node == "scale 1"), "{error:?}");
        assert_sentence(&error);
    }
    let network = net(&[4], |n| _ = n.affine(X, 1e55, 0.0));
    compile(&network, &options(&network)).unwrap();
}

#[test]
fn items_beyond_the_calibrated_range_are_named() {
    let network = small();
    let plan = plan_of(&network);
    let violations = |item: &[f64]| plan.range_violations(&network, ArrayView1::from(item));
    for item in calibration(&network) {
        assert_eq!(violations(&item), []);
    }
    let large: Vec<_> = item(&network, 0).iter().map(|x| 100.0 * x).collect();
    let found = violations(&large);
    let names: Vec<_> = found.iter().map(|violation| violation.node.as_str()).collect();
    assert_eq!(names, ["input", "convolution 1", "polynomial 2", "dense 3"]);
    for RangeViolation { node, calibrated, found, .. } in found {
        assert!(calibrated > 0.0 && found > calibrated, "{node}: {found} beyond {calibrated}");
    }
}

/// The map to the domain of a fitted polynomial has no name of its own.
#[test]
fn items_beyond_the_range_of_a_fit_are_named() {
    let network = net(&[4], |n| _ = n.activation(X, Activation::plain(Function::Tanh)));
    let options = FitOptions { degree: 5, interval: Some((-1.0, 1.0)) };
    let (fitted, _) = network.fit_activations(&options, None).unwrap();
    let calibration = Some(batch(&[4], &[vec![1.0; 4]]));
    let plan = compile(&fitted, &CompileOptions { calibration, ..CompileOptions::default() }).unwrap();
    let found = plan.range_violations(&fitted, ndarray::arr1(&[50.0; 4]).view());
    let names: Vec<_> = found.iter().map(|violation| violation.node.as_str()).collect();
    assert_eq!(names, ["input", "activation 1", "activation 1"]);
}

#[test]
fn items_of_another_shape_are_refused() {
    let network = small();
    let (client, _) = client(&plan_of(&network));
    for shape in [&[60][..], &[2, 5, 7], &[2, 5], &[]] {
        let error = client.encrypt(ArrayD::zeros([&[2], shape].concat()).view()).err().unwrap();
        assert_eq!(error, InferenceError::ItemShape { expected: vec![2, 5, 6], got: shape.to_vec() });
        assert_sentence(&error);
        let error = network.evaluate(ArrayD::zeros([&[2], shape].concat()).view()).unwrap_err();
        assert_eq!(error, InferenceError::ItemShape { expected: vec![2, 5, 6], got: shape.to_vec() });
    }
}

#[test]
fn items_are_read_in_row_major_order_whatever_their_memory_is() {
    let network = small();
    let plan = plan_of(&network);
    let items = batch(&[2, 5, 6], &[item(&network, 0), item(&network, 1)]);
    let mut fortran = ArrayD::zeros(items.raw_dim().f());
    fortran.assign(&items);
    assert_eq!(network.evaluate(items.view()).unwrap(), network.evaluate(fortran.view()).unwrap());
    let (client, keys) = client(&plan);
    let session = server(&plan).open_session(keys).unwrap();
    let got = infer(&session, &client.encrypt(fortran.view()).unwrap()).unwrap();
    let got = client.publish(&got).unwrap();
    assert_eq!(got.shape(), [2, 4]);
    let fidelity = Fidelity::new(network.evaluate(items.view()).unwrap().view(), got.view());
    assert!(fidelity.bits > 10.0, "{fidelity:?}");
}

#[test]
fn items_that_have_no_encoding_are_refused() {
    let network = small();
    let (client, _) = client(&plan_of(&network));
    for bad in [f64::NAN, f64::INFINITY, 1e300] {
        let mut item = item(&network, 0);
        item[7] = bad;
        let error = client.encrypt(batch(&[2, 5, 6], &[item]).view()).err().unwrap();
        match error {
            InferenceError::ItemValue { item } => assert!(item == 0 && !bad.is_finite()),
            InferenceError::Encode(_) => assert!(bad.is_finite()),
            ref other => panic!("{bad}: {other:?}"),
        }
        assert_sentence(&error);
    }
}

#[test]
fn ciphertexts_that_are_no_whole_number_of_items_are_refused() {
    // Two ciphertexts in, two out.
    let network = net(&[6000], |n| _ = n.act(X));
    let plan = plan_of(&network);
    assert_eq!((plan.report().input_ciphertexts, plan.report().output_ciphertexts), (2, 2));
    let (client, keys) = client(&plan);
    let session = server(&plan).open_session(keys).unwrap();
    let sent = encrypt(&client, &[item(&network, 0)]);
    for some in [&sent[..0], &sent[..1], &[&sent[..], &sent[..1]].concat()] {
        let expected = InferenceError::CiphertextCount { expected: 2, got: some.len() };
        let error = infer(&session, some).err().unwrap();
        assert_eq!(error, expected);
        assert_sentence(&error);
        assert_eq!(client.decrypt_unrounded(some).unwrap_err(), expected);
    }
}

#[test]
fn keys_and_ciphertexts_of_another_plan_are_refused() {
    let network = small();
    let plan = plan_of(&network);
    let other = plan_of(&net(&[2, 5, 6], |n| _ = n.act(X)));
    let (client_here, keys) = client(&plan);
    let (client_there, other_keys) = client(&other);
    let server = server(&plan);
    let error = server.open_session(other_keys).err().unwrap();
    assert!(matches!(error, InferenceError::Eval(EvalError::ParamsMismatch)), "{error:?}");
    assert_sentence(&error);
    let session = server.open_session(keys).unwrap();
    let sent = encrypt(&client_there, &[item(&network, 0)]);
    assert_sentence(&infer(&session, &sent).err().unwrap());
    assert_sentence(&client_here.decrypt_unrounded(&sent).unwrap_err());
    let secret = SecretKey::generate(other.params()).unwrap();
    let error = Client::with_secret(plan.client_spec().clone(), secret).err().unwrap();
    assert_eq!(error, InferenceError::Client(ClientError::ParamsMismatch));
}

#[test]
fn keys_for_other_rotations_under_the_same_parameters_are_refused() {
    // As deep as each other, with other weights.
    let [plan, other] = [[4, 5, 6], [1, 3, 2]].map(|[a, b, c]| {
        plan_of(&net(&[8 * a], |n| {
            let x = n.dense(X, 16 * b);
            let x = n.act(x);
            n.dense(x, c);
        }))
    });
    assert_eq!(plan.params(), other.params(), "networks for other parameters");
    let (_, other_keys) = client(&other);
    let error = server(&plan).open_session(other_keys).err().unwrap();
    assert!(matches!(error, InferenceError::Eval(EvalError::MissingKey { .. })), "{error:?}");
    assert_sentence(&error);
}

#[test]
fn results_come_only_from_ciphertexts_as_a_client_makes_them() {
    let network = small();
    let plan = plan_of(&network);
    let (client, keys) = client(&plan);
    let session = server(&plan).open_session(keys).unwrap();
    let sent = encrypt(&client, &[item(&network, 0)]);
    // A result is at the lowest level: nothing can be computed from it. An input is no result.
    let got = infer(&session, &sent).unwrap();
    let refused = [infer(&session, &got).err().unwrap(), client.publish(&sent).unwrap_err()];
    for error in refused {
        assert!(matches!(error, InferenceError::CiphertextForm { what: "level", .. }), "{error:?}");
        assert_sentence(&error);
    }
    // Ciphertexts of fewer slots have no values for some elements.
    for log_slots in [0, plan.params().max_log_slots() as u8 - 1] {
        let [sent, got] = [&sent, &got].map(|ciphertexts| {
            let mut bytes = ciphertexts[0].to_bytes();
            bytes[LOG_SLOTS] = log_slots;
            [Ciphertext::from_bytes(&bytes, plan.params()).unwrap()]
        });
        for error in [infer(&session, &sent).err().unwrap(), client.publish(&got).unwrap_err()] {
            let form = matches!(error, InferenceError::CiphertextForm { what: "number of slots", .. });
            assert!(form, "{error:?}");
        }
    }
}

#[test]
fn ranges_of_nodes_with_one_name_are_the_largest() {
    let mut nodes = NodeMap::default();
    let mut x = nodes.push(Node::new("x", [2], Op::Input));
    for (name, factor) in [("", 2.0), ("same", 8.0), ("same", 0.25)] {
        x = nodes.push(Node::new(name, [2], Op::Linear(x, Linear::scale(vec![factor; 2]))));
    }
    let network = Network::new("ranges", nodes).unwrap();
    let ranges = network.ranges(&ndarray::arr2(&[[1.0, -3.0]]).into_dyn()).unwrap();
    assert_eq!(ranges, [("x".to_owned(), 3.0), ("same".to_owned(), 48.0)].into());
}

#[test]
fn sessions_of_two_clients_run_on_one_server_at_the_same_time() {
    fn movable<T: Send + Sync + 'static>(value: T) -> T {
        value
    }
    let network = small();
    let plan = plan_of(&network);
    let server = movable(server(&plan));
    let shape = network.output_shape().to_vec();
    let threads = [1, 2].map(|seed| {
        let client = movable(Client::new(plan.client_spec().clone()).unwrap());
        let server = server.clone();
        let item = item(&network, seed);
        let shape = shape.clone();
        let expected = batch(&shape, &[network.evaluate_flat(&item)]);
        std::thread::spawn(move || {
            let session = movable(server.open_session(client.evaluation_keys().unwrap()).unwrap());
            for _ in 0..5 {
                let sent = encrypt(&client, std::slice::from_ref(&item));
                let got = client.decrypt_unrounded(&infer(&session, &sent).unwrap()).unwrap();
                let fidelity = Fidelity::new(expected.view(), got.view());
                assert!(fidelity.bits > 12.0, "{fidelity:?}");
            }
            (client, session)
        })
    });
    let [(client, _), (_, other_session)] = threads.map(|thread| thread.join().unwrap());
    // A session computes under the keys of its own client only.
    let sent = encrypt(&client, &[item(&network, 1)]);
    let wrong = infer(&other_session, &sent).unwrap();
    let wrong = client.decrypt_unrounded(&wrong).unwrap();
    let expected = batch(&shape, &[network.evaluate_flat(&item(&network, 1))]);
    assert!(Fidelity::new(expected.view(), wrong.view()).bits < 3.0);
    let nothing = ArrayD::<f64>::zeros(vec![0, 2]);
    assert_eq!(Fidelity::new(nothing.view(), nothing.view()).bits, f64::NEG_INFINITY);
}

#[test]
fn published_results_have_the_bits_of_the_specification() {
    let network = small();
    let plan = plan_of(&network);
    let spec = plan.client_spec();
    let range = output_range(&network);
    assert_eq!(spec.output_range(), range);
    assert_eq!(spec.publish_bits(), DEFAULT_PUBLISH_BITS - range.log2().ceil() as i32);
    let (client, keys) = client(&plan);
    let session = server(&plan).open_session(keys).unwrap();
    let got = infer(&session, &encrypt(&client, &[item(&network, 0)])).unwrap();
    let unit = f64::from(spec.publish_bits()).exp2();
    for x in client.publish(&got).unwrap() {
        assert_eq!((x * unit).fract(), 0.0, "{x} has more than {} bits", spec.publish_bits());
    }
}

/// A difference keeps the bits that its operands do not share, and no others are published.
#[test]
fn differences_of_large_values_are_published_with_the_bits_that_they_keep() {
    for (factor, is_exact) in [(1.0, true), (1e6, false), (1e7, false)] {
        let network = net(&[8], |n| {
            let x = n.dense(X, 8);
            let x = n.square(x);
            let large = n.affine(x, factor, 0.0);
            let small = n.dense(X, 8);
            let sum = n.add(large, small);
            let x = n.sub(sum, large);
            n.dense(x, 3);
        });
        let plan = plan_of(&network);
        let spec = plan.client_spec();
        let published = spec.publish_bits() + spec.output_range().log2().ceil() as i32;
        assert_eq!(published == DEFAULT_PUBLISH_BITS, is_exact, "{published} bits at {factor}");
        let note = format!("exact to {published} bits of their range");
        assert_eq!(plan.report().notes.iter().any(|text| text.contains(&note)), !is_exact);
        let items: Vec<_> = (0..4).map(|seed| item(&network, seed)).collect();
        for (item, got) in items.iter().zip(encrypted(&plan, &items)) {
            let found = bits(&network.evaluate_flat(item), &got, output_range(&network));
            assert!(found > f64::from(published) - 1.0, "{found:.1} bits of {published} at {factor}");
            assert!(
                is_exact || found < f64::from(published) + 6.0,
                "{found:.1} bits of {published} at {factor}"
            );
        }
    }
}

#[test]
fn known_ranges_widen_those_of_the_calibration() {
    let network = net(&[4], |n| {
        let x = n.affine(X, 2.0, 0.0);
        n.polynomial(x, &[0.0, 0.5, 1.0]);
    });
    let compiled = |ranges: &[(&str, f64)]| {
        let ranges = ranges.iter().map(|(name, range)| ((*name).to_owned(), *range)).collect();
        compile(&network, &CompileOptions { ranges, ..options(&network) })
    };
    let item = ndarray::arr1(&[6.0; 4]);
    let narrow = compiled(&[]).unwrap();
    assert_eq!(narrow.range_violations(&network, item.view()).len(), 3);
    let known = network.ranges(&item.clone().insert_axis(ndarray::Axis(0)).into_dyn()).unwrap();
    assert_eq!(known.len(), 3);
    let known: Vec<_> = known.iter().map(|(name, range)| (name.as_str(), *range)).collect();
    let wide = compiled(&known).unwrap();
    assert!(wide.range_violations(&network, item.view()).is_empty());
    let got = encrypted(&wide, &[item.to_vec()]);
    assert!(bits(&network.evaluate_flat(&item.to_vec()), &got[0], known[2].1) > 12.0);
    // Smaller ranges and other names change nothing.
    let same = compiled(&[("input", 1e-9), ("another", 1e9)]).unwrap();
    assert_eq!(same.server_plan().digest(), narrow.server_plan().digest());
    for range in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = compiled(&[("input", range)]).unwrap_err();
        assert!(matches!(error, CompileError::Range { .. }), "{error}");
    }
}

#[test]
fn labels_are_the_first_of_the_largest_scores() {
    let nan = f64::NAN;
    for (scores, expected) in [
        (vec![], None),
        (vec![1.0, 3.0, 3.0], Some(1)),
        (vec![-0.0, 0.0], Some(0)),
        (vec![-f64::INFINITY, f64::MIN], Some(1)),
        (vec![1.0, -nan, f64::INFINITY, nan], Some(1)),
    ] {
        assert_eq!(label(ArrayView1::from(&scores)), expected, "{scores:?}");
    }
}
