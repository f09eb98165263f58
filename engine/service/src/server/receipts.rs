//! Receipts: each response is signed with the server's key, see [`pleura::remote::Receipt`].

use super::error::ServiceError;
use super::model::Model;
use super::results::Answer;
use crate::api::{RECEIPT, hex};
use crate::problem::{Code, Problem};
use axum::http::{HeaderName, HeaderValue};
use pleura::remote::{FileDigests, Origin, Receipt, ReceiptSigner, count_groups};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use tempfile::NamedTempFile;

/// Name of the signing key in a server's folder.
const FILE: &str = "receipt.pem";

/// Signs responses.
pub(super) struct Receipts {
    signer: ReceiptSigner,
}

impl Receipts {
    /// The key in a server's folder, which is made if there is none.
    pub(super) fn open(folder: &Path) -> Result<Self, ServiceError> {
        let path = folder.join(FILE);
        let failed = |error| ServiceError::storage(&path, error);
        let signer = match fs::read_to_string(&path) {
            Ok(pem) => ReceiptSigner::from_pem(&pem).map_err(|error| failed(io::Error::other(error)))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let signer = ReceiptSigner::generate().map_err(|_| ServiceError::Random)?;
                let pem = signer.to_pem().map_err(|error| failed(io::Error::other(error)))?;
                // Readable by its owner alone, as temporary files are.
                let mut file = NamedTempFile::new_in(folder).map_err(failed)?;
                file.write_all(pem.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
                file.persist_noclobber(&path).map_err(|error| failed(error.error))?;
                signer
            }
            Err(error) => return Err(failed(error)),
        };
        Ok(Self { signer })
    }

    /// Public key of the signer.
    pub(super) fn signer(&self) -> String {
        hex(&self.signer.public_key())
    }

    /// The header of a response: the receipt's JSON in one line of ASCII.
    pub(super) fn header(
        &self,
        model: &Model,
        origin: &Origin,
        [keys, input]: [[u8; 32]; 2],
        answer: &Answer,
    ) -> Result<(HeaderName, HeaderValue), Problem> {
        let failed = |_| Problem::new(Code::Internal, "the receipt cannot be made");
        let digests = FileDigests { keys, input, output: Sha256::digest(&answer.results).into() };
        let groups = count_groups(&answer.results[..]).map_err(failed)?;
        let receipt = Receipt::new(model.plan(), origin, &digests, groups, &answer.device);
        let line = self.signer.sign(receipt).and_then(|signed| signed.to_ascii_line()).map_err(failed)?;
        let value = HeaderValue::from_str(&line);
        let value = value.map_err(|_| Problem::new(Code::Internal, "the receipt is no header"))?;
        Ok((HeaderName::from_static(RECEIPT), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once() {
        let place = tempfile::tempdir().unwrap();
        let first = Receipts::open(place.path()).unwrap().signer();
        assert_eq!(Receipts::open(place.path()).unwrap().signer(), first);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(place.path().join(FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::write(place.path().join(FILE), "no key").unwrap();
        let error = Receipts::open(place.path()).err().unwrap();
        assert!(error.to_string().contains("receipt.pem"), "{error}");
    }
}
