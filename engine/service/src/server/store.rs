//! Evaluation keys on disk. The files are all that is stored of them, so that neither a kill nor a full disk leaves an index that
//! contradicts them.
//!
//! `incoming/` has uploads in progress, named by owner, content hash, plan and length; the length of a file is the offset to go on
//! from. `keys/` has checked keys, named by owner and content hash, whose first bytes say what they were made for. A file gets
//! there by a rename after it was synced. The time of a file is that of its last use.

use super::error::ServiceError;
use crate::api::{KeysState, hex, unhex};
use crate::problem::{Code, Problem};
use pleura::remote::{KEYS_START, Origin, stated_origin};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// The last use of keys is written down again after this time.
const REMEMBER_USE: Duration = Duration::from_secs(3600);
/// Folder of uploads in progress.
const INCOMING: &str = "incoming";
/// Folder of checked keys.
const KEYS: &str = "keys";

/// Owner and content hash of keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct KeysName {
    owner: String,
    /// The hash in hexadecimal digits.
    id: String,
}

/// Facts about keys.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    /// Digest of the plan.
    pub(super) plan: [u8; 32],
    pub(super) length: u64,
    /// Plan, bundle and key that the keys are of; `None` while they are incomplete.
    pub(super) origin: Option<Origin>,
    used: SystemTime,
}

/// Keys of all tokens.
pub(super) struct Store {
    folder: PathBuf,
    /// Quotas are compared and claimed, and files renamed and deleted, under its lock.
    records: Mutex<HashMap<KeysName, Record>>,
    /// Keeps a second server off the folder.
    _lock: File,
}

