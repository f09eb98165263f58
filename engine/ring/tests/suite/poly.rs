//! Polynomials in host memory agree with batches on the Cpu, and refuse what is no polynomial; so do rings, elements
//! and devices.
use pleura_ring::sample::Seed;
use pleura_ring::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

#[test]
fn arithmetic_agrees_with_the_cpu() {
    let (ring, cpu) = setup();
    let limbs = ring.limbs();
    let part = Limbs { q: 2, p: 1 };
    let seed = Seed::from_bytes(&[1; 32]);
    let a = Poly::uniform(&ring, limbs, &seed, 0);
    let b = Poly::uniform(&ring, limbs, &seed, 1);
    let [x, y] = [&a, &b].map(|poly| cpu.upload::<Ntt>(limbs, 1, poly.words()).unwrap());
    let x = cpu.concat(&[x.view()], part);
    let same = |poly: &Poly<Ntt>, batch: &Batch<Cpu, Ntt>| {
        assert_eq!(poly.limbs(), batch.limbs());
        assert_eq!(poly.words(), cpu.download(batch.view()).wait().unwrap());
    };
    // The right operand has more limbs.
    let mut poly = a.restrict(part);
    let mut batch = x;
    same(&poly, &batch);
    poly.add_assign(&b);
    cpu.add_assign(&mut batch, 0, 1, y.view());
    same(&poly, &batch);
    poly.neg_assign();
    cpu.neg_assign(&mut batch);
    same(&poly, &batch);
    poly.sub_assign(&a);
    let a = cpu.upload(limbs, 1, a.words()).unwrap();
    cpu.sub_assign(&mut batch, 0, 1, a.view());
    same(&poly, &batch);
    same(&poly.mul(&b), &cpu.mul_accumulate(batch.view(), y.view(), &[Term { out: 0, a: 0, b: 0 }], 1, part));
    let g = ring.rotation(3);
    same(&poly.automorphism(g), &cpu.automorphism(batch.view(), g));
    let coefficients = poly.into_coeff();
    let batch = cpu.intt(batch);
    assert_eq!(coefficients.words(), cpu.download(batch.view()).wait().unwrap());
    same(&coefficients.into_ntt(), &cpu.ntt(batch));
}

#[test]
fn signed_integers_are_reduced_by_every_prime() {
    let (ring, _) = setup();
    let mut integers = vec![0; ring.n()];
    integers[..6].copy_from_slice(&[1, -1, i64::MAX, i64::MIN, 1 << 40, -(1 << 40)]);
    let poly = Poly::from_signed(&ring, ring.limbs(), &integers);
    for (limb, m) in poly.words().chunks(ring.n()).zip(ring.moduli(ring.limbs())) {
        for (&word, &x) in limb.iter().zip(&integers) {
            assert_eq!(i64::from(word), x.rem_euclid(m.q().into()));
        }
    }
    assert!(Poly::<Coeff>::zero(&ring, ring.limbs()).words().iter().all(|&x| x == 0));
}

#[test]
fn small_integers_are_reduced_by_every_prime() {
    let (ring, _) = setup();
    let integers: Vec<i8> = (0..ring.n()).map(|i| i as u8 as i8).collect();
    assert!(integers.contains(&i8::MIN) && integers.contains(&i8::MAX) && integers.contains(&0));
    let wide: Vec<i64> = integers.iter().map(|&x| x.into()).collect();
    let poly = Poly::from_small(&ring, ring.limbs(), &integers);
    assert_eq!(poly.words(), Poly::from_signed(&ring, ring.limbs(), &wide).words());
}

