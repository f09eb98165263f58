//! The first layer of a network: a convolution without bias, as an index formula and as itself.

use super::MoleError;
use crate::dense;
use crate::real::Real;
use ndarray::{Array2, ArrayView2};

/// No layer here has more numbers in its padded image or in its result.
const MOST: usize = 1 << 26;

/// Nor do its filters see more numbers in all: what is laid out for them is about as large, and sizes may come from a file.
const MOST_SEEN: usize = 1 << 24;

/// Origin of the zeros around an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// They are put in before morphing, as published: they become noise like everything else.
    Morphed,
    /// They are left out of the matrix: the rows of `C_r` that would meet them are not there.
    Implicit,
}

/// Sizes of a first layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerShape {
    /// Input channels, `a`.
    pub channels: usize,
    /// Side of the image.
    pub side: usize,
    /// Output channels, `b`.
    pub filters: usize,
    /// Side of a filter, `p`.
    pub kernel: usize,
    /// Pixels from one position to the next.
    pub stride: usize,
    /// Zeros on each side of the image.
    pub pad: usize,
    /// Origin of the zeros around an image.
    pub padding: Padding,
}

impl LayerShape {
    /// VGG's first layer on CIFAR: 3 channels of 32x32, 64 filters of 3x3.
    pub const CIFAR: Self =
        Self { channels: 3, side: 32, filters: 64, kernel: 3, stride: 1, pad: 1, padding: Padding::Morphed };

    /// The side of the image that is morphed, `m`.
    pub fn padded_side(&self) -> usize {
        match self.padding {
            Padding::Morphed => self.side + 2 * self.pad,
            Padding::Implicit => self.side,
        }
    }

    /// The side of the result, `n`.
    pub fn output_side(&self) -> usize {
        (self.side + 2 * self.pad).saturating_sub(self.kernel) / self.stride.max(1) + 1
    }

    /// Numbers of an image, `a side^2`.
    pub fn inputs(&self) -> usize {
        self.channels * self.side * self.side
    }

    /// Numbers of a padded image, `D = a m^2`.
    pub fn rows(&self) -> usize {
        self.channels * self.padded_side() * self.padded_side()
    }

    /// Positions of a filter, `n^2`.
    pub fn positions(&self) -> usize {
        self.output_side() * self.output_side()
    }

    /// Numbers of the result, `b n^2`.
    pub fn outputs(&self) -> usize {
        self.filters * self.positions()
    }

    /// Weights of a filter, `a p^2`.
    pub fn taps(&self) -> usize {
        self.channels * self.kernel * self.kernel
    }

    /// Blocks that an image is cut into unless said otherwise: its rows.
    pub fn default_blocks(&self) -> usize {
        self.channels * self.padded_side()
    }

    /// The next smaller and the next larger number of blocks that divide an image.
    pub fn blocks_near(&self, blocks: usize) -> [Option<usize>; 2] {
        let rows = self.rows();
        let divides = |&k: &usize| rows.is_multiple_of(k);
        let below = (1..blocks.min(rows + 1)).rev().find(divides);
        [below, (blocks.saturating_add(1)..=rows).find(divides)]
    }

    /// Returns the shape if its sizes make a layer.
    pub(super) fn checked(self) -> Result<Self, MoleError> {
        let Self { channels, side, filters, kernel, stride, pad, .. } = self;
        let bounded = [channels, side, filters, kernel, stride].iter().all(|&x| (1..=1 << 13).contains(&x));
        let small = bounded
            && pad < kernel
            && kernel <= side + 2 * pad
            && self.rows() <= MOST
            && self.outputs() <= MOST
            && self.taps() <= 1 << 13
            && self.positions() * self.taps() <= MOST_SEEN;
        small.then_some(self).ok_or(MoleError::Shape { channels, side, filters, kernel, stride, pad })
    }

    /// The receptive field at a position: taps (`[c][u][v]`) and rows of the padded image.
    pub(super) fn seen(&self, position: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let n = self.output_side();
        let m = self.padded_side();
        let p = self.kernel;
        let i = position / n;
        let j = position % n;
        let before = if self.padding == Padding::Implicit { self.pad } else { 0 };
        (0..self.taps()).filter_map(move |tap| {
            let c = tap / (p * p);
            let u = tap / p % p;
            let v = tap % p;
            let row = (i * self.stride + u).checked_sub(before).filter(|&row| row < m)?;
            let col = (j * self.stride + v).checked_sub(before).filter(|&col| col < m)?;
            Some((tap, c * m * m + row * m + col))
        })
    }

