//! Stored pictures give images away where randomness is shared, and nothing where it is not.

use crate::common::xray;
use pleura_baselines::leak::{
    Codebook, FEWEST_LABELLED, MutualInformation, affine, frequency, learnable, leave_pair_out,
};
use pleura_baselines::paillier::{Attack, Leakage, LeakageStep, PaillierError, Randomness, SecretKey, store};
use pleura_baselines::psnr;
use std::sync::atomic::{AtomicUsize, Ordering};

const NAMES: [&str; 3] =
    ["NORMAL2-IM-1438-0001.jpeg", "person1951_bacteria_4882.jpeg", "NORMAL2-IM-1427-0001.jpeg"];
const SIDE: u32 = 96;

#[test]
fn shared_randomness_is_a_substitution_and_fresh_randomness_is_noise() {
    let images = NAMES.map(|name| xray(name, SIDE)).to_vec();
    let all = images.concat();
    // Small keys, so that it takes a moment: what is stored is the top of the ciphertext whatever their size.
    let stored = |randomness: Randomness| -> Vec<Vec<u8>> {
        let key = SecretKey::generate_insecure(256).unwrap();
        store(key.public(), &images, randomness).unwrap().into_iter().map(|s| s.pixels).collect()
    };
    // What the first image is known of from the others.
    let codebook = |stored: &[Vec<u8>]| {
        let mut book = Codebook::default();
        images.iter().zip(stored).for_each(|(image, stored)| book.learn(image, stored));
        psnr(&images[0], &book.without(&images[0], &stored[0]).open(&stored[0]))
    };
    // How many greys are kept apart depends on the key: medians of twelve.
    let median = |of: &dyn Fn() -> f64| {
        let mut found: Vec<f64> = (0..12).map(|_| of()).collect();
        found.sort_by(f64::total_cmp);
        found[6]
    };
    let each = |stored: &[Vec<u8>]| {
        let each: Vec<_> = images.iter().zip(stored).map(|(a, b)| MutualInformation::of(a, b)).collect();
        MutualInformation::mean(&each).beyond_chance()
    };
    let together = |stored: &[Vec<u8>]| MutualInformation::of(&all, &stored.concat());

    // Sound: what is left is the estimator's bias, and pictures are guesses.
    let fresh = stored(Randomness::Fresh);
    let information = together(&fresh);
    assert!((information.estimate - information.shuffled).abs() < 0.05, "{information:?}");
    assert!(codebook(&fresh) < 15.0);
    // One randomness for an image: each is a substitution, which another image's codebook does not open.
    assert!(median(&|| each(&stored(Randomness::PerImage))) > 4.0);
    let other = median(&|| codebook(&stored(Randomness::PerImage)));
    // One for all: everything opens.
    assert!(median(&|| together(&stored(Randomness::Fixed)).beyond_chance()) > 4.0);
    let opened = median(&|| codebook(&stored(Randomness::Fixed)));
    println!("codebook: {other:.1} dB of other keys, {opened:.1} dB of one key");
    assert!(opened > other + 2.0);
}

#[test]
fn one_stored_picture_is_enough_where_its_pixels_share_randomness() {
    let images = NAMES.map(|name| xray(name, SIDE)).to_vec();
    let alone = |randomness: Randomness| -> Vec<f64> {
        let mut found: Vec<f64> = (0..12)
            .map(|k| {
                let key = SecretKey::generate_insecure(256).unwrap();
                let image = &images[k % 3];
                let stored = store(key.public(), std::slice::from_ref(image), randomness).unwrap();
                psnr(image, &frequency(&stored[0].pixels, SIDE as usize, &images[(k + 1) % 3]))
            })
            .collect();
        found.sort_by(f64::total_cmp);
        found
    };
    let shared = alone(Randomness::PerImage);
    let fresh = alone(Randomness::Fresh);
    println!("{shared:.1?} {fresh:.1?}");
    // Keys differ much: medians of twelve.
    assert!(shared[6] > fresh[6] + 1.0, "{shared:?} {fresh:?}");
    assert!(fresh[6] < 13.0, "{fresh:?}");
}

/// As a ciphertext is stored: `u + m alpha` without its whole part, the least of the picture black and the largest white.
fn levels(image: &[u8], u: f64, alpha: f64) -> Vec<u8> {
    let parts: Vec<f64> = image.iter().map(|&m| (u + alpha * f64::from(m)).fract()).collect();
    let low = parts.iter().copied().fold(f64::INFINITY, f64::min);
    let high = parts.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    parts.iter().map(|part| ((part - low) / (high - low) * 255.0).round() as u8).collect()
}

