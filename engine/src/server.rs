//! Server without type parameters: code for every kind of device is instantiated here, once.

use crate::any_backend::AnyBackend;
use crate::device::{Device, DeviceError};
use pleura_ckks::{Ciphertext, EvaluationKeys, KeyLoadError};
use pleura_nn::{InferenceError, ServerPlan};
use std::io::Read;
use std::sync::Arc;

/// A plan on a device that was chosen at run time, ready for the keys of any number of clients. Clones share both.
#[derive(Clone)]
pub struct Server(pleura_nn::Server<AnyBackend>);

/// A client's evaluation keys on the device of a [`Server`]. Dropping a session frees the memory of its keys.
pub struct Session {
    inner: pleura_nn::Session<AnyBackend>,
    /// Most ciphertexts that a GPU has memory for at a time, if that is known.
    at_once: Option<usize>,
}

/// Failure of a device, or between a plan and its result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The device cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The inference failed.
    #[error(transparent)]
    Inference(#[from] InferenceError),
}

impl Server {
    /// Brings the weights and constants of a plan to a device.
    ///
    /// # Errors
    /// [`PipelineError::Device`] if the device cannot be made ready for the plan's ring, [`PipelineError::Inference`]
    /// if it has no memory left.
    pub fn new(plan: impl Into<Arc<ServerPlan>>, device: &Device) -> Result<Self, PipelineError> {
        let plan = plan.into();
        let backend = device.backend(plan.params().ring())?;
        Ok(Self(pleura_nn::Server::new(plan, backend)?))
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<ServerPlan> {
        self.0.plan()
    }

    /// Brings a client's keys to the device.
    ///
    /// # Errors
    /// [`InferenceError::Eval`] if a key is missing, the keys belong to other parameters, or the device has no memory
    /// left.
    pub fn open_session(&self, keys: EvaluationKeys) -> Result<Session, InferenceError> {
        Ok(self.session(self.0.open_session(keys)?))
    }

    /// Reads a client's keys, the bytes of [`EvaluationKeys`], to the device: each while those after it are read. Keys of a file have
    /// more around them, which [`remote::load_session`](crate::remote::load_session) checks.
    ///
    /// # Errors
    /// [`KeyLoadError`]
    pub fn load_session(&self, keys: impl Read + Send) -> Result<Session, KeyLoadError> {
        Ok(self.session(self.0.load_session(keys)?))
    }

    fn session(&self, inner: pleura_nn::Session<AnyBackend>) -> Session {
        let plan = self.plan();
        let limit = self.0.backend().memory_limit();
        let at_once = limit.map(|limit| groups_at_once(plan, limit) * plan.input_ciphertexts());
        Session { inner, at_once }
    }
}

/// Most groups of items, a power of two, for which the plan is predicted to take no more than this much memory; at least one.
fn groups_at_once(plan: &ServerPlan, limit: u64) -> usize {
    let powers = (1..=MAX_LOG_GROUPS).map(|log| 1 << log);
    powers.take_while(|&groups| plan.device_bytes(groups) as u64 <= limit).last().unwrap_or(1)
}

/// Logarithm of the most groups at a time.
const MAX_LOG_GROUPS: u32 = 10;

impl Session {
    /// The plan of the server.
    pub fn plan(&self) -> &Arc<ServerPlan> {
        self.inner.plan()
    }

    /// The results for the ciphertexts of some items, one item after the other. Items that a GPU has no memory for follow the others.
    ///
    /// # Errors
    /// [`InferenceError::CiphertextCount`], [`InferenceError::CiphertextForm`], [`InferenceError::Eval`]
    pub fn infer(&self, ciphertexts: &[Ciphertext]) -> Result<Vec<Ciphertext>, InferenceError> {
        self.infer_observed(ciphertexts, &mut |_| ())
    }

    /// As [`Session::infer`]; `observe` receives the position of each step in the report's layers as soon as it is
    /// recorded, which on a device that works in the background is before it is done: once for each part of the items that the device has
    /// memory for.
    ///
    /// # Errors
    /// As for [`Session::infer`].
    pub fn infer_observed(
        &self,
        ciphertexts: &[Ciphertext],
        observe: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Vec<Ciphertext>, InferenceError> {
        let at_once = self.at_once.unwrap_or(ciphertexts.len());
        let is_whole = ciphertexts.len().is_multiple_of(self.plan().input_ciphertexts());
        if ciphertexts.len() <= at_once || !is_whole {
            return self.inner.infer(ciphertexts, &mut |step, _| observe(step));
        }
        let mut results = Vec::new();
        for part in ciphertexts.chunks(at_once) {
            results.extend(self.inner.infer(part, &mut |step, _| observe(step))?);
        }
        Ok(results)
    }

    /// Waits until the device has done everything that was asked of it.
    ///
    /// # Errors
    /// [`InferenceError::Eval`] if the device failed since the last wait.
    pub fn wait(&self) -> Result<(), InferenceError> {
        self.inner.wait()
    }
}
