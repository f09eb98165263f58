//! Work on many items in stages that overlap: workers, as many as there are cores for them, serve all stages, and bounded queues lie
//! between. Results come in the order of the items, whichever is done first.

use anyhow::{Result, anyhow};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

/// How many items are worked on at a time, and whether they share cores.
pub(crate) struct Crew {
    workers: usize,
    /// Whether each worker has one core, so that it shares no work with others.
    alone: bool,
}

/// Threads that serve all stages of some work. They end when all stages have ended and this is dropped.
pub(crate) struct Workers<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    workers: usize,
    stages: AtomicUsize,
    source: Source<'scope>,
}

/// Results of a stage, in the order of its items. Dropping them ends the stage, and those before it.
pub(crate) struct Results<R>(Receiver<Receiver<Result<R>>>);

/// Work on one item.
type Job<'scope> = Box<dyn FnOnce() + Send + 'scope>;

/// Jobs of all stages.
#[derive(Default)]
struct Queue<'scope> {
    jobs: Mutex<Jobs<'scope>>,
    changed: Condvar,
}

#[derive(Default)]
struct Jobs<'scope> {
    /// By stage, in the order of the items.
    by_stage: BTreeMap<usize, VecDeque<Job<'scope>>>,
    /// How many sources may add jobs.
    sources: usize,
    /// Whether a worker has panicked: then no job is done any more.
    failed: bool,
}

/// Something that adds jobs to a queue.
struct Source<'scope>(Arc<Queue<'scope>>);

/// Gives up all jobs if its thread panics, since those who wait for a result would wait for ever.
struct Guard<'a, 'scope>(&'a Queue<'scope>);

impl Crew {
    /// As many workers as `threads`, or fewer if there are fewer `items`, which then share the threads inside the work on an item.
    pub(crate) fn new(threads: usize, items: usize) -> Self {
        let workers = threads.min(items).max(1);
        Self { workers, alone: workers >= threads }
    }

    /// How many items are worked on at a time.
    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// Whether one core works on one item.
    pub(crate) fn is_alone(&self) -> bool {
        self.alone
    }

    /// Starts the workers.
    pub(crate) fn start<'scope, 'env>(&self, scope: &'scope Scope<'scope, 'env>) -> Workers<'scope, 'env> {
        let queue = Arc::new(Queue::default());
        let source = Source::new(queue.clone());
        let alone = self.alone;
        for _ in 0..self.workers {
            let queue = queue.clone();
            scope.spawn(move || {
                // Work that would be shared with other threads is done on this one.
                let _pool = alone
                    .then(|| rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build());
                let _guard = Guard(&queue);
                while let Some(job) = queue.next() {
                    job();
                }
            });
        }
        Workers { scope, workers: self.workers, stages: AtomicUsize::new(0), source }
    }
}

impl<'scope> Workers<'scope, '_> {
    /// A stage that the workers serve before those that were made earlier. Errors pass in the place of their items.
    pub(crate) fn stage<T, R>(
        &self,
        items: impl Iterator<Item = Result<T>> + Send + 'scope,
        work: impl Fn(T) -> Result<R> + Send + Sync + 'scope,
    ) -> Results<R>
    where
        T: Send + 'scope,
        R: Send + 'scope,
    {
        // An item's place in the order is queued before its work begins, so that the queue bounds how far the work is ahead of the
        // results that were taken.
        let (places, results) = sync_channel(2 * self.workers);
        let stage = self.stages.fetch_add(1, Ordering::Relaxed);
        let source = Source::new(self.source.0.clone());
        let work = Arc::new(work);
        self.scope.spawn(move || {
            for item in items {
                let (place, result) = sync_channel(1);
                if places.send(result).is_err() {
                    break;
                }
                let work = work.clone();
                source.add(
                    stage,
                    Box::new(move || {
                        // Nobody waits for it after a failure.
                        let _ = place.send(item.and_then(|item| work(item)));
                    }),
                );
            }
        });
        Results(results)
    }

    /// A stage of one thread that waits for a device, and needs no core meanwhile.
    pub(crate) fn device_stage<T, R>(
        &self,
        items: impl Iterator<Item = Result<T>> + Send + 'scope,
        work: impl Fn(T) -> Result<R> + Send + 'scope,
    ) -> Results<R>
    where
        T: Send + 'scope,
        R: Send + 'scope,
    {
        let (places, results) = sync_channel(1);
        self.scope.spawn(move || {
            for item in items {
                let (place, result) = sync_channel(1);
                if places.send(result).is_err() {
                    break;
                }
                let _ = place.send(item.and_then(&work));
            }
        });
        Results(results)
    }
}

