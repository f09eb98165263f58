//! Display of DICOM images as in a viewer: modality, values of interest, presentation, padding, shutters, wherever a file has
//! them.

use super::{Dicom, EXPLICIT, IMPLICIT, read, shade, shades, tag};
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_object::InMemDicomObject;
use pleura_latent::{ImageNote, SIDE, Xray};

const WINDOW: [(u32, &str); 2] = [(0x0028_1050, "128"), (0x0028_1051, "256")];

fn item(elements: impl IntoIterator<Item = DataElement<InMemDicomObject>>) -> InMemDicomObject {
    InMemDicomObject::from_element_iter(elements)
}

fn text(number: u32, vr: VR, value: &str) -> DataElement<InMemDicomObject> {
    DataElement::new(tag(number), vr, PrimitiveValue::from(value))
}

fn sequence(number: u32, items: Vec<InMemDicomObject>) -> DataElement<InMemDicomObject> {
    DataElement::new(tag(number), VR::SQ, DataSetSequence::from(items))
}

/// A table of `entries` from the input `first` on.
fn lut(first: i32, bits: u16, entries: Vec<u16>) -> InMemDicomObject {
    let count = entries.len() as u16;
    let descriptor = if first < 0 {
        DataElement::new(
            tag(0x0028_3002),
            VR::SS,
            PrimitiveValue::I16([count as i16, first as i16, bits as i16].as_slice().into()),
        )
    } else {
        DataElement::new(
            tag(0x0028_3002),
            VR::US,
            PrimitiveValue::U16([count, first as u16, bits].as_slice().into()),
        )
    };
    let data = DataElement::new(tag(0x0028_3006), VR::OW, PrimitiveValue::U16(entries.into()));
    item([descriptor, data])
}

fn twelve_bits() -> Dicom {
    let mut file = Dicom::new("MONOCHROME2", 1, [16, 12, 0]);
    file.words(shades().map(|x| u16::from(x) * 16));
    file
}

fn eight_bits() -> Dicom {
    let mut file = Dicom::new("MONOCHROME2", 1, [8, 8, 0]);
    file.octets(shades());
    file
}

fn all(expected: impl Fn(u8) -> f64) -> Vec<u8> {
    shades().map(|x| expected(x).round().clamp(0.0, 255.0) as u8).collect()
}

fn message(file: &Dicom) -> String {
    Xray::from_bytes(&file.bytes(EXPLICIT)).unwrap_err().to_string()
}

#[test]
fn voi_luts_are_applied() {
    let square: Vec<u16> = (0..4096_u32).map(|x| (x * x / 4095) as u16).collect();
    let expected = all(|x| (f64::from(x) * 16.0).powi(2).div_euclid(4095.0) / 4095.0 * 255.0);
    for syntax in [EXPLICIT, IMPLICIT] {
        let mut file = twelve_bits();
        file.0.put(sequence(0x0028_3010, vec![lut(0, 12, square.clone())]));
        assert_eq!(read(&file.bytes(syntax)), (expected.clone(), vec![]));
    }

    // Inputs below and above are those of the first and the last entry.
    let mut short = twelve_bits();
    short.0.put(sequence(0x0028_3010, vec![lut(1600, 8, (0..=255).collect())]));
    let found = read(&short.bytes(EXPLICIT)).0;
    assert_eq!(found, all(|x| f64::from((u32::from(x) * 16).clamp(1600, 1855) - 1600)));

    // After a rescaling to negative values.
    let mut negative = eight_bits();
    negative.text(0x0028_1052, VR::DS, "-100").text(0x0028_1053, VR::DS, "1");
    negative.0.put(sequence(0x0028_3010, vec![lut(-100, 8, (0..=255).rev().collect())]));
    assert_eq!(read(&negative.bytes(EXPLICIT)).0, all(|x| 255.0 - f64::from(x)));

    let mut both = twelve_bits();
    both.0.put(sequence(0x0028_3010, vec![lut(0, 12, square)]));
    for (number, value) in WINDOW {
        both.text(number, VR::DS, value);
    }
    let (pixels, notes) = read(&both.bytes(EXPLICIT));
    assert_eq!(pixels, expected);
    assert!(matches!(notes.as_slice(), [ImageNote::Choice { count: 2, .. }]), "{notes:?}");

    // Ten bits are declared, and entries have twelve.
    let mut deep = twelve_bits();
    deep.0.put(sequence(0x0028_3010, vec![lut(0, 10, (0..4096).rev().collect())]));
    let (pixels, notes) = read(&deep.bytes(EXPLICIT));
    assert_eq!(pixels, all(|x| (4095.0 - f64::from(x) * 16.0) / 4095.0 * 255.0));
    assert_eq!(notes, [ImageNote::LutBits { name: "VOI LUT Sequence", declared: 10, used: 12 }]);

    let mut beside = twelve_bits();
    beside.0.put(sequence(0x0028_3010, vec![lut(5000, 12, (0..4095).collect())]));
    assert!(message(&beside).contains("the VOI LUT of the DICOM file lies beside"), "{}", message(&beside));
    let mut broken = twelve_bits();
    broken.0.put(sequence(0x0028_3010, vec![item([])]));
    assert!(message(&broken).contains("VOI LUT Sequence = no descriptor"), "{}", message(&broken));
}

