//! Fuzz targets: a function for each parser of untrusted bytes, which must return, whatever it is given.
//!
//! `cargo +nightly fuzz run NAME` runs one of them; `tests/fuzz.rs` runs all on the stable toolchain, over `fuzz/corpus` and mutations of it.

use pleura::baselines::mole::{AugConv, LayerShape, MorphKey, Morphed, Padding};
use pleura::baselines::paillier::{PublicKey as PaillierPublicKey, SecretKey as PaillierSecretKey};
use pleura::ckks::wire::ObjectKind;
use pleura::ckks::{
    Ciphertext, EvaluationKeys, KeyRequest, Params, ParamsLiteral, PublicKey, RingKind, SecretKey, Security,
    SwitchingKey,
};
use pleura::latent::{Codec, LatentFile, Xray};
use pleura::nn::{ClientSpec, Plan, ServerPlan};
use pleura::onnx::ImportOptions;
use pleura::remote::{
    ClientBundle, ItemReader, ReceiptSigner, SignedReceipt, count_groups, keys_origin, read_keys,
};
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// A target, named as its folder of the corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 9] = [
    ("plan", plan),
    ("client_spec", client_spec),
    ("ckks", ckks),
    ("onnx", onnx),
    ("image", image),
    ("npy", npy),
    ("latent", latent),
    ("baselines", baselines),
    ("remote", remote),
];

/// Parameters of the keys and ciphertexts in the corpus.
pub const SMALL: ParamsLiteral = ParamsLiteral {
    ring: RingKind::Cyclotomic,
    log_n: 10,
    levels: 2,
    scale_bits: 28,
    base_bits: 50,
    digit_limbs: 2,
    security: Security::InsecureForTests,
};

/// Layer of the baselines' files in the corpus.
pub const LAYER: LayerShape =
    LayerShape { channels: 1, side: 4, filters: 12, kernel: 3, stride: 1, pad: 1, padding: Padding::Morphed };

static PARAMS: LazyLock<Option<Params>> = LazyLock::new(|| Params::new(SMALL).ok());

static PLAN: LazyLock<Option<ServerPlan>> =
    LazyLock::new(|| ServerPlan::from_bytes_allow_insecure(include_bytes!("../corpus/plan/server")).ok());

/// Plans and their server halves.
pub fn plan(bytes: &[u8]) {
    for bytes in [bytes, &resealed(bytes)] {
        drop(Plan::from_bytes_allow_insecure(bytes));
        drop(ServerPlan::from_bytes_allow_insecure(bytes));
    }
}

/// Client halves of plans, and bundles of them.
pub fn client_spec(bytes: &[u8]) {
    for bytes in [bytes, &resealed(bytes)] {
        drop(ClientSpec::from_bytes_allow_insecure(bytes));
        drop(ClientBundle::from_bytes(bytes));
    }
}

/// Parameters, ciphertexts and keys.
pub fn ckks(bytes: &[u8]) {
    drop(Params::from_bytes(bytes));
    let Some(params) = &*PARAMS else { return };
    drop(Ciphertext::from_bytes(bytes, params));
    drop(PublicKey::from_bytes(bytes, params));
    drop(SecretKey::from_secret_bytes(bytes, params));
    drop(SwitchingKey::from_bytes(bytes, params));
    drop(EvaluationKeys::from_bytes(bytes, params));
    drop(KeyRequest::from_bytes(bytes, params));
}

/// ONNX networks.
pub fn onnx(bytes: &[u8]) {
    drop(pleura::onnx::import(bytes, &ImportOptions::default()));
}

/// Pictures: PNG, JPEG, TIFF, WebP, BMP and DICOM.
pub fn image(bytes: &[u8]) {
    drop(Xray::from_bytes_for(64, bytes));
}

/// Arrays.
pub fn npy(bytes: &[u8]) {
    drop(pleura::npy::read(bytes));
}

/// Archives of latents, and codecs in safetensors.
pub fn latent(bytes: &[u8]) {
    drop(LatentFile::from_bytes(bytes));
    drop(Codec::from_bytes(bytes));
}

/// Files of the baselines.
pub fn baselines(bytes: &[u8]) {
    drop(PaillierPublicKey::from_bytes_insecure(bytes));
    drop(PaillierSecretKey::from_bytes_insecure(bytes));
    drop(MorphKey::from_bytes(bytes, &LAYER));
    drop(AugConv::<f32>::from_bytes(bytes, &LAYER));
    drop(Morphed::from_bytes(bytes));
}

/// Files between client and server: evaluation keys, items, results, receipts.
pub fn remote(bytes: &[u8]) {
    drop(SignedReceipt::from_json(bytes));
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(ReceiptSigner::from_pem(text));
    }
    if let Some(plan) = &*PLAN {
        drop(keys_origin(bytes, plan));
        drop(read_keys(bytes, plan));
    }
    let Some(params) = &*PARAMS else { return };
    for bytes in [bytes, &rechained(bytes)] {
        drop(count_groups(bytes));
        for kind in [ObjectKind::EncryptedItems, ObjectKind::EncryptedResults] {
            let Ok(mut reader) = ItemReader::new(bytes, kind, params, 1, |_| Ok(())) else { continue };
            while let Ok(Some(_)) = reader.next_frame() {}
        }
    }
}

/// A file of items with the digests of its frames made right.
fn rechained(bytes: &[u8]) -> Vec<u8> {
    /// Bytes of header, origin and random number.
    const START: usize = 136;
    let Some((start, mut rest)) = bytes.split_at_checked(START) else { return bytes.to_vec() };
    let mut chain: [u8; 32] = Sha256::digest(start).into();
    let mut out = start.to_vec();
    while let Some((header, after)) = rest.split_first_chunk::<9>() {
        let [_, length @ ..] = *header;
        let body = usize::try_from(u64::from_le_bytes(length))
            .ok()
            .and_then(|length| after.split_at_checked(length));
        let Some((body, after)) = body else { break };
        chain = Sha256::new().chain_update(chain).chain_update(header).chain_update(body).finalize().into();
        out.extend([&header[..], body, &chain].concat());
        rest = after.get(32..).unwrap_or_default();
    }
    [out, rest.to_vec()].concat()
}

/// The bytes with the digest at their end made right, so that more than the digest is checked.
fn resealed(bytes: &[u8]) -> Vec<u8> {
    let (body, _) = bytes.split_at(bytes.len().saturating_sub(32));
    [body, &Sha256::digest(body)].concat()
}
