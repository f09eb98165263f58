//! Work on the devices: a thread for each, tokens and their sessions in turn, requests of a session together.

use super::metrics::Metrics;
use super::model::Model;
use super::queue::{Computed, Job, Queue, Results, Turn};
use super::sessions::{Sessions, refusal};
use super::store::KeysName;
use crate::problem::{Code, Problem};
use pleura::Session;
use pleura::ckks::Ciphertext;
use pleura::remote::Frame;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;
use tokio::sync::oneshot;

/// Items of a request that wait for the device.
pub(super) struct Work {
    pub(super) name: KeysName,
    pub(super) model: Arc<Model>,
    /// File of the keys.
    pub(super) keys: PathBuf,
    pub(super) frames: Vec<Frame>,
}

/// Queue in front of the devices. Dropping it finishes the work that was accepted.
pub(super) struct Scheduler {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    /// Most requests that wait.
    capacity: usize,
    metrics: Arc<Metrics>,
}

/// Limits of the devices' work.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Most requests that wait.
    pub(super) queue: usize,
    /// Most ciphertext groups in one call of a device.
    pub(super) batch: usize,
}

impl Scheduler {
    /// Starts a thread for each device; `session_bytes` has the most bytes of keys on each.
    pub(super) fn start(
        limits: Limits,
        session_bytes: &[u64],
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let queue = Mutex::new(Queue::new(session_bytes.len()));
        let shared = Arc::new(Shared { queue, changed: Condvar::new(), capacity: limits.queue, metrics });
        let scheduler = Self { shared: shared.clone(), threads: Mutex::default() };
        for (device, &bytes) in session_bytes.iter().enumerate() {
            let sessions = Sessions::new(device, bytes, shared.metrics.clone());
            let mut worker = Worker { shared: shared.clone(), device, sessions, batch: limits.batch.max(1) };
            let thread = thread::Builder::new().name(format!("device {device}"));
            let thread = thread.spawn(move || worker.run())?;
            scheduler.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        }
        Ok(scheduler)
    }

    /// Refuses requests that would wait behind too many others.
    pub(super) fn check_room(&self, owner: &str) -> Result<(), Problem> {
        self.shared.check_room(&self.shared.lock(), owner)
    }

    /// Adds work; the receiver gets its results.
    pub(super) fn submit(&self, work: Work) -> Result<oneshot::Receiver<Results>, Problem> {
        let (reply, results) = oneshot::channel();
        let Work { name, model, keys, frames } = work;
        let mut queue = self.shared.lock();
        self.shared.check_room(&queue, name.owner())?;
        if queue.stopping {
            return Err(Problem::new(Code::Stopping, "the server accepts no more work"));
        }
        let done = Computed { frames: Vec::new(), devices: BTreeSet::new() };
        queue.push(name, Job { model, keys, frames: frames.into(), done, reply });
        self.shared.tell(&queue);
        Ok(results)
    }

    /// Frees the memory of keys that were deleted.
    pub(super) fn close(&self, name: &KeysName) {
        let mut queue = self.shared.lock();
        queue.assignment.close(name);
        self.shared.tell(&queue);
    }

    /// Accepts nothing more, and returns when everything that was accepted is done.
    pub(super) fn stop(&self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_all();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("the thread of a device has panicked");
            }
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the devices after a change of the queue.
    fn tell(&self, queue: &Queue) {
        self.metrics.queued.set(i64::try_from(queue.len()).unwrap_or(i64::MAX));
        self.changed.notify_all();
    }

    fn check_room(&self, queue: &Queue, owner: &str) -> Result<(), Problem> {
        let all = queue.len();
        let own = queue.len_of(owner);
        let detail = if all >= self.capacity {
            format!("{all} requests wait already: try again later")
        } else if own >= self.capacity.div_ceil(2) {
            format!("{own} requests of this token wait already: try again later")
        } else {
            return Ok(());
        };
        Err(Problem::new(Code::Busy, detail))
    }
}

/// Thread of a device.
struct Worker {
    shared: Arc<Shared>,
    /// Number of the device.
    device: usize,
    sessions: Sessions,
    batch: usize,
}

impl Worker {
    fn run(&mut self) {
        while let Some((name, turn)) = self.next_turn() {
            let jobs = unless_it_panics(|| self.compute(&name, turn)).unwrap_or_else(|| {
                // Its jobs are gone, which tells their senders; what the session holds may be half changed.
                self.sessions.close(&name);
                Vec::new()
            });
            self.end_turn(name, jobs);
        }
    }

    /// Waits for the next turn; `None` at the end.
    fn next_turn(&mut self) -> Option<(KeysName, Turn)> {
        let mut queue = self.shared.lock();
        loop {
            for closed in queue.assignment.take_closed(self.device) {
                self.sessions.close(&closed);
            }
            if let Some(turn) = queue.take(self.device, self.batch) {
                // Keys that only this device holds may be taken by others from now on.
                self.shared.tell(&queue);
                return Some(turn);
            }
            if queue.stopping {
                return None;
            }
            queue = self.shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
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
        self.shared.metrics.observe_call(self.device, count, clock.elapsed());
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
            job.done.frames.extend(results.by_ref().take(frames.len()));
            job.done.devices.insert(self.device);
            jobs.push(job);
        }
        jobs
    }

    /// Answers requests that are done, and puts back those that have more frames.
    fn end_turn(&self, name: KeysName, jobs: Vec<Job>) {
        let mut unfinished = Vec::new();
        for job in jobs {
            if job.frames.is_empty() {
                let _ = job.reply.send(Ok(job.done));
            } else {
                unfinished.push(job);
            }
        }
        let mut queue = self.shared.lock();
        queue.assignment.end(self.device, self.sessions.names());
        queue.put_back(name, unfinished);
        self.shared.tell(&queue);
    }
}

/// The result of a computation, if it has one: with its thread a device would be gone, and clients would wait for ever.
fn unless_it_panics<T>(compute: impl FnOnce() -> T) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(compute));
    if result.is_err() {
        tracing::error!("a computation has panicked: its requests are refused");
    }
    result.ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computations_that_panic_have_no_result() {
        assert_eq!(unless_it_panics(|| 7), Some(7));
        let (reply, results) = oneshot::channel::<Results>();
        let none = unless_it_panics(|| {
            let _job = reply;
            panic!("as it should")
        });
        assert_eq!(none, None::<()>);
        assert!(results.blocking_recv().is_err(), "the sender of its job waits");
    }
}
