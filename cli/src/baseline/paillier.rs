//! `pleura baseline paillier`: the cryptosystem, the pipeline as published, what it leaks, and the sound use.

use super::RECOVERABLE;
use super::images::{self, Image, decibels};
use super::linear::LinearOutcome;
use crate::classifier::Classifier;
use crate::error::CliError;
use crate::run::timed;
use crate::table::{Table, bytes_text, short};
use crate::{files, terminal};
use clap::builder::{PossibleValuesParser, RangedU64ValueParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};
use pleura::baselines::leak::{MutualInformation, codebook, frequency, leave_one_out};
use pleura::baselines::paillier::{
    Packing, PaillierError, Plaintext, PublicKey, Randomness, SecretKey, Zeroizing, store,
};
use pleura::baselines::psnr;
use pleura::nn::label;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Keys are no larger.
const MAX_KEY: u64 = 1 << 14;
/// Ciphertexts of an image are no larger.
const MAX_CIPHERTEXTS: u64 = 1 << 30;
/// Bits of a slot for a pixel: sixteen million of them can be added up.
const PIXEL_BITS: u32 = 33;
/// In the label of ciphertexts beside the side of the picture: pixels are packed.
const PACKED: u16 = 1 << 15;
/// Labelled images that a classifier is tried on; leaving one out of fewer says little.
const FEWEST: usize = 64;

/// What pictures of `leak` are called: of each arm, each of these.
const ARMS: [&str; 3] = ["fresh", "per-image", "fixed"];
const PICTURES: [&str; 3] = ["stored", "codebook", "frequency"];

/// What to do with Paillier's cryptosystem.
#[derive(Subcommand)]
pub(crate) enum Paillier {
    /// Make a key.
    Keygen(KeygenArgs),
    /// Encrypt the pixels of an X-ray.
    Encrypt(EncryptArgs),
    /// Decrypt them into a picture.
    Decrypt(DecryptArgs),
    /// Encrypt as published, and keep the stored pictures.
    Store(StoreArgs),
    /// Encrypt as published, and tell what the stored pictures give away.
    Leak(LeakArgs),
    /// Classify with a linear layer on encrypted latents: what the scheme is good for.
    Linear(LinearArgs),
}

/// Arguments of `pleura baseline paillier keygen`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline paillier keygen --out paillier
  pleura baseline paillier keygen --bits 3072 --out paillier

Writes OUT.public and OUT.secret.")]
pub(crate) struct KeygenArgs {
    /// Bits of the modulus: 2048 or 3072.
    #[arg(long, value_name = "BITS", default_value = "2048", value_parser = bits())]
    bits: u32,

    /// Where the keys go, without their endings.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Replace files that exist.
    #[arg(long)]
    force: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Arguments of `pleura baseline paillier encrypt`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline paillier encrypt chest.png --key paillier.public --side 64 --out chest.paillier
  pleura baseline paillier encrypt chest.png --key paillier.public --pack --out chest.paillier")]
pub(crate) struct EncryptArgs {
    /// A PNG, JPEG or DICOM file.
    #[arg(value_name = "IMAGE")]
    image: PathBuf,

    /// The public key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// Side of the picture that is encrypted.
    #[arg(long, value_name = "PIXELS", default_value_t = 64, value_parser = side())]
    side: usize,

    /// Several pixels in each ciphertext.
    #[arg(long)]
    pack: bool,

    /// Where the ciphertexts go.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Arguments of `pleura baseline paillier decrypt`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline paillier decrypt chest.paillier --key paillier.secret --out chest.png")]
pub(crate) struct DecryptArgs {
    /// Ciphertexts from `encrypt`.
    #[arg(value_name = "FILE")]
    ciphertexts: PathBuf,

    /// The secret key.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// Side that the picture has to have; the file tells it.
    #[arg(long, value_name = "PIXELS", value_parser = side())]
    side: Option<usize>,

    /// Pixels have to be packed; the file tells whether they are.
    #[arg(long)]
    pack: bool,

