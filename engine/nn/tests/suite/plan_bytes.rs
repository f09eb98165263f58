//! Plans and client specifications as bytes: what is written is read back, anything else is refused.

use crate::common::*;
use pleura_ckks::{Ciphertext, Security, WireError};
use pleura_nn::*;
use sha2::{Digest, Sha256};
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
        let loaded = Plan::from_bytes_allow_insecure(&bytes).unwrap();
        assert_eq!(loaded.report(), plan.report());
        assert_eq!(loaded.params(), plan.params());
        assert_eq!(loaded.to_bytes().unwrap(), bytes);
        // Each half goes its own way: a client with the one and a server with the other.
        let spec = plan.client_spec().to_bytes().unwrap();
        let spec = ClientSpec::from_bytes_allow_insecure(&spec).unwrap();
        let server_plan = plan.server_plan().to_bytes().unwrap();
        let server_plan = ServerPlan::from_bytes_allow_insecure(&server_plan).unwrap();
        assert_eq!(server_plan.digest(), spec.plan_digest());
        let client = Client::new(spec).unwrap();
        let device = pleura_ring::Cpu::new(server_plan.params().ring().clone()).unwrap();
        let server = Server::new(server_plan, device).unwrap();
        let session = server.open_session(client.evaluation_keys().unwrap()).unwrap();
        let item = item(&network, 0);
        let sent = encrypt(&client, std::slice::from_ref(&item));
        let sent: Vec<_> = sent
            .iter()
            .map(|c| Ciphertext::from_bytes(&c.to_bytes(), session.plan().params()).unwrap())
            .collect();
        let got = decrypt(&client, &infer(&session, &sent).unwrap());
        let bits = bits(&network.evaluate_flat(&item), &got[0], output_range(&network));
        assert!(bits >= 13.0, "{bits:.1} bits");
    }
}

#[test]
fn metadata_travels_with_the_client_specification() {
    let network = small();
    let metadata = Metadata {
        classes: ["a", "b", "c", "d"].map(str::to_owned).to_vec(),
        preprocessing: Some("codec f8".into()),
        scores: ScoreTransform::Softmax,
    };
    let options = CompileOptions { metadata: metadata.clone(), ..options(&network) };
    let plan = compile(&network, &options).unwrap();
    let bytes = plan.client_spec().to_bytes().unwrap();
    assert_eq!(*ClientSpec::from_bytes_allow_insecure(&bytes).unwrap().metadata(), metadata);
    // The server's half does not depend on it.
    assert_eq!(plan.server_plan().to_bytes(), plan_of(&network).server_plan().to_bytes());
}

#[test]
fn the_client_half_holds_no_weights() {
    let network = net(&[64], |n| _ = n.dense(X, 32));
    let plan = plan_of(&network);
    let spec = plan.client_spec().to_bytes().unwrap();
    assert!(spec.len() < 2000, "{} bytes for 96 elements", spec.len());
    // As large for other weights, and but for expected error and digests the same.
    let weights = plan.server_plan().to_bytes().unwrap();
    assert!(weights.len() > 4 * 64 * 32, "{} bytes of weights", weights.len());
}

#[test]
fn plans_without_security_are_refused() {
    let plan = plan_of(&small());
    let refused = [
        Plan::from_bytes(&plan.to_bytes().unwrap()).map(drop),
        ServerPlan::from_bytes(&plan.server_plan().to_bytes().unwrap()).map(drop),
        ClientSpec::from_bytes(&plan.client_spec().to_bytes().unwrap()).map(drop),
    ];
    for refused in refused {
        assert_eq!(refused.unwrap_err(), PlanFileError::Wire(WireError::InsecureParams));
    }
    let options = CompileOptions { security: Security::Bits128, ..options(&small()) };
    let secure = compile(&small(), &options).unwrap();
    let secure = Plan::from_bytes(&secure.to_bytes().unwrap()).unwrap();
    assert_eq!(secure.report().parameters.security, 128);
}

#[test]
fn objects_of_another_kind_are_named() {
    let plan = plan_of(&small());
    let spec = plan.client_spec().to_bytes().unwrap();
    let error = ServerPlan::from_bytes_allow_insecure(&spec).unwrap_err();
    let wrong = WireError::WrongKind { expected: "a server plan", got: "a client specification" };
    assert_eq!(error, PlanFileError::Wire(wrong));
    let keys = client(&plan).1.to_bytes();
    let error = ClientSpec::from_bytes_allow_insecure(&keys).unwrap_err();
    let wrong = WireError::WrongKind { expected: "a client specification", got: "evaluation keys" };
    assert_eq!(error, PlanFileError::Wire(wrong));
}

// Damage.

/// A small server plan with every kind of step, and its client specification.
static SAVED: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let network = net(&[6], |n| {
        let a = n.dense(X, 4);
        let b = n.act(a);
        let x = n.polynomial(a, &[0.1, 0.2, 0.3, 0.4]);
        let x = n.product(x, b);
        let x = n.affine(x, -2.0, 0.5);
        let x = n.sub(x, a);
        n.dense(x, 2);
    });
    let plan = plan_of(&network);
    [plan.server_plan().to_bytes().unwrap(), plan.client_spec().to_bytes().unwrap()]
});

