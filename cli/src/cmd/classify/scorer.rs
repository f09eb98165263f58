//! Source of scores: the network on ciphertexts, or the plaintext network.

use super::arguments::ClassifyArgs;
use super::unit::{Group, Prepared, Unit, interleaved};
use crate::classifier::Target;
use crate::latency::Latency;
use crate::memory::Groups;
use crate::row::{Row, Seconds};
use crate::stages::Crew;
use crate::text::{bytes_text, counted};
use crate::{classifier, device, outcome, terminal};
use anyhow::{Context, Error, Result};
use ndarray::{ArrayView1, Axis};
use pleura::ckks::Ciphertext;
use pleura::nn::{Fidelity, Plan, RangeViolation};
use pleura::xray::{Classifier, Features, Prediction, XrayPipeline};
use pleura::{Device, DeviceKind, StageTimes};
use std::sync::OnceLock;
use std::time::Instant;

/// Most X-rays that a plan is made for. With more, layouts of thousands of items may be chosen, which wait long for their first result.
const MAX_BATCH: usize = 64;
/// Comparing the layouts of a batch takes about as long as the inference of this many X-rays.
const MANY: usize = 128;
/// Seconds of an inference, in networks whose layouts take long to compare.
const COSTLY: f64 = 0.1;
/// Most X-rays of watched folders that a plan is made for.
const WATCHED: usize = 4;

/// Source of scores.
pub(super) enum Scorer {
    Plaintext(Classifier),
    Encrypted {
        pipeline: Box<XrayPipeline>,
        device: String,
        on_processor: bool,
        plan: Box<Plan>,
        /// How many times the first group is repeated.
        repeats: Option<usize>,
        /// Ciphertexts of the first group, if it is repeated.
        first: OnceLock<Vec<Ciphertext>>,
    },
}

impl Scorer {
    /// Compiles the classifier and makes keys for the device of the arguments, for `items` X-rays of which as many are worked on at a
    /// time as the crew has workers.
    pub(super) fn encrypted(
        classifier: Classifier,
        args: &ClassifyArgs,
        threads: usize,
        items: usize,
    ) -> Result<(Self, Crew)> {
        let device = args.device.find(threads)?;
        let clock = Instant::now();
        let target = Target { device: device.class(), threads };
        let plan = plan(&classifier, target, !args.no_cache, items, args.watching.watch)?;
        let group = plan.client_spec().items();
        let report = plan.report();
        let on_processor = device.kind() == DeviceKind::Cpu;
        let most = Groups::of(report, on_processor, args.memory.max_memory)?.most;
        // Repeated inferences have all threads.
        let groups = if args.repeat.is_some() { 1 } else { items.div_ceil(group) };
        let crew = Crew::new(threads, groups.min(most));
        let compile = clock.elapsed().as_secs_f64();
        let name = classifier.name().to_owned();
        // Cores that have an X-ray each do not share it.
        let place = if on_processor && crew.is_alone() { Device::cpu(Some(1)) } else { device.clone() };
        let pipeline = XrayPipeline::with_plan(classifier, &plan, &place)?;
        device::tell_fallback(&device);
        terminal::note(&format!(
            "{name}: n = 2^{}, {} levels, {} bits of security; evaluation keys {}, {} {} up and {} down; compiled in {compile:.2} s, \
             keys made in {:.2} s",
            report.parameters.log_n,
            report.parameters.levels,
            report.parameters.security,
            bytes_text(report.key_wire_bytes as u64),
            if group == 1 { "an X-ray".to_owned() } else { counted(group, "X-ray") },
            bytes_text(report.input_bytes as u64),
            bytes_text(report.output_bytes as u64),
            pipeline.pipeline().times().keys,
        ));
        let scorer = Self::Encrypted {
            pipeline: Box::new(pipeline),
            device: device.name(),
            on_processor,
            plan: Box::new(plan),
            repeats: args.repeat,
            first: OnceLock::new(),
        };
        Ok((scorer, crew))
    }

    pub(super) fn classifier(&self) -> &Classifier {
        match self {
            Self::Plaintext(classifier) => classifier,
            Self::Encrypted { pipeline, .. } => pipeline.classifier(),
        }
    }

