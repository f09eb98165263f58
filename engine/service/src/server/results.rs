//! Results on disk, for requests that are sent again with their idempotency key.
//!
//! A file is the digest of the request, the digest of the rest, the length and the name of the device in UTF-8, and the
//! results. It is named by the digest of token,
//! keys and idempotency key, and appears whole by a rename; one that a loss of power damaged is computed again.

use super::error::ServiceError;
use super::store::{cannot_store, make_private};
use crate::api::hex;
use crate::problem::{Code, Problem};
use axum::body::Bytes;
use sha2::{Digest, Sha256};
use std::cmp::Reverse;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tempfile::NamedTempFile;

const DIGEST: usize = 32;
/// Bytes of a block of the file system; a file takes whole ones.
const BLOCK: u64 = 4096;

/// Identity of a request: token, keys and idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RequestName(String);

/// Encrypted results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) results: Bytes,
    /// Names of the devices that computed them.
    pub(super) device: Arc<str>,
}

/// A folder of results.
pub(super) struct ResultStore {
    folder: PathBuf,
    /// Most bytes of all results.
    limit: u64,
    /// Age at which results are deleted.
    age: Duration,
    /// Bytes that were added since the last sweep.
    added: AtomicU64,
}

impl RequestName {
    pub(super) fn new(owner: &str, keys: &[u8; 32], idempotency_key: &str) -> Self {
        let hash = Sha256::new().chain_update(keys).chain_update(owner).chain_update([0]);
        Self(hex(&hash.chain_update(idempotency_key).finalize()))
    }
}

impl ResultStore {
    /// Opens a folder, which is made if there is none.
    pub(super) fn open(folder: &Path, limit: u64, age: Duration) -> Result<Self, ServiceError> {
        make_private(folder).map_err(|error| ServiceError::storage(folder, error))?;
        Ok(Self { folder: folder.into(), limit, age, added: AtomicU64::new(0) })
    }

    /// The results of an earlier request of this name, if it had this digest.
    pub(super) fn get(&self, name: &RequestName, request: &[u8; DIGEST]) -> Result<Option<Answer>, Problem> {
        let bytes = match fs::read(self.folder.join(&name.0)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(cannot_store(error)),
        };
        let Some((found, rest)) = bytes.split_first_chunk::<DIGEST>() else { return Ok(None) };
        let Some((digest, rest)) = rest.split_first_chunk::<DIGEST>() else { return Ok(None) };
        if Sha256::digest(rest)[..] != digest[..] {
            return Ok(None);
        }
        if found != request {
            return Err(reused());
        }
        let named = rest.split_first_chunk().and_then(|(length, rest)| {
            let (device, results) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
            Some(Answer {
                device: std::str::from_utf8(device).ok()?.into(),
                results: results.to_vec().into(),
            })
        });
        Ok(named)
    }

    /// Keeps the results of a request. Older ones make room when a quarter of the limit was added since the last sweep.
    pub(super) fn put(&self, name: &RequestName, request: &[u8; DIGEST], answer: &Answer) -> io::Result<()> {
        let Answer { results, device } = answer;
        let length = u16::try_from(device.len()).map_err(io::Error::other)?.to_le_bytes();
        let hash = Sha256::new().chain_update(length).chain_update(device.as_bytes());
        let mut file = NamedTempFile::new_in(&self.folder)?;
        file.write_all(request)?;
        file.write_all(&hash.chain_update(results).finalize())?;
        file.write_all(&length)?;
        file.write_all(device.as_bytes())?;
        file.write_all(results)?;
        file.persist(self.folder.join(&name.0))?;
        let length = on_disk((2 * DIGEST + length.len() + device.len() + results.len()) as u64);
        if self.added.fetch_add(length, Ordering::Relaxed) + length > self.limit / 4 {
            self.sweep()?;
        }
        Ok(())
    }

    /// Deletes results of a certain age, and the oldest ones beyond the limit.
    pub(super) fn sweep(&self) -> io::Result<()> {
        self.added.store(0, Ordering::Relaxed);
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // Another sweep may have deleted it meanwhile.
            let Ok(metadata) = entry.metadata() else { continue };
            files.push((metadata.modified()?, on_disk(metadata.len()), entry.path()));
        }
        files.sort_unstable_by_key(|(modified, ..)| Reverse(*modified));
        let now = SystemTime::now();
        let mut bytes = 0;
        for (modified, length, path) in files {
            bytes += length;
            // Times that are ahead of the clock are new.
            if bytes > self.limit || now.duration_since(modified).is_ok_and(|old| old > self.age) {
                match fs::remove_file(path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => (),
                }
            }
        }
        Ok(())
    }
}

/// Bytes that a file takes on the disk.
fn on_disk(length: u64) -> u64 {
    length.next_multiple_of(BLOCK)
}

/// The refusal of another request with a used idempotency key.
pub(super) fn reused() -> Problem {
    Problem::new(
        Code::IdempotencyKeyReused,
        "this idempotency key came with another body before: take a new one",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_kept_for_their_request_alone() {
        let place = tempfile::tempdir().unwrap();
        let store = ResultStore::open(place.path(), 2 * BLOCK, Duration::from_secs(60)).unwrap();
        let name = RequestName::new("ward", &[1; 32], "a");
        let answer = Answer { results: b"results"[..].into(), device: "a GPU".into() };
        assert_ne!(name, RequestName::new("war", &[1; 32], "da"));
        assert_eq!(store.get(&name, &[2; 32]).unwrap(), None);
        store.put(&name, &[2; 32], &answer).unwrap();
        assert_eq!(store.get(&name, &[2; 32]).unwrap().unwrap(), answer);
        assert_eq!(store.get(&name, &[3; 32]).unwrap_err().code, Code::IdempotencyKeyReused);
        // Damaged files are computed again.
        let path = place.path().join(&name.0);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        for damaged in [&bytes[..], &bytes[..40], b""] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(store.get(&name, &[2; 32]).unwrap(), None);
        }
        store.put(&name, &[2; 32], &answer).unwrap();
        for i in 0..3 {
            store.put(&RequestName::new("ward", &[1; 32], &i.to_string()), &[2; 32], &answer).unwrap();
        }
        assert_eq!(
            fs::read_dir(place.path()).unwrap().count(),
            2,
            "the limit holds without a sweep by the clock"
        );
        std::thread::sleep(Duration::from_millis(20));
        ResultStore::open(place.path(), 2 * BLOCK, Duration::from_millis(1)).unwrap().sweep().unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
