//! Results as tables, Markdown and CSV.

use crate::cmd::bench::{flat, record};
use crate::cmd::plan::parameters;
use crate::report::Forms;
use crate::table::{self, Table};
use crate::text::{bytes_text, counted, millis, plain, short};
use anyhow::Result;
use pleura::bench::{
    DeviceRecord, Measurement, NetworkMeasurement, NetworkRecord, OPERATIONS, OperationRecord, Record,
    Roofline, Times,
};
use std::ops::Deref;

/// Sentence under a table of operations.
const MEDIANS: &str =
    "Medians for one ciphertext of the batch; ratio: how many times as fast as the first device.";

/// Share of its first rate that a device which is not throttled keeps.
const KEPT: f64 = 0.85;

/// A device in a line.
pub(crate) fn device_text(device: &DeviceRecord) -> String {
    let DeviceRecord { name, kind, api, driver, .. } = device;
    let more =
        [Some(kind), api.as_ref(), driver.as_ref()].into_iter().flatten().filter(|text| !text.is_empty());
    let more: Vec<_> = more.map(String::as_str).collect();
    plain(&format!("{name} ({})", more.join(", ")))
}

/// Name of a network, and how many items share ciphertexts if there are several.
pub(crate) fn network_text(network: &NetworkRecord) -> String {
    match network.batch {
        1 => network.name.clone(),
        batch => format!("{}, {batch} at once", network.name),
    }
}

/// Milliseconds of the median, if there is one.
pub(crate) fn median_text(times: Option<&Times>) -> String {
    times.map_or_else(dash, |times| millis(times.median))
}

/// Limits of a device in a few words.
pub(crate) fn roofline_text(limits: &Roofline) -> String {
    let Roofline { copy_bytes_per_second: bytes, products_per_second: products, .. } = limits;
    format!("copies {:.1} GB/s, multiplies {:.1} G/s", bytes / 1e9, products / 1e9)
}

/// Facts about the run: heading and text.
pub(crate) fn facts(record: &Record) -> Vec<(&'static str, String)> {
    let Record { suite, version, repeat, .. } = record;
    let mut facts = vec![(
        "suite",
        format!("{suite}, {} after one that warms up, pleura {version}", counted(*repeat, "round")),
    )];
    if let Some((manifest, digest)) = record.manifest.as_ref().zip(record.manifest_sha256.as_ref()) {
        facts.push(("manifest", format!("version {}, SHA-256 {digest}", manifest.version)));
    }
    if let Some(commit) = &record.commit {
        let state = match record.modified {
            Some(true) => ", with changes",
            Some(false) => "",
            None => ", changes unknown",
        };
        facts.push(("commit", format!("{commit}{state}")));
    }
    if let Some(machine) = &record.machine {
        let processor = machine.processor.as_deref().unwrap_or("unknown processor");
        let memory = machine
            .memory_bytes
            .map_or_else(String::new, |bytes| format!(", {} of memory", bytes_text(bytes)));
        let cores = counted(machine.cores, "core");
        facts.push((
            "machine",
            format!(
                "{processor}, {cores}, {}{memory}, {} ({})",
                machine.simd, machine.system, machine.architecture
            ),
        ));
    }
    for device in &record.devices {
        let limits = device
            .roofline
            .as_ref()
            .map_or_else(String::new, |limits| format!("; {}", roofline_text(limits)));
        let text = device_text(device);
        let id = if text.starts_with(&device.device_id) { "" } else { &device.device_id };
        facts.push(("device", format!("{id} {text}{limits}").trim_start().to_owned()));
    }
    let mut sets: Vec<_> = record.operations.iter().map(|operation| &operation.parameters).collect();
    sets.dedup();
    for p in sets {
        let text = format!(
            "n = 2^{}, {} levels of {} bits in {} limbs, {} special, {} digits, log2(QP) = {:.0}, {} bits of security",
            p.log_n, p.levels, p.scale_bits, p.limbs, p.special, p.digits, p.log2_qp, p.security
        );
        facts.push(("parameters", text));
    }
    facts
}

/// The tables of a record.
pub(crate) struct Report<'a>(pub(crate) &'a Record);

