//! Files that are compiled in: codecs, trained networks with their cards, and sample X-rays.

use crate::error::XrayError;
use pleura_latent::{Codec, Xray};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A trained network.
#[derive(Clone, Copy, Debug)]
pub struct ShippedModel {
    /// Name by which [`Classifier::shipped`](crate::Classifier::shipped) loads it.
    pub name: &'static str,
    /// Description in a line.
    pub about: &'static str,
    /// The ONNX file.
    pub onnx: &'static [u8],
    /// Model card of the task, in Markdown: training, evaluation and limits of all its networks.
    pub card: &'static str,
    /// ROC curves of the task's networks, in JSON; [`ShippedModel::validation`] reads them.
    pub roc: Option<&'static str>,
}

/// ROC curves of a network on validation images, which no choice depended on.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// Number of images.
    pub images: usize,
    /// One curve for each class, in the order of the scores.
    pub classes: Vec<RocCurve>,
}

/// ROC curve of one class against the others.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RocCurve {
    /// Name of the class.
    pub class: String,
    /// Area under the curve.
    pub auc: f64,
    /// 95 % confidence interval of the area.
    pub interval: [f64; 2],
    /// False positive rate and true positive rate at the corners of the curve, in ascending order.
    pub points: Vec<[f64; 2]>,
}

/// A sample chest X-ray with its diagnosis.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Name of the file.
    pub name: &'static str,
    /// Class that the doctors assigned.
    pub truth: &'static str,
    /// The JPEG file.
    pub jpeg: &'static [u8],
}

macro_rules! file {
    ($path:literal) => {
        include_bytes!(concat!("../../../models/", $path))
    };
}

macro_rules! card {
    ($task:literal) => {
        include_str!(concat!("../../../models/", $task, "/README.md"))
    };
}

macro_rules! roc {
    ($task:literal) => {
        Some(include_str!(concat!("../../../models/", $task, "/roc.json")))
    };
}

macro_rules! sample {
    ($truth:literal, $name:literal) => {
        Sample {
            name: $name,
            truth: $truth,
            jpeg: include_bytes!(concat!("../../../models/samples/", $name)),
        }
    };
}

/// Trained networks, the default one first.
pub static MODELS: [ShippedModel; 8] = [
    ShippedModel {
        name: "pneumonia",
        about: "made for the scheme: one convolution, one quadratic, one dense layer",
        onnx: file!("pneumonia/square.onnx"),
        card: card!("pneumonia"),
        roc: roc!("pneumonia"),
    },
    ShippedModel {
        name: "pneumonia-hefnet",
        about: "hefNet as published, per-channel quadratics",
        onnx: file!("pneumonia/hefnet.onnx"),
        card: card!("pneumonia"),
        roc: roc!("pneumonia"),
    },
    ShippedModel {
        name: "pneumonia-hefnet-se",
        about: "hefNet with squeeze-and-excitation",
        onnx: file!("pneumonia/hefnet_se.onnx"),
        card: card!("pneumonia"),
        roc: roc!("pneumonia"),
    },
    ShippedModel {
        name: "pneumonia-linear",
        about: "logistic regression: what Paillier can evaluate, too",
        onnx: file!("pneumonia/linear.onnx"),
        card: card!("pneumonia"),
        roc: None,
    },
    ShippedModel {
        name: "covid",
        about: "made for the scheme, three classes",
        onnx: file!("covid/square.onnx"),
        card: card!("covid"),
        roc: roc!("covid"),
    },
    ShippedModel {
        name: "covid-hefnet",
        about: "hefNet, three classes",
        onnx: file!("covid/hefnet.onnx"),
        card: card!("covid"),
        roc: roc!("covid"),
    },
    ShippedModel {
        name: "covid-hefnet-se",
        about: "hefNet with squeeze-and-excitation, three classes",
        onnx: file!("covid/hefnet_se.onnx"),
        card: card!("covid"),
        roc: roc!("covid"),
    },
    ShippedModel {
        name: "pneumoniamnist",
        about: "28x28 images without a codec, made for the scheme",
        onnx: file!("pneumoniamnist/tiny.onnx"),
        card: card!("pneumoniamnist"),
        roc: roc!("pneumoniamnist"),
    },
];

/// Names and files of the codecs, the default one first.
pub static CODECS: [(&str, &[u8]); 3] = [
    ("f8", file!("codec/f8.safetensors")),
    ("f4", file!("codec/f4.safetensors")),
    ("f16", file!("codec/f16.safetensors")),
];

/// Model card of the codecs, in Markdown.
pub static CODEC_CARD: &str = card!("codec");

