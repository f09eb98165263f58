//! The two promises about untrusted bytes: parsing never panics or over-allocates, and whatever parses can be computed
//! with.

#![expect(clippy::unwrap_used, reason = "the functions beside the tests are tests too")]

mod common;

use common::SMALL;
use common::wire::*;
use pleura_ckks::*;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::LazyLock;

/// Counts the bytes that this thread allocates.
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
        // SAFETY: the caller's promises are those that `System` requires.
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

// Memory.

#[test]
fn claimed_sizes_allocate_nothing() {
    // The largest objects there are, claimed by a few bytes.
    let params =
        Params::new(ParamsLiteral { ring: RingKind::Cyclotomic, log_n: 13, levels: 100, ..SMALL }).unwrap();
    let header = |kind: u8| {
        let mut bytes = b"PLEU\x02\x00".to_vec();
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
    let x = s.evaluator.upload(std::slice::from_ref(x)).unwrap();
    let fresh = s.evaluator.upload(&[encrypt()]).unwrap();
    let e = &s.evaluator;
    let keys = &s.keys;
    let mut results = vec![
        e.add(&x, &x),
        e.add(&x, &fresh),
        e.sub(&fresh, &x),
        e.mul(&x, &x, keys),
        e.mul(&x, &fresh, keys),
        e.mul_rescale(&x, &fresh, keys),
        e.relinearize(&x, keys),
        e.rescale(&x),
        e.rotate(&x, 1, keys),
        e.rotate(&x, 7, keys),
        e.conjugate(&x, keys),
        e.to_level(&x, 0),
        e.add_const(&x, 0.5),
        e.mul_const(&x, -3.0, x.scale()),
        e.polynomial(&x, &Polynomial::new(Basis::Power, vec![1.0, 0.5, 0.25]).unwrap(), keys),
        e.neg(&x),
    ];
    results.extend(e.rotate_many(&x, &[0, 1, -3], keys).unwrap_or_default().into_iter().map(Ok));
    for result in results.iter().flatten() {
        for ciphertext in e.download(result).unwrap() {
            decrypt(&ciphertext);
        }
    }
}

fn decrypt(x: &Ciphertext) {
    let decrypted = SETUP.secret.decrypt(&SETUP.encoder, x).unwrap();
    let _ = decrypted.publish(decrypted.max_bits());
    // What it is sent as may be refused, as for a scale that has outgrown the modulus, and no more.
    let _ = read(&x.to_bytes());
}

/// Feeds bytes to every parser.
fn feed(bytes: &[u8]) {
    let s = &*SETUP;
    if let Ok(x) = frugal(bytes, || read(bytes)) {
        assert_eq!(x.to_bytes(), bytes);
        decrypt(&x);
        compute(&x);
    }
    if let Ok(key) = frugal(bytes, || PublicKey::from_bytes(bytes, &s.params)) {
        assert_eq!(key.to_bytes(), bytes);
        decrypt(&key.encrypt(&s.encoder.encode(&values()).unwrap()).unwrap());
    }
    if let Ok(key) = frugal(bytes, || SwitchingKey::from_bytes(bytes, &s.params)) {
        assert_eq!(key.to_bytes(), bytes);
    }
    let request = request(&s.params);
    let loaded = s.evaluator.load_keys(bytes, &request);
    if let Ok(evaluation) = frugal(bytes, || EvaluationKeys::from_bytes(bytes, &s.params)) {
        assert_eq!(evaluation.to_bytes(), bytes);
        let answers = bytes.len() as u64 == EvaluationKeys::encoded_len(&s.params, &request)
            && evaluation.check_covers(&request).is_ok();
        assert_eq!(loaded.is_ok(), answers);
        let keys = s.evaluator.upload_keys(&evaluation).unwrap();
        let x = s.evaluator.upload(&[encrypt()]).unwrap();
        let results = [1, -3, 2].map(|steps| s.evaluator.rotate(&x, steps, &keys));
        let conjugate = s.evaluator.to_level(&x, 1).and_then(|x| s.evaluator.conjugate(&x, &keys));
        for result in results.into_iter().chain([conjugate, s.evaluator.mul_rescale(&x, &x, &keys)]).flatten()
        {
            decrypt(&s.evaluator.download(&result).unwrap().remove(0));
        }
    }
    if let Ok(secret) = frugal(bytes, || Ok(bytes)).and_then(|b| SecretKey::from_secret_bytes(b, &s.params)) {
        assert_eq!(*secret.to_secret_bytes(), bytes);
    }
    if let Ok(literal) = frugal(bytes, || ParamsLiteral::from_bytes(bytes))
        && literal.log_n <= 11
        && let Ok(params) = Params::from_bytes_allow_insecure(bytes)
    {
        assert_eq!(params.to_bytes(), bytes);
    }
}

static SAMPLES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let s = &*SETUP;
    let fresh = encrypt();
    let mut samples: Vec<_> = objects().into_iter().map(|(bytes, _)| bytes).collect();
    samples.extend([
        s.secret.encrypt_at(&s.encoder.encode_real(&[0.5]).unwrap(), 1).unwrap().to_bytes(),
        s.on_device(&fresh, |x| s.evaluator.neg(x).unwrap()).to_bytes(),
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
        prop_assert_eq!(read(&bytes).err(), None);
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
        digit_limbs in 0usize..=15, kind in 0usize..2,
    ) {
        let security = Security::InsecureForTests;
        if let Ok(params) = Params::new(ParamsLiteral { ring: RingKind::ALL[kind], log_n, levels, scale_bits, base_bits, digit_limbs, security }) {
            let read = Params::from_bytes_allow_insecure(&params.to_bytes()).unwrap();
            prop_assert_eq!(read.literal(), params.literal());
            prop_assert_eq!(read.hash(), params.hash());
        }
    }
}
