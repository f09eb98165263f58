//! Refusals: problem details (RFC 9457) with a stable code.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a request was refused; the names in the body do not change between releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Code {
    /// Headers or body have no meaning here.
    BadRequest,
    /// The bearer token is missing or not known.
    Unauthorized,
    /// The token has no room for more keys.
    QuotaExceeded,
    /// There is nothing at this address.
    NotFound,
    /// No model has this plan.
    UnknownModel,
    /// The token has no such keys: they expired, or never came.
    UnknownKeys,
    /// The address takes other methods.
    MethodNotAllowed,
    /// The body arrived too slowly.
    TooSlow,
    /// The keys have not arrived in full.
    KeysIncomplete,
    /// A chunk of keys begins elsewhere than the last one ended.
    OffsetMismatch,
    /// The body has no length.
    LengthRequired,
    /// The body is longer than bodies may be.
    TooLarge,
    /// The plan's keys have another length.
    KeysLength,
    /// The keys were made for another plan, or are damaged.
    KeysRefused,
    /// The items were made for other keys, or are damaged.
    ItemsRefused,
    /// An idempotency key came with another body before.
    IdempotencyKeyReused,
    /// The server has as much work as it accepts.
    Busy,
    /// The server stops, and accepts nothing.
    Stopping,
    /// The device failed.
    DeviceFailed,
    /// Files of the server cannot be read or written.
    StorageFailed,
    /// The server contradicts itself.
    Internal,
}

/// A refusal as its body says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Problem {
    /// Kind of problem, for programs.
    pub code: Code,
    /// Status of the response.
    pub status: u16,
    /// Kind of problem, for people.
    pub title: String,
    /// A sentence about this refusal.
    pub detail: String,
}

impl Code {
    /// Status of responses with this code, and the title.
    pub fn status(self) -> (u16, &'static str) {
        match self {
            Self::BadRequest => (400, "the request is not valid"),
            Self::Unauthorized => (401, "the token is not known"),
            Self::QuotaExceeded => (403, "the quota is used up"),
            Self::NotFound => (404, "there is nothing here"),
            Self::UnknownModel => (404, "the model is not known"),
            Self::UnknownKeys => (404, "the keys are not known"),
            Self::MethodNotAllowed => (405, "the method is not allowed"),
            Self::TooSlow => (408, "the body came too slowly"),
            Self::KeysIncomplete => (409, "the keys are incomplete"),
            Self::OffsetMismatch => (409, "the chunk begins elsewhere"),
            Self::LengthRequired => (411, "the length is missing"),
            Self::TooLarge => (413, "the body is too long"),
            Self::KeysLength => (422, "the keys have another length"),
            Self::KeysRefused => (422, "the keys are refused"),
            Self::ItemsRefused => (422, "the items are refused"),
            Self::IdempotencyKeyReused => (422, "the idempotency key was used"),
            Self::Busy => (429, "the server is busy"),
            Self::Stopping => (503, "the server stops"),
            Self::DeviceFailed => (500, "the device failed"),
            Self::StorageFailed => (507, "the storage failed"),
            Self::Internal => (500, "an internal error"),
        }
    }
}

impl Problem {
    /// A refusal with a sentence.
    pub fn new(code: Code, detail: impl fmt::Display) -> Self {
        let (status, title) = code.status();
        Self { code, status, title: title.to_owned(), detail: detail.to_string() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.title, self.detail)
    }
}

impl std::error::Error for Problem {}
