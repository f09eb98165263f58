//! Plans and client specifications as bytes.
//!
//! | object | kind | bytes |
//! |---|---|---|
//! | [`ClientSpec`] | 16 | header, parameters, length and bytes of the key request, description, scalers if there are any, digest |
//! | [`ServerPlan`] | 17 | header, parameters, description with the class of devices and the weights, digest |
//! | [`Plan`] | 18 | header, lengths and bytes of server plan and client specification, notes, digest |
//!
//! Header, parameters and key request are those of [`pleura_ckks::wire`]. Lengths are 64-bit little-endian numbers.
//! Descriptions and notes are in the format `postcard`. The digest is the SHA-256 of all bytes before it.
//!
//! Bytes may be hostile: nothing is allocated before its length is checked, and a description that contradicts
//! itself or its parameters is refused. A digest shows damage, not who made the bytes.

use crate::plan::{Plan, PlanNotes};
use crate::scaler::Scalers;
use crate::server_plan::ServerPlan;
use crate::spec::{ClientSpec, SpecDescription, TensorSpec};
use crate::step::Program;
use crate::{CompileError, DeviceClass, PlanFileError};
use pleura_ckks::wire::{self, ObjectKind};
use pleura_ckks::{KeyRequest, Params, WireError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::mem;

const DIGEST_LEN: usize = 32;

/// The serialized part of a [`ServerPlan`], without its parameters.
#[derive(Serialize, Deserialize)]
struct ServerDescription {
    network: String,
    device: DeviceClass,
    input: TensorSpec,
    output: TensorSpec,
    program: Program,
}

/// Borrowed form of [`ServerDescription`].
#[derive(Serialize)]
struct ServerDescriptionRef<'a> {
    network: &'a str,
    device: DeviceClass,
    input: &'a TensorSpec,
    output: &'a TensorSpec,
    program: &'a Program,
}

impl ServerPlan {
    /// The plan as bytes.
    ///
    /// # Errors
    /// [`PlanFileError::Internal`], for a bug of the serializer.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PlanFileError> {
        let mut bytes = Vec::new();
        self.write(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), PlanFileError> {
        let Self { params, network, device, program, input, output, .. } = self;
        let description = ServerDescriptionRef { network, device: *device, input, output, program };
        seal(out, ObjectKind::ServerPlan, params, |out| {
            out.extend(params.to_bytes());
            encode(out, &description)
        })
    }

    /// Reads a plan.
    ///
    /// # Errors
    /// [`PlanFileError`]; a plan whose parameters promise no security is refused with
    /// [`WireError::InsecureParams`](pleura_ckks::WireError::InsecureParams).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PlanFileError> {
        Self::read(bytes, &Params::from_bytes)
    }

    /// Reads a plan, for tests, without asking for security.
    ///
    /// # Errors
    /// [`PlanFileError`]
    pub fn from_bytes_allow_insecure(bytes: &[u8]) -> Result<Self, PlanFileError> {
        Self::read(bytes, &Params::from_bytes_allow_insecure)
    }

    fn read(bytes: &[u8], read_params: ReadParams<'_>) -> Result<Self, PlanFileError> {
        let (body, digest) = open(ObjectKind::ServerPlan, bytes)?;
        let (params, body) = split_params(body)?;
        // Weights are read while the tables of the parameters are made.
        let (description, params) = rayon::join(|| decode(body), || read_params(params));
        let ServerDescription { network, device, input, output, program } = description?;
        let params = params?;
        let plan = Self { params, network, device, program, input, output, digest };
        plan.check()?;
        Ok(plan)
    }

    /// The plan with its digest.
    pub(crate) fn sealed(mut self) -> Result<Self, CompileError> {
        self.check().map_err(|error| match error {
            PlanFileError::Invalid { what } => CompileError::Internal(what),
            _ => CompileError::Internal("a plan contradicts itself"),
        })?;
        let bytes = self.to_bytes().map_err(|_| CompileError::Internal("a plan cannot be serialized"))?;
        let digest = bytes.last_chunk().ok_or(CompileError::Internal("a plan has no digest"))?;
        self.digest = *digest;
        Ok(self)
    }
}

impl ClientSpec {
    /// The specification as bytes.
    ///
    /// # Errors
    /// [`PlanFileError::Internal`], for a bug of the serializer.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PlanFileError> {
        let mut bytes = Vec::new();
        self.write(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), PlanFileError> {
        seal(out, ObjectKind::ClientSpec, &self.params, |out| {
            out.extend(self.params.to_bytes());
            put(out, |out| {
                out.extend(self.key_request.to_bytes(&self.params));
                Ok(())
            })?;
            encode(out, &self.description)?;
            if self.scalers.is_empty() { Ok(()) } else { encode(out, &self.scalers) }
        })
    }

    /// Reads a specification.
    ///
    /// # Errors
    /// [`PlanFileError`]; a specification whose parameters promise no security is refused with
    /// [`WireError::InsecureParams`](pleura_ckks::WireError::InsecureParams).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PlanFileError> {
        Self::read(bytes, &Params::from_bytes)
    }

    /// Reads a specification, for tests, without asking for security.
    ///
    /// # Errors
    /// [`PlanFileError`]
    pub fn from_bytes_allow_insecure(bytes: &[u8]) -> Result<Self, PlanFileError> {
        Self::read(bytes, &Params::from_bytes_allow_insecure)
    }

    fn read(bytes: &[u8], read_params: ReadParams<'_>) -> Result<Self, PlanFileError> {
        let (body, _) = open(ObjectKind::ClientSpec, bytes)?;
        let (params, body) = split_params(body)?;
        let (keys, body) = take(body)?;
        let (description, scalers): (SpecDescription, _) =
            postcard::take_from_bytes(body).map_err(|_| PlanFileError::Description)?;
        let scalers = if scalers.is_empty() { Scalers::default() } else { decode(scalers)? };
        let params = read_params(params)?;
        let key_request = KeyRequest::from_bytes(keys, &params)?;
        let spec = Self { params, key_request, description, scalers };
        spec.check()?;
        Ok(spec)
    }
}

