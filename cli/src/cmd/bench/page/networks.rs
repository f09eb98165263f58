//! Networks: inference, layers, kernels, cold start, memory, energy.

use crate::cmd::bench::page::cells::{devices, measured, rate, time_cells};
use crate::cmd::bench::report::same_text;
use crate::cmd::plan::parameters;
use crate::html::chart::{Axis, Series, bars, lines};
use crate::html::{self, Cell};
use crate::text::{bytes_text, millis, plain, short};
use maud::{Markup, html};
use pleura::bench::{NetworkMeasurement, NetworkRecord, Record};

/// The section; empty without networks.
pub(super) fn section(record: &Record) -> Markup {
    html! {
        @if !record.networks.is_empty() {
            h2 { "Networks" }
            (inferences(record))
            div.charts { (throughput(record)) (cold_chart(record)) }
            h3 { "Cold start" }
            p { "Seconds until the first result: the device is started, keys and weights are brought to it and its kernels made ready, and \
                the first inference is done. Compiled plans and kernels may be in the cache of an earlier run." }
            (cold(record))
            h3 { "Bytes" }
            (bytes(record))
            h3 { "Energy" }
            (energy(record))
            @for (name, network) in measured(record) { (layers(record, &name, network)) }
        }
    }
}

/// All networks on all devices, by the cells of each.
fn rows(record: &Record, cells: impl Fn(&NetworkRecord, &NetworkMeasurement) -> Vec<Cell>) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    for (name, network) in measured(record) {
        for (device, result) in record.devices.iter().zip(&network.results) {
            let head = [Cell::text(&*name), Cell::text(&*device.device_id)];
            rows.push(head.into_iter().chain(cells(network, result)).collect());
        }
    }
    rows
}

fn inferences(record: &Record) -> Markup {
    let all: Vec<_> = measured(record).collect();
    let labels: Vec<String> = all.iter().map(|(name, _)| name.clone()).collect();
    let series: Vec<Vec<Option<f64>>> = (0..record.devices.len())
        .map(|i| {
            all.iter().map(|(_, network)| Some(1e3 * network.results.get(i)?.inference.median()?)).collect()
        })
        .collect();
    let svg = bars(&labels, &series, &Axis::log(|ms| format!("{} ms", millis(ms / 1e3))));
    let cells = rows(record, |network, result| {
        let outcome = &result.inference;
        let [median, spread, notes] = time_cells(outcome.seconds.as_ref());
        vec![
            median,
            spread,
            notes,
            Cell::data(outcome.items_per_second, rate),
            Cell::data(outcome.ratio, |ratio| format!("{ratio:.3}")),
            Cell::text(same_text(network.identical, outcome)),
            Cell::data(result.bits, |bits| format!("{bits:.1}")),
        ]
    });
    let headings = [
        "network",
        "device",
        "ms an item",
        "least to most",
        "notes",
        "items/s",
        "ratio",
        "same words",
        "bits",
    ];
    html! {
        (html::figure(svg, &devices(record), "Median of an inference of one item; the scale is logarithmic."))
        (html::table(&headings, &cells))
        p.soft { "Bits of precision: -log2 of the largest error over the largest score, compared with the plaintext network." }
    }
}

fn throughput(record: &Record) -> Markup {
    let mut names: Vec<&str> = record.networks.iter().map(|network| &*network.name).collect();
    names.dedup();
    let mut series = Vec::new();
    let mut titles = Vec::new();
    for name in names {
        for (i, device) in record.devices.iter().enumerate() {
            let all = record.networks.iter().filter(|network| network.name == name);
            let points: Vec<_> = all
                .filter_map(|network| {
                    Some((network.batch as f64, network.results.get(i)?.inference.median()?.recip()))
                })
                .collect();
            if points.len() > 1 {
                series.push(Series { points, line: true, dots: true });
                titles.push(format!("{name} on {}", device.device_id));
            }
        }
    }
    let svg = lines(&series, [true, false], ["items that share ciphertexts", "items/s"]);
    let title = if titles.len() == 1 { format!(", {}", titles.concat()) } else { String::new() };
    html::figure(svg, &titles, &format!("Inferences per second over the batch size{title}."))
}

fn cold_chart(record: &Record) -> Markup {
    let mut labels = Vec::new();
    let mut series = vec![Vec::new(), Vec::new(), Vec::new()];
    for (name, network) in measured(record).filter(|(_, network)| network.batch == 1) {
        for (device, result) in record.devices.iter().zip(&network.results) {
            labels.push(format!("{name}, {}", device.device_id));
            let steps = [result.open, result.prepare, result.first];
            series.iter_mut().zip(steps).for_each(|(series, step)| series.push(step.map(|step| 1e3 * step)));
        }
    }
    let names = ["open the device", "keys, weights, kernels", "first inference"].map(str::to_owned);
    let svg = bars(&labels, &series, &Axis::log(|ms| format!("{} ms", millis(ms / 1e3))));
    html::figure(svg, &names, "Cold start of each network on each device; the scale is logarithmic.")
}

