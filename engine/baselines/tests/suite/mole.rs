//! Metamorphosed learning is exact, and it is broken.
use crate::common::{as_f32, as_pixels, layer, numbers, picture, xray};
use ndarray::Array2;
use pleura_baselines::mole::{
    AugConv, Developer, FirstLayer, KnownPlaintext, LayerShape, MoleError, MorphKey, MorphRun, Morphed,
    Overheads, Padding, VGG16_MULTIPLY_ADDS, unshuffled,
};
use pleura_baselines::{Real, psnr};
use sha2::{Digest, Sha256};

/// Small enough for many keys: two channels of 8x8, more filters than taps.
const SMALL: LayerShape =
    LayerShape { channels: 2, side: 8, filters: 24, kernel: 3, stride: 1, pad: 1, padding: Padding::Morphed };

/// As a share of the largest number of the plain result.
fn worst_difference<T: Real>(shape: LayerShape, blocks: usize) -> f64 {
    let layer = layer(shape);
    let key = MorphKey::from_seed(&shape, blocks, [3; 32]).unwrap();
    let image: Vec<T> = numbers(shape.inputs() * 3, 2).into_iter().map(T::from_f64).collect();
    let morphed = key.morpher::<T>().morph(&image).unwrap();
    let got = AugConv::<T>::new(&key, &layer).unwrap().apply(&morphed).unwrap();
    let mut worst = 0.0f64;
    let mut largest = 0.0f64;
    for (got, image) in got.chunks(shape.outputs()).zip(image.chunks(shape.inputs())) {
        let got = unshuffled(key.order(), got).unwrap();
        for (a, b) in got.iter().zip(layer.apply(image).unwrap()) {
            worst = worst.max((a.to_f64() - b.to_f64()).abs());
            largest = largest.max(b.to_f64().abs());
        }
    }
    worst / largest
}

/// Before pixels are rounded, which makes good recoveries exact.
fn unrounded_psnr(image: &[u8], recovered: &[f64]) -> f64 {
    let squares: f64 =
        recovered.iter().zip(image).map(|(x, &pixel)| (x - f64::from(pixel) / 255.0).powi(2)).sum();
    10.0 * (image.len() as f64 / squares).log10()
}

#[test]
fn the_augmented_convolution_is_the_plain_one() {
    let implicit = LayerShape { padding: Padding::Implicit, ..SMALL };
    let strided = LayerShape { kernel: 4, stride: 2, filters: 40, ..SMALL };
    let valid = LayerShape { pad: 0, ..SMALL };
    for (shape, block_counts) in
        [(SMALL, &[1, 2, 10, 20][..]), (implicit, &[1, 4, 16]), (strided, &[1, 5]), (valid, &[1, 8])]
    {
        for &blocks in block_counts {
            let double = worst_difference::<f64>(shape, blocks);
            println!("{blocks}: {double:.1e}, {:.1e}", worst_difference::<f32>(shape, blocks));
            assert!(double < 1e-11, "{shape:?} {blocks}: {double:e}");
            let single = worst_difference::<f32>(shape, blocks);
            assert!(single < 1e-4, "{shape:?} {blocks}: {single:e}");
        }
    }
}

#[test]
fn the_wrong_key_gives_something_else() {
    let layer = layer(SMALL);
    let image = numbers(SMALL.inputs(), 2);
    let [one, other] = [1, 2].map(|seed| MorphKey::from_seed(&SMALL, 1, [seed; 32]).unwrap());
    let morphed = one.morpher::<f64>().morph(&image).unwrap();
    let got = AugConv::<f64>::new(&other, &layer).unwrap().apply(&morphed).unwrap();
    let plain = layer.apply(&image).unwrap();
    let apart = got.iter().zip(&plain).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart > 1.0, "{apart}");
}

#[test]
fn the_developer_recovers_cifar_at_full_size() {
    let layer = layer(LayerShape::CIFAR);
    let key = MorphKey::from_seed(&LayerShape::CIFAR, 1, [7; 32]).unwrap();
    let image = picture(3, 32, 0);
    let morphed = key.morpher::<f32>().morph(&as_f32(&image)).unwrap();
    let augmented = AugConv::<f32>::new(&key, &layer).unwrap();
    let clock = std::time::Instant::now();
    let developer = Developer::attack(&layer, &augmented).unwrap();
    let seconds = clock.elapsed().as_secs_f64();
    let right = developer.order().iter().zip(key.order()).filter(|(a, b)| a == b).count();
    let quality = unrounded_psnr(&image, &developer.recover(&morphed).unwrap());
    println!(
        "{right} of 64 channels, {quality:.1} dB in {seconds:.1} s, mismatch {:.1e}",
        developer.mismatch()
    );
    assert_eq!(right, 64);
    assert!(quality > 40.0, "{quality}");
}

