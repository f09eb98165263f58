//! The wire format: round trips, a rejection per field, and what earlier builds wrote.

use crate::common::wire::*;
use crate::common::{SMALL, Setup, assert_near, map, rotated};
use pleura_ckks::*;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::{Path, PathBuf};

// Round trips.

#[test]
fn parameters_survive() {
    let real = ParamsLiteral { ring: RingKind::ConjugateInvariant, ..ParamsLiteral::N13 };
    let no_levels = ParamsLiteral { levels: 0, ..ParamsLiteral::N13 };
    for literal in [ParamsLiteral::N13, ParamsLiteral::N14, real, no_levels] {
        let params = Params::new(literal).unwrap();
        let bytes = params.to_bytes();
        assert_eq!(bytes.len() as u64, Params::ENCODED_LEN);
        assert_eq!(ParamsLiteral::from_bytes(&bytes), Ok(literal));
        let read = Params::from_bytes(&bytes).unwrap();
        assert_eq!((read.literal(), read.hash()), (&literal, params.hash()));
    }
}

#[test]
fn ciphertexts_survive() {
    let s = &*SETUP;
    let fresh = encrypt();
    let public = s.secret.public_key().unwrap().encrypt(&s.encoder.encode(&values()).unwrap()).unwrap();
    let low = s.secret.encrypt_at(&s.encoder.encode(&values()).unwrap(), 0).unwrap();
    let computed = s.on_device(&fresh, |x| s.evaluator.add(x, x).unwrap());
    let tensored = s.on_device(&fresh, |x| s.evaluator.mul_no_relin(x, x).unwrap());
    let squares = map(&values(), |x| x * x);
    let doubles = map(&values(), |x| x + x);
    let cases = [
        (&fresh, 2, 2, true, values()),
        (&public, 2, 2, false, values()),
        (&low, 0, 2, true, values()),
        (&computed, 2, 2, false, doubles),
        (&tensored, 2, 3, false, squares),
    ];
    for (ciphertext, level, parts, seeded, want) in cases {
        let bytes = ciphertext.to_bytes();
        assert_eq!(bytes.len() as u64, Ciphertext::encoded_len(&s.params, level, parts, seeded));
        let read = read(&bytes).unwrap();
        assert_eq!(read.to_bytes(), bytes);
        assert_eq!((read.level(), read.parts(), read.log_slots()), (level, parts, 9));
        assert_eq!(read.scale(), ciphertext.scale());
        assert_near(&s.decrypt(&read), &want, 8.0);
    }
    // A seed takes the place of one polynomial in two.
    let short = fresh.to_bytes().len() - HEADER - 12 - 32;
    let long = public.to_bytes().len() - HEADER - 12;
    assert_eq!(2 * short, long);
}

