//! From an X-ray to the numbers that are encrypted.

use crate::error::{InputMismatch, XrayError};
use crate::scaling::PixelScaling;
use crate::shipped::{self, CODECS};
use ndarray::{Array2, ArrayD, Axis};
use pleura_latent::{Codec, Latent, SIDE, Xray};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Metadata entries of a model file start with this.
pub(crate) const PREFIX: &str = "pleura.";
/// Characters of a name in the metadata that are read.
const NAME_CHARS: usize = 24;

/// Preparation of an X-ray for a network.
#[derive(Debug)]
pub enum Preprocessing {
    /// The continuous latent of a codec, `[channels, height, width]`.
    Latent(Box<Codec>),
    /// The image reduced to `[1, side, side]` by the mean of the area that a pixel covers.
    Pixels {
        /// Pixels of a side.
        side: usize,
        /// Range of the pixels.
        scaling: PixelScaling,
    },
}

/// Description of a [`Preprocessing`] for a client: it names a codec and holds none of its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Recipe {
    /// The continuous latent of a codec.
    Latent {
        /// Name of the codec.
        codec: String,
        /// Identity of the codec, see [`Codec::id`].
        id: u64,
    },
    /// The image reduced to `side * side` pixels.
    Pixels {
        /// Pixels of a side.
        side: usize,
        /// Range that pixels are scaled to.
        scaling: PixelScaling,
    },
}

/// Input of a network made of one X-ray.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// Values in the shape of the network's input.
    pub values: ArrayD<f64>,
    /// Distance from the X-rays that the codec was trained on, see [`Codec::ood_score`]: above 1, scores mean little.
    /// None without a codec.
    pub ood_score: Option<f64>,
}

