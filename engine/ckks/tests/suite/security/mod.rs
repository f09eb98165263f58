//! The engine's promises about secrets: parameters within the table for every key, fresh noise in everything that is published,
//! decryptions that do not reveal the key, and a server that no secret reaches.

mod shifts;

use crate::common::wire::get_bits;
use crate::common::*;
use pleura_ckks::*;
use pleura_ring::sample::Seed;
use pleura_ring::{Coeff, Limbs, Ntt, Poly};
use std::collections::BTreeSet;
use std::f64::consts::PI;
use std::path::Path;
use std::sync::LazyLock;

/// A setup in each kind of ring.
static SETUPS: LazyLock<[Setup; 2]> = LazyLock::new(|| {
    RingKind::ALL.map(|ring| {
        Setup::new(ParamsLiteral { ring, ..ParamsLiteral::N13 }, |p| {
            KeyRequest::new().relin(3).rotations(p, [1, 2], 2)
        })
    })
});

// Parameters.

/// Largest `log2(QP)` for degrees `2^10` to `2^17`, as published: Bossuat et al., eprint 2024/463, Table 5.2.
const TABLE: [(Security, [u32; 8]); 3] = [
    (Security::Bits128, [26, 53, 106, 214, 430, 868, 1747, 3523]),
    (Security::Bits192, [0, 36, 73, 147, 297, 597, 1199, 2411]),
    (Security::Bits256, [0, 27, 56, 114, 230, 462, 929, 1866]),
];

fn published(security: Security, log_n: u32) -> f64 {
    let row = TABLE.iter().find(|(s, _)| *s == security).unwrap().1;
    f64::from(row[log_n as usize - 10])
}

#[test]
fn the_table_is_the_published_one() {
    for (security, row) in TABLE {
        let ours: Vec<_> = (9..=18).map(|log_n| security.max_log2_qp(log_n)).collect();
        let want: Vec<_> = [&[0], row.as_slice(), &[0]].concat().into_iter().map(f64::from).collect();
        assert_eq!(ours, want, "{security:?}");
        assert_eq!(Security::from_bits(security.bits()), Some(security));
    }
    assert_eq!(Security::InsecureForTests.bits(), 0);
}

/// The modulus of a key of every level, from the primes themselves.
fn check_every_level(params: &Params) {
    let &ParamsLiteral { log_n, security, digit_limbs, .. } = params.literal();
    let ring = params.ring();
    for level in 0..=params.max_level() {
        let limbs = params.gadget(level).limbs;
        assert_eq!(limbs, Limbs { p: digit_limbs, ..params.limbs(level) });
        let log2_qp: f64 = ring.moduli(limbs).map(|m| f64::from(m.q()).log2()).sum();
        assert!(log2_qp <= published(security, log_n), "{:?} at level {level}: {log2_qp}", params.literal());
        assert!(SwitchingKey::is_secure(params, level));
    }
    assert_eq!(params.gadget(params.max_level()).limbs, ring.limbs(), "a prime that no key has");
}

#[test]
fn a_base_has_its_bits_where_small_primes_are_rare() {
    let ring = RingKind::ConjugateInvariant;
    let literal = ParamsLiteral {
        ring,
        levels: 11,
        scale_bits: 30,
        base_bits: 40,
        digit_limbs: 2,
        ..ParamsLiteral::N14
    };
    let params = Params::new(literal).unwrap();
    check_every_level(&params);
    // One prime of 20 bits is 1 modulo 2^16, and this is the largest other one with which the base has at most 40 bits.
    let base: Vec<u32> = params.ring().moduli(params.limbs(0)).map(|m| m.q()).collect();
    assert_eq!(base, [786_433, 1_376_257]);
    assert!((39.9..40.0).contains(&params.log2_q(0)));
}

