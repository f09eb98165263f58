//! Images per second and bytes per image of batches, for each layout, ring and device.
//!
//! `cargo bench -p benches --bench throughput [-- NAME...] [--batches 1,2,..] [--layout WORDS] [--device cpu|gpu] [--seconds S] [--csv FILE]`
//!
//! Every row is written when it is measured, and rows of a file that is there are not measured again: a run may be interrupted.
#![expect(clippy::print_stdout, reason = "rows go to standard output")]

use cpu_time::ProcessTime;
use ndarray::{ArrayD, Axis, concatenate};
use pleura::nn::{BatchLayout, CompileOptions, Fidelity, Network, Plan};
use pleura::onnx::{ImportOptions, import};
use pleura::{Device, DeviceSelector, GpuOptions, Pipeline, npy};
use std::collections::HashSet;
use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, ErrorKind, Write};
use std::path::PathBuf;
use std::time::Instant;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Networks, with their files below `models/`.
const NETWORKS: [(&str, &str); 6] = [
    ("default", "pneumonia/square"),
    ("hefnet_16_32_64", "reference/hefnet_16_32_64"),
    ("hefnet", "reference/hefnet"),
    ("pneumoniamnist", "pneumoniamnist/tiny"),
    ("mlp", "reference/mlp"),
    ("lola", "reference/lola"),
];
/// Columns of the table. Times are of the whole batch; `end_to_end` counts encryption and decryption, and `cpu_s` the seconds of all threads,
/// which other work on the machine disturbs less.
const HEAD: &str = "network,device,ring,layout,group,batch,infer_s,encrypt_s,decrypt_s,images_per_s,end_to_end_per_s,bytes_in,bytes_out,bits,predicted_s,cpu_s";
/// Groups that are computed at a time.
const GROUPS: usize = 16;

struct Options {
    names: Vec<String>,
    batches: Vec<usize>,
    /// Part of the names of the layouts that are measured.
    layout: String,
    device: DeviceSelector,
    /// Larger batches of a layout are left out once one takes so long.
    seconds: f64,
    csv: Option<PathBuf>,
}

fn main() -> Result<()> {
    benches::simd();
    let options = Options::read()?;
    let device = Device::select(options.device, None, &GpuOptions::default())?;
    let known = match options.csv.as_ref().map(fs::read_to_string) {
        None => String::new(),
        Some(Err(error)) if error.kind() == ErrorKind::NotFound => String::new(),
        Some(text) => text?,
    };
    let mut rows = Rows { csv: options.csv.clone(), known: known.lines().map(identity).collect() };
    println!("{HEAD}");
    if known.is_empty() {
        rows.append(HEAD)?;
    }
    for (name, path) in NETWORKS.iter().filter(|(name, _)| options.names.iter().any(|n| n == name)) {
        let model = fs::read(file(path, "onnx"))?;
        let network = import(&model, &ImportOptions::default())?.network;
        for ring in CompileOptions::default().rings {
            for layout in
                layouts(&network)?.into_iter().filter(|layout| layout.to_string().contains(&options.layout))
            {
                let compile =
                    CompileOptions { rings: vec![ring], layout: Some(layout), ..CompileOptions::default() };
                let start = Instant::now();
                match Plan::compile(&network, &compile, &mut |_, _, _| ()) {
                    Ok(plan) => {
                        eprintln!(
                            "{name}, {}, {layout}: compiled in {:.1} s",
                            ring.name(),
                            start.elapsed().as_secs_f64()
                        );
                        measure(name, path, &network, &plan, &device, &options, &mut rows)?;
                    }
                    Err(error) => eprintln!("{name}, {}, {layout}: {error}", ring.name()),
                }
            }
        }
    }
    Ok(())
}

/// Single items, items side by side while a ciphertext has room for them, items interleaved, and an item per slot.
fn layouts(network: &Network) -> Result<Vec<BatchLayout>> {
    let batched = CompileOptions { batch: 256, ..CompileOptions::default() };
    let report = Plan::compile(network, &batched, &mut |_, _, _| ())?.report().clone();
    let groups =
        report.layouts.iter().filter(|tried| tried.items > 1 && tried.layout.contains("side by side"));
    let mut layouts = vec![BatchLayout::SINGLE];
    layouts.extend(groups.map(|tried| BatchLayout::SideBySide(tried.items)));
    layouts.extend([BatchLayout::Interleaved, BatchLayout::SlotPerItem]);
    Ok(layouts)
}