impl Deref for Report<'_> {
    type Target = Record;

    fn deref(&self) -> &Record {
        self.0
    }
}

impl Forms for Report<'_> {
    fn tables(&self) -> String {
        let mut text = String::new();
        let mut last = "";
        for (head, fact) in facts(self) {
            text += &format!("{:<12}{fact}\n", if head == last { "" } else { head });
            last = head;
        }
        if !self.operations.is_empty() {
            text += &format!("\n{}\n", self.operations_table());
            for (name, about) in OPERATIONS {
                text += &format!("{name:<20} {about}\n");
            }
            text += &format!("{MEDIANS}\n");
        }
        for network in &self.networks {
            text += &format!("\n{}\n", self.network_head(network));
            text += &format!("{}\n\n", self.network_sizes(network).join("\n"));
            text += &format!("{}\n{}\n", self.network_table(network), self.cold_table(network));
            text += &self.layers_table(network).to_string();
        }
        text + &self.remarks().iter().map(|remark| format!("\n{remark}\n")).collect::<String>()
    }

    fn json(&self) -> Result<String> {
        record::text(self)
    }

    fn markdown(&self) -> String {
        let mut text = format!("# Benchmark of pleura {}\n\n", self.version);
        for (head, fact) in facts(self) {
            text += &format!("* {head}: {fact}\n");
        }
        if !self.operations.is_empty() {
            text += &format!("\n## Operations\n\n{}\n{MEDIANS}\n", self.operations_table().markdown());
        }
        for network in &self.networks {
            text += &format!("\n## {}\n\n", self.network_head(network));
            for sizes in self.network_sizes(network) {
                text += &format!("* {sizes}\n");
            }
            let tables = [self.network_table(network), self.cold_table(network), self.layers_table(network)];
            for table in tables {
                text += &format!("\n{}", table.markdown());
            }
        }
        text + &self.remarks().iter().map(|remark| format!("\n{remark}\n")).collect::<String>()
    }

    fn csv(&self) -> Result<String> {
        table::csv(flat::rows(self))
    }
}

