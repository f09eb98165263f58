//! Keys, and X-rays encrypted and decrypted pixel by pixel.

use crate::clock::timed;
use crate::cmd::baseline::arguments::{
    BitsArgs, CIPHERTEXTS, PUBLIC_KEY, ResultArgs, SECRET_KEY, SideArgs, side,
};
use crate::cmd::baseline::images;
use crate::files::{self, FileError};
use crate::sources;
use crate::terminal;
use crate::text::{bytes_text, counted};
use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::ProgressBar;
use pleura::baselines::paillier::{EncryptedPicture, PaillierError, PublicKey, SecretKey};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Arguments of `pleura baseline paillier keygen`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline paillier keygen --output paillier
  pleura baseline paillier keygen --bits 3072 --output paillier

Writes FILE.public and FILE.secret.")]
pub(crate) struct KeygenArgs {
    #[command(flatten)]
    bits: BitsArgs,

    /// Where the keys go, without their endings.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,

    #[command(flatten)]
    result: ResultArgs,
}

/// Arguments of `pleura baseline paillier encrypt`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline paillier encrypt chest.png --key paillier.public \\
      --side 64 --output chest.paillier
  pleura baseline paillier encrypt chest.png --key paillier.public \\
      --pack --output chest.paillier")]
pub(crate) struct EncryptArgs {
    /// A PNG, JPEG, TIFF, BMP, WebP or DICOM file.
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
    output: PathBuf,

    #[command(flatten)]
    result: ResultArgs,
}

/// Arguments of `pleura baseline paillier decrypt`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura baseline paillier decrypt chest.paillier --key paillier.secret \\
      --output chest.png")]
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
    output: PathBuf,

    #[command(flatten)]
    result: ResultArgs,
}

/// Makes a key, in two files.
pub(super) fn keygen(args: &KeygenArgs) -> Result<()> {
    if files::is_folder_name(&args.output) || args.output.is_dir() {
        return Err(FileError::FolderName(args.output.clone()).into());
    }
    let place = |ending: &str| {
        let mut path = args.output.clone().into_os_string();
        path.push(ending);
        PathBuf::from(path)
    };
    let public = place(".public");
    let secret = place(".secret");
    [&public, &secret].into_iter().try_for_each(|path| args.result.check(path))?;
    let bits = args.bits.bits;
    let mut seconds = 0.0;
    let bar = crate::progress::clock().with_prefix("keygen");
    bar.set_length(1);
    let key = timed(&mut seconds, || SecretKey::generate(bits))?;
    bar.finish_and_clear();
    args.result.write_private(&secret, &key.to_bytes())?;
    args.result.write(&public, &key.public().to_bytes())?;
    if args.result.json {
        return terminal::print_json(
            "paillier-keygen",
            &json!({
                "bits": bits, "seconds": seconds, "public": public.to_string_lossy(), "secret": secret.to_string_lossy(),
            }),
        );
    }
    terminal::print(&format!(
        "a key of {bits} bits in {} and {}, {seconds:.2} s\n",
        public.display(),
        secret.display()
    ))
}

/// Encrypts the pixels of an X-ray.
pub(super) fn encrypt(args: &EncryptArgs) -> Result<()> {
    let read = sources::files(std::slice::from_ref(&args.image));
    args.result.check_apart(&args.output, read.iter().chain([&args.key]))?;
    let key = PublicKey::from_bytes(&PUBLIC_KEY.read(&args.key)?).with_context(|| cannot_use(&args.key))?;
    if args.image.is_dir() {
        return Err(FileError::Directory(args.image.clone()).into());
    }
    let images = images::load(std::slice::from_ref(&args.image))?;
    let side = args.side.side;
    let [image] = images.as_slice() else { bail!("{} is not one image", args.image.display()) };
    let pixels = images::small(&image.xray, side);
    let mut seconds = 0.0;
    let bar = crate::progress::bar().with_prefix("encrypt");
    let sealed = timed(&mut seconds, || {
        EncryptedPicture::encrypt(&key, &pixels, args.pack, &mut |done, of| progress(&bar, done, of))
    })?;
    bar.finish_and_clear();
    let bytes = sealed.to_bytes(&key);
    let sent = sealed.ciphertexts();
    args.result.write(&args.output, &bytes)?;
    if args.result.json {
        return terminal::print_json(
            "paillier-encrypt",
            &json!({
                "path": args.output.to_string_lossy(), "pixels": pixels.len(), "ciphertexts": sent, "bytes": bytes.len(),
                "seconds": seconds,
            }),
        );
    }
    terminal::print(&format!(
        "{} in {}, {}, {seconds:.2} s: {}\n",
        counted(pixels.len(), "pixel"),
        counted(sent, "ciphertext"),
        bytes_text(bytes.len() as u64),
        args.output.display()
    ))
}

/// Decrypts them into a picture.
pub(super) fn decrypt(args: &DecryptArgs) -> Result<()> {
    args.result.check_apart(&args.output, [&args.key, &args.ciphertexts])?;
    let key =
        SecretKey::from_bytes(&SECRET_KEY.read_private(&args.key)?).with_context(|| cannot_use(&args.key))?;
    let read = CIPHERTEXTS.read(&args.ciphertexts)?;
    let sealed = EncryptedPicture::from_bytes(key.public(), &read);
    let sealed = sealed.with_context(|| cannot_use(&args.ciphertexts))?;
    let side = sealed.side();
    let packed = sealed.is_packed();
    if let Some(asked) = args.side.filter(|&asked| asked != side) {
        let path = args.ciphertexts.display();
        bail!("{path} has another side than --side says: {side} pixels, not {asked}");
    }
    if args.pack && !packed {
        let error = PaillierError::Bytes { what: "encrypted picture", why: "its pixels are not packed" };
        return Err(error).with_context(|| cannot_use(&args.ciphertexts));
    }
    let mut seconds = 0.0;
    let bar = crate::progress::bar().with_prefix("decrypt");
    let pixels = timed(&mut seconds, || sealed.decrypt(&key, &mut |done, of| progress(&bar, done, of)));
    bar.finish_and_clear();
    let pixels = pixels.with_context(|| cannot_use(&args.ciphertexts))?;
    args.result.write_private(&args.output, &images::png(&pixels)?)?;
    if args.result.json {
        return terminal::print_json(
            "paillier-decrypt",
            &json!({
                "path": args.output.to_string_lossy(), "side": side, "packed": packed, "seconds": seconds,
            }),
        );
    }
    terminal::print(&format!("{side}x{side} pixels in {}, {seconds:.2} s\n", args.output.display()))
}

fn cannot_use(path: &Path) -> String {
    format!("cannot use {} for Paillier", path.display())
}

fn progress(bar: &ProgressBar, done: usize, of: usize) {
    bar.set_length(of as u64);
    bar.set_position(done as u64);
}
