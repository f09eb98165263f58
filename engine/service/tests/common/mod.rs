//! A small network, a server in this process, and requests byte by byte.
#![allow(dead_code, reason = "each test file uses some of it")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests are tests too"
)]

use ndarray::{ArrayD, Axis};
use pleura::nn::{Coefficients, CompileOptions, Network, Node, NodeMap, Op, Plan, ServerPlan};
use pleura::remote::{
    ClientBundle, ClientKey, ItemDecryptor, ItemEncryptor, ItemNote, Origin, infer_items, read_keys,
};
use pleura::{Device, Server, Session};
use pleura_service::api::{KeysOffer, KeysState, hex};
use pleura_service::client::{Options, ServiceClient};
use pleura_service::server::{self, Limits, ServerDevice, Service, Stop, Tls, new_token, self_signed};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A network, a client's key, and what the client sends.
pub(crate) struct Setup {
    pub(crate) plan: Plan,
    pub(crate) key: ClientKey,
    pub(crate) keys: Vec<u8>,
    pub(crate) sent: Vec<u8>,
    items: ArrayD<f64>,
}

/// A polynomial in each of four values.
pub(crate) fn compiled(coefficients: [f64; 3]) -> Plan {
    let mut nodes = NodeMap::default();
    let x = nodes.push(Node::new("x", [4], Op::Input));
    nodes.push(Node::new(
        "square",
        [4],
        Op::Polynomial(x, Coefficients(coefficients.map(|coefficient| vec![coefficient]).into())),
    ));
    let network = Network::new("square", nodes).unwrap();
    Plan::compile(&network, &CompileOptions::default(), &mut |_, _, _| ()).unwrap()
}

pub(crate) static SETUP: LazyLock<Setup> = LazyLock::new(|| {
    let plan = compiled([0.5, -1.0, 1.0]);
    let key = ClientKey::generate(ClientBundle::tensor(plan.client_spec().clone()).unwrap()).unwrap();
    let mut keys = Vec::new();
    key.write_keys(&mut keys).unwrap();
    let items = ArrayD::from_shape_fn(vec![6, 4], |at| (at[0] + 2 * at[1]) as f64 / 12.0);
    let sent = encrypt(&key, &items);
    Setup { plan, key, keys, sent, items }
});

impl Setup {
    /// Scores of the plaintext network.
    pub(crate) fn scores(&self) -> Vec<Vec<f64>> {
        self.items.axis_iter(Axis(0)).map(|item| item.iter().map(|x| x * x - x + 0.5).collect()).collect()
    }

    /// A session in one process.
    pub(crate) fn session(&self) -> (Session, Origin) {
        let server = ServerPlan::from_bytes(&self.plan.server_plan().to_bytes().unwrap()).unwrap();
        let (keys, origin) = read_keys(&self.keys[..], &server).unwrap();
        (Server::new(server, &Device::cpu(Some(1))).unwrap().open_session(keys).unwrap(), origin)
    }

    /// Results that a session in one process computes.
    pub(crate) fn received(&self, sent: &[u8]) -> Vec<u8> {
        let (session, origin) = self.session();
        infer_items(&session, &origin, sent, Vec::new(), &mut |_, _| ()).unwrap().0
    }

    /// The key of another client.
    pub(crate) fn other_key(&self) -> ClientKey {
        ClientKey::generate(self.key.bundle().clone()).unwrap()
    }
}

/// Many items, which keep a server busy for a time.
pub(crate) fn many() -> Vec<u8> {
    encrypt(&SETUP.key, &ArrayD::from_shape_fn(vec![192, 4], |at| (at[0] + at[1]) as f64 / 200.0))
}

/// The items of the setup under a key.
pub(crate) fn encrypted(key: &ClientKey) -> Vec<u8> {
    encrypt(key, &SETUP.items)
}

/// A file without items.
pub(crate) fn nothing() -> Vec<u8> {
    ItemEncryptor::new(&SETUP.key, Vec::new()).unwrap().finish().unwrap().0
}

fn encrypt(key: &ClientKey, items: &ArrayD<f64>) -> Vec<u8> {
    let mut encryptor = ItemEncryptor::new(key, Vec::new()).unwrap();
    for item in items.axis_iter(Axis(0)) {
        encryptor.add(ItemNote::default(), item.to_owned()).unwrap();
    }
    encryptor.finish().unwrap().0
}

