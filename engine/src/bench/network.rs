//! Times of a classifier's network on several devices, which all get the same keys and ciphertexts.

use crate::bench::facts::SampleScores;
use crate::bench::operations::Measured;
use crate::bench::record::{Bytes, ClientTimes, Measurement, NetworkMeasurement, NetworkRecord};
use crate::bench::times::Times;
use crate::xray::{Classifier, ClassifyError};
use crate::{Device, Pipeline, PipelineError};
use ndarray::{ArrayD, Axis, Slice};
use pleura_ckks::{Ciphertext, EvaluationKeys};
use pleura_nn::{Client, Fidelity, InferenceError, Plan};
use pleura_xray::{Features, shipped};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Shortest time in which energy is counted: meters are read a few times a second.
const METERED: Duration = Duration::from_secs(1);

/// A meter of energy.
pub trait Meter {
    /// Begins to count.
    fn start(&mut self);

    /// Joules since the last start; `None` if the platform does not measure them.
    fn stop(&mut self) -> Option<f64>;
}

/// A network with the keys and ciphertexts of sample X-rays.
pub struct NetworkBench<'a> {
    classifier: &'a Classifier,
    plan: &'a Plan,
    group: usize,
    repeat: usize,
    samples: Vec<(&'static shipped::Sample, Features)>,
    scores: Vec<SampleScores>,
    client: Arc<Client>,
    keys: EvaluationKeys,
    sent: Vec<Ciphertext>,
    plaintext: ArrayD<f64>,
    times: ClientTimes,
    received: Option<Vec<Ciphertext>>,
}

impl<'a> NetworkBench<'a> {
    /// Makes keys, encrypts a group of sample X-rays, and measures both; each time is taken `repeat` times. The plan is of groups of
    /// `group` X-rays. Scores of the first `samples` sample X-rays are compared with those of the plaintext network.
    ///
    /// # Errors
    /// [`ClassifyError::Xray`], [`ClassifyError::Inference`]
    pub fn new(
        classifier: &'a Classifier,
        plan: &'a Plan,
        group: usize,
        samples: usize,
        repeat: usize,
    ) -> Result<Self, ClassifyError> {
        let mut found = Vec::new();
        for sample in shipped::SAMPLES.iter().take(samples.max(1)) {
            found.push((sample, classifier.features(&sample.xray()?)?));
        }
        let xray = found.first().map_or(&shipped::SAMPLES[0], |(sample, _)| *sample).xray()?;
        let compress = Times::of(repeat, || classifier.features(&xray))?;
        let items: Vec<_> = found.iter().map(|(_, features)| features).cycle().take(group).collect();
        let item = stacked(&items, classifier);
        let client = Client::new(plan.client_spec().clone())?;
        let clock = Instant::now();
        let keys = client.evaluation_keys()?;
        let key_times = Times::new(clock.elapsed().as_secs_f64(), []);
        let encrypt = Times::of(repeat, || client.encrypt(item.view()))?.per_item(group);
        Ok(Self {
            classifier,
            plan,
            group,
            repeat,
            samples: if samples == 0 { Vec::new() } else { found },
            scores: Vec::new(),
            sent: client.encrypt(item.view())?,
            plaintext: classifier.network().evaluate(item.view())?,
            client: Arc::new(client),
            keys,
            times: ClientTimes { compress, keys: Some(key_times), encrypt, decrypt: None },
            received: None,
        })
    }

