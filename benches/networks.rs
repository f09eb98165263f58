//! Whole encrypted inferences of the reference networks, compared with targets and other systems.
//!
//! `cargo bench -p benches --bench networks [-- NAME...] [--rounds N] [--batch ITEMS] [--threads N] [--json FILE]`
#![expect(clippy::print_stdout, reason = "the report goes to standard output")]

use ndarray::{ArrayD, Axis};
use pleura::nn::{Client, CompileOptions, Fidelity, Plan, Report};
use pleura::onnx::{ImportOptions, import};
use pleura::{Device, Pipeline, host_memory, npy};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::BufReader;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Measured unless others are named.
const DEFAULT: &str = "hefnet_16_32_64 hefnet hefnet_se vgg5 lenet5 lola mlp separable dilated odd";
/// Networks that `all` adds.
const LARGE: &str = "vgg5_se lenet5_se resnet20";
/// Columns that are known of other systems too, marked in the table.
const COMPARED: [&str; 6] = ["inference s", "compile s", "from cache s", "peak GB", "rotation keys", "bits"];
/// Figures of a network that the summary has.
const SUMMARY: usize = 15;

struct Options {
    names: Vec<String>,
    /// Inferences that count, after one that warms up.
    rounds: usize,
    /// Items that the layout is chosen for, and that are inferred together.
    batch: NonZero<usize>,
    /// Threads of the processor; all cores without a number.
    threads: Option<NonZero<usize>>,
    json: Option<PathBuf>,
    /// Whether this process measures one network for another process.
    child: bool,
}

/// One network in figures.
#[derive(Serialize, Deserialize)]
struct Measured {
    name: String,
    device: String,
    seconds: Times,
    /// Seconds of each of the report's layers.
    layers: Vec<Vec<f64>>,
    saved_bytes: usize,
    /// Most memory that was resident up to the end of compiling.
    compile_peak_gb: Option<f64>,
    /// Most memory that was ever resident.
    peak_gb: Option<f64>,
    /// Over all rounds.
    fidelity: Fidelity,
    report: Report,
}

/// Seconds that a step took, every time.
type Times = BTreeMap<String, Vec<f64>>;

/// A reference for a network: a target or another system, with its values of [`COMPARED`].
#[derive(Serialize)]
struct Reference(&'static str, [Option<f64>; 6]);

fn main() -> Result<()> {
    benches::simd();
    let options = Options::read()?;
    let mut measured = Vec::new();
    let mut failed = Vec::new();
    for name in &options.names {
        if options.child {
            println!("{}", serde_json::to_string(&measure(name, &options)?)?);
            return Ok(());
        }
        eprintln!("{name} ...");
        match measure_apart(name, &options) {
            Ok(network) => {
                network.print();
                measured.push(network);
            }
            Err(error) => {
                eprintln!("{name}: {error}");
                failed.push(name.as_str());
            }
        }
    }
    print_summary(&measured);
    if let Some(file) = &options.json {
        let networks: Vec<_> =
            measured.iter().map(|m| json!({ "measured": m, "references": references(&m.name) })).collect();
        let all = json!({ "compared": COMPARED, "networks": networks, "failed": failed });
        let unfinished = file.with_added_extension("tmp");
        fs::write(&unfinished, serde_json::to_string_pretty(&all)? + "\n")?;
        fs::rename(&unfinished, file)?;
        eprintln!("wrote {}", file.canonicalize()?.display());
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", ")).into()) }
}

