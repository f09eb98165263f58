//! Evaluation keys from a stream to a device, one at a time.

use super::error::EvalError;
use super::evaluator::Evaluator;
use super::objects::{PreparedKey, PreparedKeys};
use crate::objects::{EvaluationKeys, KeyRequest, SwitchingKey};
use crate::residues::unpack;
use crate::wire_error::WireError;
use pleura_ring::{Backend, GaloisElement, PolySource};
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Bytes that are read at once: few enough that a reader which hashes them finds them in a cache.
const PIECE: u64 = 1 << 18;

/// Why evaluation keys did not reach a device.
#[derive(Debug, thiserror::Error)]
pub enum KeyLoadError {
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The bytes are no keys.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A key is missing, or the device failed.
    #[error(transparent)]
    Eval(#[from] EvalError),
}

/// Key for products, or that of an automorphism, and its level.
type Place = (Option<GaloisElement>, usize);

/// Key on a device, by the automorphism that it is for.
type Loaded<B> = (Option<GaloisElement>, PreparedKey<B>);

impl<B: Backend> Evaluator<B> {
    /// Reads the bytes of [`EvaluationKeys`] that answer a request, and brings each key to the device while those after it are read. A
    /// few keys at a time are in the host's memory. No more is read than the request's keys take.
    ///
    /// # Errors
    /// [`KeyLoadError::Wire`] for damaged bytes and for more keys than requested, [`KeyLoadError::Eval`] for keys that do not cover
    /// the request and if the device fails, [`KeyLoadError::Io`]. The reader has passed any number of bytes then.
    ///
    /// ```
    /// use pleura_ckks::{Encoder, Evaluator, KeyRequest, Params, SecretKey, Security};
    /// use pleura_ring::Cpu;
    ///
    /// let params = Params::choose(1, 28, Security::Bits128)?;
    /// let secret = SecretKey::generate(&params)?;
    /// let request = KeyRequest::new().relin(1);
    /// let bytes = secret.evaluation_keys(&request)?.to_bytes();
    ///
    /// let evaluator = Evaluator::new(&params, Cpu::new(params.ring().clone())?)?;
    /// let keys = evaluator.load_keys(&bytes[..], &request)?;
    /// assert_eq!(keys.bytes(), request.bytes(&params));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn load_keys(
        &self,
        mut input: impl Read + Send,
        request: &KeyRequest,
    ) -> Result<PreparedKeys<B>, KeyLoadError> {
        let params = self.params();
        let mut table = Vec::new();
        read(&mut input, EvaluationKeys::table_len(request), &mut table)?;
        let found = EvaluationKeys::read_table(&table, params)?;
        found.check_covers(request, params.ring())?;
        if found != *request {
            let expected = EvaluationKeys::encoded_len(params, &found);
            let got = EvaluationKeys::encoded_len(params, request);
            return Err(WireError::Length { expected, got }.into());
        }
        self.backend().expect_constants(request.bytes(params) / size_of::<u32>());
        let relin = request.relin.map(|level| (None, level));
        let galois = request.galois.iter().map(|(&g, &level)| (Some(g), level));
        let places: Vec<Place> = relin.into_iter().chain(galois).collect();
        let mut keys = PreparedKeys { params: params.clone(), relin: None, galois: Default::default() };
        for (g, key) in self.backend().series(|| self.load_each(input, &places))? {
            match g {
                None => keys.relin = Some(key),
                Some(g) => _ = keys.galois.insert(g, key),
            }
        }
        Ok(keys)
    }

    /// Reads keys on this thread, and brings them to the device on all.
    fn load_each(
        &self,
        mut input: impl Read + Send,
        places: &[Place],
    ) -> Result<Vec<Loaded<B>>, KeyLoadError> {
        let loaded = Mutex::new(Vec::with_capacity(places.len()));
        let buffers = Mutex::new(Vec::new());
        let waiting = AtomicUsize::new(0);
        // The reader lends a hand where the others are behind, so that few bytes wait.
        let most = 2 * rayon::current_num_threads();
        let load = |g, level, bytes: Vec<u8>| {
            let key = self.load_key(level, &bytes).map(|key| (g, key));
            loaded.lock().unwrap_or_else(PoisonError::into_inner).push(key);
            buffers.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
            waiting.fetch_sub(1, Ordering::Relaxed);
        };
        rayon::scope(|scope| {
            for &(g, level) in places {
                let free = buffers.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let mut bytes = free.unwrap_or_default();
                read(&mut input, SwitchingKey::rows_len(self.params(), level), &mut bytes)?;
                if waiting.fetch_add(1, Ordering::Relaxed) < most {
                    let load = &load;
                    scope.spawn(move |_| load(g, level, bytes));
                } else {
                    load(g, level, bytes);
                }
            }
            Ok::<_, KeyLoadError>(())
        })?;
        loaded.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().collect()
    }

    /// Brings a key to the device, whose bytes are unpacked where it has its words.
    fn load_key(&self, level: usize, bytes: &[u8]) -> Result<PreparedKey<B>, KeyLoadError> {
        let params = self.params();
        let gadget = params.gadget(level);
        let (seed, polys) = SwitchingKey::split_rows(bytes, params, gadget)?;
        let failed = OnceLock::new();
        let write = |bytes, limb, words: &mut [u32]| {
            if let Err(error) = unpack(params, gadget.limbs, bytes, limb, words) {
                _ = failed.set(error);
            }
        };
        let writes: Vec<_> =
            polys.into_iter().map(|bytes| move |limb, words: &mut [u32]| write(bytes, limb, words)).collect();
        let sources: Vec<_> = (0..)
            .zip(&writes)
            .flat_map(|(number, write)| {
                [PolySource::Written(write), PolySource::Uniform { seed: &seed, number, words: None }]
            })
            .collect();
        let data = self.backend().upload_polys(gadget.limbs, &sources).map_err(EvalError::from)?;
        match failed.into_inner() {
            Some(error) => Err(error.into()),
            None => Ok(PreparedKey { params: params.clone(), data, level }),
        }
    }
}

/// Reads `len` bytes in place of the old ones. Memory grows with what arrives.
fn read(input: &mut impl Read, len: u64, bytes: &mut Vec<u8>) -> Result<(), KeyLoadError> {
    bytes.clear();
    let mut left = len;
    while left > 0 {
        let count = input.by_ref().take(left.min(PIECE)).read_to_end(bytes)? as u64;
        if count == 0 {
            return Err(WireError::Length { expected: len, got: bytes.len() as u64 }.into());
        }
        left -= count;
    }
    Ok(())
}
