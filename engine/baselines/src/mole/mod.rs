//! Metamorphosed learning: images times a secret matrix, its inverse inside the first layer.

mod attack;
mod augment;
mod cost;
mod layer;
mod morph;
mod run;
mod wire;

pub use attack::{Developer, KnownPlaintext};
pub use augment::{AugConv, unshuffled};
pub use cost::{CLAIMED_COMPUTE, CLAIMED_DATA, Overheads, VGG16_MULTIPLY_ADDS};
pub use layer::{FirstLayer, LayerShape, Padding};
pub use morph::{MorphKey, Morpher};
pub use run::{MorphRun, MorphSeconds};
pub use wire::Morphed;

use crate::random::NoEntropy;

/// Errors of metamorphosed learning.
#[derive(Debug, thiserror::Error)]
pub enum MoleError {
    /// The sizes do not make a layer, or one too large.
    #[error(
        "a layer of {channels} channels of side {side}, {filters} filters of side {kernel}, stride {stride} and padding {pad} is impossible or too large"
    )]
    Shape {
        /// Input channels.
        channels: usize,
        /// Side of the image.
        side: usize,
        /// Output channels.
        filters: usize,
        /// Side of a filter.
        kernel: usize,
        /// Pixels between positions.
        stride: usize,
        /// Zeros on each side.
        pad: usize,
    },
    /// Too many or too few numbers.
    #[error("{what}: {got} numbers, and {expected} are needed")]
    Length {
        /// Name of the quantity.
        what: &'static str,
        /// Numbers that the layer needs.
        expected: usize,
        /// Numbers given.
        got: usize,
    },
    /// A number is infinite or not a number.
    #[error("{what}: number {index} is not finite")]
    NotFinite {
        /// Name of the quantity.
        what: &'static str,
        /// Position of the number.
        index: usize,
    },
    /// The core does not divide the image.
    #[error("{rows} numbers of an image cannot be cut into {blocks} equal blocks")]
    Blocks {
        /// Number of blocks.
        blocks: usize,
        /// Numbers of a padded image.
        rows: usize,
    },
    /// The core is larger than what is computed with.
    #[error("a core of {side} x {side} numbers is too large, {limit} x {limit} is the most: use more blocks")]
    Core {
        /// Side of the core.
        side: usize,
        /// Largest side.
        limit: usize,
    },
    /// The augmented convolution would take more memory than is allowed.
    #[error(
        "the augmented convolution would take {bytes} bytes, more than the {allowed} that are allowed: use more blocks"
    )]
    TooLarge {
        /// Bytes that it would take.
        bytes: u64,
        /// Bytes that it may take.
        allowed: u64,
    },
    /// A core without an inverse.
    #[error("the morphing core has no usable inverse")]
    Singular,
    /// The filters do not distinguish the taps of the layer.
    #[error(
        "{filters} filters of {taps} taps, of rank {rank}: the shuffle cannot be read from leverage scores unless there are more filters than taps"
    )]
    Rank {
        /// Output channels.
        filters: usize,
        /// Weights of a filter.
        taps: usize,
        /// Rank of the filters as a matrix.
        rank: usize,
    },
    /// An order of channels in which one is missing.
    #[error("the order of {channels} channels does not name each of them once")]
    Order {
        /// Number of channels.
        channels: usize,
    },
    /// A key or an augmented convolution of another layer.
    #[error("the key or the augmented convolution is not of this layer")]
    OtherLayer,
    /// Morphed images and an augmented convolution that do not belong together.
    #[error("the images were not morphed for this augmented convolution: sizes or blocks differ")]
    OtherMorph,
    /// Too few known images.
    #[error("{have} pairs of known blocks, and {need} are needed")]
    NotEnough {
        /// Pairs known.
        have: usize,
        /// Numbers of a block that vary.
        need: usize,
    },
    /// Known images that say the same.
    #[error(
        "the known images are linearly dependent and do not determine the morphing matrix: know others, or more"
    )]
    Dependent,
    /// A decomposition did not converge.
    #[error("the numbers are too large or too small to solve for the morphing matrix")]
    Numbers,
    /// No randomness.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    /// An impossible state: a mistake in this crate.
    #[error("a matrix has another size than its layer: this is a mistake in Pleura, please report it")]
    Internal,
    /// The bytes are not such an object.
    #[error("these bytes are no {what}: {why}")]
    Bytes {
        /// Kind of file expected.
        what: &'static str,
        /// Reason, as the end of a sentence.
        why: &'static str,
    },
}