/// The targets and the peers of a network. Peers: on a machine of this class, two cores with AVX-512.
fn references(network: &str) -> Vec<Reference> {
    let target =
        |inference, gb, bits| Reference("target", [inference, Some(10.0), Some(1.0), gb, None, Some(bits)]);
    let peer =
        |name, seconds, compile, gb, keys, bits| Reference(name, [seconds, compile, None, gb, keys, bits]);
    let orion = |seconds| peer("Orion on Lattigo", Some(seconds), None, None, None, None);
    match network {
        "hefnet_16_32_64" => vec![
            target(Some(0.25), Some(1.0), 12.0),
            peer("Orion on Lattigo", Some(2.53), Some(63.0), Some(13.1), Some(146.0), Some(19.6)),
            peer("HElayers on SEAL, dense", Some(9.4), None, Some(3.6), None, None),
        ],
        "hefnet" => vec![
            target(Some(1.2), Some(4.0), 16.0),
            peer("Orion, 2^15: killed while compiling", None, None, Some(20.0), None, None),
        ],
        "hefnet_se" => vec![target(Some(2.5), None, 12.0)],
        "lola" => vec![target(None, None, 12.0), orion(0.14)],
        "mlp" => vec![target(None, None, 12.0), orion(0.20)],
        _ => vec![target(None, None, 12.0)],
    }
}

/// Measures a network in a process of its own, so that its peak memory is measured alone.
fn measure_apart(name: &str, options: &Options) -> Result<Measured> {
    let Options { rounds, batch, threads, .. } = options;
    let mut child = Command::new(std::env::current_exe()?);
    child.args(["--child", name, "--rounds", &rounds.to_string(), "--batch", &batch.to_string()]);
    child.args(threads.iter().flat_map(|threads| ["--threads".to_owned(), threads.to_string()]));
    let done = child.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !done.status.success() {
        return Err(done.status.to_string().into());
    }
    Ok(serde_json::from_slice(&done.stdout)?)
}

fn measure(name: &str, options: &Options) -> Result<Measured> {
    let &Options { rounds, batch, threads, .. } = options;
    let mut seconds = Times::new();
    let model = fs::read(file(name, "onnx"))?;
    let network = time(&mut seconds, "import", || import(&model, &ImportOptions::default()))?.network;
    let mut compile_options = CompileOptions { batch: batch.get(), ..CompileOptions::default() };
    compile_options.threads = threads.map_or(compile_options.threads, NonZero::get);
    let plan =
        time(&mut seconds, "compile", || Plan::compile(&network, &compile_options, &mut |_, _, _| ()))?;
    let items = first_items(name, network.input_shape(), plan.client_spec().items())?;
    let plaintext = network.evaluate(items.view())?;
    let compile_peak_gb = peak_gb();
    let saved = plan.to_bytes()?;
    let saved_bytes = saved.len();
    drop(plan);
    let plan = time(&mut seconds, "from cache", || Plan::from_bytes(&saved))?;
    drop(saved);

    let client = Arc::new(Client::new(plan.client_spec().clone())?);
    let keys = time(&mut seconds, "make keys", || client.evaluation_keys())?;
    let device = Device::cpu(threads.map(NonZero::get));
    let pipeline =
        time(&mut seconds, "prepare server", || Pipeline::with_client(&plan, &device, client, keys))?;
    pipeline.run(items.view())?; // Fills caches and pools.
    let mut layers: Vec<Vec<f64>> = vec![Vec::new(); plan.report().layers.len()];
    let mut fidelity = Fidelity { bits: f64::INFINITY, label_agreement: 1.0, ..Fidelity::default() };
    for _ in 0..rounds {
        let outcome = pipeline.profile(items.view(), &mut |_| ())?;
        let stages = [
            ("encrypt", outcome.times.encrypt),
            ("inference", outcome.times.infer),
            ("decrypt", outcome.times.decrypt),
        ];
        for (stage, time) in stages {
            seconds.entry(stage.to_owned()).or_default().push(time);
        }
        layers.iter_mut().zip(outcome.layer_seconds).for_each(|(layer, time)| layer.push(time));
        fidelity = worse(fidelity, Fidelity::new(plaintext.view(), outcome.unrounded.view()));
    }
    Ok(Measured {
        name: name.to_owned(),
        device: device.name(),
        seconds,
        layers,
        saved_bytes,
        compile_peak_gb,
        peak_gb: peak_gb(),
        fidelity,
        report: plan.report().clone(),
    })
}

