//! A submission to HomomorphicEncryption.org's FHE benchmarking suite, workload ML inference: seven steps in one program, chosen by
//! the name that it is called by or by its first argument.
//!
//! `cargo run --release -p benches --example fhe-suite -- STEP [SIZE]`, in the folder of the suite. `README.md` beside this file has the
//! steps, the files and the figures.

mod client;
mod files;
mod instance;
mod server;

use anyhow::{Context, Result, bail};
use instance::Instance;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// Names of the steps, for the message on a wrong one.
const STEPS: &str = "client_key_generation SIZE, server_preprocess_model, client_preprocess_input SIZE, client_encode_encrypt_input SIZE, \
                     server_encrypted_compute SIZE, client_decrypt_decode SIZE, client_postprocess SIZE, or submission_parameters SIZES";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let called = arguments.next().unwrap_or_else(|| OsString::from("fhe-suite"));
    let name = Path::new(&called).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let rest: Option<Vec<String>> = arguments.map(|argument| argument.into_string().ok()).collect();
    match run(name.as_deref().unwrap_or("fhe-suite"), rest.unwrap_or_default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str, mut arguments: Vec<String>) -> Result<()> {
    // Build tools add a hash to the names of programs, the suite calls each step by its own.
    let step = if name.starts_with("fhe-suite") || name.starts_with("fhe_suite") {
        if arguments.is_empty() {
            bail!("name a step: {STEPS}");
        }
        arguments.remove(0)
    } else {
        name.to_owned()
    };
    perform(&step, &arguments).with_context(|| step.clone())
}

fn perform(step: &str, arguments: &[String]) -> Result<()> {
    match step {
        "server_preprocess_model" if arguments.is_empty() => server::preprocess_model(),
        "server_preprocess_model" => bail!("this step takes no arguments"),
        "submission_parameters" => server::parameters(&instances(arguments)?),
        _ => with_size(step, arguments),
    }
}

fn with_size(step: &str, arguments: &[String]) -> Result<()> {
    let instances = instances(arguments)?;
    let [instance] = instances[..] else { bail!("give one size: {}", Instance::SIZES) };
    match step {
        "client_key_generation" => client::generate_keys(instance),
        "client_preprocess_input" => client::preprocess_input(instance),
        "client_encode_encrypt_input" => client::encrypt(instance),
        "server_encrypted_compute" => server::compute(instance),
        "client_decrypt_decode" => client::decrypt(instance),
        "client_postprocess" => client::postprocess(instance),
        _ => bail!("there is no such step: name {STEPS}"),
    }
}

fn instances(arguments: &[String]) -> Result<Vec<Instance>> {
    arguments.iter().map(|size| size.parse()).collect()
}
