//! Errors that a driver reports at any time, kept until somebody waits.

use pleura_ring::BackendError;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

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
