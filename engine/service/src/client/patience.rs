//! Pauses between repetitions of a request.

use super::{ClientError, Failure, Observer};
use std::thread;
use std::time::{Duration, Instant};

/// First pause; each one after it is twice as long.
const FIRST: Duration = Duration::from_millis(200);
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(10);

/// Time that is left for repetitions.
pub(super) struct Patience {
    /// `None` for times that no clock reaches.
    end: Option<Instant>,
    pause: Duration,
}

impl Patience {
    pub(super) fn new(time: Duration) -> Self {
        Self { end: Instant::now().checked_add(time), pause: FIRST }
    }

    /// Waits before the next repetition; the error if there is none. `observe` receives the error before the first one.
    pub(super) fn wait(&mut self, failure: Failure, observe: &Observer) -> Result<(), ClientError> {
        let Failure { error, again, after } = failure;
        let pause = after.unwrap_or(self.pause).clamp(self.pause, LONGEST);
        // Up to half of it more or less, so that clients of one failure do not come back together.
        let mut random = [0];
        getrandom::fill(&mut random).map_err(|_| ClientError::Random)?;
        let pause = pause.mul_f64(0.5 + f64::from(random[0]) / 255.0);
        if !again || self.end.is_some_and(|end| Instant::now() + pause > end) {
            return Err(error);
        }
        if self.pause == FIRST {
            observe(&error);
        }
        thread::sleep(pause);
        self.pause = (2 * self.pause).min(LONGEST);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn the_first_repetition_is_observed() {
        let seen = Arc::new(AtomicUsize::new(0));
        let counted = seen.clone();
        let observe = move |_: &ClientError| {
            counted.fetch_add(1, Ordering::Relaxed);
        };
        let failure = |again| Failure { error: ClientError::Status(503), again, after: None };
        let mut patience = Patience::new(Duration::from_secs(600));
        assert!(patience.wait(failure(false), &observe).is_err());
        assert_eq!(seen.load(Ordering::Relaxed), 0);
        for _ in 0..2 {
            patience.wait(failure(true), &observe).unwrap();
            assert_eq!(seen.load(Ordering::Relaxed), 1);
        }
    }
}
