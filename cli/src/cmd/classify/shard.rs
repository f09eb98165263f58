//! Disjoint shares of files, for many machines.

use sha2::{Digest, Sha256};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// One of several disjoint shares of files: a digest of its path says which share a file belongs to, so that files which come or go
/// move no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    /// From zero.
    index: u64,
    count: u64,
}

/// A text that is no shard.
#[derive(Debug, thiserror::Error)]
#[error("a shard is I/N with I from 1 to N, for example 2/8")]
pub(super) struct ShardError;

impl Shard {
    /// Whether a file, by its path as listed, is in this share.
    pub(super) fn has(self, path: &Path) -> bool {
        let digest = Sha256::digest(path.as_os_str().as_encoded_bytes());
        let number = digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        number % self.count == self.index
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index + 1, self.count)
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let (index, count) = text.split_once('/').ok_or(ShardError)?;
        let [index, count]: [u64; 2] =
            [index.parse().map_err(|_| ShardError)?, count.parse().map_err(|_| ShardError)?];
        if (1..=count).contains(&index) { Ok(Self { index: index - 1, count }) } else { Err(ShardError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_is_in_one_shard() {
        let shards: Vec<Shard> = (1..=3).map(|k| format!("{k}/3").parse().unwrap()).collect();
        let mut counts = [0; 3];
        for k in 0..300 {
            let path = format!("ward/{k}.png");
            let holders: Vec<usize> = (0..3).filter(|&s| shards[s].has(Path::new(&path))).collect();
            assert_eq!(holders.len(), 1);
            counts[holders[0]] += 1;
        }
        assert!(counts.iter().all(|count| (70..130).contains(count)), "{counts:?}");
        // Paths are assigned alike on all machines, for ever.
        assert!(shards[2].has(Path::new("ward/0.png")));
        for text in ["", "1", "0/2", "3/2", "1/0", "-1/2", "a/b", "1/2/3"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
