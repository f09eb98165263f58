//! Facts of a benchmark run beside its times: what was measured, on what, and with what results.

use crate::bench::times::Times;
use pleura_ckks::{Params, ParamsLiteral, RingKind};
use pleura_gpu::KernelTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A list of measurements. Equal lists have equal digests, on all machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name of the list.
    pub name: String,
    /// Version of the list: it grows whenever a list of this name changes.
    pub version: u32,
    /// Operations by name.
    pub operations: Vec<String>,
    /// Parameter sets of operations.
    pub parameters: Vec<ManifestParameters>,
    /// Numbers of ciphertexts that operations work on at once.
    pub batches: Vec<usize>,
    /// Networks.
    pub networks: Vec<ManifestNetwork>,
    /// Sample X-rays whose scores are compared with those of the plaintext network.
    pub samples: usize,
}

/// A parameter set in a list of measurements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestParameters {
    /// Whether the ring is a cyclotomic one; otherwise it is conjugate-invariant.
    pub cyclotomic: bool,
    /// Logarithm of the ring's degree.
    pub log_n: u32,
    /// Levels.
    pub levels: usize,
    /// Bits of the scale.
    pub scale_bits: u32,
    /// Bits of the modulus at level zero.
    pub base_bits: u32,
    /// Ciphertext primes in a digit of key switching.
    pub digit_limbs: usize,
    /// Bits of security.
    pub security: u32,
}

/// Parameters of operations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// Logarithm of the ring's degree.
    pub log_n: u32,
    /// Levels.
    pub levels: usize,
    /// Primes of a ciphertext.
    pub limbs: usize,
    /// Special primes.
    pub special: usize,
    /// Digits of key switching.
    pub digits: usize,
    /// Bits of the scale.
    pub scale_bits: u32,
    /// Bits of ciphertext and special primes.
    pub log2_qp: f64,
    /// Bits of security.
    pub security: u32,
}

/// A network in a list of measurements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestNetwork {
    /// Name of the shipped network.
    pub name: String,
    /// SHA-256 of the model file.
    pub sha256: String,
    /// Items that share ciphertexts.
    pub batch: usize,
}

/// The machine of a run; nothing in it names a person or a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Model of the processor.
    pub processor: Option<String>,
    /// Logical cores that the process may use.
    pub cores: usize,
    /// Instruction set of the processor's kernels.
    pub simd: String,
    /// Bytes of memory.
    pub memory_bytes: Option<u64>,
    /// Operating system and version.
    pub system: String,
    /// Architecture.
    pub architecture: String,
}

/// Limits of a device, by the fastest samples of two operations of the library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Roofline {
    /// Bytes read and written in a second by a copy of 128 MiB.
    pub copy_bytes_per_second: f64,
    /// Products of two 32-bit integers in a second, in the product of a matrix with polynomials.
    pub products_per_second: f64,
    /// Seconds of each copy.
    pub copy: Times,
    /// Seconds of each product.
    pub product: Times,
}

/// Scores of a sample X-ray.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleScores {
    /// Name of the file.
    pub name: String,
    /// Class that the doctors assigned.
    pub truth: String,
    /// Scores of the plaintext network.
    pub plaintext: Vec<f64>,
    /// Decrypted scores.
    pub decrypted: Vec<f64>,
    /// Probability of each class by the decrypted scores.
    pub probabilities: Vec<f64>,
}

/// Time of a kernel of a GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kernel {
    /// Name of the kernel.
    pub name: String,
    /// Number of dispatches.
    pub dispatches: u64,
    /// Seconds of all dispatches.
    pub seconds: f64,
}

impl Manifest {
    /// SHA-256 of the list as compact JSON, its members in the order that a file has them in; nothing if it cannot be written.
    pub fn digest(&self) -> Option<String> {
        let text = serde_json::to_vec(self).ok()?;
        Some(Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

impl Parameters {
    /// The figures of a parameter set.
    pub fn new(params: &Params) -> Self {
        let top = params.max_level();
        let gadget = params.gadget(top);
        Self {
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
}

impl From<&KernelTime> for Kernel {
    fn from(time: &KernelTime) -> Self {
        Self { name: time.kernel.to_owned(), dispatches: time.dispatches, seconds: time.time.as_secs_f64() }
    }
}

impl From<&ParamsLiteral> for ManifestParameters {
    fn from(literal: &ParamsLiteral) -> Self {
        Self {
            cyclotomic: literal.ring == RingKind::Cyclotomic,
            log_n: literal.log_n,
            levels: literal.levels,
            scale_bits: literal.scale_bits,
            base_bits: literal.base_bits,
            digit_limbs: literal.digit_limbs,
            security: literal.security.bits(),
        }
    }
}
