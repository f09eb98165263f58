//! Threads of one machine: lengths of all tasks of an inference, measured on one core, and list schedules of them on more.
//!
//! `cargo bench -p benches --bench scaling [-- NAME...] [--rounds N]`
//!
//! A schedule gives each task, in order, to the core that is free first; the lists follow one another. It knows nothing of shared caches and
//! memory, which make it an upper bound.
#![expect(clippy::print_stdout, reason = "the report goes to standard output")]

use ndarray::ArrayD;
use pleura::nn::{Client, CompileOptions, Network, Plan};
use pleura::onnx::{ImportOptions, import};
use pleura_ring::{Cpu, Simd, TaskList};
use std::error::Error;
use std::fs;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Instant;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Networks, with their files below `models/`.
const NETWORKS: [(&str, &str); 3] = [
    ("default", "pneumonia/square"),
    ("hefnet_16_32_64", "reference/hefnet_16_32_64"),
    ("hefnet", "reference/hefnet"),
];
const CORES: [usize; 6] = [1, 2, 4, 8, 16, 64];

/// An inference in lists of tasks.
struct Inference {
    lists: Vec<TaskList>,
    /// Seconds between the lists.
    between: f64,
}

fn main() -> Result<()> {
    benches::simd();
    let mut names: Vec<String> = Vec::new();
    let mut rounds = 5;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--bench" => {} // From cargo.
            "--rounds" => {
                rounds = arguments.next().ok_or("--rounds needs a value")?.parse::<NonZero<usize>>()?.get()
            }
            name if NETWORKS.iter().any(|(known, _)| *known == name) => names.push(argument),
            _ => return Err(format!("{argument} is no network of this benchmark and no option").into()),
        }
    }
    let heads = CORES.map(|cores| format!("{cores} cores")).join(" | ");
    println!(
        "| network, ring, X-rays at a time | lists | tasks | median task us | longest task us | {heads} |"
    );
    println!("|---|{}", "---:|".repeat(4 + CORES.len()));
    for (name, path) in
        NETWORKS.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|n| n == name))
    {
        let model = PathBuf::from(format!("{}/../models/{path}.onnx", env!("CARGO_MANIFEST_DIR")));
        let network = import(&fs::read(model)?, &ImportOptions::default())?.network;
        for ring in CompileOptions::default().rings {
            let options = CompileOptions { rings: vec![ring], ..CompileOptions::default() };
            let plan = Plan::compile(&network, &options, &mut |_, _, _| ())?;
            for items in [1, 4] {
                let inference = measure(&network, &plan, items, rounds)?;
                inference.print(&format!("{name}, {}, {items}", ring.name()));
            }
        }
    }
    Ok(())
}

/// Inferences of `items` made-up items together, with the shortest time of each task: all rounds have the same tasks, and what else runs on the
/// machine makes some of them longer.
fn measure(network: &Network, plan: &Plan, items: usize, rounds: usize) -> Result<Inference> {
    let client = Client::new(plan.client_spec().clone())?;
    let device = Cpu::logging(plan.params().ring().clone(), Simd::preferred())?;
    let server = pleura_nn::Server::new(plan.server_plan().clone(), device)?;
    let session = server.open_session(client.evaluation_keys()?)?;
    let shape: Vec<usize> = std::iter::once(items).chain(network.input_shape().iter().copied()).collect();
    let len = shape.iter().product();
    let values = ArrayD::from_shape_vec(shape, (0..len).map(|i| (i as f64 * 0.37).sin()).collect())?;
    let sent = client.encrypt(values.view())?;
    let mut best: Option<Inference> = None;
    // The first inference fills caches and pools.
    for _ in 0..=rounds {
        server.backend().take_log();
        let clock = Instant::now();
        session.infer(&sent, &mut |_, _| ())?;
        let seconds = clock.elapsed().as_secs_f64();
        let lists = server.backend().take_log();
        let between = seconds - lists.iter().flat_map(|list| &list.seconds).sum::<f64>();
        match &mut best {
            None => best = Some(Inference { lists, between }),
            Some(best) => best.shorten(&lists, between),
        }
    }
    best.ok_or_else(|| "no round".into())
}

impl Inference {
    /// Takes the shorter time of each task of two inferences.
    fn shorten(&mut self, lists: &[TaskList], between: f64) {
        self.between = self.between.min(between);
        for (best, list) in self.lists.iter_mut().zip(lists) {
            best.seconds.iter_mut().zip(&list.seconds).for_each(|(best, seconds)| *best = best.min(*seconds));
        }
    }

    /// Seconds on some cores.
    fn makespan(&self, cores: usize) -> f64 {
        let lists = self.lists.iter().map(|list| {
            let mut busy = vec![0.0f64; if list.serial { 1 } else { cores }];
            for seconds in &list.seconds {
                // The core that is free first.
                if let Some(core) = busy.iter_mut().min_by(|a, b| a.total_cmp(b)) {
                    *core += seconds;
                }
            }
            busy.into_iter().fold(0.0, f64::max)
        });
        self.between + lists.sum::<f64>()
    }

    fn print(&self, name: &str) {
        let mut tasks: Vec<f64> = self.lists.iter().flat_map(|list| list.seconds.iter().copied()).collect();
        tasks.sort_by(f64::total_cmp);
        let microseconds =
            |task: Option<&f64>| task.map_or(String::new(), |seconds| format!("{:.0}", 1e6 * seconds));
        let one = self.makespan(1);
        let cells = CORES.map(|cores| {
            let seconds = self.makespan(cores);
            format!("{:.1} ms (x {:.1})", 1e3 * seconds, one / seconds)
        });
        println!(
            "| {name} | {} | {} | {} | {} | {} |",
            self.lists.len(),
            tasks.len(),
            microseconds(tasks.get(tasks.len() / 2)),
            microseconds(tasks.last()),
            cells.join(" | ")
        );
    }
}
