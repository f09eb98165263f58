//! Lengths of tasks on one thread, from which schedules on more cores can be computed.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Tasks that may run at the same time; all of them end before anything that follows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskList {
    /// The tasks, in order.
    pub tasks: Vec<Task>,
    /// Whether the tasks are too short to be worth waking threads for.
    pub serial: bool,
}

/// A task of one thread, parts of which other threads may take.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Task {
    /// Seconds of the task, its parts included.
    pub seconds: f64,
    /// Seconds of the parts of each split: all parts end before the next split begins.
    pub splits: Vec<Vec<f64>>,
}

/// Task lists of a device since they were taken last. They mean something if one thread at a time uses the device.
#[derive(Default)]
pub(super) struct TaskLog(Mutex<State>);

#[derive(Default)]
struct State {
    lists: Vec<TaskList>,
    /// Splits of the task that is running, if one is: lists within it are splits, too.
    task: Option<Vec<Vec<f64>>>,
    /// Whether a part of a split is running: what is split within it is a piece of it.
    in_part: bool,
}

impl TaskLog {
    /// Takes the lists.
    pub(super) fn take(&self) -> Vec<TaskList> {
        std::mem::take(&mut self.state().lists)
    }

    /// Whether a task is running.
    pub(super) fn in_task(&self) -> bool {
        self.state().task.is_some()
    }

    /// Runs tasks one after the other.
    pub(super) fn run<T>(&self, tasks: Vec<T>, serial: bool, run: impl Fn(T)) {
        let mut list = TaskList { tasks: Vec::with_capacity(tasks.len()), serial };
        for task in tasks {
            self.state().task = Some(Vec::new());
            let seconds = timed(|| run(task));
            let splits = self.state().task.take().unwrap_or_default();
            list.tasks.push(Task { seconds, splits });
        }
        self.state().lists.push(list);
    }

    /// Runs the parts of the running task one after the other.
    pub(super) fn split<T>(&self, parts: Vec<T>, run: impl Fn(T)) {
        let mut state = self.state();
        if state.in_part || state.task.is_none() {
            drop(state);
            return parts.into_iter().for_each(run);
        }
        state.in_part = true;
        drop(state);
        let seconds = parts.into_iter().map(|part| timed(|| run(part))).collect();
        let mut state = self.state();
        state.in_part = false;
        // Without a task: another thread's task was running, and has ended.
        if let Some(splits) = &mut state.task {
            splits.push(seconds);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds that a function takes.
fn timed(run: impl FnOnce()) -> f64 {
    let clock = Instant::now();
    run();
    clock.elapsed().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_tasks_and_their_splits() {
        let log = TaskLog::default();
        log.split(vec![(), ()], |()| assert!(!log.in_task(), "a list outside of tasks is no split"));
        log.run((0..3).collect(), false, |task| {
            assert!(log.in_task());
            for _ in 0..task {
                log.split((0..=task).collect(), |_| log.split(vec![(); 5], |()| ()));
            }
        });
        log.run(vec![()], true, |()| ());
        let lists = log.take();
        let [list, serial] = lists.as_slice() else { panic!("{lists:?}") };
        let parts: Vec<Vec<usize>> =
            list.tasks.iter().map(|task| task.splits.iter().map(Vec::len).collect()).collect();
        assert_eq!(parts, [vec![], vec![2], vec![3, 3]]);
        assert!(list.tasks.iter().all(|task| task.seconds >= task.splits.iter().flatten().sum::<f64>()));
        assert!(!list.serial && serial.serial && serial.tasks.len() == 1);
        assert!(log.take().is_empty());
    }
}