impl KeysName {
    pub(super) fn new(owner: &str, id: &[u8; 32]) -> Self {
        Self { owner: owner.to_owned(), id: hex(id) }
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

impl Store {
    /// Opens a folder, which is made if there is none, and removes what is in the places of keys and is none.
    pub(super) fn open(folder: &Path) -> Result<Self, ServiceError> {
        for place in [folder.to_owned(), folder.join(INCOMING), folder.join(KEYS)] {
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
        let mut records = HashMap::new();
        for (place, read) in [(INCOMING, begun as fn(&_, &_) -> _), (KEYS, checked)] {
            let place = folder.join(place);
            let found = scan(&place, read).map_err(|error| ServiceError::storage(&place, error))?;
            records.extend(found);
        }
        Ok(Self { folder: folder.into(), records: Mutex::new(records), _lock: lock })
    }

    /// The record of keys.
    pub(super) fn get(&self, name: &KeysName) -> Option<Record> {
        self.records().get(name).copied()
    }

    /// Records of one owner.
    pub(super) fn of_owner(&self, owner: &str) -> Vec<(KeysName, Record)> {
        let records = self.records();
        let own = records.iter().filter(|(name, _)| name.owner() == owner);
        own.map(|(name, record)| (name.clone(), *record)).collect()
    }

    /// State of keys, for their owner.
    pub(super) fn state(&self, name: &KeysName, record: &Record) -> Result<KeysState, Problem> {
        let complete = record.origin.is_some();
        let offset = match fs::metadata(self.incoming(name, record)) {
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
        let mut records = self.records();
        let used: u64 =
            records.iter().filter(|(other, _)| other.owner() == name.owner()).map(|(_, r)| r.length).sum();
        let free = match records.entry(name.clone()) {
            Entry::Occupied(found) => return Ok(*found.get()),
            Entry::Vacant(free) => free,
        };
        if used.saturating_add(length) > quota {
            let detail = format!(
                "these keys take {length} bytes, and {used} of {quota} are in use: delete keys that are not needed"
            );
            return Err(Problem::new(Code::QuotaExceeded, detail));
        }
        let record = Record { plan, length, origin: None, used: SystemTime::now() };
        open_private(&self.incoming(name, &record)).map_err(cannot_store)?;
        Ok(*free.insert(record))
    }

    /// Names of an owner's keys that have to go so that others of some length have room: the least recently used ones, of those that
    /// were not used for a time. None if nothing is gained by that.
    pub(super) fn in_the_way(
        &self,
        name: &KeysName,
        length: u64,
        quota: u64,
        unused: Duration,
    ) -> Vec<KeysName> {
        let mut own = self.of_owner(name.owner());
        let mut excess = own.iter().fold(length, |sum, (_, record)| sum.saturating_add(record.length));
        if own.iter().any(|(other, _)| other == name) {
            return Vec::new();
        }
        own.sort_by_key(|(name, record)| self.used(name, record));
        let now = SystemTime::now();
        let mut gone = Vec::new();
        for (name, record) in own {
            let idle = now.duration_since(self.used(&name, &record)).is_ok_and(|time| time > unused);
            if excess > quota && idle {
                excess -= record.length;
                gone.push(name);
            }
        }
        if excess > quota { Vec::new() } else { gone }
    }

    /// Gives keys that were checked and synced their place.
    pub(super) fn complete(&self, name: &KeysName, origin: Origin) -> Result<(), Problem> {
        let mut records = self.records();
        let Some(record) = records.get_mut(name) else {
            return Err(Problem::new(Code::UnknownKeys, "the keys were deleted while they arrived"));
        };
        fs::rename(self.incoming(name, record), self.file(name)).map_err(cannot_store)?;
        record.origin = Some(origin);
        record.used = SystemTime::now();
        sync_folder(&self.folder.join(KEYS)).map_err(cannot_store)
    }

    /// Notes that keys were used.
    pub(super) fn touch(&self, name: &KeysName) {
        let mut records = self.records();
        // They may have been deleted meanwhile.
        let Some(record) = records.get_mut(name) else { return };
        let now = SystemTime::now();
        if now.duration_since(record.used).is_ok_and(|unused| unused < REMEMBER_USE) {
            return;
        }
        record.used = now;
        let noted = OpenOptions::new().write(true).open(self.file(name));
        if let Err(error) = noted.and_then(|file| file.set_modified(now)) {
            tracing::warn!(%error, "the time of the last use of keys cannot be written");
        }
    }

    /// Forgets keys and deletes their files.
    pub(super) fn delete(&self, name: &KeysName) -> Result<(), Problem> {
        let mut records = self.records();
        let Some(record) = records.get(name) else { return Ok(()) };
        for path in [self.incoming(name, record), self.file(name)] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot_store(error)),
                _ => (),
            }
        }
        records.remove(name);
        Ok(())
    }

    /// Names of keys that were not used for a time, and of uploads that did not go on for another.
    pub(super) fn expired(&self, keys: Duration, uploads: Duration) -> Vec<KeysName> {
        let now = SystemTime::now();
        let is_old = |name: &KeysName, record: &Record| {
            let age = if record.origin.is_some() { keys } else { uploads };
            // Times that are ahead of the clock are new.
            now.duration_since(self.used(name, record)).is_ok_and(|unused| unused > age)
        };
        let records = self.records();
        let old = records.iter().filter(|(name, record)| is_old(name, record));
        old.map(|(name, _)| name.clone()).collect()
    }

    /// Bytes of all keys.
    pub(super) fn bytes(&self) -> u64 {
        self.records().values().map(|record| record.length).sum()
    }

    /// File of checked keys.
    pub(super) fn file(&self, name: &KeysName) -> PathBuf {
        self.folder.join(KEYS).join(name.to_string())
    }

    /// File of keys that arrive.
    pub(super) fn incoming(&self, name: &KeysName, record: &Record) -> PathBuf {
        let Record { plan, length, .. } = record;
        self.folder.join(INCOMING).join(format!("{name}.{}.{length}", hex(plan)))
    }

    /// When keys were used last, or when the last bytes of an upload arrived.
    fn used(&self, name: &KeysName, record: &Record) -> SystemTime {
        if record.origin.is_some() {
            return record.used;
        }
        let arrived = fs::metadata(self.incoming(name, record)).and_then(|file| file.modified());
        arrived.map_or(record.used, |arrived| arrived.max(record.used))
    }

    fn records(&self) -> MutexGuard<'_, HashMap<KeysName, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records of the files in a folder; what `read` makes no record of is removed.
fn scan(
    folder: &Path,
    read: impl Fn(&Path, &Metadata) -> io::Result<Option<(KeysName, Record)>>,
) -> io::Result<Vec<(KeysName, Record)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match read(&path, &fs::symlink_metadata(&path)?)? {
            Some(record) => found.push(record),
            None => {
                tracing::error!("a file in the place of keys holds none and is deleted");
                fs::remove_file(path)?;
            }
        }
    }
    Ok(found)
}

