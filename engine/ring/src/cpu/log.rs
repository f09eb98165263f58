//! Lengths of tasks on one thread, from which schedules on more cores can be computed.

use std::sync::atomic::{AtomicBool, Ordering};
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
pub(super) struct TaskLog {
    lists: Mutex<Vec<TaskList>>,
    /// Whether a task is running: lists within it are a part of it.
    running: AtomicBool,
}

impl TaskLog {
    /// Takes the lists.
    pub(super) fn take(&self) -> Vec<TaskList> {
        std::mem::take(&mut *self.lists.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Runs tasks one after the other.
    pub(super) fn run<T>(&self, tasks: Vec<T>, serial: bool, run: impl Fn(T)) {
        if self.running.swap(true, Ordering::Relaxed) {
            tasks.into_iter().for_each(run);
            return;
        }
        let seconds = tasks.into_iter().map(|task| {
            let clock = Instant::now();
            run(task);
            clock.elapsed().as_secs_f64()
        });
        let list = TaskList { seconds: seconds.collect(), serial };
        self.running.store(false, Ordering::Relaxed);
        self.lists.lock().unwrap_or_else(PoisonError::into_inner).push(list);
    }
}
