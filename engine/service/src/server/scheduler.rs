//! Work on the device: one thread, tokens and their sessions in turn, requests of a session together.

use super::metrics::Metrics;
use super::model::Model;
use super::rotation::Rotation;
use super::store::KeysName;
use crate::problem::{Code, Problem};
use pleura::Session;
use pleura::ckks::{BackendError, Ciphertext};
use pleura::nn::InferenceError;
use pleura::remote::{Frame, RemoteError, read_keys};
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;
use tokio::sync::oneshot;

/// Results of a request, frame by frame.
pub(super) type Results = Result<Vec<Frame>, Problem>;

/// Items of a request that wait for the device.
pub(super) struct Work {
    pub(super) name: KeysName,
    pub(super) model: Arc<Model>,
    /// File of the keys.
    pub(super) keys: PathBuf,
    pub(super) frames: Vec<Frame>,
}

/// Queue in front of the device. Dropping it finishes the work that was accepted.
pub(super) struct Scheduler {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Most requests that wait.
    capacity: usize,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct State {
    /// Sessions with work.
    rotation: Rotation,
    waiting: HashMap<KeysName, VecDeque<Job>>,
    /// Keys that were deleted.
    closed: Vec<KeysName>,
    requests: usize,
    stopping: bool,
}

struct Job {
    model: Arc<Model>,
    keys: PathBuf,
    frames: VecDeque<Frame>,
    done: Vec<Frame>,
    reply: oneshot::Sender<Results>,
}

/// Limits of the device's work.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Most requests that wait.
    pub(super) queue: usize,
    /// Most ciphertext groups in one call of the device.
    pub(super) batch: usize,
    /// Most bytes of keys on the device.
    pub(super) session_bytes: u64,
}

impl Scheduler {
    /// Starts the thread.
    pub(super) fn start(limits: Limits, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            capacity: limits.queue,
            metrics,
        });
        let sessions =
            Sessions { open: Vec::new(), limit: limits.session_bytes, metrics: shared.metrics.clone() };
        let mut worker = Worker { shared: shared.clone(), sessions, batch: limits.batch.max(1) };
        let thread = thread::Builder::new().name("device".into()).spawn(move || worker.run())?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Refuses requests that would wait behind too many others.
    pub(super) fn check_room(&self, owner: &str) -> Result<(), Problem> {
        self.shared.check_room(&self.shared.lock(), owner)
    }

    /// Adds work; the receiver gets its results.
    pub(super) fn submit(&self, work: Work) -> Result<oneshot::Receiver<Results>, Problem> {
        let (reply, results) = oneshot::channel();
        let Work { name, model, keys, frames } = work;
        let mut state = self.shared.lock();
        self.shared.check_room(&state, name.owner())?;
        if state.stopping {
            return Err(Problem::new(Code::Stopping, "the server accepts no more work"));
        }
        let job = Job { model, keys, frames: frames.into(), done: Vec::new(), reply };
        state.requests += 1;
        self.shared.metrics.queued.set(state.requests as i64);
        state.rotation.push(name.clone());
        state.waiting.entry(name).or_default().push_back(job);
        self.shared.changed.notify_one();
        Ok(results)
    }

    /// Frees the memory of keys that were deleted.
    pub(super) fn close(&self, name: KeysName) {
        self.shared.lock().closed.push(name);
        self.shared.changed.notify_one();
    }

    /// Accepts nothing more, and returns when everything that was accepted is done.
    pub(super) fn stop(&self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the device has panicked");
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_room(&self, state: &State, owner: &str) -> Result<(), Problem> {
        let waiting = state.waiting.iter().filter(|(name, _)| name.owner() == owner);
        let own: usize = waiting.map(|(_, jobs)| jobs.len()).sum();
        let detail = if state.requests >= self.capacity {
            format!("{} requests wait already: try again later", state.requests)
        } else if own >= self.capacity.div_ceil(2) {
            format!("{own} requests of this token wait already: try again later")
        } else {
            return Ok(());
        };
        Err(Problem::new(Code::Busy, detail))
    }
}

struct Worker {
    shared: Arc<Shared>,
    sessions: Sessions,
    batch: usize,
}

/// One call of the device: requests of a session, each with the frames of this turn.
type Turn = Vec<(Job, Vec<Frame>)>;

impl Worker {
    fn run(&mut self) {
        while let Some((name, turn)) = self.next_turn() {
            let turn = self.compute(&name, turn);
            self.end_turn(name, turn);
        }
    }

