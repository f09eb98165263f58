//! Words for people: results on standard output, everything else on standard error.

use crate::error::advice;
use crate::text::{chain, plain};
use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, Write};
use std::time::Duration;

/// Between two pictures of a clock.
const TICK: Duration = Duration::from_millis(250);

/// Prints a result. A reader that has seen enough (`| head`) is no failure.
pub(crate) fn publish(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// Prints one JSON object.
pub(crate) fn publish_json(value: &impl serde::Serialize) -> Result<()> {
    publish(&(json(value)? + "\n"))
}

/// A result as JSON.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).context("cannot write the result as JSON")
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
pub(crate) fn fail(error: &anyhow::Error) {
    let advice = advice(error).map_or(String::new(), |text| format!("; {text}"));
    say("error", &(chain(error) + &advice));
}

// `eprintln!` would panic if nobody reads.
fn say(kind: &str, text: &str) {
    let _ = writeln!(io::stderr().lock(), "{kind}: {}", plain(text));
}

/// A bar on standard error, or nothing where that is no terminal.
pub(crate) fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:9} {bar:30} {pos}/{len} {msg}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A bar for the bytes of a file, with a clock that goes on where nothing is read.
pub(crate) fn bytes_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:9} {bar:30} {bytes}/{total_bytes} {elapsed} {msg}");
    let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(TICK);
    bar
}

/// The same for steps of which nobody knows how long they take.
pub(crate) fn clock() -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:9} {pos}/{len} {elapsed} {msg}");
    let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(TICK);
    bar
}
