//! Text for people and programs: results on standard output, everything else on standard error.

use crate::error::advice;
use crate::text::{chain, plain};
use anyhow::{Context, Result};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// Verbosity of `--quiet`.
const QUIET: u8 = 0;
/// Verbosity without an option.
const USUAL: u8 = 1;
/// Verbosity of `--verbose`.
const VERBOSE: u8 = 2;

/// Characters of a name, or of a cell of a table, beyond which it is cut on a terminal.
pub(crate) const WIDEST: usize = 48;

static VERBOSITY: AtomicU8 = AtomicU8::new(USUAL);

/// Whether standard output is for the bytes of a result file, so that reports go to standard error.
static STDOUT_IS_A_FILE: AtomicBool = AtomicBool::new(false);

/// JSON of a result, with the name of its schema.
#[derive(Serialize)]
struct Tagged<'a, T> {
    schema: String,
    #[serde(flatten)]
    value: &'a T,
}

/// Sets how much is printed.
pub(crate) fn set_verbosity(quiet: bool, verbose: bool) {
    let verbosity = match (quiet, verbose) {
        (true, _) => QUIET,
        (_, true) => VERBOSE,
        _ => USUAL,
    };
    VERBOSITY.store(verbosity, Ordering::Relaxed);
}

/// Whether notes and progress are hidden.
pub(crate) fn is_quiet() -> bool {
    VERBOSITY.load(Ordering::Relaxed) == QUIET
}

/// Whether reports go to a terminal, where lines have little room, and not to a file.
pub(crate) fn is_terminal() -> bool {
    if STDOUT_IS_A_FILE.load(Ordering::Relaxed) {
        io::stderr().is_terminal()
    } else {
        io::stdout().is_terminal()
    }
}

/// Keeps standard output for the bytes of a result file: reports go to standard error from now on.
pub(crate) fn reserve_stdout() {
    STDOUT_IS_A_FILE.store(true, Ordering::Relaxed);
}

/// Prints a report. A reader that closes the pipe early (`| head`) is no failure.
pub(crate) fn print(text: &str) -> Result<()> {
    if STDOUT_IS_A_FILE.load(Ordering::Relaxed) {
        let _ = io::stderr().lock().write_all(text.as_bytes());
        return Ok(());
    }
    print_bytes(text.as_bytes())
}

/// Writes bytes to standard output.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to standard output"),
    }
}

/// Prints one JSON object of the schema `pleura.NAME/1`.
pub(crate) fn print_json(name: &str, value: &impl Serialize) -> Result<()> {
    print(&json(name, value)?)
}

/// A line with one JSON object of the schema `pleura.NAME/1`.
pub(crate) fn json(name: &str, value: &impl Serialize) -> Result<String> {
    let tagged = Tagged { schema: format!("pleura.{name}/1"), value };
    Ok(serde_json::to_string(&tagged).context("cannot write the result as JSON")? + "\n")
}

/// Prints a detail, with `--verbose`.
pub(crate) fn detail(text: &str) {
    if VERBOSITY.load(Ordering::Relaxed) == VERBOSE {
        say("detail", text);
    }
}

/// Prints a fact that is no part of the result.
pub(crate) fn note(text: &str) {
    if !is_quiet() {
        say("note", text);
    }
}

/// Prints what may be wrong with the result.
pub(crate) fn warn(text: &str) {
    say("warning", text);
}

/// Prints why there is no result, with advice.
pub(crate) fn fail(error: &anyhow::Error) {
    let advice = advice(error).map_or(String::new(), |text| format!("; {text}"));
    say("error", &(chain(error) + &advice));
}

/// Prints a line on standard error; `eprintln!` would panic if the pipe is closed.
pub(crate) fn say(kind: &str, text: &str) {
    let _ = writeln!(io::stderr().lock(), "{kind}: {}", plain(text));
}
