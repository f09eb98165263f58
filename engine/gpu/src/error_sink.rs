//! Errors that a driver reports at any time, kept until somebody waits.

use pleura_ring::BackendError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Time in which any device finishes a submit: its products are bounded, and take the slowest software drivers seconds.
const STALL: Duration = Duration::from_secs(180);

/// The first error since the last wait; others follow from it.
#[derive(Default)]
pub(crate) struct ErrorSink {
    first: Mutex<Option<BackendError>>,
    lost: AtomicBool,
}

impl ErrorSink {
    /// A sink that hears what a device reports.
    pub(crate) fn of(device: &wgpu::Device) -> Arc<Self> {
        let sink = Arc::new(Self::default());
        let heard = sink.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| heard.note(error.to_string())));
        let heard = sink.clone();
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                heard.lose(message);
            }
        });
        sink
    }

    /// Keeps an error, unless there is one already.
    pub(crate) fn set(&self, error: BackendError) {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// Keeps what a driver says.
    pub(crate) fn note(&self, reason: String) {
        self.set(BackendError::DeviceLost { reason });
    }

    /// Keeps the error of a device that is lost: it is never cleared.
    pub(crate) fn lose(&self, reason: String) {
        self.lost.store(true, Ordering::Relaxed);
        self.note(reason);
    }

    /// Polls the driver. wgpu panics where it polls a lost device; here that becomes an error like any other.
    pub(crate) fn poll(&self, device: &wgpu::Device, kind: wgpu::PollType) {
        match catch_unwind(AssertUnwindSafe(|| device.poll(kind))) {
            Ok(Ok(_)) => (),
            Ok(Err(error)) => self.note(error.to_string()),
            Err(_) => self.lose("its driver gave up".to_owned()),
        }
    }

    /// Waits for a submission, or for all of them. A device that finishes no submit for [`STALL`] is lost: `finished` counts them.
    pub(crate) fn wait(
        &self,
        device: &wgpu::Device,
        submission_index: Option<wgpu::SubmissionIndex>,
        finished: &AtomicU64,
    ) {
        loop {
            let before = finished.load(Ordering::Relaxed);
            let submission_index = submission_index.clone();
            let kind = wgpu::PollType::Wait { submission_index, timeout: Some(STALL) };
            match catch_unwind(AssertUnwindSafe(|| device.poll(kind))) {
                Ok(Ok(_)) => return,
                Ok(Err(wgpu::PollError::Timeout)) if finished.load(Ordering::Relaxed) != before => (),
                Ok(Err(wgpu::PollError::Timeout)) => {
                    let seconds = STALL.as_secs();
                    return self
                        .lose(format!("it has finished nothing for {seconds} seconds and seems to hang"));
                }
                Ok(Err(error)) => return self.note(error.to_string()),
                Err(_) => return self.lose("its driver gave up".to_owned()),
            }
        }
    }

    /// Whether the device is gone for good.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// The first error since the last time.
    pub(crate) fn take(&self) -> Result<(), BackendError> {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let error = if self.lost.load(Ordering::Relaxed) { first.clone() } else { first.take() };
        error.map_or(Ok(()), Err)
    }
}