#[test]
fn modality_luts_are_applied() {
    let inverse: Vec<u16> = (0..4096).rev().collect();
    let mut file = twelve_bits();
    file.0.put(sequence(0x0028_3000, vec![lut(0, 12, inverse.clone())]));
    let (pixels, notes) = read(&file.bytes(EXPLICIT));
    assert_eq!(pixels, all(|x| 255.0 - f64::from(x)));
    assert_eq!(notes, []);

    // A window counts in what the table gives.
    file.text(0x0028_1050, VR::DS, "4000").text(0x0028_1051, VR::DS, "191");
    assert_eq!(
        read(&file.bytes(EXPLICIT)).0,
        all(|x| (f64::from(4095 - u16::from(x) * 16) - 3904.5) / 190.0 * 255.0)
    );

    // In bytes instead of words.
    let mut bytes = eight_bits();
    let mut table = lut(0, 8, vec![0; 256]);
    table.put(DataElement::new(
        tag(0x0028_3006),
        VR::OW,
        PrimitiveValue::U8((0..=255).rev().collect::<Vec<u8>>().into()),
    ));
    bytes.0.put(sequence(0x0028_3000, vec![table]));
    assert_eq!(read(&bytes.bytes(EXPLICIT)).0, all(|x| 255.0 - f64::from(x)));
}

#[test]
fn functional_groups_come_before_the_image() {
    let window = |centre: &str, width: &str| {
        let values = item([text(0x0028_1050, VR::DS, centre), text(0x0028_1051, VR::DS, width)]);
        item([sequence(0x0028_9132, vec![values])])
    };
    let rescaling = item([text(0x0028_1052, VR::DS, "-50"), text(0x0028_1053, VR::DS, "2")]);
    let expected = all(|x| f64::from(x) * 2.0 - 50.0);
    for (shared, per_frame) in [(false, true), (true, false)] {
        for syntax in [EXPLICIT, IMPLICIT] {
            let mut file = eight_bits();
            let mut group = window("128", "256");
            group.put(sequence(0x0028_9145, vec![rescaling.clone()]));
            if per_frame {
                file.0.put(sequence(0x5200_9230, vec![group.clone(), window("1000", "3")]));
            }
            if shared {
                file.0.put(sequence(0x5200_9229, vec![group]));
            }
            assert_eq!(read(&file.bytes(syntax)), (expected.clone(), vec![]));
        }
    }
    let mut both = eight_bits();
    both.0.put(sequence(0x5200_9229, vec![window("128", "256")]));
    both.text(0x0028_1050, VR::DS, "10").text(0x0028_1051, VR::DS, "3");
    let (pixels, notes) = read(&both.bytes(EXPLICIT));
    assert_eq!(pixels, all(f64::from));
    assert!(matches!(notes.as_slice(), [ImageNote::Choice { count: 2, .. }]), "{notes:?}");
}

