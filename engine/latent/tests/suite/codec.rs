//! The codec: known answers from PyTorch, all shapes, and files that are no codecs.

use crate::common::{CodecFile, pattern};
use ndarray::{Array2, Array3, ArrayView, Dimension, s};
use pleura_latent::{CodeIndices, Codec, CodecError, Latent, SIDE, Xray};
use safetensors::{Dtype, SafeTensors};
use std::path::PathBuf;

fn shipped(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models/codec").join(name);
    std::fs::read(path).unwrap()
}

fn singles(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let tensor = file.tensor(name).unwrap();
    assert_eq!(tensor.dtype(), Dtype::F32);
    tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

fn furthest<D: Dimension>(a: ArrayView<'_, f32, D>, b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// `models/codec/known_f8.safetensors` is what the training code's networks give for the test image.
#[test]
fn known_answers() {
    let bytes = shipped("f8.safetensors");
    let known = shipped("known_f8.safetensors");
    let codec = Codec::from_bytes(&bytes).unwrap();
    let known = SafeTensors::deserialize(&known).unwrap();
    assert_eq!((codec.name(), codec.factor(), codec.latent_shape()), ("f8", 8, [4, 32, 32]));

    let latent = codec.encode(&pattern());
    let error = furthest(latent.values(), &singles(&known, "latent"));
    // Twelve bits.
    assert!(error < 1.0 / 4096.0, "latents differ by {error}");

    let given = Array3::from_shape_vec(codec.latent_shape(), singles(&known, "latent")).unwrap();
    let given = Latent::new(given).unwrap();
    let decoded: Vec<f32> =
        singles(&known, "decoded").iter().map(|y| ((y + 1.0) * 127.5).clamp(0.0, 255.0)).collect();
    let error = furthest(codec.decode(&given).unwrap().values(), &decoded);
    assert!(error < 0.25, "pixels differ by {error} of 255");

    let codes = codec.quantize(&given).unwrap();
    let known_codes = known.tensor("codes").unwrap();
    let known_codes = known_codes.data().as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b));
    let equal = codes.values().iter().zip(known_codes).filter(|(a, b)| i32::from(**a) == *b).count();
    assert!(equal * 100 >= codes.values().len() * 99, "{equal} of {} codes agree", codes.values().len());

    let expected = singles(&known, "ood_score")[0];
    let error = (codec.ood_score(&given).unwrap() / f64::from(expected) - 1.0).abs();
    assert!(error < 1e-3, "the score is off by {error} of {expected}");
    let again = codec.dequantize(&codes).unwrap();
    assert_eq!(codec.quantize(&again).unwrap(), codes);
}

/// All shapes line up, and the number of threads changes nothing.
#[test]
fn every_factor() {
    for levels in [&[[8, 1]][..], &[[5, 0], [12, 2]], &[[8, 1], [9, 1], [16, 2]]] {
        let codec = Codec::from_bytes(&CodecFile::random(3, levels, 1).to_bytes()).unwrap();
        let side = SIDE / codec.factor();
        assert_eq!(codec.latent_shape(), [3, side, side]);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let latent = codec.encode(&pattern());
                let codes = codec.quantize(&latent).unwrap();
                let again = codec.dequantize(&codes).unwrap();
                assert_eq!(codes.shape(), [side, side]);
                (
                    codec.decode(&latent).unwrap(),
                    codec.decode(&again).unwrap(),
                    codec.ood_score(&latent).unwrap(),
                    latent,
                )
            })
        };
        let one = run(1);
        let two = run(2);
        assert_eq!(one, two);
        assert!(one.2.is_finite());
        assert!(one.3.values().iter().any(|x| *x != 0.0));
    }
}

/// A shift by eight pixels of the image is a shift by one position of the latent, away from the edges.
#[test]
fn the_encoder_commutes_with_shifts() {
    let codec = Codec::from_bytes(&shipped("f8.safetensors")).unwrap();
    let pixels = pattern().pixels();
    let mut moved = pixels.clone();
    moved.slice_mut(s![8.., ..]).assign(&pixels.slice(s![..SIDE - 8, ..]));
    let [a, b] = [pixels, moved].map(|p| codec.encode(&Xray::from_pixels(p.view()).unwrap()));
    let middle = b.values().slice(s![1, 16, 8..24]).to_vec();
    assert!(furthest(a.values().slice(s![1, 15, 8..24]), &middle) < 1e-3);
}

