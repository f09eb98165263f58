//! `pleura compare`: methods of private classification on the same X-rays, with costs and attacks.

mod method;
mod page;

use crate::classifier::{self, Target};
use crate::clock::timed;
use crate::cmd::baseline::arguments::{ImagesArgs, side};
use crate::cmd::baseline::images::{self, Image, decibels};
use crate::cmd::baseline::layer::Layer;
use crate::cmd::baseline::morph::run_on;
use crate::cmd::baseline::paillier::leakage::{labels, measure};
use crate::cmd::baseline::paillier::linear::LinearOutcome;
use crate::cmd::baseline::paillier::published::{self, KINDS};
use crate::cmd::compare::method::{Method, PAIRED, Protection, TRAINED};
use crate::cmd::compare::page::page;
use crate::device::{self, DeviceArgs};
use crate::model::all_cores;
use crate::report::{Forms, ReportArgs};
use crate::statistics::{accuracy_text, auc_text};
use crate::table::{self, Table};
use crate::text::bytes_text;
use crate::{files, sources, terminal};
use anyhow::{Context, Result};
use clap::Args;
use indicatif::ProgressBar;
use ndarray::ArrayView1;
use pleura::baselines::mole::Developer;
use pleura::baselines::paillier::{LinearSeconds, Randomness, SecretKey};
use pleura::baselines::psnr;
use pleura::nn::label;
use pleura::xray::metrics::{BinaryMetrics, Estimate};
use pleura::xray::shipped::MODELS;
use pleura::xray::{Classifier, XrayPipeline};
use serde_json::json;
use std::path::PathBuf;

/// Bits of Paillier's modulus.
const PAILLIER_BITS: u32 = 2048;

/// Result of observing plaintext latents.
const AS_KEPT: &str = "the X-ray, as the codec keeps it";

/// Arguments of `pleura compare`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura compare
  pleura compare --html compare.html
  pleura compare ward/ --json --output compare.json

Labels are known for the samples, and for images in folders named normal and pneumonia.
Seconds are for one X-ray, on this machine; setup (keys, plans, the augmented
convolution) is separate. Server seconds are those of a whole network; compare MpLe's with
the plain network of the same name. Intervals are of 95 %. Each method is attacked by an
observer of the server.

Paillier as published is there with each kind of randomness: fresh for each pixel, one for each
image, one for all. No network is shipped for it: labels are those of ridge regression on the
stored pictures, as in `pleura baseline paillier leak`, which says more. Recovered pictures are by
the best of its three attacks; labels are then those of the same regression on what the affine
attack recovers.")]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    images: ImagesArgs,

    /// HTML file for a page with pictures.
    #[arg(long, value_name = "F.html")]
    html: Option<PathBuf>,

    #[command(flatten)]
    report: ReportArgs,

    /// Side of the pictures that Paillier encrypts pixel by pixel.
    #[arg(long, value_name = "PIXELS", default_value_t = 32, value_parser = side())]
    side: usize,

    #[command(flatten)]
    pub(crate) device: DeviceArgs,

    /// Replace files that exist.
    #[arg(long)]
    force: bool,
}

/// Measures all methods, and reports.
pub(crate) fn compare(args: &CompareArgs) -> Result<()> {
    let places: Vec<&PathBuf> = [args.html.as_ref(), args.report.file()].into_iter().flatten().collect();
    files::check_outputs(&places, sources::files(&args.images.images), args.force)?;
    let images = images::load(&args.images.images)?;
    let bar = crate::progress::clock().with_prefix("compare");
    bar.set_length((4 + KINDS.len() * images.len()) as u64);
    let mut methods = Vec::new();
    let classifier = classifier::load(MODELS[0].name)?;
    methods.push(plain(&classifier, &images)?);
    bar.inc(1);
    methods.extend(morphed(&images)?);
    bar.inc(1);
    let learnable = labels(&images);
    for randomness in KINDS {
        methods.push(published(&images, learnable.as_deref(), args.side, randomness, &bar)?);
    }
    bar.set_message("");
    methods.push(linear(&images)?);
    bar.inc(1);
    methods.push(latent(classifier, &images, &args.device)?);
    bar.finish_and_clear();
    let first: Vec<u8> =
        images.first().map(|image| image.xray.pixels().into_iter().collect()).unwrap_or_default();
    let labelled = images.iter().filter(|image| image.sick.is_some()).count();
    if let Some(path) = &args.html {
        let html = page(&methods, &first, images.len(), labelled, args.side)?;
        files::write(path, &[html.as_bytes()], args.force, false)?;
    }
    let report = Methods { methods, count: images.len(), labelled, side: args.side };
    args.report.publish(&report, args.force)
}

