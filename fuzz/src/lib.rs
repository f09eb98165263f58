//! Fuzz targets: a function for each parser of untrusted bytes, which must return, whatever it is given.
//!
//! `cargo +nightly fuzz run NAME` runs one of them (`README.md`); `tests/fuzz.rs` runs all on the stable toolchain, over `fuzz/corpus` and
//! mutations of it.

use ndarray::ArrayD;
use pleura::baselines::mole::{AugConv, LayerShape, MorphKey, Morphed, Padding};
use pleura::baselines::paillier::{
    EncryptedPicture, PublicKey as PaillierPublicKey, SecretKey as PaillierSecretKey,
};
use pleura::ckks::wire::ObjectKind;
use pleura::ckks::{
    Ciphertext, EvaluationKeys, KeyRequest, Params, ParamsLiteral, PublicKey, RingKind, SecretKey, Security,
    SwitchingKey,
};
use pleura::latent::{Codec, DicomIdentity, LatentFile, Xray};
use pleura::nn::{Client, ClientSpec, Node, Plan, ServerPlan};
use pleura::onnx::ImportOptions;
use pleura::remote::{
    ClientBundle, ClientKey, ItemReader, ReceiptSigner, SignedReceipt, count_groups, is_under_passphrase,
    keys_origin, read_keys,
};
use pleura::xray::Classifier;
use sha2::{Digest, Sha256};
use std::sync::{Arc, LazyLock};

/// A target, named as its folder of the corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 12] = [
    ("plan", plan),
    ("client_spec", client_spec),
    ("ckks", ckks),
    ("onnx", onnx),
    ("image", image),
    ("npy", npy),
    ("latent", latent),
    ("codec", codec),
    ("baselines", baselines),
    ("remote", remote),
    ("secret", secret),
    ("picture", picture),
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

static BUNDLE: LazyLock<Option<Arc<ClientBundle>>> = LazyLock::new(|| {
    ClientBundle::from_bytes(include_bytes!("../corpus/client_spec/bundle")).ok().map(Arc::new)
});

static PAILLIER: LazyLock<Option<PaillierPublicKey>> = LazyLock::new(|| {
    PaillierPublicKey::from_bytes_insecure(include_bytes!("../corpus/baselines/paillier-public")).ok()
});

/// Entry of a model's metadata that names its codec.
const CODEC: &[u8] = b"pleura.codec";

/// Values of all nodes of a network that is evaluated.
const MOST_VALUES: usize = 1 << 12;

/// Whether the objects that targets read other objects with can be read themselves.
pub fn is_ready() -> bool {
    PARAMS.is_some() && PLAN.is_some() && BUNDLE.is_some() && PAILLIER.is_some()
}

/// Plans and their server halves.
pub fn plan(bytes: &[u8]) {
    for bytes in [bytes, &resealed(bytes)] {
        drop(Plan::from_bytes_allow_insecure(bytes));
        drop(ServerPlan::from_bytes_allow_insecure(bytes));
    }
}

