//! Compressed pixels. The streams of JPEG-LS and JPEG 2000 are made by CharLS and OpenJPEG through GDCM 3.2.

use super::{Dicom, EXPLICIT, JPEG, read, shade, shades};
use crate::common::Random;
use dicom_core::VR;
use pleura_latent::{SIDE, Xray};

const RLE: &str = "1.2.840.10008.1.2.5";
const JPEG_LS: &str = "1.2.840.10008.1.2.4.80";
const JPEG_2000: &str = "1.2.840.10008.1.2.4.90";
const EXTENDED: &str = "1.2.840.10008.1.2.4.51";

/// Rows and columns of the images in the streams.
const SMALL: usize = 40;

/// A test image of 12 bits with flat squares.
fn small(x: usize, y: usize) -> u16 {
    let flat = (x / 10 + y / 10) % 2 == 1;
    if flat { 1000 } else { ((x * x + 3 * y * y + x * y) % 4096) as u16 }
}

fn small_file(photometric: &str, samples: u16, format: [u16; 3]) -> Dicom {
    let mut file = Dicom::new(photometric, samples, format);
    file.integer(0x0028_0010, SMALL as u16).integer(0x0028_0011, SMALL as u16).integer(0x0028_0006, 0);
    file
}

fn even(mut stream: Vec<u8>) -> Vec<u8> {
    if stream.len() % 2 == 1 {
        stream.push(0);
    }
    stream
}

/// An uncompressed file of a small image; planes follow one another in pixel order.
fn native(mut file: Dicom, bytes_per_sample: usize, words: Vec<u16>) -> Xray {
    match bytes_per_sample {
        1 => file.octets(words.into_iter().map(|x| x as u8)),
        _ => file.words(words.into_iter()),
    };
    Xray::from_bytes(&file.bytes(EXPLICIT)).unwrap().0
}

fn coordinates() -> impl Iterator<Item = (usize, usize)> {
    (0..SMALL * SMALL).map(|k| (k % SMALL, k / SMALL))
}

#[test]
fn jpeg_ls_and_jpeg_2000() {
    let grey = || small_file("MONOCHROME2", 1, [16, 12, 0]);
    let signed = || small_file("MONOCHROME2", 1, [16, 16, 1]);
    let colour = || small_file("RGB", 3, [8, 8, 0]);
    let of_grey = coordinates().map(|(x, y)| small(x, y)).collect();
    let of_signed = coordinates().map(|(x, y)| (i32::from(small(x, y)) * 8 - 16_000) as u16).collect();
    let of_colour =
        coordinates().flat_map(|(x, y)| [small(x, y) >> 4, ((x * 3 + y) % 256) as u16, 77]).collect();
    struct Case<'a>(&'a dyn Fn() -> Dicom, usize, Vec<u16>, [&'a [u8]; 2]);
    let cases = [
        Case(&grey, 2, of_grey, [include_bytes!("streams/grey12.jls"), include_bytes!("streams/grey12.j2k")]),
        Case(
            &signed,
            2,
            of_signed,
            [include_bytes!("streams/signed16.jls"), include_bytes!("streams/signed16.j2k")],
        ),
        Case(&colour, 1, of_colour, [include_bytes!("streams/rgb8.jls"), include_bytes!("streams/rgb8.j2k")]),
    ];
    for Case(make, bytes_per_sample, words, [jpeg_ls, jpeg_2000]) in cases {
        let expected = native(make(), bytes_per_sample, words);
        for (syntax, stream) in [(JPEG_LS, jpeg_ls), (JPEG_2000, jpeg_2000)] {
            let mut file = make();
            file.fragments(vec![stream.to_vec()]);
            assert_eq!(Xray::from_bytes(&file.bytes(syntax)).unwrap().0, expected, "{syntax}");

            let mut other = make();
            other.integer(0x0028_0011, 41).fragments(vec![stream.to_vec()]);
            let error = Xray::from_bytes(&other.bytes(syntax)).unwrap_err().to_string();
            assert!(error.contains("it is 40x40 pixels"), "{error}");
        }
    }
}

/// PackBits: runs of two and more as runs.
fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        let run = rest.iter().take(128).take_while(|b| *b == first).count();
        if run > 1 {
            out.extend([(257 - run) as u8, *first]);
            rest = &rest[run..];
        } else {
            let literal = rest.windows(2).take(127).take_while(|w| w[0] != w[1]).count().max(1);
            out.push((literal - 1) as u8);
            out.extend(&rest[..literal]);
            rest = &rest[literal..];
        }
    }
    even(out)
}

fn rle(planes: &[Vec<u8>]) -> Vec<u8> {
    let packed: Vec<Vec<u8>> = planes.iter().map(|plane| pack(plane)).collect();
    let mut header = vec![0_u32; 16];
    header[0] = planes.len() as u32;
    let mut offset = 64;
    for (k, plane) in packed.iter().enumerate() {
        header[k + 1] = offset;
        offset += plane.len() as u32;
    }
    let header: Vec<u8> = header.into_iter().flat_map(u32::to_le_bytes).collect();
    [header, packed.concat()].concat()
}

