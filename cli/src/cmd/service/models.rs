//! Networks that a server offers: shipped ones, classifiers of X-rays in ONNX, and folders of `pleura export`.

use crate::classifier::Target;
use crate::cmd::remote::export::{PLAN, SPEC};
use crate::{classifier, files, memory, terminal};
use anyhow::{Context, Result, ensure};
use pleura::nn::{Report, ServerPlan};
use pleura::remote::ClientBundle;
use std::path::Path;

/// Larger plans are refused.
const MAX_PLAN: u64 = 16 << 30;
/// Larger client bundles are refused.
const MAX_SPEC: u64 = 64 << 20;

/// Plan and bundle of each network.
pub(super) fn load(
    names: &[String],
    target: Target,
    cached: bool,
    max_memory: Option<u64>,
) -> Result<Vec<(ServerPlan, ClientBundle)>> {
    let mut models = Vec::new();
    let mut needed = 0;
    for name in names {
        let path = Path::new(name);
        let model = if path.is_dir() { exported(path)? } else { classifier(name, target, cached)? };
        needed += Report::new(&model.0, &[]).predicted_peak_bytes as u64;
        models.push(model);
    }
    memory::check(needed, max_memory)?;
    Ok(models)
}

fn exported(folder: &Path) -> Result<(ServerPlan, ClientBundle)> {
    let [plan_path, spec_path] = [PLAN, SPEC].map(|name| folder.join(name));
    let failed = |path: &Path| format!("cannot use {}", path.display());
    let plan = ServerPlan::from_bytes(&files::read(&plan_path, MAX_PLAN)?);
    let plan = plan.with_context(|| failed(&plan_path))?;
    let bundle = ClientBundle::from_bytes(&files::read(&spec_path, MAX_SPEC)?);
    let bundle = bundle.with_context(|| failed(&spec_path))?;
    ensure!(
        bundle.spec().plan_digest() == plan.digest(),
        "{} and {} belong to different exports: use the files of one export",
        plan_path.display(),
        spec_path.display()
    );
    Ok((plan, bundle))
}

fn classifier(name: &str, target: Target, cached: bool) -> Result<(ServerPlan, ClientBundle)> {
    let classifier = classifier::load(name)?;
    classifier.notes().iter().for_each(|text| terminal::note(text));
    let plan = classifier::plan(&classifier, target, cached, 1)?;
    let bundle = ClientBundle::xray(plan.client_spec().clone(), &classifier)?;
    Ok((plan.server_plan().as_ref().clone(), bundle))
}
