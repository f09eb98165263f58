//! Paillier gives the known answers, and what is built on it opens to what it should.
use crate::common::numbers;
use ndarray::{Array2, array};
use pleura_baselines::paillier::{
    EncryptedPicture, LinearRun, LinearScore, LinearStep, Packing, PaillierError, Plaintext, PublicKey,
    SecretKey,
};
use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// One small key for all tests that are not about sizes.
static SMALL: LazyLock<SecretKey> = LazyLock::new(|| SecretKey::generate_insecure(512).unwrap());

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|k| u8::from_str_radix(&text[k..k + 2], 16).unwrap()).collect()
}

fn plaintext(value: &Value) -> Plaintext {
    Plaintext::from_be_bytes(&bytes(value))
}

/// The ciphertexts in such bytes, between header and digest.
fn numbers_of(wire: &[u8]) -> &[u8] {
    let (_, rest) = wire.split_first_chunk::<24>().unwrap();
    let (numbers, _) = rest.split_last_chunk::<32>().unwrap();
    numbers
}

/// As a number without leading zeros.
fn same(a: &Plaintext, expected: &Value) {
    let trimmed: Vec<u8> = bytes(expected).into_iter().skip_while(|&b| b == 0).collect();
    let got: Vec<u8> = a.to_be_bytes().into_iter().skip_while(|&b| b == 0).collect();
    assert_eq!(got, trimmed);
}

#[test]
fn known_answers_of_an_independent_implementation() {
    let cases: Value = serde_json::from_str(include_str!("../paillier.json")).unwrap();
    for case in cases.as_array().unwrap() {
        let key = SecretKey::from_prime_bytes_insecure(&bytes(&case["p"]), &bytes(&case["q"])).unwrap();
        let public = key.public();
        assert_eq!(u64::from(public.bits()), case["bits"].as_u64().unwrap());
        let list = |name: &str| case[name].as_array().unwrap().clone();
        let mut made = Vec::new();
        for (m, r) in list("messages").iter().zip(&list("randoms")) {
            made.push(public.encrypt_with_r(&plaintext(m), &plaintext(r)).unwrap());
        }
        let size = public.ciphertext_bytes();
        let wire = public.ciphertexts_to_bytes(&made, 0);
        let got: Vec<Vec<u8>> = numbers_of(&wire).chunks(size).map(<[u8]>::to_vec).collect();
        let padded = |x: &Value| [vec![0; size - bytes(x).len()], bytes(x)].concat();
        assert_eq!(got, list("ciphertexts").iter().map(padded).collect::<Vec<_>>());
        for (opened, m) in key.decrypt(&made).unwrap().iter().zip(&list("messages")) {
            same(opened, m);
        }
        let sum = public.add(&made[3], &made[4]).unwrap();
        let multiple = public.mul(&made[3], &plaintext(&case["constant"])).unwrap();
        for (c, known, opens_to) in [
            (sum, &case["sum"], &case["sum_opens_to"]),
            (multiple, &case["multiple"], &case["multiple_opens_to"]),
        ] {
            let wire = public.ciphertexts_to_bytes(std::slice::from_ref(&c), 0);
            assert_eq!(numbers_of(&wire), padded(known));
            same(&key.decrypt(&[c]).unwrap()[0], opens_to);
        }
    }
}

#[test]
fn keys_of_real_size_work() {
    let key = SecretKey::generate(2048).unwrap();
    let public = key.public();
    let sent = public.encrypt(&[7, 250].map(Plaintext::from_u64)).unwrap();
    assert_eq!(public.ciphertext_bytes(), 512);
    let sum = public.add(&sent[0], &public.mul(&sent[1], &Plaintext::from_u64(1000)).unwrap()).unwrap();
    assert_eq!(key.decrypt(&[sum]).unwrap()[0].to_u64(), Some(250_007));
    assert!(matches!(SecretKey::generate(1024), Err(PaillierError::KeyBits { bits: 1024 })));
}

#[test]
fn randomness_is_fresh_each_time() {
    let public = SMALL.public();
    let sent = public.encrypt(&vec![Plaintext::from_u64(5); 200]).unwrap();
    let mut wire: Vec<_> =
        sent.iter().map(|c| public.ciphertexts_to_bytes(std::slice::from_ref(c), 0)).collect();
    wire.sort();
    wire.dedup();
    assert_eq!(wire.len(), 200);
    let again = public.rerandomize(&sent[0]).unwrap();
    assert!(again != sent[0] && SMALL.decrypt(&[again]).unwrap()[0].to_u64() == Some(5));
}

