//! Bytes of keys, morphed images and augmented convolutions: a magic, the sizes, numbers whose count follows from the sizes, and a
//! SHA-256.

use super::augment::Layout;
use super::layer::finite;
use super::{AugConv, LayerShape, MoleError, MorphKey, Padding};
use crate::sealed::{DIGEST, seal, unsealed};
use ndarray::Array2;
use zeroize::Zeroizing;

const KEY: &[u8; 8] = b"PLMPKEY2";
const MORPHED: &[u8; 8] = b"PLMPIMG2";
const AUGMENTED: &[u8; 8] = b"PLMPAUG2";
/// Magic, seven sizes and the number of blocks.
const HEADER: usize = 8 + 8 * 4;

impl MorphKey {
    /// Serializes the seed and the sizes. The bytes are as secret as the key.
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(header(KEY, self.shape(), self.blocks()));
        // No reallocation, which would leave a copy behind.
        bytes.reserve_exact(self.seed().len() + DIGEST);
        bytes.extend_from_slice(self.seed());
        seal(&mut bytes);
        bytes
    }

    /// The key of such bytes, for a layer that is known: the seed is short, so nothing but the layer bounds what it expands to.
    ///
    /// # Errors
    /// [`MoleError`] if they are no key, or one for another layer.
    pub fn from_bytes(bytes: &[u8], layer: &LayerShape) -> Result<Self, MoleError> {
        let what = "key of morphed images";
        let (shape, blocks, rest) = parsed(bytes, KEY, what)?;
        let seed =
            rest.try_into().map_err(|_| MoleError::Bytes { what, why: "the seed has another length" })?;
        if shape != *layer {
            return Err(MoleError::OtherLayer);
        }
        Self::from_seed(&shape, blocks, seed)
    }
}

impl AugConv<f32> {
    /// Sizes, then numbers in single precision.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = header(AUGMENTED, self.shape(), self.blocks());
        bytes.reserve(self.bytes() as usize + DIGEST);
        for pattern in &self.patterns {
            bytes.extend(pattern.t().iter().flat_map(|x| x.to_le_bytes()));
        }
        seal(&mut bytes);
        bytes
    }

    /// Reads an augmented convolution for a known layer.
    ///
    /// # Errors
    /// [`MoleError`] if they are no augmented convolution, or one of another layer.
    pub fn from_bytes(bytes: &[u8], layer: &LayerShape) -> Result<Self, MoleError> {
        let what = "augmented convolution";
        let (shape, blocks, rest) = parsed(bytes, AUGMENTED, what)?;
        if shape != *layer {
            return Err(MoleError::OtherLayer);
        }
        let length = MoleError::Bytes { what, why: "its length does not fit its sizes" };
        // Before anything is laid out: how many patterns there is room for.
        let pattern = 4 * (shape.rows() / blocks) as u64 * shape.filters as u64;
        let room = rest.len() as u64;
        if room == 0 || !room.is_multiple_of(pattern) {
            return Err(length);
        }
        let Some(layout) = Layout::with_patterns(&shape, blocks, room / pattern)? else { return Err(length) };
        layout.check_bytes(4)?;
        let q = layout.core_side();
        let filters = shape.filters;
        let patterns = rest.chunks_exact(4 * q * filters).map(|pattern| {
            let values = numbers(pattern);
            finite(what, &values)?;
            let columns = Array2::from_shape_vec((filters, q), values).map_err(|_| MoleError::Internal)?;
            Ok(columns.reversed_axes())
        });
        let patterns = patterns.collect::<Result<_, MoleError>>()?;
        Ok(Self { layout, patterns })
    }
}

/// Morphed images as they are sent, with the sizes that they were made for.
#[derive(Clone, Debug, PartialEq)]
pub struct Morphed {
    /// The layer they are for.
    pub shape: LayerShape,
    /// Number of blocks: how many times the core repeats.
    pub blocks: usize,
    /// [`LayerShape::rows`] numbers for each image.
    pub values: Vec<f32>,
}

impl Morphed {
    /// Sizes, then numbers in single precision.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = header(MORPHED, &self.shape, self.blocks);
        bytes.reserve(4 * self.values.len() + DIGEST);
        bytes.extend(self.values.iter().flat_map(|x| x.to_le_bytes()));
        seal(&mut bytes);
        bytes
    }

    /// Reads morphed images.
    ///
    /// # Errors
    /// [`MoleError`] if they are no morphed images.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MoleError> {
        let what = "file of morphed images";
        let (shape, blocks, rest) = parsed(bytes, MORPHED, what)?;
        if rest.is_empty() || !rest.len().is_multiple_of(4 * shape.rows()) {
            return Err(MoleError::Bytes { what, why: "it holds no whole number of images" });
        }
        let values = numbers(rest);
        finite(what, &values)?;
        Ok(Self { shape, blocks, values })
    }
}

fn numbers(bytes: &[u8]) -> Vec<f32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|&word| f32::from_le_bytes(word)).collect()
}

fn header(magic: &[u8; 8], shape: &LayerShape, blocks: usize) -> Vec<u8> {
    let LayerShape { channels, side, filters, kernel, stride, pad, padding } = *shape;
    let padding = usize::from(padding == Padding::Implicit);
    let sizes = [channels, side, filters, kernel, stride, pad, padding, blocks];
    magic.iter().copied().chain(sizes.iter().flat_map(|&size| (size as u32).to_le_bytes())).collect()
}

fn parsed<'a>(
    bytes: &'a [u8],
    magic: &[u8; 8],
    what: &'static str,
) -> Result<(LayerShape, usize, &'a [u8]), MoleError> {
    if !bytes.starts_with(magic) {
        return Err(MoleError::Bytes { what, why: "they begin with something else" });
    }
    let body = unsealed(bytes).ok_or(MoleError::Bytes { what, why: "they were damaged or cut off" })?;
    let after = body.strip_prefix(magic).and_then(|after| after.split_at_checked(HEADER - magic.len()));
    let (sizes, rest) = after.ok_or(MoleError::Bytes { what, why: "there are too few" })?;
    let (words, _) = sizes.as_chunks::<4>();
    let sizes: Vec<usize> = words.iter().map(|&word| u32::from_le_bytes(word) as usize).collect();
    let &[channels, side, filters, kernel, stride, pad, padding, blocks] = sizes.as_slice() else {
        return Err(MoleError::Bytes { what, why: "there are too few" });
    };
    let padding = match padding {
        0 => Padding::Morphed,
        1 => Padding::Implicit,
        _ => return Err(MoleError::Bytes { what, why: "there is no such padding" }),
    };
    let shape = LayerShape { channels, side, filters, kernel, stride, pad, padding }.checked()?;
    let rows = shape.rows();
    if blocks == 0 || !rows.is_multiple_of(blocks) {
        return Err(MoleError::Blocks { blocks, rows });
    }
    Ok((shape, blocks, rest))
}
