//! Output of `classify` for each X-ray: a line of a table or of JSON, and a row of a CSV file.

use crate::classifier;
use crate::evaluation::Evaluation;
use crate::folder_page::{FolderPage, FolderSummary};
use crate::latency::Latency;
use crate::names::path_cell;
use crate::omitted::Omitted;
use crate::outcome::USELESS_BITS;
use crate::row::{Failure, Row, Seconds};
use crate::row_file::{EarlierRows, RowFile, RowFormat, TableFormat};
use crate::terminal::{self, WIDEST};
use crate::text::{chain, counted, plain, short, tail};
use anyhow::Result;
use pleura::xray::{Classifier, Source};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Characters of a probability.
const PROBABILITY: usize = 6;
/// Characters of a column of names in a file, at most; longer names stand out of it.
const COLUMN: usize = 200;

/// Counts and times of all X-rays.
pub(crate) struct Summary {
    /// Results compared with known classes.
    pub(crate) evaluation: Option<Evaluation>,
    /// Times of the first group, repeated, if that was asked for.
    pub(crate) latency: Option<Latency>,
    begun: Instant,
    pub(crate) done: usize,
    /// Number of X-rays that an earlier run did.
    pub(crate) before: usize,
    /// Number of results that do not match the plaintext network.
    pub(crate) useless: usize,
    agreeing: usize,
    right: usize,
    known: usize,
    worst: f64,
    seconds: Vec<Seconds>,
}

/// Writer of rows to standard output and to a CSV file.
pub(crate) struct RowWriter {
    json: bool,
    model: String,
    /// Name and digest of the network, and whether it ran on ciphertexts; rows of different identities do not mix.
    identity: String,
    classes: Vec<String>,
    /// Whether the probabilities of an image add up to one.
    exclusive: bool,
    /// Scaling of pixels, if the network takes pixels.
    pixel_scaling: Option<String>,
    device: String,
    /// Whether the network runs without encryption.
    plaintext: bool,
    /// Whether the table has its headings.
    begun: bool,
    /// Widths of a table's columns of words.
    widths: [usize; 2],
    row_file: Option<RowFile>,
    page: Option<FolderPage>,
}

impl Summary {
    /// A summary of nothing yet, with a comparison with known classes if it is asked for; time begins.
    pub(crate) fn new(evaluation: Option<Evaluation>) -> Self {
        Self {
            evaluation,
            latency: None,
            begun: Instant::now(),
            done: 0,
            before: 0,
            useless: 0,
            agreeing: 0,
            right: 0,
            known: 0,
            worst: 0.0,
            seconds: Vec::new(),
        }
    }

    /// Takes a row of an earlier run into account.
    pub(crate) fn skip(&mut self, truth: Option<&str>, label: &str, probabilities: &[f64]) {
        self.before += 1;
        if let Some(evaluation) = &mut self.evaluation {
            evaluation.add(truth, label, probabilities);
        }
    }

    /// Takes a row into account.
    pub(crate) fn count(&mut self, row: &Row) {
        if let Some(evaluation) = &mut self.evaluation {
            evaluation.add(row.truth.as_deref(), &row.label, &row.probabilities);
        }
        self.done += 1;
        self.agreeing += usize::from(row.label == row.plaintext_label);
        self.known += usize::from(row.truth.is_some());
        self.right += usize::from(row.truth.as_ref() == Some(&row.label));
        if let Some(fidelity) = row.fidelity {
            self.worst = self.worst.max(fidelity.max_abs_error);
            self.useless += usize::from(fidelity.bits < USELESS_BITS);
        }
        self.seconds.push(row.seconds);
    }

    /// X-rays of this run in a second.
    fn rate(&self) -> f64 {
        let rate = self.done as f64 / self.begun.elapsed().as_secs_f64();
        (rate * 10.0).round() / 10.0
    }

    fn medians(&self) -> Seconds {
        let median = |of: fn(&Seconds) -> f64| {
            let mut all: Vec<f64> = self.seconds.iter().map(of).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or(0.0)
        };
        Seconds {
            read: median(|s| s.read),
            compress: median(|s| s.compress),
            encrypt: median(|s| s.encrypt),
            infer: median(|s| s.infer),
            decrypt: median(|s| s.decrypt),
        }
    }
}

impl RowWriter {
    /// A writer to standard output, of rows of the classifier on a device, or of the plaintext network.
    pub(crate) fn new(
        classifier: &Classifier,
        device: &str,
        json: bool,
        plaintext: bool,
        sources: &[Source],
    ) -> Self {
        let names = sources.iter().map(|source| plain(&source.name()).chars().count()).max().unwrap_or(0);
        let labels = classifier.classes().iter().map(|class| class.chars().count()).max().unwrap_or(0);
        Self {
            json,
            model: classifier.name().to_owned(),
            identity: classifier::identity(classifier) + if plaintext { " plaintext" } else { "" },
            classes: classifier.classes().to_vec(),
            exclusive: classifier.has_exclusive_classes(),
            pixel_scaling: classifier.preprocessing().scaling().map(|scaling| scaling.to_string()),
            device: device.to_owned(),
            plaintext,
            begun: false,
            widths: [names.clamp(5, if terminal::is_terminal() { WIDEST } else { COLUMN }), labels.max(9)],
            row_file: None,
            page: None,
        }
    }

