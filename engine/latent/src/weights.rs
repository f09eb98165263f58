//! Tensors and metadata of a codec file, checked.

use crate::safetensors::{self as container, SafetensorsError};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::BTreeSet;
use thiserror::Error;

const LIMIT_BYTES: usize = 64 << 20;

/// Why a codec file cannot be used, or a latent does not fit the codec.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The bytes are not a safetensors file.
    #[error("the codec file cannot be read: {0}; take the file as it was published")]
    Unreadable(#[from] SafetensorsError),
    /// The file is larger than any codec.
    #[error("a codec file has at most {limit} bytes, this one {bytes}; name a file from models/codec")]
    TooLarge {
        /// Size of the file.
        bytes: usize,
        /// The largest that is read.
        limit: usize,
    },
    /// A metadata entry is missing or has a value that no codec has.
    #[error("the codec file's metadata says {key} = {found}, expected {expected}; export the codec again")]
    Metadata {
        /// Key of the metadata.
        key: &'static str,
        /// Value expected.
        expected: &'static str,
        /// Value found, "nothing" if it is missing.
        found: String,
    },
    /// A tensor of the network is missing.
    #[error("the codec file lacks the tensor {name}, which its metadata asks for; export the codec again")]
    Missing {
        /// Name of the tensor.
        name: String,
    },
    /// A tensor has another type or shape than the metadata requires.
    #[error("the codec file's tensor {name} is {found}, expected {expected}; export the codec again")]
    Tensor {
        /// Name of the tensor.
        name: String,
        /// Type and shape it should have.
        expected: String,
        /// Type and shape it has.
        found: String,
    },
    /// A tensor contains infinities or not-a-numbers.
    #[error("the codec file's tensor {name} has values that are not finite; export the codec again")]
    NotFinite {
        /// Name of the tensor.
        name: String,
    },
    /// A tensor belongs to no layer.
    #[error("the codec file has a tensor {name} that its metadata has no place for; export the codec again")]
    Surplus {
        /// Name of the tensor.
        name: String,
    },
    /// A latent or its codes have another shape than the codec's.
    #[error(
        "codec {codec} works on latents of shape {expected:?}, this one is {found:?}; use the codec that made it"
    )]
    Shape {
        /// The codec's name.
        codec: String,
        /// The codec's `[channels, height, width]`.
        expected: [usize; 3],
        /// The latent's; of codes the channels are not known and given as the codec's.
        found: [usize; 3],
    },
    /// A code that is not in the codebook.
    #[error(
        "code {code} at position {position} is not one of the codebook's {codes}; use the codec that made it"
    )]
    Code {
        /// The code.
        code: u16,
        /// Position of the code, row by row.
        position: usize,
        /// The size of the codebook.
        codes: usize,
    },
}

/// A codec file whose tensors are being taken.
pub(crate) struct Weights<'a> {
    file: SafeTensors<'a>,
    metadata: container::Metadata,
    left: BTreeSet<String>,
}

impl<'a> Weights<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, CodecError> {
        if bytes.len() > LIMIT_BYTES {
            return Err(CodecError::TooLarge { bytes: bytes.len(), limit: LIMIT_BYTES });
        }
        let (file, metadata) = container::read(bytes)?;
        let left = file.iter().map(|(name, _)| name.to_owned()).collect();
        Ok(Self { file, metadata, left })
    }

    /// The metadata entry `key`, as `parse` understands it.
    pub(crate) fn entry<T>(
        &self,
        key: &'static str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, CodecError> {
        let text = self.metadata.get(key);
        text.and_then(|text| parse(text)).ok_or_else(|| CodecError::Metadata {
            key,
            expected,
            found: text.map_or_else(|| "nothing".to_owned(), |text| shortened(text)),
        })
    }

    /// The metadata entry `key` as an integer of `range`.
    pub(crate) fn integer(
        &self,
        key: &'static str,
        expected: &'static str,
        range: std::ops::RangeInclusive<usize>,
    ) -> Result<usize, CodecError> {
        self.entry(key, expected, |text| text.parse().ok().filter(|n| range.contains(n)))
    }

    /// The metadata entry `key` as JSON.
    pub(crate) fn json<T>(
        &self,
        key: &'static str,
        expected: &'static str,
        parse: impl FnOnce(Value) -> Option<T>,
    ) -> Result<T, CodecError> {
        self.entry(key, expected, |text| serde_json::from_str(text).ok().and_then(parse))
    }

    /// A tensor of half precision, widened.
    pub(crate) fn half(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, CodecError> {
        let data = self.take(name, Dtype::F16, shape)?;
        let (pairs, _) = data.as_chunks::<2>();
        let values: Option<Vec<f32>> = pairs.iter().map(|b| widened(u16::from_le_bytes(*b))).collect();
        values.ok_or_else(|| CodecError::NotFinite { name: name.to_owned() })
    }

    /// A tensor of single precision.
    pub(crate) fn single(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, CodecError> {
        let values = container::singles(self.take(name, Dtype::F32, shape)?);
        match values.iter().all(|x| x.is_finite()) {
            true => Ok(values),
            false => Err(CodecError::NotFinite { name: name.to_owned() }),
        }
    }

    /// Checks that all tensors have been taken.
    pub(crate) fn finish(&self) -> Result<(), CodecError> {
        match self.left.first() {
            Some(name) => Err(CodecError::Surplus { name: shortened(name) }),
            None => Ok(()),
        }
    }

    fn take(&mut self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<&'a [u8], CodecError> {
        let tensor = self.file.tensor(name).map_err(|_| CodecError::Missing { name: name.to_owned() })?;
        if tensor.dtype() != dtype || tensor.shape() != shape {
            return Err(CodecError::Tensor {
                name: name.to_owned(),
                expected: format!("{dtype:?} {shape:?}"),
                found: format!("{:?} {:?}", tensor.dtype(), tensor.shape()),
            });
        }
        self.left.remove(name);
        Ok(tensor.data())
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

/// IEEE half to single precision; `None` for infinities and not-a-numbers.
fn widened(half: u16) -> Option<f32> {
    let sign = u32::from(half & 0x8000) << 16;
    let magnitude = u32::from(half & 0x7fff);
    // The exponents' biases differ by 112; the product is exact for subnormal halves too.
    let value = f32::from_bits(magnitude << 13) * f32::from_bits((127 + 112) << 23);
    (magnitude < 0x7c00).then(|| f32::from_bits(value.to_bits() | sign))
}
