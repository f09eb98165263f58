//! A network that assigns classes to X-rays.

use crate::classes::{Classes, class_names};
use crate::error::XrayError;
use crate::preprocessing::{Features, PREFIX, Preprocessing};
use crate::scaling::PixelScaling;
use crate::shipped::{self, SAMPLES};
use ndarray::ArrayD;
use pleura_latent::{Codec, Latent, Xray};
use pleura_nn::{CompileOptions, Metadata, Network, ScoreTransform};
use pleura_onnx::{ImportOptions, Imported, import};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// A network with its class names and the preparation of its input.
#[derive(Debug)]
pub struct Classifier {
    network: Network,
    classes: Classes,
    preprocessing: Preprocessing,
    /// Known ranges of values by names of nodes.
    ranges: BTreeMap<String, f64>,
    notes: Vec<String>,
    digest: [u8; 32],
}

impl Classifier {
    /// The shipped network of a name.
    ///
    /// # Errors
    /// [`XrayError::UnknownModel`]
    pub fn shipped(name: &str) -> Result<Self, XrayError> {
        let model = shipped::model(name)?;
        Self::from_onnx(model.name, model.onnx, None)
    }

    /// A network from the bytes of an ONNX file, which a caller names.
    ///
    /// Metadata of the file may say `pleura.classes` (a JSON array of names), `pleura.codec` (the name of a shipped
    /// codec, or `none` for pixels) and `pleura.codec_id`. Without them, classes are numbered and the preparation
    /// follows from the shape of the input. A network of pixels needs a [`PixelScaling`]: `scaling`, or
    /// `pleura.pixel_scaling` in the metadata (`unit`, `signed`, `xrv`, or mean and deviation as in `0.48,0.24`). A
    /// network that ends in a sigmoid has independent classes; with one output, the second of two classes has its
    /// probability.
    ///
    /// # Errors
    /// [`XrayError::Import`], [`XrayError::Input`], [`XrayError::UnknownCodec`], [`XrayError::PixelScaling`],
    /// [`XrayError::LatentScaling`], [`XrayError::OneOutput`]
    pub fn from_onnx(name: &str, bytes: &[u8], scaling: Option<PixelScaling>) -> Result<Self, XrayError> {
        let Imported { network, scores, mut notes, metadata, ranges, .. } =
            import(bytes, &ImportOptions::default())?;
        let preprocessing = Preprocessing::of(name, network.input_shape(), &metadata, scaling)?;
        if let Some((chosen, said)) = scaling.zip(metadata.get(&format!("{PREFIX}pixel_scaling")))
            && said.parse() != Ok(chosen)
        {
            notes.push(format!(
                "the model file names another scaling of pixels than {chosen}, which was taken"
            ));
        }
        let outputs = network.output_shape().iter().product::<usize>();
        if outputs < 2 && scores != ScoreTransform::Sigmoid {
            return Err(XrayError::OneOutput { model: name.to_owned() });
        }
        let count = outputs.max(2);
        let classes = match metadata.get(&format!("{PREFIX}classes")).map(|text| class_names(text, count)) {
            Some(Some(names)) => names,
            found => {
                if found.is_some() {
                    let note = "the class names in the model file do not fit its outputs, which are numbered";
                    notes.push(note.to_owned());
                }
                (0..count).map(|class| format!("class {class}")).collect()
            }
        };
        let codec = preprocessing.codec().map_or(0, Codec::id);
        let mut digest = Sha256::new().chain_update(bytes).chain_update(codec.to_le_bytes());
        if let Some(scaling) = preprocessing.scaling() {
            digest.update(scaling.to_string());
        }
        let digest = digest.finalize();
        let network = network.renamed(name.to_owned());
        Ok(Self {
            network,
            classes: Classes::new(classes, scores),
            preprocessing,
            ranges,
            notes,
            digest: digest.into(),
        })
    }

    /// Name of the network.
    pub fn name(&self) -> &str {
        self.network.name()
    }

    /// The plaintext network.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Names of the classes, in the order of the scores.
    pub fn classes(&self) -> &[String] {
        self.classes.names()
    }

    /// The classes by themselves, which turn scores into labels without the network.
    pub fn class_scores(&self) -> &Classes {
        &self.classes
    }

    /// Preparation of X-rays.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// Whether an image belongs to one class alone, so that its probabilities add up to one: not with a sigmoid for
    /// each of several.
    pub fn has_exclusive_classes(&self) -> bool {
        self.classes.scores() != ScoreTransform::Sigmoid || self.outputs() == 1
    }