    /// Where the picture goes.
    #[arg(long, value_name = "F.png")]
    out: PathBuf,

    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Arguments of `pleura baseline paillier store`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline paillier store ward/ --randomness fixed --out stored/

Pictures are named by the order of the X-rays, from 00000.png; each pixel is repeated so that they are 256 wide.")]
pub(crate) struct StoreArgs {
    /// PNG, JPEG or DICOM files, or folders of them; the sample X-rays if none are named.
    #[arg(value_name = "IMAGE|DIR")]
    images: Vec<PathBuf>,

    /// What shares its randomness: nothing (fresh), the pixels of an image, or all pixels (fixed).
    #[arg(long, value_name = "KIND", default_value = "fresh")]
    randomness: Shared,

    /// Side of the pictures that are encrypted.
    #[arg(long, value_name = "PIXELS", default_value_t = 64, value_parser = side())]
    side: usize,

    /// Bits of the modulus: 2048 or 3072.
    #[arg(long, value_name = "BITS", default_value = "2048", value_parser = bits())]
    bits: u32,

    /// The folder that the pictures go into.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,

    /// Replace files that exist.
    #[arg(long)]
    force: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What `--randomness` says.
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
  pleura baseline paillier leak --side 128 --out pictures/

Each pixel is encrypted and stored as a grey level, as published: with fresh randomness for each pixel, with one for each image, and with
one for all. Information is in bits for each pixel: Miller's estimate, or nothing if counts tell no more than those of shuffled pixels
do, which stand under chance; it is too high where pixels are few. The codebook is read from all other images, the
frequency attack sees one stored picture and another X-ray. Labels are those of ridge regression on all other stored
pictures, for 64 images or more whose labels are known (folders named normal and pneumonia tell).")]
pub(crate) struct LeakArgs {
    /// PNG, JPEG or DICOM files, or folders of them; the sample X-rays if none are named.
    #[arg(value_name = "IMAGE|DIR")]
    images: Vec<PathBuf>,

    /// Side of the pictures that are encrypted.
    #[arg(long, value_name = "PIXELS", default_value_t = 64, value_parser = side())]
    side: usize,

    /// Bits of the modulus: 2048 or 3072.
    #[arg(long, value_name = "BITS", default_value = "2048", value_parser = bits())]
    bits: u32,

    /// The folder that stored and recovered pictures go into.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Replace files that exist.
    #[arg(long)]
    force: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Arguments of `pleura baseline paillier linear`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline paillier linear
  pleura baseline paillier linear ward/ --bits 3072

A ciphertext holds one feature of many images, side by side: the server's work is the same for one and for thirty.")]
pub(crate) struct LinearArgs {
    /// PNG, JPEG or DICOM files, or folders of them; the sample X-rays if none are named.
    #[arg(value_name = "IMAGE|DIR")]
    images: Vec<PathBuf>,

    /// A linear network, shipped or in ONNX.
    #[arg(long, value_name = "NAME|FILE", default_value = "pneumonia-linear")]
    model: String,

