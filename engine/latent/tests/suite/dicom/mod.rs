//! DICOM files, written by another library, in the forms chest X-rays come in.

mod codecs;
mod display;
mod files;
mod metadata;

use crate::common::Random;
use dicom_core::value::{DataSetSequence, PixelFragmentSequence};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, Rgb};
use ndarray::Array2;
use pleura_latent::{ImageError, ImageNote, SIDE, Xray, psnr};
use std::io::Cursor;

const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const IMPLICIT: &str = "1.2.840.10008.1.2";
const JPEG: &str = "1.2.840.10008.1.2.4.50";
const LOSSLESS: &str = "1.2.840.10008.1.2.4.70";

fn tag(number: u32) -> Tag {
    Tag((number >> 16) as u16, number as u16)
}

/// An image of 256x256 in the making.
struct Dicom(InMemDicomObject);

impl Dicom {
    fn new(photometric: &str, samples: u16, [allocated, stored, signed]: [u16; 3]) -> Self {
        let mut file = Self(InMemDicomObject::new_empty());
        file.text(0x0008_0060, VR::CS, "DX").text(0x0010_0010, VR::PN, "Doe^Jane");
        file.text(0x0028_0004, VR::CS, photometric);
        let integers = [
            (0x0028_0002, samples),
            (0x0028_0010, SIDE as u16),
            (0x0028_0011, SIDE as u16),
            (0x0028_0100, allocated),
            (0x0028_0101, stored),
            (0x0028_0102, stored - 1),
            (0x0028_0103, signed),
        ];
        for (number, value) in integers {
            file.integer(number, value);
        }
        // A sequence of undefined length with another inside, to be walked over.
        let inner = InMemDicomObject::from_element_iter([DataElement::new(
            tag(0x0028_0010),
            VR::US,
            PrimitiveValue::from(7_u16),
        )]);
        let outer = InMemDicomObject::from_element_iter([DataElement::new(
            tag(0x0040_a730),
            VR::SQ,
            DataSetSequence::from(vec![inner.clone(), inner]),
        )]);
        file.0.put(DataElement::new(tag(0x0008_1140), VR::SQ, DataSetSequence::from(vec![outer])));
        file
    }

    fn integer(&mut self, number: u32, value: u16) -> &mut Self {
        self.0.put(DataElement::new(tag(number), VR::US, PrimitiveValue::from(value)));
        self
    }

    fn text(&mut self, number: u32, vr: VR, value: &str) -> &mut Self {
        self.0.put_str(tag(number), vr, value);
        self
    }

    fn words(&mut self, values: impl Iterator<Item = u16>) -> &mut Self {
        self.0.put(DataElement::new(tag(0x7fe0_0010), VR::OW, PrimitiveValue::U16(values.collect())));
        self
    }

    fn octets(&mut self, values: impl Iterator<Item = u8>) -> &mut Self {
        self.0.put(DataElement::new(tag(0x7fe0_0010), VR::OB, PrimitiveValue::U8(values.collect())));
        self
    }

    fn fragments(&mut self, fragments: Vec<Vec<u8>>) -> &mut Self {
        let sequence = PixelFragmentSequence::new_fragments(fragments);
        self.0.put(DataElement::new(tag(0x7fe0_0010), VR::OB, sequence));
        self
    }

    fn bytes(&self, syntax: &str) -> Vec<u8> {
        let meta = FileMetaTableBuilder::new()
            .transfer_syntax(syntax)
            .media_storage_sop_class_uid("1.2.840.10008.5.1.4.1.1.1.1")
            .media_storage_sop_instance_uid("1.2.3.4");
        let mut out = Vec::new();
        self.0.clone().with_meta(meta).unwrap().write_all(&mut out).unwrap();
        out
    }
}

/// From 0 to 255, exactly.
fn shade(k: usize) -> u8 {
    ((k % SIDE + k / SIDE) / 2) as u8
}

fn shades() -> impl Iterator<Item = u8> {
    (0..SIDE * SIDE).map(shade)
}

fn read(bytes: &[u8]) -> (Vec<u8>, Vec<ImageNote>) {
    let (xray, notes) = Xray::from_bytes(bytes).unwrap();
    (xray.pixels().into_iter().collect(), notes)
}

