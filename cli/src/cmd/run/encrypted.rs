//! Items on ciphertexts in stages that overlap: encryption, inference, and decryption beside the plaintext network.

use super::checks::{Checks, Findings};
use crate::latency::Latency;
use crate::stages::Crew;
use crate::{device, files};
use anyhow::{Context, Result, anyhow};
use indicatif::ProgressBar;
use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn};
use pleura::ckks::Ciphertext;
use pleura::nn::Plan;
use pleura::{Device, DeviceKind, Outcome, Pipeline, StageTimes};
use std::thread;
use std::time::Instant;

/// Results of all items.
pub(super) struct EncryptedRun {
    /// Seconds of each stage, added up over all groups.
    pub(super) times: StageTimes,
    /// Seconds from the first encryption to the last result.
    pub(super) elapsed: f64,
    pub(super) layer_seconds: Vec<f64>,
    /// Times of the first group, repeated.
    pub(super) latency: Option<Latency>,
    /// `[items, ..output shape]`, as they may be shown.
    pub(super) published: ArrayD<f64>,
    /// `[items, ..output shape]`, with all digits.
    pub(super) unrounded: ArrayD<f64>,
    /// `[items, ..output shape]` of the plaintext network.
    pub(super) plaintext: ArrayD<f64>,
    pub(super) findings: Findings,
}

/// Items that share ciphertexts, between two stages.
struct Group<'a> {
    items: ArrayViewD<'a, f64>,
    ciphertexts: Vec<Ciphertext>,
    times: StageTimes,
    layer_seconds: Vec<f64>,
}

/// Results of a group.
struct GroupResult {
    outcome: Outcome,
    /// `[items, values]` of the plaintext network, row by row.
    plaintext: Vec<f64>,
    findings: Findings,
}

impl EncryptedRun {
    /// Runs `items` on ciphertexts and in the plaintext network; `repeat` inferences of the first group are timed.
    pub(super) fn new(
        plan: &Plan,
        device: &Device,
        crew: &Crew,
        checks: &Checks<'_>,
        items: ArrayViewD<'_, f64>,
        repeat: Option<usize>,
    ) -> Result<Self> {
        let layers = plan.report().layers.len();
        let bar = crate::progress::bar().with_prefix("keys");
        let group = plan.client_spec().items();
        bar.set_length((items.len_of(Axis(0)).div_ceil(group) * layers) as u64);
        bar.tick();
        // Cores that have a group each do not share it.
        let on_processor = device.kind() == DeviceKind::Cpu;
        let place = if on_processor && crew.is_alone() { Device::cpu(Some(1)) } else { device.clone() };
        let pipeline = Pipeline::new(plan, &place)?;
        bar.suspend(|| device::tell_fallback(device));
        bar.set_prefix("infer");
        let clock = Instant::now();
        let results =
            Stages { pipeline: &pipeline, crew, checks, on_processor, bar: &bar }.all(&items, group)?;
        let elapsed = clock.elapsed().as_secs_f64();
        bar.finish_and_clear();
        let first = items.axis_chunks_iter(Axis(0), group).next();
        let latency = match (repeat, first) {
            (Some(repeats), Some(items)) => latency(&pipeline, items, repeats)?,
            _ => None,
        };
        files::on_interruption(None);
        Self::of(results, *pipeline.times(), layers, elapsed, latency)
    }

    /// Results of all groups together.
    fn of(
        results: Vec<GroupResult>,
        mut times: StageTimes,
        layers: usize,
        elapsed: f64,
        latency: Option<Latency>,
    ) -> Result<Self> {
        let mut layer_seconds = vec![0.0; layers];
        let mut findings = Findings::default();
        let mut plaintext = Vec::new();
        for result in &results {
            times += result.outcome.times;
            layer_seconds
                .iter_mut()
                .zip(&result.outcome.layer_seconds)
                .for_each(|(sum, seconds)| *sum += seconds);
            findings.add(&result.findings);
            plaintext.extend_from_slice(&result.plaintext);
        }
        let published = stack(results.iter().map(|result| result.outcome.published.view()))?;
        let unrounded = stack(results.iter().map(|result| result.outcome.unrounded.view()))?;
        let plaintext = ArrayD::from_shape_vec(IxDyn(unrounded.shape()), plaintext);
        let plaintext = plaintext.map_err(|_| {
            anyhow!("internal error: the plaintext network has results of another shape; please report it")
        })?;
        Ok(Self { times, elapsed, layer_seconds, latency, published, unrounded, plaintext, findings })
    }
}

