//! Keys, and X-rays encrypted and decrypted pixel by pixel.

use crate::baseline::arguments::{
    BitsArgs, CIPHERTEXTS, PUBLIC_KEY, ResultArgs, SECRET_KEY, SIDES, SideArgs, side,
};
use crate::baseline::images;
use crate::files::{self, FileError};
use crate::run::timed;
use crate::sources;
use crate::table::bytes_text;
use crate::terminal::{self, counted};
use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::ProgressBar;
use pleura::baselines::paillier::{Packing, PaillierError, Plaintext, PublicKey, SecretKey, Zeroizing};
use serde_json::json;
use std::path::{Path, PathBuf};

/// What each thread does between two steps of a bar.
const RUN: usize = 64;
/// Bits of a slot for a pixel: sixteen million of them can be added up.
const PIXEL_BITS: u32 = 33;
/// In the label of ciphertexts beside the side of the picture: pixels are packed.
const PACKED: u16 = 1 << 15;

/// Arguments of `pleura baseline paillier keygen`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline paillier keygen --out paillier
  pleura baseline paillier keygen --bits 3072 --out paillier

Writes OUT.public and OUT.secret.")]
pub(crate) struct KeygenArgs {
    #[command(flatten)]
    bits: BitsArgs,

    /// Where the keys go, without their endings.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    #[command(flatten)]
    result: ResultArgs,
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

    #[command(flatten)]
    side: SideArgs,

    /// Several pixels in each ciphertext.
    #[arg(long)]
    pack: bool,

    /// Where the ciphertexts go.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    #[command(flatten)]
    result: ResultArgs,
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

    /// Refuse a picture of any other side; 8 to 256.
    #[arg(long, value_name = "PIXELS", value_parser = side())]
    side: Option<usize>,

    /// Refuse a picture whose pixels are not packed.
    #[arg(long)]
    pack: bool,

    /// Where the picture goes.
    #[arg(long, value_name = "F.png")]
    out: PathBuf,

    #[command(flatten)]
    result: ResultArgs,
}

/// Makes a key, in two files.
pub(super) fn keygen(args: &KeygenArgs) -> Result<()> {
    if files::is_folder_name(&args.out) || args.out.is_dir() {
        return Err(FileError::FolderName(args.out.clone()).into());
    }
    let place = |ending: &str| {
        let mut path = args.out.clone().into_os_string();
        path.push(ending);
        PathBuf::from(path)
    };
    let (public, secret) = (place(".public"), place(".secret"));
    [&public, &secret].into_iter().try_for_each(|path| args.result.check(path))?;
    let (mut seconds, bits) = (0.0, args.bits.bits);
    let bar = terminal::clock().with_prefix("keygen");
    bar.set_length(1);
    let key = timed(&mut seconds, || SecretKey::generate(bits))?;
    bar.finish_and_clear();
    args.result.write_private(&secret, &key.to_bytes())?;
    args.result.write(&public, &key.public().to_bytes())?;
    if args.result.json {
        return terminal::publish_json(&json!({
            "bits": bits, "seconds": seconds, "public": public.to_string_lossy(), "secret": secret.to_string_lossy(),
        }));
    }
    terminal::publish(&format!(
        "a key of {bits} bits in {} and {}, {seconds:.2} s\n",
        public.display(),
        secret.display()
    ))
}

/// Encrypts the pixels of an X-ray.
pub(super) fn encrypt(args: &EncryptArgs) -> Result<()> {
    let read = sources::files(std::slice::from_ref(&args.image));
    args.result.check_apart(&args.out, read.iter().chain([&args.key]))?;
    let key = PublicKey::from_bytes(&PUBLIC_KEY.read(&args.key)?).with_context(|| cannot_use(&args.key))?;
    if args.image.is_dir() {
        return Err(FileError::Directory(args.image.clone()).into());
    }
    let images = images::load(std::slice::from_ref(&args.image))?;
    let side = args.side.side;
    let pixels = images.first().map(|image| images::small(&image.xray, side)).unwrap_or_default();
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
    let bar = terminal::bar().with_prefix("encrypt");
    bar.set_length(plaintexts.len() as u64);
    let mut sent = Vec::with_capacity(plaintexts.len());
    timed(&mut seconds, || {
        in_runs(&bar, &plaintexts, |run| {
            sent.append(&mut key.encrypt(run)?);
            Ok(())
        })
    })?;
    bar.finish_and_clear();
    let label = side as u16 | if args.pack { PACKED } else { 0 };
    let bytes = key.ciphertexts_to_bytes(&sent, label);
    args.result.write(&args.out, &bytes)?;
    if args.result.json {
        return terminal::publish_json(&json!({
            "out": args.out.to_string_lossy(), "pixels": pixels.len(), "ciphertexts": sent.len(), "bytes": bytes.len(),
            "seconds": seconds,
        }));
    }
    terminal::publish(&format!(
        "{} in {}, {}, {seconds:.2} s: {}\n",
        counted(pixels.len(), "pixel"),
        counted(sent.len(), "ciphertext"),
        bytes_text(bytes.len() as u64),
        args.out.display()
    ))
}

