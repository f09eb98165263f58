//! Errors of the files that client and server exchange.

use pleura_ckks::{ClientError, KeyLoadError, WireError};
use pleura_nn::{InferenceError, PlanFileError};
use pleura_xray::XrayError;
use std::io;

/// Why a file is not used, or cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// The bytes hold something else, or are no object of this library.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The client specification inside is refused.
    #[error(transparent)]
    Spec(#[from] PlanFileError),
    /// Encryption, inference or decryption failed.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// A key cannot be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The preparation of inputs is refused.
    #[error(transparent)]
    Xray(#[from] XrayError),
    /// Reading or writing failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The bytes are not those that were written.
    #[error("the bytes were damaged: their digest does not match; transfer the file again")]
    Digest,
    /// The file was made for another plan.
    #[error("it was made for plan {got}, and plan {expected} is used here; take the files of one export")]
    OtherPlan {
        /// First digits of the digest of the plan in use.
        expected: String,
        /// First digits of the digest of the file's plan.
        got: String,
    },
    /// The file was made for another client bundle.
    #[error(
        "it was made for client bundle {got}, and client bundle {expected} is used here; take the files of one export"
    )]
    OtherBundle {
        /// First digits of the digest of the bundle in use.
        expected: String,
        /// First digits of the digest of the file's bundle.
        got: String,
    },
    /// The file was made with another key.
    #[error(
        "it was made with key {got}, and key {expected} is used here; take the keys that belong together"
    )]
    OtherKey {
        /// First digits of the identity of the key in use.
        expected: String,
        /// First digits of the identity of the file's key.
        got: String,
    },
    /// The file ends early.
    #[error(
        "it ends after {frames} whole ciphertext groups and without an end mark: it was cut short; transfer the file again"
    )]
    CutShort {
        /// Number of frames before the cut.
        frames: u64,
    },
    /// A keys file has another length than its content needs.
    #[error("it has {got} bytes and its keys take {expected}: it was cut short, or something follows it")]
    Length {
        /// Bytes that the plan's keys take.
        expected: u64,
        /// Bytes found, as far as they were read.
        got: u64,
    },
    /// Something follows the end mark.
    #[error("something follows its end mark")]
    TrailingBytes,
    /// A frame contradicts the plan or itself.
    #[error("ciphertext group {frame} {problem}; the file was damaged, or made by another release")]
    Frame {
        /// Number of the frame, from 1.
        frame: u64,
        /// Contradiction.
        problem: &'static str,
    },
    /// A note is not the one that the client put there.
    #[error(
        "the note beside ciphertext group {frame} is not the one that was encrypted there: results were exchanged, or come from another file"
    )]
    Note {
        /// Number of the frame, from 1.
        frame: u64,
    },
    /// A note is longer than notes may be.
    #[error("the names and warnings of a group take {got} bytes, and {max} are kept; use shorter paths")]
    NoteLength {
        /// Bytes of the note.
        got: usize,
        /// Most bytes of a note.
        max: usize,
    },
    /// Results were left out.
    #[error(
        "it holds {got} ciphertext groups of the {expected} that were encrypted: the server left some out"
    )]
    Missing {
        /// Frames that were encrypted.
        expected: u64,
        /// Frames found.
        got: u64,
    },
    /// An item has another shape than the bundle's inputs.
    #[error("an item has shape {got:?}; the bundle takes {expected:?}")]
    ItemShape {
        /// Shape that the bundle takes.
        expected: Vec<usize>,
        /// Shape of the item.
        got: Vec<usize>,
    },
    /// The bundle contradicts itself.
    #[error("{what} of the client bundle is not valid; export it again")]
    Bundle {
        /// Part of the bundle.
        what: &'static str,
    },
    /// The secret key needs a passphrase.
    #[error("the secret key is under a passphrase, and none was given")]
    PassphraseMissing,
    /// The passphrase is not that of the secret key.
    #[error("the passphrase is not that of this secret key, or the file was damaged")]
    WrongPassphrase,
    /// An empty passphrase protects nothing.
    #[error("an empty passphrase protects nothing")]
    EmptyPassphrase,
    /// The passphrase function has no memory, or its parameters are out of range.
    #[error("the key cannot be derived from the passphrase: {0}")]
    KeyDerivation(String),
    /// The bytes are no receipt.
    #[error("it is no receipt: {0}")]
    NotAReceipt(String),
    /// A receipt of another version.
    #[error(
        "it is a receipt of the format {got}, and {expected} is read here; use the release that wrote it"
    )]
    ReceiptVersion {
        /// Format that this library reads.
        expected: &'static str,
        /// Format of the receipt.
        got: String,
    },
    /// A receipt was not signed by the key that it names, or was changed.
    #[error("its signature does not match: it was changed, or was not signed by the key that it names")]
    Signature,
    /// A receipt is of other files.
    #[error("its {subject} is of other bytes: it is the receipt of something else")]
    OtherReceipt {
        /// `keys`, `input` or `output`.
        subject: &'static str,
    },
    /// A signing key cannot be read or written.
    #[error("it is no Ed25519 key in PEM (PKCS #8): {0}")]
    SigningKey(String),
    /// Code contradicts itself.
    #[error("internal error: {0}; please report it")]
    Internal(&'static str),
}

impl From<KeyLoadError> for RemoteError {
    fn from(error: KeyLoadError) -> Self {
        match error {
            KeyLoadError::Io(error) => Self::Io(error),
            KeyLoadError::Wire(error) => Self::Wire(error),
            KeyLoadError::Eval(error) => Self::Inference(error.into()),
        }
    }
}