    /// Bits of the modulus: 2048 or 3072.
    #[arg(long, value_name = "BITS", default_value = "2048", value_parser = bits())]
    bits: u32,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(crate) fn run(command: &Paillier) -> Result<(), CliError> {
    match command {
        Paillier::Keygen(args) => keygen(args),
        Paillier::Encrypt(args) => encrypt(args),
        Paillier::Decrypt(args) => decrypt(args),
        Paillier::Store(args) => stored(args),
        Paillier::Leak(args) => leak(args),
        Paillier::Linear(args) => linear(args),
    }
}

fn bits() -> impl TypedValueParser<Value = u32> {
    PossibleValuesParser::new(["2048", "3072"]).map(|text| text.parse().unwrap_or(2048))
}

fn side() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::<usize>::new().range(8..=256)
}

fn keygen(args: &KeygenArgs) -> Result<(), CliError> {
    let place = |ending: &str| {
        let mut path = args.out.clone().into_os_string();
        path.push(ending);
        PathBuf::from(path)
    };
    let (public, secret) = (place(".public"), place(".secret"));
    [&public, &secret].into_iter().try_for_each(|path| files::check_writable(path, args.force))?;
    let mut seconds = 0.0;
    let key = timed(&mut seconds, || SecretKey::generate(args.bits))?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CliError::Write { path, source }
    };
    files::write(&secret, &[&key.to_bytes()], args.force, true).map_err(failed(&secret))?;
    files::write(&public, &[&key.public().to_bytes()], args.force, false).map_err(failed(&public))?;
    if args.json {
        return terminal::publish_json(&json!({
            "bits": args.bits, "seconds": seconds, "public": public.to_string_lossy(), "secret": secret.to_string_lossy(),
        }));
    }
    terminal::publish(&format!(
        "a key of {} bits in {} and {}, {seconds:.2} s\n",
        args.bits,
        public.display(),
        secret.display()
    ))
}

fn encrypt(args: &EncryptArgs) -> Result<(), CliError> {
    files::check_writable(&args.out, args.force)?;
    let key = PublicKey::from_bytes(&files::read(&args.key, MAX_KEY)?)?;
    let images = images::load(std::slice::from_ref(&args.image))?;
    let pixels = images.first().map(|image| images::small(&image.xray, args.side)).unwrap_or_default();
    let plaintexts: Vec<Plaintext> = if args.pack {
        let packing = Packing::new(&key, PIXEL_BITS)?;
        let packed = pixels
            .chunks(packing.slots())
            .map(|run| packing.pack(&key, &run.iter().map(|&p| i64::from(p)).collect::<Vec<_>>()));
        packed.collect::<Result<_, _>>()?
    } else {
        pixels.iter().map(|&p| Plaintext::from_u64(u64::from(p))).collect()
    };
    let mut seconds = 0.0;
    let sent = timed(&mut seconds, || key.encrypt(&plaintexts))?;
    let label = args.side as u16 | if args.pack { PACKED } else { 0 };
    let bytes = key.ciphertexts_to_bytes(&sent, label);
    let failed = |source| CliError::Write { path: args.out.clone(), source };
    files::write(&args.out, &[&bytes], args.force, false).map_err(failed)?;
    if args.json {
        return terminal::publish_json(&json!({
            "out": args.out.to_string_lossy(), "pixels": pixels.len(), "ciphertexts": sent.len(), "bytes": bytes.len(),
            "seconds": seconds,
        }));
    }
    terminal::publish(&format!(
        "{} pixels in {} ciphertexts, {}, {seconds:.2} s: {}\n",
        pixels.len(),
        sent.len(),
        bytes_text(bytes.len() as u64),
        args.out.display()
    ))
}

fn decrypt(args: &DecryptArgs) -> Result<(), CliError> {
    files::check_writable(&args.out, args.force)?;
    let key = SecretKey::from_bytes(&Zeroizing::new(files::read(&args.key, MAX_KEY)?))?;
    let read = files::read(&args.ciphertexts, MAX_CIPHERTEXTS)?;
    let (sent, label) = key.public().ciphertexts_from_bytes(&read)?;
    let (side, pack) = (usize::from(label & !PACKED), label & PACKED != 0);
    let refused = |why| Err(PaillierError::Bytes { what: "encrypted picture", why }.into());
    if side == 0 {
        return refused("they do not tell its side");
    }
    if args.side.is_some_and(|asked| asked != side) {
        return refused("it has another side than --side says");
    }
    if args.pack && !pack {
        return refused("its pixels are not packed");
    }
    let mut seconds = 0.0;
    let opened = Zeroizing::new(timed(&mut seconds, || key.decrypt(&sent))?);
    let values: Vec<i64> = if pack {
        let packing = Packing::new(key.public(), PIXEL_BITS)?;
        opened.iter().flat_map(|m| packing.unpack(key.public(), m, packing.slots())).collect()
    } else {
        opened.iter().map(|m| m.to_u64().and_then(|x| i64::try_from(x).ok()).unwrap_or(-1)).collect()
    };
    let (wanted, got) = (side * side, values.len());
    let pixels: Vec<u8> = values.iter().take(wanted).map_while(|&x| u8::try_from(x).ok()).collect();
    // Packed pixels fill their last ciphertext up with zeros.
    let expected = if pack { wanted.div_ceil(got / sent.len().max(1)) } else { wanted };
    if pixels.len() != wanted || sent.len() != expected {
        return refused("it has not as many pixels as its side tells");
    }
    let failed = |source| CliError::Write { path: args.out.clone(), source };
    files::write(&args.out, &[&images::png(&pixels)?], args.force, true).map_err(failed)?;
    if args.json {
        return terminal::publish_json(&json!({ "out": args.out.to_string_lossy(), "seconds": seconds }));
    }
    terminal::publish(&format!("{}, {seconds:.2} s\n", args.out.display()))
}

/// Whether pictures of these names can be written, asked before they are made. The folder is made if it is not there.
fn check_pictures(
    folder: &Path,
    names: impl IntoIterator<Item = String>,
    force: bool,
) -> Result<(), CliError> {
    fs::create_dir_all(folder).map_err(|source| CliError::Write { path: folder.into(), source })?;
    names.into_iter().try_for_each(|name| files::check_writable(&folder.join(format!("{name}.png")), force))
}

fn stored(args: &StoreArgs) -> Result<(), CliError> {
    let images = images::load(&args.images)?;
    check_pictures(&args.out, (0..images.len()).map(|k| format!("{k:05}")), args.force)?;
    let plain: Vec<Vec<u8>> = images.iter().map(|image| images::small(&image.xray, args.side)).collect();
    let key = SecretKey::generate(args.bits)?;
    let (randomness, protection) = match args.randomness {
        Shared::Fresh => (Randomness::Fresh, "nothing to learn, nothing to classify"),
        Shared::Image => (Randomness::PerImage, RECOVERABLE),
        Shared::Fixed => (Randomness::Fixed, RECOVERABLE),
    };
    let mut seconds = 0.0;
    let kept = timed(&mut seconds, || store(key.public(), &plain, randomness))?;
    let pictures = kept.into_iter().enumerate().map(|(k, picture)| (format!("{k:05}"), picture.pixels));
    images::write_pictures(&args.out, &pictures.collect::<Vec<_>>(), args.force)?;
    let (count, out) = (images.len(), args.out.to_string_lossy());
    if args.json {
        return terminal::publish_json(&json!({
            "out": out, "images": count, "side": args.side, "bits": args.bits, "seconds": seconds, "protection": protection,
        }));
    }
    terminal::publish(&format!("{count} stored pictures in {out}, {seconds:.2} s\n{protection}\n"))
}

/// One arm of the pipeline as published.
pub(crate) struct Arm {
    pub(crate) randomness: Randomness,
    pub(crate) seconds: f64,
    pub(crate) information: MutualInformation,
    /// From all other images, and from one picture alone: median PSNR over images, and the first image's pictures.
    pub(crate) codebook: (f64, Vec<u8>),
    pub(crate) frequency: (f64, Vec<u8>),
    pub(crate) stored: Vec<u8>,
    /// Share of labels that a classifier gets right, where they are known.
    pub(crate) labels: Option<f64>,
}

impl Arm {
    /// Encrypts, stores, and attacks.
    pub(crate) fn of(
        key: &PublicKey,
        plain: &[Vec<u8>],
        labels: Option<&[bool]>,
        randomness: Randomness,
    ) -> Result<Self, CliError> {
        let mut seconds = 0.0;
        let stored = timed(&mut seconds, || store(key, plain, randomness))?;
        let stored: Vec<Vec<u8>> = stored.into_iter().map(|picture| picture.pixels).collect();
        let information = MutualInformation::of(&plain.concat(), &stored.concat());
        let labels = labels.map(|labels| leave_one_out(&stored, labels));
        let side = plain.first().map_or(1, |image| image.len().isqrt());
        let others = |k: usize, of: &[Vec<u8>]| -> Vec<u8> {
            of.iter().enumerate().filter(|(i, _)| *i != k).flat_map(|(_, x)| x.clone()).collect()
        };
        let even: Vec<u8> = (0..=u8::MAX).collect();
        let (mut by_codebook, mut by_frequency) = (Vec::new(), Vec::new());
        for (k, picture) in stored.iter().enumerate() {
            by_codebook.push(codebook(&others(k, plain), &others(k, &stored), picture));
            // An image is no reference for itself: without another, all greys alike.
            let other = plain.get((k + 1) % plain.len()).filter(|_| plain.len() > 1);
            by_frequency.push(frequency(picture, side, other.map_or(&even, |image| image.as_slice())));
        }
        let quality = |recovered: &[Vec<u8>]| {
            let mut found: Vec<f64> = plain.iter().zip(recovered).map(|(a, b)| psnr(a, b)).collect();
            found.sort_by(f64::total_cmp);
            found.get(found.len() / 2).copied().unwrap_or(f64::NAN)
        };
        // What is shown is the first, whatever it looks like.
        let shown = |recovered: Vec<Vec<u8>>| {
            let median = quality(&recovered);
            (median, recovered.into_iter().next().unwrap_or_default())
        };
        Ok(Self {
            randomness,
            seconds,
            information,
            codebook: shown(by_codebook),
            frequency: shown(by_frequency),
            stored: stored.into_iter().next().unwrap_or_default(),
            labels,
        })
    }

