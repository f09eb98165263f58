//! What a plan and a run say of themselves.

use serde::{Deserialize, Serialize};

/// A plan in figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The network's name.
    pub network: String,
    /// The parameter set.
    pub parameters: ParameterReport,
    /// Every step, in order.
    pub layers: Vec<LayerReport>,
    /// Ciphertexts that a client sends for an item.
    pub input_ciphertexts: usize,
    /// Bytes of one item's ciphertexts on the wire, as sent.
    pub input_bytes: usize,
    /// Ciphertexts that come back for an item.
    pub output_ciphertexts: usize,
    /// Their bytes on the wire.
    pub output_bytes: usize,
    /// Rotation keys.
    pub rotation_keys: usize,
    /// Bytes of all evaluation keys on a device.
    pub key_bytes: usize,
    /// Bytes of all evaluation keys on the wire.
    pub key_wire_bytes: usize,
    /// Bytes of all encoded weights.
    pub weight_bytes: usize,
    /// Bytes of everything at the busiest moment, for one item at a time.
    pub memory_bytes: usize,
    /// Predicted seconds of an inference, the client's among them.
    pub predicted_seconds: f64,
    /// What was merged, and why one layout won over another.
    pub notes: Vec<String>,
}

/// A parameter set in figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ParameterReport {
    /// Logarithm of the ring degree.
    pub log_n: u32,
    /// Values in a ciphertext.
    pub slots: usize,
    /// Primes that the computation consumes.
    pub levels: usize,
    /// Bits of each of them.
    pub scale_bits: u32,
    /// Bits of the ciphertext modulus.
    pub log2_q: f64,
    /// Bits of the whole modulus, special primes included.
    pub log2_qp: f64,
    /// Bits that the security table allows at this degree.
    pub max_log2_qp: f64,
    /// Bits of security.
    pub security: u32,
}

/// A step in figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LayerReport {
    /// The network's nodes that it stands for.
    pub name: String,
    /// `input`, `linear`, `pool`, `scale`, `square`, `polynomial`, `product` or `add`, which differences are too.
    pub kind: String,
    /// Where the elements of its result lie.
    pub layout: String,
    /// Ciphertexts of its result.
    pub ciphertexts: usize,
    /// Diagonals of a linear step.
    pub diagonals: usize,
    /// Rotations, hoisted ones included.
    pub rotations: usize,
    /// The level it starts at.
    pub level: usize,
    /// Bytes of its weights.
    pub bytes: usize,
    /// Predicted seconds.
    pub predicted_seconds: f64,
}

/// How close encrypted results came to the clear twin's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fidelity {
    /// Largest difference.
    pub worst: f64,
    /// Mean difference.
    pub mean: f64,
    /// `-log2` of the largest difference over the largest clear value (or one, if that is smaller).
    pub bits: f64,
    /// Share of items whose largest score is the same one.
    pub label_agreement: f64,
}

impl Fidelity {
    /// Compares results, item by item.
    pub fn new(clear: &[Vec<f64>], encrypted: &[Vec<f64>]) -> Self {
        let pairs = || clear.iter().flatten().zip(encrypted.iter().flatten());
        // What is not a number is as wrong as can be.
        let difference = |(a, b): (&f64, &f64)| if (a - b).is_nan() { f64::INFINITY } else { (a - b).abs() };
        let alike =
            clear.len() == encrypted.len() && clear.iter().zip(encrypted).all(|(a, b)| a.len() == b.len());
        let worst = pairs().map(difference).fold(if alike { 0.0 } else { f64::INFINITY }, f64::max);
        let mean = pairs().map(difference).sum::<f64>() / pairs().count().max(1) as f64;
        let largest = clear.iter().flatten().fold(1.0f64, |m, x| m.max(x.abs()));
        let same = clear.iter().zip(encrypted).filter(|(a, b)| label(a) == label(b)).count();
        let label_agreement = same as f64 / clear.len().max(1) as f64;
        Self { worst, mean, bits: -(worst.max(f64::MIN_POSITIVE) / largest).log2(), label_agreement }
    }
}

/// The position of the largest score, the first of equal ones.
pub fn label(scores: &[f64]) -> Option<usize> {
    scores.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1)).map(|(i, _)| i)
}
