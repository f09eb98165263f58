//! Chest X-rays: the classifier of [`pleura_xray`], and its pipeline on ciphertexts.

use crate::pipeline::timed;
use crate::{Device, Pipeline, PipelineError, StageTimes};
use ndarray::ArrayD;
use pleura_ckks::Ciphertext;
use pleura_latent::Xray;
use pleura_nn::{CompileError, CompileOptions, InferenceError, Plan};
pub use pleura_xray::*;

/// A classifier whose network runs on ciphertexts, client and server in one process.
pub struct XrayPipeline {
    classifier: Classifier,
    pipeline: Pipeline,
}

/// Scores of an X-ray, computed on ciphertexts.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Name of the class with the largest score.
    pub label: String,
    /// Probability of each class.
    pub probabilities: Vec<f64>,
    /// Score of each class as it may be shown to others.
    pub scores: Vec<f64>,
    /// Score of each class with all its digits, for the owner of the key alone.
    pub unrounded: Vec<f64>,
    /// Distance from the X-rays that the codec was trained on; above 1, scores mean little.
    pub ood_score: Option<f64>,
}

/// Why an X-ray has no prediction.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClassifyError {
    /// The X-ray cannot be prepared.
    #[error(transparent)]
    Xray(#[from] XrayError),
    /// The network cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The device cannot be used.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The inference failed.
    #[error(transparent)]
    Inference(#[from] InferenceError),
}

impl XrayPipeline {
    /// Compiles a plan for single X-rays and the class of the device, makes keys, and brings both to the device.
    ///
    /// # Errors
    /// [`ClassifyError`]
    pub fn new(classifier: Classifier, device: &Device) -> Result<Self, ClassifyError> {
        let options = CompileOptions { device: device.class(), ..classifier.compile_options(1)? };
        let plan = Plan::compile(classifier.network(), &options, &mut |_, _, _| ())?;
        Ok(Self::with_plan(classifier, &plan, device)?)
    }

    /// Makes keys and brings them to a device with a plan of [`Classifier::network`]. Its layout decides how many X-rays
    /// share ciphertexts.
    ///
    /// # Errors
    /// [`PipelineError`]
    pub fn with_plan(classifier: Classifier, plan: &Plan, device: &Device) -> Result<Self, PipelineError> {
        Ok(Self { pipeline: Pipeline::new(plan, device)?, classifier })
    }

    /// The classifier.
    pub fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// Client and server.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Number of X-rays that share ciphertexts.
    pub fn group(&self) -> usize {
        self.pipeline.client().spec().items()
    }

    /// Classifies an X-ray on ciphertexts.
    ///
    /// # Errors
    /// [`ClassifyError::Xray`], [`ClassifyError::Inference`]
    pub fn classify(&self, xray: &Xray) -> Result<Prediction, ClassifyError> {
        let features = self.classifier.features(xray)?;
        let (mut predictions, _) = self.classify_group(&[&features])?;
        Ok(predictions.remove(0))
    }

    /// Classifies X-rays, [`XrayPipeline::group`] of which share ciphertexts; the seconds are those of all of them.
    ///
    /// # Errors
    /// [`InferenceError`]
    pub fn classify_group(
        &self,
        group: &[&Features],
    ) -> Result<(Vec<Prediction>, StageTimes), InferenceError> {
        let mut times = StageTimes::default();
        let sent = timed(&mut times.encrypt, || self.encrypt_group(group))?;
        let received = timed(&mut times.infer, || self.pipeline.session().infer(&sent))?;
        let predictions = timed(&mut times.decrypt, || self.decrypt_group(&received, group))?;
        Ok((predictions, times))
    }

    /// The ciphertexts of X-rays, [`XrayPipeline::group`] of which share them: the first stage of
    /// [`XrayPipeline::classify_group`], before the session's inference. Stages of different groups may run at the same
    /// time.
    ///
    /// # Errors
    /// [`InferenceError`]
    pub fn encrypt_group(&self, group: &[&Features]) -> Result<Vec<Ciphertext>, InferenceError> {
        let shape = self.classifier.network().input_shape();
        let mut items = ArrayD::zeros([&[group.len()], shape].concat());
        for (mut item, features) in items.outer_iter_mut().zip(group) {
            if features.values.shape() != shape {
                let got = features.values.shape().to_vec();
                return Err(InferenceError::ItemShape { expected: shape.to_vec(), got });
            }
            item.assign(&features.values);
        }
        self.pipeline.client().encrypt(items.view())
    }

    /// The predictions for a group of X-rays of the ciphertexts that the session returned for it.
    ///
    /// # Errors
    /// [`InferenceError`]
    pub fn decrypt_group(
        &self,
        received: &[Ciphertext],
        group: &[&Features],
    ) -> Result<Vec<Prediction>, InferenceError> {
        let client = self.pipeline.client();
        let published = scores(&client.publish(received)?);
        let unrounded = scores(&client.decrypt_unrounded(received)?);
        if published.len() < group.len() {
            return Err(InferenceError::Internal("a group has fewer results than X-rays"));
        }
        let predictions =
            published.into_iter().zip(unrounded).zip(group).map(|((scores, unrounded), features)| {
                Prediction {
                    label: self.classifier.label(&scores).to_owned(),
                    probabilities: self.classifier.probabilities(&scores),
                    scores,
                    unrounded,
                    ood_score: features.ood_score,
                }
            });
        Ok(predictions.collect())
    }
}

/// Scores of each item of `[items, ..output shape]`, in row-major order.
fn scores(results: &ArrayD<f64>) -> Vec<Vec<f64>> {
    results.outer_iter().map(|item| item.iter().copied().collect()).collect()
}
