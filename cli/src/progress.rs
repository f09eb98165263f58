//! Progress on standard error: a bar on a terminal, elsewhere a line every ten seconds.

use crate::terminal;
use crate::text::{bytes_text, counted, plain};
use indicatif::{ProgressBar, ProgressStyle, WeakProgressBar};
use std::io::{self, IsTerminal};
use std::thread;
use std::time::{Duration, Instant};

/// Time between two drawings of a bar.
const TICK: Duration = Duration::from_millis(250);
/// Time between two lines.
const LINE: Duration = Duration::from_secs(10);
/// Time between two looks at a bar that may be finished.
const LOOK: Duration = Duration::from_millis(500);

/// Things that a bar counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Items,
    Bytes,
    /// Steps of unknown lengths, which have no rate.
    Steps,
    /// Items of an unknown number, some of which may not be there yet.
    Arrivals,
}

/// A bar for items of similar cost, with rate and remaining time.
pub(crate) fn bar() -> ProgressBar {
    start("{prefix:9} {bar:20} {pos}/{len} {per_sec} {eta} left {wide_msg}", Unit::Items)
}

/// A bar for the bytes of a file, with rate and remaining time.
pub(crate) fn bytes_bar() -> ProgressBar {
    start("{prefix:9} {bar:20} {bytes}/{total_bytes} {bytes_per_sec} {eta} left {wide_msg}", Unit::Bytes)
}

/// A clock for steps whose lengths are unknown.
pub(crate) fn clock() -> ProgressBar {
    start("{prefix:9} {pos}/{len} {elapsed} {wide_msg}", Unit::Steps)
}

/// A count of items that arrive. Elsewhere than on a terminal, it has a line when it has grown.
pub(crate) fn count() -> ProgressBar {
    start("{prefix:9} {pos} so far {wide_msg}", Unit::Arrivals)
}

fn start(template: &str, unit: Unit) -> ProgressBar {
    if terminal::is_quiet() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template);
    let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    if io::stderr().is_terminal() {
        bar.enable_steady_tick(TICK);
    } else {
        let watched = bar.downgrade();
        thread::spawn(move || print_lines(&watched, unit));
    }
    bar
}

/// Prints a line every ten seconds until the bar is finished or dropped; of arrivals, only when there are more than in the line before.
fn print_lines(bar: &WeakProgressBar, unit: Unit) {
    let clock = Instant::now();
    let mut next = LINE;
    let mut told = 0;
    loop {
        thread::sleep(LOOK);
        let Some(bar) = bar.upgrade().filter(|bar| !bar.is_finished()) else { return };
        if clock.elapsed() >= next && (unit != Unit::Arrivals || bar.position() > told) {
            told = bar.position();
            next = clock.elapsed() + LINE;
            let text = line(&bar.prefix(), bar.position(), bar.length().unwrap_or(0), clock.elapsed(), unit);
            let message = bar.message();
            let end = if message.is_empty() { String::new() } else { format!("; {}", plain(&message)) };
            terminal::say("pleura", &(text + &end));
        }
    }
}

/// `classify: 120 of 500 items, 3.1/s, 2 min left`
fn line(prefix: &str, done: u64, total: u64, elapsed: Duration, unit: Unit) -> String {
    let counts = match unit {
        Unit::Items => format!("{done} of {total} items"),
        Unit::Steps => format!("{done} of {total} steps"),
        Unit::Bytes => format!("{} of {}", bytes_text(done), bytes_text(total)),
        Unit::Arrivals => return format!("{prefix}: {} so far", counted(done as usize, "item")),
    };
    let rate = done as f64 / elapsed.as_secs_f64();
    if unit == Unit::Steps || done == 0 || total == 0 {
        return format!("{prefix}: {counts}, {} so far", duration(elapsed.as_secs_f64()));
    }
    let speed = if unit == Unit::Bytes { bytes_text(rate as u64) } else { format!("{rate:.1}") };
    let left = duration(total.saturating_sub(done) as f64 / rate);
    format!("{prefix}: {counts}, {speed}/s, {left} left")
}

/// `40 s`, `2 min` or `1.5 h`
fn duration(seconds: f64) -> String {
    match seconds {
        ..90.0 => format!("{seconds:.0} s"),
        90.0..5400.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_rate_and_remaining_time() {
        let at = |seconds| Duration::from_secs(seconds);
        assert_eq!(
            line("classify", 120, 500, at(40), Unit::Items),
            "classify: 120 of 500 items, 3.0/s, 2 min left"
        );
        assert_eq!(
            line("infer", 1 << 20, 3 << 20, at(2), Unit::Bytes),
            "infer: 1.0 MiB of 3.0 MiB, 512.0 KiB/s, 4 s left"
        );
        assert_eq!(line("classify", 16, 0, at(10), Unit::Arrivals), "classify: 16 items so far");
        assert_eq!(line("keys", 0, 1, at(10), Unit::Steps), "keys: 0 of 1 steps, 10 s so far");
        assert_eq!(line("read", 0, 9, at(10), Unit::Items), "read: 0 of 9 items, 10 s so far");
        assert_eq!([89.0, 600.0, 7200.0].map(duration), ["89 s", "10 min", "2.0 h"]);
    }
}
