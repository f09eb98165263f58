//! Results that a device still owes.

use crate::BackendError;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// A result on its way from a device. Native code waits for it with [`Pending::wait`]; a browser, where nothing may block, awaits
/// it. A `Pending` that is dropped discards the result, and the device's work continues.
#[must_use = "the result arrives only where it is waited for"]
pub struct Pending<T>(State<T>);

/// The words of a download: `[poly][limb][coefficient]`.
pub type Download = Pending<Vec<u32>>;

/// The device's side of a [`Pending`].
pub trait Arrival<T>: Send {
    /// The result if it is there; if not, `waker` is woken when another try is worth it. Never blocks.
    fn poll(&mut self, waker: &Waker) -> Poll<Result<T, BackendError>>;

    /// Blocks until the result is there.
    ///
    /// # Errors
    /// The device's error, or [`BackendError::CannotBlock`] from a device that may not block.
    fn wait(self: Box<Self>) -> Result<T, BackendError>;
}

enum State<T> {
    Here(Result<T, BackendError>),
    OnItsWay(Box<dyn Arrival<T>>),
    Given,
}

impl<T> Pending<T> {
    /// A result that is there already.
    pub fn ready(result: Result<T, BackendError>) -> Self {
        Self(State::Here(result))
    }

    /// A result that a device will have.
    pub fn new(arrival: impl Arrival<T> + 'static) -> Self {
        Self(State::OnItsWay(Box::new(arrival)))
    }

    /// Blocks until the result is there. Results of one device may be waited for in any order.
    ///
    /// # Errors
    /// The device's error, or [`BackendError::CannotBlock`] from a device that may not block.
    ///
    /// # Panics
    /// If the result was already taken by awaiting it.
    #[expect(clippy::panic, reason = "documented: a future is not used again after it is ready")]
    pub fn wait(self) -> Result<T, BackendError> {
        match self.0 {
            State::Here(result) => result,
            State::OnItsWay(arrival) => arrival.wait(),
            State::Given => panic!("the result was given away"),
        }
    }
}

impl<T: Unpin> Future for Pending<T> {
    type Output = Result<T, BackendError>;

    #[expect(clippy::panic, reason = "a future is not polled again after it is ready")]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let state = &mut self.get_mut().0;
        if let State::OnItsWay(arrival) = state {
            let polled = arrival.poll(context.waker());
            if polled.is_ready() {
                *state = State::Given;
            }
            return polled;
        }
        match std::mem::replace(state, State::Given) {
            State::Here(result) => Poll::Ready(result),
            State::OnItsWay(_) | State::Given => panic!("the result was given away"),
        }
    }
}

impl<T> std::fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = match self.0 {
            State::Here(_) => "here",
            State::OnItsWay(_) => "on its way",
            State::Given => "given away",
        };
        f.debug_tuple("Pending").field(&state).finish()
    }
}
