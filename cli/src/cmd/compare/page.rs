//! The comparison as one page that needs nothing else.

use crate::cmd::baseline::images::png;
use crate::cmd::compare::method::{Method, PAIRED, Protection, TRAINED};
use crate::html::{self, Cell};
use crate::statistics::{accuracy_text, auc_text};
use crate::text::{bytes_text, plain};
use anyhow::Result;
use maud::html;

/// The page.
pub(crate) fn page(
    ways: &[Method],
    original: &[u8],
    count: usize,
    labelled: usize,
    side: usize,
) -> Result<String> {
    const HEADINGS: [&str; 10] = [
        "method",
        "accuracy",
        "AUC",
        "client s",
        "server s",
        "setup s",
        "bytes",
        "setup bytes",
        "attack recovers",
        "protection",
    ];
    let rows = ways.iter().map(row).collect::<Result<Vec<_>>>()?;
    let body = html! {
        p {
            (count) " X-rays, " (labelled) " of them with known labels. Seconds and bytes are for one X-ray, on the machine that made this \
            page; setup is separate. Intervals are of 95 %. " (PAIRED) " " (TRAINED) " Paillier as published encrypts " (side) "x" (side) " pixels."
        }
        figure {
            (html::picture(&png(original)?, "the first X-ray", "shot"))
            figcaption { "The first X-ray, as it is." }
        }
        (html::table(&HEADINGS, &rows))
    };
    Ok(html::page("Methods to classify the same X-rays", &body))
}

fn row(way: &Method) -> Result<Vec<Cell>> {
    let picture = match &way.picture {
        Some(pixels) => {
            Some(html::picture(&png(pixels)?, &format!("picture recovered from {}", way.name), "shot"))
        }
        None => None,
    };
    let class = if way.protection == Protection::Encrypted { "good" } else { "bad" };
    Ok(vec![
        Cell::Markup(html! { b { (plain(way.name)) } br; small { (plain(&way.about)) } }),
        Cell::Number(accuracy_text(&way.quality)),
        Cell::Number(auc_text(&way.quality)),
        Cell::data(Some(way.client_seconds), |seconds| format!("{seconds:.4}")),
        Cell::data(way.server_seconds, |seconds| format!("{seconds:.4}")),
        Cell::data(Some(way.setup_seconds), |seconds| format!("{seconds:.2}")),
        Cell::Number(bytes_text(way.bytes)),
        Cell::Number(bytes_text(way.setup_bytes)),
        Cell::Markup(html! {
            @if let Some(picture) = picture { (picture) } @else { small { "none" } br; }
            small { (plain(&way.attack_result)) }
        }),
        Cell::Markup(html! {
            span class=(class) { (way.protection.text()) }
            br;
            small { (plain(way.assumption)) }
        }),
    ])
}
