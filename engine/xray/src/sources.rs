//! X-rays in files and folders: images, files of latents, and the shipped samples.

use crate::folder::{FolderListing, SkippedFile, head, is_safetensors};
use crate::shipped::{SAMPLES, Sample};
use pleura_latent::{Codec, DicomIdentity, ImageError, ImageNote, Latent, LatentFile, LatentFileError, Xray};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Larger files are refused.
const MAX_BYTES: u64 = 1 << 30;

/// A path as text; bytes that are not Unicode are percent-encoded as in URLs, so that different files have different names.
pub fn path_text(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("%{byte:02X}")));
    }
    text
}

/// Where X-rays come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A shipped sample.
    Sample(&'static Sample),
    /// A file: one image, or latents of any number of images.
    File {
        /// Path of the file.
        path: PathBuf,
        /// Whether the path was named, and not found in a folder.
        named: bool,
    },
}

/// An X-ray as it was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// An image.
    Xray(Xray),
    /// A latent, which needs no encoding.
    Latent(Latent),
}

/// One X-ray of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceItem {
    /// Path of the file, or name of the sample.
    pub path: PathBuf,
    /// Name of the latent in a file of latents.
    pub latent: Option<String>,
    /// SHA-256 of the file.
    pub digest: [u8; 32],
    /// The X-ray.
    pub content: Content,
    /// Unique identifiers of a DICOM image.
    pub dicom: Option<DicomIdentity>,
    /// Remarks about how it was read.
    pub notes: Vec<ImageNote>,
}

/// The bytes of a source, not decoded yet.
#[derive(Clone, Debug)]
pub struct SourceBytes<'a> {
    path: &'a Path,
    bytes: Cow<'a, [u8]>,
    digest: [u8; 32],
}

/// X-rays that paths name.
#[derive(Clone, Debug, Default)]
pub struct SourceList {
    /// X-rays in the order of the paths, those of a folder sorted.
    pub sources: Vec<Source>,
    /// Files of folders that are no X-rays.
    pub skipped: Vec<SkippedFile>,
    /// Folders that hold folders which were not entered, and how many.
    pub not_entered: Vec<(PathBuf, usize)>,
}

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The file or folder cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file has more than a GiB.
    #[error("{} is larger than the 1 GiB that are read", path.display())]
    TooLarge {
        /// The path.
        path: PathBuf,
    },
    /// The folder holds nothing that may be an X-ray.
    #[error("{} has no PNG, JPEG, TIFF, BMP, WebP or DICOM file in it", path.display())]
    NoImages {
        /// The path.
        path: PathBuf,
    },
    /// The image cannot be decoded.
    #[error("cannot read {}", path.display())]
    Image {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: ImageError,
    },
    /// The latents cannot be used.
    #[error("cannot use the latents in {}", path.display())]
    Latents {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: Box<LatentFileError>,
    },
    /// Latents for a network that takes pixels.
    #[error("{} holds latents, and the network looks at images: give it those", path.display())]
    NoCodec {
        /// The path.
        path: PathBuf,
    },
}

impl SourceList {
    /// The X-rays that paths name: files, and the files of folders that are X-rays by their content; the shipped
    /// samples if there is no path. Folders in folders are entered if `recursive`.
    ///
    /// # Errors
    /// [`SourceError::Read`], [`SourceError::NoImages`]
    pub fn read(paths: &[PathBuf], recursive: bool) -> Result<Self, SourceError> {
        let mut list = Self::default();
        if paths.is_empty() {
            list.sources.extend(SAMPLES.iter().map(Source::Sample));
        }
        for path in paths {
            let failed = |source| SourceError::Read { path: path.clone(), source };
            if !fs::metadata(path).map_err(failed)?.is_dir() {
                list.sources.push(Source::File { path: path.clone(), named: true });
                continue;
            }
            let listing = FolderListing::read(path, recursive).map_err(failed)?;
            if listing.files.is_empty() {
                return Err(SourceError::NoImages { path: path.clone() });
            }
            if listing.folders > 0 {
                list.not_entered.push((path.clone(), listing.folders));
            }
            list.skipped.extend(listing.skipped);
            list.sources.extend(listing.files.into_iter().map(|path| Source::File { path, named: false }));
        }
        Ok(list)
    }
}

impl SourceItem {
    /// Path of the file by [`path_text`], with the name of the latent in it.
    pub fn name(&self) -> String {
        let path = path_text(&self.path);
        self.latent.as_ref().map_or_else(|| path.clone(), |latent| format!("{path}#{latent}"))
    }
}

impl Source {
    /// Path of the file, or name of the sample.
    pub fn path(&self) -> &Path {
        match self {
            Self::Sample(sample) => Path::new(sample.name),
            Self::File { path, .. } => path,
        }
    }

    /// Name of the sample, or path of the file by [`path_text`].
    pub fn name(&self) -> String {
        path_text(self.path())
    }

