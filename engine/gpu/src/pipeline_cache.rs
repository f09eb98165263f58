//! Compiled kernels on disk, where the driver can keep them (Vulkan).

use crate::adapter::{Adapter, Options};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A driver's cache of compiled kernels, and the file it is kept in: the bytes' SHA-256, then the bytes.
pub(crate) struct PipelineCache {
    cache: wgpu::PipelineCache,
    file: PathBuf,
    /// Bytes that the file holds.
    kept: Vec<u8>,
}

/// Upper bound of a pipeline cache on disk; no driver stores as much.
const MAX_BYTES: u64 = 1 << 26;

impl PipelineCache {
    /// The cache of a device, with what an earlier run kept; `None` where the driver or the options have none.
    pub(crate) fn open(device: &wgpu::Device, adapter: &Adapter, options: &Options) -> Option<Self> {
        let folder = options.cache.as_ref()?;
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let file = folder.join(wgpu::util::pipeline_cache_key(&adapter.adapter.get_info())?);
        let kept = read(&file).unwrap_or_default();
        let data = Some(kept.as_slice()).filter(|data| !data.is_empty());
        let descriptor = wgpu::PipelineCacheDescriptor { label: None, data, fallback: true };
        // SAFETY: the bytes are those that `save` wrote into a folder of the user's, as their hash says; where their header
        // names another device or driver, the cache begins empty.
        let cache = unsafe { device.create_pipeline_cache(&descriptor) };
        Some(Self { cache, file, kept })
    }

    /// The cache, for the descriptors of pipelines.
    pub(crate) fn cache(&self) -> &wgpu::PipelineCache {
        &self.cache
    }

    /// Keeps what was compiled. Nobody misses it if that fails.
    pub(crate) fn save(&self) {
        let Some(data) = self.cache.get_data().filter(|data| *data != self.kept) else { return };
        let part = self.file.with_extension(format!("{}.part", std::process::id()));
        if let Some(folder) = self.file.parent() {
            _ = fs::create_dir_all(folder);
        }
        let bytes = [&*Sha256::digest(&data), data.as_slice()].concat();
        // A link in its place is not followed.
        let made = File::options().write(true).create_new(true).open(&part);
        let written = made.and_then(|mut file| file.write_all(&bytes));
        if written.and_then(|()| fs::rename(&part, &self.file)).is_err() {
            _ = fs::remove_file(&part);
        }
    }
}

/// The bytes that were kept in a file, if they are as they were.
fn read(file: &Path) -> Option<Vec<u8>> {
    // Not a pipe, which would never end, nor a link, which may lead to one.
    let metadata = fs::symlink_metadata(file).ok()?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return None;
    }
    let bytes = fs::read(file).ok()?;
    let (hash, data) = bytes.split_first_chunk::<32>()?;
    (*hash == *Sha256::digest(data)).then(|| data.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bytes_that_are_whole_are_read() {
        let folder = std::env::temp_dir().join(format!("pleura-compiled-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("cache");
        let mut bytes = [&*Sha256::digest(b"kernels"), b"kernels".as_slice()].concat();
        fs::write(&file, &bytes).unwrap();
        assert_eq!(read(&file).unwrap(), b"kernels");
        bytes[35] ^= 1;
        fs::write(&file, &bytes).unwrap();
        assert_eq!(read(&file), None);
        fs::write(&file, &bytes[..20]).unwrap();
        assert_eq!(read(&file), None);
        File::create(&file).unwrap().set_len(MAX_BYTES + 1).unwrap();
        assert_eq!(read(&file), None);
        assert_eq!(read(&folder), None);
        assert_eq!(read(&folder.join("none")), None);
        fs::remove_dir_all(&folder).unwrap();
    }
}