/// The larger errors of two.
fn worse(a: Fidelity, b: Fidelity) -> Fidelity {
    Fidelity {
        max_abs_error: a.max_abs_error.max(b.max_abs_error),
        mean_abs_error: a.mean_abs_error.max(b.mean_abs_error),
        bits: a.bits.min(b.bits),
        label_agreement: a.label_agreement.min(b.label_agreement),
    }
}

impl Measured {
    fn print(&self) {
        println!("\n{}, {}", self.name, self.device);
        let head = "layer|kind|level|ciphertexts|diagonals|rotations|predicted ms|median ms";
        let mut rows = vec![head.split('|').map(String::from).collect()];
        for (layer, times) in self.report.layers.iter().zip(&self.layers) {
            let counts = [layer.level, layer.ciphertexts, layer.diagonals, layer.rotations];
            let times = [Some(layer.predicted_seconds), median(times)].map(|s| figure(s.map(|s| s * 1e3)));
            let words = [layer.name.chars().take(50).collect(), layer.kind.clone()];
            rows.push(words.into_iter().chain(counts.map(|c| c.to_string())).chain(times).collect());
        }
        print_table(&rows);
        println!();
        self.figures().iter().skip(1).for_each(|(what, figure)| println!("{what:<18} {figure}"));
    }

    /// Under [`COMPARED`].
    fn compared(&self) -> [Option<f64>; 6] {
        let [inference, compile, cached] =
            ["inference", "compile", "from cache"].map(|what| median(self.times(what)));
        let keys = self.report.rotation_keys as f64;
        [inference, compile, cached, self.peak_gb, Some(keys), Some(self.fidelity.bits)]
    }

    /// The name, what is compared, and everything else.
    fn figures(&self) -> Vec<(&'static str, String)> {
        let Self { report, fidelity, .. } = self;
        let parameters = &report.parameters;
        let seconds = |what| figure(median(self.times(what)));
        let both = |what| format!("{} ({})", seconds(what), spread(self.times(what)));
        let megabytes = |bytes: usize| figure(Some(bytes as f64 / 1e6));
        let mut all = vec![("", format!("**{}** Pleura", self.name))];
        all.extend(COMPARED.into_iter().zip(self.compared().map(figure)));
        all.extend([
            ("spread s", spread(self.times("inference"))),
            ("layout", format!("{}, {} items", report.layout, report.items)),
            ("N, levels", format!("2^{}, {}", parameters.log_n, parameters.levels)),
            ("make keys s", seconds("make keys")),
            ("prepare server s", seconds("prepare server")),
            ("keys MB", megabytes(report.key_bytes)),
            ("weights MB", megabytes(report.weight_bytes)),
            ("planned MB", megabytes(report.predicted_peak_bytes)),
            ("encrypt s", both("encrypt")),
            ("decrypt s", both("decrypt")),
            ("predicted s", figure(Some(report.predicted_seconds))),
            ("import s", seconds("import")),
            ("saved plan MB", megabytes(self.saved_bytes)),
            ("compile peak GB", figure(self.compile_peak_gb)),
            ("log2 QP", figure(Some(parameters.log2_qp))),
            ("largest error", format!("{:.1e}", fidelity.max_abs_error)),
            ("same label", format!("{:.0} %", 100.0 * fidelity.label_agreement)),
        ]);
        all
    }

    fn times(&self, what: &str) -> &[f64] {
        self.seconds.get(what).map_or(&[], Vec::as_slice)
    }
}

/// Prints the references below each network, and their values as multiples of the measured ones.
fn print_summary(measured: &[Measured]) {
    let mut rows = Vec::new();
    for network in measured {
        let (head, row): (Vec<_>, _) = network.figures().into_iter().take(SUMMARY).unzip();
        if rows.is_empty() {
            rows.push(head.into_iter().map(String::from).collect());
        }
        rows.push(row);
        for Reference(whose, figures) in references(&network.name) {
            let cells = figures.iter().zip(network.compared()).zip(COMPARED);
            let cells = cells.map(|((&theirs, ours), what)| match (theirs, ours) {
                (Some(t), Some(o)) if what != "bits" => {
                    format!("{} (x {})", figure(theirs), figure(Some(t / o)))
                }
                _ => figure(theirs),
            });
            rows.push(std::iter::once(whose.to_owned()).chain(cells).collect());
        }
    }
    print_table(&rows);
}

