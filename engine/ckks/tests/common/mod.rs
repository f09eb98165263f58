//! Shared by the tests of this crate: a client and a server under one key, and vectors to send between them.

#![allow(dead_code, reason = "each suite uses a part of this")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the functions beside the tests are tests too"
)]

#[path = "../../../../tests/simd.rs"]
mod simd;

pub(crate) mod wire;

use pleura_ckks::*;
use pleura_ring::sample::{Label, Seed};
use pleura_ring::{Cpu, Simd};

/// Small and fast: two levels of 28 bits.
pub(crate) const SMALL: ParamsLiteral = ParamsLiteral {
    ring: RingKind::Cyclotomic,
    log_n: 10,
    levels: 2,
    scale_bits: 28,
    base_bits: 50,
    digit_limbs: 2,
    security: Security::InsecureForTests,
};

/// [`SMALL`] with room for deep computations.
pub(crate) const DEEP: ParamsLiteral = ParamsLiteral { levels: 8, base_bits: 60, digit_limbs: 3, ..SMALL };

pub(crate) struct Setup {
    pub(crate) params: Params,
    pub(crate) encoder: Encoder,
    pub(crate) secret: SecretKey,
    pub(crate) evaluator: Evaluator<Cpu>,
    pub(crate) evaluation: EvaluationKeys,
    pub(crate) keys: PreparedKeys<Cpu>,
}

impl Setup {
    /// The secret key is always the same one, its evaluation keys are not.
    pub(crate) fn new(literal: ParamsLiteral, request: impl FnOnce(&Params) -> KeyRequest) -> Self {
        let params = Params::new(literal).unwrap();
        let secret = SecretKey::from_seed(&params, Self::seed());
        let evaluation = secret.evaluation_keys(&request(&params)).unwrap();
        let evaluator = Evaluator::new(&params, Cpu::new(params.ring().clone()).unwrap()).unwrap();
        let keys = evaluator.upload_keys(&evaluation).unwrap();
        Self { encoder: Encoder::new(&params), params, secret, evaluator, evaluation, keys }
    }

    pub(crate) fn seed() -> Seed {
        Seed::from_bytes(&[1; 32])
    }

    /// The coefficients of the secret key, which only its owner can compute.
    pub(crate) fn secret_coefficients(&self) -> Vec<i64> {
        Self::seed()
            .sampler(Label::Secret, 0)
            .ternary(self.params.n())
            .iter()
            .map(|&c| i64::from(c))
            .collect()
    }

    pub(crate) fn slots(&self) -> usize {
        self.params.slots()
    }

    pub(crate) fn top(&self) -> usize {
        self.params.max_level()
    }

    pub(crate) fn encrypt(&self, values: &[Complex64]) -> Ciphertext {
        self.secret.encrypt(&self.encoder.encode(values).unwrap()).unwrap()
    }

    /// Fresh, on the device.
    pub(crate) fn load(&self, values: &[Complex64]) -> CiphertextBatch<Cpu> {
        self.evaluator.upload(&[self.encrypt(values)]).unwrap()
    }

    /// Fresh at a level and its usual scale.
    pub(crate) fn load_at(&self, values: &[Complex64], level: usize) -> CiphertextBatch<Cpu> {
        let plaintext = self.encoder.encode_at(values, self.params.scale(level)).unwrap();
        self.evaluator.upload(&[self.secret.encrypt_at(&plaintext, level).unwrap()]).unwrap()
    }

    pub(crate) fn fetch(&self, x: &CiphertextBatch<Cpu>) -> Ciphertext {
        self.evaluator.download(x).unwrap().remove(0)
    }

    pub(crate) fn decrypt(&self, x: &Ciphertext) -> Vec<Complex64> {
        self.secret.decrypt(&self.encoder, x).unwrap().reveal_unrounded().to_vec()
    }

    pub(crate) fn values(&self, x: &CiphertextBatch<Cpu>) -> Vec<Complex64> {
        self.decrypt(&self.fetch(x))
    }

