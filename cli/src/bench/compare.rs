//! `pleura bench compare`: two files of results side by side.

use crate::bench::record;
use crate::bench::report::{device_text, network_text};
use crate::table::Table;
use crate::terminal;
use crate::text::millis;
use anyhow::{Result, bail};
use clap::Args;
use pleura::bench::{DeviceRecord, Measurement, NetworkRecord, Record};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Arguments of `pleura bench compare`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura bench compare before.json after.json
  pleura bench compare mine.json yours.json --json | jq '.rows[] | select(.ratio > 1.1)'

Devices of the same name are compared first, then the others in their order.")]
pub(crate) struct CompareArgs {
    /// File of `pleura bench --json --output A.json`.
    #[arg(value_name = "A.json")]
    a: PathBuf,

    /// File of another time, or of another machine.
    #[arg(value_name = "B.json")]
    b: PathBuf,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Comparison {
    /// Pairs of devices.
    devices: Vec<[String; 2]>,
    rows: Vec<Row>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Row {
    what: String,
    /// Index of the pair of devices.
    pair: usize,
    /// Median seconds.
    a: Option<f64>,
    b: Option<f64>,
    /// Median of B over median of A: above 1, B is slower.
    ratio: Option<f64>,
    note: String,
}

/// A time with its parameters.
struct Entry {
    seconds: Option<f64>,
    failed: bool,
    parameters: String,
}

/// Reads two files, and reports.
pub(crate) fn compare(args: &CompareArgs) -> Result<()> {
    let a = record::read(&args.a)?;
    let b = record::read(&args.b)?;
    let pairs = pairs(&a.devices, &b.devices);
    let mut rows = Vec::new();
    for (pair, (i, j)) in pairs.iter().enumerate() {
        rows.extend(side_by_side(pair, &entries(&a, *i), &entries(&b, *j)));
    }
    let name = |devices: &[DeviceRecord], i: usize| devices.get(i).map(device_text).unwrap_or_default();
    let devices = pairs.iter().map(|&(i, j)| [name(&a.devices, i), name(&b.devices, j)]).collect();
    if rows.iter().all(|row| row.a.is_none() || row.b.is_none()) {
        bail!(
            "{} and {} have no time of the same measurement in them: there is nothing to compare",
            args.a.display(),
            args.b.display()
        );
    }
    let mut notes = differing(&a, &b);
    for (record, mine, file, other) in [(&a, 0, &args.a, &args.b), (&b, 1, &args.b, &args.a)] {
        let paired = |i: usize| pairs.iter().any(|pair| [pair.0, pair.1].get(mine) == Some(&i));
        for (_, device) in record.devices.iter().enumerate().filter(|(i, _)| !paired(*i)) {
            notes.push(format!(
                "{} has no device to compare with {} of {}",
                other.display(),
                device_text(device),
                file.display()
            ));
        }
        let wrong = record.differences();
        if wrong > 0 {
            notes.push(format!(
                "{wrong} results in {} are NOT the same on all devices, each time: do not trust those times",
                file.display()
            ));
        }
    }
    let comparison = Comparison { devices, rows, notes };
    if args.json {
        return terminal::print_json("bench-compare", &comparison);
    }
    comparison.notes.iter().for_each(|text| terminal::note(text));
    terminal::print(&comparison.to_string())
}

/// Differences between the settings of two runs.
fn differing(a: &Record, b: &Record) -> Vec<String> {
    let rounds = [a.repeat, b.repeat].map(|rounds| rounds.to_string());
    let digest = |record: &Record| record.manifest_sha256.clone().unwrap_or_else(|| "none".to_owned());
    let digests = [a, b].map(digest);
    let facts = [
        ("suite", a.suite.as_str(), b.suite.as_str()),
        ("list of measurements", &digests[0], &digests[1]),
        ("rounds", &rounds[0], &rounds[1]),
        ("version", &a.version, &b.version),
    ];
    let other = facts.into_iter().filter(|(_, a, b)| a != b);
    other.map(|(what, a, b)| format!("not the same {what}: {a} in A, {b} in B")).collect()
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (pair, [a, b]) in self.devices.iter().enumerate() {
            writeln!(f, "A           {a}\nB           {b}\n")?;
            let mut table = Table::new(1, ["what", "A ms", "B ms", "B / A", "note"]);
            for row in self.rows.iter().filter(|row| row.pair == pair) {
                let text = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), millis);
                let ratio = row.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
                table.row([row.what.clone(), text(row.a), text(row.b), ratio, row.note.clone()]);
            }
            writeln!(f, "{table}")?;
        }
        writeln!(f, "Medians; below 1, B is the faster one.")
    }
}

