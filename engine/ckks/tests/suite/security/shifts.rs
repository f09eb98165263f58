//! Decryptions of copies of one ciphertext, shifted by known constants: how many of them give the key away.

use super::*;
use pleura_ring::Cpu;
use rustfft::FftPlanner;

/// A way of showing a decryption.
type Show<'a> = &'a dyn Fn(&Decrypted) -> Vec<Complex64>;

/// Rounding without a dither.
fn plainly_rounded(decrypted: &Decrypted, bits: i32) -> Vec<Complex64> {
    let units = f64::from(bits).exp2();
    decrypted
        .reveal_unrounded()
        .iter()
        .map(|z| Complex64::new((z.re * units).round(), (z.im * units).round()) / units)
        .collect()
}

/// An encryption of zeros at level 0, and the server's copy.
fn zeros() -> (Ciphertext, CiphertextBatch<Cpu>) {
    let [s, _] = &*SETUPS;
    let zero = s.encoder.encode_at(&vec![Complex64::ZERO; s.slots()], s.params.scale(0)).unwrap();
    let x = s.secret.encrypt_at(&zero, 0).unwrap();
    let on_device = s.evaluator.upload(std::slice::from_ref(&x)).unwrap();
    (x, on_device)
}

/// Shows `x` shifted by known values: the server adds them, the client decrypts.
fn shifted(x: &CiphertextBatch<Cpu>, shift: &[Complex64], show: Show<'_>) -> Vec<Complex64> {
    let [s, _] = &*SETUPS;
    let plaintext = s.encoder.encode_at(shift, s.params.scale(0)).unwrap();
    let sum = s.evaluator.add_plain(x, &s.evaluator.upload_plaintext(&plaintext, 0).unwrap()).unwrap();
    show(&s.secret.decrypt(&s.encoder, &s.fetch(&sum)).unwrap())
}

/// Where slot `j` and its conjugate stand among the values at all odd powers of `z = exp(i pi / n)`.
fn places(n: usize) -> impl Iterator<Item = [usize; 2]> {
    let exponents = std::iter::successors(Some(1), move |e| Some(e * 5 % (2 * n))).take(n / 2);
    exponents.map(move |e| [e / 2, n - 1 - e / 2])
}

/// All `n/2` values of integer coefficients.
fn evaluate(coefficients: &[i64], scale: f64) -> Vec<Complex64> {
    let n = coefficients.len();
    let mut x: Vec<_> = coefficients
        .iter()
        .enumerate()
        .map(|(k, &c)| Complex64::from_polar(c as f64 / scale, PI * k as f64 / n as f64))
        .collect();
    FftPlanner::new().plan_fft_inverse(n).process(&mut x);
    places(n).map(|[at, _]| x[at]).collect()
}

/// The integer coefficients nearest to those of `n/2` values.
fn interpolate(values: &[Complex64], scale: f64) -> Vec<i64> {
    let n = 2 * values.len();
    let mut x = vec![Complex64::ZERO; n];
    for (z, [at, conjugate]) in values.iter().zip(places(n)) {
        (x[at], x[conjugate]) = (*z, z.conj());
    }
    FftPlanner::new().plan_fft_forward(n).process(&mut x);
    let untwist = |k: usize| Complex64::from_polar(scale / n as f64, -PI * k as f64 / n as f64);
    x.iter().enumerate().map(|(k, x)| (x * untwist(k)).re.round() as i64).collect()
}

/// Bisects the noise of all slots at once: each shift moves the middles of the ranges to where a rounding turns. Returns
/// how many decryptions gave the key, or by how much the noise is wrong after all of them: the deviation of a coefficient.
fn bisect(bits: i32, queries: usize, show: Show<'_>) -> Result<usize, f64> {
    let [s, _] = &*SETUPS;
    let (x, on_device) = zeros();
    let scale = s.params.scale(0);
    let half = 0.5 * f64::from(-bits).exp2();
    let secret = s.secret_coefficients();
    // Noise of a slot beyond five deviations is rare, and then one of thousands that are averaged.
    let reach = 5.0 * (10.5 * s.slots() as f64).sqrt() / scale;
    let mut low = vec![[-reach; 2]; s.slots()];
    let mut high = vec![[reach; 2]; s.slots()];
    let mut noise = Vec::new();
    for query in 1..=queries {
        let middles = low.iter().zip(&high).map(|(low, high)| [0, 1].map(|i| 0.5 * (low[i] + high[i])));
        let shift: Vec<_> = middles.map(|[re, im]| Complex64::new(half - re, half - im)).collect();
        // As the encoder rounds it.
        let shift = evaluate(&interpolate(&shift, scale), scale);
        for (slot, (shown, shift)) in shifted(&on_device, &shift, show).iter().zip(&shift).enumerate() {
            for (i, (shown, shift)) in [(shown.re, shift.re), (shown.im, shift.im)].into_iter().enumerate() {
                let low = &mut low[slot][i];
                let high = &mut high[slot][i];
                if shown > half { *low = low.max(half - shift) } else { *high = high.min(half - shift) }
            }
        }
        noise = interpolate(
            &low.iter()
                .zip(&high)
                .map(|(low, high)| Complex64::new(low[0] + high[0], low[1] + high[1]) * 0.5)
                .collect::<Vec<_>>(),
            scale,
        );
        if attack(s, &x, &noise) == secret {
            return Ok(query);
        }
    }
    Err(deviation(&difference(&noise, &phase(s, &x))))
}

