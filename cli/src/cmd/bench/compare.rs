//! `pleura bench compare`: files of results side by side.

use crate::cmd::bench::page::{self, Pair, Source};
use crate::cmd::bench::record;
use crate::cmd::bench::report::{device_text, network_text};
use crate::table::Table;
use crate::text::millis;
use crate::{files, terminal};
use anyhow::{Result, bail};
use clap::Args;
use pleura::bench::{DeviceRecord, Measurement, NetworkRecord, Record};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Arguments of `pleura bench compare`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura bench compare before.json after.json
  pleura bench compare mine.json yours.json --json \\
      | jq '.rows[] | select(.ratio > 1.1)'
  pleura bench compare laptop.json server.json card.json --html machines.html

Each file is compared with the first. Devices of the same name are compared first, then the others
in their order.")]
pub(crate) struct CompareArgs {
    /// File of `pleura bench --json --output A.json`.
    #[arg(value_name = "A.json")]
    a: PathBuf,

    /// File of another time, or of another machine.
    #[arg(value_name = "B.json")]
    b: PathBuf,

    /// Further files, each compared with A.
    #[arg(value_name = "C.json", num_args = 0..=24)]
    more: Vec<PathBuf>,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,

    /// HTML file for a page with charts, and all figures of each file.
    #[arg(long, value_name = "F.html")]
    html: Option<PathBuf>,

    /// Replace the file of --html if it exists.
    #[arg(long, requires = "html")]
    force: bool,
}

