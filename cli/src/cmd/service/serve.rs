//! `pleura serve`: networks on encrypted data over HTTPS.

use super::devices::DevicesArgs;
use super::{models, stop};
use crate::classifier::Target;
use crate::device;
use crate::memory::MemoryArgs;
use crate::model::all_cores;
use crate::text::size;
use crate::{files, terminal};
use anyhow::{Context, Result, bail};
use clap::Args;
use clap::builder::RangedU64ValueParser;
use pleura::Device;
use pleura::host_memory::available_bytes;
use pleura::nn::DeviceClass;
use pleura_service::server::{
    Limits, Options, ServerDevice, Service, Stop, Tls, certificate_is_for, new_token, openapi, self_signed,
};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use tracing_subscriber::filter::LevelFilter;

/// Larger certificates are refused.
const MAX_PEM: u64 = 1 << 20;
/// Name of the certificate of trials, in the folder of the server.
const CERTIFICATE: &str = "self-signed.pem";
/// Name of the private key of trials.
const PRIVATE: &str = "self-signed.key";

/// Arguments of `pleura serve`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  pleura serve --data service --new-token ward-1 > ward-1.token
  pleura serve --data service --model pneumonia --self-signed localhost
  pleura serve --data service --model lola/ --listen 0.0.0.0:8443 \\
      --tls-cert c.pem --tls-key k.pem

A network is the name of a shipped network, an ONNX file of an X-ray classifier, or a folder of
`pleura export`. The server needs no secret and accepts none: inputs, names and results stay
encrypted. docs/service.md describes clients, limits and files.

On SIGTERM, the server finishes accepted requests and ends; on a second signal, it ends at once.")]
pub(crate) struct ServeArgs {
    /// Networks: names, ONNX files, or folders of `pleura export`.
    #[arg(long, value_name = "NAME|FILE|DIR", num_args = 1.., default_value = "pneumonia")]
    model: Vec<String>,

    /// Folder for tokens, clients' keys and results; made if it does not exist.
    #[arg(long, value_name = "DIR", default_value = "pleura-service")]
    data: PathBuf,

    /// Address and port to listen on.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8443")]
    listen: String,

    /// Certificates of the server, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key", conflicts_with = "self_signed")]
    tls_cert: Option<PathBuf>,

    /// The private key of the certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Make a certificate for these host names, signed by no authority, for trials; clients trust it with --ca.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    self_signed: Vec<String>,

    /// Make a token with this name, print it, and exit; the server keeps only its digest.
    #[arg(long, value_name = "NAME")]
    new_token: Option<String>,

    /// Print the OpenAPI description, and exit.
    #[arg(long)]
    openapi: bool,

    #[command(flatten)]
    pub(crate) device: DevicesArgs,

    /// CPU threads [default: all cores].
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    threads: Option<usize>,

    #[command(flatten)]
    memory: MemoryArgs,

    /// Neither read nor write the cache of plans.
    #[arg(long)]
    no_cache: bool,

    /// Limit of stored keys for each token.
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "1GiB")]
    quota: u64,

    /// Requests that may wait for a device; clients repeat refused ones later.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = RangedU64ValueParser::<usize>::new().range(1..=65536))]
    queue: usize,

    /// Ciphertext groups of a client that a device computes together.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    batch: usize,

    /// Days after which unused keys are deleted.
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = RangedU64ValueParser::<u64>::new().range(1..=36500))]
    keep_keys: u64,
}

