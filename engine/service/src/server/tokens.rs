//! Bearer tokens: a file of names and SHA-256 digests.

use super::error::ServiceError;
use super::store::has_keys;
use crate::api::{hex, unhex};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;
use subtle::ConstantTimeEq;

/// Beginning of all tokens, by which scanners of leaked secrets recognize them.
const PREFIX: &str = "pleura_";
/// Most bytes of a file of tokens.
const MAX_BYTES: u64 = 1 << 20;
/// Most characters of a name.
const MAX_NAME: usize = 32;

/// Tokens that are accepted. The file is read again when it changes, so that tokens can be added and withdrawn.
pub(super) struct Tokens {
    path: PathBuf,
    read: Mutex<Snapshot>,
}

#[derive(Default)]
struct Snapshot {
    stamp: Option<(SystemTime, u64)>,
    entries: Vec<Entry>,
}

struct Entry {
    name: String,
    digest: [u8; 32],
}

/// Makes a token, and adds its name and digest to a file, which is made if there is none. The token itself is kept
/// nowhere. Keys belong to names: a name whose keys are still in the server's folder is refused.
///
/// # Errors
/// [`ServiceError::TokenName`] for a name that is not allowed, [`ServiceError::Token`] for one in use,
/// [`ServiceError::Storage`]
pub fn new_token(path: &Path, folder: &Path, name: &str) -> Result<String, ServiceError> {
    check_name(name)?;
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|error| ServiceError::storage(path, error))?;
    let text = read(&mut file, path)?;
    let entries = parse(&text, path)?;
    if entries.iter().any(|entry| entry.name == name) {
        return Err(ServiceError::Token {
            path: path.into(),
            problem: format!(
                "has a token of the name {name}: choose another name, or delete its line to revoke it"
            ),
        });
    }
    if has_keys(folder, name)? {
        let problem =
            format!("has keys of an earlier token {name}, which a new one would get: take another name");
        return Err(ServiceError::Token { path: folder.into(), problem });
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|_| ServiceError::Random)?;
    let token = format!("{PREFIX}{}", hex(&random));
    // Editors may leave the last line without its end.
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let line = format!("{end}{name} {}\n", hex(&Sha256::digest(token.as_bytes())));
    file.write_all(line.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|error| ServiceError::storage(path, error))?;
    Ok(token)
}

impl Tokens {
    /// Reads a file of tokens.
    pub(super) fn open(path: &Path) -> Result<Self, ServiceError> {
        let tokens = Self { path: path.into(), read: Mutex::default() };
        tokens.refresh(&mut tokens.read.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(tokens)
    }

    /// Name of a token; all entries are compared, each in constant time.
    pub(super) fn find(&self, token: &str) -> Option<String> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.refresh(&mut read) {
            // A token that was withdrawn must not be accepted because of another line.
            tracing::error!(%error, "all tokens are refused until their file can be read");
            *read = Snapshot::default();
        }
        let digest = Sha256::digest(token.as_bytes());
        let mut found = None;
        for entry in &read.entries {
            if bool::from(entry.digest.ct_eq(&digest[..])) {
                found = Some(entry.name.clone());
            }
        }
        found
    }

    fn refresh(&self, read: &mut Snapshot) -> Result<(), ServiceError> {
        let failed = |error| ServiceError::storage(&self.path, error);
        let metadata = fs::metadata(&self.path).map_err(failed)?;
        let stamp = (metadata.modified().map_err(failed)?, metadata.len());
        if read.stamp == Some(stamp) {
            return Ok(());
        }
        let text = self::read(&mut File::open(&self.path).map_err(failed)?, &self.path)?;
        read.entries = parse(&text, &self.path)?;
        read.stamp = Some(stamp);
        Ok(())
    }
}

fn read(file: &mut File, path: &Path) -> Result<String, ServiceError> {
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|error| ServiceError::storage(path, error))?;
    if text.len() as u64 > MAX_BYTES {
        let problem = format!("has more than {MAX_BYTES} bytes");
        return Err(ServiceError::Token { path: path.into(), problem });
    }
    Ok(text)
}

fn parse(text: &str, path: &Path) -> Result<Vec<Entry>, ServiceError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let entries = lines.map(|(number, line)| {
        let entry = line.split_once(' ').and_then(|(name, digest)| {
            check_name(name).ok()?;
            Some(Entry { name: name.to_owned(), digest: unhex(digest)? })
        });
        let problem = format!("has no name and digest in line {}", number + 1);
        entry.ok_or_else(|| ServiceError::Token { path: path.into(), problem })
    });
    entries.collect()
}

/// Names are parts of file names.
fn check_name(name: &str) -> Result<(), ServiceError> {
    let allowed = name.bytes().all(|c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if allowed && (1..=MAX_NAME).contains(&name.len()) {
        return Ok(());
    }
    Err(ServiceError::TokenName { max: MAX_NAME })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_added_and_withdrawn() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("tokens");
        let folder = place.path().join("store");
        let new_token = |path: &Path, name: &str| new_token(path, &folder, name);
        let first = new_token(&path, "ward-1").unwrap();
        let tokens = Tokens::open(&path).unwrap();
        assert_eq!(tokens.find(&first).as_deref(), Some("ward-1"));
        let second = new_token(&path, "ward-2").unwrap();
        assert_eq!(tokens.find(&second).as_deref(), Some("ward-2"));
        for wrong in ["", "pleura_", &first[1..], &format!("{first} ")] {
            assert_eq!(tokens.find(wrong), None);
        }
        assert!(!fs::read_to_string(&path).unwrap().contains(&first));
        assert!(new_token(&path, "ward-1").is_err());
        for wrong in ["", "a b", "A", "../x", &"a".repeat(33)] {
            assert!(new_token(&path, wrong).is_err(), "{wrong}");
        }
        let text = fs::read_to_string(&path).unwrap();
        let line = text.lines().last().unwrap();
        fs::write(&path, line).unwrap();
        assert_eq!(tokens.find(&first), None);
        assert!(tokens.find(&second).is_some());
        // Keys of a token that was withdrawn are not those of a new one.
        for place in ["keys", "incoming"] {
            let keys = folder.join(place).join(format!("ward-1.{}", hex(&[1; 32])));
            fs::create_dir_all(folder.join(place)).unwrap();
            fs::write(&keys, "").unwrap();
            assert!(new_token(&path, "ward-1").is_err());
            fs::remove_file(keys).unwrap();
        }
        // A line is added after one without an end.
        let third = new_token(&path, "ward-3").unwrap();
        assert!(tokens.find(&second).is_some() && tokens.find(&third).is_some());
        // A file with a line that is not valid refuses all, until it is mended.
        fs::write(&path, format!("{line}\nward-3 abc")).unwrap();
        assert!(tokens.find(&second).is_none() && Tokens::open(&path).is_err());
        fs::write(&path, line).unwrap();
        assert!(tokens.find(&second).is_some());
        // So does one that is too long to be read in full.
        fs::write(&path, format!("{line}\n{}", "#\n".repeat(MAX_BYTES as usize / 2))).unwrap();
        assert!(tokens.find(&second).is_none() && new_token(&path, "ward-4").is_err());
        fs::write(&path, line).unwrap();
        assert!(tokens.find(&second).is_some());
        fs::remove_file(&path).unwrap();
        assert_eq!(tokens.find(&second), None);
    }
}
