//! `pleura classify` on a server: X-rays compressed, encrypted and decrypted here, classified there.

use super::arguments::ClassifyArgs;
use super::checked_outputs;
use super::labels::Labels;
use super::reading::SourceReader;
use super::spread;
use super::unit::{Group, Groups, Prepared, Unit, interleaved};
use crate::cmd::remote::decrypt::{warnings, xray_object, xray_table};
use crate::cmd::service::args::{Connection, GROUPS};
use crate::evaluation::Evaluation;
use crate::folder_page::{FolderPage, FolderSummary};
use crate::model::all_cores;
use crate::omitted::Omitted;
use crate::row::{Failure, Row};
use crate::row_file::{RowFile, RowFormat, TableFormat};
use crate::stages::Crew;
use crate::terminal;
use crate::text::{chain, counted, hex, plain};
use anyhow::{Context, Error, Result, bail, ensure};
use pleura::remote::{DecryptedItem, ItemDecryptor, ItemEncryptor, ItemNote, RemoteError, Task};
use pleura::xray::{Classes, Preprocessing, Source, SourceList};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

/// Something on its way to the server and back.
enum Step {
    Request(Box<Request>),
    Result(Box<(Prepared, DecryptedItem)>),
    Other(Unit),
}

/// X-rays of a request, and their ciphertexts or results.
struct Request {
    items: Vec<Prepared>,
    /// Units between the X-rays, each with the number of X-rays before it.
    others: Vec<(usize, Unit)>,
    bytes: Vec<u8>,
}

impl Request {
    /// Seconds since a time, as the share of each X-ray.
    fn share(&self, begun: Instant) -> f64 {
        begun.elapsed().as_secs_f64() / self.items.len().max(1) as f64
    }
}

/// Where results go.
struct Sink<'a> {
    connection: &'a Connection,
    classes: &'a Classes,
    row_file: Option<RowFile>,
    page: Option<FolderPage>,
    evaluation: Option<Evaluation>,
    json: bool,
    /// Whether there is one source.
    only: bool,
    omitted: Omitted,
    shown: Vec<DecryptedItem>,
    done: usize,
    before: usize,
}

