//! Keys, and X-rays encrypted and decrypted pixel by pixel.

use crate::baseline::arguments::{BitsArgs, ResultArgs, SIDES, SideArgs, side};
use crate::baseline::images;
use crate::error::CliError;
use crate::run::timed;
use crate::table::bytes_text;
use crate::{files, terminal};
use clap::Args;
use pleura::baselines::paillier::{Packing, PaillierError, Plaintext, PublicKey, SecretKey, Zeroizing};
use serde_json::json;
use std::path::PathBuf;

/// Keys are no larger.
const MAX_KEY: u64 = 1 << 14;
/// Ciphertexts of an image are no larger.
const MAX_CIPHERTEXTS: u64 = 1 << 30;
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

    /// Side that the picture has to have; the file tells it.
    #[arg(long, value_name = "PIXELS", value_parser = side())]
    side: Option<usize>,

    /// Pixels have to be packed; the file tells whether they are.
    #[arg(long)]
    pack: bool,

    /// Where the picture goes.
    #[arg(long, value_name = "F.png")]
    out: PathBuf,

    #[command(flatten)]
    result: ResultArgs,
}

/// Makes a key, in two files.
pub(super) fn keygen(args: &KeygenArgs) -> Result<(), CliError> {
    let place = |ending: &str| {
        let mut path = args.out.clone().into_os_string();
        path.push(ending);
        PathBuf::from(path)
    };
    let (public, secret) = (place(".public"), place(".secret"));
    [&public, &secret].into_iter().try_for_each(|path| args.result.check(path))?;
    let (mut seconds, bits) = (0.0, args.bits.bits);
    let key = timed(&mut seconds, || SecretKey::generate(bits))?;
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
pub(super) fn encrypt(args: &EncryptArgs) -> Result<(), CliError> {
    args.result.check(&args.out)?;
    let key = PublicKey::from_bytes(&files::read(&args.key, MAX_KEY)?)?;
    if args.image.is_dir() {
        return Err(CliError::Directory { path: args.image.clone() });
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
    let sent = timed(&mut seconds, || key.encrypt(&plaintexts))?;
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
        "{} pixels in {} ciphertexts, {}, {seconds:.2} s: {}\n",
        pixels.len(),
        sent.len(),
        bytes_text(bytes.len() as u64),
        args.out.display()
    ))
}

/// Decrypts them into a picture.
pub(super) fn decrypt(args: &DecryptArgs) -> Result<(), CliError> {
    args.result.check(&args.out)?;
    let key = SecretKey::from_bytes(&Zeroizing::new(files::read(&args.key, MAX_KEY)?))?;
    let read = files::read(&args.ciphertexts, MAX_CIPHERTEXTS)?;
    let (sent, label) = key.public().ciphertexts_from_bytes(&read)?;
    let (side, pack) = (usize::from(label & !PACKED), label & PACKED != 0);
    let refused = |why| Err(PaillierError::Bytes { what: "encrypted picture", why }.into());
    if !SIDES.contains(&(side as u64)) {
        return refused("pictures of such a side are not encrypted");
    }
    if args.side.is_some_and(|asked| asked != side) {
        return refused("it has another side than --side says");
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
    let opened = Zeroizing::new(timed(&mut seconds, || key.decrypt(&sent))?);
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
        return terminal::publish_json(&json!({ "out": args.out.to_string_lossy(), "seconds": seconds }));
    }
    terminal::publish(&format!("{}, {seconds:.2} s\n", args.out.display()))
}
