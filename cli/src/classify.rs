//! `pleura classify`: X-rays compressed, encrypted, classified on ciphertexts, decrypted, and compared with the plaintext network.

use crate::device::DeviceArgs;
use crate::memory::MemoryArgs;
use crate::model::all_cores;
use crate::names::path_cell;
use crate::omitted::Omitted;
use crate::records::{Records, Summary};
use crate::row::{Row, Seconds};
use crate::sheet;
use crate::sources::FolderArgs;
use crate::text::{bytes_text, counted, hex, plain};
use crate::{classifier, device, files, memory, run, terminal};
use anyhow::{Result, ensure};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use ndarray::{ArrayView1, Axis};
use pleura::nn::{Fidelity, Network, Plan, RangeViolation};
use pleura::xray::shipped::MODELS;
use pleura::xray::{
    Classifier, Content, Features, PixelScaling, Prediction, Source, SourceItem, SourceList, XrayPipeline,
    grouping_pays,
};
use std::path::PathBuf;
use std::time::Instant;

/// Arguments of `pleura classify`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura classify
  pleura classify chest.dcm
  pleura classify ward/ --model covid --output ward.csv
  pleura classify ward/ --device gpu --gpu-memory 6GB
  pleura classify chest.png --json | jq '.probabilities // empty'

Folders are searched recursively. A file is an X-ray by its content, not by its name. Other and
unreadable files are reported and skipped; with --strict, they make the command fail.
Hidden files are skipped; links are followed.

With --output, an interrupted run resumes from FILE.part, if that is of this network and these
files. Rows of changed files are computed again. Names in the CSV file are percent-encoded where
necessary: `%`, `#`, control and invisible characters, bytes that are not Unicode, and `=`, `+`,
`-`, `@` at the beginning. A `#` separates the name of a latent.

A network of pixels takes square grey images of its own size; larger images are reduced, smaller
ones enlarged with a warning. The numbers for black and white are in the metadata_props of an ONNX
file (`pleura.pixel_scaling`), or set by --pixel-scaling.

`pleura models` lists the networks.

DICOM: grey, colour or palette images; uncompressed, deflated, RLE, JPEG (baseline, extended,
lossless), JPEG-LS or JPEG 2000.")]
pub(crate) struct ClassifyArgs {
    /// PNG, JPEG, TIFF, BMP, WebP or DICOM files, folders, or latents from `pleura compress`; `-` reads
    /// standard input [default: the sample X-rays].
    #[arg(value_name = "IMAGE|DIR|LATENT")]
    inputs: Vec<PathBuf>,

    /// Shipped network, or ONNX file.
    #[arg(long, value_name = "NAME|FILE", default_value = MODELS[0].name)]
    model: String,

    /// Numbers for black and white in a network of pixels: unit (0 to 1), signed (-1 to 1), xrv (-1024
    /// to 1024, as TorchXRayVision), or MEAN,DEVIATION of pixels from 0 to 1.
    #[arg(long, value_name = "SCALING")]
    pixel_scaling: Option<PixelScaling>,

    #[command(flatten)]
    folders: FolderArgs,

    #[command(flatten)]
    pub(crate) device: DeviceArgs,

    /// CPU threads [default: all cores].
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    threads: Option<usize>,

    /// Run the network without encryption.
    #[arg(long, alias = "clear", conflicts_with_all = ["device", "gpu_memory", "max_memory", "no_cache"])]
    plaintext: bool,

    /// A table of the results, in CSV.
    #[arg(long, value_name = "FILE.csv")]
    output: Option<PathBuf>,

    /// Replace the file of --output if it exists.
    #[arg(long, requires = "output")]
    force: bool,

    #[command(flatten)]
    memory: MemoryArgs,

    /// Neither read nor write the cache of plans.
    #[arg(long)]
    no_cache: bool,

    /// Print a JSON object for each image, and a summary.
    #[arg(long)]
    json: bool,
}

