//! Instance sizes of the suite and the files of each.

use anyhow::{Error, bail};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Instance size of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instance {
    /// One item.
    Single,
    /// 15 items.
    Small,
    /// 1,000 items.
    Medium,
    /// 10,000 items.
    Large,
}

impl Instance {
    /// Sizes as they are given.
    pub(crate) const SIZES: &str = "0 (single), 1 (small), 2 (medium) or 3 (large)";
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Single, Self::Small, Self::Medium, Self::Large];

    /// Name of the folders of the instance.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Small => "small",
            Self::Medium => "medium",
            Self::Large => "large",
        }
    }

    /// Number of items.
    pub(crate) fn items(self) -> usize {
        match self {
            Self::Single => 1,
            Self::Small => 15,
            Self::Medium => 1000,
            Self::Large => 10_000,
        }
    }

    /// Pixels of the items as text, which the suite makes.
    pub(crate) fn pixels(self) -> PathBuf {
        Path::new("datasets").join(self.name()).join("intermediate/test_pixels.txt")
    }

    /// Pixels of the items as an array.
    pub(crate) fn input(self) -> PathBuf {
        self.exchanged("intermediate/input.npy")
    }

    /// Evaluation keys.
    pub(crate) fn keys(self) -> PathBuf {
        self.exchanged("public_keys/evaluation.keys")
    }

    /// Secret key.
    pub(crate) fn secret(self) -> PathBuf {
        self.exchanged("secret_key/secret.key")
    }

    /// Encrypted items.
    pub(crate) fn upload(self) -> PathBuf {
        self.exchanged("ciphertexts_upload/items.ct")
    }

    /// Encrypted scores.
    pub(crate) fn download(self) -> PathBuf {
        self.exchanged("ciphertexts_download/scores.ct")
    }

    /// Decrypted scores.
    pub(crate) fn scores(self) -> PathBuf {
        self.exchanged("intermediate/scores.npy")
    }

    /// Labels, one a line.
    pub(crate) fn predictions(self) -> PathBuf {
        self.exchanged("encrypted_model_predictions.txt")
    }

    /// Client bundle: parameters and layout, no weights. The submission brings it.
    pub(crate) fn bundle(self) -> PathBuf {
        Path::new("submission/parameters").join(self.name()).with_extension("client")
    }

    /// Server plan, which `server_preprocess_model` makes.
    pub(crate) fn plan(self) -> PathBuf {
        Path::new("submission/intermediate").join(self.name()).with_extension("plan")
    }

    fn exchanged(self, file: &str) -> PathBuf {
        Path::new("io").join(self.name()).join(file)
    }
}

impl FromStr for Instance {
    type Err = Error;

    fn from_str(size: &str) -> Result<Self, Error> {
        match size {
            "0" => Ok(Self::Single),
            "1" => Ok(Self::Small),
            "2" => Ok(Self::Medium),
            "3" => Ok(Self::Large),
            _ => bail!("{size:?} is no instance size: give {}", Self::SIZES),
        }
    }
}