#[test]
fn presets_are_secure_and_use_what_they_may() {
    for preset in [ParamsLiteral::N13, ParamsLiteral::N14, ParamsLiteral::N15, ParamsLiteral::N16] {
        check_every_level(&Params::new(preset).unwrap());
        let max = published(preset.security, preset.log_n);
        let refused =
            (preset.levels + 1..).find_map(|levels| Params::new(ParamsLiteral { levels, ..preset }).err());
        match refused {
            Some(ParamsError::Insecure { log_n, log2_qp, max: said, security }) => {
                assert_eq!((log_n, said, security), (preset.log_n, max, preset.security));
                assert!(max < log2_qp && log2_qp < max + 30.0);
            }
            other => panic!("{other:?}"),
        }
        for security in [Security::Bits192, Security::Bits256] {
            let stronger = Params::new(ParamsLiteral { security, ..preset });
            assert!(matches!(stronger, Err(ParamsError::Insecure { .. })), "{preset:?}");
        }
    }
}

#[test]
fn chosen_parameters_are_the_smallest_secure_ones() {
    for security in [Security::Bits128, Security::Bits192, Security::Bits256] {
        for (levels, scale_bits) in [(0, 20), (1, 30), (3, 25), (3, 50), (5, 38), (8, 28), (12, 30)] {
            let literal = ParamsLiteral::choose(levels, scale_bits, security).unwrap();
            assert_eq!(
                (literal.levels, literal.scale_bits, literal.security),
                (levels, scale_bits, security)
            );
            let params = Params::choose(levels, scale_bits, security).unwrap();
            assert_eq!(params.literal(), &literal);
            check_every_level(&params);
            for digit_limbs in 1..=literal.digit_limbs {
                let smaller = Params::new(ParamsLiteral { log_n: literal.log_n - 1, digit_limbs, ..literal });
                let range = ParamsError::OutOfRange { field: "log_n", value: 9, min: 10, max: 17 };
                let refused = smaller.err();
                assert!(matches!(refused, Some(ParamsError::Insecure { .. })) || refused == Some(range));
            }
        }
        let none = ParamsLiteral::choose(100, 60, security);
        assert_eq!(none, Err(ParamsError::NothingFits { levels: 100, scale_bits: 60, security }));
    }
}

/// Where there are too few primes of a size, `choose` says so.
#[test]
fn chosen_parameters_can_be_made() {
    let mut refused = 0;
    for security in [Security::Bits128, Security::Bits192, Security::Bits256, Security::InsecureForTests] {
        for levels in [0, 1, 2, 3, 5, 8, 12, 16, 20] {
            for scale_bits in 20..=60 {
                match ParamsLiteral::choose(levels, scale_bits, security) {
                    // Larger ones only take longer.
                    Ok(literal) if literal.log_n > 14 => {}
                    Ok(literal) => {
                        let made = Params::new(literal);
                        assert!(made.is_ok(), "{literal:?}: {}", made.err().unwrap());
                    }
                    Err(ParamsError::NothingFits { .. }) => refused += 1,
                    Err(error) => panic!("{levels} levels of {scale_bits} bits: {error}"),
                }
            }
        }
    }
    assert!(refused > 0);
    let none = ParamsLiteral::choose(8, 20, Security::Bits128);
    assert_eq!(
        none,
        Err(ParamsError::NothingFits { levels: 8, scale_bits: 20, security: Security::Bits128 })
    );
}

/// The primes of each key that was made, not of those that were meant.
#[test]
fn keys_have_the_modulus_of_their_level() {
    let [s, _] = &*SETUPS;
    let n = s.params.n();
    for (level, log2) in (0..=3).map(|level| (level, s.params.log2_qp(level))) {
        let key = s.secret.switching_key_from(&s.secret, level).unwrap();
        let gadget = s.params.gadget(level);
        assert_eq!(key.words(), 2 * gadget.digits() * gadget.limbs.count() * n);
        assert!(log2 <= published(Security::Bits128, 13));
        assert!(log2 <= s.params.log2_qp(3) - 27.0 * (3 - level) as f64);
    }
}

// What an attacker reads off the wire.

/// The first limb of polynomials that start at byte `start` and have `limbs`.
fn first_limbs(params: &Params, bytes: &[u8], start: usize, limbs: Limbs, count: usize) -> Vec<Poly<Ntt>> {
    let widths: Vec<_> = params.ring().moduli(limbs).map(|m| 32 - m.q().leading_zeros()).collect();
    let n = params.n();
    let stride = widths.iter().sum::<u32>() as usize * params.n();
    let word = |poly: usize, i: usize| {
        get_bits(bytes, 8 * start + poly * stride + i * widths[0] as usize, widths[0])
    };
    let poly = |p| Poly::from_words(params.ring(), Limbs::q(1), (0..n).map(|i| word(p, i)).collect());
    (0..count).map(|p| poly(p).unwrap()).collect()
}