    /// Remarks of the importer, for the user.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// SHA-256 of the model file, the identity of the codec and the scaling of pixels: equal digests give equal scores.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The input made of an X-ray.
    ///
    /// # Errors
    /// [`XrayError::Codec`]
    pub fn features(&self, xray: &Xray) -> Result<Features, XrayError> {
        self.preprocessing.features(xray)
    }

    /// The input made of a latent that was encoded before.
    ///
    /// # Errors
    /// [`XrayError::Codec`], [`XrayError::NoLatents`]
    pub fn features_of_latent(&self, latent: &Latent) -> Result<Features, XrayError> {
        self.preprocessing.features_of_latent(latent)
    }

    /// Scores of the plaintext network, one for each class, or one for the second of two.
    ///
    /// # Panics
    /// If the features are those of another classifier, of another shape.
    pub fn evaluate(&self, features: &Features) -> Vec<f64> {
        let item: Vec<f64> = features.values.iter().copied().collect();
        self.network.evaluate_flat(&item)
    }

    /// Name of the class with the largest score, the first of equal ones; empty without scores.
    pub fn label(&self, scores: &[f64]) -> &str {
        self.classes.label(scores)
    }

    /// Probability of each class: the softmax of the scores, or the sigmoid of each if that is the end of the model.
    pub fn probabilities(&self, scores: &[f64]) -> Vec<f64> {
        self.classes.probabilities(scores)
    }

    /// Options of a plan for `batch` images at a time: 128 bits of security, [`Classifier::calibration`], and what a
    /// client needs to know of inputs and results. The plan is of [`Classifier::network`], and its layout decides how
    /// many images share ciphertexts.
    ///
    /// # Errors
    /// [`XrayError::Sample`], [`XrayError::Codec`]
    pub fn compile_options(&self, batch: usize) -> Result<CompileOptions, XrayError> {
        let preprocessing = match &self.preprocessing {
            Preprocessing::Latent(codec) => format!("codec {} {:016x}", codec.name(), codec.id()),
            Preprocessing::Pixels { side, scaling } => format!("pixels {side}x{side} {scaling}"),
        };
        let scores = match self.classes.scores() {
            ScoreTransform::Sigmoid => ScoreTransform::Sigmoid,
            _ => ScoreTransform::Softmax,
        };
        // Of two classes with one score, it is that of the second.
        let names = self.classes.names();
        let classes = names.iter().skip(names.len() - self.outputs()).cloned().collect();
        let metadata = Metadata { classes, preprocessing: Some(preprocessing), scores };
        Ok(CompileOptions {
            calibration: Some(self.calibration()?),
            ranges: self.ranges.clone(),
            batch,
            metadata,
            ..CompileOptions::default()
        })
    }

    /// Items that calibrate a plan, made of the sample X-rays: `[items, ..input shape]`.
    ///
    /// # Errors
    /// [`XrayError::Sample`], [`XrayError::Codec`]
    pub fn calibration(&self) -> Result<ArrayD<f64>, XrayError> {
        let mut shape = self.network.input_shape().to_vec();
        shape.insert(0, SAMPLES.len());
        let mut items = ArrayD::zeros(shape);
        for (mut item, sample) in items.outer_iter_mut().zip(&SAMPLES) {
            item.assign(&self.features(&sample.xray()?)?.values);
        }
        Ok(items)
    }

    /// Number of scores of an image.
    fn outputs(&self) -> usize {
        self.network.output_shape().iter().product()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shipped_networks_know_their_classes() {
        for model in &shipped::MODELS {
            let classifier = Classifier::shipped(model.name).unwrap();
            assert_eq!(classifier.classes().get(..2).unwrap(), ["normal", "pneumonia"], "{}", model.name);
            assert_eq!(classifier.preprocessing().codec().is_none(), model.name == "pneumoniamnist");
        }
        assert!(matches!(Classifier::shipped("pnuemonia"), Err(XrayError::UnknownModel { .. })));
    }

    #[test]
    fn probabilities_add_up_to_one() {
        let classifier = Classifier::shipped("pneumoniamnist").unwrap();
        let p = classifier.probabilities(&[1000.0, 1001.0]);
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12 && p[1] > 0.7, "{p:?}");
        assert_eq!(classifier.calibration().unwrap().shape(), [16, 1, 28, 28]);
        assert_eq!(classifier.compile_options(4).unwrap().batch, 4);
    }
}
