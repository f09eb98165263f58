//! Lengths of tasks on one thread, from which schedules on more cores can be computed.

use super::device::Cpu;
use super::simd::Simd;
use crate::{Ring, RingError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Tasks that may run at the same time; all of them end before anything that follows.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskList {
    /// Seconds of each task, in order.
    pub seconds: Vec<f64>,
    /// Whether the tasks are too short to be worth waking threads for.
    pub serial: bool,
}

/// Task lists of a [`Cpu`] since they were taken last.
#[derive(Default)]
pub(super) struct TaskLog(Mutex<Vec<TaskList>>);

impl Cpu {
    /// A device of one thread that notes how long each task takes.
    ///
    /// # Errors
    /// [`RingError::BadSimd`] if this processor lacks the set.
    pub fn logging(ring: Arc<Ring>, simd: Simd) -> Result<Self, RingError> {
        Ok(Self { log: Some(TaskLog::default()), ..Self::with(ring, simd, 1)? })
    }

    /// Takes what a [`Cpu::logging`] has noted; any other device has nothing.
    pub fn take_log(&self) -> Vec<TaskList> {
        let Some(TaskLog(lists)) = &self.log else { return Vec::new() };
        std::mem::take(&mut *lists.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl TaskLog {
    /// Runs tasks one after the other.
    pub(super) fn run<T>(&self, tasks: Vec<T>, serial: bool, run: impl Fn(T)) {
        let seconds = tasks.into_iter().map(|task| {
            let clock = Instant::now();
            run(task);
            clock.elapsed().as_secs_f64()
        });
        let list = TaskList { seconds: seconds.collect(), serial };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(list);
    }
}