/// Averages `count` publications of values halfway between multiples, where dithered roundings reveal the most, and returns the
/// error of the noise derived from them: the deviation of a coefficient.
fn average(bits: i32, count: usize, show: Show<'_>) -> f64 {
    let [s, _] = &*SETUPS;
    let (x, on_device) = zeros();
    let unit = f64::from(-bits).exp2();
    let mut sums = vec![Complex64::ZERO; s.slots()];
    for i in 0..count {
        let shift = Complex64::new(1.0, 1.0) * (i as f64 + 0.5) * unit;
        let shown = shifted(&on_device, &vec![shift; s.slots()], show);
        sums.iter_mut().zip(shown).for_each(|(sum, shown)| *sum += shown - shift);
    }
    // A value e above the half is rounded up with probability 1/2 + pi/2 e.
    sums.iter_mut().for_each(|sum| *sum *= 2.0 / PI / count as f64);
    deviation(&difference(&interpolate(&sums, s.params.scale(0)), &phase(s, &x)))
}

/// No estimate without bias from `count` publications has a smaller deviation.
fn least_deviation(bits: i32, count: usize) -> f64 {
    let [s, _] = &*SETUPS;
    f64::from(-bits).exp2() * s.params.scale(0) / PI / (count as f64 * s.slots() as f64).sqrt()
}

/// A dozen decryptions of shifted copies of one ciphertext, if they are plainly rounded, give the key away at any precision.
#[test]
fn shifted_copies_reveal_the_key_under_plain_rounding_and_not_when_published() {
    let (x, _) = zeros();
    let max = SETUPS[0].secret.decrypt(&SETUPS[0].encoder, &x).unwrap().max_bits();
    for bits in [max, max - 4, 0] {
        let plain = bisect(bits, 16, &|decrypted| plainly_rounded(decrypted, bits));
        assert!(plain.as_ref().is_ok_and(|&queries| queries <= 12), "{bits} bits: {:?}", plain.ok());
    }
    let publish: Show<'_> = &|decrypted| decrypted.publish(max).unwrap();
    let wrong = bisect(max, 48, publish).expect_err("the key");
    // Knowing nothing, one is wrong by 3.24.
    assert!(wrong > 3.1, "{wrong}");
    // Averages reveal no more than the dither's information.
    let got = average(max, 64, publish);
    let least = least_deviation(max, 64);
    assert!((0.9..1.1).contains(&(got / least)), "{got} where {least} is least");
}

/// `sin^2(pi f / 2)` of the values that are a fraction `f` of a unit above a multiple go up, and none goes further.
#[test]
fn dithers_round_up_with_the_documented_probability() {
    let [s, _] = &*SETUPS;
    let bits = 3;
    let (_, on_device) = zeros();
    let unit = f64::from(-bits).exp2();
    for f in [0.0f64, 0.1, 0.25, 0.5, 0.8, 0.95] {
        let shift = vec![Complex64::new(5.0 + f, -2.0 + f) * unit; s.slots()];
        let shown = shifted(&on_device, &shift, &|decrypted| decrypted.publish(bits).unwrap());
        let up = |value: f64, multiple: f64| (value / unit - multiple).abs();
        let ups: Vec<_> = shown.iter().flat_map(|z| [up(z.re, 5.0), up(z.im, -2.0)]).collect();
        assert!(ups.iter().all(|&up| up == 0.0 || up == 1.0), "{f}");
        let count = ups.len() as f64;
        let probability = (0.5 * PI * f).sin().powi(2);
        let spread = (count * probability * (1.0 - probability)).sqrt();
        let surplus = ups.iter().sum::<f64>() - count * probability;
        assert!(surplus.abs() <= 5.0 * spread, "{f}: {surplus} more than expected");
    }
}

/// For SECURITY.md: `cargo test --release -p pleura-ckks --test suite -- --ignored --nocapture publications`
#[test]
#[ignore = "takes a minute; prints the table of SECURITY.md"]
fn publications_until_the_key_is_known() {
    let [s, _] = &*SETUPS;
    let (x, _) = zeros();
    let decrypted = s.secret.decrypt(&s.encoder, &x).unwrap();
    let max = decrypted.max_bits();
    println!("bits, plain rounding, measured error after 1024, least, publications to an error of 1/8");
    for bits in [max, max - 1, max - 2, max - 4, max - 6, 0] {
        let plain = bisect(bits, 24, &|decrypted| plainly_rounded(decrypted, bits)).ok();
        let count = 1024;
        let publish = &|decrypted: &Decrypted| decrypted.publish(bits).unwrap();
        let error = average(bits, count, publish);
        let least = least_deviation(bits, count);
        println!("{bits}, {plain:?}, {error:.2}, {least:.2}, {:.2e}", (8.0 * error).powi(2) * count as f64);
    }
    // In units: adaptive shifts that move values onto multiples, had the dither been uniform.
    let unit = f64::from(-max).exp2();
    let noise: Vec<f64> =
        decrypted.reveal_unrounded().iter().flat_map(|z| [z.re / unit, z.im / unit]).collect();
    let mut fractions = Seed::from_bytes(&[3; 32]).sampler(pleura_ring::sample::Label::Dither, 0);
    let mut known = vec![0.0; noise.len()];
    let mut count = 4096;
    let mut publications = 0;
    let mut error = f64::INFINITY;
    while error > 0.125 {
        for (noise, known) in noise.iter().zip(&mut known) {
            *known += (0..count).map(|_| (noise - *known + fractions.fraction() - 0.5).round()).sum::<f64>()
                / f64::from(count);
        }
        publications += count;
        count *= 2;
        let squares: f64 = noise.iter().zip(&known).map(|(noise, known)| (noise - known).powi(2)).sum();
        let slot = (squares / noise.len() as f64).sqrt() * unit * s.params.scale(0);
        error = slot / (s.slots() as f64).sqrt();
        println!("uniform dither, {publications} publications: error {error:.3}");
    }
}