#[test]
fn another_key_opens_nothing() {
    let sent = SMALL.public().encrypt(&[Plaintext::from_u64(42)]).unwrap();
    let other = SecretKey::generate_insecure(512).unwrap();
    let wire = SMALL.public().ciphertexts_to_bytes(&sent, 513);
    assert!(other.public().ciphertexts_from_bytes(&wire).is_err());
    if let Ok(opened) = other.decrypt(&sent) {
        assert_ne!(opened[0].to_u64(), Some(42));
    }
}

#[test]
fn keys_and_ciphertexts_survive_as_bytes_and_broken_ones_do_not() {
    let again = SecretKey::from_bytes_insecure(&SMALL.to_bytes()).unwrap();
    let public = PublicKey::from_bytes_insecure(&SMALL.public().to_bytes()).unwrap();
    let sent = public.encrypt(&[Plaintext::from_u64(9)]).unwrap();
    let wire = public.ciphertexts_to_bytes(&sent, 513);
    let (received, label) = again.public().ciphertexts_from_bytes(&wire).unwrap();
    assert_eq!(label, 513);
    assert_eq!(again.decrypt(&received).unwrap()[0].to_u64(), Some(9));
    for cut in [0, 5, 16, 24, wire.len() - 1] {
        assert!(public.ciphertexts_from_bytes(&wire[..cut]).is_err());
    }
    let mut all_ones = wire.clone();
    all_ones[24..].fill(0xff);
    let all_ones = public.ciphertexts_from_bytes(&resealed(&all_ones));
    assert!(matches!(all_ones, Err(PaillierError::Ciphertext)));
    let key = SMALL.to_bytes();
    let mut composite = key.to_vec();
    composite[16 + 31] ^= 2;
    assert!(SecretKey::from_bytes_insecure(&resealed(&composite)).is_err());
    for at in 0..24 {
        let mut broken = key.to_vec();
        broken[at] ^= 0x40;
        let broken = resealed(&broken);
        // The last bytes are those of a prime, which may be another prime.
        assert!(at >= 16 || SecretKey::from_bytes_insecure(&broken).is_err(), "byte {at}");
        assert!(PublicKey::from_bytes_insecure(&broken).is_err());
    }
    let damaged = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 1;
        bytes
    };
    let public_key = public.to_bytes();
    for at in 8..public_key.len() {
        assert!(PublicKey::from_bytes_insecure(&damaged(&public_key, at)).is_err(), "byte {at}");
    }
    for at in 8..key.len() {
        assert!(SecretKey::from_bytes_insecure(&damaged(&key, at)).is_err(), "byte {at}");
    }
    for at in 8..wire.len() {
        assert!(public.ciphertexts_from_bytes(&damaged(&wire, at)).is_err(), "byte {at}");
    }
    assert_eq!(format!("{:?}", *SMALL), "SecretKey { bits: 512, .. }");
}

#[test]
fn linear_scores_equal_the_plaintext_scores() {
    let weights = Array2::from_shape_vec((2, 300), numbers(600, 1)).unwrap();
    let bias = array![0.25, -3.0];
    let layer = LinearScore::new(weights.view(), bias.view(), 4.0, 10, 12).unwrap();
    assert_eq!((layer.classes(), layer.features()), (2, 300));
    let images = Array2::from_shape_vec((5, 300), numbers(1500, 10)).unwrap() * 5.0;
    let sent = layer.quantized().encrypt(SMALL.public(), images.view()).unwrap();
    assert_eq!(sent.len(), 300);
    let scores = layer.evaluate(SMALL.public(), &sent).unwrap();
    let opened = layer.quantized().decrypt(&SMALL, &scores, 5).unwrap();
    assert_eq!(opened.dim(), (5, 2));
    for (scores, image) in opened.outer_iter().zip(images.outer_iter()) {
        assert_eq!(scores, layer.clear(image));
        for ((score, row), bias) in scores.iter().zip(weights.outer_iter()).zip(&bias) {
            let exact: f64 = row.iter().zip(&image).map(|(w, x)| w * x.clamp(-4.0, 4.0)).sum::<f64>() + bias;
            assert!((score - exact).abs() < 0.2, "{score} {exact}");
        }
    }
    assert!(layer.evaluate(SMALL.public(), &sent[..299]).is_err());
    assert!(LinearScore::new(weights.view(), bias.view(), 4.0, 30, 30).is_err());
    assert!(LinearScore::new(weights.view(), array![f64::NAN, 0.0].view(), 4.0, 10, 12).is_err());
    assert!(LinearScore::new(weights.view(), array![0.0].view(), 4.0, 10, 12).is_err());
}

