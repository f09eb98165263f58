//! `pleura decrypt`: results of a server into labels or arrays, on the client.

use super::spec::{ClientArgs, cannot_use};
use crate::names::cell;
use crate::outcome::{coarse_scores_warning, nested};
use crate::table::Table;
use crate::text::{counted, hex, plain, short};
use crate::{files, terminal};
use anyhow::{Context, Result};
use clap::Args;
use csv::Writer;
use ndarray::{ArrayD, ArrayView1, Axis, IxDyn};
use pleura::nn::{BeyondRange, label};
use pleura::npy;
use pleura::remote::{ClientKey, DecryptedItem, ItemDecryptor, Task};
use pleura::xray::Classes;
use serde_json::{Value, json};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// Results of an item that a table shows.
const SHOWN: usize = 10;

/// Arguments of `pleura decrypt`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura decrypt --spec client.spec --secret secret.key y.ct
  pleura decrypt --spec client.spec --secret secret.key y.ct --output ward.csv
  pleura decrypt --spec client.spec --secret secret.key y.ct --output y.npy
  pleura decrypt --spec client.spec --secret secret.key y.ct --json \\
      | jq '.label // empty'

Scores are rounded as in `pleura classify` and `pleura run`. Do not show them to the server.")]
pub(crate) struct DecryptArgs {
    #[command(flatten)]
    client: ClientArgs,

    /// The server's results, from `pleura infer`.
    #[arg(value_name = "y.ct")]
    input: PathBuf,

    /// File for the results: CSV for X-rays, .npy (float64, batch axis first) for arrays.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace the file of --output if it exists.
    #[arg(long, requires = "output")]
    force: bool,

    /// Print a JSON object for each X-ray and then a summary, or one object for arrays.
    #[arg(long)]
    json: bool,
}

/// Decrypts all results.
pub(crate) fn decrypt(args: &DecryptArgs) -> Result<()> {
    if let Some(path) = &args.output {
        files::check_outputs(&[path], args.client.files().iter().chain([&args.input]), args.force)?;
    }
    let key = args.client.open()?;
    if let Some(path) = &args.output {
        files::check_format(path, if key.bundle().takes_arrays() { "npy" } else { "csv" })?;
    }
    let items = read(args, &key)?;
    items.iter().flat_map(warnings).for_each(|text| terminal::warn(&text));
    match key.bundle().task() {
        Task::Xray(task) => xrays(args, &key, task.classes(), &items),
        Task::Tensor => {
            let form = ArrayForm { output: args.output.as_deref(), force: args.force, json: args.json };
            arrays(&form, &key, &items)
        }
    }
}

/// All results, if none is wrong or missing.
fn read(args: &DecryptArgs, key: &ClientKey) -> Result<Vec<DecryptedItem>> {
    let failed = || cannot_use(&args.input);
    let file: File = files::open(&args.input)?;
    let bar = crate::progress::bytes_bar().with_prefix("decrypt");
    bar.set_length(file.metadata().with_context(|| files::cannot_read(&args.input))?.len());
    let mut decryptor = ItemDecryptor::new(key, BufReader::new(file)).with_context(failed)?;
    let mut items = Vec::new();
    while let Some(group) = decryptor.next_group().with_context(failed)? {
        items.extend(group);
        bar.set_position(decryptor.bytes());
    }
    bar.finish_and_clear();
    Ok(items)
}

/// Warnings that were noted at encryption, and those about the result.
pub(crate) fn warnings(item: &DecryptedItem) -> Vec<String> {
    let mut warnings = item.note.warnings.clone();
    if let Some(BeyondRange { found, calibrated }) = &item.beyond_range {
        warnings.push(format!(
            "{}: results reach {found}, but were calibrated {calibrated}: they may be wrong",
            item.note.name
        ));
    }
    warnings
}

fn xrays(args: &DecryptArgs, key: &ClientKey, classes: &Classes, items: &[DecryptedItem]) -> Result<()> {
    let network = key.bundle().spec().network();
    if let Some(path) = &args.output {
        files::write(path, &[&csv_table(key, classes, items)?], args.force, false)?;
    }
    if args.json {
        for item in items {
            terminal::print_json("decrypt", &xray_object(classes, item))?;
        }
        let summary = json!({ "model": network, "images": items.len(), "key": hex(&key.origin().key) });
        return terminal::print_json("decrypt", &json!({ "summary": summary }));
    }
    let table = xray_table(classes, items);
    let count = counted(items.len(), "X-ray");
    terminal::print(&format!("{table}\n{count}, by {}.\nNot a medical device.\n", plain(network)))
}