    /// Name of the device.
    pub(super) fn device(&self) -> &str {
        match self {
            Self::Plaintext(_) => "none: plaintext",
            Self::Encrypted { device, .. } => device,
        }
    }

    /// Number of X-rays that share ciphertexts.
    pub(super) fn group(&self) -> usize {
        match self {
            Self::Plaintext(_) => 1,
            Self::Encrypted { pipeline, .. } => pipeline.group(),
        }
    }

    /// Whether inferences wait for a device that is no processor.
    pub(super) fn has_device(&self) -> bool {
        matches!(self, Self::Encrypted { on_processor: false, .. })
    }

    /// Encrypts a group. X-rays whose values are beyond what can be encrypted fail one by one.
    pub(super) fn encrypt(&self, mut group: Box<Group>) -> Vec<Unit> {
        let Self::Encrypted { pipeline, .. } = self else { return vec![Unit::Group(group)] };
        let clock = Instant::now();
        let features: Vec<&Features> = group.items.iter().map(|item| &item.features).collect();
        match pipeline.encrypt_group(&features) {
            Ok(sent) => {
                group.ciphertexts = sent;
                group.times.encrypt = clock.elapsed().as_secs_f64();
                vec![Unit::Group(group)]
            }
            Err(_) if group.items.len() > 1 => {
                let Group { items, others, .. } = *group;
                let items = items.into_iter().flat_map(|item| self.encrypt(Box::new(Group::new(vec![item]))));
                interleaved(items.collect(), others)
            }
            Err(error) => {
                let Group { items, others, .. } = *group;
                let error = Error::from(error);
                let failed = items.into_iter().zip(std::iter::once(error));
                interleaved(failed.map(|(item, error)| Unit::Failed(item.failure(error))).collect(), others)
            }
        }
    }

    /// Computes on the ciphertexts of a group.
    pub(super) fn infer(&self, mut group: Box<Group>) -> Result<Box<Group>> {
        if let Self::Encrypted { pipeline, repeats, first, .. } = self {
            if repeats.is_some() {
                first.get_or_init(|| group.ciphertexts.clone());
            }
            let clock = Instant::now();
            group.ciphertexts = pipeline.pipeline().session().infer(&group.ciphertexts)?;
            group.times.infer = clock.elapsed().as_secs_f64();
        }
        Ok(group)
    }

    /// Times of the first group, repeated, if that was asked for and there was one.
    pub(super) fn latency(&self) -> Result<Option<Latency>> {
        let Self::Encrypted { pipeline, repeats: Some(repeats), first, .. } = self else { return Ok(None) };
        let Some(sent) = first.get() else { return Ok(None) };
        Latency::of_repeats(*repeats, || Ok(pipeline.pipeline().session().infer(sent).map(drop)?))
    }

    /// Decrypts the results of a group, and compares them with the plaintext network: rows, and what lay between the X-rays.
    pub(super) fn rows(&self, group: Group) -> Result<Vec<Unit>> {
        let Group { items, others, ciphertexts, times } = group;
        let rows = self.rows_of(items, &ciphertexts, times)?;
        Ok(interleaved(rows.into_iter().map(|row| Unit::Row(Box::new(row))).collect(), others))
    }

    fn rows_of(
        &self,
        items: Vec<Prepared>,
        ciphertexts: &[Ciphertext],
        times: StageTimes,
    ) -> Result<Vec<Row>> {
        let Self::Encrypted { pipeline, plan, .. } = self else {
            return Ok(items.into_iter().map(|item| plaintext_row(self.classifier(), item)).collect());
        };
        let clock = Instant::now();
        let features: Vec<&Features> = items.iter().map(|item| &item.features).collect();
        let predictions = pipeline.decrypt_group(ciphertexts, &features)?;
        let share = 1.0 / items.len().max(1) as f64;
        let decrypt = clock.elapsed().as_secs_f64() * share;
        let classifier = pipeline.classifier();
        let network = classifier.network();
        let mut rows = Vec::with_capacity(items.len());
        for (mut item, prediction) in items.into_iter().zip(predictions) {
            let values: Vec<f64> = item.features.values.iter().copied().collect();
            let trace = network.trace(&values);
            item.warnings.extend(beyond_range(&item.name, &plan.violations_of(network, &trace)));
            let plaintext = trace.into_values().pop();
            let plaintext = plaintext.context("internal error: a network has no values; please report it")?;
            item.seconds.encrypt = times.encrypt * share;
            item.seconds.infer = times.infer * share;
            item.seconds.decrypt = decrypt;
            let Prediction { scores, unrounded, .. } = prediction;
            rows.push(row(classifier, item, scores, Some([plaintext, unrounded])));
        }
        Ok(rows)
    }
}