/// Client halves of plans, and bundles of them: small ones encrypt an item, and decrypt what was encrypted.
pub fn client_spec(bytes: &[u8]) {
    for bytes in [bytes, &resealed(bytes), &resealed_inside(bytes)] {
        drop(ClientBundle::from_bytes(bytes));
        let Ok(spec) = ClientSpec::from_bytes_allow_insecure(bytes) else { continue };
        let shape: Vec<usize> =
            std::iter::once(spec.items()).chain(spec.input_shape().iter().copied()).collect();
        let values = shape.iter().fold(1usize, |product, &len| product.saturating_mul(len));
        if spec.params().n() > 1 << SMALL.log_n || values > MOST_VALUES {
            continue;
        }
        let Ok(client) = Client::new(spec) else { continue };
        let Ok(ciphertexts) = client.encrypt(ArrayD::from_elem(shape, 0.5).view()) else { continue };
        let Ok(scores) = client.publish(&ciphertexts) else { continue };
        drop(client.spec().metadata().scores.apply(scores.view()));
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

/// ONNX networks: those that are imported can be evaluated, if they are small.
pub fn onnx(bytes: &[u8]) {
    let options = ImportOptions { keep_activations: true, ..ImportOptions::default() };
    drop(pleura::onnx::import(bytes, &options));
    // Without a word on the codec, one is read for each network, which takes long.
    if bytes.windows(CODEC.len()).any(|window| window == CODEC) {
        drop(Classifier::from_onnx("fuzz", bytes, None));
    }
    let Ok(imported) = pleura::onnx::import(bytes, &ImportOptions::default()) else { return };
    let network = imported.network;
    if network.nodes().iter().map(Node::len).sum::<usize>() <= MOST_VALUES {
        let item = vec![0.5; network.input_shape().iter().product()];
        drop(network.evaluate_flat(&item));
    }
}

/// Pictures: PNG, JPEG, TIFF, WebP, BMP and DICOM.
pub fn image(bytes: &[u8]) {
    for bytes in [bytes, &resummed(bytes)] {
        drop(Xray::check_format(bytes));
        drop(DicomIdentity::from_bytes(bytes));
        drop(Xray::from_bytes_for(64, bytes));
    }
}

/// Arrays.
pub fn npy(bytes: &[u8]) {
    drop(pleura::npy::read(bytes));
}

/// Archives of latents, in safetensors.
pub fn latent(bytes: &[u8]) {
    drop(LatentFile::from_bytes(bytes));
    drop(Codec::from_bytes(bytes));
}

/// Codecs: the bytes are the JSON of safetensors, which the tensors of a shipped codec follow.
pub fn codec(json: &[u8]) {
    let shipped = include_bytes!("../../models/codec/f4.safetensors");
    let Some((length, rest)) = shipped.split_first_chunk::<8>() else { return };
    let Some((_, tensors)) = rest.split_at_checked(u64::from_le_bytes(*length) as usize) else { return };
    drop(Codec::from_bytes(&[&(json.len() as u64).to_le_bytes(), json, tensors].concat()));
}

/// Files of the baselines.
pub fn baselines(bytes: &[u8]) {
    for bytes in [bytes, &resealed(bytes)] {
        drop(PaillierPublicKey::from_bytes_insecure(bytes));
        drop(PaillierSecretKey::from_bytes_insecure(bytes));
        drop(MorphKey::from_bytes(bytes, &LAYER));
        drop(AugConv::<f32>::from_bytes(bytes, &LAYER));
        drop(Morphed::from_bytes(bytes));
    }
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
        drop(read_keys(&*resealed(bytes), plan));
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

/// Secret keys of clients, with and without a passphrase.
pub fn secret(bytes: &[u8]) {
    /// Where the memory of Argon2 stands, in KiB, before its passes and lanes.
    const MEMORY: usize = 121;
    for bytes in [bytes, &resealed(bytes)] {
        drop(is_under_passphrase(bytes));
        let Some(bundle) = &*BUNDLE else { return };
        // More memory is allowed, and takes too long here.
        let cost =
            bytes.get(MEMORY..).and_then(|rest| rest.first_chunk::<4>()).map(|x| u32::from_le_bytes(*x));
        let passphrase = cost.is_some_and(|cost| cost <= 64).then_some(&b"secret"[..]);
        drop(ClientKey::from_secret_bytes(bundle.clone(), bytes, passphrase));
    }
}

/// Ciphertexts of Paillier, and pictures of them.
pub fn picture(bytes: &[u8]) {
    let Some(key) = &*PAILLIER else { return };
    for bytes in [bytes, &resealed(bytes)] {
        drop(key.ciphertexts_from_bytes(bytes));
        drop(EncryptedPicture::from_bytes(key, bytes));
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

/// A bundle with the digest of the specification inside made right, and then its own.
fn resealed_inside(bytes: &[u8]) -> Vec<u8> {
    /// Bytes before the length of the specification.
    const START: usize = 40;
    let mut bytes = bytes.to_vec();
    let length = bytes.get(START..).and_then(|rest| rest.first_chunk::<8>()).map(|x| u64::from_le_bytes(*x));
    let end = length.and_then(|length| (START + 8).checked_add(usize::try_from(length).ok()?));
    if let Some(spec) = end.and_then(|end| bytes.get_mut(START + 8..end)) {
        let sealed = resealed(spec);
        spec.iter_mut().zip(sealed).for_each(|(to, from)| *to = from);
    }
    resealed(&bytes)
}

/// A PNG with the checksums of its chunks made right.
fn resummed(bytes: &[u8]) -> Vec<u8> {
    const SIGNATURE: usize = 8;
    let Some((start, mut rest)) = bytes.split_at_checked(SIGNATURE) else { return Vec::new() };
    if start != b"\x89PNG\r\n\x1a\n" {
        return Vec::new();
    }
    let mut out = start.to_vec();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        // The checksum is of the name and the data.
        let summed = (u32::from_be_bytes(*length) as usize).saturating_add(4);
        let Some((chunk, after)) = after.split_at_checked(summed) else { break };
        out.extend([&length[..], chunk, &crc(chunk).to_be_bytes()].concat());
        rest = after.get(4..).unwrap_or_default();
    }
    [out, rest.to_vec()].concat()
}

/// The checksum of PNG: CRC-32.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    })
}