fn cold(record: &Record) -> Markup {
    let cells = rows(record, |network, result| {
        let make = network.client.keys.as_ref().map(|keys| keys.median);
        let sum = result.open.zip(result.prepare).zip(result.first);
        let steps = [make, result.open, result.prepare, result.first].map(|step| Cell::data(step, millis));
        let sum =
            sum.map_or_else(|| "-".to_owned(), |((open, prepare), first)| millis(open + prepare + first));
        steps.into_iter().chain([Cell::Number(sum)]).collect()
    });
    let headings = [
        "network",
        "device",
        "client makes keys, ms",
        "open, ms",
        "prepare, ms",
        "first inference, ms",
        "server's sum, ms",
    ];
    html::table(&headings, &cells)
}

fn bytes(record: &Record) -> Markup {
    let size = |bytes: usize| Cell::data(Some(bytes as f64), |bytes| bytes_text(bytes as u64));
    let cells = rows(record, |network, result| {
        let bytes = &network.bytes;
        vec![
            size(bytes.up),
            size(bytes.down),
            size(bytes.keys_sent),
            size(bytes.keys_on_device),
            size(bytes.weights),
            size(bytes.predicted_peak_bytes),
            Cell::data(result.peak_bytes.map(|bytes| bytes as f64), |bytes| bytes_text(bytes as u64)),
        ]
    });
    let headings = [
        "network",
        "device",
        "up",
        "down",
        "keys sent",
        "keys on the device",
        "weights",
        "planned peak",
        "measured peak",
    ];
    html! {
        (html::table(&headings, &cells))
        p.soft { "The peak is of the process on a processor, with the client in it, and of the GPU's memory on a GPU." }
    }
}

fn energy(record: &Record) -> Markup {
    let told =
        record.networks.iter().flat_map(|network| &network.results).any(|result| result.joules.is_some());
    let cells =
        rows(record, |_, result| vec![Cell::data(result.joules, |joules| format!("{} J", short(joules)))]);
    html! {
        @if told {
            (html::table(&["network", "device", "energy of an inference"], &cells))
            p.soft { "Of the processor's packages (RAPL) or the card (" code { "nvidia-smi" } "), idle power included." }
        } @else {
            p { "Not available: neither the processor's counters (" code { "/sys/class/powercap" } ") nor " code { "nvidia-smi" } " can be read." }
        }
    }
}

fn layers(record: &Record, name: &str, network: &NetworkRecord) -> Markup {
    let labels: Vec<String> = network.layers.iter().map(|layer| layer.name.clone()).collect();
    let times = |device: usize, layer: usize| {
        network.results.get(device)?.layers.get(layer)?.as_ref().map(|times| times.median)
    };
    let series: Vec<Vec<Option<f64>>> = (0..record.devices.len())
        .map(|device| (0..labels.len()).map(|layer| Some(1e3 * times(device, layer)?)).collect())
        .collect();
    let svg = bars(&labels, &series, &Axis::linear(|ms| format!("{} ms", millis(ms / 1e3))));
    let cells = network.layers.iter().enumerate().map(|(i, layer)| {
        let counts = [layer.level, layer.ciphertexts, layer.diagonals, layer.rotations];
        let counts = counts.into_iter().map(|count| Cell::Number(count.to_string()));
        let times = (0..record.devices.len()).map(|device| Cell::data(times(device, i), millis));
        [Cell::text(&*layer.name), Cell::text(&*layer.kind)].into_iter().chain(counts).chain(times).collect()
    });
    let on: Vec<String> = record.devices.iter().map(|device| format!("ms on {}", device.device_id)).collect();
    let fixed = ["layer", "kind", "level", "ciphertexts", "diagonals", "rotations"];
    let headings: Vec<&str> = fixed.into_iter().chain(on.iter().map(String::as_str)).collect();
    html! {
        h3 { (plain(name)) }
        p.soft { (parameters(&network.parameters)) }
        (html::figure(svg, &devices(record), "Median of each layer, when the device is waited for after it."))
        details {
            summary { "Layers in figures" }
            (html::table(&headings, &cells.collect::<Vec<_>>()))
        }
        @for (device, result) in record.devices.iter().zip(&network.results) { (kernels(&device.device_id, result)) }
    }
}

/// Shares of a GPU's kernels, where they were taken.
fn kernels(device: &str, result: &NetworkMeasurement) -> Markup {
    let total: f64 = result.kernels.iter().map(|kernel| kernel.seconds).sum();
    let labels: Vec<String> = result.kernels.iter().map(|kernel| kernel.name.clone()).collect();
    let shares = vec![result.kernels.iter().map(|kernel| Some(100.0 * kernel.seconds / total)).collect()];
    let cells = result.kernels.iter().map(|kernel| {
        vec![
            Cell::text(&*kernel.name),
            Cell::Number(kernel.dispatches.to_string()),
            Cell::data(Some(kernel.seconds), millis),
        ]
    });
    html! {
        @if !result.kernels.is_empty() {
            (html::figure(bars(&labels, &shares, &Axis::linear(|share| format!("{share:.1} %"))), &[], &format!("Share of each kernel in the time on {device}, which --profile takes.")))
            details {
                summary { "Kernels in figures" }
                (html::table(&["kernel", "dispatches", "ms"], &cells.collect::<Vec<_>>()))
            }
        }
    }
}
