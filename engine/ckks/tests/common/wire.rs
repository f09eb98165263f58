//! Writes and changes bytes of the wire format according to its specification.

use super::{SMALL, Setup, reals};
use pleura_ckks::*;
use std::sync::LazyLock;

pub(crate) const SLOTS: usize = 512;
pub(crate) const HEADER: usize = 40;

pub(crate) static SETUP: LazyLock<Setup> = LazyLock::new(|| Setup::new(SMALL, request));

pub(crate) fn request(params: &Params) -> KeyRequest {
    KeyRequest::new().relin(2).rotations(params, [1, -3], 2).conjugation(params, 1)
}

pub(crate) fn values() -> Vec<Complex64> {
    super::complex(reals(SLOTS, 1))
}

pub(crate) fn encrypt() -> Ciphertext {
    SETUP.encrypt(&values())
}

pub(crate) fn read(bytes: &[u8]) -> Result<Ciphertext, WireError> {
    Ciphertext::from_bytes(bytes, &SETUP.params)
}

/// How one kind of object is read.
pub(crate) type Parse = fn(&[u8]) -> Result<(), WireError>;

/// One object of each kind, and how it is read.
pub(crate) fn objects() -> Vec<(Vec<u8>, Parse)> {
    let s = &*SETUP;
    vec![
        (s.params.to_bytes(), |b| Params::from_bytes_allow_insecure(b).map(drop)),
        (encrypt().to_bytes(), |b| read(b).map(drop)),
        (s.secret.public_key().unwrap().to_bytes(), |b| PublicKey::from_bytes(b, &SETUP.params).map(drop)),
        (s.secret.switching_key_from(&s.secret, 1).unwrap().to_bytes(), |b| {
            SwitchingKey::from_bytes(b, &SETUP.params).map(drop)
        }),
        (s.evaluation.to_bytes(), |b| EvaluationKeys::from_bytes(b, &SETUP.params).map(drop)),
        (s.secret.to_secret_bytes().to_vec(), |b| SecretKey::from_secret_bytes(b, &SETUP.params).map(drop)),
    ]
}

/// `bytes` with others from `at` on.
pub(crate) fn with(bytes: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out[at..at + new.len()].copy_from_slice(new);
    out
}

/// Sets `width` bits from bit `at` on, one by one.
pub(crate) fn set_bits(bytes: &mut [u8], at: usize, width: u32, value: u32) {
    for i in 0..width as usize {
        let byte = (at + i) / 8;
        let bit = (at + i) % 8;
        bytes[byte] = bytes[byte] & !(1 << bit) | ((value >> i & 1) as u8) << bit;
    }
}

/// The `width` bits from bit `at` on.
pub(crate) fn get_bits(bytes: &[u8], at: usize, width: u32) -> u32 {
    (0..width as usize).map(|i| u32::from(bytes[(at + i) / 8] >> ((at + i) % 8) & 1) << i).sum()
}

/// A ciphertext written bit by bit, by what the format says.
pub(crate) fn crafted(
    level: usize,
    scale: f64,
    log_slots: u8,
    parts: u8,
    seeded: bool,
    mut random: u64,
) -> Vec<u8> {
    let params = &SETUP.params;
    let mut bytes = b"PLEU\x02\x00\x02\x00".to_vec();
    bytes.extend(params.hash());
    bytes.push(level as u8);
    bytes.extend(scale.to_le_bytes());
    bytes.extend([log_slots, parts, seeded.into()]);
    for _ in 0..parts - u8::from(seeded) {
        for prime in params.ring().moduli(params.limbs(level)).map(|m| m.q()) {
            let width = 32 - prime.leading_zeros();
            let mut limb = vec![0; 1024 / 8 * width as usize];
            for i in 0..1024 {
                random = random.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
                set_bits(&mut limb, i * width as usize, width, ((random >> 32) % u64::from(prime)) as u32);
            }
            bytes.extend(limb);
        }
    }
    if seeded {
        bytes.extend([0xcd; 32]);
    }
    bytes
}
