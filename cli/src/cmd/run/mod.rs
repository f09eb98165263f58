//! `pleura run`: a network on encrypted items, from the file to the decrypted result.

mod checks;
mod encrypted;

#[cfg(not(feature = "service"))]
use crate::cmd::no_service::NoServerArgs;
use crate::cmd::plan::MAX_BATCH;
#[cfg(feature = "service")]
use crate::cmd::remote::decrypt::{ArrayForm, arrays, warnings};
#[cfg(feature = "service")]
use crate::cmd::service::args::ServerArgs;
use crate::device::DeviceArgs;
use crate::latency::MAX_REPEATS;
use crate::memory::{Groups, MemoryArgs};
use crate::model::{Compiled, CompiledModel, ModelArgs, read_items};
use crate::outcome::{RunReport, USELESS_BITS, costly_fit_warning, probability_warning};
use crate::stages::Crew;
use crate::text::bytes_text;
use crate::{files, terminal};
use anyhow::{Result, bail};
use checks::Checks;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use encrypted::EncryptedRun;
use ndarray::{ArrayD, ArrayViewD, Axis};
use pleura::nn::{Fidelity, Plan};
use pleura::{Device, DeviceKind, host_memory, npy};
use std::path::PathBuf;

/// Factor between the calibrated range and results from which on results are said to be small.
const SMALL_RESULTS: f64 = 64.0;
/// Arguments that have no meaning where a server computes.
#[cfg(feature = "service")]
const ON_THIS_MACHINE: [&str; 15] = [
    "batch",
    "repeat",
    "device",
    "gpu_memory",
    "max_memory",
    "no_cache",
    "threads",
    "security",
    "precision",
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
#[command(mut_arg("calibrate", |calibrate| calibrate.help("Sample inputs for value ranges [default: the input]")))]
#[command(after_help = "\
Examples:
  pleura run --model mlp.onnx --input x.npy --output y.npy
  pleura run --model lenet5.onnx --input x.npy --fit 4 --calibrate train.npy
  pleura run --model mlp.onnx --input x.npy --threads 4 --json | jq .fidelity

Groups of items go through encryption, inference and decryption at the same time, as many as there
are threads and as fit into memory; the seconds of a stage are added up over all groups. The seconds
of `keys` include key generation, and the upload of keys and weights to the device.")]
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

    /// Infer the first group N times more, and print the distribution of the times. Groups then run one after the other.
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

    #[cfg(not(feature = "service"))]
    #[command(flatten)]
    _server: NoServerArgs,
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
    check_output(args, args.model.files())?;
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
    let crew = crew(&plan, args, items.len_of(Axis(0)), &device)?;
    let checks = Checks::new(&plan, &network, &fitted);
    let mut run = EncryptedRun::new(&plan, &device, &crew, &checks, items.view(), args.repeat)?;
    run.times.compile = seconds;
    let mut warnings = checks.warnings(&run.findings);
    let fidelity = Fidelity::new(run.plaintext.view(), run.unrounded.view());
    let model = (!fitted.is_empty()).then(|| original.evaluate(items.view())).transpose()?;
    let model_fidelity = model.map(|results| Fidelity::new(results.view(), run.unrounded.view()));
    let useless = fidelity.bits < USELESS_BITS;
    let outputs = if args.insecure_exact_results { &run.unrounded } else { &run.published };
    // The end of the model that belongs to the client.
    let scores = plan.client_spec().metadata().scores;
    let outputs = &scores.apply(outputs.view());
    let sentences = [
        model_fidelity.as_ref().and_then(costly_fit_warning),
        useless.then(|| wrong_result(fidelity.bits)),
        small_results_warning(&plan, run.plaintext.view()).filter(|_| !args.insecure_exact_results),
        probability_warning(scores, outputs, &scores.apply(run.plaintext.view())),
    ];
    warnings.extend(sentences.into_iter().flatten());
    warnings.iter().for_each(|text| terminal::warn(text));
    notes.extend(warnings);
    // A result that is known to be worthless is not kept.
    if let Some(path) = args.output.as_ref().filter(|_| !useless) {
        files::write(path, &[&npy::to_bytes(outputs.view())], args.force, false)?;
    }
    let report = RunReport {
        report: plan.report(),
        times: run.times,
        elapsed: run.elapsed,
        at_a_time: crew.workers(),
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
    check_output(args, args.server.files())?;
    args.server.check_outputs(&args.output)?;
    let connection = args.server.connect(args.model.model.to_str())?;
    let items = connection.run_arrays(&args.input)?;
    items.iter().flat_map(warnings).for_each(|text| terminal::warn(&text));
    let form = ArrayForm { output: args.output.as_deref(), force: args.force, json: args.json };
    arrays(&form, &connection.key, &items)
}

/// Checks before the work that the output can be written, and is none of `inputs`.
fn check_output<'a>(args: &'a RunArgs, inputs: impl IntoIterator<Item = &'a PathBuf>) -> Result<()> {
    let Some(path) = &args.output else { return Ok(()) };
    files::check_outputs(&[path], inputs.into_iter().chain([&args.input]), args.force)?;
    Ok(files::check_format(path, "npy")?)
}

fn wrong_result(bits: f64) -> String {
    let bits = bits.max(0.0);
    format!(
        "the result is not that of the network: {bits:.1} bits are right; the values may be too large or too different in \
         size, --calibrate with typical items may help"
    )
}

/// Says that rounding leaves little of results which are far smaller than those that the plan was calibrated for.
fn small_results_warning(plan: &Plan, results: ArrayViewD<'_, f64>) -> Option<String> {
    let largest = results.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    let spec = plan.client_spec();
    let calibrated = spec.output_range();
    (largest > 0.0 && largest * SMALL_RESULTS < calibrated).then(|| {
        format!(
            "results reach {largest:.3e} and were calibrated up to {calibrated:.3e}: they are rounded to multiples of {:.1e}, \
             which leaves little of them; --calibrate with items like these",
            f64::from(-spec.publish_bits()).exp2()
        )
    })
}

/// As many workers as there are threads, groups of items, and room. Repeated inferences and large groups have all threads.
fn crew(plan: &Plan, args: &RunArgs, items: usize, device: &Device) -> Result<Crew> {
    let groups = Groups::of(plan.report(), device.kind() == DeviceKind::Cpu, args.memory.max_memory)?;
    let count = if args.repeat.is_some() { 1 } else { items.div_ceil(plan.client_spec().items()) };
    let crew = Crew::new(args.model.threads(), count.min(groups.most));
    let available = host_memory::available_bytes()
        .map_or(String::new(), |bytes| format!(" ({} available)", bytes_text(bytes)));
    terminal::note(&format!("peak memory {}{available}", bytes_text(groups.bytes(crew.workers()))));
    Ok(crew)
}
