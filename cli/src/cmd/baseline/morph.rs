//! `pleura baseline morph`: metamorphosed learning, and the attacks on it.

use super::RECOVERABLE;
use super::arguments::{AUGMENTED, ImagesArgs, MORPH_KEY, MORPHED, ResultArgs};
use super::images::{self, Image, decibels};
use super::layer::{self, Layer};
use super::morph_costs::{claims, costs_json, costs_table};
use crate::clock::timed;
use crate::sources;
use crate::table::Table;
use crate::terminal;
use crate::text::{bytes_text, counted, short};
use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use ndarray::{Array2, ArrayView1};
use pleura::baselines::mole::{
    AugConv, Developer, KnownPlaintext, MoleError, MorphKey, MorphRun, MorphSeconds, Morphed, Overheads,
};
use pleura::baselines::psnr;
use pleura::nn::label;
use serde_json::json;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Commands on morphed images.
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

    /// How many times the core repeats; rows of the image unless said. 1 is the published default, where memory allows.
    #[arg(long, value_name = "N")]
    blocks: Option<usize>,
}

/// Which key, and what it is for.
#[derive(Args)]
struct KeyArgs {
    /// The provider's key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// The layer that the key was made for.
    #[arg(long, value_name = "NAME|FILE", default_value = "pneumonia-hefnet")]
    layer: String,
}

/// Arguments of `pleura baseline morph keygen`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline morph keygen --output morph.key
  pleura baseline morph keygen --layer xray --output morph.key")]
pub(crate) struct KeygenArgs {
    #[command(flatten)]
    layer: LayerArgs,

    /// Where the key goes, readable for its owner alone.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,

    #[command(flatten)]
    result: ResultArgs,
}

/// Arguments of `pleura baseline morph apply`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline morph apply x.png --key morph.key --output x.morphed")]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    images: ImagesArgs,

    #[command(flatten)]
    key: KeyArgs,

    /// Where the morphed images go.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,

    #[command(flatten)]
    result: ResultArgs,
}

/// Arguments of `pleura baseline morph augconv`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline morph augconv --key morph.key --output layer.augconv")]
pub(crate) struct AugconvArgs {
    #[command(flatten)]
    key: KeyArgs,

    /// Where the augmented convolution goes.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,

    #[command(flatten)]
    result: ResultArgs,
}

/// Arguments of `pleura baseline morph run`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline morph run --layer xray")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    images: ImagesArgs,

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
  pleura baseline morph attack --output pictures/
  pleura baseline morph attack --morphed chest.morphed \\
      --augconv layer.augconv --output pictures/
  pleura baseline morph attack --layer xray --known 2

Without files, a key is made and forgotten, X-rays are morphed with it, and the attack sees what a
developer sees. With --known N it sees N pairs of images instead, and neither layer nor augmented
convolution. Pictures are named by the order of the images, from recovered-000.png.")]
pub(crate) struct AttackArgs {
    /// X-rays to morph and recover; the samples if none are named.
    #[arg(value_name = "IMAGE|DIR", conflicts_with = "morphed")]
    images: Vec<PathBuf>,

    #[command(flatten)]
    layer: LayerArgs,

    /// Morphed images from `apply`.
    #[arg(long, value_name = "FILE", requires = "augconv", conflicts_with = "blocks")]
    morphed: Option<PathBuf>,

    /// The augmented convolution from `augconv`.
    #[arg(long, value_name = "FILE", requires = "morphed")]
    augconv: Option<PathBuf>,

    /// Number of known plaintext images for the attack.
    #[arg(long, value_name = "N", conflicts_with = "morphed")]
    known: Option<usize>,

    /// The folder that recovered pictures go into.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    #[command(flatten)]
    result: ResultArgs,
}

/// Runs the command.
pub(crate) fn run(command: &Morph) -> Result<()> {
    match command {
        Morph::Keygen(args) => keygen(args),
        Morph::Apply(args) => apply(args),
        Morph::Augconv(args) => augconv(args),
        Morph::Run(args) => whole(args),
        Morph::Attack(args) => attack(args),
    }
}

impl LayerArgs {
    fn load(&self) -> Result<(Layer, usize)> {
        let layer = Layer::load(&self.layer)?;
        let shape = layer.first.shape();
        let numbers = shape.rows();
        let blocks = self.blocks.unwrap_or_else(|| shape.default_blocks());
        if blocks == 0 || !numbers.is_multiple_of(blocks) {
            let near = near(shape.blocks_near(blocks));
            bail!(
                "{numbers} numbers of an image cannot be cut into {blocks} equal blocks; of numbers near it, {near}"
            );
        }
        Ok((layer, blocks))
    }