#[test]
fn grey_in_all_depths() {
    let expected: Vec<u8> = shades().collect();
    let black = expected.iter().map(|x| 255 - x).collect::<Vec<u8>>();
    for syntax in [EXPLICIT, IMPLICIT] {
        let mut eight = Dicom::new("MONOCHROME2", 1, [8, 8, 0]);
        assert_eq!(read(&eight.octets(shades()).bytes(syntax)), (expected.clone(), vec![]), "8 bits");

        let mut twelve = Dicom::new("MONOCHROME2", 1, [16, 12, 0]);
        // Bits above the stored bits are not part of the value.
        let words = || shades().map(|x| 0xa000 | (u16::from(x) * 16));
        assert_eq!(read(&twelve.words(words()).bytes(syntax)).0, expected, "12 bits");

        let mut inverted = Dicom::new("MONOCHROME1", 1, [16, 12, 0]);
        assert_eq!(read(&inverted.words(words()).bytes(syntax)).0, black, "inverted");

        let mut signed = Dicom::new("MONOCHROME2", 1, [16, 16, 1]);
        let words = shades().map(|x| (i16::from(x) * 100 - 12_000) as u16);
        assert_eq!(read(&signed.words(words).bytes(syntax)).0, expected, "signed");
    }
}

#[test]
fn rows_and_columns() {
    let mut file = Dicom::new("MONOCHROME2", 1, [8, 8, 0]);
    file.integer(0x0028_0010, 300).octets((0..300 * SIDE).map(|k| (k % SIDE) as u8));
    let (pixels, notes) = read(&file.bytes(EXPLICIT));
    assert_eq!((&pixels[..SIDE], notes), (&(0..=255).collect::<Vec<u8>>()[..], vec![]));
}

#[test]
fn windows() {
    // Hounsfield-like values x * 4 - 500, shown from 0 (x = 125) to 255 (x = 188.75).
    let cases = [("LINEAR", 128.0, 256.0), ("LINEAR_EXACT", 127.5, 255.0), ("", 128.0, 256.0)];
    for (function, centre, width) in cases {
        let mut file = Dicom::new("MONOCHROME2", 1, [16, 16, 0]);
        file.words(shades().map(u16::from)).text(0x0028_1053, VR::DS, "4").text(0x0028_1052, VR::DS, "-500 ");
        file.text(0x0028_1050, VR::DS, &format!("{centre}\\40")).text(
            0x0028_1051,
            VR::DS,
            &format!("{width}\\400"),
        );
        if !function.is_empty() {
            file.text(0x0028_1056, VR::CS, function);
        }
        let expected: Vec<u8> = shades().map(|x| (i32::from(x) * 4 - 500).clamp(0, 255) as u8).collect();
        assert_eq!(read(&file.bytes(EXPLICIT)).0, expected, "{function}");
    }
    let mut sigmoid = Dicom::new("MONOCHROME2", 1, [8, 8, 0]);
    sigmoid.octets(shades()).text(0x0028_1050, VR::DS, "100").text(0x0028_1051, VR::DS, "50");
    sigmoid.text(0x0028_1056, VR::CS, "SIGMOID");
    assert_eq!(
        read(&sigmoid.bytes(EXPLICIT)).0,
        shades()
            .map(|x| (255.0 / (1.0 + (-4.0 * (f64::from(x) - 100.0) / 50.0).exp())).round() as u8)
            .collect::<Vec<u8>>()
    );
}

#[test]
fn padding_does_not_stretch_the_range() {
    let mut file = Dicom::new("MONOCHROME2", 1, [16, 16, 0]);
    file.words(shades().enumerate().map(|(k, x)| if k == 0 { 60_000 } else { u16::from(x) + 1000 }));
    file.0.put(DataElement::new(tag(0x0028_0120), VR::US, PrimitiveValue::from(60_000_u16)));
    let pixels = read(&file.bytes(EXPLICIT)).0;
    assert_eq!(pixels[SIDE * SIDE - 1], 255);
    assert!(pixels[SIDE * 128 + 128].abs_diff(128) <= 1);
}

