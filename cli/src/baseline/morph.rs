//! `pleura baseline morph`: metamorphosed learning, and the attacks on it.

use super::RECOVERABLE;
use super::images::{self, Image, decibels};
use super::layer::Layer;
use crate::error::CliError;
use crate::run::timed;
use crate::table::{Table, bytes_text, short};
use crate::{files, terminal};
use clap::{Args, Subcommand};
use pleura::baselines::mple::{
    AugConv, Developer, KnownPlaintext, MorphKey, Morphed, Overheads, VGG16_MULTIPLY_ADDS,
};
use pleura::baselines::psnr;
use pleura::nn::label;
use serde_json::json;
use std::path::PathBuf;

/// Augmented convolutions are no larger.
const MAX_FILE: u64 = 5 << 30;
/// Bytes of a key.
const MAX_KEY: u64 = 1 << 12;

/// What to do with morphed images.
#[derive(Subcommand)]
pub(crate) enum Morph {
    /// Make the provider's key.
    Keygen(KeygenArgs),
    /// Morph X-rays, as the provider sends them.
    Apply(ApplyArgs),
    /// Make the augmented convolution, which the provider sends once.
    Augconv(AugconvArgs),
    /// Do all of it on X-rays, and compare with the plain layer.
    Run(RunArgs),
    /// Recover X-rays without the key.
    Attack(AttackArgs),
}

/// Which layer, and how images are cut for morphing.
#[derive(Args)]
struct LayerArgs {
    /// A network whose first layer is a convolution, shipped or in ONNX; `xray` is a layer of fixed filters on 256x256 pixels.
    #[arg(long, value_name = "NAME|FILE", default_value = "pneumonia-hefnet")]
    layer: String,

    /// How many times the core repeats (kappa); rows of the image unless said. 1 is the published default, where memory allows.
    #[arg(long, value_name = "N")]
    blocks: Option<usize>,
}

/// Arguments of `pleura baseline morph keygen`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline morph keygen --out morph.key
  pleura baseline morph keygen --layer xray --blocks 256 --out morph.key")]
pub(crate) struct KeygenArgs {
    #[command(flatten)]
    layer: LayerArgs,

    /// Where the key goes, readable for its owner alone.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Arguments of `pleura baseline morph apply`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline morph apply chest.png --key morph.key --out chest.morphed")]
pub(crate) struct ApplyArgs {
    /// PNG, JPEG or DICOM files, or folders of them; the sample X-rays if none are named.
    #[arg(value_name = "IMAGE|DIR")]
    images: Vec<PathBuf>,

    /// The provider's key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// The layer that the key was made for.
    #[arg(long, value_name = "NAME|FILE", default_value = "pneumonia-hefnet")]
    layer: String,

    /// Where the morphed images go.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Arguments of `pleura baseline morph augconv`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline morph augconv --key morph.key --out layer.augconv")]
pub(crate) struct AugconvArgs {
    /// The provider's key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// The layer that the key was made for.
    #[arg(long, value_name = "NAME|FILE", default_value = "pneumonia-hefnet")]
    layer: String,

    /// Where the augmented convolution goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Arguments of `pleura baseline morph run`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline morph run
  pleura baseline morph run chest.png --blocks 1
  pleura baseline morph run --layer xray")]
pub(crate) struct RunArgs {
    /// PNG, JPEG or DICOM files, or folders of them; the sample X-rays if none are named.
    #[arg(value_name = "IMAGE|DIR")]
    images: Vec<PathBuf>,

    #[command(flatten)]
    layer: LayerArgs,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Arguments of `pleura baseline morph attack`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline morph attack --out pictures/
  pleura baseline morph attack --morphed chest.morphed --augconv layer.augconv --out pictures/
  pleura baseline morph attack --layer xray --known 2

Without files, a key is made and forgotten, X-rays are morphed with it, and the attack sees what a developer sees. With
--known N it sees N pairs of images instead, and neither layer nor augmented convolution.")]
pub(crate) struct AttackArgs {
    /// X-rays to morph and recover; the samples if none are named.
    #[arg(value_name = "IMAGE|DIR", conflicts_with = "morphed")]
    images: Vec<PathBuf>,

    #[command(flatten)]
    layer: LayerArgs,

    /// Morphed images from `apply`.
    #[arg(long, value_name = "FILE", requires = "augconv")]
    morphed: Option<PathBuf>,

    /// The augmented convolution from `augconv`.
    #[arg(long, value_name = "FILE", requires = "morphed")]
    augconv: Option<PathBuf>,

