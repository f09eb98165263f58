//! Origin of a file: the plan, the bundle and the key that it belongs to.

use super::error::RemoteError;
use pleura_ckks::Params;
use pleura_ckks::WireError;
use pleura_ckks::wire::{self, ObjectKind};

/// Bytes of a header of [`pleura_ckks::wire`].
const WIRE_HEADER: usize = 40;
/// Bytes of an origin.
pub(super) const ORIGIN: usize = 80;
/// Bytes of header and origin.
pub(super) const PREFIX: usize = WIRE_HEADER + ORIGIN;
/// Hexadecimal digits by which digests are named in messages.
const DIGITS: usize = 12;

/// Plan, client bundle and key that a file was made for. All of it is public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Digest of the server plan.
    pub plan: [u8; 32],
    /// Digest of the client bundle.
    pub bundle: [u8; 32],
    /// Identity of the secret key: a random number, from which nothing of the key follows.
    pub key: [u8; 16],
}

impl Origin {
    /// Refuses the file of another plan.
    ///
    /// # Errors
    /// [`RemoteError::OtherPlan`]
    pub fn check_plan(&self, plan: &[u8; 32]) -> Result<(), RemoteError> {
        if self.plan == *plan {
            return Ok(());
        }
        Err(RemoteError::OtherPlan { expected: digits(plan), got: digits(&self.plan) })
    }

    /// Refuses the file of another client bundle.
    ///
    /// # Errors
    /// [`RemoteError::OtherBundle`]
    pub fn check_bundle(&self, bundle: &[u8; 32]) -> Result<(), RemoteError> {
        if self.bundle == *bundle {
            return Ok(());
        }
        Err(RemoteError::OtherBundle { expected: digits(bundle), got: digits(&self.bundle) })
    }

    /// Refuses the file of another key.
    ///
    /// # Errors
    /// [`RemoteError::OtherKey`]
    pub fn check_key(&self, key: &[u8; 16]) -> Result<(), RemoteError> {
        if self.key == *key {
            return Ok(());
        }
        Err(RemoteError::OtherKey { expected: digits(key), got: digits(&self.key) })
    }

    /// Refuses the file of another plan, bundle or key.
    ///
    /// # Errors
    /// [`RemoteError::OtherPlan`], [`RemoteError::OtherBundle`], [`RemoteError::OtherKey`]
    pub fn check(&self, expected: &Self) -> Result<(), RemoteError> {
        self.check_plan(&expected.plan)?;
        self.check_bundle(&expected.bundle)?;
        self.check_key(&expected.key)
    }

    pub(super) fn to_bytes(self) -> [u8; ORIGIN] {
        let mut bytes = [0; ORIGIN];
        let parts = self.plan.iter().chain(&self.bundle).chain(&self.key);
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = *from);
        bytes
    }

    fn from_bytes(bytes: &[u8; ORIGIN]) -> Option<Self> {
        let (plan, rest) = bytes.split_first_chunk()?;
        let (bundle, rest) = rest.split_first_chunk()?;
        let (key, _) = rest.split_first_chunk()?;
        Some(Self { plan: *plan, bundle: *bundle, key: *key })
    }
}

/// The header of an object and its origin.
pub(super) struct Prefix {
    params_hash: [u8; 32],
    pub(super) origin: Origin,
}

impl Prefix {
    /// The first [`PREFIX`] bytes of an object, or fewer if there are no more.
    pub(super) fn read(kind: ObjectKind, bytes: &[u8]) -> Result<Self, RemoteError> {
        let opened = wire::open(kind, bytes)?;
        let short = WireError::Length { expected: PREFIX as u64, got: bytes.len() as u64 };
        let (origin, _) = opened.body.split_first_chunk().ok_or(short)?;
        let origin =
            Origin::from_bytes(origin).ok_or(RemoteError::Internal("an origin has another length"))?;
        Ok(Self { params_hash: opened.params_hash, origin })
    }

    /// Refuses other parameters; origins, which tell more, are compared before.
    pub(super) fn check_params(&self, params: &Params) -> Result<(), RemoteError> {
        if self.params_hash == *params.hash() { Ok(()) } else { Err(WireError::ParamsMismatch.into()) }
    }
}

/// First digits of a digest.
fn digits(bytes: &[u8]) -> String {
    bytes.iter().take(DIGITS / 2).map(|byte| format!("{byte:02x}")).collect()
}
