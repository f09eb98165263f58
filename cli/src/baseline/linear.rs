//! A linear network on features under Paillier.

use crate::error::CliError;
use crate::run::timed;
use pleura::baselines::paillier::{LinearScore, Packing, SecretKey};
use pleura::nn::{Network, Op};

/// Latents beyond this are cut off: they are of about unit variance.
const BOUND: f64 = 8.0;
/// Bits behind the point of features and weights.
const FEATURE_BITS: u32 = 12;
const WEIGHT_BITS: u32 = 16;

/// What a linear layer under Paillier made of X-rays.
pub(crate) struct LinearOutcome {
    pub(crate) scores: Vec<Vec<f64>>,
    pub(crate) clear: Vec<Vec<f64>>,
    pub(crate) worst: f64,
    /// Key, encryption, server, decryption: of all images.
    pub(crate) seconds: [f64; 4],
    pub(crate) sent_bytes: u64,
    pub(crate) returned_bytes: u64,
    pub(crate) groups: usize,
}

impl LinearOutcome {
    /// Encrypts features, evaluates, decrypts.
    pub(crate) fn of(network: &Network, features: &[Vec<f64>], bits: u32) -> Result<Self, CliError> {
        let (weights, bias) = affine(network)?;
        let layer = LinearScore::new(&weights, &bias, BOUND, FEATURE_BITS, WEIGHT_BITS)?;
        let mut seconds = [0.0; 4];
        let [keygen, encrypt, server, decrypt] = &mut seconds;
        let key = timed(keygen, || SecretKey::generate(bits))?;
        let slots = Packing::new(key.public(), layer.quantised().slot_bits)?.slots();
        let (mut scores, mut sent_bytes, mut returned_bytes, mut groups) = (Vec::new(), 0, 0, 0);
        for group in features.chunks(slots) {
            let sent = timed(encrypt, || layer.quantised().encrypt(key.public(), group))?;
            let returned = timed(server, || layer.evaluate(key.public(), &sent))?;
            scores.extend(timed(decrypt, || layer.quantised().decrypt(&key, &returned, group.len()))?);
            sent_bytes += (sent.len() * key.public().ciphertext_bytes()) as u64;
            returned_bytes += (returned.len() * key.public().ciphertext_bytes()) as u64;
            groups += 1;
        }
        let clear: Vec<Vec<f64>> = features.iter().map(|item| network.evaluate(item)).collect();
        let apart = scores.iter().flatten().zip(clear.iter().flatten()).map(|(a, b)| (a - b).abs());
        let worst = apart.fold(0.0, f64::max);
        Ok(Self { scores, clear, worst, seconds, sent_bytes, returned_bytes, groups })
    }
}

/// Matrix and bias of a network that is a linear layer and nothing else.
fn affine(network: &Network) -> Result<(Vec<Vec<f64>>, Vec<f64>), CliError> {
    let linear = network.nodes().iter().all(|node| matches!(node.op, Op::Input | Op::Linear(..)));
    if !linear {
        return Err(CliError::NotLinear { name: network.name().to_owned() });
    }
    let inputs: usize = network.input_shape().iter().product();
    let mut item = vec![0.0; inputs];
    let bias = network.evaluate(&item);
    let mut weights = vec![Vec::with_capacity(inputs); bias.len()];
    for k in 0..inputs {
        item.iter_mut().skip(k.saturating_sub(1)).take(2).for_each(|x| *x = 0.0);
        item.iter_mut().skip(k).take(1).for_each(|x| *x = 1.0);
        for ((row, y), b) in weights.iter_mut().zip(network.evaluate(&item)).zip(&bias) {
            row.push(y - b);
        }
    }
    Ok((weights, bias))
}