/// Both parts of a ciphertext modulo the first prime.
fn parts(s: &Setup, x: &Ciphertext) -> [Poly<Ntt>; 2] {
    // The server writes the uniform part out.
    let bytes = s.on_device(x, |x| s.evaluator.drop_level(x, x.level()).unwrap()).to_bytes();
    let limbs = s.params.limbs(x.level());
    first_limbs(&s.params, &bytes, 52, limbs, 2).try_into().ok().unwrap()
}

/// The residues nearest to zero.
fn centred(s: &Setup, poly: Poly<Ntt>) -> Vec<i64> {
    let q = i64::from(s.params.ring().modulus(0).q());
    poly.into_coeff()
        .words()
        .iter()
        .map(|&x| if i64::from(x) > q / 2 { i64::from(x) - q } else { i64::from(x) })
        .collect()
}

fn small(s: &Setup, coefficients: &[i64]) -> Poly<Ntt> {
    Poly::<Coeff>::from_signed(s.params.ring(), Limbs::q(1), coefficients).into_ntt()
}

/// `c_0 + c_1 s`, which the owner of the key can compute.
fn phase(s: &Setup, x: &Ciphertext) -> Vec<i64> {
    let [c0, c1] = parts(s, x);
    let mut phase = c1.mul(&small(s, &s.secret_coefficients()));
    phase.add_assign(&c0);
    centred(s, phase)
}

/// The integer coefficients of all values, by definition: with `z = exp(i pi / n)`, or half that angle where slots are real, slot `j`
/// is the value at `z^(5^j)`.
fn coefficients(s: &Setup, values: &[Complex64], scale: f64) -> Vec<i64> {
    let n = s.params.n();
    let order = s.params.ring().kind().root_order(n);
    let angle = |k: usize| 2.0 * PI * k as f64 / order as f64;
    let roots: Vec<_> = (0..order).map(|k| Complex64::from_polar(scale, angle(k))).collect();
    let exponents: Vec<_> =
        std::iter::successors(Some(1), |e| Some(e * 5 % order)).take(values.len()).collect();
    let coefficient = |k: usize| {
        let terms = values.iter().zip(&exponents).map(|(z, e)| {
            let root = roots[e * k % order];
            z.re * root.re + z.im * root.im
        });
        terms.sum::<f64>() / values.len() as f64
    };
    (0..n).map(|k| coefficient(k).round() as i64).collect()
}

/// Li and Micciancio, eprint 2020/1533: with `m + e` known, `s = (m + e - c_0) / c_1`.
fn attack(s: &Setup, x: &Ciphertext, known: &[i64]) -> Vec<i64> {
    let [c0, c1] = parts(s, x);
    let q = s.params.ring().modulus(0);
    let words = c0.words().iter().zip(c1.words()).zip(small(s, known).words().to_vec());
    let words = words.map(|((&c0, &c1), known)| {
        assert_ne!(c1, 0, "once in 2^15 runs");
        q.mul(q.sub(known, c0), q.inv(c1))
    });
    centred(s, Poly::from_words(s.params.ring(), Limbs::q(1), words.collect()).unwrap())
}

fn deviation(x: &[i64]) -> f64 {
    (x.iter().map(|&x| (x as f64).powi(2)).sum::<f64>() / x.len() as f64).sqrt()
}

fn difference(x: &[i64], y: &[i64]) -> Vec<i64> {
    x.iter().zip(y).map(|(x, y)| x - y).collect()
}

/// A full decryption reveals the key to an observer who also has the ciphertext. A published one does not: as an equation for the
/// secret it is at least as noisy as the ciphertext.
#[test]
fn raw_decryptions_reveal_the_key_and_published_ones_do_not() {
    SETUPS.iter().for_each(raw_decryptions_reveal_the_key_and_published_ones_do_not_in);
}

