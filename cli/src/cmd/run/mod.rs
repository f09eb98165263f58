//! `pleura run`: a network on encrypted items, from the file to the decrypted result.

use crate::cmd::plan::MAX_BATCH;
#[cfg(feature = "service")]
use crate::cmd::remote::decrypt::{ArrayForm, arrays, warnings};
#[cfg(feature = "service")]
use crate::cmd::service::args::ServerArgs;
use crate::device::{self, DeviceArgs};
use crate::latency::Latency;
use crate::memory::MemoryArgs;
use crate::model::{Compiled, CompiledModel, ModelArgs, read_items};
use crate::outcome::{RunReport, USELESS_BITS};
use crate::text::{bytes_text, short};
use crate::{files, memory, terminal};
use anyhow::{Context, Result, bail};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use ndarray::{ArrayD, ArrayViewD, Axis};
use pleura::nn::{Fidelity, FittedActivation, Network, Plan};
use pleura::npy;
use pleura::{Device, Pipeline, StageTimes, host_memory};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

/// Most repeated inferences.
const MAX_REPEATS: usize = 1_000_000;

/// Arguments that have no meaning where a server computes.
#[cfg(feature = "service")]
const ON_THIS_MACHINE: [&str; 14] = [
    "batch",
    "repeat",
    "device",
    "gpu_memory",
    "max_memory",
    "no_cache",
    "threads",
    "security",
    "fit",
    "interval",
    "calibrate",
    "input_shape",
    "output_name",
    "insecure_exact_results",
];

/// Arguments of `pleura run`.
#[derive(Args)]
#[cfg_attr(feature = "service", command(mut_arg("server", |server| server.conflicts_with_all(ON_THIS_MACHINE))))]
#[command(after_help = "\
Examples:
  pleura run --model mlp.onnx --input x.npy --output y.npy
  pleura run --model lenet5.onnx --input x.npy --fit 4 --calibrate train.npy
  pleura run --model mlp.onnx --input x.npy --device cpu --threads 4 --json | jq .fidelity

The seconds of `keys` include key generation, and the upload of keys and weights to the device.")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// Items: real numbers of any width, batch axis first; or one item without batch axis.
    #[arg(long, value_name = "X.npy")]
    input: PathBuf,

    /// Where the decrypted results go: float64, batch axis first.
    #[arg(long, value_name = "Y.npy")]
    output: Option<PathBuf>,

    /// Replace the output file if it exists.
    #[arg(long, requires = "output")]
    force: bool,

    /// Items for which the cheapest layout is chosen; they may share ciphertexts. Fewer take less memory [default: all].
    #[arg(long, value_name = "ITEMS", value_parser = RangedU64ValueParser::<usize>::new().range(1..=MAX_BATCH as u64))]
    batch: Option<usize>,

    /// Give unrounded results. Their last digits may reveal the secret key, and with it the input;
    /// otherwise results are rounded to twelve bits.
    #[arg(long)]
    insecure_exact_results: bool,

    /// Infer the first group N times more, and print the distribution of the times.
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=MAX_REPEATS as u64))]
    repeat: Option<usize>,

    #[command(flatten)]
    pub(crate) device: DeviceArgs,

    #[command(flatten)]
    memory: MemoryArgs,

    /// Print one JSON object, decrypted results included.
    #[arg(long)]
    json: bool,

    #[cfg(feature = "service")]
    #[command(flatten)]
    server: ServerArgs,
}

impl RunArgs {
    /// Items that a layout is chosen for.
    fn batch(&self, items: &ArrayD<f64>) -> usize {
        self.batch.unwrap_or_else(|| items.len_of(Axis(0)).clamp(1, MAX_BATCH))
    }
}

/// Runs all items, here or on a server, and reports.
pub(crate) fn run(args: &RunArgs) -> Result<()> {
    #[cfg(feature = "service")]
    if args.server.is_given() {
        return run_on_server(args);
    }
    run_here(args)
}

