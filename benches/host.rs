//! CPU time of the host per inference, and dispatches of a GPU.
//!
//! `cargo bench -p benches --bench host [-- NAME...] [--rounds N] [--gpu-only]`: names of shipped classifiers, or of networks in
//! `models/reference`. One thread records, encodes and waits: on the CPU it computes too, on a GPU its CPU time is the host's
//! share. Drivers in software compute in threads of their own, which do not count, but empty the caches that the host's thread finds. So each
//! network is measured once more on a GPU whose dispatches have no workgroups. A second table has what is done with the bytes of a client: its
//! keys, until they are on the device, and its ciphertexts, until they are uploaded.
#![expect(clippy::print_stdout, reason = "the table goes to standard output")]

use cpu_time::ThreadTime;
use ndarray::{ArrayD, Axis, Slice};
use pleura::ckks::{Backend, Ciphertext, EvaluationKeys};
use pleura::gpu::{Device, Gpu, Options, adapters};
use pleura::nn::{Client, CompileOptions, DeviceClass, Network, Plan, Server, Session};
use pleura::onnx::{ImportOptions, import};
use pleura::ring::Cpu;
use pleura::xray::Classifier;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Measured unless others are named: each shipped classifier beside the reference network of the same shape.
const DEFAULT: [&str; 5] = ["pneumonia", "hefnet", "pneumonia-hefnet", "hefnet_se", "pneumonia-hefnet-se"];

/// Medians of some inferences, in milliseconds.
struct Times {
    wall: f64,
    cpu: f64,
}

/// Arguments of the command line.
struct Arguments {
    names: Vec<String>,
    rounds: usize,
    /// Leaves out the CPU.
    gpu_only: bool,
}

/// The host's share of what a client sends.
struct Arrivals {
    /// Milliseconds from the bytes of keys to a session.
    keys: f64,
    /// Milliseconds from bytes to ciphertexts.
    items: f64,
    /// Bytes of keys and of ciphertexts that were uploaded.
    uploaded: [u64; 2],
}

/// A plan, a client of it, and an encrypted item.
struct Planned {
    plan: Plan,
    client: Client,
    sent: Vec<Ciphertext>,
}

fn main() -> Result<()> {
    let simd = benches::simd();
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global()?;
    let Arguments { names, rounds, gpu_only } = arguments()?;
    let gpu = adapters().into_iter().next();
    let empty = Options { no_workgroups: true, ..Options::default() };
    let gpu = gpu.map(|gpu| Ok::<_, Box<dyn Error>>([gpu.open(&Options::default())?, gpu.open(&empty)?]));
    let gpu = gpu.transpose()?;
    if let Some([gpu, _]) = &gpu {
        println!("GPU: {}", gpu.info().name);
    }
    println!("\n| network | device | wall ms | host CPU ms | dispatches | submits |");
    println!("|---|---|---:|---:|---:|---:|");
    let mut all = Vec::new();
    for name in names {
        let (network, options) = network(&name)?;
        if !gpu_only {
            let made = planned(&network, &options, DeviceClass::Processor)?;
            let cpu = session(&made, Cpu::with(made.plan.params().ring().clone(), simd, 1)?)?;
            let Times { wall, cpu } = times(&cpu, &made.sent, rounds)?;
            println!("| {name} | CPU | {wall:.1} | {cpu:.1} | | |");
        }
        if let Some([device, empty]) = &gpu {
            let made = planned(&network, &options, DeviceClass::Accelerator)?;
            print_gpu(&name, "GPU", &made, device, rounds)?;
            print_gpu(&name, "GPU, no workgroups", &made, empty, rounds)?;
            let gpu = Gpu::new(made.plan.params().ring().clone(), device.clone())?;
            all.push((name, arrivals(&made, gpu, device, rounds)?));
        }
    }
    println!("\n| network | keys ms | MB up | ciphertexts ms | KB up |");
    println!("|---|---:|---:|---:|---:|");
    for (name, Arrivals { keys, items, uploaded: [key_bytes, item_bytes] }) in all {
        let megabytes = key_bytes as f64 / 1e6;
        println!("| {name} | {keys:.1} | {megabytes:.1} | {items:.2} | {:.1} |", item_bytes as f64 / 1e3);
    }
    Ok(())
}

/// Prints the row of a GPU.
fn print_gpu(name: &str, label: &str, made: &Planned, device: &Arc<Device>, rounds: usize) -> Result<()> {
    let session = session(made, Gpu::new(made.plan.params().ring().clone(), device.clone())?)?;
    let Times { wall, cpu } = times(&session, &made.sent, rounds)?;
    let before = device.dispatches_and_submits();
    session.infer(&made.sent, &mut |_, _| ())?;
    let after = device.dispatches_and_submits();
    let dispatches = after.0 - before.0;
    let submits = after.1 - before.1;
    println!("| {name} | {label} | {wall:.1} | {cpu:.2} | {dispatches} | {submits} |");
    Ok(())
}

