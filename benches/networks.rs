//! Whole encrypted inferences of the reference networks, beside the marks and other systems.
//!
//! `cargo bench -p benches --bench networks [-- NAME...] [--rounds N] [--json FILE]`
#![expect(clippy::print_stdout, reason = "the report goes to standard output")]

use pleura_nn::{Client, Fidelity, ImportOptions, Network, Plan, PlanOptions, Report, Server};
use pleura_ring::{Backend, Cpu};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Measured unless others are named.
const DEFAULT: &str = "hefnet_16_32_64 hefnet hefnet_se vgg5 lenet5 lola mlp separable dilated odd";
/// What `all` adds.
const LARGE: &str = "vgg5_se lenet5_se resnet20";
/// Figures of a network that the summary has, too.
const SUMMARY: usize = 14;

struct Options {
    names: Vec<String>,
    /// Inferences that count, after one that warms up.
    rounds: usize,
    json: Option<PathBuf>,
    /// Whether this process measures one network for another process.
    child: bool,
}

/// One network in figures; times in seconds, those of inferences one for each round.
#[derive(Serialize, Deserialize)]
struct Measured {
    name: String,
    device: String,
    import: f64,
    compile: f64,
    /// The plan from its saved bytes.
    cached: f64,
    keys: f64,
    /// Keys and weights brought to the device.
    server: f64,
    encrypt: Vec<f64>,
    inference: Vec<f64>,
    decrypt: Vec<f64>,
    /// Medians, in the order of the report's layers.
    layers: Vec<f64>,
    plan_bytes: usize,
    /// Most memory that was resident up to the end of compiling.
    compile_peak_gb: Option<f64>,
    /// Most memory that was ever resident.
    peak_gb: Option<f64>,
    /// Over all rounds.
    fidelity: Fidelity,
    report: Report,
}

/// What a network is held against: a mark or another system, as far as figures are known.
#[derive(Clone, Copy, Default, Serialize)]
struct Reference {
    whose: &'static str,
    inference: Option<f64>,
    compile: Option<f64>,
    cached: Option<f64>,
    peak_gb: Option<f64>,
    rotation_keys: Option<usize>,
    bits: Option<f64>,
}

fn main() -> Result<()> {
    let options = Options::read()?;
    let (mut measured, mut failed) = (Vec::new(), Vec::new());
    for name in &options.names {
        if options.child {
            println!("{}", serde_json::to_string(&measure(name, options.rounds)?)?);
            return Ok(());
        }
        eprintln!("{name} ...");
        match measure_apart(name, options.rounds) {
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
        let of_network = |m: &Measured| json!({ "measured": m, "references": references(&m.name) });
        let networks: Vec<_> = measured.iter().map(of_network).collect();
        let all = json!({ "rounds": options.rounds, "networks": networks, "failed": failed });
        let unfinished = file.with_added_extension("tmp");
        fs::write(&unfinished, serde_json::to_string_pretty(&all)? + "\n")?;
        fs::rename(&unfinished, file)?;
        eprintln!("wrote {}", file.canonicalize()?.display());
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", ")).into()) }
}

/// The marks and the peers of a network. Peers: measured on a machine of this class, two cores with AVX-512.
fn references(network: &str) -> Vec<Reference> {
    let peer = |whose| Reference { whose, ..Reference::default() };
    let mark = Reference { compile: Some(10.0), cached: Some(1.0), bits: Some(12.0), ..peer("mark") };
    let orion = peer("Orion on Lattigo");
    let measured = Reference { compile: Some(63.0), rotation_keys: Some(146), bits: Some(19.6), ..orion };
    match network {
        "hefnet_16_32_64" => vec![
            Reference { inference: Some(0.25), peak_gb: Some(1.0), ..mark },
            Reference { inference: Some(2.53), peak_gb: Some(13.1), ..measured },
            Reference { inference: Some(9.4), peak_gb: Some(3.6), ..peer("HElayers on SEAL, dense") },
        ],
        "hefnet" => vec![
            Reference { inference: Some(1.2), peak_gb: Some(4.0), bits: Some(16.0), ..mark },
            Reference { peak_gb: Some(20.0), ..peer("Orion, 2^15: killed while compiling") },
        ],
        "hefnet_se" => vec![Reference { inference: Some(2.5), ..mark }],
        "lola" => vec![mark, Reference { inference: Some(0.14), ..orion }],
        "mlp" => vec![mark, Reference { inference: Some(0.20), ..orion }],
        _ => vec![mark],
    }
}

