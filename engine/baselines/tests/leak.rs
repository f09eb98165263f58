//! Stored pictures give images away where randomness is shared, and nothing where it is not.

mod common;

use common::xray;
use pleura_baselines::leak::{MutualInformation, affine, codebook, frequency, leave_pair_out};
use pleura_baselines::paillier::{Randomness, SecretKey, store};
use pleura_baselines::psnr;

const NAMES: [&str; 3] =
    ["NORMAL2-IM-1438-0001.jpeg", "person1951_bacteria_4882.jpeg", "NORMAL2-IM-1427-0001.jpeg"];
const SIDE: u32 = 96;

#[test]
fn shared_randomness_is_a_substitution_and_fresh_randomness_is_noise() {
    // Small keys, so that it takes a moment: what is stored is the top of the ciphertext whatever their size.
    let key = SecretKey::generate_insecure(256).unwrap();
    let images = NAMES.map(|name| xray(name, SIDE)).to_vec();
    let all = images.concat();
    let mut figures = Vec::new();
    // How much of the greys a codebook keeps apart depends on the key: the median of twelve.
    let known = |randomness: Randomness| -> f64 {
        let attempt = |_| {
            let key = SecretKey::generate_insecure(256).unwrap();
            let stored = store(key.public(), &images, randomness).unwrap();
            let [first, others @ ..] = stored.as_slice() else { panic!("three pictures") };
            let others: Vec<u8> = others.iter().flat_map(|s| s.pixels.clone()).collect();
            psnr(&images[0], &codebook(&images[1..].concat(), &others, &first.pixels))
        };
        let mut found: Vec<f64> = (0..12).map(attempt).collect();
        found.sort_by(f64::total_cmp);
        found[6]
    };
    for randomness in [Randomness::Fresh, Randomness::PerImage, Randomness::Fixed] {
        let stored = store(key.public(), &images, randomness).unwrap();
        let pixels: Vec<Vec<u8>> = stored.into_iter().map(|s| s.pixels).collect();
        let information = MutualInformation::of(&all, &pixels.concat());
        let one = MutualInformation::of(&images[0], &pixels[0]);
        let known = known(randomness);
        println!("{randomness:?}: {information:?}, one image {one:?}, codebook {known:.1} dB");
        figures.push((information, one, known));
    }
    let [fresh, per_image, fixed] = figures.try_into().unwrap();
    // Sound: what is left is the estimator's bias, and pictures are guesses.
    assert!((fresh.0.estimate - fresh.0.shuffled).abs() < 0.05, "{fresh:?}");
    assert!(fresh.2 < 15.0, "{fresh:?}");
    // One randomness for an image: it is a substitution, which another image's codebook does not open.
    assert!(per_image.1.beyond_chance() > 4.0 && per_image.2 < fixed.2, "{per_image:?}");
    // One for all: everything opens.
    assert!(fixed.0.beyond_chance() > 4.0 && fixed.2 > fresh.2 + 2.0, "{fixed:?}");
}

#[test]
fn one_stored_picture_is_enough_where_its_pixels_share_randomness() {
    let images = NAMES.map(|name| xray(name, SIDE)).to_vec();
    let alone = |randomness: Randomness| -> Vec<f64> {
        let attempt = |k: usize| {
            let key = SecretKey::generate_insecure(256).unwrap();
            let image = &images[k % 3];
            let stored = store(key.public(), std::slice::from_ref(image), randomness).unwrap();
            psnr(image, &frequency(&stored[0].pixels, SIDE as usize, &images[(k + 1) % 3]))
        };
        let mut found: Vec<f64> = (0..12).map(attempt).collect();
        found.sort_by(f64::total_cmp);
        found
    };
    let (shared, fresh) = (alone(Randomness::PerImage), alone(Randomness::Fresh));
    println!("{shared:.1?} {fresh:.1?}");
    // Keys differ much: medians of twelve.
    assert!(shared[6] > fresh[6] + 1.0, "{shared:?} {fresh:?}");
    assert!(fresh[6] < 13.0, "{fresh:?}");
}

/// What arithmetic opens, and does not. One key in four has a step close to a simple fraction of the period, so that greys fall together: of
/// twelve keys, three at least must open well.
#[test]
fn levels_are_read_by_two_numbers() {
    const SIDE: u32 = 48;
    let images = NAMES.map(|name| xray(name, SIDE)).to_vec();
    let another = xray("person1952_bacteria_4883.jpeg", SIDE);
    // Of the picture that is recovered worst.
    let worst = |images: &[Vec<u8>], randomness: Randomness| {
        let key = SecretKey::generate_insecure(256).unwrap();
        let stored: Vec<Vec<u8>> =
            store(key.public(), images, randomness).unwrap().into_iter().map(|s| s.pixels).collect();
        let found = affine(&stored, SIDE as usize, &another);
        found.iter().zip(images).map(|(a, b)| psnr(b, a)).fold(f64::INFINITY, f64::min)
    };
    let best = |count: usize, of: &dyn Fn(usize) -> f64| {
        let mut found: Vec<f64> = (0..count).map(of).collect();
        found.sort_by(|a, b| b.total_cmp(a));
        println!("{found:.1?}");
        found
    };
    let alone = best(12, &|k| worst(&images[k % 3..][..1], Randomness::PerImage));
    let together = best(12, &|_| worst(&images, Randomness::Fixed));
    let fresh = best(3, &|k| worst(&images[k..][..1], Randomness::Fresh));
    assert!(alone[2] > 22.0 && together[2] > 22.0 && fresh[0] < 13.0);
}

