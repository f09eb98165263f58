//! `pleura encrypt`: items into ciphertexts, on the client.

use super::output::{self, Output, Written};
use super::spec::{ClientArgs, cannot_use};
use crate::cmd::classify::ood_warning;
use crate::model::read_items;
use crate::text::{bytes_text, chain, counted, hex, plain};
use crate::{files, sources, terminal};
use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::ProgressBar;
use pleura::nn::BeyondRange;
use pleura::remote::{ClientKey, ItemEncryptor, ItemNote};
use pleura::xray::{Content, Preprocessing, Source, SourceItem, path_text};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// Arguments of `pleura encrypt`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura encrypt --spec client.spec --secret secret.key chest.dcm --output x.ct
  pleura encrypt --spec client.spec --secret secret.key ward/ --output ward.ct
  pleura encrypt --spec client.spec --secret secret.key batch.npy --output x.ct

X-rays are compressed locally by the codec of client.spec, and their latents are encrypted. Names of
files are encrypted too. Unreadable files of a folder are reported and skipped.")]
pub(crate) struct EncryptArgs {
    #[command(flatten)]
    client: ClientArgs,

    /// X-rays (PNG, JPEG, TIFF, BMP, WebP, DICOM), latents from `pleura compress`, or arrays in .npy; or folders of them.
    #[arg(value_name = "IMAGE|DIR|NPY", required = true)]
    inputs: Vec<PathBuf>,

    /// File for the ciphertexts.
    #[arg(long, value_name = "x.ct")]
    output: PathBuf,

