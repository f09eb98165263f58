//! Stored pictures give images away where randomness is shared, and nothing where it is not.

mod common;

use common::xray;
use pleura_baselines::leak::{MutualInformation, codebook, frequency, leave_one_out};
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
    assert!(leave_one_out(&set(40.0), &labels) > 0.9);
    let chance = leave_one_out(&set(0.0), &labels);
    assert!((0.3..0.7).contains(&chance), "{chance}");
}
