//! Errors of the classifier.

use pleura_latent::{CodecError, ImageError};
use pleura_nn::NetworkError;
use pleura_onnx::ImportError;

/// Why a network cannot classify X-rays, or an X-ray cannot be prepared for it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum XrayError {
    /// No shipped network has this name.
    #[error("there is no model {name:?}; shipped are {}", known.join(", "))]
    UnknownModel {
        /// The name.
        name: String,
        /// Names of the shipped networks.
        known: Vec<&'static str>,
    },
    /// No shipped codec has this name.
    #[error("there is no codec {name}; there are {}", known.join(", "))]
    UnknownCodec {
        /// The name.
        name: String,
        /// Names of the shipped codecs.
        known: Vec<&'static str>,
    },
    /// The model file is no network that can run on ciphertexts.
    #[error("cannot import the network")]
    Import(#[from] ImportError),
    /// The ROC curves that are shipped with a network cannot be read.
    #[error("internal error: the ROC curves of {name}: {reason}")]
    Validation {
        /// Name of the network.
        name: &'static str,
        /// The cause.
        reason: String,
    },
    /// The network's input is not made of X-rays.
    #[error("{model} takes items of shape {}, and {reason}: it cannot classify X-rays", shape_text(shape))]
    Input {
        /// Name of the network.
        model: String,
        /// Shape of its input.
        shape: Vec<usize>,
        /// The contradiction.
        reason: InputMismatch,
    },
    /// The network takes pixels, and nothing says how they are scaled.
    #[error("{model} takes pixels, and its file does not say which numbers stand for black and white")]
    PixelScaling {
        /// Name of the network.
        model: String,
    },
    /// A scaling of pixels was given for a network that takes latents.
    #[error("{model} takes latents of a codec, which scales pixels itself: leave out the scaling of pixels")]
    LatentScaling {
        /// Name of the network.
        model: String,
    },
    /// The network has one output, which is no probability.
    #[error(
        "{model} has one output that no sigmoid makes a probability of; a classifier has one for each class"
    )]
    OneOutput {
        /// Name of the network.
        model: String,
    },
    /// A codec cannot be read, or a latent is not of its shape.
    #[error("codec {name}")]
    Codec {
        /// Name of the codec.
        name: String,
        /// The cause.
        source: CodecError,
    },
    /// This build has another codec of the name that a specification asks for.
    #[error(
        "codec {codec} with identity {expected:016x} is needed, and this build has {got:016x}; use the release that made the specification"
    )]
    OtherCodec {
        /// Name of the codec.
        codec: String,
        /// Identity that is asked for.
        expected: u64,
        /// Identity of this build's codec.
        got: u64,
    },
    /// A specification asks for images that cannot be made.
    #[error(
        "the specification asks for images of {side} pixels a side; there are 1 to {}",
        pleura_latent::SIDE
    )]
    Side {
        /// Pixels of a side.
        side: usize,
    },
    /// The network cannot be repeated for a group of images.
    #[error("the network cannot evaluate several images side by side")]
    Group(#[from] NetworkError),
    /// A latent was given to a network that takes pixels.
    #[error("the network takes images, not latents; give it the X-ray")]
    NoLatents,
    /// A shipped sample cannot be decoded.
    #[error("sample {name}")]
    Sample {
        /// Name of the sample.
        name: &'static str,
        /// The cause.
        source: ImageError,
    },
}

/// Why the input of a network does not fit X-rays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputMismatch {
    /// The model file asks for pixels, and the shape is not `[1, side, side]` with at most 256 pixels a side.
    #[error("images have one channel and are square")]
    Pixels,
    /// The model file names no codec, and none makes latents of this shape.
    #[error("no codec makes that")]
    NoCodec,
    /// The named codec makes latents of another shape.
    #[error("codec {codec} makes {}", shape_text(latent))]
    Latent {
        /// Name of the codec.
        codec: String,
        /// Shape `[channels, height, width]` of its latents.
        latent: [usize; 3],
    },
    /// The model file names a scaling of pixels that is none.
    #[error("its file names the scaling of pixels {found:?}, which is none")]
    Scaling {
        /// The name, shortened.
        found: String,
    },
    /// The network was trained on another version of the codec.
    #[error("it was trained on another codec {codec} than this build's")]
    CodecVersion {
        /// Name of the codec.
        codec: String,
    },
}

fn shape_text(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(ToString::to_string).collect();
    format!("({})", sizes.join(", "))
}
