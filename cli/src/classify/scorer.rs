//! Source of scores: the network on ciphertexts, or the plaintext network.

use super::arguments::ClassifyArgs;
use super::unit::{Group, Prepared, Unit};
use crate::memory;
use crate::row::{Row, Seconds};
use crate::stages::Crew;
use crate::text::{bytes_text, counted};
use crate::{classifier, device, outcome, terminal};
use anyhow::Result;
use ndarray::{ArrayView1, Axis};
use pleura::nn::{Fidelity, Network, Plan, RangeViolation, Report};
use pleura::xray::{Classifier, Features, Prediction, XrayPipeline, grouping_pays};
use pleura::{Device, DeviceKind};
use std::time::Instant;

/// Source of scores.
pub(super) enum Scorer {
    Plaintext(Classifier),
    Encrypted {
        pipeline: Box<XrayPipeline>,
        device: String,
        on_processor: bool,
        plan: Box<Plan>,
        /// From which the plan was compiled.
        network: Box<Network>,
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
        let (plan, group) = plan(&classifier, threads, !args.no_cache, items, args.watching.watch)?;
        let report = plan.report();
        let fitting = memory::fitting(
            report.predicted_peak_bytes as u64,
            working_bytes(report),
            args.memory.max_memory,
        )?;
        let crew = Crew::new(threads, items.div_ceil(group).min(fitting));
        let compile = clock.elapsed().as_secs_f64();
        let name = classifier.name().to_owned();
        let network = Box::new(classifier.grouped_network(group)?);
        // Cores that have an X-ray each do not share it.
        let on_processor = device.kind() == DeviceKind::Cpu;
        let place = if on_processor && crew.is_alone() { Device::cpu(Some(1)) } else { device.clone() };
        let pipeline = XrayPipeline::with_plan(classifier, &plan, group, &place)?;
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
            network,
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
            Err(_) if group.items.len() > 1 => group
                .items
                .into_iter()
                .flat_map(|item| self.encrypt(Box::new(Group::new(vec![item]))))
                .collect(),
            Err(error) => {
                let mut failed = Vec::new();
                if let Some(item) = group.items.pop() {
                    failed.push(Unit::Failed(item.failure(error.into())));
                }
                failed
            }
        }
    }

    /// Computes on the ciphertexts of a group.
    pub(super) fn infer(&self, mut group: Box<Group>) -> Result<Box<Group>> {
        if let Self::Encrypted { pipeline, .. } = self {
            let clock = Instant::now();
            group.ciphertexts = pipeline.pipeline().session().infer(&group.ciphertexts)?;
            group.times.infer = clock.elapsed().as_secs_f64();
        }
        Ok(group)
    }

    /// Decrypts the results of a group, and compares them with the plaintext network.
    pub(super) fn rows(&self, group: Group) -> Result<Vec<Row>> {
        let Group { items, ciphertexts, times } = group;
        let Self::Encrypted { pipeline, plan, network, .. } = self else {
            return Ok(items.into_iter().map(|item| plaintext_row(self.classifier(), item)).collect());
        };
        let clock = Instant::now();
        let features: Vec<&Features> = items.iter().map(|item| &item.features).collect();
        let predictions = pipeline.decrypt_group(&ciphertexts, &features)?;
        let share = 1.0 / items.len().max(1) as f64;
        let decrypt = clock.elapsed().as_secs_f64() * share;
        let rows =
            items.into_iter().zip(predictions).map(|(mut item, prediction): (Prepared, Prediction)| {
                let packed = pipeline.classifier().pack(&[item.features.values.view()], pipeline.group());
                item.warnings
                    .extend(beyond_range(&item.name, &plan.range_violations(network, packed.view())));
                let seconds = Seconds {
                    encrypt: times.encrypt * share,
                    infer: times.infer * share,
                    decrypt,
                    ..item.seconds
                };
                let Prediction { scores, unrounded, .. } = prediction;
                row(pipeline.classifier(), Prepared { seconds, ..item }, scores, Some(unrounded))
            });
        Ok(rows.collect())
    }
}

/// A sentence about values of the network far beyond those of calibration, if there are any.
fn beyond_range(name: &str, violations: &[RangeViolation]) -> Option<String> {
    let times = |violation: &RangeViolation| violation.found / violation.calibrated;
    let worst = violations.iter().max_by(|a, b| times(a).total_cmp(&times(b)))?;
    Some(format!(
        "{name}: values of the network are {:.0} times as large as those that it was calibrated for (at {}): scores are less \
         exact, and it knows few X-rays like this one",
        times(worst),
        worst.node
    ))
}

/// Bytes that an inference takes beside keys and weights, about.
fn working_bytes(report: &Report) -> u64 {
    report.predicted_peak_bytes.saturating_sub(report.key_bytes + report.weight_bytes) as u64
}

/// The row of an X-ray with the scores of the plaintext network.
fn plaintext_row(classifier: &Classifier, item: Prepared) -> Row {
    let clock = Instant::now();
    let scores = classifier.evaluate(&item.features);
    let seconds = Seconds { infer: clock.elapsed().as_secs_f64(), ..item.seconds };
    row(classifier, Prepared { seconds, ..item }, scores, None)
}

/// The row of an X-ray with published scores, and scores with all their digits if they were computed on a ciphertext.
fn row(classifier: &Classifier, item: Prepared, scores: Vec<f64>, unrounded: Option<Vec<f64>>) -> Row {
    let Prepared { name, cell, is_lossy, digest, dicom, truth, features, seconds, mut warnings, .. } = item;
    let (plaintext, fidelity) = match unrounded {
        Some(unrounded) => {
            let plaintext = classifier.evaluate(&features);
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
    }
}

/// The plan for some X-rays, and how many of them share its ciphertexts: as many as fit, if that is cheaper for each. X-rays of
/// `watched` folders wait for no others.
fn plan(
    classifier: &Classifier,
    threads: usize,
    cached: bool,
    items: usize,
    watched: bool,
) -> Result<(Plan, usize)> {
    let single = classifier::plan(classifier, threads, cached, 1)?;
    let group = classifier.group_capacity(single.report());
    if group < 2 || items < group || watched {
        return Ok((single, 1));
    }
    let grouped = classifier::plan(classifier, threads, cached, group)?;
    let pays = grouping_pays(single.report(), grouped.report(), group);
    Ok(if pays { (grouped, group) } else { (single, 1) })
}