/// Sample X-rays (Kermany, Zhang, Goldbaum): the official validation images (CC BY 4.0); `models/samples/README.md`
/// has the attribution.
pub static SAMPLES: [Sample; 16] = [
    sample!("normal", "NORMAL2-IM-1427-0001.jpeg"),
    sample!("normal", "NORMAL2-IM-1430-0001.jpeg"),
    sample!("normal", "NORMAL2-IM-1431-0001.jpeg"),
    sample!("normal", "NORMAL2-IM-1436-0001.jpeg"),
    sample!("normal", "NORMAL2-IM-1437-0001.jpeg"),
    sample!("normal", "NORMAL2-IM-1438-0001.jpeg"),
    sample!("normal", "NORMAL2-IM-1440-0001.jpeg"),
    sample!("normal", "NORMAL2-IM-1442-0001.jpeg"),
    sample!("pneumonia", "person1946_bacteria_4874.jpeg"),
    sample!("pneumonia", "person1946_bacteria_4875.jpeg"),
    sample!("pneumonia", "person1947_bacteria_4876.jpeg"),
    sample!("pneumonia", "person1949_bacteria_4880.jpeg"),
    sample!("pneumonia", "person1950_bacteria_4881.jpeg"),
    sample!("pneumonia", "person1951_bacteria_4882.jpeg"),
    sample!("pneumonia", "person1952_bacteria_4883.jpeg"),
    sample!("pneumonia", "person1954_bacteria_4886.jpeg"),
];

/// The shipped network of a name.
///
/// # Errors
/// [`XrayError::UnknownModel`]
pub fn model(name: &str) -> Result<&'static ShippedModel, XrayError> {
    MODELS.iter().find(|model| model.name == name).ok_or_else(|| XrayError::UnknownModel {
        name: name.to_owned(),
        known: MODELS.iter().map(|model| model.name).collect(),
    })
}

/// The shipped codec of a name.
///
/// # Errors
/// [`XrayError::UnknownCodec`], [`XrayError::Codec`]
pub fn codec(name: &str) -> Result<Codec, XrayError> {
    let found = CODECS.iter().find(|(known, _)| *known == name);
    let (_, bytes) = found.ok_or_else(|| XrayError::UnknownCodec {
        name: name.to_owned(),
        known: CODECS.iter().map(|(name, _)| *name).collect(),
    })?;
    Codec::from_bytes(bytes).map_err(|source| XrayError::Codec { name: name.to_owned(), source })
}

impl ShippedModel {
    /// ROC curves on the validation images that the card names; `None` if none are shipped.
    ///
    /// # Errors
    /// [`XrayError::Validation`]
    pub fn validation(&self) -> Result<Option<Validation>, XrayError> {
        let Some(roc) = self.roc else { return Ok(None) };
        let invalid = |reason: String| XrayError::Validation { name: self.name, reason };
        let mut curves: BTreeMap<String, Validation> =
            serde_json::from_str(roc).map_err(|error| invalid(error.to_string()))?;
        curves.remove(self.name).map(Some).ok_or_else(|| invalid("the network is missing".to_owned()))
    }
}

impl Sample {
    /// The decoded image.
    ///
    /// # Errors
    /// [`XrayError::Sample`]
    pub fn xray(&self) -> Result<Xray, XrayError> {
        match Xray::from_bytes(self.jpeg) {
            Ok((xray, _)) => Ok(xray),
            Err(source) => Err(XrayError::Sample { name: self.name, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_shipped_can_be_read() {
        for (name, bytes) in CODECS {
            let codec = Codec::from_bytes(bytes).unwrap();
            assert_eq!(codec.name(), name);
        }
        let weights = MODELS.iter().map(|m| m.onnx.len()).chain(CODECS.iter().map(|(_, b)| b.len()));
        assert!(weights.sum::<usize>() < 20_000_000);
        assert!(matches!(codec("f3"), Err(XrayError::UnknownCodec { .. })));
    }

    #[test]
    fn curves_have_the_area_that_the_card_states() {
        for model in MODELS {
            let Some(validation) = model.validation().unwrap() else { continue };
            let classes = crate::Classifier::shipped(model.name).unwrap();
            assert_eq!(classes.classes(), validation.classes.iter().map(|c| &*c.class).collect::<Vec<_>>());
            for curve in &validation.classes {
                let ends = curve.points.windows(2).filter_map(|w| Some((w.first()?, w.last()?)));
                let area: f64 = ends.map(|([x0, y0], [x1, y1])| (x1 - x0) * (y0 + y1) / 2.0).sum();
                assert!((area - curve.auc).abs() < 5e-4, "{}: {area} {}", model.name, curve.auc);
                assert!(curve.interval[0] < curve.auc && curve.auc < curve.interval[1]);
            }
            let mean =
                validation.classes.iter().map(|c| c.auc).sum::<f64>() / validation.classes.len() as f64;
            let row = format!("| {} | {mean:.4} (", validation.images);
            assert!(model.card.contains(&row), "{}: {row}", model.name);
        }
    }
}
