//! `pleura infer`: a network on ciphertexts, on the server.

use super::output::{self, Written};
use super::secret;
use super::spec::cannot_use;
use crate::device::{self, DeviceArgs};
use crate::memory::MemoryArgs;
use crate::model::all_cores;
use crate::text::{bytes_text, counted, hex};
use crate::{files, memory, terminal};
use anyhow::{Context, Result};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use pleura::nn::{Report, ServerPlan};
use pleura::remote::{
    FileDigests, Hashed, Origin, Receipt, ReceiptSigner, SignedReceipt, infer_items, load_session,
};
use pleura::{Device, Server, Session};
use serde_json::json;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Larger plans are refused.
const MAX_PLAN: u64 = 16 << 30;

/// Arguments of `pleura infer`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura infer --plan server.plan --keys eval.keys x.ct --output y.ct
  pleura infer --plan server.plan --keys eval.keys x.ct --output y.ct \\
      --gpu-memory 6GB
  pleura infer --plan server.plan --keys eval.keys x.ct --output y.ct \\
      --json | jq .seconds
  pleura infer --plan server.plan --keys eval.keys x.ct --output y.ct \\
      --receipt y.json --signing-key server.pem

The command needs no secret: inputs, names and results stay encrypted.")]
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

    /// File for the results.
    #[arg(long, value_name = "y.ct")]
    output: PathBuf,

    /// File for a signed receipt, which states the plan, keys and ciphertexts of the results; `pleura audit`
    /// checks it.
    #[arg(long, value_name = "FILE", requires = "signing_key")]
    receipt: Option<PathBuf>,

    /// Private key that signs receipts (Ed25519, PKCS #8 in PEM); made if the file does not exist.
    #[arg(long, value_name = "FILE", requires = "receipt")]
    signing_key: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,

    /// Replace the output files if they exist.
    #[arg(long)]
    force: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Device and memory of a server's computation.
#[derive(Args)]
pub(crate) struct ComputeArgs {
    #[command(flatten)]
    pub(crate) device: DeviceArgs,

    /// CPU threads [default: all cores].
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    threads: Option<usize>,

    #[command(flatten)]
    memory: MemoryArgs,
}

/// Computes all results, one ciphertext group at a time.
pub(crate) fn infer(args: &InferArgs) -> Result<()> {
    let outputs: Vec<&PathBuf> = [&args.output].into_iter().chain(&args.receipt).collect();
    let inputs = [&args.plan, &args.keys, &args.input];
    files::check_outputs(&outputs, inputs.into_iter().chain(&args.signing_key), args.force)?;
    // A signing key that does not exist is made.
    files::apart(&outputs.into_iter().chain(&args.signing_key).collect::<Vec<_>>(), inputs)?;
    let signer = args.signing_key.as_deref().map(signer).transpose()?;
    let clock = Instant::now();
    let bar = crate::progress::bytes_bar().with_prefix("prepare");
    let opened = open_session(&args.plan, &args.keys, &args.compute)?;
    bar.suspend(|| device::tell_fallback(&opened.device));
    let prepare = clock.elapsed().as_secs_f64();

    let clock = Instant::now();
    let input = files::open(&args.input)?;
    bar.set_length(input.metadata().with_context(|| files::cannot_read(&args.input))?.len());
    bar.set_prefix("infer");
    let mut input = Hashed::new(BufReader::new(input));
    let (groups, written) = output::write(&args.output, args.force, |out| {
        let mut observe = |groups: u64, bytes: u64| {
            bar.set_position(bytes);
            bar.set_message(counted(groups as usize, "item"));
        };
        let done = infer_items(&opened.session, &opened.origin, &mut input, out, &mut observe);
        let (_, groups, _) = done.with_context(|| cannot_use(&args.input))?;
        Ok(groups)
    })?;
    bar.finish_and_clear();
    let digests = FileDigests { keys: opened.keys_digest, input: input.digest(), output: written.digest };
    let signed = signer.map(|signer| sign(args, &opened, &digests, groups, &signer)).transpose()?;
    report(args, &opened, groups, &written, [prepare, clock.elapsed().as_secs_f64()], signed.as_ref())
}

/// A plan and a client's keys on a device.
pub(super) struct Opened {
    pub(super) session: Session,
    pub(super) origin: Origin,
    /// SHA-256 of the keys' file.
    pub(super) keys_digest: [u8; 32],
    pub(super) device: Device,
}

/// Reads plan and keys, and brings them to a device.
pub(super) fn open_session(plan_path: &Path, keys_path: &Path, compute: &ComputeArgs) -> Result<Opened> {
    let plan = ServerPlan::from_bytes(&files::read(plan_path, MAX_PLAN)?);
    let plan = plan.with_context(|| cannot_use(plan_path))?;
    memory::check(Report::new(&plan, &[]).predicted_peak_bytes as u64, compute.memory.max_memory)?;
    let mut file = Hashed::new(files::open(keys_path)?);
    let device = compute.device.find(compute.threads.unwrap_or_else(all_cores))?;
    let server = Server::new(plan, &device)?;
    let (session, origin) = load_session(&mut file, &server).with_context(|| cannot_use(keys_path))?;
    session.wait()?;
    Ok(Opened { session, origin, keys_digest: file.digest(), device })
}

fn signer(path: &Path) -> Result<ReceiptSigner> {
    let pem = secret::read_or_make_pem(path, || Ok(ReceiptSigner::generate()?.to_pem()?))?;
    ReceiptSigner::from_pem(&pem).with_context(|| cannot_use(path))
}

/// Signs a receipt and writes it.
fn sign(
    args: &InferArgs,
    opened: &Opened,
    digests: &FileDigests,
    groups: u64,
    signer: &ReceiptSigner,
) -> Result<SignedReceipt> {
    let plan = opened.session.plan();
    let signed = signer.sign(Receipt::new(plan, &opened.origin, digests, groups, &opened.device.name()))?;
    if let Some(path) = &args.receipt {
        files::write(path, &[&signed.to_json()?], args.force, false)?;
    }
    Ok(signed)
}

fn report(
    args: &InferArgs,
    opened: &Opened,
    groups: u64,
    written: &Written,
    [prepare, infer]: [f64; 2],
    signed: Option<&SignedReceipt>,
) -> Result<()> {
    let Opened { session, origin, device, .. } = opened;
    let path = args.output.to_string_lossy();
    if args.json {
        let receipt = signed
            .zip(args.receipt.as_ref())
            .map(|(signed, path)| json!({ "path": path.to_string_lossy(), "signer": hex(&signed.signer()) }));
        return terminal::print_json(
            "infer",
            &json!({
                "network": session.plan().network(),
                "ciphertext_groups": groups,
                "plan": hex(&origin.plan),
                "key": hex(&origin.key),
                "output": { "path": path, "bytes": written.bytes, "sha256": written.sha256() },
                "receipt": receipt,
                "seconds": { "prepare": prepare, "infer": infer },
                "device_name": device.name(),
            }),
        );
    }
    let mut text = format!(
        "{} in {path}, {}; prepared in {prepare:.2} s, inferred in {infer:.2} s, on {}\n",
        counted(groups as usize, "result"),
        bytes_text(written.bytes),
        device.name()
    );
    if let Some((signed, path)) = signed.zip(args.receipt.as_ref()) {
        text += &format!("receipt in {}, signed by {}\n", path.display(), hex(&signed.signer()));
    }
    terminal::print(&text)
}
