//! Server and client over TLS on the loopback device: results, resumption, limits, refusals.
#![expect(clippy::panic, clippy::unwrap_used, reason = "the functions beside the tests are tests too")]

mod common;

use common::{Running, SETUP, compiled, decrypted, encrypted, many, nothing, on_processor, wait_for};
use pleura::nn::Plan;
use pleura::remote::ClientBundle;
use pleura_service::api::{KeysState, hex};
use pleura_service::client::{ClientError, Options, ServiceClient};
use pleura_service::problem::Code;
use pleura_service::server::{self, Limits, Service, certificate_is_for, new_token, self_signed};
use sha2::{Digest, Sha256};
use std::fs;
use std::thread;
use std::time::Duration;

/// Code of a refusal.
fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> Code {
    match result.unwrap_err() {
        ClientError::Refused(problem) => problem.code,
        error => panic!("{error}"),
    }
}

#[test]
fn sixteen_clients_get_the_scores_of_one_process() {
    let server = Running::with_quota(16);
    let expected = SETUP.scores();
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let client = server.client();
                let model = client.models().unwrap().remove(0);
                let bundle = client.bundle(&model).unwrap();
                let key = pleura::remote::ClientKey::generate(bundle).unwrap();
                let mut keys = Vec::new();
                key.write_keys(&mut keys).unwrap();
                assert_eq!(keys.len() as u64, model.key_bytes);
                let mut seen = Vec::new();
                let id = client.upload_keys(&model, &keys, &mut |bytes| seen.push(bytes)).unwrap();
                assert_eq!(seen.last(), Some(&model.key_bytes));
                let results = client.infer(&id, &encrypted(&key)).unwrap();
                let unit = f64::from(-key.bundle().spec().publish_bits()).exp2();
                for (item, expected) in decrypted(&key, &results).iter().zip(&expected) {
                    let close = item.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1.1 * unit);
                    assert!(close, "{item:?} {expected:?}");
                }
            });
        }
    });
}

#[test]
fn bytes_are_those_of_a_session_in_one_process() {
    let server = Running::start();
    let client = server.client();
    let model = client.models().unwrap().remove(0);
    let id = client.upload_keys(&model, &SETUP.keys, &mut |_| ()).unwrap();
    assert_eq!(client.infer(&id, &SETUP.sent).unwrap(), SETUP.received(&SETUP.sent));
}

#[test]
fn results_come_with_receipts_that_recomputation_confirms() {
    let mut server = Running::start();
    let client = server.client();
    let model = client.models().unwrap().remove(0);
    let id = client.upload_keys(&model, &SETUP.keys, &mut |_| ()).unwrap();
    let answer = client.infer_signed(&id, &SETUP.sent).unwrap();
    assert_eq!(hex(&answer.receipt.signer()), model.receipt_signer);
    let receipt = answer.receipt.receipt();
    assert_eq!((receipt.groups, receipt.network.as_str()), (6, "square"));
    let (session, origin) = SETUP.session();
    let keys = Sha256::digest(&SETUP.keys).into();
    let checks = receipt.recompute(&session, &origin, keys, &SETUP.sent[..], &mut |_, _| ()).unwrap();
    assert!(checks.iter().all(pleura::remote::ReceiptCheck::agrees), "{checks:?}");
    // The key outlives the process.
    server.restart();
    assert_eq!(server.client().models().unwrap().remove(0).receipt_signer, model.receipt_signer);
}

#[test]
fn two_devices_share_the_requests_of_a_client() {
    let server = Running::with(2, Duration::from_secs(10), vec![on_processor(1), on_processor(1)]);
    let client = server.client();
    let model = client.models().unwrap().remove(0);
    let id = client.upload_keys(&model, &SETUP.keys, &mut |_| ()).unwrap();
    let expected = SETUP.received(&SETUP.sent);
    // One after the other, the device that has the keys does all.
    for _ in 0..3 {
        assert_eq!(client.infer(&id, &SETUP.sent).unwrap(), expected);
    }
    assert_eq!(server.figure("pleura_key_loads_total"), 1.0);
    let sent = many();
    let expected = SETUP.received(&sent);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let answer = server.client().infer_signed(&id, &sent).unwrap();
                assert_eq!(answer.results, expected);
                let device = &answer.receipt.receipt().device;
                assert!(device.starts_with("cpu "), "{device}");
            });
        }
    });
    let groups =
        [0, 1].map(|device| server.figure(&format!("pleura_ciphertext_groups_total{{device=\"{device}\"}}")));
    assert!(groups.iter().all(|&groups| groups > 0.0), "{groups:?}");
    assert_eq!(server.figure("pleura_key_loads_total"), 2.0);
    assert_eq!(server.figure("pleura_sessions"), 2.0);
    // Deleted keys leave both.
    client.delete_keys(&id).unwrap();
    wait_for(|| server.figure("pleura_sessions") == 0.0);
}