    /// The padded image: what is morphed.
    #[expect(clippy::indexing_slicing, reason = "the image lies inside of the padded one")]
    pub(super) fn pad<T: Real>(&self, image: &[T]) -> Vec<T> {
        let mut padded = vec![T::default(); self.rows()];
        for (row, &value) in self.inside().zip(image) {
            padded[row] = value;
        }
        padded
    }

    /// The image in a padded one.
    #[expect(clippy::indexing_slicing, reason = "the image lies inside of the padded one")]
    pub(super) fn unpad(&self, padded: &[f64]) -> Vec<f64> {
        self.inside().map(|row| padded[row]).collect()
    }

    /// The rows that are pixels and not padding, in the order of the image.
    pub(super) fn inside(&self) -> impl Iterator<Item = usize> + '_ {
        let m = self.padded_side();
        let side = self.side;
        let edge = (m - side) / 2;
        (0..self.inputs()).map(move |k| {
            let c = k / (side * side);
            let y = k / side % side;
            let x = k % side;
            c * m * m + (y + edge) * m + x + edge
        })
    }
}

/// A first layer: what the developer publishes.
#[derive(Clone, Debug, PartialEq)]
pub struct FirstLayer {
    shape: LayerShape,
    weights: Vec<f64>,
}

impl FirstLayer {
    /// A layer from its weights `[filter][channel][u][v]`.
    ///
    /// # Errors
    /// [`MoleError`] if the sizes make no layer, or the weights do not fit them.
    pub fn new(shape: LayerShape, weights: Vec<f64>) -> Result<Self, MoleError> {
        let shape = shape.checked()?;
        length("weights", &weights, shape.filters * shape.taps())?;
        finite("weights", &weights)?;
        Ok(Self { shape, weights })
    }

    /// A layer of 16 random 3x3 filters on a grey image, the same on every run: the attack requires only that filters differ.
    ///
    /// # Errors
    /// [`MoleError`] if a layer of this side is impossible.
    pub fn of_noise(side: usize) -> Result<Self, MoleError> {
        let padding = Padding::Implicit;
        let shape = LayerShape { channels: 1, side, filters: 16, kernel: 3, stride: 1, pad: 1, padding };
        let mut state = 0x2545_f491_4f6c_dd1du64;
        let mut weight = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        };
        Self::new(shape, (0..16 * 9).map(|_| weight()).collect())
    }

    /// Sizes of the layer.
    pub fn shape(&self) -> &LayerShape {
        &self.shape
    }

    /// The weights of filter `k`, `[channel][u][v]`.
    ///
    /// # Panics
    /// If the layer has no such filter.
    #[expect(clippy::indexing_slicing, reason = "the number of weights was checked")]
    pub fn filter(&self, k: usize) -> &[f64] {
        let taps = self.shape.taps();
        &self.weights[k * taps..(k + 1) * taps]
    }

    /// The plain layer, in the precision of the image: `[filter][y][x]`. A matrix product, like the augmented convolution's, so that
    /// the time of one can be compared with that of the other.
    ///
    /// # Errors
    /// [`MoleError::Length`] if the image has another size.
    #[expect(clippy::indexing_slicing, reason = "a receptive field lies inside of the padded image")]
    pub fn apply<T: Real>(&self, image: &[T]) -> Result<Vec<T>, MoleError> {
        length("image", image, self.shape.inputs())?;
        let padded = self.shape.pad(image);
        let mut seen = Array2::zeros((self.shape.positions(), self.shape.taps()));
        for (position, mut taps) in seen.rows_mut().into_iter().enumerate() {
            for (tap, row) in self.shape.seen(position) {
                taps[tap] = padded[row];
            }
        }
        let filters: Vec<T> = self.weights.iter().map(|&w| T::from_f64(w)).collect();
        let filters = ArrayView2::from_shape((self.shape.filters, self.shape.taps()), &filters)
            .map_err(|_| MoleError::Internal)?;
        Ok(dense::product(&filters, &seen.t()).into_raw_vec_and_offset().0)
    }
}

pub(super) fn length<T>(what: &'static str, values: &[T], expected: usize) -> Result<(), MoleError> {
    if values.len() == expected {
        Ok(())
    } else {
        Err(MoleError::Length { what, expected, got: values.len() })
    }
}

pub(super) fn finite<T: Real>(what: &'static str, values: &[T]) -> Result<(), MoleError> {
    match values.iter().position(|x| !x.to_f64().is_finite()) {
        Some(index) => Err(MoleError::NotFinite { what, index }),
        None => Ok(()),
    }
}