fn raw_decryptions_reveal_the_key_and_published_ones_do_not_in(s: &Setup) {
    let e = &s.evaluator;
    let secret = s.secret_coefficients();
    let a = numbers(&s.params, s.slots(), 1);
    let zero = vec![Complex64::ZERO; s.slots()];
    let x = s.load(&a);
    let subjects = [
        ("fresh", s.encrypt(&a)),
        ("of zeros", s.encrypt(&zero)),
        ("public key", s.secret.public_key().unwrap().encrypt(&s.encoder.encode(&a).unwrap()).unwrap()),
        ("rotated", s.fetch(&e.rotate(&e.drop_level(&x, 2).unwrap(), 1, &s.keys).unwrap())),
        ("product", s.fetch(&e.mul_rescale(&x, &x, &s.keys).unwrap())),
        ("at level 0", s.fetch(&e.drop_level(&x, 0).unwrap())),
        ("of another scale", s.fetch(&x.with_scale(2f64.powi(31)))),
    ];
    for (name, x) in subjects {
        let decrypted = s.secret.decrypt(&s.encoder, &x).unwrap();
        let raw = coefficients(s, decrypted.reveal_unrounded(), x.scale());
        assert_eq!(raw, phase(s, &x), "{name}");
        assert_eq!(attack(s, &x, &raw), secret, "{name}");

        let max = decrypted.max_bits();
        for bits in [max, max - 1, max - 5] {
            let published = coefficients(s, &decrypted.publish(bits).unwrap(), x.scale());
            let found = attack(s, &x, &published);
            let ternary = found.iter().filter(|x| x.abs() <= 1).count();
            assert!(ternary < s.params.n() / 100, "{name}, {bits} bits: {ternary} coefficients");
            let unknown = deviation(&difference(&published, &raw));
            assert!(unknown > 3.1, "{name}, {bits} bits: noise of {unknown}");
        }
    }
}

#[test]
fn noise_is_not_published() {
    SETUPS.iter().for_each(noise_is_not_published_in);
}

fn noise_is_not_published_in(s: &Setup) {
    let a = numbers(&s.params, s.slots(), 1);
    let x = s.load(&a);
    let square = s.evaluator.mul(&x, &x, &s.keys).unwrap();
    let lowered = s.load(&a).with_scale(2f64.powi(12));
    for (x, want) in [(x, -1), (square, 0), (lowered, 1)].map(|(x, kind)| (s.fetch(&x), kind)) {
        let decrypted = s.secret.decrypt(&s.encoder, &x).unwrap();
        let max = decrypted.max_bits();
        // A step of 32 n / scale, or 91 n / scale where noise in slots is larger.
        let units = (5.0 + s.params.noise_bits()).exp2();
        assert_eq!(max, (x.scale() / (units * 8192.0)).log2().floor() as i32);
        assert_eq!(max < 0, want == 1);
        for bits in [max + 1, max + 2, max + 20, i32::MAX] {
            assert_eq!(decrypted.publish(bits), Err(PublishError { bits, max }));
            assert_eq!(decrypted.publish_real(bits), Err(PublishError { bits, max }));
        }
        for bits in [-1100, i32::MIN] {
            assert!(decrypted.publish_real(bits).unwrap().iter().all(|&x| x == 0.0), "{bits} bits");
        }
        for bits in [max, max - 1, max - 10] {
            let step = f64::from(bits).exp2();
            let published = decrypted.publish(bits).unwrap();
            for (shown, raw) in published.iter().zip(decrypted.reveal_unrounded()) {
                assert_eq!((shown.re * step).fract(), 0.0);
                assert_eq!((shown.im * step).fract(), 0.0);
                assert!((shown - raw).re.abs().max((shown - raw).im.abs()) <= 1.0 / step);
            }
            let real: Vec<_> = published.iter().map(|z| z.re).collect();
            assert_eq!(decrypted.publish_real(bits).unwrap(), real);
            // The published values repeat for every decryption of the ciphertext, on any machine.
            assert_eq!(decrypted.publish(bits).unwrap(), published);
            let again = Ciphertext::from_bytes(&x.to_bytes(), &s.params).unwrap();
            let key = SecretKey::from_secret_bytes(&s.secret.to_secret_bytes(), &s.params).unwrap();
            assert_eq!(key.decrypt(&s.encoder, &again).unwrap().publish(bits).unwrap(), published);
        }
    }
}