/// The stages of a run.
struct Stages<'a> {
    pipeline: &'a Pipeline,
    crew: &'a Crew,
    checks: &'a Checks<'a>,
    on_processor: bool,
    bar: &'a ProgressBar,
}

impl Stages<'_> {
    /// Results of groups of `group` items in their order.
    fn all(&self, items: &ArrayViewD<'_, f64>, group: usize) -> Result<Vec<GroupResult>> {
        let Self { crew, bar, .. } = *self;
        let count = items.len_of(Axis(0));
        thread::scope(|scope| {
            let groups = items.axis_chunks_iter(Axis(0), group).map(Ok);
            let workers = crew.start(scope);
            let encrypted = workers.stage(groups, |items| self.encrypt(items));
            let infer = |group| self.infer(group);
            let inferred = match self.on_processor {
                true => workers.stage(encrypted, infer),
                false => workers.device_stage(encrypted, infer),
            };
            let decrypted = workers.stage(inferred, |group| self.decrypt(group));
            let mut results = Vec::new();
            let mut done = 0;
            for result in decrypted {
                let result: GroupResult = result?;
                done += result.outcome.unrounded.len_of(Axis(0));
                bar.set_message(format!("{done} of {count} items"));
                files::on_interruption(Some(format!(
                    "{done} of {count} items were done; nothing was written, as results are written together"
                )));
                results.push(result);
            }
            Ok(results)
        })
    }

    fn encrypt<'i>(&self, items: ArrayViewD<'i, f64>) -> Result<Group<'i>> {
        let clock = Instant::now();
        let ciphertexts = self.pipeline.client().encrypt(items.view())?;
        let times = StageTimes { encrypt: clock.elapsed().as_secs_f64(), ..StageTimes::default() };
        Ok(Group { items, ciphertexts, times, layer_seconds: Vec::new() })
    }

    fn infer<'i>(&self, mut group: Group<'i>) -> Result<Group<'i>> {
        let clock = Instant::now();
        (group.ciphertexts, group.layer_seconds) =
            self.pipeline.profile_ciphertexts(&group.ciphertexts, &mut |_| self.bar.inc(1))?;
        group.times.infer = clock.elapsed().as_secs_f64();
        Ok(group)
    }

    fn decrypt(&self, group: Group<'_>) -> Result<GroupResult> {
        let Group { items, ciphertexts, times, layer_seconds } = group;
        let mut outcome = self.pipeline.decrypt(&ciphertexts, items.len_of(Axis(0)))?;
        outcome.times += times;
        outcome.layer_seconds = layer_seconds;
        let mut findings = Findings::default();
        let mut plaintext = Vec::new();
        for item in items.outer_iter() {
            plaintext.extend(self.checks.evaluate(item, &mut findings)?);
        }
        Ok(GroupResult { outcome, plaintext, findings })
    }
}

/// Times of inferences of the same ciphertexts: upload, computation and download.
fn latency(pipeline: &Pipeline, items: ArrayViewD<'_, f64>, repeats: usize) -> Result<Option<Latency>> {
    let sent = pipeline.client().encrypt(items)?;
    Latency::of_repeats(repeats, || Ok(pipeline.session().infer(&sent).map(drop)?))
}

/// Arrays one after the other along the batch axis.
fn stack<'a>(parts: impl Iterator<Item = ArrayViewD<'a, f64>>) -> Result<ArrayD<f64>> {
    let views: Vec<_> = parts.collect();
    ndarray::concatenate(Axis(0), &views).context("results of items differ in shape")
}
