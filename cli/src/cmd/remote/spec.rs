//! Client bundles and secret keys that arguments name.

use super::secret::{self, PassphraseArgs};
use crate::files;
use anyhow::{Context, Result};
use clap::Args;
use pleura::remote::{ClientBundle, ClientKey};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Larger client bundles are refused: those of the largest networks have some kilobytes.
const MAX_SPEC: u64 = 64 << 20;

/// Client bundle and secret key.
#[derive(Args)]
pub(super) struct ClientArgs {
    /// The client's half of the network, from `pleura export`.
    #[arg(long, value_name = "client.spec")]
    pub(super) spec: PathBuf,

    /// The secret key, from `pleura keygen`.
    #[arg(long, value_name = "secret.key")]
    pub(super) secret: PathBuf,

    #[command(flatten)]
    passphrase: PassphraseArgs,
}

impl ClientArgs {
    /// Files that are read.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        [&self.spec, &self.secret].into_iter().chain(self.passphrase.file()).cloned().collect()
    }

    /// Reads both; asks for a passphrase if the key needs one and no file has it.
    pub(super) fn open(&self) -> Result<ClientKey> {
        let bundle = read_bundle(&self.spec)?;
        let bytes = secret::read(&self.secret)?;
        let failed = || cannot_use(&self.secret);
        let passphrase = self.passphrase.of_key(&self.secret, &bytes).with_context(failed)?;
        let passphrase = passphrase.as_deref().map(String::as_bytes);
        ClientKey::from_secret_bytes(Arc::new(bundle), &bytes, passphrase).with_context(failed)
    }
}

/// Reads a client bundle.
pub(super) fn read_bundle(path: &Path) -> Result<ClientBundle> {
    ClientBundle::from_bytes(&files::read(path, MAX_SPEC)?).with_context(|| cannot_use(path))
}

/// Context of an error that the content of a file caused.
pub(super) fn cannot_use(path: &Path) -> String {
    format!("cannot use {}", path.display())
}
