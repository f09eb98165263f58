//! Results as one page that needs nothing else.

mod cells;
mod networks;
mod operations;
mod pictures;
mod scores;

use crate::cmd::bench::report::{Report, facts};
use crate::html::{self, Cell};
use crate::text::{millis, plain};
use anyhow::Result;
use maud::{Markup, html};
use pleura::bench::Record;

/// A record with the name of its file, if it was read from one.
pub(crate) struct Source<'a> {
    /// Letter that tables call it by.
    pub(crate) letter: char,
    /// Name of the file.
    pub(crate) file: String,
    pub(crate) record: &'a Record,
}

/// A row of two records side by side.
pub(crate) struct Pair {
    pub(crate) what: String,
    /// Median seconds of each.
    pub(crate) seconds: [Option<f64>; 2],
    /// The second over the first: above 1, it is slower.
    pub(crate) ratio: Option<f64>,
    pub(crate) note: String,
}

/// Two devices of different records.
pub(crate) struct Comparison {
    /// Letter of the second record; the first is A.
    pub(crate) letter: char,
    pub(crate) devices: [String; 2],
    pub(crate) rows: Vec<Pair>,
}

/// The page of one record.
pub(crate) fn record_page(record: &Record) -> Result<String> {
    let pictures = pictures::section(record)?;
    let body = html! {
        (record_facts(record))
        (remarks(record))
        (sections(record)?)
        (pictures)
        (limits())
    };
    Ok(html::page(&format!("Benchmark of Pleura {}", record.version), &body))
}

/// The page of several records: comparisons, then each record.
pub(crate) fn comparison_page(
    sources: &[Source<'_>],
    comparisons: &[Comparison],
    notes: &[String],
) -> Result<String> {
    let pictures = sources.first().map(|source| pictures::section(source.record)).transpose()?;
    let body = html! {
        @for source in sources {
            h2 { (source.letter) ": " (plain(&source.file)) }
            (record_facts(source.record))
            (remarks(source.record))
        }
        @for note in notes { p.note { (plain(note)) } }
        @for comparison in comparisons { (compared(comparison)) }
        @for source in sources {
            details {
                summary { "All of " (source.letter) ": " (plain(&source.file)) }
                (sections(source.record)?)
            }
        }
        @if let Some(pictures) = pictures { (pictures) }
        (limits())
    };
    let letters: Vec<String> = sources.iter().map(|source| source.letter.to_string()).collect();
    Ok(html::page(&format!("Benchmarks of Pleura: {} compared", letters.join(", ")), &body))
}

fn record_facts(record: &Record) -> Markup {
    html::facts(&facts(record))
}

fn remarks(record: &Record) -> Markup {
    let report = Report(record);
    let class = if record.differences() > 0 { "note alarm" } else { "note" };
    html! {
        @for remark in report.remarks().iter().chain(&report.warnings()) {
            p class=(class) { (plain(remark)) }
        }
    }
}

fn sections(record: &Record) -> Result<Markup> {
    let scores = scores::section(record)?;
    Ok(html! {
        (operations::section(record))
        (networks::section(record))
        (scores)
    })
}

fn compared(comparison: &Comparison) -> Markup {
    let Comparison { letter, devices: [a, b], rows } = comparison;
    let names = [("A".to_owned(), a.clone()), (letter.to_string(), b.clone())];
    let both: Vec<&Pair> = rows.iter().filter(|row| row.ratio.is_some()).collect();
    let labels: Vec<String> = both.iter().map(|row| row.what.clone()).collect();
    let ratios = vec![both.iter().map(|row| row.ratio).collect()];
    let axis = html::chart::Axis::log(|ratio| format!("{ratio:.2}"));
    let chart = html::chart::bars(&labels, &ratios, &axis);
    let cells = rows.iter().map(|row| {
        let ms = |seconds: Option<f64>| Cell::data(seconds, millis);
        let [a, b] = row.seconds;
        vec![
            Cell::text(&*row.what),
            ms(a),
            ms(b),
            Cell::data(row.ratio, |ratio| format!("{ratio:.2}")),
            Cell::text(&*row.note),
        ]
    });
    let ratio = format!("{letter} / A");
    let headings = ["what", "A ms", &format!("{letter} ms"), &ratio, "note"];
    html! {
        h2 { "A and " (letter) " side by side" }
        (html::facts(&names))
        (html::figure(chart, &[], &format!("Medians of {letter} in units of those of A; below 1, {letter} is faster.")))
        (html::table(&headings, &cells.collect::<Vec<_>>()))
    }
}

/// Limits of all figures, in words.
fn limits() -> Markup {
    html! {
        h2 { "Limits" }
        ul {
            li { "Times are of one machine on one day. Other work on it, its temperature and its clock count: rows whose samples \
                spread are marked noisy, and the limits of each device are measured before and after." }
            li { "Times include waiting for the device. An inference is from ciphertexts to ciphertexts: making keys, encryption and \
                decryption are rows of their own." }
            li { "Layers are timed one by one, with a wait after each, so that their sum is more than an inference." }
            li { "The roofline counts the least that an operation has to do (operands, keys and results pass through memory once), with \
                the rates of this library's own copy and matrix product on the same device. It is no data sheet's." }
            li { "The figures of different lists of measurements, parameters or versions are not comparable; the digest of the list \
                tells whether two records have the same one." }
            li { "A software driver shows correctness, and no card's speed." }
            li { "Sample X-rays are few: their scores show what encryption changes, and say little about a model's quality. ROC curves \
                are of the plaintext networks on the validation images in the model cards (" code { "pleura models NAME" } "), not of \
                this run." }
        }
    }
}
