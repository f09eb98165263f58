//! Compiled networks.

use crate::arrays::Input;
use crate::checks::{self, Checks};
use crate::device::Choice;
use crate::failure::{Failure, Kind};
use crate::work;
use ndarray::ArrayD;
use pleura::ckks::Security;
use pleura::nn::{self, BatchLayout, CompileOptions, DeviceClass, FitOptions, Metadata, Network};
use pleura::onnx::{ImportOptions, Imported, import};
use pleura::remote::ClientBundle;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// Most items that share ciphertexts.
const MAX_BATCH: usize = 1 << 12;
/// Degrees of polynomials that replace activations.
const DEGREES: std::ops::RangeInclusive<usize> = 1..=64;

/// A compiled network, with the client bundle and the plaintext network.
#[pyclass(frozen, module = "pleura._pleura")]
pub(crate) struct Plan {
    pub(crate) inner: Arc<Compiled>,
}

/// Content of a [`Plan`].
pub(crate) struct Compiled {
    pub(crate) plan: nn::Plan,
    pub(crate) bundle: Arc<ClientBundle>,
    /// The network of the model file; none where a plan came from bytes and the model is not whole without other files.
    pub(crate) original: Option<Network>,
    /// The plaintext network that checks items; none where a plan came from bytes and the network that was compiled is not that of the model.
    pub(crate) checks: Option<Checks>,
    /// Whether ranges of values come from items or from the model file.
    calibrated: bool,
    source: Source,
    notes: Vec<String>,
}

/// Model file and the choices that it leaves open.
#[derive(Clone, Default, FromPyObject)]
pub(crate) struct Source {
    model: Vec<u8>,
    name: String,
    folder: Option<PathBuf>,
    input_shape: Option<Vec<usize>>,
    output: Option<String>,
    fit: Option<usize>,
    batch: usize,
    security: u32,
    precision: Option<f64>,
}

/// Compiles a model for a device. `source` has the attributes of [`Source`]; `calibration` is `[items, ..input shape]`.
#[pyfunction]
#[pyo3(signature = (source, calibration, device))]
pub(crate) fn compile(
    py: Python<'_>,
    source: Source,
    calibration: Option<&Bound<'_, PyAny>>,
    device: &str,
) -> PyResult<Plan> {
    let choice = Choice::parse(device, None)?;
    let security = source.security()?;
    if !(1..=MAX_BATCH).contains(&source.batch) {
        return Err(Failure::new(
            Kind::Input,
            format!("batch must be 1 to {MAX_BATCH}, not {}", source.batch),
        )
        .into());
    }
    if let Some(bits) = source.precision.filter(|bits| !(1.0..=40.0).contains(bits)) {
        return Err(Failure::new(Kind::Input, format!("precision must be 1 to 40 bits, not {bits}")).into());
    }
    if let Some(degree) = source.fit.filter(|degree| !DEGREES.contains(degree)) {
        return Err(
            Failure::new(Kind::Input, format!("fit must be a degree of 1 to 64, not {degree}")).into()
        );
    }
    let source = Arc::new(source);
    let given = source.clone();
    let (imported, by_itself) = work::run(py, move |_| given.import())?;
    let items = calibration.map(|items| Input::batch(items, imported.network.input_shape())).transpose()?;
    let items = items.map(|input| input.values);
    let inner = work::run(py, move |_| source.compile(imported, by_itself, items, security, choice.class()))?;
    Ok(Plan { inner: Arc::new(inner) })
}

/// Largest magnitudes at the nodes of a model over `items`, `[items, ..input shape]`.
#[pyfunction]
pub(crate) fn ranges(
    py: Python<'_>,
    source: Source,
    items: &Bound<'_, PyAny>,
) -> PyResult<BTreeMap<String, f64>> {
    let (imported, _) = work::run(py, move |_| source.import())?;
    let items = Input::batch(items, imported.network.input_shape())?.values;
    work::run(py, move |_| Ok(imported.network.ranges(&items)?))
}

/// A plan of the bytes of [`Plan::to_bytes`] and [`Plan::bundle`], with its model if there is one.
#[pyfunction]
pub(crate) fn restore(
    py: Python<'_>,
    plan: Vec<u8>,
    bundle: Vec<u8>,
    source: Source,
    notes: Vec<String>,
) -> PyResult<Plan> {
    work::run(py, move |_| {
        let plan = nn::Plan::from_bytes(&plan)?;
        let bundle = Arc::new(ClientBundle::from_bytes(&bundle)?);
        if bundle.spec().plan_digest() != plan.server_plan().digest() {
            return Err(Failure::new(
                Kind::Data,
                "the parts of the plan do not belong together; compile the model again",
            ));
        }
        let original = if source.model.is_empty() { None } else { Some(source.import()?.0.network) };
        // The intervals of fits depend on the calibration items.
        let network = original.clone().filter(|_| source.fit.is_none());
        let checks = network.map(|network| Checks { network, fitted: Vec::new() });
        let compiled = Compiled { plan, bundle, original, checks, calibrated: true, source, notes };
        Ok(Plan { inner: Arc::new(compiled) })
    })
}

