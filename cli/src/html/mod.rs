//! Pages that need nothing else: one style, escaped text, charts as SVG, pictures as data URIs, no script.

pub(crate) mod chart;

use crate::text::plain;
use base64::prelude::{BASE64_STANDARD, Engine};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");
/// Nothing is loaded and nothing runs, whatever a name in the page contains.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// A cell of a table.
pub(crate) enum Cell {
    /// Text, which may be hostile.
    Text(String),
    /// A number as people read it; or a dash.
    Number(String),
    /// A number with all its digits beside the rounded text.
    Data(Option<f64>, String),
    /// Markup.
    Markup(Markup),
}

impl Cell {
    /// A number, if there is one, with a text for people.
    pub(crate) fn data(value: Option<f64>, text: impl FnOnce(f64) -> String) -> Self {
        Self::Data(value, value.map_or_else(|| "-".to_owned(), text))
    }

    /// A cell of text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn markup(&self) -> Markup {
        match self {
            Self::Text(text) => html! { td { (plain(text)) } },
            Self::Number(text) => html! { td.n { (plain(text)) } },
            Self::Data(Some(value), text) => html! { td.n { data value=(value) { (plain(text)) } } },
            Self::Data(None, text) => html! { td.n { (plain(text)) } },
            Self::Markup(markup) => html! { td { (markup) } },
        }
    }

    fn is_number(&self) -> bool {
        matches!(self, Self::Number(_) | Self::Data(..))
    }
}

/// A whole page.
pub(crate) fn page(title: &str, body: &Markup) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="generator" content=(concat!("pleura ", env!("CARGO_PKG_VERSION")));
                title { (plain(title)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (plain(title)) }
                (body)
                p { small { "Not a medical device. Made by pleura " (env!("CARGO_PKG_VERSION")) "." } }
            }
        }
    };
    markup.into_string() + "\n"
}

/// A table that scrolls by itself where it is wider than the page. Columns are aligned as the cells of the first row are.
pub(crate) fn table(headings: &[&str], rows: &[Vec<Cell>]) -> Markup {
    let is_number = |column: usize| rows.first().and_then(|row| row.get(column)).is_some_and(Cell::is_number);
    html! {
        div.scroll tabindex="0" {
            table {
                thead { tr {
                    @for (column, heading) in headings.iter().enumerate() {
                        @if is_number(column) { th.n { (plain(heading)) } } @else { th { (plain(heading)) } }
                    }
                } }
                tbody { @for row in rows { tr { @for cell in row { (cell.markup()) } } } }
            }
        }
    }
}

/// A path that breaks after its separators where a line is too long.
pub(crate) fn path(path: &str) -> Markup {
    html! { @for part in plain(path).split_inclusive(['/', '\\']) { (part) wbr; } }
}

/// Pairs of a term and its text.
pub(crate) fn facts(facts: &[(impl AsRef<str>, String)]) -> Markup {
    html! { dl { @for (head, text) in facts { dt { (plain(head.as_ref())) } dd { (plain(text)) } } } }
}

/// A picture in a PNG file.
pub(crate) fn picture(png: &[u8], alt: &str, class: &str) -> Markup {
    html! { img class=(class) alt=(plain(alt)) src={ "data:image/png;base64," (BASE64_STANDARD.encode(png)) }; }
}

/// Names of series with their colours, in the order of the series.
pub(crate) fn legend(names: &[String]) -> Markup {
    html! {
        div.legend { @for (i, name) in names.iter().enumerate() {
            span { i class=(format!("k{}", i % chart::COLOURS + 1)) {} (plain(name)) }
        } }
    }
}

/// A chart with its legend and caption.
pub(crate) fn figure(svg: Option<String>, series: &[String], caption: &str) -> Markup {
    html! {
        @if let Some(svg) = svg {
            figure {
                @if series.len() > 1 { (legend(series)) }
                div role="img" aria-label=(plain(caption)) { (PreEscaped(svg)) }
                figcaption { (plain(caption)) }
            }
        }
    }
}

/// A ROC curve beside the diagonal of chance.
pub(crate) fn roc_figure(points: Vec<(f64, f64)>, caption: &str) -> Markup {
    let points = std::iter::once((0.0, 0.0)).chain(points).collect();
    let series = [
        chart::Series { points, line: true, dots: false },
        chart::Series { points: vec![(0.0, 0.0), (1.0, 1.0)], line: true, dots: false },
    ];
    figure(chart::lines(&series, [false, false], ["false positive rate", "true positive rate"]), &[], caption)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_become_tags() {
        let hostile = "<script>\"x\"&'\u{202e}";
        let cells = vec![
            Cell::text(hostile),
            Cell::Number(hostile.into()),
            Cell::data(Some(0.125), |x| x.to_string()),
        ];
        let body = html! {
            (table(&[hostile, "n", "x"], &[cells]))
            (facts(&[(hostile, hostile.to_owned())]))
            (picture(b"x", hostile, "thumb"))
            (legend(&[hostile.to_owned(), hostile.to_owned()]))
        };
        let chart =
            chart::bars(&[hostile.to_owned()], &[vec![Some(1.0)]], &chart::Axis::linear(|x| x.to_string()));
        let text =
            page(hostile, &html! { (body) (figure(chart, &[hostile.to_owned(), "b".to_owned()], hostile)) });
        assert!(!text.contains("<script") && !text.contains("\"x\"") && !text.contains('\u{202e}'), "{text}");
        assert!(text.contains("&lt;script&gt;&quot;x&quot;&amp;"), "{text}");
        assert!(text.contains("<data value=\"0.125\">0.125</data>"), "{text}");
    }
}
