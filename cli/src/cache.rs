//! Compiled plans on disk. Whatever is wrong with a file there, it is as if it were not.

use crate::files::{self, UNFINISHED_PREFIX};
use crate::text;
use anyhow::{Context, Result};
use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};
use sha2::{Digest, Sha256};
use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Bytes of plans that are kept.
const LIMIT: u64 = 4 << 30;
/// Age at which a file that is still being written is taken for abandoned.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);
const MAGIC: &[u8; 8] = b"PLEURA\0\x01";
const HASH: usize = 32;
const SUFFIX: &str = ".plan";
/// How names of files of compiled kernels start.
const KERNELS_PREFIX: &str = "wgpu_pipeline_cache";

/// A cache that has no place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    #[error("there is no place for a cache: set PLEURA_CACHE to a directory")]
    NoPlace,
    #[error("PLEURA_CACHE is empty: set it to a directory, or do not set it")]
    Empty,
}

/// A directory of plans.
pub(crate) struct Cache {
    folder: PathBuf,
    limit: u64,
}

/// The place of a plan.
pub(crate) struct Entry(PathBuf);

/// Where compiled kernels of GPUs are kept, if there is a place for them.
pub(crate) fn kernels() -> Result<Option<PathBuf>, CacheError> {
    match place() {
        Ok(place) => Ok(Some(place.join("kernels"))),
        Err(CacheError::NoPlace) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Deletes compiled kernels, and tells their bytes.
pub(crate) fn clear_kernels() -> Result<u64> {
    let (folder, files) = kernel_files()?;
    clear(&files).map(|(_, bytes)| bytes).with_context(|| cannot_use(&folder))
}

/// Bytes of compiled kernels.
pub(crate) fn kernel_bytes() -> Result<u64> {
    Ok(kernel_files()?.1.iter().map(|(_, file)| file.len()).sum())
}

fn kernel_files() -> Result<(PathBuf, Vec<(PathBuf, Metadata)>)> {
    let folder = place()?.join("kernels");
    let files = regular_files(&folder, |name| name.starts_with(KERNELS_PREFIX));
    let files = files.with_context(|| cannot_use(&folder))?;
    Ok((folder, files))
}

fn cannot_use(folder: &Path) -> String {
    format!("cannot use the cache in {}", folder.display())
}

/// How many files were deleted, and their bytes.
fn clear(files: &[(PathBuf, Metadata)]) -> io::Result<(usize, u64)> {
    files.iter().try_for_each(|(path, _)| delete(path))?;
    Ok((files.len(), files.iter().map(|(_, file)| file.len()).sum()))
}

/// A hash of all that a plan depends on.
pub(crate) struct Key(Sha256);

impl Key {
    /// Nothing but the build, since another one may plan otherwise.
    pub(crate) fn new() -> Self {
        let build = || -> io::Result<Vec<u8>> {
            let file = std::env::current_exe()?.metadata()?;
            let age = file.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            Ok([file.len().to_le_bytes().to_vec(), age.as_nanos().to_le_bytes().to_vec()].concat())
        };
        Self(Sha256::new()).and(env!("CARGO_PKG_VERSION").as_bytes()).and(&build().unwrap_or_default())
    }

    /// With something more.
    pub(crate) fn and(mut self, field: &[u8]) -> Self {
        // With its length, so that fields cannot run into each other.
        self.0.update((field.len() as u64).to_le_bytes());
        self.0.update(field);
        self
    }

    fn name(self) -> String {
        text::hex(&self.0.finalize()) + SUFFIX
    }
}

impl Cache {
    /// Where `PLEURA_CACHE` says, or where the system keeps caches.
    pub(crate) fn find() -> Result<Self, CacheError> {
        Ok(Self { folder: place()?.join("plans"), limit: LIMIT })
    }

    /// Its directory.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the plan of a key is, or would be.
    pub(crate) fn entry(&self, key: Key) -> Entry {
        Entry(self.folder.join(key.name()))
    }

    /// The plan there, as long as it is whole.
    pub(crate) fn load(&self, Entry(path): &Entry) -> Option<Vec<u8>> {
        let mut bytes = files::read(path, self.limit).ok()?;
        let (hash, plan) = bytes.strip_prefix(MAGIC)?.split_at_checked(HASH)?;
        (Sha256::digest(plan)[..] == *hash).then_some(())?;
        bytes.drain(..MAGIC.len() + HASH);
        // The oldest are the first to go; this one is of use.
        let _ = File::options().write(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(bytes)
    }

    /// Keeps a plan, and lets others go if there are too many.
    pub(crate) fn store(&self, Entry(path): &Entry, plan: &[u8]) -> Result<()> {
        if plan.len() as u64 > self.limit / 2 {
            return Ok(());
        }
        fs::create_dir_all(&self.folder).with_context(|| cannot_use(&self.folder))?;
        files::write(path, &[MAGIC, &Sha256::digest(plan), plan], true, true)?;
        self.shrink(path).with_context(|| cannot_use(&self.folder))
    }

    /// How many plans there are, and their bytes.
    pub(crate) fn size(&self) -> Result<(usize, u64)> {
        let plans = self.plans().with_context(|| cannot_use(&self.folder))?;
        Ok((plans.len(), plans.iter().map(|(_, file)| file.len()).sum()))
    }

    /// Deletes all plans, and nothing that is not one; tells how many there were, and their bytes.
    pub(crate) fn clear(&self) -> Result<(usize, u64)> {
        self.plans().and_then(|plans| clear(&plans)).with_context(|| cannot_use(&self.folder))
    }

    fn shrink(&self, newest: &Path) -> io::Result<()> {
        let mut plans = self.plans()?;
        plans.sort_by_key(|(_, file)| file.modified().ok());
        let mut total: u64 = plans.iter().map(|(_, file)| file.len()).sum();
        for (path, file) in plans.iter().filter(|(path, _)| path != newest) {
            if total <= self.limit {
                break;
            }
            delete(path)?;
            total -= file.len();
        }
        for (path, file) in self.files(|name| name.starts_with(UNFINISHED_PREFIX))? {
            let age = file.modified().ok().and_then(|at| at.elapsed().ok());
            if age.is_some_and(|age| age > ABANDONED) {
                delete(&path)?;
            }
        }
        Ok(())
    }

    fn plans(&self) -> io::Result<Vec<(PathBuf, Metadata)>> {
        self.files(|name| name.len() == 64 + SUFFIX.len() && name.ends_with(SUFFIX))
    }

    fn files(&self, wanted: fn(&str) -> bool) -> io::Result<Vec<(PathBuf, Metadata)>> {
        regular_files(&self.folder, wanted)
    }
}

/// The folder of plans and kernels.
pub(crate) fn place() -> Result<PathBuf, CacheError> {
    let place = match std::env::var_os("PLEURA_CACHE") {
        // A script's variable that was never set must not make it the user's own cache.
        Some(asked) if asked.is_empty() => return Err(CacheError::Empty),
        Some(asked) => PathBuf::from(asked),
        None => choose_native_strategy().map_err(|_| CacheError::NoPlace)?.cache_dir(),
    };
    Ok(place.join("pleura"))
}

/// None where there is no folder.
fn regular_files(folder: &Path, wanted: fn(&str) -> bool) -> io::Result<Vec<(PathBuf, Metadata)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?.flatten(),
    };
    let wanted = entries.filter(|entry| entry.file_name().to_str().is_some_and(wanted));
    Ok(wanted
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok().filter(Metadata::is_file)?)))
        .collect())
}

