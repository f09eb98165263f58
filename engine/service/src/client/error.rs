//! Errors of a client.

use crate::problem::Problem;
use pleura::remote::RemoteError;

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address is none of a server.
    #[error("{0} is not the address of a server, such as https://HOST:PORT")]
    Url(String),
    /// There is no certificate of an authority.
    #[error("there is no certificate in the file of authorities, which is read as PEM")]
    Authorities,
    /// The token has characters that tokens do not have.
    #[error("the token is empty, or has blanks or other characters that tokens do not have")]
    Token,
    /// The server cannot be reached, or the connection broke.
    #[error("the server cannot be reached, or the connection broke: {0}")]
    Network(Box<ureq::Error>),
    /// The server refuses the request.
    #[error("the server refuses the request: {0}")]
    Refused(Box<Problem>),
    /// The response is none of this service.
    #[error("the response has status {0} and no reason: another program may answer at this address")]
    Status(u16),
    /// A body of the server cannot be read.
    #[error("the server sent {0} that cannot be read: it may be of another release")]
    Body(&'static str),
    /// The response is longer than responses to the request are.
    #[error("the server sent more than {0} bytes, which no answer to this request has")]
    TooLong(u64),
    /// The server takes keys, and says that it does not have them.
    #[error("the server says that it lacks keys that it has just taken: it may be of another release")]
    NoProgress,
    /// The client bundle is not valid.
    #[error("cannot use the client bundle of the server: {0}")]
    Bundle(Box<RemoteError>),
    /// The receipt is not valid, or is one of other bytes.
    #[error("cannot use the receipt of the server: {0}")]
    Receipt(Box<RemoteError>),
    /// The bundle is of another network than the server said.
    #[error("the server sent the client bundle of another network than it offers")]
    OtherBundle,
    /// Results came without a receipt.
    #[error("the server sent results without a receipt: it may be of another release")]
    NoReceipt,
    /// Results are those of other items.
    #[error("the server sent the results of another request")]
    OtherResults,
    /// A receipt is signed by another key than the server said.
    #[error("the server signed a receipt with {got}, not with the expected key {expected}")]
    OtherSigner {
        /// Key that the receipt should be signed with.
        expected: String,
        /// Key that signed it.
        got: String,
    },
    /// A receipt states another plan, bundle or key.
    #[error("the server signed a receipt for another plan, client bundle or key")]
    OtherOrigin,
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    Random,
}

impl ClientError {
    pub(super) fn bundle(error: RemoteError) -> Self {
        Self::Bundle(Box::new(error))
    }

    pub(super) fn receipt(error: RemoteError) -> Self {
        Self::Receipt(Box::new(error))
    }
}