/// Methods that were measured.
struct Methods {
    methods: Vec<Method>,
    /// Number of X-rays.
    count: usize,
    labelled: usize,
    side: usize,
}

impl Forms for Methods {
    fn tables(&self) -> String {
        let given = protections(&self.methods);
        format!("{}\n{given}\n{}", costs(&self.methods), self.remarks())
    }

    fn json(&self) -> Result<String> {
        let Self { methods, count, labelled, side } = self;
        let value = json!({ "images": count, "labelled": labelled, "side": side, "methods": methods });
        terminal::json("compare", &value)
    }

    fn markdown(&self) -> String {
        let given = protections(&self.methods).markdown();
        format!("{}\n{given}\n{}", costs(&self.methods).markdown(), self.remarks())
    }

    fn csv(&self) -> Result<String> {
        const HEAD: [&str; 10] = [
            "method",
            "accuracy",
            "auc",
            "client_s",
            "server_s",
            "setup_s",
            "bytes",
            "setup_bytes",
            "protection",
            "attack_recovers",
        ];
        let rows = self.methods.iter().map(|method| {
            let optional = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
            vec![
                method.name.to_owned(),
                optional(method.quality.accuracy.map(|accuracy| accuracy.value)),
                optional(method.quality.auc.map(|auc| auc.value)),
                method.client_seconds.to_string(),
                optional(method.server_seconds),
                method.setup_seconds.to_string(),
                method.bytes.to_string(),
                method.setup_bytes.to_string(),
                method.protection.text().to_owned(),
                method.attack_result.clone(),
            ]
        });
        table::csv(std::iter::once(HEAD.map(str::to_owned).to_vec()).chain(rows))
    }
}

impl Methods {
    fn remarks(&self) -> String {
        let Self { count, labelled, .. } = self;
        format!(
            "{count} X-rays, {labelled} with known labels; intervals of 95 %. {PAIRED}\n{TRAINED}\nNot a medical device.\n"
        )
    }
}

/// Accuracy, times and sizes.
fn costs(methods: &[Method]) -> Table {
    let mut table =
        Table::new(1, ["", "accuracy", "AUC", "client s", "server s", "setup s", "bytes", "setup"]);
    for method in methods {
        table.row([
            method.name.to_owned(),
            accuracy_text(&method.quality),
            auc_text(&method.quality),
            format!("{:.4}", method.client_seconds),
            method.server_seconds.map_or_else(|| "-".into(), |s| format!("{s:.4}")),
            format!("{:.2}", method.setup_seconds),
            bytes_text(method.bytes),
            bytes_text(method.setup_bytes),
        ]);
    }
    table
}

/// Protection and its assumption.
fn protections(methods: &[Method]) -> Table {
    let mut given = Table::new(4, ["", "protection", "attack recovers", "assumption"]);
    for method in methods {
        let protection = method.protection.text().to_owned();
        given.row([
            method.name.to_owned(),
            protection,
            method.attack_result.clone(),
            method.assumption.to_owned(),
        ]);
    }
    given
}

fn plain(classifier: &Classifier, images: &[Image]) -> Result<Method> {
    let mut client = 0.0;
    let mut server = 0.0;
    let features = timed(&mut client, || features(classifier, images))?;
    let scores: Vec<Vec<f64>> =
        timed(&mut server, || features.iter().map(|item| classifier.network().evaluate_flat(item)).collect());
    let each = images.len().max(1) as f64;
    Ok(Method {
        name: "plain",
        about: format!("network {} on plaintext latents", classifier.name()),
        quality: quality(images, &scores),
        client_seconds: client / each,
        server_seconds: Some(server / each),
        setup_seconds: 0.0,
        bytes: features.first().map_or(0, |item| 4 * item.len() as u64),
        setup_bytes: 0,
        attack_result: AS_KEPT.into(),
        assumption: "the server is trusted",
        protection: Protection::Clear,
        picture: reconstructed(classifier, images)?,
    })
}

