//! Image files in all depths, what is refused, and the measures of likeness.

use crate::common::{Random, pattern};
use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, Rgba};
use ndarray::{Array2, ArrayView2, s};
use pleura_latent::{ImageError, ImageNote, SIDE, Xray, psnr, ssim};
use std::io::Cursor;

fn file(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image.into().write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// A pattern with detail at all scales.
fn value(x: u32, y: u32) -> u8 {
    ((x * 7 + y * 13 + x * y / 5) % 256) as u8
}

fn smooth(x: u32, y: u32) -> u8 {
    (x / 4 + y / 3) as u8
}

fn furthest(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Values of Pillow 12's `BICUBIC` in floating point.
#[test]
fn resampling_equals_pillow() {
    let known = [
        (391, 300, [(0, 0, 3.3), (0, 255, 158.28), (17, 200, 56.105), (255, 255, 210.588)]),
        (700, 1100, [(0, 0, 29.307), (0, 255, 116.85), (17, 200, 152.673), (255, 255, 108.1)]),
        (200, 230, [(0, 0, 0.0), (0, 255, 112.102), (17, 200, 182.985), (255, 255, 175.725)]),
    ];
    for (width, height, pixels) in known {
        let image = ImageBuffer::from_fn(width, height, |x, y| Luma([value(x, y)]));
        let (xray, _) = Xray::from_bytes(&file(image, ImageFormat::Png)).unwrap();
        for (y, x, expected) in pixels {
            let found = xray.values()[[y, x]];
            assert!((found - expected).abs() < 0.01, "{width}x{height} at {y}, {x}: {found}, not {expected}");
        }
    }
}

#[test]
fn an_image_of_the_right_size_is_kept() {
    let xray = pattern();
    let (again, notes) = Xray::from_bytes(&xray.to_png().unwrap()).unwrap();
    assert_eq!(again.pixels(), xray.pixels());
    assert_eq!(notes, []);
    assert_eq!(Xray::from_pixels(xray.pixels().view()).unwrap(), xray);
}

#[test]
fn all_depths_give_one_image() {
    let side = 300;
    let grey = file(ImageBuffer::from_fn(side, side, |x, y| Luma([smooth(x, y)])), ImageFormat::Png);
    let (expected, _) = Xray::from_bytes(&grey).unwrap();
    let deep = |x, y| u16::from(smooth(x, y)) * 257;
    let cases: [(&str, DynamicImage); 7] = [
        ("16 bits", ImageBuffer::from_fn(side, side, |x, y| Luma([deep(x, y)])).into()),
        ("grey and opaque", ImageBuffer::from_fn(side, side, |x, y| LumaA([smooth(x, y), 255])).into()),
        ("16 bits and opaque", ImageBuffer::from_fn(side, side, |x, y| LumaA([deep(x, y), 65535])).into()),
        ("RGB", ImageBuffer::from_fn(side, side, |x, y| Rgb([smooth(x, y); 3])).into()),
        ("RGB of 16 bits", ImageBuffer::from_fn(side, side, |x, y| Rgb([deep(x, y); 3])).into()),
        (
            "RGBA of 16 bits",
            ImageBuffer::from_fn(side, side, |x, y| Rgba([deep(x, y), deep(x, y), deep(x, y), 65535])).into(),
        ),
        ("on black", { ImageBuffer::from_fn(side, side, |x, y| Rgba([255, 255, 255, smooth(x, y)])).into() }),
    ];
    for (name, image) in cases {
        let (xray, notes) = Xray::from_bytes(&file(image, ImageFormat::Png)).unwrap();
        assert!(furthest(xray.values(), expected.values()) < 0.01, "{name}");
        assert_eq!(notes, [], "{name}");
    }
    let image = ImageBuffer::from_fn(side, side, |x, y| Rgb([smooth(x, y); 3]));
    let (xray, notes) = Xray::from_bytes(&file(image, ImageFormat::Jpeg)).unwrap();
    assert!(psnr(&xray, &expected) > 35.0);
    assert_eq!(notes, []);
}

/// A PNG file with a chunk before its pixels.
fn with_chunk(png: &[u8], kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let chunk = [kind, body].concat();
    let length = (body.len() as u32).to_be_bytes();
    let (head, tail) = png.split_at(33);
    [head, &length, &chunk, &crc32(&chunk).to_be_bytes(), tail].concat()
}

fn bits_in_use(used: u32, brighter_per_mille: u32) -> ImageNote {
    ImageNote::SampleBits { stored: 16, used, brighter_per_mille }
}

/// A marker of 65535 in an image of fewer bits, with and without a chunk that says how many.
#[test]
fn few_samples_do_not_decide_the_bits() {
    let side = 256;
    for used in [9, 10, 12, 13, 14] {
        let white = (1_u32 << used) - 1;
        let is_marker = |x: u32, y: u32| (10..30).contains(&x) && (10..20).contains(&y);
        let deep = |x: u32, y: u32| if is_marker(x, y) { 65535 } else { ((x + y) * white / 510) as u16 };
        let image = ImageBuffer::from_fn(side, side, |x, y| Luma([deep(x, y)]));
        let expected =
            |y: usize, x: usize| f32::from(deep(x as u32, y as u32)).min(white as f32) / white as f32;
        let right = Array2::from_shape_fn((SIDE, SIDE), |(y, x)| 255.0 * expected(y, x));
        let png = file(image.clone(), ImageFormat::Png);
        let declared = with_chunk(&png, b"sBIT", &[used as u8]);
        for bytes in [png, declared, file(image, ImageFormat::Tiff)] {
            let (xray, notes) = Xray::from_bytes(&bytes).unwrap();
            assert!(furthest(xray.values(), right.view()) < 0.01, "{used}");
            // 200 of 65536 samples.
            assert_eq!(notes, [bits_in_use(used, 4)]);
        }
    }
    // One bit more might as well be a dark image: white is as written, with a remark.
    let image =
        ImageBuffer::from_fn(side, side, |x, y| Luma([if x + y == 0 { 65535 } else { 60 * (x + y) as u16 }]));
    let (xray, notes) = Xray::from_bytes(&file(image, ImageFormat::Png)).unwrap();
    assert!((xray.values()[[255, 255]] - 60.0 * 510.0 / 65535.0 * 255.0).abs() < 0.01);
    assert_eq!(notes, [bits_in_use(16, 0)]);
}

/// Opaque pixels of an image whose alpha has the bits of its colours.
#[test]
fn alpha_of_fewer_bits() {
    let deep = |x: u32, y: u32| ((x + y) * 4095 / 510) as u16;
    let opaque = ImageBuffer::from_fn(256, 256, |x, y| Luma([deep(x, y)]));
    let (expected, _) = Xray::from_bytes(&file(opaque, ImageFormat::Png)).unwrap();
    for alpha in [4095, 65535] {
        let image = ImageBuffer::from_fn(256, 256, |x, y| LumaA([deep(x, y), alpha]));
        let (xray, notes) = Xray::from_bytes(&file(image, ImageFormat::Png)).unwrap();
        assert!(furthest(xray.values(), expected.values()) < 0.01, "{alpha}");
        assert_eq!(notes, [bits_in_use(12, 0)]);
    }
}

#[test]
fn fewer_bits_than_sixteen() {
    let side = 256;
    for used in [8, 10, 12, 13, 14, 16] {
        let white = (1_u32 << used) - 1;
        let deep = |x: u32, y: u32| ((x + y) * white / 510) as u16;
        let image = ImageBuffer::from_fn(side, side, |x, y| Luma([deep(x, y)]));
        let expected = |y: usize, x: usize| f32::from(deep(x as u32, y as u32)) / white as f32 * 255.0;
        for format in [ImageFormat::Png, ImageFormat::Tiff] {
            let (xray, notes) = Xray::from_bytes(&file(image.clone(), format)).unwrap();
            let right = Array2::from_shape_fn((SIDE, SIDE), |(y, x)| expected(y, x));
            assert!(furthest(xray.values(), right.view()) < 0.01, "{used}");
            let remarks = if used < 16 { vec![bits_in_use(used, 0)] } else { vec![] };
            assert_eq!(notes, remarks);
        }
    }
    // Colours share the bits in use, and transparency uses all bits.
    let twelve = |x, y| u16::from(smooth(x, y)) * 16;
    let image = ImageBuffer::from_fn(side, side, |x, y| Rgba([twelve(x, y), twelve(x, y), 4095, 65535]));
    let (xray, _) = Xray::from_bytes(&file(image, ImageFormat::Png)).unwrap();
    let expected = (0.886 * f32::from(twelve(200, 100)) + 0.114 * 4095.0) / 4095.0 * 255.0;
    assert!((xray.values()[[100, 200]] - expected).abs() < 0.05);
}

/// A TIFF file of one strip of 16-bit grey samples, in which zero is white or black.
fn tiff(big: bool, photometric: u64, side: u32, sample: impl Fn(u32, u32) -> u16) -> Vec<u8> {
    let pixels = (0..side * side).flat_map(|i| sample(i % side, i / side).to_le_bytes());
    let pixels: Vec<u8> = pixels.collect();
    let side = u64::from(side);
    let start = if big { 16 } else { 8 };
    let entries: [(u16, u64); 9] = [
        (256, side),
        (257, side),
        (258, 16),
        (259, 1),
        (262, photometric),
        (273, start),
        (277, 1),
        (278, side),
        (279, pixels.len() as u64),
    ];
    let directory = start + pixels.len() as u64;
    let number = |value: u64| value.to_le_bytes()[..if big { 8 } else { 4 }].to_vec();
    let mut file = match big {
        true => [b"II".as_slice(), &[43, 0, 8, 0, 0, 0]].concat(),
        false => b"II*\0".to_vec(),
    };
    file.extend(number(directory));
    file.extend(pixels);
    file.extend(&(entries.len() as u64).to_le_bytes()[..if big { 8 } else { 2 }]);
    for (tag, value) in entries {
        // One long integer.
        file.extend([tag.to_le_bytes(), 4_u16.to_le_bytes()].concat());
        file.extend(number(1));
        file.extend(number(value));
    }
    file.extend(number(0));
    file
}

#[test]
fn tiff_of_twelve_bits_whose_zero_is_white() {
    let deep = |x: u32, y: u32| ((x + y) * 4095 / 510) as u16;
    let (expected, _) = Xray::from_bytes(&tiff(false, 1, 256, deep)).unwrap();
    for big in [false, true] {
        for (photometric, file) in
            [(1, tiff(big, 1, 256, deep)), (0, tiff(big, 0, 256, |x, y| 4095 - deep(x, y)))]
        {
            let (xray, notes) = Xray::from_bytes(&file).unwrap();
            assert!(furthest(xray.values(), expected.values()) < 0.01, "{photometric} {big}");
            assert!((xray.values()[[100, 200]] - 300.0 / 2.0).abs() < 0.1);
            assert_eq!(notes, [bits_in_use(12, 0)]);
        }
    }
}

#[test]
fn significant_bits_are_believed() {
    let image = |factor: u16| {
        let image = ImageBuffer::from_fn(256, 256, |x, y| Luma([u16::from(smooth(x, y)) * factor]));
        file(image, ImageFormat::Png)
    };
    // The greatest sample is 148 times the factor.
    let at = |png: &[u8]| {
        let (xray, notes) = Xray::from_bytes(png).unwrap();
        (xray.values()[[255, 255]], notes)
    };
    let greatest = f32::from(smooth(255, 255));
    let (value, notes) = at(&with_chunk(&image(1), b"sBIT", &[12]));
    assert!((value - greatest / 4095.0 * 255.0).abs() < 0.01, "{value}");
    assert_eq!(notes, [bits_in_use(12, 0)]);
    // Samples that exceed their significant bits were scaled to 16.
    let (value, notes) = at(&with_chunk(&image(100), b"sBIT", &[12]));
    assert!((value - greatest * 100.0 / 65535.0 * 255.0).abs() < 0.01, "{value}");
    assert_eq!(notes, []);
    // A chunk of another kind says nothing.
    let (value, notes) = at(&with_chunk(&image(16), b"teSt", &[12]));
    assert!((value - greatest * 16.0 / 4095.0 * 255.0).abs() < 0.01, "{value}");
    assert_eq!(notes, [bits_in_use(12, 0)]);
}

#[test]
fn other_formats() {
    let image = ImageBuffer::from_fn(256, 256, |x, y| Rgb([smooth(x, y); 3]));
    let (expected, _) = Xray::from_bytes(&file(image.clone(), ImageFormat::Png)).unwrap();
    for format in [ImageFormat::Tiff, ImageFormat::Bmp, ImageFormat::WebP] {
        let whole = file(image.clone(), format);
        let (xray, notes) = Xray::from_bytes(&whole).unwrap();
        assert!(furthest(xray.values(), expected.values()) < 0.01, "{format:?}");
        assert_eq!(notes, []);
        for length in (0..whole.len() * 9 / 10).step_by(whole.len() / 40) {
            Xray::from_bytes(&whole[..length]).unwrap_err();
        }
    }
}

#[test]
fn the_first_page_of_a_tiff() {
    let (xray, notes) = Xray::from_bytes(&tiff_with_two_pages()).unwrap();
    assert_eq!(
        notes,
        [ImageNote::Frames { count: 2 }, ImageNote::Enlarged { width: 40, height: 40, side: 256 }]
    );
    assert!(xray.values()[[0, 0]] < 1.0 && xray.values()[[255, 255]] > 254.0);
}

/// Two grey images of 40x40, the second inverted, each a directory of nine entries.
fn tiff_with_two_pages() -> Vec<u8> {
    let side = 40_u32;
    let pixels = side * side;
    let mut out = b"II*\0\x08\0\0\0".to_vec();
    for page in 0..2_u32 {
        let directory = out.len() as u32;
        let entries: [(u16, u32); 9] = [
            (256, side),
            (257, side),
            (258, 8),
            (259, 1),
            (262, 1),
            (273, directory + 2 + 9 * 12 + 4),
            (277, 1),
            (278, side),
            (279, pixels),
        ];
        out.extend(9_u16.to_le_bytes());
        for (tag, value) in entries {
            out.extend(tag.to_le_bytes());
            out.extend(4_u16.to_le_bytes());
            out.extend(1_u32.to_le_bytes());
            out.extend(value.to_le_bytes());
        }
        let next = if page == 0 { directory + 2 + 9 * 12 + 4 + pixels } else { 0 };
        out.extend(next.to_le_bytes());
        out.extend((0..pixels).map(|k| {
            let shade = ((k % side + k / side) * 255 / (2 * side - 2)) as u8;
            if page == 0 { shade } else { 255 - shade }
        }));
    }
    out
}

#[test]
fn depth_survives() {
    let image = ImageBuffer::from_fn(256, 256, |x, y| Luma([(x * 256 + y) as u16]));
    let (xray, _) = Xray::from_bytes(&file(image, ImageFormat::Png)).unwrap();
    assert!((xray.values()[[1, 1]] - 257.0 / 257.0).abs() < 1e-3);
    assert!(
        xray.values()
            .windows([1, 2])
            .into_iter()
            .map(|w| (w[[0, 0]] - w[[0, 1]]).abs())
            .any(|d| d > 0.0 && d < 1.0)
    );
}

#[test]
fn notes() {
    let colour = ImageBuffer::from_fn(256, 256, |x, y| Rgb([x as u8, y as u8, 0]));
    let small = ImageBuffer::from_fn(100, 120, |x, y| Luma([value(x, y)]));
    let long = ImageBuffer::from_fn(900, 300, |x, y| Luma([value(x, y)]));
    let cases: [(DynamicImage, &[ImageNote]); 3] = [
        (colour.into(), &[ImageNote::Colour]),
        (small.into(), &[ImageNote::Enlarged { width: 100, height: 120, side: 256 }]),
        (long.into(), &[ImageNote::Squeezed { width: 900, height: 300 }]),
    ];
    for (image, expected) in cases {
        let (_, notes) = Xray::from_bytes(&file(image, ImageFormat::Png)).unwrap();
        assert_eq!(notes, expected);
        notes.iter().for_each(|note| assert!(note.to_string().starts_with("the ")));
    }
}

#[test]
fn orientation_is_applied() {
    let image = ImageBuffer::from_fn(256, 256, |x, y| Luma([smooth(x, y)]));
    let plain = file(image, ImageFormat::Jpeg);
    // An APP1 segment with one EXIF entry: orientation 3, upside down.
    let exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x03\0\0\0\0\0\0\0";
    let length = (exif.len() as u16 + 2).to_be_bytes();
    let turned = [&plain[..2], &[0xff, 0xe1], &length, exif, &plain[2..]].concat();
    let (plain, _) = Xray::from_bytes(&plain).unwrap();
    let (turned, _) = Xray::from_bytes(&turned).unwrap();
    assert_eq!(turned.pixels(), plain.pixels().slice(s![..;-1, ..;-1]));
}

#[test]
fn what_is_refused() {
    let grey = |width, height| ImageBuffer::from_fn(width, height, |x, y| Luma([value(x, y)]));
    let constant = file(ImageBuffer::from_pixel(300, 300, Luma([77_u8])), ImageFormat::Png);
    let mut huge = file(grey(64, 64), ImageFormat::Png);
    huge[16..20].copy_from_slice(&40_000_u32.to_be_bytes());
    huge[20..24].copy_from_slice(&40_000_u32.to_be_bytes());
    let sum = crc32(&huge[12..29]);
    huge[29..33].copy_from_slice(&sum.to_be_bytes());

    let error = |bytes: &[u8]| Xray::from_bytes(bytes).unwrap_err();
    assert!(matches!(error(&[]), ImageError::Empty));
    assert!(matches!(error(b"something else"), ImageError::UnknownFormat));
    for (magic, name) in [
        (&b"GIF89a and more"[..], "a GIF image"),
        (b"PK\x03\x04 and more", "a ZIP archive"),
        (b"\x1f\x8b and more", "a gzip archive"),
        (b"%PDF-1.7", "a PDF document"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
    ] {
        let message = error(magic).to_string();
        assert!(message.starts_with(&format!("the file is {name}, which is not read; ")), "{message}");
    }
    assert!(matches!(
        error(&file(grey(31, 400), ImageFormat::Png)),
        ImageError::TooSmall { width: 31, height: 400, least: 32, side: 256 }
    ));
    assert!(matches!(error(&constant), ImageError::NoContrast));
    assert!(
        matches!(error(&huge), ImageError::TooLarge { width: 40_000, height: 40_000 }),
        "{}",
        error(&huge)
    );
    let narrow = Array2::zeros((SIDE, 100));
    let error = Xray::from_pixels(narrow.view()).unwrap_err();
    assert!(matches!(error, ImageError::Shape { width: 100, height: SIDE }), "{error}");
}

#[test]
fn every_truncation_is_refused() {
    for format in [ImageFormat::Png, ImageFormat::Jpeg] {
        let whole = file(ImageBuffer::from_fn(64, 64, |x, y| Luma([value(x, y)])), format);
        Xray::from_bytes(&whole).unwrap();
        for length in (0..whole.len() - 16).step_by(7) {
            let error = Xray::from_bytes(&whole[..length]).unwrap_err();
            assert!(!error.to_string().is_empty());
        }
    }
}

#[test]
fn damaged_files_never_panic() {
    let mut random = Random::new("images");
    for format in
        [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Tiff, ImageFormat::Bmp, ImageFormat::WebP]
    {
        let whole = file(ImageBuffer::from_fn(64, 64, |x, y| Rgb([value(x, y), value(y, x), 0])), format);
        for _ in 0..300 {
            let mut broken = whole.clone();
            for _ in 0..1 + random.next() % 4 {
                let at = random.next() as usize % broken.len();
                broken[at] = random.next() as u8;
            }
            let _ = Xray::from_bytes(&broken);
        }
    }
}

#[test]
fn psnr_and_ssim() {
    let flat = |value: u8| Xray::from_pixels(Array2::from_elem((SIDE, SIDE), value).view()).unwrap();
    let xray = pattern();
    assert_eq!(psnr(&xray, &xray), f64::INFINITY);
    assert!((ssim(&xray, &xray) - 1.0).abs() < 1e-12);

    // An offset of 5: 10 log10(255^2 / 25); the structure's factor is 1.
    assert!((psnr(&flat(100), &flat(105)) - 34.151_404).abs() < 1e-5);
    let c1 = 6.5025;
    let expected = (2.0 * 100.0 * 105.0 + c1) / (100.0 * 100.0 + 105.0 * 105.0 + c1);
    assert!((ssim(&flat(100), &flat(105)) - expected).abs() < 1e-9);

    // A chessboard and its negative have opposite structure.
    let board = |phase: usize| {
        let pixels = Array2::from_shape_fn((SIDE, SIDE), |(y, x)| 255 * ((x + y + phase) % 2) as u8);
        Xray::from_pixels(pixels.view()).unwrap()
    };
    assert!(ssim(&board(0), &board(1)) < -0.9);
    assert!(psnr(&board(0), &board(1)).abs() < 1e-9);
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| c >> 1 ^ if c & 1 == 1 { 0xedb8_8320 } else { 0 })
    })
}

#[test]
fn grey_values_are_read_as_files_are() {
    let pixels = ImageBuffer::from_fn(300, 280, |x, y| Luma([value(x, y)]));
    let (of_file, notes) = Xray::from_bytes(&file(pixels.clone(), ImageFormat::Png)).unwrap();
    let grey = Array2::from_shape_fn((280, 300), |(y, x)| {
        f32::from(pixels.get_pixel(x as u32, y as u32).0[0]) / 255.0
    });
    let (of_array, no_notes) = Xray::from_grey(SIDE, grey.view()).unwrap();
    assert!(notes.is_empty() && no_notes.is_empty());
    assert!(furthest(of_file.values(), of_array.values()) < 1e-3);
    let wrong = |values: Array2<f32>| Xray::from_grey(SIDE, values.view()).unwrap_err();
    assert!(matches!(wrong(Array2::zeros((0, 9))), ImageError::TooSmall { .. }));
    assert!(matches!(wrong(Array2::zeros((300, 300))), ImageError::NoContrast));
    assert!(matches!(wrong(Array2::from_elem((300, 300), f32::NAN)), ImageError::NotANumber));
}
