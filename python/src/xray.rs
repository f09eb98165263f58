//! The chest X-ray classifier.

use crate::arrays::Input;
use crate::device::{self, Choice};
use crate::failure::{Failure, Kind};
use crate::work;
use ndarray::{Array2, Axis, stack};
use numpy::IntoPyArray;
use pleura::Device;
use pleura::latent::Xray;
use pleura::xray::{Classifier, Content, Features, SourceList, XrayPipeline, shipped};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

/// A classifier of X-rays whose network runs on ciphertexts, client and server in one process.
#[pyclass(frozen, module = "pleura._pleura")]
pub(crate) struct XrayClassifier {
    inner: Arc<(XrayPipeline, Device)>,
}

/// A network that classifies X-rays, with the preparation of its input, and without keys.
#[pyclass(frozen, module = "pleura._pleura")]
pub(crate) struct XrayPreparation {
    classifier: Arc<Classifier>,
}

/// Images to classify.
#[derive(FromPyObject)]
pub(crate) enum Images<'py> {
    /// A file or folder.
    #[pyo3(transparent)]
    Path(PathBuf),
    /// Content of a file.
    #[pyo3(transparent)]
    File(Vec<u8>),
    /// Rows from 0 (black) to 1 (white).
    #[pyo3(transparent)]
    Grey(numpy::PyReadonlyArray2<'py, f32>),
}

/// Images that do not depend on the interpreter.
enum Owned {
    Path(PathBuf),
    File(Vec<u8>),
    Grey(Array2<f32>),
}

/// Input of the network made of an image, with its name and the notes of the reader.
struct Prepared {
    name: String,
    features: Features,
    notes: Vec<String>,
}

#[pymethods]
impl XrayClassifier {
    /// The shipped network `name`, or one in ONNX.
    #[new]
    fn new(
        py: Python<'_>,
        name: String,
        model: Option<Vec<u8>>,
        scaling: Option<String>,
        device: &str,
        threads: Option<usize>,
    ) -> PyResult<Self> {
        let choice = Choice::parse(device, threads)?;
        work::run(py, move |_| {
            let classifier = load(&name, model.as_deref(), scaling.as_deref())?;
            let device = choice.start()?;
            let pipeline = XrayPipeline::new(classifier, &device)?;
            Ok(Self { inner: Arc::new((pipeline, device)) })
        })
    }

    /// Predictions of images as JSON.
    fn classify(&self, py: Python<'_>, images: Images<'_>) -> PyResult<String> {
        let images = images.owned();
        let inner = self.inner.clone();
        work::run(py, move |interruption| {
            let pipeline = &inner.0;
            let mut predictions = Vec::new();
            for Prepared { name, features, notes } in images.prepared(pipeline.classifier())? {
                interruption.check()?;
                let (scored, _) = pipeline.classify_group(&[&features])?;
                for prediction in scored {
                    predictions.push(json!({
                        "name": name,
                        "label": prediction.label,
                        "probabilities": prediction.probabilities,
                        "scores": prediction.scores,
                        "ood_score": prediction.ood_score,
                        "notes": notes,
                    }));
                }
            }
            Ok(Value::Array(predictions).to_string())
        })
    }

    /// Names of the classes.
    fn classes(&self) -> Vec<String> {
        self.inner.0.classifier().classes().to_vec()
    }

    /// The device, in a few words.
    fn device(&self) -> String {
        self.inner.1.name()
    }

    /// Notes on the device, each with whether it is a warning.
    fn device_notes(&self) -> Vec<(bool, String)> {
        device::notes(&self.inner.1)
    }
}

#[pymethods]
impl XrayPreparation {
    /// That of the shipped network `name`, or of one in ONNX.
    #[new]
    fn new(py: Python<'_>, name: String, model: Option<Vec<u8>>, scaling: Option<String>) -> PyResult<Self> {
        work::run(py, move |_| {
            Ok(Self { classifier: Arc::new(load(&name, model.as_deref(), scaling.as_deref())?) })
        })
    }

