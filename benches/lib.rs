//! Shared by the benchmarks: a client and a server in one process, with every key that is timed.
#![expect(clippy::unwrap_used, reason = "a benchmark stops where its fixed parameters are wrong")]

use pleura_ckks::{
    CiphertextBatch, Complex64, Encoder, EvaluationKeys, Evaluator, KeyRequest, LinearTransform, Params,
    ParamsLiteral, PreparedKeys, PreparedTransform, PublicKey, SecretKey, Security,
};
use pleura_ring::{Backend, Cpu, Ring, RingKind, Simd};
use std::sync::Arc;

#[path = "../tests/simd.rs"]
mod choice;

/// The instruction set that `PLEURA_SIMD` names, or the widest: that of host polynomials too.
pub fn simd() -> Simd {
    choice::choose()
}

/// A parameter set with keys, on a device.
pub struct Bench<B: Backend> {
    /// The parameters.
    pub params: Params,
    /// For the client's steps.
    pub encoder: Encoder,
    /// The client's secret.
    pub secret: SecretKey,
    /// For the client's steps.
    pub public: PublicKey,
    /// For the server's steps.
    pub evaluator: Evaluator<B>,
    /// Relinearization and the rotations by 0 to 8 at the top level.
    pub evaluation_keys: EvaluationKeys,
    /// The evaluation keys on the device.
    pub keys: PreparedKeys<B>,
}

/// The sets that are timed, in 30-bit primes: as much of the 128-bit secure modulus as they fill.
pub fn literal(log_n: u32) -> Option<ParamsLiteral> {
    let (levels, digit_limbs) = match log_n {
        13 => (3, 2),
        14 => (8, 4),
        15 => (19, 7),
        16 => (40, 14),
        _ => return None,
    };
    Some(ParamsLiteral {
        ring: RingKind::Cyclotomic,
        log_n,
        levels,
        scale_bits: 30,
        base_bits: 60,
        digit_limbs,
        security: Security::Bits128,
    })
}

/// Seven levels at degree `2^14`, as the automatic choice makes them: where the linear transform is timed.
pub fn seven_levels() -> ParamsLiteral {
    ParamsLiteral::choose(7, 30, Security::Bits128).unwrap()
}

impl Bench<Cpu> {
    /// Makes all keys, for `threads` threads of the processor.
    pub fn new(literal: ParamsLiteral, threads: usize) -> Self {
        Self::on(literal, |ring| Cpu::with(ring, simd(), threads).unwrap())
    }
}

impl<B: Backend> Bench<B> {
    /// Makes all keys, for the device that `make` starts.
    pub fn on(literal: ParamsLiteral, make: impl FnOnce(Arc<Ring>) -> B) -> Self {
        let params = Params::new(literal).unwrap();
        let top = params.max_level();
        let secret = SecretKey::generate(&params).unwrap();
        let evaluator = Evaluator::new(&params, make(params.ring().clone())).unwrap();
        let request = KeyRequest::new().relin(top).rotations(&params, 0..=8, top);
        let evaluation_keys = secret.evaluation_keys(&request).unwrap();
        Self {
            encoder: Encoder::new(&params),
            public: secret.public_key().unwrap(),
            keys: evaluator.upload_keys(&evaluation_keys).unwrap(),
            secret,
            evaluator,
            evaluation_keys,
            params,
        }
    }

    /// A value for every slot, none of them alike.
    pub fn values(&self) -> Vec<f64> {
        (0..self.params.n() / 2).map(|i| (i as f64).sin()).collect()
    }

    /// `items` ciphertexts at the top level.
    pub fn ciphertexts(&self, items: usize) -> CiphertextBatch<B> {
        let plaintext = self.encoder.encode_real(&self.values()).unwrap();
        let all: Vec<_> = (0..items).map(|_| self.secret.encrypt(&plaintext).unwrap()).collect();
        self.evaluator.upload(&all).unwrap()
    }

    /// A transform of `count` diagonals at the top level, with its keys.
    pub fn transform(&self, count: usize) -> (PreparedTransform<B>, PreparedKeys<B>) {
        let slots = self.params.n() / 2;
        let level = self.params.max_level();
        let diagonal =
            |k: usize| (0..slots).map(|i| Complex64::from(((i + k) as f64).cos() / count as f64)).collect();
        let diagonals = (0..count).map(|k| (k as i64, diagonal(k)));
        let transform = LinearTransform::new(&self.params, level, slots, diagonals).unwrap();
        let keys = self.secret.evaluation_keys(&transform.keys()).unwrap();
        let prepared = self.evaluator.prepare_transform(&transform, &self.encoder).unwrap();
        (prepared, self.evaluator.upload_keys(&keys).unwrap())
    }
}