    /// `f` of a ciphertext, by way of the device.
    pub(crate) fn on_device(
        &self,
        x: &Ciphertext,
        f: impl FnOnce(&CiphertextBatch<Cpu>) -> CiphertextBatch<Cpu>,
    ) -> Ciphertext {
        self.fetch(&f(&self.evaluator.upload(std::slice::from_ref(x)).unwrap()))
    }

    pub(crate) fn upload_keys(&self, request: &KeyRequest) -> PreparedKeys<Cpu> {
        self.evaluator.upload_keys(&self.secret.evaluation_keys(request).unwrap()).unwrap()
    }
}

/// Servers of these parameters on other devices.
pub(crate) fn evaluators(params: &Params) -> Vec<(String, Evaluator<Cpu>)> {
    let simds = Simd::ALL.into_iter().filter(|s| s.is_available());
    let devices = simds.flat_map(|simd| [1, 2].map(|threads| (simd, threads)));
    devices
        .map(|(simd, threads)| {
            let cpu = Cpu::with(params.ring().clone(), simd, threads).unwrap();
            (format!("{simd:?} on {threads} threads"), Evaluator::new(params, cpu).unwrap())
        })
        .collect()
}

/// Numbers in `[-1, 1)`, the same for the same seed.
pub(crate) fn reals(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    // The first words are as poor as the seed.
    (0..8).map(|_| next()).for_each(|_| ());
    (0..count).map(|_| next()).collect()
}

/// Complex numbers with both parts in `[-1, 1)`.
pub(crate) fn vector(slots: usize, seed: u64) -> Vec<Complex64> {
    reals(2 * slots, seed).chunks(2).map(|z| Complex64::new(z[0], z[1])).collect()
}

/// Complex numbers of absolute value 1.
pub(crate) fn phases(slots: usize, seed: u64) -> Vec<Complex64> {
    reals(slots, seed).iter().map(|x| Complex64::from_polar(1.0, x * std::f64::consts::PI)).collect()
}

/// Numbers that slots of these parameters can hold, with parts in `[-1, 1)`.
pub(crate) fn numbers(params: &Params, slots: usize, seed: u64) -> Vec<Complex64> {
    match params.literal().ring {
        RingKind::Cyclotomic => vector(slots, seed),
        RingKind::ConjugateInvariant => complex(reals(slots, seed)),
    }
}

/// Numbers of absolute value 1 that slots of these parameters can hold: phases, or signs.
pub(crate) fn units(params: &Params, slots: usize, seed: u64) -> Vec<Complex64> {
    match params.literal().ring {
        RingKind::Cyclotomic => phases(slots, seed),
        RingKind::ConjugateInvariant => complex(reals(slots, seed).into_iter().map(f64::signum)),
    }
}

pub(crate) fn complex(reals: impl IntoIterator<Item = f64>) -> Vec<Complex64> {
    reals.into_iter().map(Complex64::from).collect()
}

pub(crate) fn map(x: &[Complex64], f: impl Fn(Complex64) -> Complex64) -> Vec<Complex64> {
    x.iter().map(|&z| f(z)).collect()
}

pub(crate) fn zip(
    x: &[Complex64],
    y: &[Complex64],
    f: impl Fn(Complex64, Complex64) -> Complex64,
) -> Vec<Complex64> {
    x.iter().zip(y).map(|(&a, &b)| f(a, b)).collect()
}

/// Slot `i` of the result is slot `i + steps`.
pub(crate) fn rotated(x: &[Complex64], steps: i64) -> Vec<Complex64> {
    let mut out = x.to_vec();
    out.rotate_left(steps.rem_euclid(x.len() as i64) as usize);
    out
}

#[track_caller]
pub(crate) fn assert_near(got: &[Complex64], want: &[Complex64], bits: f64) {
    assert_eq!(got.len(), want.len());
    let precision = Precision::of(got, want);
    assert!(precision.min >= bits, "{precision}, where {bits} bits are expected");
}
