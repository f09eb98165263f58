//! Latents in the making: `FILE.part` takes a line for each X-ray that is done, and an interrupted run resumes from it.
//!
//! A line is a digest of what follows it, and JSON: names and digests of the file, PSNR and SSIM, and a file of this one latent.

use super::{Compressed, Quality};
use crate::text::{counted, hex};
use crate::{files, part_file, terminal};
use anyhow::{Context, Result, bail, ensure};
use base64::prelude::{BASE64_STANDARD, Engine};
use pleura::latent::{Codec, LatentFile, StoredLatent};
use pleura::xray::Source;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Larger files are refused: a file of latents has at most half of it.
const MAX_BYTES: u64 = 2 << 30;
/// Bytes of the digest of a line.
const DIGEST: usize = 8;

/// Key of an X-ray: its name as a cell, and the digest of its file.
pub(super) type Key = (String, String);

/// Latents of earlier runs that nobody has asked for yet.
#[derive(Default)]
pub(super) struct EarlierLatents(Mutex<HashMap<Key, Vec<Compressed>>>);

/// Latents on their way into a file. Without one, nothing is left.
pub(super) struct Unfinished {
    part: PathBuf,
    file: File,
    count: usize,
}

/// A line after its digest.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    image: String,
    sha256: String,
    name: String,
    /// PSNR and SSIM from the continuous latent, and from its codes, as text that is read back exactly.
    quality: [String; 4],
    latent: String,
}

impl EarlierLatents {
    /// The latent of an earlier run of this X-ray; each counts once.
    pub(super) fn take(&self, key: &Key) -> Option<Compressed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(key)?.pop()
    }

    /// How many nobody asked for.
    pub(super) fn left(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().map(Vec::len).sum()
    }
}

impl Unfinished {
    /// Begins the file of `path`, or resumes what an interrupted run on `sources` left; `replace` begins anew.
    pub(super) fn open(
        path: &Path,
        codec: &Codec,
        quantize: bool,
        sources: &[Source],
        replace: bool,
    ) -> Result<(Self, EarlierLatents)> {
        let part = part_file::part(path);
        let mut file = part_file::open(&part, true)?;
        let mut earlier: HashMap<Key, Vec<Compressed>> = HashMap::new();
        let mut whole = 0;
        let mut count = 0;
        if !replace {
            let length = file.metadata().with_context(|| files::cannot_read(&part))?.len();
            ensure!(length <= MAX_BYTES, files::FileError::TooLarge { path: part, max: MAX_BYTES });
            let mut lines = BufReader::new((&file).take(MAX_BYTES));
            let mut bytes = Vec::new();
            while lines.read_until(b'\n', &mut bytes).with_context(|| files::cannot_read(&part))? > 0 {
                // An interruption may cut off the last line.
                if bytes.last() != Some(&b'\n') {
                    break;
                }
                count += 1;
                let line = Line::read(&bytes).with_context(|| damaged(&part, count))?;
                let (key, compressed) = line.compressed(codec, quantize).with_context(|| {
                    format!("{} is of another codec or kind of latents: finish it with the command that began it, or delete it", part.display())
                })?;
                earlier.entry(key).or_default().push(compressed);
                whole += bytes.len() as u64;
                bytes.clear();
            }
            part_file::check_images(earlier.keys().map(|(image, _)| image.as_str()), sources, &part)?;
        }
        let failed = || files::cannot_write(&part);
        file.set_len(whole).with_context(failed)?;
        file.seek(SeekFrom::End(0)).with_context(failed)?;
        if count > 0 {
            let latents = counted(count, "latent");
            terminal::note(&format!(
                "resuming from {}, which has {latents} of an earlier run",
                part.display()
            ));
        }
        files::keeps_all(count, "latent", &part);
        Ok((Self { part, file, count }, EarlierLatents(Mutex::new(earlier))))
    }

    /// Adds a latent, in one piece, so that an interruption leaves whole lines.
    pub(super) fn add(&mut self, codec: &Codec, (image, sha256): Key, compressed: &Compressed) -> Result<()> {
        let Compressed { quality: Quality { name, continuous, quantized }, latent, .. } = compressed;
        let latent = LatentFile::new(codec, vec![(name.clone(), latent.clone())])?.to_bytes();
        let quality = [continuous[0], continuous[1], quantized[0], quantized[1]].map(|x| x.to_string());
        let line =
            Line { image, sha256, name: name.clone(), quality, latent: BASE64_STANDARD.encode(latent) };
        let json = serde_json::to_string(&line)?;
        let line = format!("{} {json}\n", digest(json.as_bytes()));
        self.file.write_all(line.as_bytes()).with_context(|| files::cannot_write(&self.part))?;
        self.count += 1;
        files::keeps_all(self.count, "latent", &self.part);
        Ok(())
    }

    /// Deletes the lines after the whole file is written.
    pub(super) fn finish(mut self) -> Result<()> {
        files::on_interruption(None);
        if !files::is_at(&self.file, &self.part).with_context(|| files::cannot_write(&self.part))? {
            bail!("another program has replaced {}, which is not deleted", self.part.display());
        }
        // Dropping deletes it.
        self.count = 0;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.count == 0 {
            let _ = fs::remove_file(&self.part);
        }
    }
}

impl Line {
    /// A line that is as this program writes it.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (check, json) = bytes.strip_suffix(b"\n")?.split_at_checked(2 * DIGEST)?;
        let json = json.strip_prefix(b" ")?;
        if check != digest(json).as_bytes() {
            return None;
        }
        serde_json::from_slice(json).ok()
    }

    fn compressed(self, codec: &Codec, quantize: bool) -> Option<(Key, Compressed)> {
        let Self { image, sha256, name, quality, latent } = self;
        let file = LatentFile::from_bytes(&BASE64_STANDARD.decode(latent).ok()?).ok()?;
        // Whether the codec can have made them.
        file.latents(codec).ok()?;
        let [(_, latent)] = file.images() else { return None };
        if matches!(latent, StoredLatent::Codes(_)) != quantize {
            return None;
        }
        let mut numbers = quality.iter().map(|text| text.parse::<f64>().ok());
        let mut pair = || Some([numbers.next()??, numbers.next()??]);
        let quality = Quality { name, continuous: pair()?, quantized: pair()? };
        Some((
            (image, sha256),
            Compressed { notes: Vec::new(), quality, latent: latent.clone(), is_earlier: true },
        ))
    }
}

fn damaged(part: &Path, line: usize) -> String {
    format!("{} is damaged in line {line}: delete that line, or the file", part.display())
}

fn digest(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes).iter().take(DIGEST))
}
