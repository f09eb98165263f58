//! `pleura compress` and `pleura reconstruct`: the codec by itself.

mod unfinished;

use crate::model::all_cores;
use crate::names::path_cell;
use crate::omitted::Omitted;
use crate::sources::FolderArgs;
use crate::stages::Crew;
use crate::table::Table;
use crate::text::{bytes_text, chain, counted, hex, plain};
use crate::{files, part_file, terminal};
use anyhow::{Context, Result, bail};
use clap::Args;
use pleura::latent::{Codec, Latent, LatentFile, SIDE, StoredLatent, Xray, psnr, ssim};
use pleura::xray::shipped::{self, CODECS};
use pleura::xray::{Content, Source, SourceBytes, SourceItem, SourceList};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use unfinished::{EarlierLatents, Key, Unfinished};

/// Files of latents are no larger.
const MAX_LATENTS: u64 = 1 << 30;

/// Arguments of `pleura compress`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura compress chest.dcm --output chest.safetensors
  pleura compress ward/ --output ward.safetensors --codec f4
  pleura compress chest.png --output chest.safetensors --quantize
  pleura classify chest.safetensors

Folders are searched recursively. A file is an X-ray by its content, not by its name. Other and
unreadable files are reported and skipped; with --strict, they make the command fail.

An interrupted run resumes from FILE.part and compresses no finished image again; changed files are
compressed again. The files and the codec must be the same. --force starts again.

The file is in safetensors: float32 `latents`, or 16-bit `codes` with --quantize. Classify
continuous latents: the networks were trained on them.")]
pub(crate) struct CompressArgs {
    /// PNG, JPEG, TIFF, BMP, WebP or DICOM files, or folders of them.
    #[arg(value_name = "IMAGE|DIR", required = true)]
    images: Vec<PathBuf>,

    /// Where the latents go.
    #[arg(long, value_name = "F.safetensors")]
    output: PathBuf,

    /// Which codec: f8, f4 or f16.
    #[arg(long, value_name = "NAME", default_value = CODECS[0].0)]
    codec: String,

    /// Keep the nearest codes of the codebook: ten bits for each position.
    #[arg(long)]
    quantize: bool,

    #[command(flatten)]
    folders: FolderArgs,

    /// Replace the output file if it exists.
    #[arg(long)]
    force: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Arguments of `pleura reconstruct`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura reconstruct chest.safetensors --output pictures/")]
pub(crate) struct ReconstructArgs {
    /// Latents from `pleura compress`.
    #[arg(value_name = "F.safetensors")]
    latents: PathBuf,

    /// The folder that PNG files go into; it is made if it is not there.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,

    /// Replace files that exist.
    #[arg(long)]
    force: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Quality of an X-ray after the codec.
struct Quality {
    name: String,
    /// PSNR in dB and SSIM, from the continuous latent and from its codes.
    continuous: [f64; 2],
    quantized: [f64; 2],
}

/// An X-ray as a latent.
pub(super) struct Compressed {
    notes: Vec<String>,
    quality: Quality,
    latent: StoredLatent,
    /// Whether an earlier run made it.
    is_earlier: bool,
}

impl Compressed {
    /// The latent of a source, of an earlier run if its file is the same, and what it is known by.
    fn new(source: &Source, codec: &Codec, quantize: bool, earlier: &EarlierLatents) -> Result<(Key, Self)> {
        let bytes = source.load()?;
        let key = (path_cell(source.path(), None), hex(bytes.digest()));
        let compressed = match earlier.take(&key) {
            Some(compressed) => compressed,
            None => Self::encoded(source, &bytes, codec, quantize)?,
        };
        Ok((key, compressed))
    }

