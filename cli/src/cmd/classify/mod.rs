//! `pleura classify`: X-rays compressed, encrypted, classified on ciphertexts, decrypted, and compared with the plaintext network.

mod arguments;
mod labels;
mod reading;
mod scorer;
#[cfg(feature = "service")]
mod served;
mod shard;
mod unit;
mod watch;

use crate::evaluation::Evaluation;
use crate::model::all_cores;
use crate::omitted::Omitted;
use crate::row::Failure;
use crate::row_file::{self, TableFormat};
use crate::row_writer::{RowWriter, Summary};
use crate::stages::Crew;
use crate::text::{counted, plain};
use crate::{classifier, files, progress, terminal};
use anyhow::{Result, ensure};
use indicatif::ProgressBar;
use labels::Labels;
use pleura::xray::{Source, SourceList};
use reading::SourceReader;
use scorer::Scorer;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use unit::{Groups, Unit};
use watch::{Arrival, Arrivals, Unread};

pub(crate) use arguments::ClassifyArgs;
pub(crate) use unit::ood_warning;

/// Classifies all sources in stages that overlap; each row is written as it comes, in the order of the sources.
pub(crate) fn classify(args: &ClassifyArgs) -> Result<()> {
    #[cfg(feature = "service")]
    if args.server.is_given() {
        return served::classify(args);
    }
    let threads = args.threads.unwrap_or_else(all_cores);
    // Threads of compilation, and of the codec if it has fewer images; a pool that exists already is kept.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    let classifier = classifier::load_scaled(args.model(), args.pixel_scaling)?;
    classifier.notes().iter().for_each(|text| terminal::note(text));
    let SourceList { sources, skipped, .. } = args.sources()?;
    let outputs = checked_outputs(args, sources.iter().map(Source::path))?;
    let format = args.output.as_deref().map(|path| args.format.map_or_else(|| TableFormat::of(path), Ok));
    let format = format.transpose()?;
    let labels = args.labels.as_ref().map(|path| Labels::read(path, classifier.classes())).transpose()?;
    labels.iter().try_for_each(|labels| labels.check(&sources))?;
    let omitted = Omitted::new(&skipped, &outputs.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    let evaluation = labels.is_some().then(|| Evaluation::new(classifier.classes()));

    // Of latents and arrivals, there may be any number.
    let many = args.watching.watch || sources.iter().any(Source::may_be_many);
    let items = if many { usize::MAX } else { sources.len() };
    let (scorer, crew) = if args.plaintext {
        (Scorer::Plaintext(classifier), Crew::new(threads, items))
    } else {
        Scorer::encrypted(classifier, args, threads, items)?
    };
    let mut writer =
        RowWriter::new(scorer.classifier(), scorer.device(), args.json, args.plaintext, &sources);
    if let Some((path, format)) = args.output.as_ref().zip(format) {
        writer.save(path, format, &sources, args.force)?;
    }
    if let Some(path) = &args.html {
        writer.save_page(path.clone(), args.force);
    }
    let summary = Summary::new(evaluation);
    let bar = if args.watching.watch { progress::count() } else { progress::bar() }.with_prefix("classify");
    bar.set_length(sources.len() as u64);
    let only = sources.len() == 1 && !args.watching.watch;
    let run = Run { args, sources, scorer: &scorer, crew: &crew, labels: labels.as_ref() };
    let mut sink = Sink { writer, summary, omitted, bar, only, total: 0 };
    run.all(&mut sink)?;
    sink.bar.finish_and_clear();
    sink.summary.latency = scorer.latency()?;
    sink.finish(args.folders.strict)
}

/// Files that a run makes, once none of them is an input, or another output, or exists without `--force`.
fn checked_outputs<'a>(
    args: &'a ClassifyArgs,
    inputs: impl Iterator<Item = &'a Path>,
) -> Result<Vec<PathBuf>> {
    let inputs: Vec<&Path> =
        inputs.chain(args.labels.as_deref()).chain(args.model.as_deref().map(Path::new)).collect();
    let written: Vec<_> = args.output.iter().chain(&args.html).collect();
    files::check_outputs(&written, &inputs, args.force)?;
    let outputs = args.output.iter().flat_map(|path| [path.clone(), row_file::part(path)]);
    let outputs: Vec<PathBuf> = outputs.chain(args.html.clone()).collect();
    files::apart(&outputs, inputs)?;
    Ok(outputs)
}

/// A run over sources.
struct Run<'a> {
    args: &'a ClassifyArgs,
    sources: Vec<Source>,
    scorer: &'a Scorer,
    crew: &'a Crew,
    labels: Option<&'a Labels>,
}

