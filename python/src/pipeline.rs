//! Client and server in one process.

use crate::arrays::Input;
use crate::checks;
use crate::device::{self, Choice};
use crate::failure::{Failure, Kind};
use crate::plan::{Compiled, Plan};
use crate::work::{self, Interruption};
use ndarray::{ArrayD, Axis, IxDyn};
use pleura::nn::{BeyondRange, Fidelity};
use pleura::{Device, StageTimes};
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Client and server over one plan; it holds a secret key.
#[pyclass(frozen, module = "pleura._pleura")]
pub(crate) struct Pipeline {
    inner: Arc<Inner>,
}

struct Inner {
    compiled: Arc<Compiled>,
    pipeline: pleura::Pipeline,
    device: Device,
    last: Mutex<Option<Last>>,
}

/// The last call: items, unrounded scores, and seconds of its stages.
struct Last {
    items: ArrayD<f64>,
    unrounded: ArrayD<f64>,
    times: StageTimes,
}

/// Scores of a call, `[items, ..score shape]`.
struct Scores {
    published: ArrayD<f64>,
    unrounded: ArrayD<f64>,
    times: StageTimes,
    warnings: Vec<String>,
}

#[pymethods]
impl Pipeline {
    /// Makes keys, and brings them and the weights to a device.
    #[new]
    fn new(
        py: Python<'_>,
        plan: &Plan,
        device: &str,
        threads: Option<usize>,
        max_memory: Option<u64>,
    ) -> PyResult<Self> {
        let choice = Choice::parse(device, threads)?;
        let compiled = plan.inner.clone();
        work::run(py, move |_| {
            device::check_memory(compiled.plan.report(), max_memory)?;
            let device = choice.start()?;
            let pipeline = pleura::Pipeline::new(&compiled.plan, &device)?;
            Ok(Self { inner: Arc::new(Inner { compiled, pipeline, device, last: Mutex::default() }) })
        })
    }

    /// Results of `items`, and warnings about them.
    fn run<'py>(
        &self,
        py: Python<'py>,
        items: &Bound<'py, PyAny>,
        exact: bool,
    ) -> PyResult<(Bound<'py, PyAny>, Vec<String>)> {
        let input = Input::batch(items, &self.inner.compiled.bundle.item_shape())?;
        let single = input.is_single();
        let inner = self.inner.clone();
        let (result, warnings) = work::run(py, move |interruption| {
            let Scores { published, unrounded, times, mut warnings } =
                inner.run(&input.values, interruption)?;
            warnings.extend(checks::coarse_probabilities(&inner.compiled.bundle).filter(|_| !exact));
            let scores = inner.compiled.bundle.scores();
            let result = scores.apply(if exact { unrounded.view() } else { published.view() });
            *inner.last.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(Last { items: input.values, unrounded, times });
            Ok((result, warnings))
        })?;
        Ok((Input::like(single, result, py), warnings))
    }

    /// Largest and mean absolute difference, bits and agreement of labels between the last call's scores and those of
    /// the model.
    fn fidelity(&self, py: Python<'_>) -> PyResult<(f64, f64, f64, f64)> {
        let inner = self.inner.clone();
        work::run(py, move |_| {
            let last = inner.last.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(Last { items, unrounded, .. }) = &*last else {
                return Err(Failure::new(
                    Kind::Input,
                    "nothing has been computed yet; call the pipeline first",
                ));
            };
            let network = inner.compiled.original.as_ref().ok_or_else(|| {
                Failure::new(
                    Kind::Input,
                    "the plan came without its model, whose weights are in other files; compile the model again",
                )
            })?;
            let plaintext = network.evaluate(items.view())?;
            let found = Fidelity::new(plaintext.view(), unrounded.view());
            Ok((found.max_abs_error, found.mean_abs_error, found.bits, found.label_agreement))
        })
    }

    /// Seconds of encryption, inference and decryption of the last call.
    fn seconds(&self) -> (f64, f64, f64) {
        let last = self.inner.last.lock().unwrap_or_else(PoisonError::into_inner);
        let times = last.as_ref().map_or_else(StageTimes::default, |last| last.times);
        (times.encrypt, times.infer, times.decrypt)
    }

    /// The device, in a few words.
    fn device(&self) -> String {
        self.inner.device.name()
    }

    /// Notes on the device, each with whether it is a warning.
    fn device_notes(&self) -> Vec<(bool, String)> {
        device::notes(&self.inner.device)
    }
}

impl Inner {
    fn run(&self, items: &ArrayD<f64>, interruption: &Interruption) -> Result<Scores, Failure> {
        let bundle = &self.compiled.bundle;
        // The plaintext network takes one core for a hundredth of the time.
        let (computed, checked) = thread::scope(|scope| {
            let checks = scope.spawn(|| self.input_warnings(items, interruption));
            (self.compute(items, interruption), checks.join())
        });
        let (published, unrounded, times) = computed?;
        let mut warnings = checked.map_err(|_| {
            Failure::new(Kind::Internal, "the plaintext network panicked; please report it")
        })??;
        let spec = bundle.spec();
        if let Some(BeyondRange { found, calibrated }) = spec.output_beyond_range(&unrounded) {
            warnings.push(format!(
                "results reach {found}, but were calibrated {calibrated}: they may be wrong; calibrate with items like these"
            ));
        }
        let shape: Vec<usize> = std::iter::once(items.len_of(Axis(0))).chain(bundle.score_shape()).collect();
        let shaped = |values| {
            ArrayD::from_shape_vec(IxDyn(&shape), values)
                .map_err(|_| Failure::new(Kind::Internal, "results have other elements than their shape"))
        };
        Ok(Scores { published: shaped(published)?, unrounded: shaped(unrounded)?, times, warnings })
    }

    /// Published and unrounded scores of all items on ciphertexts, and the seconds of the stages.
    fn compute(
        &self,
        items: &ArrayD<f64>,
        interruption: &Interruption,
    ) -> Result<(Vec<f64>, Vec<f64>, StageTimes), Failure> {
        let mut published = Vec::new();
        let mut unrounded = Vec::new();
        let mut times = StageTimes::default();
        for group in items.axis_chunks_iter(Axis(0), self.compiled.bundle.group()) {
            interruption.check()?;
            let outcome = self.pipeline.run(group)?;
            times += outcome.times;
            published.extend(outcome.published);
            unrounded.extend(outcome.unrounded);
        }
        Ok((published, unrounded, times))
    }

    /// Sentences about values beyond the calibrated ranges: of all nodes, or of inputs where the network is not there.
    fn input_warnings(
        &self,
        items: &ArrayD<f64>,
        interruption: &Interruption,
    ) -> Result<Vec<String>, Failure> {
        let Compiled { plan, bundle, checks, .. } = &*self.compiled;
        if let Some(checks) = checks {
            return checks.warnings(plan, items, interruption);
        }
        let spec = bundle.spec();
        let values: Vec<f64> = items.iter().copied().collect();
        let found = spec.input_beyond_range(&values).map(|BeyondRange { found, calibrated }| {
            format!(
                "inputs reach {found}, but were calibrated {calibrated}: results may be wrong; calibrate with items like these"
            )
        });
        Ok(found.into_iter().collect())
    }
}
