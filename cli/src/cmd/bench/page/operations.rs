//! Operations: times on each device, throughput over the batch size, distance to the limits.

use crate::cmd::bench::page::cells::{devices, rate, time_cells};
use crate::cmd::bench::report::same_text;
use crate::html::chart::{Axis, Series, bars, lines};
use crate::html::{self, Cell};
use crate::text::millis;
use maud::{Markup, html};
use pleura::bench::{OPERATIONS, OperationRecord, Record, Roofline};

/// The section; empty without operations.
pub(super) fn section(record: &Record) -> Markup {
    let mut degrees: Vec<u32> =
        record.operations.iter().map(|operation| operation.parameters.log_n).collect();
    degrees.dedup();
    html! {
        @if !record.operations.is_empty() {
            h2 { "Operations" }
            dl { @for (name, about) in OPERATIONS { dt { code { (name) } } dd { (about) } } }
            div.charts {
                @for log_n in degrees { (latency(record, log_n)) (throughput(record, log_n)) }
            }
            (table(record))
            (distance(record))
        }
    }
}

/// Operations of one degree.
fn of_degree(record: &Record, log_n: u32) -> impl Iterator<Item = &OperationRecord> {
    record.operations.iter().filter(move |operation| operation.parameters.log_n == log_n)
}

fn latency(record: &Record, log_n: u32) -> Markup {
    let least = of_degree(record, log_n).map(|operation| operation.batch).min();
    let shown: Vec<_> = of_degree(record, log_n).filter(|operation| Some(operation.batch) == least).collect();
    let labels: Vec<String> = shown.iter().map(|operation| operation.name.clone()).collect();
    let series: Vec<Vec<Option<f64>>> = (0..record.devices.len())
        .map(|i| shown.iter().map(|operation| Some(1e3 * operation.results.get(i)?.median()?)).collect())
        .collect();
    let svg = bars(&labels, &series, &Axis::log(|ms| format!("{} ms", millis(ms / 1e3))));
    let batch = least.map_or_else(String::new, |batch| format!(", {batch} at once"));
    html::figure(
        svg,
        &devices(record),
        &format!("Median of one operation at n = 2^{log_n}{batch}; the scale is logarithmic."),
    )
}

fn throughput(record: &Record, log_n: u32) -> Markup {
    let mut names: Vec<&str> = of_degree(record, log_n).map(|operation| &*operation.name).collect();
    names.sort_unstable();
    names.dedup();
    html! {
        @for (i, device) in record.devices.iter().enumerate() {
            @let series: Vec<Series> = names.iter().map(|name| {
                let all = of_degree(record, log_n).filter(|operation| operation.name == **name);
                let points = all.filter_map(|operation| {
                    Some((operation.batch as f64, operation.results.get(i)?.median()?.recip()))
                });
                Series { points: points.collect(), line: true, dots: true }
            }).collect();
            @if series.iter().any(|series| series.points.len() > 1) {
                    @let svg = lines(&series, [true, true], ["ciphertexts at once", "ciphertexts/s"]);
                @let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
                (html::figure(svg, &names, &format!("Ciphertexts per second over the batch size at n = 2^{log_n} on {}.", device.device_id)))
            }
        }
    }
}

fn table(record: &Record) -> Markup {
    const HEADINGS: [&str; 10] = [
        "operation",
        "log n",
        "batch",
        "device",
        "ms",
        "least to most",
        "notes",
        "items/s",
        "ratio",
        "same words",
    ];
    let mut rows = Vec::new();
    for operation in &record.operations {
        for (device, outcome) in record.devices.iter().zip(&operation.results) {
            let [median, spread, notes] = time_cells(outcome.seconds.as_ref());
            rows.push(vec![
                Cell::text(&*operation.name),
                Cell::Number(operation.parameters.log_n.to_string()),
                Cell::Number(operation.batch.to_string()),
                Cell::text(&*device.device_id),
                median,
                spread,
                notes,
                Cell::data(outcome.items_per_second, rate),
                Cell::data(outcome.ratio, |ratio| format!("{ratio:.3}")),
                Cell::text(same_text(operation.identical, outcome)),
            ]);
        }
    }
    html! {
        (html::table(&HEADINGS, &rows))
        p.soft { "Medians for one ciphertext of the batch; ratio: how many times as fast as the first device. All samples are in the JSON." }
    }
}

/// Time that a device needs at least, as a share of the time that it takes.
fn share(operation: &OperationRecord, limits: &Roofline, device: usize) -> Option<f64> {
    let floor = operation.work?.seconds(limits.copy_bytes_per_second, limits.products_per_second);
    Some(100.0 * floor / operation.results.get(device)?.median()?)
}

fn distance(record: &Record) -> Markup {
    let limits: Vec<_> = record.devices.iter().map(|device| device.roofline.as_ref()).collect();
    let labels: Vec<String> = record
        .operations
        .iter()
        .map(|operation| format!("{} 2^{} x{}", operation.name, operation.parameters.log_n, operation.batch))
        .collect();
    let series: Vec<Vec<Option<f64>>> = limits
        .iter()
        .enumerate()
        .map(|(i, limits)| {
            record.operations.iter().map(|operation| share(operation, (*limits)?, i)).collect()
        })
        .collect();
    let mut rows = Vec::new();
    for operation in &record.operations {
        let Some(work) = operation.work else { continue };
        for (i, (device, limits)) in record.devices.iter().zip(&limits).enumerate() {
            let Some(limits) = limits else { continue };
            let bytes = work.bytes / limits.copy_bytes_per_second;
            let products = work.products / limits.products_per_second;
            rows.push(vec![
                Cell::text(&*operation.name),
                Cell::Number(operation.parameters.log_n.to_string()),
                Cell::Number(operation.batch.to_string()),
                Cell::text(&*device.device_id),
                Cell::Number(millis(bytes)),
                Cell::Number(millis(products)),
                Cell::text(if bytes > products { "memory" } else { "products" }),
                Cell::data(share(operation, limits, i), |share| format!("{share:.0} %")),
            ]);
        }
    }
    html! {
        @if !rows.is_empty() {
            h3 { "Distance to the device's limits" }
            p { "The floor of an operation is the longer of two times: its least bytes at the rate of a copy, and its integer products at the \
                rate of a matrix product, both measured on the device." }
            (limits_table(record))
            (html::figure(bars(&labels, &series, &Axis::linear(|share| format!("{share:.0} %"))), &devices(record), "Floor as a share of the measured time, in percent. Above 100 %, operands stay in caches, which are faster than the copy of 128 MiB, or the device was busier when its limits were measured."))
            details {
                summary { "Floors of each operation" }
                (html::table(&["operation", "log n", "batch", "device", "bytes, ms", "products, ms", "bound", "share"], &rows))
            }
        }
    }
}

/// Limits of each device, before and after all measurements.
fn limits_table(record: &Record) -> Markup {
    const HEADINGS: [&str; 5] = ["device", "copy", "products", "copy, after", "products, after"];
    let rows = record.devices.iter().map(|device| {
        let mut cells = vec![Cell::text(&*device.device_id)];
        for limits in [&device.roofline, &device.roofline_after] {
            let limits = limits.as_ref();
            let bytes = limits.map(|limits| limits.copy_bytes_per_second);
            let products = limits.map(|limits| limits.products_per_second);
            cells.push(Cell::data(bytes, |rate| format!("{:.1} GB/s", rate / 1e9)));
            cells.push(Cell::data(products, |rate| format!("{:.2} G/s", rate / 1e9)));
        }
        cells
    });
    html::table(&HEADINGS, &rows.collect::<Vec<_>>())
}
