//! Client and server on two machines: the files that they exchange.
//!
//! | file | kind | holder | content |
//! |---|---|---|---|
//! | server plan | 17 | server | steps and weights, [`ServerPlan`](crate::nn::ServerPlan) |
//! | client bundle | 19 | client | [`ClientBundle`]: client specification, preparation of inputs, names of classes |
//! | secret key | 20 | client | [`ClientKey`]: the seed of the key, under a passphrase if there is one |
//! | evaluation keys | 21 | both | [`ClientKey::write_keys`], [`load_session`] and [`read_keys`] |
//! | encrypted items | 22 | both | [`ItemEncryptor`] writes them, [`ItemReader`] reads them |
//! | encrypted results | 23 | both | [`infer_items`] writes them, [`ItemDecryptor`] reads them |
//!
//! Each file but the plan names its [`Origin`]: the digests of plan and bundle, and the key that it was made with.
//! The reader compares them with their own, so that files of two exports or of two keys are not mixed.
//!
//! **Items and results** are a header, frames, and an end mark, so that they can be written and read one frame at a
//! time. The header is that of [`pleura_ckks::wire`], the origin (80 bytes) and the random number of the file (16
//! bytes). A frame is a tag (1 for items, 2 for the end; u8), the length of its body (u64), the body, and 32 bytes of
//! digest: the SHA-256 of the digest before it, or of the header for the first one, and of tag, length and body. So
//! frames that are damaged, left out, repeated, exchanged or cut off are noticed. The body of items is the length of
//! a note (u32), the note, the number of ciphertexts (u32), and the length (u32) and bytes of each; the body of the
//! end is the number of frames (u64) and a note.
//!
//! **Notes** tell the client what its items are: names, digests of the files that they came from, warnings. They are
//! encrypted under a key that the secret key determines (XChaCha20-Poly1305), in blocks of 1024 bytes, together with
//! the position of the frame. A server copies them from items to results and learns nothing of them but their rounded
//! length. A client that finds a note out of place, or fewer notes than the end mark says, refuses the results. This
//! binds the *order* of results; that a result was computed from its item is the server's word.
//!
//! **Receipts** ([`SignedReceipt`]) state which plan, keys and items a file of results was computed from, under the
//! server's signature. [`Receipt::recompute`] checks them.
//!
//! Bytes may come from strangers: lengths have limits that follow from the plan, memory grows with the bytes
//! received, and every field is checked.

mod bundle;
mod client_key;
mod decrypt;
mod encrypt;
mod error;
mod frames;
mod hashed;
mod note;
mod origin;
mod passphrase;
mod receipt;
mod serve;

pub use bundle::{ClientBundle, Task, XrayTask};
pub use client_key::{ClientKey, MAX_SECRET_BYTES, is_under_passphrase};
pub use decrypt::{DecryptedItem, ItemDecryptor};
pub use encrypt::ItemEncryptor;
pub use error::RemoteError;
pub use frames::{Frame, ItemHeader, ItemReader, ItemWriter, count_groups, file_number};
pub use hashed::Hashed;
pub use note::ItemNote;
pub use origin::Origin;
pub use receipt::{
    FileDigests, MAX_RECEIPT, Receipt, ReceiptCheck, ReceiptParameters, ReceiptSigner, SignedReceipt,
    from_hex, hex,
};
pub use serve::{KEYS_START, infer_items, keys_len, keys_origin, load_session, read_keys, stated_origin};
