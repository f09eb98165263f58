//! The augmented convolution: the first layer with the inverse of the morphing matrix inside.
//!
//! `C_ac = M^-1 C_r`, its `b` column blocks in a secret order. A column of `C_r` has `a p^2` numbers, so one of `C_ac` is a sum
//! of as many columns of `M^-1`. With repeated cores two columns that see the same taps at the same places of their blocks
//! are equal: each such *pattern* is stored once, for all filters.

use super::layer::{finite, length};
use super::{FirstLayer, LayerShape, MoleError, MorphKey};
use crate::dense;
use crate::real::Real;
use half::f16;
use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Bytes that an augmented convolution may take here.
const ALLOWED_BYTES: u64 = 4 << 30;

/// The augmented convolution, which the provider sends once and the developer's network starts with. **It reveals the provider's
/// secret.**
pub struct AugConv<T: Real> {
    pub(super) layout: Layout,
    /// For each pattern `q x b`: column `k` is that of the filter in place `k`.
    pub(super) patterns: Vec<Array2<T>>,
}

/// Which pattern each position of the filters meets in which block: a matter of sizes, not of secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) shape: LayerShape,
    pub(super) blocks: usize,
    /// Taps and their rows within a block.
    pub(super) taps: Vec<Vec<(usize, usize)>>,
    /// For each position, the blocks in its receptive field, each with its pattern.
    pub(super) places: Vec<Vec<(usize, usize)>>,
}

impl Layout {
    pub(super) fn new(shape: &LayerShape, blocks: usize) -> Result<Self, MoleError> {
        let rows = shape.rows();
        Self::up_to(shape, blocks, u64::MAX)?.ok_or(MoleError::Blocks { blocks, rows })
    }

    /// A layout with exactly `count` patterns; `None` if it has more or fewer, detected before more than `count` are laid out.
    pub(super) fn with_patterns(
        shape: &LayerShape,
        blocks: usize,
        count: u64,
    ) -> Result<Option<Self>, MoleError> {
        Ok(Self::up_to(shape, blocks, count)?.filter(|layout| layout.taps.len() as u64 == count))
    }

    fn up_to(shape: &LayerShape, blocks: usize, most: u64) -> Result<Option<Self>, MoleError> {
        let shape = shape.checked()?;
        let rows = shape.rows();
        if blocks == 0 || !rows.is_multiple_of(blocks) {
            return Err(MoleError::Blocks { blocks, rows });
        }
        let q = rows / blocks;
        let mut numbers: BTreeMap<Vec<(usize, usize)>, usize> = BTreeMap::new();
        let mut taps = Vec::new();
        let mut places = Vec::with_capacity(shape.positions());
        for position in 0..shape.positions() {
            let mut blocks: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
            for (tap, row) in shape.seen(position) {
                blocks.entry(row / q).or_default().push((tap, row % q));
            }
            let place = blocks.into_iter().map(|(block, pattern)| {
                let number = *numbers.entry(pattern).or_insert_with_key(|pattern| {
                    taps.push(pattern.clone());
                    taps.len() - 1
                });
                (block, number)
            });
            places.push(place.collect());
            if taps.len() as u64 > most {
                return Ok(None);
            }
        }
        Ok(Some(Self { shape, blocks, taps, places }))
    }

    pub(super) fn core_side(&self) -> usize {
        self.shape.rows() / self.blocks
    }

    /// Numbers that are stored.
    pub(super) fn values(&self) -> u64 {
        (self.taps.len() * self.core_side()) as u64 * self.shape.filters as u64
    }

    pub(super) fn check_bytes(&self, bytes: usize) -> Result<(), MoleError> {
        let bytes = self.values() * bytes as u64;
        if bytes > ALLOWED_BYTES {
            Err(MoleError::TooLarge { bytes, allowed: ALLOWED_BYTES })
        } else {
            Ok(())
        }
    }
}