/// Classifies all sources, one group of X-rays at a time; each row is written as it comes.
pub(crate) fn classify(args: &ClassifyArgs) -> Result<()> {
    let threads = args.threads.unwrap_or_else(all_cores);
    // Threads of the codec; a pool that exists already is kept.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    let classifier = classifier::load_scaled(&args.model, args.pixel_scaling)?;
    classifier.notes().iter().for_each(|text| terminal::note(text));
    let SourceList { sources, skipped, .. } = args.folders.list(&args.inputs)?;
    let outputs: Vec<_> = args.output.iter().flat_map(|path| [path.clone(), sheet::part(path)]).collect();
    if let Some(path) = &args.output {
        files::check_outputs(&[path], sources.iter().map(Source::path), args.force)?;
    }
    let mut omitted = Omitted::new(&skipped, &outputs.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    let scorer = if args.plaintext {
        Scorer::Plaintext(classifier)
    } else {
        Scorer::encrypted(classifier, args, threads, &sources)?
    };
    let mut records = Records::new(scorer.classifier(), scorer.device(), args.json, args.plaintext, &sources);
    if let Some(path) = &args.output {
        records.save(path, &sources, args.force)?;
    }
    let bar = crate::progress::bar().with_prefix("classify");
    bar.set_length(sources.len() as u64);
    let mut summary = Summary::default();
    let mut group = Vec::new();
    for source in &sources {
        bar.set_message(plain(&source.name()));
        let clock = Instant::now();
        let preprocessing = scorer.classifier().preprocessing();
        match source.read(preprocessing.codec(), preprocessing.side()) {
            Ok(items) => {
                let read = clock.elapsed().as_secs_f64() / items.len().max(1) as f64;
                for item in items {
                    if records.has(&cell(&item), &digest_text(&item)) {
                        summary.before += 1;
                        continue;
                    }
                    group.push(Prepared::new(scorer.classifier(), item, source.truth(), read)?);
                    if group.len() == scorer.group() {
                        let rows = scorer.rows(std::mem::take(&mut group))?;
                        bar.suspend(|| records.add_all(&rows, &mut summary))?;
                    }
                }
            }
            // A failure of the only source is the failure of the command.
            Err(error) if sources.len() == 1 && source.is_named() => return Err(error.into()),
            Err(error) => {
                let error = error.into();
                omitted.fail(source, &error);
                bar.suspend(|| records.fail(&source.name(), &error))?;
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if !group.is_empty() {
        records.add_all(&scorer.rows(group)?, &mut summary)?;
    }
    records.finish(&summary, &omitted)?;
    omitted.tell();
    let wrong = summary.useless;
    ensure!(wrong == 0, "{wrong} encrypted results do not match the plaintext network (see warnings)");
    omitted.verdict(summary.done + summary.before, sources.len(), args.folders.strict)
}

/// Source of scores.
enum Scorer {
    Plaintext(Classifier),
    Encrypted {
        pipeline: Box<XrayPipeline>,
        device: String,
        plan: Box<Plan>,
        /// From which the plan was compiled.
        network: Box<Network>,
    },
}

/// An X-ray that waits for its group to be complete.
struct Prepared {
    name: String,
    cell: String,
    is_lossy: bool,
    digest: String,
    truth: Option<&'static str>,
    features: Features,
    seconds: Seconds,
    warnings: Vec<String>,
}

impl Prepared {
    /// The features of an item, which took `read` seconds to read.
    fn new(
        classifier: &Classifier,
        item: SourceItem,
        truth: Option<&'static str>,
        read: f64,
    ) -> Result<Self> {
        let digest = digest_text(&item);
        let name = item.name();
        let cell = cell(&item);
        let SourceItem { path, content, notes, .. } = item;
        let mut warnings: Vec<String> = notes.iter().map(|note| format!("{name}: {note}")).collect();
        let clock = Instant::now();
        let features = match &content {
            Content::Xray(xray) => classifier.features(xray)?,
            Content::Latent(latent) => classifier.features_of_latent(latent)?,
        };
        let seconds = Seconds { read, compress: clock.elapsed().as_secs_f64(), ..Seconds::default() };
        warnings.extend(ood_warning(&name, features.ood_score));
        Ok(Self { name, cell, is_lossy: path.to_str().is_none(), digest, truth, features, seconds, warnings })
    }
}

impl Scorer {
    /// Compiles the classifier and makes keys for the device of the arguments.
    fn encrypted(
        classifier: Classifier,
        args: &ClassifyArgs,
        threads: usize,
        sources: &[Source],
    ) -> Result<Self> {
        let device = args.device.find(threads)?;
        let clock = Instant::now();
        let (plan, group) = plan(&classifier, threads, !args.no_cache, sources)?;
        let report = plan.report();
        memory::check(report.memory_bytes as u64, args.memory.max_memory)?;
        let compile = clock.elapsed().as_secs_f64();
        let name = classifier.name().to_owned();
        let network = Box::new(classifier.grouped_network(group)?);
        let pipeline = XrayPipeline::with_plan(classifier, &plan, group, &device)?;
        device::tell_fallback(&device);
        terminal::note(&format!(
            "{name}: n = 2^{}, {} levels, {} bits of security; evaluation keys {}, {} {} up and {} down; compiled in {compile:.2} s, \
             keys made in {:.2} s",
            report.parameters.log_n,
            report.parameters.levels,
            report.parameters.security,
            bytes_text(report.key_wire_bytes as u64),
            if group == 1 { "an X-ray".to_owned() } else { counted(group, "X-ray") },
            bytes_text(report.input_bytes as u64),
            bytes_text(report.output_bytes as u64),
            pipeline.pipeline().times().keys,
        ));
        Ok(Self::Encrypted {
            pipeline: Box::new(pipeline),
            device: device.name(),
            plan: Box::new(plan),
            network,
        })
    }

    fn classifier(&self) -> &Classifier {
        match self {
            Self::Plaintext(classifier) => classifier,
            Self::Encrypted { pipeline, .. } => pipeline.classifier(),
        }
    }

    /// Name of the device.
    fn device(&self) -> &str {
        match self {
            Self::Plaintext(_) => "none: plaintext",
            Self::Encrypted { device, .. } => device,
        }
    }

    /// Number of X-rays that share ciphertexts.
    fn group(&self) -> usize {
        match self {
            Self::Plaintext(_) => 1,
            Self::Encrypted { pipeline, .. } => pipeline.group(),
        }
    }

    /// The scores of a group of X-rays.
    fn rows(&self, group: Vec<Prepared>) -> Result<Vec<Row>> {
        let share = 1.0 / group.len().max(1) as f64;
        match self {
            Self::Plaintext(classifier) => Ok(group
                .into_iter()
                .map(|item: Prepared| {
                    let clock = Instant::now();
                    let scores = classifier.evaluate(&item.features);
                    let seconds = Seconds { infer: clock.elapsed().as_secs_f64(), ..item.seconds };
                    row(classifier, Prepared { seconds, ..item }, scores, None)
                })
                .collect()),
            Self::Encrypted { pipeline, plan, network, .. } => {
                let features: Vec<&Features> = group.iter().map(|item| &item.features).collect();
                let (predictions, times) = pipeline.classify_group(&features)?;
                Ok(group
                    .into_iter()
                    .zip(predictions)
                    .map(|(mut item, prediction): (Prepared, Prediction)| {
                        let packed =
                            pipeline.classifier().pack(&[item.features.values.view()], pipeline.group());
                        item.warnings
                            .extend(beyond_range(&item.name, &plan.range_violations(network, packed.view())));
                        let seconds = Seconds {
                            encrypt: times.encrypt * share,
                            infer: times.infer * share,
                            decrypt: times.decrypt * share,
                            ..item.seconds
                        };
                        let Prediction { scores, unrounded, .. } = prediction;
                        row(pipeline.classifier(), Prepared { seconds, ..item }, scores, Some(unrounded))
                    })
                    .collect())
            }
        }
    }
}

/// A sentence about values of the network far beyond those of calibration, if there are any.
fn beyond_range(name: &str, violations: &[RangeViolation]) -> Option<String> {
    let times = |violation: &RangeViolation| violation.found / violation.calibrated;
    let worst = violations.iter().max_by(|a, b| times(a).total_cmp(&times(b)))?;
    Some(format!(
        "{name}: values of the network are {:.0} times as large as those that it was calibrated for (at {}): scores are less \
         exact, and it knows few X-rays like this one",
        times(worst),
        worst.node
    ))
}

/// The name of an item in a CSV file.
fn cell(item: &SourceItem) -> String {
    path_cell(&item.path, item.latent.as_deref())
}

/// Warning about an X-ray that is far from those that the codec was trained on.
pub(crate) fn ood_warning(name: &str, ood_score: Option<f64>) -> Option<String> {
    let times = ood_score.filter(|&score| score > 1.0)?;
    Some(format!(
        "{name} does not look like a chest X-ray ({times:.1} times as far from what the codec knows as nearly all of \
         them): its scores mean nothing"
    ))
}

/// First digits of the digest of a file: the same name may stand for another X-ray another day.
fn digest_text(item: &SourceItem) -> String {
    hex(item.digest.iter().take(8))
}

/// The row of an X-ray with published scores, and scores with all their digits if they were computed on a ciphertext.
fn row(classifier: &Classifier, item: Prepared, scores: Vec<f64>, unrounded: Option<Vec<f64>>) -> Row {
    let Prepared { name, cell, is_lossy, digest, truth, features, seconds, mut warnings } = item;
    let (plaintext, fidelity) = match unrounded {
        Some(unrounded) => {
            let plaintext = classifier.evaluate(&features);
            let expected = ArrayView1::from(&plaintext).insert_axis(Axis(0));
            let fidelity = Fidelity::new(expected, ArrayView1::from(&unrounded).insert_axis(Axis(0)));
            (plaintext, Some(fidelity))
        }
        None => (scores.clone(), None),
    };
    if fidelity.is_some_and(|f| f.bits < run::USELESS_BITS) {
        warnings.push(format!(
            "{name}: the encrypted scores are not those of the network; its values are beyond what the plan has room for"
        ));
    }
    Row {
        name,
        cell,
        is_lossy,
        digest,
        truth,
        label: classifier.label(&scores).to_owned(),
        probabilities: classifier.probabilities(&scores),
        plaintext_label: classifier.label(&plaintext).to_owned(),
        scores,
        fidelity,
        seconds,
        warnings,
    }
}

/// The plan, and how many X-rays share its ciphertexts: as many as fit, if that is cheaper for each.
fn plan(classifier: &Classifier, threads: usize, cached: bool, sources: &[Source]) -> Result<(Plan, usize)> {
    let single = classifier::plan(classifier, threads, cached, 1)?;
    let group = classifier.group_capacity(single.report());
    let many = sources.len() >= group || sources.iter().any(Source::may_be_many);
    if group < 2 || !many {
        return Ok((single, 1));
    }
    let grouped = classifier::plan(classifier, threads, cached, group)?;
    let pays = grouping_pays(single.report(), grouped.report(), group);
    Ok(if pays { (grouped, group) } else { (single, 1) })
}