/// Steps that are far from simple fractions of the period.
#[test]
fn levels_are_opened_by_their_step_and_period() {
    const SIDE: u32 = 48;
    let images = NAMES.map(|name| xray(name, SIDE));
    let another = xray("person1952_bacteria_4883.jpeg", SIDE);
    let open = |stored: &[Vec<u8>]| affine(stored, SIDE as usize, &another);
    for (k, alpha) in [0.618_03, 0.414_21, 0.732_05, 0.381_97, 0.127_02, 0.302_8].into_iter().enumerate() {
        let image = &images[k % 3];
        let found = open(&[levels(image, 0.3 + 0.1 * k as f64, alpha)]);
        let quality = psnr(image, &found.pictures[0]);
        println!("{alpha}: {quality:.1} dB, {:.2} steady", found.steady);
        assert!(quality > 25.0 && found.steady > 0.6, "{alpha}: {quality} dB, {}", found.steady);
    }
}

/// With real keys, too. More than one in three has a step close to a simple fraction of the period, so that greys fall together: of twelve keys,
/// two at least must open well.
#[test]
fn shared_randomness_is_opened_without_a_key() {
    const SIDE: u32 = 48;
    let images = NAMES.map(|name| xray(name, SIDE)).to_vec();
    let another = xray("person1952_bacteria_4883.jpeg", SIDE);
    // How much the picture that is recovered worst is better than an even grey, and how steady it is.
    let worst = |images: &[Vec<u8>], randomness: Randomness| {
        let key = SecretKey::generate_insecure(256).unwrap();
        let stored: Vec<Vec<u8>> =
            store(key.public(), images, randomness).unwrap().into_iter().map(|s| s.pixels).collect();
        let found = affine(&stored, SIDE as usize, &another);
        let gains = found.pictures.iter().zip(images).map(|(found, image)| {
            let mean = image.iter().map(|&x| u64::from(x)).sum::<u64>() / image.len() as u64;
            psnr(image, found) - psnr(image, &vec![mean as u8; image.len()])
        });
        (gains.fold(f64::INFINITY, f64::min), found.steady)
    };
    let best = |count: usize, of: &dyn Fn(usize) -> (f64, f64)| {
        let mut found: Vec<(f64, f64)> = (0..count).map(of).collect();
        found.sort_by(|a, b| b.0.total_cmp(&a.0));
        println!("{found:.2?}");
        found
    };
    let alone = best(12, &|k| worst(&images[k % 3..][..1], Randomness::PerImage));
    let together = best(12, &|_| worst(&images, Randomness::Fixed));
    let fresh = best(3, &|k| worst(&images[k..][..1], Randomness::Fresh));
    assert!(alone[1].0 > 8.0 && together[1].0 > 8.0 && fresh[0].0 < 1.0);
    assert!(fresh.iter().all(|x| x.1 < alone[1].1));
}

#[test]
fn empty_pictures_are_accepted() {
    for (count, pixels, side) in
        [(0, 0, 8), (1, 0, 8), (1, 1, 1), (2, 64, 8), (1, 64, 0), (1, 10, 8), (3, 16, 4)]
    {
        let pictures = vec![vec![7; pixels]; count];
        let found = affine(&pictures, side, &vec![9; pixels]).pictures;
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), vec![pixels; count]);
        assert!(pictures.iter().all(|picture| frequency(picture, side, &[]).len() == pixels));
    }
    // What is not a stored picture: levels that never wrap, two levels, an X-ray.
    let ramp: Vec<u8> = (0..48 * 48).map(|k| (k % 48 * 5) as u8).collect();
    let two = ramp.iter().map(|x| x / 128 * 255).collect();
    for picture in [ramp, two, xray(NAMES[0], 48)] {
        let found = affine(&[picture], 48, &[]);
        assert_eq!(found.pictures[0].len(), 48 * 48);
    }
}

