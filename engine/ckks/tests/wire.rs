//! The wire format: round trips, a rejection per field, and the two promises about untrusted bytes: parsing never
//! panics or over-allocates, and whatever parses can be computed with.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the functions beside the tests are tests too"
)]

use pleura_ckks::*;
use pleura_ring::{Cpu, GaloisElement};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use sha2::{Digest, Sha256};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Counts the bytes that this thread asks for.
struct Counting;

thread_local! {
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ASKED.try_with(|asked| asked.set(asked.get() + layout.size()));
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

/// The result of `f` and the bytes it asked for.
fn counted<T>(f: impl FnOnce() -> T) -> (T, usize) {
    let before = ASKED.get();
    let out = f();
    (out, ASKED.get() - before)
}

const SMALL: Literal = Literal {
    log_n: 10,
    levels: 2,
    scale_bits: 28,
    base_bits: 50,
    digit_limbs: 2,
    security: Security::InsecureForTests,
};
const SLOTS: usize = 512;
const HEADER: usize = 40;

struct Setup {
    params: Params,
    encoder: Encoder,
    secret: SecretKey,
    evaluator: Evaluator<Cpu>,
    evaluation: EvaluationKeys,
    keys: PreparedKeys<Cpu>,
}

impl Setup {
    fn new(literal: Literal, seed: u8, request: impl Fn(&Params) -> KeyRequest) -> Self {
        let params = Params::new(literal).unwrap();
        let secret = SecretKey::from_seed(&params, pleura_ring::sample::Seed::from_bytes([seed; 32]));
        let evaluation = secret.evaluation_keys(&request(&params)).unwrap();
        let evaluator = Evaluator::new(&params, Cpu::new(params.ring().clone()).unwrap()).unwrap();
        let keys = evaluator.prepare_keys(&evaluation).unwrap();
        Self { encoder: Encoder::new(&params), params, secret, evaluator, evaluation, keys }
    }

    fn encrypt(&self) -> Ciphertext {
        self.secret.encrypt(&self.encoder.encode_real(&values()).unwrap()).unwrap()
    }

    fn values_of(&self, ciphertext: &Ciphertext) -> Vec<f64> {
        let decrypted = self.secret.decrypt(&self.encoder, ciphertext).unwrap();
        decrypted.for_key_owner().iter().map(|z| z.re).collect()
    }

    fn on_device(&self, x: &Ciphertext, f: impl FnOnce(&Ciphertexts<Cpu>) -> Ciphertexts<Cpu>) -> Ciphertext {
        let x = self.evaluator.load(std::slice::from_ref(x)).unwrap();
        self.evaluator.fetch(&f(&x)).unwrap().remove(0)
    }

    fn ciphertext(&self, bytes: &[u8]) -> Result<Ciphertext, WireError> {
        Ciphertext::from_bytes(bytes, &self.params)
    }
}

static SETUP: LazyLock<Setup> = LazyLock::new(|| {
    Setup::new(SMALL, 1, |p| KeyRequest::new().relin(2).rotations(p, [1, -3], 2).conjugation(p, 1))
});

fn values() -> Vec<f64> {
    (0..SLOTS).map(|i| (i as f64 / 37.0).sin()).collect()
}

#[track_caller]
fn assert_near(got: &[f64], want: impl IntoIterator<Item = f64>, bits: i32) {
    let worst = got.iter().zip(want).map(|(g, w)| (g - w).abs()).fold(0.0, f64::max);
    assert!(worst < f64::from(-bits).exp2(), "the worst error is {worst}");
}

/// `bytes` with others from `at` on.
fn with(bytes: &[u8], at: usize, new: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out[at..at + new.len()].copy_from_slice(new);
    out
}

/// Sets `width` bits from bit `at` on, one by one.
fn set_bits(bytes: &mut [u8], at: usize, width: u32, value: u32) {
    for i in 0..width as usize {
        let (byte, bit) = ((at + i) / 8, (at + i) % 8);
        bytes[byte] = bytes[byte] & !(1 << bit) | ((value >> i & 1) as u8) << bit;
    }
}

/// A ciphertext written bit by bit, by what the format says.
fn crafted(level: usize, scale: f64, log_slots: u8, parts: u8, seeded: bool, mut random: u64) -> Vec<u8> {
    let params = &SETUP.params;
    let mut bytes = b"PLEU\x01\x00\x02\x00".to_vec();
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

// Round trips.

#[test]
fn parameters_survive() {
    for literal in [Literal::N13, Literal::N14, Literal { levels: 0, ..Literal::N13 }] {
        let params = Params::new(literal).unwrap();
        let bytes = params.to_bytes();
        assert_eq!(bytes.len() as u64, Params::ENCODED_LEN);
        assert_eq!(Literal::from_bytes(&bytes), Ok(literal));
        let read = Params::from_bytes(&bytes).unwrap();
        assert_eq!((read.literal(), read.hash()), (&literal, params.hash()));
    }
}

#[test]
fn ciphertexts_survive() {
    let s = &*SETUP;
    let fresh = s.encrypt();
    let public = s.secret.public_key().unwrap().encrypt(&s.encoder.encode_real(&values()).unwrap()).unwrap();
    let low = s.secret.encrypt_at(&s.encoder.encode_real(&values()).unwrap(), 0).unwrap();
    let computed = s.on_device(&fresh, |x| s.evaluator.add(x, x).unwrap());
    let tensored = s.on_device(&fresh, |x| s.evaluator.mul_no_relin(x, x).unwrap());
    let squares = || values().into_iter().map(|x| x * x);
    let doubles = || values().into_iter().map(|x| x + x);
    let cases: [(_, _, _, _, Vec<f64>); 5] = [
        (&fresh, 2, 2, true, values()),
        (&public, 2, 2, false, values()),
        (&low, 0, 2, true, values()),
        (&computed, 2, 2, false, doubles().collect()),
        (&tensored, 2, 3, false, squares().collect()),
    ];
    for (ciphertext, level, parts, seeded, want) in cases {
        let bytes = ciphertext.to_bytes();
        assert_eq!(bytes.len() as u64, Ciphertext::encoded_len(&s.params, level, parts, seeded));
        let read = s.ciphertext(&bytes).unwrap();
        assert_eq!(read.to_bytes(), bytes);
        assert_eq!((read.level(), read.parts(), read.log_slots()), (level, parts, 9));
        assert_eq!(read.scale(), ciphertext.scale());
        assert_near(&s.values_of(&read), want, 8);
    }
    // A seed takes the place of one polynomial in two.
    let (short, long) = (fresh.to_bytes().len() - HEADER - 12 - 32, public.to_bytes().len() - HEADER - 12);
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
    let encrypted = read.encrypt(&s.encoder.encode_real(&values()).unwrap()).unwrap();
    assert_near(&s.values_of(&encrypted), values(), 8);

    let other = SecretKey::generate(&s.params).unwrap();
    for level in 0..=2 {
        let bytes = s.secret.switching_key_from(&other, level).unwrap().to_bytes();
        assert_eq!(bytes.len() as u64, SwitchingKey::encoded_len(&s.params, level));
        let read = SwitchingKey::from_bytes(&bytes, &s.params).unwrap();
        assert_eq!((read.to_bytes(), read.level()), (bytes, level));
    }

    let bytes = s.evaluation.to_bytes();
    let request = KeyRequest::new().relin(2).rotations(&s.params, [1, -3], 2).conjugation(&s.params, 1);
    assert_eq!(bytes.len() as u64, EvaluationKeys::encoded_len(&s.params, &request));
    let read = EvaluationKeys::from_bytes(&bytes, &s.params).unwrap();
    assert_eq!(read.to_bytes(), bytes);
    assert_eq!(read.relin().map(SwitchingKey::level), Some(2));
    assert!(read.galois().iter().map(|(&g, key)| (g, key.level())).eq(request.galois));
    let keys = s.evaluator.prepare_keys(&read).unwrap();
    let rotated = s.on_device(&s.encrypt(), |x| s.evaluator.rotate(x, 1, &keys).unwrap());
    let mut want = values();
    want.rotate_left(1);
    assert_near(&s.values_of(&rotated), want, 8);
    let squared = s.on_device(&s.encrypt(), |x| s.evaluator.mul_rescale(x, x, &keys).unwrap());
    assert_near(&s.values_of(&squared), values().iter().map(|x| x * x), 8);

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
    let encrypted = secret.encrypt(&s.encoder.encode_real(&values()).unwrap()).unwrap();
    let decrypted = read.decrypt(&s.encoder, &encrypted).unwrap();
    assert_near(&decrypted.for_key_owner().iter().map(|z| z.re).collect::<Vec<_>>(), values(), 8);
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

type Parse = fn(&[u8]) -> Result<(), WireError>;

/// One object of each kind, and how it is read.
fn objects() -> Vec<(Vec<u8>, Parse)> {
    let s = &*SETUP;
    vec![
        (s.params.to_bytes(), |b| Params::from_bytes_allow_insecure(b).map(drop)),
        (s.encrypt().to_bytes(), |b| Ciphertext::from_bytes(b, &SETUP.params).map(drop)),
        (s.secret.public_key().unwrap().to_bytes(), |b| PublicKey::from_bytes(b, &SETUP.params).map(drop)),
        (s.secret.switching_key_from(&s.secret, 1).unwrap().to_bytes(), |b| {
            SwitchingKey::from_bytes(b, &SETUP.params).map(drop)
        }),
        (s.evaluation.to_bytes(), |b| EvaluationKeys::from_bytes(b, &SETUP.params).map(drop)),
        (s.secret.to_secret_bytes().to_vec(), |b| SecretKey::from_secret_bytes(b, &SETUP.params).map(drop)),
    ]
}

#[test]
fn a_wrong_header_is_refused() {
    let names =
        ["parameters", "a ciphertext", "a public key", "a switching key", "evaluation keys", "a secret key"];
    for ((bytes, parse), expected) in objects().iter().zip(names) {
        let unknown = "an unknown kind of object";
        assert_rejects(
            bytes,
            parse,
            &[
                ("magic", 0, b"pLEU", WireError::BadMagic),
                ("version 0", 4, &[0, 0], WireError::UnsupportedVersion { got: 0, supported: 1 }),
                ("version 2", 4, &[2, 0], WireError::UnsupportedVersion { got: 2, supported: 1 }),
                ("version 257", 5, &[1], WireError::UnsupportedVersion { got: 257, supported: 1 }),
                ("kind 0", 6, &[0], WireError::WrongKind { expected, got: unknown }),
                ("kind 7", 6, &[7], WireError::WrongKind { expected, got: unknown }),
                ("reserved", 7, &[1], bad_field("the reserved byte", 1, 0, 0)),
                ("hash", 39, &[!bytes[39]], WireError::ParamsMismatch),
            ],
        );
        for (other, got) in (1u8..).zip(names).filter(|&(_, name)| name != expected) {
            assert_eq!(parse(&with(bytes, 6, &[other])), Err(WireError::WrongKind { expected, got }));
        }
        // Whatever is wrong elsewhere, the number of bytes is told first or not at all.
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
    let other = Params::new(Literal { levels: 1, ..SMALL }).unwrap();
    let s = &*SETUP;
    let errors = [
        Ciphertext::from_bytes(&s.encrypt().to_bytes(), &other).err(),
        PublicKey::from_bytes(&s.secret.public_key().unwrap().to_bytes(), &other).err(),
        EvaluationKeys::from_bytes(&s.evaluation.to_bytes(), &other).err(),
        SecretKey::from_secret_bytes(&s.secret.to_secret_bytes(), &other).err(),
    ];
    assert!(errors.iter().all(|e| *e == Some(WireError::ParamsMismatch)), "{errors:?}");
}

#[test]
fn wrong_parameters_are_refused() {
    let range = |field, value, min, max| ParamsError::OutOfRange { field, value, min, max }.into();
    let good = Params::new(Literal::N13).unwrap().to_bytes();
    let cases: [Case<'_>; 12] = [
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
    let good = s.encrypt().to_bytes();
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
    assert_rejects(&good, |b| s.ciphertext(b), &cases);
    let nan = s.ciphertext(&with(&good, 41, &f64::NAN.to_le_bytes())).err();
    assert!(matches!(nan, Some(WireError::BadScale { scale, .. }) if scale.is_nan()), "{nan:?}");
    // The bounds themselves are fine.
    for scale in [1.0, (log2_q - 1e-9).exp2()] {
        assert!(s.ciphertext(&with(&good, 41, &scale.to_le_bytes())).is_ok());
    }
}

#[test]
fn every_word_must_be_a_residue() {
    let s = &*SETUP;
    let key = s.secret.switching_key_from(&s.secret, 2).unwrap();
    let public = s.secret.public_key().unwrap();
    let (q, qp) = (s.params.limbs(2), s.params.gadget(2).limbs);
    let relin_at_2 =
        EvaluationKeys::to_bytes(&s.secret.evaluation_keys(&KeyRequest::new().relin(2)).unwrap());
    // Where the first polynomial lies, and its limbs.
    let cases: [(Vec<u8>, usize, _, Parse); 4] = [
        (s.encrypt().to_bytes(), HEADER + 12, q, |b| SETUP.ciphertext(b).map(drop)),
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
    let (first, second) = (HEADER + 4, HEADER + 9);
    assert_eq!(good[HEADER..second], [4, 0, 0, 0, 0, 0, 0, 0, 2]);
    let third: [u8; 4] = good[second + 5..second + 9].try_into().unwrap();
    let bad = |exponent| WireError::BadExponent { exponent };
    let (low, high) = (KeyRequest::new().relin(1), KeyRequest::new().relin(2));
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
    // One key more than there are: its entry in the table would be bytes of a seed.
    assert!(EvaluationKeys::from_bytes(&with(&good, HEADER, &[5]), &s.params).is_err());
}

// Memory.

#[test]
fn claimed_sizes_allocate_nothing() {
    // The largest objects there are, claimed by a few bytes.
    let params = Params::new(Literal { log_n: 13, levels: 100, ..SMALL }).unwrap();
    let header = |kind: u8| {
        let mut bytes = b"PLEU\x01\x00".to_vec();
        bytes.extend([kind, 0]);
        bytes.extend(params.hash());
        bytes
    };
    let mut ciphertext = header(2);
    ciphertext.push(100);
    ciphertext.extend(2f64.powi(28).to_le_bytes());
    ciphertext.extend([12, 3, 0]);
    let mut switching = header(4);
    switching.push(100);
    let mut evaluation = header(5);
    evaluation.extend(u32::MAX.to_le_bytes());
    for exponent in [0u32, 3, 5] {
        evaluation.extend(exponent.to_le_bytes());
        evaluation.push(100);
    }
    let mut honest_count = evaluation.clone();
    honest_count[HEADER] = 3;
    honest_count[HEADER + 1..HEADER + 4].fill(0);
    let (results, asked) = counted(|| {
        [
            Ciphertext::from_bytes(&ciphertext, &params).err(),
            PublicKey::from_bytes(&header(3), &params).err(),
            SwitchingKey::from_bytes(&switching, &params).err(),
            EvaluationKeys::from_bytes(&evaluation, &params).err(),
            EvaluationKeys::from_bytes(&honest_count, &params).err(),
        ]
    });
    for result in results {
        assert!(matches!(result, Some(WireError::Length { .. })), "{result:?}");
    }
    assert!(asked < 4096, "{asked} bytes");
}

/// Reads an object, holding it to memory in proportion to the bytes: two words of 32 bits for some 20 to 30 bits,
/// and a block of a sampler per polynomial drawn.
fn frugal<T>(bytes: &[u8], parse: impl FnOnce() -> Result<T, WireError>) -> Result<T, WireError> {
    let (result, asked) = counted(parse);
    assert!(asked <= 8 * bytes.len() + 8192, "{asked} bytes to read {}", bytes.len());
    result
}

// Whatever parses can be computed with. Results may be errors.

fn compute(x: &Ciphertext) {
    let s = &*SETUP;
    let x = s.evaluator.load(std::slice::from_ref(x)).unwrap();
    let fresh = s.evaluator.load(&[s.encrypt()]).unwrap();
    let (e, keys) = (&s.evaluator, &s.keys);
    let mut results = vec![
        e.add(&x, &x),
        e.add(&x, &fresh),
        e.sub(&fresh, &x),
        e.mul(&x, &x, keys),
        e.mul(&x, &fresh, keys),
        e.mul_rescale(&x, &fresh, keys),
        e.relinearise(&x, keys),
        e.rescale(&x),
        e.rotate(&x, 1, keys),
        e.rotate(&x, 7, keys),
        e.conjugate(&x, keys),
        e.to_level(&x, 0),
        e.add_const(&x, 0.5),
        e.mul_const(&x, -3.0, x.scale()),
        e.polynomial(&x, &Polynomial::new(Basis::Power, vec![1.0, 0.5, 0.25]).unwrap(), keys),
        Ok(e.neg(&x)),
    ];
    results.extend(e.rotate_many(&x, &[0, 1, -3], keys).unwrap_or_default().into_iter().map(Ok));
    for result in results.iter().flatten() {
        for ciphertext in e.fetch(result).unwrap() {
            decrypt(&ciphertext);
        }
    }
}

fn decrypt(x: &Ciphertext) {
    let decrypted = SETUP.secret.decrypt(&SETUP.encoder, x).unwrap();
    let _ = decrypted.publish(decrypted.max_bits());
    // What it is sent as may be refused, as for a scale that has outgrown the modulus, and no more.
    let _ = SETUP.ciphertext(&x.to_bytes());
}

/// Feeds bytes to every parser.
fn feed(bytes: &[u8]) {
    let s = &*SETUP;
    if let Ok(x) = frugal(bytes, || s.ciphertext(bytes)) {
        assert_eq!(x.to_bytes(), bytes);
        decrypt(&x);
        compute(&x);
    }
    if let Ok(key) = frugal(bytes, || PublicKey::from_bytes(bytes, &s.params)) {
        assert_eq!(key.to_bytes(), bytes);
        decrypt(&key.encrypt(&s.encoder.encode_real(&values()).unwrap()).unwrap());
    }
    if let Ok(key) = frugal(bytes, || SwitchingKey::from_bytes(bytes, &s.params)) {
        assert_eq!(key.to_bytes(), bytes);
    }
    if let Ok(evaluation) = frugal(bytes, || EvaluationKeys::from_bytes(bytes, &s.params)) {
        assert_eq!(evaluation.to_bytes(), bytes);
        let keys = s.evaluator.prepare_keys(&evaluation).unwrap();
        let x = s.evaluator.load(&[s.encrypt()]).unwrap();
        let results = [1, -3, 2].map(|steps| s.evaluator.rotate(&x, steps, &keys));
        let conjugate = s.evaluator.to_level(&x, 1).and_then(|x| s.evaluator.conjugate(&x, &keys));
        for result in results.into_iter().chain([conjugate, s.evaluator.mul_rescale(&x, &x, &keys)]).flatten()
        {
            decrypt(&s.evaluator.fetch(&result).unwrap().remove(0));
        }
    }
    if let Ok(secret) = frugal(bytes, || Ok(bytes)).and_then(|b| SecretKey::from_secret_bytes(b, &s.params)) {
        assert_eq!(*secret.to_secret_bytes(), bytes);
    }
    if let Ok(literal) = frugal(bytes, || Literal::from_bytes(bytes))
        && literal.log_n <= 11
        && let Ok(params) = Params::from_bytes_allow_insecure(bytes)
    {
        assert_eq!(params.to_bytes(), bytes);
    }
}

static SAMPLES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let s = &*SETUP;
    let fresh = s.encrypt();
    let mut samples: Vec<_> = objects().into_iter().map(|(bytes, _)| bytes).collect();
    samples.extend([
        s.secret.encrypt_at(&s.encoder.encode_real(&[0.5]).unwrap(), 1).unwrap().to_bytes(),
        s.on_device(&fresh, |x| s.evaluator.neg(x)).to_bytes(),
        s.on_device(&fresh, |x| s.evaluator.mul_no_relin(x, x).unwrap()).to_bytes(),
        s.on_device(&fresh, |x| s.evaluator.drop_level(x, 0).unwrap()).to_bytes(),
    ]);
    samples
});

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("tests/corpus/wire.proptest-regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_valid_fields_can_be_computed_with(
        level in 0usize..=2, log2_scale in 0f64..=1.0, log_slots in 0u8..=9, form in 0usize..3, random: u64,
    ) {
        let (parts, seeded) = [(2, true), (2, false), (3, false)][form];
        let scale = (log2_scale * SETUP.params.log2_q(level)).floor().exp2();
        let bytes = crafted(level, scale, log_slots, parts, seeded, random);
        prop_assert_eq!(SETUP.ciphertext(&bytes).err(), None);
        feed(&bytes);
    }

    #[test]
    fn damaged_bytes_are_refused_or_computed_with(
        sample in any::<prop::sample::Index>(),
        // Half of the damage is done where the fields are.
        damage in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<u8>()), 1..4),
        length in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let mut bytes = sample.get(&SAMPLES).clone();
        for (in_body, at, byte) in damage {
            let from = if in_body { 0 } else { HEADER.min(bytes.len() - 1) };
            let to = if in_body { bytes.len() } else { bytes.len().min(HEADER + 24) };
            bytes[from + at.index(to - from)] = byte;
        }
        if let Some(length) = length {
            bytes.resize(length.index(2 * bytes.len()), 0);
        }
        feed(&bytes);
    }

    #[test]
    fn garbage_is_refused_or_computed_with(garbage: Vec<u8>, kind in 1u8..=6, header: bool) {
        let bytes = if header { [&with(&SETUP.params.to_bytes(), 6, &[kind])[..HEADER], &garbage].concat() } else { garbage };
        feed(&bytes);
    }

    #[test]
    fn any_parameters_survive_or_are_refused(
        log_n in 9u32..=11, levels in 0usize..=101, scale_bits in 19u32..=61, base_bits in 20u32..=121,
        digit_limbs in 0usize..=15,
    ) {
        let security = Security::InsecureForTests;
        if let Ok(params) = Params::new(Literal { log_n, levels, scale_bits, base_bits, digit_limbs, security }) {
            let read = Params::from_bytes_allow_insecure(&params.to_bytes()).unwrap();
            prop_assert_eq!(read.literal(), params.literal());
            prop_assert_eq!(read.hash(), params.hash());
        }
    }
}

// Version 1, as it was first written. A change that breaks these needs a new version.

#[test]
fn version_1_of_parameters_and_secret_keys() {
    let params = Params::new(Literal::N13).unwrap();
    let hash = "36da5916334afc27925622364d8f8057861dfb879f06b7a7bb591fca8e14214c";
    assert_eq!(hex(params.hash()), hash);
    assert_eq!(hex(&params.to_bytes()), format!("504c455501000100{hash}0d031c380202"));
    let secret = SecretKey::from_seed(&params, pleura_ring::sample::Seed::from_bytes([0xab; 32]));
    assert_eq!(hex(&secret.to_secret_bytes()), format!("504c455501000600{hash}{}", "ab".repeat(32)));
}

#[test]
fn version_1_of_ciphertexts() {
    let s = &*SETUP;
    let bytes = crafted(1, 2f64.powi(28), 9, 2, true, 1);
    assert_eq!(s.ciphertext(&bytes).unwrap().to_bytes(), bytes);
    // Computed on, it has the part that the seed stands for written out, which pins the sampler.
    let full =
        s.on_device(&s.ciphertext(&bytes).unwrap(), |x| s.evaluator.drop_level(x, 1).unwrap()).to_bytes();
    let body = HEADER + 12..bytes.len() - 32;
    assert_eq!(full[body.clone()], bytes[body]);
    assert_eq!(
        hex(&Sha256::digest(&full)),
        "70cbc79a70ec519e35cb86751210841bee098cb44269f6d906c8d010936c55f7"
    );
}

const TINY: Literal = Literal { levels: 0, scale_bits: 20, base_bits: 40, digit_limbs: 1, ..SMALL };

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name)
}

