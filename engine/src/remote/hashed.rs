//! Streams whose bytes are hashed on their way.

use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};

/// A stream with the SHA-256 and the number of the bytes that passed through it.
///
/// ```
/// use pleura::remote::Hashed;
/// use std::io::Write;
///
/// let mut out = Hashed::new(Vec::new());
/// out.write_all(b"abc")?;
/// assert_eq!(out.bytes(), 3);
/// assert_eq!(out.digest()[..4], [0xba, 0x78, 0x16, 0xbf]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Hashed<T> {
    inner: T,
    hash: Sha256,
    bytes: u64,
}

impl<T> Hashed<T> {
    /// A stream that nothing has passed through yet.
    pub fn new(inner: T) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }

    /// SHA-256 of the bytes so far.
    pub fn digest(&self) -> [u8; 32] {
        self.hash.clone().finalize().into()
    }

    /// Number of bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn passed(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.passed(buffer.get(..count).unwrap_or(buffer));
        Ok(count)
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.passed(bytes.get(..count).unwrap_or(bytes));
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