impl Report<'_> {
    /// Sentences about all rows: whether devices agreed, noise, and devices that became slower.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        remarks.extend(match (self.differences(), self.devices.len()) {
            (0, 1) => None,
            (some, 1) => Some(format!("{some} results are NOT the same each time.")),
            (0, _) => Some("Every result was the same to the bit on all devices that gave one.".to_owned()),
            (some, _) => Some(format!("{some} results are NOT the same on all devices, each time.")),
        });
        let times = self.measurements().filter_map(|measurement| measurement.seconds.as_ref());
        let noisy = times.filter(|times| times.noisy == Some(true)).count();
        if let Some(bound) = self.noise_bound.filter(|_| noisy > 0) {
            remarks.push(format!(
                "{} noisy: the middle half of the samples spans more than {:.0} % of the median.",
                if noisy == 1 { "1 row is".to_owned() } else { format!("{noisy} rows are") },
                100.0 * bound
            ));
        }
        for device in &self.devices {
            let Some((before, after)) = device.roofline.as_ref().zip(device.roofline_after.as_ref()) else {
                continue;
            };
            let kept = after.products_per_second / before.products_per_second;
            if kept < KEPT {
                remarks.push(format!(
                    "{}: products were {kept:.2} times as fast after the run as before, so it was throttled or did other work.",
                    plain(&device.name)
                ));
            }
        }
        remarks
    }

    pub(crate) fn operations_table(&self) -> Table {
        let headings = [
            "operation",
            "log n",
            "batch",
            "device",
            "ms",
            "ms, least to most",
            "items/s",
            "ratio",
            "same words",
            "notes",
        ];
        let mut table = Table::new(1, headings);
        for operation in &self.operations {
            for (device, outcome) in self.devices.iter().zip(&operation.results) {
                table.row([
                    operation.name.clone(),
                    operation.parameters.log_n.to_string(),
                    operation.batch.to_string(),
                    device.device_id.clone(),
                    median_text(outcome.seconds.as_ref()),
                    spread_text(outcome),
                    outcome.items_per_second.map_or_else(dash, short),
                    ratio_text(outcome),
                    same_text(operation.identical, outcome),
                    notes_text(outcome.seconds.as_ref()),
                ]);
            }
        }
        table
    }

    fn network_head(&self, network: &NetworkRecord) -> String {
        format!("{}: {}", plain(&network_text(network)), parameters(&network.parameters))
    }

    /// Times of the client, and bytes.
    fn network_sizes(&self, network: &NetworkRecord) -> [String; 2] {
        let client = &network.client;
        let bytes = &network.bytes;
        let size = |bytes: usize| bytes_text(bytes as u64);
        [
            format!(
                "client ms: compress {}, make keys {}, encrypt {}, decrypt {}",
                median_text(Some(&client.compress)),
                median_text(client.keys.as_ref()),
                median_text(Some(&client.encrypt)),
                median_text(client.decrypt.as_ref()),
            ),
            format!(
                "bytes: {} up, {} down, keys {} sent and {} on the device, weights {}, {} planned in all",
                size(bytes.up),
                size(bytes.down),
                size(bytes.keys_sent),
                size(bytes.keys_on_device),
                size(bytes.weights),
                size(bytes.predicted_peak_bytes),
            ),
        ]
    }

    pub(crate) fn network_table(&self, network: &NetworkRecord) -> Table {
        let headings = [
            "device",
            "inference ms",
            "ms, least to most",
            "items/s",
            "ratio",
            "same words",
            "bits",
            "peak memory",
            "joules",
            "notes",
        ];
        let mut table = Table::new(1, headings);
        for (device, result) in self.devices.iter().zip(&network.results) {
            table.row([
                device.device_id.clone(),
                median_text(result.inference.seconds.as_ref()),
                spread_text(&result.inference),
                result.inference.items_per_second.map_or_else(dash, short),
                ratio_text(&result.inference),
                same_text(network.identical, &result.inference),
                result.bits.map_or_else(dash, |bits| format!("{bits:.1}")),
                result.peak_bytes.map_or_else(dash, bytes_text),
                result.joules.map_or_else(dash, short),
                notes_text(result.inference.seconds.as_ref()),
            ]);
        }
        table
    }

    /// Seconds until the first result.
    pub(crate) fn cold_table(&self, network: &NetworkRecord) -> Table {
        let headings = ["cold start", "open ms", "keys, weights, kernels ms", "first inference ms", "sum ms"];
        let mut table = Table::new(1, headings);
        for (device, result) in self.devices.iter().zip(&network.results) {
            let NetworkMeasurement { open, prepare, first, .. } = result;
            let text = |seconds: &Option<f64>| seconds.map_or_else(dash, millis);
            let sum = open.zip(*prepare).zip(*first).map(|((open, prepare), first)| open + prepare + first);
            table.row([device.device_id.clone(), text(open), text(prepare), text(first), text(&sum)]);
        }
        table
    }

    pub(crate) fn layers_table(&self, network: &NetworkRecord) -> Table {
        let fixed = ["layer", "kind", "level", "ciphertexts", "diagonals", "rotations"].map(str::to_owned);
        let devices = self.devices.iter().map(|device| format!("ms on {}", device.device_id));
        let mut table = Table::wide(2, fixed.into_iter().chain(devices).collect());
        for (i, layer) in network.layers.iter().enumerate() {
            let counts = [layer.level, layer.ciphertexts, layer.diagonals, layer.rotations];
            let times = network.results.iter().map(|r| median_text(r.layers.get(i).and_then(Option::as_ref)));
            let words = [layer.name.clone(), layer.kind.clone()].into_iter();
            table.wide_row(words.chain(counts.map(|count| count.to_string())).chain(times).collect());
        }
        table
    }
}