impl Preprocessing {
    /// The preparation that a model file names, or that its input shape implies; `scaling` goes before that of the
    /// file.
    pub(crate) fn of(
        model: &str,
        shape: &[usize],
        metadata: &BTreeMap<String, String>,
        scaling: Option<PixelScaling>,
    ) -> Result<Self, XrayError> {
        let mismatch = |reason| XrayError::Input { model: model.to_owned(), shape: shape.to_vec(), reason };
        let named = metadata.get(&format!("{PREFIX}codec")).map(String::as_str);
        match (named, shape) {
            (None | Some("none"), &[1, height, width]) if height == width && width <= SIDE => {
                let scaling = match (scaling, metadata.get(&format!("{PREFIX}pixel_scaling"))) {
                    (Some(scaling), _) => scaling,
                    (None, Some(text)) => {
                        let found = || text.chars().take(NAME_CHARS).collect();
                        text.parse().map_err(|_| mismatch(InputMismatch::Scaling { found: found() }))?
                    }
                    (None, None) => return Err(XrayError::PixelScaling { model: model.to_owned() }),
                };
                Ok(Self::Pixels { side: width, scaling })
            }
            _ if scaling.is_some() => Err(XrayError::LatentScaling { model: model.to_owned() }),
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
                let name: String = name.chars().take(NAME_CHARS).collect();
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

    /// The preparation that a description names.
    ///
    /// # Errors
    /// [`XrayError::UnknownCodec`], [`XrayError::OtherCodec`] if this build's codec is another of that name,
    /// [`XrayError::Side`]
    pub fn from_recipe(recipe: &Recipe) -> Result<Self, XrayError> {
        match recipe {
            Recipe::Latent { codec: name, id } => {
                let name: String = name.chars().filter(|c| !c.is_control()).take(NAME_CHARS).collect();
                let codec = shipped::codec(&name)?;
                if codec.id() != *id {
                    return Err(XrayError::OtherCodec { codec: name, expected: *id, got: codec.id() });
                }
                Ok(Self::Latent(Box::new(codec)))
            }
            &Recipe::Pixels { side, scaling } => {
                if (1..=SIDE).contains(&side) {
                    Ok(Self::Pixels { side, scaling })
                } else {
                    Err(XrayError::Side { side })
                }
            }
        }
    }

    /// Description for a client.
    pub fn recipe(&self) -> Recipe {
        match self {
            Self::Latent(codec) => Recipe::Latent { codec: codec.name().to_owned(), id: codec.id() },
            &Self::Pixels { side, scaling } => Recipe::Pixels { side, scaling },
        }
    }

    /// Shape of the input made of an X-ray.
    pub fn shape(&self) -> [usize; 3] {
        match self {
            Self::Latent(codec) => codec.latent_shape(),
            &Self::Pixels { side, .. } => [1, side, side],
        }
    }

    /// The codec; none for pixels.
    pub fn codec(&self) -> Option<&Codec> {
        match self {
            Self::Latent(codec) => Some(codec),
            Self::Pixels { .. } => None,
        }
    }

    /// Rows and columns of an image that is neither enlarged nor reduced.
    pub fn side(&self) -> usize {
        match self {
            Self::Latent(_) => SIDE,
            Self::Pixels { side, .. } => *side,
        }
    }

    /// The scaling of pixels; none for latents, whose codec scales them.
    pub fn scaling(&self) -> Option<PixelScaling> {
        match self {
            Self::Latent(_) => None,
            Self::Pixels { scaling, .. } => Some(*scaling),
        }
    }

    /// The input made of an X-ray.
    ///
    /// # Errors
    /// [`XrayError::Codec`]
    pub fn features(&self, xray: &Xray) -> Result<Features, XrayError> {
        match self {
            Self::Latent(codec) => latent_features(codec, &codec.encode(xray)),
            Self::Pixels { side, scaling } => {
                let pixels = reduced(xray, *side).mapv_into(|pixel| scaling.scaled(pixel));
                Ok(Features { values: pixels.insert_axis(Axis(0)).into_dyn(), ood_score: None })
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

/// The mean of the area that each of `side * side` pixels covers, from 0 to 255.
///
/// A small image is reduced from its own pixels, so that one of `side * side` pixels stays as it is. A smaller one is
/// reduced from 256x256 pixels, to which it was enlarged.
fn reduced(xray: &Xray, side: usize) -> Array2<f64> {
    let small = xray.small_values().filter(|values| values.nrows() >= side && values.ncols() >= side);
    let values = small.unwrap_or_else(|| xray.values()).mapv(f64::from);
    shares(values.nrows(), side).dot(&values).dot(&shares(values.ncols(), side).t())
}

/// The share of pixel `i` of `length` in cell `k` of `side`, at `[k, i]`.
fn shares(length: usize, side: usize) -> Array2<f64> {
    let step = length as f64 / side as f64;
    Array2::from_shape_fn((side, length), |(k, i)| {
        let from = k as f64 * step;
        let to = (k + 1) as f64 * step;
        (to.min(i as f64 + 1.0) - from.max(i as f64)).max(0.0) / step
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pleura_latent::ImageNote;

    #[test]
    fn pixels_are_means() {
        let pixels = Array2::from_shape_fn((SIDE, SIDE), |(_, x)| x as u8);
        let xray = Xray::from_pixels(pixels.view()).unwrap();
        let values = reduced(&xray, 2);
        let expected = [63.5, 191.5, 63.5, 191.5];
        assert!(values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{values:?}");
        assert_eq!(reduced(&xray, 28).dim(), (28, 28));
        let tall = Xray::from_pixels(pixels.t()).unwrap();
        assert!((reduced(&tall, 28)[[27, 3]] - reduced(&xray, 28)[[3, 27]]).abs() < 1e-9);
    }

    /// A PNG file of noise.
    fn png(width: u32, height: u32) -> (Vec<u8>, Vec<u8>) {
        let pixels: Vec<u8> =
            (0..width * height).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut bytes = Vec::new();
        let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
        let kind = image::ExtendedColorType::L8;
        image::ImageEncoder::write_image(encoder, &pixels, width, height, kind).unwrap();
        (bytes, pixels)
    }

    #[test]
    fn an_image_of_the_networks_own_size_stays_as_it_is() {
        let (bytes, pixels) = png(28, 28);
        let (xray, notes) = Xray::from_bytes_for(28, &bytes).unwrap();
        assert!(notes.is_empty());
        for (scaling, scaled) in [
            (PixelScaling::Signed, (|x| x / 127.5 - 1.0) as fn(f64) -> f64),
            (PixelScaling::Unit, |x| x / 255.0),
            (PixelScaling::Xrv, |x| (2.0 * (x / 255.0) - 1.0) * 1024.0),
            (PixelScaling::Standard { mean: 0.5, deviation: 0.1 }, |x| (x / 255.0 - 0.5) / 0.1),
        ] {
            let features = Preprocessing::Pixels { side: 28, scaling }.features(&xray).unwrap().values;
            assert_eq!(features.shape(), [1, 28, 28]);
            let largest = features
                .iter()
                .zip(&pixels)
                .map(|(got, &pixel)| (got - scaled(f64::from(pixel))).abs())
                .fold(0.0, f64::max);
            assert!(largest < 1e-9, "{scaling}: {largest}");
        }
    }

    #[test]
    fn small_images_are_reduced_from_their_own_pixels() {
        let (bytes, pixels) = png(56, 84);
        let (xray, notes) = Xray::from_bytes_for(28, &bytes).unwrap();
        assert!(notes.is_empty());
        let at = |y: usize, x: usize| f64::from(pixels[y * 56 + x]);
        let mean = (6..9).flat_map(|y| [at(y, 10), at(y, 11)]).sum::<f64>() / 6.0;
        assert!((reduced(&xray, 28)[[2, 5]] - mean).abs() < 1e-9);
    }

    #[test]
    fn smaller_images_are_enlarged_with_a_note_and_tiny_ones_refused() {
        let (_, notes) = Xray::from_bytes_for(28, &png(27, 28).0).unwrap();
        assert_eq!(notes, [ImageNote::Enlarged { width: 27, height: 28, side: 28 }]);
        assert!(Xray::from_bytes_for(28, &png(4, 4).0).is_ok());
        let error = Xray::from_bytes_for(28, &png(3, 28).0).unwrap_err().to_string();
        assert!(error.contains("3x28 pixels") && error.contains("at least 4"), "{error}");
    }

    #[test]
    fn the_scaling_of_pixels_is_said_by_the_file_or_the_caller() {
        let of = |entries: &[(&str, &str)], shape: &[usize], scaling| {
            let metadata = entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            Preprocessing::of("m", shape, &metadata, scaling).map(|preprocessing| preprocessing.scaling())
        };
        let file = |text| [("pleura.pixel_scaling", text)];
        assert_eq!(of(&file("xrv"), &[1, 28, 28], None).unwrap(), Some(PixelScaling::Xrv));
        let unit = Some(PixelScaling::Unit);
        assert_eq!(of(&file("xrv"), &[1, 28, 28], unit).unwrap(), unit);
        assert_eq!(of(&[], &[1, 28, 28], unit).unwrap(), unit);
        assert!(matches!(of(&[], &[1, 28, 28], None), Err(XrayError::PixelScaling { .. })));
        assert!(matches!(of(&file("bright"), &[1, 28, 28], None), Err(XrayError::Input { .. })));
        assert_eq!(of(&[], &[4, 32, 32], None).unwrap(), None);
        assert!(matches!(of(&[], &[4, 32, 32], unit), Err(XrayError::LatentScaling { .. })));
    }
}
