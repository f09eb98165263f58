//! Errors of the engine as exceptions: kind, sentence and advice.

use pleura::ckks::BackendError;
use pleura::latent::ImageError;
use pleura::nn::{CompileError, InferenceError, NetworkError, PlanFileError};
use pleura::onnx::{ImportError, Problem};
use pleura::remote::RemoteError;
use pleura::xray::{ClassifyError, SourceError, XrayError};
use pleura::{DeviceError, PipelineError, backend_failure};
use pyo3::PyErr;
use std::error::Error;

/// Classes that `pleura/errors.py` defines and documents.
mod exceptions {
    pyo3::import_exception!(pleura.errors, ModelError);
    pyo3::import_exception!(pleura.errors, InputError);
    pyo3::import_exception!(pleura.errors, DeviceError);
    pyo3::import_exception!(pleura.errors, DataError);
    pyo3::import_exception!(pleura.errors, InternalError);
}

/// Class of an exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A model that cannot be read or cannot run on ciphertexts.
    Model,
    /// An argument or an input that is not usable.
    Input,
    /// A device that is missing or fails.
    Device,
    /// Bytes that are damaged, of another kind, or of other keys.
    Data,
    /// A bug.
    Internal,
}

/// An error on its way to Python; it needs no interpreter.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    text: String,
}

impl Failure {
    /// An error that is no error of the engine.
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    /// An error of the engine with all its causes, and with advice where its sentence has none.
    fn of(kind: Kind, error: &(dyn Error + 'static)) -> Self {
        let mut text = error.to_string();
        for cause in chain(error).skip(1).map(ToString::to_string) {
            // Some errors already repeat their source.
            if !text.contains(&cause) {
                text = text + ": " + &cause;
            }
        }
        let device = chain(error).find_map(backend_failure);
        let (kind, advice) = match device {
            Some(BackendError::OutOfMemory { .. }) => {
                (Kind::Device, Some("device=\"cpu\" computes on the processor"))
            }
            Some(BackendError::DeviceLost { .. }) => (
                Kind::Device,
                Some("try again; if that does not help, device=\"cpu\" computes on the processor"),
            ),
            _ => (kind, chain(error).find_map(advice)),
        };
        if let Some(advice) = advice {
            text = text + "; " + advice;
        }
        Self { kind, text }
    }
}

/// An error and its causes.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&cause| cause.source())
}

/// Advice on an error whose sentence has none.
fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
    match error.downcast_ref() {
        Some(XrayError::PixelScaling { .. }) => Some(
            "pixel_scaling= says it: \"unit\" (0 to 1), \"signed\" (-1 to 1), \"xrv\" (-1024 to 1024) or \"MEAN,DEVIATION\", as in \
             the code that trained the network",
        ),
        Some(XrayError::Input { .. }) => Some("pleura.compile and pleura.Pipeline run any network"),
        _ => error.downcast_ref().and_then(import_advice),
    }
}

/// The argument of `pleura.compile` that an error of the import is about.
fn import_advice(error: &ImportError) -> Option<&'static str> {
    match error {
        ImportError::SeveralOutputs { .. } | ImportError::UnknownOutput { .. } => {
            Some("in Python, compile(..., output=\"NAME\") sets it")
        }
        _ => match error.problem()? {
            Problem::Activation { .. } => {
                Some("compile(..., fit=DEGREE) puts a polynomial in place of the activation")
            }
            Problem::Kernel { .. }
            | Problem::InputShapeMissing
            | Problem::InputAxisOpen
            | Problem::InputShape { .. } => {
                Some("compile(..., input_shape=(C, H, W)) sets the shape of an item")
            }
            _ => None,
        },
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        let Failure { kind, text } = failure;
        match kind {
            Kind::Model => exceptions::ModelError::new_err(text),
            Kind::Input => exceptions::InputError::new_err(text),
            Kind::Device => exceptions::DeviceError::new_err(text),
            Kind::Data => exceptions::DataError::new_err(text),
            Kind::Internal => exceptions::InternalError::new_err(text),
        }
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        Self::of(Kind::Model, &error)
    }
}

impl From<NetworkError> for Failure {
    fn from(error: NetworkError) -> Self {
        Self::of(Kind::Model, &error)
    }
}

impl From<CompileError> for Failure {
    fn from(error: CompileError) -> Self {
        let kind = match error {
            CompileError::CalibrationShape { .. } | CompileError::CalibrationValue { .. } => Kind::Input,
            CompileError::Mismatch { .. } | CompileError::Internal(_) => Kind::Internal,
            _ => Kind::Model,
        };
        Self::of(kind, &error)
    }
}

impl From<PlanFileError> for Failure {
    fn from(error: PlanFileError) -> Self {
        let kind = if matches!(error, PlanFileError::Internal(_)) { Kind::Internal } else { Kind::Data };
        Self::of(kind, &error)
    }
}

impl From<InferenceError> for Failure {
    fn from(error: InferenceError) -> Self {
        Self::of(inference_kind(&error), &error)
    }
}

fn inference_kind(error: &InferenceError) -> Kind {
    match error {
        InferenceError::ItemShape { .. } | InferenceError::ItemValue { .. } | InferenceError::Encode(_) => {
            Kind::Input
        }
        InferenceError::Internal(_) => Kind::Internal,
        _ => Kind::Data,
    }
}

impl From<DeviceError> for Failure {
    fn from(error: DeviceError) -> Self {
        let mut failure = Self::of(Kind::Device, &error);
        if !failure.text.contains("device=\"cpu\"") {
            failure.text +=
                "; device=\"cpu\" computes on the processor, and pleura.devices() lists all devices";
        }
        failure
    }
}

impl From<PipelineError> for Failure {
    fn from(error: PipelineError) -> Self {
        match error {
            PipelineError::Device(error) => error.into(),
            PipelineError::Inference(error) => error.into(),
            other => Self::of(Kind::Internal, &other),
        }
    }
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        let kind = match &error {
            RemoteError::Inference(error) => inference_kind(error),
            RemoteError::ItemShape { .. }
            | RemoteError::NoteLength { .. }
            | RemoteError::PassphraseMissing
            | RemoteError::WrongPassphrase
            | RemoteError::EmptyPassphrase => Kind::Input,
            RemoteError::Internal(_) => Kind::Internal,
            _ => Kind::Data,
        };
        Self::of(kind, &error)
    }
}

impl From<XrayError> for Failure {
    fn from(error: XrayError) -> Self {
        let kind = match error {
            XrayError::Sample { .. } => Kind::Internal,
            XrayError::NoLatents => Kind::Input,
            _ => Kind::Model,
        };
        Self::of(kind, &error)
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        Self::of(Kind::Input, &error)
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::of(Kind::Input, &error)
    }
}

impl From<ClassifyError> for Failure {
    fn from(error: ClassifyError) -> Self {
        match error {
            ClassifyError::Xray(error) => error.into(),
            ClassifyError::Compile(error) => error.into(),
            ClassifyError::Pipeline(error) => error.into(),
            ClassifyError::Inference(error) => error.into(),
            other => Self::of(Kind::Internal, &other),
        }
    }
}
