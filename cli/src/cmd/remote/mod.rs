//! Client and server on two machines: `pleura export`, `keygen`, `encrypt`, `infer`, `decrypt` and `audit`.

mod audit;
pub(crate) mod decrypt;
mod encrypt;
pub(crate) mod export;
mod infer;
mod keygen;
mod output;
pub(crate) mod secret;
mod spec;

pub(crate) use audit::{AuditArgs, audit};
pub(crate) use decrypt::{DecryptArgs, decrypt};
pub(crate) use encrypt::{EncryptArgs, encrypt};
pub(crate) use export::{ExportArgs, export};
pub(crate) use infer::{InferArgs, infer};
pub(crate) use keygen::{KeygenArgs, keygen};