    /// Inputs of the network made of images, `[images, ..input shape]`, and the names of the images.
    fn prepare<'py>(
        &self,
        py: Python<'py>,
        images: Images<'_>,
    ) -> PyResult<(Bound<'py, PyAny>, Vec<String>)> {
        let images = images.owned();
        let classifier = self.classifier.clone();
        let (values, names) = work::run(py, move |_| {
            let prepared = images.prepared(&classifier)?;
            let views: Vec<_> = prepared.iter().map(|item| item.features.values.view()).collect();
            let values = stack(Axis(0), &views)
                .map_err(|error| Failure::new(Kind::Internal, format!("inputs differ in shape: {error}")))?;
            Ok((values, prepared.into_iter().map(|item| item.name).collect()))
        })?;
        Ok((values.into_pyarray(py).into_any(), names))
    }

    /// Labels and probabilities of scores, `[items, classes]`, as JSON.
    fn predictions(&self, scores: &Bound<'_, PyAny>) -> PyResult<String> {
        let scores = Input::new(scores)?.values;
        let shape = self.classifier.network().output_shape();
        if scores.shape().get(1..) != Some(shape) {
            let got = pleura::npy::shape_text(scores.shape());
            let expected: Vec<String> = shape.iter().map(ToString::to_string).collect();
            let expected = expected.join(", ");
            return Err(Failure::new(
                Kind::Input,
                format!("the scores have shape {got}; those of the network have (images, {expected})"),
            )
            .into());
        }
        let items = scores.outer_iter().map(|item| {
            let scores: Vec<f64> = item.iter().copied().collect();
            let probabilities = self.classifier.probabilities(&scores);
            json!({ "label": self.classifier.label(&scores), "probabilities": probabilities })
        });
        Ok(Value::Array(items.collect()).to_string())
    }

    /// Names of the classes.
    fn classes(&self) -> Vec<String> {
        self.classifier.classes().to_vec()
    }
}

impl Images<'_> {
    fn owned(self) -> Owned {
        match self {
            Self::Path(path) => Owned::Path(path),
            Self::File(bytes) => Owned::File(bytes),
            Self::Grey(rows) => Owned::Grey(rows.as_array().to_owned()),
        }
    }
}

impl Owned {
    fn prepared(self, classifier: &Classifier) -> Result<Vec<Prepared>, Failure> {
        let preprocessing = classifier.preprocessing();
        let side = preprocessing.side();
        let (xray, notes) = match self {
            Self::Path(path) => {
                let list = SourceList::read(&[path], true)?;
                let mut found = Vec::new();
                for source in &list.sources {
                    for item in source.read(preprocessing.codec(), side)? {
                        let features = match &item.content {
                            Content::Xray(xray) => classifier.features(xray)?,
                            Content::Latent(latent) => classifier.features_of_latent(latent)?,
                        };
                        let notes = item.notes.iter().map(ToString::to_string).collect();
                        found.push(Prepared { name: item.name(), features, notes });
                    }
                }
                return Ok(found);
            }
            Self::File(bytes) => Xray::from_bytes_for(side, &bytes)?,
            Self::Grey(rows) => Xray::from_grey(side, rows.view())?,
        };
        let notes = notes.iter().map(ToString::to_string).collect();
        Ok(vec![Prepared { name: String::new(), features: classifier.features(&xray)?, notes }])
    }
}

fn load(name: &str, model: Option<&[u8]>, scaling: Option<&str>) -> Result<Classifier, Failure> {
    let scaling = scaling
        .map(|text| text.parse())
        .transpose()
        .map_err(|error| Failure::new(Kind::Input, format!("there is no such scaling of pixels: {error}")))?;
    match (model, scaling) {
        (Some(model), scaling) => Ok(Classifier::from_onnx(name, model, scaling)?),
        (None, None) => Ok(Classifier::shipped(name)?),
        (None, Some(_)) => {
            Err(Failure::new(Kind::Input, "shipped networks know their scaling of pixels: leave it out"))
        }
    }
}

/// Sample X-rays: file name, class as labelled by doctors, and bytes.
#[pyfunction]
pub(crate) fn samples(py: Python<'_>) -> Vec<(&'static str, &'static str, Bound<'_, PyBytes>)> {
    shipped::SAMPLES.iter().map(|s| (s.name, s.truth, PyBytes::new(py, s.jpeg))).collect()
}

/// Shipped networks: name, summary and ONNX file.
#[pyfunction]
pub(crate) fn models(py: Python<'_>) -> Vec<(&'static str, &'static str, Bound<'_, PyBytes>)> {
    shipped::MODELS.iter().map(|m| (m.name, m.about, PyBytes::new(py, m.onnx))).collect()
}
