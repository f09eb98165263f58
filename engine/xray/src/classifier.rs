//! A network that assigns classes to X-rays.

use crate::classes::{Classes, class_names};
use crate::error::XrayError;
use crate::preprocessing::{Features, PREFIX, Preprocessing};
use crate::scaling::PixelScaling;
use crate::shipped::{self, SAMPLES};
use ndarray::{ArrayD, ArrayViewD, Axis, Slice};
use pleura_latent::{Codec, Latent, Xray};
use pleura_nn::{CompileOptions, Metadata, Network, Report, ScoreTransform};
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

    /// Options of a plan for groups of `group` images: 128 bits of security, [`Classifier::calibration`], and what a
    /// client needs to know of inputs and results.
    ///
    /// # Errors
    /// [`XrayError::Sample`], [`XrayError::Codec`]
    pub fn compile_options(&self, group: usize) -> Result<CompileOptions, XrayError> {
        let preprocessing = match &self.preprocessing {
            Preprocessing::Latent(codec) => format!("codec {} {:016x}", codec.name(), codec.id()),
            Preprocessing::Pixels { side, scaling } => format!("pixels {side}x{side} {scaling}"),
        };
        // The softmax of a group would be taken over the scores of all its images.
        let scores = match self.classes.scores() {
            ScoreTransform::Sigmoid => ScoreTransform::Sigmoid,
            _ if group == 1 => ScoreTransform::Softmax,
            _ => ScoreTransform::Identity,
        };
        // Of two classes with one score, it is that of the second.
        let names = self.classes.names();
        let first = names.len() - self.outputs();
        let classes = (0..group).flat_map(|_| names.iter().skip(first).cloned()).collect();
        let metadata = Metadata { classes, preprocessing: Some(preprocessing), scores };
        Ok(CompileOptions {
            calibration: Some(self.calibration(group)?),
            ranges: self.ranges.clone(),
            metadata,
            ..CompileOptions::default()
        })
    }

    /// Items that calibrate a plan for groups of `group` images, made of the sample X-rays: `[items, ..input shape]`.
    ///
    /// # Errors
    /// [`XrayError::Sample`], [`XrayError::Codec`]
    pub fn calibration(&self, group: usize) -> Result<ArrayD<f64>, XrayError> {
        let mut shape = self.group_shape(group);
        shape.insert(0, SAMPLES.len());
        let mut items = ArrayD::zeros(shape);
        for (mut item, sample) in items.outer_iter_mut().zip(&SAMPLES) {
            let features = self.features(&sample.xray()?)?;
            item.assign(&self.pack(&vec![features.values.view(); group], group));
        }
        Ok(items)
    }

    /// Number of images that fit into the ciphertext of a plan for single images; one if an image fills more than a
    /// ciphertext.
    pub fn group_capacity(&self, single: &Report) -> usize {
        let length: usize = self.network.input_shape().iter().product();
        match single.input_ciphertexts {
            // A conjugate-invariant ring has a slot for each coefficient.
            1 => ((1 << single.parameters.log_n) / length.next_power_of_two()).max(1),
            _ => 1,
        }
    }

    /// The network that evaluates `group` images side by side, along the first axis of input and output.
    ///
    /// # Errors
    /// [`XrayError::Group`]
    pub fn grouped_network(&self, group: usize) -> Result<Network, XrayError> {
        if group == 1 { Ok(self.network.clone()) } else { Ok(self.network.side_by_side(group)?) }
    }

    /// One item of a group of images: their values one after the other along the first axis, then zeros.
    ///
    /// # Panics
    /// If there are more items than `group`, or one has another shape than the network's input.
    pub fn pack(&self, items: &[ArrayViewD<'_, f64>], group: usize) -> ArrayD<f64> {
        let mut out = ArrayD::zeros(self.group_shape(group));
        let length = self.network.input_shape().first().copied().unwrap_or(1);
        for (position, item) in items.iter().enumerate() {
            let part = Slice::from(position * length..(position + 1) * length);
            out.slice_axis_mut(Axis(0), part).assign(item);
        }
        out
    }

    /// Scores of the first `count` images of a group from its output, in row-major order.
    pub fn unpack(&self, output: ArrayViewD<'_, f64>, count: usize) -> Vec<Vec<f64>> {
        let scores: Vec<f64> = output.iter().copied().collect();
        scores.chunks(self.outputs()).take(count).map(<[f64]>::to_vec).collect()
    }

    /// Number of scores of an image.
    fn outputs(&self) -> usize {
        self.network.output_shape().iter().product()
    }

    /// Shape of the input of [`Classifier::grouped_network`].
    fn group_shape(&self, group: usize) -> Vec<usize> {
        let mut shape = self.network.input_shape().to_vec();
        match shape.first_mut() {
            Some(first) => *first *= group,
            None => shape.push(group),
        }
        shape
    }
}

/// Whether a plan for groups of `group` images is cheaper for each image than a plan for single images, by predicted
/// seconds.
pub fn grouping_pays(single: &Report, grouped: &Report, group: usize) -> bool {
    grouped.predicted_seconds < single.predicted_seconds * group as f64
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
    fn groups_are_evaluated_side_by_side() {
        let classifier = Classifier::shipped("pneumoniamnist").unwrap();
        let features: Vec<Features> =
            [0, 15].iter().map(|&i| classifier.features(&SAMPLES[i].xray().unwrap()).unwrap()).collect();
        let views: Vec<_> = features.iter().map(|features| features.values.view()).collect();
        let packed = classifier.pack(&views, 3);
        assert_eq!(packed.shape(), [3, 28, 28]);
        let network = classifier.grouped_network(3).unwrap();
        let output = network.evaluate(packed.insert_axis(Axis(0)).view()).unwrap();
        let scores = classifier.unpack(output.view(), 2);
        assert_eq!(scores.len(), 2);
        for (features, scores) in features.iter().zip(&scores) {
            let alone = classifier.evaluate(features);
            assert!(alone.iter().zip(scores).all(|(a, b)| (a - b).abs() < 1e-12), "{alone:?} {scores:?}");
        }
        let p = classifier.probabilities(&[1000.0, 1001.0]);
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12 && p[1] > 0.7, "{p:?}");
        assert_eq!(classifier.calibration(2).unwrap().shape(), [16, 2, 28, 28]);
    }

    #[test]
    fn capacity_is_that_of_one_ciphertext() {
        let classifier = Classifier::shipped("pneumoniamnist").unwrap();
        let mut report = Report { input_ciphertexts: 1, ..Report::default() };
        for (log_n, capacity) in [(12, 4), (10, 1), (9, 1)] {
            report.parameters.log_n = log_n;
            assert_eq!(classifier.group_capacity(&report), capacity, "{log_n}");
        }
        report.input_ciphertexts = 2;
        report.parameters.log_n = 12;
        assert_eq!(classifier.group_capacity(&report), 1);
        let grouped = Report { predicted_seconds: 3.0, ..Report::default() };
        report.predicted_seconds = 1.0;
        assert!(grouping_pays(&report, &grouped, 4) && !grouping_pays(&report, &grouped, 3));
    }
}