#[test]
fn several_windows_are_noted() {
    let mut file = eight_bits();
    file.text(0x0028_1050, VR::DS, "64\\128").text(0x0028_1051, VR::DS, "128\\256");
    file.text(0x0028_1055, VR::LO, "LUNG\\BONE");
    let (pixels, notes) = read(&file.bytes(EXPLICIT));
    assert_eq!(pixels, all(|x| f64::from(x) / 127.0 * 255.0));
    assert_eq!(
        notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["the DICOM file has 2 windows, of which the first (LUNG), centre 64, width 128 was taken"]
    );
    let mut same = eight_bits();
    same.text(0x0028_1050, VR::DS, "128\\128").text(0x0028_1051, VR::DS, "256\\256");
    assert_eq!(read(&same.bytes(EXPLICIT)).1, []);
}

#[test]
fn windows_that_show_nothing_are_named() {
    let mut beside = eight_bits();
    beside.text(0x0028_1050, VR::DS, "20000").text(0x0028_1051, VR::DS, "100");
    let message_beside = message(&beside);
    assert!(
        message_beside.contains(
            "the window (centre 20000, width 100) of the DICOM file lies beside its values, 0 to 255"
        ),
        "{message_beside}"
    );
    let mut none = eight_bits();
    none.text(0x0028_1050, VR::DS, "20").text(0x0028_1051, VR::DS, "0");
    let (pixels, notes) = read(&none.bytes(EXPLICIT));
    assert_eq!(pixels, all(f64::from));
    assert!(matches!(notes.as_slice(), [ImageNote::InvalidWindow { .. }]), "{notes:?}");
    let mut step = eight_bits();
    step.text(0x0028_1050, VR::DS, "128").text(0x0028_1051, VR::DS, "1");
    let (pixels, notes) = read(&step.bytes(EXPLICIT));
    assert_eq!(pixels, all(|x| if x > 127 { 255.0 } else { 0.0 }));
    assert!(matches!(notes.as_slice(), [ImageNote::NarrowWindow { percent: 0, .. }]), "{notes:?}");

    for (number, vr, value, expected) in [
        (0x0028_1056, VR::CS, "CUBIC", "VOI LUT Function = CUBIC"),
        (0x0028_1051, VR::DS, "wide", "Window Width = wide"),
        (0x0028_1051, VR::DS, "1\\2", "Window Width = 2 for 1"),
        (0x0028_1053, VR::DS, "0", "Rescale Slope = 0"),
        (0x2050_0020, VR::CS, "LIN OD", "Presentation LUT Shape = LIN OD"),
        (0x0018_1600, VR::CS, "BITMAP", "Shutter Shape = BITMAP"),
    ] {
        let mut file = eight_bits();
        file.text(0x0028_1050, VR::DS, "128").text(0x0028_1051, VR::DS, "256").text(number, vr, value);
        assert!(message(&file).contains(expected), "{}", message(&file));
    }
}