    /// The file that it is read from, if it is.
    fn file(&self) -> Option<PathBuf> {
        layer::file(&self.layer)
    }
}

/// Which numbers of blocks divide an image, of those next to one that does not.
fn near(blocks: [Option<usize>; 2]) -> String {
    match blocks {
        [Some(below), Some(above)] => format!("{below} and {above} divide them"),
        [one, other] => format!("{} divides them", one.or(other).unwrap_or(1)),
    }
}

impl KeyArgs {
    fn load(&self) -> Result<(Layer, MorphKey)> {
        let layer = Layer::load(&self.layer)?;
        let key = MorphKey::from_bytes(&MORPH_KEY.read_private(&self.key)?, layer.first.shape());
        let key = key.map_err(|error| unusable(error, &self.key, "the key was made", &layer))?;
        Ok((layer, key))
    }

    /// The files that it is read from.
    fn files(&self) -> impl Iterator<Item = PathBuf> {
        layer::file(&self.layer).into_iter().chain([self.key.clone()])
    }
}

/// An error about the content of a file, with its path.
fn unusable(error: MoleError, path: &Path, what: &'static str, layer: &Layer) -> anyhow::Error {
    let path = path.display();
    match error {
        MoleError::OtherLayer => {
            anyhow!(
                "{path}: {what} for another layer than that of {}; --layer names the right one",
                layer.name
            )
        }
        source => anyhow!(source).context(format!("cannot use {path} for metamorphosed learning")),
    }
}

fn keygen(args: &KeygenArgs) -> Result<()> {
    args.result.check_apart(&args.output, args.layer.file())?;
    let (layer, blocks) = args.layer.load()?;
    let key = MorphKey::generate(layer.first.shape(), blocks)?;
    args.result.write_private(&args.output, &key.to_bytes())?;
    let core = key.core_side();
    let shape = layer.first.shape();
    if args.result.json {
        return terminal::print_json(
            "morph-keygen",
            &json!({
                "path": args.output.to_string_lossy(), "layer": layer.name, "blocks": blocks, "core": core, "rows": shape.rows(),
                "protection": RECOVERABLE,
            }),
        );
    }
    terminal::print(&format!(
        "a core of {core}x{core}, {}, and an order of {} in {}\n{RECOVERABLE}\n",
        counted(blocks, "time"),
        counted(shape.filters, "channel"),
        args.output.display()
    ))
}

fn apply(args: &ApplyArgs) -> Result<()> {
    let read = sources::files(&args.images.images).into_iter().chain(args.key.files());
    args.result.check_apart(&args.output, read)?;
    let (layer, key) = args.key.load()?;
    let images = images::load(&args.images.images)?;
    let mut seconds = 0.0;
    let features = features(&layer, &images)?;
    let values = timed(&mut seconds, || key.morpher::<f32>().morph(&features.concat()))?;
    let bytes = Morphed { shape: *key.shape(), blocks: key.blocks(), values }.to_bytes();
    args.result.write(&args.output, &bytes)?;
    if args.result.json {
        return terminal::print_json(
            "morph-apply",
            &json!({
                "path": args.output.to_string_lossy(), "images": images.len(), "bytes": bytes.len(), "seconds": seconds,
                "protection": RECOVERABLE,
            }),
        );
    }
    let count = counted(images.len(), "morphed X-ray");
    let size = bytes_text(bytes.len() as u64);
    terminal::print(&format!("{count} in {}, {size}, {seconds:.3} s\n{RECOVERABLE}\n", args.output.display()))
}

fn augconv(args: &AugconvArgs) -> Result<()> {
    args.result.check_apart(&args.output, args.key.files())?;
    let (layer, key) = args.key.load()?;
    let mut seconds = 0.0;
    let bar = clock("augconv", "");
    let augmented = timed(&mut seconds, || AugConv::<f32>::new(&key, &layer.first))?;
    bar.finish_and_clear();
    args.result.write(&args.output, &augmented.to_bytes())?;
    let costs = Overheads::of(&augmented);
    if args.result.json {
        return terminal::print_json(
            "morph-augconv",
            &json!({
                "path": args.output.to_string_lossy(), "seconds": seconds, "costs": costs_json(&costs, key.shape()), "protection": RECOVERABLE,
            }),
        );
    }
    terminal::print(&format!(
        "{}\n{}\n{} in {seconds:.2} s\n{RECOVERABLE}\n",
        costs_table(&costs, None),
        claims(&costs, key.shape()),
        args.output.display()
    ))
}

