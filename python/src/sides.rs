//! Client and server apart: they exchange bytes, the files of `pleura::remote`.

use crate::arrays::Input;
use crate::checks;
use crate::device::{self, Choice};
use crate::failure::{Failure, Kind};
use crate::work;
use ndarray::{ArrayD, IxDyn};
use pleura::Device;
use pleura::nn::{BeyondRange, Report, ServerPlan};
use pleura::remote::{
    self, ClientBundle, ClientKey, ItemDecryptor, ItemEncryptor, ItemNote, Origin, infer_items, load_session,
};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::sync::Arc;

/// A client with its secret key.
#[pyclass(frozen, module = "pleura._pleura")]
pub(crate) struct Client {
    key: Arc<ClientKey>,
}

/// A plan on a device.
#[pyclass(frozen, module = "pleura._pleura")]
pub(crate) struct Server {
    server: pleura::Server,
    device: Device,
}

/// A client's evaluation keys on a server.
#[pyclass(frozen, module = "pleura._pleura")]
pub(crate) struct Session {
    inner: Arc<(pleura::Session, Origin)>,
}

#[pymethods]
impl Client {
    /// A client with a fresh key.
    #[staticmethod]
    fn generate(py: Python<'_>, bundle: Vec<u8>) -> PyResult<Self> {
        work::run(py, move |_| {
            let bundle = open_bundle(&bundle)?;
            Ok(Self { key: Arc::new(ClientKey::generate(bundle)?) })
        })
    }

    /// A client with the key of [`Client::secret`].
    #[staticmethod]
    fn from_secret(
        py: Python<'_>,
        bundle: Vec<u8>,
        secret: Vec<u8>,
        passphrase: Option<Vec<u8>>,
    ) -> PyResult<Self> {
        work::run(py, move |_| {
            let bundle = open_bundle(&bundle)?;
            let key = ClientKey::from_secret_bytes(bundle, &secret, passphrase.as_deref())?;
            Ok(Self { key: Arc::new(key) })
        })
    }

    /// The secret key as bytes.
    fn secret<'py>(&self, py: Python<'py>, passphrase: Option<Vec<u8>>) -> PyResult<Bound<'py, PyBytes>> {
        let key = self.key.clone();
        let bytes = work::run(py, move |_| Ok(key.to_secret_bytes(passphrase.as_deref())?))?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Evaluation keys as bytes.
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let key = self.key.clone();
        let bytes = work::run(py, move |_| {
            let mut out = Vec::new();
            key.write_keys(&mut out)?;
            Ok(out)
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Items as ciphertexts, and warnings about them.
    fn encrypt<'py>(
        &self,
        py: Python<'py>,
        items: &Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyBytes>, Vec<String>)> {
        let input = Input::batch(items, &self.key.bundle().item_shape())?;
        let key = self.key.clone();
        let (bytes, warnings) = work::run(py, move |interruption| {
            let spec = key.bundle().spec();
            let mut encryptor = ItemEncryptor::new(&key, Vec::new())?;
            let mut warnings = Vec::new();
            for (number, item) in input.values.outer_iter().enumerate() {
                interruption.check()?;
                let values: Vec<f64> = item.iter().copied().collect();
                if let Some(BeyondRange { found, calibrated }) = spec.input_beyond_range(&values) {
                    warnings.push(format!(
                        "item {number} reaches {found}, but inputs were calibrated {calibrated}: its result may be wrong"
                    ));
                }
                encryptor
                    .add(ItemNote { name: number.to_string(), ..ItemNote::default() }, item.to_owned())?;
            }
            Ok((encryptor.finish()?.0, warnings))
        })?;
        Ok((PyBytes::new(py, &bytes), warnings))
    }

    /// Results of ciphertexts, and warnings about them.
    fn decrypt<'py>(&self, py: Python<'py>, results: Vec<u8>) -> PyResult<(Bound<'py, PyAny>, Vec<String>)> {
        let key = self.key.clone();
        let (values, warnings) = work::run(py, move |interruption| {
            let mut decryptor = ItemDecryptor::new(&key, &results[..])?;
            let bundle = key.bundle();
            let mut values = Vec::new();
            let mut warnings: Vec<String> = checks::coarse_probabilities(bundle).into_iter().collect();
            let mut count = 0;
            while let Some(group) = decryptor.next_group()? {
                interruption.check()?;
                for item in group {
                    if let Some(BeyondRange { found, calibrated }) = item.beyond_range {
                        warnings.push(format!(
                            "the results of item {count} reach {found}, but were calibrated {calibrated}: they may be wrong"
                        ));
                    }
                    values.extend(item.scores);
                    count += 1;
                }
            }
            let shape: Vec<usize> = std::iter::once(count).chain(bundle.score_shape()).collect();
            let values = ArrayD::from_shape_vec(IxDyn(&shape), values)
                .map_err(|_| Failure::new(Kind::Internal, "results have other elements than their shape"))?;
            Ok((bundle.scores().apply(values.view()), warnings))
        })?;
        Ok((Input::like(false, values, py), warnings))
    }

    /// Identity of the key, which ciphertexts and evaluation keys name.
    fn identity(&self) -> String {
        remote::hex(&self.key.origin().key)
    }

    /// Shape of an item.
    fn input_shape(&self) -> Vec<usize> {
        self.key.bundle().item_shape()
    }

    /// Number of items that share ciphertexts.
    fn batch(&self) -> usize {
        self.key.bundle().group()
    }
}

#[pymethods]
impl Server {
    /// Brings a plan to a device.
    #[new]
    fn new(
        py: Python<'_>,
        plan: Vec<u8>,
        device: &str,
        threads: Option<usize>,
        max_memory: Option<u64>,
    ) -> PyResult<Self> {
        let choice = Choice::parse(device, threads)?;
        work::run(py, move |_| {
            let plan = ServerPlan::from_bytes(&plan)?;
            device::check_memory(&Report::new(&plan, &[]), max_memory)?;
            let device = choice.start()?;
            Ok(Self { server: pleura::Server::new(plan, &device)?, device })
        })
    }

    /// Brings a client's evaluation keys to the device.
    fn open_session(&self, py: Python<'_>, keys: Vec<u8>) -> PyResult<Session> {
        let server = self.server.clone();
        work::run(py, move |_| {
            let (session, origin) = load_session(&keys[..], &server)?;
            session.wait()?;
            Ok(Session { inner: Arc::new((session, origin)) })
        })
    }

    /// The device, in a few words.
    fn device(&self) -> String {
        self.device.name()
    }

    /// Notes on the device, each with whether it is a warning.
    fn device_notes(&self) -> Vec<(bool, String)> {
        device::notes(&self.device)
    }
}

#[pymethods]
impl Session {
    /// The encrypted results of encrypted items.
    fn infer<'py>(&self, py: Python<'py>, items: Vec<u8>) -> PyResult<Bound<'py, PyBytes>> {
        let inner = self.inner.clone();
        let bytes = work::run(py, move |_| {
            let (session, origin) = &*inner;
            Ok(infer_items(session, origin, &items[..], Vec::new(), &mut |_, _| ())?.0)
        })?;
        Ok(PyBytes::new(py, &bytes))
    }
}

fn open_bundle(bytes: &[u8]) -> Result<ClientBundle, Failure> {
    let bundle = ClientBundle::from_bytes(bytes)?;
    if bundle.takes_arrays() {
        return Ok(bundle);
    }
    Err(Failure::new(
        Kind::Input,
        "the specification is that of a classifier of X-rays; `pleura encrypt` prepares its images",
    ))
}