/// Measures a network in a process of its own, so that its memory is its own.
fn measure_apart(name: &str, rounds: usize) -> Result<Measured> {
    let mut child = Command::new(std::env::current_exe()?);
    child.args(["--child", name, "--rounds", &rounds.to_string()]);
    let done = child.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !done.status.success() {
        return Err(done.status.to_string().into());
    }
    Ok(serde_json::from_slice(&done.stdout)?)
}

fn measure(name: &str, rounds: usize) -> Result<Measured> {
    let model = fs::read(file(name, "onnx"))?;
    let (import, imported) = timed(|| Network::from_onnx(&model, &ImportOptions::default()))?;
    let network = imported.network;
    let item = first_item(name, network.input_shape().iter().product())?;
    let (compile, plan) = timed(|| Plan::compile(&network, &PlanOptions::default(), &mut |_, _, _| ()))?;
    let compile_peak_gb = peak_gb();
    let saved = plan.to_bytes()?;
    drop(plan);
    let (cached, plan) = timed(|| Plan::from_bytes(&saved))?;
    let plan_bytes = saved.len();
    drop(saved);

    let client = Client::new(&plan)?;
    let (keys, evaluation_keys) = timed(|| client.evaluation_keys())?;
    let cpu = Cpu::new(plan.params().ring().clone())?;
    let device = cpu.name();
    let (server, on_device) = timed(|| Server::new(&plan, cpu, evaluation_keys))?;
    let [mut encrypt, mut inference, mut decrypt] = [const { Vec::new() }; 3];
    let mut layers = vec![Vec::new(); plan.report().layers.len()];
    let mut results = Vec::new();
    for round in 0..=rounds {
        let (encrypting, input) = timed(|| client.encrypt(std::slice::from_ref(&item)))?;
        let mut steps = Vec::new();
        let (inferring, output) = timed(|| on_device.infer(&input, &mut |_, seconds| steps.push(seconds)))?;
        let (decrypting, result) = timed(|| client.decrypt(&output))?;
        if round == 0 {
            continue; // Fills caches and pools.
        }
        encrypt.push(encrypting);
        inference.push(inferring);
        decrypt.push(decrypting);
        layers.iter_mut().zip(steps).for_each(|(layer, seconds)| layer.push(seconds));
        results.extend(result);
    }
    Ok(Measured {
        name: name.to_owned(),
        device,
        import,
        compile,
        cached,
        keys,
        server,
        encrypt,
        inference,
        decrypt,
        layers: layers.iter().map(|times| median(times).unwrap_or_default()).collect(),
        plan_bytes,
        compile_peak_gb,
        peak_gb: peak_gb(),
        fidelity: Fidelity::new(&vec![network.evaluate(&item); rounds], &results),
        report: plan.report().clone(),
    })
}

impl Measured {
    fn print(&self) {
        println!("\n{}, {}", self.name, self.device);
        let head = "layer|kind|level|ciphertexts|diagonals|rotations|predicted ms|median ms";
        let mut rows = vec![head.split('|').map(String::from).collect()];
        for (layer, seconds) in self.report.layers.iter().zip(&self.layers) {
            let counts = [layer.level, layer.ciphertexts, layer.diagonals, layer.rotations];
            let times = [layer.seconds, *seconds].map(|seconds| format!("{:.2}", seconds * 1e3));
            let words = [layer.name.chars().take(50).collect(), layer.kind.clone()];
            rows.push(words.into_iter().chain(counts.map(|c| c.to_string())).chain(times).collect());
        }
        print_table(&rows);
        println!();
        self.figures().iter().skip(1).for_each(|(what, figure)| println!("{what:<18} {figure}"));
    }