#[test]
fn keys_survive() {
    let s = &*SETUP;
    let key = s.secret.public_key().unwrap();
    let bytes = key.to_bytes();
    assert_eq!(bytes.len() as u64, PublicKey::encoded_len(&s.params));
    let read = PublicKey::from_bytes(&bytes, &s.params).unwrap();
    assert_eq!(read.to_bytes(), bytes);
    let encrypted = read.encrypt(&s.encoder.encode(&values()).unwrap()).unwrap();
    assert_near(&s.decrypt(&encrypted), &values(), 8.0);

    let other = SecretKey::generate(&s.params).unwrap();
    for level in 0..=2 {
        let bytes = s.secret.switching_key_from(&other, level).unwrap().to_bytes();
        assert_eq!(bytes.len() as u64, SwitchingKey::encoded_len(&s.params, level));
        let read = SwitchingKey::from_bytes(&bytes, &s.params).unwrap();
        assert_eq!((read.to_bytes(), read.level()), (bytes, level));
    }

    let bytes = s.evaluation.to_bytes();
    assert_eq!(bytes.len() as u64, EvaluationKeys::encoded_len(&s.params, &request(&s.params)));
    let read = EvaluationKeys::from_bytes(&bytes, &s.params).unwrap();
    assert_eq!(read.to_bytes(), bytes);
    assert_eq!(read.relin().map(SwitchingKey::level), Some(2));
    let mut levels: Vec<_> = read.galois().values().map(SwitchingKey::level).collect();
    levels.sort();
    assert_eq!(levels, [1, 2, 2]);
    let keys = s.evaluator.upload_keys(&read).unwrap();
    let turned = s.on_device(&encrypt(), |x| s.evaluator.rotate(x, 1, &keys).unwrap());
    assert_near(&s.decrypt(&turned), &rotated(&values(), 1), 8.0);
    let squared = s.on_device(&encrypt(), |x| s.evaluator.mul_rescale(x, x, &keys).unwrap());
    assert_near(&s.decrypt(&squared), &map(&values(), |x| x * x), 8.0);

    // From a stream to the device, they are the same keys, and nothing after them is read.
    let mut stream = &[&bytes[..], b"more"].concat()[..];
    let loaded = s.evaluator.load_keys(stream.by_ref(), &request(&s.params)).unwrap();
    assert_eq!((stream, loaded.bytes()), (&b"more"[..], request(&s.params).bytes(&s.params)));
    let fresh = encrypt();
    for steps in [1, -3] {
        let [expected, got] = [&keys, &loaded]
            .map(|keys| s.on_device(&fresh, |x| s.evaluator.rotate(x, steps, keys).unwrap()).to_bytes());
        assert!(got == expected, "rotation by {steps}");
    }
    let [expected, got] = [&keys, &loaded]
        .map(|keys| s.on_device(&fresh, |x| s.evaluator.mul_rescale(x, x, keys).unwrap()).to_bytes());
    assert!(got == expected, "products");

    let none = s.secret.evaluation_keys(&KeyRequest::new()).unwrap().to_bytes();
    assert_eq!(none.len() as u64, EvaluationKeys::encoded_len(&s.params, &KeyRequest::new()));
    assert_eq!(EvaluationKeys::from_bytes(&none, &s.params).unwrap().to_bytes(), none);
}

#[test]
fn secret_keys_survive_and_are_not_shown() {
    let s = &*SETUP;
    let secret = SecretKey::generate(&s.params).unwrap();
    let bytes = secret.to_secret_bytes();
    let read = SecretKey::from_secret_bytes(&bytes, &s.params).unwrap();
    assert_eq!(read.to_secret_bytes(), bytes);
    let encrypted = secret.encrypt(&s.encoder.encode(&values()).unwrap()).unwrap();
    let decrypted = read.decrypt(&s.encoder, &encrypted).unwrap();
    assert_near(decrypted.reveal_unrounded(), &values(), 8.0);
    assert_eq!(format!("{read:?}"), "SecretKey(..)");
    assert_eq!(format!("{read:#?}"), "SecretKey(..)");
}

// Rejections. A case: what is wrong, where, the bytes put there, the error.

type Case<'a> = (&'a str, usize, &'a [u8], WireError);

