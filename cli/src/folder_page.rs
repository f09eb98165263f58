//! Results of a folder as one page that needs nothing else.

use crate::evaluation::{Evaluation, percent};
use crate::files;
use crate::html::{self, Cell};
use crate::row::{Failure, Row};
use crate::text::{chain, counted, plain};
use anyhow::Result;
use maud::{Markup, html};
use std::path::PathBuf;

/// X-rays that a page lists, and failures: a picture takes some kilobytes. Further ones are counted.
pub(crate) const LISTED: usize = 2000;

/// A page in the making.
pub(crate) struct FolderPage {
    path: PathBuf,
    replace: bool,
    classes: Vec<String>,
    rows: Vec<Listed>,
    failures: Vec<[String; 2]>,
    /// X-rays and failures beyond those that are listed.
    more: usize,
}

/// An X-ray in the page.
struct Listed {
    name: String,
    thumbnail: Option<Vec<u8>>,
    truth: Option<String>,
    label: String,
    probabilities: Vec<f64>,
    /// Whether the plaintext network gives the label, too, where it is known.
    agrees: bool,
    error: Option<f64>,
    warnings: Vec<String>,
}

/// Facts about a whole run.
pub(crate) struct FolderSummary<'a> {
    pub(crate) model: &'a str,
    pub(crate) device: &'a str,
    /// Sentence about counts and times.
    pub(crate) counts: String,
    /// X-rays of an earlier run, which are counted and not listed.
    pub(crate) before: usize,
    /// Results that do not match the plaintext network.
    pub(crate) useless: usize,
    pub(crate) evaluation: Option<&'a Evaluation>,
}

impl FolderPage {
    /// A page without X-rays, to be written to a file.
    pub(crate) fn new(path: PathBuf, replace: bool, classes: &[String]) -> Self {
        Self { path, replace, classes: classes.to_vec(), rows: Vec::new(), failures: Vec::new(), more: 0 }
    }

    /// Adds an X-ray.
    pub(crate) fn add(&mut self, row: &Row) {
        if self.rows.len() >= LISTED {
            self.more += 1;
            return;
        }
        self.rows.push(Listed {
            name: row.name.clone(),
            thumbnail: row.thumbnail.clone(),
            truth: row.truth.clone(),
            label: row.label.clone(),
            probabilities: row.probabilities.clone(),
            agrees: row.plaintext_label.is_empty() || row.label == row.plaintext_label,
            error: row.fidelity.map(|fidelity| fidelity.max_abs_error),
            warnings: row.warnings.clone(),
        });
    }

    /// Adds a file without a result.
    pub(crate) fn fail(&mut self, failure: &Failure) {
        if self.failures.len() >= LISTED {
            self.more += 1;
            return;
        }
        self.failures.push([failure.name.clone(), chain(&failure.error)]);
    }

    /// Forgets the failures of a file that is read again.
    pub(crate) fn withdraw(&mut self, name: &str) {
        self.failures.retain(|[failed, _]| failed != name);
    }

    /// Writes the page.
    pub(crate) fn write(&self, summary: &FolderSummary<'_>) -> Result<()> {
        let page = html::page("Classified X-rays", &self.body(summary));
        files::write(&self.path, &[page.as_bytes()], self.replace, false)
    }

    fn body(&self, summary: &FolderSummary<'_>) -> Markup {
        let FolderSummary { model, device, counts, before, useless, evaluation } = summary;
        let facts =
            [("network", (*model).to_owned()), ("device", (*device).to_owned()), ("X-rays", counts.clone())];
        html! {
            (html::facts(&facts))
            @if *useless > 0 {
                p.note.alarm { "The plaintext network has other results for " (counted(*useless, "X-ray")) ": see the warnings." }
            }
            @if let Some(evaluation) = evaluation { (evaluated(evaluation)) }
            @if !self.failures.is_empty() { (self.failed()) }
            h2 { "X-rays" }
            @if self.more > 0 {
                p.note { "The page lists the first " (LISTED) "; " (self.more) " more are in the table of " code { "--output" } " alone." }
            }
            @if *before > 0 {
                p.note { (counted(*before, "X-ray")) " of an earlier run are counted above and not listed." }
            }
            (self.table())
            h2 { "Limits" }
            p { "Probabilities are those of the network, which is no doctor: its card (" code { "pleura models" } ") says on which X-rays it was trained \
                and how well it does. A warning says that an X-ray is unlike those. The error is the largest difference of a score from the \
                plaintext network." }
        }
    }