    fn encoded(source: &Source, bytes: &SourceBytes<'_>, codec: &Codec, quantize: bool) -> Result<Self> {
        let name = source.name();
        let (xray, notes) = match bytes.items(Some(codec), SIDE)?.into_iter().next() {
            Some(SourceItem { content: Content::Xray(xray), notes, .. }) => (xray, notes),
            _ => bail!("{name} holds latents already; give it images"),
        };
        let notes = notes.iter().map(|note| format!("{name}: {note}")).collect();
        let latent = codec.encode(&xray);
        let codes = codec.quantize(&latent).with_context(|| of_codec(codec))?;
        let decoded = |latent: &Latent| codec.decode(latent).with_context(|| of_codec(codec));
        let dequantized = codec.dequantize(&codes).with_context(|| of_codec(codec))?;
        let compare = |other: &Xray| [psnr(&xray, other), ssim(&xray, other)];
        let continuous = compare(&decoded(&latent)?);
        let quality = Quality { name, continuous, quantized: compare(&decoded(&dequantized)?) };
        let latent = if quantize { StoredLatent::Codes(codes) } else { StoredLatent::Latent(latent) };
        Ok(Self { notes, quality, latent, is_earlier: false })
    }
}

/// X-rays to latents, one for each core at a time.
pub(crate) fn compress(args: &CompressArgs) -> Result<()> {
    let codec = shipped::codec(&args.codec)?;
    let SourceList { sources, skipped, .. } = args.folders.list(&args.images)?;
    files::check_outputs(&[&args.output], sources.iter().map(Source::path), args.force)?;
    files::check_format(&args.output, "safetensors")?;
    let part = part_file::part(&args.output);
    files::apart(&[&part], sources.iter().map(Source::path))?;
    let omitted = Omitted::new(&skipped, &[&args.output, &part]);
    let opened = match files::is_standard(&args.output) {
        true => None,
        false => Some(Unfinished::open(&args.output, &codec, args.quantize, &sources, args.force)?),
    };
    let (unfinished, earlier) = match opened {
        Some((unfinished, earlier)) => (Some(unfinished), earlier),
        None => (None, EarlierLatents::default()),
    };
    let mut latents =
        Latents { codec: &codec, unfinished, omitted, stored: Vec::new(), qualities: Vec::new(), resumed: 0 };
    latents.take_all(args, &sources, &earlier)?;
    let Latents { unfinished, omitted, stored, qualities, resumed, .. } = latents;
    if stored.is_empty() {
        let failed = omitted.failed();
        bail!("{failed} of {} could not be read (see warnings)", sources.len());
    }
    let stale = earlier.left();
    if stale > 0 {
        terminal::warn(&format!(
            "{} of earlier runs left out, since the files have changed or could not be read this time",
            counted(stale, "latent")
        ));
    }
    let bytes = LatentFile::new(&codec, stored).with_context(|| cannot_use(&args.output))?.to_bytes();
    // They are as private as the X-rays.
    files::write(&args.output, &[&bytes], args.force, true)?;
    unfinished.map(Unfinished::finish).transpose()?;
    report(args, &qualities, bytes.len() as u64, resumed, &omitted)?;
    omitted.tell();
    omitted.verdict(qualities.len(), sources.len(), args.folders.strict)
}

/// Latents of all sources.
struct Latents<'a> {
    codec: &'a Codec,
    /// Where they are kept until all are there.
    unfinished: Option<Unfinished>,
    omitted: Omitted,
    stored: Vec<(String, StoredLatent)>,
    qualities: Vec<Quality>,
    /// Number of latents of earlier runs.
    resumed: usize,
}

impl Latents<'_> {
    fn take_all(&mut self, args: &CompressArgs, sources: &[Source], earlier: &EarlierLatents) -> Result<()> {
        let codec = self.codec;
        let bar = crate::progress::bar().with_prefix("compress");
        bar.set_length(sources.len() as u64);
        let crew = Crew::new(all_cores(), sources.len());
        thread::scope(|scope| -> Result<()> {
            let compressed = crew.start(scope).stage(sources.iter().map(Ok), |source| {
                Ok((source, Compressed::new(source, codec, args.quantize, earlier)))
            });
            for result in compressed {
                let (source, compressed) = result?;
                bar.set_message(plain(&source.name()));
                bar.inc(1);
                match compressed {
                    Ok((key, compressed)) => {
                        bar.suspend(|| compressed.notes.iter().for_each(|note| terminal::note(note)));
                        self.take(key, compressed)?;
                    }
                    Err(error) if source.is_named() => return Err(error),
                    Err(error) => {
                        self.omitted.fail(source.name(), source.is_named(), &error);
                        bar.suspend(|| terminal::warn(&chain(&error)));
                    }
                }
            }
            Ok(())
        })?;
        bar.finish_and_clear();
        Ok(())
    }

    fn take(&mut self, key: Key, compressed: Compressed) -> Result<()> {
        if compressed.is_earlier {
            self.resumed += 1;
        } else if let Some(unfinished) = &mut self.unfinished {
            unfinished.add(self.codec, key, &compressed)?;
        }
        let Compressed { quality, latent, .. } = compressed;
        self.stored.push((quality.name.clone(), latent));
        self.qualities.push(quality);
        Ok(())
    }
}

