//! Clients' keys on a device.

use super::metrics::Metrics;
use super::model::Model;
use super::store::{KeysName, cannot_store};
use crate::problem::{Code, Problem};
use pleura::Session;
use pleura::ckks::BackendError;
use pleura::nn::InferenceError;
use pleura::remote::{RemoteError, load_session};
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

/// Sessions on a device; the least recently used ones make room for others.
pub(super) struct Sessions {
    /// Number of the device.
    device: usize,
    /// The most recently used one is last.
    open: Vec<(KeysName, Session, u64)>,
    limit: u64,
    metrics: Arc<Metrics>,
}

impl Sessions {
    /// No sessions; `limit` is the most bytes of their keys.
    pub(super) fn new(device: usize, limit: u64, metrics: Arc<Metrics>) -> Self {
        Self { device, open: Vec::new(), limit, metrics }
    }

    /// The session of stored keys, which are loaded if they are not on the device.
    pub(super) fn get(&mut self, name: &KeysName, model: &Model, keys: &Path) -> Result<&Session, Problem> {
        let opened = match self.open.iter().position(|(open, ..)| open == name) {
            Some(at) => self.open.remove(at),
            None => {
                let session = self.load(model, keys)?;
                self.metrics.sessions.inc();
                (name.clone(), session, model.session_bytes)
            }
        };
        self.open.push(opened);
        let last = self.open.last().map(|(_, session, _)| session);
        last.ok_or_else(|| Problem::new(Code::Internal, "a session was lost"))
    }

    /// Names of the sessions.
    pub(super) fn names(&self) -> impl Iterator<Item = &KeysName> {
        self.open.iter().map(|(name, ..)| name)
    }

    /// Frees the memory of keys.
    pub(super) fn close(&mut self, name: &KeysName) {
        if let Some(at) = self.open.iter().position(|(open, ..)| open == name) {
            self.open.remove(at);
            self.metrics.sessions.dec();
        }
    }

    fn load(&mut self, model: &Model, path: &Path) -> Result<Session, Problem> {
        while self.bytes() + model.session_bytes > self.limit && !self.open.is_empty() {
            self.evict();
        }
        loop {
            let server = model.server(self.device)?;
            let read =
                File::open(path).map_err(RemoteError::from).and_then(|file| load_session(file, server));
            if matches!(read, Ok(_) | Err(RemoteError::Inference(_))) {
                self.metrics.loads.inc();
            }
            match read {
                Ok((session, _)) => return Ok(session),
                Err(RemoteError::Inference(error)) if is_full(&error) && !self.open.is_empty() => {
                    self.evict()
                }
                Err(RemoteError::Inference(error)) => return Err(refusal(&error)),
                Err(RemoteError::Io(error)) if error.kind() != ErrorKind::NotFound => {
                    return Err(cannot_store(error));
                }
                Err(error) => {
                    tracing::error!(%error, "stored keys cannot be read");
                    let detail = "the stored keys cannot be read: upload them again";
                    return Err(Problem::new(Code::UnknownKeys, detail));
                }
            }
        }
    }

    fn bytes(&self) -> u64 {
        self.open.iter().map(|(.., bytes)| bytes).sum()
    }

    fn evict(&mut self) {
        self.open.remove(0);
        self.metrics.sessions.dec();
        self.metrics.evictions.inc();
    }
}

fn is_full(error: &InferenceError) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if matches!(pleura::backend_failure(error), Some(BackendError::OutOfMemory { .. })) {
            return true;
        }
        source = error.source();
    }
    false
}

/// The problem that a client receives for a failure.
pub(super) fn refusal(error: &InferenceError) -> Problem {
    match error {
        InferenceError::CiphertextCount { .. } | InferenceError::CiphertextForm { .. } => {
            Problem::new(Code::ItemsRefused, error)
        }
        _ => {
            tracing::error!(%error, "the device failed");
            Problem::new(Code::DeviceFailed, "the device failed on this request")
        }
    }
}
