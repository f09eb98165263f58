//! PNG and JPEG files in all depths, what is refused, and the measures of likeness.

#![expect(clippy::unwrap_used, reason = "the functions beside the tests are tests too")]

mod common;

use common::{Random, pattern};
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
fn resampling_is_pillows() {
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
fn all_depths_show_the_same() {
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
        (small.into(), &[ImageNote::Enlarged { width: 100, height: 120 }]),
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
    assert!(matches!(error(b"GIF89a and more"), ImageError::UnknownFormat));
    assert!(matches!(
        error(&file(grey(31, 400), ImageFormat::Png)),
        ImageError::TooSmall { width: 31, height: 400 }
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
fn damaged_files_do_no_harm() {
    let mut random = Random::new("images");
    for format in [ImageFormat::Png, ImageFormat::Jpeg] {
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
fn likeness() {
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
