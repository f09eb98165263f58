//! Client: encrypts items and decrypts results.

use crate::calibration::flat_items;
use crate::spec::TensorSpec;
use crate::{ClientSpec, InferenceError};
use ndarray::{ArrayD, ArrayView, Dimension, IxDyn};
use pleura_ckks::{Ciphertext, Complex64, Decrypted, Encoder, EvaluationKeys, SecretKey};
use rayon::prelude::*;
use std::sync::Arc;

/// A secret key and the specification of the plan it is used with. It encrypts items and decrypts results.
pub struct Client {
    spec: Arc<ClientSpec>,
    secret: SecretKey,
    encoder: Encoder,
}

impl Client {
    /// A client with a fresh secret key.
    ///
    /// # Errors
    /// [`InferenceError::Client`] if the system gives no randomness.
    pub fn new(spec: impl Into<Arc<ClientSpec>>) -> Result<Self, InferenceError> {
        let spec = spec.into();
        let secret = SecretKey::generate(spec.params())?;
        Self::with_secret(spec, secret)
    }

    /// A client with a given secret key.
    ///
    /// # Errors
    /// [`InferenceError::Client`] if the key belongs to other parameters.
    pub fn with_secret(spec: impl Into<Arc<ClientSpec>>, secret: SecretKey) -> Result<Self, InferenceError> {
        let spec = spec.into();
        if secret.params() != spec.params() {
            return Err(pleura_ckks::ClientError::ParamsMismatch.into());
        }
        let encoder = Encoder::new(spec.params());
        Ok(Self { spec, secret, encoder })
    }

    /// The specification.
    pub fn spec(&self) -> &Arc<ClientSpec> {
        &self.spec
    }

    /// The secret key.
    pub fn secret_key(&self) -> &SecretKey {
        &self.secret
    }

    /// The evaluation keys that a server needs for [`Server::open_session`](crate::Server::open_session).
    ///
    /// # Errors
    /// [`InferenceError::Client`] if the system gives no randomness.
    pub fn evaluation_keys(&self) -> Result<EvaluationKeys, InferenceError> {
        Ok(self.secret.evaluation_keys(self.spec.key_request())?)
    }

