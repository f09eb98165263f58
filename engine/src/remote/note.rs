//! Notes: data that a client stores with its ciphertexts, encrypted under a key that its secret key determines.

use super::error::RemoteError;
use super::frames::{ItemHeader, MAX_NOTE};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use pleura_ckks::{ClientError, SecretKey};
use pleura_ring::sample::{Label, Seed};
use serde::{Deserialize, Serialize};

/// Notes are padded to a multiple of this number of bytes, so that their length reveals little.
const BLOCK: usize = 1024;
/// Bytes of a nonce.
const NONCE: usize = 24;
/// Bytes of an authentication tag.
const TAG: usize = 16;
/// Bytes of the length of a note.
const LENGTH: usize = 4;

/// Facts about an item, for the client alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemNote {
    /// Name of the item.
    pub name: String,
    /// SHA-256 of the file that it came from, if the file was read as a whole.
    pub digest: Option<[u8; 32]>,
    /// Warnings about the item.
    pub warnings: Vec<String>,
}

/// Content of a note.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Note {
    /// Notes on the items of a frame, in order.
    Items(Vec<ItemNote>),
    /// Note of the end: number of frames and of items before it.
    End { frames: u64, items: u64 },
}

/// Encrypts and decrypts notes.
pub(super) struct Sealer(XChaCha20Poly1305);

impl Sealer {
    pub(super) fn new(secret: &SecretKey) -> Self {
        let key = secret.seed().derive(Label::Note, 0);
        Self(XChaCha20Poly1305::new(key.as_bytes().into()))
    }

    /// The note of frame `frame` of a file, encrypted.
    pub(super) fn seal(&self, note: &Note, header: &ItemHeader, frame: u64) -> Result<Vec<u8>, RemoteError> {
        let content =
            postcard::to_allocvec(note).map_err(|_| RemoteError::Internal("a note has no bytes"))?;
        let padded = (LENGTH + content.len()).next_multiple_of(BLOCK);
        let got = NONCE + padded + TAG;
        let length = u32::try_from(content.len()).ok().filter(|_| got <= MAX_NOTE);
        let length = length.ok_or(RemoteError::NoteLength { got, max: MAX_NOTE })?;
        let mut plain = length.to_le_bytes().to_vec();
        plain.extend(content);
        plain.resize(padded, 0);
        let random = Seed::from_os().map_err(ClientError::from)?;
        let (nonce, _) = random.as_bytes().split_first_chunk::<NONCE>().ok_or(NO_NONCE)?;
        let payload = Payload { msg: &plain, aad: &place(header, frame) };
        let sealed = self.0.encrypt(nonce.into(), payload);
        let sealed = sealed.map_err(|_| RemoteError::Internal("a note cannot be encrypted"))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// The note of frame `frame`, numbered from 0.
    pub(super) fn open(&self, sealed: &[u8], header: &ItemHeader, frame: u64) -> Result<Note, RemoteError> {
        self.open_plain(sealed, header, frame).ok_or(RemoteError::Note { frame: frame + 1 })
    }

    fn open_plain(&self, sealed: &[u8], header: &ItemHeader, frame: u64) -> Option<Note> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE>()?;
        let plain = self.0.decrypt(nonce.into(), Payload { msg: sealed, aad: &place(header, frame) }).ok()?;
        let (length, content) = plain.split_first_chunk::<LENGTH>()?;
        let content = content.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
        postcard::from_bytes(content).ok()
    }
}

const NO_NONCE: RemoteError = RemoteError::Internal("a seed is shorter than a nonce");

/// The place that a note is bound to.
fn place(header: &ItemHeader, frame: u64) -> Vec<u8> {
    [&header.origin.to_bytes()[..], &header.file, &frame.to_le_bytes()].concat()
}
