//! The command line of Pleura.

mod cache;
mod classifier;
mod clock;
mod cmd;
mod device;
mod energy;
mod error;
mod evaluation;
mod files;
mod folder_page;
#[cfg(test)]
mod fuzz;
mod help;
mod html;
mod latency;
mod machine;
mod memory;
mod model;
mod names;
mod omitted;
mod outcome;
mod part_file;
mod progress;
mod report;
mod row;
mod row_file;
mod row_writer;
mod sources;
mod stages;
mod statistics;
mod table;
mod terminal;
mod text;

use anyhow::{Context, Result};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use device::DeviceArgs;
use std::process::ExitCode;

/// Version, commit, and what the binary has code for.
macro_rules! long_version {
    ($simd:literal) => {
        concat!(
            env!("CARGO_PKG_VERSION"),
            "\ncommit: ",
            env!("PLEURA_COMMIT"),
            "\nfeatures: ",
            env!("PLEURA_FEATURES"),
            "\nSIMD: ",
            $simd,
            "\nGPU: wgpu"
        )
    };
}
#[cfg(target_arch = "x86_64")]
const LONG_VERSION: &str = long_version!("scalar, avx2, avx512");
#[cfg(target_arch = "aarch64")]
const LONG_VERSION: &str = long_version!("scalar, neon");
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const LONG_VERSION: &str = long_version!("scalar");

/// Neural networks on encrypted data. Without a command, it classifies the sample X-rays.
#[derive(Parser)]
#[command(
    name = "pleura",
    version,
    long_version = LONG_VERSION,
    after_help = "\
Examples:
  pleura classify chest.dcm
  pleura classify ward/ --output ward.csv
  pleura export --model pneumonia --output pneumonia/
  pleura plan --model lenet5.onnx
  pleura run --model lenet5.onnx --input x.npy --output y.npy
  pleura fit --function relu --interval -6,6
  pleura compare --html compare.html
  pleura devices
  pleura bench --device cpu --device gpu

`pleura COMMAND --help` describes a command."
)]
struct Pleura {
    #[command(subcommand)]
    command: Option<Command>,

    /// Print no notes and no progress; warnings and errors remain.
    #[arg(short, long, global = true, conflicts_with = "verbose", display_order = 1000)]
    quiet: bool,

    /// Print details: devices, cached plans, files written.
    #[arg(short, long, global = true, display_order = 1001)]
    verbose: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Classify encrypted X-rays, and compare with the plaintext network.
    Classify(cmd::classify::ClassifyArgs),
    /// Compress X-rays into latents.
    Compress(cmd::compress::CompressArgs),
    /// Decode latents into pictures.
    Reconstruct(cmd::compress::ReconstructArgs),
    /// Run two older schemes, and the attacks that break them.
    Baseline(cmd::baseline::BaselineArgs),
    /// Compare methods of private classification: accuracy, cost, protection.
    Compare(cmd::compare::CompareArgs),
    /// List the shipped networks and codecs, and print their cards.
    Models(cmd::models::ModelsArgs),
    /// Run a network on encrypted items, and compare with the plaintext network.
    Run(cmd::run::RunArgs),
    /// Compile a network into a plan for a server and a specification for clients.
    Export(cmd::remote::ExportArgs),
    /// Make the client's secret key and the server's evaluation keys.
    Keygen(cmd::remote::KeygenArgs),
    /// Encrypt X-rays or arrays, on the client.
    Encrypt(cmd::remote::EncryptArgs),
    /// Run a network on ciphertexts, on the server.
    Infer(cmd::remote::InferArgs),
    /// Decrypt results, on the client.
    Decrypt(cmd::remote::DecryptArgs),
    /// Check a server's receipt by computing the results again.
    Audit(cmd::remote::AuditArgs),
    /// Serve networks on encrypted data over HTTPS.
    #[cfg(feature = "service")]
    Serve(cmd::service::serve::ServeArgs),
    /// Fails, since the service is missing from this program.
    #[cfg(not(feature = "service"))]
    #[command(hide = true)]
    Serve(cmd::no_service::NoServe),
    /// Compile a network, and print what it needs.
    Plan(cmd::plan::PlanArgs),
    /// Show the error of polynomial approximations of an activation.
    Fit(cmd::fit::FitArgs),
    /// List the processor and the GPUs, and check their results.
    Devices(cmd::devices::DevicesArgs),
    /// Time operations and networks on devices, and compare results bit by bit.
    Bench(cmd::bench::BenchArgs),
    /// Show the cache of compiled plans and kernels, or clear it.
    Cache(cache::CacheArgs),
    /// Print a completion script for a shell.
    Completions(cmd::manual::CompletionsArgs),
    /// Write man pages into a folder.
    #[command(hide = true)]
    Man(cmd::manual::ManArgs),
}