    /// What to call it.
    pub(crate) fn name(&self) -> &'static str {
        match self.randomness {
            Randomness::Fresh => "fresh for each pixel",
            Randomness::PerImage => "one for each image",
            Randomness::Fixed => "one for all",
        }
    }
}

/// Labels, if all are known and they are enough to learn from.
pub(crate) fn labels(images: &[Image]) -> Option<Vec<bool>> {
    images
        .iter()
        .map(|image| image.sick)
        .collect::<Option<Vec<bool>>>()
        .filter(|labels| labels.len() >= FEWEST)
}

fn leak(args: &LeakArgs) -> Result<(), CliError> {
    let images = images::load(&args.images)?;
    if images.len() < 2 {
        return Err(PaillierError::Alone.into());
    }
    if let Some(folder) = &args.out {
        let names = ARMS.iter().flat_map(|arm| PICTURES.map(|picture| format!("{arm}-{picture}")));
        check_pictures(folder, names.chain(["original".to_owned()]), args.force)?;
    }
    let plain: Vec<Vec<u8>> = images.iter().map(|image| images::small(&image.xray, args.side)).collect();
    let labels = labels(&images);
    let in_the_clear = labels.as_ref().map(|labels| leave_one_out(&plain, labels));
    let key = SecretKey::generate(args.bits)?;
    let bar = terminal::bar().with_prefix("leak");
    bar.set_length(3);
    let arms = [Randomness::Fresh, Randomness::PerImage, Randomness::Fixed].map(|randomness| {
        let arm = Arm::of(key.public(), &plain, labels.as_deref(), randomness);
        bar.inc(1);
        arm
    });
    bar.finish_and_clear();
    let arms = arms.into_iter().collect::<Result<Vec<_>, _>>()?;
    if let Some(folder) = &args.out {
        let first = plain.first().cloned().unwrap_or_default();
        let mut pictures = vec![("original".to_owned(), first)];
        for (arm, name) in arms.iter().zip(ARMS) {
            let of = [&arm.stored, &arm.codebook.1, &arm.frequency.1].into_iter().zip(PICTURES);
            pictures.extend(of.map(|(pixels, picture)| (format!("{name}-{picture}"), pixels.clone())));
        }
        images::write_pictures(folder, &pictures, args.force)?;
    }
    if args.json {
        let arm = |arm: &Arm| {
            json!({
                "randomness": arm.name(), "seconds": arm.seconds, "labels_right": arm.labels,
                "bits": { "entropy": arm.information.entropy, "estimate": arm.information.estimate, "bias": arm.information.bias,
                    "corrected": arm.information.corrected(), "shuffled": arm.information.shuffled, "beyond_chance": arm.information.beyond_chance() },
                "codebook_psnr": arm.codebook.0, "frequency_psnr": arm.frequency.0,
                "protection": if arm.randomness == Randomness::Fresh { "nothing to learn, nothing to classify" } else { RECOVERABLE },
            })
        };
        return terminal::publish_json(&json!({
            "images": images.len(), "side": args.side, "bits": args.bits, "labels_right_in_the_clear": in_the_clear,
            "arms": arms.iter().map(arm).collect::<Value>(),
        }));
    }
    let mut table = Table::new(
        1,
        ["randomness", "bits/pixel", "estimate", "chance", "codebook", "frequency", "labels", "s"],
    );
    let share = |x: Option<f64>| x.map_or_else(|| "unknown".to_owned(), |x| format!("{:.0} %", 100.0 * x));
    for arm in &arms {
        let MutualInformation { estimate, shuffled, .. } = arm.information;
        table.row([
            arm.name().to_owned(),
            format!("{:.2}", arm.information.beyond_chance()),
            format!("{estimate:.2}"),
            format!("{shuffled:.2}"),
            decibels(arm.codebook.0),
            decibels(arm.frequency.0),
            share(arm.labels),
            format!("{:.2}", arm.seconds),
        ]);
    }
    let entropy = arms.first().map_or(0.0, |arm| arm.information.entropy);
    terminal::publish(&format!(
        "{} X-rays of {side}x{side} pixels, {entropy:.2} bits each; labels right from the pixels themselves: {}\n\n{table}\n\
         fresh for each pixel: nothing to learn, so nothing to classify\none for each image, one for all: {RECOVERABLE}\n",
        images.len(),
        share(in_the_clear),
        side = args.side,
    ))
}

fn linear(args: &LinearArgs) -> Result<(), CliError> {
    let classifier = Classifier::load(&args.model)?;
    let images = images::load(&args.images)?;
    let features = images.iter().map(|image| Ok(classifier.input.features(&image.xray)?.values));
    let features = features.collect::<Result<Vec<_>, CliError>>()?;
    let outcome = LinearOutcome::of(&classifier.network, &features, args.bits)?;
    let LinearOutcome { scores, clear, worst, seconds: [keygen, encrypt, server, decrypt], .. } = &outcome;
    let class =
        |scores: &[f64]| label(scores).and_then(|i| classifier.classes.get(i).cloned()).unwrap_or_default();
    let known = images
        .iter()
        .zip(scores)
        .filter_map(|(image, scores)| image.sick.map(|sick| (class(scores) != "normal") == sick));
    let known: Vec<bool> = known.collect();
    let right = known.iter().filter(|&&right| right).count();
    let equal = scores.iter().zip(clear).filter(|(a, b)| label(a) == label(b)).count();
    if args.json {
        let row = |(image, scores): (&Image, &Vec<f64>)| json!({ "image": image.name, "label": class(scores), "scores": scores });
        return terminal::publish_json(&json!({
            "model": args.model, "bits": args.bits, "images": images.iter().zip(scores).map(row).collect::<Value>(),
            "right": right, "of": known.len(), "clear_labels_equal": equal, "max_abs_error": worst,
            "seconds": { "keygen": keygen, "encrypt": encrypt, "server": server, "decrypt": decrypt },
            "sent_bytes": outcome.sent_bytes, "returned_bytes": outcome.returned_bytes, "groups": outcome.groups,
        }));
    }
    let mut table = Table::new(2, ["image", "label", "score"]);
    for (image, scores) in images.iter().zip(scores) {
        let apart = match scores.as_slice() {
            [a, b] => format!("{:.3}", b - a),
            _ => scores.iter().copied().fold(f64::NEG_INFINITY, f64::max).to_string(),
        };
        table.row([image.name.clone(), class(scores), apart]);
    }
    let (count, groups) = (images.len(), outcome.groups);
    let labelled = if known.is_empty() {
        String::new()
    } else {
        format!("{right} of {} labelled as by the doctors, ", known.len())
    };
    terminal::publish(&format!(
        "{table}\n{count} X-rays, {labelled}{equal} as in the clear, scores off by at most {}.\n{} sent and {} returned in {groups} group{}; \
         key {keygen:.2} s, encrypt {encrypt:.2} s, server {server:.2} s, decrypt {decrypt:.3} s.\nNot a medical device.\n",
        short(*worst),
        bytes_text(outcome.sent_bytes),
        bytes_text(outcome.returned_bytes),
        if groups == 1 { "" } else { "s" },
    ))
}