#[test]
fn bits_beyond_those_stored() {
    // Values of 16 bits in a file that says 12, as in one that wraps them they would be noise.
    for (slope, offset, signed) in [(200, 0, 0), (20, 0, 0), (200, -25_000, 1)] {
        let mut file = Dicom::new("MONOCHROME2", 1, [16, 12, signed]);
        file.words(shades().map(|x| (i32::from(x) * slope + offset) as u16));
        let (pixels, notes) = read(&file.bytes(EXPLICIT));
        assert_eq!(pixels, all(f64::from), "{slope} {offset}");
        assert_eq!(notes[0], ImageNote::BitsStored { stored: 12, allocated: 16, used: true });
    }
    // Stray bits above, without and with an overlay to explain them.
    let stray = |k: usize| if k.is_multiple_of(7) { 0x4000 } else { 0 };
    let mut file = Dicom::new("MONOCHROME2", 1, [16, 12, 0]);
    file.words((0..SIDE * SIDE).map(|k| (u16::from(shade(k)) * 16) | stray(k)));
    let (pixels, notes) = read(&file.bytes(EXPLICIT));
    assert_eq!(pixels, all(f64::from));
    assert_eq!(notes[0], ImageNote::BitsStored { stored: 12, allocated: 16, used: false });
    file.integer(0x6000_0102, 14);
    assert_eq!(read(&file.bytes(EXPLICIT)), (all(f64::from), vec![]));
}

#[test]
fn a_marker_does_not_decide_the_scale() {
    let chest = |k: usize| 1000 + u16::from(shade(k)) * 4;
    let plain = {
        let mut file = Dicom::new("MONOCHROME2", 1, [16, 16, 0]);
        file.words((0..SIDE * SIDE).map(chest));
        read(&file.bytes(EXPLICIT))
    };
    assert_eq!(plain.0, all(f64::from));
    assert!(matches!(plain.1.as_slice(), [ImageNote::NoWindow { left_out_per_mille: 0, .. }]));
    for marker in [65_535_u16, 0] {
        let mut file = Dicom::new("MONOCHROME2", 1, [16, 16, 0]);
        let is_marker = |k: usize| k % SIDE < 40 && k / SIDE < 25;
        file.words((0..SIDE * SIDE).map(|k| if is_marker(k) { marker } else { chest(k) }));
        let (pixels, notes) = read(&file.bytes(EXPLICIT));
        assert!(
            matches!(notes.as_slice(), [ImageNote::NoWindow { left_out_per_mille: 16, .. }]),
            "{notes:?}"
        );
        let wrong = (0..SIDE * SIDE).filter(|&k| !is_marker(k) && pixels[k].abs_diff(plain.0[k]) > 12);
        assert_eq!(wrong.count(), 0, "{marker}");
    }
}

#[test]
fn presentation_decides_what_is_white() {
    for (photometric, shape, inverted, remarks) in [
        ("MONOCHROME1", "", true, 0),
        ("MONOCHROME1", "INVERSE", true, 0),
        ("MONOCHROME2", "IDENTITY", false, 0),
        ("MONOCHROME2", "INVERSE", true, 1),
        ("MONOCHROME1", "IDENTITY", false, 1),
    ] {
        let mut file = Dicom::new(photometric, 1, [8, 8, 0]);
        file.octets(shades());
        if !shape.is_empty() {
            file.text(0x2050_0020, VR::CS, shape);
        }
        let (pixels, notes) = read(&file.bytes(EXPLICIT));
        assert_eq!(
            (pixels, notes.len()),
            (all(|x| if inverted { 255.0 - f64::from(x) } else { f64::from(x) }), remarks),
            "{photometric} {shape}"
        );
    }
}

#[test]
fn padding_is_black() {
    for (photometric, value, signed) in
        [("MONOCHROME1", 60_000_u16, 0), ("MONOCHROME1", (-2000_i16) as u16, 1)]
    {
        let mut file = Dicom::new(photometric, 1, [16, 16, signed]);
        file.words(shades().enumerate().map(|(k, x)| if k < SIDE * 8 { value } else { u16::from(x) }));
        file.integer(0x0028_0120, value);
        let (pixels, notes) = read(&file.bytes(EXPLICIT));
        assert!(pixels[..SIDE * 7].iter().all(|x| *x == 0), "{value}");
        let expected = all(|x| 255.0 - (f64::from(x) - 4.0) / 251.0 * 255.0);
        assert_eq!(pixels[SIDE * 8..], expected[SIDE * 8..]);
        assert!(matches!(notes.as_slice(), [ImageNote::NoWindow { .. }]), "{notes:?}");
    }
    let mut range = Dicom::new("MONOCHROME2", 1, [16, 16, 0]);
    range.words(shades().enumerate().map(|(k, x)| if k < 3000 { 50_000 + k as u16 } else { u16::from(x) }));
    range.integer(0x0028_0120, 50_000).integer(0x0028_0121, 53_000);
    assert!(read(&range.bytes(EXPLICIT)).0[..2900].iter().all(|x| *x == 0));
}