#[test]
fn colours_and_frames() {
    let mut grey = Dicom::new("RGB", 3, [8, 8, 0]);
    grey.octets(shades().flat_map(|x| [x; 3])).integer(0x0028_0006, 0);
    assert_eq!(read(&grey.bytes(EXPLICIT)), (shades().collect(), vec![]));

    let mut planes = Dicom::new("RGB", 3, [8, 8, 0]);
    planes.octets(shades().chain(shades().map(|x| x / 2)).chain(shades().map(|_| 0))).integer(0x0028_0006, 1);
    let (pixels, notes) = read(&planes.bytes(EXPLICIT));
    assert_eq!(notes, [ImageNote::Colour]);
    assert!(pixels.iter().zip(shades()).all(|(p, x)| p.abs_diff((f64::from(x) * 0.5925) as u8) <= 1));

    let mut ybr = Dicom::new("YBR_FULL", 3, [8, 8, 0]);
    ybr.octets(shades().flat_map(|x| [x, 128, 128])).integer(0x0028_0006, 0);
    assert_eq!(read(&ybr.bytes(EXPLICIT)), (shades().collect(), vec![]));

    let mut frames = Dicom::new("MONOCHROME2", 1, [8, 8, 0]);
    frames.octets(shades().chain(shades().map(|x| 255 - x))).text(0x0028_0008, VR::IS, "2");
    assert_eq!(read(&frames.bytes(EXPLICIT)), (shades().collect(), vec![ImageNote::Frames { count: 2 }]));
}

fn jpeg(image: impl Into<DynamicImage>) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image.into().write_to(&mut out, ImageFormat::Jpeg).unwrap();
    let mut out = out.into_inner();
    if out.len() % 2 == 1 {
        out.push(0);
    }
    out
}

#[test]
fn baseline_jpeg() {
    let expected =
        Xray::from_pixels(Array2::from_shape_vec((SIDE, SIDE), shades().collect()).unwrap().view()).unwrap();
    let at = |x: u32, y: u32| shade(x as usize + SIDE * y as usize);
    let side = SIDE as u32;
    let grey = jpeg(ImageBuffer::from_fn(side, side, |x, y| Luma([at(x, y)])));
    let colour = jpeg(ImageBuffer::from_fn(side, side, |x, y| Rgb([at(x, y); 3])));
    let halves = vec![grey[..1000].to_vec(), grey[1000..].to_vec()];
    for (photometric, samples, fragments) in [
        ("MONOCHROME2", 1, vec![grey.clone()]),
        ("MONOCHROME2", 1, halves),
        ("YBR_FULL_422", 3, vec![colour]),
    ] {
        let mut file = Dicom::new(photometric, samples, [8, 8, 0]);
        let (xray, notes) = Xray::from_bytes(&file.fragments(fragments).bytes(JPEG)).unwrap();
        assert!(psnr(&xray, &expected) > 35.0);
        assert_eq!(notes, []);
    }
    let mut other = Dicom::new("MONOCHROME2", 1, [8, 8, 0]);
    other.integer(0x0028_0010, 128).fragments(vec![grey]);
    assert!(Xray::from_bytes(&other.bytes(JPEG)).unwrap_err().to_string().contains("it is 256x256 pixels"));
}

/// Lossless JPEG of 16 bits, process 14 with first-order prediction, as most digital radiographs are archived.
#[test]
fn lossless_jpeg() {
    let words: Vec<u16> = shades().map(|x| u16::from(x) * 257).collect();
    let mut file = Dicom::new("MONOCHROME2", 1, [16, 16, 0]);
    let bytes = file.fragments(vec![lossless(&words)]).bytes(LOSSLESS);
    assert_eq!(read(&bytes).0, shades().collect::<Vec<u8>>());
}