/// Serves until it is interrupted.
pub(crate) fn serve(args: &ServeArgs) -> Result<()> {
    if args.openapi {
        return terminal::print(&(openapi()? + "\n"));
    }
    make_folder(&args.data)?;
    let tokens = args.data.join("tokens");
    let folder = args.data.join("store");
    if let Some(name) = &args.new_token {
        return terminal::print(&(new_token(&tokens, &folder, name)? + "\n"));
    }
    if !tokens.exists() {
        bail!(
            "{} does not exist: make a first token with `pleura serve --data {} --new-token NAME`",
            tokens.display(),
            args.data.display()
        );
    }
    log();
    let tls = tls(args)?;
    let threads = args.threads.unwrap_or_else(all_cores);
    let devices = args.device.find(threads)?;
    let class = devices.first().map_or_else(DeviceClass::default, Device::class);
    let target = Target { device: class, threads };
    let models = models::load(&args.model, target, !args.no_cache, args.memory.max_memory)?;
    let names: Vec<_> = models.iter().map(|(plan, _)| plan.network().to_owned()).collect();
    let device_names: Vec<_> = devices.iter().map(Device::name).collect();
    let devices: Vec<_> = devices
        .into_iter()
        .map(|device| ServerDevice { session_bytes: session_bytes(args, &device), device })
        .collect();
    let service = Service::new(models, &devices, &Options { folder, tokens, limits: limits(args) })?;
    devices.iter().for_each(|one| device::tell_fallback(&one.device));
    let listener =
        TcpListener::bind(&args.listen).with_context(|| format!("cannot listen on {}", args.listen))?;
    let stop = Stop::new();
    stop::on_interruption(stop.clone());
    let address = listener.local_addr().context("cannot read the address of the listening socket")?;
    let places = device_names.join(" and ");
    terminal::note(&format!("serving {} on https://{address}, on {places}", names.join(", ")));
    Ok(service.serve(listener, &tls, &stop)?)
}

/// Most bytes of keys on a device: half of its memory, the rest is for everything else.
fn session_bytes(args: &ServeArgs, device: &Device) -> u64 {
    let all = if device::is_gpu(device) {
        args.device.memory_limit()
    } else {
        args.memory.max_memory.or_else(available_bytes)
    };
    all.map_or(u64::MAX, |bytes| bytes / 2)
}

fn limits(args: &ServeArgs) -> Limits {
    Limits {
        quota_bytes: args.quota,
        queue: args.queue,
        batch: args.batch,
        keys_age: std::time::Duration::from_secs(args.keep_keys * 86400),
        ..Limits::default()
    }
}

fn tls(args: &ServeArgs) -> Result<Tls> {
    let (certificate, key) = match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
        _ if args.self_signed.is_empty() => bail!(
            "a server needs a certificate: give --tls-cert FILE and --tls-key FILE, or --self-signed HOSTNAME for trials"
        ),
        _ => trial(&args.data, &args.self_signed)?,
    };
    Ok(Tls::from_pem(&files::read(&certificate, MAX_PEM)?, &files::read(&key, MAX_PEM)?)?)
}

/// The certificate of earlier trials, or a new one.
fn trial(folder: &Path, names: &[String]) -> Result<(PathBuf, PathBuf)> {
    let [certificate, key] = [CERTIFICATE, PRIVATE].map(|name| folder.join(name));
    if certificate.exists() && key.exists() {
        let chain = files::read(&certificate, MAX_PEM)?;
        for name in names {
            if !certificate_is_for(&chain, name)? {
                bail!(
                    "{} was made earlier, and not for {name}: delete it to make one for the new names",
                    certificate.display()
                );
            }
        }
    } else {
        let (chain, private) = self_signed(names.to_vec())?;
        files::write(&key, &[private.as_bytes()], true, true)?;
        files::write(&certificate, &[chain.as_bytes()], true, false)?;
    }
    terminal::note(&format!(
        "for trials only: clients trust this server with --ca and a copy of {}",
        certificate.display()
    ));
    Ok((certificate, key))
}

fn make_folder(path: &Path) -> Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).with_context(|| files::cannot_write(path))
}

/// Log lines on standard error, without contents of requests.
fn log() {
    let level = if terminal::is_quiet() { LevelFilter::WARN } else { LevelFilter::INFO };
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false)
        .with_writer(std::io::stderr)
        .try_init();
}