    /// The ciphertexts of `items`, `[items, ..input shape]`, one group of [`ClientSpec::items`] after the other; the last item
    /// fills up the last group.
    ///
    /// # Errors
    /// [`InferenceError::ItemShape`], [`InferenceError::ItemValue`], [`InferenceError::Encode`] for values far beyond
    /// the calibrated range, [`InferenceError::Client`]
    ///
    /// ```
    /// use pleura_nn::{Client, Coefficients, CompileOptions, Network, Node, NodeMap, Op, Plan};
    /// # let mut nodes = NodeMap::default();
    /// # let x = nodes.push(Node::new("x", [4], Op::Input));
    /// # nodes.push(Node::new("square", [4], Op::Polynomial(x, Coefficients(vec![vec![0.0], vec![0.0], vec![1.0]]))));
    /// # let network = Network::new("square", nodes)?;
    /// # let plan = Plan::compile(&network, &CompileOptions::default(), &mut |_, _, _| ())?;
    /// let client = Client::new(plan.client_spec().clone())?;
    /// let items = ndarray::arr2(&[[1.0, -0.5, 0.25, 0.0]]);
    /// let sent = client.encrypt(items.view())?;
    /// assert_eq!(sent.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn encrypt<D: Dimension>(
        &self,
        items: ArrayView<'_, f64, D>,
    ) -> Result<Vec<Ciphertext>, InferenceError> {
        let input @ TensorSpec { shape, unit, scale, .. } = &self.spec.description.input;
        let items = flat_items(items.into_dyn(), shape)
            .map_err(|got| InferenceError::ItemShape { expected: shape.clone(), got })?;
        if let Some(item) = items.iter().position(|item| item.iter().any(|x| !x.is_finite())) {
            return Err(InferenceError::ItemValue { item });
        }
        let items = match &self.spec.scalers.input {
            Some(scaler) => items.iter().map(|item| scaler.scale(item)).collect(),
            None => items,
        };
        let slots: Vec<Vec<f64>> = items.chunks(input.items()).flat_map(|group| input.fill(group)).collect();
        slots
            .par_iter()
            .map(|slots| {
                let slots: Vec<Complex64> = slots.iter().map(|x| Complex64::from(x / unit)).collect();
                Ok(self.secret.encrypt(&self.encoder.encode_at(&slots, *scale)?)?)
            })
            .collect()
    }

    /// The results of whole groups, `[items, ..output shape]`, rounded to [`ClientSpec::publish_bits`] fractional bits: they may be
    /// shown to others.
    ///
    /// # Errors
    /// [`InferenceError::CiphertextCount`], [`InferenceError::CiphertextForm`], [`InferenceError::Client`],
    /// [`InferenceError::Publish`] if the rounding would not hide the noise.
    ///
    /// ```
    /// use pleura_nn::{Client, Coefficients, CompileOptions, Network, Node, NodeMap, Op, Plan, Server};
    /// # let mut nodes = NodeMap::default();
    /// # let x = nodes.push(Node::new("x", [4], Op::Input));
    /// # nodes.push(Node::new("square", [4], Op::Polynomial(x, Coefficients(vec![vec![0.0], vec![0.0], vec![1.0]]))));
    /// # let network = Network::new("square", nodes)?;
    /// # let plan = Plan::compile(&network, &CompileOptions::default(), &mut |_, _, _| ())?;
    /// let client = Client::new(plan.client_spec().clone())?;
    /// let backend = pleura_ring::Cpu::new(plan.params().ring().clone())?;
    /// let session = Server::new(plan.server_plan().clone(), backend)?.open_session(client.evaluation_keys()?)?;
    /// let sent = client.encrypt(ndarray::arr2(&[[1.0, -0.5, 0.25, 0.0]]).view())?;
    /// let returned = session.infer(&sent, &mut |_, _| ())?;
    /// let squares = client.publish(&returned)?;
    /// assert!((squares[[0, 1]] - 0.25).abs() < 1e-3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn publish(&self, ciphertexts: &[Ciphertext]) -> Result<ArrayD<f64>, InferenceError> {
        // Slots are in units, powers of two, and so are the bits of their fractions.
        let bits = self.spec.slot_publish_bits();
        self.decrypt(ciphertexts, |decrypted| Ok(decrypted.publish_real(bits)?))
    }

    /// The results of whole groups, `[items, ..output shape]`, with all their digits: for the owner of the key alone, since digits
    /// that are shown to others may reveal the key.
    ///
    /// # Errors
    /// [`InferenceError::CiphertextCount`], [`InferenceError::CiphertextForm`], [`InferenceError::Client`]
    pub fn decrypt_unrounded(&self, ciphertexts: &[Ciphertext]) -> Result<ArrayD<f64>, InferenceError> {
        self.decrypt(ciphertexts, |decrypted| Ok(decrypted.reveal_unrounded().iter().map(|z| z.re).collect()))
    }

    fn decrypt(
        &self,
        ciphertexts: &[Ciphertext],
        read: impl Fn(&Decrypted) -> Result<Vec<f64>, InferenceError>,
    ) -> Result<ArrayD<f64>, InferenceError> {
        let output @ TensorSpec { shape, layout, unit, .. } = &self.spec.description.output;
        output.check(ciphertexts)?;
        let mut values = Vec::new();
        for item in ciphertexts.chunks(layout.ciphertexts) {
            let slots: Vec<Vec<f64>> = item
                .iter()
                .map(|ciphertext| read(&self.secret.decrypt(&self.encoder, ciphertext)?))
                .collect::<Result<_, InferenceError>>()?;
            values.extend(output.read(&slots).into_iter().map(|x| x * unit));
        }
        if let Some(scaler) = &self.spec.scalers.output {
            values = values.chunks(scaler.units.len()).flat_map(|item| scaler.unscale(item)).collect();
        }
        let items = ciphertexts.len() / layout.ciphertexts * output.items();
        let dimensions: Vec<usize> = std::iter::once(items).chain(shape.iter().copied()).collect();
        ArrayD::from_shape_vec(IxDyn(&dimensions), values)
            .map_err(|_| InferenceError::Internal("a result has other elements than its shape"))
    }
}
