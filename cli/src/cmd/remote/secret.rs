//! Files that only their owner may read: secret keys and passphrases.

use crate::{files, terminal};
use anyhow::{Context, Result, bail};
use clap::Args;
use console::Term;
use pleura::ckks::wire::{self, ObjectKind};
use pleura::remote::{MAX_SECRET_BYTES, RemoteError, is_under_passphrase};
use std::fs::Metadata;
use std::io::Read;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Most bytes of a passphrase.
const MAX_PASSPHRASE: usize = 1024;
/// Most bytes of a signing key.
const MAX_PEM: usize = 4096;

/// Conditions that keep a secret from being used.
#[derive(Debug, thiserror::Error)]
enum SecretError {
    #[cfg(unix)]
    #[error(
        "users other than the owner can read {path}, so it is not used: `chmod 600 {path}` makes it private; if others may have read it, \
         make a new one",
        path = .0.display()
    )]
    Readable(PathBuf),
    #[error("{} is not a regular file", .0.display())]
    Special(PathBuf),
    #[error("{} is larger than the limit of {max} bytes", path.display())]
    TooLarge { path: PathBuf, max: usize },
    #[error("the secret in {} is not UTF-8 text", .0.display())]
    NotText(PathBuf),
    #[error("{} is not a key in PEM", .0.display())]
    NoPem(PathBuf),
    #[error("the two passphrases differ")]
    Differ,
    #[error("there is no terminal to ask for the passphrase; name a file with it by --passphrase-file")]
    NoTerminal,
}

/// Source of a passphrase.
#[derive(Args)]
pub(crate) struct PassphraseArgs {
    /// File with the passphrase of the secret key, readable by its owner only [default: ask, if the key needs one].
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl PassphraseArgs {
    /// The file that is read.
    pub(crate) fn file(&self) -> Option<&PathBuf> {
        self.passphrase_file.as_ref()
    }

    /// The passphrase of a key that exists; none if it has none.
    pub(crate) fn of_key(&self, path: &Path, bytes: &[u8]) -> Result<Option<Zeroizing<String>>> {
        match (is_under_passphrase(bytes)?, &self.passphrase_file) {
            (true, Some(file)) => from_file(file).map(Some),
            (true, None) => ask(&format!("Passphrase of {}: ", path.display())).map(Some),
            (false, Some(_)) => {
                terminal::warn(&format!(
                    "{} has no passphrase, so the passphrase file is not used",
                    path.display()
                ));
                Ok(None)
            }
            (false, None) => Ok(None),
        }
    }

    /// The passphrase of a key to be made: from the file, or asked for twice if `wanted`.
    pub(crate) fn of_new_key(&self, wanted: bool) -> Result<Option<Zeroizing<String>>> {
        let passphrase = match &self.passphrase_file {
            Some(file) => from_file(file)?,
            None if wanted => {
                let first = ask("Passphrase: ")?;
                if first != ask("Repeat the passphrase: ")? {
                    return Err(SecretError::Differ.into());
                }
                first
            }
            None => return Ok(None),
        };
        if passphrase.is_empty() {
            bail!(RemoteError::EmptyPassphrase);
        }
        Ok(Some(passphrase))
    }
}

/// The bytes of a secret key that only its owner may read.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let secret = PrivateFile::read(path, MAX_SECRET_BYTES)?;
    // What is no secret is named before it is asked to be private.
    wire::open(ObjectKind::ClientSecret, &secret.bytes)
        .with_context(|| format!("cannot use {}", path.display()))?;
    secret.checked()
}

