//! Decryption of results from a file.

use super::client_key::ClientKey;
use super::error::RemoteError;
use super::frames::ItemReader;
use super::note::{ItemNote, Note};
use pleura_ckks::wire::ObjectKind;
use pleura_nn::BeyondRange;
use std::io::Read;

/// Decrypts results, a group of items at a time, and refuses results that are out of order or left out.
pub struct ItemDecryptor<'k, R: Read> {
    key: &'k ClientKey,
    reader: ItemReader<R>,
    items: u64,
    ended: bool,
}

/// Result of an item.
#[derive(Clone, Debug, PartialEq)]
pub struct DecryptedItem {
    /// Facts about the item that the client noted when it encrypted it.
    pub note: ItemNote,
    /// Published scores in row-major order, see [`Client::publish`](pleura_nn::Client::publish).
    pub scores: Vec<f64>,
    /// The score that exceeds its calibrated range most, if one does by more than four times: beyond eight times, values may
    /// have overflowed.
    pub beyond_range: Option<BeyondRange>,
}

impl<'k, R: Read> ItemDecryptor<'k, R> {
    /// Reads the header of a file of results.
    ///
    /// # Errors
    /// [`RemoteError::Wire`], [`RemoteError::OtherPlan`], [`RemoteError::OtherBundle`], [`RemoteError::OtherKey`],
    /// [`RemoteError::Io`]
    pub fn new(key: &'k ClientKey, input: R) -> Result<Self, RemoteError> {
        let spec = key.bundle().spec();
        let kind = ObjectKind::EncryptedResults;
        let count = spec.output_ciphertexts();
        let reader = ItemReader::new(input, kind, spec.params(), count, |found| found.check(key.origin()))?;
        Ok(Self { key, reader, items: 0, ended: false })
    }

    /// Number of bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.reader.bytes()
    }

    /// The results of the next group; `None` after the last one, if none was left out.
    ///
    /// # Errors
    /// Those of [`ItemReader::next_frame`], [`RemoteError::Note`], [`RemoteError::Missing`], [`RemoteError::Inference`]
    pub fn next_group(&mut self) -> Result<Option<Vec<DecryptedItem>>, RemoteError> {
        if self.ended {
            return Ok(None);
        }
        let number = self.reader.frames();
        let header = *self.reader.header();
        let Some(frame) = self.reader.next_frame()? else {
            let note = self.reader.end_note().ok_or(RemoteError::Internal("an end mark was not read"))?;
            return self.check_end(self.key.sealer().open(note, &header, number)?, number).map(|()| None);
        };
        let misplaced = RemoteError::Note { frame: number + 1 };
        let Note::Items(notes) = self.key.sealer().open(&frame.note, &header, number)? else {
            return Err(misplaced);
        };
        if notes.is_empty() || notes.len() > self.key.bundle().group() {
            return Err(misplaced);
        }
        let published = self.key.client().publish(&frame.ciphertexts)?;
        let scores: Vec<f64> = published.iter().copied().collect();
        let spec = self.key.bundle().spec();
        let results = scores.chunks(self.key.bundle().item_outputs());
        let items = notes.into_iter().zip(results).map(|(note, scores)| DecryptedItem {
            note,
            scores: scores.to_vec(),
            beyond_range: spec.output_beyond_range(scores),
        });
        let items: Vec<_> = items.collect();
        self.items += items.len() as u64;
        Ok(Some(items))
    }

    fn check_end(&mut self, note: Note, frames: u64) -> Result<(), RemoteError> {
        match note {
            Note::End { frames: expected, .. } if expected != frames => {
                Err(RemoteError::Missing { expected, got: frames })
            }
            Note::End { items, .. } if items == self.items => {
                self.ended = true;
                Ok(())
            }
            _ => Err(RemoteError::Note { frame: frames + 1 }),
        }
    }
}
