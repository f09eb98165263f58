//! The comparison as one page that needs nothing else.

use crate::cmd::baseline::images::png;
use crate::cmd::compare::method::{Method, PAIRED, Protection, TRAINED};
use crate::html::{self, Cell};
use crate::statistics::{accuracy_text, auc_text};
use crate::text::{bytes_text, plain};
use anyhow::Result;
use maud::{Markup, html};

/// The page.
pub(crate) fn page(
    methods: &[Method],
    original: &[u8],
    count: usize,
    labelled: usize,
    side: usize,
) -> Result<String> {
    const HEADINGS: [&str; 9] = [
        "method",
        "protection",
        "attack recovers",
        "accuracy",
        "AUC",
        "client s",
        "server s",
        "setup s",
        "bytes, setup",
    ];
    let rows = methods.iter().map(row).collect::<Result<Vec<_>>>()?;
    let body = html! {
        p {
            (count) " X-rays, " (labelled) " of them with known labels. Seconds and bytes are for one X-ray on the machine that made this \
            page; setup is separate, and its bytes are in the second line. Accuracy and AUC have 95 % intervals. " (PAIRED) " " (TRAINED) " Paillier as published encrypts " (side) "x" (side) " pixels."
        }
        figure {
            (html::picture(&png(original)?, "the first X-ray", "shot"))
            figcaption { "The first X-ray, as it is." }
        }
        (html::table(&HEADINGS, &rows))
    };
    Ok(html::page("Methods to classify the same X-rays", &body))
}

fn row(method: &Method) -> Result<Vec<Cell>> {
    let picture = match &method.picture {
        Some(pixels) => {
            Some(html::picture(&png(pixels)?, &format!("picture recovered from {}", method.name), "shot"))
        }
        None => None,
    };
    let class = if method.protection == Protection::Encrypted { "good" } else { "bad" };
    Ok(vec![
        Cell::Markup(html! { b { (plain(method.name)) } br; small { (plain(&method.about)) } }),
        Cell::Markup(html! {
            span class=(class) { (method.protection.text()) }
            br;
            small { (plain(method.assumption)) }
        }),
        Cell::Markup(html! {
            @if let Some(picture) = picture { (picture) } @else { small { "none" } br; }
            small { (plain(&method.attack_result)) }
        }),
        Cell::Markup(with_interval(&accuracy_text(&method.quality))),
        Cell::Markup(with_interval(&auc_text(&method.quality))),
        Cell::data(Some(method.client_seconds), |seconds| format!("{seconds:.4}")),
        Cell::data(method.server_seconds, |seconds| format!("{seconds:.4}")),
        Cell::data(Some(method.setup_seconds), |seconds| format!("{seconds:.2}")),
        Cell::Markup(html! { (bytes_text(method.bytes)) br; small { (bytes_text(method.setup_bytes)) } }),
    ])
}

/// An estimate with its interval, if it has one, in a second line.
fn with_interval(text: &str) -> Markup {
    html! {
        @match text.split_once(" (") {
            Some((value, interval)) => { (value) br; small { (interval.trim_end_matches(')')) } }
            None => (text),
        }
    }
}
