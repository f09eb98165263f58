//! Honest clients beside liars, while the server is killed and started again. `PLEURA_LOAD_SECONDS` sets how long.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "the functions beside the tests are tests too"
)]

mod common;

use common::{SETUP, Wire, decrypted, encrypted, wait_for};
use pleura_service::client::{Options, ServiceClient};
use pleura_service::server::{new_token, self_signed};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Honest clients, each with a token and a key of its own.
const HONEST: usize = 8;
/// Time between two kills.
const LIFE: Duration = Duration::from_millis(3000);
/// Most bytes of the server's memory.
const MEMORY: u64 = 1 << 30;

/// A server in a process of its own.
struct Process {
    place: TempDir,
    wire: Wire,
    child: Mutex<Child>,
    peak: AtomicU64,
}

impl Process {
    fn start(tokens: &mut Vec<String>) -> Self {
        let place = tempfile::tempdir().unwrap();
        let file = |name: &str| place.path().join(name);
        tokens.extend(
            (0..=HONEST).map(|i| new_token(&file("tokens"), &file("data"), &format!("ward-{i}")).unwrap()),
        );
        let (authority, private) = self_signed(vec!["localhost".into()]).unwrap();
        fs::write(file("cert.pem"), &authority).unwrap();
        fs::write(file("key.pem"), private).unwrap();
        fs::write(file("plan"), SETUP.plan.server_plan().to_bytes().unwrap()).unwrap();
        fs::write(file("bundle"), SETUP.key.bundle().to_bytes().unwrap()).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let wire = Wire { port, authority, token: tokens[HONEST].clone() };
        let child = Mutex::new(Self::spawn(&place, port));
        Self { place, wire, child, peak: AtomicU64::new(0) }
    }