/// hefNet on plaintext, and behind an augmented convolution: one network, computed by the same means.
fn morphed(images: &[Image]) -> Result<[Method; 2]> {
    let layer = Layer::load("pneumonia-hefnet")?;
    let shape = *layer.first.shape();
    let mut client = 0.0;
    let features = timed(&mut client, || {
        images.iter().map(|image| layer.features(image)).collect::<Result<Vec<_>, _>>()
    })?;
    let outcome = run_on(&layer, shape.default_blocks(), &features, &ProgressBar::hidden())?;
    let mut attack = 0.0;
    let recovered = timed(&mut attack, || {
        Developer::attack(&layer.first, &outcome.augmented).and_then(|found| found.recover(&outcome.morphed))
    })?;
    let of = |features: Option<&[f64]>| features.map(|f| layer.picture(f)).transpose();
    let picture = of(recovered.chunks(shape.inputs()).next())?;
    let original: Option<Vec<f64>> = features.first().map(|f| f.iter().map(|&x| f64::from(x)).collect());
    let quality_of = picture.as_ref().zip(of(original.as_deref())?.as_ref()).map(|(a, b)| psnr(b, a));
    let seconds = &outcome.seconds;
    let each = images.len().max(1) as f64;
    let plain = Method {
        name: "plain, hefNet",
        about: "network pneumonia-hefnet on plaintext latents".into(),
        quality: quality(images, &outcome.plain_scores),
        client_seconds: client / each,
        server_seconds: Some(seconds.plain_server() / each),
        setup_seconds: 0.0,
        bytes: 4 * shape.inputs() as u64,
        setup_bytes: 0,
        attack_result: AS_KEPT.into(),
        assumption: "the server is trusted",
        protection: Protection::Clear,
        picture: of(original.as_deref())?,
    };
    let morphed = Method {
        name: "MpLe, hefNet",
        about: "network pneumonia-hefnet on latents, its first layer behind an augmented convolution".into(),
        quality: quality(images, &outcome.scores),
        client_seconds: (client + seconds.morph) / each,
        server_seconds: Some(seconds.server() / each),
        setup_seconds: seconds.keygen + seconds.augment,
        bytes: outcome.costs.morphed_bytes,
        setup_bytes: outcome.costs.augmented_bytes,
        attack_result: format!(
            "{} of it, in {attack:.2} s for all",
            quality_of.map_or_else(String::new, decibels)
        ),
        assumption: "the attacker solves no linear equations",
        protection: Protection::Recoverable,
        picture,
    };
    Ok([plain, morphed])
}

fn published(
    images: &[Image],
    labels: Option<&[bool]>,
    side: usize,
    randomness: Randomness,
    bar: &ProgressBar,
) -> Result<Method> {
    let plain: Vec<Vec<u8>> = images.iter().map(|image| images::small(&image.xray, side)).collect();
    let mut once = 0.0;
    let key = timed(&mut once, || SecretKey::generate(PAILLIER_BITS))?;
    let arm = measure(key.public(), &plain, labels, randomness, bar)?;
    let information = arm.information.beyond_chance();
    let best = arm.best();
    let found =
        best.map_or_else(String::new, |best| format!("{} by {}", decibels(best.psnr), best.attack.name()));
    let opened = |accuracy: Estimate| format!(", labels {:.0} %", 100.0 * accuracy.value);
    let opened = published::quality(arm.recovered_labels).accuracy.map_or_else(String::new, opened);
    let name = match randomness {
        Randomness::Fresh => "Paillier, published, fresh r",
        Randomness::PerImage => "Paillier, published, r an image",
        Randomness::Fixed => "Paillier, published, one r",
    };
    let (recovered, assumption, protection) = match randomness {
        Randomness::Fresh if information == 0.0 => (
            "nothing: no more bits than chance".to_owned(),
            "composite residuosity; stored levels are noise",
            Protection::Encrypted,
        ),
        Randomness::Fresh => (
            format!("{information:.2} bits, more than chance"),
            "composite residuosity; stored levels are noise",
            Protection::Encrypted,
        ),
        _ => (
            format!("{information:.1} bits, {found}{opened}"),
            "the attacker compares no pixels",
            Protection::Recoverable,
        ),
    };
    Ok(Method {
        name,
        about: format!(
            "each of {side}x{side} pixels encrypted and stored as a grey level; the ciphertexts are {}{}",
            bytes_text((side * side * key.public().ciphertext_bytes()) as u64),
            if labels.is_some() { "; labelled by ridge regression on the other stored pictures" } else { "" }
        ),
        quality: published::quality(arm.labels),
        client_seconds: arm.seconds / images.len().max(1) as f64,
        server_seconds: None,
        setup_seconds: once,
        bytes: (side * side) as u64,
        setup_bytes: 0,
        attack_result: recovered,
        assumption,
        protection,
        picture: best.map(|best| best.picture.clone()),
    })
}

