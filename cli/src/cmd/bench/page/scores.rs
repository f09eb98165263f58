//! Fidelity: scores of sample X-rays beside those of the plaintext network, and the ROC curves of the model cards.

use crate::cmd::bench::page::cells::measured;
use crate::html::chart::{Series, lines};
use crate::html::{self, Cell};
use crate::text::{plain, short};
use anyhow::Result;
use maud::{Markup, html};
use pleura::bench::{NetworkRecord, Record};
use pleura::xray::shipped;

/// The section; empty without scores of samples.
///
/// # Errors
/// If the curves that are shipped with a network cannot be read.
pub(super) fn section(record: &Record) -> Result<Markup> {
    let mut shown: Vec<(String, &NetworkRecord)> = Vec::new();
    // A batch has the scores of single items.
    for (name, network) in measured(record).filter(|(_, network)| !network.samples.is_empty()) {
        if shown.iter().all(|(_, other)| other.name != network.name) {
            shown.push((name, network));
        }
    }
    let curves = shown.iter().map(|(name, network)| curve(name, network)).collect::<Result<Vec<_>>>()?;
    Ok(html! {
        @if !shown.is_empty() {
            h2 { "Fidelity" }
            p { "Scores of the shipped sample X-rays, decrypted, beside those of the plaintext network. Points lie on the diagonal." }
            div.charts { @for ((name, network), curve) in shown.iter().zip(&curves) { (scatter(name, network)) (curve) } }
            @for (name, network) in &shown { (table(name, network)) }
        }
    })
}

fn scatter(name: &str, network: &NetworkRecord) -> Markup {
    let pairs = || {
        let samples = network.samples.iter();
        samples.flat_map(|sample| sample.plaintext.iter().copied().zip(sample.decrypted.iter().copied()))
    };
    let error = pairs().map(|(plaintext, decrypted)| (plaintext - decrypted).abs()).fold(0.0, f64::max);
    let least = pairs().map(|pair| pair.0).fold(f64::INFINITY, f64::min);
    let most = pairs().map(|pair| pair.0).fold(f64::NEG_INFINITY, f64::max);
    let series = [
        Series { points: pairs().collect(), line: false, dots: true },
        Series { points: vec![(least, least), (most, most)], line: true, dots: false },
    ];
    let svg = lines(&series, [false, false], ["plaintext score", "decrypted score"]);
    html::figure(
        svg,
        &[],
        &format!(
            "{name}: scores of {} X-rays; the largest difference is {error:.2e}.",
            network.samples.len()
        ),
    )
}

/// The ROC curve of the last class, which is the disease, on the validation images of the model card.
fn curve(name: &str, network: &NetworkRecord) -> Result<Markup> {
    let Ok(model) = shipped::model(&network.name) else { return Ok(html! {}) };
    let Some(validation) = model.validation()? else { return Ok(html! {}) };
    let Some(curve) = validation.classes.last() else { return Ok(html! {}) };
    let caption = format!(
        "{name}: ROC curve of {} on the {} validation images of the model card. AUC {:.3} (95 %: {:.3} to {:.3}).",
        curve.class, validation.images, curve.auc, curve.interval[0], curve.interval[1]
    );
    Ok(html::roc_figure(curve.points.iter().map(|[x, y]| (*x, *y)).collect(), &caption))
}

fn table(name: &str, network: &NetworkRecord) -> Markup {
    let mut headings = vec!["X-ray", "actual"];
    headings.extend(network.classes.iter().map(String::as_str));
    headings.extend(["largest difference"]);
    let rows = network.samples.iter().map(|sample| {
        let mut cells = vec![Cell::text(&*sample.name), Cell::text(&*sample.truth)];
        cells.extend(sample.probabilities.iter().map(|p| Cell::data(Some(*p), |p| format!("{p:.4}"))));
        let differences = sample.plaintext.iter().zip(&sample.decrypted).map(|(a, b)| (a - b).abs());
        cells.push(Cell::Number(short(differences.fold(0.0, f64::max))));
        cells
    });
    html! {
        details {
            summary { "Probabilities of the samples, " (plain(name)) }
            (html::table(&headings, &rows.collect::<Vec<_>>()))
        }
    }
}
