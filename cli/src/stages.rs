//! Work on many items in stages that overlap: each has its threads, and bounded queues lie between. Results come in the order of the
//! items, whichever is done first.

use anyhow::{Result, anyhow};
use std::iter::Fuse;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::Scope;

/// Threads of all stages, of which no more work at a time than there are cores for them.
pub(crate) struct Crew {
    workers: usize,
    /// Whether each worker has one core, so that it shares no work with others.
    alone: bool,
    idle: Mutex<usize>,
    released: Condvar,
}

/// Results of a stage, in the order of its items. Dropping them ends the stage, and those before it.
pub(crate) struct Results<R>(Receiver<Receiver<Result<R>>>);

/// Items of a stage, and the queue of places for their results.
struct Input<I: Iterator, R> {
    items: Fuse<I>,
    places: SyncSender<Receiver<Result<R>>>,
}

/// A core that is taken.
struct Core<'a>(&'a Crew);

impl Crew {
    /// As many workers as `threads`, or fewer if there are fewer `items`, which then share the threads inside the work on an item.
    pub(crate) fn new(threads: usize, items: usize) -> Self {
        let workers = threads.min(items).max(1);
        Self { workers, alone: workers >= threads, idle: Mutex::new(workers), released: Condvar::new() }
    }

    /// How many items are worked on at a time.
    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// Whether one core works on one item.
    pub(crate) fn is_alone(&self) -> bool {
        self.alone
    }

    /// A stage of as many threads as there are cores. Errors pass in the place of their items.
    pub(crate) fn stage<'scope, 'env, T, R>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        items: impl Iterator<Item = Result<T>> + Send + 'scope,
        work: impl Fn(T) -> Result<R> + Send + Sync + 'scope,
    ) -> Results<R>
    where
        T: Send + 'scope,
        R: Send + 'scope,
    {
        start(
            scope,
            self.workers,
            items,
            move |item| {
                let _core = self.take_core();
                work(item)
            },
            self.alone,
        )
    }

    /// A stage of one thread that waits for a device, and needs no core meanwhile.
    pub(crate) fn device_stage<'scope, 'env, T, R>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        items: impl Iterator<Item = Result<T>> + Send + 'scope,
        work: impl Fn(T) -> Result<R> + Send + Sync + 'scope,
    ) -> Results<R>
    where
        T: Send + 'scope,
        R: Send + 'scope,
    {
        start(scope, 1, items, work, false)
    }

    fn take_core(&self) -> Core<'_> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while *idle == 0 {
            idle = self.released.wait(idle).unwrap_or_else(PoisonError::into_inner);
        }
        *idle -= 1;
        Core(self)
    }
}

impl Drop for Core<'_> {
    fn drop(&mut self) {
        *self.0.idle.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.released.notify_one();
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

/// Threads that take items in turn. An item's place in the order is queued before its work begins, so that the queue bounds how far
/// the work is ahead of the results that were taken.
fn start<'scope, T, R, I, F>(
    scope: &'scope Scope<'scope, '_>,
    workers: usize,
    items: I,
    work: F,
    alone: bool,
) -> Results<R>
where
    T: Send + 'scope,
    R: Send + 'scope,
    I: Iterator<Item = Result<T>> + Send + 'scope,
    F: Fn(T) -> Result<R> + Send + Sync + 'scope,
{
    let (places, results) = sync_channel(workers);
    let input = Arc::new(Mutex::new(Input { items: items.fuse(), places }));
    let work = Arc::new(work);
    for _ in 0..workers {
        let input = input.clone();
        let work = work.clone();
        scope.spawn(move || {
            // Work that would be shared with other threads is done on this one.
            let _pool =
                alone.then(|| rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build());
            while let Some((item, place)) = next(&input) {
                // Nobody waits for it after a failure.
                let _ = place.send(item.and_then(|item| work(item)));
            }
        });
    }
    Results(results)
}

/// The next item and the place of its result; none at the end, or if nobody takes results any more.
fn next<I: Iterator, R>(input: &Mutex<Input<I, R>>) -> Option<(I::Item, SyncSender<Result<R>>)> {
    let mut input = input.lock().unwrap_or_else(PoisonError::into_inner);
    let item = input.items.next()?;
    let (place, result) = sync_channel(1);
    input.places.send(result).ok()?;
    Some((item, place))
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
            let squares = crew.stage(scope, items, |k| {
                most.fetch_max(working.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::sleep(Duration::from_micros((k * 37 % 11) as u64 * 50));
                working.fetch_sub(1, Ordering::SeqCst);
                Ok(k * k)
            });
            let cubes = crew.device_stage(scope, squares.map(|y| y.map(|y| (y, 1))), |(y, one)| Ok(y + one));
            for (k, result) in cubes.enumerate() {
                assert_eq!(result.unwrap(), k * k + 1);
                // Three at work and three waiting in the first stage, as many as one of each in the second.
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
            let first = crew.stage(scope, items, |k| if k == 5 { Err(anyhow!("five")) } else { Ok(k) });
            let mut sum = 0;
            for result in crew.stage(scope, first, |k: usize| Ok(2 * k)) {
                assert!(sum <= 2 * (1 + 2 + 3 + 4));
                sum += result?;
            }
            Ok(sum)
        });
        assert_eq!(error.unwrap_err().to_string(), "five");
        assert!(begun.into_inner() < 30);
    }

    #[test]
    fn few_items_share_threads() {
        let crew = Crew::new(8, 2);
        assert_eq!((crew.workers, crew.is_alone()), (2, false));
        assert!(Crew::new(2, 8).is_alone() && Crew::new(4, 0).workers == 1);
    }
}
