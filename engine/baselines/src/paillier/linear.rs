//! The sound use: a server evaluates a linear layer on encrypted features and never sees a score.

use super::{Ciphertext, Packing, PaillierError, Plaintext, PublicKey, SecretKey};
use crypto_bigint::modular::BoxedMontyForm;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2};
use rayon::prelude::*;
use zeroize::Zeroizing;

/// Features whose powers share squarings.
const CHUNK: usize = 128;

/// How real numbers become the integers of the scheme: agreed on by client and server, no secret of either.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantized {
    /// Features are cut off beyond plus and minus this.
    pub bound: f64,
    /// A feature of one becomes `2^feature_bits`.
    pub feature_bits: u32,
    /// A weight of one becomes `2^weight_bits`.
    pub weight_bits: u32,
    /// Bits of a slot: one for each image.
    pub slot_bits: u32,
}

/// A linear layer in integers: the server's.
#[derive(Clone, Debug)]
pub struct LinearScore {
    quantized: Quantized,
    weights: Vec<Vec<i64>>,
    bias: Vec<i64>,
}

impl Quantized {
    /// The client's: one ciphertext for each feature of `[image, feature]`, with that feature of every image in it, side by side.
    ///
    /// # Errors
    /// [`PaillierError`] if there are more images than slots, or a feature is not finite.
    pub fn encrypt(
        &self,
        key: &PublicKey,
        images: ArrayView2<'_, f64>,
    ) -> Result<Vec<Ciphertext>, PaillierError> {
        let packing = Packing::new(key, self.slot_bits)?;
        if images.iter().any(|x| !x.is_finite()) {
            return Err(PaillierError::NotFinite { what: "features" });
        }
        let scale = f64::from(self.feature_bits).exp2();
        let mut plaintexts = Vec::with_capacity(images.ncols());
        for feature in images.columns() {
            let integers: Vec<_> =
                feature.iter().map(|x| (x.clamp(-self.bound, self.bound) * scale).round() as i64).collect();
            plaintexts.push(packing.pack(key, &integers)?);
        }
        key.encrypt(&plaintexts)
    }

    /// Decrypts scores `[image, class]` of `count` images, at most as many as there are slots. For the client.
    ///
    /// # Errors
    /// [`PaillierError`] if these are no ciphertexts under the key.
    pub fn decrypt(
        &self,
        key: &SecretKey,
        scores: &[Ciphertext],
        count: usize,
    ) -> Result<Array2<f64>, PaillierError> {
        let packing = Packing::new(key.public(), self.slot_bits)?;
        let scale = f64::from(self.feature_bits + self.weight_bits).exp2();
        let opened = Zeroizing::new(key.decrypt(scores)?);
        let mut scores = Array2::zeros((count.min(packing.slots()), scores.len()));
        for (mut class, plaintext) in scores.columns_mut().into_iter().zip(opened.iter()) {
            let values = packing.unpack(key.public(), plaintext, class.len());
            class.iter_mut().zip(values).for_each(|(score, x)| *score = x as f64 / scale);
        }
        Ok(scores)
    }
}

impl LinearScore {
    /// A layer of weights `[class, feature]` and biases `[class]`, for features up to `bound`, with these numbers of fractional
    /// bits.
    ///
    /// # Errors
    /// [`PaillierError`] if there are not as many biases as classes, a number is not finite, or a score could exceed 62 bits.
    pub fn new(
        weights: ArrayView2<'_, f64>,
        bias: ArrayView1<'_, f64>,
        bound: f64,
        feature_bits: u32,
        weight_bits: u32,
    ) -> Result<Self, PaillierError> {
        if bias.len() != weights.nrows() {
            return Err(PaillierError::Length { what: "biases", expected: weights.nrows(), got: bias.len() });
        }
        if weights.iter().chain(bias).any(|x| !x.is_finite()) || !bound.is_finite() || bound <= 0.0 {
            return Err(PaillierError::NotFinite { what: "weights" });
        }
        let integer = |x: f64, bits: u32| (x * f64::from(bits).exp2()).round();
        let mut largest = 1.0f64;
        for (row, &bias) in weights.outer_iter().zip(bias) {
            let sum: f64 = row.iter().map(|&w| integer(w, weight_bits).abs()).sum();
            let score = sum * integer(bound, feature_bits) + integer(bias, feature_bits + weight_bits).abs();
            largest = largest.max(score);
        }
        let needed = largest.log2().ceil() + 2.0;
        if needed > 62.0 {
            return Err(PaillierError::Packing { slots: 1, slot_bits: needed as u32, bits: 62 });
        }
        let quantized = Quantized { bound, feature_bits, weight_bits, slot_bits: needed as u32 };
        let weights =
            weights.outer_iter().map(|row| row.iter().map(|&w| integer(w, weight_bits) as i64).collect());
        let bias = bias.iter().map(|&b| integer(b, feature_bits + weight_bits) as i64);
        Ok(Self { quantized, weights: weights.collect(), bias: bias.collect() })
    }