#[test]
fn invalid_words_are_refused() {
    let (ring, cpu) = setup();
    let limbs = ring.limbs();
    let poly = |words| Poly::<Ntt>::from_words(&ring, limbs, words);
    let size = ring.words(limbs, 1);
    assert!(poly(vec![0; size]).is_some());
    assert!(poly(vec![0; size - 1]).is_none() && poly(vec![0; size + 1]).is_none() && poly(vec![]).is_none());
    for (limb, m) in ring.moduli(limbs).enumerate() {
        for (word, accepted) in [(m.q() - 1, true), (m.q(), false), (u32::MAX, false)] {
            let mut words = vec![0; size];
            words[limb * ring.n() + 7] = word;
            assert_eq!(poly(words).is_some(), accepted, "{word} modulo {}", m.q());
        }
    }

    let error = cpu.upload::<Ntt>(limbs, 2, &vec![0; size]).unwrap_err();
    assert_eq!(error, BackendError::Shape { expected: 2 * size, got: size });
    let beyond = Limbs { q: limbs.q + 1, p: limbs.p };
    let none = BackendError::NoSuchLimbs { limbs: beyond, ring: limbs };
    for polys in [0, 1] {
        let words = vec![0; ring.words(beyond, polys)];
        assert_eq!(cpu.upload::<Ntt>(beyond, polys, &words).unwrap_err(), none);
        assert!(Poly::<Ntt>::from_words(&ring, beyond, words).is_none());
    }
    assert!(none.to_string().contains("4 ciphertext and 2 special primes"), "{none}");
    assert_eq!(cpu.upload::<Ntt>(Limbs::q(0), 3, &[]).unwrap().polys(), 3);
}

#[test]
fn the_set_that_the_environment_names_is_in_use() {
    // See `simd`: chosen before the tests began, whichever of them is first.
    let wanted = std::env::var("PLEURA_SIMD").unwrap_or_else(|_| Simd::widest().name().to_owned());
    if cfg!(target_os = "linux") {
        assert_eq!(Simd::preferred().name(), wanted);
    }
}

#[test]
fn rings_refuse_numbers_that_do_not_fit() {
    let prime = primes_below(30.0, 1 << 10, 2, &[]).unwrap();
    assert!(matches!(Ring::new(1, &prime, &[]), Err(RingError::BadDegree { log_n: 1 })));
    assert!(matches!(Ring::new(18, &prime, &[]), Err(RingError::BadDegree { log_n: 18 })));
    assert!(
        matches!(Ring::new(10, &prime, &prime[1..]), Err(RingError::RepeatedPrime { q }) if q == prime[1])
    );
    assert!(matches!(Ring::new(10, &[15], &[]), Err(RingError::NotAPrime { q: 15 })));
    assert!(matches!(Ring::new(10, &[17], &[]), Err(RingError::NoRoot { q: 17, order: 2048 })));
    let many = Ring::new(2, &primes_below(20.0, 4, 17, &[]).unwrap(), &[]).unwrap();
    for sources in [0, 16] {
        let refused = many.conversion(&(0..sources).collect::<Vec<_>>(), &[16]).unwrap_err();
        assert_eq!(refused, RingError::TooManySources { sources, max: 15 });
    }
}

#[test]
fn special_products_and_conversions_are_kept_by_the_ring() {
    let primes = primes_below(30.0, 1 << 10, 6, &[]).unwrap();
    let ring = Ring::new(10, &primes[..4], &primes[4..]).unwrap();
    for (index, &q) in primes.iter().enumerate() {
        let product = |special: usize| primes[4..4 + special].iter().fold(1u128, |p, &q| p * u128::from(q));
        for special in 0..=2 {
            assert_eq!(u128::from(ring.special_product(special, index)), product(special) % u128::from(q));
        }
    }
    let first = ring.conversion(&[0, 1], &[2, 3]).unwrap();
    assert!(Arc::ptr_eq(&first, &ring.conversion(&[0, 1], &[2, 3]).unwrap()));
    assert!(!Arc::ptr_eq(&first, &ring.conversion(&[0, 1], &[2]).unwrap()));
}

