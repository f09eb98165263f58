//! Plans: what they say of themselves, what they refuse, and what becomes of them as bytes.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic, and so may the functions beside the tests"
)]

mod common;

use common::*;
use pleura_ckks::{ClientError, EvalError, Security};
use pleura_nn::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Remembers the largest block that this thread asked for.
struct Watching;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

fn plan_of(network: &Network) -> Plan {
    compile(network, &options(network)).unwrap()
}

/// Compiles at some security, without calibration items of its own.
fn at(network: &Network, security: Security) -> Result<Plan, PlanError> {
    compile(network, &PlanOptions { security, ..PlanOptions::default() })
}

fn reference_network(name: &str) -> Network {
    pleura_onnx::import(&reference(&format!("{name}.onnx")), &Default::default()).unwrap().network
}

/// Whether a message reads as one: some words, the first not capitalised unless a name, no end mark, nothing of Rust's.
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
            assert_eq!(p.slots, 1 << (p.log_n - 1));
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
    let degree = |security| at(&small(), security).unwrap().report().parameters.log_n;
    let degrees = [Security::Bits128, Security::Bits192, Security::Bits256].map(degree);
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
    assert_eq!(report.key_bytes, plan.keys().bytes(plan.params()));
    assert!(report.key_wire_bytes < report.key_bytes);
    assert!(report.memory_bytes > report.key_bytes + report.weight_bytes);
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
    let server = try_server(&plan, keys).unwrap();
    let sent = client.encrypt(&[item(&network, 0)]).unwrap();
    let mut steps = Vec::new();
    server.infer(&sent, &mut |step, _| steps.push(step)).unwrap();
    assert_eq!(steps, (0..plan.report().layers.len()).collect::<Vec<_>>());
}

#[test]
fn what_is_sent_has_the_size_and_levels_that_the_report_tells() {
    let network = reference_network("lola");
    let plan = at(&network, Security::Bits128).unwrap();
    let (client, keys) = client(&plan);
    let report = plan.report();
    let near = |bytes: usize, told: usize, what: &str| {
        // The report counts whole words; on the wire, primes take the bits they have.
        assert!((0.7..=1.01).contains(&(bytes as f64 / told as f64)), "{what}: {bytes} bytes, {told} told");
    };
    near(keys.to_bytes().len(), report.key_wire_bytes, "keys");
    // A relinearization key, and one for each rotation.
    assert_eq!(keys.galois().len(), report.rotation_keys);
    assert!(keys.relin().is_some());
    assert_eq!(plan.keys().count(), report.rotation_keys + 1);
    let sent = client.encrypt(&[item(&network, 0)]).unwrap();
    assert_eq!(sent.len(), report.input_ciphertexts);
    near(sent.iter().map(|c| c.to_bytes().len()).sum(), report.input_bytes, "input");
    let server = try_server(&plan, keys).unwrap();
    let got = infer(&server, &sent).unwrap();
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
fn compiling_tells_how_far_it_is() {
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
            let PlanError::TooDeep { levels, security: promised } = error else {
                panic!("{layers} layers: {error:?}")
            };
            assert!(levels >= 2 * layers, "{levels} levels");
            assert_eq!(promised, security.bits());
            assert_sentence(&error);
            assert!(error.to_string().contains(&levels.to_string()), "{error}");
        }
    }
    let error = at(&deep(60), Security::InsecureForTests).unwrap_err();
    assert!(matches!(error, PlanError::TooDeep { .. }), "{error:?}");
}