/// Devices of one name, then the others in their order.
fn pairs(a: &[DeviceRecord], b: &[DeviceRecord]) -> Vec<(usize, usize)> {
    let mut free: Vec<usize> = (0..b.len()).collect();
    let mut take = |wanted: &dyn Fn(usize) -> bool| {
        let at = free.iter().position(|&j| wanted(j))?;
        Some(free.remove(at))
    };
    let same = |i: usize, j: usize| a.get(i).zip(b.get(j)).is_some_and(|(a, b)| a.name == b.name);
    let named: Vec<_> = (0..a.len()).map(|i| take(&|j| same(i, j))).collect();
    named.into_iter().enumerate().filter_map(|(i, j)| Some((i, j.or_else(|| take(&|_| true))?))).collect()
}

/// All times of a device, by what was timed, in their order.
fn entries(record: &Record, device: usize) -> Vec<(String, Entry)> {
    let of = |outcome: Option<&Measurement>, parameters: &str| Entry {
        seconds: outcome.and_then(Measurement::median),
        failed: outcome.is_some_and(|outcome| outcome.error.is_some()),
        parameters: parameters.to_owned(),
    };
    let mut entries = Vec::new();
    for operation in &record.operations {
        let (name, p) = (&operation.name, &operation.parameters);
        let parameters = format!("{} {} {} {} {}", p.levels, p.limbs, p.special, p.digits, p.scale_bits);
        let what = format!("{name}, n = 2^{}, {} at once", p.log_n, operation.batch);
        entries.push((what, of(operation.results.get(device), &parameters)));
    }
    for network in &record.networks {
        let NetworkRecord { parameters: p, client, .. } = network;
        let name = network_text(network);
        let parameters = format!("{} {} {}", p.log_n, p.levels, p.scale_bits);
        let result = network.results.get(device);
        entries.push((format!("{name}, inference"), of(result.map(|r| &r.inference), &parameters)));
        let steps = [
            ("compress", Some(&client.compress)),
            ("make keys", client.keys.as_ref()),
            ("encrypt", Some(&client.encrypt)),
            ("decrypt", client.decrypt.as_ref()),
        ];
        let steps = steps.map(|(step, times)| (step, times.map(|times| times.median)));
        for (step, seconds) in steps.into_iter().chain([("prepare", result.and_then(|r| r.prepare))]) {
            entries.push((
                format!("{name}, {step}"),
                Entry { seconds, failed: false, parameters: parameters.clone() },
            ));
        }
    }
    entries
}

fn side_by_side(pair: usize, a: &[(String, Entry)], b: &[(String, Entry)]) -> Vec<Row> {
    let by_name: BTreeMap<_, _> = b.iter().map(|(what, entry)| (what, entry)).collect();
    let known: BTreeMap<_, _> = a.iter().map(|(what, entry)| (what, entry)).collect();
    let row = |what: &String, a: Option<&Entry>, b: Option<&Entry>| {
        let note = match (a, b) {
            (None, _) => "not in A",
            (_, None) => "not in B",
            (Some(a), _) if a.failed => "failed in A",
            (_, Some(b)) if b.failed => "failed in B",
            (Some(a), Some(b)) if a.parameters != b.parameters => "other parameters",
            _ => "",
        };
        let a = a.and_then(|a| a.seconds);
        let b = b.and_then(|b| b.seconds);
        let ratio = a.zip(b).map(|(a, b)| b / a).filter(|ratio| ratio.is_finite());
        Row { what: what.clone(), pair, a, b, ratio, note: note.to_owned() }
    };
    let of_a = a.iter().map(|(what, entry)| row(what, Some(entry), by_name.get(what).copied()));
    let others = b.iter().filter(|(what, _)| !known.contains_key(what));
    of_a.chain(others.map(|(what, entry)| row(what, None, Some(entry)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str) -> DeviceRecord {
        DeviceRecord {
            device_id: "0".to_owned(),
            name: name.to_owned(),
            kind: String::new(),
            api: None,
            driver: None,
            shader_int64: true,
            memory_bytes: None,
            roofline: None,
            roofline_after: None,
        }
    }

    #[test]
    fn devices_are_paired_by_name_first() {
        let a = ["cpu", "old"].map(device);
        let b = ["new", "cpu"].map(device);
        assert_eq!(pairs(&a, &b), [(0, 1), (1, 0)]);
        assert_eq!(pairs(&a, &b[..1]), [(0, 0)]);
        assert_eq!(pairs(&a, &b[1..]), [(0, 0)]);
        assert!(pairs(&a, &[]).is_empty());
    }

    #[test]
    fn what_is_missing_or_different_is_noted() {
        let entry = |seconds: f64, parameters: &str| Entry {
            seconds: Some(seconds),
            failed: false,
            parameters: parameters.to_owned(),
        };
        let a = [("x".to_owned(), entry(2.0, "p")), ("y".to_owned(), entry(1.0, "p"))];
        let b = [("x".to_owned(), entry(1.0, "q")), ("z".to_owned(), entry(1.0, "p"))];
        let rows = side_by_side(0, &a, &b);
        let said: Vec<_> = rows.iter().map(|r| (r.what.as_str(), r.ratio, r.note.as_str())).collect();
        let expected =
            [("x", Some(0.5), "other parameters"), ("y", None, "not in B"), ("z", None, "not in A")];
        assert_eq!(said, expected);
    }
}