fn main() -> ExitCode {
    set_runtime_dir();
    let parsed = Pleura::from_arg_matches(&command().get_matches());
    let Pleura { command, quiet, verbose } = parsed.unwrap_or_else(|error| error.exit());
    terminal::set_verbosity(quiet, verbose);
    let command = command.or_else(|| Pleura::parse_from(["pleura", "classify"]).command);
    let result = command.map_or(Ok(()), dispatch);
    device::tell_profiles();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            files::tell_kept();
            terminal::fail(&error);
            ExitCode::FAILURE
        }
    }
}

/// Sets `XDG_RUNTIME_DIR` if it is unset: Vulkan drivers print an error without it, which looks like one of this program.
fn set_runtime_dir() {
    #[cfg(unix)]
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: this is the first statement of `main`, and no other thread runs that could read the environment.
        unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
    }
}

/// The command line.
fn command() -> clap::Command {
    help::with_paragraphs(Pleura::command())
}

fn dispatch(command: Command) -> Result<()> {
    handle_signals().context("cannot handle interruptions")?;
    device::choose_simd()?;
    match command {
        #[cfg(feature = "service")]
        Command::Serve(args) => {
            let served = cmd::service::serve::serve(&args);
            served.map_err(|error| error::on_gpu(error, args.device.memory_limit()))
        }
        #[cfg(not(feature = "service"))]
        Command::Serve(_) => cmd::no_service::serve(),
        Command::Classify(args) => on_device(cmd::classify::classify(&args), &args.device),
        Command::Compress(args) => cmd::compress::compress(&args),
        Command::Reconstruct(args) => cmd::compress::reconstruct(&args),
        Command::Baseline(args) => cmd::baseline::baseline(&args),
        Command::Compare(args) => on_device(cmd::compare::compare(&args), &args.device),
        Command::Models(args) => cmd::models::models(&args),
        Command::Run(args) => on_device(cmd::run::run(&args), &args.device),
        Command::Export(args) => cmd::remote::export(&args),
        Command::Keygen(args) => cmd::remote::keygen(&args),
        Command::Encrypt(args) => cmd::remote::encrypt(&args),
        Command::Infer(args) => on_device(cmd::remote::infer(&args), &args.compute.device),
        Command::Decrypt(args) => cmd::remote::decrypt(&args),
        Command::Audit(args) => on_device(cmd::remote::audit(&args), &args.compute.device),
        Command::Plan(args) => cmd::plan::plan(&args),
        Command::Fit(args) => cmd::fit::run(&args),
        Command::Devices(args) => cmd::devices::devices(&args),
        Command::Bench(args) => cmd::bench::bench(&args),
        Command::Cache(args) => cache::cache(&args),
        Command::Completions(args) => cmd::manual::completions(&args, self::command()),
        Command::Man(args) => cmd::manual::man(&args, self::command()),
    }
}

/// Ends the process on SIGINT and SIGTERM with the exit codes that shells use: 130 and 143. SIGHUP is left to the system, so that
/// `nohup` works.
#[cfg(unix)]
fn handle_signals() -> Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            interrupt(128 + signal);
        }
    });
    Ok(())
}

#[cfg(not(unix))]
fn handle_signals() -> Result<()> {
    ctrlc::set_handler(|| interrupt(130))?;
    Ok(())
}

/// Asks a server to finish what it has accepted, or ends the process with a code.
fn interrupt(code: i32) {
    #[cfg(feature = "service")]
    if cmd::service::stop::ask() {
        return;
    }
    files::interrupted(code)
}

/// The result of a command that computed on a device. An error about lack of memory names the limit that was set.
fn on_device(result: Result<()>, device: &DeviceArgs) -> Result<()> {
    result.map_err(|error| error::on_gpu(error, device.memory_limit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        command().debug_assert();
    }

    /// Renders the help of a command and of all commands below it.
    fn check_help(command: &mut clap::Command, path: &str) {
        let help = command.clone().term_width(80).render_long_help().to_string();
        // Usage lines are not wrapped.
        for line in help.lines().filter(|line| !line.starts_with("Usage: ")) {
            assert!(line.chars().count() <= 80, "{path}: {line}");
        }
        // Nor are examples.
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in examples.lines().filter(|line| line.starts_with(' ')) {
            assert!(line.chars().count() <= 80, "{path}: {line}");
        }
        command.get_subcommands_mut().for_each(|inner| {
            let path = format!("{path} {}", inner.get_name());
            check_help(inner, &path);
        });
    }

    #[test]
    fn help_fits_eighty_columns() {
        let mut command = command();
        command.build();
        check_help(&mut command, "pleura");
    }

    #[test]
    fn help_sources_are_short() {
        let mut waiting = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        while let Some(folder) = waiting.pop() {
            for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    waiting.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                let mut inside = false;
                for line in text.lines().take_while(|line| *line != "#[cfg(test)]") {
                    inside = (inside || line.contains("after_help = ")) && !line.trim_end().ends_with("\")]");
                    assert!(!inside || line.chars().count() <= 100, "{}: {line}", path.display());
                    inside &= !line.trim_end().ends_with('"');
                }
            }
        }
    }
}
