//! Arguments that several commands take.

use crate::error::CliError;
use crate::files;
use clap::Args;
use clap::builder::{PossibleValuesParser, RangedU64ValueParser, TypedValueParser};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Sides of pictures whose pixels are encrypted one by one.
pub(crate) const SIDES: RangeInclusive<u64> = 8..=256;

/// Which X-rays.
#[derive(Args)]
pub(crate) struct ImagesArgs {
    /// PNG, JPEG or DICOM files, or folders of them; the sample X-rays if none are named.
    #[arg(value_name = "IMAGE|DIR")]
    pub(crate) images: Vec<PathBuf>,
}

/// How large they are when they are encrypted.
#[derive(Args)]
pub(crate) struct SideArgs {
    /// Side of the pictures that are encrypted.
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

/// How what was done is told, and written.
#[derive(Args)]
pub(crate) struct ResultArgs {
    /// Replace files that exist.
    #[arg(long)]
    pub(crate) force: bool,

    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

impl ResultArgs {
    /// Whether a file can be written there, asked before the work that leads to it.
    pub(crate) fn check(&self, path: &Path) -> Result<(), CliError> {
        files::check_writable(path, self.force)
    }

    /// Writes a file that anybody may read.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), CliError> {
        self.put(path, bytes, false)
    }

    /// Writes a file for its owner alone.
    pub(crate) fn write_private(&self, path: &Path, bytes: &[u8]) -> Result<(), CliError> {
        self.put(path, bytes, true)
    }

    fn put(&self, path: &Path, bytes: &[u8], private: bool) -> Result<(), CliError> {
        let failed = |source| CliError::Write { path: path.into(), source };
        files::write(path, &[bytes], self.force, private).map_err(failed)
    }
}

/// One of [`SIDES`].
pub(crate) fn side() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::<usize>::new().range(SIDES)
}

fn bits() -> impl TypedValueParser<Value = u32> {
    PossibleValuesParser::new(["2048", "3072"]).map(|text| text.parse().unwrap_or(2048))
}