#[test]
fn information_of_equal_and_of_unrelated_pixels() {
    let a: Vec<u8> = (0..60_000u32).map(|k| (k.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let same = MutualInformation::of(&a, &a);
    // At most Miller's bias for entropies, since one is a function of the other.
    assert!(same.bias <= 0.0 && (same.beyond_chance() - same.entropy).abs() < 0.01);
    assert!((same.estimate - same.entropy).abs() < 1e-9 && (same.entropy - 8.0).abs() < 0.01);
    let quarters = MutualInformation::of(&a, &a.iter().map(|x| x / 64).collect::<Vec<_>>());
    assert!((quarters.estimate - 2.0).abs() < 0.01);
    let unrelated: Vec<u8> = (0..60_000u32).map(|k| (k.wrapping_mul(0x85eb_ca6b) >> 16) as u8).collect();
    let nothing = MutualInformation::of(&a, &unrelated);
    assert!(nothing.beyond_chance().abs() < 1e-9 && nothing.shuffled > 0.3, "{nothing:?}");
}

#[test]
fn a_classifier_learns_from_pictures_and_not_from_noise() {
    let image = |k: usize, signal: f64| -> Vec<u8> {
        let noise = crate::common::numbers(400, k as u64 + 1);
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
    let clear = learned(40.0);
    let chance = learned(0.0);
    assert!(clear.balanced_accuracy > 0.9 && clear.counts == [40, 40] && clear.auc > 0.95, "{clear:?}");
    assert!((0.3..0.7).contains(&chance.balanced_accuracy) && (0.3..0.7).contains(&chance.auc), "{chance:?}");
    assert_eq!(leave_pair_out(&set(0.0)[..2], &labels), None);
    // However many there are of each label, nothing is half right.
    let few: Vec<bool> = (0..80).map(|k| k % 8 == 0).collect();
    let chance = leave_pair_out(&set(0.0), &few).unwrap();
    assert!((0.25..0.75).contains(&chance.balanced_accuracy) && chance.counts == [10, 70], "{chance:?}");
}

#[test]
fn a_leakage_names_the_best_of_all_attacks() {
    let images = NAMES.map(|name| xray(name, 32)).to_vec();
    let key = SecretKey::generate_insecure(256).unwrap();
    let attacked = AtomicUsize::new(0);
    let measure = |images: &[Vec<u8>], labels: Option<&[bool]>, randomness| {
        Leakage::measure(key.public(), images, labels, randomness, &|step| {
            attacked.fetch_add(usize::from(step == LeakageStep::Attacked), Ordering::Relaxed);
        })
        .unwrap()
    };
    for randomness in [Randomness::Fresh, Randomness::PerImage, Randomness::Fixed] {
        let found = measure(&images, None, randomness);
        assert_eq!(found.attacks.iter().map(|a| a.attack).collect::<Vec<_>>(), Attack::ALL);
        assert!(
            found.attacks.iter().all(|a| a.picture.len() == 32 * 32 && a.psnr <= found.best().unwrap().psnr)
        );
        assert_eq!(found.stored.len(), 32 * 32);
        assert!(found.labels.is_none() && found.recovered_labels.is_none());
        assert_eq!(found.information.beyond_chance() == 0.0, randomness == Randomness::Fresh);
    }
    assert_eq!(attacked.into_inner(), 9);
    // A codebook has nothing to be read from.
    let alone = Leakage::measure(key.public(), &images[..1], None, Randomness::Fixed, &|_| ()).unwrap();
    assert_eq!(alone.attacks.iter().map(|a| a.attack).collect::<Vec<_>>(), Attack::ALL[1..]);
    let refused = |images: &[Vec<u8>], labels: Option<&[bool]>| {
        Leakage::measure(key.public(), images, labels, Randomness::Fixed, &|_| ()).unwrap_err()
    };
    assert!(matches!(refused(&[], None), PaillierError::Alone));
    let oblong = [images[0].clone(), vec![0; 32 * 31]];
    assert!(matches!(refused(&oblong, None), PaillierError::Square { index: 1, pixels: 992 }));
    assert!(matches!(refused(&images, Some(&[true])), PaillierError::Length { expected: 3, got: 1, .. }));
    let four: Vec<_> = images.iter().chain(&images).take(4).cloned().collect();
    let labels = [true, false, true, false];
    let found = Leakage::measure(key.public(), &four, Some(&labels), Randomness::Fixed, &|_| ()).unwrap();
    assert_eq!(found.labels.unwrap().counts, [2, 2]);
    assert_eq!(found.recovered_labels.unwrap().counts, [2, 2]);
}

#[test]
fn few_or_unknown_labels_are_not_learned_from() {
    let labels = |sick: usize, healthy: usize| {
        [Some(true)].into_iter().cycle().take(sick).chain([Some(false)].into_iter().cycle().take(healthy))
    };
    assert_eq!(learnable(labels(24, 24)).unwrap().len(), FEWEST_LABELLED);
    assert!(learnable(labels(24, 23)).is_none());
    assert!(learnable(labels(1, 60)).is_none() && learnable(labels(60, 1)).is_none());
    assert!(learnable(labels(30, 30).chain([None])).is_none());
}
