//! `pleura classify`: X-rays compressed, encrypted, classified as ciphertexts, decrypted, and held against the clear twin.

use crate::classifier;
use crate::device::{DeviceArgs, Metered, OnDevice};
use crate::error::CliError;
use crate::model::all_cores;
use crate::records::{Records, Row, Seconds, Summary, Verdict};
use crate::sources::{self, Content, Item, Source};
use crate::table::bytes_text;
use crate::{files, memory, run, terminal};
use anyhow::bail;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use pleura::nn::{Client, Fidelity, Plan, Server};
use pleura::xray::shipped::MODELS;
use pleura::xray::{Classifier, grouping_pays};
use std::path::PathBuf;
use std::time::Instant;

/// Arguments of `pleura classify`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura classify
  pleura classify chest.dcm
  pleura classify ward/ --model covid --out ward.csv
  pleura classify ward/ --device gpu --gpu-memory 6GB
  pleura classify chest.png --json | jq '.probabilities // empty'

A folder is taken file by file; broken ones are told of and passed over. With --out, what an interruption left in
FILE.part is gone on with. `pleura models` lists the networks.

DICOM: grey or RGB, 8 to 16 bits, uncompressed or JPEG (baseline, lossless); RLE, JPEG-LS, JPEG 2000 and palettes are refused
by name, and look-up tables in sequences are not applied.")]
pub(crate) struct ClassifyArgs {
    /// PNG, JPEG or DICOM files, folders of them, or latents from `pleura compress`; the sample X-rays if none are named.
    #[arg(value_name = "IMAGE|DIR|LATENT")]
    inputs: Vec<PathBuf>,

    /// A network that is shipped, or an ONNX file.
    #[arg(long, value_name = "NAME|FILE", default_value = MODELS[0].name)]
    model: String,

    #[command(flatten)]
    device: DeviceArgs,

    /// Threads of the processor; all cores unless said.
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    threads: Option<usize>,

    /// Encrypt nothing: run the network in the clear.
    #[arg(long, conflicts_with_all = ["device", "gpu_memory", "max_memory", "no_cache"])]
    clear: bool,

    /// A table of the results, in CSV.
    #[arg(long, value_name = "FILE.csv")]
    out: Option<PathBuf>,

    /// Replace the file of --out if it exists.
    #[arg(long, requires = "out")]
    force: bool,

    /// Memory to allow instead of what is available.
    #[arg(long, value_name = "GIB", value_parser = run::gib)]
    max_memory: Option<f64>,

    /// Compile even if the plan is cached, and do not keep it.
    #[arg(long)]
    no_cache: bool,

    /// Print a JSON object for each image, and a summary.
    #[arg(long)]
    json: bool,
}

/// Does it all.
pub(crate) fn classify(args: &ClassifyArgs) -> Result<(), CliError> {
    let threads = args.threads.unwrap_or_else(all_cores);
    // For the codec; a pool that is there already has been asked for by nobody.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    let classifier = classifier::load(&args.model)?;
    classifier.notes().iter().for_each(|text| terminal::note(text));
    let sources = Source::list(&args.inputs)?;
    if let Some(out) = &args.out {
        files::check_outputs(&[out], sources::files(&args.inputs), args.force)?;
    }
    let batch = || -> Result<Batch<'_>, CliError> {
        let out = args.out.as_deref();
        let records = Records::open(&classifier, args.json, out, args.force, args.clear, &sources)?;
        Ok(Batch { classifier: &classifier, sources: &sources, records })
    };
    if args.clear {
        return batch()?.run("none: in the clear", 1, &mut |group, seconds| {
            let evaluate = |values: &Vec<f64>| classifier.network().evaluate(values);
            let scores: Vec<_> = run::timed(&mut seconds.infer, || group.iter().map(evaluate).collect());
            Ok(scores.into_iter().map(|published| Opened { published, exact: None }).collect())
        });
    }
    let device = args.device.find(threads)?;
    let clock = Instant::now();
    let (plan, group) = plan(&classifier, threads, !args.no_cache, &sources)?;
    memory::check(plan.report().memory_bytes as u64, args.max_memory)?;
    let compile = clock.elapsed().as_secs_f64();
    device.run(plan.params().ring(), Encrypted { plan: &plan, batch: batch()?, group, compile })
}

