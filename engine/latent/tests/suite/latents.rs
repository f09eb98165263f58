//! Files of latents: there and back, and what is refused.

use crate::common::{CodecFile, Random, pattern};
use ndarray::{Array2, Array3, array};
use pleura_latent::{CodeIndices, Codec, Latent, LatentError, LatentFile, LatentFileError, StoredLatent};
use proptest::prelude::*;
use safetensors::{Dtype, SafeTensors};
use std::sync::LazyLock;

static CODEC: LazyLock<Codec> = LazyLock::new(|| {
    Codec::from_bytes(&CodecFile::random(3, &[[8, 1], [16, 1], [8, 0]], 0).to_bytes()).unwrap()
});

fn continuous() -> LatentFile {
    let latent = CODEC.encode(&pattern());
    let other = Latent::new(latent.values().mapv(|x| -x)).unwrap();
    let images = vec![
        ("a.png".to_owned(), StoredLatent::Latent(latent)),
        ("\"b\" ü".to_owned(), StoredLatent::Latent(other)),
    ];
    LatentFile::new(&CODEC, images).unwrap()
}

fn quantized() -> LatentFile {
    let codes = CODEC.quantize(&CODEC.encode(&pattern())).unwrap();
    LatentFile::new(&CODEC, vec![("a".to_owned(), StoredLatent::Codes(codes))]).unwrap()
}

#[test]
fn there_and_back() {
    for file in [continuous(), quantized()] {
        let bytes = file.to_bytes();
        assert_eq!(bytes, file.to_bytes());
        let again = LatentFile::from_bytes(&bytes).unwrap();
        assert_eq!(again, file);
        assert_eq!((again.codec_name(), again.codec_id()), (CODEC.name(), CODEC.id()));
        let latents = again.latents(&CODEC).unwrap();
        assert_eq!(latents.len(), file.images().len());
        for ((name, latent), (expected, stored)) in latents.iter().zip(file.images()) {
            assert_eq!(name, expected);
            match stored {
                StoredLatent::Latent(stored) => assert_eq!(latent, stored),
                StoredLatent::Codes(codes) => assert_eq!(*latent, CODEC.dequantize(codes).unwrap()),
            }
        }
    }
}

#[test]
fn other_readers_understand_it() {
    let bytes = continuous().to_bytes();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().as_ref().unwrap();
    assert_eq!(metadata["format"], "pleura latents 2");
    assert_eq!(metadata["codec"], "f16");
    assert_eq!(metadata["codec_id"], format!("{:016x}", CODEC.id()));
    assert_eq!(metadata["names"], "[\"a.png\",\"\\\"b\\\" ü\"]");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor("latents").unwrap();
    assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::F32, &[2, 3, 16, 16][..]));
    let bytes = quantized().to_bytes();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor("codes").unwrap();
    assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::U16, &[1, 16, 16][..]));
}

#[test]
fn another_codec_is_refused() {
    let other = Codec::from_bytes(&CodecFile::random(3, &[[8, 1], [16, 1]], 0).to_bytes()).unwrap();
    let error = continuous().latents(&other).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, LatentFileError::OtherCodec { .. }));
    for part in ["f16", "f8", &format!("{:016x}", CODEC.id()), &format!("{:016x}", other.id())] {
        assert!(text.contains(part), "{text}");
    }
    let stored = continuous().images().to_vec();
    assert!(matches!(LatentFile::new(&other, stored), Err(LatentFileError::Codec { .. })));
}

#[test]
fn what_cannot_be_stored() {
    assert!(matches!(LatentFile::new(&CODEC, vec![]), Err(LatentFileError::Empty)));
    let mixed = [continuous().images(), quantized().images()].concat();
    assert!(matches!(LatentFile::new(&CODEC, mixed), Err(LatentFileError::Mixed { .. })));
    let codes = CodeIndices::new(Array2::from_elem((16, 16), 1024)).unwrap();
    let images = vec![("x".to_owned(), StoredLatent::Codes(codes))];
    assert!(matches!(LatentFile::new(&CODEC, images), Err(LatentFileError::Codec { .. })));
    for value in [f32::NAN, f32::INFINITY, 1000.5] {
        assert!(matches!(Latent::new(array![[[0.0, value]]]), Err(LatentError::Value { index: 1, .. })));
    }
    assert!(matches!(Latent::new(Array3::zeros([1, 0, 2])), Err(LatentError::Size { shape: [1, 0, 2] })));
    assert!(matches!(Latent::new(Array3::zeros([1, 4096, 4097])), Err(LatentError::Size { .. })));
    assert!(matches!(CodeIndices::new(Array2::zeros((0, 4))), Err(LatentError::Size { shape: [1, 0, 4] })));
}

