//! `pleura audit`: receipts of servers, checked by computing the results again.

use super::infer::{ComputeArgs, Opened, open_session};
use super::spec::cannot_use;
use crate::device;
use crate::table::Table;
use crate::text::{counted, hex, plain};
use crate::{files, terminal};
use anyhow::{Context, Result, bail};
use chrono::DateTime;
use clap::Args;
use pleura::remote::{Hashed, MAX_RECEIPT, Receipt, ReceiptCheck, SignedReceipt};
use serde_json::json;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

/// Arguments of `pleura audit`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura audit y.json --plan server.plan --keys eval.keys x.ct
  pleura audit y.json --plan server.plan --keys eval.keys x.ct --result y.ct \\
      --device gpu
  pleura audit y.json x.ct --result y.ct --signer 3b6a27bc...

With --plan and --keys, the results are computed again and compared bit by bit. Every device
computes the same bits. Without them, only the signature and the digests of the files are checked.")]
pub(crate) struct AuditArgs {
    /// The receipt, from `pleura infer --receipt` or a service.
    #[arg(value_name = "RECEIPT")]
    receipt: PathBuf,

    /// The client's ciphertexts, which the results were computed from.
    #[arg(value_name = "x.ct")]
    input: PathBuf,

    /// The results, whose digest is compared with the receipt too.
    #[arg(long, value_name = "y.ct")]
    result: Option<PathBuf>,

    /// The server's half of the network, from `pleura export`.
    #[arg(long, value_name = "server.plan", requires = "keys")]
    plan: Option<PathBuf>,

    /// The client's evaluation keys, from `pleura keygen`.
    #[arg(long, value_name = "eval.keys", requires = "plan")]
    keys: Option<PathBuf>,

    /// Public key of the server, in 64 hexadecimal digits; receipts of others are refused.
    #[arg(long, value_name = "KEY")]
    signer: Option<String>,

    #[command(flatten)]
    pub(crate) compute: ComputeArgs,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Checks a receipt. A receipt that is wrong is an error.
pub(crate) fn audit(args: &AuditArgs) -> Result<()> {
    let bytes = files::read(&args.receipt, MAX_RECEIPT)?;
    let signed = SignedReceipt::from_json(&bytes).with_context(|| cannot_use(&args.receipt))?;
    let signer = hex(&signed.signer());
    if let Some(expected) = args.signer.as_ref().filter(|expected| **expected != signer) {
        bail!("{} was signed by {signer}, not by {expected}", args.receipt.display());
    }
    let receipt = signed.receipt();
    let opened = args.plan.as_ref().zip(args.keys.as_ref());
    let opened = opened.map(|(plan, keys)| open_session(plan, keys, &args.compute)).transpose()?;
    let mut checks = match &opened {
        Some(opened) => recompute(args, receipt, opened)?,
        None => vec![file_check("input", &receipt.input_sha256, &args.input)?],
    };
    if let Some(path) = &args.result {
        checks.push(file_check("result", &receipt.output_sha256, path)?);
    }
    report(args, &signed, opened.as_ref(), &checks)?;
    let wrong = checks.iter().filter(|check| !check.agrees()).map(|check| check.subject);
    let wrong: Vec<_> = wrong.collect();
    if !wrong.is_empty() {
        bail!("the receipt does not match: {}", wrong.join(", "));
    }
    Ok(())
}

fn recompute(args: &AuditArgs, receipt: &Receipt, opened: &Opened) -> Result<Vec<ReceiptCheck>> {
    device::tell_fallback(&opened.device);
    let input = files::open(&args.input)?;
    let bar = crate::progress::bytes_bar().with_prefix("infer");
    bar.set_length(input.metadata().with_context(|| files::cannot_read(&args.input))?.len());
    let mut observe = |groups: u64, bytes: u64| {
        bar.set_position(bytes);
        bar.set_message(counted(groups as usize, "item"));
    };
    let Opened { session, origin, keys_digest, .. } = opened;
    let checks = receipt.recompute(session, origin, *keys_digest, BufReader::new(input), &mut observe);
    bar.finish_and_clear();
    checks.with_context(|| cannot_use(&args.input))
}

/// Compares the SHA-256 of a file with the receipt's.
fn file_check(subject: &'static str, stated: &str, path: &Path) -> Result<ReceiptCheck> {
    let mut file = Hashed::new(files::open(path)?);
    io::copy(&mut file, &mut io::sink()).with_context(|| files::cannot_read(path))?;
    Ok(ReceiptCheck { subject, stated: stated.to_owned(), found: hex(&file.digest()) })
}

fn report(
    args: &AuditArgs,
    signed: &SignedReceipt,
    opened: Option<&Opened>,
    checks: &[ReceiptCheck],
) -> Result<()> {
    let receipt = signed.receipt();
    let signer = hex(&signed.signer());
    if args.json {
        let fits = checks.iter().all(ReceiptCheck::agrees);
        let checks = checks.iter().map(|check| {
            let ReceiptCheck { subject, stated, found } = check;
            json!({ "subject": subject, "receipt": stated, "found": found, "equal": check.agrees() })
        });
        return terminal::print_json(
            "audit",
            &json!({
                "signer": signer,
                "recomputed": opened.is_some(),
                "fits": fits,
                "checks": checks.collect::<Vec<_>>(),
                "receipt": receipt,
                "device_name": opened.map(|opened| opened.device.name()),
            }),
        );
    }
    let mut table = Table::new(3, ["subject", "receipt", "found"]);
    for check in checks {
        let found = if check.agrees() { "equal".to_owned() } else { check.found.clone() };
        table.row([check.subject.to_owned(), check.stated.clone(), found]);
    }
    let time = i64::try_from(receipt.unix_time).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let time =
        time.map_or("an unknown time".to_owned(), |time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string());
    let Receipt { network, device, version, groups, .. } = receipt;
    let [network, device, version] = [network, device, version].map(|text| plain(text));
    let done = match opened {
        Some(opened) => format!("recomputed on {}", opened.device.name()),
        None => "not recomputed, which needs --plan and --keys".to_owned(),
    };
    let known = if args.signer.is_some() {
        ""
    } else {
        "; compare the key with the server's, or name it with --signer"
    };
    terminal::print(&format!(
        "{table}\n{} of {network}, computed {time} on {device} by version {version}; {done}\n\
         signed by {signer}{known}\n",
        counted(*groups as usize, "result")
    ))
}