    fn spawn(place: &TempDir, port: u16) -> Child {
        let program = env!("CARGO_BIN_EXE_server-only");
        let child = Command::new(program).arg(place.path()).arg(port.to_string()).spawn().unwrap();
        wait_for(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        child
    }

    /// SIGKILL, and a new start on the same files.
    fn kill(&self) {
        let mut child = self.child.lock().unwrap();
        self.measure(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        *child = Self::spawn(&self.place, self.wire.port);
    }

    /// Keeps the largest memory that a server has used.
    fn measure(&self, id: u32) {
        let Ok(status) = fs::read_to_string(format!("/proc/{id}/status")) else { return };
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        self.peak.fetch_max(1024 * kib, Ordering::Relaxed);
    }

    fn client(&self, token: &str) -> ServiceClient {
        let authorities = Some(self.wire.authority.as_bytes());
        let patience = Duration::from_secs(120);
        ServiceClient::new(&Options { url: &self.wire.url(), authorities, token, patience }).unwrap()
    }

    fn models(&self, client: &ServiceClient) -> pleura_service::api::Model {
        let mut models = Vec::new();
        // The one request that is not repeated by itself.
        wait_for(|| {
            models = client.models().unwrap_or_default();
            !models.is_empty()
        });
        models.remove(0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A client that does everything right: the number of its requests and their times.
fn honest(server: &Process, token: &str, over: &AtomicBool) -> Vec<Duration> {
    let client = server.client(token);
    let model = server.models(&client);
    let key = SETUP.other_key();
    let mut keys = Vec::new();
    key.write_keys(&mut keys).unwrap();
    let id = client.upload_keys(&model, &keys, &mut |_| ()).unwrap();
    let expected = SETUP.scores();
    let unit = f64::from(-key.bundle().spec().publish_bits()).exp2();
    let mut times = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let items = encrypted(&key);
        let clock = Instant::now();
        let results = client.infer(&id, &items).unwrap();
        times.push(clock.elapsed());
        let found = decrypted(&key, &results);
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert!((a - b).abs() < 1.1 * unit, "{a} {b}");
        }
    }
    // After all kills, the server still has the keys: nothing is sent again.
    let mut seen = Vec::new();
    client.upload_keys(&model, &keys, &mut |bytes| seen.push(bytes)).unwrap();
    assert_eq!(seen, [model.key_bytes], "the keys of {token} were lost");
    times
}

/// Clients that lie, each in its own way.
struct Liars<'a> {
    server: &'a Process,
    /// Keys that the liars have uploaded.
    id: String,
    over: &'a AtomicBool,
    /// Refusals by code.
    codes: Mutex<BTreeMap<String, u64>>,
}

impl Liars<'_> {
    fn lie(&self, kind: usize) {
        let wire = &self.server.wire;
        let path = format!("/v1/infer/{}", self.id);
        let sent = &SETUP.sent;
        let head = |token: &str, length: u64, more: &str| {
            format!("{}{more}content-length: {length}\r\n\r\n", wire.head("POST", &path, token))
        };
        let foreign = encrypted(&SETUP.other_key());
        let other = encrypted(&SETUP.key);
        let mut damaged = sent.clone();
        let mut round = 0;
        while !self.over.load(Ordering::Relaxed) {
            round += 1;
            let at = (round * 7919) % sent.len();
            damaged.copy_from_slice(sent);
            damaged[at] ^= 1;
            let whole = sent.len() as u64;
            let answer = match kind {
                0 => wire.try_exchange(&[head(&wire.token, at as u64, "").as_bytes(), &sent[..at]]),
                1 => wire.try_exchange(&[head(&wire.token, 1 << 40, "").as_bytes(), sent]),
                2 => wire.try_exchange(&[head(&wire.token, whole, "").as_bytes(), &sent[..at.min(100)]]),
                3 => wire.try_exchange(&[head(&wire.token, foreign.len() as u64, "").as_bytes(), &foreign]),
                4 => {
                    let body = if round % 2 == 0 { sent } else { &other };
                    let head = head(&wire.token, body.len() as u64, "idempotency-key: same\r\n");
                    wire.try_exchange(&[head.as_bytes(), body])
                }
                5 => wire.try_exchange(&[head("pleura_00", whole, "").as_bytes(), sent]),
                6 => wire.try_exchange(&[head(&wire.token, whole, "").as_bytes(), &damaged]),
                _ => {
                    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", wire.port)) {
                        let _ = stream.write_all(&damaged).and_then(|()| stream.read_to_end(&mut Vec::new()));
                    }
                    thread::sleep(Duration::from_millis(20));
                    None
                }
            };
            // Without an answer, the server was killed at that moment.
            match answer {
                // One of two bodies with one idempotency key is right.
                Some(answer) if kind == 4 && answer.status == 200 => {
                    assert_eq!(decrypted(&SETUP.key, &answer.body).len(), SETUP.scores().len());
                }
                Some(answer) => {
                    assert!(
                        (400..500).contains(&answer.status),
                        "a lie of kind {kind} got {}",
                        answer.status
                    );
                    *self.codes.lock().unwrap().entry(answer.code()).or_default() += 1;
                }
                None => (),
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn honest_clients_are_served_beside_liars_and_through_kills() {
    let seconds = std::env::var("PLEURA_LOAD_SECONDS").map_or(8, |text| text.parse().unwrap());
    let mut tokens = Vec::new();
    let server = Process::start(&mut tokens);
    let liar = server.client(&tokens[HONEST]);
    let id = liar.upload_keys(&server.models(&liar), &SETUP.keys, &mut |_| ()).unwrap();
    let over = AtomicBool::new(false);
    let liars = Liars { server: &server, id, over: &over, codes: Mutex::default() };
    let clock = Instant::now();
    let mut kills = 0;
    let mut times = thread::scope(|scope| {
        let clients: Vec<_> =
            tokens[..HONEST].iter().map(|token| scope.spawn(|| honest(&server, token, &over))).collect();
        for kind in 0..8 {
            let liars = &liars;
            scope.spawn(move || liars.lie(kind));
        }
        while clock.elapsed() < Duration::from_secs(seconds) {
            thread::sleep(LIFE);
            server.kill();
            kills += 1;
        }
        over.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    server.measure(server.child.lock().unwrap().id());
    times.sort_unstable();
    let peak = server.peak.load(Ordering::Relaxed);
    println!(
        "{} requests of {HONEST} honest clients in {:.1} s, all right; p50 {:?}, p99 {:?}; {kills} kills; {} MiB at most; refusals {:?}",
        times.len(),
        clock.elapsed().as_secs_f64(),
        times[times.len() / 2],
        times[times.len() * 99 / 100],
        peak >> 20,
        liars.codes.lock().unwrap()
    );
    assert!(times.len() >= 4 * HONEST && kills > 1);
    assert!(peak < MEMORY, "{peak} bytes");
    let codes = liars.codes.into_inner().unwrap();
    for code in ["items_refused", "too_large", "too_slow", "unauthorized", "idempotency_key_reused"] {
        assert!(codes.contains_key(code), "{code}");
    }
}