#[test]
fn run_lengths() {
    let words: Vec<u16> = shades().map(|x| u16::from(x) * 257).collect();
    let high = words.iter().map(|x| (x >> 8) as u8).collect();
    let low = words.iter().map(|x| *x as u8).collect();
    let mut deep = Dicom::new("MONOCHROME2", 1, [16, 16, 0]);
    deep.fragments(vec![rle(&[high, low])]);
    assert_eq!(read(&deep.bytes(RLE)), (shades().collect(), vec![]));

    let plane: Vec<u8> = shades().collect();
    let mut colour = Dicom::new("RGB", 3, [8, 8, 0]);
    colour.fragments(vec![rle(&[plane.clone(), plane.clone(), plane.clone()])]).integer(0x0028_0006, 1);
    assert_eq!(read(&colour.bytes(RLE)), (shades().collect(), vec![]));

    // The first of two frames, each a fragment.
    let second = rle(&[plane.iter().map(|x| 255 - x).collect()]);
    let mut frames = Dicom::new("MONOCHROME2", 1, [8, 8, 0]);
    frames.fragments(vec![rle(std::slice::from_ref(&plane)), second]).text(0x0028_0008, VR::IS, "2");
    assert_eq!(read(&frames.bytes(RLE)).0, plane);

    let mut short = Dicom::new("MONOCHROME2", 1, [8, 8, 0]);
    short.fragments(vec![rle(&[plane[1..].to_vec()])]);
    assert!(Xray::from_bytes(&short.bytes(RLE)).unwrap_err().to_string().contains("cut off"));
}

/// Bits, with a zero after each byte of ones.
#[derive(Default)]
struct Bits {
    out: Vec<u8>,
    held: u32,
    count: u32,
}

impl Bits {
    fn put(&mut self, value: u32, width: u32) {
        for k in (0..width).rev() {
            self.held = self.held << 1 | (value >> k & 1);
            self.count += 1;
            if self.count == 8 {
                self.out.push(self.held as u8);
                if self.held == 0xff {
                    self.out.push(0);
                }
                (self.held, self.count) = (0, 0);
            }
        }
    }

    fn number(&mut self, value: i32, category: u32) {
        let bits = if value < 0 { value + (1 << category) - 1 } else { value };
        self.put(bits as u32, category);
    }
}

fn category(value: i32) -> u32 {
    32 - value.unsigned_abs().leading_zeros()
}

/// A JPEG of 12 bits of blocks with a mean and one horizontal wave each, with a restart marker after each row of blocks.
fn extended(blocks: &[(i32, i32)], columns: u16, rows: u16) -> Vec<u8> {
    let [r, c] = [rows.to_be_bytes(), columns.to_be_bytes()];
    let mut out = vec![0xff, 0xd8, 0xff, 0xdb, 0, 67, 0];
    out.extend([1; 64]);
    out.extend([0xff, 0xc1, 0, 11, 12, r[0], r[1], c[0], c[1], 1, 1, 0x11, 0]);
    for class in [0, 0x10] {
        // Categories 0 to 15 in five bits each; 0 of the second table ends a block.
        out.extend([0xff, 0xc4, 0, 2 + 17 + 16, class, 0, 0, 0, 0, 16]);
        out.extend([0; 11]);
        out.extend(0..16);
    }
    let across = usize::from(columns.div_ceil(8));
    out.extend([0xff, 0xdd, 0, 4, 0, across as u8]);
    out.extend([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0]);
    for (row, blocks) in blocks.chunks(across).enumerate() {
        let mut bits = Bits::default();
        let mut previous = 0;
        for (mean, wave) in blocks {
            let difference = mean - previous;
            previous = *mean;
            bits.put(category(difference), 5);
            bits.number(difference, category(difference));
            if *wave != 0 {
                bits.put(category(*wave), 5);
                bits.number(*wave, category(*wave));
            }
            bits.put(0, 5);
        }
        bits.put(0x7f, (8 - bits.count) % 8);
        if row > 0 {
            out.extend([0xff, 0xd0 + ((row - 1) % 8) as u8]);
        }
        out.extend(bits.out);
    }
    out.extend([0xff, 0xd9]);
    out
}

