//! A linear layer on encrypted features, from the key to the scores.

use super::runs::in_runs;
use super::{LinearScore, Packing, PaillierError, SecretKey};
use crate::stopwatch::timed;
use ndarray::{Array2, ArrayView2, s};

/// Scores of a linear layer under Paillier, and what they took.
#[derive(Clone, Debug)]
pub struct LinearRun {
    /// Scores `[image, class]`.
    pub scores: Array2<f64>,
    /// Times of the steps, of all images.
    pub seconds: LinearSeconds,
    /// Bytes of ciphertexts to the server.
    pub sent_bytes: u64,
    /// Bytes of ciphertexts to the client.
    pub returned_bytes: u64,
    /// Groups of images that share ciphertexts.
    pub groups: usize,
}

/// Seconds of a [`LinearRun`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LinearSeconds {
    /// Generation of the key.
    pub keygen: f64,
    /// Encryption of features.
    pub encrypt: f64,
    /// Evaluation at the server.
    pub evaluate: f64,
    /// Decryption of scores.
    pub decrypt: f64,
}

/// A step of a [`LinearRun`], reported as it begins or progresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinearStep {
    /// The key is made.
    Key,
    /// Number of ciphertexts encrypted, and their total.
    Encrypted(usize, usize),
    /// The server evaluates.
    Evaluate,
}

impl LinearRun {
    /// Makes a key of `bits` bits, encrypts features `[image, feature]`, evaluates the layer, decrypts.
    ///
    /// # Errors
    /// [`PaillierError`] if there are no keys of such bits, or features are not finite or not those of the layer.
    pub fn new(
        layer: &LinearScore,
        features: ArrayView2<'_, f64>,
        bits: u32,
        step: &mut dyn FnMut(LinearStep),
    ) -> Result<Self, PaillierError> {
        step(LinearStep::Key);
        let mut seconds = LinearSeconds::default();
        let key = timed(&mut seconds.keygen, || SecretKey::generate(bits))?;
        let public = key.public();
        let quantized = layer.quantized();
        let slots = Packing::new(public, quantized.slot_bits)?.slots();
        let (images, inputs) = features.dim();
        if inputs != layer.features() {
            return Err(PaillierError::Length { what: "features", expected: layer.features(), got: inputs });
        }
        let of = images.div_ceil(slots) * inputs;
        let mut scores = Array2::zeros((images, layer.classes()));
        let mut sent = 0;
        let mut returned = 0;
        let mut groups = 0;
        let each: Vec<usize> = (0..inputs).collect();
        for first in (0..images).step_by(slots) {
            let last = (first + slots).min(images);
            let group = features.slice(s![first..last, ..]);
            let before = groups * inputs;
            let mut done = |number| step(LinearStep::Encrypted(before + number, of));
            // Each feature has a ciphertext of its own.
            let ciphertexts = timed(&mut seconds.encrypt, || {
                in_runs(&each, &mut done, |run| {
                    let Some((from, to)) = run.first().zip(run.last()) else { return Ok(Vec::new()) };
                    quantized.encrypt(public, group.slice(s![.., *from..=*to]))
                })
            })?;
            step(LinearStep::Evaluate);
            let results = timed(&mut seconds.evaluate, || layer.evaluate(public, &ciphertexts))?;
            let opened = timed(&mut seconds.decrypt, || quantized.decrypt(&key, &results, last - first))?;
            scores.slice_mut(s![first..last, ..]).assign(&opened);
            sent += ciphertexts.len();
            returned += results.len();
            groups += 1;
        }
        let bytes = |ciphertexts: usize| (ciphertexts * public.ciphertext_bytes()) as u64;
        Ok(Self { scores, seconds, sent_bytes: bytes(sent), returned_bytes: bytes(returned), groups })
    }
}
