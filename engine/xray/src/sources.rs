//! X-rays in files and folders: images, files of latents, and the shipped samples.

use crate::shipped::{SAMPLES, Sample};
use pleura_latent::{Codec, ImageError, ImageNote, Latent, LatentFile, LatentFileError, Xray};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Larger files are refused.
const MAX_BYTES: u64 = 1 << 30;
/// Extensions of the files of a folder that are taken for X-rays; DICOM files often have none, or end in a number.
const EXTENSIONS: [&str; 6] = ["png", "jpg", "jpeg", "dcm", "dicom", "safetensors"];

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
    /// Path of the file, with the name of the latent in it.
    pub name: String,
    /// SHA-256 of the file.
    pub digest: [u8; 32],
    /// The X-ray.
    pub content: Content,
    /// Remarks about how it was read.
    pub notes: Vec<ImageNote>,
}

/// X-rays of a folder, and how many folders in it were not entered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FolderListing {
    /// Files that may be X-rays, by their names.
    pub files: Vec<PathBuf>,
    /// Number of folders in the folder.
    pub folders: usize,
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
    #[error("{} has no PNG, JPEG or DICOM file in it", path.display())]
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

impl Source {
    /// The X-rays that paths name: files, and the files of folders; the shipped samples if there is no path. `skipped` receives the
    /// folders that hold folders, which are not entered, and how many.
    ///
    /// # Errors
    /// [`SourceError::Read`], [`SourceError::NoImages`]
    pub fn list(paths: &[PathBuf], skipped: &mut dyn FnMut(&Path, usize)) -> Result<Vec<Self>, SourceError> {
        if paths.is_empty() {
            return Ok(SAMPLES.iter().map(Self::Sample).collect());
        }
        let mut sources = Vec::new();
        for path in paths {
            let failed = |source| SourceError::Read { path: path.clone(), source };
            if !fs::metadata(path).map_err(failed)?.is_dir() {
                sources.push(Self::File { path: path.clone(), named: true });
                continue;
            }
            let FolderListing { files, folders } = FolderListing::read(path).map_err(failed)?;
            if files.is_empty() {
                return Err(SourceError::NoImages { path: path.clone() });
            }
            if folders > 0 {
                skipped(path, folders);
            }
            sources.extend(files.into_iter().map(|path| Self::File { path, named: false }));
        }
        Ok(sources)
    }

    /// Name of the sample, or path of the file.
    pub fn name(&self) -> String {
        match self {
            Self::Sample(sample) => sample.name.to_owned(),
            Self::File { path, .. } => path.to_string_lossy().into_owned(),
        }
    }

    /// Class that the doctors assigned, where it is known.
    pub fn truth(&self) -> Option<&'static str> {
        match self {
            Self::Sample(sample) => Some(sample.truth),
            Self::File { .. } => None,
        }
    }

    /// Whether it looks like a file of latents, which may be of many X-rays.
    pub fn may_be_many(&self) -> bool {
        matches!(self, Self::File { path, .. } if path.extension().is_some_and(|e| e == "safetensors"))
    }

    /// Whether it was named, and not found in a folder.
    pub fn is_named(&self) -> bool {
        !matches!(self, Self::File { named: false, .. })
    }

    /// Reads an image, or the latents of a file, which must be of `codec`.
    ///
    /// # Errors
    /// [`SourceError`]
    pub fn read(&self, codec: Option<&Codec>) -> Result<Vec<SourceItem>, SourceError> {
        match self {
            Self::Sample(sample) => Ok(vec![image(self.name(), Path::new(sample.name), sample.jpeg)?]),
            Self::File { path, .. } => {
                let bytes = read_file(path)?;
                if is_safetensors(&bytes) {
                    latents(path, &bytes, codec)
                } else {
                    Ok(vec![image(self.name(), path, &bytes)?])
                }
            }
        }
    }
}

impl FolderListing {
    /// Lists a folder.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let mut listing = Self::default();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.')) {
                continue;
            }
            let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
            let fits = extension.is_none_or(|extension| {
                EXTENSIONS.contains(&extension.as_str()) || extension.chars().all(|c| c.is_ascii_digit())
            });
            listing.folders += usize::from(path.is_dir());
            if fits && path.is_file() {
                listing.files.push(path);
            }
        }
        listing.files.sort();
        Ok(listing)
    }
}

/// They begin with eight bytes of length, of which the last are zero, and JSON.
fn is_safetensors(bytes: &[u8]) -> bool {
    bytes.get(4..9) == Some(b"\0\0\0\0{")
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

fn image(name: String, path: &Path, bytes: &[u8]) -> Result<SourceItem, SourceError> {
    let (xray, notes) =
        Xray::from_bytes(bytes).map_err(|source| SourceError::Image { path: path.into(), source })?;
    Ok(SourceItem { name, digest: Sha256::digest(bytes).into(), content: Content::Xray(xray), notes })
}

fn latents(path: &Path, bytes: &[u8], codec: Option<&Codec>) -> Result<Vec<SourceItem>, SourceError> {
    let failed = |source| SourceError::Latents { path: path.into(), source: Box::new(source) };
    let file = LatentFile::from_bytes(bytes).map_err(failed)?;
    let codec = codec.ok_or_else(|| SourceError::NoCodec { path: path.into() })?;
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    let item = |(name, latent)| SourceItem {
        name: format!("{}#{name}", path.to_string_lossy()),
        digest,
        content: Content::Latent(latent),
        notes: Vec::new(),
    };
    Ok(file.latents(codec).map_err(failed)?.into_iter().map(item).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(paths: &[PathBuf]) -> Result<Vec<Source>, SourceError> {
        Source::list(paths, &mut |_, _| {})
    }

    #[test]
    fn no_path_means_the_samples() {
        let sources = list(&[]).unwrap();
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
        let mut skipped = Vec::new();
        let sources = Source::list(&[place.path().to_owned()], &mut |folder, count| {
            skipped.push((folder.to_owned(), count));
        });
        let sources = sources.unwrap();
        assert_eq!(skipped, [(place.path().to_owned(), 1)]);
        let file_name = |s: &Source| Path::new(&s.name()).file_name().unwrap().to_str().unwrap().to_owned();
        let names: Vec<_> = sources.iter().map(file_name).collect();
        assert_eq!(names, ["1.2.840.7", "a.JPG", "b.png", "c.dcm", "dicom"]);
        assert!(sources.iter().all(|s| !s.is_named()));
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(list(&[empty.path().to_owned()]), Err(SourceError::NoImages { .. })));
        let missing = list(&["/no/such/file".into()]).unwrap_err();
        assert_eq!(missing.to_string(), "cannot read /no/such/file");
    }
}
