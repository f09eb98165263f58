//! Evaluation keys on disk: files named by owner and content hash, and an index that survives a kill.
//!
//! `incoming/` has uploads in progress, whose length is the offset to go on from; `keys/` has checked keys. A file gets
//! into `keys/` by a rename after it was synced, and into the index after that, so whatever the index calls complete is
//! there.

use super::error::ServiceError;
use crate::api::{KeysState, hex};
use crate::problem::{Code, Problem};
use pleura::remote::Origin;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Records by `owner.id`.
const KEYS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("keys");
/// The last use of keys is written down again after this time.
const REMEMBER_USE: u64 = 3600;

/// Owner and content hash of keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct KeysName {
    owner: String,
    /// The hash in hexadecimal digits.
    id: String,
}

/// Facts about keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// Digest of the plan.
    pub(super) plan: [u8; 32],
    pub(super) length: u64,
    /// Bundle digest and identity of the secret key, once the keys are checked.
    pub(super) checked: Option<([u8; 32], [u8; 16])>,
    /// Seconds since 1970 of the last use.
    used: u64,
}

/// Keys of all tokens.
pub(super) struct Store {
    folder: PathBuf,
    index: Database,
    /// One change at a time: quotas are compared and claimed in one step.
    change: Mutex<()>,
    /// Keeps a second server off the folder.
    _lock: File,
}

impl KeysName {
    pub(super) fn new(owner: &str, id: &[u8; 32]) -> Self {
        Self { owner: owner.to_owned(), id: hex(id) }
    }

    /// The name that a record or a file has; `None` if it is none.
    fn parse(text: &str) -> Option<Self> {
        let (owner, id) = text.split_once('.')?;
        Some(Self { owner: owner.to_owned(), id: id.to_owned() })
    }

    /// Name of the token.
    pub(super) fn owner(&self) -> &str {
        &self.owner
    }

    fn id(&self) -> &str {
        &self.id
    }
}

/// `owner.id`: names of owners have no dot.
impl fmt::Display for KeysName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.owner, self.id)
    }
}

impl Record {
    /// Plan, bundle and key that the keys are of; `None` while they are incomplete.
    pub(super) fn origin(&self) -> Option<Origin> {
        self.checked.map(|(bundle, key)| Origin { plan: self.plan, bundle, key })
    }
}

impl Store {
    /// Opens a folder, which is made if there is none, and removes what an interruption left.
    pub(super) fn open(folder: &Path) -> Result<Self, ServiceError> {
        for place in [folder.to_owned(), folder.join("incoming"), folder.join("keys")] {
            make_private(&place).map_err(|error| ServiceError::storage(&place, error))?;
        }
        let lock_path = folder.join("lock");
        let lock = File::create(&lock_path).map_err(|error| ServiceError::storage(&lock_path, error))?;
        lock.try_lock().map_err(|error| {
            let error = match error {
                TryLockError::WouldBlock => io::Error::other("another server runs on this folder"),
                TryLockError::Error(error) => error,
            };
            ServiceError::storage(&lock_path, error)
        })?;
        let path = folder.join("index.redb");
        let failed = |error: redb::Error| ServiceError::Index { path: path.clone(), error: Box::new(error) };
        let index = Database::create(&path).map_err(|error| failed(error.into()))?;
        let store = Self { folder: folder.into(), index, change: Mutex::default(), _lock: lock };
        store.write(|_| Ok(())).map_err(failed)?;
        store.reconcile().map_err(failed)?;
        Ok(store)
    }

    /// The record of keys.
    pub(super) fn get(&self, name: &KeysName) -> Result<Option<Record>, Problem> {
        let all = self.index.begin_read().map_err(redb::Error::from).and_then(|read| {
            let table = read.open_table(KEYS)?;
            Ok(table.get(name.to_string().as_str())?.map(|value| value.value().to_vec()))
        });
        all.map_err(broken)?.map(|bytes| postcard::from_bytes(&bytes).map_err(|_| damaged())).transpose()
    }

    /// Records of one owner.
    pub(super) fn of_owner(&self, owner: &str) -> Result<Vec<(KeysName, Record)>, Problem> {
        let mut all = self.all().map_err(broken)?;
        all.retain(|(name, _)| name.owner() == owner);
        Ok(all)
    }

    /// State of keys, for their owner.
    pub(super) fn state(&self, name: &KeysName, record: &Record) -> Result<KeysState, Problem> {
        let complete = record.checked.is_some();
        let offset = match fs::metadata(self.incoming(name)) {
            _ if complete => record.length,
            Ok(file) => file.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(cannot_store(error)),
        };
        Ok(KeysState {
            id: name.id().to_owned(),
            plan: hex(&record.plan),
            length: record.length,
            offset,
            complete,
        })
    }