    /// The next session's turn: as many frames of its oldest requests as fit; `None` at the end.
    fn next_turn(&mut self) -> Option<(KeysName, Turn)> {
        let mut state = self.shared.lock();
        let name = loop {
            for closed in std::mem::take(&mut state.closed) {
                self.sessions.close(&closed);
            }
            match state.rotation.pop() {
                Some(name) => break name,
                None if state.stopping => return None,
                None => state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        };
        let mut turn = Turn::new();
        let mut room = self.batch;
        let jobs = state.waiting.entry(name.clone()).or_default();
        while room > 0
            && let Some(mut job) = jobs.pop_front()
        {
            let frames: Vec<Frame> = job.frames.drain(..room.min(job.frames.len())).collect();
            room -= frames.len();
            turn.push((job, frames));
        }
        Some((name, turn))
    }

    /// Runs the frames of a turn; jobs that fail are answered and left out.
    fn compute(&mut self, name: &KeysName, mut turn: Turn) -> Vec<Job> {
        turn.retain(|(job, _)| !job.reply.is_closed());
        let Some((first, _)) = turn.first() else { return Vec::new() };
        let model = first.model.clone();
        let session = match self.sessions.get(name, &model, &first.keys) {
            Ok(session) => session,
            Err(problem) => {
                turn.into_iter().for_each(|(job, _)| drop(job.reply.send(Err(problem.clone()))));
                return Vec::new();
            }
        };
        let clock = Instant::now();
        let frames = turn.iter().flat_map(|(_, frames)| frames);
        let together = infer(session, &model, frames.clone());
        let count = frames.count();
        self.shared.metrics.observe_call(count, clock.elapsed());
        let mut results = match together {
            Ok(results) => results.into_iter(),
            // One request's ciphertexts are no reason to refuse those of another.
            Err(_) if turn.len() > 1 => {
                let alone = turn.into_iter().map(|pair| self.compute(name, vec![pair]));
                return alone.flatten().collect();
            }
            Err(problem) => {
                turn.into_iter().for_each(|(job, _)| drop(job.reply.send(Err(problem.clone()))));
                return Vec::new();
            }
        };
        let mut jobs = Vec::new();
        for (mut job, frames) in turn {
            job.done.extend(results.by_ref().take(frames.len()));
            jobs.push(job);
        }
        jobs
    }

    /// Answers requests that are done, and puts the session behind the others if it has more.
    fn end_turn(&self, name: KeysName, jobs: Vec<Job>) {
        let mut unfinished = Vec::new();
        for job in jobs {
            if job.frames.is_empty() {
                let _ = job.reply.send(Ok(job.done));
            } else {
                unfinished.push(job);
            }
        }
        let mut state = self.shared.lock();
        if let Some(waiting) = state.waiting.get_mut(&name) {
            unfinished.into_iter().rev().for_each(|job| waiting.push_front(job));
            if waiting.is_empty() {
                state.waiting.remove(&name);
            } else {
                state.rotation.push(name);
            }
        }
        state.requests = state.waiting.values().map(VecDeque::len).sum();
        self.shared.metrics.queued.set(state.requests as i64);
    }
}

/// Results of frames in one call of the device.
fn infer<'f>(
    session: &Session,
    model: &Model,
    frames: impl Iterator<Item = &'f Frame> + Clone,
) -> Result<Vec<Frame>, Problem> {
    let inputs: Vec<Ciphertext> =
        frames.clone().flat_map(|frame| frame.ciphertexts.iter().cloned()).collect();
    let outputs = session.infer(&inputs).map_err(|error| refusal(&error))?;
    let mut outputs = outputs.into_iter();
    let results = frames.map(|frame| {
        let ciphertexts: Vec<_> = outputs.by_ref().take(model.output_ciphertexts).collect();
        Frame { note: frame.note.clone(), ciphertexts }
    });
    Ok(results.collect())
}

fn refusal(error: &InferenceError) -> Problem {
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

/// Sessions on the device; the least recently used ones make room for others.
struct Sessions {
    /// The most recently used one is last.
    open: Vec<(KeysName, Session, u64)>,
    limit: u64,
    metrics: Arc<Metrics>,
}

impl Sessions {
    fn get(&mut self, name: &KeysName, model: &Model, keys: &PathBuf) -> Result<&Session, Problem> {
        let opened = match self.open.iter().position(|(open, ..)| open == name) {
            Some(at) => self.open.remove(at),
            None => (name.clone(), self.load(model, keys)?, model.session_bytes),
        };
        self.open.push(opened);
        self.metrics.sessions.set(self.open.len() as i64);
        let last = self.open.last().map(|(_, session, _)| session);
        last.ok_or_else(|| Problem::new(Code::Internal, "a session was lost"))
    }

    fn close(&mut self, name: &KeysName) {
        self.open.retain(|(open, ..)| open != name);
        self.metrics.sessions.set(self.open.len() as i64);
    }

    fn load(&mut self, model: &Model, path: &PathBuf) -> Result<Session, Problem> {
        while self.bytes() + model.session_bytes > self.limit && !self.open.is_empty() {
            self.evict();
        }
        loop {
            let read = File::open(path)
                .map_err(RemoteError::from)
                .and_then(|file| read_keys(BufReader::new(file), model.server.plan()));
            let (keys, _) = read.map_err(|error| {
                tracing::error!(%error, "stored keys cannot be read");
                Problem::new(Code::UnknownKeys, "the stored keys cannot be read: upload them again")
            })?;
            self.metrics.loads.inc();
            match model.server.open_session(keys) {
                Err(error) if is_full(&error) && !self.open.is_empty() => self.evict(),
                opened => return opened.map_err(|error| refusal(&error)),
            }
        }
    }

    fn bytes(&self) -> u64 {
        self.open.iter().map(|(.., bytes)| bytes).sum()
    }

    fn evict(&mut self) {
        self.open.remove(0);
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