#[test]
fn rows_as_blocks_fall_to_both_attacks() {
    let shape = LayerShape {
        channels: 1,
        side: 256,
        filters: 16,
        kernel: 3,
        stride: 1,
        pad: 1,
        padding: Padding::Implicit,
    };
    let layer = layer(shape);
    let key = MorphKey::from_seed(&shape, 256, [8; 32]).unwrap();
    let images = ["NORMAL2-IM-1438-0001.jpeg", "person1951_bacteria_4882.jpeg", "NORMAL2-IM-1427-0001.jpeg"]
        .map(|name| xray(name, 256));
    let morphed = images.each_ref().map(|image| key.morpher::<f32>().morph(&as_f32(image)).unwrap());
    let augmented = AugConv::<f32>::new(&key, &layer).unwrap();
    let developer = Developer::attack(&layer, &augmented).unwrap();
    assert_eq!(developer.order(), key.order());
    let quality = unrounded_psnr(&images[0], &developer.recover(&morphed[0]).unwrap());
    println!("developer, in single precision: {quality:.1} dB");
    assert!(quality > 40.0);
    // In half precision, as the variant with a core on each row was published.
    let developer = Developer::attack(&layer, &augmented.rounded_to_f16()).unwrap();
    let half = psnr(&images[0], &as_pixels(&developer.recover(&morphed[0]).unwrap()));
    println!("developer, in half precision: {half:.1} dB, mismatch {:.1e}", developer.mismatch());
    assert!(half > 35.0, "{half}");
    // Two X-rays known, the third unknown; the provider's numbers are in single precision.
    let known = [&images[1][..], &images[2]].concat();
    let seen = [&morphed[1][..], &morphed[2]].concat();
    let attack = KnownPlaintext::attack(&shape, 256, &as_f32(&known), &seen).unwrap();
    let quality = unrounded_psnr(&images[0], &attack.recover(&morphed[0]).unwrap());
    println!("known plaintext: {quality:.1} dB");
    assert!(quality > 25.0);
}

#[test]
fn known_images_give_the_core_and_too_few_do_not() {
    let key = MorphKey::from_seed(&SMALL, 1, [9; 32]).unwrap();
    let images: Vec<f64> = (0..140).flat_map(|k| numbers(SMALL.inputs(), 100 + k)).collect();
    let morphed = key.morpher::<f64>().morph(&images).unwrap();
    let secret = &images[139 * SMALL.inputs()..];
    let seen = &morphed[139 * SMALL.rows()..];
    let attack = |count: usize| {
        KnownPlaintext::attack(&SMALL, 1, &images[..count * SMALL.inputs()], &morphed[..count * SMALL.rows()])
    };
    for count in [128, 139] {
        let recovered = attack(count).unwrap().recover(seen).unwrap();
        assert!(recovered.iter().zip(secret).all(|(a, b)| (a - b).abs() < 1e-4), "{count}");
    }
    assert!(matches!(attack(127), Err(MoleError::NotEnough { have: 127, need: 128 })));
    // As many as are needed, one of them twice.
    let twice = [&images[..127 * SMALL.inputs()], &images[..SMALL.inputs()]].concat();
    let seen = [&morphed[..127 * SMALL.rows()], &morphed[..SMALL.rows()]].concat();
    assert!(matches!(KnownPlaintext::attack(&SMALL, 1, &twice, &seen), Err(MoleError::Dependent)));
}

#[test]
fn channels_are_unshuffled_by_orders_that_name_each() {
    assert_eq!(unshuffled(&[2, 0, 1], &[20, 21, 0, 1, 10, 11]).unwrap(), [0, 1, 10, 11, 20, 21]);
    assert!(matches!(unshuffled(&[0, 1], &[1, 2, 3]), Err(MoleError::Length { expected: 4, got: 3, .. })));
    for order in [&[0, 0][..], &[1, 2], &[]] {
        let channels = order.len();
        let refused = unshuffled(order, &[1, 2]).unwrap_err();
        assert!(matches!(refused, MoleError::Order { channels: c } if c == channels), "{refused}");
    }
}

#[test]
fn scores_reveal_nothing_with_as_many_taps_as_filters() {
    let shape = LayerShape { filters: 18, ..SMALL };
    let layer = layer(shape);
    let key = MorphKey::from_seed(&shape, 1, [1; 32]).unwrap();
    let augmented = AugConv::<f32>::new(&key, &layer).unwrap();
    let rank = Developer::attack(&layer, &augmented).err();
    assert!(matches!(rank, Some(MoleError::Rank { filters: 18, taps: 18, rank: 18 })), "{rank:?}");
}

