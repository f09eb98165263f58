//! `pleura run`: a network on encrypted items, from the file to the decrypted result.

use crate::device::{Device, DeviceArgs, Metered, OnDevice};
use crate::error::CliError;
use crate::model::{Compiled, ModelArgs, read_items};
use crate::outcome::{Fidelities, Outcome, Seconds};
use crate::table::bytes_text;
use crate::{files, memory, npy, terminal};
use anyhow::Context;
use clap::Args;
use ndarray::ArrayD;
use pleura::nn::{Client, Fidelity, Network, NodeId, Op, Plan, Server};
use pleura::onnx::Fit;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

/// Results with fewer right bits are not worth having.
pub(crate) const USELESS_BITS: f64 = 6.0;

/// Arguments of `pleura run`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura run --model mlp.onnx --input x.npy --output y.npy
  pleura run --model lenet5.onnx --input x.npy --fit 4 --interval -6,6 --calibrate train.npy
  pleura run --model mlp.onnx --input x.npy --device cpu --threads 4 --json | jq .fidelity

The seconds of `keys` are those of making keys, and of getting them and the weights ready on the device.")]
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

    /// Give results with all their digits, not rounded to twelve bits. Whoever sees such digits may learn of the secret key, and with it
    /// the input.
    #[arg(long)]
    insecure_exact_results: bool,

    #[command(flatten)]
    device: DeviceArgs,

    /// Memory to allow instead of what is available.
    #[arg(long, value_name = "GIB", value_parser = gib)]
    max_memory: Option<f64>,

    /// Print one JSON object, decrypted results included.
    #[arg(long)]
    json: bool,
}

/// Does it all.
pub(crate) fn run(args: &RunArgs) -> Result<(), CliError> {
    if let Some(path) = &args.output {
        files::check_outputs(&[path], args.model.files().chain([&args.input]), args.force)?;
    }
    let model = args.model.import()?;
    let items = read_items(&args.input, model.network.input_shape())?;
    let items: Vec<Vec<f64>> = items.outer_iter().map(|item| item.iter().copied().collect()).collect();
    let device = args.device.find(args.model.threads())?;
    let (network, mut notes, Compiled { plan, seconds, from_cache }) = model.compile()?;
    let report = plan.report();
    notes.extend_from_slice(&report.notes);
    if matches!(device, Device::Gpu { .. }) {
        notes
            .iter_mut()
            .for_each(|text| *text = text.replacen("chosen: ", "chosen by a processor's times: ", 1));
    }
    if !args.json {
        notes.iter().for_each(|text| terminal::note(text));
    }
    let needed = report.memory_bytes as u64;
    memory::check(needed, args.max_memory)?;
    let available =
        memory::available().map_or(String::new(), |b| format!(", {} are available", bytes_text(b)));
    terminal::note(&format!("{} of memory at the busiest moment{available}", bytes_text(needed)));
    let mut warnings = beyond_range(&plan, &network, &items);
    warnings.extend(args.model.fit().and_then(|fit| beyond_fit(fit, &network, &items)));

    let work = Inference { plan: &plan, items: &items, exact: args.insecure_exact_results };
    let measured = device.run(plan.params().ring(), work)?;
    let clear: Vec<Vec<f64>> = items.iter().map(|item| network.evaluate(item)).collect();
    if let Some(path) = &args.output {
        let shape = [&[items.len()], network.output_shape()].concat();
        let outputs = ArrayD::from_shape_vec(shape, measured.outputs.concat()).context("internal error")?;
        let bytes = npy::encode(outputs.view());
        files::write(path, &[&bytes], args.force, false)?;
    }
    let fidelity = Fidelity::new(&clear, &measured.decrypted);
    if fidelity.bits < USELESS_BITS {
        warnings.push(format!(
            "the result is not that of the network: {:.1} bits are right; the values may be too large or too different in \
             size, --calibrate with typical items may help",
            fidelity.bits
        ));
    }
    warnings.iter().for_each(|text| terminal::warn(text));
    notes.extend(warnings);
    let outcome = Outcome {
        report,
        shape: network.output_shape(),
        fidelity: Fidelities::from(fidelity),
        seconds: Seconds { compile: seconds, ..measured.seconds },
        layer_seconds: &measured.layer_seconds,
        outputs: &measured.outputs,
        device: measured.device,
        on_gpu: measured.on_gpu,
        from_cache,
        notes,
    };
    if args.json { terminal::publish_json(&outcome.json()) } else { terminal::publish(&outcome.to_string()) }
}

/// What the device has to do.
struct Inference<'a> {
    plan: &'a Plan,
    items: &'a [Vec<f64>],
    /// Whether results are not rounded.
    exact: bool,
}

