//! Files of latents, between one command and the next.

use crate::codec::Codec;
use crate::latent::{CodeIndices, Latent, LatentError};
use crate::safetensors::{self as container, Metadata, SafetensorsError};
use crate::weights::CodecError;
use ndarray::{Array3, Array4};
use safetensors::Dtype;
use sha2::{Digest, Sha256};
use thiserror::Error;

const FORMAT: &str = "pleura latents 2";
const LIMIT_BYTES: usize = 1 << 30;
const MOST_IMAGES: usize = 1 << 20;
/// As JSON; quoting them again at most doubles this, which is what a header may have.
const NAMES_LIMIT_BYTES: usize = 8 << 20;

/// Latents of several images with the codec that made them, all continuous or all quantized.
///
/// As bytes it is a safetensors file: a tensor `latents` (F32 `[count, channels, height, width]`) or `codes` (U16
/// `[count, height, width]`), and in the metadata `format`, `codec`, `codec_id` (16 hex digits), `names` (a JSON array) and `sha256` (of
/// `codec`, `codec_id`, `names` and the tensor's bytes, one after the other).
#[derive(Clone, Debug, PartialEq)]
pub struct LatentFile {
    codec: String,
    codec_id: u64,
    images: Vec<(String, StoredLatent)>,
}

/// One image's latent as a file holds it.
#[derive(Clone, Debug, PartialEq)]
pub enum StoredLatent {
    /// Continuous.
    Latent(Latent),
    /// Quantized.
    Codes(CodeIndices),
}

/// Why a file of latents cannot be written, read or used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LatentFileError {
    /// No images.
    #[error("a file of latents holds at least one image; compress one first")]
    Empty,
    /// Continuous and quantized latents, or several shapes.
    #[error(
        "the latent of image {name:?} is not of the same kind and shape as the first; store it in a file of its own"
    )]
    Mixed {
        /// The image's name.
        name: String,
    },
    /// Too many bytes or images.
    #[error(
        "a file of latents has at most 1 GiB, 2^20 images and 8 MiB of names, this one has more; split it"
    )]
    TooLarge,
    /// The bytes are not a safetensors file.
    #[error("the file of latents cannot be read: {0}; compress the X-rays again")]
    Unreadable(#[from] SafetensorsError),
    /// A metadata entry is missing or wrong.
    #[error("the file of latents says {key} = {found}, expected {expected}; compress the X-rays again")]
    Metadata {
        /// Key of the metadata.
        key: &'static str,
        /// Value expected.
        expected: &'static str,
        /// Value found, "nothing" if it is missing.
        found: String,
    },
    /// The tensor is missing, or of another type or shape.
    #[error(
        "the file of latents holds {found}, expected latents F32 [{names}, c, h, w] or codes U16 [{names}, h, w]; compress the X-rays again"
    )]
    Tensor {
        /// Names, types and shapes in the file.
        found: String,
        /// The number of images by their names.
        names: usize,
    },
    /// Values that no latent has.
    #[error("image {name:?}: {error}")]
    Latent {
        /// The image's name.
        name: String,
        /// Why the latent was refused.
        error: LatentError,
    },
    /// Another codec made the latents.
    #[error(
        "these latents were made by codec {made_by} (id {made_by_id:016x}), this is {codec} (id {codec_id:016x}): \
         name the codec that made them, or compress the X-rays again"
    )]
    OtherCodec {
        /// The codec that made them.
        made_by: String,
        /// Id of the codec that made the file.
        made_by_id: u64,
        /// The codec at hand.
        codec: String,
        /// Id of the codec in use.
        codec_id: u64,
    },
    /// The codec cannot use an image's latent.
    #[error("image {name:?}: {error}")]
    Codec {
        /// The image's name.
        name: String,
        /// Why the codec refused the latent.
        error: CodecError,
    },
}