#[test]
fn a_developer_without_the_right_layer_recovers_nothing() {
    let key = MorphKey::from_seed(&SMALL, 1, [4; 32]).unwrap();
    let augmented = AugConv::<f64>::new(&key, &layer(SMALL)).unwrap();
    let wrong = FirstLayer::new(SMALL, numbers(SMALL.filters * SMALL.taps(), 77)).unwrap();
    let developer = Developer::attack(&wrong, &augmented).unwrap();
    assert!(developer.mismatch() > 0.1, "{}", developer.mismatch());
    let image = picture(2, 8, 1);
    let morphed = key.morpher::<f32>().morph(&as_f32(&image)).unwrap();
    assert!(psnr(&image, &as_pixels(&developer.recover(&morphed).unwrap())) < 20.0);
}

#[test]
fn costs_are_counted_from_the_sizes() {
    let shape = LayerShape { padding: Padding::Implicit, ..LayerShape::CIFAR };
    let augmented =
        AugConv::<f32>::new(&MorphKey::from_seed(&shape, 96, [0; 32]).unwrap(), &layer(shape)).unwrap();
    let costs = Overheads::of(&augmented);
    assert_eq!((costs.morph, costs.image_bytes, costs.morphed_bytes), (32 * 3072, 3072, 4 * 3072));
    // 9 taps less those beyond the edge; 3 channels of 3 rows less those beyond the edge.
    assert_eq!(costs.plain, (94 * 94) * 3 * 64);
    assert_eq!(costs.augmented, (94 * 32) * 3 * 32 * 64);
    assert!(costs.extra_compute(VGG16_MULTIPLY_ADDS) > 0.05 && costs.extra_data(60_000) < 0.01);
}

#[test]
fn layers_have_limits() {
    for shape in [
        LayerShape { kernel: 11, ..SMALL },
        LayerShape { stride: 0, ..SMALL },
        LayerShape { pad: 3, ..SMALL },
        LayerShape { channels: 1 << 14, ..SMALL },
        LayerShape { channels: 1, side: 4096, filters: 1, ..SMALL },
    ] {
        assert!(matches!(MorphKey::from_seed(&shape, 1, [0; 32]), Err(MoleError::Shape { .. })), "{shape:?}");
    }
    let large = LayerShape { channels: 1, side: 256, filters: 16, padding: Padding::Implicit, ..SMALL };
    let refused = MorphKey::from_seed(&large, 1, [0; 32]).unwrap_err();
    assert!(matches!(refused, MoleError::Core { side: 65536, limit: 16384 }), "{refused}");
    assert!(matches!(
        MorphKey::from_seed(&SMALL, 7, [0; 32]),
        Err(MoleError::Blocks { blocks: 7, rows: 200 })
    ));
    assert!(FirstLayer::new(SMALL, vec![f64::NAN; 24 * 18]).is_err());
    assert!(matches!(
        FirstLayer::new(SMALL, vec![1.0]),
        Err(MoleError::Length { expected: 432, got: 1, .. })
    ));
}

