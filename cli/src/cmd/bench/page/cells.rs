//! Cells and names that sections share.

use crate::cmd::bench::report::{device_text, network_text, notes_text};
use crate::html::Cell;
use crate::text::millis;
use pleura::bench::{NetworkRecord, Record, Times};

/// Names of the devices, as charts and tables have them.
pub(super) fn devices(record: &Record) -> Vec<String> {
    record.devices.iter().map(|device| format!("{}: {}", device.device_id, device_text(device))).collect()
}

/// A number of items a second.
pub(super) fn rate(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}/s"),
        1.0.. => format!("{value:.1}/s"),
        _ => format!("{value:.3}/s"),
    }
}

/// Cells of a time: median, range, and a remark.
pub(super) fn time_cells(times: Option<&Times>) -> [Cell; 3] {
    let range = times.map_or_else(|| "-".to_owned(), |t| format!("{}..{}", millis(t.min), millis(t.max)));
    [Cell::data(times.map(|times| times.median), millis), Cell::Number(range), Cell::text(notes_text(times))]
}

/// Networks with results, with the names that they have in the page.
pub(super) fn measured(record: &Record) -> impl Iterator<Item = (String, &NetworkRecord)> {
    record.networks.iter().map(|network| (network_text(network), network))
}