impl Plan {
    /// Both halves and the compiler's notes as bytes, for a cache.
    ///
    /// # Errors
    /// [`PlanFileError::Internal`], for a bug of the serializer.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PlanFileError> {
        let mut bytes = Vec::new();
        seal(&mut bytes, ObjectKind::Plan, self.params(), |out| {
            put(out, |out| self.server.write(out))?;
            put(out, |out| self.client.write(out))?;
            encode(out, &self.notes)
        })?;
        Ok(bytes)
    }

    /// Reads what [`Plan::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`PlanFileError`], as for [`ServerPlan::from_bytes`] and [`ClientSpec::from_bytes`];
    /// [`PlanFileError::OtherPlan`] if the halves do not belong together.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PlanFileError> {
        Self::read(bytes, &Params::from_bytes)
    }

    /// Reads a plan, for tests, without asking for security.
    ///
    /// # Errors
    /// [`PlanFileError`]
    pub fn from_bytes_allow_insecure(bytes: &[u8]) -> Result<Self, PlanFileError> {
        Self::read(bytes, &Params::from_bytes_allow_insecure)
    }

    fn read(bytes: &[u8], read_params: ReadParams<'_>) -> Result<Self, PlanFileError> {
        let (body, _) = open(ObjectKind::Plan, bytes)?;
        let (server, body) = take(body)?;
        let (client, body) = take(body)?;
        let notes: PlanNotes = decode(body)?;
        let server = ServerPlan::read(server, read_params)?;
        // The client's half names the same parameters, which are expensive to derive.
        let known = server.params.to_bytes();
        let client = ClientSpec::read(client, &|bytes| {
            if bytes == known { Ok(server.params.clone()) } else { read_params(bytes) }
        })?;
        client.check_belongs_to(&server)?;
        if !notes.ranges.values().iter().all(|range| range.is_finite() && *range > 0.0) {
            return Err(PlanFileError::Invalid { what: "a range of values" });
        }
        let are_errors = notes.errors.values().iter().all(|error| error.is_finite() && *error > 0.0);
        if !are_errors || notes.errors.len() != server.program.steps.len() {
            return Err(PlanFileError::Invalid { what: "the expected errors of steps" });
        }
        Ok(Self::assemble(server, client, notes))
    }
}

/// Appends a value.
fn encode<T: Serialize>(out: &mut Vec<u8>, value: &T) -> Result<(), PlanFileError> {
    let written = postcard::to_extend(value, mem::take(out));
    *out = written.map_err(|_| PlanFileError::Internal("a description cannot be serialized"))?;
    Ok(())
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, PlanFileError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        _ => Err(PlanFileError::Description),
    }
}

/// Reads parameters, with or without asking for security.
type ReadParams<'a> = &'a (dyn Fn(&[u8]) -> Result<Params, WireError> + Sync);

/// Appends what `write` appends, after its length.
fn put(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), PlanFileError>,
) -> Result<(), PlanFileError> {
    let start = out.len();
    out.extend([0; 8]);
    write(out)?;
    let written = out.get_mut(start..).and_then(|written| written.split_first_chunk_mut::<8>());
    let (length, written) = written.ok_or(PlanFileError::Internal("a plan became shorter"))?;
    *length = (written.len() as u64).to_le_bytes();
    Ok(())
}

/// Bytes that follow their length, and the rest.
fn take(bytes: &[u8]) -> Result<(&[u8], &[u8]), PlanFileError> {
    let (len, rest) = bytes.split_first_chunk::<8>().ok_or(PlanFileError::Description)?;
    let len = usize::try_from(u64::from_le_bytes(*len)).map_err(|_| PlanFileError::Description)?;
    rest.split_at_checked(len).ok_or(PlanFileError::Description)
}

/// The parameters at the start of a body, and the rest.
fn split_params(body: &[u8]) -> Result<(&[u8], &[u8]), PlanFileError> {
    body.split_at_checked(Params::ENCODED_LEN as usize).ok_or(PlanFileError::Description)
}

/// Appends an object: header, what `write` appends, digest.
fn seal(
    out: &mut Vec<u8>,
    kind: ObjectKind,
    params: &Params,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), PlanFileError>,
) -> Result<(), PlanFileError> {
    let start = out.len();
    out.extend(wire::seal(kind, params, &[]));
    write(out)?;
    let object = out.get(start..).ok_or(PlanFileError::Internal("a plan became shorter"))?;
    let digest = Sha256::digest(object);
    out.extend(digest);
    Ok(())
}

/// The body of an object, and the digest of its bytes.
fn open(kind: ObjectKind, bytes: &[u8]) -> Result<(&[u8], [u8; DIGEST_LEN]), PlanFileError> {
    // Bytes of another kind are named before they are called damaged.
    wire::open(kind, bytes)?;
    let (content, digest) = bytes.split_last_chunk::<DIGEST_LEN>().ok_or(PlanFileError::Description)?;
    if Sha256::digest(content)[..] != digest[..] {
        return Err(PlanFileError::Digest);
    }
    Ok((wire::open(kind, content)?.body, *digest))
}
