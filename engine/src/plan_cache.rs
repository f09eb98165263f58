//! Compiled plans in a folder. A file there that is damaged counts as missing.

use pleura_nn::{Plan, PlanFileError};
use sha2::{Digest, Sha256};
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Age at which a file that is still being written counts as abandoned.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);
const MAGIC: &[u8; 8] = b"PLEURA\0\x01";
const HASH: usize = 32;
const SUFFIX: &str = ".plan";
/// Names of files that are being written start with this.
const UNFINISHED_PREFIX: &str = ".pleura-";

/// A folder of plans, of which the least recently used are deleted beyond a limit of bytes.
#[derive(Clone, Debug)]
pub struct PlanCache {
    folder: PathBuf,
    limit: u64,
}

/// Hash of everything that a plan depends on.
#[derive(Clone)]
pub struct PlanKey(Sha256);

/// Why a plan is not kept, or the folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanCacheError {
    /// The folder cannot be used.
    #[error("cannot use the cache in {}", folder.display())]
    Io {
        /// The folder.
        folder: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The plan cannot be written as bytes.
    #[error(transparent)]
    Plan(#[from] PlanFileError),
}

impl Default for PlanKey {
    fn default() -> Self {
        Self::new()
    }
}

impl PlanKey {
    /// The key of nothing.
    pub fn new() -> Self {
        Self(Sha256::new())
    }

    /// The key with one more field.
    #[must_use]
    pub fn and(mut self, field: &[u8]) -> Self {
        // With the length, so that fields cannot run into each other.
        self.0.update((field.len() as u64).to_le_bytes());
        self.0.update(field);
        self
    }

    fn file_name(&self) -> String {
        let digits = self.0.clone().finalize();
        digits.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + SUFFIX
    }
}

impl PlanCache {
    /// A cache in a folder, which is made when the first plan is stored, of at most `limit` bytes.
    pub fn new(folder: PathBuf, limit: u64) -> Self {
        Self { folder, limit }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The plan of a key, if it is there and whole.
    pub fn load(&self, key: &PlanKey) -> Option<Plan> {
        Plan::from_bytes(&self.load_bytes(key)?).ok()
    }

    /// Keeps a plan, and deletes others beyond the limit. A plan of more than half the limit is not kept.
    ///
    /// # Errors
    /// [`PlanCacheError`]
    pub fn store(&self, key: &PlanKey, plan: &Plan) -> Result<(), PlanCacheError> {
        let bytes = plan.to_bytes()?;
        self.store_bytes(key, &bytes).map_err(|source| self.failed(source))
    }

    /// Number of plans, and their bytes.
    ///
    /// # Errors
    /// [`PlanCacheError::Io`]
    pub fn size(&self) -> Result<(usize, u64), PlanCacheError> {
        let plans = self.plans().map_err(|source| self.failed(source))?;
        Ok((plans.len(), plans.iter().map(|(_, file)| file.len()).sum()))
    }

    /// Deletes all plans, and nothing else; returns their number and their bytes.
    ///
    /// # Errors
    /// [`PlanCacheError::Io`]
    pub fn clear(&self) -> Result<(usize, u64), PlanCacheError> {
        let size = self.size()?;
        let delete_all = || self.plans()?.iter().try_for_each(|(path, _)| delete(path));
        delete_all().map_err(|source| self.failed(source))?;
        Ok(size)
    }

    fn load_bytes(&self, key: &PlanKey) -> Option<Vec<u8>> {
        let path = self.folder.join(key.file_name());
        // A pipe would be waited for, and a link may lead to what has no end.
        fs::symlink_metadata(&path).ok().filter(Metadata::is_file)?;
        let mut file = File::open(&path).ok()?.take(self.limit);
        let mut start = [0; MAGIC.len() + HASH];
        file.read_exact(&mut start).ok()?;
        let hash = start.strip_prefix(MAGIC)?;
        let mut plan = Vec::new();
        file.read_to_end(&mut plan).ok()?;
        (Sha256::digest(&plan)[..] == *hash).then_some(())?;
        // The least recently used are deleted first.
        let _ = File::options().write(true).open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(plan)
    }

    fn store_bytes(&self, key: &PlanKey, plan: &[u8]) -> io::Result<()> {
        if plan.len() as u64 > self.limit / 2 {
            return Ok(());
        }
        fs::create_dir_all(&self.folder)?;
        let path = self.folder.join(key.file_name());
        let mut file = tempfile::Builder::new().prefix(UNFINISHED_PREFIX).tempfile_in(&self.folder)?;
        for part in [MAGIC, &Sha256::digest(plan)[..], plan] {
            file.write_all(part)?;
        }
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        self.shrink(&path)
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

    /// Regular files with certain names; none without the folder.
    fn files(&self, wanted: fn(&str) -> bool) -> io::Result<Vec<(PathBuf, Metadata)>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?.flatten(),
        };
        let wanted = entries.filter(|entry| entry.file_name().to_str().is_some_and(wanted));
        Ok(wanted
            .filter_map(|entry| Some((entry.path(), entry.metadata().ok().filter(Metadata::is_file)?)))
            .collect())
    }

    fn failed(&self, source: io::Error) -> PlanCacheError {
        PlanCacheError::Io { folder: self.folder.clone(), source }
    }
}

/// Deletes a file, which another process may have deleted before.
fn delete(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 1 << 20;

    fn cache(limit: u64) -> (tempfile::TempDir, PlanCache) {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("pleura/plans");
        (place, PlanCache { folder, limit })
    }

    fn key(of: &str) -> PlanKey {
        PlanKey::new().and(of.as_bytes())
    }

    fn keep(cache: &PlanCache, of: &str, plan: &[u8]) -> PathBuf {
        cache.store_bytes(&key(of), plan).unwrap();
        cache.folder.join(key(of).file_name())
    }

    fn kept(cache: &PlanCache, of: &str) -> Option<Vec<u8>> {
        cache.load_bytes(&key(of))
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
        let name =
            |fields: &[&str]| fields.iter().fold(PlanKey::new(), |k, f| k.and(f.as_bytes())).file_name();
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
    #[cfg(unix)]
    fn pipes_and_links_are_no_plans_and_are_replaced() {
        let (place, cache) = cache(LIMIT);
        let path = keep(&cache, "a", b"plan of a");
        let elsewhere = place.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert!(kept(&cache, "a").is_none());
        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(kept(&cache, "a").is_none());
        keep(&cache, "a", b"plan of a");
        assert_eq!(kept(&cache, "a").unwrap(), b"plan of a");
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
        let cache = PlanCache::new("/dev/null/pleura".into(), LIMIT);
        assert!(cache.store_bytes(&key("a"), b"plan").is_err());
        assert!(cache.size().unwrap_err().to_string().contains("/dev/null/pleura"));
    }
}