impl LatentFile {
    /// A file of `images`, each with its name, made by `codec`.
    ///
    /// # Errors
    /// If there is none, they are of several kinds, or `codec` cannot have made one.
    pub fn new(codec: &Codec, images: Vec<(String, StoredLatent)>) -> Result<Self, LatentFileError> {
        let file = Self { codec: codec.name().to_owned(), codec_id: codec.id(), images };
        let (_, first) = file.images.first().ok_or(LatentFileError::Empty)?;
        if let Some((name, _)) = file.images.iter().find(|(_, stored)| kind(stored) != kind(first)) {
            return Err(LatentFileError::Mixed { name: name.clone() });
        }
        let each = match first {
            StoredLatent::Latent(latent) => 4 * latent.values().len(),
            StoredLatent::Codes(codes) => 2 * codes.values().len(),
        };
        let fits = file.images.len() <= MOST_IMAGES
            && file.names().len() <= NAMES_LIMIT_BYTES
            && file.images.len() * each <= LIMIT_BYTES - 4 * NAMES_LIMIT_BYTES;
        if !fits {
            return Err(LatentFileError::TooLarge);
        }
        for (name, stored) in &file.images {
            resolve(codec, name, stored)?;
        }
        Ok(file)
    }

    /// The name of the codec that made the latents.
    pub fn codec_name(&self) -> &str {
        &self.codec
    }

    /// The [id](Codec::id) of the codec that made the latents.
    pub fn codec_id(&self) -> u64 {
        self.codec_id
    }

    /// The images' names and latents, at least one.
    pub fn images(&self) -> &[(String, StoredLatent)] {
        &self.images
    }