fn linear(images: &[Image]) -> Result<Method> {
    let classifier = classifier::load("pneumonia-linear")?;
    let mut client = 0.0;
    let features = timed(&mut client, || features(&classifier, images))?;
    let outcome = LinearOutcome::of(classifier.network(), &features, PAILLIER_BITS)?;
    let LinearSeconds { keygen, encrypt, evaluate, decrypt } = outcome.run.seconds;
    let each = images.len().max(1) as f64;
    Ok(Method {
        name: "Paillier, linear",
        about: format!(
            "logistic regression on encrypted latents; groups of X-rays that share ciphertexts: {}",
            outcome.run.groups
        ),
        quality: quality(images, &outcome.scores()),
        client_seconds: (client + encrypt + decrypt) / each,
        server_seconds: Some(evaluate / each),
        setup_seconds: keygen,
        bytes: (outcome.run.sent_bytes + outcome.run.returned_bytes) / images.len().max(1) as u64,
        setup_bytes: u64::from(PAILLIER_BITS / 8) * 3,
        attack_result: "nothing known".into(),
        assumption: "composite residuosity, short powers",
        protection: Protection::Encrypted,
        picture: None,
    })
}

fn latent(classifier: Classifier, images: &[Image], device: &DeviceArgs) -> Result<Method> {
    let device = device.find(all_cores())?;
    let mut setup_seconds = 0.0;
    let target = Target { device: device.class(), threads: all_cores() };
    let plan = timed(&mut setup_seconds, || classifier::plan(&classifier, target, true, 1))?;
    let pipeline = XrayPipeline::with_plan(classifier, &plan, &device)?;
    device::tell_fallback(&device);
    setup_seconds += pipeline.pipeline().times().keys;
    let mut client = 0.0;
    let mut server = 0.0;
    let mut scores = Vec::new();
    for image in images {
        let features = timed(&mut client, || pipeline.classifier().features(&image.xray))?;
        let (predictions, times) = pipeline.classify_group(&[&features])?;
        client += times.encrypt + times.decrypt;
        server += times.infer;
        scores.extend(predictions.into_iter().map(|prediction| prediction.scores));
    }
    let report = plan.report();
    let each = images.len().max(1) as f64;
    Ok(Method {
        name: "latent CKKS",
        about: format!("network {} on encrypted latents, on {}", pipeline.classifier().name(), device.name()),
        quality: quality(images, &scores),
        client_seconds: client / each,
        server_seconds: Some(server / each),
        setup_seconds,
        bytes: (report.input_bytes + report.output_bytes) as u64,
        setup_bytes: report.key_wire_bytes as u64,
        attack_result: "nothing known".into(),
        assumption: "ring learning with errors, 128 bits",
        protection: Protection::Encrypted,
        picture: None,
    })
}

fn features(classifier: &Classifier, images: &[Image]) -> Result<Vec<Vec<f64>>> {
    images.iter().map(|image| Ok(classifier.features(&image.xray)?.values.into_iter().collect())).collect()
}

fn reconstructed(classifier: &Classifier, images: &[Image]) -> Result<Option<Vec<u8>>> {
    let Some((codec, image)) = classifier.preprocessing().codec().zip(images.first()) else {
        return Ok(None);
    };
    let decoded = codec.decode(&codec.encode(&image.xray));
    let decoded = decoded.with_context(|| format!("codec {}", codec.name()))?;
    Ok(Some(decoded.pixels().into_iter().collect()))
}

/// Over images whose labels are known; the second class is pneumonia.
fn quality(images: &[Image], scores: &[Vec<f64>]) -> BinaryMetrics {
    let known = images.iter().zip(scores).filter_map(|(image, scores)| {
        let [normal, sick] = scores.as_slice() else { return None };
        Some((image.sick?, sick - normal, label(ArrayView1::from(scores))? == 1))
    });
    BinaryMetrics::new(&known.collect::<Vec<_>>())
}