/// Compiles the network, and runs all items in this process.
fn run_here(args: &RunArgs) -> Result<()> {
    if let Some(path) = &args.output {
        files::check_outputs(&[path], args.model.files().chain([&args.input]), args.force)?;
    }
    let model = args.model.import()?;
    let items = read_items(&args.input, model.network.input_shape())?;
    let device = args.device.find(args.model.threads())?;
    let model = model.calibrated_by(&items).planned_for(device.class()).batched(args.batch(&items));
    let CompiledModel { original, network, fitted, mut notes, compiled } = model.compile()?;
    let Compiled { plan, seconds, from_cache } = compiled;
    notes.extend_from_slice(&plan.report().notes);
    if !args.json {
        notes.iter().for_each(|text| terminal::note(text));
    }
    check_memory(plan.report().predicted_peak_bytes as u64, args.memory.max_memory)?;
    let mut warnings = beyond_range(&plan, &network, items.view());
    warnings.extend(beyond_fits(&fitted, &network, items.view()));

    let mut run = EncryptedRun::new(&plan, &device, items.view(), args.repeat)?;
    run.times.compile = seconds;
    let plaintext = network.evaluate(items.view())?;
    let fidelity = Fidelity::new(plaintext.view(), run.unrounded.view());
    let model_fidelity = match fitted.is_empty() {
        true => None,
        false => Some(Fidelity::new(original.evaluate(items.view())?.view(), run.unrounded.view())),
    };
    let useless = fidelity.bits < USELESS_BITS;
    if useless {
        warnings.push(wrong_result(fidelity.bits));
    }
    warnings.iter().for_each(|text| terminal::warn(text));
    notes.extend(warnings);
    let outputs = if args.insecure_exact_results { &run.unrounded } else { &run.published };
    // The end of the model that belongs to the client.
    let outputs = &plan.client_spec().metadata().scores.apply(outputs.view());
    // A result that is known to be worthless is not kept.
    if let Some(path) = args.output.as_ref().filter(|_| !useless) {
        files::write(path, &[&npy::to_bytes(outputs.view())], args.force, false)?;
    }
    let report = RunReport {
        report: plan.report(),
        times: run.times,
        layer_seconds: &run.layer_seconds,
        latency: run.latency,
        fidelity,
        model_fidelity,
        outputs,
        device: device.name(),
        from_cache,
        notes,
    };
    if args.json {
        terminal::print_json("run", &report.json())?;
    } else {
        terminal::print(&report.to_string())?;
    }
    if useless {
        bail!("the encrypted results do not match the plaintext network (see warnings); nothing was written");
    }
    Ok(())
}

/// Encrypts all items here, and computes on a server. Nobody here has the plaintext network, so there is no comparison.
#[cfg(feature = "service")]
fn run_on_server(args: &RunArgs) -> Result<()> {
    if let Some(path) = &args.output {
        files::check_outputs(&[path], args.server.files().into_iter().chain([&args.input]), args.force)?;
    }
    let connection = args.server.connect(args.model.model.to_str())?;
    let items = connection.run_arrays(&args.input)?;
    items.iter().flat_map(|item| warnings(&connection.key, item)).for_each(|text| terminal::warn(&text));
    let form = ArrayForm { output: args.output.as_deref(), force: args.force, json: args.json };
    arrays(&form, &connection.key, &items)
}

fn wrong_result(bits: f64) -> String {
    format!(
        "the result is not that of the network: {bits:.1} bits are right; the values may be too large or too different in \
         size, --calibrate with typical items may help"
    )
}

fn check_memory(needed: u64, limit: Option<u64>) -> Result<()> {
    memory::check(needed, limit)?;
    let available = host_memory::available_bytes()
        .map_or(String::new(), |bytes| format!(" ({} available)", bytes_text(bytes)));
    terminal::note(&format!("peak memory {}{available}", bytes_text(needed)));
    Ok(())
}

/// Results of all items, and the seconds over all of them.
struct EncryptedRun {
    times: StageTimes,
    layer_seconds: Vec<f64>,
    /// Times of the first group, repeated.
    latency: Option<Latency>,
    /// `[items, ..output shape]`, as they may be shown.
    published: ArrayD<f64>,
    /// `[items, ..output shape]`, with all digits.
    unrounded: ArrayD<f64>,
}

