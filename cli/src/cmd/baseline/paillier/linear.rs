//! A linear network on features under Paillier: what the scheme is good for.

use crate::classifier;
use crate::cmd::baseline::arguments::{BitsArgs, ImagesArgs};
use crate::cmd::baseline::images::{self, Image};
use crate::table::Table;
use crate::terminal;
use crate::text::{bytes_text, counted, short};
use anyhow::{Result, bail};
use clap::Args;
use indicatif::ProgressBar;
use ndarray::{Array1, Array2};
use pleura::baselines::paillier::{LinearRun, LinearScore, LinearSeconds, LinearStep};
use pleura::nn::{Network, Op};
use serde_json::{Value, json};

/// Latents beyond this are cut off: they are of about unit variance.
const BOUND: f64 = 8.0;
/// Bits behind the point of features and weights.
const FEATURE_BITS: u32 = 12;
const WEIGHT_BITS: u32 = 16;

/// Arguments of `pleura baseline paillier linear`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline paillier linear
  pleura baseline paillier linear ward/ --bits 3072

A ciphertext holds one feature of many images: with 2048 bits and pneumonia-linear, the
server's work is the same for one X-ray and for 51.")]
pub(crate) struct LinearArgs {
    #[command(flatten)]
    images: ImagesArgs,

    /// A linear network, shipped or in ONNX.
    #[arg(long, value_name = "NAME|FILE", default_value = "pneumonia-linear")]
    model: String,

    #[command(flatten)]
    bits: BitsArgs,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn linear(args: &LinearArgs) -> Result<()> {
    let classifier = classifier::load(&args.model)?;
    let images = images::load(&args.images.images)?;
    let bar = crate::progress::bar().with_prefix("linear");
    bar.set_length(images.len() as u64);
    bar.set_message("X-rays: features");
    let features = images.iter().map(|image| {
        let features = classifier.features(&image.xray)?.values.into_iter().collect();
        bar.inc(1);
        Ok(features)
    });
    let features = features.collect::<Result<Vec<_>>>()?;
    let outcome = LinearOutcome::shown(classifier.network(), &features, args.bits.bits, &bar)?;
    bar.finish_and_clear();
    let LinearOutcome { run, clear, worst } = &outcome;
    let scores = outcome.scores();
    let LinearSeconds { keygen, encrypt, evaluate, decrypt } = run.seconds;
    let class = |scores: &[f64]| classifier.label(scores).to_owned();
    let known = images
        .iter()
        .zip(&scores)
        .filter_map(|(image, scores)| image.sick.map(|sick| (class(scores) != "normal") == sick));
    let known: Vec<bool> = known.collect();
    let right = known.iter().filter(|&&right| right).count();
    let equal = scores.iter().zip(clear).filter(|(a, b)| classifier.label(a) == classifier.label(b)).count();
    if args.json {
        return terminal::print_json(
            "paillier-linear",
            &json!({
                "model": args.model, "bits": args.bits.bits, "images": images.iter().zip(&scores).map(|(image, scores): (&Image, &Vec<f64>)| json!({ "image": image.name, "label": class(scores), "scores": scores })).collect::<Value>(),
                "correct": right, "of": known.len(), "labels_match_plaintext": equal, "max_abs_error": worst,
                "seconds": { "keygen": keygen, "encrypt": encrypt, "server": evaluate, "decrypt": decrypt },
                "sent_bytes": run.sent_bytes, "returned_bytes": run.returned_bytes, "groups": run.groups,
            }),
        );
    }
    let mut table = Table::new(2, ["image", "label", "score"]);
    for (image, scores) in images.iter().zip(&scores) {
        let apart = match scores.as_slice() {
            [a, b] => format!("{:.3}", b - a),
            _ => scores.iter().copied().fold(f64::NEG_INFINITY, f64::max).to_string(),
        };
        table.row([image.name.clone(), class(scores), apart]);
    }
    let count = counted(images.len(), "X-ray");
    let groups = counted(run.groups, "group");
    let labelled = if known.is_empty() {
        String::new()
    } else {
        format!("{right} of {} labelled as by the doctors, ", known.len())
    };
    terminal::print(&format!(
        "{table}\n{count}, {labelled}{equal} as the plaintext network, scores off by at most {}.\n{} sent and {} returned in {groups}; \
         key {keygen:.2} s, encrypt {encrypt:.2} s, server {evaluate:.2} s, decrypt {decrypt:.3} s.\nNot a medical device.\n",
        short(*worst),
        bytes_text(run.sent_bytes),
        bytes_text(run.returned_bytes),
    ))
}

/// Results of a linear layer under Paillier.
pub(crate) struct LinearOutcome {
    pub(crate) run: LinearRun,
    pub(crate) clear: Vec<Vec<f64>>,
    pub(crate) worst: f64,
}

impl LinearOutcome {
    /// Encrypts features, evaluates, decrypts.
    pub(crate) fn of(network: &Network, features: &[Vec<f64>], bits: u32) -> Result<Self> {
        Self::shown(network, features, bits, &ProgressBar::hidden())
    }

