//! Encryption as published, and what it reveals.

use super::leakage::{labels, measure, name, protection, word};
use crate::clock::timed;
use crate::cmd::baseline::RECOVERABLE;
use crate::cmd::baseline::arguments::{BitsArgs, ImagesArgs, ResultArgs, SideArgs};
use crate::cmd::baseline::images::{self, Image, decibels};
use crate::statistics::{accuracy_text, auc_text};
use crate::table::Table;
use crate::terminal;
use crate::text::counted;
use anyhow::Result;
use clap::{Args, ValueEnum};
use pleura::baselines::leak::{FEWEST_LABELLED, Learned, MutualInformation, leave_pair_out};
use pleura::baselines::paillier::{Attack, Leakage, PaillierError, Randomness, Recovered, SecretKey, store};
use pleura::xray::metrics::BinaryMetrics;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Kinds of shared randomness.
pub(crate) const KINDS: [Randomness; 3] = [Randomness::Fresh, Randomness::PerImage, Randomness::Fixed];

/// Arguments of `pleura baseline paillier store`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline paillier store ward/ --randomness fixed --output stored/

Pictures are numbered from 00000.png; each pixel is repeated so that they are 256 wide.")]
pub(crate) struct StoreArgs {
    #[command(flatten)]
    images: ImagesArgs,

    /// Scope of one randomness: a pixel (fresh), an image, or all pixels (fixed).
    #[arg(long, value_name = "KIND", default_value = "fresh")]
    randomness: Shared,

    #[command(flatten)]
    side: SideArgs,

    #[command(flatten)]
    bits: BitsArgs,

    /// The folder that the pictures go into.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,

    #[command(flatten)]
    result: ResultArgs,
}

/// Values of `--randomness`.
#[derive(Clone, Copy, ValueEnum)]
enum Shared {
    Fresh,
    Image,
    Fixed,
}

/// Arguments of `pleura baseline paillier leak`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline paillier leak
  pleura baseline paillier leak --side 128 --output pictures/

Each pixel is encrypted and stored as a grey level, as published: with fresh randomness for each
pixel, with one for each image, and with one for all. Bits are the mutual
information of a stored pixel and the pixel: the estimate from counts less its bias, or zero if it
does not exceed chance, which is the estimate for shuffled pixels. With one randomness for each
image they are the mean over images.

The codebook is read from all other images. The other attacks see stored pictures and one X-ray
that is known: frequency puts the levels of one picture in the order in which neighbours are alike,
affine finds the step and the period that all levels of one randomness come from. Some keys
store several greys as one level, and their pictures are recovered less well: run it again.

Labels are those of ridge regression that is trained on all pictures but two, one of each label,
and tried on those two, for each such pair: on the pictures as they are stored, and on what affine
recovers. Right is the mean of both labels' shares, so half where there is nothing to learn. It
takes 48 images whose labels are known (folders named normal and pneumonia tell). Groups are not
known: pictures of one patient may be on both sides. Intervals are of 95 %, as wide as for half as
many pictures, since what is learned varies with the pictures, too.")]
pub(crate) struct LeakArgs {
    #[command(flatten)]
    images: ImagesArgs,

    #[command(flatten)]
    side: SideArgs,

    #[command(flatten)]
    bits: BitsArgs,

    /// The folder that stored and recovered pictures go into.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    #[command(flatten)]
    result: ResultArgs,
}

/// Encrypts as published, and keeps what is stored.
pub(super) fn stored(args: &StoreArgs) -> Result<()> {
    let images = images::load(&args.images.images)?;
    let names: Vec<String> = (0..images.len()).map(|k| format!("{k:05}")).collect();
    images::check_pictures(&args.output, &names, &args.images.images, args.result.force)?;
    let side = args.side.side;
    let bits = args.bits.bits;
    let plain: Vec<Vec<u8>> = images.iter().map(|image| images::small(&image.xray, side)).collect();
    let key = SecretKey::generate(bits)?;
    let randomness = match args.randomness {
        Shared::Fresh => Randomness::Fresh,
        Shared::Image => Randomness::PerImage,
        Shared::Fixed => Randomness::Fixed,
    };
    let bar = crate::progress::bar().with_prefix("store");
    bar.set_length(plain.len() as u64);
    // With one randomness for all they have to be stored together, which takes a moment.
    let together = if randomness == Randomness::Fixed { plain.len() } else { 1 };
    let mut seconds = 0.0;
    let mut kept = Vec::new();
    for some in plain.chunks(together.max(1)) {
        kept.extend(timed(&mut seconds, || store(key.public(), some, randomness))?);
        bar.inc(some.len() as u64);
    }
    bar.finish_and_clear();
    let pictures: Vec<_> = names.into_iter().zip(kept.into_iter().map(|picture| picture.pixels)).collect();
    images::write_pictures(&args.output, &pictures, args.result.force)?;
    let count = images.len();
    let out = args.output.to_string_lossy();
    let protection = protection(randomness);
    if args.result.json {
        return terminal::print_json(
            "paillier-store",
            &json!({
                "path": out, "images": count, "side": side, "bits": bits, "seconds": seconds, "protection": protection,
            }),
        );
    }
    let count = counted(count, "stored picture");
    terminal::print(&format!("{count} in {out}, {seconds:.2} s\n{protection}\n"))
}