    /// Number of scores.
    pub fn classes(&self) -> usize {
        self.weights.len()
    }

    /// Number of features.
    pub fn features(&self) -> usize {
        self.weights.first().map_or(0, Vec::len)
    }

    /// The part that the client knows.
    pub fn quantized(&self) -> &Quantized {
        &self.quantized
    }

    /// The server's: encrypted scores, one ciphertext for each class, from one for each feature.
    ///
    /// # Errors
    /// [`PaillierError`] if there are more or fewer ciphertexts than features, or one is none under the key.
    pub fn evaluate(
        &self,
        key: &PublicKey,
        features: &[Ciphertext],
    ) -> Result<Vec<Ciphertext>, PaillierError> {
        let packing = Packing::new(key, self.quantized.slot_bits)?;
        let forms: Result<Vec<BoxedMontyForm>, _> = features.par_iter().map(|c| key.form(c)).collect();
        let forms = forms?;
        self.weights
            .iter()
            .zip(&self.bias)
            .map(|(row, &bias)| {
                if row.len() != forms.len() {
                    return Err(PaillierError::Length {
                        what: "features",
                        expected: row.len(),
                        got: forms.len(),
                    });
                }
                let product = |sign: i64| -> Ciphertext {
                    let parts = row.par_chunks(CHUNK).zip(forms.par_chunks(CHUNK));
                    let one = || BoxedMontyForm::one(&key.square);
                    let parts = parts.map(|(weights, forms)| powers(weights, forms, sign, one()));
                    key.close(&parts.reduce(one, |a, b| a * b))
                };
                let sum = key.add(&product(1), &key.negate(&product(-1))?)?;
                let bias = packing.pack(key, &vec![bias; packing.slots()])?;
                let bias = key.encrypt_with(&bias, &BoxedMontyForm::one(&key.square))?;
                // The client knows the randomness that it sent: products of its powers would reveal the weights. It also chose
                // the key's base, so only a uniform residue hides them for certain.
                key.rerandomize(&key.add(&sum, &bias)?)
            })
            .collect()
    }

    /// Scores of the plaintext layer on the quantized integers.
    pub fn clear(&self, image: ArrayView1<'_, f64>) -> Array1<f64> {
        let Quantized { bound, feature_bits, weight_bits, .. } = self.quantized;
        let feature = f64::from(feature_bits).exp2();
        let both = f64::from(feature_bits + weight_bits).exp2();
        let integers: Vec<i64> =
            image.iter().map(|x| (x.clamp(-bound, bound) * feature).round() as i64).collect();
        self.weights
            .iter()
            .zip(&self.bias)
            .map(|(row, bias)| {
                let sum: i64 = row.iter().zip(&integers).map(|(w, x)| w * x).sum();
                (sum + bias) as f64 / both
            })
            .collect()
    }
}

/// The product of `forms[i]^weights[i]` over weights of one sign, bit by bit from the top: squarings are shared. Its time depends on
/// the weights, which are the server's own.
fn powers(weights: &[i64], forms: &[BoxedMontyForm], sign: i64, one: BoxedMontyForm) -> BoxedMontyForm {
    let mut product = one;
    let bits = 64 - weights.iter().map(|w| w.unsigned_abs()).max().unwrap_or(0).leading_zeros();
    for bit in (0..bits).rev() {
        product = product.square();
        for (weight, form) in weights.iter().zip(forms) {
            if weight.signum() == sign && weight.unsigned_abs() >> bit & 1 == 1 {
                product *= form;
            }
        }
    }
    product
}

impl Plaintext {
    /// A single signed number modulo the modulus.
    pub fn from_i64(key: &PublicKey, value: i64) -> Self {
        use crypto_bigint::{BoxedUint, Resize};
        let size = BoxedUint::from(value.unsigned_abs()).resize(key.bits);
        Self(if value < 0 { size.neg_mod(key.n.as_nz_ref()) } else { size })
    }
}
