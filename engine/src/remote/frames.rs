//! Framed files of items and results, written and read one frame at a time.

use super::error::RemoteError;
use super::origin::{Origin, PREFIX, Prefix};
use pleura_ckks::wire::{self, ObjectKind};
use pleura_ckks::{Ciphertext, Params};
use sha2::{Digest, Sha256};
use std::io::{Read, Write};

/// Most bytes of a note.
pub(super) const MAX_NOTE: usize = 1 << 20;
/// Bytes of the random number of a file.
pub(super) const FILE: usize = 16;
/// Bytes of a digest.
const DIGEST: usize = 32;
/// Bytes of tag and length of a frame.
const FRAME_HEADER: usize = 9;
const ITEMS: u8 = 1;
const END: u8 = 2;

/// Header of a file of items or results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemHeader {
    /// Plan, bundle and key of the ciphertexts.
    pub origin: Origin,
    /// Random number of the file of items; results have that of their items.
    pub file: [u8; FILE],
}

/// Ciphertexts of the items that share them, and the client's note.
#[derive(Clone)]
pub struct Frame {
    /// Encrypted note, which only the client reads.
    pub note: Vec<u8>,
    /// Ciphertexts of one input or one result of the network.
    pub ciphertexts: Vec<Ciphertext>,
}

/// Writer of a file of items or results. A file without [`ItemWriter::finish`] is refused by readers as cut short.
pub struct ItemWriter<W: Write> {
    out: W,
    chain: [u8; DIGEST],
    frames: u64,
    bytes: u64,
}

/// Reader of a file of items or results, which holds one frame in memory at a time.
pub struct ItemReader<R: Read> {
    input: R,
    header: ItemHeader,
    params: Params,
    /// Ciphertexts of a frame.
    ciphertexts: usize,
    chain: [u8; DIGEST],
    frames: u64,
    bytes: u64,
    /// Note of the end mark, once that is read.
    end: Option<Vec<u8>>,
}