impl Run<'_> {
    /// Reads, compresses, encrypts, infers, decrypts and writes, each stage beside the others.
    fn all(mut self, sink: &mut Sink) -> Result<()> {
        let Self { scorer, crew, .. } = self;
        let classifier = scorer.classifier();
        let reader = SourceReader {
            preprocessing: classifier.preprocessing(),
            earlier: sink.writer.earlier(),
            labels: self.labels,
        };
        let pictures = self.args.html.is_some();
        let stopped = AtomicBool::new(false);
        let unread = Unread::default();
        let sources = std::mem::take(&mut self.sources);
        thread::scope(|scope| {
            let _stop = Stop(&stopped);
            let workers = crew.start(scope);
            let read = workers.stage(self.feed(sources, &stopped, &unread), |arrival| {
                Ok(match arrival {
                    Arrival::Source(source) => watched(&unread, reader.units(source)),
                    Arrival::Again(source) => {
                        let again = Unit::Again(source.clone());
                        std::iter::once(again).chain(watched(&unread, reader.units(source))).collect()
                    }
                    Arrival::Changed(source) => vec![Unit::Changed(source)],
                    Arrival::Pause => vec![Unit::Pause],
                })
            });
            let prepared = workers.stage(spread(read), |unit| {
                Ok(if let Unit::Item(item) = unit {
                    item.prepare(classifier.preprocessing(), pictures)
                } else {
                    unit
                })
            });
            let groups = Groups::new(prepared, scorer.group());
            let encrypted = workers.stage(groups, |unit| {
                Ok(if let Unit::Group(group) = unit { scorer.encrypt(group) } else { vec![unit] })
            });
            let infer = |unit| {
                Ok(if let Unit::Group(group) = unit { Unit::Group(scorer.infer(group)?) } else { unit })
            };
            let inferred = match scorer.has_device() {
                true => workers.device_stage(spread(encrypted), infer),
                false => workers.stage(spread(encrypted), infer),
            };
            let rows = workers.stage(inferred, |unit| {
                if let Unit::Group(group) = unit { scorer.rows(*group) } else { Ok(vec![unit]) }
            });
            for unit in spread(rows) {
                sink.take(unit?)?;
            }
            Ok(())
        })
    }

    /// The sources, or those that arrive.
    fn feed<'b>(
        &self,
        sources: Vec<Source>,
        stopped: &'b AtomicBool,
        unread: &'b Unread,
    ) -> Box<dyn Iterator<Item = Result<Arrival>> + Send + 'b> {
        let ClassifyArgs { watching, shard, inputs, folders, .. } = self.args;
        if !watching.watch {
            return Box::new(sources.into_iter().map(|source| Ok(Arrival::Source(source))));
        }
        let arrivals = Arrivals::new(inputs, !folders.no_recursive, watching.idle, stopped, unread);
        let shard = *shard;
        Box::new(arrivals.filter(move |arrival| match arrival {
            Ok(Arrival::Source(source) | Arrival::Again(source) | Arrival::Changed(source)) => {
                shard.is_none_or(|shard| shard.has(source.path()))
            }
            _ => true,
        }))
    }
}

/// The units of a source, which is noted if it could not be read.
fn watched(unread: &Unread, units: Vec<Unit>) -> Vec<Unit> {
    if let [.., Unit::End(source)] = &units[..]
        && units.iter().any(|unit| matches!(unit, Unit::Failed(_)))
    {
        unread.add(source.path().to_owned());
    }
    units
}

/// The results of a stage that gives several for an item.
fn spread<T>(results: impl Iterator<Item = Result<Vec<T>>>) -> impl Iterator<Item = Result<T>> {
    results.flat_map(|result| match result {
        Ok(units) => units.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    })
}

/// Sets a flag when it is dropped.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Where results go.
struct Sink {
    writer: RowWriter,
    summary: Summary,
    omitted: Omitted,
    bar: ProgressBar,
    /// Whether there is one source.
    only: bool,
    /// Number of sources.
    total: usize,
}

impl Sink {
    fn take(&mut self, unit: Unit) -> Result<()> {
        let Self { writer, summary, bar, .. } = self;
        match unit {
            Unit::Row(row) => bar.suspend(|| writer.add(&row, summary)),
            Unit::Before { truth, label, probabilities } => {
                summary.skip(truth.as_deref(), &label, &probabilities);
                Ok(())
            }
            Unit::Failed(failure) => self.fail(failure),
            Unit::Again(source) => {
                self.total -= 1;
                self.omitted.withdraw(&source.name());
                writer.withdraw(&source);
                Ok(())
            }
            Unit::Changed(source) => {
                let name = source.name();
                bar.suspend(|| {
                    terminal::warn(&format!(
                        "{name} has changed since it was read, and has the result of what it was: classify it again by its name"
                    ));
                });
                Ok(())
            }
            Unit::End(source) => {
                self.total += 1;
                bar.set_message(plain(&source.name()));
                bar.inc(1);
                Ok(())
            }
            Unit::Item(_) | Unit::Prepared(_) | Unit::Group(_) | Unit::Pause => {
                ensure!(false, "internal error: an X-ray left the stages without a result; please report it");
                Ok(())
            }
        }
    }

    fn fail(&mut self, failure: Failure) -> Result<()> {
        // A failure of the only source is the failure of the command.
        if self.only && failure.named {
            return Err(failure.error);
        }
        self.omitted.fail(failure.name.clone(), failure.named, &failure.error);
        let Self { writer, bar, .. } = self;
        bar.suspend(|| writer.fail(&failure))
    }

    fn finish(self, strict: bool) -> Result<()> {
        let Self { writer, summary, omitted, bar, total, .. } = self;
        bar.finish_and_clear();
        writer.finish(&summary, &omitted)?;
        omitted.tell();
        let wrong = counted(summary.useless, "X-ray");
        ensure!(summary.useless == 0, "the plaintext network has other results for {wrong} (see warnings)");
        omitted.verdict(summary.done + summary.before, total, strict)
    }
}
