//! `pleura infer`: a network on ciphertexts, on the server.

use super::output::{self, Written};
use super::spec::cannot_use;
use crate::device::{self, DeviceArgs};
use crate::memory::MemoryArgs;
use crate::model::all_cores;
use crate::text::{bytes_text, counted, hex};
use crate::{files, memory, terminal};
use anyhow::{Context, Result};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use pleura::Server;
use pleura::nn::{Report, ServerPlan};
use pleura::remote::{infer_items, read_keys};
use serde_json::json;
use std::io::BufReader;
use std::path::PathBuf;
use std::time::Instant;

/// Larger plans are refused.
const MAX_PLAN: u64 = 16 << 30;

/// Arguments of `pleura infer`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura infer --plan server.plan --keys eval.keys x.ct --output y.ct
  pleura infer --plan server.plan --keys eval.keys x.ct --output y.ct --gpu-memory 6GB
  pleura infer --plan server.plan --keys eval.keys x.ct --output y.ct --json | jq .seconds

No secret is needed here: inputs, names and results stay encrypted.")]
pub(crate) struct InferArgs {
    /// The server's half of the network, from `pleura export`.
    #[arg(long, value_name = "server.plan")]
    plan: PathBuf,

    /// The client's evaluation keys, from `pleura keygen`.
    #[arg(long, value_name = "eval.keys")]
    keys: PathBuf,

    /// The client's ciphertexts, from `pleura encrypt`.
    #[arg(value_name = "x.ct")]
    input: PathBuf,

    /// Where the results go.
    #[arg(long, value_name = "y.ct")]
    output: PathBuf,

    #[command(flatten)]
    pub(crate) device: DeviceArgs,

    /// CPU threads [default: all cores].
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    threads: Option<usize>,

    #[command(flatten)]
    memory: MemoryArgs,

    /// Replace the output file if it exists.
    #[arg(long)]
    force: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Computes all results, one ciphertext group at a time.
pub(crate) fn infer(args: &InferArgs) -> Result<()> {
    files::check_outputs(&[&args.output], [&args.plan, &args.keys, &args.input], args.force)?;
    let clock = Instant::now();
    let bar = crate::progress::bytes_bar().with_prefix("prepare");
    let plan = ServerPlan::from_bytes(&files::read(&args.plan, MAX_PLAN)?);
    let plan = plan.with_context(|| cannot_use(&args.plan))?;
    let report = Report::new(&plan, &[]);
    memory::check(report.memory_bytes as u64, args.memory.max_memory)?;
    let file = BufReader::new(files::open(&args.keys)?);
    let (keys, origin) = read_keys(file, &plan).with_context(|| cannot_use(&args.keys))?;
    let device = args.device.find(args.threads.unwrap_or_else(all_cores))?;
    let session = Server::new(plan, &device)?.open_session(keys).with_context(|| cannot_use(&args.keys))?;
    session.wait()?;
    bar.suspend(|| device::tell_fallback(&device));
    let prepare = clock.elapsed().as_secs_f64();

    let clock = Instant::now();
    let input = files::open(&args.input)?;
    bar.set_length(input.metadata().with_context(|| files::cannot_read(&args.input))?.len());
    bar.set_prefix("infer");
    let ((groups, _), written) = output::write(&args.output, args.force, |out| {
        let mut observe = |groups: u64, bytes: u64| {
            bar.set_position(bytes);
            bar.set_message(counted(groups as usize, "item"));
        };
        let done = infer_items(&session, &origin, BufReader::new(input), out, &mut observe);
        let (_, groups, bytes) = done.with_context(|| cannot_use(&args.input))?;
        Ok((groups, bytes))
    })?;
    bar.finish_and_clear();
    let seconds = [prepare, clock.elapsed().as_secs_f64()];
    let Written { bytes, sha256 } = &written;
    let path = args.output.to_string_lossy();
    if args.json {
        return terminal::print_json(
            "infer",
            &json!({
                "network": report.network,
                "ciphertext_groups": groups,
                "plan": hex(&origin.plan),
                "key": hex(&origin.key),
                "output": { "path": path, "bytes": bytes, "sha256": sha256 },
                "seconds": { "prepare": seconds[0], "infer": seconds[1] },
                "device_name": device.name(),
            }),
        );
    }
    terminal::print(&format!(
        "{} in {path}, {}; made ready in {:.2} s, inferred in {:.2} s, on {}\n",
        counted(groups as usize, "result"),
        bytes_text(*bytes),
        seconds[0],
        seconds[1],
        device.name()
    ))
}
