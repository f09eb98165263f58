//! The way to the device and back.

use super::error::EvalError;
use super::evaluator::{Evaluator, check_equal, check_scales};
use super::objects::{CiphertextBatch, PreparedKey, PreparedKeys, PreparedPlaintext};
use crate::objects::{Ciphertext, EvaluationKeys, SwitchingKey};
use crate::{Params, Plaintext};
use pleura_ring::{Backend, BackendError, Batch, Download, Limbs, Ntt, Poly, PolySource};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Ciphertexts on their way from a device: native code waits for them with [`CiphertextDownload::wait`], a browser, where
/// nothing may block, awaits them.
#[derive(Debug)]
#[must_use = "the ciphertexts arrive only where they are waited for"]
pub struct CiphertextDownload {
    words: Download,
    form: Form,
}

/// Attributes of the ciphertexts in a download.
#[derive(Debug)]
struct Form {
    params: Params,
    limbs: Limbs,
    items: usize,
    parts: usize,
    level: usize,
    scale: f64,
    log_slots: u32,
}

impl<B: Backend> Evaluator<B> {
    /// Brings evaluation keys to the device.
    ///
    /// # Errors
    /// [`EvalError::ParamsMismatch`], [`EvalError::Backend`]
    pub fn upload_keys(&self, keys: &EvaluationKeys) -> Result<PreparedKeys<B>, EvalError> {
        self.check_params(&keys.params)?;
        self.expect_keys(keys.relin().into_iter().chain(keys.galois().values()));
        Ok(PreparedKeys {
            params: self.params().clone(),
            relin: keys.relin().map(|key| self.upload_key(key)).transpose()?,
            galois: keys
                .galois()
                .iter()
                .map(|(&g, key)| self.upload_key(key).map(|key| (g, key)))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Uploads keys that are not needed elsewhere: each leaves the host's memory as soon as it is on the device.
    ///
    /// # Errors
    /// [`EvalError::ParamsMismatch`], [`EvalError::Backend`]
    pub fn upload_keys_owned(&self, keys: EvaluationKeys) -> Result<PreparedKeys<B>, EvalError> {
        self.check_params(&keys.params)?;
        self.expect_keys(keys.relin().into_iter().chain(keys.galois().values()));
        let EvaluationKeys { relin, galois, .. } = keys;
        Ok(PreparedKeys {
            params: self.params().clone(),
            galois: galois
                .into_par_iter()
                .map(|(g, key)| self.upload_key(&key).map(|key| (g, key)))
                .collect::<Result<_, _>>()?,
            relin: relin.map(|key| self.upload_key(&key)).transpose()?,
        })
    }

    /// Brings one switching key to the device.
    ///
    /// # Errors
    /// [`EvalError::ParamsMismatch`], [`EvalError::Backend`]
    pub fn upload_key(&self, key: &SwitchingKey) -> Result<PreparedKey<B>, EvalError> {
        self.check_params(key.params())?;
        let data = self.backend().upload_polys(key.gadget().limbs, &key.sources())?;
        Ok(PreparedKey { params: self.params().clone(), data, level: key.level() })
    }

    /// Announces keys to the device.
    fn expect_keys<'a>(&self, keys: impl Iterator<Item = &'a SwitchingKey>) {
        self.backend().expect_constants(keys.map(SwitchingKey::words).sum());
    }

    /// Brings ciphertexts of equal level, scale, slots and parts to the device, side by side.
    ///
    /// # Errors
    /// [`EvalError::Empty`], [`EvalError::ParamsMismatch`], [`EvalError::Mismatch`],
    /// [`EvalError::ScaleMismatch`], [`EvalError::Backend`]
    #[expect(clippy::indexing_slicing, reason = "all have as many parts as the first")]
    pub fn upload(&self, ciphertexts: &[Ciphertext]) -> Result<CiphertextBatch<B>, EvalError> {
        let first = ciphertexts.first().ok_or(EvalError::Empty)?;
        for c in ciphertexts {
            self.check_params(&c.params)?;
            check_equal("levels", first.level, c.level)?;
            check_equal("numbers of parts", first.parts(), c.parts())?;
            check_equal("logarithms of slots", first.log_slots as usize, c.log_slots as usize)?;
            check_scales(first.scale, c.scale)?;
        }
        let sources: Vec<_> = ciphertexts.iter().map(Ciphertext::sources).collect();
        let parts: Vec<_> =
            (0..first.parts()).flat_map(|i| sources.iter().map(move |parts| parts[i])).collect();
        let data = self.backend().upload_polys(self.params().limbs(first.level), &parts)?;
        let &Ciphertext { level, scale, log_slots, .. } = first;
        let params = self.params().clone();
        let items = ciphertexts.len();
        Ok(CiphertextBatch { params, data, items, level, scale, log_slots })
    }

    /// Waits for the device and brings the ciphertexts back.
    ///
    /// # Errors
    /// [`EvalError::ParamsMismatch`], [`EvalError::Backend`]
    pub fn download(&self, x: &CiphertextBatch<B>) -> Result<Vec<Ciphertext>, EvalError> {
        self.begin_download(x)?.wait()
    }

    /// Begins to bring ciphertexts back, without waiting for the device.
    ///
    /// # Errors
    /// [`EvalError::ParamsMismatch`]
    pub fn begin_download(&self, x: &CiphertextBatch<B>) -> Result<CiphertextDownload, EvalError> {
        self.check_params(&x.params)?;
        Ok(CiphertextDownload {
            words: self.backend().download(x.data.view()),
            form: Form {
                params: x.params.clone(),
                limbs: x.data.limbs(),
                items: x.items,
                parts: x.parts(),
                level: x.level,
                scale: x.scale,
                log_slots: x.log_slots,
            },
        })
    }

    /// Brings a plaintext to the device, for use at a level.
    ///
    /// # Errors
    /// [`EvalError::ParamsMismatch`], [`EvalError::OutOfLevels`], [`EvalError::Backend`]
    pub fn upload_plaintext(
        &self,
        plaintext: &Plaintext,
        level: usize,
    ) -> Result<PreparedPlaintext<B>, EvalError> {
        self.upload_plaintexts(std::slice::from_ref(plaintext), level)
    }

    /// Brings plaintexts of one scale to the device, for use with as many ciphertexts, or with groups of as many.
    ///
    /// # Errors
    /// [`EvalError::Empty`], [`EvalError::ParamsMismatch`], [`EvalError::ScaleMismatch`], [`EvalError::Mismatch`],
    /// [`EvalError::OutOfLevels`], [`EvalError::Backend`]
    pub fn upload_plaintexts(
        &self,
        plaintexts: &[Plaintext],
        level: usize,
    ) -> Result<PreparedPlaintext<B>, EvalError> {
        let first = plaintexts.first().ok_or(EvalError::Empty)?;
        self.check_level(level)?;
        let mut polys = Vec::with_capacity(plaintexts.len());
        for plaintext in plaintexts {
            self.check_params(plaintext.params())?;
            check_scales(first.scale(), plaintext.scale())?;
            let left = first.log_slots() as usize;
            let right = plaintext.log_slots() as usize;
            check_equal("logarithms of slots", left, right)?;
            polys.push(plaintext.to_poly(self.params().limbs(level)).into_ntt());
        }
        let data = self.upload_polys(self.params().limbs(level), &polys)?;
        let params = self.params().clone();
        let scale = first.scale();
        let log_slots = first.log_slots();
        Ok(PreparedPlaintext { params, data, level, scale, log_slots })
    }

    pub(super) fn upload_polys<'a>(
        &self,
        limbs: Limbs,
        polys: impl IntoIterator<Item = &'a Poly<Ntt>>,
    ) -> Result<Batch<B, Ntt>, EvalError> {
        let polys: Vec<_> = polys.into_iter().map(|poly| PolySource::Words(poly.words())).collect();
        Ok(self.backend().upload_polys(limbs, &polys)?)
    }
}

impl CiphertextDownload {
    /// Blocks until the ciphertexts are there.
    ///
    /// # Errors
    /// [`EvalError::Backend`]
    pub fn wait(self) -> Result<Vec<Ciphertext>, EvalError> {
        self.form.ciphertexts(self.words.wait()?)
    }
}

impl Form {
    fn ciphertexts(&self, words: Vec<u32>) -> Result<Vec<Ciphertext>, EvalError> {
        let ring = self.params.ring();
        let lost = |reason: &str| EvalError::Backend(BackendError::DeviceLost { reason: reason.into() });
        let mut polys = split(words, ring.words(self.limbs, 1)).into_iter();
        let mut items: Vec<_> = (0..self.items).map(|_| Vec::with_capacity(self.parts)).collect();
        for _ in 0..self.parts {
            for parts in &mut items {
                let words = polys.next().ok_or_else(|| lost("it returned too few words"))?;
                let poly = Poly::from_words(ring, self.limbs, words);
                parts.push(poly.ok_or_else(|| lost("it returned words out of range"))?);
            }
        }
        let &Self { level, scale, log_slots, .. } = self;
        let params = &self.params;
        Ok(items
            .into_iter()
            .map(|parts| Ciphertext { params: params.clone(), level, scale, log_slots, parts, seeded: None })
            .collect())
    }
}

/// Pieces of `count` words. The first one keeps its place in memory, where all of them were.
fn split(mut words: Vec<u32>, count: usize) -> Vec<Vec<u32>> {
    let mut pieces = Vec::with_capacity(words.len().div_ceil(count));
    while words.len() > count {
        pieces.push(words.split_off(words.len() - count));
    }
    words.shrink_to_fit();
    pieces.push(words);
    pieces.reverse();
    pieces
}

impl Future for CiphertextDownload {
    type Output = Result<Vec<Ciphertext>, EvalError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let words = std::task::ready!(Pin::new(&mut self.words).poll(context))?;
        Poll::Ready(self.form.ciphertexts(words))
    }
}
