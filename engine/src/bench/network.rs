//! Times of a classifier's network on several devices, which all get the same keys and ciphertexts.

use crate::bench::operations::Measured;
use crate::bench::record::{Bytes, ClientTimes, Measurement, NetworkMeasurement, NetworkRecord};
use crate::bench::times::Times;
use crate::xray::{Classifier, ClassifyError};
use crate::{Device, Pipeline, PipelineError};
use ndarray::{ArrayD, Axis};
use pleura_ckks::{Ciphertext, EvaluationKeys};
use pleura_latent::Xray;
use pleura_nn::{Client, Fidelity, InferenceError, Plan};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Instant;

/// A network with the keys and ciphertexts of one X-ray.
pub struct NetworkBench<'a> {
    classifier: &'a Classifier,
    plan: &'a Plan,
    repeat: usize,
    client: Arc<Client>,
    keys: EvaluationKeys,
    sent: Vec<Ciphertext>,
    plaintext: ArrayD<f64>,
    times: ClientTimes,
    received: Option<Vec<Ciphertext>>,
}

impl<'a> NetworkBench<'a> {
    /// Makes keys, encrypts an X-ray, and measures both; each time is taken `repeat` times.
    ///
    /// # Errors
    /// [`ClassifyError::Xray`], [`ClassifyError::Inference`]
    pub fn new(
        classifier: &'a Classifier,
        plan: &'a Plan,
        xray: &Xray,
        repeat: usize,
    ) -> Result<Self, ClassifyError> {
        let compress = Times::of(repeat, || classifier.features(xray))?;
        let item = classifier.features(xray)?.values.insert_axis(Axis(0));
        let client = Client::new(plan.client_spec().clone())?;
        let clock = Instant::now();
        let keys = client.evaluation_keys()?;
        let key_times = Times::new(clock.elapsed().as_secs_f64(), []);
        let encrypt = Times::of(repeat, || client.encrypt(item.view()))?;
        Ok(Self {
            classifier,
            plan,
            repeat,
            sent: client.encrypt(item.view())?,
            plaintext: classifier.network().evaluate(item.view())?,
            client: Arc::new(client),
            keys,
            times: ClientTimes { compress, keys: Some(key_times), encrypt, decrypt: None },
            received: None,
        })
    }

    /// Measures inferences on a device.
    ///
    /// # Errors
    /// [`PipelineError`]
    pub fn measure(&mut self, device: &Device) -> Result<NetworkMeasurement, PipelineError> {
        let pipeline = Pipeline::with_client(self.plan, device, self.client.clone(), self.keys.clone())?;
        let received = pipeline.session().infer(&self.sent)?;
        let first = bytes(&received);
        let mut again = Vec::with_capacity(2 * self.repeat);
        let times = Times::of(self.repeat, || {
            pipeline.session().infer(&self.sent).map(|results| again.push(results))
        })?;
        let mut profiles = Vec::with_capacity(self.repeat);
        for _ in 0..self.repeat {
            let (results, layer_seconds) = pipeline.profile_ciphertexts(&self.sent, &mut |_| {})?;
            again.push(results);
            profiles.push(layer_seconds);
        }
        let inference = Measurement {
            nondeterministic: again.iter().any(|results| bytes(results) != first),
            ..Measured { times, runs: 1, digest: Sha256::digest(&first).into() }.into()
        };
        let unrounded = self.client.decrypt_unrounded(&received)?;
        let measurement = NetworkMeasurement {
            inference,
            prepare: Some(pipeline.times().keys),
            layers: (0..self.plan.report().layers.len())
                .map(|i| {
                    let mut all = profiles.iter().filter_map(|profile: &Vec<f64>| profile.get(i).copied());
                    all.next().map(|first| Times::new(first, all))
                })
                .collect(),
            peak_bytes: device.peak_memory_bytes(),
            bits: Some(Fidelity::new(self.plaintext.view(), unrounded.view()).bits),
        };
        self.received = Some(received);
        Ok(measurement)
    }

    /// The record of the network, with the results of the devices.
    ///
    /// # Errors
    /// [`InferenceError`]
    pub fn record(self, mut results: Vec<NetworkMeasurement>) -> Result<NetworkRecord, InferenceError> {
        let decrypt = match &self.received {
            Some(received) => Some(Times::of(self.repeat, || self.client.decrypt_unrounded(received))?),
            None => None,
        };
        let report = self.plan.report();
        let mut inferences: Vec<_> = results.iter_mut().map(|result| &mut result.inference).collect();
        Ok(NetworkRecord {
            name: self.classifier.name().to_owned(),
            parameters: report.parameters.clone(),
            bytes: Bytes {
                up: report.input_bytes,
                down: report.output_bytes,
                keys_sent: report.key_wire_bytes,
                keys_on_device: report.key_bytes,
                weights: report.weight_bytes,
                predicted_peak_bytes: report.predicted_peak_bytes,
            },
            client: ClientTimes { decrypt, ..self.times },
            layers: report.layers.iter().map(Into::into).collect(),
            identical: Measurement::compare(&mut inferences),
            results,
        })
    }
}

fn bytes(results: &[Ciphertext]) -> Vec<u8> {
    results.iter().flat_map(Ciphertext::to_bytes).collect()
}