/// The record of an upload in progress.
fn begun(path: &Path, file: &Metadata) -> io::Result<Option<(KeysName, Record)>> {
    let used = file.modified()?;
    let Some((name, rest)) = parse(path) else { return Ok(None) };
    let parts = rest.split_once('.').and_then(|(plan, length)| Some((unhex(plan)?, length.parse().ok()?)));
    let record = parts.map(|(plan, length)| Record { plan, length, origin: None, used });
    Ok(record.filter(|record| file.is_file() && file.len() <= record.length).map(|record| (name, record)))
}

/// The record of checked keys.
fn checked(path: &Path, file: &Metadata) -> io::Result<Option<(KeysName, Record)>> {
    let used = file.modified()?;
    let Some((name, "")) = parse(path).filter(|_| file.is_file()) else { return Ok(None) };
    let mut start = Vec::new();
    File::open(path)?.take(KEYS_START as u64).read_to_end(&mut start)?;
    let Ok(Some(origin)) = stated_origin(&start) else { return Ok(None) };
    let record = Record { plan: origin.plan, length: file.len(), origin: Some(origin), used };
    Ok(Some((name, record)))
}

/// Owner and content hash in the name of a file, and what follows them.
fn parse(path: &Path) -> Option<(KeysName, &str)> {
    let (owner, rest) = path.file_name()?.to_str()?.split_once('.')?;
    let (id, rest) = rest.split_once('.').unwrap_or((rest, ""));
    Some((KeysName::new(owner, &unhex(id)?), rest))
}

