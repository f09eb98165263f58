//! Words for people: results on standard output, everything else on standard error.

use crate::error::CliError;
use indicatif::{ProgressBar, ProgressStyle};
use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

/// Between two pictures of a clock.
const TICK: Duration = Duration::from_millis(250);

/// Prints a result. A reader that has seen enough (`| head`) is no failure.
pub(crate) fn publish(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(CliError::Output(e)),
        _ => Ok(()),
    }
}

/// Prints one JSON object.
pub(crate) fn publish_json(value: &impl serde::Serialize) -> Result<(), CliError> {
    publish(&(serde_json::to_string(value).map_err(CliError::Json)? + "\n"))
}

/// Says something beside the result.
pub(crate) fn note(text: &str) {
    say("note", text);
}

/// Says what may be wrong with the result.
pub(crate) fn warn(text: &str) {
    say("warning", text);
}

/// Says why there is no result, and what to do about it.
pub(crate) fn fail(error: &CliError) {
    let advice = error.advice().map_or(String::new(), |text| format!("; {text}"));
    say("error", &(chain(error) + &advice));
}

/// An error and what it came from, as one sentence.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        // Some errors already repeat their source.
        if !text.contains(&next) {
            text = text + ": " + &next;
        }
        source = error.source();
    }
    text
}

// `eprintln!` would panic if nobody reads.
fn say(kind: &str, text: &str) {
    let _ = writeln!(io::stderr().lock(), "{kind}: {}", plain(text));
}

/// Without control characters, which names in a model file may carry to play with the terminal.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A number and what there are so many of: `1 picture`, `2 pictures`.
pub(crate) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A bar on standard error, or nothing where that is no terminal.
pub(crate) fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:9} {bar:30} {pos}/{len} {msg}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// The same for steps of which nobody knows how long they take.
pub(crate) fn clock() -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:9} {pos}/{len} {elapsed} {msg}");
    let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(TICK);
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_move_the_cursor() {
        assert_eq!(plain("a\u{1b}[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
    }

    #[test]
    fn one_is_no_plural() {
        assert_eq!([0, 1, 2].map(|n| counted(n, "X-ray")), ["0 X-rays", "1 X-ray", "2 X-rays"]);
    }

    #[test]
    fn errors_name_their_sources_once() {
        let source = io::Error::other("the disk is gone");
        let error = CliError::Write { path: "y.npy".into(), source };
        assert_eq!(chain(&error), "cannot write y.npy: the disk is gone");
    }
}