fn whole(args: &RunArgs) -> Result<()> {
    let (layer, blocks) = args.layer.load()?;
    let images = images::load(&args.images.images)?;
    let features = features(&layer, &images)?;
    let bar = crate::progress::bar().with_prefix("run");
    let MorphRun { max_abs_error: worst, scores, seconds, costs, .. } =
        &run_on(&layer, blocks, &features, &bar)?;
    bar.finish_and_clear();
    let MorphSeconds { keygen, augment, morph, .. } = seconds;
    let each = images.len().max(1) as f64;
    let behind = !scores.is_empty();
    let same = |(scores, features): (&Vec<f64>, &Vec<f32>)| {
        layer
            .clear(features)
            .is_some_and(|clear| label(ArrayView1::from(scores)) == label(ArrayView1::from(&clear)))
    };
    let agree = behind.then(|| scores.iter().zip(&features).filter(|&pair| same(pair)).count());
    if args.json {
        return terminal::print_json(
            "morph-run",
            &json!({
                "layer": layer.name, "blocks": blocks, "images": images.len(),
                "max_abs_error": worst, "labels_match_plaintext": agree,
                "seconds": {
                    "keygen": keygen, "augconv": augment, "morph": morph,
                    "plain_first_layer": seconds.plain_first, "augmented_first_layer": seconds.augmented_first,
                    "plain_server": behind.then(|| seconds.plain_server()),
                    "server": behind.then(|| seconds.server()),
                },
                "costs": costs_json(costs, layer.first.shape()), "protection": RECOVERABLE,
            }),
        );
    }
    let mut text = format!(
        "{}: {}, a core of {} numbers squared, {}\n\n{}\n{}\nonce        key {keygen:.3} s, augmented convolution \
         {augment:.3} s\n",
        layer.name,
        counted(images.len(), "X-ray"),
        layer.first.shape().rows() / blocks,
        counted(blocks, "time"),
        costs_table(costs, Some([seconds.plain_first / each, morph / each, seconds.augmented_first / each])),
        claims(costs, layer.first.shape()),
    );
    if behind {
        let [plain, server] = [seconds.plain_server(), seconds.server()];
        text += &format!(
            "server      {:.5} s an X-ray for the whole network, {:.5} s without morphing: {:.2} times\n",
            server / each,
            plain / each,
            server / plain
        );
    }
    text += &format!("first layer off by at most {}\n", short(*worst));
    if let Some(agree) = agree {
        text += &format!("labels      {agree} of {} as the plaintext network\n", images.len());
    }
    terminal::print(&(text + &format!("protection  {RECOVERABLE}\n")))
}

/// A run of the scheme on a layer and the network behind it, with a bar that tells how far it is.
pub(crate) fn run_on(
    layer: &Layer,
    blocks: usize,
    features: &[Vec<f32>],
    bar: &ProgressBar,
) -> Result<MorphRun> {
    bar.set_length(features.len() as u64);
    bar.set_message("key and augmented convolution");
    let images = Array2::from_shape_vec((features.len(), layer.first.shape().inputs()), features.concat())?;
    Ok(MorphRun::new(
        &layer.first,
        blocks,
        images.view(),
        |first| layer.behind(first),
        |number: usize| {
            bar.set_message("morphing, and the network");
            bar.set_position(number as u64);
        },
    )?)
}

fn attack(args: &AttackArgs) -> Result<()> {
    if let (Some(sent), Some(layer_file)) = (&args.morphed, &args.augconv) {
        let layer = Layer::load(&args.layer.layer)?;
        let images_were = |error| unusable(error, sent, "the images were morphed", &layer);
        let morphed = Morphed::from_bytes(&MORPHED.read(sent)?).map_err(images_were)?;
        if morphed.shape != *layer.first.shape() {
            return Err(images_were(MoleError::OtherLayer));
        }
        check_free(args, 0..morphed.values.len() / morphed.shape.rows(), false)?;
        let augmented = AugConv::from_bytes(&AUGMENTED.read(layer_file)?, layer.first.shape())
            .map_err(|error| unusable(error, layer_file, "the augmented convolution was made", &layer))?;
        if (&morphed.shape, morphed.blocks) != (augmented.shape(), augmented.blocks()) {
            return Err(MoleError::OtherMorph.into());
        }
        return developer(args, &layer, &morphed.values, &augmented, &[]);
    }
    let (layer, blocks) = args.layer.load()?;
    let images = images::load(&args.images)?;
    let known = args.known.unwrap_or(0);
    if known >= images.len() {
        let verb = if known == 1 { "leaves" } else { "leave" };
        let known = counted(known, "known image");
        bail!("{known} of {} {verb} none to recover: know fewer, or give more", images.len());
    }
    check_free(args, known..images.len(), true)?;
    let features = features(&layer, &images)?;
    if args.known.is_none() {
        let bar = crate::progress::bar().with_prefix("morph");
        let run = run_on(&layer, blocks, &features, &bar)?;
        bar.finish_and_clear();
        return developer(args, &layer, &run.morphed, &run.augmented, &images);
    }
    let key = MorphKey::generate(layer.first.shape(), blocks)?;
    let morphed = key.morpher::<f32>().morph(&features.concat())?;
    let (seen, hidden) = morphed.split_at(known * layer.first.shape().rows());
    let plain = features.get(..known).unwrap_or_default().concat();
    let mut seconds = 0.0;
    let bar = clock("attack", "known images");
    let attack = timed(&mut seconds, || KnownPlaintext::attack(layer.first.shape(), blocks, &plain, seen))?;
    let recovered = timed(&mut seconds, || attack.recover(hidden))?;
    bar.finish_and_clear();
    let how = format!("known plaintext, {} known", counted(known, "image"));
    report(args, &layer, &recovered, &images, known, seconds, &how)
}