/// Encrypts as published, under each kind of randomness, and measures what is revealed.
pub(super) fn leak(args: &LeakArgs) -> Result<()> {
    let images = images::load(&args.images.images)?;
    if images.len() < 2 {
        return Err(PaillierError::Alone.into());
    }
    if let Some(folder) = &args.output {
        images::check_pictures(folder, picture_names(), &args.images.images, args.result.force)?;
    }
    let plain: Vec<Vec<u8>> = images.iter().map(|image| images::small(&image.xray, args.side.side)).collect();
    let labels = labels(&images);
    let key = SecretKey::generate(args.bits.bits)?;
    let bar = crate::progress::bar().with_prefix("leak");
    bar.set_length((KINDS.len() * images.len()) as u64);
    let [fresh, image, fixed] =
        KINDS.map(|randomness| measure(key.public(), &plain, labels.as_deref(), randomness, &bar));
    let arms = [fresh?, image?, fixed?];
    bar.finish_and_clear();
    if let Some(folder) = &args.output {
        let pictures = plain.iter().take(1).cloned().chain(arms.iter().flat_map(|arm: &Leakage| {
            let recovered = arm.attacks.iter().map(|found| found.picture.clone());
            std::iter::once(arm.stored.clone()).chain(recovered).collect::<Vec<_>>()
        }));
        images::write_pictures(
            folder,
            &picture_names().zip(pictures).collect::<Vec<_>>(),
            args.result.force,
        )?;
    }
    let clear =
        labels.and_then(|labels| leave_pair_out(&plain, &labels)).map(|found| cross_validated(&found));
    if args.result.json {
        publish_json(args, &images, &arms, clear)
    } else {
        publish(args, &images, &arms, clear)
    }
}

/// The first X-ray, and of each arm what is stored and what is recovered.
fn picture_names() -> impl Iterator<Item = String> {
    std::iter::once("original".to_owned()).chain(KINDS.into_iter().map(word).flat_map(|arm| {
        ["stored"]
            .into_iter()
            .chain(Attack::ALL.map(Attack::name))
            .map(move |picture| format!("{arm}-{picture}"))
    }))
}

fn cross_validated(learned: &Learned) -> BinaryMetrics {
    BinaryMetrics::cross_validated(learned.balanced_accuracy, learned.auc, learned.counts)
}

fn publish_json(
    args: &LeakArgs,
    images: &[Image],
    arms: &[Leakage; 3],
    clear: Option<BinaryMetrics>,
) -> Result<()> {
    terminal::print_json(
        "paillier-leak",
        &json!({
                "images": images.len(), "side": args.side.side, "bits": args.bits.bits,
                "plaintext_labels": clear.unwrap_or_default(), "arms": arms.iter().map(|arm: &Leakage| {
            let information = &arm.information;
            let mut value = json!({
                "randomness": word(arm.randomness), "seconds": arm.seconds,
                "bits": {
                    "entropy": information.entropy, "estimate": information.estimate, "bias": information.bias,
                    "corrected": information.corrected(), "shuffled": information.shuffled,
                    "beyond_chance": information.beyond_chance(),
                },
                "labels": quality(arm.labels), "recovered_labels": quality(arm.recovered_labels),
                "protection": protection(arm.randomness),
            });
            if let Some(map) = value.as_object_mut() {
                for Recovered { attack, psnr, .. } in &arm.attacks {
                    let by = attack.name();
                    // Infinity, which JSON has not.
                    map.insert(format!("{by}_exact"), json!(psnr.is_infinite()));
                    map.insert(format!("{by}_psnr"), json!(psnr));
                }
            }
            value
        }).collect::<Value>(),
            }),
    )
}

fn publish(
    args: &LeakArgs,
    images: &[Image],
    arms: &[Leakage; 3],
    clear: Option<BinaryMetrics>,
) -> Result<()> {
    let headings = ["randomness", "bits", "estimate", "chance"]
        .into_iter()
        .chain(Attack::ALL.map(Attack::name))
        .chain(["s"]);
    let mut table = Table::wide(1, headings.map(str::to_owned).collect());
    for arm in arms {
        let MutualInformation { estimate, shuffled, .. } = arm.information;
        let bits = [arm.information.beyond_chance(), estimate, shuffled].map(|bits| format!("{bits:.2}"));
        let recovered = arm.attacks.iter().map(|found| decibels(found.psnr));
        let seconds = format!("{:.2}", arm.seconds);
        let name = [name(arm.randomness).to_owned()].into_iter();
        table.wide_row(name.chain(bits).chain(recovered).chain([seconds]).collect());
    }
    let count = images.len();
    let side = args.side.side;
    let [fresh, own, _] = arms.each_ref().map(|arm| arm.information.entropy);
    terminal::print(&format!(
        "{count} X-rays of {side}x{side} pixels, {fresh:.2} bits each, {own:.2} among those of its X-ray\n\n{table}\n{}\n\
         fresh for each pixel: nothing to learn, so nothing to classify\none for each image, one for all: {RECOVERABLE}\n",
        clear.map_or_else(
            || format!(
                "labels: unknown; {FEWEST_LABELLED} images or more are needed, of both labels, and the label of each\n"
            ),
            |clear| labels_table(arms, clear).to_string(),
        ),
    ))
}

/// Figures of what is learned, unknown without labels.
pub(crate) fn quality(learned: Option<Learned>) -> BinaryMetrics {
    learned.map_or_else(BinaryMetrics::default, |found| cross_validated(&found))
}

/// How well labels are learned: of the pixels themselves, and of each arm.
fn labels_table(arms: &[Leakage], clear: BinaryMetrics) -> Table {
    let mut table = Table::new(1, ["labels learned from", "right", "AUC"]);
    let mut row = |name: String, quality: &BinaryMetrics| {
        table.row([name, accuracy_text(quality), auc_text(quality)]);
    };
    row("the pixels themselves".to_owned(), &clear);
    for arm in arms {
        let name = name(arm.randomness);
        row(format!("{name}, as stored"), &quality(arm.labels));
        row(format!("{name}, recovered"), &quality(arm.recovered_labels));
    }
    table
}