/// Published scores of all items.
pub(crate) fn decrypted(key: &ClientKey, bytes: &[u8]) -> Vec<Vec<f64>> {
    let mut decryptor = ItemDecryptor::new(key, bytes).unwrap();
    let mut items = Vec::new();
    while let Some(group) = decryptor.next_group().unwrap() {
        items.extend(group.into_iter().map(|item| item.scores));
    }
    items
}

/// The processor as a device of a server.
pub(crate) fn on_processor(threads: usize) -> ServerDevice {
    ServerDevice { device: Device::cpu(Some(threads)), session_bytes: 2 << 30 }
}

/// Waits for a condition.
pub(crate) fn wait_for(mut condition: impl FnMut() -> bool) {
    let clock = Instant::now();
    while !condition() {
        assert!(clock.elapsed() < Duration::from_secs(30), "waited in vain");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A server in this process.
pub(crate) struct Running {
    place: TempDir,
    private: String,
    /// Keys of a token.
    quota: u64,
    grace: Duration,
    devices: Vec<ServerDevice>,
    wire: Wire,
    pub(crate) second_token: String,
    pub(crate) stop: Stop,
    thread: Option<JoinHandle<()>>,
}

/// Address of a server and a token for it, for requests byte by byte.
pub(crate) struct Wire {
    pub(crate) port: u16,
    pub(crate) authority: String,
    pub(crate) token: String,
}

impl Deref for Running {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        &self.wire
    }
}

/// Response to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) replayed: bool,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// Code of a refusal.
    pub(crate) fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap();
        assert_eq!(problem["status"], self.status);
        assert!(problem["detail"].as_str().unwrap().len() > 10);
        problem["code"].as_str().unwrap().to_owned()
    }
}

impl Running {
    pub(crate) fn start() -> Self {
        Self::with_quota(2)
    }

    /// A server whose tokens may have a number of keys.
    pub(crate) fn with_quota(keys: u64) -> Self {
        Self::with(keys, Duration::from_secs(10), vec![on_processor(2)])
    }

    /// A server whose tokens may have a number of keys, which waits for connections for a time, on devices.
    pub(crate) fn with(keys: u64, grace: Duration, devices: Vec<ServerDevice>) -> Self {
        let place = tempfile::tempdir().unwrap();
        let [tokens, folder] = ["tokens", "data"].map(|name| place.path().join(name));
        let [token, second_token] = ["ward", "other"].map(|name| new_token(&tokens, &folder, name).unwrap());
        let (authority, private) = self_signed(vec!["localhost".into()]).unwrap();
        let stop = Stop::new();
        let wire = Wire { port: 0, authority, token };
        let mut running =
            Self { place, private, quota: keys, grace, devices, wire, second_token, stop, thread: None };
        running.open();
        running
    }

    /// Stops, and starts on the same files.
    pub(crate) fn restart(&mut self) {
        self.restart_after(|_| ());
    }

    /// Stops, changes files in the server's folder, and starts.
    pub(crate) fn restart_after(&mut self, change: impl FnOnce(&Path)) {
        self.close();
        change(&self.place.path().join("data"));
        self.open();
    }

    fn open(&mut self) {
        self.stop = Stop::new();
        let limits = Limits {
            quota_bytes: self.quota * SETUP.keys.len() as u64 + 10,
            idle: Duration::from_secs(2),
            grace: self.grace,
            ..Limits::default()
        };
        let folder = self.place.path().join("data");
        let options = server::Options { folder, tokens: self.place.path().join("tokens"), limits };
        let plan = ServerPlan::from_bytes(&SETUP.plan.server_plan().to_bytes().unwrap()).unwrap();
        let bundle = ClientBundle::from_bytes(&SETUP.key.bundle().to_bytes().unwrap()).unwrap();
        let service = Service::new(vec![(plan, bundle)], &self.devices, &options).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        self.wire.port = listener.local_addr().unwrap().port();
        let tls = Tls::from_pem(self.authority.as_bytes(), self.private.as_bytes()).unwrap();
        let stop = self.stop.clone();
        self.thread = Some(thread::spawn(move || service.serve(listener, &tls, &stop).unwrap()));
    }