// Noise and randomness.

#[test]
fn secrets_are_uniform_ternary() {
    let [s, _] = &*SETUPS;
    let n = s.params.n() as f64;
    let secret = s.secret_coefficients();
    for value in -1..=1 {
        let count = secret.iter().filter(|&&x| x == value).count() as f64;
        // Six deviations of n trials at 1/3.
        assert!((count - n / 3.0).abs() < 6.0 * (n * 2.0 / 9.0).sqrt(), "{value}: {count}");
    }
    let [a, b] = [(); 2].map(|()| SecretKey::generate(&s.params).unwrap().to_secret_bytes());
    assert_ne!(a, b);
}

/// An encryption of zero is nothing but noise.
#[test]
fn encryptions_are_noisy() {
    SETUPS.iter().for_each(encryptions_are_noisy_in);
}

fn encryptions_are_noisy_in(s: &Setup) {
    let error = 10.5f64.sqrt();
    let zero = s.encoder.encode(&[Complex64::ZERO]).unwrap();
    let public = s.secret.public_key().unwrap();
    let by_secret = [(); 2].map(|()| phase(s, &s.secret.encrypt(&zero).unwrap()));
    let by_public = [(); 2].map(|()| phase(s, &public.encrypt(&zero).unwrap()));
    // Where slots are real, a product has two terms for each pair of coefficients.
    let terms = s.params.ring().kind().root_order(s.params.n()) as f64 / 2.0;
    let spread = error * (1.0 + terms * 4.0 / 3.0).sqrt();
    for (noises, expected) in [(by_secret, error), (by_public, spread)] {
        for noise in &noises {
            assert!((deviation(noise) / expected - 1.0).abs() < 0.1, "{} for {expected}", deviation(noise));
        }
        // Independent: their difference has twice the variance.
        let both = deviation(&difference(&noises[0], &noises[1]));
        assert!((both / (expected * 2f64.sqrt()) - 1.0).abs() < 0.1, "{both} for {expected}");
    }
}

/// A row is `-a s + e` wherever the digit has no prime: the noise is there, and another in every row.
#[test]
fn keys_are_noisy() {
    SETUPS.iter().for_each(keys_are_noisy_in);
}

fn keys_are_noisy_in(s: &Setup) {
    let ring = s.params.ring();
    let secret = small(s, &s.secret_coefficients());
    let mut noises = Vec::new();
    let mut seeds = Vec::new();
    for level in [3, 3, 2] {
        let gadget = s.params.gadget(level);
        let bytes = s.secret.switching_key_from(&s.secret, level).unwrap().to_bytes();
        let seed = Seed::from_bytes(bytes[41..73].try_into().unwrap());
        let rows = first_limbs(&s.params, &bytes, 73, gadget.limbs, gadget.digits());
        // The first prime is in the first digit.
        for (d, b) in rows.into_iter().enumerate().skip(1) {
            let a = Poly::uniform(ring, gadget.limbs, &seed, d as u32);
            let mut noise = a.restrict(Limbs::q(1)).mul(&secret);
            noise.add_assign(&b);
            noises.push(centred(s, noise));
        }
        seeds.push(*seed.as_bytes());
    }
    let bytes = s.secret.public_key().unwrap().to_bytes();
    let seed = Seed::from_bytes(bytes[40..72].try_into().unwrap());
    let limbs = s.params.limbs(3);
    let mut noise = Poly::uniform(ring, limbs, &seed, 0).restrict(Limbs::q(1)).mul(&secret);
    noise.add_assign(&first_limbs(&s.params, &bytes, 72, limbs, 1)[0]);
    noises.push(centred(s, noise));
    seeds.push(*seed.as_bytes());

    assert_eq!(noises.len(), 6);
    for (i, noise) in noises.iter().enumerate() {
        assert!((deviation(noise) / 10.5f64.sqrt() - 1.0).abs() < 0.1, "{}", deviation(noise));
        assert!(noise[1..].iter().all(|x| x.abs() <= 21));
        for other in &noises[..i] {
            assert!((deviation(&difference(noise, other)) / 21f64.sqrt() - 1.0).abs() < 0.1);
        }
    }
    for (i, seed) in seeds.iter().enumerate() {
        assert!(!seeds[..i].contains(seed));
    }
}