/// A sentence about values of the network far beyond those of calibration, if there are any.
fn beyond_range(name: &str, violations: &[RangeViolation]) -> Option<String> {
    let worst = violations.iter().max_by(|a, b| a.times().total_cmp(&b.times()))?;
    Some(format!(
        "{name}: values of the network are {:.0} times as large as those that it was calibrated for (at {}): scores are less \
         exact, and it knows few X-rays like this one",
        worst.times(),
        worst.node
    ))
}

/// The row of an X-ray with the scores of the plaintext network.
fn plaintext_row(classifier: &Classifier, item: Prepared) -> Row {
    let clock = Instant::now();
    let scores = classifier.evaluate(&item.features);
    let seconds = Seconds { infer: clock.elapsed().as_secs_f64(), ..item.seconds };
    row(classifier, Prepared { seconds, ..item }, scores, None)
}

/// The row of an X-ray with published scores; if they were computed on a ciphertext, with those of the plaintext network, and all digits.
fn row(classifier: &Classifier, item: Prepared, scores: Vec<f64>, encrypted: Option<[Vec<f64>; 2]>) -> Row {
    let Prepared { name, cell, is_lossy, digest, dicom, truth, seconds, mut warnings, thumbnail, .. } = item;
    let (plaintext, fidelity) = match encrypted {
        Some([plaintext, unrounded]) => {
            let expected = ArrayView1::from(&plaintext).insert_axis(Axis(0));
            let fidelity = Fidelity::new(expected, ArrayView1::from(&unrounded).insert_axis(Axis(0)));
            (plaintext, Some(fidelity))
        }
        None => (scores.clone(), None),
    };
    if fidelity.is_some_and(|f| f.bits < outcome::USELESS_BITS) {
        warnings.push(format!(
            "{name}: the encrypted scores differ from those of the network, because its values exceed the range of the plan"
        ));
    }
    Row {
        name,
        cell,
        is_lossy,
        digest,
        dicom,
        truth,
        label: classifier.label(&scores).to_owned(),
        probabilities: classifier.probabilities(&scores),
        plaintext_label: classifier.label(&plaintext).to_owned(),
        scores,
        fidelity,
        seconds,
        warnings,
        thumbnail,
    }
}

/// The plan for some X-rays. Layouts of batches are compared only if that takes less time than they save.
fn plan(classifier: &Classifier, target: Target, cached: bool, items: usize, watched: bool) -> Result<Plan> {
    let batch = batch(items, target.threads, watched);
    if batch > 1 && items < MANY {
        let single = classifier::plan(classifier, target, cached, 1)?;
        if single.report().predicted_seconds > COSTLY {
            return Ok(single);
        }
    }
    classifier::plan(classifier, target, cached, batch)
}

/// The number of X-rays that a plan is made for: a share for each thread, since a group for each core takes less time than shared limbs.
/// A power of two, so that the cache of plans holds few. Those of `watched` folders arrive a few at a time.
fn batch(items: usize, threads: usize, watched: bool) -> usize {
    let most = if watched { WATCHED } else { MAX_BATCH };
    1 << items.div_ceil(threads.max(1)).clamp(1, most).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_its_share_of_a_batch() {
        let batches = [1, 2, 3, 16, 400, usize::MAX].map(|items| batch(items, 2, false));
        assert_eq!(batches, [1, 1, 2, 8, 64, 64]);
        assert_eq!([1, usize::MAX].map(|items| batch(items, 1, true)), [1, 4]);
    }
}