#[test]
fn shapes_that_do_not_fit_panic_and_leave_the_device_usable() {
    let (ring, cpu) = setup();
    let limbs = ring.limbs();
    let upload = |limbs, polys| cpu.upload::<Ntt>(limbs, polys, &vec![1; ring.words(limbs, polys)]).unwrap();
    let x = upload(limbs, 2);
    let low = upload(Limbs::q(2), 2);
    let gadget = Gadget { limbs, digit_limbs: 1 };
    let term = [Term { out: 0, a: 0, b: 0 }];
    let panics = |what: &str, f: &dyn Fn()| {
        assert!(catch_unwind(AssertUnwindSafe(f)).is_err(), "{what}");
    };
    panics("slice", &|| assert_eq!(x.slice(1, 2).polys(), 2));
    panics("concat to limbs that are missing", &|| drop(cpu.concat(&[low.view()], limbs)));
    panics("sum of fewer limbs", &|| cpu.add_assign(&mut upload(limbs, 2), 0, 2, low.view()));
    panics("sum beyond the end", &|| cpu.add_assign(&mut upload(limbs, 2), 1, 2, x.view()));
    panics("scalar of fewer limbs", &|| drop(cpu.mul_scalar(x.view(), &[1])));
    panics("product of fewer limbs", &|| drop(cpu.mul_accumulate(x.view(), low.view(), &term, 1, limbs)));
    panics("product of a poly that is missing", &|| {
        drop(cpu.mul_accumulate(x.slice(0, 1), x.view(), &[Term { out: 0, a: 1, b: 0 }], 1, limbs));
    });
    panics("output that is missing", &|| drop(cpu.mul_accumulate(x.view(), x.view(), &term, 0, limbs)));
    panics("mod_up of other limbs", &|| drop(cpu.mod_up(x.view(), gadget)));
    panics("rescale to more", &|| drop(cpu.rescale(low.view(), limbs)));
    panics("rescale by nothing", &|| drop(cpu.rescale(x.view(), limbs)));
    let digits = upload(limbs, limbs.q);
    let key = upload(limbs, 2 * limbs.q);
    let product =
        |x: &Batch<Cpu, Ntt>, digits: &Batch<Cpu, Ntt>, key: &Batch<Cpu, Ntt>, first_switched: usize| {
            let terms =
                [GadgetTerm { input: 0, output: 0, key: Some(key.view()), galois: GaloisElement::IDENTITY }];
            let x = x.view();
            let digits = Digits::Extended(digits.view());
            let terms = &terms[..];
            drop(cpu.gadget_product(&GadgetProduct {
                gadget,
                x,
                digits,
                first_switched,
                terms,
                batch: 1,
                outputs: 1,
            }));
        };
    product(&x, &digits, &key, 0);
    panics("gadget product of other limbs", &|| product(&low, &digits, &key, 0));
    panics("gadget product of an input before first_switched", &|| product(&x, &digits, &key, 1));
    panics("gadget product of too few digits", &|| product(&x, &x, &key, 0));
    panics("gadget product with a short key", &|| product(&x, &digits, &x, 0));
    panics("gadget product with a low key", &|| {
        product(&x, &digits, &upload(Limbs::q(limbs.q), 2 * limbs.q), 0)
    });
    panics("gadget product of too few polys in a key", &|| {
        product(&x, &digits, &upload(limbs, 2 * limbs.q - 1), 0);
    });
    panics("gadget product of low digits", &|| product(&x, &upload(Limbs::q(limbs.q), 2 * limbs.q), &key, 0));
    assert_eq!(
        cpu.download(cpu.rescale(x.view(), Limbs::q(1)).view()).wait().unwrap().len(),
        ring.words(Limbs::q(1), 2)
    );
}

fn setup() -> (Arc<Ring>, Cpu) {
    let mut primes = Vec::new();
    for bits in [28.0, 22.0, 25.0, 30.0, 30.0] {
        primes.extend(primes_below(bits, 1 << 8, 1, &primes).unwrap());
    }
    let ring = Arc::new(Ring::new(8, &primes[..3], &primes[3..]).unwrap());
    let cpu = Cpu::with(ring.clone(), Simd::widest(), 1).unwrap();
    (ring, cpu)
}

/// Tables are read without bounds checks, so a batch made for another degree must not get that far.
#[test]
#[should_panic(expected = "a transform of")]
fn a_device_refuses_batches_of_another_degree() {
    let [small, large] = [10, 11].map(|log_n| {
        let primes = primes_below(29.0, 1 << 11, 1, &[]).unwrap();
        Cpu::with(Arc::new(Ring::new(log_n, &primes, &[]).unwrap()), Simd::widest(), 1).unwrap()
    });
    let words = vec![1; large.ring().n()];
    let batch = large.upload::<Coeff>(Limbs::q(1), 1, &words).unwrap();
    let buffer = batch.into_buffer();
    small.ntt(Batch::from_buffer(buffer, Limbs::q(1), 1));
}
