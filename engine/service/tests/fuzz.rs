//! Mutated requests to a server, heads and bodies, for `PLEURA_FUZZ_SECONDS`: it refuses them and goes on.

#![expect(clippy::indexing_slicing, reason = "the functions beside the tests are tests too")]

mod common;
#[path = "../../../tests/mutations.rs"]
mod mutations;

use common::{Running, SETUP};
use mutations::Mutations;
use pleura_service::api::hex;
use pleura_service::server::{Tls, certificate_is_for, self_signed};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Threads that send requests.
const SENDERS: u64 = 16;

/// Panics of all threads.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Requests that a server answers.
fn requests(server: &Running, id: &str) -> Vec<Vec<u8>> {
    let plan = hex(SETUP.plan.server_plan().digest());
    let length = SETUP.keys.len();
    let offer = format!(r#"{{"plan":"{plan}","length":{length},"sha256":"{}"}}"#, hex(&[7; 32]));
    let infer = format!("/v1/infer/{id}");
    let upload = format!("/v1/keys/{}", hex(&[7; 32]));
    let bundle = format!("/v1/models/{plan}/client.spec");
    let all: [(&str, &str, &str, &[u8]); 8] = [
        ("POST", "/v1/keys", "", offer.as_bytes()),
        ("GET", "/v1/keys", "", b""),
        ("PATCH", &upload, "upload-offset: 0\r\n", &SETUP.keys[..2000]),
        ("DELETE", &upload, "", b""),
        ("POST", &infer, "idempotency-key: a\r\n", &SETUP.sent),
        ("POST", &infer, "", &SETUP.sent),
        ("GET", &bundle, "", b""),
        ("GET", "/metrics", "", b""),
    ];
    let whole = all.map(|(method, path, headers, body)| {
        let head = server.head(method, path, &server.token);
        let head = format!("{head}{headers}content-length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    });
    whole.into()
}

#[test]
fn mutated_requests_are_refused() {
    let seconds = std::env::var("PLEURA_FUZZ_SECONDS").map_or(1.5, |text| text.parse().unwrap());
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        before(info);
    }));
    let server = Running::start();
    let client = server.client();
    let model = client.models().unwrap().remove(0);
    let id = client.upload_keys(&model, &SETUP.keys, &mut |_| ()).unwrap();
    let seeds = requests(&server, &id);
    let expected = SETUP.received(&SETUP.sent);
    let start = Instant::now();
    let count = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..SENDERS {
            let (server, seeds, expected, count) = (&server, &seeds, &expected, &count);
            scope.spawn(move || {
                let mut mutations = Mutations::new(number);
                while start.elapsed() < Duration::from_secs_f64(seconds) {
                    let mutated = mutations.of_any(seeds);
                    count.fetch_add(1, Ordering::Relaxed);
                    // What is no HTTP may get no answer.
                    let Some(answer) = server.try_exchange(&[&mutated]) else { continue };
                    assert!(answer.status < 500, "{answer:?}");
                    if answer.status == 200 && mutated.starts_with(b"POST /v1/infer") {
                        assert_eq!(&answer.body, expected, "a damaged request has a result");
                    }
                }
            });
        }
    });
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
    assert_eq!(client.infer(&id, &SETUP.sent).unwrap(), expected);
    println!("{} requests", count.into_inner());
}

#[test]
fn mutated_certificates_are_refused_or_used() {
    let seconds = std::env::var("PLEURA_FUZZ_SECONDS").map_or(0.5, |text| text.parse().unwrap());
    let (chain, key) = self_signed(vec!["localhost".to_owned()]).unwrap();
    assert!(certificate_is_for(chain.as_bytes(), "localhost").unwrap());
    let mut mutations = Mutations::new(0);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs_f64(seconds) {
        let [changed_chain, changed_key] = [&chain, &key].map(|text| mutations.of(text.as_bytes()));
        drop(Tls::from_pem(&changed_chain, key.as_bytes()));
        drop(Tls::from_pem(chain.as_bytes(), &changed_key));
        drop(certificate_is_for(&changed_chain, "localhost"));
    }
}