    /// Replace the output file if it exists.
    #[arg(long)]
    force: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Counts, and what is wrong with items.
#[derive(Default)]
struct Summary {
    items: u64,
    failed: usize,
    /// Failures of files that were named, and not found in a folder.
    failed_by_name: usize,
    warnings: Vec<String>,
}

/// Encrypts all items, one group at a time.
pub(crate) fn encrypt(args: &EncryptArgs) -> Result<()> {
    let inputs = sources::files(&args.inputs).into_iter().chain(args.client.files());
    files::check_outputs(&[&args.output], inputs, args.force)?;
    let key = args.client.open()?;
    let preprocessing = key.bundle().preprocessing().with_context(|| cannot_use(&args.client.spec))?;
    let mut summary = Summary::default();
    let (_, written) = output::write(&args.output, args.force, |out| {
        let mut encryptor = ItemEncryptor::new(&key, out)?;
        match &preprocessing {
            Some(preprocessing) => xrays(args, &key, preprocessing, &mut encryptor, &mut summary)?,
            None => arrays(args, &key, &mut encryptor, &mut summary)?,
        }
        summary.items = encryptor.items();
        Ok(encryptor.finish()?.1)
    })?;
    report(args, &key, &summary, &written)?;
    if summary.failed_by_name > 0 {
        let Summary { items, failed, .. } = summary;
        bail!(
            "{} could not be read (see warnings); {items} are in {}",
            counted(failed, "file"),
            args.output.display()
        );
    }
    Ok(())
}

fn xrays(
    args: &EncryptArgs,
    key: &ClientKey,
    preprocessing: &Preprocessing,
    encryptor: &mut ItemEncryptor<'_, &mut Output<'_>>,
    summary: &mut Summary,
) -> Result<()> {
    let sources = sources::list(&args.inputs)?;
    let bar = bar(sources.len());
    for source in &sources {
        bar.set_message(plain(&source.name()));
        match source.read(preprocessing.codec(), preprocessing.side()) {
            Ok(items) => {
                for item in items {
                    let name = item.name();
                    let SourceItem { digest, content, notes, .. } = item;
                    let features = match &content {
                        Content::Xray(xray) => preprocessing.features(xray)?,
                        Content::Latent(latent) => preprocessing.features_of_latent(latent)?,
                    };
                    let mut warnings: Vec<String> =
                        notes.iter().map(|note| format!("{name}: {note}")).collect();
                    warnings.extend(ood_warning(&name, features.ood_score));
                    let note = ItemNote { name, digest: Some(digest), warnings };
                    bar.suspend(|| add(key, encryptor, note, features.values, summary))?;
                }
            }
            Err(error) if sources.len() == 1 && source.is_named() => return Err(error.into()),
            Err(error) => bar.suspend(|| skip(source, &error.into(), summary)),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if encryptor.items() == 0 {
        bail!("{} of {} could not be read (see warnings)", summary.failed, sources.len());
    }
    Ok(())
}

fn skip(source: &Source, error: &anyhow::Error, summary: &mut Summary) {
    summary.failed += 1;
    summary.failed_by_name += usize::from(source.is_named());
    terminal::warn(&format!("skipped: {}", chain(error)));
}

fn arrays(
    args: &EncryptArgs,
    key: &ClientKey,
    encryptor: &mut ItemEncryptor<'_, &mut Output<'_>>,
    summary: &mut Summary,
) -> Result<()> {
    let paths = npy_files(&args.inputs)?;
    let bar = bar(paths.len());
    for path in &paths {
        let name = path_text(path);
        bar.set_message(plain(&name));
        let items = read_items(path, &key.bundle().item_shape())?;
        let several = items.shape().first() != Some(&1);
        for (number, item) in items.outer_iter().enumerate() {
            let name = if several { format!("{name}#{number}") } else { name.clone() };
            let note = ItemNote { name, digest: None, warnings: Vec::new() };
            bar.suspend(|| add(key, encryptor, note, item.to_owned(), summary))?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Encrypts an item, and says what is wrong with it.
fn add(
    key: &ClientKey,
    encryptor: &mut ItemEncryptor<'_, &mut Output<'_>>,
    mut note: ItemNote,
    values: ndarray::ArrayD<f64>,
    summary: &mut Summary,
) -> Result<()> {
    let flat: Vec<f64> = values.iter().copied().collect();
    let spec = key.bundle().spec();
    if let Some(BeyondRange { found, calibrated }) = spec.input_beyond_range(&flat) {
        note.warnings.push(format!(
            "{}: values reach {found}, but were calibrated {calibrated}: results may be wrong",
            note.name
        ));
    }
    note.warnings.iter().for_each(|text| terminal::warn(text));
    summary.warnings.extend(note.warnings.iter().cloned());
    let name = plain(&note.name);
    encryptor.add(note, values).with_context(|| format!("cannot encrypt {name}"))
}

/// The .npy files that arguments name, folders opened up.
fn npy_files(arguments: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in arguments {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let mut inside = Vec::new();
        for entry in fs::read_dir(path).with_context(|| files::cannot_read(path))? {
            let file = entry.with_context(|| files::cannot_read(path))?.path();
            if file.is_file() && has_extension(&file, "npy") {
                inside.push(file);
            }
        }
        if inside.is_empty() {
            bail!("{} contains no .npy file: this network takes arrays in .npy", path.display());
        }
        inside.sort();
        found.extend(inside);
    }
    Ok(found)
}

fn has_extension(path: &Path, expected: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(expected))
}

fn bar(length: usize) -> ProgressBar {
    let bar = crate::progress::bar().with_prefix("encrypt");
    bar.set_length(length as u64);
    bar
}

fn report(args: &EncryptArgs, key: &ClientKey, summary: &Summary, written: &Written) -> Result<()> {
    let path = args.output.to_string_lossy();
    if args.json {
        return terminal::print_json(
            "encrypt",
            &json!({
                "network": key.bundle().spec().network(),
                "items": summary.items,
                "failed": summary.failed,
                "key": hex(&key.origin().key),
                "output": { "path": path, "bytes": written.bytes, "sha256": written.sha256() },
                "warnings": summary.warnings,
            }),
        );
    }
    let items = counted(summary.items as usize, "item");
    terminal::print(&format!("{items} in {path}, {}\n", bytes_text(written.bytes)))
}