/// The text of a file that only its owner may read: a key in PEM, which is made here if the file does not exist.
pub(super) fn read_or_make_pem(
    path: &Path,
    make: impl FnOnce() -> Result<Zeroizing<String>>,
) -> Result<Zeroizing<String>> {
    if std::fs::symlink_metadata(path).is_err() {
        let pem = make()?;
        files::write(path, &[pem.as_bytes()], false, true)?;
        terminal::note(&format!("{} is a new signing key: keep it on this machine", path.display()));
        return Ok(pem);
    }
    let bytes = PrivateFile::read(path, MAX_PEM)?.checked()?;
    let text = std::str::from_utf8(&bytes).map_err(|_| SecretError::NoPem(path.into()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// The text of a file that only its owner may read: a passphrase or a token. The first line ending is no part of it.
pub(crate) fn from_file(path: &Path) -> Result<Zeroizing<String>> {
    let bytes = PrivateFile::read(path, MAX_PASSPHRASE)?.checked()?;
    let text = std::str::from_utf8(&bytes).map_err(|_| SecretError::NotText(path.into()))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    Ok(Zeroizing::new(text.strip_suffix('\r').unwrap_or(text).to_owned()))
}

/// Refuses a file that others than its owner may read.
pub(crate) fn check_private(path: &Path) -> Result<()> {
    let metadata = path.metadata().with_context(|| files::cannot_read(path))?;
    Ok(check_mode(path, &metadata)?)
}

#[cfg(unix)]
fn check_mode(path: &Path, metadata: &Metadata) -> Result<(), SecretError> {
    use std::os::unix::fs::PermissionsExt;
    let others = metadata.permissions().mode() & 0o077;
    if others == 0 { Ok(()) } else { Err(SecretError::Readable(path.into())) }
}

#[cfg(not(unix))]
fn check_mode(_: &Path, _: &Metadata) -> Result<(), SecretError> {
    Ok(())
}

fn ask(prompt: &str) -> Result<Zeroizing<String>> {
    let terminal = Term::stderr();
    if !terminal.is_term() {
        return Err(SecretError::NoTerminal.into());
    }
    terminal.write_str(prompt).context("cannot ask for the passphrase")?;
    Ok(Zeroizing::new(terminal.read_secure_line().context("cannot read the passphrase")?))
}

/// A file that only its owner may read.
struct PrivateFile<'a> {
    path: &'a Path,
    metadata: Metadata,
    /// Content of the file, cut one byte beyond the limit.
    bytes: Zeroizing<Vec<u8>>,
    max: usize,
}

impl<'a> PrivateFile<'a> {
    /// Reads the file into memory that is erased.
    fn read(path: &'a Path, max: usize) -> Result<Self> {
        let file = files::open(path)?;
        let metadata = file.metadata().with_context(|| files::cannot_read(path))?;
        if !metadata.is_file() {
            return Err(SecretError::Special(path.into()).into());
        }
        // With more room than is read: a buffer that grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 * max + 64));
        file.take(max as u64 + 1).read_to_end(&mut bytes).with_context(|| files::cannot_read(path))?;
        Ok(Self { path, metadata, bytes, max })
    }

    /// The content, if the file is private and not too long.
    fn checked(self) -> Result<Zeroizing<Vec<u8>>> {
        let Self { path, metadata, bytes, max } = self;
        check_mode(path, &metadata)?;
        if bytes.len() > max {
            return Err(SecretError::TooLarge { path: path.into(), max }.into());
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    #[cfg(unix)]
    fn secrets_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("secret");
        fs::write(&path, "correct horse\r\n").unwrap();
        for (mode, private) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let read = from_file(&path);
            assert_eq!(read.is_ok(), private, "{mode:o}");
            match read {
                Ok(text) => assert_eq!(*text, "correct horse"),
                Err(error) => assert!(error.to_string().contains("`chmod 600 "), "{error}"),
            }
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, [b'x'; MAX_PASSPHRASE + 1]).unwrap();
        assert!(from_file(&path).unwrap_err().to_string().contains("larger"));
        let special = PrivateFile::read(Path::new("/dev/zero"), 9).err().unwrap();
        assert!(special.to_string().contains("regular file"), "{special}");
    }
}