    /// Encrypts features, evaluates and decrypts, with a progress bar.
    fn shown(network: &Network, features: &[Vec<f64>], bits: u32, bar: &ProgressBar) -> Result<Self> {
        let layer = layer(network)?;
        let inputs: usize = network.input_shape().iter().product();
        let items = Array2::from_shape_vec((features.len(), inputs), features.concat())?;
        let run = LinearRun::new(&layer, items.view(), bits, &mut |step| match step {
            LinearStep::Key => bar.set_message("making a key"),
            LinearStep::Encrypted(done, of) => {
                bar.set_message("features: encrypting");
                bar.set_length(of as u64);
                bar.set_position(done as u64);
            }
            LinearStep::Evaluate => bar.set_message("features: the server computes"),
        })?;
        let clear: Vec<Vec<f64>> = features.iter().map(|item| network.evaluate_flat(item)).collect();
        let apart = run.scores.iter().zip(clear.iter().flatten()).map(|(a, b)| (a - b).abs());
        let worst = apart.fold(0.0, f64::max);
        Ok(Self { run, clear, worst })
    }

    /// Scores of each image.
    pub(crate) fn scores(&self) -> Vec<Vec<f64>> {
        self.run.scores.outer_iter().map(|scores| scores.to_vec()).collect()
    }
}

/// A network in integers.
fn layer(network: &Network) -> Result<LinearScore> {
    let (weights, bias) = affine(network)?;
    Ok(LinearScore::new(weights.view(), bias.view(), BOUND, FEATURE_BITS, WEIGHT_BITS)?)
}

/// Matrix and bias of a network that is a linear layer and nothing else.
fn affine(network: &Network) -> Result<(Array2<f64>, Array1<f64>)> {
    let linear = network.nodes().iter().all(|node| matches!(node.op, Op::Input | Op::Linear(..)));
    if !linear {
        let name = network.name();
        bail!("{name} is not a linear layer and nothing else; of the shipped networks, pneumonia-linear is");
    }
    let inputs: usize = network.input_shape().iter().product();
    let mut item = vec![0.0; inputs];
    let bias = Array1::from(network.evaluate_flat(&item));
    let mut weights = Array2::zeros((bias.len(), inputs));
    for (k, mut column) in weights.columns_mut().into_iter().enumerate() {
        item.fill(0.0);
        item.iter_mut().skip(k).take(1).for_each(|x| *x = 1.0);
        column.assign(&(Array1::from(network.evaluate_flat(&item)) - &bias));
    }
    Ok((weights, bias))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use pleura::baselines::paillier::{Packing, SecretKey};

    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        args: LinearArgs,
    }

    #[test]
    fn the_help_tells_how_many_share_a_ciphertext() {
        let classifier = classifier::load("pneumonia-linear").unwrap();
        let key = SecretKey::generate(2048).unwrap();
        let slot_bits = layer(classifier.network()).unwrap().quantized().slot_bits;
        let slots = Packing::new(key.public(), slot_bits).unwrap().slots();
        let help = Alone::command().get_after_help().unwrap().to_string();
        assert!(
            help.contains(&format!("for one X-ray and for {slots}.")),
            "{slots} slots of {slot_bits} bits"
        );
    }
}
