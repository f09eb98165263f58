//! Requests per second of the service with the default model, over TLS on the loopback device, beside the same work without it:
//! `cargo bench -p pleura-service --features client,server --bench service -- [SECONDS]`.
#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints its figures, and stops where its fixed inputs are wrong"
)]

use pleura::nn::{Plan, ServerPlan};
use pleura::remote::{
    ClientBundle, ClientKey, ItemDecryptor, ItemEncryptor, ItemNote, infer_items, read_keys,
};
use pleura::xray::{Classifier, shipped};
use pleura::{Device, Server};
use pleura_service::client::{Options, ServiceClient};
use pleura_service::server::{self, Limits, ServerDevice, Service, Stop, Tls, new_token, self_signed};
use std::net::TcpListener;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// Clients at the same time.
const CLIENTS: [usize; 3] = [1, 8, 32];

/// A client that is ready to ask.
struct Asker {
    client: ServiceClient,
    id: String,
    items: Vec<u8>,
}

/// The network and an X-ray for it.
struct Work {
    plan: Plan,
    bundle: ClientBundle,
    values: ndarray::ArrayD<f64>,
}

impl Work {
    fn new() -> Self {
        let classifier = Classifier::shipped("pneumonia").unwrap();
        let options = classifier.compile_options(1).unwrap();
        let plan = Plan::compile(classifier.network(), &options, &mut |_, _, _| ()).unwrap();
        let bundle = ClientBundle::xray(plan.client_spec().clone(), &classifier).unwrap();
        let values = classifier.features(&shipped::SAMPLES[15].xray().unwrap()).unwrap().values;
        Self { plan, bundle, values }
    }

    fn server_plan(&self) -> ServerPlan {
        ServerPlan::from_bytes(&self.plan.server_plan().to_bytes().unwrap()).unwrap()
    }

    fn items(&self, key: &ClientKey) -> Vec<u8> {
        let mut encryptor = ItemEncryptor::new(key, Vec::new()).unwrap();
        encryptor.add(ItemNote::default(), self.values.clone()).unwrap();
        encryptor.finish().unwrap().0
    }

    /// Seconds of each request without a service, of clients in turn: each has keys of its own, which do not stay in the
    /// processor's caches.
    fn alone(&self, clients: usize, time: Duration) -> Vec<f64> {
        let server = Server::new(self.server_plan(), &Device::cpu(None)).unwrap();
        let sessions = (0..clients).map(|_| {
            let key = ClientKey::generate(self.bundle.clone()).unwrap();
            let mut keys = Vec::new();
            key.write_keys(&mut keys).unwrap();
            let (keys, origin) = read_keys(&keys[..], server.plan()).unwrap();
            (server.open_session(keys).unwrap(), origin, self.items(&key))
        });
        let sessions: Vec<_> = sessions.collect();
        let mut turns = sessions.iter().cycle();
        repeat(time, || {
            let (session, origin, items) = turns.next().unwrap();
            drop(infer_items(session, origin, &items[..], Vec::new(), &mut |_, _| ()).unwrap());
        })
    }
}

/// Seconds of each call, for a time.
fn repeat(time: Duration, mut call: impl FnMut()) -> Vec<f64> {
    let clock = Instant::now();
    let mut seconds = Vec::new();
    while clock.elapsed() < time {
        let one = Instant::now();
        call();
        seconds.push(one.elapsed().as_secs_f64());
    }
    seconds
}

/// Prints the figures of calls that took a time together; calls per second.
fn row(name: &str, mut seconds: Vec<f64>, together: Duration, base: f64) -> f64 {
    seconds.sort_by(f64::total_cmp);
    let rate = seconds.len() as f64 / together.as_secs_f64();
    let at = |part: usize| 1e3 * seconds[(seconds.len() * part / 100).min(seconds.len() - 1)];
    let share = if base > 0.0 { 100.0 * rate / base } else { 100.0 };
    println!("| {name} | {rate:.1} | {share:.0} % | {:.1} | {:.1} |", at(50), at(99));
    rate
}

