//! Results as tables.

use crate::plan::parameters;
use crate::table::Table;
use crate::text::{bytes_text, counted, millis, plain};
use pleura::bench::{DeviceRecord, Measurement, NetworkRecord, OPERATIONS, OperationRecord, Record, Times};
use std::fmt;
use std::ops::Deref;

/// A device in a line.
pub(crate) fn device_text(device: &DeviceRecord) -> String {
    let DeviceRecord { name, kind, api, driver, .. } = device;
    let more =
        [Some(kind), api.as_ref(), driver.as_ref()].into_iter().flatten().filter(|text| !text.is_empty());
    let more: Vec<_> = more.map(String::as_str).collect();
    plain(&format!("{name} ({})", more.join(", ")))
}

/// Milliseconds of the median, if there is one.
pub(crate) fn median_text(times: Option<&Times>) -> String {
    times.map_or_else(dash, |times| millis(times.median))
}

/// The tables of a record.
pub(crate) struct Report<'a>(pub(crate) &'a Record);

impl Deref for Report<'_> {
    type Target = Record;

    fn deref(&self) -> &Record {
        self.0
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rounds, version) = (self.repeat, &self.version);
        writeln!(
            f,
            "suite       {}, {} after one that warms up, pleura {version}",
            self.suite,
            counted(rounds, "round")
        )?;
        for (i, device) in self.devices.iter().enumerate() {
            let head = if i == 0 { "devices" } else { "" };
            writeln!(f, "{head:<12}{:<4} {}", device.device_id, device_text(device))?;
        }
        self.write_operations(f)?;
        for network in &self.networks {
            self.write_network(network, f)?;
        }
        match (self.differences(), self.devices.len()) {
            (0, 1) => Ok(()),
            (some, 1) => writeln!(f, "\n{some} results are NOT the same each time."),
            (0, _) => writeln!(f, "\nEvery result was the same to the bit on all devices that gave one."),
            (some, _) => writeln!(f, "\n{some} results are NOT the same on all devices, each time."),
        }
    }
}

impl Report<'_> {
    fn write_operations(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEADINGS: [&str; 8] =
            ["operation", "log n", "batch", "device", "ms", "ms, least to most", "ratio", "same words"];
        if self.operations.is_empty() {
            return Ok(());
        }
        let mut sets: Vec<_> = self.operations.iter().map(|operation| &operation.parameters).collect();
        sets.dedup();
        for (i, p) in sets.into_iter().enumerate() {
            let head = if i == 0 { "parameters" } else { "" };
            writeln!(
                f,
                "{head:<12}n = 2^{}, {} levels of {} bits in {} limbs, {} special, {} digits, log2(QP) = {:.0}, {} bits of security",
                p.log_n, p.levels, p.scale_bits, p.limbs, p.special, p.digits, p.log2_qp, p.security
            )?;
        }
        let mut table = Table::new(1, HEADINGS);
        for operation in &self.operations {
            for (device, outcome) in self.devices.iter().zip(&operation.results) {
                table.row([
                    operation.name.clone(),
                    operation.parameters.log_n.to_string(),
                    operation.batch.to_string(),
                    device.device_id.clone(),
                    median_text(outcome.seconds.as_ref()),
                    spread_text(outcome),
                    ratio_text(outcome),
                    same_text(operation.identical, outcome),
                ]);
            }
        }
        writeln!(f, "\n{table}")?;
        for (name, about) in OPERATIONS {
            writeln!(f, "{name:<20} {about}")?;
        }
        writeln!(
            f,
            "Medians for one ciphertext of the batch; ratio: how many times as fast as the first device."
        )
    }

    fn write_network(&self, network: &NetworkRecord, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEADINGS: [&str; 8] = [
            "device",
            "inference ms",
            "ms, least to most",
            "ratio",
            "same words",
            "bits",
            "keys and weights ms",
            "peak memory",
        ];
        writeln!(f, "\n{}: {}", plain(&network.name), parameters(&network.parameters))?;
        let (client, bytes) = (&network.client, &network.bytes);
        writeln!(
            f,
            "client ms: compress {}, make keys {}, encrypt {}, decrypt {}",
            median_text(Some(&client.compress)),
            median_text(client.keys.as_ref()),
            median_text(Some(&client.encrypt)),
            median_text(client.decrypt.as_ref()),
        )?;
        let size = |bytes: usize| bytes_text(bytes as u64);
        writeln!(
            f,
            "bytes: {} up, {} down, keys {} sent and {} on the device, weights {}, {} planned in all\n",
            size(bytes.up),
            size(bytes.down),
            size(bytes.keys_sent),
            size(bytes.keys_on_device),
            size(bytes.weights),
            size(bytes.predicted_peak_bytes),
        )?;
        let mut table = Table::new(1, HEADINGS);
        for (device, result) in self.devices.iter().zip(&network.results) {
            table.row([
                device.device_id.clone(),
                median_text(result.inference.seconds.as_ref()),
                spread_text(&result.inference),
                ratio_text(&result.inference),
                same_text(network.identical, &result.inference),
                result.bits.map_or_else(dash, |bits| format!("{bits:.1}")),
                result.prepare.map_or_else(dash, millis),
                result.peak_bytes.map_or_else(dash, bytes_text),
            ]);
        }
        writeln!(f, "{table}")?;
        let fixed = ["layer", "kind", "level", "ciphertexts", "diagonals", "rotations"].map(str::to_owned);
        let devices = self.devices.iter().map(|device| format!("ms on {}", device.device_id));
        let mut table = Table::wide(2, fixed.into_iter().chain(devices).collect());
        for (i, layer) in network.layers.iter().enumerate() {
            let counts = [layer.level, layer.ciphertexts, layer.diagonals, layer.rotations];
            let times = network.results.iter().map(|r| median_text(r.layers.get(i).and_then(Option::as_ref)));
            let words = [layer.name.clone(), layer.kind.clone()].into_iter();
            table.wide_row(words.chain(counts.map(|count| count.to_string())).chain(times).collect());
        }
        write!(f, "{table}")
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

fn same_text(identical: Option<bool>, outcome: &Measurement) -> String {
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
    use pleura::bench::Parameters;

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
        OperationRecord { name: name.to_owned(), batch, parameters, identical: None, results }
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
        };
        let mut record = Record::new("smoke", 1, vec![device("abacus"), device("slide rule")]);
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