fn report(
    args: &CompressArgs,
    qualities: &[Quality],
    bytes: u64,
    resumed: usize,
    omitted: &Omitted,
) -> Result<()> {
    let mean =
        |of: fn(&Quality) -> f64| qualities.iter().map(of).sum::<f64>() / qualities.len().max(1) as f64;
    let means = [
        [mean(|q| q.continuous[0]), mean(|q| q.continuous[1])],
        [mean(|q| q.quantized[0]), mean(|q| q.quantized[1])],
    ];
    if args.json {
        let pair = |[psnr, ssim]: [f64; 2]| json!({ "psnr": psnr, "ssim": ssim });
        return terminal::print_json(
            "compress",
            &json!({
                "codec": args.codec,
                "path": args.output.to_string_lossy(),
                "bytes": bytes,
                "resumed": resumed,
                "failed": omitted.failed(),
                "failed_files": omitted.failed_json(),
                "skipped": omitted.skipped(),
                "skipped_files": omitted.skipped_json(),
                "images": qualities.iter().map(|q: &Quality| json!({ "image": q.name, "continuous": pair(q.continuous), "quantized": pair(q.quantized) })).collect::<Value>(),
                "mean": { "continuous": pair(means[0]), "quantized": pair(means[1]) },
            }),
        );
    }
    let mut table = Table::new(1, ["image", "PSNR dB", "SSIM", "quantized PSNR dB", "SSIM"]);
    let mut row = |name: &str, [a, b]: [[f64; 2]; 2]| {
        let cells =
            [format!("{:.2}", a[0]), format!("{:.4}", a[1]), format!("{:.2}", b[0]), format!("{:.4}", b[1])];
        let [a, b, c, d] = cells;
        table.row([name.to_owned(), a, b, c, d]);
    };
    qualities.iter().for_each(|q| row(&q.name, [q.continuous, q.quantized]));
    if qualities.len() > 1 {
        row("mean", means);
    }
    let resumed = if resumed > 0 { format!(" ({resumed} resumed)") } else { String::new() };
    terminal::print(&format!(
        "{table}\n{}{resumed} in {}, {}\n",
        counted(qualities.len(), "latent"),
        plain(&args.output.to_string_lossy()),
        bytes_text(bytes)
    ))
}

/// Latents to pictures.
pub(crate) fn reconstruct(args: &ReconstructArgs) -> Result<()> {
    let file = LatentFile::from_bytes(&files::read(&args.latents, MAX_LATENTS)?);
    let file = file.with_context(|| cannot_use(&args.latents))?;
    let codec = shipped::codec(file.codec_name())?;
    let latents = file.latents(&codec).with_context(|| cannot_use(&args.latents))?;
    fs::create_dir_all(&args.output).with_context(|| files::cannot_write(&args.output))?;
    let mut taken = HashMap::new();
    let places: Vec<PathBuf> =
        latents.iter().map(|(name, _)| args.output.join(file_name(name, &mut taken))).collect();
    // All of them before the first is written.
    files::check_outputs(&places, [&args.latents], args.force)?;
    let bar = crate::progress::bar().with_prefix("decode");
    bar.set_length(places.len() as u64);
    for ((name, latent), path) in latents.iter().zip(&places) {
        let xray = codec.decode(latent).with_context(|| of_codec(&codec))?;
        let png = xray.to_png().with_context(|| files::cannot_read(name.as_ref()))?;
        files::write(path, &[&png], args.force, false)?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    if args.json {
        let names: Vec<_> = places.iter().map(|path| path.to_string_lossy()).collect();
        return terminal::print_json("reconstruct", &json!({ "codec": codec.name(), "images": names }));
    }
    terminal::print(
        &places.iter().map(|path| format!("{}\n", plain(&path.to_string_lossy()))).collect::<String>(),
    )
}

fn of_codec(codec: &Codec) -> String {
    format!("codec {}", codec.name())
}

fn cannot_use(latents: &Path) -> String {
    format!("cannot use the latents in {}", latents.display())
}

/// A name inside the folder whatever the latents' file says: its last part, without what paths are made of.
fn file_name(name: &str, taken: &mut HashMap<String, usize>) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let stem = last.rsplit_once('.').map_or(last, |(stem, _)| stem);
    let safe: String =
        stem.chars().filter(|c| c.is_alphanumeric() || " _-+()".contains(*c)).take(60).collect();
    // What would be a device on Windows is a name with something before it.
    let start = safe.get(..3).unwrap_or_default().to_lowercase();
    let device = ["con", "prn", "aux", "nul", "com", "lpt"].contains(&start.as_str());
    let safe = match safe.trim() {
        "" => "xray".to_owned(),
        safe if device => format!("xray {safe}"),
        safe => safe.to_owned(),
    };
    let count = taken.entry(safe.to_lowercase()).or_insert(0);
    *count += 1;
    // Two underscores, which few names have: numbers shall not meet names.
    if *count == 1 { format!("{safe}.png") } else { format!("{safe}__{count}.png") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside_the_folder() {
        let mut taken = HashMap::new();
        let names =
            ["a.png", "a.jpeg", "A.dcm", "../../etc/passwd", "..", "", "x\u{1b}[2J\0y.png", "c:\\b.png"];
        let made = names.map(|name| file_name(name, &mut taken));
        assert_eq!(
            made,
            ["a.png", "a__2.png", "A__3.png", "passwd.png", "xray.png", "xray__2.png", "x2Jy.png", "b.png"]
        );
    }
}
