//! Client and server in one process over one plan, with the seconds of each stage.

use crate::device::Device;
use crate::server::{PipelineError, Server, Session};
use ndarray::{ArrayD, ArrayView, Axis, Dimension};
use pleura_ckks::{Ciphertext, EvaluationKeys};
use pleura_nn::{Client, InferenceError, Plan};
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;

/// A client and its session on a server, in one process over one plan. It serves one-machine programs, tests and
/// benchmarks; apart, [`Client`] and [`Server`] exchange bytes.
pub struct Pipeline {
    client: Arc<Client>,
    session: Session,
    times: StageTimes,
    layers: usize,
}

/// Results of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Results `[items, ..output shape]` as they may be shown to others, rounded by [`Client::publish`].
    pub published: ArrayD<f64>,
    /// Results with all their digits, for the owner of the key alone.
    pub unrounded: ArrayD<f64>,
    /// Seconds of this run's stages; zero for those that happen once.
    pub times: StageTimes,
    /// Seconds of each step in the order of the report's layers; empty unless the run was profiled.
    pub layer_seconds: Vec<f64>,
}

/// Seconds of each stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct StageTimes {
    /// Compilation of the plan, or reading it from a cache.
    pub compile: f64,
    /// Making keys, and bringing them and the weights to the device.
    pub keys: f64,
    /// Encoding and encryption.
    pub encrypt: f64,
    /// Computation on ciphertexts, transfers to and from the device included.
    pub infer: f64,
    /// Decryption and rounding.
    pub decrypt: f64,
}

/// Items without a first axis were encrypted, although they are refused.
const NO_AXIS: InferenceError = InferenceError::Internal("items without an axis were encrypted");

impl Pipeline {
    /// Makes keys and brings the plan and the keys to a device.
    ///
    /// # Errors
    /// [`PipelineError`]
    pub fn new(plan: &Plan, device: &Device) -> Result<Self, PipelineError> {
        let clock = Instant::now();
        let client = Client::new(plan.client_spec().clone())?;
        let keys = client.evaluation_keys()?;
        let mut pipeline = Self::with_client(plan, device, Arc::new(client), keys)?;
        pipeline.times.keys = clock.elapsed().as_secs_f64();
        Ok(pipeline)
    }

    /// Brings a plan and the keys of an existing client to a device.
    ///
    /// # Errors
    /// [`PipelineError`]
    pub fn with_client(
        plan: &Plan,
        device: &Device,
        client: Arc<Client>,
        keys: EvaluationKeys,
    ) -> Result<Self, PipelineError> {
        let clock = Instant::now();
        let session = Server::new(plan.server_plan().clone(), device)?.open_session(keys)?;
        session.wait()?;
        let times = StageTimes { keys: clock.elapsed().as_secs_f64(), ..StageTimes::default() };
        Ok(Self { client, session, times, layers: plan.report().layers.len() })
    }

    /// The client, with its secret key.
    pub fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// The client's session on the server.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Seconds of the stages that happened once: keys.
    pub fn times(&self) -> &StageTimes {
        &self.times
    }

    /// Runs the plan on `items`, `[items, ..input shape]`.
    ///
    /// # Errors
    /// [`InferenceError`]
    pub fn run<D: Dimension>(&self, items: ArrayView<'_, f64, D>) -> Result<Outcome, InferenceError> {
        let mut times = StageTimes::default();
        let count = items.shape().first().copied();
        let sent = timed(&mut times.encrypt, || self.client.encrypt(items))?;
        let received = timed(&mut times.infer, || self.session.infer(&sent))?;
        let mut outcome = self.decrypt(&received, count.ok_or(NO_AXIS)?)?;
        outcome.times += times;
        Ok(outcome)
    }

    /// Runs the plan on `items`, `[items, ..input shape]`, and measures each step; `observe` receives the position of
    /// each step that is done. The device is waited for after each step, so it works less in parallel than in
    /// [`Pipeline::run`].
    ///
    /// # Errors
    /// [`InferenceError`]
    pub fn profile<D: Dimension>(
        &self,
        items: ArrayView<'_, f64, D>,
        observe: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Outcome, InferenceError> {
        let mut times = StageTimes::default();
        let count = items.shape().first().copied();
        let sent = timed(&mut times.encrypt, || self.client.encrypt(items))?;
        let (received, layer_seconds) = timed(&mut times.infer, || self.profile_ciphertexts(&sent, observe))?;
        let mut outcome = self.decrypt(&received, count.ok_or(NO_AXIS)?)?;
        outcome.times += times;
        Ok(Outcome { layer_seconds, ..outcome })
    }

    /// As [`Session::infer`], with the seconds of each step in the order of the report's layers; `observe` receives
    /// the position of each step that is done.
    ///
    /// # Errors
    /// [`InferenceError`]
    pub fn profile_ciphertexts(
        &self,
        ciphertexts: &[Ciphertext],
        observe: &mut (dyn FnMut(usize) + Send),
    ) -> Result<(Vec<Ciphertext>, Vec<f64>), InferenceError> {
        let mut seconds = vec![0.0; self.layers];
        let mut waited = Ok(());
        let mut clock = Instant::now();
        let received = self.session.infer_observed(ciphertexts, &mut |step| {
            let done = self.session.wait();
            if waited.is_ok() {
                waited = done;
            }
            match seconds.get_mut(step) {
                Some(seconds) => *seconds += clock.elapsed().as_secs_f64(),
                None => waited = Err(InferenceError::Internal("a step is none of the report's layers")),
            }
            clock = Instant::now();
            observe(step);
        })?;
        // A device reports an error once: results that followed it are not to be used.
        waited?;
        Ok((received, seconds))
    }

    /// Decrypts the results of a group, of which the first `count` items count: the last group may hold fewer items than it has
    /// room for. The seconds are those of decryption alone.
    ///
    /// # Errors
    /// [`InferenceError`]
    pub fn decrypt(&self, received: &[Ciphertext], count: usize) -> Result<Outcome, InferenceError> {
        let mut times = StageTimes::default();
        let mut published = timed(&mut times.decrypt, || self.client.publish(received))?;
        let mut unrounded = self.client.decrypt_unrounded(received)?;
        for results in [&mut published, &mut unrounded] {
            if count > results.len_of(Axis(0)) {
                return Err(InferenceError::Internal("a group has fewer results than items"));
            }
            results.slice_axis_inplace(Axis(0), (..count).into());
        }
        Ok(Outcome { published, unrounded, times, layer_seconds: Vec::new() })
    }
}

impl std::ops::AddAssign for StageTimes {
    fn add_assign(&mut self, other: Self) {
        self.compile += other.compile;
        self.keys += other.keys;
        self.encrypt += other.encrypt;
        self.infer += other.infer;
        self.decrypt += other.decrypt;
    }
}

/// Adds the seconds of some work to a sum.
pub(crate) fn timed<T>(sum: &mut f64, work: impl FnOnce() -> T) -> T {
    let clock = Instant::now();
    let result = work();
    *sum += clock.elapsed().as_secs_f64();
    result
}
