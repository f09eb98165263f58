//! The scheme's operations on one device.

use crate::bench::manifest::{DIAGONALS, OPERATIONS, ROTATIONS};
use crate::bench::record::{Outcome, Parameters, Times};
use crate::bench::{Place, clock};
use crate::device::{Metered, OnDevice};
use crate::error::CliError;
use crate::text::hex;
use crate::{memory, terminal};
use indicatif::ProgressBar;
use pleura::ckks::{
    Ciphertext, CiphertextBatch, Complex64, Encoder, EvaluationKeys, Evaluator, KeyRequest, LinearTransform,
    Params, ParamsLiteral, PreparedKeys, PreparedTransform, SecretKey,
};
use pleura::ring::{Backend, Batch, Coeff, Ntt};
use sha2::{Digest, Sha256};
use std::time::Instant;

/// Bytes of polynomials that wait for their transforms.
const WAITING_BYTES: usize = 256 << 20;

/// Operands at one degree, the same for all devices.
pub(crate) struct Operands {
    params: Params,
    encoder: Encoder,
    keys: EvaluationKeys,
    /// One more than the largest batch.
    ciphertexts: Vec<Ciphertext>,
    transform: LinearTransform,
}

/// What a device has to do: [`OPERATIONS`] for each batch.
pub(crate) struct Operations<'a> {
    pub(crate) operands: &'a Operands,
    pub(crate) batches: &'a [usize],
    pub(crate) repeat: usize,
    pub(crate) bar: &'a ProgressBar,
    /// The device.
    pub(crate) place: &'a Place,
}

impl Operands {
    /// Makes keys and ciphertexts.
    pub(crate) fn new(literal: ParamsLiteral, batches: &[usize]) -> Result<Self, CliError> {
        let params = Params::new(literal)?;
        let (encoder, secret) = (Encoder::new(&params), SecretKey::generate(&params)?);
        let (slots, top) = (params.n() / 2, params.max_level());
        let diagonal = |k: usize| {
            (0..slots).map(|i| Complex64::from(((i + k) as f64).cos() / DIAGONALS as f64)).collect()
        };
        let diagonals = (0..DIAGONALS).map(|k| (k as i64, diagonal(k)));
        let transform = LinearTransform::new(&params, top, slots, diagonals)?;
        let request =
            KeyRequest::new().relin(top).rotations(&params, ROTATIONS, top).merge(&transform.keys());
        let most = batches.iter().copied().max().unwrap_or(1);
        memory::check(needed_bytes(&params, request.bytes(&params), most), None)?;
        let encrypt = |item: usize| -> Result<Ciphertext, CliError> {
            let values: Vec<f64> = (0..slots).map(|i| ((i + item) as f64).sin()).collect();
            Ok(secret.encrypt(&encoder.encode_real(&values)?)?)
        };
        Ok(Self {
            ciphertexts: (0..=most).map(encrypt).collect::<Result<_, _>>()?,
            keys: secret.evaluation_keys(&request)?,
            params,
            encoder,
            transform,
        })
    }

    /// In figures.
    pub(crate) fn parameters(&self) -> Parameters {
        parameters(&self.params)
    }

    /// For [`Device::run`](crate::device::Device::run).
    pub(crate) fn params(&self) -> &Params {
        &self.params
    }
}

impl OnDevice for Operations<'_> {
    type Output = Vec<Outcome>;

    fn run<B: Metered>(self, backend: B) -> Result<Vec<Outcome>, CliError> {
        let Self { operands, batches, repeat, bar, place } = self;
        let evaluator = Evaluator::new(&operands.params, backend)?;
        let keys = evaluator.upload_keys(&operands.keys)?;
        let transform = evaluator.prepare_transform(&operands.transform, &operands.encoder)?;
        // What has no room for these has room for no operation: it is to be said of the device, and of nothing it computed.
        evaluator.backend().wait()?;
        let bench = Bench { operands, evaluator, keys, transform, repeat };
        let mut outcomes = Vec::new();
        for &batch in batches {
            for (name, _) in OPERATIONS {
                let log_n = operands.params.literal().log_n;
                bar.set_message(format!(
                    "{name} at n = 2^{log_n}, {batch} at once, on {}",
                    terminal::plain(&place.record.name)
                ));
                let outcome = bench.measure(name, batch);
                outcomes.push(outcome.unwrap_or_else(|error| {
                    // What is left of it is not the next one's.
                    let _ = bench.evaluator.backend().wait();
                    Outcome::failed(&place.told(error))
                }));
                bar.inc(1);
            }
        }
        Ok(outcomes)
    }
}

/// Operands on a device.
struct Bench<'a, B: Backend> {
    operands: &'a Operands,
    evaluator: Evaluator<B>,
    keys: PreparedKeys<B>,
    transform: PreparedTransform<B>,
    repeat: usize,
}