    fn close(&mut self) {
        self.stop.stop();
        let joined = self.thread.take().map(JoinHandle::join);
        assert!(joined.is_none_or(|joined| joined.is_ok()));
    }
}

impl Wire {
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    pub(crate) fn client(&self) -> ServiceClient {
        self.client_of(&self.token)
    }

    pub(crate) fn client_of(&self, token: &str) -> ServiceClient {
        let authorities = Some(self.authority.as_bytes());
        let patience = Duration::from_secs(20);
        ServiceClient::new(&Options { url: &self.url(), authorities, token, patience }).unwrap()
    }

    fn try_connect(&self) -> Option<StreamOwned<ClientConnection, TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
        let connection = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
        let stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Some(StreamOwned::new(connection, stream))
    }

    /// Sends bytes, and reads the answer.
    fn exchange(&self, bytes: &[&[u8]]) -> Answer {
        self.try_exchange(bytes).expect("a response")
    }

    /// Sends bytes, and reads the answer if there is one.
    pub(crate) fn try_exchange(&self, bytes: &[&[u8]]) -> Option<Answer> {
        let mut stream = self.try_connect()?;
        for part in bytes {
            // A server that refuses a request need not read all of it.
            if stream.write_all(part).is_err() {
                break;
            }
        }
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let end = all.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&all[..end]).to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Some(Answer {
            status,
            replayed: head.contains("idempotency-replayed: true"),
            body: all[end + 4..].to_vec(),
        })
    }

    /// The head of a request with a token or without one, before the length.
    pub(crate) fn head(&self, method: &str, path: &str, token: &str) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        if !token.is_empty() {
            head += &format!("authorization: Bearer {token}\r\n");
        }
        head
    }

    /// A request with a token or without one.
    pub(crate) fn raw(
        &self,
        method: &str,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut head = self.head(method, path, token);
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        head += &format!("content-length: {}\r\n\r\n", body.len());
        self.exchange(&[head.as_bytes(), body])
    }

    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.raw(method, path, &self.token, headers, body)
    }

    pub(crate) fn infer(&self, id: &str, body: &[u8], idempotency_key: Option<&str>) -> Answer {
        let headers: Vec<_> = idempotency_key.map(|key| ("idempotency-key", key)).into_iter().collect();
        self.request("POST", &format!("/v1/infer/{id}"), &headers, body)
    }

    pub(crate) fn offer(&self, keys: &[u8]) -> KeysState {
        let plan = hex(SETUP.plan.server_plan().digest());
        let offer = KeysOffer { plan, length: keys.len() as u64, sha256: hex(&Sha256::digest(keys)) };
        let answer = self.request("POST", "/v1/keys", &[], &serde_json::to_vec(&offer).unwrap());
        serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{}", answer.text()))
    }

    pub(crate) fn patch(&self, id: &str, offset: u64, body: &[u8]) -> Answer {
        self.request("PATCH", &format!("/v1/keys/{id}"), &[("upload-offset", &offset.to_string())], body)
    }

    /// A chunk of which only a part is sent before the connection breaks.
    pub(crate) fn broken_patch(&self, id: &str, offset: u64, part: &[u8], length: usize) {
        let head = format!(
            "PATCH /v1/keys/{id} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\nupload-offset: {offset}\r\n\
             content-length: {length}\r\n\r\n",
            self.token
        );
        let mut stream = self.try_connect().unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(part).unwrap();
        stream.flush().unwrap();
    }

    /// A request whose length is promised, and whose body is shorter.
    pub(crate) fn promised(&self, path: &str, length: u64, body: &[u8]) -> String {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
             content-length: {length}\r\n\r\n",
            self.token
        );
        self.exchange(&[head.as_bytes(), body]).code()
    }

    /// A request in chunks of unknown number.
    pub(crate) fn without_length(&self, path: &str) -> String {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {}\r\n\
             transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            self.token
        );
        self.exchange(&[head.as_bytes()]).code()
    }

    /// A figure of the server; 0 if nothing was counted yet.
    pub(crate) fn figure(&self, name: &str) -> f64 {
        let text = self.request("GET", "/metrics", &[], b"").text();
        let line = text.lines().find(|line| line.starts_with(name));
        line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.stop();
        self.thread.take().map(JoinHandle::join);
    }
}
