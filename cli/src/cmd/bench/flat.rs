//! Results as one flat table, a row for each time.

use pleura::bench::{DeviceRecord, NetworkRecord, Record, Times};

/// A row for each time of a record, with headings.
pub(crate) fn rows(record: &Record) -> Vec<Vec<String>> {
    const HEADINGS: [&str; 15] = [
        "kind",
        "name",
        "part",
        "log_n",
        "security",
        "batch",
        "device_id",
        "device",
        "median_s",
        "min_s",
        "max_s",
        "p99_s",
        "noisy",
        "identical",
        "error",
    ];
    let mut rows = vec![HEADINGS.map(str::to_owned).to_vec()];
    for operation in &record.operations {
        let p = &operation.parameters;
        let row = CsvRow {
            kind: "operation",
            name: &operation.name,
            log_n: p.log_n,
            security: p.security,
            batch: operation.batch,
            identical: operation.identical,
        };
        for (device, outcome) in record.devices.iter().zip(&operation.results) {
            rows.push(row.cells("", Some(device), outcome.seconds.as_ref(), outcome.error.as_deref()));
        }
    }
    for network in &record.networks {
        network_rows(record, network, &mut rows);
    }
    rows
}

fn network_rows(record: &Record, network: &NetworkRecord, rows: &mut Vec<Vec<String>>) {
    let row = CsvRow {
        kind: "network",
        name: &network.name,
        log_n: network.parameters.log_n,
        security: network.parameters.security,
        batch: network.batch,
        identical: network.identical,
    };
    let client = &network.client;
    let steps = [
        ("compress", Some(&client.compress)),
        ("make keys", client.keys.as_ref()),
        ("encrypt", Some(&client.encrypt)),
        ("decrypt", client.decrypt.as_ref()),
    ];
    rows.extend(steps.map(|(step, times)| row.cells(step, None, times, None)));
    for (device, result) in record.devices.iter().zip(&network.results) {
        let outcome = &result.inference;
        rows.push(row.cells("inference", Some(device), outcome.seconds.as_ref(), outcome.error.as_deref()));
        let cold = [("open", result.open), ("prepare", result.prepare), ("first inference", result.first)];
        for (step, seconds) in cold {
            let times = seconds.map(|seconds| Times::new(seconds, []));
            rows.push(row.cells(step, Some(device), times.as_ref(), None));
        }
        for (layer, times) in network.layers.iter().zip(&result.layers) {
            let part = format!("layer {}", layer.name);
            rows.push(row.cells(&part, Some(device), times.as_ref(), None));
        }
    }
}

/// Cells that rows of one operation or network share.
struct CsvRow<'a> {
    kind: &'static str,
    name: &'a str,
    log_n: u32,
    security: u32,
    batch: usize,
    identical: Option<bool>,
}

impl CsvRow<'_> {
    fn cells(
        &self,
        part: &str,
        device: Option<&DeviceRecord>,
        times: Option<&Times>,
        error: Option<&str>,
    ) -> Vec<String> {
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        let truth = |value: Option<bool>| value.map_or_else(String::new, |value| value.to_string());
        let named =
            |of: fn(&DeviceRecord) -> &String| device.map_or_else(String::new, |device| of(device).clone());
        vec![
            self.kind.to_owned(),
            self.name.to_owned(),
            part.to_owned(),
            self.log_n.to_string(),
            self.security.to_string(),
            self.batch.to_string(),
            named(|device| &device.device_id),
            named(|device| &device.name),
            number(times.map(|times| times.median)),
            number(times.map(|times| times.min)),
            number(times.map(|times| times.max)),
            number(times.and_then(|times| times.p99)),
            truth(times.and_then(|times| times.noisy)),
            truth(self.identical),
            error.map_or_else(String::new, str::to_owned),
        ]
    }
}
