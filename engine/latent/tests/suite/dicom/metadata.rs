//! Metadata that does not go with a frontal radiograph of a chest.

use super::{Dicom, EXPLICIT, read, shades, tag};
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_object::InMemDicomObject;
use pleura_latent::{DicomIdentity, ImageNote};

fn notes(change: impl Fn(&mut Dicom)) -> Vec<ImageNote> {
    let mut file = Dicom::new("MONOCHROME2", 1, [8, 8, 0]);
    file.octets(shades());
    change(&mut file);
    read(&file.bytes(EXPLICIT)).1
}

#[test]
fn contradictions_are_noted() {
    let cases = [
        ("Modality", 0x0008_0060, VR::CS, "CT"),
        ("Modality", 0x0008_0060, VR::CS, "MG"),
        ("Presentation Intent Type", 0x0008_0068, VR::CS, "FOR PROCESSING"),
        ("Patient Species Description", 0x0010_2201, VR::LO, "Canis lupus"),
        ("Body Part Examined", 0x0018_0015, VR::CS, "HAND"),
        ("View Position", 0x0018_5101, VR::CS, "LL"),
        ("View Position", 0x0018_5101, VR::CS, "LATERAL"),
        ("Laterality", 0x0020_0060, VR::CS, "R"),
        ("Image Laterality", 0x0020_0062, VR::CS, "L"),
        ("Patient Orientation", 0x0020_0020, VR::CS, "R\\F"),
        ("Patient Orientation", 0x0020_0020, VR::CS, "L\\H"),
        ("Pixel Aspect Ratio", 0x0028_0034, VR::IS, "2\\1"),
        ("Pixel Spacing", 0x0028_0030, VR::DS, "0.1\\0.2"),
        ("Imager Pixel Spacing", 0x0018_1164, VR::DS, "0.2\\0.1"),
        ("Series Description", 0x0008_103e, VR::LO, "Thorax lateral"),
    ];
    for (expected, number, vr, value) in cases {
        let notes = notes(|file| {
            file.text(number, vr, value);
        });
        let [ImageNote::Metadata { attribute, found, .. }] = notes.as_slice() else { panic!("{notes:?}") };
        assert_eq!((*attribute, found.to_uppercase()), (expected, value.to_uppercase()));
        assert!(notes[0].to_string().contains(&format!("says {expected} = ")));
    }
    for (number, value) in [(0x0008_2218, "Knee"), (0x0054_0220, "left lateral")] {
        let notes = notes(|file| {
            let meaning = DataElement::new(tag(0x0008_0104), VR::LO, PrimitiveValue::from(value));
            let items = vec![InMemDicomObject::from_element_iter([meaning])];
            file.0.put(DataElement::new(tag(number), VR::SQ, DataSetSequence::from(items)));
        });
        assert!(
            matches!(notes.as_slice(), [ImageNote::Metadata { found, .. }] if found == value),
            "{notes:?}"
        );
    }
}

/// A class of images stands for a modality that is not named.
#[test]
fn classes_of_images_are_noted() {
    for (number, is_noted) in
        [("2", true), ("12.1", true), ("1.2", true), ("1", false), ("1.1", false), ("7", false)]
    {
        let class = format!("1.2.840.10008.5.1.4.1.1.{number}");
        let of = |modality: &str| {
            notes(|file| _ = file.text(0x0008_0060, VR::CS, modality).text(0x0008_0016, VR::UI, &class))
        };
        assert_eq!(of("DX"), []);
        let found = of("");
        let noted = matches!(found.as_slice(), [ImageNote::Metadata { attribute: "SOP Class UID", .. }]);
        assert_eq!((noted, found.is_empty()), (is_noted, !is_noted), "{class}: {found:?}");
    }
}

#[test]
fn images_have_identifiers() {
    let mut file = Dicom::new("MONOCHROME2", 1, [8, 8, 0]);
    file.octets(shades());
    file.text(0x0020_000d, VR::UI, "1.2.3").text(0x0020_000e, VR::UI, "1.2.3.4").text(
        0x0008_0018,
        VR::UI,
        "1.2.3.4.5",
    );
    let found = DicomIdentity::from_bytes(&file.bytes(EXPLICIT)).unwrap();
    let uid = |text: &str| Some(text.to_owned());
    let expected = DicomIdentity { study: uid("1.2.3"), series: uid("1.2.3.4"), instance: uid("1.2.3.4.5") };
    assert_eq!(found, expected);
    // A name is no identifier.
    file.text(0x0020_000d, VR::UI, "Doe^Jane").text(0x0020_000e, VR::UI, "");
    let found = DicomIdentity::from_bytes(&file.bytes(EXPLICIT)).unwrap();
    assert_eq!(found, DicomIdentity { instance: uid("1.2.3.4.5"), ..DicomIdentity::default() });
    assert_eq!(DicomIdentity::from_bytes(b"\x89PNG\r\n\x1a\n"), None);
    assert_eq!(DicomIdentity::from_bytes(&file.bytes(EXPLICIT)[..300]).and_then(|found| found.study), None);
}

#[test]
fn chest_radiographs_are_not_noted() {
    let cases = [
        (0x0008_0060, VR::CS, "CR"),
        (0x0008_0068, VR::CS, "FOR PRESENTATION"),
        (0x0018_0015, VR::CS, "CHEST"),
        (0x0018_0015, VR::CS, "Thorax"),
        (0x0018_5101, VR::CS, "PA"),
        (0x0018_5101, VR::CS, "AP"),
        (0x0020_0062, VR::CS, "U"),
        (0x0020_0020, VR::CS, "L\\F"),
        (0x0028_0034, VR::IS, "1\\1"),
        (0x0028_0030, VR::DS, "0.14\\0.14"),
        (0x0008_103e, VR::LO, "Chest PA and lateral"),
    ];
    for (number, vr, value) in cases {
        let notes = notes(|file| {
            file.text(number, vr, value);
        });
        assert_eq!(notes, [], "{value}");
    }
}

#[test]
fn overlays_are_noted() {
    let notes = notes(|file| {
        file.0.put(DataElement::new(
            tag(0x6000_3000),
            VR::OW,
            PrimitiveValue::U16([0; 4096].as_slice().into()),
        ));
    });
    assert_eq!(notes, [ImageNote::Overlays { count: 1 }]);
}