#[test]
fn jpeg_of_12_bits() {
    let wave = |block: usize| (block % 7) as i32 * 300 - 900;
    let mean = |block: usize| (block % 100) as i32 * 100 - 5000;
    let blocks: Vec<(i32, i32)> = (0..32 * 32).map(|k| (mean(k), wave(k))).collect();
    let stream = even(extended(&blocks, 256, 256));
    let mut file = Dicom::new("MONOCHROME2", 1, [16, 12, 0]);
    file.text(0x0028_1050, VR::DS, "2048").text(0x0028_1051, VR::DS, "4096");
    file.fragments(vec![stream.clone()]);
    let (xray, notes) = Xray::from_bytes(&file.bytes(EXTENDED)).unwrap();
    assert_eq!(notes, []);
    let plain = Xray::from_bytes(&stream).unwrap().0;
    for (k, found) in xray.values().iter().enumerate() {
        let x = k % SIDE;
        let y = k / SIDE;
        let block = y / 8 * 32 + x / 8;
        let angle = (2 * (x % 8) + 1) as f64 * std::f64::consts::PI / 16.0;
        let value = 2048.0
            + f64::from(mean(block)) / 8.0
            + f64::from(wave(block)) * 0.25 * 0.5_f64.sqrt() * angle.cos();
        let expected = value.round() / 4095.0 * 255.0;
        assert!((f64::from(*found) - expected).abs() < 0.1, "{x} {y}: {found}, not {expected}");
        assert!((f64::from(plain.values()[[y, x]]) - expected).abs() < 0.1);
    }
    // A single block, which needs no restart marker, whose interval lacks its number.
    let block = extended(&[(100, 50)], 8, 8);
    Xray::from_bytes_for(64, &block).unwrap();
    let interval = block.windows(2).position(|w| w == [0xff, 0xdd]).unwrap();
    let unnumbered = [&block[..interval], &[0xff, 0xdd, 0, 2], &block[interval + 6..]].concat();
    assert!(Xray::from_bytes_for(64, &unnumbered).is_err());
    let cut = [&stream[..stream.len() - 200], &[0xff, 0xd9]].concat();
    assert!(Xray::from_bytes(&cut).unwrap_err().to_string().contains("12-bit JPEG image cannot be decoded"));
}

#[test]
fn colours_of_a_jpeg() {
    // Red, green and blue without a transform, which component identifiers or the file itself may say.
    let stream = |identifiers: [u8; 3]| {
        let mut image = super::jpeg(image::ImageBuffer::from_fn(256, 256, |x, y| {
            image::Rgb([shade(x as usize + SIDE * y as usize); 3])
        }));
        // Remove the JFIF marker, so that only the component identifiers indicate the colours.
        let length = 2 + usize::from(u16::from_be_bytes([image[4], image[5]]));
        assert_eq!(image[2..4], [0xff, 0xe0]);
        image.drain(2..2 + length);
        for (marker, first, step) in [(0xc0, 10, 3), (0xda, 5, 2)] {
            let at = image.windows(2).position(|w| w == [0xff, marker]).unwrap();
            for (k, identifier) in identifiers.iter().enumerate() {
                image[at + first + step * k] = *identifier;
            }
        }
        even(image)
    };
    let mean = |photometric: &str, identifiers| {
        let mut file = Dicom::new(photometric, 3, [8, 8, 0]);
        file.fragments(vec![stream(identifiers)]);
        let (pixels, notes) = read(&file.bytes(JPEG));
        (pixels.iter().map(|x| f64::from(*x)).sum::<f64>() / pixels.len() as f64, notes.len())
    };
    // A luma read as red, and 128 as green and blue.
    let ybr = mean("YBR_FULL_422", [1, 2, 3]);
    let rgb = mean("RGB", [1, 2, 3]);
    assert!((ybr.0 - 127.0).abs() < 1.0 && ybr.1 == 0, "{ybr:?}");
    assert!((rgb.0 - (0.299 * 127.0 + 0.701 * 128.0)).abs() < 1.0 && rgb.1 == 1, "{rgb:?}");
    assert_eq!(mean("YBR_FULL_422", *b"RGB").1, 2);
}

#[test]
fn broken_streams_never_panic() {
    let mut random = Random::new("codecs");
    let blocks = [(100, 50); 25];
    let streams: [(&str, Vec<u8>, [u16; 3]); 4] = [
        (JPEG_LS, include_bytes!("streams/grey12.jls").to_vec(), [16, 12, 0]),
        (JPEG_2000, include_bytes!("streams/grey12.j2k").to_vec(), [16, 12, 0]),
        (EXTENDED, extended(&blocks, 40, 40), [16, 12, 0]),
        (RLE, rle(&[coordinates().map(|(x, y)| small(x, y) as u8).collect()]), [8, 8, 0]),
    ];
    for (syntax, stream, format) in streams {
        for k in 0..400 {
            let mut broken = stream.clone();
            let end = if k % 2 == 0 { broken.len() } else { 100.min(broken.len()) };
            for _ in 0..1 + k % 3 {
                broken[random.next() as usize % end] = random.next() as u8;
            }
            if k % 5 == 0 {
                broken.truncate(random.next() as usize % stream.len());
            }
            let mut file = small_file("MONOCHROME2", 1, format);
            file.fragments(vec![even(broken)]);
            let _ = Xray::from_bytes(&file.bytes(syntax));
        }
    }
}