// Another process may have been faster.
fn delete(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(limit: u64) -> (tempfile::TempDir, Cache) {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("pleura/plans");
        (place, Cache { folder, limit })
    }

    fn key(of: &str) -> Key {
        Key::new().and(of.as_bytes())
    }

    fn keep(cache: &Cache, of: &str, plan: &[u8]) -> PathBuf {
        let entry = cache.entry(key(of));
        cache.store(&entry, plan).unwrap();
        entry.0
    }

    fn kept(cache: &Cache, of: &str) -> Option<Vec<u8>> {
        cache.load(&cache.entry(key(of)))
    }

    #[test]
    fn plans_come_back() {
        let (_place, cache) = cache(LIMIT);
        keep(&cache, "a", b"plan of a");
        keep(&cache, "b", b"");
        assert_eq!(kept(&cache, "a").unwrap(), b"plan of a");
        assert_eq!(kept(&cache, "b").unwrap(), b"");
        assert!(kept(&cache, "c").is_none());
        assert_eq!(cache.size().unwrap(), (2, 2 * 40 + 9));
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let name = |fields: &[&str]| fields.iter().fold(Key::new(), |k, f| k.and(f.as_bytes())).name();
        assert_eq!(name(&["ab", "c"]), name(&["ab", "c"]));
        assert_ne!(name(&["ab", "c"]), name(&["a", "bc"]));
        assert_ne!(name(&["ab"]), name(&["ab", ""]));
    }

    #[test]
    fn damage_is_found_and_mended() {
        let (_place, cache) = cache(LIMIT);
        let path = keep(&cache, "a", b"plan of a");
        let whole = fs::read(&path).unwrap();
        let mut other = whole.clone();
        other[45] ^= 1;
        let damaged = [&whole[..whole.len() - 1], &whole[..20], b"", b"something else entirely", &other];
        for bytes in damaged {
            fs::write(&path, bytes).unwrap();
            assert!(kept(&cache, "a").is_none());
            keep(&cache, "a", b"plan of a");
            assert_eq!(fs::read(&path).unwrap(), whole);
        }
    }

    #[test]
    fn the_least_used_go_first() {
        let (_place, cache) = cache(400);
        let paths = ["a", "b", "c"].map(|name| keep(&cache, name, &[7; 60]));
        for (path, age) in paths.iter().zip([300, 200, 100]) {
            let then = SystemTime::now() - Duration::from_secs(age);
            File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
        }
        kept(&cache, "a").unwrap();
        keep(&cache, "d", &[7; 100]);
        let there = ["a", "b", "c", "d"].map(|name| kept(&cache, name).is_some());
        assert_eq!(there, [true, false, true, true]);
        keep(&cache, "e", &[7; 201]);
        assert!(kept(&cache, "e").is_none(), "more than half of the cache is not kept");
    }

    #[test]
    fn only_plans_are_deleted() {
        let (_place, cache) = cache(400);
        assert_eq!(cache.clear().unwrap(), (0, 0));
        keep(&cache, "a", b"plan");
        let stranger = cache.folder().join("thesis.tex");
        let abandoned = cache.folder().join(".pleura-abc");
        fs::write(&stranger, b"years of work").unwrap();
        let old = SystemTime::now() - 2 * ABANDONED;
        File::create(&abandoned).unwrap().set_modified(old).unwrap();
        keep(&cache, "b", b"plan");
        assert!(!abandoned.exists());
        assert_eq!(cache.clear().unwrap(), (2, 2 * 44));
        assert_eq!(cache.size().unwrap(), (0, 0));
        assert!(stranger.exists());
    }

    #[test]
    #[cfg(unix)]
    fn a_place_that_cannot_be_written_is_an_error_to_be_told() {
        let cache = Cache { folder: "/dev/null/pleura".into(), limit: LIMIT };
        let entry = cache.entry(key("a"));
        assert!(cache.store(&entry, b"plan").is_err());
        assert!(cache.size().unwrap_err().to_string().contains("/dev/null/pleura"));
    }
}