#[test]
fn keys_and_results_survive_a_restart() {
    let mut server = Running::start();
    let client = server.client();
    let model = client.models().unwrap().remove(0);
    let id = client.upload_keys(&model, &SETUP.keys, &mut |_| ()).unwrap();
    let first = server.infer(&id, &SETUP.sent, Some("one"));
    assert!(!first.replayed);
    server.restart();
    let client = server.client();
    let again = server.infer(&id, &SETUP.sent, Some("one"));
    assert!(again.replayed && again.body == first.body);
    let mut other = SETUP.sent.clone();
    *other.last_mut().unwrap() ^= 1;
    assert_eq!(server.infer(&id, &other, Some("one")).code(), "idempotency_key_reused");
    assert_eq!(client.infer(&id, &SETUP.sent).unwrap(), first.body);
    client.delete_keys(&id).unwrap();
    assert_eq!(code(client.infer(&id, &SETUP.sent)), Code::UnknownKeys);
    assert_eq!(code(client.delete_keys(&id)), Code::UnknownKeys);
}

#[test]
fn keys_that_were_damaged_on_disk_are_uploaded_again() {
    let mut server = Running::start();
    let model = server.client().models().unwrap().remove(0);
    let upload = |server: &Running| server.client().upload_keys(&model, &SETUP.keys, &mut |_| ()).unwrap();
    let id = upload(&server);
    let expected = server.client().infer(&id, &SETUP.sent).unwrap();
    let mut damaged = SETUP.keys.clone();
    damaged[SETUP.keys.len() / 2] ^= 1;
    let cut = &SETUP.keys[..SETUP.keys.len() / 2];
    for file in [Some(&damaged[..]), Some(cut), Some(b""), None] {
        server.restart_after(|folder| {
            let path = folder.join("keys").join(format!("ward.{id}"));
            match file {
                Some(bytes) => fs::write(path, bytes).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
        });
        assert_eq!(code(server.client().infer(&id, &SETUP.sent)), Code::UnknownKeys);
        assert_eq!(upload(&server), id);
        assert_eq!(server.client().infer(&id, &SETUP.sent).unwrap(), expected);
    }
}

#[test]
fn uploads_resume_where_they_broke_off() {
    let mut server = Running::start();
    let id = hex(&Sha256::digest(&SETUP.keys));
    let state = server.offer(&SETUP.keys);
    assert_eq!((state.offset, state.complete), (0, false));
    let half = SETUP.keys.len() / 2;
    // A chunk whose sender goes away in the middle.
    server.broken_patch(&id, 0, &SETUP.keys[..half], SETUP.keys.len());
    wait_for(|| server.offer(&SETUP.keys).offset > 0);
    server.restart();
    let state = server.offer(&SETUP.keys);
    assert!(state.offset > 0 && state.offset <= half as u64 && !state.complete, "{state:?}");
    assert_eq!(server.patch(&id, state.offset + 1, &SETUP.keys[half..]).code(), "offset_mismatch");
    assert_eq!(server.infer(&id, &SETUP.sent, None).code(), "keys_incomplete");
    let client = server.client();
    let model = client.models().unwrap().remove(0);
    let mut seen = Vec::new();
    client.upload_keys(&model, &SETUP.keys, &mut |bytes| seen.push(bytes)).unwrap();
    assert_eq!(seen.first(), Some(&state.offset));
    let state: KeysState = server.offer(&SETUP.keys);
    assert!(state.complete);
    // Once more, nothing is sent.
    seen.clear();
    client.upload_keys(&model, &SETUP.keys, &mut |bytes| seen.push(bytes)).unwrap();
    assert_eq!(seen, [model.key_bytes]);
}

#[test]
fn wrong_keys_are_refused_before_and_after_they_arrive() {
    let server = Running::start();
    let keys = &SETUP.keys;
    let offer = |plan: &str, length: usize, digest: &str| {
        let text = format!(r#"{{"plan":"{plan}","length":{length},"sha256":"{digest}"}}"#);
        server.request("POST", "/v1/keys", &[], text.as_bytes()).code()
    };
    let plan = hex(SETUP.plan.server_plan().digest());
    let digest = hex(&Sha256::digest(keys));
    assert_eq!(offer(&hex(&[1; 32]), keys.len(), &digest), "unknown_model");
    assert_eq!(offer(&plan, keys.len() - 1, &digest), "keys_length");
    assert_eq!(offer(&plan, usize::MAX, &digest), "keys_length");
    assert_eq!(offer(&plan, keys.len(), "abc"), "bad_request");
    assert_eq!(server.request("POST", "/v1/keys", &[], b"{").code(), "bad_request");
    assert_eq!(server.request("POST", "/v1/keys", &[], &[b'x'; 9999]).code(), "too_large");
    // Another plan's keys are recognized by their first bytes, damaged ones at the end; both are deleted.
    for at in [60, keys.len() / 2] {
        let mut damaged = keys.clone();
        damaged[at] ^= 1;
        let state = server.offer(&damaged);
        let first = server.patch(&state.id, 0, &damaged[..1000]);
        if at == 60 {
            assert_eq!(first.code(), "keys_refused");
        } else {
            assert_eq!(server.patch(&state.id, 1000, &damaged[1000..]).code(), "keys_refused");
        }
        assert_eq!(server.request("GET", &format!("/v1/keys/{}", state.id), &[], b"").code(), "unknown_keys");
    }
    // Content under a wrong name.
    let mut damaged = keys.clone();
    damaged[keys.len() / 2] ^= 1;
    let state = server.offer(&damaged);
    assert_eq!(server.patch(&state.id, 0, keys).code(), "keys_refused");
    // A quota of two.
    for i in 0..2 {
        let mut other = keys.clone();
        other[keys.len() - 1 - i] ^= 1;
        server.offer(&other);
    }
    assert_eq!(offer(&plan, keys.len(), &hex(&[9; 32])), "quota_exceeded");
}

#[test]
fn refusals_have_codes() {
    let server = Running::start();
    let client = server.client();
    let model = client.models().unwrap().remove(0);
    let id = client.upload_keys(&model, &SETUP.keys, &mut |_| ()).unwrap();
    let infer = format!("/v1/infer/{id}");
    let sent = &SETUP.sent;
    assert_eq!(server.request("POST", &infer, &[], &sent[..sent.len() - 1]).code(), "items_refused");
    assert_eq!(server.request("POST", &infer, &[], b"garbage").code(), "items_refused");
    assert_eq!(server.infer(&id, &nothing(), Some("nothing")).code(), "items_refused");
    assert_eq!(
        server.request("POST", &infer, &[("idempotency-key", &"x".repeat(129))], sent).code(),
        "bad_request"
    );
    assert_eq!(server.request("POST", "/v1/infer/xyz", &[], sent).code(), "bad_request");
    assert_eq!(server.request("GET", "/v1/nothing", &[], b"").code(), "not_found");
    assert_eq!(server.request("PUT", "/v1/keys", &[], b"").code(), "method_not_allowed");
    let other = SETUP.other_key();
    assert_eq!(code(client.infer(&id, &encrypted(&other))), Code::ItemsRefused);
    // Keys of one token are none of another.
    assert_eq!(code(server.client_of(&server.second_token).infer(&id, sent)), Code::UnknownKeys);
    let stranger = server.client_of("pleura_0000");
    assert_eq!(code(stranger.models()), Code::Unauthorized);
    for path in ["/metrics", "/v1/keys", "/v1/models"] {
        assert_eq!(server.raw("GET", path, "", &[], b"").code(), "unauthorized", "{path}");
    }
    for (scheme, status) in [("bearer", 200), ("BEARER ", 200), ("Basic", 401), ("Bearer,", 401)] {
        let authorization = format!("{scheme} {}", server.token);
        let headers = [("authorization", authorization.as_str())];
        assert_eq!(server.raw("GET", "/v1/models", "", &headers, b"").status, status, "{scheme}");
    }
    for (path, text) in [("/healthz", "ok"), ("/readyz", "ready"), ("/openapi.json", "/v1/infer/{id}")] {
        let answer = server.raw("GET", path, "", &[], b"");
        assert!(answer.status == 200 && answer.text().contains(text), "{path}");
    }
    let figures = server.request("GET", "/metrics", &[], b"").text();
    assert!(figures.contains("pleura_refusals_total{code=\"items_refused\"} 4"), "{figures}");
    assert!(!figures.contains(&id));
    // Bodies without a length, with too large a one, and slow ones.
    assert_eq!(server.without_length(&infer), "length_required");
    assert_eq!(server.promised(&infer, 1 << 40, b""), "too_large");
    assert_eq!(server.promised(&infer, 1000, b"slow"), "too_slow");
}

#[test]
fn networks_of_one_name_are_not_offered_together() {
    let place = tempfile::tempdir().unwrap();
    let [tokens, folder] = ["tokens", "data"].map(|name| place.path().join(name));
    new_token(&tokens, &folder, "ward").unwrap();
    let offer = |plans: &[&Plan]| {
        let models = plans.iter().map(|plan| {
            let bundle = ClientBundle::tensor(plan.client_spec().clone()).unwrap();
            (plan.server_plan().as_ref().clone(), bundle)
        });
        let options =
            server::Options { folder: folder.clone(), tokens: tokens.clone(), limits: Limits::default() };
        Service::new(models.collect(), &[on_processor(1)], &options)
    };
    assert!(offer(&[&SETUP.plan]).is_ok());
    for other in [&SETUP.plan, &compiled([1.0, 0.0, 1.0])] {
        let error = offer(&[&SETUP.plan, other]).err().unwrap().to_string();
        assert!(error.contains("square is given twice"), "{error}");
    }
}

#[test]
fn only_certificates_of_the_authority_are_trusted() {
    let server = Running::start();
    let (other, _) = self_signed(vec!["localhost".into(), "10.0.0.7".into()]).unwrap();
    let names = ["localhost", "10.0.0.7", "ward.example", "10.0.0.8"];
    let accepted = names.map(|name| certificate_is_for(other.as_bytes(), name).unwrap());
    assert_eq!(accepted, [true, true, false, false]);
    assert!(
        certificate_is_for(other.as_bytes(), "no name").is_err()
            && certificate_is_for(b"no certificate", "localhost").is_err()
    );
    let token = server.token.clone();
    for authorities in [Some(other.as_bytes()), None] {
        let patience = Duration::from_secs(60);
        let client =
            ServiceClient::new(&Options { url: &server.url(), authorities, token: &token, patience })
                .unwrap();
        assert!(matches!(client.models().unwrap_err(), ClientError::Network(_)));
    }
    for url in ["http://localhost:1", "localhost:1", "https://a@b:1"] {
        let options = Options { url, authorities: None, token: &token, patience: Duration::ZERO };
        assert!(matches!(ServiceClient::new(&options).err().unwrap(), ClientError::Url(_)), "{url}");
    }
}

#[test]
fn a_stop_finishes_what_was_accepted() {
    // The work takes longer than a stop waits for connections.
    let server = Running::with(2, Duration::from_millis(10), vec![on_processor(2)]);
    let client = server.client();
    let model = client.models().unwrap().remove(0);
    let id = client.upload_keys(&model, &SETUP.keys, &mut |_| ()).unwrap();
    let sent = many();
    thread::scope(|scope| {
        let asked: Vec<_> = (0..4).map(|_| scope.spawn(|| server.infer(&id, &sent, None))).collect();
        // The device computes one of the four, or is between two of its calls.
        wait_for(|| {
            server.figure("pleura_ciphertext_groups_total") > 0.0
                && server.figure("pleura_queued_requests") >= 3.0
        });
        server.stop.stop();
        let expected = SETUP.received(&sent);
        for answer in asked {
            assert_eq!(answer.join().unwrap().body, expected);
        }
    });
}