    /// Class that the doctors assigned, where it is known.
    pub fn truth(&self) -> Option<&'static str> {
        match self {
            Self::Sample(sample) => Some(sample.truth),
            Self::File { .. } => None,
        }
    }

    /// Whether it begins like a file of latents, which may be of many X-rays.
    pub fn may_be_many(&self) -> bool {
        match self {
            Self::Sample(_) => false,
            // Reading a pipe would take bytes from it.
            Self::File { path, .. } => path.is_file() && head(path).is_ok_and(|head| is_safetensors(&head)),
        }
    }

    /// Whether it was named, and not found in a folder.
    pub fn is_named(&self) -> bool {
        !matches!(self, Self::File { named: false, .. })
    }

    /// Reads the bytes.
    ///
    /// # Errors
    /// [`SourceError::Read`], [`SourceError::TooLarge`]
    pub fn load(&self) -> Result<SourceBytes<'_>, SourceError> {
        let bytes = match self {
            Self::Sample(sample) => Cow::Borrowed(sample.jpeg),
            Self::File { path, .. } => Cow::Owned(read_file(path)?),
        };
        let digest = Sha256::digest(&bytes).into();
        Ok(SourceBytes { path: self.path(), bytes, digest })
    }

    /// Reads and decodes: [`SourceBytes::items`].
    ///
    /// # Errors
    /// [`SourceError`]
    pub fn read(&self, codec: Option<&Codec>, side: usize) -> Result<Vec<SourceItem>, SourceError> {
        self.load()?.items(codec, side)
    }
}

impl SourceBytes<'_> {
    /// SHA-256 of the bytes.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Whether they are latents, of any number of X-rays; otherwise they are one image, or nothing that is read.
    pub fn is_latents(&self) -> bool {
        is_safetensors(&self.bytes)
    }

    /// Decodes an image for a network that takes `side * side` pixels ([`Xray::from_bytes_for`]), or the latents of a
    /// file, which must be of `codec`.
    ///
    /// # Errors
    /// [`SourceError::Image`], [`SourceError::Latents`], [`SourceError::NoCodec`]
    pub fn items(&self, codec: Option<&Codec>, side: usize) -> Result<Vec<SourceItem>, SourceError> {
        if self.is_latents() { self.latents(codec) } else { Ok(vec![self.image(side)?]) }
    }

    fn image(&self, side: usize) -> Result<SourceItem, SourceError> {
        let (xray, notes) = Xray::from_bytes_for(side, &self.bytes)
            .map_err(|source| SourceError::Image { path: self.path.into(), source })?;
        Ok(SourceItem {
            path: self.path.into(),
            latent: None,
            digest: self.digest,
            content: Content::Xray(xray),
            dicom: DicomIdentity::from_bytes(&self.bytes),
            notes,
        })
    }

    fn latents(&self, codec: Option<&Codec>) -> Result<Vec<SourceItem>, SourceError> {
        let failed = |source| SourceError::Latents { path: self.path.into(), source: Box::new(source) };
        let file = LatentFile::from_bytes(&self.bytes).map_err(failed)?;
        let codec = codec.ok_or_else(|| SourceError::NoCodec { path: self.path.into() })?;
        Ok(file
            .latents(codec)
            .map_err(failed)?
            .into_iter()
            .map(|(name, latent)| SourceItem {
                path: self.path.into(),
                latent: Some(name),
                digest: self.digest,
                content: Content::Latent(latent),
                dicom: None,
                notes: Vec::new(),
            })
            .collect())
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, SourceError> {
    let failed = |source| SourceError::Read { path: path.into(), source };
    let mut bytes = Vec::new();
    // Pipes and devices have no length to go by.
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(SourceError::TooLarge { path: path.into() });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::SkipReason;
    use pleura_latent::SIDE;

    #[test]
    fn no_path_means_the_samples() {
        let sources = SourceList::read(&[], true).unwrap().sources;
        assert_eq!(sources.len(), 16);
        assert_eq!(sources.iter().filter(|s| s.truth() == Some("normal")).count(), 8);
        assert!(sources.iter().all(|source| source.read(None, SIDE).unwrap().len() == 1));
    }

    #[test]
    fn files_are_named_and_files_of_folders_are_found() {
        let place = tempfile::tempdir().unwrap();
        let deeper = place.path().join("deeper.png");
        fs::create_dir(&deeper).unwrap();
        for name in ["b", "notes.txt", "deeper.png/a"] {
            let bytes: &[u8] = if name == "notes.txt" { b"x" } else { SAMPLES[0].jpeg };
            fs::write(place.path().join(name), bytes).unwrap();
        }
        let notes = place.path().join("notes.txt");
        let paths = [place.path().to_owned(), notes.clone()];
        let list = SourceList::read(&paths, true).unwrap();
        let found: Vec<_> = list.sources.iter().map(|s| (s.path().to_owned(), s.is_named())).collect();
        let expected = [(place.path().join("b"), false), (deeper.join("a"), false), (notes.clone(), true)];
        assert_eq!(found, expected);
        assert_eq!(list.skipped, [SkippedFile { path: notes, reason: SkipReason::UnknownFormat }]);
        let list = SourceList::read(&paths, false).unwrap();
        assert_eq!(list.sources.len(), 2);
        assert_eq!(list.not_entered, [(place.path().to_owned(), 1)]);
        assert!(
            list.sources[0].read(None, SIDE).unwrap()[0].name() == place.path().join("b").to_str().unwrap()
        );
        let empty = tempfile::tempdir().unwrap();
        let none = SourceList::read(&[empty.path().to_owned()], true);
        assert!(matches!(none, Err(SourceError::NoImages { .. })));
        let missing = SourceList::read(&["/no/such/file".into()], true).unwrap_err();
        assert_eq!(missing.to_string(), "cannot read /no/such/file");
    }
}