#[pymethods]
impl Plan {
    /// Figures of the plan as JSON.
    fn report(&self) -> PyResult<String> {
        let report = serde_json::to_string(self.inner.plan.report());
        Ok(report.map_err(|error| Failure::new(Kind::Internal, error.to_string()))?)
    }

    /// Sentences about choices of the importer, the fits and the compiler.
    fn notes(&self) -> Vec<String> {
        let compiler = &self.inner.plan.report().notes;
        self.inner.notes.iter().chain(compiler).cloned().collect()
    }

    /// The whole plan as bytes.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let inner = self.inner.clone();
        let bytes = work::run(py, move |_| Ok(inner.plan.to_bytes()?))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// The server's half as bytes.
    fn server_plan<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let inner = self.inner.clone();
        let bytes = work::run(py, move |_| Ok(inner.plan.server_plan().to_bytes()?))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// The client's half as bytes.
    fn bundle<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.inner.bundle.to_bytes().map_err(Failure::from)?))
    }

    /// Shape of an item.
    fn input_shape(&self) -> Vec<usize> {
        self.inner.bundle.item_shape()
    }

    /// Shape of the scores of an item.
    fn output_shape(&self) -> Vec<usize> {
        self.inner.bundle.score_shape()
    }

    /// Number of items that share ciphertexts.
    fn batch(&self) -> usize {
        self.inner.bundle.group()
    }

    /// Published results are multiples of it, or of smaller numbers where they have units of their own.
    fn rounding(&self) -> f64 {
        checks::rounding(&self.inner.bundle)
    }

    /// Published elements of a result are multiples of these.
    fn roundings(&self) -> Vec<f64> {
        self.inner.bundle.spec().roundings()
    }

    /// Whether ranges of values come from calibration items or from the model file.
    fn is_calibrated(&self) -> bool {
        self.inner.calibrated
    }

    /// The model file and its choices: bytes, name, input shape, output, fit, batch, security and precision. The model is empty
    /// if it is not whole without other files.
    #[expect(clippy::type_complexity, reason = "a tuple is what Python unpacks")]
    fn source<'py>(
        &self,
        py: Python<'py>,
    ) -> (
        Bound<'py, PyBytes>,
        String,
        Option<Vec<usize>>,
        Option<String>,
        Option<usize>,
        usize,
        u32,
        Option<f64>,
    ) {
        let Source { model, name, input_shape, output, fit, batch, security, precision, .. } =
            self.inner.source.clone();
        (PyBytes::new(py, &model), name, input_shape, output, fit, batch, security, precision)
    }
}

impl Source {
    fn security(&self) -> Result<Security, Failure> {
        let security = Security::from_bits(self.security).filter(|&s| s != Security::InsecureForTests);
        security.ok_or_else(|| {
            Failure::new(Kind::Input, format!("security must be 128, 192 or 256 bits, not {}", self.security))
        })
    }

    /// The network of the model file, and whether the file is whole by itself.
    fn import(&self) -> Result<(Imported, bool), Failure> {
        let options = ImportOptions {
            input_shape: self.input_shape.clone(),
            output: self.output.clone(),
            keep_activations: self.fit.is_some(),
            external_data: self.folder.clone(),
        };
        let mut imported = import(&self.model, &options)?;
        if !self.name.is_empty() {
            imported.network = imported.network.renamed(self.name.clone());
        }
        let by_itself = imported.external_files.is_empty();
        Ok((imported, by_itself))
    }

    fn compile(
        &self,
        imported: Imported,
        by_itself: bool,
        items: Option<ArrayD<f64>>,
        security: Security,
        device: DeviceClass,
    ) -> Result<Compiled, Failure> {
        let Imported { network: original, scores, mut notes, ranges, .. } = imported;
        let mut network = original.clone();
        let mut fitted = Vec::new();
        if let Some(degree) = self.fit {
            let options = FitOptions { degree, interval: None };
            (network, fitted) = original.fit_activations(&options, items.as_ref())?;
            notes.extend(fitted.iter().map(|fit| {
                format!(
                    "a polynomial of degree {} replaces {} at {} on {:.3e} to {:.3e}, off by at most {:.1e}",
                    fit.degree, fit.function, fit.name, fit.from, fit.to, fit.max_error
                )
            }));
        }
        let calibrated = items.is_some() || !ranges.is_empty();
        let metadata = Metadata { scores, ..Metadata::default() };
        let options = CompileOptions {
            security,
            precision: self.precision,
            calibration: items,
            ranges,
            device,
            batch: self.batch,
            layout: (self.batch > 1).then_some(BatchLayout::SideBySide(self.batch)),
            metadata,
            ..CompileOptions::default()
        };
        let plan = nn::Plan::compile(&network, &options, &mut |_, _, _| ())?;
        let bundle = ClientBundle::tensor(plan.client_spec().clone())?;
        let mut source = self.clone();
        if !by_itself {
            source.model.clear();
        }
        Ok(Compiled {
            plan,
            bundle: Arc::new(bundle),
            original: Some(original),
            checks: Some(Checks { network, fitted }),
            calibrated,
            source,
            notes,
        })
    }
}
