//! Secret keys under a passphrase: Argon2id (RFC 9106) derives the key of an XChaCha20-Poly1305.

use super::error::RemoteError;
use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use pleura_ckks::ClientError;
use pleura_ring::sample::Seed;
use zeroize::Zeroizing;

/// Memory in KiB, passes and lanes: the second recommendation of RFC 9106, section 4.
const COST: [u32; 3] = [1 << 16, 3, 4];
/// Largest cost that is read: a GiB, so that a file from a stranger cannot take all memory.
const MAX_COST: [u32; 3] = [1 << 20, 16, 16];
const SALT: usize = 16;
const NONCE: usize = 24;
/// Bytes before the encrypted secret: cost, salt, nonce.
const HEADER: usize = 12 + SALT + NONCE;

/// Encrypts a secret; `context` is authenticated with it.
pub(super) fn seal(secret: &[u8], passphrase: &[u8], context: &[u8]) -> Result<Vec<u8>, RemoteError> {
    if passphrase.is_empty() {
        return Err(RemoteError::EmptyPassphrase);
    }
    let mut header: Vec<u8> = COST.iter().flat_map(|number| number.to_le_bytes()).collect();
    let [salt, nonce] =
        [Seed::from_os().map_err(ClientError::from)?, Seed::from_os().map_err(ClientError::from)?];
    header.extend(salt.as_bytes().iter().take(SALT));
    header.extend(nonce.as_bytes().iter().take(NONCE));
    let Parts { cost, salt, nonce, .. } =
        Parts::split(&header).ok_or(RemoteError::Internal("a header is short"))?;
    let context = [context, &header].concat();
    let sealed =
        cipher(passphrase, salt, cost)?.encrypt(nonce.into(), Payload { msg: secret, aad: &context });
    let sealed = sealed.map_err(|_| RemoteError::Internal("a secret key cannot be encrypted"))?;
    Ok([header, sealed].concat())
}

/// Decrypts what [`seal`] made.
pub(super) fn open(
    sealed: &[u8],
    passphrase: &[u8],
    context: &[u8],
) -> Result<Zeroizing<Vec<u8>>, RemoteError> {
    let parts = Parts::split(sealed).ok_or(RemoteError::Digest)?;
    if parts.cost.iter().zip(MAX_COST).any(|(&cost, max)| cost > max) {
        return Err(RemoteError::KeyDerivation(
            "the file asks for more work than any release does".to_owned(),
        ));
    }
    let header = sealed.get(..HEADER).ok_or(RemoteError::Digest)?;
    let context = [context, header].concat();
    let cipher = cipher(passphrase, parts.salt, parts.cost)?;
    let opened = cipher.decrypt(parts.nonce.into(), Payload { msg: parts.sealed, aad: &context });
    Ok(Zeroizing::new(opened.map_err(|_| RemoteError::WrongPassphrase)?))
}

struct Parts<'a> {
    cost: [u32; 3],
    salt: &'a [u8; SALT],
    nonce: &'a [u8; NONCE],
    sealed: &'a [u8],
}

impl<'a> Parts<'a> {
    fn split(bytes: &'a [u8]) -> Option<Self> {
        let (memory, rest) = bytes.split_first_chunk()?;
        let (passes, rest) = rest.split_first_chunk()?;
        let (lanes, rest) = rest.split_first_chunk()?;
        let (salt, rest) = rest.split_first_chunk()?;
        let (nonce, sealed) = rest.split_first_chunk()?;
        Some(Self { cost: [*memory, *passes, *lanes].map(u32::from_le_bytes), salt, nonce, sealed })
    }
}

fn cipher(passphrase: &[u8], salt: &[u8; SALT], cost: [u32; 3]) -> Result<XChaCha20Poly1305, RemoteError> {
    let failed = |error: argon2::Error| RemoteError::KeyDerivation(error.to_string());
    let [memory, passes, lanes] = cost;
    let mut key = Zeroizing::new([0; 32]);
    let params = Params::new(memory, passes, lanes, Some(key.len())).map_err(failed)?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon.hash_password_into(passphrase, salt, key.as_mut_slice()).map_err(failed)?;
    let key: &[u8; 32] = &key;
    Ok(XChaCha20Poly1305::new(key.into()))
}