#[test]
fn a_linear_run_shares_ciphertexts_among_images() {
    let weights = Array2::from_shape_vec((2, 70), numbers(140, 1)).unwrap();
    let layer = LinearScore::new(weights.view(), array![0.5, -0.5].view(), 4.0, 10, 12).unwrap();
    // With 2048 bits, more than one group.
    let images = Array2::from_shape_vec((100, 70), numbers(7000, 3)).unwrap();
    let mut steps = Vec::new();
    let run = LinearRun::new(&layer, images.view(), 2048, &mut |step| steps.push(step)).unwrap();
    assert_eq!(run.scores.dim(), (100, 2));
    for (scores, image) in run.scores.outer_iter().zip(images.outer_iter()) {
        assert_eq!(scores, layer.clear(image));
    }
    assert!(run.groups > 1);
    assert_eq!(run.sent_bytes, 70 * run.groups as u64 * 512);
    assert_eq!(run.returned_bytes, 2 * run.groups as u64 * 512);
    assert_eq!(steps.first(), Some(&LinearStep::Key));
    assert_eq!(steps.iter().filter(|&&step| step == LinearStep::Evaluate).count(), run.groups);
    let all = 70 * run.groups;
    assert!(steps.contains(&LinearStep::Encrypted(all, all)));
    let wrong = images.slice(ndarray::s![.., ..69]);
    assert!(LinearRun::new(&layer, wrong, 2048, &mut |_| ()).is_err());
}

