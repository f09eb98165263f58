//! The client's half: secret keys, encryption, decryption. It runs on the host alone.

mod decrypt;
mod dither;
mod encrypt;
mod error;
mod keygen;

pub use decrypt::{Decrypted, PublishError};
pub use error::ClientError;
pub use keygen::SecretKey;