/// The first row and the others below as markdown, aligned.
fn print_table(rows: &[Vec<String>]) {
    let Some(head) = rows.first() else { return };
    let width = |i: usize| rows.iter().filter_map(|row| Some(row.get(i)?.chars().count())).max();
    let widths: Vec<_> = (0..head.len()).map_while(width).collect();
    println!();
    for (number, row) in rows.iter().enumerate() {
        for (i, &width) in widths.iter().enumerate() {
            let cell = row.get(i).map_or("", String::as_str);
            if i == 0 { print!("| {cell:<width$} |") } else { print!(" {cell:>width$} |") }
        }
        println!();
        if number == 0 {
            println!("|---|{}", "---:|".repeat(head.len() - 1));
        }
    }
}

impl Options {
    fn read() -> Result<Self> {
        let mut options = Self {
            names: Vec::new(),
            rounds: 7,
            batch: NonZero::<usize>::MIN,
            threads: None,
            json: None,
            child: false,
        };
        let split = |names: &&'static str| names.split(' ').map(String::from);
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--bench" => {} // From cargo.
                "--child" => options.child = true,
                "--rounds" => options.rounds = value()?.parse::<NonZero<usize>>()?.get(),
                "--batch" => options.batch = value()?.parse()?,
                "--threads" => options.threads = Some(value()?.parse()?),
                "--json" => options.json = Some(value()?.into()),
                "all" => options.names.extend([DEFAULT, LARGE].iter().flat_map(split)),
                name if file(name, "onnx").is_file() => options.names.push(argument),
                _ => return Err(format!("{argument} is no network of models/reference and no option").into()),
            }
        }
        if options.names.is_empty() {
            options.names.extend(split(&DEFAULT));
        }
        Ok(options)
    }
}

fn file(name: &str, extension: &str) -> PathBuf {
    PathBuf::from(format!("{}/../models/reference/{name}.{extension}", env!("CARGO_MANIFEST_DIR")))
}

/// The first of the network's inputs, from the first one again where there are fewer than `count`: `[count, ..shape]`.
fn first_items(name: &str, shape: &[usize], count: usize) -> Result<ArrayD<f64>> {
    let file = BufReader::new(File::open(file(name, "input.npy"))?);
    let items = npy::items(npy::read(file)?, shape)?;
    let numbers: Vec<_> = (0..items.len_of(Axis(0))).cycle().take(count).collect();
    Ok(items.select(Axis(0), &numbers))
}

fn time<T, E>(seconds: &mut Times, what: &str, run: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    let start = Instant::now();
    let value = run()?;
    seconds.entry(what.to_owned()).or_default().push(start.elapsed().as_secs_f64());
    Ok(value)
}

/// Peak resident memory of this process so far, where the system reports it.
fn peak_gb() -> Option<f64> {
    host_memory::peak_bytes().map(|bytes| bytes as f64 * 1e-9)
}

/// The median; `None` of no times.
fn median(times: &[f64]) -> Option<f64> {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    Some((times.get(times.len().checked_sub(1)? / 2)? + times.get(times.len() / 2)?) / 2.0)
}

fn spread(times: &[f64]) -> String {
    [f64::min, f64::max].map(|f| figure(times.iter().copied().reduce(f))).join("..")
}

/// Three digits, or a whole number.
fn figure(x: Option<f64>) -> String {
    let Some(x) = x else { return String::new() };
    let decimals = (2.0 - x.abs().max(1e-4).log10().floor()).clamp(0.0, 5.0) as usize;
    let decimals = if x.fract() == 0.0 { 0 } else { decimals };
    format!("{x:.decimals$}")
}