fn arguments() -> Result<Arguments> {
    let mut names = Vec::new();
    let mut rounds = 7;
    let mut gpu_only = false;
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => rounds = arguments.next().ok_or("--rounds needs a number")?.parse()?,
            "--gpu-only" => gpu_only = true,
            _ => names.push(argument),
        }
    }
    if names.is_empty() {
        names.extend(DEFAULT.map(String::from));
    }
    Ok(Arguments { names, rounds, gpu_only })
}

/// A shipped classifier's network, or the reference network of a name, with its options of compilation.
fn network(name: &str) -> Result<(Network, CompileOptions)> {
    if let Ok(classifier) = Classifier::shipped(name) {
        return Ok((classifier.network().clone(), classifier.compile_options(1)?));
    }
    let path = format!("{}/../models/reference/{name}.onnx", env!("CARGO_MANIFEST_DIR"));
    let model = std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
    Ok((import(&model, &ImportOptions::default())?.network, CompileOptions::default()))
}

/// The first calibration item, or a wave.
fn item(network: &Network, options: &CompileOptions) -> ArrayD<f64> {
    if let Some(calibration) = &options.calibration {
        return calibration.slice_axis(Axis(0), Slice::from(..1)).to_owned();
    }
    let shape: Vec<usize> = std::iter::once(1).chain(network.input_shape().iter().copied()).collect();
    let mut item = ArrayD::zeros(shape);
    item.iter_mut().enumerate().for_each(|(i, x)| *x = (i as f64).sin());
    item
}

/// The plan for a class of devices, a client of it, and an encrypted item.
fn planned(network: &Network, options: &CompileOptions, device: DeviceClass) -> Result<Planned> {
    let options = CompileOptions { device, ..options.clone() };
    let plan = Plan::compile(network, &options, &mut |_, _, _| ())?;
    let client = Client::new(plan.client_spec().clone())?;
    let sent = client.encrypt(item(network, &options).view())?;
    Ok(Planned { plan, client, sent })
}

fn session<B: Backend>(planned: &Planned, backend: B) -> Result<Session<B>> {
    let server = Server::new(planned.plan.server_plan().clone(), backend)?;
    Ok(server.open_session(planned.client.evaluation_keys()?)?)
}

/// Reads keys and ciphertexts from bytes, and brings them to a GPU; ciphertexts are read `rounds` times.
fn arrivals(made: &Planned, gpu: Gpu, device: &Device, rounds: usize) -> Result<Arrivals> {
    let params = made.plan.params();
    let keys = made.client.evaluation_keys()?.to_bytes();
    let sent: Vec<_> = made.sent.iter().map(Ciphertext::to_bytes).collect();
    let server = Server::new(made.plan.server_plan().clone(), gpu)?;
    server.backend().wait()?;
    let start = device.uploaded_bytes();
    let clock = ThreadTime::now();
    let session = server.open_session(EvaluationKeys::from_bytes(&keys, params)?)?;
    session.wait()?;
    let keys = 1e3 * clock.elapsed().as_secs_f64();
    let before = device.uploaded_bytes();
    let mut reads = Vec::new();
    let mut read = Vec::new();
    for _ in 0..rounds {
        let clock = ThreadTime::now();
        read = sent
            .iter()
            .map(|bytes| Ciphertext::from_bytes(bytes, params))
            .collect::<std::result::Result<_, _>>()?;
        reads.push(1e3 * clock.elapsed().as_secs_f64());
    }
    session.infer(&read, &mut |_, _| ())?;
    Ok(Arrivals {
        keys,
        items: median(&mut reads)?,
        uploaded: [before - start, device.uploaded_bytes() - before],
    })
}

/// Medians of `rounds` inferences, after one that warms up.
fn times<B: Backend>(session: &Session<B>, sent: &[Ciphertext], rounds: usize) -> Result<Times> {
    session.infer(sent, &mut |_, _| ())?;
    let mut walls = Vec::new();
    let mut cpus = Vec::new();
    for _ in 0..rounds {
        let wall = Instant::now();
        let cpu = ThreadTime::now();
        session.infer(sent, &mut |_, _| ())?;
        cpus.push(1e3 * cpu.elapsed().as_secs_f64());
        walls.push(1e3 * wall.elapsed().as_secs_f64());
    }
    Ok(Times { wall: median(&mut walls)?, cpu: median(&mut cpus)? })
}

fn median(values: &mut [f64]) -> Result<f64> {
    values.sort_by(f64::total_cmp);
    Ok(values.get(values.len() / 2).copied().ok_or("no rounds")?)
}
