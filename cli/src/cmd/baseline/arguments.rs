//! Arguments that several commands take.

use crate::cmd::remote::secret;
use crate::files::{self, FileError};
use anyhow::{Result, anyhow};
use clap::Args;
use clap::builder::{PossibleValuesParser, RangedU64ValueParser, TypedValueParser};
use pleura::baselines::paillier::Zeroizing;
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Sides of pictures whose pixels are encrypted one by one.
pub(crate) const SIDES: RangeInclusive<u64> = 8..=256;

/// Which X-rays.
#[derive(Args)]
pub(crate) struct ImagesArgs {
    /// PNG, JPEG, TIFF, BMP, WebP or DICOM files, or folders of them [default: the sample X-rays].
    #[arg(value_name = "IMAGE|DIR")]
    pub(crate) images: Vec<PathBuf>,
}

/// How large they are when they are encrypted.
#[derive(Args)]
pub(crate) struct SideArgs {
    /// Side of the pictures that are encrypted, from 8 to 256.
    #[arg(long, value_name = "PIXELS", default_value_t = 64, value_parser = side())]
    pub(crate) side: usize,
}

/// How large Paillier's key is.
#[derive(Args)]
pub(crate) struct BitsArgs {
    /// Bits of the modulus: 2048 or 3072.
    #[arg(long, value_name = "BITS", default_value = "2048", value_parser = bits())]
    pub(crate) bits: u32,
}

/// Form of the result, and whether it replaces files.
#[derive(Args)]
pub(crate) struct ResultArgs {
    /// Replace files that exist.
    #[arg(long)]
    pub(crate) force: bool,

    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

/// A file of the baselines: what it begins with, what to call it, and the most bytes that are read.
pub(crate) struct Kind {
    magic: &'static [u8; 8],
    name: &'static str,
    max: u64,
}

pub(crate) const PUBLIC_KEY: Kind = Kind { magic: b"PLPAPUB2", name: "a public Paillier key", max: 1 << 14 };
pub(crate) const SECRET_KEY: Kind = Kind { magic: b"PLPASEC2", name: "a secret Paillier key", max: 1 << 14 };
pub(crate) const CIPHERTEXTS: Kind =
    Kind { magic: b"PLPACTX2", name: "a file of Paillier ciphertexts", max: 1 << 30 };
pub(crate) const MORPH_KEY: Kind = Kind { magic: b"PLMPKEY2", name: "a key of morphed images", max: 1 << 12 };
pub(crate) const MORPHED: Kind = Kind { magic: b"PLMPIMG2", name: "a file of morphed images", max: 5 << 30 };
pub(crate) const AUGMENTED: Kind =
    Kind { magic: b"PLMPAUG2", name: "an augmented convolution", max: 5 << 30 };
const KINDS: [&Kind; 6] = [&PUBLIC_KEY, &SECRET_KEY, &CIPHERTEXTS, &MORPH_KEY, &MORPHED, &AUGMENTED];

impl Kind {
    /// The bytes of such a file. One of another kind is called what it is; the rest is checked where the bytes are used.
    pub(crate) fn read(&self, path: &Path) -> Result<Vec<u8>> {
        let other = |start: &[u8]| {
            let kind = KINDS.iter().find(|kind| start.starts_with(kind.magic))?;
            (kind.magic != self.magic).then_some(kind.name)
        };
        let refused = |found| anyhow!("{} is {found}, not {}", path.display(), self.name);
        match files::read(path, self.max) {
            Ok(bytes) => match other(&bytes) {
                Some(found) => {
                    // It may be a secret key.
                    drop(Zeroizing::new(bytes));
                    Err(refused(found))
                }
                None => Ok(bytes),
            },
            Err(error) if matches!(error.downcast_ref(), Some(FileError::TooLarge { .. })) => {
                let mut start = Vec::new();
                let length = self.magic.len() as u64;
                let read = files::open(path)?.take(length).read_to_end(&mut start);
                Err(read.ok().and_then(|_| other(&start)).map_or_else(
                    || anyhow!("{} is not {}: it is larger than that can be", path.display(), self.name),
                    refused,
                ))
            }
            Err(error) => Err(error),
        }
    }

    /// The bytes of a secret key, which only its owner may read.
    pub(crate) fn read_private(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>> {
        let bytes = Zeroizing::new(self.read(path)?);
        if !files::is_standard(path) {
            secret::check_private(path)?;
        }
        Ok(bytes)
    }
}

impl ResultArgs {
    /// Whether a file can be written there, asked before the work that leads to it.
    pub(crate) fn check(&self, path: &Path) -> Result<()> {
        files::check_writable(path, self.force)
    }

    /// Checks that a file can be written, and that it is not one of `inputs`.
    pub(crate) fn check_apart(
        &self,
        path: &Path,
        inputs: impl IntoIterator<Item = impl AsRef<Path>>,
    ) -> Result<()> {
        files::check_outputs(&[path], inputs, self.force)
    }

    /// Writes a file that anybody may read.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        files::write(path, &[bytes], self.force, false)
    }

    /// Writes a file for its owner alone.
    pub(crate) fn write_private(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        files::write(path, &[bytes], self.force, true)
    }
}

/// One of [`SIDES`].
pub(crate) fn side() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::<usize>::new().range(SIDES)
}

fn bits() -> impl TypedValueParser<Value = u32> {
    PossibleValuesParser::new(["2048", "3072"]).try_map(|text| text.parse())
}
