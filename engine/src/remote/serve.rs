//! Server side: evaluation keys and items in, results out.

use super::error::RemoteError;
use super::frames::{Frame, ItemReader, ItemWriter, take};
use super::hashed::Hashed;
use super::origin::{Origin, PREFIX, Prefix};
use crate::server::{Server, Session};
use pleura_ckks::wire::ObjectKind;
use pleura_ckks::{EvaluationKeys, KeyLoadError};
use pleura_nn::ServerPlan;
use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};

/// Bytes of a digest.
const DIGEST: u64 = 32;

/// Bytes of evaluation keys from which [`keys_origin`] reads their origin.
pub const KEYS_START: usize = PREFIX;

/// Reads a client's evaluation keys for a plan, and what they were made for.
///
/// # Errors
/// [`RemoteError::Wire`], [`RemoteError::OtherPlan`], [`RemoteError::Length`], [`RemoteError::Digest`],
/// [`RemoteError::Io`]
pub fn read_keys(mut input: impl Read, plan: &ServerPlan) -> Result<(EvaluationKeys, Origin), RemoteError> {
    let start = take(&mut input, PREFIX)?;
    let prefix = Prefix::read(ObjectKind::SessionKeys, &start)?;
    prefix.origin.check_plan(plan.digest())?;
    prefix.check_params(plan.params())?;
    // The plan says how long its keys are.
    let expected = keys_len(plan);
    let keys_len = usize::try_from(expected - PREFIX as u64 - DIGEST)
        .map_err(|_| RemoteError::Internal("keys exceed the address space"))?;
    let keys = take(&mut input, keys_len)?;
    // One byte more than there may be.
    let digest = take(&mut input, DIGEST as usize + 1)?;
    let got = (start.len() + keys.len() + digest.len()) as u64;
    if got != expected {
        return Err(RemoteError::Length { expected, got });
    }
    if Sha256::new().chain_update(&start).chain_update(&keys).finalize()[..] != digest[..] {
        return Err(RemoteError::Digest);
    }
    Ok((EvaluationKeys::from_bytes(&keys, plan.params())?, prefix.origin))
}

/// Reads a client's evaluation keys for the plan of a server as [`read_keys`] does, and brings each to the device while those after it
/// are read. There is a session only once all bytes were found to be those that were written.
///
/// # Errors
/// Those of [`read_keys`], and [`RemoteError::Inference`] if the device fails.
pub fn load_session(input: impl Read + Send, server: &Server) -> Result<(Session, Origin), RemoteError> {
    let plan = server.plan();
    let mut input = Hashed::new(input);
    let prefix = Prefix::read(ObjectKind::SessionKeys, &take(&mut input, PREFIX)?)?;
    prefix.origin.check_plan(plan.digest())?;
    prefix.check_params(plan.params())?;
    let expected = keys_len(plan);
    let loaded = match server.load_session(&mut input) {
        Err(KeyLoadError::Io(error)) => return Err(error.into()),
        loaded => loaded,
    };
    // Damage is called so, whatever else it looked like.
    let left = (expected - DIGEST).saturating_sub(Hashed::bytes(&input));
    io::copy(&mut input.by_ref().take(left), &mut io::sink())?;
    let written = input.digest();
    let digest = take(&mut input, DIGEST as usize + 1)?;
    let got = Hashed::bytes(&input);
    if got != expected {
        return Err(RemoteError::Length { expected, got });
    }
    if written[..] != digest[..] {
        return Err(RemoteError::Digest);
    }
    Ok((loaded?, prefix.origin))
}

/// Bytes of a client's evaluation keys for a plan, as [`read_keys`] reads them.
pub fn keys_len(plan: &ServerPlan) -> u64 {
    PREFIX as u64 + EvaluationKeys::encoded_len(plan.params(), &plan.key_request()) + DIGEST
}

/// Origin of evaluation keys for a plan, of which only the start has arrived; `None` for less than [`KEYS_START`] bytes.
///
/// # Errors
/// [`RemoteError::Wire`], [`RemoteError::OtherPlan`]
pub fn keys_origin(start: &[u8], plan: &ServerPlan) -> Result<Option<Origin>, RemoteError> {
    let Some(start) = start.get(..PREFIX) else { return Ok(None) };
    let prefix = Prefix::read(ObjectKind::SessionKeys, start)?;
    prefix.origin.check_plan(plan.digest())?;
    prefix.check_params(plan.params())?;
    Ok(Some(prefix.origin))
}

/// Origin that evaluation keys for any plan state, by their start; `None` for less than [`KEYS_START`] bytes.
///
/// # Errors
/// [`RemoteError::Wire`]
pub fn stated_origin(start: &[u8]) -> Result<Option<Origin>, RemoteError> {
    let Some(start) = start.get(..PREFIX) else { return Ok(None) };
    Ok(Some(Prefix::read(ObjectKind::SessionKeys, start)?.origin))
}

/// Computes the results of all items of a file, one frame at a time; the writer below, the number of ciphertext
/// groups and the number of bytes written. `origin` is that of the session's keys; `observe` receives the numbers of
/// frames done and of bytes read.
///
/// # Errors
/// [`RemoteError::OtherPlan`], [`RemoteError::OtherBundle`], [`RemoteError::OtherKey`], those of
/// [`ItemReader::next_frame`], [`RemoteError::Inference`] if the device fails or ciphertexts are none of this plan,
/// [`RemoteError::Io`]
pub fn infer_items<W: Write>(
    session: &Session,
    origin: &Origin,
    items: impl Read,
    results: W,
    observe: &mut dyn FnMut(u64, u64),
) -> Result<(W, u64, u64), RemoteError> {
    let plan = session.plan();
    let kind = ObjectKind::EncryptedItems;
    let count = plan.input_ciphertexts();
    let mut reader = ItemReader::new(items, kind, plan.params(), count, |found| found.check(origin))?;
    let mut writer = ItemWriter::new(results, ObjectKind::EncryptedResults, plan.params(), reader.header())?;
    observe(0, reader.bytes());
    while let Some(Frame { note, ciphertexts }) = reader.next_frame()? {
        writer.add(&Frame { note, ciphertexts: session.infer(&ciphertexts)? })?;
        observe(reader.frames(), reader.bytes());
    }
    let note = reader.end_note().ok_or(RemoteError::Internal("an end mark was not read"))?;
    let frames = reader.frames();
    let (out, bytes) = writer.finish(note)?;
    Ok((out, frames, bytes))
}