    /// Measures inferences on a device; their energy too if there is a meter, which takes a second more.
    ///
    /// # Errors
    /// [`PipelineError`]
    pub fn measure(
        &mut self,
        device: &Device,
        meter: Option<Box<dyn Meter>>,
    ) -> Result<NetworkMeasurement, PipelineError> {
        let pipeline = Pipeline::with_client(self.plan, device, self.client.clone(), self.keys.clone())?;
        let clock = Instant::now();
        let received = pipeline.session().infer(&self.sent)?;
        let first_seconds = clock.elapsed().as_secs_f64();
        let first = bytes(&received);
        let mut again = Vec::with_capacity(2 * self.repeat);
        let times = Times::of(self.repeat, || {
            pipeline.session().infer(&self.sent).map(|results| again.push(results))
        })?;
        let times = times.per_item(self.group);
        let joules = match meter {
            Some(mut meter) => self.joules(&pipeline, meter.as_mut())?,
            None => None,
        };
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
        let mut unrounded = self.client.decrypt_unrounded(&received)?;
        // A group that lacks items is filled up with copies of the last one.
        unrounded.slice_axis_inplace(Axis(0), Slice::from(..self.group.min(unrounded.len_of(Axis(0)))));
        let measurement = NetworkMeasurement {
            inference,
            open: None,
            prepare: Some(pipeline.times().keys),
            first: Some(first_seconds),
            layers: (0..self.plan.report().layers.len())
                .map(|i| {
                    let mut all = profiles.iter().filter_map(|profile: &Vec<f64>| profile.get(i).copied());
                    all.next().map(|first| Times::new(first, all))
                })
                .collect(),
            peak_bytes: device.peak_memory_bytes(),
            bits: Some(Fidelity::new(self.plaintext.view(), unrounded.view()).bits),
            joules,
            kernels: Vec::new(),
        };
        self.received = Some(received);
        if self.scores.is_empty() {
            self.scores = self.compare_scores(&pipeline)?;
        }
        Ok(measurement)
    }

    /// Joules of an inference of one item.
    fn joules(&self, pipeline: &Pipeline, meter: &mut dyn Meter) -> Result<Option<f64>, InferenceError> {
        let clock = Instant::now();
        let mut groups = 0;
        meter.start();
        while clock.elapsed() < METERED {
            pipeline.session().infer(&self.sent)?;
            groups += 1;
        }
        Ok(meter.stop().map(|joules| joules / (groups * self.group) as f64))
    }

    /// Scores of the sample X-rays, encrypted and of the plaintext network.
    fn compare_scores(&self, pipeline: &Pipeline) -> Result<Vec<SampleScores>, PipelineError> {
        let mut all = Vec::new();
        for group in self.samples.chunks(self.group) {
            let items: Vec<_> = group.iter().map(|(_, features)| features).collect();
            let sent = self.client.encrypt(stacked(&items, self.classifier).view())?;
            let published = self.client.publish(&pipeline.session().infer(&sent)?)?;
            let scores = published.outer_iter().map(|item| item.iter().copied().collect::<Vec<f64>>());
            all.extend(group.iter().zip(scores).map(|((sample, features), decrypted)| SampleScores {
                name: sample.name.to_owned(),
                truth: sample.truth.to_owned(),
                plaintext: self.classifier.evaluate(features),
                probabilities: self.classifier.probabilities(&decrypted),
                decrypted,
            }));
        }
        Ok(all)
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
            batch: self.group,
            parameters: report.parameters.clone(),
            bytes: Bytes {
                up: report.input_bytes,
                down: report.output_bytes,
                keys_sent: report.key_wire_bytes,
                keys_on_device: report.key_bytes,
                weights: report.weight_bytes,
                predicted_peak_bytes: report.predicted_peak_bytes,
            },
            client: ClientTimes { decrypt: decrypt.map(|times| times.per_item(self.group)), ..self.times },
            layers: report.layers.iter().map(Into::into).collect(),
            identical: Measurement::compare(&mut inferences),
            results,
            classes: self.classifier.classes().to_vec(),
            samples: self.scores,
        })
    }
}

/// Inputs of X-rays as one array, `[items, ..input shape]`.
fn stacked(items: &[&Features], classifier: &Classifier) -> ArrayD<f64> {
    let mut stacked = ArrayD::zeros([&[items.len()], classifier.network().input_shape()].concat());
    for (mut place, features) in stacked.outer_iter_mut().zip(items) {
        place.assign(&features.values);
    }
    stacked
}

fn bytes(results: &[Ciphertext]) -> Vec<u8> {
    results.iter().flat_map(Ciphertext::to_bytes).collect()
}
