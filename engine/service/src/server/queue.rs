//! Requests that wait for devices.

use super::assignment::Assignment;
use super::model::Model;
use super::store::KeysName;
use crate::problem::Problem;
use pleura::remote::Frame;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Results of a request, or why there are none.
pub(super) type Results = Result<Computed, Problem>;

/// Results of a request, and the numbers of the devices that computed them.
pub(super) struct Computed {
    pub(super) frames: Vec<Frame>,
    pub(super) devices: BTreeSet<usize>,
}

/// A request, and how far it is.
pub(super) struct Job {
    pub(super) model: Arc<Model>,
    /// File of the keys.
    pub(super) keys: PathBuf,
    /// Inputs that no device has computed.
    pub(super) frames: VecDeque<Frame>,
    pub(super) done: Computed,
    pub(super) reply: oneshot::Sender<Results>,
}

/// Requests by the keys that they need.
pub(super) struct Queue {
    pub(super) assignment: Assignment,
    waiting: HashMap<KeysName, VecDeque<Job>>,
    /// Nothing more is accepted.
    pub(super) stopping: bool,
}

/// One call of a device: requests of a session, each with the frames of this turn.
pub(super) type Turn = Vec<(Job, Vec<Frame>)>;

impl Queue {
    pub(super) fn new(devices: usize) -> Self {
        Self { assignment: Assignment::new(devices), waiting: HashMap::new(), stopping: false }
    }

    /// Adds a request.
    pub(super) fn push(&mut self, name: KeysName, job: Job) {
        self.assignment.push(name.clone());
        self.waiting.entry(name).or_default().push_back(job);
    }

    /// Number of requests that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.values().map(VecDeque::len).sum()
    }

    /// Number of requests of a token that wait.
    pub(super) fn len_of(&self, owner: &str) -> usize {
        self.waiting.iter().filter(|(name, _)| name.owner() == owner).map(|(_, jobs)| jobs.len()).sum()
    }

    /// The next turn of a device: as many frames of a session's oldest requests as fit.
    pub(super) fn take(&mut self, device: usize, most: usize) -> Option<(KeysName, Turn)> {
        let name = self.assignment.next(device)?;
        let jobs = self.waiting.entry(name.clone()).or_default();
        let mut turn = Turn::new();
        let mut room = most;
        while room > 0
            && let Some(mut job) = jobs.pop_front()
        {
            let frames: Vec<Frame> = job.frames.drain(..room.min(job.frames.len())).collect();
            room -= frames.len();
            turn.push((job, frames));
        }
        // Another device may go on with the rest.
        if jobs.is_empty() {
            self.waiting.remove(&name);
        } else {
            self.assignment.push(name.clone());
        }
        Some((name, turn))
    }

    /// Puts requests with more frames in front of the others of their session.
    pub(super) fn put_back(&mut self, name: KeysName, jobs: Vec<Job>) {
        if !jobs.is_empty() {
            let waiting = self.waiting.entry(name.clone()).or_default();
            jobs.into_iter().rev().for_each(|job| waiting.push_front(job));
            self.assignment.push(name);
        }
    }
}
