//! From an X-ray to the numbers that are encrypted.

use crate::error::{InputMismatch, XrayError};
use crate::shipped::{self, CODECS};
use ndarray::{Array2, ArrayD};
use pleura_latent::{Codec, Latent, SIDE, Xray};
use std::collections::BTreeMap;

/// Metadata entries of a model file start with this.
pub(crate) const PREFIX: &str = "pleura.";
/// Characters of a codec's name that are read.
const CODEC_CHARS: usize = 24;

/// Preparation of an X-ray for a network.
#[derive(Debug)]
pub enum Preprocessing {
    /// The continuous latent of a codec, `[channels, height, width]`.
    Latent(Box<Codec>),
    /// The image reduced to `[1, side, side]` by the mean of the area that a pixel covers, from -1 to 1.
    Pixels {
        /// Pixels of a side.
        side: usize,
    },
}

/// Input of a network made of one X-ray.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// Values in the shape of the network's input.
    pub values: ArrayD<f64>,
    /// Distance from the X-rays that the codec was trained on, see [`Codec::ood_score`]: above 1, scores mean little. None
    /// without a codec.
    pub ood_score: Option<f64>,
}

impl Preprocessing {
    /// The preparation that a model file names, or that its input shape implies.
    pub(crate) fn of(
        model: &str,
        shape: &[usize],
        metadata: &BTreeMap<String, String>,
    ) -> Result<Self, XrayError> {
        let mismatch = |reason| XrayError::Input { model: model.to_owned(), shape: shape.to_vec(), reason };
        let named = metadata.get(&format!("{PREFIX}codec")).map(String::as_str);
        match (named, shape) {
            (None | Some("none"), &[1, height, width]) if height == width && width <= SIDE => {
                Ok(Self::Pixels { side: width })
            }
            (Some("none"), _) => Err(mismatch(InputMismatch::Pixels)),
            (None, _) => {
                for (name, _) in CODECS {
                    let codec = shipped::codec(name)?;
                    if codec.latent_shape() == shape {
                        return Ok(Self::Latent(Box::new(codec)));
                    }
                }
                Err(mismatch(InputMismatch::NoCodec))
            }
            (Some(name), _) => {
                let name: String = name.chars().take(CODEC_CHARS).collect();
                let codec = shipped::codec(&name)?;
                let id = format!("{:016x}", codec.id());
                if metadata.get(&format!("{PREFIX}codec_id")).is_some_and(|trained_on| *trained_on != id) {
                    return Err(mismatch(InputMismatch::CodecVersion { codec: name }));
                }
                let latent = codec.latent_shape();
                if latent != shape {
                    return Err(mismatch(InputMismatch::Latent { codec: name, latent }));
                }
                Ok(Self::Latent(Box::new(codec)))
            }
        }
    }

    /// The codec; none for pixels.
    pub fn codec(&self) -> Option<&Codec> {
        match self {
            Self::Latent(codec) => Some(codec),
            Self::Pixels { .. } => None,
        }
    }

    /// The input made of an X-ray.
    ///
    /// # Errors
    /// [`XrayError::Codec`]
    pub fn features(&self, xray: &Xray) -> Result<Features, XrayError> {
        match self {
            Self::Latent(codec) => latent_features(codec, &codec.encode(xray)),
            Self::Pixels { side } => {
                let pixels = reduced(xray, *side).insert_axis(ndarray::Axis(0));
                Ok(Features { values: pixels.into_dyn(), ood_score: None })
            }
        }
    }

    /// The input made of a latent that was encoded before.
    ///
    /// # Errors
    /// [`XrayError::Codec`] if the latent is not of the codec's shape; [`XrayError::NoLatents`] without a codec.
    pub fn features_of_latent(&self, latent: &Latent) -> Result<Features, XrayError> {
        latent_features(self.codec().ok_or(XrayError::NoLatents)?, latent)
    }
}

fn latent_features(codec: &Codec, latent: &Latent) -> Result<Features, XrayError> {
    let score = codec.ood_score(latent);
    let score = score.map_err(|source| XrayError::Codec { name: codec.name().to_owned(), source })?;
    Ok(Features { values: latent.values().mapv(f64::from).into_dyn(), ood_score: Some(score) })
}

/// The mean of the area that each of `side * side` pixels covers, from -1 to 1.
fn reduced(xray: &Xray, side: usize) -> Array2<f64> {
    let shares = shares(side);
    let scaled = xray.values().mapv(|x| f64::from(x) / 127.5 - 1.0);
    shares.dot(&scaled).dot(&shares.t())
}

/// The share of pixel `i` in cell `k`, at `[k, i]`.
fn shares(side: usize) -> Array2<f64> {
    let step = SIDE as f64 / side as f64;
    Array2::from_shape_fn((side, SIDE), |(k, i)| {
        let (from, to) = (k as f64 * step, (k + 1) as f64 * step);
        (to.min(i as f64 + 1.0) - from.max(i as f64)).max(0.0) / step
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_are_means() {
        let pixels = Array2::from_shape_fn((SIDE, SIDE), |(_, x)| x as u8);
        let xray = Xray::from_pixels(pixels.view()).unwrap();
        let values = reduced(&xray, 2);
        let expected = [63.5, 191.5, 63.5, 191.5].map(|x| x / 127.5 - 1.0);
        assert!(values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{values:?}");
        assert_eq!(reduced(&xray, 28).dim(), (28, 28));
        let tall = Xray::from_pixels(pixels.t()).unwrap();
        assert!((reduced(&tall, 28)[[27, 3]] - reduced(&xray, 28)[[3, 27]]).abs() < 1e-12);
    }
}