#[test]
fn calibration_items_that_do_not_fit_are_refused() {
    let network = small();
    let good = item(&network, 1);
    let short = good[1..].to_vec();
    let long = [good.clone(), vec![0.0]].concat();
    let with = |x: f64| [vec![x], good[1..].to_vec()].concat();
    for bad in [Vec::new(), short, long, with(f64::NAN), with(f64::INFINITY)] {
        let calibration = vec![good.clone(), bad];
        let error = compile(&network, &PlanOptions { calibration, ..options(&network) }).unwrap_err();
        assert_eq!(error, PlanError::BadCalibration { item: 1, expected: 60 });
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
    assert_eq!(error, PlanError::Diverges { node: "polynomial 2".into() });
    assert_sentence(&error);
    let network = net(&[4], |n| _ = n.affine(X, f64::NAN, 0.0));
    let error = compile(&network, &options(&network)).unwrap_err();
    assert_eq!(error, PlanError::Diverges { node: "scale 1".into() });
}

#[test]
fn items_beyond_the_calibrated_range_are_named() {
    let network = small();
    let plan = plan_of(&network);
    for item in calibration(&network) {
        assert_eq!(plan.beyond_range(&network, &item), []);
    }
    let large: Vec<_> = item(&network, 0).iter().map(|x| 100.0 * x).collect();
    let beyond = plan.beyond_range(&network, &large);
    let names: Vec<_> = beyond.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["input", "convolution 1", "polynomial 2", "dense 3"]);
    for (name, range, seen) in beyond {
        assert!(range > 0.0 && seen > range, "{name}: {seen} beyond {range}");
    }
}

#[test]
fn items_of_another_length_are_refused() {
    let network = small();
    let plan = plan_of(&network);
    let (client, _) = client(&plan);
    for got in [0, 59, 61] {
        let error = client.encrypt(&[item(&network, 0), vec![0.5; got]]).err().unwrap();
        assert_eq!(error, InferenceError::ItemLength { expected: 60, got });
        assert_sentence(&error);
    }
}

#[test]
fn items_that_have_no_encoding_are_refused() {
    let network = small();
    let plan = plan_of(&network);
    let (client, _) = client(&plan);
    for bad in [f64::NAN, f64::INFINITY, 1e300] {
        let mut item = item(&network, 0);
        item[7] = bad;
        let error = client.encrypt(&[item]).err().unwrap();
        assert!(matches!(error, InferenceError::Encode(_) | InferenceError::Client(_)), "{bad}: {error:?}");
        assert_sentence(&error);
    }
}

#[test]
fn ciphertexts_that_are_no_whole_number_of_items_are_refused() {
    // Two ciphertexts in, two out.
    let network = net(&[3000], |n| _ = n.act(X));
    let plan = plan_of(&network);
    assert_eq!((plan.report().input_ciphertexts, plan.report().output_ciphertexts), (2, 2));
    let (client, keys) = client(&plan);
    let server = try_server(&plan, keys).unwrap();
    let sent = client.encrypt(&[item(&network, 0)]).unwrap();
    for some in [&sent[..0], &sent[..1], &[&sent[..], &sent[..1]].concat()] {
        let expected = InferenceError::CiphertextCount { expected: 2, got: some.len() };
        let error = infer(&server, some).err().unwrap();
        assert_eq!(error, expected);
        assert_sentence(&error);
        if !some.is_empty() {
            assert_eq!(client.decrypt(some).unwrap_err(), expected);
        }
    }
}

#[test]
fn keys_and_ciphertexts_of_another_plan_are_refused() {
    let network = small();
    let plan = plan_of(&network);
    let other = plan_of(&net(&[2, 5, 6], |n| _ = n.act(X)));
    let (client_here, keys) = client(&plan);
    let (client_there, other_keys) = client(&other);
    let error = try_server(&plan, other_keys).err().unwrap();
    assert_eq!(error, InferenceError::Eval(EvalError::ParamsMismatch));
    assert_sentence(&error);
    let server = try_server(&plan, keys).unwrap();
    let sent = client_there.encrypt(&[item(&network, 0)]).unwrap();
    assert_eq!(infer(&server, &sent).err().unwrap(), InferenceError::Eval(EvalError::ParamsMismatch));
    let error = client_here.decrypt(&sent).unwrap_err();
    assert!(matches!(error, InferenceError::Client(ClientError::ParamsMismatch)), "{error:?}");
    assert_sentence(&error);
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
    let (here, _) = client(&plan);
    let (_, other_keys) = client(&other);
    let sent = here.encrypt(&[vec![0.5; 32]]).unwrap();
    let refused = try_server(&plan, other_keys).and_then(|server| infer(&server, &sent));
    let error = refused.err().unwrap();
    assert!(matches!(error, InferenceError::Eval(EvalError::MissingKey { .. })), "{error:?}");
    assert_sentence(&error);
}

