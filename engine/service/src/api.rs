//! Names and bodies that both halves share.

use pleura::remote::from_hex;
pub use pleura::remote::hex;
use serde::{Deserialize, Serialize};

/// Header of a chunk of keys: the number of bytes before it.
pub const UPLOAD_OFFSET: &str = "upload-offset";
/// Header of a request for inference: results of a request with the same value are computed once.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Header of a response that was computed for an earlier request.
pub const REPLAYED: &str = "idempotency-replayed";
/// Header of results: a signed receipt, in one line.
pub const RECEIPT: &str = "pleura-receipt";
/// Media type of refusals (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";
/// Most characters of an idempotency key.
pub const MAX_IDEMPOTENCY_KEY: usize = 128;

/// A network that the server offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Model {
    /// Name of the network.
    pub name: String,
    /// SHA-256 of the server plan, in hexadecimal digits.
    pub plan: String,
    /// SHA-256 of the client bundle, in hexadecimal digits.
    pub bundle: String,
    /// Bytes of a client's evaluation keys.
    pub key_bytes: u64,
    /// Most bytes of a request for inference.
    pub max_request_bytes: u64,
    /// Public key that signs receipts (Ed25519), in hexadecimal digits.
    pub receipt_signer: String,
}

/// Evaluation keys that a client is about to upload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct KeysOffer {
    /// SHA-256 of the server plan, in hexadecimal digits.
    pub plan: String,
    /// Bytes of the keys, which the plan determines.
    pub length: u64,
    /// SHA-256 of the keys, in hexadecimal digits: their identity from now on.
    pub sha256: String,
}

/// Evaluation keys on the server, whole or in part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct KeysState {
    /// SHA-256 of the keys, in hexadecimal digits.
    pub id: String,
    /// SHA-256 of the server plan, in hexadecimal digits.
    pub plan: String,
    /// Bytes of the keys.
    pub length: u64,
    /// Bytes that have arrived.
    pub offset: u64,
    /// Whether the keys are checked and ready for use.
    pub complete: bool,
}

/// 32 bytes of 64 hexadecimal digits in lower case; `None` for any other text.
pub fn unhex(text: &str) -> Option<[u8; 32]> {
    from_hex(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_have_one_spelling() {
        let digest: [u8; 32] = std::array::from_fn(|i| (i * 9) as u8);
        assert_eq!(unhex(&hex(&digest)), Some(digest));
        for wrong in
            ["", "0", &hex(&digest).to_uppercase(), &hex(&digest[1..]), &"g".repeat(64), &"é".repeat(32)]
        {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
    }
}