impl EncryptedRun {
    /// Runs `items`, one group after the other: the memory of a plan is that of one group.
    fn new(plan: &Plan, device: &Device, items: ArrayViewD<'_, f64>, repeat: Option<usize>) -> Result<Self> {
        let layers = plan.report().layers.len();
        let bar = crate::progress::bar().with_prefix("keys");
        let count = items.len_of(Axis(0));
        let group = plan.client_spec().items();
        bar.set_length((count.div_ceil(group) * layers) as u64);
        bar.tick();
        let pipeline = Pipeline::new(plan, device)?;
        bar.suspend(|| device::tell_fallback(device));
        bar.set_prefix("infer");
        let mut times = *pipeline.times();
        let mut layer_seconds = vec![0.0; layers];
        let mut published = Vec::new();
        let mut unrounded = Vec::new();
        let mut done = 0;
        for items in items.axis_chunks_iter(Axis(0), group) {
            let first = done + 1;
            done += items.len_of(Axis(0));
            bar.set_message(if done == first {
                format!("item {done} of {count}")
            } else {
                format!("items {first} to {done} of {count}")
            });
            let outcome = pipeline.profile(items, &mut |_| bar.inc(1))?;
            times += outcome.times;
            layer_seconds.iter_mut().zip(&outcome.layer_seconds).for_each(|(sum, seconds)| *sum += seconds);
            files::on_interruption(Some(format!(
                "{done} of {count} items were done; nothing was written, as results are written together"
            )));
            published.push(outcome.published);
            unrounded.push(outcome.unrounded);
        }
        bar.finish_and_clear();
        let first = items.axis_chunks_iter(Axis(0), group).next();
        let latency = match (repeat, first) {
            (Some(repeats), Some(items)) => latency(&pipeline, items, repeats)?,
            _ => None,
        };
        files::on_interruption(None);
        Ok(Self {
            times,
            layer_seconds,
            latency,
            published: stack(&published)?,
            unrounded: stack(&unrounded)?,
        })
    }
}

/// Times of inferences of the same ciphertexts: upload, computation and download.
fn latency(pipeline: &Pipeline, items: ArrayViewD<'_, f64>, repeats: usize) -> Result<Option<Latency>> {
    let sent = pipeline.client().encrypt(items)?;
    // One that warms up: steps were waited for before.
    pipeline.session().infer(&sent)?;
    let bar = crate::progress::bar().with_prefix("repeat");
    bar.set_length(repeats as u64);
    let mut seconds = Vec::with_capacity(repeats);
    for _ in 0..repeats {
        let clock = Instant::now();
        pipeline.session().infer(&sent)?;
        seconds.push(clock.elapsed().as_secs_f64());
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(Latency::new(seconds))
}

/// Arrays one after the other along the batch axis.
fn stack(parts: &[ArrayD<f64>]) -> Result<ArrayD<f64>> {
    let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
    ndarray::concatenate(Axis(0), &views).context("results of items differ in shape")
}

/// Sentences about values beyond the range that the plan was calibrated for.
fn beyond_range(plan: &Plan, network: &Network, items: ArrayViewD<'_, f64>) -> Vec<String> {
    let mut worst: BTreeMap<String, (f64, f64, usize)> = BTreeMap::new();
    for violation in items.outer_iter().flat_map(|item| plan.range_violations(network, item)) {
        let entry = worst.entry(violation.node).or_insert((violation.calibrated, violation.found, 0));
        *entry = (entry.0, entry.1.max(violation.found), entry.2 + 1);
    }
    let count = items.len_of(Axis(0));
    worst.into_iter().map(|(node, (calibrated, seen, times)): (String, (f64, f64, usize))| {
        format!(
            "{node} was calibrated up to {calibrated:.3e} and reaches {seen:.3e} (in {times} of {count} items): results may be \
             far off; --calibrate with items like these"
        )
    }).collect()
}

/// Sentences about values outside the intervals on which polynomials replace activations.
fn beyond_fits(fitted: &[FittedActivation], network: &Network, items: ArrayViewD<'_, f64>) -> Vec<String> {
    let traces: Vec<_> =
        items.outer_iter().map(|item| network.trace(&item.iter().copied().collect::<Vec<_>>())).collect();
    let mut sentences = Vec::new();
    for FittedActivation { name, operand, from, to, .. } in fitted {
        let mut low = f64::INFINITY;
        let mut high = f64::NEG_INFINITY;
        for values in traces.iter().filter_map(|trace| trace.get(*operand)) {
            low = values.iter().copied().fold(low, f64::min);
            high = values.iter().copied().fold(high, f64::max);
        }
        if low < *from || high > *to {
            sentences.push(format!(
                "polynomials at {name} were fitted on {} to {}, and values from {} to {} reach them: results are not those of \
                 the model; calibrate with items like these, or use a wider --interval",
                short(*from),
                short(*to),
                short(low),
                short(high)
            ));
        }
    }
    sentences
}
