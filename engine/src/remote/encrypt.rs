//! Encryption of items into a file.

use super::client_key::ClientKey;
use super::error::RemoteError;
use super::frames::{FILE, Frame, ItemHeader, ItemWriter};
use super::note::{ItemNote, Note};
use ndarray::{ArrayD, Axis, stack};
use pleura_ckks::ClientError;
use pleura_ckks::wire::ObjectKind;
use pleura_ring::sample::Seed;
use std::io::Write;

/// Encrypts items one after the other into a file. Items of a group share ciphertexts.
pub struct ItemEncryptor<'k, W: Write> {
    key: &'k ClientKey,
    writer: ItemWriter<W>,
    header: ItemHeader,
    notes: Vec<ItemNote>,
    values: Vec<ArrayD<f64>>,
    /// Items in frames.
    items: u64,
}

impl<'k, W: Write> ItemEncryptor<'k, W> {
    /// Begins a file.
    ///
    /// # Errors
    /// [`RemoteError::Io`], [`RemoteError::Client`] if the system gives no randomness
    pub fn new(key: &'k ClientKey, out: W) -> Result<Self, RemoteError> {
        let random = Seed::from_os().map_err(ClientError::from)?;
        let file = random.as_bytes().first_chunk::<FILE>().ok_or(RemoteError::Internal("a seed is short"))?;
        let header = ItemHeader { origin: *key.origin(), file: *file };
        let params = key.bundle().spec().params();
        let writer = ItemWriter::new(out, ObjectKind::EncryptedItems, params, &header)?;
        Ok(Self { key, writer, header, notes: Vec::new(), values: Vec::new(), items: 0 })
    }

    /// Encrypts an item of [`ClientBundle::item_shape`](super::ClientBundle::item_shape).
    ///
    /// # Errors
    /// [`RemoteError::ItemShape`], [`RemoteError::Inference`], [`RemoteError::NoteLength`], [`RemoteError::Io`]
    pub fn add(&mut self, note: ItemNote, values: ArrayD<f64>) -> Result<(), RemoteError> {
        let expected = self.key.bundle().item_shape();
        if values.shape() != expected {
            return Err(RemoteError::ItemShape { expected, got: values.shape().to_vec() });
        }
        self.notes.push(note);
        self.values.push(values);
        if self.values.len() == self.key.bundle().group() { self.encrypt_group() } else { Ok(()) }
    }

    /// Number of items so far.
    pub fn items(&self) -> u64 {
        self.items + self.values.len() as u64
    }

    /// Encrypts what is left and writes the end mark; the writer below and the number of bytes.
    ///
    /// # Errors
    /// [`RemoteError::Inference`], [`RemoteError::NoteLength`], [`RemoteError::Io`]
    pub fn finish(mut self) -> Result<(W, u64), RemoteError> {
        if !self.values.is_empty() {
            self.encrypt_group()?;
        }
        let frames = self.writer.frames();
        let note = self.key.sealer().seal(&Note::End { frames, items: self.items }, &self.header, frames)?;
        self.writer.finish(&note)
    }

    /// After a failure, the group is left out and the file goes on.
    fn encrypt_group(&mut self) -> Result<(), RemoteError> {
        let values = std::mem::take(&mut self.values);
        let note = Note::Items(std::mem::take(&mut self.notes));
        let group = stack(Axis(0), &values.iter().map(|item| item.view()).collect::<Vec<_>>());
        let group = group.map_err(|_| RemoteError::Internal("items of a group differ in shape"))?;
        let ciphertexts = self.key.client().encrypt(group.view())?;
        let note = self.key.sealer().seal(&note, &self.header, self.writer.frames())?;
        self.writer.add(&Frame { note, ciphertexts })?;
        self.items += values.len() as u64;
        Ok(())
    }
}
