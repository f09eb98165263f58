//! What the arguments of `classify` and `compress` name: X-rays in files and folders, latents, the samples.

use crate::text::{counted, hex};
use crate::{files, terminal};
use anyhow::{Context, Result, bail};
use pleura::latent::{Codec, Latent, LatentFile, Xray};
use pleura::xray::shipped::{SAMPLES, Sample};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// Files that are larger hold no X-ray.
const MAX_IMAGE: u64 = 1 << 30;
/// Names by which files of a folder are taken for X-rays; those without any, as DICOM files often are, too.
const EXTENSIONS: [&str; 6] = ["png", "jpg", "jpeg", "dcm", "dicom", "safetensors"];

/// Where X-rays come from.
#[derive(Clone)]
pub(crate) enum Source {
    Sample(&'static Sample),
    /// `named`: by the user, not by a folder that it lies in.
    File {
        path: PathBuf,
        named: bool,
    },
}

/// An X-ray as it was read, or a latent that needs no reading.
pub(crate) enum Content {
    Xray(Xray),
    Latent(Latent),
}

/// One thing to classify.
pub(crate) struct Item {
    pub(crate) name: String,
    /// Of the file's bytes: the same name may stand for another X-ray another day.
    pub(crate) digest: String,
    pub(crate) content: Content,
    /// What reading it brought up.
    pub(crate) notes: Vec<String>,
}

impl Source {
    /// All that the arguments name, folders opened up; the samples if they name nothing.
    pub(crate) fn list(arguments: &[PathBuf]) -> Result<Vec<Self>> {
        if arguments.is_empty() {
            return Ok(SAMPLES.iter().map(Self::Sample).collect());
        }
        let mut sources = Vec::new();
        for path in arguments {
            if fs::metadata(path).with_context(|| files::cannot_read(path))?.is_dir() {
                let found = folder(path).with_context(|| files::cannot_read(path))?;
                if found.is_empty() {
                    bail!("{} has no PNG, JPEG or DICOM file in it", path.display());
                }
                sources.extend(found.into_iter().map(|path| Self::File { path, named: false }));
            } else {
                sources.push(Self::File { path: path.clone(), named: true });
            }
        }
        Ok(sources)
    }

    /// What to call it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Sample(sample) => sample.name.to_owned(),
            Self::File { path, .. } => path.to_string_lossy().into_owned(),
        }
    }

    /// What the doctors said, where it is known.
    pub(crate) fn truth(&self) -> Option<&'static str> {
        match self {
            Self::Sample(sample) => Some(sample.truth),
            Self::File { .. } => None,
        }
    }

    /// Whether it looks like a file of latents, which may be of many X-rays.
    pub(crate) fn may_be_many(&self) -> bool {
        matches!(self, Self::File { path, .. } if path.extension().is_some_and(|e| e == "safetensors"))
    }

    /// Whether a failure is the user's to know by more than a line.
    pub(crate) fn is_named(&self) -> bool {
        !matches!(self, Self::File { named: false, .. })
    }

    /// Reads it: one X-ray, or the latents of a file, which must be of the codec.
    pub(crate) fn read(&self, codec: Option<&Codec>) -> Result<Vec<Item>> {
        let path = match self {
            Self::Sample(sample) => {
                return Ok(vec![image(self.name(), Path::new(sample.name), sample.jpeg)?]);
            }
            Self::File { path, .. } => path,
        };
        let bytes = files::read(path, MAX_IMAGE)?;
        if !is_safetensors(&bytes) {
            return Ok(vec![image(self.name(), path, &bytes)?]);
        }
        let unusable = || format!("cannot use the latents in {}", path.display());
        let file = LatentFile::from_bytes(&bytes).with_context(unusable)?;
        let Some(codec) = codec else {
            bail!("{} holds latents, and the network looks at images: give it those", path.display());
        };
        let latents = file.latents(codec).with_context(unusable)?.into_iter();
        let name = |name: String| format!("{}#{name}", self.name());
        let digest = digest(&bytes);
        let item = |(n, latent)| Item {
            name: name(n),
            digest: digest.clone(),
            content: Content::Latent(latent),
            notes: Vec::new(),
        };
        Ok(latents.map(item).collect())
    }
}

