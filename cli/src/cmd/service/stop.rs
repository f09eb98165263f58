//! The first interruption of a server, which finishes what it has accepted.

use pleura_service::server::Stop;
use std::sync::{Mutex, PoisonError};

static RUNNING: Mutex<Option<Stop>> = Mutex::new(None);

/// Notes the server that an interruption stops.
pub(crate) fn on_interruption(stop: Stop) {
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = Some(stop);
}

/// Asks the server to stop; false without a server, and the second time.
pub(crate) fn ask() -> bool {
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner).take();
    running.iter().for_each(Stop::stop);
    running.is_some()
}