#[test]
fn shutters_are_closed() {
    let shown = |file: &Dicom, inside: &dyn Fn(usize, usize) -> bool| {
        let pixels = read(&file.bytes(EXPLICIT)).0;
        for (k, pixel) in pixels.iter().enumerate() {
            let expected = if inside(k / SIDE + 1, k % SIDE + 1) { shade(k) } else { 0 };
            assert_eq!(*pixel, expected, "{k}");
        }
    };
    let mut rectangle = eight_bits();
    rectangle.text(0x0018_1600, VR::CS, "RECTANGULAR");
    for (number, value) in
        [(0x0018_1602, "11"), (0x0018_1604, "200"), (0x0018_1606, "21"), (0x0018_1608, "250")]
    {
        rectangle.text(number, VR::IS, value);
    }
    shown(&rectangle, &|y, x| (11..=200).contains(&x) && (21..=250).contains(&y));
    let mut circle = eight_bits();
    circle.text(0x0018_1600, VR::CS, "CIRCULAR").text(0x0018_1610, VR::IS, "100\\120").text(
        0x0018_1612,
        VR::IS,
        "50",
    );
    shown(&circle, &|y, x| y.abs_diff(100).pow(2) + x.abs_diff(120).pow(2) <= 2500);
    let mut polygon = eight_bits();
    polygon.text(0x0018_1600, VR::CS, "POLYGONAL").text(0x0018_1620, VR::IS, "0\\0\\0\\401\\401\\0");
    shown(&polygon, &|y, x| y + x < 401);
}

#[test]
fn palettes() {
    let mut file = Dicom::new("PALETTE COLOR", 1, [8, 8, 0]);
    file.octets(shades());
    for channel in 0..3 {
        let descriptor = PrimitiveValue::U16([256, 0, 16].as_slice().into());
        file.0.put(DataElement::new(tag(0x0028_1101 + channel), VR::US, descriptor));
        let data = PrimitiveValue::U16((0..=255_u16).rev().map(|x| x * 257).collect());
        file.0.put(DataElement::new(tag(0x0028_1201 + channel), VR::OW, data));
    }
    assert_eq!(read(&file.bytes(EXPLICIT)), (all(|x| 255.0 - f64::from(x)), vec![]));
    file.0.put(DataElement::new(tag(0x0028_1221), VR::OW, PrimitiveValue::U16([0, 1].as_slice().into())));
    assert!(message(&file).contains("Segmented"), "{}", message(&file));
}

#[test]
fn colours_of_more_bits_and_shared_ones() {
    let mut deep = Dicom::new("RGB", 3, [16, 12, 0]);
    deep.words(shades().flat_map(|x| [u16::from(x) * 16 + u16::from(x) / 16; 3])).integer(0x0028_0006, 0);
    assert_eq!(read(&deep.bytes(EXPLICIT)), (all(f64::from), vec![]));

    let pairs: Vec<u8> = shades().collect();
    let mut shared = Dicom::new("YBR_FULL_422", 3, [8, 8, 0]);
    shared.octets(pairs.chunks(2).flat_map(|p| [p[0], p[1], 128, 128])).integer(0x0028_0006, 0);
    assert_eq!(read(&shared.bytes(EXPLICIT)), (all(f64::from), vec![]));
}