    fn table(&self) -> Markup {
        let mut headings = vec!["", "X-ray", "predicted", "actual"];
        headings.extend(self.classes.iter().map(String::as_str));
        headings.extend(["error", "warnings"]);
        let rows = self.rows.iter().map(|row| {
            let picture = row.thumbnail.as_ref().map(|png| html::picture(png, &row.name, "thumb"));
            let wrong = row.truth.as_ref().is_some_and(|truth| *truth != row.label);
            let mut cells = vec![
                Cell::Markup(html! { @if let Some(picture) = picture { (picture) } }),
                Cell::Markup(html::path(&row.name)),
                Cell::Markup(html! {
                    @if wrong { span.bad { (plain(&row.label)) } } @else { (plain(&row.label)) }
                    @if !row.agrees { br; small { "not the plaintext network's" } }
                }),
                Cell::text(row.truth.clone().unwrap_or_else(|| "-".to_owned())),
            ];
            cells.extend(row.probabilities.iter().map(|p| Cell::data(Some(*p), |p| format!("{p:.4}"))));
            cells
                .push(Cell::Number(row.error.map_or_else(|| "-".to_owned(), |error| format!("{error:.1e}"))));
            cells.push(Cell::text(row.warnings.join("; ")));
            cells
        });
        html::table(&headings, &rows.collect::<Vec<_>>())
    }

    fn failed(&self) -> Markup {
        let rows = self
            .failures
            .iter()
            .map(|[name, error]| vec![Cell::Markup(html::path(name)), Cell::text(&**error)]);
        html! {
            h2 { (counted(self.failures.len(), "file")) " without a result" }
            (html::table(&["file", "why"], &rows.collect::<Vec<_>>()))
        }
    }
}

/// Results beside the known labels.
fn evaluated(evaluation: &Evaluation) -> Markup {
    let classes = evaluation.classes();
    let quality = classes.iter().map(|class| {
        vec![
            Cell::text(&*class.name),
            Cell::Number(class.items.to_string()),
            Cell::data(class.auc.map(|auc| auc.value), |auc| format!("{auc:.4}")),
            Cell::Number(class.auc.map_or_else(
                || "-".to_owned(),
                |auc| format!("{:.3} to {:.3}", auc.interval[0], auc.interval[1]),
            )),
            Cell::Number(class.sensitivity.map_or_else(|| "-".to_owned(), percent)),
            Cell::Number(class.specificity.map_or_else(|| "-".to_owned(), percent)),
        ]
    });
    let confusion = classes.iter().map(|class| {
        let counts =
            class.labels.iter().map(|count| Cell::data(Some(*count as f64), |count| count.to_string()));
        std::iter::once(Cell::text(&*class.name)).chain(counts).collect()
    });
    let headings: Vec<String> = classes.iter().map(|class| format!("predicted {}", class.name)).collect();
    let headings: Vec<&str> = std::iter::once("actual").chain(headings.iter().map(String::as_str)).collect();
    html! {
        h2 { "Beside the labels" }
        p { (evaluation.sentence()) }
        (html::table(&["class", "X-rays", "AUC", "95 %", "sensitivity", "specificity"], &quality.collect::<Vec<_>>()))
        h3 { "Confusion matrix" }
        (html::table(&headings, &confusion.collect::<Vec<_>>()))
        div.charts {
            @for class in classes.iter().filter(|class| class.auc.is_some()) {
                (html::roc_figure(class.points.clone(), &format!("ROC curve of {}.", class.name)))
            }
        }
    }
}
