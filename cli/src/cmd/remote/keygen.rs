//! `pleura keygen`: a secret key for the client, and evaluation keys for the server.

use super::output;
use super::secret::PassphraseArgs;
use super::spec::read_bundle;
use crate::table::Table;
use crate::text::{bytes_text, hex};
use crate::{files, terminal};
use anyhow::{Result, bail};
use clap::Args;
use pleura::remote::ClientKey;
use serde_json::json;
use std::fs;
use std::path::PathBuf;

/// Arguments of `pleura keygen`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura keygen --spec client.spec --secret secret.key --output eval.keys
  pleura keygen --spec client.spec --secret secret.key --output eval.keys \\
      --passphrase
  pleura keygen --spec client.spec --secret secret.key --output eval.keys \\
      --passphrase-file pass.txt

secret.key decrypts everything. It stays on this machine, only its owner can read it, and no command
replaces it. Copy eval.keys to the server once. It does not contain the secret key.")]
pub(crate) struct KeygenArgs {
    /// The client's half of the network, from `pleura export`.
    #[arg(long, value_name = "client.spec")]
    spec: PathBuf,

    /// File for the secret key; it must not exist.
    #[arg(long, value_name = "secret.key")]
    secret: PathBuf,

    /// File for the evaluation keys.
    #[arg(long, value_name = "eval.keys")]
    output: PathBuf,

    #[command(flatten)]
    source: PassphraseArgs,

    /// Ask for a passphrase to store the secret key under.
    #[arg(long, conflicts_with = "passphrase_file")]
    passphrase: bool,

    /// Replace the evaluation keys if they exist, but never the secret key.
    #[arg(long)]
    force: bool,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Makes and writes both.
pub(crate) fn keygen(args: &KeygenArgs) -> Result<()> {
    let inputs: Vec<&PathBuf> = [&args.spec].into_iter().chain(args.source.file()).collect();
    files::check_outputs(&[&args.output], inputs.iter().chain([&&args.secret]), args.force)?;
    check_secret(args, &inputs)?;
    let bundle = read_bundle(&args.spec)?;
    let passphrase = args.source.of_new_key(args.passphrase)?;
    let clock = crate::progress::clock().with_prefix("keys");
    clock.set_length(1);
    let key = ClientKey::generate(bundle)?;
    let secret = key.to_secret_bytes(passphrase.as_deref().map(String::as_bytes))?;
    files::set_pair(&args.secret, &args.output);
    files::write(&args.secret, &[&secret], false, true)?;
    let keys = output::write(&args.output, args.force, |out| Ok(key.write_keys(out)?));
    if keys.is_err() {
        // Nothing was encrypted with it.
        let _ = fs::remove_file(&args.secret);
    }
    let (_, keys) = keys?;
    clock.finish_and_clear();
    let identity = hex(&key.origin().key);
    let [secret_path, keys_path] = [&args.secret, &args.output].map(|path| path.to_string_lossy());
    if args.json {
        return terminal::print_json(
            "keygen",
            &json!({
                "key": identity,
                "plan": hex(&key.origin().plan),
                "bundle": hex(&key.origin().bundle),
                "secret": { "path": secret_path, "bytes": secret.len(), "passphrase": passphrase.is_some() },
                "keys": { "path": keys_path, "bytes": keys.bytes, "sha256": keys.sha256() },
            }),
        );
    }
    let mut table = Table::new(3, ["file", "for", "key", "size"]);
    let identity: String = identity.chars().take(12).collect();
    table.row([
        secret_path.into_owned(),
        "this machine only".to_owned(),
        identity.clone(),
        bytes_text(secret.len() as u64),
    ]);
    table.row([keys_path.into_owned(), "the server".to_owned(), identity, bytes_text(keys.bytes)]);
    terminal::print(&table.to_string())
}

/// Secret keys are never replaced.
fn check_secret(args: &KeygenArgs, inputs: &[&PathBuf]) -> Result<()> {
    files::apart(&[&args.secret, &args.output], inputs)?;
    if fs::symlink_metadata(&args.secret).is_ok() {
        bail!(
            "{} exists, and secret keys are not replaced, because ciphertexts under the old key could not be decrypted: name another file",
            args.secret.display()
        );
    }
    files::check_outputs(&[&args.secret], inputs, false)
}