/// Whether a folder has keys of a token, whole or in part.
pub(super) fn has_keys(folder: &Path, owner: &str) -> Result<bool, ServiceError> {
    for place in [folder.join(INCOMING), folder.join(KEYS)] {
        let failed = |error| ServiceError::storage(&place, error);
        let entries = match fs::read_dir(&place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            if parse(&entry.map_err(failed)?.path()).is_some_and(|(name, _)| name.owner == owner) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Opens a file to read and write, made if there is none; only its owner can read it.
pub(super) fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
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

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: [u8; 32] = [7; 32];

    /// The start of keys, as the default network's have it, with other bytes in the place of the rest.
    fn keys(length: usize) -> Vec<u8> {
        let mut bytes = b"PLEU\x01\0\x15\0".to_vec();
        bytes.extend([[0; 32], PLAN, [8; 32]].concat());
        bytes.extend([9; 16]);
        bytes.resize(length, 0);
        bytes
    }

    #[test]
    fn keys_have_quotas_survive_and_expire() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path()).unwrap();
        assert!(Store::open(place.path()).is_err(), "one server at a time");
        let [a, b] = [1, 2].map(|i| KeysName::new("ward", &[i; 32]));
        let other = KeysName::new("other", &[1; 32]);
        let begun = store.offer(&a, PLAN, 600, 1000).unwrap();
        assert_eq!(store.offer(&b, PLAN, 401, 1000).unwrap_err().code, Code::QuotaExceeded);
        assert_eq!(store.offer(&b, PLAN, u64::MAX, 1000).unwrap_err().code, Code::QuotaExceeded);
        let half = store.offer(&b, PLAN, 400, 1000).unwrap();
        store.offer(&other, PLAN, 1000, 1000).unwrap();
        store.offer(&a, PLAN, 600, 1000).unwrap();
        assert_eq!(store.of_owner("ward").len(), 2);

        fs::write(store.incoming(&a, &begun), keys(600)).unwrap();
        fs::write(store.incoming(&b, &half), [0; 10]).unwrap();
        let origin = Origin { plan: PLAN, bundle: [8; 32], key: [9; 16] };
        store.complete(&a, origin).unwrap();
        drop(store);
        let store = Store::open(place.path()).unwrap();
        let found = store.get(&a).unwrap();
        assert_eq!(found.origin, Some(origin));
        let state = store.state(&a, &found).unwrap();
        assert!(state.complete && state.offset == 600);
        let found = store.get(&b).unwrap();
        let state = store.state(&b, &found).unwrap();
        assert!(!state.complete && state.offset == 10 && state.length == 400);
        assert_eq!(store.offer(&b, PLAN, 400, 0).unwrap().length, 400, "an offer may be repeated");

        let [long, short] = [90, 60].map(Duration::from_secs);
        assert!(store.expired(long, short).is_empty());
        let past = SystemTime::now() - Duration::from_secs(70);
        for path in [store.file(&a), store.incoming(&b, &half)] {
            open_private(&path).unwrap().set_modified(past).unwrap();
        }
        drop(store);
        let store = Store::open(place.path()).unwrap();
        assert_eq!(store.expired(long, short), std::slice::from_ref(&b));
        store.delete(&b).unwrap();
        assert!(store.get(&b).is_none() && !store.incoming(&b, &half).exists());
        assert_eq!(store.bytes(), 1600);
    }

    #[test]
    fn keys_that_were_not_used_for_a_time_make_room() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path()).unwrap();
        let names = [1, 2, 3, 4].map(|i| KeysName::new("ward", &[i; 32]));
        for (name, hours) in names.iter().zip([3, 4, 0]) {
            let record = store.offer(name, PLAN, 300, 1000).unwrap();
            let past = SystemTime::now() - Duration::from_secs(3600 * hours);
            open_private(&store.incoming(name, &record)).unwrap().set_modified(past).unwrap();
        }
        drop(store);
        let store = Store::open(place.path()).unwrap();
        let [a, b, c, new] = &names;
        let in_the_way = |length| store.in_the_way(new, length, 1000, Duration::from_secs(7200));
        assert!(in_the_way(100).is_empty(), "there is room");
        assert_eq!(in_the_way(400), std::slice::from_ref(b));
        assert_eq!(in_the_way(700), [b.clone(), a.clone()]);
        assert!(in_the_way(701).is_empty(), "the third was just used");
        assert!(store.in_the_way(c, 300, 100, Duration::ZERO).is_empty(), "they are there");
        let other = KeysName::new("other", &[1; 32]);
        assert!(store.in_the_way(&other, 1001, 1000, Duration::ZERO).is_empty());
    }

    #[test]
    fn uses_are_remembered() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path()).unwrap();
        let name = KeysName::new("ward", &[1; 32]);
        fs::write(store.file(&name), keys(600)).unwrap();
        let past = SystemTime::now() - 2 * REMEMBER_USE;
        open_private(&store.file(&name)).unwrap().set_modified(past).unwrap();
        drop(store);
        let store = Store::open(place.path()).unwrap();
        assert_eq!(store.expired(REMEMBER_USE, REMEMBER_USE), std::slice::from_ref(&name));
        store.touch(&name);
        assert!(store.expired(REMEMBER_USE, REMEMBER_USE).is_empty());
        drop(store);
        let store = Store::open(place.path()).unwrap();
        assert!(store.expired(REMEMBER_USE, REMEMBER_USE).is_empty());
    }

    #[test]
    fn files_that_hold_no_keys_are_deleted() {
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path()).unwrap();
        let name = KeysName::new("ward", &[1; 32]);
        let record = store.offer(&name, PLAN, 400, 1000).unwrap();
        fs::write(store.incoming(&name, &record), [0; 401]).unwrap();
        let mut damaged = keys(600);
        damaged[6] ^= 1;
        let files = [
            (store.file(&name), damaged),
            (place.path().join("keys/notes"), keys(600)),
            (place.path().join("keys/ward.0123"), keys(600)),
            (place.path().join(format!("incoming/{name}")), Vec::new()),
            (place.path().join(format!("incoming/{name}.{}", hex(&PLAN))), Vec::new()),
        ];
        for (path, bytes) in &files {
            fs::write(path, bytes).unwrap();
        }
        drop(store);
        let store = Store::open(place.path()).unwrap();
        assert!(store.records().is_empty());
        for folder in [INCOMING, KEYS] {
            assert_eq!(fs::read_dir(place.path().join(folder)).unwrap().count(), 0);
        }
    }

    #[test]
    #[cfg(unix)]
    fn only_the_owner_can_read_keys() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let store = Store::open(place.path()).unwrap();
        let name = KeysName::new("ward", &[1; 32]);
        let record = store.offer(&name, PLAN, 400, 1000).unwrap();
        let mode = fs::metadata(store.incoming(&name, &record)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