#[test]
fn pictures_of_nothing_are_no_trouble() {
    for (count, pixels, side) in
        [(0, 0, 8), (1, 0, 8), (1, 1, 1), (2, 64, 8), (1, 64, 0), (1, 10, 8), (3, 16, 4)]
    {
        let pictures = vec![vec![7; pixels]; count];
        let found = affine(&pictures, side, &vec![9; pixels]);
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), vec![pixels; count]);
        assert!(pictures.iter().all(|picture| frequency(picture, side, &[]).len() == pixels));
    }
}

#[test]
fn information_of_equal_and_of_unrelated_pixels() {
    let a: Vec<u8> = (0..60_000u32).map(|k| (k.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let same = MutualInformation::of(&a, &a);
    // No more than Miller's formula has for entropies: one is a function of the other.
    assert!(same.bias <= 0.0 && (same.beyond_chance() - same.entropy).abs() < 0.01);
    assert!((same.estimate - same.entropy).abs() < 1e-9 && (same.entropy - 8.0).abs() < 0.01);
    let other: Vec<u8> = a.iter().rev().map(|x| x / 64).collect();
    let four = MutualInformation::of(&a, &other.iter().rev().copied().collect::<Vec<_>>());
    assert!((four.estimate - 2.0).abs() < 0.01);
}

#[test]
fn a_classifier_learns_from_pictures_and_not_from_noise() {
    let image = |k: usize, signal: f64| -> Vec<u8> {
        let noise = common::numbers(400, k as u64 + 1);
        noise
            .iter()
            .enumerate()
            .map(|(p, x)| (128.0 + 60.0 * x + signal * f64::from(u8::from(p % 20 < 10))) as u8)
            .collect()
    };
    let labels: Vec<bool> = (0..80).map(|k| k % 2 == 0).collect();
    let set =
        |signal: f64| (0..80).map(|k| image(k, if k % 2 == 0 { signal } else { 0.0 })).collect::<Vec<_>>();
    let learned = |signal: f64| leave_pair_out(&set(signal), &labels).unwrap();
    let (clear, chance) = (learned(40.0), learned(0.0));
    assert!(clear.right > 72 && clear.of == 80 && clear.auc > 0.95, "{clear:?}");
    assert!((24..56).contains(&chance.right) && (0.3..0.7).contains(&chance.auc), "{chance:?}");
    assert_eq!(leave_pair_out(&set(0.0)[..3], &labels), None);
}

/// Every pair is left out by the closed form; here by learning anew from all others.
#[test]
fn leaving_pairs_out_is_learning_without_them() {
    let images: Vec<Vec<u8>> = (0..9)
        .map(|k| common::numbers(16, k + 1).iter().map(|x| (128.0 + 100.0 * x) as u8).collect())
        .collect();
    let labels = [true, false, true, true, false, false, true, false, true];
    let found = leave_pair_out(&images, &labels).unwrap();
    let unit = |image: &[u8]| -> Vec<f64> {
        let mean = image.iter().map(|&x| f64::from(x)).sum::<f64>() / 16.0;
        let length = image.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>().sqrt();
        image.iter().map(|&x| (f64::from(x) - mean) / length).chain([1.0]).collect()
    };
    let rows: Vec<Vec<f64>> = images.iter().map(|image| unit(image)).collect();
    let sign = |k: usize| if labels[k] { 1.0 } else { -1.0 };
    let pairs: Vec<[usize; 2]> =
        (0..81).map(|k| [k / 9, k % 9]).filter(|&[i, j]| labels[i] && !labels[j]).collect();
    let (mut won, mut sums) = (0, [0.0; 9]);
    for &[i, j] in &pairs {
        let others: Vec<usize> = (0..9).filter(|k| ![i, j].contains(k)).collect();
        // Gradient descent on the primal: another road to the same minimum.
        let mut weights = [0.0; 17];
        let score = |w: &[f64; 17], k: usize| w.iter().zip(&rows[k]).map(|(w, x)| w * x).sum::<f64>();
        for _ in 0..4000 {
            let mut step = weights.map(|w| 0.1 * w);
            for &k in &others {
                let off = score(&weights, k) - sign(k);
                step.iter_mut().zip(&rows[k]).for_each(|(s, x)| *s += off * x);
            }
            weights.iter_mut().zip(step).for_each(|(w, s)| *w -= 0.08 * s);
        }
        let [a, b] = [score(&weights, i), score(&weights, j)];
        won += usize::from(a > b);
        sums[i] += a;
        sums[j] += b;
    }
    let right = (0..9).filter(|&k| sums[k] * sign(k) > 0.0).count();
    assert_eq!((found.right, found.of), (right, 9));
    assert!(
        (found.auc - won as f64 / pairs.len() as f64).abs() < 1e-12,
        "{found:?}, {won} of {}",
        pairs.len()
    );
}
