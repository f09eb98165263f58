//! The command line of Pleura.

mod baseline;
mod bench;
mod cache;
mod classifier;
mod classify;
mod clock;
mod compare;
mod compare_page;
mod compress;
mod device;
mod devices;
mod error;
mod files;
mod fit;
mod memory;
mod model;
mod models;
mod names;
mod omitted;
mod outcome;
mod plan;
mod records;
mod remote;
mod row;
mod run;
mod sheet;
mod sources;
mod statistics;
mod table;
mod terminal;
mod text;
mod way;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use device::DeviceArgs;
use std::process::ExitCode;
use text::{bytes_text, counted};

/// Version, commit, and what the binary has code for.
#[cfg(target_arch = "x86_64")]
const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncommit: ",
    env!("PLEURA_COMMIT"),
    "\nSIMD: scalar, avx2, avx512\nGPU: wgpu"
);
/// Version, commit, and what the binary has code for.
#[cfg(not(target_arch = "x86_64"))]
const LONG_VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), "\ncommit: ", env!("PLEURA_COMMIT"), "\nSIMD: scalar\nGPU: wgpu");

/// Neural networks on data that stays encrypted. Without a command: `pleura classify`, on sample X-rays.
#[derive(Parser)]
#[command(
    name = "pleura",
    version,
    long_version = LONG_VERSION,
    after_help = "\
Examples:
  pleura classify chest.dcm
  pleura classify ward/ --out ward.csv
  pleura export --model pneumonia --output pneumonia/
  pleura plan --model lenet5.onnx
  pleura run --model lenet5.onnx --input x.npy --output y.npy
  pleura fit --function relu --interval -6,6
  pleura compare --html compare.html
  pleura devices
  pleura bench --devices cpu,gpu

`pleura COMMAND --help` tells more about each."
)]
struct Pleura {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Classify X-rays as ciphertexts, and compare with the clear network.
    Classify(classify::ClassifyArgs),
    /// Compress X-rays into latents.
    Compress(compress::CompressArgs),
    /// Make pictures of latents.
    Reconstruct(compress::ReconstructArgs),
    /// Two older schemes, and the attacks that break them.
    Baseline(baseline::BaselineArgs),
    /// Put ways to classify X-rays side by side: what they reach, cost, and protect.
    Compare(compare::CompareArgs),
    /// Tell which networks and codecs are shipped, and print their cards.
    Models(models::ModelsArgs),
    /// Encrypt items, run a network on them, decrypt, and compare with the clear network.
    Run(run::RunArgs),
    /// Compile a network into a plan for a server and a specification for clients.
    Export(remote::ExportArgs),
    /// Make a secret key for this client, and evaluation keys for the server.
    Keygen(remote::KeygenArgs),
    /// Encrypt X-rays or arrays, on the client.
    Encrypt(remote::EncryptArgs),
    /// Run a network on ciphertexts, on the server.
    Infer(remote::InferArgs),
    /// Decrypt results, on the client.
    Decrypt(remote::DecryptArgs),
    /// Compile a network and tell what it needs, without running it.
    Plan(plan::PlanArgs),
    /// Tell how close polynomials come to an activation function.
    Fit(fit::FitArgs),
    /// List the processor and the GPUs, and check what they compute.
    Devices(devices::DevicesArgs),
    /// Time operations and networks on some devices, and compare results to the bit.
    Bench(bench::BenchArgs),
    /// Tell where compiled plans are kept, and delete them.
    Cache(CacheArgs),
}

/// Arguments of `pleura cache`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura cache
  pleura cache --clear
  PLEURA_CACHE=/tmp/plans pleura cache

Plans are safe to delete at any time. The least recently used ones go by themselves at 4 GiB. Kernels
that were compiled for GPUs are kept beside them, and go with them.")]
struct CacheArgs {
    /// Delete all plans and kernels.
    #[arg(long)]
    clear: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let given = Pleura::parse().command;
    let command = given.or_else(|| Pleura::parse_from(["pleura", "classify"]).command);
    match command.map_or(Ok(()), dispatch) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::fail(&error);
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    handle_signals().context("cannot handle interruptions")?;
    device::choose_simd()?;
    match command {
        Command::Classify(args) => on_device(classify::classify(&args), &args.device),
        Command::Compress(args) => compress::compress(&args),
        Command::Reconstruct(args) => compress::reconstruct(&args),
        Command::Baseline(args) => baseline::baseline(&args),
        Command::Compare(args) => on_device(compare::compare(&args), &args.device),
        Command::Models(args) => models::models(&args),
        Command::Run(args) => on_device(run::run(&args), &args.device),
        Command::Export(args) => remote::export(&args),
        Command::Keygen(args) => remote::keygen(&args),
        Command::Encrypt(args) => remote::encrypt(&args),
        Command::Infer(args) => on_device(remote::infer(&args), &args.device),
        Command::Decrypt(args) => remote::decrypt(&args),
        Command::Plan(args) => plan::plan(&args),
        Command::Fit(args) => fit::run(&args),
        Command::Devices(args) => devices::devices(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Cache(args) => cache(&args),
    }
}

/// An interruption ends with the exit code that shells have for its signal: 130 for SIGINT, 143 for SIGTERM. A hang-up is left to the
/// system, so that `nohup` works.
#[cfg(unix)]
fn handle_signals() -> Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            files::interrupted(128 + signal);
        }
    });
    Ok(())
}

#[cfg(not(unix))]
fn handle_signals() -> Result<()> {
    ctrlc::set_handler(|| files::interrupted(130))?;
    Ok(())
}

/// The result of a command that computed on a device; a lack of memory is told with the limit that was set.
fn on_device(result: Result<()>, device: &DeviceArgs) -> Result<()> {
    result.map_err(|error| error::on_gpu(error, device.memory_limit()))
}

fn cache(args: &CacheArgs) -> Result<()> {
    let cache = cache::plans()?;
    let ((plans, bytes), kernel_bytes) = if args.clear {
        (cache.clear()?, cache::clear_kernels()?)
    } else {
        (cache.size()?, cache::kernel_bytes()?)
    };
    if args.json {
        let found = |wanted: bool| if wanted { [plans as u64, bytes, kernel_bytes] } else { [0; 3] };
        let ([plans, bytes, kernel_bytes], deleted) = (found(!args.clear), found(args.clear));
        let [deleted_plans, deleted_bytes, deleted_kernel_bytes] = deleted;
        let said = serde_json::json!({
            "place": cache.folder().to_string_lossy(),
            "plans": plans,
            "bytes": bytes,
            "kernel_bytes": kernel_bytes,
            "deleted": { "plans": deleted_plans, "bytes": deleted_bytes, "kernel_bytes": deleted_kernel_bytes },
        });
        return terminal::publish_json(&said);
    }
    let plans = format!("{}, {}", counted(plans, "plan"), bytes_text(bytes));
    let text = match (args.clear, kernel_bytes) {
        (true, 0) => format!("deleted {plans}, from {}\n", cache::place()?.display()),
        (true, kernels) => format!(
            "deleted {plans}, and compiled kernels, {}, from {}\n",
            bytes_text(kernels),
            cache::place()?.display()
        ),
        (false, 0) => format!("{}\n{plans}\n", cache.folder().display()),
        (false, kernels) => {
            format!("{}\n{plans}\nkernels of GPUs, {}\n", cache.folder().display(), bytes_text(kernels))
        }
    };
    terminal::publish(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_makes_sense() {
        Pleura::command().debug_assert();
    }
}
