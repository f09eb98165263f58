//! Long work in runs that keep all threads busy.

use super::PaillierError;

/// Ciphertexts of each thread in a run.
const EACH: usize = 64;

/// Works through items in runs, and reports the number of finished items after each run.
pub(super) fn in_runs<T, R>(
    items: &[T],
    done: &mut dyn FnMut(usize),
    mut work: impl FnMut(&[T]) -> Result<Vec<R>, PaillierError>,
) -> Result<Vec<R>, PaillierError> {
    let mut results = Vec::with_capacity(items.len());
    for run in items.chunks(EACH * rayon::current_num_threads()) {
        results.append(&mut work(run)?);
        done(results.len());
    }
    Ok(results)
}