    /// Know this many images in the clear, and attack by them.
    #[arg(long, value_name = "N", conflicts_with = "morphed")]
    known: Option<usize>,

    /// The folder that recovered pictures go into.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Replace files that exist.
    #[arg(long)]
    force: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(crate) fn run(command: &Morph) -> Result<(), CliError> {
    match command {
        Morph::Keygen(args) => keygen(args),
        Morph::Apply(args) => apply(args),
        Morph::Augconv(args) => augconv(args),
        Morph::Run(args) => whole(args),
        Morph::Attack(args) => attack(args),
    }
}

impl LayerArgs {
    fn load(&self) -> Result<(Layer, usize), CliError> {
        let layer = Layer::load(&self.layer)?;
        let shape = layer.first.shape();
        let rows = shape.channels * shape.padded_side();
        Ok((layer, self.blocks.unwrap_or(rows)))
    }
}

fn keygen(args: &KeygenArgs) -> Result<(), CliError> {
    files::check_writable(&args.out, args.force)?;
    let (layer, blocks) = args.layer.load()?;
    let key = MorphKey::generate(layer.first.shape(), blocks)?;
    let failed = |source| CliError::Write { path: args.out.clone(), source };
    files::write(&args.out, &[&key.to_bytes()], args.force, true).map_err(failed)?;
    let (core, shape) = (key.core_side(), layer.first.shape());
    if args.json {
        return terminal::publish_json(&json!({
            "out": args.out.to_string_lossy(), "layer": layer.name, "blocks": blocks, "core": core, "rows": shape.rows(),
            "protection": RECOVERABLE,
        }));
    }
    terminal::publish(&format!(
        "a core of {core}x{core}, {blocks} times, and an order of {} channels in {}\n{RECOVERABLE}\n",
        shape.filters,
        args.out.display()
    ))
}

fn apply(args: &ApplyArgs) -> Result<(), CliError> {
    files::check_writable(&args.out, args.force)?;
    let (layer, key) = (Layer::load(&args.layer)?, load_key(&args.key)?);
    fits(&layer, &key)?;
    let images = images::load(&args.images)?;
    let mut seconds = 0.0;
    let features = features(&layer, &images)?;
    let values = timed(&mut seconds, || key.morpher::<f32>().morph(&features.concat()))?;
    let bytes = Morphed { shape: *key.shape(), kappa: key.kappa(), values }.to_bytes();
    let failed = |source| CliError::Write { path: args.out.clone(), source };
    files::write(&args.out, &[&bytes], args.force, false).map_err(failed)?;
    if args.json {
        return terminal::publish_json(&json!({
            "out": args.out.to_string_lossy(), "images": images.len(), "bytes": bytes.len(), "seconds": seconds,
            "protection": RECOVERABLE,
        }));
    }
    let (count, size) = (images.len(), bytes_text(bytes.len() as u64));
    terminal::publish(&format!(
        "{count} morphed X-rays in {}, {size}, {seconds:.3} s\n{RECOVERABLE}\n",
        args.out.display()
    ))
}

fn augconv(args: &AugconvArgs) -> Result<(), CliError> {
    files::check_writable(&args.out, args.force)?;
    let (layer, key) = (Layer::load(&args.layer)?, load_key(&args.key)?);
    fits(&layer, &key)?;
    let mut seconds = 0.0;
    let augmented = timed(&mut seconds, || AugConv::<f32>::new(&key, &layer.first))?;
    let failed = |source| CliError::Write { path: args.out.clone(), source };
    files::write(&args.out, &[&augmented.to_bytes()], args.force, false).map_err(failed)?;
    let costs = Overheads::of(&augmented);
    if args.json {
        return terminal::publish_json(&json!({
            "out": args.out.to_string_lossy(), "seconds": seconds, "costs": costs_json(&costs), "protection": RECOVERABLE,
        }));
    }
    terminal::publish(&format!(
        "{}\n{} in {seconds:.2} s\n{RECOVERABLE}\n",
        costs_table(&costs),
        args.out.display()
    ))
}

fn whole(args: &RunArgs) -> Result<(), CliError> {
    let (layer, blocks) = args.layer.load()?;
    let images = images::load(&args.images)?;
    let features = features(&layer, &images)?;
    let outcome = Outcome::of(&layer, blocks, &features)?;
    let Outcome { worst, agree, seconds: [keygen, augment, morph, server], costs, .. } = &outcome;
    if args.json {
        return terminal::publish_json(&json!({
            "layer": layer.name, "blocks": blocks, "images": images.len(),
            "max_abs_error": worst, "labels_equal": agree,
            "seconds": { "keygen": keygen, "augconv": augment, "morph": morph, "server": server },
            "costs": costs_json(costs), "protection": RECOVERABLE,
        }));
    }
    let mut text = format!(
        "{}: {} X-rays, a core of {} numbers squared, {blocks} times\n\n{}\nseconds     key {keygen:.3}, augmented convolution \
         {augment:.3}, morph {morph:.4}, server {server:.3}\nfirst layer off by at most {}\n",
        layer.name,
        images.len(),
        layer.first.shape().rows() / blocks,
        costs_table(costs),
        short(*worst),
    );
    if let Some(agree) = agree {
        text += &format!("labels      {agree} of {} as in the clear\n", images.len());
    }
    terminal::publish(&(text + &format!("protection  {RECOVERABLE}\n")))
}

/// What the scheme did with images.
pub(crate) struct Outcome {
    pub(crate) worst: f64,
    /// Labels of the network behind the layer that are those in the clear.
    pub(crate) agree: Option<usize>,
    /// Scores behind the augmented convolution.
    pub(crate) scores: Vec<Vec<f64>>,
    /// Key, augmented convolution; then of all images morphing, and the augmented convolution's.
    pub(crate) seconds: [f64; 4],
    pub(crate) costs: Overheads,
    pub(crate) morphed: Vec<f32>,
    pub(crate) augmented: AugConv<f32>,
}

impl Outcome {
    /// The whole scheme, the key made and forgotten.
    pub(crate) fn of(layer: &Layer, blocks: usize, features: &[Vec<f32>]) -> Result<Self, CliError> {
        let mut seconds = [0.0; 4];
        let [keygen, augment, morph, server] = &mut seconds;
        let key = timed(keygen, || MorphKey::generate(layer.first.shape(), blocks))?;
        let augmented = timed(augment, || AugConv::<f32>::new(&key, &layer.first))?;
        let morpher = key.morpher::<f32>();
        let morphed = timed(morph, || morpher.morph(&features.concat()))?;
        let result = timed(server, || augmented.apply(&morphed))?;
        let (mut worst, mut agree, mut scores) = (0.0f64, None, Vec::new());
        for (result, features) in result.chunks(layer.first.shape().outputs()).zip(features) {
            let sorted = AugConv::<f32>::sorted(key.order(), result);
            let sorted: Vec<f64> = sorted.into_iter().map(f64::from).collect();
            let plain = layer.first.apply(features)?;
            worst = sorted.iter().zip(&plain).map(|(a, &b)| (a - f64::from(b)).abs()).fold(worst, f64::max);
            if let Some([behind, clear]) = layer.scores(&sorted, features) {
                *agree.get_or_insert(0) += usize::from(label(&behind) == label(&clear));
                scores.push(behind);
            }
        }
        let costs = Overheads::of(&augmented);
        Ok(Self { worst, agree, scores, seconds, costs, morphed, augmented })
    }
}

fn attack(args: &AttackArgs) -> Result<(), CliError> {
    if let (Some(morphed), Some(augmented)) = (&args.morphed, &args.augconv) {
        let layer = Layer::load(&args.layer.layer)?;
        let morphed = Morphed::from_bytes(&files::read(morphed, MAX_FILE)?)?;
        let augmented = AugConv::from_bytes(&files::read(augmented, MAX_FILE)?)?;
        return developer(args, &layer, &morphed.values, &augmented, &[]);
    }
    let (layer, blocks) = args.layer.load()?;
    let images = images::load(&args.images)?;
    let features = features(&layer, &images)?;
    match args.known {
        None => {
            let outcome = Outcome::of(&layer, blocks, &features)?;
            developer(args, &layer, &outcome.morphed, &outcome.augmented, &images)
        }
        Some(count) => {
            let key = MorphKey::generate(layer.first.shape(), blocks)?;
            let morphed = key.morpher::<f32>().morph(&features.concat())?;
            let count = count.min(images.len().saturating_sub(1));
            let (known, rest) = features.split_at(count);
            let (seen, hidden) = morphed.split_at(count * layer.first.shape().rows());
            let mut seconds = 0.0;
            let attack = timed(&mut seconds, || {
                KnownPlaintext::attack(layer.first.shape(), blocks, &known.concat(), seen)
            })?;
            let recovered = attack.recover(hidden)?;
            let images = images.get(count..).unwrap_or_default();
            debug_assert_eq!(images.len(), rest.len());
            report(
                args,
                &layer,
                &recovered,
                images,
                seconds,
                &format!("known plaintext, {count} images known"),
            )
        }
    }
}

fn developer(
    args: &AttackArgs,
    layer: &Layer,
    morphed: &[f32],
    augmented: &AugConv<f32>,
    images: &[Image],
) -> Result<(), CliError> {
    let mut seconds = 0.0;
    let attack = timed(&mut seconds, || Developer::attack(&layer.first, augmented))?;
    let recovered = timed(&mut seconds, || attack.recover(morphed))?;
    let how = format!("developer, order of channels off by {}", short(attack.mismatch()));
    report(args, layer, &recovered, images, seconds, &how)
}

fn report(
    args: &AttackArgs,
    layer: &Layer,
    recovered: &[f64],
    images: &[Image],
    seconds: f64,
    how: &str,
) -> Result<(), CliError> {
    let mut table = Table::new(1, ["image", "PSNR"]);
    let (mut rows, mut pictures) = (Vec::new(), Vec::new());
    for (k, recovered) in recovered.chunks(layer.first.shape().inputs()).enumerate() {
        let picture = layer.picture(recovered)?;
        let image = images.get(k);
        // Against what the scheme was given: the codec's own loss is not the scheme's.
        let original = match image {
            Some(image) => {
                let features: Vec<f64> = layer.features(image)?.into_iter().map(f64::from).collect();
                Some(layer.picture(&features)?)
            }
            None => None,
        };
        let quality = original.as_ref().map(|original| psnr(original, &picture));
        let name = image.map_or_else(|| format!("image {k}"), |image| image.name.clone());
        table.row([name.clone(), quality.map_or_else(|| "unknown".into(), decibels)]);
        rows.push(json!({ "image": name, "psnr": quality.filter(|q| q.is_finite()), "exact": quality.map(|q| !q.is_finite()) }));
        pictures.push((format!("recovered-{k:03}"), picture));
        pictures.extend(original.map(|original| (format!("original-{k:03}"), original)));
    }
    let mut written = Vec::new();
    if let Some(folder) = &args.out {
        written = images::write_pictures(folder, &pictures, args.force)?;
    }
    if args.json {
        return terminal::publish_json(&json!({
            "attack": how, "seconds": seconds, "images": rows, "protection": RECOVERABLE,
            "pictures": written.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
        }));
    }
    terminal::publish(&format!("{table}\n{how}; {seconds:.2} s\nprotection  {RECOVERABLE}\n"))
}

fn features(layer: &Layer, images: &[Image]) -> Result<Vec<Vec<f32>>, CliError> {
    images.iter().map(|image| layer.features(image)).collect()
}

fn load_key(path: &std::path::Path) -> Result<MorphKey, CliError> {
    Ok(MorphKey::from_bytes(&files::read(path, MAX_KEY)?)?)
}

fn fits(layer: &Layer, key: &MorphKey) -> Result<(), CliError> {
    if layer.first.shape() == key.shape() {
        Ok(())
    } else {
        Err(CliError::OtherLayer { name: layer.name.clone() })
    }
}

fn costs_json(costs: &Overheads) -> serde_json::Value {
    json!({
        "morph_multiply_adds": costs.morph,
        "plain_multiply_adds": costs.plain,
        "augmented_multiply_adds": costs.augmented,
        "extra_compute_of_vgg16": costs.extra_compute(VGG16_MULTIPLY_ADDS),
        "image_bytes": costs.image_bytes,
        "morphed_bytes": costs.morphed_bytes,
        "augmented_bytes": costs.augmented_bytes,
        "extra_data_of_60000_images": costs.extra_data(60_000),
    })
}

fn costs_table(costs: &Overheads) -> Table {
    let mut table = Table::new(1, ["", "multiply-adds", "bytes"]);
    let number = |x: u64| format!("{:.3e}", x as f64);
    table.row([
        "plain first layer, image in 8 bits".into(),
        number(costs.plain),
        bytes_text(costs.image_bytes),
    ]);
    table.row(["morphing, morphed image".into(), number(costs.morph), bytes_text(costs.morphed_bytes)]);
    table.row([
        "augmented convolution, once".into(),
        number(costs.augmented),
        bytes_text(costs.augmented_bytes),
    ]);
    table
}
