//! Requests that are computed now.

use super::results::{Answer, RequestName};
use crate::problem::Problem;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Results of a request, or why there are none; `None` while they are computed.
pub(super) type Outcome = watch::Receiver<Option<Result<Answer, Problem>>>;

/// Requests with an idempotency key that are computed now, with the digests of their bodies.
#[derive(Default)]
pub(super) struct Running(Mutex<HashMap<RequestName, ([u8; 32], Outcome)>>);

impl Running {
    /// Returns when no request with an idempotency key is computed any more.
    pub(super) async fn finished(&self) {
        loop {
            let one = self.lock().values().next().map(|(_, outcome)| outcome.clone());
            let Some(mut outcome) = one else { return };
            let _ = outcome.wait_for(Option::is_some).await;
            // It is about to be removed.
            tokio::task::yield_now().await;
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<RequestName, ([u8; 32], Outcome)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