/// Files that version 1 wrote still mean the same.
#[test]
fn version_1_of_keys() {
    let s = Setup::new(TINY, 2, |_| KeyRequest::new());
    let read = |name| std::fs::read(corpus(name)).unwrap();
    let keys = EvaluationKeys::from_bytes(&read("v1-rotation.bin"), &s.params).unwrap();
    let public = PublicKey::from_bytes(&read("v1-public.bin"), &s.params).unwrap();
    let encrypted = s.ciphertext(&read("v1-ciphertext.bin")).unwrap();
    assert_eq!(keys.to_bytes(), read("v1-rotation.bin"));
    assert_eq!(public.to_bytes(), read("v1-public.bin"));
    assert_eq!(encrypted.to_bytes(), read("v1-ciphertext.bin"));

    let keys = s.evaluator.prepare_keys(&keys).unwrap();
    let mut want = values();
    want.rotate_left(1);
    assert_near(
        &s.values_of(&s.on_device(&encrypted, |x| s.evaluator.rotate(x, 1, &keys).unwrap())),
        want,
        4,
    );
    let again = public.encrypt(&s.encoder.encode_real(&values()).unwrap()).unwrap();
    assert_near(&s.values_of(&again), values(), 4);
}

#[test]
#[ignore = "writes the files anew, which only a new version of the format may"]
fn write_corpus() {
    let s = Setup::new(TINY, 2, |p| KeyRequest::new().rotations(p, [1], 0));
    std::fs::create_dir_all(corpus("")).unwrap();
    std::fs::write(corpus("v1-rotation.bin"), s.evaluation.to_bytes()).unwrap();
    std::fs::write(corpus("v1-public.bin"), s.secret.public_key().unwrap().to_bytes()).unwrap();
    std::fs::write(corpus("v1-ciphertext.bin"), s.encrypt().to_bytes()).unwrap();
}

#[test]
fn sizes_at_degree_2_14() {
    let params = Params::new(Literal::N14).unwrap();
    let rotation = KeyRequest::new().galois(GaloisElement::rotation(1, params.n()), 8);
    assert_eq!(Ciphertext::encoded_len(&params, 8, 2, true), 604_244);
    assert_eq!(Ciphertext::encoded_len(&params, 8, 2, false), 1_208_372);
    assert_eq!(EvaluationKeys::encoded_len(&params, &rotation), 2_549_841);
    assert_eq!(EvaluationKeys::encoded_len(&params, &KeyRequest::new().relin(8)), 2_549_841);
}