    /// Begins an upload within a quota, unless there are such keys already.
    pub(super) fn offer(
        &self,
        name: &KeysName,
        plan: [u8; 32],
        length: u64,
        quota: u64,
    ) -> Result<Record, Problem> {
        let _change = self.exclusive();
        if let Some(found) = self.get(name)? {
            return Ok(found);
        }
        let used: u64 = self.of_owner(name.owner())?.iter().map(|(_, record)| record.length).sum();
        if used.saturating_add(length) > quota {
            let detail = format!(
                "these keys take {length} bytes, and {used} of {quota} are in use: delete keys that are not needed"
            );
            return Err(Problem::new(Code::QuotaExceeded, detail));
        }
        let record = Record { plan, length, checked: None, used: now() };
        self.put(name, &record)?;
        Ok(record)
    }

    /// Gives keys that were checked their place.
    pub(super) fn complete(&self, name: &KeysName, origin: &Origin) -> Result<(), Problem> {
        let _change = self.exclusive();
        let Some(mut record) = self.get(name)? else {
            return Err(Problem::new(Code::UnknownKeys, "the keys were deleted while they arrived"));
        };
        let incoming = self.incoming(name);
        let keys = self.file(name);
        File::open(&incoming)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&incoming, &keys))
            .and_then(|()| sync_folder(&self.folder.join("keys")))
            .map_err(cannot_store)?;
        record.checked = Some((origin.bundle, origin.key));
        record.used = now();
        self.put(name, &record)
    }

    /// Notes that keys were used.
    pub(super) fn touch(&self, name: &KeysName, record: &Record) -> Result<(), Problem> {
        let used = now();
        if used.saturating_sub(record.used) < REMEMBER_USE {
            return Ok(());
        }
        let _change = self.exclusive();
        // They may have been deleted meanwhile.
        match self.get(name)? {
            Some(found) => self.put(name, &Record { used, ..found }),
            None => Ok(()),
        }
    }

    /// Forgets keys and deletes their files.
    pub(super) fn delete(&self, name: &KeysName) -> Result<(), Problem> {
        let _change = self.exclusive();
        let removed = self.write(|table| {
            table.remove(name.to_string().as_str())?;
            Ok(())
        });
        removed.map_err(broken)?;
        for path in [self.incoming(name), self.file(name)] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot_store(error)),
                _ => (),
            }
        }
        Ok(())
    }

    /// Names of keys that were not used for a time, and of uploads that were begun that long ago and not finished.
    pub(super) fn expired(&self, keys: Duration, uploads: Duration) -> Result<Vec<KeysName>, Problem> {
        let now = now();
        let old = |record: &Record| {
            let age = if record.checked.is_some() { keys } else { uploads };
            record.used < now.saturating_sub(age.as_secs())
        };
        let all = self.all().map_err(broken)?.into_iter();
        Ok(all.filter(|(_, record)| old(record)).map(|(name, _)| name).collect())
    }

    /// Bytes of all keys, and their number.
    pub(super) fn totals(&self) -> Result<(u64, usize), Problem> {
        let all = self.all().map_err(broken)?;
        Ok((all.iter().map(|(_, record)| record.length).sum(), all.len()))
    }

    /// File of checked keys.
    pub(super) fn file(&self, name: &KeysName) -> PathBuf {
        self.folder.join("keys").join(name.to_string())
    }

    /// File of keys that arrive.
    pub(super) fn incoming(&self, name: &KeysName) -> PathBuf {
        self.folder.join("incoming").join(name.to_string())
    }

    fn exclusive(&self) -> MutexGuard<'_, ()> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, name: &KeysName, record: &Record) -> Result<(), Problem> {
        let bytes = postcard::to_allocvec(record).map_err(|_| damaged())?;
        let written = self.write(|table| {
            table.insert(name.to_string().as_str(), bytes.as_slice())?;
            Ok(())
        });
        written.map_err(broken)
    }

    fn write(
        &self,
        change: impl FnOnce(&mut redb::Table<'_, &'static str, &'static [u8]>) -> Result<(), redb::Error>,
    ) -> Result<(), redb::Error> {
        let write = self.index.begin_write()?;
        change(&mut write.open_table(KEYS)?)?;
        Ok(write.commit()?)
    }

    /// All records that can be read.
    fn all(&self) -> Result<Vec<(KeysName, Record)>, redb::Error> {
        let read = self.index.begin_read()?;
        let table = read.open_table(KEYS)?;
        let mut all = Vec::new();
        for entry in table.iter()? {
            let (name, bytes) = entry?;
            match (KeysName::parse(name.value()), postcard::from_bytes(bytes.value())) {
                (Some(name), Ok(record)) => all.push((name, record)),
                _ => tracing::error!("a record of the index of keys cannot be read and does not count"),
            }
        }
        Ok(all)
    }

    /// Removes files without a record, and records of checked keys without their file.
    fn reconcile(&self) -> Result<(), redb::Error> {
        let all = self.all()?;
        let mut known = HashSet::new();
        for (name, record) in &all {
            let whole = fs::metadata(self.file(name)).is_ok_and(|file| file.len() == record.length);
            if whole || record.checked.is_none() {
                known.insert(name.to_string());
            } else {
                tracing::error!("keys of a token are lost: their file is missing or has another length");
                self.write(|table| {
                    table.remove(name.to_string().as_str())?;
                    Ok(())
                })?;
            }
        }
        for folder in ["incoming", "keys"] {
            for entry in fs::read_dir(self.folder.join(folder))? {
                let entry = entry?;
                if !entry.file_name().to_str().is_some_and(|name| known.contains(name)) {
                    fs::remove_file(entry.path())?;
                }
            }
        }
        Ok(())
    }
}