#[test]
fn results_come_only_from_ciphertexts_as_a_client_makes_them() {
    let network = small();
    let plan = plan_of(&network);
    let (client, keys) = client(&plan);
    let server = try_server(&plan, keys).unwrap();
    let sent = client.encrypt(&[item(&network, 0)]).unwrap();
    // A result is at the lowest level: nothing can be computed from it.
    let got = infer(&server, &sent).unwrap();
    let error = infer(&server, &got).err().unwrap();
    assert!(matches!(error, InferenceError::Eval(_)), "{error:?}");
    assert_sentence(&error);
}

// Bytes.

#[test]
fn a_saved_plan_runs_as_before() {
    let every_step = net(&[3, 6, 6], |n| {
        let map = n.conv(X, 4, Moves::of(3, 3).padding(1, 1));
        let map = n.act(map);
        let x = n.global_pool(map);
        let x = n.polynomial(x, &[0.5, 0.2, 0.1, 0.05]);
        let x = n.spread(x, &[4, 6, 6]);
        let x = n.product(map, x);
        let x = n.sub(x, map);
        let x = n.affine(x, -2.0, 0.1);
        let x = n.add(x, map);
        n.dense(x, 5);
    });
    for network in [small(), every_step, net(&[3000], |n| _ = n.dense(X, 3))] {
        let plan = plan_of(&network);
        let bytes = plan.to_bytes().unwrap();
        let loaded = Plan::from_bytes(&bytes).unwrap();
        assert_eq!(loaded.report(), plan.report());
        assert_eq!(loaded.params(), plan.params());
        assert_eq!(loaded.to_bytes().unwrap(), bytes);
        let large: Vec<_> = item(&network, 0).iter().map(|x| 100.0 * x).collect();
        assert_eq!(loaded.beyond_range(&network, &large), plan.beyond_range(&network, &large));
        // A client with the one and a server with the other.
        let (client, keys) = client(&plan);
        let server = try_server(&loaded, keys).unwrap();
        let item = item(&network, 0);
        let got = infer(&server, &client.encrypt(std::slice::from_ref(&item)).unwrap()).unwrap();
        let got = client.decrypt(&got).unwrap();
        let own = encrypted(&loaded, std::slice::from_ref(&item));
        for got in [&got[0], &own[0]] {
            let bits = bits(&network.evaluate(&item), got, output_range(&network));
            assert!(bits >= 13.0, "{bits:.1} bits");
        }
    }
}

/// A small plan's bytes, and where its weights begin.
static SAVED: LazyLock<(Vec<u8>, usize)> = LazyLock::new(|| {
    // Every kind of step.
    let network = net(&[6], |n| {
        let a = n.dense(X, 4);
        let b = n.act(a);
        let x = n.polynomial(a, &[0.1, 0.2, 0.3, 0.4]);
        let x = n.product(x, b);
        let x = n.affine(x, -2.0, 0.5);
        let x = n.sub(x, a);
        n.dense(x, 2);
    });
    let bytes = plan_of(&network).to_bytes().unwrap();
    let description = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (bytes, 8 + description)
});

/// Parses bytes that may be anything, and looks after time and memory.
#[track_caller]
fn parse(bytes: &[u8]) -> Result<Plan, PlanError> {
    LARGEST.set(0);
    let start = Instant::now();
    let plan = Plan::from_bytes(bytes);
    let (took, largest) = (start.elapsed(), LARGEST.get());
    assert!(took < Duration::from_secs(10), "parsing took {took:?}");
    // Tables for the largest degree take some megabytes; what is read, no more than a small multiple of itself.
    assert!(largest < (64 << 20) + 64 * bytes.len(), "a block of {largest} bytes for {}", bytes.len());
    if let Err(error) = &plan {
        assert_sentence(error);
    }
    plan
}