/// Measures a plan at every batch size, until one takes too long.
fn measure(
    name: &str,
    path: &str,
    network: &Network,
    plan: &Plan,
    device: &Device,
    options: &Options,
    rows: &mut Rows,
) -> Result<()> {
    let report = plan.report();
    let head = |batch: usize| {
        format!(
            "{name},{},{},{},{},{batch}",
            device.name().replace(',', ""),
            report.parameters.ring,
            report.layout,
            report.items
        )
    };
    let wanted: Vec<usize> =
        options.batches.iter().copied().filter(|&batch| !rows.known.contains(&head(batch))).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let pipeline = Pipeline::new(plan, device)?;
    let first = items(path, network.input_shape())?;
    for batch in wanted {
        let copies: Vec<_> = (0..batch).map(|_| first.view()).collect();
        let batch_items = concatenate(Axis(0), &copies)?;
        let plaintext = network.evaluate(batch_items.view())?;
        let mut bits = f64::INFINITY;
        // The first run fills caches and pools.
        let mut seconds = [f64::INFINITY; 3];
        let mut cpu = f64::INFINITY;
        for _ in 0..3 {
            let mut run = [0.0; 3];
            let clock = ProcessTime::now();
            for (items, plaintext) in batch_items
                .axis_chunks_iter(Axis(0), GROUPS * report.items)
                .zip(plaintext.axis_chunks_iter(Axis(0), GROUPS * report.items))
            {
                let outcome = pipeline.run(items)?;
                let times = [outcome.times.infer, outcome.times.encrypt, outcome.times.decrypt];
                run.iter_mut().zip(times).for_each(|(sum, time)| *sum += time);
                bits = bits.min(Fidelity::new(plaintext, outcome.unrounded.view()).bits);
            }
            cpu = cpu.min(clock.elapsed().as_secs_f64());
            seconds.iter_mut().zip(run).for_each(|(best, time)| *best = best.min(time));
            if run.iter().sum::<f64>() > options.seconds {
                break;
            }
        }
        let groups = batch.div_ceil(report.items) as f64;
        let [infer, encrypt, decrypt] = seconds;
        let images = batch as f64;
        rows.append(&format!(
            "{},{infer:.5},{encrypt:.5},{decrypt:.5},{:.2},{:.2},{:.0},{:.0},{bits:.1},{:.5},{cpu:.5}",
            head(batch),
            images / infer,
            images / (infer + encrypt + decrypt),
            groups * report.input_bytes as f64 / images,
            groups * report.output_bytes as f64 / images,
            groups * report.predicted_seconds,
        ))?;
        if infer + encrypt > options.seconds {
            break;
        }
    }
    Ok(())
}

/// Rows of the table, and what was measured before.
struct Rows {
    csv: Option<PathBuf>,
    known: HashSet<String>,
}

impl Rows {
    fn append(&mut self, row: &str) -> Result<()> {
        if row != HEAD {
            println!("{row}");
        }
        if let Some(csv) = &self.csv {
            writeln!(OpenOptions::new().append(true).create(true).open(csv)?, "{row}")?;
        }
        Ok(())
    }
}

/// The columns that say what a row is of.
fn identity(row: &str) -> String {
    row.split(',').take(6).collect::<Vec<_>>().join(",")
}

fn file(path: &str, extension: &str) -> PathBuf {
    PathBuf::from(format!("{}/../models/{path}.{extension}", env!("CARGO_MANIFEST_DIR")))
}

/// The first of a network's inputs, or made-up values where it has none.
fn items(path: &str, shape: &[usize]) -> Result<ArrayD<f64>> {
    let Ok(input) = File::open(file(path, "input.npy")) else {
        let shape: Vec<usize> = std::iter::once(1).chain(shape.iter().copied()).collect();
        let len = shape.iter().product();
        return Ok(ArrayD::from_shape_vec(shape, (0..len).map(|i| (i as f64 * 0.37).sin()).collect())?);
    };
    let mut items = npy::items(npy::read(BufReader::new(input))?, shape)?;
    items.slice_axis_inplace(Axis(0), (..1).into());
    Ok(items)
}

impl Options {
    fn read() -> Result<Self> {
        let mut options = Self {
            names: Vec::new(),
            batches: (0..9).map(|log| 1 << log).collect(),
            layout: String::new(),
            device: DeviceSelector::Cpu,
            seconds: 10.0,
            csv: None,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--bench" => {} // From cargo.
                "--batches" => {
                    options.batches = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?;
                }
                "--layout" => options.layout = value()?,
                "--device" => options.device = value()?.parse()?,
                "--seconds" => options.seconds = value()?.parse()?,
                "--csv" => options.csv = Some(value()?.into()),
                name if NETWORKS.iter().any(|(known, _)| *known == name) => options.names.push(argument),
                _ => return Err(format!("{argument} is no network of this benchmark and no option").into()),
            }
        }
        if options.names.is_empty() {
            options.names.extend(NETWORKS.iter().map(|(name, _)| (*name).to_owned()));
        }
        Ok(options)
    }
}