/// Whether a folder has keys of a token, whole or in part.
pub(super) fn has_keys(folder: &Path, owner: &str) -> Result<bool, ServiceError> {
    for place in [folder.join("incoming"), folder.join("keys")] {
        let failed = |error| ServiceError::storage(&place, error);
        let entries = match fs::read_dir(&place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let file = entry.map_err(failed)?.file_name();
            if file.to_str().and_then(KeysName::parse).is_some_and(|name| name.owner == owner) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// The refusal for a failure of the file system, which the log names.
pub(super) fn cannot_store(error: io::Error) -> Problem {
    tracing::error!(%error, "the storage failed");
    Problem::new(Code::StorageFailed, "files of the server cannot be read or written")
}

/// Makes a folder that only its owner enters, and those above it.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes names in a folder last through a loss of power.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

fn broken(error: redb::Error) -> Problem {
    tracing::error!(%error, "the index of keys failed");
    Problem::new(Code::StorageFailed, "the index of keys cannot be read or written")
}

fn damaged() -> Problem {
    Problem::new(Code::Internal, "a record of the index cannot be read")
}

fn now() -> u64 {
    // A clock before 1970 makes everything new.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_quotas_survive_and_expire() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path()).unwrap();
        assert!(Store::open(place.path()).is_err(), "one server at a time");
        let [a, b, c] = [1, 2, 3].map(|i| KeysName::new("ward", &[i; 32]));
        let other = KeysName::new("other", &[1; 32]);
        store.offer(&a, [7; 32], 60, 100).unwrap();
        assert_eq!(store.offer(&b, [7; 32], 41, 100).unwrap_err().code, Code::QuotaExceeded);
        assert_eq!(store.offer(&b, [7; 32], u64::MAX, 100).unwrap_err().code, Code::QuotaExceeded);
        store.offer(&b, [7; 32], 40, 100).unwrap();
        store.offer(&other, [7; 32], 100, 100).unwrap();
        store.offer(&a, [7; 32], 60, 100).unwrap();
        assert_eq!(store.of_owner("ward").unwrap().len(), 2);

        fs::write(store.incoming(&a), [0; 60]).unwrap();
        fs::write(store.incoming(&b), [0; 10]).unwrap();
        fs::write(store.incoming(&c), [0; 10]).unwrap();
        let origin = Origin { plan: [7; 32], bundle: [8; 32], key: [9; 16] };
        store.complete(&a, &origin).unwrap();
        drop(store);
        let store = Store::open(place.path()).unwrap();
        let found = store.get(&a).unwrap().unwrap();
        assert_eq!(found.origin(), Some(origin));
        let state = store.state(&a, &found).unwrap();
        assert!(state.complete && state.offset == 60);
        let found = store.get(&b).unwrap().unwrap();
        let state = store.state(&b, &found).unwrap();
        assert!(!state.complete && state.offset == 10);
        assert!(!store.incoming(&c).exists(), "files without a record go");

        let [long, short] = [90, 60].map(Duration::from_secs);
        assert!(store.expired(long, short).unwrap().is_empty());
        for name in [&a, &b] {
            let found = store.get(name).unwrap().unwrap();
            store.put(name, &Record { used: now() - 70, ..found }).unwrap();
        }
        assert_eq!(store.expired(long, short).unwrap(), std::slice::from_ref(&b));
        store.delete(&b).unwrap();
        assert!(store.get(&b).unwrap().is_none() && !store.incoming(&b).exists());
        fs::write(store.file(&a), [0; 59]).unwrap();
        drop(store);
        let store = Store::open(place.path()).unwrap();
        assert!(store.get(&a).unwrap().is_none(), "lost keys are not offered");
        assert!(!store.file(&a).exists(), "what is left of them goes");
    }
}
