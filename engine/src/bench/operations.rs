//! Times of the scheme's operations on a device, with digests of their results.

use crate::bench::times::Times;
use crate::{AnyBackend, Device, DeviceError};
use pleura_ckks::{
    Backend, BackendError, Ciphertext, CiphertextBatch, ClientError, Complex64, EncodeError, Encoder,
    EvalError, EvaluationKeys, Evaluator, KeyRequest, LinearTransform, Params, ParamsError, ParamsLiteral,
    PreparedKeys, PreparedTransform, RingKind, SecretKey, Security, TransformError,
};
use pleura_ring::{Batch, Coeff, Ntt};
use sha2::{Digest, Sha256};
use std::time::Instant;

/// Operations by the names of their benchmarks, with descriptions; times are for one ciphertext of a batch.
pub const OPERATIONS: [(&str, &str); 6] = [
    ("ntt", "transform of all ciphertext limbs of a polynomial"),
    ("intt", "its inverse"),
    ("mul_rescale", "HMult: product, relinearized and rescaled"),
    ("rotate", "HRot: one rotation"),
    ("rotate_many_8", "eight rotations, hoisted"),
    ("linear_transform_64", "64 diagonals, baby-step giant-step"),
];

/// Parameters of operations at the degrees 2^13 to 2^16, of 128 bits of security. From 2^14 on with as many limbs as the table of floors for GPUs is
/// made for: 11 + 4, 24 + 8, 24 + 8.
pub const PARAMETER_SETS: [ParamsLiteral; 4] = [
    ParamsLiteral::N13,
    ParamsLiteral {
        ring: RingKind::Cyclotomic,
        log_n: 14,
        levels: 9,
        scale_bits: 28,
        base_bits: 56,
        digit_limbs: 4,
        security: Security::Bits128,
    },
    ParamsLiteral {
        ring: RingKind::Cyclotomic,
        log_n: 15,
        levels: 22,
        scale_bits: 26,
        base_bits: 52,
        digit_limbs: 8,
        security: Security::Bits128,
    },
    ParamsLiteral {
        ring: RingKind::Cyclotomic,
        log_n: 16,
        levels: 22,
        scale_bits: 29,
        base_bits: 58,
        digit_limbs: 8,
        security: Security::Bits128,
    },
];

/// Rotations that share a decomposition.
const ROTATIONS: [i64; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
/// Diagonals of the linear transform.
const DIAGONALS: usize = 64;
/// Bytes of polynomials that wait for their transforms.
const WAITING_BYTES: usize = 256 << 20;
/// A shorter measurement is one of the clock, and of waking a device up.
const ROUND_SECONDS: f64 = 0.02;
/// Largest number of runs that are waited for together.
const MAX_RUNS: usize = 64;

/// Keys and ciphertexts at one parameter set, the same for all devices.
pub struct Operands {
    params: Params,
    encoder: Encoder,
    keys: EvaluationKeys,
    /// One more than the largest batch.
    ciphertexts: Vec<Ciphertext>,
    transform: LinearTransform,
}

/// Operands on a device.
pub struct Operations<'a> {
    operands: &'a Operands,
    evaluator: Evaluator<AnyBackend>,
    keys: PreparedKeys<AnyBackend>,
    transform: PreparedTransform<AnyBackend>,
}

/// An operation in figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Seconds for one ciphertext of the batch.
    pub times: Times,
    /// Runs that each time is the mean of: short ones are not waited for one by one.
    pub runs: usize,
    /// SHA-256 of the words of the result.
    pub digest: [u8; 32],
}