impl<W: Write> ItemWriter<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// [`RemoteError::Io`]
    pub fn new(out: W, kind: ObjectKind, params: &Params, header: &ItemHeader) -> Result<Self, RemoteError> {
        let bytes = wire::seal(kind, params, &[&header.origin.to_bytes()[..], &header.file].concat());
        let mut writer = Self { out, chain: Sha256::digest(&bytes).into(), frames: 0, bytes: 0 };
        writer.put(&bytes)?;
        Ok(writer)
    }

    /// Writes a frame.
    ///
    /// # Errors
    /// [`RemoteError::Io`], [`RemoteError::NoteLength`]
    pub fn add(&mut self, frame: &Frame) -> Result<(), RemoteError> {
        let got = frame.note.len();
        if got > MAX_NOTE {
            return Err(RemoteError::NoteLength { got, max: MAX_NOTE });
        }
        let mut body = Vec::new();
        put_sized(&mut body, &frame.note)?;
        body.extend(length(frame.ciphertexts.len())?);
        for ciphertext in &frame.ciphertexts {
            put_sized(&mut body, &ciphertext.to_bytes())?;
        }
        self.put_frame(ITEMS, &body)?;
        self.frames += 1;
        Ok(())
    }

    /// Number of frames so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Writes the end mark with its note, and returns the writer below and the number of bytes.
    ///
    /// # Errors
    /// [`RemoteError::Io`]
    pub fn finish(mut self, note: &[u8]) -> Result<(W, u64), RemoteError> {
        let body = [&self.frames.to_le_bytes()[..], note].concat();
        self.put_frame(END, &body)?;
        self.out.flush()?;
        Ok((self.out, self.bytes))
    }

    fn put_frame(&mut self, tag: u8, body: &[u8]) -> Result<(), RemoteError> {
        let start = frame_header(tag, body.len() as u64);
        self.chain = next_digest(&self.chain, &start, body);
        let digest = self.chain;
        self.put(&start)?;
        self.put(body)?;
        self.put(&digest)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), RemoteError> {
        self.out.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

impl<R: Read> ItemReader<R> {
    /// Reads the header of a file whose frames have `ciphertexts` ciphertexts each. `check` compares the origin with
    /// what is expected, before the parameters are.
    ///
    /// # Errors
    /// [`RemoteError::Wire`], [`RemoteError::Io`], and what `check` returns
    pub fn new(
        mut input: R,
        kind: ObjectKind,
        params: &Params,
        ciphertexts: usize,
        check: impl FnOnce(&Origin) -> Result<(), RemoteError>,
    ) -> Result<Self, RemoteError> {
        let bytes = take(&mut input, PREFIX + FILE)?;
        let prefix = Prefix::read(kind, &bytes)?;
        check(&prefix.origin)?;
        prefix.check_params(params)?;
        let file = bytes.get(PREFIX..).and_then(|file| file.first_chunk::<FILE>());
        let file = *file.ok_or(RemoteError::CutShort { frames: 0 })?;
        Ok(Self {
            input,
            header: ItemHeader { origin: prefix.origin, file },
            params: params.clone(),
            ciphertexts,
            chain: Sha256::digest(&bytes).into(),
            frames: 0,
            bytes: bytes.len() as u64,
            end: None,
        })
    }

    /// The header.
    pub fn header(&self) -> &ItemHeader {
        &self.header
    }

    /// Number of bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of frames read so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Encrypted note of the end mark; `None` before [`ItemReader::next_frame`] has returned `None`.
    pub fn end_note(&self) -> Option<&[u8]> {
        self.end.as_deref()
    }

    /// The next frame; `None` after the last one, if the end mark is there and right.
    ///
    /// # Errors
    /// [`RemoteError::CutShort`], [`RemoteError::Digest`], [`RemoteError::Frame`], [`RemoteError::TrailingBytes`],
    /// [`RemoteError::Wire`] for a ciphertext that is none, [`RemoteError::Io`]
    pub fn next_frame(&mut self) -> Result<Option<Frame>, RemoteError> {
        if self.end.is_some() {
            return Ok(None);
        }
        let cut = RemoteError::CutShort { frames: self.frames };
        let start = take(&mut self.input, FRAME_HEADER)?;
        let Some((&tag, Some(len))) = start.split_first().map(|(tag, len)| (tag, len.first_chunk::<8>()))
        else {
            return Err(cut);
        };
        let len = u64::from_le_bytes(*len);
        if len > self.max_body() {
            return Err(self.wrong("is longer than those of the plan"));
        }
        let len = usize::try_from(len).map_err(|_| self.wrong("is longer than those of the plan"))?;
        let body = take(&mut self.input, len)?;
        let digest = take(&mut self.input, DIGEST)?;
        if body.len() < len || digest.len() < DIGEST {
            return Err(cut);
        }
        self.chain = next_digest(&self.chain, &start, &body);
        if digest != self.chain {
            return Err(RemoteError::Digest);
        }
        self.bytes += (start.len() + body.len() + digest.len()) as u64;
        match tag {
            ITEMS => {
                let frame = self.parse(&body)?;
                self.frames += 1;
                Ok(Some(frame))
            }
            END => {
                self.read_end(&body)?;
                Ok(None)
            }
            _ => Err(self.wrong("is of no known kind")),
        }
    }

    fn parse(&self, body: &[u8]) -> Result<Frame, RemoteError> {
        let short = || self.wrong("ends early");
        let (note, body) = split_sized(body).ok_or_else(short)?;
        let (count, mut body) = split_number(body).ok_or_else(short)?;
        if count != self.ciphertexts {
            return Err(self.wrong("has another number of ciphertexts than the plan"));
        }
        let mut ciphertexts = Vec::new();
        for _ in 0..count {
            let (bytes, rest) = split_sized(body).ok_or_else(short)?;
            ciphertexts.push(Ciphertext::from_bytes(bytes, &self.params)?);
            body = rest;
        }
        if !body.is_empty() {
            return Err(self.wrong("goes on after its last ciphertext"));
        }
        Ok(Frame { note: note.to_vec(), ciphertexts })
    }

    fn read_end(&mut self, body: &[u8]) -> Result<(), RemoteError> {
        let (count, note) = body.split_first_chunk::<8>().ok_or_else(|| self.wrong("ends early"))?;
        let expected = u64::from_le_bytes(*count);
        if expected != self.frames {
            return Err(RemoteError::Missing { expected, got: self.frames });
        }
        if !take(&mut self.input, 1)?.is_empty() {
            return Err(RemoteError::TrailingBytes);
        }
        self.end = Some(note.to_vec());
        Ok(())
    }

    /// Most bytes of a body: a note and ciphertexts at the highest level.
    fn max_body(&self) -> u64 {
        let ciphertext = Ciphertext::encoded_len(&self.params, self.params.max_level(), 2, false);
        (MAX_NOTE as u64 + 8) + self.ciphertexts as u64 * (ciphertext + 4)
    }

    fn wrong(&self, problem: &'static str) -> RemoteError {
        RemoteError::Frame { frame: self.frames + 1, problem }
    }
}

/// Random number of a file of items; results have that of their items. `None` for bytes that end before it.
pub fn file_number(bytes: &[u8]) -> Option<[u8; FILE]> {
    bytes.get(PREFIX..)?.first_chunk().copied()
}

/// Number of ciphertext groups in the bytes of a file of items or results, by the lengths of its frames alone.
///
/// # Errors
/// [`RemoteError::CutShort`]
pub fn count_groups(bytes: &[u8]) -> Result<u64, RemoteError> {
    let mut groups = 0;
    let mut rest = bytes.get(PREFIX + FILE..);
    while let Some((start, after)) = rest.and_then(|rest| rest.split_first_chunk::<FRAME_HEADER>()) {
        let [tag, len @ ..] = *start;
        if tag == END {
            return Ok(groups);
        }
        groups += 1;
        let len = usize::try_from(u64::from_le_bytes(len)).ok();
        rest = len.and_then(|len| after.get(len.checked_add(DIGEST)?..));
    }
    Err(RemoteError::CutShort { frames: groups })
}

/// Reads `len` bytes, or as many as there are. Memory grows with what arrives.
pub(super) fn take(input: &mut impl Read, count: usize) -> Result<Vec<u8>, RemoteError> {
    let mut bytes = Vec::new();
    input.take(count as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn frame_header(tag: u8, len: u64) -> [u8; FRAME_HEADER] {
    let [a, b, c, d, e, f, g, h] = len.to_le_bytes();
    [tag, a, b, c, d, e, f, g, h]
}

fn next_digest(chain: &[u8; DIGEST], start: &[u8], body: &[u8]) -> [u8; DIGEST] {
    Sha256::new().chain_update(chain).chain_update(start).chain_update(body).finalize().into()
}

fn length(len: usize) -> Result<[u8; 4], RemoteError> {
    let len = u32::try_from(len).map_err(|_| RemoteError::Internal("a part of a frame is too long"))?;
    Ok(len.to_le_bytes())
}

fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), RemoteError> {
    out.extend(length(bytes.len())?);
    out.extend(bytes);
    Ok(())
}

fn split_number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

fn split_sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = split_number(bytes)?;
    rest.split_at_checked(len)
}