#[test]
fn bytes_survive_and_broken_ones_do_not() {
    let layer = layer(SMALL);
    let key = MorphKey::generate(&SMALL, 10).unwrap();
    let augmented = AugConv::<f32>::new(&key, &layer).unwrap();
    let morphed = key.morpher::<f32>().morph(&vec![0.5; SMALL.inputs()]).unwrap();
    let again = MorphKey::from_bytes(&key.to_bytes(), &SMALL).unwrap();
    assert_eq!(
        (again.order(), again.morpher::<f32>().morph(&vec![0.5; SMALL.inputs()]).unwrap()),
        (key.order(), morphed.clone())
    );
    let again = AugConv::from_bytes(&augmented.to_bytes(), &SMALL).unwrap();
    assert_eq!(again.apply(&morphed).unwrap(), augmented.apply(&morphed).unwrap());
    let file = Morphed { shape: SMALL, blocks: 10, values: morphed };
    assert_eq!(Morphed::from_bytes(&file.to_bytes()).unwrap(), file);
    let bytes = augmented.to_bytes();
    for broken in [&bytes[..3], &bytes[..40], &bytes[..bytes.len() - 1], &[0; 60][..], &key.to_bytes()[..]] {
        assert!(AugConv::from_bytes(broken, &SMALL).is_err());
    }
    let other = LayerShape { side: 9, ..SMALL };
    assert!(matches!(AugConv::from_bytes(&bytes, &other), Err(MoleError::OtherLayer)));
    assert!(matches!(MorphKey::from_bytes(&key.to_bytes(), &other), Err(MoleError::OtherLayer)));
    // Each with its own magic, so that it is the sizes that are refused. Any size but the blocks' makes it another layer.
    let changed = |bytes: &[u8], at: usize, value: u8| {
        let (body, _) = bytes.split_last_chunk::<32>().unwrap();
        let mut body = body.to_vec();
        let same = body[at] == value;
        body[at] = value;
        let digest = Sha256::digest(&body);
        ([&body[..], &digest].concat(), same)
    };
    for (at, value) in (0..40).flat_map(|at| [0, 1, 2, 255].map(|value| (at, value))) {
        let (key, same) = changed(&key.to_bytes(), at, value);
        // Blocks are the key's own: where they fit the layer, it is another key.
        let may = same || at == 36 && [1, 2].contains(&value);
        assert_eq!(MorphKey::from_bytes(&key, &SMALL).is_ok(), may, "key, {at}: {value}");
        let (augmented, same) = changed(&augmented.to_bytes(), at, value);
        assert_eq!(AugConv::from_bytes(&augmented, &SMALL).is_ok(), same, "augmented, {at}: {value}");
        let (morphed, same) = changed(&file.to_bytes(), at, value);
        let parsed = Morphed::from_bytes(&morphed);
        assert!(!same || parsed.is_ok(), "morphed, {at}: {value}");
        let whole = parsed.ok().is_none_or(|m| m.values.len().is_multiple_of(m.shape.rows()));
        assert!(whole, "morphed, {at}: {value}");
    }
    for at in 8..key.to_bytes().len() {
        let mut damaged = key.to_bytes().to_vec();
        damaged[at] ^= 1;
        assert!(MorphKey::from_bytes(&damaged, &SMALL).is_err(), "byte {at}");
    }
    for (place, wire) in [&file.to_bytes(), &bytes].into_iter().enumerate() {
        for at in (8..wire.len()).step_by(7) {
            let mut damaged = wire.clone();
            damaged[at] ^= 1;
            match place {
                0 => assert!(Morphed::from_bytes(&damaged).is_err(), "byte {at}"),
                _ => assert!(AugConv::from_bytes(&damaged, &SMALL).is_err(), "byte {at}"),
            }
        }
    }
    // A header alone.
    let mut short = augmented.to_bytes();
    short.truncate(40);
    assert!(AugConv::from_bytes(&short, &SMALL).is_err());
    assert!(!format!("{key:?}").contains("seed"));
}

#[test]
fn a_run_gives_the_plain_scores_and_what_the_attack_needs() {
    let layer = layer(LayerShape { padding: Padding::Implicit, ..SMALL });
    let shape = *layer.shape();
    let values = numbers(3 * shape.inputs(), 4).into_iter().map(|x| x as f32).collect();
    let images = Array2::from_shape_vec((3, shape.inputs()), values).unwrap();
    let behind = |first: &[f32]| Some(vec![f64::from(first.iter().sum::<f32>()), first.len() as f64]);
    let mut done = Vec::new();
    let run = MorphRun::new(&layer, shape.default_blocks(), images.view(), behind, |n| done.push(n)).unwrap();
    assert_eq!(done, [1, 2, 3]);
    assert!(run.max_abs_error < 1e-3, "{}", run.max_abs_error);
    assert_eq!((run.scores.len(), run.plain_scores.len()), (3, 3));
    for (a, b) in run.scores.iter().zip(&run.plain_scores) {
        assert!((a[0] - b[0]).abs() < 1e-1 && a[1] == shape.outputs() as f64, "{a:?} {b:?}");
    }
    let recovered = Developer::attack(&layer, &run.augmented).unwrap().recover(&run.morphed).unwrap();
    assert!(recovered.iter().zip(&images).all(|(a, &b)| (a - f64::from(b)).abs() < 1e-2));
    assert!(MorphRun::new(&layer, 7, images.view(), behind, |_| ()).is_err());
    let alone = MorphRun::new(&layer, 16, images.view(), |_| None, |_| ()).unwrap();
    assert!(alone.scores.is_empty() && alone.plain_scores.is_empty());
}

#[test]
fn blocks_near_a_number_divide_an_image() {
    let shape = LayerShape { channels: 4, side: 32, padding: Padding::Implicit, ..SMALL };
    assert_eq!(shape.default_blocks(), 128);
    for (blocks, near) in [
        (7, [Some(4), Some(8)]),
        (0, [None, Some(1)]),
        (99_999, [Some(4096), None]),
        (usize::MAX, [Some(4096), None]),
        (4096, [Some(2048), None]),
    ] {
        assert_eq!(shape.blocks_near(blocks), near, "{blocks}");
    }
}

#[test]
fn the_layer_of_noise_can_be_attacked() {
    let layer = FirstLayer::of_noise(16).unwrap();
    let key = MorphKey::generate(layer.shape(), 16).unwrap();
    let augmented = AugConv::<f64>::new(&key, &layer).unwrap();
    assert_eq!(Developer::attack(&layer, &augmented).unwrap().order(), key.order());
    assert!(FirstLayer::of_noise(0).is_err());
}