/// Failure of a benchmark.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The device cannot be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The parameters do not exist.
    #[error(transparent)]
    Params(#[from] ParamsError),
    /// An operation failed.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// Keys or ciphertexts cannot be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Values cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The parameters have no room for the linear transform.
    #[error(transparent)]
    Transform(#[from] TransformError),
}

impl From<BackendError> for BenchError {
    fn from(error: BackendError) -> Self {
        Self::Eval(error.into())
    }
}

impl Operands {
    /// Makes keys and ciphertexts for batches of up to `most` ciphertexts.
    ///
    /// # Errors
    /// [`BenchError::Client`], [`BenchError::Encode`], [`BenchError::Transform`]
    pub fn new(params: Params, most: usize) -> Result<Self, BenchError> {
        let encoder = Encoder::new(&params);
        let secret = SecretKey::generate(&params)?;
        let slots = params.slots();
        let diagonal = |k: usize| {
            (0..slots).map(|i| Complex64::from(((i + k) as f64).cos() / DIAGONALS as f64)).collect()
        };
        let diagonals = (0..DIAGONALS).map(|k| (k as i64, diagonal(k)));
        let transform = LinearTransform::new(&params, params.max_level(), slots, diagonals)?;
        let request = key_request(&params).merge(&transform.keys());
        Ok(Self {
            ciphertexts: (0..=most)
                .map(|item| -> Result<Ciphertext, BenchError> {
                    let values: Vec<f64> = (0..slots).map(|i| ((i + item) as f64).sin()).collect();
                    Ok(secret.encrypt(&encoder.encode_real(&values)?)?)
                })
                .collect::<Result<_, _>>()?,
            keys: secret.evaluation_keys(&request)?,
            params,
            encoder,
            transform,
        })
    }

    /// About the bytes that host and device need together for batches of up to `most` ciphertexts.
    pub fn needed_bytes(params: &Params, most: usize) -> u64 {
        let gadget = params.gadget(params.max_level());
        let q = gadget.limbs.q;
        let all = q + gadget.limbs.p;
        // Rotations of the linear transform's baby and giant steps, about.
        let steps = 2 * DIAGONALS.isqrt() as i64;
        let keys = key_request(params).rotations(params, 1..=steps, params.max_level()).bytes(params);
        // Hoisted rotations keep digits, sums and results of each ciphertext.
        let item = gadget.digits() * all + 2 * ROTATIONS.len() * (all + q) + 8 * q;
        let limbs = 2 * DIAGONALS * all + (most + 1) * item;
        (2 * keys + limbs * 4 * params.n()) as u64
    }

    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }
}

impl<'a> Operations<'a> {
    /// Brings operands to a device.
    ///
    /// # Errors
    /// [`BenchError::Device`], [`BenchError::Eval`] if the device has no memory left.
    pub fn new(operands: &'a Operands, device: &Device) -> Result<Self, BenchError> {
        let backend = device.backend(operands.params.ring())?;
        let evaluator = Evaluator::new(&operands.params, backend)?;
        let keys = evaluator.upload_keys(&operands.keys)?;
        let transform = evaluator.prepare_transform(&operands.transform, &operands.encoder)?;
        // An error that is pending is the device's, not the first operation's.
        evaluator.backend().wait()?;
        Ok(Self { operands, evaluator, keys, transform })
    }

    /// Measures one of [`OPERATIONS`] on `batch` ciphertexts, `repeat` times.
    ///
    /// # Errors
    /// [`BenchError::Eval`]
    pub fn measure(&self, name: &str, batch: usize, repeat: usize) -> Result<Measured, BenchError> {
        let measured = match name {
            "ntt" | "intt" => self.transforms(name == "intt", batch, repeat),
            _ => self.operation(name, batch, repeat),
        };
        if measured.is_err() {
            // A second error of the same failure is not the next operation's.
            let _ = self.evaluator.backend().wait();
        }
        measured
    }

    fn operation(&self, name: &str, batch: usize, repeat: usize) -> Result<Measured, BenchError> {
        let x = self.upload(0, batch)?;
        let y = self.upload(1, batch)?;
        let evaluator = &self.evaluator;
        let keys = &self.keys;
        let run = || -> Result<Vec<CiphertextBatch<AnyBackend>>, BenchError> {
            Ok(match name {
                "mul_rescale" => vec![evaluator.mul_rescale(&x, &y, keys)?],
                "rotate" => vec![evaluator.rotate(&x, 1, keys)?],
                "rotate_many_8" => evaluator.rotate_many(&x, &ROTATIONS, keys)?,
                _ => vec![evaluator.transform(&x, &self.transform, keys)?],
            })
        };
        let mut digest = Sha256::new();
        for results in run()? {
            evaluator.download(&results)?.iter().for_each(|result| digest.update(result.to_bytes()));
        }
        let (times, runs) = many(repeat, batch, MAX_RUNS, |runs| {
            let clock = Instant::now();
            for _ in 0..runs {
                drop(run()?);
            }
            evaluator.backend().wait()?;
            Ok(clock.elapsed().as_secs_f64())
        })?;
        Ok(Measured { times, runs, digest: digest.finalize().into() })
    }

