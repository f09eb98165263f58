//! Where compiled plans and kernels are kept.

use anyhow::{Context, Result};
use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};
use pleura::{PlanCache, PlanKey};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Bytes of plans that are kept.
const LIMIT: u64 = 4 << 30;
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

/// The cache of plans: where `PLEURA_CACHE` says, or where the system keeps caches.
pub(crate) fn plans() -> Result<PlanCache, CacheError> {
    Ok(PlanCache::new(place()?.join("plans"), LIMIT))
}

/// A key that depends on the build, since another one may plan otherwise.
pub(crate) fn key() -> PlanKey {
    let build = || -> io::Result<Vec<u8>> {
        let file = std::env::current_exe()?.metadata()?;
        let age = file.modified()?.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok([file.len().to_le_bytes().to_vec(), age.as_nanos().to_le_bytes().to_vec()].concat())
    };
    PlanKey::new().and(env!("CARGO_PKG_VERSION").as_bytes()).and(&build().unwrap_or_default())
}

/// Where compiled kernels of GPUs are kept, if there is a place for them.
pub(crate) fn kernels() -> Result<Option<PathBuf>, CacheError> {
    match place() {
        Ok(place) => Ok(Some(place.join("kernels"))),
        Err(CacheError::NoPlace) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Deletes compiled kernels; their bytes.
pub(crate) fn clear_kernels() -> Result<u64> {
    let (folder, files) = kernel_files()?;
    for (path, _) in &files {
        fs::remove_file(path).with_context(|| cannot_use(&folder))?;
    }
    Ok(files.iter().map(|(_, bytes)| bytes).sum())
}

/// Bytes of compiled kernels.
pub(crate) fn kernel_bytes() -> Result<u64> {
    Ok(kernel_files()?.1.iter().map(|(_, bytes)| bytes).sum())
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

/// The folder of kernels, and its files with their bytes.
fn kernel_files() -> Result<(PathBuf, Vec<(PathBuf, u64)>)> {
    let folder = place()?.join("kernels");
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((folder, Vec::new())),
        entries => entries.with_context(|| cannot_use(&folder))?.flatten(),
    };
    let kernels = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(KERNELS_PREFIX));
    let files = kernels.filter_map(|entry| {
        let file = entry.metadata().ok().filter(|file| file.is_file())?;
        Some((entry.path(), file.len()))
    });
    let files = files.collect();
    Ok((folder, files))
}

fn cannot_use(folder: &Path) -> String {
    format!("cannot use the cache in {}", folder.display())
}
