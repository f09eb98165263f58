//! Threads of one machine: lengths of all tasks of an inference, measured on one core, and list schedules of them on more.
//!
//! `cargo bench -p benches --bench scaling [-- NAME...] [--rounds N]`
//!
//! A list schedule: a core that is free takes parts of its own task, then the next task of the list, then parts of other tasks. The lists follow
//! one another. It knows nothing of shared caches and memory, nor of the time to wake threads, which makes it an upper bound.
#![expect(clippy::print_stdout, reason = "the report goes to standard output")]
#![expect(clippy::indexing_slicing, reason = "a schedule numbers its own tasks and cores")]

use ndarray::ArrayD;
use pleura::nn::{Client, CompileOptions, Network, Plan};
use pleura::onnx::{ImportOptions, import};
use pleura_ring::{Cpu, Simd, Task, TaskList};
use std::collections::VecDeque;
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
    let heads = CORES.map(|cores| format!("{cores} core{}", if cores == 1 { "" } else { "s" })).join(" | ");
    println!("| network, X-rays at a time | lists | tasks | parts | longest us | {heads} |");
    println!("|---|{}", "---:|".repeat(4 + CORES.len()));
    for (name, path) in
        NETWORKS.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|n| n == name))
    {
        let model = PathBuf::from(format!("{}/../models/{path}.onnx", env!("CARGO_MANIFEST_DIR")));
        let network = import(&fs::read(model)?, &ImportOptions::default())?.network;
        for items in [1, 4] {
            let mut row = Row::default();
            for cores in CORES {
                let options = CompileOptions { threads: cores, ..CompileOptions::default() };
                let plan = Plan::compile(&network, &options, &mut |_, _, _| ())?;
                row.push(&measure(&network, &plan, cores, items, rounds)?, cores);
            }
            println!("| {name}, {items} | {} |", row.cells());
        }
    }
    Ok(())
}

/// Inferences of `items` made-up items together, with the shortest time of each task: all rounds have the same tasks, and what else runs on the
/// machine makes some of them longer.
fn measure(network: &Network, plan: &Plan, cores: usize, items: usize, rounds: usize) -> Result<Inference> {
    let client = Client::new(plan.client_spec().clone())?;
    let device = Cpu::logging(plan.params().ring().clone(), Simd::preferred(), cores)?;
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
        let between =
            seconds - lists.iter().flat_map(|list| &list.tasks).map(|task| task.seconds).sum::<f64>();
        match &mut best {
            None => best = Some(Inference { lists, between }),
            Some(best) => best.shorten(&lists, between),
        }
    }
    best.ok_or_else(|| "no round".into())
}

impl Inference {
    /// Takes the shorter time of each task, and of each part, of two inferences.
    fn shorten(&mut self, lists: &[TaskList], between: f64) {
        self.between = self.between.min(between);
        let tasks = self.lists.iter_mut().flat_map(|list| &mut list.tasks);
        for (best, task) in tasks.zip(lists.iter().flat_map(|list| &list.tasks)) {
            best.seconds = best.seconds.min(task.seconds);
            let parts = best.splits.iter_mut().flatten().zip(task.splits.iter().flatten());
            parts.for_each(|(best, seconds)| *best = best.min(*seconds));
        }
    }

    /// Seconds on some cores.
    fn makespan(&self, cores: usize) -> f64 {
        let lists = self.lists.iter().map(|list| match list.serial {
            true => list.tasks.iter().map(|task| task.seconds).sum(),
            false => makespan(&list.tasks, cores),
        });
        self.between + lists.sum::<f64>()
    }
}

/// Seconds of a list of tasks on some cores.
fn makespan(tasks: &[Task], cores: usize) -> f64 {
    let mut tasks: Vec<_> = tasks.iter().map(Parts::of).collect();
    let mut waiting = 0..tasks.len();
    // The task that each core took last.
    let mut own = vec![None; cores];
    let mut idle: Vec<usize> = (0..cores).collect();
    // When a part ends, its core, and its task.
    let mut running: Vec<(f64, usize, usize)> = Vec::new();
    let mut now = 0.0;
    loop {
        idle.retain(|&core| {
            let from_own = own[core].filter(|&task: &usize| tasks[task].is_ready());
            let task = from_own
                .or_else(|| waiting.next().inspect(|&task| own[core] = Some(task)))
                .or_else(|| tasks.iter().position(Parts::is_ready));
            let Some((task, seconds)) = task.and_then(|task| Some((task, tasks[task].take()?))) else {
                return true;
            };
            running.push((now + seconds, core, task));
            false
        });
        let first = (0..running.len()).min_by(|&a, &b| running[a].0.total_cmp(&running[b].0));
        let Some(first) = first else { return now };
        let (end, core, task) = running.swap_remove(first);
        now = end;
        tasks[task].end();
        idle.push(core);
    }
}

/// Rest of a task: its serial seconds come first, then its splits.
struct Parts {
    ready: VecDeque<f64>,
    running: usize,
    later: VecDeque<Vec<f64>>,
}

impl Parts {
    fn of(task: &Task) -> Self {
        let split = task.splits.iter().flatten().sum::<f64>();
        let serial = (task.seconds - split).max(0.0);
        let later = task.splits.iter().filter(|parts| !parts.is_empty()).cloned().collect();
        Self { ready: [serial].into(), running: 0, later }
    }

    /// Whether a core can take a part.
    fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Seconds of a part that a core takes.
    fn take(&mut self) -> Option<f64> {
        let seconds = self.ready.pop_front()?;
        self.running += 1;
        Some(seconds)
    }

    /// A part has ended: after the last one of a split, the next split begins.
    fn end(&mut self) {
        self.running -= 1;
        if self.running == 0 && self.ready.is_empty() {
            self.ready = self.later.pop_front().unwrap_or_default().into();
        }
    }
}

/// A row of the table.
#[derive(Default)]
struct Row {
    /// Lists, tasks, parts, and microseconds of the longest part, on as many cores as there are at most.
    counts: String,
    /// Milliseconds on each number of cores.
    times: Vec<f64>,
}

impl Row {
    fn push(&mut self, inference: &Inference, cores: usize) {
        let tasks = || inference.lists.iter().flat_map(|list| &list.tasks);
        let parts = || {
            tasks()
                .map(Parts::of)
                .flat_map(|task| task.ready.into_iter().chain(task.later.into_iter().flatten()))
        };
        let longest = 1e6 * parts().fold(0.0, f64::max);
        self.counts =
            format!("{} | {} | {} | {longest:.0}", inference.lists.len(), tasks().count(), parts().count());
        self.times.push(1e3 * inference.makespan(cores));
    }

    fn cells(&self) -> String {
        let times = self.times.iter().map(|time| format!("{time:.1} ms (x {:.1})", self.times[0] / time));
        std::iter::once(self.counts.clone()).chain(times).collect::<Vec<_>>().join(" | ")
    }
}
