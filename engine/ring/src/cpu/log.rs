//! Lengths of tasks on one thread, from which schedules on more cores can be computed.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Tasks that may run at the same time; all of them end before anything that follows.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskList {
    /// Seconds of each task, in order.
    pub seconds: Vec<f64>,
    /// Whether the tasks are too short to be worth waking threads for.
    pub serial: bool,
}

/// Task lists of a device since they were taken last.
#[derive(Default)]
pub(super) struct TaskLog(Mutex<Vec<TaskList>>);

impl TaskLog {
    /// Takes the lists.
    pub(super) fn take(&self) -> Vec<TaskList> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

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