/// A fresh client's first result: seconds of its steps, and bytes.
fn first(work: &Work, client: ServiceClient) -> Asker {
    let clock = Instant::now();
    let model = client.models().unwrap().remove(0);
    let key = ClientKey::generate(client.bundle(&model).unwrap()).unwrap();
    let mut keys = Vec::new();
    key.write_keys(&mut keys).unwrap();
    let made = clock.elapsed();
    let id = client.upload_keys(&model, &keys, &mut |_| ()).unwrap();
    let uploaded = clock.elapsed();
    let items = work.items(&key);
    let results = client.infer(&id, &items).unwrap();
    let mut decryptor = ItemDecryptor::new(&key, &results[..]).unwrap();
    assert_eq!(decryptor.next_group().unwrap().unwrap().len(), 1);
    println!(
        "first result after {:.3} s (keys made {:.3} s, uploaded {:.3} s): keys {} bytes, request {} bytes, response {} bytes",
        clock.elapsed().as_secs_f64(),
        made.as_secs_f64(),
        (uploaded - made).as_secs_f64(),
        keys.len(),
        items.len(),
        results.len()
    );
    Asker { client, id, items }
}

/// A client whose keys are on the server.
fn asker(work: &Work, client: ServiceClient) -> Asker {
    let model = client.models().unwrap().remove(0);
    let key = ClientKey::generate(work.bundle.clone()).unwrap();
    let mut keys = Vec::new();
    key.write_keys(&mut keys).unwrap();
    let id = client.upload_keys(&model, &keys, &mut |_| ()).unwrap();
    let items = work.items(&key);
    // The first request brings the keys to the device.
    client.infer(&id, &items).unwrap();
    Asker { client, id, items }
}

fn main() {
    let seconds = std::env::args().skip(1).find(|argument| argument != "--bench");
    let seconds = seconds.map_or(5, |text| text.parse().unwrap());
    let time = Duration::from_secs(seconds);
    let work = Work::new();
    let place = tempfile::tempdir().unwrap();
    let tokens = place.path().join("tokens");
    let folder = place.path().join("store");
    let token = new_token(&tokens, &folder, "bench").unwrap();
    let (authority, private) = self_signed(vec!["localhost".into()]).unwrap();
    let options = server::Options { folder, tokens, limits: Limits::default() };
    let models = vec![(work.server_plan(), work.bundle.clone())];
    let device = ServerDevice { device: Device::cpu(None), session_bytes: 8 << 30 };
    let service = Service::new(models, &[device], &options).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let tls = Tls::from_pem(authority.as_bytes(), private.as_bytes()).unwrap();
    let stop = Stop::new();
    let connect = || {
        let authorities = Some(authority.as_bytes());
        let patience = Duration::from_secs(60);
        ServiceClient::new(&Options { url: &url, authorities, token: &token, patience }).unwrap()
    };
    thread::scope(|scope| {
        scope.spawn(|| service.serve(listener, &tls, &stop).unwrap());
        let mut askers = vec![first(&work, connect())];
        let most = CLIENTS.into_iter().max().unwrap();
        askers.extend((1..most).map(|_| asker(&work, connect())));
        println!(
            "\n| clients | requests/s | of one process | p50, ms | p99, ms |\n|---|---:|---:|---:|---:|"
        );
        for clients in CLIENTS {
            let base = row("one process", work.alone(clients, time), time, 0.0);
            let all = Mutex::new(Vec::new());
            let clock = Instant::now();
            thread::scope(|scope| {
                for asker in &askers[..clients] {
                    scope.spawn(|| {
                        let one = repeat(time, || drop(asker.client.infer(&asker.id, &asker.items).unwrap()));
                        all.lock().unwrap().extend(one);
                    });
                }
            });
            row(&clients.to_string(), all.into_inner().unwrap(), clock.elapsed(), base);
        }
        stop.stop();
    });
}
