//! Files without preamble or file meta information, of either byte order, and deflated ones.

use super::{Dicom, EXPLICIT, IMPLICIT, JPEG, read, shade, shades};
use crate::common::Random;
use dicom_core::VR;
use pleura_latent::{ImageNote, SIDE, Xray};
use std::io::Write;

const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
const DEFLATED: &str = "1.2.840.10008.1.2.1.99";

fn twelve_bits() -> Dicom {
    let mut file = Dicom::new("MONOCHROME2", 1, [16, 12, 0]);
    file.words(shades().map(|x| u16::from(x) * 16)).text(0x0008_0005, VR::CS, "ISO_IR 100");
    file
}

/// The bytes after the file meta information.
fn data_set(bytes: &[u8]) -> &[u8] {
    let length = u32::from_le_bytes(bytes[140..144].try_into().unwrap()) as usize;
    &bytes[144 + length..]
}

/// The file with another transfer syntax, of the same or a lesser length, in its file meta information.
fn renamed(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
    let mut out = bytes.to_vec();
    out[at..at + from.len()].fill(0);
    out[at..at + to.len()].copy_from_slice(to.as_bytes());
    out
}

#[test]
fn without_preamble_or_meta_information() {
    let expected: Vec<u8> = shades().collect();
    for syntax in [EXPLICIT, IMPLICIT] {
        let whole = twelve_bits().bytes(syntax);
        assert_eq!(read(&whole[132..]), (expected.clone(), vec![]), "without preamble");
        for rest in [data_set(&whole).to_vec(), [&whole[..132], data_set(&whole)].concat()] {
            let (pixels, notes) = read(&rest);
            assert_eq!(pixels, expected);
            assert!(matches!(notes.as_slice(), [ImageNote::TransferSyntax { .. }]), "{notes:?}");
            assert!(notes[0].to_string().contains("names no transfer syntax"));
        }
    }
    // Compressed pixels show how.
    let mut packed = Dicom::new("MONOCHROME2", 1, [8, 8, 0]);
    let image =
        image::ImageBuffer::from_fn(256, 256, |x, y| image::Luma([shade(x as usize + SIDE * y as usize)]));
    packed.fragments(vec![super::jpeg(image)]).text(0x0008_0005, VR::CS, "ISO_IR 100");
    let whole = packed.bytes(JPEG);
    assert_eq!(read(data_set(&whole)).0, read(&whole).0);
}

#[test]
fn wrongly_named() {
    let expected: Vec<u8> = shades().collect();
    let implicit = renamed(&twelve_bits().bytes(EXPLICIT), EXPLICIT, IMPLICIT);
    let (pixels, notes) = read(&implicit);
    assert_eq!(pixels, expected);
    assert!(matches!(notes.as_slice(), [ImageNote::TransferSyntax { .. }]), "{notes:?}");
}

#[test]
fn deflated() {
    let whole = twelve_bits().bytes(EXPLICIT);
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data_set(&whole)).unwrap();
    let mut head = Vec::new();
    head.extend([0; 128]);
    head.extend(b"DICM");
    head.extend([2, 0, 0x10, 0, b'U', b'I', DEFLATED.len() as u8, 0]);
    head.extend(DEFLATED.as_bytes());
    let bytes = [head.clone(), encoder.finish().unwrap()].concat();
    assert_eq!(read(&bytes), (shades().collect(), vec![]));
    for length in (head.len()..bytes.len() - 16).step_by(97) {
        Xray::from_bytes(&bytes[..length]).unwrap_err();
    }

    let mut bomb = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..300 {
        bomb.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let error = Xray::from_bytes(&[head, bomb.finish().unwrap()].concat()).unwrap_err().to_string();
    assert!(error.contains("larger than 256 MiB"), "{error}");
}

#[test]
fn big_endian() {
    let expected: Vec<u8> = shades().collect();
    assert_eq!(read(&twelve_bits().bytes(BIG_ENDIAN)), (expected.clone(), vec![]));
    let mut eight = Dicom::new("MONOCHROME2", 1, [8, 8, 0]);
    assert_eq!(read(&eight.octets(shades()).bytes(BIG_ENDIAN)), (expected.clone(), vec![]));
    // Bytes in words are swapped.
    let pairs: Vec<u8> = shades().collect();
    let words = pairs.chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let mut words_of_bytes = Dicom::new("MONOCHROME2", 1, [8, 8, 0]);
    words_of_bytes.words(words);
    assert_eq!(read(&words_of_bytes.bytes(BIG_ENDIAN)), (expected, vec![]));
}

#[test]
fn broken_heads_never_panic() {
    let mut random = Random::new("files");
    let whole = twelve_bits().bytes(EXPLICIT);
    for bytes in [whole[132..].to_vec(), data_set(&whole).to_vec(), twelve_bits().bytes(BIG_ENDIAN)] {
        for k in 0..300 {
            let mut broken = bytes.clone();
            broken[random.next() as usize % 600] = random.next() as u8;
            broken.truncate(if k % 3 == 0 { random.next() as usize % 600 } else { bytes.len() });
            let _ = Xray::from_bytes(&broken);
        }
    }
}
