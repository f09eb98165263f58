//! Server: models on devices, clients' keys on disk, a queue in front of the devices. No secret key comes here.

mod addresses;
mod app;
mod assignment;
mod body;
mod error;
mod infer;
mod keys;
mod linger;
mod listen;
mod memory;
mod metrics;
mod model;
mod queue;
mod receipts;
mod results;
mod rotation;
mod routes;
mod running;
mod scheduler;
mod sessions;
mod store;
mod tls;
mod tokens;

pub use error::ServiceError;
pub use listen::Stop;
pub use routes::openapi;
pub use tls::{Tls, certificate_is_for, self_signed};
pub use tokens::new_token;

use app::App;
use metrics::Metrics;
use pleura::Device;
use pleura::nn::ServerPlan;
use pleura::remote::ClientBundle;
use scheduler::Scheduler;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use store::Store;
use tokens::Tokens;
use tokio::sync::Semaphore;

/// Files and limits of a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder of clients' keys and of results that may be asked for again.
    pub folder: PathBuf,
    /// File of names and digests of tokens, see [`new_token`].
    pub tokens: PathBuf,
    /// Limits.
    pub limits: Limits,
}

/// Limits of what clients may ask for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most bytes of stored keys of a token.
    pub quota_bytes: u64,
    /// Most bytes of a request for inference.
    pub max_request_bytes: u64,
    /// Most bytes of memory for requests and results that are sent; requests beyond are refused as busy. A token gets
    /// half of it, and a request takes eight times its length.
    pub memory_bytes: u64,
    /// Most requests that wait for a device; a token gets half of them.
    pub queue: usize,
    /// Most ciphertext groups of a session in one call of a device.
    pub batch: usize,
    /// Age at which unused keys are deleted.
    pub keys_age: Duration,
    /// Age at which uploads that nobody finished are deleted.
    pub upload_age: Duration,
    /// Age at which results are deleted.
    pub results_age: Duration,
    /// Most bytes of results that are kept.
    pub results_bytes: u64,
    /// Most connections at a time; an address gets half of them.
    pub connections: usize,
    /// Longest pause of a sender or receiver, and longest time of a handshake and of headers.
    pub idle: Duration,
    /// Longest time that a stop waits for open connections before it accepts no more work from them. Accepted work is
    /// finished however long it takes, and its results have the time `idle` to be sent.
    pub grace: Duration,
}

/// A device of a server.
#[derive(Clone)]
pub struct ServerDevice {
    /// The device.
    pub device: Device,
    /// Most bytes of keys on the device; the least recently used ones make room.
    pub session_bytes: u64,
}

/// A server that is ready to listen.
pub struct Service {
    app: Arc<App>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            quota_bytes: 1 << 30,
            max_request_bytes: 64 << 20,
            memory_bytes: 2 << 30,
            queue: 64,
            batch: 4,
            keys_age: Duration::from_secs(30 * 86400),
            upload_age: Duration::from_secs(86400),
            results_age: Duration::from_secs(3600),
            results_bytes: 1 << 30,
            connections: 512,
            idle: Duration::from_secs(30),
            grace: Duration::from_secs(60),
        }
    }
}

impl Service {
    /// Brings models to devices, and opens the folder of keys. A client's keys are loaded to the device that takes its
    /// first request, and to another one only when that would be idle while the first computes.
    ///
    /// # Errors
    /// [`ServiceError`]
    pub fn new(
        models: Vec<(ServerPlan, ClientBundle)>,
        devices: &[ServerDevice],
        options: &Options,
    ) -> Result<Self, ServiceError> {
        if devices.is_empty() {
            return Err(ServiceError::NoDevice);
        }
        let Options { folder, tokens, limits } = options;
        let tokens = Tokens::open(tokens)?;
        let store = Store::open(folder)?;
        let place = folder.join("results");
        let results = results::ResultStore::open(&place, limits.results_bytes, limits.results_age)?;
        let receipts = receipts::Receipts::open(folder)?;
        let started: Vec<_> = devices.iter().map(|one| one.device.clone()).collect();
        let models = model::load(models, &started, limits.max_request_bytes, &receipts.signer())?;
        let metrics = Arc::new(Metrics::new());
        let queue = scheduler::Limits { queue: limits.queue, batch: limits.batch };
        let bytes: Vec<_> = devices.iter().map(|one| one.session_bytes).collect();
        let scheduler = Scheduler::start(queue, &bytes, metrics.clone()).map_err(ServiceError::Threads)?;
        let app = App {
            models,
            devices: started.iter().map(Device::name).collect(),
            tokens,
            store,
            results,
            receipts,
            scheduler,
            metrics,
            limits: limits.clone(),
            running: running::Running::default(),
            uploads: std::sync::Mutex::default(),
            memory: memory::Memory::new(limits.memory_bytes),
            checking: Arc::new(Semaphore::new(1)),
            stopping: AtomicBool::new(false),
        };
        Ok(Self { app: Arc::new(app) })
    }

    /// Answers requests until it is asked to stop, and then finishes those that were accepted.
    ///
    /// # Errors
    /// [`ServiceError::Listen`], [`ServiceError::Threads`]
    pub fn serve(self, listener: TcpListener, tls: &Tls, stop: &Stop) -> Result<(), ServiceError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(ServiceError::Threads)?;
        runtime.block_on(listen::serve(self.app, listener, tls, stop))
    }
}
