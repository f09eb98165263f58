//! X-ray classifiers by the name of a shipped network or the path of an ONNX file.

use crate::model::{MAX_MODEL, cannot_import, planned};
use crate::text::{hex, plain};
use crate::{cache, files};
use anyhow::{Context, Result};
use pleura::ckks::Security;
use pleura::nn::{CompileOptions, DeviceClass, Plan};
use pleura::xray::{Classifier, PixelScaling, shipped};
use std::path::Path;

/// The shipped network of a name, or the one in a file.
pub(crate) fn load(name: &str) -> Result<Classifier> {
    load_scaled(name, None)
}

/// The shipped network of a name, or the one in a file, with a scaling of pixels in place of that which the file names.
pub(crate) fn load_scaled(name: &str, scaling: Option<PixelScaling>) -> Result<Classifier> {
    let path = Path::new(name);
    match shipped::model(name) {
        Ok(model) => Ok(Classifier::from_onnx(model.name, model.onnx, scaling)?),
        // A name has no folder and no ending.
        Err(error) if !path.exists() && path.components().count() == 1 && path.extension().is_none() => {
            Err(error.into())
        }
        Err(_) => {
            let stem = path.file_stem().map_or_else(|| name.into(), |stem| stem.to_string_lossy());
            let bytes = files::read(path, MAX_MODEL)?;
            Classifier::from_onnx(&stem, &bytes, scaling).with_context(|| cannot_import(path))
        }
    }
}

/// Name and digest of a classifier: rows of equal identity may be mixed.
pub(crate) fn identity(classifier: &Classifier) -> String {
    format!("{}@{}", plain(classifier.name()), hex(classifier.digest().iter().take(4)))
}

/// Devices that a plan is made for.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) device: DeviceClass,
    /// Threads of a processor.
    pub(crate) threads: usize,
}

/// The plan for `batch` X-rays at a time, from the cache or compiled.
pub(crate) fn plan(classifier: &Classifier, target: Target, cached: bool, batch: usize) -> Result<Plan> {
    let Target { device, threads } = target;
    let key = cache::key().and(classifier.digest()).and(classifier.name().as_bytes());
    let key = key.and(format!("classify {device} {threads} {batch}").as_bytes());
    Ok(planned(classifier.network(), key, Security::Bits128, cached, || {
        Ok(CompileOptions { device, threads, ..classifier.compile_options(batch)? })
    })?
    .plan)
}