#[test]
fn truncated_plans_are_refused() {
    let (bytes, weights) = &*SAVED;
    // Every length of the description, and some hundred of the weights.
    let step = ((bytes.len() - weights) / 300).max(1);
    for len in (0..*weights).chain((*weights..bytes.len()).step_by(step)).chain([bytes.len() - 1]) {
        assert!(parse(&bytes[..len]).is_err(), "{len} of {} bytes parse", bytes.len());
    }
    // And lengths that are told truly.
    for len in 8..*weights {
        let mut bytes = bytes[..len].to_vec();
        bytes[..8].copy_from_slice(&(len as u64 - 8).to_le_bytes());
        assert!(parse(&bytes).is_err(), "a description cut at {len} parses");
    }
    assert!(parse(&[&bytes[..], &[0]].concat()).is_err(), "more bytes than there should be parse");
    assert!(parse(&[&bytes[..], &bytes[*weights..]].concat()).is_err(), "weights without a use parse");
}

#[test]
fn plans_of_another_version_are_refused() {
    let (bytes, _) = &*SAVED;
    let mut other = bytes.clone();
    other[8] += 1;
    assert_eq!(parse(&other).unwrap_err(), PlanError::Damaged);
}

#[test]
fn claimed_lengths_allocate_nothing() {
    let (bytes, weights) = &*SAVED;
    for len in [u64::MAX, u64::MAX - 7, 1 << 63, 1 << 40, *weights as u64] {
        let mut bytes = bytes.clone();
        bytes[..8].copy_from_slice(&len.to_le_bytes());
        assert!(parse(&bytes).is_err());
    }
    // A huge number in place of each byte of the description.
    for at in 8..*weights {
        let mut other = bytes[..at].to_vec();
        other.extend([0xff, 0xff, 0xff, 0xff, 0x7f]);
        other.extend(&bytes[at + 1..]);
        other[..8].copy_from_slice(&(*weights as u64 - 4).to_le_bytes());
        let _ = parse(&other);
    }
}

#[test]
fn damaged_plans_parse_or_not_but_harm_nothing() {
    let (bytes, weights) = &*SAVED;
    let mut other = bytes.clone();
    // All values of what comes first: the parameters; then whatever, everywhere.
    let first = (8..24.min(*weights)).flat_map(|at| (0..=255).map(move |byte| (at, byte)));
    let random = reals(6000, 99);
    let random = random
        .chunks(2)
        .map(|r| (((r[0] + 1.0) / 2.0 * *weights as f64) as usize, ((r[1] + 1.0) * 128.0) as u8));
    let mut parsed = 0;
    for (at, byte) in first.chain(random) {
        other[at] = byte;
        parsed += usize::from(parse(&other).is_ok());
        other[at] = bytes[at];
    }
    assert!(parsed > 0, "nothing parses");
}

#[test]
fn damaged_plans_that_parse_run_to_a_result_or_an_error() {
    let (bytes, weights) = &*SAVED;
    let mut other = bytes.clone();
    let random = reals(3000, 98);
    for r in random.chunks(2) {
        let at = ((r[0] + 1.0) / 2.0 * *weights as f64) as usize;
        other[at] = ((r[1] + 1.0) * 128.0) as u8;
        if let Ok(plan) = parse(&other)
            && plan.params().n() == 4096
        {
            let _ = run_anyhow(&plan);
        }
        other[at] = bytes[at];
    }
}

fn run_anyhow(plan: &Plan) -> Result<Vec<Vec<f64>>, InferenceError> {
    let client = Client::new(plan)?;
    let keys = client.evaluation_keys()?;
    let server = try_server(plan, keys)?;
    let sent = client.encrypt(&[vec![0.25; 6]])?;
    client.decrypt(&infer(&server, &sent)?)
}