#[test]
fn wrong_shapes_are_refused() {
    let codec = Codec::from_bytes(&CodecFile::random(2, &[[8, 0]], 0).to_bytes()).unwrap();
    let latent = Latent::new(Array3::zeros([2, 32, 32])).unwrap();
    let shape = |error| matches!(error, CodecError::Shape { expected: [2, 64, 64], found: [2, 32, 32], .. });
    assert!(shape(codec.decode(&latent).unwrap_err()));
    assert!(shape(codec.quantize(&latent).unwrap_err()));
    assert!(shape(codec.ood_score(&latent).unwrap_err()));
    assert!(shape(codec.dequantize(&CodeIndices::new(Array2::zeros((32, 32))).unwrap()).unwrap_err()));
    let mut codes = Array2::zeros((64, 64));
    codes[[1, 13]] = 1024;
    let error = codec.dequantize(&CodeIndices::new(codes).unwrap()).unwrap_err();
    assert!(matches!(error, CodecError::Code { code: 1024, position: 77, codes: 1024 }));
}

#[test]
fn broken_metadata_is_refused() {
    let cases = [
        ("format", "pleura codec 2"),
        ("name", ""),
        ("name", "two words"),
        ("factor", "8"),
        ("factor", "four"),
        ("channels", "0"),
        ("channels", "17"),
        ("levels", "[]"),
        ("levels", "[[8, 1], [8, 1], [8, 1], [8, 1]]"),
        ("levels", "[[2000, 1]]"),
        ("levels", "[[8, 17]]"),
        ("levels", "[[8, -1]]"),
        ("levels", "{"),
        ("decoder_extra", "99"),
        ("typical_limit", "0"),
        ("typical_limit", "NaN"),
    ];
    for (key, value) in cases {
        let mut file = CodecFile::random(2, &[[8, 1]], 0);
        file.metadata.insert(key.to_owned(), value.to_owned());
        let error = Codec::from_bytes(&file.to_bytes()).unwrap_err();
        assert!(matches!(error, CodecError::Metadata { key: k, .. } if k == key), "{key} = {value}: {error}");
        file.metadata.remove(key);
        let error = Codec::from_bytes(&file.to_bytes()).unwrap_err();
        assert!(error.to_string().contains(&format!("{key} = nothing")), "{error}");
    }
}

#[test]
fn broken_tensors_are_refused() {
    let whole = CodecFile::random(2, &[[8, 1]], 0);
    let names: Vec<String> = whole.tensors.keys().cloned().collect();
    for name in names {
        let broken = |change: &dyn Fn(&mut crate::common::Tensor)| {
            let mut file = CodecFile { metadata: whole.metadata.clone(), tensors: whole.tensors.clone() };
            change(file.tensors.get_mut(&name).unwrap());
            let error = Codec::from_bytes(&file.to_bytes()).unwrap_err();
            assert!(error.to_string().contains(&name), "{error}");
            error
        };
        let other_type = |t: &mut crate::common::Tensor| t.0 = if t.0 == "F16" { "BF16" } else { "I32" };
        assert!(matches!(broken(&other_type), CodecError::Tensor { .. }));
        assert!(matches!(broken(&|t| t.1.insert(0, 1)), CodecError::Tensor { .. }));
        let not_a_number = |t: &mut crate::common::Tensor| {
            let end = t.2.len();
            t.2[end - 2..].copy_from_slice(&0xff80_u16.to_le_bytes());
        };
        assert!(matches!(broken(&not_a_number), CodecError::NotFinite { .. }));

        let mut file = CodecFile { metadata: whole.metadata.clone(), tensors: whole.tensors.clone() };
        let tensor = file.tensors.remove(&name).unwrap();
        assert!(
            matches!(Codec::from_bytes(&file.to_bytes()), Err(CodecError::Missing { name: n }) if n == name)
        );
        file.tensors.insert(name.clone(), tensor.clone());
        file.tensors.insert("zzz".to_owned(), tensor);
        assert!(matches!(Codec::from_bytes(&file.to_bytes()), Err(CodecError::Surplus { .. })));
    }
}

#[test]
fn truncations_and_flips_are_refused() {
    let whole = CodecFile::random(1, &[[2, 0]], 0).to_bytes();
    let codec = Codec::from_bytes(&whole).unwrap();
    for length in (0..whole.len()).step_by(whole.len() / 300) {
        assert!(Codec::from_bytes(&whole[..length]).is_err());
    }
    let header = 8 + u64::from_le_bytes(*whole.first_chunk().unwrap()) as usize;
    for at in 0..header {
        for bit in [0, 3, 7] {
            let mut broken = whole.clone();
            broken[at] ^= 1 << bit;
            // Some flips make another valid codec, with another identity.
            assert!(Codec::from_bytes(&broken).map_or(true, |other| other.id() != codec.id()));
        }
    }
    let huge = vec![0; (64 << 20) + 1];
    assert!(matches!(Codec::from_bytes(&huge), Err(CodecError::TooLarge { .. })));
}
