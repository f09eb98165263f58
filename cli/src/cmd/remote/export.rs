//! `pleura export`: a network compiled into what a server needs and what a client needs.

use super::output::Written;
use super::spec::cannot_use;
use crate::classifier::Target;
use crate::cmd::plan::{MAX_BATCH, parameters};
use crate::model::{Compiled, CompiledModel, ModelArgs, PlannedFor};
use crate::table::Table;
use crate::text::{bytes_text, counted, hex, plain};
use crate::{classifier, files, terminal};
use anyhow::{Context, Result, bail};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use pleura::nn::Plan;
use pleura::remote::{ClientBundle, Task};
use pleura::xray::shipped;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::PathBuf;

/// Names of the files in the folder.
pub(crate) const PLAN: &str = "server.plan";
pub(crate) const SPEC: &str = "client.spec";

/// Arguments of `pleura export`.
#[derive(Args)]
#[command(
    mut_arg("model", |model| model.value_name("NAME|FILE").help("Shipped network, or ONNX file")),
    after_help = "\
Examples:
  pleura export --model pneumonia --output pneumonia/
  pleura export --model pneumonia --batch 64 --output pneumonia/
  pleura export --model lola.onnx --calibrate typical.npy --output lola/
  pleura export --model mine.onnx --xray --output mine/

server.plan has the weights; copy it to the server. client.spec has no weights; copy it to clients.
`pleura models` lists the shipped networks; docs/two-machines.md has the next steps."
)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    planned_for: PlannedFor,

    /// Folder for server.plan and client.spec; made if it does not exist.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,

    /// Treat the ONNX file as an X-ray classifier, as `pleura classify` does: its inputs are images.
    #[arg(long)]
    xray: bool,

    /// Plan for as many items at a time: they share ciphertexts where that is faster for each.
    #[arg(long, value_name = "ITEMS", default_value_t = 1, value_parser = RangedU64ValueParser::<usize>::new().range(1..=MAX_BATCH as u64))]
    batch: usize,

    /// Replace files that exist.
    #[arg(long)]
    force: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Compiles a network and writes both halves.
pub(crate) fn export(args: &ExportArgs) -> Result<()> {
    let paths = [PLAN, SPEC].map(|name| args.output.join(name));
    files::check_folder(&args.output)?;
    if args.output.is_dir() {
        files::check_outputs(&paths, args.model.files(), args.force)?;
    }
    let (plan, bundle) = compile(args)?;
    fs::create_dir_all(&args.output).with_context(|| files::cannot_write(&args.output))?;
    let contents = [plan.server_plan().to_bytes()?, bundle.to_bytes()?];
    let mut written = Vec::new();
    for (path, bytes) in paths.iter().zip(&contents) {
        files::write(path, &[bytes], args.force, false)?;
        written.push(Written { bytes: bytes.len() as u64, digest: Sha256::digest(bytes).into() });
    }
    report(args, &plan, &bundle, &written)
}

fn compile(args: &ExportArgs) -> Result<(Plan, ClientBundle)> {
    let name = args.model.model.to_string_lossy();
    let shipped = shipped::model(&name).is_ok();
    if !shipped && !args.model.model.exists() && args.model.model.extension().is_none() {
        // Names the networks that there are.
        shipped::model(&name)?;
    }
    if shipped || args.xray {
        if let Some(flag) = args.model.given_for_files() {
            bail!(
                "{flag} has no effect on X-ray classifiers, which are calibrated on the sample X-rays: leave it out"
            );
        }
        let classifier = classifier::load(&name)?;
        classifier.notes().iter().for_each(|text| terminal::note(text));
        let target = Target { device: args.planned_for.device, threads: args.model.threads() };
        let plan = classifier::plan(&classifier, target, args.model.cached(), args.batch)?;
        let bundle = ClientBundle::xray(plan.client_spec().clone(), &classifier);
        return Ok((plan, bundle.with_context(|| cannot_use(&args.model.model))?));
    }
    let model = args.model.import()?.planned_for(args.planned_for.device).batched(args.batch);
    let calibrated = model.is_calibrated() || model.has_ranges();
    let CompiledModel { notes, compiled: Compiled { plan, .. }, .. } = model.compile()?;
    notes.iter().chain(&plan.report().notes).for_each(|text| terminal::note(text));
    if !calibrated {
        terminal::warn(
            "ranges of values are those of normal noise, and larger values may overflow silently: give typical items with --calibrate",
        );
    }
    let bundle = ClientBundle::tensor(plan.client_spec().clone())?;
    Ok((plan, bundle))
}

fn report(args: &ExportArgs, plan: &Plan, bundle: &ClientBundle, written: &[Written]) -> Result<()> {
    let report = plan.report();
    let digests = [hex(plan.server_plan().digest()), hex(bundle.digest())];
    let rows = [PLAN, SPEC].into_iter().zip(written).zip(&digests);
    if args.json {
        let files = rows.map(|((name, file), digest)| {
            let path = args.output.join(name);
            let value = json!({
                "path": path.to_string_lossy(), "bytes": file.bytes, "digest": digest, "sha256": file.sha256(),
            });
            (name.to_owned(), value)
        });
        return terminal::print_json(
            "export",
            &json!({
                "network": report.network,
                "files": files.collect::<serde_json::Map<_, _>>(),
                "input": input(bundle),
                "group": bundle.group(),
                "layout": report.layout,
                "planned_for": report.planned_for,
                "parameters": report.parameters,
                "key_bytes": report.key_wire_bytes,
                "input_bytes": report.input_bytes,
                "output_bytes": report.output_bytes,
                "predicted_peak_bytes": report.predicted_peak_bytes,
                "publish_bits": bundle.spec().publish_bits(),
            }),
        );
    }
    let mut table = Table::new(3, ["file", "for", "digest", "size"]);
    for (((name, file), digest), holder) in rows.zip(["the server", "clients"]) {
        let digest = digest.chars().take(12).collect();
        table.row([name.into(), holder.into(), digest, bytes_text(file.bytes)]);
    }
    terminal::print(&format!(
        "network     {}, on {}, planned for {}\nparameters  {}\nkeys        {}, once for each client\nitem        {} up, {} down{}\n\n{table}",
        plain(&report.network),
        input(bundle),
        report.planned_for,
        parameters(&report.parameters),
        bytes_text(report.key_wire_bytes as u64),
        bytes_text(report.input_bytes as u64),
        bytes_text(report.output_bytes as u64),
        if bundle.group() > 1 { format!(", for {}", counted(bundle.group(), "item")) } else { String::new() },
    ))
}

/// Inputs that a client gives.
fn input(bundle: &ClientBundle) -> String {
    match bundle.task() {
        Task::Xray(_) => "X-rays".to_owned(),
        Task::Tensor => {
            format!("arrays of shape {}", pleura::npy::shape_text(&bundle.item_shape()))
        }
    }
}