    /// The images' names and latents, dequantized where they are quantized.
    ///
    /// # Errors
    /// If another codec made them, or a code is not in the codebook.
    pub fn latents(&self, codec: &Codec) -> Result<Vec<(String, Latent)>, LatentFileError> {
        if self.codec_id != codec.id() {
            return Err(LatentFileError::OtherCodec {
                made_by: self.codec.clone(),
                made_by_id: self.codec_id,
                codec: codec.name().to_owned(),
                codec_id: codec.id(),
            });
        }
        self.images.iter().map(|(name, stored)| Ok((name.clone(), resolve(codec, name, stored)?))).collect()
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut metadata: Metadata = [
            ("format", FORMAT.to_owned()),
            ("codec", self.codec.clone()),
            ("codec_id", format!("{:016x}", self.codec_id)),
            ("names", self.names()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        let mut data = Vec::new();
        let mut shape = vec![self.images.len()];
        for (k, (_, stored)) in self.images.iter().enumerate() {
            let each: &[usize] = match stored {
                StoredLatent::Latent(latent) => {
                    data.extend(latent.values().iter().flat_map(|x| x.to_le_bytes()));
                    &latent.shape()
                }
                StoredLatent::Codes(codes) => {
                    data.extend(codes.values().iter().flat_map(|x| x.to_le_bytes()));
                    &codes.shape()
                }
            };
            if k == 0 {
                shape.extend(each);
            }
        }
        metadata.insert("sha256".to_owned(), digest(&metadata, &data));
        match self.images.first() {
            Some((_, StoredLatent::Codes(_))) => {
                container::write("codes", Dtype::U16, &shape, &data, &metadata)
            }
            _ => container::write("latents", Dtype::F32, &shape, &data, &metadata),
        }
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// If they are not such a file, are damaged, or hold values that no latent has.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LatentFileError> {
        if bytes.len() > LIMIT_BYTES {
            return Err(LatentFileError::TooLarge);
        }
        let (file, metadata) = container::read(bytes)?;
        entry(&metadata, "format", FORMAT, |text| (text == FORMAT).then_some(()))?;
        let codec = entry(&metadata, "codec", "the name of a codec", |text| {
            let fits = (1..=32).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic());
            fits.then(|| text.to_owned())
        })?;
        let codec_id = entry(&metadata, "codec_id", "16 hex digits", |text| {
            let digits = text.len() == 16 && text.chars().all(|c| c.is_ascii_hexdigit());
            digits.then(|| u64::from_str_radix(text, 16).ok()).flatten()
        })?;
        let names: Vec<String> = entry(&metadata, "names", "the images' names as a JSON array", |text| {
            serde_json::from_str(text).ok()
        })?;
        if names.is_empty() {
            return Err(LatentFileError::Empty);
        }
        if names.len() > MOST_IMAGES {
            return Err(LatentFileError::TooLarge);
        }

        let tensors: Vec<_> = file.iter().collect();
        let [(tensor_name, tensor)] = tensors.as_slice() else {
            return Err(LatentFileError::Tensor {
                found: format!("{} tensors", file.len()),
                names: names.len(),
            });
        };
        let count = names.len();
        let unfit = || LatentFileError::Tensor {
            found: format!("{tensor_name:.80} {:?} {:?}", tensor.dtype(), tensor.shape()),
            names: count,
        };
        let images = match (*tensor_name, tensor.dtype(), tensor.shape()) {
            ("latents", Dtype::F32, &[images, c, h, w]) if images == count => {
                let values = Array4::from_shape_vec([images, c, h, w], container::singles(tensor.data()));
                let values = values.map_err(|_| unfit())?;
                named(names, values.outer_iter(), |x| Latent::new(x.to_owned()).map(StoredLatent::Latent))
            }
            ("codes", Dtype::U16, &[images, h, w]) if images == count => {
                let words = tensor.data().as_chunks::<2>().0;
                let words = words.iter().map(|b| u16::from_le_bytes(*b)).collect();
                let values = Array3::from_shape_vec([images, h, w], words).map_err(|_| unfit())?;
                named(names, values.outer_iter(), |x| CodeIndices::new(x.to_owned()).map(StoredLatent::Codes))
            }
            _ => Err(unfit()),
        }?;
        let digest = digest(&metadata, tensor.data());
        entry(&metadata, "sha256", "that of its contents", |text| (text == digest).then_some(()))?;
        Ok(Self { codec, codec_id, images })
    }

    /// The images' names as JSON.
    fn names(&self) -> String {
        let names: Vec<&str> = self.images.iter().map(|(name, _)| name.as_str()).collect();
        serde_json::json!(names).to_string()
    }
}

/// SHA-256, in hex, of the metadata of latents and their bytes.
fn digest(metadata: &Metadata, data: &[u8]) -> String {
    let mut hash = Sha256::new();
    let texts = ["codec", "codec_id", "names"].iter().filter_map(|&key| metadata.get(key));
    texts.for_each(|text| hash.update(text));
    hash.update(data);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn kind(stored: &StoredLatent) -> (bool, [usize; 3]) {
    match stored {
        StoredLatent::Latent(latent) => (true, latent.shape()),
        StoredLatent::Codes(codes) => {
            let [height, width] = codes.shape();
            (false, [1, height, width])
        }
    }
}

fn resolve(codec: &Codec, name: &str, stored: &StoredLatent) -> Result<Latent, LatentFileError> {
    let latent = match stored {
        StoredLatent::Latent(latent) => codec.check(latent.shape()).map(|()| latent.clone()),
        StoredLatent::Codes(codes) => codec.dequantize(codes),
    };
    latent.map_err(|error| LatentFileError::Codec { name: name.to_owned(), error })
}

fn entry<T>(
    metadata: &Metadata,
    key: &'static str,
    expected: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, LatentFileError> {
    let text = metadata.get(key);
    text.and_then(|text| parse(text)).ok_or_else(|| LatentFileError::Metadata {
        key,
        expected,
        found: text.map_or_else(|| "nothing".to_owned(), |text| text.chars().take(80).collect()),
    })
}

/// Each item of a tensor with its name.
fn named<T>(
    names: Vec<String>,
    items: impl Iterator<Item = T>,
    parse: impl Fn(T) -> Result<StoredLatent, LatentError>,
) -> Result<Vec<(String, StoredLatent)>, LatentFileError> {
    let parsed = names.into_iter().zip(items).map(|(name, item)| match parse(item) {
        Ok(stored) => Ok((name, stored)),
        Err(error) => Err(LatentFileError::Latent { name, error }),
    });
    parsed.collect()
}