/// The differences of neighbours, their categories coded in five bits each (ITU-T T.81, H.1.2).
fn lossless(words: &[u16]) -> Vec<u8> {
    let side = (SIDE as u16).to_be_bytes();
    let mut out = vec![0xff, 0xd8, 0xff, 0xc3, 0, 11, 16, side[0], side[1], side[0], side[1], 1, 1, 0x11, 0];
    // One code per category 0..=16, all of five bits.
    out.extend([0xff, 0xc4, 0, 2 + 17 + 17, 0]);
    out.extend([0, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    out.extend(0..=16);
    out.extend([0xff, 0xda, 0, 8, 1, 1, 0, 1, 0, 0]);
    let mut bits = 0_u64;
    let mut count = 0;
    for (k, &word) in words.iter().enumerate() {
        let before = match k {
            0 => 1 << 15,
            _ if k % SIDE == 0 => words[k - SIDE],
            _ => words[k - 1],
        };
        let difference = i32::from(word.wrapping_sub(before) as i16);
        let category = 32 - difference.unsigned_abs().leading_zeros();
        let extra = if difference < 0 { difference + (1 << category) - 1 } else { difference } as u64;
        // A difference of 2^15 needs no further bits.
        let extra = if category == 16 { (0, 0) } else { (extra, category) };
        for (value, width) in [(u64::from(category), 5), extra] {
            bits = bits << width | value;
            count += width;
        }
        while count >= 8 {
            count -= 8;
            let byte = (bits >> count) as u8;
            out.push(byte);
            if byte == 0xff {
                out.push(0);
            }
        }
    }
    let last = ((bits << 8 | 0xff) >> count) as u8;
    out.push(last);
    if last == 0xff {
        out.push(0);
    }
    out.extend([0xff, 0xd9]);
    if out.len() % 2 == 1 {
        out.push(0);
    }
    out
}

#[test]
fn what_is_refused() {
    let error = |file: &Dicom, syntax: &str| Xray::from_bytes(&file.bytes(syntax)).unwrap_err();
    let mut report = Dicom(InMemDicomObject::new_empty());
    report.text(0x0008_0060, VR::CS, "SR");
    assert!(error(&report, EXPLICIT).to_string().contains("holds no image"));

    let mut other = Dicom::new("MONOCHROME2", 1, [8, 8, 0]);
    other.fragments(vec![vec![0; 100]]);
    for (syntax, name) in [
        ("1.2.840.10008.1.2.4.201", "High-Throughput JPEG 2000"),
        ("1.2.840.10008.1.2.4.103", "MPEG video"),
        ("1.2.840.10008.1.2.4.110", "JPEG XL"),
    ] {
        let message = error(&other, syntax).to_string();
        assert!(message.contains(&format!("transfer syntax {name}")), "{message}");
    }
    for (syntax, name) in [
        ("1.2.840.10008.1.2.4.90", "JPEG 2000 image"),
        ("1.2.840.10008.1.2.4.80", "JPEG-LS image"),
        ("1.2.840.10008.1.2.5", "RLE image"),
    ] {
        let message = error(&other, syntax).to_string();
        assert!(message.contains(name), "{message}");
    }
    assert!(error(&other, JPEG).to_string().contains("JPEG"));

    type Change<'a> = &'a dyn Fn(&mut Dicom);
    let cases: [(&str, Change<'_>); 8] = [
        ("Photometric", &|f| {
            f.text(0x0028_0004, VR::CS, "CMYK");
        }),
        ("Rows", &|f| {
            f.0.remove_element(tag(0x0028_0010));
        }),
        ("Columns", &|f| {
            f.integer(0x0028_0011, 0);
        }),
        ("Samples", &|f| {
            f.integer(0x0028_0002, 4);
        }),
        ("Allocated", &|f| {
            f.integer(0x0028_0100, 32);
        }),
        ("Stored", &|f| {
            f.integer(0x0028_0101, 12);
        }),
        ("cut off", &|f| {
            f.integer(0x0028_0010, 4000);
        }),
        ("50 million", &|f| {
            f.integer(0x0028_0010, 65_535).integer(0x0028_0011, 65_535);
        }),
    ];
    for (expected, change) in cases {
        let mut file = Dicom::new("MONOCHROME2", 1, [8, 8, 0]);
        file.octets(shades());
        change(&mut file);
        let error = error(&file, EXPLICIT).to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let mut flat = Dicom::new("MONOCHROME2", 1, [8, 8, 0]);
    flat.octets(shades().map(|_| 9));
    assert!(matches!(error(&flat, EXPLICIT), ImageError::NoContrast));
}

#[test]
fn broken_files_never_panic() {
    let mut native = Dicom::new("MONOCHROME2", 1, [8, 8, 0]);
    native.octets(shades()).text(0x0028_1050, VR::DS, "100").text(0x0028_1051, VR::DS, "50");
    let mut packed = Dicom::new("MONOCHROME2", 1, [16, 16, 0]);
    packed.fragments(vec![lossless(&shades().map(u16::from).collect::<Vec<_>>())]);
    let mut random = Random::new("dicom");
    for whole in [native.bytes(EXPLICIT), native.bytes(IMPLICIT), packed.bytes(LOSSLESS)] {
        let header = whole.len().min(1500);
        for length in (0..header).chain((header..whole.len() - 20).step_by(1013)) {
            Xray::from_bytes(&whole[..length]).unwrap_err();
        }
        for k in 0..600 {
            let mut broken = whole.clone();
            for _ in 0..1 + k % 3 {
                let end = if k % 4 == 0 { whole.len() } else { header };
                let at = 132 + random.next() as usize % (end - 132);
                broken[at] = random.next() as u8;
            }
            let _ = Xray::from_bytes(&broken);
        }
    }
}
