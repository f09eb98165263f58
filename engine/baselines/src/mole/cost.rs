//! Costs of the scheme, compared with the published claims.

use super::{AugConv, LayerShape};
use crate::real::Real;

/// Multiply-adds of VGG-16's thirteen convolutions and its dense layer (512 to 10) on one image of CIFAR-10.
pub const VGG16_MULTIPLY_ADDS: u64 = 313_201_664;

/// Claimed additional computation, as a share of VGG-16's on CIFAR-10.
pub const CLAIMED_COMPUTE: f64 = 0.09;
/// Claimed additional data, as a share of CIFAR-10's images.
pub const CLAIMED_DATA: f64 = 0.0512;

/// Costs in multiply-adds for an image and bytes, counted from the sizes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overheads {
    /// To morph an image: `q D`.
    pub morph: u64,
    /// Multiply-adds of the plain first layer.
    pub plain: u64,
    /// Multiply-adds of the augmented convolution.
    pub augmented: u64,
    /// Bytes of an image as 8-bit pixels.
    pub image_bytes: u64,
    /// Bytes of a morphed image.
    pub morphed_bytes: u64,
    /// Bytes of the augmented convolution, sent once.
    pub augmented_bytes: u64,
}

impl Overheads {
    /// Counts them.
    pub fn of<T: Real>(augmented: &AugConv<T>) -> Self {
        let shape: &LayerShape = augmented.shape();
        let rows = shape.rows() as u64;
        let q = (shape.rows() / augmented.blocks()) as u64;
        let seen: u64 = augmented.layout.places.iter().map(|place| place.len() as u64).sum();
        let taps: u64 = (0..shape.positions()).map(|position| shape.seen(position).count() as u64).sum();
        Self {
            morph: q * rows,
            plain: taps * shape.filters as u64,
            augmented: seen * q * shape.filters as u64,
            image_bytes: shape.inputs() as u64,
            morphed_bytes: rows * T::BYTES as u64,
            augmented_bytes: augmented.bytes(),
        }
    }

    /// [`extra_compute`](Self::extra_compute) of VGG-16 on CIFAR-10, if the layer is its first.
    pub fn extra_compute_of_vgg16(&self, layer: &LayerShape) -> Option<f64> {
        let vgg = LayerShape { padding: layer.padding, ..LayerShape::CIFAR } == *layer;
        vgg.then(|| self.extra_compute(VGG16_MULTIPLY_ADDS))
    }

    /// The multiply-adds that come on top of a network's, as a share of them.
    pub fn extra_compute(&self, network: u64) -> f64 {
        (self.morph + self.augmented).saturating_sub(self.plain) as f64 / network.max(1) as f64
    }

    /// Bytes of the augmented convolution as a share of `images` morphed images.
    pub fn extra_data(&self, images: u64) -> f64 {
        self.augmented_bytes as f64 / (self.morphed_bytes * images.max(1)) as f64
    }
}