    /// Transforms work in place: each run has polynomials of its own.
    fn transforms(&self, inverse: bool, batch: usize, repeat: usize) -> Result<Measured, BenchError> {
        let params = &self.operands.params;
        let backend = self.evaluator.backend();
        let ring = params.ring();
        let limbs = params.limbs(params.max_level());
        let rows = (0..batch).flat_map(|_| ring.moduli(limbs)).enumerate();
        let words: Vec<u32> = rows
            .flat_map(|(row, modulus)| {
                // Any words that are not all alike.
                (0..ring.n()).map(move |i| ((i + 1) * (row + 3) * 2_654_435_761) as u32 % modulus.q())
            })
            .collect();
        let result = if inverse {
            backend.download(backend.intt(backend.upload(limbs, batch, &words)?).view()).wait()?
        } else {
            backend.download(backend.ntt(backend.upload(limbs, batch, &words)?).view()).wait()?
        };
        let mut digest = Sha256::new();
        result.iter().for_each(|word| digest.update(word.to_le_bytes()));
        let fit = WAITING_BYTES / (4 * words.len().max(1));
        let (times, runs) = many(repeat, batch, fit, |runs| {
            let sources: Vec<Batch<_, Coeff>> =
                (0..runs).map(|_| backend.upload(limbs, batch, &words)).collect::<Result<_, _>>()?;
            backend.wait()?;
            let clock = Instant::now();
            let results: Vec<Batch<_, Ntt>> = sources.into_iter().map(|x| backend.ntt(x)).collect();
            backend.wait()?;
            let forward = clock.elapsed();
            let clock = Instant::now();
            let back: Vec<Batch<_, Coeff>> = results.into_iter().map(|x| backend.intt(x)).collect();
            backend.wait()?;
            let seconds = if inverse { clock.elapsed() } else { forward }.as_secs_f64();
            drop(back);
            Ok(seconds)
        })?;
        Ok(Measured { times, runs, digest: digest.finalize().into() })
    }

    fn upload(&self, from: usize, batch: usize) -> Result<CiphertextBatch<AnyBackend>, BenchError> {
        let all = &self.operands.ciphertexts;
        Ok(self.evaluator.upload(all.get(from..from + batch).unwrap_or_default())?)
    }
}

/// The keys of the operations, without those of the linear transform.
fn key_request(params: &Params) -> KeyRequest {
    let top = params.max_level();
    KeyRequest::new().relin(top).rotations(params, ROTATIONS, top)
}

/// Seconds that one item of `work(runs)` takes, which does something for `batch` items `runs` times, then waits, and
/// returns its seconds; and the runs.
fn many(
    repeat: usize,
    batch: usize,
    max_runs: usize,
    mut work: impl FnMut(usize) -> Result<f64, BenchError>,
) -> Result<(Times, usize), BenchError> {
    // Afterwards, caches are warm and kernels compiled.
    work(1)?;
    let once = work(1)?;
    let runs = (ROUND_SECONDS / once.max(1e-9)).ceil() as usize;
    let runs = runs.clamp(1, max_runs.clamp(1, MAX_RUNS));
    let items = (runs * batch) as f64;
    let first = work(runs)? / items;
    let rest: Vec<f64> = (1..repeat).map(|_| Ok(work(runs)? / items)).collect::<Result<_, BenchError>>()?;
    Ok((Times::new(first, rest), runs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pleura_ckks::ParamsLiteral;

    #[test]
    fn digests_are_those_of_the_results() {
        let operands = Operands::new(Params::new(ParamsLiteral::N13).unwrap(), 2).unwrap();
        let device = Device::cpu(Some(2));
        let operations = Operations::new(&operands, &device).unwrap();
        let measured = |name: &str| operations.measure(name, 2, 1).unwrap();
        let all = OPERATIONS.map(|(name, _)| measured(name));
        assert!(all.iter().all(|measured| measured.times.min > 0.0 && measured.runs >= 1));
        for (i, (name, _)) in OPERATIONS.iter().enumerate() {
            assert_eq!(all.iter().position(|other| other.digest == measured(name).digest), Some(i), "{name}");
        }
    }
}