    /// First those that are known of others, in the order of [`Reference::figures`].
    fn figures(&self) -> Vec<(&'static str, String)> {
        let Self { report, fidelity, .. } = self;
        let parameters = &report.parameters;
        let both = |times: &[f64]| format!("{} ({})", figure(median(times)), spread(times));
        let bytes = |bytes: usize| figure(Some(bytes as f64 / 1e6));
        vec![
            ("", format!("**{}** Pleura", self.name)),
            ("inference s", figure(median(&self.inference))),
            ("compile s", figure(Some(self.compile))),
            ("from cache s", figure(Some(self.cached))),
            ("peak GB", figure(self.peak_gb)),
            ("rotation keys", report.rotation_keys.to_string()),
            ("bits", format!("{:.1}", fidelity.bits)),
            ("spread s", spread(&self.inference)),
            ("N, levels", format!("2^{}, {}", parameters.log_n, parameters.levels)),
            ("make keys s", figure(Some(self.keys))),
            ("prepare server s", figure(Some(self.server))),
            ("keys MB", bytes(report.key_bytes)),
            ("weights MB", bytes(report.weight_bytes)),
            ("planned MB", bytes(report.memory_bytes)),
            ("encrypt s", both(&self.encrypt)),
            ("decrypt s", both(&self.decrypt)),
            ("predicted s", figure(Some(report.seconds))),
            ("import s", figure(Some(self.import))),
            ("saved plan MB", bytes(self.plan_bytes)),
            ("compile peak GB", figure(self.compile_peak_gb)),
            ("log2 QP", figure(Some(parameters.log2_qp))),
            ("worst error", format!("{:.1e}", fidelity.worst)),
            ("same label", format!("{:.0} %", 100.0 * fidelity.label_agreement)),
        ]
    }
}

impl Reference {
    /// Each with how many times ours it is.
    fn figures(&self, ours: &Measured) -> Vec<String> {
        let beside = |theirs: Option<f64>, ours: Option<f64>| match (theirs, ours) {
            (Some(t), Some(o)) => format!("{} (x {:.2})", figure(theirs), t / o),
            _ => figure(theirs),
        };
        vec![
            self.whose.to_owned(),
            beside(self.inference, median(&ours.inference)),
            beside(self.compile, Some(ours.compile)),
            beside(self.cached, Some(ours.cached)),
            beside(self.peak_gb, ours.peak_gb),
            self.rotation_keys.map_or_else(String::new, |keys| keys.to_string()),
            self.bits.map_or_else(String::new, |bits| format!("{bits:.1}")),
        ]
    }
}

fn print_summary(measured: &[Measured]) {
    let mut rows = Vec::new();
    for network in measured {
        let (head, row): (Vec<_>, _) = network.figures().into_iter().take(SUMMARY).unzip();
        if rows.is_empty() {
            rows.push(head.into_iter().map(String::from).collect());
        }
        rows.push(row);
        rows.extend(references(&network.name).iter().map(|r| r.figures(network)));
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
        let mut options = Self { names: Vec::new(), rounds: 7, json: None, child: false };
        let split = |names: &&'static str| names.split(' ').map(String::from);
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--bench" => {} // From cargo.
                "--child" => options.child = true,
                "--rounds" => options.rounds = value()?.parse()?,
                "--json" => options.json = Some(value()?.into()),
                "all" => options.names.extend([DEFAULT, LARGE].iter().flat_map(split)),
                name if file(name, "onnx").is_file() => options.names.push(argument),
                _ => return Err(format!("{argument} is no network of models/reference and no option").into()),
            }
        }
        if options.rounds == 0 {
            return Err("--rounds takes one or more".into());
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

/// The first of the network's inputs: the first `len` floats behind the header of a NumPy file.
fn first_item(name: &str, len: usize) -> Result<Vec<f64>> {
    let bytes = fs::read(file(name, "input.npy"))?;
    let header = bytes.get(8..10).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes);
    let data = bytes.get(10 + usize::from(header)..).unwrap_or_default();
    let (words, _) = data.as_chunks::<4>();
    let item: Vec<_> = words.iter().take(len).map(|w| f64::from(f32::from_le_bytes(*w))).collect();
    if item.len() == len { Ok(item) } else { Err(format!("{name}.input.npy is too short").into()) }
}

/// How many seconds it takes, and what comes of it.
fn timed<T, E>(run: impl FnOnce() -> Result<T, E>) -> Result<(f64, T), E> {
    let start = Instant::now();
    let value = run()?;
    Ok((start.elapsed().as_secs_f64(), value))
}

/// The most memory that this process had resident so far, where the system tells.
fn peak_gb() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? * 1024e-9)
}

/// None for none.
fn median(times: &[f64]) -> Option<f64> {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    Some((times.get(times.len().checked_sub(1)? / 2)? + times.get(times.len() / 2)?) / 2.0)
}

fn spread(times: &[f64]) -> String {
    [f64::min, f64::max].map(|f| figure(times.iter().copied().reduce(f))).join("..")
}

/// Three digits.
fn figure(x: Option<f64>) -> String {
    let Some(x) = x else { return String::new() };
    let decimals = (2.0 - x.abs().max(1e-4).log10().floor()).clamp(0.0, 5.0) as usize;
    format!("{x:.decimals$}")
}
