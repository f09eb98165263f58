//! `pleura plan`: what a network costs before anything is encrypted.

use crate::model::{CompiledModel, ModelArgs, PlannedFor};
use crate::table::Table;
use crate::terminal;
use crate::text::{bytes_text, counted, plain};
use anyhow::Result;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use pleura::nn::{ParameterReport, Report};

/// Most items that a plan is made for.
pub(crate) const MAX_BATCH: usize = 1 << 24;

/// Arguments of `pleura plan`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura plan --model lenet5.onnx
  pleura plan --model resnet20.onnx --fit 4 --calibrate images.npy
  pleura plan --model mlp.onnx --batch 10000
  pleura plan --model lola.onnx --precision 16
  pleura plan --model lenet5.onnx --security 192 --json | jq .parameters")]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    planned_for: PlannedFor,

    /// Plan for as many items at a time, and show the ways for them to share ciphertexts.
    #[arg(long, value_name = "ITEMS", default_value_t = 1, value_parser = RangedU64ValueParser::<usize>::new().range(1..=MAX_BATCH as u64))]
    batch: usize,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Compiles a network, and reports.
pub(crate) fn plan(args: &PlanArgs) -> Result<()> {
    let model = args.model.import()?.planned_for(args.planned_for.device).batched(args.batch);
    let ranges = model.source_of_ranges();
    let CompiledModel { mut notes, compiled, .. } = model.compile()?;
    notes.push(ranges);
    let mut report = compiled.plan.report().clone();
    notes.append(&mut report.notes);
    report.notes = notes;
    if args.json {
        return terminal::print_json("plan", &report);
    }
    let place = if compiled.from_cache { "from the cache" } else { "compiled" };
    report.notes.iter().for_each(|text| terminal::note(text));
    terminal::print(&format!(
        "{}{}{}\n{}\n{place} in {:.2} s\n",
        heading(&report),
        sizes(&report),
        layouts(&report, args.batch),
        layers(&report),
        compiled.seconds
    ))
}

fn heading(report: &Report) -> String {
    let name = plain(&report.network);
    format!(
        "network     {name}\nplanned for {}\nparameters  {}\n",
        report.planned_for,
        parameters(&report.parameters)
    )
}

/// A parameter set in a line.
pub(crate) fn parameters(p: &ParameterReport) -> String {
    format!(
        "n = 2^{}, {} slots, {} of {} bits, log2(QP) = {:.0} of {:.0} allowed for {} bits of security",
        p.log_n,
        p.slots,
        counted(p.levels, "level"),
        p.scale_bits,
        p.log2_qp,
        p.max_log2_qp,
        p.security
    )
}

fn sizes(report: &Report) -> String {
    let bytes = |n: usize| bytes_text(n as u64);
    format!(
        "group       {}, {} in ({}), {} out ({})\n\
         keys        {} for rotations; {} sent, {} on the device\n\
         weights     {}\n\
         memory      {} at the peak, {} of a GPU's memory\n\
         predicted   {:.3} s a group{}\n",
        counted(report.items, "item"),
        counted(report.input_ciphertexts, "ciphertext"),
        bytes(report.input_bytes),
        report.output_ciphertexts,
        bytes(report.output_bytes),
        report.rotation_keys,
        bytes(report.key_wire_bytes),
        bytes(report.key_bytes),
        bytes(report.weight_bytes),
        bytes(report.predicted_peak_bytes),
        bytes(report.predicted_device_bytes),
        report.predicted_seconds,
        report.predicted_bits.map_or_else(String::new, |bits| format!(", results exact to {bits:.1} bits"))
    )
}

/// The layouts that were compared for a batch, if there is one.
fn layouts(report: &Report, batch: usize) -> String {
    if batch == 1 {
        return String::new();
    }
    const HEADINGS: [&str; 7] =
        ["layout", "ring", "verdict", "items a group", "ciphertexts in", "memory of values", "predicted s"];
    let mut table = Table::new(3, HEADINGS);
    for tried in &report.layouts {
        let planned = tried.items > 0;
        let figure = |text: String| if planned { text } else { String::new() };
        table.row([
            tried.layout.clone(),
            figure(format!("{}, 2^{}", tried.ring, tried.log_n)),
            tried.refusal.clone().unwrap_or_else(|| "chosen".to_owned()),
            figure(tried.items.to_string()),
            figure(tried.input_ciphertexts.to_string()),
            figure(bytes_text(tried.value_bytes as u64)),
            figure(format!("{:.3}", tried.predicted_seconds)),
        ]);
    }
    format!("\nlayouts of {batch} items\n{table}")
}

fn layers(report: &Report) -> Table {
    const HEADINGS: [&str; 10] = [
        "layer",
        "kind",
        "layout",
        "level",
        "ciphertexts",
        "diagonals",
        "rotations",
        "weights",
        "bits",
        "predicted ms",
    ];
    let mut table = Table::new(3, HEADINGS);
    for layer in &report.layers {
        table.row([
            layer.name.clone(),
            layer.kind.clone(),
            layer.layout.clone(),
            layer.level.to_string(),
            layer.ciphertexts.to_string(),
            layer.diagonals.to_string(),
            layer.rotations.to_string(),
            bytes_text(layer.bytes as u64),
            layer.predicted_bits.map_or_else(String::new, |bits| format!("{bits:.1}")),
            format!("{:.1}", layer.predicted_seconds * 1e3),
        ]);
    }
    table
}