/// The plan, and how many X-rays share its ciphertexts: as many as there is room for, if that is cheaper for each.
fn plan(
    classifier: &Classifier,
    threads: usize,
    cached: bool,
    sources: &[Source],
) -> Result<(Plan, usize), CliError> {
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

/// Scores as they may be shown, and as they are if they were encrypted.
struct Opened {
    published: Vec<f64>,
    exact: Option<Vec<f64>>,
}

/// How scores come of features, of as many X-rays as there are in a group; the seconds are those of all of them.
type Score<'a> = &'a mut dyn FnMut(&[Vec<f64>], &mut Seconds) -> Result<Vec<Opened>, CliError>;

struct Batch<'a> {
    classifier: &'a Classifier,
    sources: &'a [Source],
    records: Records<'a>,
}

/// An X-ray that waits for its group to be full.
struct Waiting {
    name: String,
    digest: String,
    truth: Option<&'static str>,
    features: Vec<f64>,
    seconds: Seconds,
    warnings: Vec<String>,
}

impl Batch<'_> {
    /// One source after the other, `group` X-rays at a time, each row written as it comes.
    fn run(mut self, device: &str, group: usize, score: Score<'_>) -> Result<(), CliError> {
        let bar = terminal::bar().with_prefix("classify");
        bar.set_length(self.sources.len() as u64);
        let mut summary = Summary::default();
        let mut unnamed = 0;
        let mut waiting = Vec::new();
        self.records.begin(device);
        for source in self.sources {
            bar.set_message(terminal::plain(&source.name()));
            let clock = Instant::now();
            match source.read(self.classifier.preprocessing().codec()) {
                Ok(items) => {
                    let read = clock.elapsed().as_secs_f64() / items.len().max(1) as f64;
                    for item in items {
                        if self.records.has(&item.name, &item.digest) {
                            summary.before += 1;
                            continue;
                        }
                        waiting.push(self.waiting(item, source.truth(), read)?);
                        if waiting.len() == group {
                            let rows = self.rows(std::mem::take(&mut waiting), score)?;
                            bar.suspend(|| self.write(rows, &mut summary))?;
                        }
                    }
                }
                // Alone, it has nothing to be passed over for.
                Err(error) if self.sources.len() == 1 && source.is_named() => return Err(error),
                Err(error) => {
                    unnamed += usize::from(!source.is_named());
                    summary.failed += 1;
                    bar.suspend(|| self.records.fail(&source.name(), &error))?;
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        if !waiting.is_empty() {
            let rows = self.rows(waiting, score)?;
            self.write(rows, &mut summary)?;
        }
        self.records.finish(&summary)?;
        if summary.useless > 0 {
            let count = summary.useless;
            bail!("the encrypted scores of {count} X-rays are not those of the network, as said above");
        }
        let (failed, of) = (summary.failed, self.sources.len());
        // One bad file in a folder is no failure; one that was asked for by name is, and so is nothing but bad files.
        if failed > unnamed || (failed > 0 && summary.done + summary.before == 0) {
            bail!("{failed} of {of} could not be read; what is wrong with them is said above");
        }
        Ok(())
    }

    fn waiting(&self, item: Item, truth: Option<&'static str>, read: f64) -> Result<Waiting, CliError> {
        let Item { name, digest, content, notes: mut warnings } = item;
        let clock = Instant::now();
        let features = match &content {
            Content::Xray(xray) => self.classifier.features(xray)?,
            Content::Latent(latent) => self.classifier.features_of_latent(latent)?,
        };
        let seconds = Seconds { read, compress: clock.elapsed().as_secs_f64(), ..Seconds::default() };
        if let Some(times) = features.ood_score.filter(|&s| s > 1.0) {
            warnings.push(format!(
                "{name} does not look like a chest X-ray ({times:.1} times as far from what the codec knows as nearly all of \
                 them): its scores mean nothing"
            ));
        }
        Ok(Waiting {
            name,
            digest,
            truth,
            features: features.values.into_iter().collect(),
            seconds,
            warnings,
        })
    }

    fn write(&mut self, rows: Vec<Row>, summary: &mut Summary) -> Result<(), CliError> {
        rows.into_iter().try_for_each(|row| {
            summary.count(&row);
            self.records.add(&row)
        })
    }

    fn rows(&self, group: Vec<Waiting>, score: Score<'_>) -> Result<Vec<Row>, CliError> {
        let network = self.classifier.network();
        let features: Vec<_> = group.iter().map(|waiting| waiting.features.clone()).collect();
        let mut shared = Seconds::default();
        let opened = score(&features, &mut shared)?;
        let share = 1.0 / group.len() as f64;
        let class = |scores: &[f64]| self.classifier.label(scores).to_owned();
        let row = |(waiting, opened): (Waiting, Opened)| {
            let Waiting { name, digest, truth, features, seconds, mut warnings } = waiting;
            let (clear, fidelity) = match opened.exact {
                Some(exact) => {
                    let clear = network.evaluate(&features);
                    let fidelity = Fidelity::new(std::slice::from_ref(&clear), std::slice::from_ref(&exact));
                    (clear, Some(fidelity))
                }
                None => (opened.published.clone(), None),
            };
            if fidelity.is_some_and(|f| f.bits < run::USELESS_BITS) {
                warnings.push(format!(
                    "{name}: the encrypted scores are not those of the network; its values are beyond what the plan has room for"
                ));
            }
            let verdict = Verdict {
                label: class(&opened.published),
                probabilities: self.classifier.probabilities(&opened.published),
                scores: opened.published,
                clear: class(&clear),
                fidelity,
            };
            let Seconds { encrypt, infer, decrypt, .. } = shared;
            let seconds = Seconds {
                encrypt: encrypt * share,
                infer: infer * share,
                decrypt: decrypt * share,
                ..seconds
            };
            Row { name, digest, truth, verdict, seconds, warnings }
        };
        Ok(group.into_iter().zip(opened).map(row).collect())
    }
}

/// The batch on ciphertexts.
struct Encrypted<'a> {
    plan: &'a Plan,
    batch: Batch<'a>,
    group: usize,
    compile: f64,
}

impl OnDevice for Encrypted<'_> {
    type Output = ();

    fn run<B: Metered>(self, backend: B) -> Result<(), CliError> {
        let Self { plan, batch, group, compile } = self;
        let device = backend.name();
        let clock = Instant::now();
        let client = Client::new(plan)?;
        let server = Server::new(plan, backend, client.evaluation_keys()?)?;
        let report = plan.report();
        terminal::note(&format!(
            "{}: n = 2^{}, {} levels, {} bits of security; evaluation keys {}, {} {} up and {} down; compiled in {compile:.2} s, \
             keys made in {:.2} s",
            batch.classifier.name(),
            report.parameters.log_n,
            report.parameters.levels,
            report.parameters.security,
            bytes_text(report.key_wire_bytes as u64),
            if group == 1 { "an X-ray".to_owned() } else { format!("{group} X-rays") },
            bytes_text(report.input_bytes as u64),
            bytes_text(report.output_bytes as u64),
            clock.elapsed().as_secs_f64(),
        ));
        let input: usize = batch.classifier.network().input_shape().iter().product();
        let classes = batch.classifier.classes().len();
        batch.run(&device, group, &mut |items, seconds| {
            // A group that is not full goes with nothing beside it.
            let mut item = items.concat();
            item.resize(input * group, 0.0);
            let sent = run::timed(&mut seconds.encrypt, || client.encrypt(&[item]))?;
            let received = run::timed(&mut seconds.infer, || server.infer(&sent, &mut |_, _| {}))?;
            let published = run::timed(&mut seconds.decrypt, || client.publish(&received))?.concat();
            let exact = client.decrypt(&received)?.concat();
            let each = published.chunks(classes).zip(exact.chunks(classes)).take(items.len());
            Ok(each.map(|(p, e)| Opened { published: p.to_vec(), exact: Some(e.to_vec()) }).collect())
        })
    }
}