/// Appends the digest of the bytes, so that the checks after it are reached.
fn resealed(content: &[u8]) -> Vec<u8> {
    [content, &Sha256::digest(content)].concat()
}

/// Both halves of a plan.
enum Half {
    Server(Box<ServerPlan>),
    Client(Box<ClientSpec>),
}

/// Parses bytes that may be anything, and bounds time and memory.
#[track_caller]
fn parse(half: usize, bytes: &[u8]) -> Result<Half, PlanFileError> {
    LARGEST.set(0);
    let start = Instant::now();
    let parsed = match half {
        0 => ServerPlan::from_bytes_allow_insecure(bytes).map(|plan| Half::Server(Box::new(plan))),
        _ => ClientSpec::from_bytes_allow_insecure(bytes).map(|spec| Half::Client(Box::new(spec))),
    };
    let took = start.elapsed();
    let largest = LARGEST.get();
    assert!(took < Duration::from_secs(10), "parsing took {took:?}");
    // Tables for the largest degree take some megabytes; bytes read, no more than a small multiple of themselves.
    assert!(largest < (64 << 20) + 64 * bytes.len(), "a block of {largest} bytes for {}", bytes.len());
    if let Err(error) = &parsed {
        assert!(error.to_string().split_whitespace().count() >= 4, "{error}");
    }
    parsed
}

#[test]
fn every_truncation_and_every_addition_is_refused() {
    for (half, bytes) in SAVED.iter().enumerate() {
        let content = &bytes[..bytes.len() - 32];
        let step = (bytes.len() / 1500).max(1);
        for len in (0..bytes.len()).step_by(step).chain([bytes.len() - 1]) {
            assert!(parse(half, &bytes[..len]).is_err(), "{len} of {} bytes parse", bytes.len());
        }
        for len in (0..content.len()).step_by(step) {
            assert!(parse(half, &resealed(&content[..len])).is_err(), "content cut at {len} parses");
        }
        assert!(parse(half, &[&bytes[..], &[0]].concat()).is_err(), "a byte too many parses");
        assert!(parse(half, &resealed(&[content, &[0]].concat())).is_err(), "a byte too many parses");
    }
}

#[test]
fn every_flipped_byte_is_noticed() {
    for (half, bytes) in SAVED.iter().enumerate() {
        let mut damaged = bytes.clone();
        for at in (0..bytes.len()).step_by((bytes.len() / 3000).max(1)) {
            damaged[at] ^= 0x40;
            assert!(parse(half, &damaged).is_err(), "byte {at} may be flipped");
            damaged[at] = bytes[at];
        }
    }
}

#[test]
fn claimed_lengths_allocate_nothing() {
    for (half, bytes) in SAVED.iter().enumerate() {
        let content = &bytes[..bytes.len() - 32];
        // A huge number in place of each byte after the header.
        for at in (40..content.len()).step_by((content.len() / 1500).max(1)) {
            let hostile = [&content[..at], &[0xff, 0xff, 0xff, 0xff, 0x7f], &content[at + 1..]].concat();
            let _ = parse(half, &resealed(&hostile));
        }
    }
}

#[test]
fn hostile_halves_that_parse_run_to_a_result_or_an_error() {
    let random = reals(6000, 98);
    let mut parsed = 0;
    for (half, bytes) in SAVED.iter().enumerate() {
        let mut content = bytes[..bytes.len() - 32].to_vec();
        for r in random.chunks(2) {
            let at = ((r[0] + 1.0) / 2.0 * content.len() as f64) as usize;
            let before = std::mem::replace(&mut content[at], ((r[1] + 1.0) * 128.0) as u8);
            if let Ok(half) = parse(half, &resealed(&content)) {
                parsed += 1;
                if parsed % 20 == 0 {
                    let _ = use_half(half);
                }
            }
            content[at] = before;
        }
    }
    assert!(parsed > 100, "{parsed} parse");
}

/// Runs a hostile half with the true other one.
fn use_half(half: Half) -> Result<(), InferenceError> {
    let (plan, spec) = match half {
        Half::Server(plan) => (*plan, ClientSpec::from_bytes_allow_insecure(&SAVED[1]).unwrap()),
        Half::Client(spec) => (ServerPlan::from_bytes_allow_insecure(&SAVED[0]).unwrap(), *spec),
    };
    if plan.params().n() > 1 << 13 || spec.params().n() > 1 << 13 {
        return Ok(());
    }
    let client = Client::new(spec)?;
    let server = Server::new(plan, pleura_ring::Cpu::new(client.spec().params().ring().clone()).unwrap())?;
    let session = server.open_session(client.evaluation_keys()?)?;
    let shape = [&[1], client.spec().input_shape()].concat();
    let sent = client.encrypt(ndarray::ArrayD::from_elem(shape, 0.25).view())?;
    client.publish(&infer(&session, &sent)?).map(drop)
}