#[test]
fn broken_files_are_refused() {
    let whole = continuous().to_bytes();
    let with = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = whole.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
        let mut broken = whole.clone();
        broken[at..at + to.len()].copy_from_slice(to.as_bytes());
        LatentFile::from_bytes(&broken).unwrap_err().to_string()
    };
    let cases = [
        ("pleura latents 2", "pleura latents 1", "format"),
        ("\"codec\"", "\"coduc\"", "codec = nothing"),
        ("\"codec_id\"", "\"codac_id\"", "codec_id"),
        ("\"names\"", "\"nomes\"", "names"),
        ("\"sha256\"", "\"sha265\"", "sha256 = nothing"),
        ("a.png", "b.png", "sha256"),
        ("[\\\"a.png\\\",", "[\\\"a.png\\\" ", "names"),
        ("\"latents\"", "\"letents\"", "letents F32"),
        ("[2,3,16,16]", "[1,6,16,16]", "expected latents"),
        ("[2,3,16,16]", "[2,3,016,6]", "damaged"),
        ("\"F32\"", "\"I32\"", "I32"),
        ("\"F32\"", "\"F16\"", "damaged"),
    ];
    for (from, to, expected) in cases {
        let error = with(from, to);
        assert!(error.contains(expected), "{from} -> {to}: {error}");
    }
    let mut broken = whole.clone();
    let end = broken.len();
    broken[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(LatentFile::from_bytes(&broken).unwrap_err().to_string().contains("ü"));
    for at in (end - 12288..end).step_by(97) {
        let mut broken = whole.clone();
        broken[at] ^= 1;
        assert!(LatentFile::from_bytes(&broken).unwrap_err().to_string().contains("sha256"), "byte {at}");
    }
    for length in (0..whole.len()).step_by(13) {
        LatentFile::from_bytes(&whole[..length]).unwrap_err();
    }
    LatentFile::from_bytes(&[&u64::MAX.to_le_bytes()[..], &[b'{'; 100]].concat()).unwrap_err();
}

#[test]
fn flipped_headers_are_refused() {
    let whole = quantized().to_bytes();
    let mut random = Random::new("latents");
    for at in 0..whole.len().min(400) {
        let mut broken = whole.clone();
        broken[at] ^= 1 << (random.next() % 8);
        assert!(LatentFile::from_bytes(&broken).is_err(), "byte {at}");
    }
}

proptest! {
    #[test]
    fn random_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(LatentFile::from_bytes(&bytes).is_err());
        prop_assert!(Codec::from_bytes(&bytes).is_err());
        let _ = pleura_latent::Xray::from_bytes(&bytes);
        let png = [b"\x89PNG\r\n\x1a\n", bytes.as_slice()].concat();
        prop_assert!(pleura_latent::Xray::from_bytes(&png).is_err());
        let jpeg = [b"\xff\xd8\xff", bytes.as_slice()].concat();
        let _ = pleura_latent::Xray::from_bytes(&jpeg);
        let dicom = [&[0_u8; 128][..], b"DICM\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0", bytes.as_slice()].concat();
        prop_assert!(pleura_latent::Xray::from_bytes(&dicom).is_err());
    }

    #[test]
    fn any_latent_survives(values in proptest::collection::vec(-1000.0_f32..=1000.0, 768)) {
        let latent = Latent::new(Array3::from_shape_vec(CODEC.latent_shape(), values).unwrap()).unwrap();
        let file = LatentFile::new(&CODEC, vec![(String::new(), StoredLatent::Latent(latent))]).unwrap();
        prop_assert_eq!(LatentFile::from_bytes(&file.to_bytes()).unwrap(), file);
    }
}

#[test]
fn too_many_names_are_refused() {
    let stored = &continuous().images()[0].1.clone();
    let named = |length| vec![("\u{1}".repeat(length), stored.clone())];
    let file = LatentFile::new(&CODEC, named((8 << 20) / 6 - 1)).unwrap();
    assert_eq!(LatentFile::from_bytes(&file.to_bytes()).unwrap(), file);
    assert!(matches!(LatentFile::new(&CODEC, named((8 << 20) / 6)), Err(LatentFileError::TooLarge)));
}