/// Decrypts them into a picture.
pub(super) fn decrypt(args: &DecryptArgs) -> Result<()> {
    args.result.check_apart(&args.out, [&args.key, &args.ciphertexts])?;
    let key = SecretKey::from_bytes(&Zeroizing::new(SECRET_KEY.read(&args.key)?))
        .with_context(|| cannot_use(&args.key))?;
    let read = CIPHERTEXTS.read(&args.ciphertexts)?;
    let (sent, label) =
        key.public().ciphertexts_from_bytes(&read).with_context(|| cannot_use(&args.ciphertexts))?;
    let (side, pack) = (usize::from(label & !PACKED), label & PACKED != 0);
    let refused = |why| {
        let error = PaillierError::Bytes { what: "encrypted picture", why };
        Err(error).with_context(|| cannot_use(&args.ciphertexts))
    };
    if !SIDES.contains(&(side as u64)) {
        return refused("pictures of such a side are not encrypted");
    }
    if let Some(asked) = args.side.filter(|&asked| asked != side) {
        let path = args.ciphertexts.display();
        bail!("{path} has another side than --side says: {side} pixels, not {asked}");
    }
    if args.pack && !pack {
        return refused("its pixels are not packed");
    }
    let packing = pack.then(|| Packing::new(key.public(), PIXEL_BITS)).transpose()?;
    let wanted = side * side;
    // Before the work: packed pixels fill their last ciphertext up with zeros.
    if sent.len() != packing.as_ref().map_or(wanted, |packing| wanted.div_ceil(packing.slots())) {
        return refused("it has not as many pixels as its side tells");
    }
    let mut seconds = 0.0;
    let bar = terminal::bar().with_prefix("decrypt");
    bar.set_length(sent.len() as u64);
    let mut opened = Zeroizing::new(Vec::with_capacity(sent.len()));
    timed(&mut seconds, || {
        in_runs(&bar, &sent, |run| {
            opened.append(&mut key.decrypt(run)?);
            Ok(())
        })
    })?;
    bar.finish_and_clear();
    let values: Vec<i64> = match &packing {
        Some(packing) => {
            opened.iter().flat_map(|m| packing.unpack(key.public(), m, packing.slots())).collect()
        }
        None => opened.iter().map(|m| m.to_u64().and_then(|x| i64::try_from(x).ok()).unwrap_or(-1)).collect(),
    };
    let pixels: Vec<u8> = values.iter().take(wanted).map_while(|&x| u8::try_from(x).ok()).collect();
    if pixels.len() != wanted {
        return refused("what is in it are no pixels");
    }
    args.result.write_private(&args.out, &images::png(&pixels)?)?;
    if args.result.json {
        return terminal::publish_json(&json!({
            "out": args.out.to_string_lossy(), "side": side, "packed": pack, "seconds": seconds,
        }));
    }
    terminal::publish(&format!("{side}x{side} pixels in {}, {seconds:.2} s\n", args.out.display()))
}

fn cannot_use(path: &Path) -> String {
    format!("cannot use {} for Paillier", path.display())
}

/// Works through things in runs that keep all threads busy, and moves a bar by each.
pub(super) fn in_runs<T>(
    bar: &ProgressBar,
    things: &[T],
    mut work: impl FnMut(&[T]) -> Result<(), PaillierError>,
) -> Result<(), PaillierError> {
    things.chunks(RUN * rayon::current_num_threads()).try_for_each(|run| {
        work(run)?;
        bar.inc(run.len() as u64);
        Ok(())
    })
}