impl Report<'_> {
    /// Sentences about failures and nondeterministic results.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut texts = Vec::new();
        for (i, device) in self.devices.iter().enumerate() {
            let on = format!("on {}", device.name);
            for group in self
                .operations
                .chunk_by(|a: &OperationRecord, b: &OperationRecord| a.parameters.log_n == b.parameters.log_n)
            {
                let failed: Vec<_> = group
                    .iter()
                    .filter_map(|o| o.results.get(i)?.error.as_ref().map(|error| (o, error)))
                    .collect();
                let Some((first, error)) = failed.first() else { continue };
                let n = format!("n = 2^{}", first.parameters.log_n);
                // What has one cause is told once.
                if failed.len() == group.len() && failed.iter().all(|(_, other)| other == error) {
                    texts.push(format!("all operations at {n}, {on}: {error}"));
                    continue;
                }
                let each = failed
                    .iter()
                    .map(|(o, error)| format!("{} at {n}, batch {}, {on}: {error}", o.name, o.batch));
                texts.extend(each);
            }
            for network in &self.networks {
                let Some(outcome) = network.results.get(i).map(|result| &result.inference) else { continue };
                texts.extend(outcome.error.as_ref().map(|error| format!("{} {on}: {error}", network.name)));
                if outcome.nondeterministic {
                    texts.push(format!("{} {on}: other words from one time to the next", network.name));
                }
            }
        }
        texts
    }
}

/// Remarks on a row: noise, and the 99th percentile if there are enough repetitions.
pub(crate) fn notes_text(times: Option<&Times>) -> String {
    let Some(times) = times else { return dash() };
    let noisy = (times.noisy == Some(true)).then(|| "noisy".to_owned());
    let p99 = times.p99.map(|p99| format!("p99 {} ms", millis(p99)));
    let notes: Vec<_> = noisy.into_iter().chain(p99).collect();
    if notes.is_empty() { dash() } else { notes.join(", ") }
}

fn dash() -> String {
    "-".to_owned()
}

fn spread_text(outcome: &Measurement) -> String {
    outcome.seconds.as_ref().map_or_else(dash, |t| format!("{}..{}", millis(t.min), millis(t.max)))
}

fn ratio_text(outcome: &Measurement) -> String {
    outcome
        .ratio
        .map_or_else(dash, |ratio| if ratio < 0.1 { format!("{ratio:.4}") } else { format!("{ratio:.2}") })
}

/// Whether a result was the same everywhere, in a word.
pub(crate) fn same_text(identical: Option<bool>, outcome: &Measurement) -> String {
    match (identical, &outcome.error) {
        (_, Some(_)) => "failed".to_owned(),
        (Some(true), _) => "yes".to_owned(),
        (Some(false), _) => "NO".to_owned(),
        (None, _) => dash(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pleura::bench::{Manifest, Parameters};

    fn operation(log_n: u32, name: &str, batch: usize, results: Vec<Measurement>) -> OperationRecord {
        let parameters = Parameters {
            log_n,
            levels: 1,
            limbs: 2,
            special: 1,
            digits: 2,
            scale_bits: 30,
            log2_qp: 90.0,
            security: 128,
        };
        OperationRecord { name: name.to_owned(), batch, parameters, work: None, identical: None, results }
    }

    #[test]
    fn failures_say_of_what_and_on_what() {
        let device = |name: &str| DeviceRecord {
            device_id: "0".to_owned(),
            name: name.to_owned(),
            kind: String::new(),
            api: None,
            driver: None,
            shader_int64: true,
            memory_bytes: None,
            roofline: None,
            roofline_after: None,
        };
        let list = Manifest {
            name: "smoke".to_owned(),
            version: 1,
            operations: Vec::new(),
            parameters: Vec::new(),
            batches: Vec::new(),
            networks: Vec::new(),
            samples: 0,
        };
        let mut record = Record::new(list, 1, vec![device("abacus"), device("slide rule")]);
        let failed = || Measurement::failed("it failed".into());
        let good = Measurement::default;
        record.operations = vec![
            operation(13, "ntt", 1, vec![good(), failed()]),
            operation(13, "rotate", 8, vec![failed(), failed()]),
            operation(14, "ntt", 1, vec![good(), good()]),
        ];
        let texts = Report(&record).warnings();
        let starts =
            ["rotate at n = 2^13, batch 8, on abacus: ", "all operations at n = 2^13, on slide rule: "];
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(texts.iter().zip(starts).all(|(text, start)| text.starts_with(start)), "{texts:?}");
    }
}