/// The files that arguments name, folders opened up, and nothing said about what is not there.
pub(crate) fn files(arguments: &[PathBuf]) -> Vec<PathBuf> {
    let of = |path: &PathBuf| match sifted(path) {
        Ok((found, _)) => found,
        Err(_) => vec![path.clone()],
    };
    arguments.iter().flat_map(of).collect()
}

/// They begin with eight bytes of length, of which the last are zero, and JSON.
fn is_safetensors(bytes: &[u8]) -> bool {
    bytes.get(4..9) == Some(b"\0\0\0\0{")
}

fn digest(bytes: &[u8]) -> String {
    hex(Sha256::digest(bytes).iter().take(8))
}

fn image(name: String, path: &Path, bytes: &[u8]) -> Result<Item> {
    let (xray, notes) = Xray::from_bytes(bytes).with_context(|| files::cannot_read(path))?;
    let notes = notes.iter().map(|note| format!("{name}: {note}")).collect();
    Ok(Item { name, digest: digest(bytes), content: Content::Xray(xray), notes })
}

/// Files that may be X-rays, by name, and how many folders are beside them.
fn sifted(path: &Path) -> std::io::Result<(Vec<PathBuf>, usize)> {
    let (mut found, mut folders) = (Vec::new(), 0);
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        // DICOM files named by their UID end in a number.
        let number = |e: &str| e.chars().all(|c| c.is_ascii_digit());
        let fitting = extension.is_none_or(|e| EXTENSIONS.contains(&e.as_str()) || number(&e));
        folders += usize::from(!hidden && path.is_dir());
        if !hidden && fitting && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok((found, folders))
}

/// The same, and a word about the folders.
fn folder(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (found, folders) = sifted(path)?;
    if folders > 0 {
        let folders = counted(folders, "folder");
        terminal::note(&format!("{folders} in {} not entered: name them", path.display()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_means_the_samples() {
        let sources = Source::list(&[]).unwrap();
        assert_eq!(sources.len(), 16);
        assert_eq!(sources.iter().filter(|s| s.truth() == Some("normal")).count(), 8);
        assert!(sources.iter().all(|source| source.read(None).unwrap().len() == 1));
    }

    #[test]
    fn folders_are_sorted_and_sifted() {
        let place = tempfile::tempdir().unwrap();
        for name in ["b.png", "a.JPG", "notes.txt", ".hidden.png", "dicom", "c.dcm", "1.2.840.7"] {
            fs::write(place.path().join(name), b"x").unwrap();
        }
        fs::create_dir(place.path().join("deeper.png")).unwrap();
        let sources = Source::list(&[place.path().to_owned()]).unwrap();
        let file_name = |s: &Source| Path::new(&s.name()).file_name().unwrap().to_str().unwrap().to_owned();
        let names: Vec<_> = sources.iter().map(file_name).collect();
        assert_eq!(names, ["1.2.840.7", "a.JPG", "b.png", "c.dcm", "dicom"]);
        assert!(sources.iter().all(|s| !s.is_named()));
        let lone = place.path().join("notes.txt");
        let found = files(&[place.path().to_owned(), lone.clone(), "/no/such/file".into()]);
        assert_eq!(found.len(), 7);
        assert!(found.ends_with(&[lone, "/no/such/file".into()]));
        let empty = tempfile::tempdir().unwrap();
        let refused = |path: &Path| Source::list(&[path.to_owned()]).err().unwrap().to_string();
        assert!(refused(empty.path()).ends_with("has no PNG, JPEG or DICOM file in it"));
        assert_eq!(refused(Path::new("/no/such/file")), "cannot read /no/such/file");
    }
}