/// Where pictures of these images go: none is there already, unless it may be replaced, and none is read.
fn check_free(args: &AttackArgs, images: Range<usize>, originals: bool) -> Result<()> {
    let Some(folder) = &args.output else { return Ok(()) };
    let names = images.flat_map(|k| [recovered_name(k), original_name(k)]);
    let names: Vec<String> = names.step_by(if originals { 1 } else { 2 }).collect();
    let named = [&args.morphed, &args.augconv].into_iter().flatten().cloned().chain(args.layer.file());
    let inputs: Vec<PathBuf> = args.images.iter().cloned().chain(named).collect();
    images::check_pictures(folder, names, &inputs, args.result.force).map(drop)
}

fn recovered_name(k: usize) -> String {
    format!("recovered-{k:03}")
}

fn original_name(k: usize) -> String {
    format!("original-{k:03}")
}

fn developer(
    args: &AttackArgs,
    layer: &Layer,
    morphed: &[f32],
    augmented: &AugConv<f32>,
    images: &[Image],
) -> Result<()> {
    let mut seconds = 0.0;
    let bar = clock("attack", "augmented convolution");
    let attack = timed(&mut seconds, || Developer::attack(&layer.first, augmented))?;
    let recovered = timed(&mut seconds, || attack.recover(morphed))?;
    bar.finish_and_clear();
    let how = format!("developer, order of channels off by {}", short(attack.mismatch()));
    report(args, layer, &recovered, images, 0, seconds, &how)
}

/// `images` are all there are, `first` is the first recovered one among them.
fn report(
    args: &AttackArgs,
    layer: &Layer,
    recovered: &[f64],
    images: &[Image],
    first: usize,
    seconds: f64,
    how: &str,
) -> Result<()> {
    let inputs = layer.first.shape().inputs();
    let count = recovered.len() / inputs;
    let bar = crate::progress::bar().with_prefix("pictures");
    bar.set_length(count as u64);
    let mut table = Table::new(1, ["image", "PSNR"]);
    let mut rows = Vec::new();
    let mut pictures = Vec::new();
    for (k, recovered) in (first..).zip(recovered.chunks(inputs)) {
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
        pictures.push((recovered_name(k), picture));
        pictures.extend(original.map(|original| (original_name(k), original)));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let mut written = Vec::new();
    if let Some(folder) = &args.output {
        written = images::write_pictures(folder, &pictures, args.result.force)?;
    }
    if args.result.json {
        return terminal::print_json(
            "morph-attack",
            &json!({
                "attack": how, "seconds": seconds, "images": rows, "protection": RECOVERABLE,
                "pictures": written.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
            }),
        );
    }
    // How good they are is known only beside the originals.
    let said = match &args.output {
        _ if !images.is_empty() => format!("{table}\n"),
        Some(folder) => format!("{} in {}\n", counted(count, "picture"), folder.display()),
        None => format!("{}; --output DIR keeps them\n", counted(count, "picture")),
    };
    terminal::print(&format!("{said}{how}; {seconds:.2} s\nprotection  {RECOVERABLE}\n"))
}

/// For work that cannot be cut into steps.
fn clock(prefix: &'static str, message: &'static str) -> ProgressBar {
    let bar = crate::progress::clock().with_prefix(prefix).with_message(message);
    bar.set_length(1);
    bar
}

fn features(layer: &Layer, images: &[Image]) -> Result<Vec<Vec<f32>>> {
    let bar = crate::progress::bar().with_prefix("features");
    bar.set_length(images.len() as u64);
    let features = images.iter().map(|image| {
        let features = layer.features(image);
        bar.inc(1);
        features
    });
    let features = features.collect();
    bar.finish_and_clear();
    features
}
