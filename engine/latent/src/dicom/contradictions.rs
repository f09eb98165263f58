//! Metadata of a DICOM file that contradicts a frontal chest radiograph.

use super::elements::DataSet;
use super::groups::Groups;
use crate::grey::ImageNote;
use crate::image_error::DicomError;

const SOP_CLASS: u32 = 0x0008_0016;
const MODALITY: u32 = 0x0008_0060;
const INTENT: u32 = 0x0008_0068;
const REGION: u32 = 0x0008_2218;
const CODE_MEANING: u32 = 0x0008_0104;
const SERIES: u32 = 0x0008_103e;
const SPECIES: u32 = 0x0010_2201;
const BODY_PART: u32 = 0x0018_0015;
const VIEW: u32 = 0x0018_5101;
const VIEW_CODE: u32 = 0x0054_0220;
const ORIENTATION: u32 = 0x0020_0020;
const LATERALITY: u32 = 0x0020_0060;
const IMAGE_LATERALITY: u32 = 0x0020_0062;
const FRAME_ANATOMY: u32 = 0x0020_9071;
const FRAME_LATERALITY: u32 = 0x0020_9072;
const ASPECT: u32 = 0x0028_0034;
/// Distances of rows and of columns, in the patient and on the detector.
const SPACINGS: [(u32, &str); 2] = [(0x0028_0030, "Pixel Spacing"), (0x0018_1164, "Imager Pixel Spacing")];
const OVERLAYS: std::ops::RangeInclusive<u32> = 0x6000_0000..=0x60ff_ffff;
const OVERLAY_DATA: u32 = 0x3000;

/// Beginning of the numbers of image classes, and the ends of those of radiographs: computed, digital in both intents, captured from a
/// screen.
const IMAGES: &str = "1.2.840.10008.5.1.4.1.1.";
const RADIOGRAPHS: [&str; 8] = ["1", "1.1", "1.1.1", "7", "7.1", "7.2", "7.3", "7.4"];

const CHEST: [&str; 9] = ["CHEST", "THORA", "TORAX", "LUNG", "RIB", "PULMO", "HEART", "MEDIASTIN", "STERN"];
const LATERAL: [&str; 4] = ["LAT", "OBLIQUE", "DECUBITUS", "LORDOTIC"];
const LATERAL_CODES: [&str; 8] = ["LL", "RL", "LLD", "RLD", "LLO", "RLO", "LAO", "RAO"];

/// A remark on each attribute that contradicts.
pub(super) fn notes(set: &DataSet<'_>, groups: &Groups<'_>) -> Result<Vec<ImageNote>, DicomError> {
    let mut notes = Vec::new();
    let mut note = |attribute: &'static str, found: Option<String>, expected: &'static str| {
        notes.extend(found.map(|found| ImageNote::Metadata { attribute, found, expected }));
    };
    let string = |tag| set.string(tag).map(|x: String| x.trim().to_uppercase());
    let one_of = |known: &'static [&str]| move |x: &String| known.contains(&x.as_str());

    let modality = string(MODALITY);
    if modality.is_none() {
        let class = string(SOP_CLASS).filter(|class| is_other_image(class));
        note("SOP Class UID", class, "that of a radiograph (CR or DX)");
    }
    note("Modality", modality.filter(|x| !one_of(&["CR", "DX", "DR", "RG"])(x)), "a radiograph (CR or DX)");
    let intent = string(INTENT).filter(|x| x.contains("PROCESSING"));
    note("Presentation Intent Type", intent, "an image for presentation");
    let species = set.string(SPECIES).filter(|x| !x.to_uppercase().contains("HOMO SAPIENS"));
    note("Patient Species Description", species, "a human");
    note("Body Part Examined", string(BODY_PART).filter(|x| !is_chest(x)), "a chest");
    let anatomies = groups.items(FRAME_ANATOMY)?;
    for place in anatomies.iter().chain([set]) {
        let region = meaning(place, REGION)?;
        note("Anatomic Region Sequence", region.filter(|x| !is_chest(&x.to_uppercase())), "a chest");
    }

    let view = string(VIEW).filter(|x| one_of(&LATERAL_CODES)(x) || is_lateral(x));
    note("View Position", view, "a frontal view (PA or AP)");
    let view = meaning(set, VIEW_CODE)?.filter(|x| is_lateral(&x.to_uppercase()));
    note("View Code Sequence", view, "a frontal view (PA or AP)");
    let series = string(SERIES).filter(|x| is_lateral(x) && !names_frontal(x));
    note("Series Description", series, "a frontal view (PA or AP)");
    let one_side = |x: &String| matches!(x.as_str(), "L" | "R");
    note("Laterality", string(LATERALITY).filter(one_side), "both sides of the body");
    note("Image Laterality", string(IMAGE_LATERALITY).filter(one_side), "both sides of the body");
    for place in &anatomies {
        note("Frame Laterality", place.string(FRAME_LATERALITY).filter(one_side), "both sides of the body");
    }
    let orientation = string(ORIENTATION).filter(|x| !is_upright(x));
    note("Patient Orientation", orientation, "rows to the patient's left and columns to the feet (L\\F)");

    for (tag, attribute) in [(ASPECT, "Pixel Aspect Ratio")].into_iter().chain(SPACINGS) {
        if let [Some(vertical), Some(horizontal)] = set.decimals(tag).as_slice()
            && (vertical - horizontal).abs() > 0.02 * vertical.abs()
        {
            note(attribute, set.string(tag), "square pixels");
        }
    }
    let overlays = set.tags(OVERLAYS).filter(|tag| tag & 0xffff == OVERLAY_DATA).count();
    if overlays > 0 {
        notes.push(ImageNote::Overlays { count: overlays as u32 });
    }
    Ok(notes)
}

/// The meaning of a coded entry.
fn meaning(set: &DataSet<'_>, sequence: u32) -> Result<Option<String>, DicomError> {
    Ok(set.first_item(sequence)?.and_then(|item| item.string(CODE_MEANING)))
}

fn is_chest(name: &str) -> bool {
    CHEST.iter().any(|part| name.contains(part))
}

fn is_other_image(class: &str) -> bool {
    class.strip_prefix(IMAGES).is_some_and(|number| !RADIOGRAPHS.contains(&number))
}

fn names_frontal(name: &str) -> bool {
    name.split(|c: char| !c.is_ascii_alphabetic()).any(|word| matches!(word, "PA" | "AP"))
}

/// "Bilateral" is none.
fn is_lateral(name: &str) -> bool {
    let name = name.replace("BILATERAL", "");
    LATERAL.iter().any(|part| name.contains(part))
}

/// Rows that point to the left, columns that point to the feet, whatever else they point to.
fn is_upright(orientation: &str) -> bool {
    match orientation.split_once('\\') {
        Some((rows, columns)) => {
            (rows.is_empty() || rows.starts_with('L')) && (columns.is_empty() || columns.starts_with('F'))
        }
        None => true,
    }
}
