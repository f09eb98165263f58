//! Memory for requests, from the arrival of a body until its results are sent.

use crate::problem::{Code, Problem};
use axum::body::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of a permit.
const UNIT: u64 = 1024;

/// Memory of all requests. Those of one token get half of it.
pub(super) struct Memory {
    all: Arc<Semaphore>,
    share: usize,
    shares: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// Memory that is set aside, until this is dropped.
pub(super) struct Reserved([OwnedSemaphorePermit; 2]);

/// Bytes and the memory that they take.
struct Held {
    bytes: Bytes,
    _memory: Reserved,
}

impl Memory {
    pub(super) fn new(bytes: u64) -> Self {
        let units = usize::try_from(bytes / UNIT).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { all: Arc::new(Semaphore::new(units)), share: units / 2, shares: Mutex::default() }
    }

    /// Sets memory aside for a token.
    pub(super) fn take(&self, owner: &str, bytes: u64) -> Result<Reserved, Problem> {
        let busy = |whose| Problem::new(Code::Busy, format!("other requests {whose}: try again later"));
        let units = u32::try_from(bytes.div_ceil(UNIT)).map_err(|_| busy("use the memory"))?;
        let share = {
            let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
            shares.entry(owner.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(self.share))).clone()
        };
        let own = share.try_acquire_many_owned(units);
        let own = own.map_err(|_| busy("of this token use its share of the memory"))?;
        let all = self.all.clone().try_acquire_many_owned(units);
        Ok(Reserved([own, all.map_err(|_| busy("use the memory"))?]))
    }
}

impl Reserved {
    /// Bytes that keep as much of the memory as they take, until their last clone is dropped.
    pub(super) fn hold(mut self, bytes: impl Into<Bytes>) -> Bytes {
        let bytes = bytes.into();
        let units = usize::try_from((bytes.len() as u64).div_ceil(UNIT)).unwrap_or(usize::MAX);
        for permit in &mut self.0 {
            drop(permit.split(permit.num_permits().saturating_sub(units)));
        }
        Bytes::from_owner(Held { bytes, _memory: self })
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_gets_half_of_the_memory() {
        let memory = Memory::new(8 * UNIT);
        let first = memory.take("ward-1", 3 * UNIT).unwrap();
        let second = memory.take("ward-1", UNIT).unwrap();
        assert_eq!(memory.take("ward-1", 1).err().unwrap().code, Code::Busy);
        let other = memory.take("ward-2", 4 * UNIT).unwrap();
        assert_eq!(memory.take("ward-3", 1).err().unwrap().code, Code::Busy);
        drop((first, other));
        memory.take("ward-1", 3 * UNIT).unwrap();
        assert!(memory.take("ward-1", u64::MAX).is_err());
        drop(second);
        assert_eq!(memory.all.available_permits(), 8);
    }

    #[test]
    fn results_keep_their_memory_until_they_are_sent() {
        let memory = Memory::new(8 * UNIT);
        let results = memory.take("ward-1", 4 * UNIT).unwrap().hold(vec![7; 1500]);
        assert_eq!((memory.all.available_permits(), &results[1490..]), (6, &[7; 10][..]));
        let sent = results.slice(1000..);
        drop(results);
        assert_eq!(memory.all.available_permits(), 6);
        drop(sent);
        assert_eq!(memory.all.available_permits(), 8);
        memory.take("ward-1", 4 * UNIT).unwrap();
    }
}