#[test]
fn encrypted_pictures_open_to_their_pixels() {
    let pixels: Vec<u8> = (0..144).map(|k| (k * 7 % 256) as u8).collect();
    for packed in [false, true] {
        let mut done = Vec::new();
        let sealed =
            EncryptedPicture::encrypt(SMALL.public(), &pixels, packed, &mut |n, of| done.push((n, of)))
                .unwrap();
        assert_eq!((sealed.side(), sealed.is_packed()), (12, packed));
        assert_eq!(done.last(), Some(&(sealed.ciphertexts(), sealed.ciphertexts())));
        assert_eq!(sealed.ciphertexts() < 144, packed);
        let bytes = sealed.to_bytes(SMALL.public());
        let read = EncryptedPicture::from_bytes(SMALL.public(), &bytes).unwrap();
        assert_eq!((read.side(), read.is_packed()), (12, packed));
        assert_eq!(read.decrypt(&SMALL, &mut |_, _| ()).unwrap(), pixels);
    }
    for wrong in [&pixels[..143], &pixels[..49], &[]] {
        assert!(EncryptedPicture::encrypt(SMALL.public(), wrong, true, &mut |_, _| ()).is_err());
    }
    // Numbers that are no pixels, and labels of other pictures.
    let sealed = |m: u64, count: usize, label: u16| {
        let sent = SMALL.public().encrypt(&vec![Plaintext::from_u64(m); count]).unwrap();
        EncryptedPicture::from_bytes(SMALL.public(), &SMALL.public().ciphertexts_to_bytes(&sent, label))
    };
    assert!(sealed(256, 64, 8).unwrap().decrypt(&SMALL, &mut |_, _| ()).is_err());
    assert_eq!(sealed(255, 64, 8).unwrap().decrypt(&SMALL, &mut |_, _| ()).unwrap(), [255; 64]);
    for (count, label) in [(64, 9), (63, 8), (49, 7), (64, 8 | 1 << 15)] {
        assert!(sealed(1, count, label).is_err(), "{count} {label}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn packed_numbers_add_and_multiply_slot_by_slot(
        a in proptest::collection::vec(-1000i64..1000, 1..12),
        factor in 0u64..500,
    ) {
        let public = SMALL.public();
        let packing = Packing::new(public, 24).unwrap();
        let b: Vec<i64> = a.iter().rev().map(|x| x * 3 - 7).collect();
        let sent = public.encrypt(&[packing.pack(public, &a).unwrap(), packing.pack(public, &b).unwrap()]).unwrap();
        let result = public.add(&public.mul(&sent[0], &Plaintext::from_u64(factor)).unwrap(), &sent[1]).unwrap();
        let opened = packing.unpack(public, &SMALL.decrypt(&[result]).unwrap()[0], a.len());
        let expected: Vec<i64> = a.iter().zip(&b).map(|(a, b)| a * factor as i64 + b).collect();
        prop_assert_eq!(opened, expected);
    }

    #[test]
    fn negative_numbers_are_numbers(a in -1_000_000i64..1_000_000, b in -1_000_000i64..1_000_000) {
        let public = SMALL.public();
        let packing = Packing::new(public, 40).unwrap();
        let sent = public.encrypt(&[Plaintext::from_i64(public, a), Plaintext::from_i64(public, b)]).unwrap();
        let apart = public.add(&sent[0], &public.negate(&sent[1]).unwrap()).unwrap();
        prop_assert_eq!(packing.unpack(public, &SMALL.decrypt(&[apart]).unwrap()[0], 1), [a - b]);
    }
}

#[test]
fn slots_have_limits() {
    let public = SMALL.public();
    let packing = Packing::new(public, 9).unwrap();
    assert_eq!(packing.slots(), 56);
    assert!(matches!(packing.pack(public, &[256]), Err(PaillierError::Slot { value: 256, slot_bits: 9 })));
    assert!(packing.pack(public, &[0; 57]).is_err());
    assert!(Packing::new(public, 1).is_err() && Packing::new(public, 63).is_err());
}

#[test]
fn bases_that_hide_nothing_are_refused() {
    // Magic, bits, label, number; then the modulus or the primes, then the base, each as long as the key's bits determine; a digest.
    let public = SMALL.public().to_bytes();
    let secret = SMALL.to_bytes();
    let n = &public[16..80];
    let wide = |x: &[u8]| [vec![0; 128 - x.len()], x.to_vec()].concat();
    let less = |x: &[u8]| [&x[..63], &[x[63] - 1]].concat();
    let two = wide(&[2]);
    // 1 + n, which is one modulo n, and 2, which is not a residue: the factors reveal it.
    let next = |x: &[u8]| wide(&[&x[..63], &[x[63].wrapping_add(1)]].concat());
    for base in [wide(&[]), wide(&[1]), wide(n), wide(&less(n)), wide(&secret[16..48])] {
        assert!(matches!(
            PublicKey::from_bytes_insecure(&resealed(&[&public[..80], &base, &[0; 32]].concat())),
            Err(PaillierError::Base)
        ));
        assert!(
            SecretKey::from_bytes_insecure(&resealed(&[&secret[..80], &base, &[0; 32]].concat())).is_err()
        );
    }
    if n[63] != 0xff {
        assert!(
            PublicKey::from_bytes_insecure(&resealed(&[&public[..80], &next(n), &[0; 32]].concat())).is_err()
        );
    }
    PublicKey::from_bytes_insecure(&resealed(&[&public[..80], &two, &[0; 32]].concat())).unwrap();
    let loaded = SecretKey::from_bytes_insecure(&resealed(&[&secret[..80], &two, &[0; 32]].concat()));
    assert!(matches!(loaded, Err(PaillierError::Base)));
}

#[test]
fn small_keys_are_not_loaded_by_mistake() {
    let small = |result| matches!(result, Err(PaillierError::KeyBits { bits: 512 }));
    assert!(small(SecretKey::from_bytes(&SMALL.to_bytes()).map(drop)));
    assert!(small(PublicKey::from_bytes(&SMALL.public().to_bytes()).map(drop)));
}

/// Bytes with the digest at their end made right.
fn resealed(bytes: &[u8]) -> Vec<u8> {
    let (body, _) = bytes.split_last_chunk::<32>().unwrap();
    [body, &Sha256::digest(body)].concat()
}

#[test]
fn ciphertexts_of_another_size_are_errors() {
    let other = SecretKey::generate_insecure(256).unwrap();
    let mine = SMALL.public().encrypt(&[Plaintext::from_u64(1)]).unwrap();
    let theirs = other.public().encrypt(&[Plaintext::from_u64(1)]).unwrap();
    for (key, foreign) in [(&*SMALL, &theirs[0]), (&other, &mine[0])] {
        let public = key.public();
        assert!(matches!(key.decrypt(std::slice::from_ref(foreign)), Err(PaillierError::Ciphertext)));
        assert!(public.add(foreign, foreign).is_err() && public.negate(foreign).is_err());
        assert!(
            public.mul(foreign, &Plaintext::from_u64(3)).is_err() && public.rerandomize(foreign).is_err()
        );
    }
}