/// Classifies all sources on the server. While it computes, the next X-rays are prepared.
pub(super) fn classify(args: &ClassifyArgs) -> Result<()> {
    let threads = args.threads.unwrap_or_else(all_cores);
    let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    let SourceList { sources, skipped, .. } = args.sources()?;
    let inputs = sources.iter().map(Source::path);
    let inputs = inputs.chain(args.server.files().into_iter().map(PathBuf::as_path));
    let outputs = checked_outputs(args, inputs)?;
    args.server.check_outputs(&outputs)?;
    let omitted = Omitted::new(&skipped, &outputs.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    let connection = args.server.connect(args.model.as_deref())?;
    let Task::Xray(task) = connection.key.bundle().task() else {
        bail!("the network on the server takes arrays, not X-rays: name another network with --model");
    };
    let preprocessing = connection.key.bundle().preprocessing()?;
    let preprocessing = preprocessing
        .context("the client bundle has no preparation of X-rays: get it from a server of this release")?;
    let classes = task.classes();
    let labels = args.labels.as_ref().map(|path| Labels::read(path, classes.names())).transpose()?;
    labels.iter().try_for_each(|labels| labels.check(&sources))?;
    let mut sink = Sink {
        connection: &connection,
        classes,
        row_file: None,
        page: args.html.clone().map(|path| FolderPage::new(path, args.force, classes.names())),
        evaluation: labels.is_some().then(|| Evaluation::new(classes.names())),
        json: args.json,
        only: sources.len() == 1,
        omitted,
        shown: Vec::new(),
        done: 0,
        before: 0,
    };
    if let Some(path) = &args.output {
        sink.open(path, args.format.map_or_else(|| TableFormat::of(path), Ok)?, &sources, args.force)?;
    }
    let total = sources.len();
    let crew = Crew::new(threads, sources.len());
    run(sources, labels.as_ref(), &crew, &preprocessing, &mut sink)?;
    let done = sink.done + sink.before;
    let omitted = sink.finish()?;
    omitted.tell();
    omitted.verdict(done, total, args.folders.strict)
}

/// Reads, prepares, encrypts, sends and decrypts, each stage beside the others.
fn run(
    sources: Vec<Source>,
    labels: Option<&Labels>,
    crew: &Crew,
    preprocessing: &Preprocessing,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let connection = sink.connection;
    let earlier = sink.row_file.as_ref().map(RowFile::earlier);
    let reader = SourceReader { preprocessing, earlier, labels };
    let pictures = sink.page.is_some();
    let bar = crate::progress::bar().with_prefix("classify");
    bar.set_length(sources.len() as u64);
    let size = GROUPS * connection.key.bundle().group();
    thread::scope(|scope| {
        let workers = crew.start(scope);
        let read = workers.stage(sources.into_iter().map(Ok), |source| Ok(reader.units(source)));
        let prepared = workers.stage(spread(read), |unit| {
            Ok(if let Unit::Item(item) = unit { item.prepare(preprocessing, pictures) } else { unit })
        });
        let encrypted = workers.stage(Groups::new(prepared, size), |unit| {
            if let Unit::Group(group) = unit {
                encrypt(connection, *group)
            } else {
                Ok(vec![Step::Other(unit)])
            }
        });
        let answered = workers.device_stage(spread(encrypted), |step| {
            let Step::Request(mut request) = step else { return Ok(step) };
            let clock = Instant::now();
            request.bytes = connection.infer(&request.bytes)?;
            let seconds = request.share(clock);
            request.items.iter_mut().for_each(|item| item.seconds.infer = seconds);
            Ok(Step::Request(request))
        });
        let decrypted = workers.stage(answered, |step| {
            if let Step::Request(request) = step { decrypt(connection, *request) } else { Ok(vec![step]) }
        });
        for step in spread(decrypted) {
            let step = step?;
            if let Step::Other(Unit::End(source)) = &step {
                bar.set_message(plain(&source.name()));
                bar.inc(1);
            }
            bar.suspend(|| sink.take(step))?;
        }
        bar.finish_and_clear();
        Ok(())
    })
}

/// A request of X-rays. Those whose values cannot be encrypted fail one by one.
fn encrypt(connection: &Connection, group: Group) -> Result<Vec<Step>> {
    let Group { items, others, .. } = group;
    let clock = Instant::now();
    match encrypted(connection, &items) {
        Ok(bytes) => {
            let mut request = Request { items, others, bytes };
            let seconds = request.share(clock);
            request.items.iter_mut().for_each(|item| item.seconds.encrypt = seconds);
            Ok(vec![Step::Request(Box::new(request))])
        }
        Err(_) if items.len() > 1 => {
            let steps = items.into_iter().map(|item| encrypt(connection, Group::new(vec![item])));
            let steps: Vec<Step> = steps.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
            Ok(interleaved(steps, others.into_iter().map(other)))
        }
        Err(error) => {
            let mut items = items;
            let item = items.pop().context("internal error: a request has no X-ray; please report it")?;
            let failed = Step::Other(Unit::Failed(item.failure(Error::from(error))));
            Ok(interleaved(vec![failed], others.into_iter().map(other)))
        }
    }
}

fn encrypted(connection: &Connection, items: &[Prepared]) -> Result<Vec<u8>, RemoteError> {
    let mut encryptor = ItemEncryptor::new(&connection.key, Vec::new())?;
    for item in items {
        let note = ItemNote { name: item.name.clone(), digest: None, warnings: item.warnings.clone() };
        encryptor.add(note, item.features.values.clone())?;
    }
    Ok(encryptor.finish()?.0)
}

/// A unit in its place between X-rays.
fn other((place, unit): (usize, Unit)) -> (usize, Step) {
    (place, Step::Other(unit))
}

fn decrypt(connection: &Connection, mut request: Request) -> Result<Vec<Step>> {
    let clock = Instant::now();
    let failed = || "cannot use the server's results";
    let mut decryptor = ItemDecryptor::new(&connection.key, &request.bytes[..]).with_context(failed)?;
    let mut results = Vec::new();
    while let Some(group) = decryptor.next_group().with_context(failed)? {
        results.extend(group);
    }
    ensure!(results.len() == request.items.len(), "{}: they belong to another request", failed());
    let seconds = request.share(clock);
    request.items.iter_mut().for_each(|item| item.seconds.decrypt = seconds);
    let results = request.items.into_iter().zip(results).map(|result| Step::Result(Box::new(result)));
    Ok(interleaved(results.collect(), request.others.into_iter().map(other)))
}

impl Sink<'_> {
    /// Begins a table, or resumes one that an interrupted run left.
    fn open(&mut self, path: &Path, table: TableFormat, sources: &[Source], force: bool) -> Result<()> {
        let format = RowFormat {
            model: self.connection.identity(),
            classes: self.classes.names().to_vec(),
            exclusive: self.is_exclusive(),
        };
        let row_file = RowFile::open(path, format, table, sources, force)?;
        let (rows, part) = row_file.resumed();
        if rows > 0 {
            let rows = counted(rows, "row");
            terminal::note(&format!("resuming from {}, which has {rows} of an earlier run", part.display()));
        }
        self.row_file = Some(row_file);
        Ok(())
    }

    /// Whether the probabilities of an X-ray add up to one: a sigmoid for each of several classes gives more for high scores.
    fn is_exclusive(&self) -> bool {
        let bundle = self.connection.key.bundle();
        let outputs = bundle.spec().output_shape().iter().product();
        let sum: f64 = self.classes.probabilities(&vec![1.0; outputs]).iter().sum();
        (sum - 1.0).abs() < 1e-6
    }

    fn take(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Result(result) => {
                let (item, result) = *result;
                self.add(item, result)
            }
            Step::Other(Unit::Before { truth, label, probabilities }) => {
                self.before += 1;
                if let Some(evaluation) = &mut self.evaluation {
                    evaluation.add(truth.as_deref(), &label, &probabilities);
                }
                Ok(())
            }
            Step::Other(Unit::Failed(failure)) => self.fail(failure),
            Step::Other(Unit::End(_)) => Ok(()),
            Step::Request(_) | Step::Other(_) => {
                bail!("internal error: an X-ray left the stages without a result; please report it")
            }
        }
    }

    fn add(&mut self, item: Prepared, result: DecryptedItem) -> Result<()> {
        let warnings = warnings(&result);
        warnings.iter().for_each(|text| terminal::warn(text));
        self.done += 1;
        let Prepared { name, cell, is_lossy, digest, dicom, truth, seconds, thumbnail, .. } = item;
        let row = Row {
            name,
            cell,
            is_lossy,
            digest,
            dicom,
            truth,
            label: self.classes.label(&result.scores).to_owned(),
            probabilities: self.classes.probabilities(&result.scores),
            scores: result.scores.clone(),
            // The client does not have the plaintext network.
            plaintext_label: String::new(),
            fidelity: None,
            seconds,
            warnings,
            thumbnail,
        };
        if let Some(row_file) = &mut self.row_file {
            row_file.add(&row, "server")?;
        }
        if let Some(page) = &mut self.page {
            page.add(&row);
        }
        if let Some(evaluation) = &mut self.evaluation {
            evaluation.add(row.truth.as_deref(), &row.label, &row.probabilities);
        }
        if self.json {
            return terminal::print_json("decrypt", &xray_object(self.classes, &result));
        }
        self.shown.push(result);
        Ok(())
    }

    fn fail(&mut self, failure: Failure) -> Result<()> {
        // A failure of the only source is the failure of the command.
        if self.only && failure.named {
            return Err(failure.error);
        }
        terminal::warn(&chain(&failure.error));
        self.omitted.fail(failure.name.clone(), failure.named, &failure.error);
        if let Some(page) = &mut self.page {
            page.fail(&failure);
        }
        match self.row_file.as_mut().filter(|_| !failure.earlier) {
            Some(row_file) => row_file.fail(&failure),
            None => Ok(()),
        }
    }

    /// Writes the page, gives the table its name, and prints the results.
    fn finish(self) -> Result<Omitted> {
        let counts = self.counts();
        let Self {
            connection, classes, row_file, page, evaluation, json, omitted, shown, done, before, ..
        } = self;
        let network = connection.key.bundle().spec().network();
        if let Some(page) = page {
            page.write(&FolderSummary {
                model: network,
                device: "server",
                counts: counts.clone(),
                before,
                useless: 0,
                evaluation: evaluation.as_ref(),
            })?;
        }
        if let Some(row_file) = row_file {
            row_file.finish()?;
        }
        if json {
            let mut summary =
                json!({ "model": network, "images": done, "key": hex(&connection.key.origin().key) });
            if let (Some(evaluation), Some(fields)) = (&evaluation, summary.as_object_mut()) {
                fields.insert("evaluation".to_owned(), evaluation.json());
            }
            terminal::print_json("decrypt", &json!({ "summary": summary }))?;
            return Ok(omitted);
        }
        let table = xray_table(classes, &shown);
        let evaluation = evaluation.as_ref().map_or_else(String::new, Evaluation::text);
        terminal::print(&format!(
            "{table}\n{counts}, by {}, on a server.\n{evaluation}Not a medical device.\n",
            plain(network)
        ))?;
        Ok(omitted)
    }

    /// X-rays with results, without, and those of an earlier run.
    fn counts(&self) -> String {
        let mut parts = vec![counted(self.done, "X-ray")];
        if self.omitted.failed() > 0 {
            parts.push(format!("{} could not be read", self.omitted.failed()));
        }
        if self.omitted.skipped() > 0 {
            parts.push(format!("{} skipped", counted(self.omitted.skipped(), "file")));
        }
        if self.before > 0 {
            parts.push(format!("{} resumed", self.before));
        }
        parts.join(", ")
    }
}
