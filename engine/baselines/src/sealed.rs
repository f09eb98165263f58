//! A digest at the end of files, which shows that they were damaged.

use sha2::{Digest, Sha256};

/// Length of the digest.
pub(crate) const DIGEST: usize = 32;

/// Appends the SHA-256 of all bytes before it.
pub(crate) fn seal(bytes: &mut Vec<u8>) {
    let digest = Sha256::digest(&*bytes);
    bytes.extend_from_slice(&digest);
}

/// The bytes before a digest, if it is theirs.
pub(crate) fn unsealed(bytes: &[u8]) -> Option<&[u8]> {
    let (body, digest) = bytes.split_last_chunk::<DIGEST>()?;
    (Sha256::digest(body)[..] == digest[..]).then_some(body)
}
