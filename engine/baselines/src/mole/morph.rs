//! The provider's secret, and images under it.

use super::layer::{finite, length};
use super::{LayerShape, MoleError};
use crate::dense;
use crate::random;
use crate::real::Real;
use chacha20::ChaCha20Rng;
use crypto_bigint::rand_core::SeedableRng;
use ndarray::{Array2, ArrayView2};
use std::fmt;
use zeroize::Zeroizing;

/// The largest core: 16384 squared numbers of 8 bytes are 2 GiB.
const LARGEST_CORE: usize = 1 << 14;

/// The morphing core and the order of the output channels. **Not encryption**: [`Developer`](super::Developer) recovers both.
pub struct MorphKey {
    shape: LayerShape,
    blocks: usize,
    seed: Zeroizing<[u8; 32]>,
    core: Array2<f64>,
    order: Vec<usize>,
}

impl MorphKey {
    /// A fresh key for a layer; the core repeats `blocks` times.
    ///
    /// # Errors
    /// [`MoleError`] if `blocks` does not divide the padded image, the core's side is above 16384, or the system has no randomness.
    pub fn generate(shape: &LayerShape, blocks: usize) -> Result<Self, MoleError> {
        Self::from_seed(shape, blocks, random::seed()?)
    }

    /// The key of a seed.
    ///
    /// # Errors
    /// As for [`MorphKey::generate`].
    pub fn from_seed(shape: &LayerShape, blocks: usize, seed: [u8; 32]) -> Result<Self, MoleError> {
        let shape = shape.checked()?;
        let rows = shape.rows();
        if blocks == 0 || !rows.is_multiple_of(blocks) {
            return Err(MoleError::Blocks { blocks, rows });
        }
        if rows / blocks > LARGEST_CORE {
            return Err(MoleError::Core { side: rows / blocks, limit: LARGEST_CORE });
        }
        let mut rng = ChaCha20Rng::from_seed(seed);
        let order = random::order(&mut rng, shape.filters);
        let q = rows / blocks;
        // Drawn column by column.
        let core = Array2::from_shape_simple_fn((q, q), || random::uniform(&mut rng)).reversed_axes();
        Ok(Self { shape, blocks, seed: Zeroizing::new(seed), core, order })
    }

    /// The layer's sizes.
    pub fn shape(&self) -> &LayerShape {
        &self.shape
    }

    /// Number of blocks: how many times the core repeats.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Side of the core, `q = D / blocks`.
    pub fn core_side(&self) -> usize {
        self.core.nrows()
    }

    /// Which filter comes out in which place: the secret that is guessed with probability `1/b!`.
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// The transform of images in one precision.
    pub fn morpher<T: Real>(&self) -> Morpher<T> {
        Morpher { shape: self.shape, core: self.core.mapv(T::from_f64) }
    }

    /// The core's inverse, in double precision.
    pub(super) fn inverse(&self) -> Result<Array2<f64>, MoleError> {
        dense::inverse(&self.core).ok_or(MoleError::Singular)
    }

    pub(super) fn seed(&self) -> &[u8; 32] {
        &self.seed
    }
}

impl fmt::Debug for MorphKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MorphKey")
            .field("shape", &self.shape)
            .field("blocks", &self.blocks)
            .finish_non_exhaustive()
    }
}

impl Drop for MorphKey {
    fn drop(&mut self) {
        self.core.fill(0.0);
        self.order.fill(0);
        // So that the stores are not found to be useless and left out.
        std::hint::black_box((&self.core, &self.order));
    }
}

/// Morphs images: `t = x M`, with the core in the precision of `T`.
pub struct Morpher<T: Real> {
    shape: LayerShape,
    core: Array2<T>,
}

impl<T: Real> Morpher<T> {
    /// Morphs `images`, each `[channel][y][x]`, to as many rows of [`LayerShape::rows`] numbers.
    ///
    /// # Errors
    /// [`MoleError`] if there is no whole number of images, or numbers are not finite.
    pub fn morph(&self, images: &[T]) -> Result<Vec<T>, MoleError> {
        let inputs = self.shape.inputs();
        length("images", images, images.len().next_multiple_of(inputs))?;
        finite("images", images)?;
        let q = self.core.nrows();
        let padded: Vec<T> = images.chunks_exact(inputs).flat_map(|image| self.shape.pad(image)).collect();
        // Rows are blocks.
        let blocks =
            ArrayView2::from_shape((padded.len() / q, q), &padded).map_err(|_| MoleError::Internal)?;
        Ok(dense::product(&blocks, &self.core.view()).into_raw_vec_and_offset().0)
    }
}

impl<T: Real> Drop for Morpher<T> {
    fn drop(&mut self) {
        self.core.fill(T::default());
        std::hint::black_box(&self.core);
    }
}