    /// Writes rows to a file, too; resumes one that an interrupted run left.
    pub(crate) fn save(
        &mut self,
        path: &Path,
        table: TableFormat,
        sources: &[Source],
        force: bool,
    ) -> Result<()> {
        let format = RowFormat {
            model: self.identity.clone(),
            classes: self.classes.clone(),
            exclusive: self.exclusive,
        };
        let row_file = RowFile::open(path, format, table, sources, force)?;
        let (done, part) = row_file.resumed();
        if done > 0 {
            let rows = counted(done, "row");
            terminal::note(&format!("resuming from {}, which has {rows} of an earlier run", part.display()));
        }
        self.row_file = Some(row_file);
        Ok(())
    }

    /// Writes a page, too, when all is done.
    pub(crate) fn save_page(&mut self, path: PathBuf, force: bool) {
        self.page = Some(FolderPage::new(path, force, &self.classes));
    }

    /// Rows of earlier runs, if there is a file.
    pub(crate) fn earlier(&self) -> Option<EarlierRows> {
        self.row_file.as_ref().map(RowFile::earlier)
    }

    /// Writes a row, and counts it.
    pub(crate) fn add(&mut self, row: &Row, summary: &mut Summary) -> Result<()> {
        summary.count(row);
        row.warnings.iter().for_each(|text| terminal::warn(text));
        if let Some(page) = &mut self.page {
            page.add(row);
        }
        if let Some(row_file) = &mut self.row_file {
            row_file.add(row, &self.device)?;
        }
        if self.json {
            return terminal::print_json("classify", &self.object(row));
        }
        if !std::mem::replace(&mut self.begun, true) {
            terminal::print(&self.headings())?;
        }
        terminal::print(&self.line(row))
    }

    /// Writes the row of an X-ray, or a file, without a result.
    pub(crate) fn fail(&mut self, failure: &Failure) -> Result<()> {
        let text = chain(&failure.error);
        terminal::warn(&text);
        if let Some(page) = &mut self.page {
            page.fail(failure);
        }
        if let Some(row_file) = self.row_file.as_mut().filter(|_| !failure.earlier) {
            row_file.fail(failure)?;
        }
        if self.json {
            terminal::print_json("classify", &json!({ "image": failure.name, "error": text }))
        } else {
            Ok(())
        }
    }

    /// Leaves the failures of a file out of page and table, since it is read again.
    pub(crate) fn withdraw(&mut self, source: &Source) {
        if let Some(page) = &mut self.page {
            page.withdraw(&source.name());
        }
        if let Some(row_file) = &mut self.row_file {
            row_file.withdraw(&path_cell(source.path(), None));
        }
    }

    /// Prints the summary, and gives the CSV file its name.
    pub(crate) fn finish(mut self, summary: &Summary, omitted: &Omitted) -> Result<()> {
        let Summary { done, before, agreeing, right, known, worst, .. } = summary;
        let medians = summary.medians();
        if let Some(page) = &self.page {
            page.write(&FolderSummary {
                model: &self.model,
                device: &self.device,
                counts: self.counts(summary, omitted),
                before: *before,
                useless: summary.useless,
                evaluation: summary.evaluation.as_ref(),
            })?;
        }
        if let Some(row_file) = self.row_file.take() {
            row_file.finish()?;
        }
        if self.json {
            return terminal::print_json(
                "classify",
                &json!({ "summary": {
                    "model": self.model,
                    "device_name": self.device,
                    "images": done,
                    "failed": omitted.failed(),
                    "failed_files": omitted.failed_json(),
                    "skipped": omitted.skipped(),
                    "skipped_files": omitted.skipped_json(),
                    "pixel_scaling": self.pixel_scaling,
                    "resumed": before,
                    "correct": if *known > 0 { json!(right) } else { Value::Null },
                    "labels_match_plaintext": agreeing,
                    "max_abs_error": two_digits(*worst),
                    "median_seconds": medians,
                    "seconds": summary.begun.elapsed().as_secs_f64(),
                    "images_per_second": summary.rate(),
                    "latency": summary.latency,
                    "evaluation": summary.evaluation.as_ref().map(Evaluation::json),
                }}),
            );
        }
        if done + before == 0 {
            return Ok(());
        }
        let evaluation = summary.evaluation.as_ref().map_or_else(String::new, Evaluation::text);
        let counts = self.counts(summary, omitted);
        let latency = summary.latency.as_ref().map_or_else(String::new, |latency| format!("{latency}\n"));
        terminal::print(&format!("\n{counts}\n{latency}{evaluation}Not a medical device.\n"))
    }