impl<T: Real> AugConv<T> {
    /// The layer with the key's inverse inside and its channels in the key's order.
    ///
    /// # Errors
    /// [`MoleError`] if key and layer do not fit, or it would take more than 4 GiB.
    #[expect(clippy::indexing_slicing, reason = "key and layer are of one shape")]
    pub fn new(key: &MorphKey, layer: &FirstLayer) -> Result<Self, MoleError> {
        if key.shape() != layer.shape() {
            return Err(MoleError::OtherLayer);
        }
        let layout = Layout::new(key.shape(), key.blocks())?;
        layout.check_bytes(T::BYTES)?;
        let inverse = key.inverse()?;
        let patterns = layout
            .taps
            .par_iter()
            .map(|taps| {
                let offsets: Vec<usize> = taps.iter().map(|&(_, offset)| offset).collect();
                let columns = inverse.select(Axis(1), &offsets);
                let weights = Array2::from_shape_fn((taps.len(), key.order().len()), |(t, place)| {
                    layer.filter(key.order()[place])[taps[t].0]
                });
                columns.dot(&weights).mapv(T::from_f64)
            })
            .collect();
        Ok(Self { layout, patterns })
    }

    /// The layer's sizes.
    pub fn shape(&self) -> &LayerShape {
        &self.layout.shape
    }

    /// Number of blocks: how many times the core repeats.
    pub fn blocks(&self) -> usize {
        self.layout.blocks
    }

    /// Applies the layer to morphed images: for each `[place][y][x]`, the plain layer's channels in the secret order.
    ///
    /// # Errors
    /// [`MoleError`] if there is no whole number of images, or numbers are not finite.
    pub fn apply(&self, morphed: &[T]) -> Result<Vec<T>, MoleError> {
        let Layout { shape, places, .. } = &self.layout;
        let rows = shape.rows();
        let q = self.layout.core_side();
        let filters = shape.filters;
        length("morphed images", morphed, morphed.len().next_multiple_of(rows))?;
        finite("morphed images", morphed)?;
        let count = morphed.len() / rows;
        let all = ArrayView2::from_shape((count, rows), morphed).map_err(|_| MoleError::Internal)?;
        let sums: Vec<Array2<T>> = places
            .par_iter()
            .map(|place| {
                let mut sum = Array2::zeros((filters, count));
                for &(block, pattern) in place {
                    let pattern = self.patterns.get(pattern).ok_or(MoleError::Internal)?;
                    let block = all.slice(s![.., block * q..(block + 1) * q]);
                    dense::add_product(&mut sum.view_mut(), T::one(), &pattern.t(), &block.t());
                }
                Ok(sum)
            })
            .collect::<Result<_, MoleError>>()?;
        let mut result = Vec::with_capacity(count * shape.outputs());
        for image in 0..count {
            for filter in 0..filters {
                result.extend(sums.iter().map(|sum| sum[[filter, image]]));
            }
        }
        Ok(result)
    }

    /// Bytes to send, in this precision.
    pub fn bytes(&self) -> u64 {
        self.layout.values() * T::BYTES as u64
    }
}

/// A result `[place][y][x]` of [`AugConv::apply`] with its channels in the plain layer's order. `order[place]` is the filter that comes out in
/// a place: the holder of the key knows it, and so does [`Developer`](super::Developer).
///
/// # Errors
/// [`MoleError::Length`] if the result is no whole number of channels, [`MoleError::Order`] if the order does not name each filter once.
pub fn unshuffled<U: Copy>(order: &[usize], result: &[U]) -> Result<Vec<U>, MoleError> {
    let channels = order.len();
    let mut places = vec![None; channels];
    for (place, &filter) in order.iter().enumerate() {
        *places.get_mut(filter).ok_or(MoleError::Order { channels })? = Some(place);
    }
    let places: Option<Vec<usize>> = places.into_iter().collect();
    let places = places.filter(|places| !places.is_empty()).ok_or(MoleError::Order { channels })?;
    length("result", result, result.len().next_multiple_of(channels))?;
    let each = result.len() / channels;
    Ok(places.iter().flat_map(|place| result.iter().skip(place * each).take(each)).copied().collect())
}

impl AugConv<f32> {
    /// Every number rounded to half precision, in which half as many bytes are sent.
    #[must_use]
    pub fn rounded_to_f16(mut self) -> Self {
        for pattern in &mut self.patterns {
            pattern.mapv_inplace(|x| f16::from_f32(x).to_f32());
        }
        self
    }
}