#[track_caller]
fn assert_rejects<T>(good: &[u8], parse: impl Fn(&[u8]) -> Result<T, WireError>, cases: &[Case<'_>]) {
    assert_eq!(parse(good).err(), None);
    for (name, at, new, error) in cases {
        assert_eq!(parse(&with(good, *at, new)).err().as_ref(), Some(error), "{name}");
    }
}

fn bad_field(field: &'static str, value: u64, min: u64, max: u64) -> WireError {
    WireError::BadField { field, value, min, max }
}

fn length(bytes: &[u8], expected: u64) -> WireError {
    WireError::Length { expected, got: bytes.len() as u64 }
}

#[test]
fn a_wrong_header_is_refused() {
    let names =
        ["parameters", "a ciphertext", "a public key", "a switching key", "evaluation keys", "a secret key"];
    for (((bytes, parse), kind), supported) in objects().iter().zip(names).zip([1, 2, 2, 2, 2, 1]) {
        let unknown = "an unknown kind of object";
        let expected = kind;
        let version = |got| WireError::UnsupportedVersion { kind, got, supported };
        let other = 3 - supported as u8;
        assert_rejects(
            bytes,
            parse,
            &[
                ("magic", 0, b"pLEU", WireError::BadMagic),
                ("version 0", 4, &[0, 0], version(0)),
                ("another version", 4, &[other, 0], version(other.into())),
                ("version 3", 4, &[3, 0], version(3)),
                ("version 256 and more", 5, &[1], version(256 + supported)),
                ("kind 0", 6, &[0], WireError::WrongKind { expected, got: unknown }),
                ("kind 8", 6, &[8], WireError::WrongKind { expected, got: unknown }),
                ("kind 7", 6, &[7], WireError::WrongKind { expected, got: "a key request" }),
                ("reserved", 7, &[1], bad_field("the reserved byte", 1, 0, 0)),
                ("hash", 39, &[!bytes[39]], WireError::ParamsMismatch),
            ],
        );
        for (other, got) in (1u8..).zip(names).filter(|&(_, name)| name != expected) {
            assert_eq!(parse(&with(bytes, 6, &[other])), Err(WireError::WrongKind { expected, got }));
        }
        // A wrong number of bytes is reported first or not at all, whatever else is wrong.
        for junk in [1, 2, 40] {
            let longer = [bytes.clone(), vec![0; junk]].concat();
            assert_eq!(parse(&longer), Err(length(&longer, bytes.len() as u64)));
        }
        for cut in 0..bytes.len() {
            let error = parse(&bytes[..cut]);
            assert!(matches!(error, Err(WireError::Length { got, .. }) if got == cut as u64), "{error:?}");
        }
    }
}

#[test]
fn other_parameters_are_refused() {
    let real = RingKind::ConjugateInvariant;
    for literal in [ParamsLiteral { levels: 1, ..SMALL }, ParamsLiteral { ring: real, ..SMALL }] {
        objects_of_other_parameters_are_refused(&Params::new(literal).unwrap());
    }
    // The kind of the ring is part of the parameters' hash, not of their primes alone.
    let bytes = Params::new(ParamsLiteral { ring: real, ..ParamsLiteral::N13 }).unwrap().to_bytes();
    assert_eq!(bytes[45], 18);
    assert_eq!(Params::from_bytes(&with(&bytes, 45, &[2])).err(), Some(WireError::ParamsMismatch));
}

#[track_caller]
#[expect(clippy::unwrap_used, reason = "a test may panic, and so may the functions beside the tests")]
fn objects_of_other_parameters_are_refused(other: &Params) {
    let s = &*SETUP;
    let errors = [
        Ciphertext::from_bytes(&encrypt().to_bytes(), other).err(),
        PublicKey::from_bytes(&s.secret.public_key().unwrap().to_bytes(), other).err(),
        EvaluationKeys::from_bytes(&s.evaluation.to_bytes(), other).err(),
        SecretKey::from_secret_bytes(&s.secret.to_secret_bytes(), other).err(),
    ];
    assert!(errors.iter().all(|e| *e == Some(WireError::ParamsMismatch)), "{errors:?}");
}

#[test]
fn wrong_parameters_are_refused() {
    let range = |field, value, min, max| ParamsError::OutOfRange { field, value, min, max }.into();
    let good = Params::new(ParamsLiteral::N13).unwrap().to_bytes();
    let cases: [Case<'_>; 14] = [
        ("small degree", 40, &[9], range("log_n", 9, 10, 17)),
        ("large degree", 40, &[18], range("log_n", 18, 10, 17)),
        ("levels", 41, &[101], range("levels", 101, 0, 100)),
        ("small scale", 42, &[19], range("scale_bits", 19, 20, 60)),
        ("large scale", 42, &[61], range("scale_bits", 61, 20, 60)),
        ("small base", 43, &[29], range("base_bits", 29, 30, 120)),
        ("large base", 43, &[121], range("base_bits", 121, 30, 120)),
        ("no digit", 44, &[0], range("digit_limbs", 0, 1, 14)),
        ("large digit", 44, &[15], range("digit_limbs", 15, 1, 14)),
        ("security 64", 45, &[1], bad_field("security / 64", 1, 2, 4)),
        ("security 64 and real slots", 45, &[17], bad_field("security / 64", 17, 2, 4)),
        ("real slots", 45, &[18], WireError::ParamsMismatch),
        ("other primes", 43, &[50], WireError::ParamsMismatch),
        ("no security", 45, &[0], WireError::InsecureParams),
    ];
    assert_rejects(&good, Params::from_bytes, &cases);
    let insecure = Params::from_bytes(&with(&good, 41, &[9]));
    assert!(matches!(insecure, Err(WireError::Params(ParamsError::Insecure { .. }))), "{insecure:?}");

    let tests_only = SETUP.params.to_bytes();
    assert_eq!(Params::from_bytes(&tests_only).err(), Some(WireError::InsecureParams));
    assert_eq!(Params::from_bytes_allow_insecure(&tests_only).ok().as_ref(), Some(&SETUP.params));
}

#[test]
fn wrong_ciphertexts_are_refused() {
    let s = &*SETUP;
    let good = encrypt().to_bytes();
    let len = |level, parts, seeded| Ciphertext::encoded_len(&s.params, level, parts, seeded);
    let log2_q = s.params.log2_q(2);
    let scale = |scale: f64| WireError::BadScale { scale, log2_q };
    let above = (log2_q + 1e-9).exp2();
    let cases: [Case<'_>; 17] = [
        ("level above the highest", 40, &[3], bad_field("level", 3, 0, 2)),
        ("largest level", 40, &[255], bad_field("level", 255, 0, 2)),
        ("another level", 40, &[1], length(&good, len(1, 2, true))),
        ("scale 0", 41, &0f64.to_le_bytes(), scale(0.0)),
        ("scale -0", 41, &(-0f64).to_le_bytes(), scale(-0.0)),
        ("negative scale", 41, &(-1e6f64).to_le_bytes(), scale(-1e6)),
        ("scale below 1", 41, &0.999f64.to_le_bytes(), scale(0.999)),
        ("subnormal scale", 41, &f64::from_bits(1).to_le_bytes(), scale(f64::from_bits(1))),
        ("infinite scale", 41, &f64::INFINITY.to_le_bytes(), scale(f64::INFINITY)),
        ("scale above the modulus", 41, &above.to_le_bytes(), scale(above)),
        ("slots", 49, &[10], bad_field("log_slots", 10, 0, 9)),
        ("most slots", 49, &[255], bad_field("log_slots", 255, 0, 9)),
        ("one part", 50, &[1], bad_field("parts", 1, 2, 3)),
        ("four parts", 50, &[4], bad_field("parts", 4, 2, 3)),
        ("seeded three parts", 50, &[3], bad_field("seeded", 1, 0, 0)),
        ("no flag", 51, &[2], bad_field("seeded", 2, 0, 1)),
        ("not seeded", 51, &[0], length(&good, len(2, 2, false))),
    ];
    assert_rejects(&good, read, &cases);
    let nan = read(&with(&good, 41, &f64::NAN.to_le_bytes())).err();
    assert!(matches!(nan, Some(WireError::BadScale { scale, .. }) if scale.is_nan()), "{nan:?}");
    // The bounds themselves are fine.
    for scale in [1.0, (log2_q - 1e-9).exp2()] {
        assert!(read(&with(&good, 41, &scale.to_le_bytes())).is_ok());
    }
}

#[test]
fn every_word_must_be_a_residue() {
    let s = &*SETUP;
    let key = s.secret.switching_key_from(&s.secret, 2).unwrap();
    let public = s.secret.public_key().unwrap();
    let q = s.params.limbs(2);
    let qp = s.params.gadget(2).limbs;
    let relin_at_2 =
        EvaluationKeys::to_bytes(&s.secret.evaluation_keys(&KeyRequest::new().relin(2)).unwrap());
    // Position of the first polynomial, and its limbs.
    let cases: [(_, _, _, Parse); 4] = [
        (encrypt().to_bytes(), HEADER + 12, q, |b| read(b).map(drop)),
        (public.to_bytes(), HEADER + 32, q, |b| PublicKey::from_bytes(b, &SETUP.params).map(drop)),
        (key.to_bytes(), HEADER + 33, qp, |b| SwitchingKey::from_bytes(b, &SETUP.params).map(drop)),
        (relin_at_2, HEADER + 41, qp, |b| EvaluationKeys::from_bytes(b, &SETUP.params).map(drop)),
    ];
    for (good, start, limbs, parse) in cases {
        let mut at = 8 * start;
        for prime in s.params.ring().moduli(limbs).map(|m| m.q()) {
            let width = 32 - prime.leading_zeros();
            for index in [0, 1, 31, 32, 511, 1023] {
                for value in [prime, (1 << width) - 1] {
                    let mut bad = good.clone();
                    set_bits(&mut bad, at + index * width as usize, width, value);
                    assert_eq!(
                        parse(&bad),
                        Err(WireError::Residue { prime, value }),
                        "{index} modulo {prime}"
                    );
                }
                let mut fine = good.clone();
                set_bits(&mut fine, at + index * width as usize, width, prime - 1);
                assert_eq!(parse(&fine), Ok(()), "{index} modulo {prime}");
            }
            // No padding: the next limb begins at the next bit, and that is the start of a word.
            at += 1024 * width as usize;
            assert_eq!((at - 8 * start) % 32, 0);
        }
    }
}

#[test]
fn wrong_keys_are_refused() {
    let s = &*SETUP;
    let good = s.secret.switching_key_from(&s.secret, 1).unwrap().to_bytes();
    let len = SwitchingKey::encoded_len(&s.params, 2);
    let cases: [Case<'_>; 2] =
        [("level", 40, &[3], bad_field("level", 3, 0, 2)), ("another level", 40, &[2], length(&good, len))];
    assert_rejects(&good, |b| SwitchingKey::from_bytes(b, &s.params), &cases);

    // The table: 0 (products), two rotations, 2n - 1 (conjugation); each a u32 and a level.
    let good = s.evaluation.to_bytes();
    let first = HEADER + 4;
    let second = HEADER + 9;
    assert_eq!(good[HEADER..second], [4, 0, 0, 0, 0, 0, 0, 0, 2]);
    let third: [u8; 4] = good[second + 5..second + 9].try_into().unwrap();
    let bad = |exponent| WireError::BadExponent { exponent };
    let low = KeyRequest::new().relin(1);
    let high = KeyRequest::new().relin(2);
    let shorter =
        EvaluationKeys::encoded_len(&s.params, &high) - EvaluationKeys::encoded_len(&s.params, &low);
    let cases: [Case<'_>; 10] = [
        ("level of products", first + 4, &[3], bad_field("level", 3, 0, 2)),
        ("lower level", first + 4, &[1], length(&good, good.len() as u64 - shorter)),
        ("level of a rotation", second + 4, &[200], bad_field("level", 200, 0, 2)),
        ("products twice", second, &[0; 4], bad(0)),
        ("identity", second, &1u32.to_le_bytes(), bad(1)),
        ("even", second, &2u32.to_le_bytes(), bad(2)),
        ("2n + 1", second, &2049u32.to_le_bytes(), bad(2049)),
        ("largest", second, &u32::MAX.to_le_bytes(), bad(u32::MAX)),
        ("repeated", second, &third, bad(u32::from_le_bytes(third))),
        ("decreasing", second, &2047u32.to_le_bytes(), bad(u32::from_le_bytes(third))),
    ];
    assert_rejects(&good, |b| EvaluationKeys::from_bytes(b, &s.params), &cases);
    let load = |bytes: &[u8]| s.evaluator.load_keys(bytes, &request(&s.params));
    for (name, at, bytes, _) in &cases {
        let refused =
            matches!(load(&with(&good, *at, bytes)), Err(KeyLoadError::Wire(_) | KeyLoadError::Eval(_)));
        assert!(refused, "{name}");
    }
    // In the first word of the last polynomial.
    let tail = good.len() - 3 * s.params.n();
    assert!(matches!(
        load(&with(&good, tail, &[0xff; 64])),
        Err(KeyLoadError::Wire(WireError::Residue { .. }))
    ));
    assert!(matches!(load(&good[..tail]), Err(KeyLoadError::Wire(WireError::Length { .. }))));
    let more = KeyRequest::new().rotations(&s.params, [5], 1).merge(&request(&s.params));
    assert!(s.evaluator.load_keys(&good[..], &more).is_err());
    // One key more than there are: its entry in the table would be bytes of a seed.
    assert!(EvaluationKeys::from_bytes(&with(&good, HEADER, &[5]), &s.params).is_err());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

// The formats as they were first written. A change that breaks these needs a new version.

#[test]
fn version_1_of_parameters_and_secret_keys() {
    let params = Params::new(ParamsLiteral::N13).unwrap();
    let hash = "66c12ec941428bc0ef612ede8577df606be7a167077045a578ab0e570403ebee";
    assert_eq!(hex(params.hash()), hash);
    assert_eq!(hex(&params.to_bytes()), format!("504c455501000100{hash}0d031c380202"));
    let secret = SecretKey::from_seed(&params, pleura_ring::sample::Seed::from_bytes(&[0xab; 32]));
    assert_eq!(hex(&secret.to_secret_bytes()), format!("504c455501000600{hash}{}", "ab".repeat(32)));
}

#[test]
fn version_2_of_ciphertexts() {
    let s = &*SETUP;
    let bytes = crafted(1, 2f64.powi(28), 9, 2, true, 1);
    assert_eq!(read(&bytes).unwrap().to_bytes(), bytes);
    // A result has no seed: its parts are written in full, which pins the sampler.
    let full = s.on_device(&read(&bytes).unwrap(), |x| s.evaluator.drop_level(x, 1).unwrap()).to_bytes();
    let body = HEADER + 12..bytes.len() - 32;
    assert_eq!(full[body.clone()], bytes[body]);
    assert_eq!(
        hex(&Sha256::digest(&full)),
        "29c0a2bf60befe890c80547a74587cccd57e7b79f8371413e574e64ab9fcb382"
    );
}

const TINY: ParamsLiteral =
    ParamsLiteral { levels: 0, scale_bits: 20, base_bits: 40, digit_limbs: 1, ..SMALL };

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name)
}

/// Files that version 2 wrote still mean the same.
#[test]
fn version_2_of_keys() {
    let s = Setup::new(TINY, |_| KeyRequest::new());
    let file = |name| std::fs::read(corpus(name)).unwrap();
    let keys = EvaluationKeys::from_bytes(&file("v2-rotation.bin"), &s.params).unwrap();
    let public = PublicKey::from_bytes(&file("v2-public.bin"), &s.params).unwrap();
    let encrypted = Ciphertext::from_bytes(&file("v2-ciphertext.bin"), &s.params).unwrap();
    assert_eq!(keys.to_bytes(), file("v2-rotation.bin"));
    assert_eq!(public.to_bytes(), file("v2-public.bin"));
    assert_eq!(encrypted.to_bytes(), file("v2-ciphertext.bin"));

    let keys = s.evaluator.upload_keys(&keys).unwrap();
    let turned = s.on_device(&encrypted, |x| s.evaluator.rotate(x, 1, &keys).unwrap());
    assert_near(&s.decrypt(&turned), &rotated(&values(), 1), 4.0);
    let again = public.encrypt(&s.encoder.encode(&values()).unwrap()).unwrap();
    assert_near(&s.decrypt(&again), &values(), 4.0);
}

#[test]
#[ignore = "writes the files anew, which only a new version of the format may"]
fn write_corpus() {
    let s = Setup::new(TINY, |p| KeyRequest::new().rotations(p, [1], 0));
    std::fs::create_dir_all(corpus("")).unwrap();
    std::fs::write(corpus("v2-rotation.bin"), s.evaluation.to_bytes()).unwrap();
    std::fs::write(corpus("v2-public.bin"), s.secret.public_key().unwrap().to_bytes()).unwrap();
    std::fs::write(corpus("v2-ciphertext.bin"), s.encrypt(&values()).to_bytes()).unwrap();
}

#[test]
fn sizes_at_degree_2_14() {
    let params = Params::new(ParamsLiteral::N14).unwrap();
    let rotation = KeyRequest::new().rotations(&params, [1], 8);
    assert_eq!(Ciphertext::encoded_len(&params, 8, 2, true), 594_004);
    assert_eq!(Ciphertext::encoded_len(&params, 8, 2, false), 1_187_892);
    assert_eq!(EvaluationKeys::encoded_len(&params, &rotation), 2_519_121);
    assert_eq!(EvaluationKeys::encoded_len(&params, &KeyRequest::new().relin(8)), 2_519_121);
}