    /// Counts and times in two sentences.
    fn counts(&self, summary: &Summary, omitted: &Omitted) -> String {
        let Summary { done, before, agreeing, right, known, worst, .. } = summary;
        let medians = summary.medians();
        let mut parts = vec![counted(*done, "X-ray")];
        if *known > 0 {
            let of = if known == done { String::new() } else { format!(" of {known}") };
            parts.push(format!("{right}{of} labelled as by the doctors"));
        }
        if *worst > 0.0 {
            parts.push(format!("{agreeing} as the plaintext network"));
            parts.push(format!("scores off by at most {}", short(two_digits(*worst))));
        }
        if omitted.failed() > 0 {
            parts.push(format!("{} could not be read", omitted.failed()));
        }
        if omitted.skipped() > 0 {
            parts.push(format!("{} skipped", counted(omitted.skipped(), "file")));
        }
        if *before > 0 {
            parts.push(format!("{before} resumed"));
        }
        let [encrypt, infer, decrypt] = [medians.encrypt, medians.infer, medians.decrypt].map(ms);
        let stages = if self.plaintext {
            format!("infer {infer}, without encryption")
        } else {
            format!("encrypt {encrypt}, infer {infer}, decrypt {decrypt}, on {}", self.device)
        };
        format!(
            "{}. {} X-rays a second; medians: compress {}, {stages}.",
            parts.join(", "),
            summary.rate(),
            ms(medians.compress),
        )
    }

    fn headings(&self) -> String {
        let [names, labels] = self.widths;
        let classes: String = self.classes.iter().map(|c| format!("  {c:>PROBABILITY$}")).collect();
        format!(
            "{:names$}  {:labels$}{classes}  {:labels$}  {:>7}  {:>8}  {:>7}  {:>6}  {:>7}\n",
            "image", "label", "plaintext", "error", "compress", "encrypt", "infer", "decrypt"
        )
    }

    fn line(&self, row: &Row) -> String {
        let [names, labels] = self.widths;
        let seconds = &row.seconds;
        let probabilities = self.classes.iter().zip(&row.probabilities).map(|(class, p)| {
            let width = class.chars().count().max(PROBABILITY);
            format!("  {p:>width$.4}")
        });
        let probabilities: String = probabilities.collect();
        let wrong = row.truth.as_ref().filter(|truth| **truth != row.label);
        let wrong = wrong.map(|truth| format!("  (labelled {truth})")).unwrap_or_default();
        format!(
            "{:names$}  {:labels$}{probabilities}  {:labels$}  {:>7}  {:>8}  {:>7}  {:>6}  {:>7}{wrong}\n",
            self.shown(&row.name),
            row.label,
            row.plaintext_label,
            row.fidelity.map_or_else(|| "-".to_owned(), |f| format!("{:.1e}", f.max_abs_error)),
            ms(seconds.compress),
            ms(seconds.encrypt),
            ms(seconds.infer),
            ms(seconds.decrypt),
        )
    }

    /// A name as the table shows it. Latents, and files that arrive, may have longer names than the column is wide.
    fn shown(&self, name: &str) -> String {
        if terminal::is_terminal() { tail(&plain(name), WIDEST) } else { plain(name) }
    }

    fn object(&self, row: &Row) -> Value {
        let Row { label, probabilities, scores, plaintext_label, fidelity, .. } = row;
        let by_class = |values: &[f64]| -> Value {
            let pairs = self.classes.iter().cloned().zip(values.iter().map(|&v| json!(v)));
            Value::Object(pairs.collect())
        };
        let mut object = json!({
            "image": row.name,
            "label": label,
            "probabilities": by_class(probabilities),
            "scores": by_class(scores),
            "plaintext": {
                "label": plaintext_label,
                "max_abs_error": fidelity.map(|f| two_digits(f.max_abs_error)),
                "bits": fidelity.map(|f| (f.bits * 10.0).round() / 10.0),
            },
            "seconds": row.seconds,
            "device_name": self.device,
        });
        if let Some(object) = object.as_object_mut() {
            row.truth.as_deref().map(|truth| object.insert("truth".into(), truth.into()));
            if let Some(dicom) = &row.dicom {
                object.insert("study_uid".into(), dicom.study.clone().into());
                object.insert("series_uid".into(), dicom.series.clone().into());
                object.insert("instance_uid".into(), dicom.instance.clone().into());
            }
            if row.is_lossy {
                object.insert("image_escaped".into(), row.cell.clone().into());
            }
            if !row.warnings.is_empty() {
                object.insert("warnings".into(), row.warnings.clone().into());
            }
        }
        object
    }
}

fn ms(seconds: f64) -> String {
    let ms = 1e3 * seconds;
    if ms < 9.95 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

/// An error with two digits: further ones are noise, and may reveal the key. Not a number if there were none.
fn two_digits(x: f64) -> f64 {
    format!("{x:.1e}").parse().unwrap_or(f64::NAN)
}