/// What came of it, over all items.
struct Measured {
    device: String,
    on_gpu: bool,
    seconds: Seconds,
    layer_seconds: Vec<f64>,
    /// With all digits, to be compared and not shown.
    decrypted: Vec<Vec<f64>>,
    outputs: Vec<Vec<f64>>,
}

impl OnDevice for Inference<'_> {
    type Output = Measured;

    fn run<B: Metered>(self, backend: B) -> Result<Measured, CliError> {
        let Self { plan, items, exact } = self;
        let (device, on_gpu) = (backend.name(), backend.is_gpu());
        let mut seconds = Seconds::default();
        let mut layer_seconds = vec![0.0; plan.report().layers.len()];
        let mut decrypted = Vec::with_capacity(items.len());
        let mut outputs = Vec::with_capacity(items.len());

        let bar = terminal::bar().with_prefix("keys");
        bar.set_length((items.len() * layer_seconds.len()) as u64);
        bar.tick();
        let clock = Instant::now();
        let client = Client::new(plan)?;
        // The host's copy of the keys goes when the device has its own.
        let server = Server::new(plan, backend, client.evaluation_keys()?)?;
        seconds.keys = clock.elapsed().as_secs_f64();

        bar.set_prefix("infer");
        // One after the other: the plan's memory is that of one item.
        for (number, item) in items.iter().enumerate() {
            bar.set_message(format!("item {} of {}", number + 1, items.len()));
            let sent = timed(&mut seconds.encrypt, || client.encrypt(std::slice::from_ref(item)))?;
            let mut clock = Instant::now();
            let mut waited = Ok(());
            let mut observe = |step: usize, _| {
                // Its seconds are those of a device that works in the background, too.
                let done = server.backend().wait();
                if waited.is_ok() {
                    waited = done;
                }
                if let Some(sum) = layer_seconds.get_mut(step) {
                    *sum += clock.elapsed().as_secs_f64();
                }
                clock = Instant::now();
                bar.inc(1);
            };
            let received = timed(&mut seconds.infer, || server.infer(&sent, &mut observe))?;
            // A device tells of an error once: what it gave is not to be used.
            waited?;
            let opened = timed(&mut seconds.decrypt, || client.decrypt(&received))?;
            outputs.extend(if exact { opened.clone() } else { client.publish(&received)? });
            decrypted.extend(opened);
        }
        bar.finish_and_clear();
        Ok(Measured { device, on_gpu, seconds, layer_seconds, decrypted, outputs })
    }
}

/// Adds to a sum of seconds.
pub(crate) fn timed<T>(sum: &mut f64, work: impl FnOnce() -> T) -> T {
    let clock = Instant::now();
    let result = work();
    *sum += clock.elapsed().as_secs_f64();
    result
}

/// What is wrong with values that a plan was not made for.
fn beyond_range(plan: &Plan, network: &Network, items: &[Vec<f64>]) -> Vec<String> {
    let mut worst: BTreeMap<String, (f64, f64, usize)> = BTreeMap::new();
    for (node, calibrated, seen) in items.iter().flat_map(|item| plan.beyond_range(network, item)) {
        let entry = worst.entry(node).or_insert((calibrated, seen, 0));
        *entry = (calibrated, entry.1.max(seen), entry.2 + 1);
    }
    let sentence = |(node, (calibrated, seen, count)): (String, (f64, f64, usize))| {
        format!(
            "{node} was calibrated up to {calibrated:.3e} and reaches {seen:.3e} (in {count} of {} items): results may be \
             far off; --calibrate with items like these",
            items.len()
        )
    };
    worst.into_iter().map(sentence).collect()
}

/// What is wrong with values outside the interval that functions were fitted on.
fn beyond_fit(fit: Fit, network: &Network, items: &[Vec<f64>]) -> Option<String> {
    let fitted = |op: &Op| match op {
        Op::Polynomial(read, c) if c.degree() == fit.degree => Some(*read),
        _ => None,
    };
    let reads: Vec<NodeId> = network.nodes().iter().filter_map(|node| fitted(&node.op)).collect();
    let mut seen = (f64::INFINITY, f64::NEG_INFINITY);
    for item in items {
        for (_, values) in network.trace(item).iter().filter(|(id, _)| reads.contains(id)) {
            seen = values.iter().fold(seen, |(low, high), &x| (low.min(x), high.max(x)));
        }
    }
    (seen.0 < fit.from || seen.1 > fit.to).then(|| {
        format!(
            "polynomials of degree {} were fitted on {} to {}, and values from {:.3} to {:.3} reach them: results are not those \
             of the model; use a wider --interval",
            fit.degree, fit.from, fit.to, seen.0, seen.1
        )
    })
}

/// Some GiB.
pub(crate) fn gib(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|gib: &f64| gib.is_finite() && *gib > 0.0);
    number.ok_or_else(|| "it is a number of GiB".to_owned())
}