impl<'scope> Queue<'scope> {
    fn lock(&self) -> MutexGuard<'_, Jobs<'scope>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first job of the last stage that has one, as soon as there is any; none when there will be no more.
    fn next(&self) -> Option<Job<'scope>> {
        let mut jobs = self.lock();
        loop {
            if let Some(job) = jobs.by_stage.values_mut().rev().find_map(VecDeque::pop_front) {
                return Some(job);
            }
            if jobs.sources == 0 || jobs.failed {
                return None;
            }
            jobs = self.changed.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<'scope> Source<'scope> {
    fn new(queue: Arc<Queue<'scope>>) -> Self {
        queue.lock().sources += 1;
        Self(queue)
    }

    fn add(&self, stage: usize, job: Job<'scope>) {
        let mut jobs = self.0.lock();
        if !jobs.failed {
            jobs.by_stage.entry(stage).or_default().push_back(job);
            self.0.changed.notify_one();
        }
    }
}

impl Drop for Source<'_> {
    fn drop(&mut self) {
        self.0.lock().sources -= 1;
        self.0.changed.notify_all();
    }
}

impl Drop for Guard<'_, '_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let mut jobs = self.0.lock();
            jobs.failed = true;
            let given_up = std::mem::take(&mut jobs.by_stage);
            drop(jobs);
            drop(given_up);
            self.0.changed.notify_all();
        }
    }
}

impl<R> Iterator for Results<R> {
    type Item = Result<R>;

    fn next(&mut self) -> Option<Result<R>> {
        let place = self.0.recv().ok()?;
        // A thread that panics takes the scope with it; until then, its result must not be missing without a word.
        Some(
            place
                .recv()
                .unwrap_or_else(|_| Err(anyhow!("internal error: a result is missing; please report it"))),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    #[test]
    fn results_come_in_order_and_queues_are_bounded() {
        let crew = Crew::new(3, 100);
        let [begun, working, most] = [const { AtomicUsize::new(0) }; 3];
        thread::scope(|scope| {
            let items = (0..100_usize)
                .inspect(|_| {
                    begun.fetch_add(1, Ordering::SeqCst);
                })
                .map(Ok);
            let workers = crew.start(scope);
            let squares = workers.stage(items, |k| {
                most.fetch_max(working.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::sleep(Duration::from_micros((k * 37 % 11) as u64 * 50));
                working.fetch_sub(1, Ordering::SeqCst);
                Ok(k * k)
            });
            let cubes = workers.device_stage(squares.map(|y| y.map(|y| (y, 1))), |(y, one)| Ok(y + one));
            for (k, result) in cubes.enumerate() {
                assert_eq!(result.unwrap(), k * k + 1);
                // Six in the queue of the first stage and one that waits for it, as many as one of each in the second.
                assert!(begun.load(Ordering::SeqCst) <= k + 1 + 12, "{k}");
                thread::sleep(Duration::from_micros(100));
            }
        });
        assert_eq!((begun.into_inner(), working.into_inner()), (100, 0));
        assert!(most.into_inner() <= 3);
    }

    #[test]
    fn an_error_stands_in_its_place_and_ends_the_stages() {
        let crew = Crew::new(2, 1000);
        let begun = AtomicUsize::new(0);
        let error = thread::scope(|scope| -> Result<usize> {
            let items = (0..)
                .inspect(|_| {
                    begun.fetch_add(1, Ordering::SeqCst);
                })
                .map(Ok);
            let workers = crew.start(scope);
            let first = workers.stage(items, |k| if k == 5 { Err(anyhow!("five")) } else { Ok(k) });
            let mut sum = 0;
            for result in workers.stage(first, |k: usize| Ok(2 * k)) {
                assert!(sum <= 2 * (1 + 2 + 3 + 4));
                sum += result?;
            }
            Ok(sum)
        });
        assert_eq!(error.unwrap_err().to_string(), "five");
        assert!(begun.into_inner() < 30);
    }

    #[test]
    fn later_stages_come_first() {
        let crew = Crew::new(1, 100);
        let order = Mutex::new(Vec::new());
        thread::scope(|scope| {
            let workers = crew.start(scope);
            let first = workers.stage((0..20).map(Ok), |k| {
                order.lock().unwrap().push((1, k));
                thread::sleep(Duration::from_millis(2));
                Ok(k)
            });
            let second = workers.stage(first, |k| {
                order.lock().unwrap().push((2, k));
                Ok(k)
            });
            assert!(second.map(Result::unwrap).eq(0..20));
        });
        // The thread between two stages takes its time, so that a result may wait for a job or two.
        let order = order.into_inner().unwrap();
        let at = |of| order.iter().position(|&job| job == of).unwrap();
        assert!((0..20).all(|k| at((2, k)) > at((1, k))));
        assert!((0..15).all(|k| at((2, k)) < at((1, k + 5))), "{order:?}");
    }

    #[test]
    fn a_panic_ends_all_stages() {
        let crew = Crew::new(1, 100);
        let outcome = std::panic::catch_unwind(|| {
            thread::scope(|scope| {
                let workers = crew.start(scope);
                let first = workers.stage((0..).map(Ok), |k| {
                    assert!(k != 7, "seven");
                    Ok(k)
                });
                let errors = workers.stage(first, Ok).filter_map(Result::err).take(1).collect::<Vec<_>>();
                assert!(errors[0].to_string().starts_with("internal error"));
            });
        });
        assert!(outcome.is_err());
    }

    #[test]
    fn few_items_share_threads() {
        let crew = Crew::new(8, 2);
        assert_eq!((crew.workers, crew.is_alone()), (2, false));
        assert!(Crew::new(2, 8).is_alone() && Crew::new(4, 0).workers == 1);
    }
}