type Make<'a> = &'a dyn Fn() -> Vec<u8>;

/// Two objects made of the same input share no bytes but their headers.
#[test]
fn everything_made_is_fresh() {
    let [s, _] = &*SETUPS;
    let plaintext = s.encoder.encode(&vector(s.slots(), 1)).unwrap();
    let public = s.secret.public_key().unwrap();
    let keys = KeyRequest::new().relin(0).rotations(&s.params, [1, 2], 0);
    let makers: [(_, _, Make<'_>); 5] = [
        ("encryption", 52, &|| s.secret.encrypt(&plaintext).unwrap().to_bytes()),
        ("encryption, public key", 52, &|| public.encrypt(&plaintext).unwrap().to_bytes()),
        ("public key", 40, &|| s.secret.public_key().unwrap().to_bytes()),
        ("switching key", 41, &|| s.secret.switching_key_from(&s.secret, 0).unwrap().to_bytes()),
        ("evaluation keys", 44 + 3 * 5, &|| s.secret.evaluation_keys(&keys).unwrap().to_bytes()),
    ];
    for (name, start, make) in makers {
        let a = make();
        let b = make();
        assert_eq!(a[..start], b[..start], "{name}");
        // Of random bytes, one in 256 is the same.
        let same = a[start..].iter().zip(&b[start..]).filter(|(a, b)| a == b).count();
        assert!(same < a.len() / 128, "{name}: {same} of {}", a.len());
        // Nor does anything repeat within: every key of a set has its own seed.
        let blocks: Vec<_> = a[start..].chunks_exact(32).collect();
        assert_eq!(blocks.iter().collect::<BTreeSet<_>>().len(), blocks.len(), "{name}");
    }
}

// Secrets are not shown, and the server has none.

/// Fails to compile, since `some` is then ambiguous, where the type has the trait.
macro_rules! assert_lacks {
    ($type:ty: $($bound:path),+) => {$({
        trait Ambiguous<A> {
            fn some() {}
        }
        impl<T: ?Sized> Ambiguous<()> for T {}
        struct Bound;
        impl<T: ?Sized + $bound> Ambiguous<Bound> for T {}
        <$type as Ambiguous<_>>::some();
    })+};
}

#[test]
fn secrets_can_neither_be_printed_nor_copied() {
    use std::fmt::{Debug, Display, LowerHex};
    assert_lacks!(SecretKey: Clone, Display, LowerHex, PartialEq, AsRef<[u8]>, IntoIterator);
    assert_lacks!(Decrypted: Clone, Debug, Display, PartialEq, AsRef<[Complex64]>, IntoIterator);
    assert_lacks!(Decrypted: std::ops::Deref, Into<Vec<Complex64>>);
    assert_lacks!(Plaintext: Clone, Debug, Display, PartialEq, AsRef<[i64]>, IntoIterator);
    assert_lacks!(Seed: Debug, Display, PartialEq);
    assert_eq!(format!("{:?}", SETUPS[0].secret), "SecretKey(..)");
    assert_eq!(format!("{:#?}", SETUPS[0].secret), "SecretKey(..)");
}

#[test]
fn no_secret_is_within_the_servers_reach() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let server = std::fs::read_dir(src.join("server")).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = server.chain([src.join("objects.rs")]).collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let code =
            text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n");
        let forbidden = [
            "SecretKey",
            "Decrypted",
            "client",
            "reveal_unrounded",
            "Label::Secret",
            "Ephemeral",
            "from_os",
            "super::super",
        ];
        for word in forbidden {
            assert!(!code.contains(word), "{word} in {}", file.display());
        }
        // A glob would bring them in unnamed.
        assert!(!code.contains("::*"), "{}", file.display());
    }
}