/// The result of an X-ray as JSON.
pub(crate) fn xray_object(classes: &Classes, item: &DecryptedItem) -> Value {
    let by_class = |values: &[f64]| -> Value {
        let names = classes.names().iter().cloned();
        Value::Object(names.zip(values.iter().map(|&value| json!(value))).collect())
    };
    let mut object = json!({
        "image": item.note.name,
        "label": classes.label(&item.scores),
        "probabilities": by_class(&classes.probabilities(&item.scores)),
        "scores": by_class(&item.scores),
    });
    let warnings = warnings(item);
    if let Some(object) = object.as_object_mut().filter(|_| !warnings.is_empty()) {
        object.insert("warnings".into(), warnings.into());
    }
    object
}

/// The results of X-rays as a table.
pub(crate) fn xray_table(classes: &Classes, items: &[DecryptedItem]) -> Table {
    let headings = ["image", "label"].map(str::to_owned).into_iter().chain(classes.names().iter().cloned());
    let mut table = Table::wide(2, headings.collect());
    for item in items {
        let label = classes.label(&item.scores).to_owned();
        let probabilities = classes.probabilities(&item.scores).into_iter().map(|p| format!("{p:.4}"));
        table.wide_row([item.note.name.clone(), label].into_iter().chain(probabilities).collect());
    }
    table
}

/// The columns that `pleura classify` writes, without those that need the plaintext network.
fn csv_table(key: &ClientKey, classes: &Classes, items: &[DecryptedItem]) -> Result<Vec<u8>> {
    let mut writer = Writer::from_writer(Vec::new());
    let headings = ["image", "sha256", "model", "label"].map(str::to_owned).into_iter();
    writer.write_record(headings.chain(classes.names().iter().map(|class| format!("p({})", cell(class)))))?;
    for item in items {
        let digest = item.note.digest.map(|digest| hex(digest.iter().take(8))).unwrap_or_default();
        let model = cell(key.bundle().spec().network());
        let cells = [cell(&item.note.name), digest, model, cell(classes.label(&item.scores))];
        let probabilities = classes.probabilities(&item.scores).into_iter().map(|p| format!("{p:.6}"));
        writer.write_record(cells.into_iter().chain(probabilities))?;
    }
    writer.into_inner().context("cannot write the results as CSV")
}

/// Where results that are arrays go.
pub(crate) struct ArrayForm<'a> {
    /// A file in .npy.
    pub(crate) output: Option<&'a Path>,
    /// Whether it may be replaced.
    pub(crate) force: bool,
    /// Whether JSON is printed instead of a table.
    pub(crate) json: bool,
}

/// Writes and prints results that are arrays.
pub(crate) fn arrays(form: &ArrayForm<'_>, key: &ClientKey, items: &[DecryptedItem]) -> Result<()> {
    let bundle = key.bundle();
    let spec = bundle.spec();
    let values: Vec<f64> = items.iter().flat_map(|item| item.scores.iter().copied()).collect();
    let shape: Vec<usize> = std::iter::once(items.len()).chain(bundle.score_shape()).collect();
    let outputs = ArrayD::from_shape_vec(IxDyn(&shape), values).context("results differ in shape")?;
    // The end of the model that belongs to the client.
    let outputs = bundle.scores().apply(outputs.view());
    let step = (-f64::from(spec.publish_bits())).exp2();
    coarse_scores_warning(bundle.scores(), step).iter().for_each(|text| terminal::warn(text));
    if let Some(path) = form.output {
        files::write(path, &[&npy::to_bytes(outputs.view())], form.force, false)?;
    }
    if form.json {
        return terminal::print_json(
            "decrypt",
            &json!({
                "network": spec.network(),
                "items": items.len(),
                "names": items.iter().map(|item| item.note.name.as_str()).collect::<Vec<_>>(),
                "outputs": outputs.outer_iter().map(nested).collect::<Vec<_>>(),
                "key": hex(&key.origin().key),
                "warnings": items.iter().flat_map(warnings).collect::<Vec<_>>(),
            }),
        );
    }
    let count = outputs.len() / items.len().max(1);
    let shown = count.min(SHOWN);
    let headings = ["item", "label"].map(str::to_owned).into_iter();
    let mut table = Table::wide(1, headings.chain((0..shown).map(|number| format!("y{number}"))).collect());
    for (item, outputs) in items.iter().zip(outputs.axis_iter(Axis(0))) {
        let outputs: Vec<f64> = outputs.iter().copied().collect();
        let place = label(ArrayView1::from(&outputs)).filter(|_| count > 1);
        let place = place.map_or_else(|| "-".to_owned(), |place| place.to_string());
        let values = outputs.iter().take(shown).map(|&y| short(y));
        table.wide_row([item.note.name.clone(), place].into_iter().chain(values).collect());
    }
    let rest = if count > shown {
        format!("; {shown} of {count} results of an item are shown, --json and --output give all")
    } else {
        String::new()
    };
    let count = counted(items.len(), "item");
    terminal::print(&format!("{table}\n{count}, by {}{rest}\n", plain(spec.network())))
}
