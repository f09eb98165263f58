//! Steps of the server, and the parameters that the submission brings.

use crate::files;
use crate::instance::Instance;
use anyhow::{Context, Result, bail};
use pleura::nn::{BatchLayout, CompileOptions, Metadata, Plan, ServerPlan};
use pleura::onnx::{ImportOptions, Imported, import};
use pleura::remote::{ClientBundle, infer_items, load_session};
use pleura::{Device, Server, npy};
use std::io::{BufReader, Write};
use std::path::Path;

/// The network, in ONNX.
const MODEL: &str = "submission/model.onnx";
/// Typical items, `[items, ..input shape]`; ranges of the model file count without them.
const CALIBRATION: &str = "submission/calibration.npy";
/// Most bytes of a model, and of a server plan.
const MAX_MODEL: u64 = 1 << 30;
/// Bytes of evaluation keys beyond which a layout with fewer items in a group is taken.
const MAX_KEYS: usize = 60_000_000;
/// Seconds of an item beyond which items have ciphertexts of their own: such a network fills them.
const LONG: f64 = 1.0;
/// Threads that run times are predicted for: a part of the choice of a plan, which must not depend on the machine.
const THREADS: usize = 2;

/// Compiles the model for each of `instances` and keeps the client's half, without weights.
pub(crate) fn parameters(instances: &[Instance]) -> Result<()> {
    if instances.is_empty() {
        bail!("give one or more sizes: {}", Instance::SIZES);
    }
    for &instance in instances {
        let plan = compile(instance)?;
        let bundle = ClientBundle::tensor(plan.client_spec().clone())?;
        files::write_bytes(&instance.bundle(), &bundle.to_bytes()?)?;
        eprintln!("{}: {}", instance.name(), described(&plan));
    }
    Ok(())
}

/// Compiles the model for each size that has evaluation keys, and keeps the server's half.
pub(crate) fn preprocess_model() -> Result<()> {
    let instances: Vec<_> = Instance::ALL.into_iter().filter(|instance| instance.keys().exists()).collect();
    if instances.is_empty() {
        bail!("no size has evaluation keys below io; run client_key_generation first");
    }
    for instance in instances {
        let path = instance.bundle();
        let bytes = files::read(&path, MAX_MODEL, "build.sh")?;
        let bundle =
            ClientBundle::from_bytes(&bytes).with_context(|| format!("cannot use {}", path.display()))?;
        let plan = compile(instance)?;
        if bundle.spec().plan_digest() != plan.server_plan().digest() {
            bail!("{} was made for another model or release; run build.sh again", path.display());
        }
        files::write_bytes(&instance.plan(), &plan.server_plan().to_bytes()?)?;
    }
    Ok(())
}

/// Computes the encrypted scores of the instance's encrypted items.
pub(crate) fn compute(instance: Instance) -> Result<()> {
    let plan = server_plan(instance)?;
    let path = instance.keys();
    let file = files::open(&path, "client_key_generation")?;
    let server = Server::new(plan, &Device::cpu(None))?;
    let (session, origin) = load_session(file, &server)
        .with_context(|| format!("cannot use {}; run client_key_generation again", path.display()))?;
    let items = instance.upload();
    let input = BufReader::with_capacity(1 << 20, files::open(&items, "client_encode_encrypt_input")?);
    files::write(&instance.download(), |out| {
        let (out, ..) = infer_items(&session, &origin, input, out, &mut |_, _| ())
            .with_context(|| format!("cannot use {}", items.display()))?;
        Ok(out.flush()?)
    })?;
    // The process ends: to give its memory back piece by piece takes longer.
    std::mem::forget(session);
    Ok(())
}

fn server_plan(instance: Instance) -> Result<ServerPlan> {
    let path = instance.plan();
    ServerPlan::from_bytes(&files::read(&path, MAX_MODEL, "server_preprocess_model")?)
        .with_context(|| format!("cannot use {}; run server_preprocess_model again", path.display()))
}

fn compile(instance: Instance) -> Result<Plan> {
    let bytes = files::read(Path::new(MODEL), MAX_MODEL, "build.sh with the model and its sizes")?;
    let Imported { network, scores, ranges, .. } = import(&bytes, &ImportOptions::default())
        .with_context(|| format!("cannot use {MODEL}; name another model to build.sh"))?;
    let calibration = Path::new(CALIBRATION);
    let calibration = if calibration.exists() {
        let items = npy::read(BufReader::new(files::open(calibration, "build.sh")?))?;
        Some(npy::items(items, network.input_shape()).with_context(|| format!("cannot use {CALIBRATION}"))?)
    } else {
        None
    };
    let mut options = CompileOptions {
        calibration,
        ranges,
        threads: THREADS,
        metadata: Metadata { scores, ..Metadata::default() },
        ..CompileOptions::default()
    };
    let failed = || format!("cannot compile {MODEL} for the size {}", instance.name());
    let mut plan = Plan::compile(&network, &options, &mut |_, _, _| ()).with_context(failed)?;
    if instance.items() == 1 || plan.report().predicted_seconds > LONG {
        return Ok(plan);
    }
    options.batch = instance.items();
    plan = Plan::compile(&network, &options, &mut |_, _, _| ()).with_context(failed)?;
    // A server that starts for one batch reads all keys for it.
    while plan.report().key_wire_bytes > MAX_KEYS && plan.report().items > 1 {
        options.layout = Some(BatchLayout::SideBySide(plan.report().items / 2));
        plan = Plan::compile(&network, &options, &mut |_, _, _| ()).with_context(failed)?;
    }
    Ok(plan)
}

fn described(plan: &Plan) -> String {
    let report = plan.report();
    let p = &report.parameters;
    format!(
        "n = 2^{}, {} ring, {:.0} bits of modulus, {}-bit security, {} ({} in a group), {} bytes of keys, {:.3} s predicted for a group",
        p.log_n,
        p.ring,
        p.log2_qp,
        p.security,
        report.layout,
        report.items,
        report.key_wire_bytes,
        report.predicted_seconds
    )
}