impl<B: Backend> Bench<'_, B> {
    fn measure(&self, name: &str, batch: usize) -> Result<Outcome, CliError> {
        if let "ntt" | "intt" = name {
            return self.transforms(name == "intt", batch);
        }
        let (x, y) = (self.load(0, batch)?, self.load(1, batch)?);
        let (e, keys) = (&self.evaluator, &self.keys);
        let operation = || -> Result<Vec<CiphertextBatch<B>>, CliError> {
            Ok(match name {
                "mul_rescale" => vec![e.mul_rescale(&x, &y, keys)?],
                "rotate" => vec![e.rotate(&x, 1, keys)?],
                "rotate_many_8" => e.rotate_many(&x, &ROTATIONS, keys)?,
                _ => vec![e.transform(&x, &self.transform, keys)?],
            })
        };
        let mut digest = Sha256::new();
        for results in operation()? {
            e.download(&results)?.iter().for_each(|result| digest.update(result.to_bytes()));
        }
        let (times, runs) = clock::many(self.repeat, batch, usize::MAX, |runs| {
            let clock = Instant::now();
            for _ in 0..runs {
                drop(operation()?);
            }
            e.backend().wait()?;
            Ok(clock.elapsed().as_secs_f64())
        })?;
        Ok(outcome(times, runs, digest))
    }

    /// Transforms work in place: each run has polynomials of its own.
    fn transforms(&self, inverse: bool, batch: usize) -> Result<Outcome, CliError> {
        let (device, ring) = (self.evaluator.backend(), self.operands.params.ring());
        let limbs = self.operands.params.limbs(self.operands.params.max_level());
        let words: Vec<u32> = (0..batch)
            .flat_map(|_| ring.moduli(limbs))
            .enumerate()
            .flat_map(|(row, modulus)| {
                // Anything will do that is not all alike.
                let word = move |i: usize| ((i + 1) * (row + 3) * 2_654_435_761) as u32 % modulus.q();
                (0..ring.n()).map(word)
            })
            .collect();
        let upload = || device.upload::<Coeff>(limbs, batch, &words);
        let mut digest = Sha256::new();
        let mut add = |words: Vec<u32>| words.iter().for_each(|word| digest.update(word.to_le_bytes()));
        if inverse {
            add(device.download(device.intt(device.upload(limbs, batch, &words)?).view()).wait()?);
        } else {
            add(device.download(device.ntt(upload()?).view()).wait()?);
        }
        let fit = WAITING_BYTES / (4 * words.len().max(1));
        let (times, runs) = clock::many(self.repeat, batch, fit, |runs| {
            let sources = (0..runs).map(|_| upload()).collect::<Result<Vec<_>, _>>()?;
            device.wait()?;
            let clock = Instant::now();
            let results: Vec<Batch<B, Ntt>> = sources.into_iter().map(|x| device.ntt(x)).collect();
            device.wait()?;
            let forward = clock.elapsed();
            let clock = Instant::now();
            let back: Vec<Batch<B, Coeff>> = results.into_iter().map(|x| device.intt(x)).collect();
            device.wait()?;
            let seconds = if inverse { clock.elapsed() } else { forward }.as_secs_f64();
            drop(back);
            Ok(seconds)
        })?;
        Ok(outcome(times, runs, digest))
    }

    fn load(&self, from: usize, batch: usize) -> Result<CiphertextBatch<B>, CliError> {
        let all = &self.operands.ciphertexts;
        Ok(self.evaluator.upload(all.get(from..from + batch).unwrap_or_default())?)
    }
}

fn outcome(times: Times, runs: usize, digest: Sha256) -> Outcome {
    let digest = hex(&digest.finalize());
    Outcome { seconds: Some(times), runs, digest, ..Outcome::default() }
}

fn parameters(params: &Params) -> Parameters {
    let top = params.max_level();
    let gadget = params.gadget(top);
    Parameters {
        log_n: params.literal().log_n,
        levels: top,
        limbs: gadget.limbs.q,
        special: gadget.limbs.p,
        digits: gadget.digits(),
        scale_bits: params.literal().scale_bits,
        log2_qp: params.log2_qp(top),
        security: params.literal().security.bits(),
    }
}

/// About what host and device need together for batches of so many.
fn needed_bytes(params: &Params, key_bytes: usize, batch: usize) -> u64 {
    let p = parameters(params);
    let all = p.limbs + p.special;
    // Hoisted rotations keep digits, sums and results of each ciphertext.
    let item = p.digits * all + 2 * ROTATIONS.len() * (all + p.limbs) + 8 * p.limbs;
    let limbs = 2 * DIAGONALS * all + (batch + 1) * item;
    (2 * key_bytes + limbs * 4 * params.n()) as u64
}