#[derive(Serialize)]
struct Comparison {
    files: Vec<String>,
    /// Pairs of devices.
    devices: Vec<[String; 2]>,
    /// Index of the file with the second device of each pair; the first is of the first file.
    second_files: Vec<usize>,
    rows: Vec<CompareRow>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct CompareRow {
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

/// Reads files, and reports.
pub(crate) fn compare(args: &CompareArgs) -> Result<()> {
    let paths: Vec<&PathBuf> = [&args.a, &args.b].into_iter().chain(&args.more).collect();
    if let Some(html) = &args.html {
        files::check_outputs(&[html], &paths, args.force)?;
    }
    let records = paths.iter().map(|path| record::read(path)).collect::<Result<Vec<_>>>()?;
    let comparison = Comparison::new(&paths, &records)?;
    if let Some(path) = &args.html {
        let page = comparison.page(&records)?;
        files::write(path, &[page.as_bytes()], args.force, false)?;
    }
    if args.json {
        return terminal::print_json("bench-compare", &comparison);
    }
    comparison.notes.iter().for_each(|text| terminal::note(text));
    terminal::print(&comparison.to_string())
}

/// Letter that tables call a file by.
fn letter(file: usize) -> char {
    u8::try_from(file).map_or('?', |file| char::from(b'A' + file))
}

impl Comparison {
    fn new(paths: &[&PathBuf], records: &[Record]) -> Result<Self> {
        let mut all = Self {
            files: paths.iter().map(|path| path.display().to_string()).collect(),
            devices: Vec::new(),
            second_files: Vec::new(),
            rows: Vec::new(),
            notes: Vec::new(),
        };
        let named: Vec<(&PathBuf, &Record)> = paths.iter().copied().zip(records).collect();
        let [(a_path, a), others @ ..] = &named[..] else {
            bail!("internal error: no file is compared; please report it");
        };
        for (i, (b_path, b)) in others.iter().enumerate() {
            all.add([a_path, b_path], [a, b], i + 1)?;
        }
        for (path, record) in paths.iter().zip(records) {
            let wrong = record.differences();
            let note = format!(
                "{wrong} results in {} are NOT the same on all devices, each time: do not trust those times",
                path.display()
            );
            if wrong > 0 && !all.notes.contains(&note) {
                all.notes.push(note);
            }
        }
        Ok(all)
    }

    /// Compares a file with the first one.
    fn add(&mut self, paths: [&Path; 2], [a, b]: [&Record; 2], file: usize) -> Result<()> {
        let pairs = pairs(&a.devices, &b.devices);
        let from = self.devices.len();
        let mut rows = Vec::new();
        for (pair, (i, j)) in pairs.iter().enumerate() {
            rows.extend(side_by_side(from + pair, &entries(a, *i), &entries(b, *j), letter(file)));
        }
        if rows.iter().all(|row| row.a.is_none() || row.b.is_none()) {
            bail!(
                "{} and {} have no time of the same measurement in them: there is nothing to compare",
                paths[0].display(),
                paths[1].display()
            );
        }
        let name = |devices: &[DeviceRecord], i: usize| devices.get(i).map_or_else(String::new, device_text);
        self.devices.extend(pairs.iter().map(|&(i, j)| [name(&a.devices, i), name(&b.devices, j)]));
        self.second_files.extend(pairs.iter().map(|_| file));
        self.rows.extend(rows);
        self.notes.extend(differing(a, b, letter(file)));
        for (record, mine, other) in [(a, 0, 1), (b, 1, 0)] {
            let paired = |i: usize| pairs.iter().any(|pair| [pair.0, pair.1].get(mine) == Some(&i));
            for (_, device) in record.devices.iter().enumerate().filter(|(i, _)| !paired(*i)) {
                self.notes.push(format!(
                    "{} has no device to compare with {} of {}",
                    paths.get(other).map_or_else(String::new, |path| path.display().to_string()),
                    device_text(device),
                    paths.get(mine).map_or_else(String::new, |path| path.display().to_string()),
                ));
            }
        }
        Ok(())
    }

    fn page(&self, records: &[Record]) -> Result<String> {
        let sources: Vec<Source<'_>> = records
            .iter()
            .zip(&self.files)
            .enumerate()
            .map(|(i, (record, file))| Source { letter: letter(i), file: file.clone(), record })
            .collect();
        let pairs = self.devices.iter().zip(&self.second_files).enumerate();
        let comparisons: Vec<page::Comparison> = pairs
            .map(|(pair, (devices, file))| page::Comparison {
                letter: letter(*file),
                devices: devices.clone(),
                rows: self
                    .rows
                    .iter()
                    .filter(|row| row.pair == pair)
                    .map(|row| Pair {
                        what: row.what.clone(),
                        seconds: [row.a, row.b],
                        ratio: row.ratio,
                        note: row.note.clone(),
                    })
                    .collect(),
            })
            .collect();
        page::comparison_page(&sources, &comparisons, &self.notes)
    }
}

/// Differences between the settings of two runs, of which the second is called by a letter.
fn differing(a: &Record, b: &Record, letter: char) -> Vec<String> {
    let rounds = [a.repeat, b.repeat].map(|rounds| rounds.to_string());
    let digests = [a, b].map(|record| record.manifest_sha256.clone().unwrap_or_else(|| "none".to_owned()));
    let facts = [
        ("suite", a.suite.as_str(), b.suite.as_str()),
        ("list of measurements", &digests[0], &digests[1]),
        ("rounds", &rounds[0], &rounds[1]),
        ("version", &a.version, &b.version),
    ];
    let other = facts.into_iter().filter(|(_, a, b)| a != b);
    other.map(|(what, a, b)| format!("not the same {what}: {a} in A, {b} in {letter}")).collect()
}

impl std::fmt::Display for Comparison {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (pair, ([a, b], file)) in self.devices.iter().zip(&self.second_files).enumerate() {
            let letter = letter(*file);
            writeln!(f, "A           {a}\n{letter}           {b}\n")?;
            let headings = [
                "what".into(),
                "A ms".into(),
                format!("{letter} ms"),
                format!("{letter} / A"),
                "note".into(),
            ];
            let mut table = Table::wide(1, headings.to_vec());
            for row in self.rows.iter().filter(|row| row.pair == pair) {
                let text = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), millis);
                let ratio = row.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
                table.wide_row(vec![row.what.clone(), text(row.a), text(row.b), ratio, row.note.clone()]);
            }
            writeln!(f, "{table}")?;
        }
        writeln!(f, "Medians; below 1, A is the slower one.")
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
        let name = &operation.name;
        let p = &operation.parameters;
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

fn side_by_side(pair: usize, a: &[(String, Entry)], b: &[(String, Entry)], letter: char) -> Vec<CompareRow> {
    let by_name: BTreeMap<_, _> = b.iter().map(|(what, entry)| (what, entry)).collect();
    let known: BTreeMap<_, _> = a.iter().map(|(what, entry)| (what, entry)).collect();
    let row = |what: &String, a: Option<&Entry>, b: Option<&Entry>| {
        let note = match (a, b) {
            (None, _) => "not in A".to_owned(),
            (_, None) => format!("not in {letter}"),
            (Some(a), _) if a.failed => "failed in A".to_owned(),
            (_, Some(b)) if b.failed => format!("failed in {letter}"),
            (Some(a), Some(b)) if a.parameters != b.parameters => "other parameters".to_owned(),
            _ => String::new(),
        };
        let a = a.and_then(|a| a.seconds);
        let b = b.and_then(|b| b.seconds);
        let ratio = a.zip(b).map(|(a, b)| b / a).filter(|ratio| ratio.is_finite());
        CompareRow { what: what.clone(), pair, a, b, ratio, note }
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
        let rows = side_by_side(0, &a, &b, 'B');
        let said: Vec<_> = rows.iter().map(|r| (r.what.as_str(), r.ratio, r.note.as_str())).collect();
        let expected =
            [("x", Some(0.5), "other parameters"), ("y", None, "not in B"), ("z", None, "not in A")];
        assert_eq!(said, expected);
    }
}
