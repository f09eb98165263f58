//! The older schemes and the comparison, from outside.
#![expect(clippy::panic, reason = "the functions beside the tests are tests too")]

mod common;

use common::{Place, reference};
use std::fs;

fn sample(name: &str) -> String {
    reference(&format!("../samples/{name}"))
}

const NORMAL: &str = "NORMAL2-IM-1438-0001.jpeg";
const PNEUMONIA: &str = "person1951_bacteria_4882.jpeg";

fn number(value: &serde_json::Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is a number"))
}

#[test]
fn morphing_changes_no_label_and_hides_nothing() {
    let place = Place::new();
    let ran = place.pleura(&["baseline", "morph", "run", "--json"]).json();
    assert_eq!((ran["labels_equal"].as_u64(), ran["images"].as_u64()), (Some(16), Some(16)));
    assert!(number(&ran["max_abs_error"]) < 0.1, "{ran}");
    let seconds = &ran["seconds"];
    assert!(number(&seconds["server"]) > number(&seconds["augmented_first_layer"]), "{ran}");
    assert!(number(&seconds["plain_server"]) > number(&seconds["plain_first_layer"]), "{ran}");
    // The share of VGG-16 is said of VGG-16 alone.
    assert!(ran["costs"].get("extra_compute_of_vgg16").is_none(), "{ran}");
    let attack = place.pleura(&["baseline", "morph", "attack", "--out", "pictures", "--json"]).json();
    let images = attack["images"].as_array().unwrap();
    assert_eq!(images.len(), 16);
    assert!(images.iter().all(|image| image["exact"] == true || number(&image["psnr"]) > 40.0), "{attack}");
    assert_eq!(fs::read_dir(place.path("pictures")).unwrap().count(), 32);
    let said = place.pleura(&["baseline", "morph", "run", &sample(NORMAL)]).ok();
    assert!(said.out.contains("not encryption: recoverable"), "{said:?}");
}

#[test]
fn the_developer_needs_only_what_is_sent() {
    let place = Place::new();
    let images = [sample(NORMAL), sample(PNEUMONIA)];
    place.pleura(&["baseline", "morph", "keygen", "--out", "key"]).ok();
    place
        .pleura(&["baseline", "morph", "apply", &images[0], &images[1], "--key", "key", "--out", "sent"])
        .ok();
    place.pleura(&["baseline", "morph", "augconv", "--key", "key", "--out", "layer"]).ok();
    let attack =
        ["baseline", "morph", "attack", "--morphed", "sent", "--augconv", "layer", "--out", "got", "--json"];
    let found = place.pleura(&attack).json();
    assert_eq!(found["pictures"].as_array().unwrap().len(), 2);
    // The picture is the X-ray as the codec keeps it.
    place.pleura(&["compress", &images[0], "--out", "l.safetensors"]).ok();
    place.pleura(&["reconstruct", "l.safetensors", "--out", "kept"]).ok();
    let pixels = |path: &str| image::open(place.path(path)).unwrap().to_luma8().into_raw();
    let (kept, got) = (pixels("kept/NORMAL2-IM-1438-0001.png"), pixels("got/recovered-000.png"));
    let worst = kept.iter().zip(&got).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(worst <= Some(2), "{worst:?}");
    place.pleura(&attack).fails(&["exists", "--force"]);
    // Broken files and other layers are refused.
    place.write("broken", b"PLMPIMG1 and then nothing of use, whatever that may be");
    place
        .pleura(&["baseline", "morph", "attack", "--morphed", "broken", "--augconv", "layer"])
        .fails(&["metamorphosed"]);
    place
        .pleura(&["baseline", "morph", "augconv", "--key", "key", "--layer", "xray", "--out", "x"])
        .fails(&["another layer"]);
    place.pleura(&["baseline", "morph", "keygen", "--blocks", "7", "--out", "x"]).fails(&["7 equal blocks"]);
    place
        .pleura(&["baseline", "morph", "keygen", "--layer", "xray", "--blocks", "1", "--out", "x"])
        .fails(&["65536", "too large", "16384", "more blocks"]);
    // Images of one number of blocks, the layer of another.
    place.pleura(&["baseline", "morph", "keygen", "--blocks", "64", "--out", "key64"]).ok();
    place.pleura(&["baseline", "morph", "augconv", "--key", "key64", "--out", "layer64"]).ok();
    let mixed = ["baseline", "morph", "attack", "--morphed", "sent", "--augconv", "layer64"];
    place.pleura(&mixed).fails(&["not morphed for this augmented convolution"]);
    place.pleura(&[&attack[..], &["--blocks", "4"]].concat()).misused("--blocks");
    place
        .pleura(&["baseline", "morph", "run", "--layer", "pneumonia-linear"])
        .fails(&["does not begin with a convolution"]);
}

#[test]
fn known_xrays_open_others() {
    let place = Place::new();
    // How well depends on how well the key's core can be inverted in single precision: the best of three keys.
    let attempt = |_| {
        let attack = ["baseline", "morph", "attack", "--layer", "xray", "--known", "3", "--json"];
        let found = place.pleura(&attack).json();
        let images = found["images"].as_array().unwrap().clone();
        assert_eq!(images.len(), 13);
        let quality = |image: &serde_json::Value| image["psnr"].as_f64().unwrap_or(f64::INFINITY);
        images.iter().map(quality).fold(f64::INFINITY, f64::min)
    };
    let worst: Vec<f64> = (0..3).map(attempt).collect();
    assert!(worst.iter().any(|&psnr| psnr > 30.0), "{worst:?}");
    place.pleura(&["baseline", "morph", "attack", "--layer", "xray", "--known", "0"]).fails(&["0 pairs"]);
    place
        .pleura(&["baseline", "morph", "attack", "--layer", "xray", "--known", "16"])
        .fails(&["16 known images of 16"]);
}

#[test]
fn paillier_keys_open_what_they_sealed() {
    let place = Place::new();
    let image = sample(NORMAL);
    place.pleura(&["baseline", "paillier", "keygen", "--out", "k"]).ok();
    place.pleura(&["baseline", "paillier", "keygen", "--out", "other"]).ok();
    let mut pictures = Vec::new();
    for pack in [&["--pack"][..], &[]] {
        let encrypt = [
            "baseline", "paillier", "encrypt", &image, "--key", "k.public", "--side", "16", "--force",
            "--json",
        ];
        let made = place.pleura(&[&encrypt[..], &["--out", "sealed"], pack].concat()).json();
        let expected = if pack.is_empty() { 256 } else { 5 };
        assert_eq!(made["ciphertexts"].as_u64(), Some(expected));
        assert_eq!(made["bytes"].as_u64(), Some(expected * 512 + 24));
        let decrypt = [
            "baseline",
            "paillier",
            "decrypt",
            "sealed",
            "--side",
            "16",
            "--out",
            "opened.png",
            "--force",
            "--key",
        ];
        place.pleura(&[&decrypt[..], &["k.secret"], pack].concat()).ok();
        pictures.push(fs::read(place.path("opened.png")).unwrap());
        place.pleura(&[&decrypt[..], &["other.secret"], pack].concat()).fails(&["another key"]);
    }
    assert_eq!(pictures[0], pictures[1]);
    let (width, _) = image::image_dimensions(place.path("opened.png")).unwrap();
    assert_eq!(width, 256);
    place.pleura(&["baseline", "paillier", "keygen", "--bits", "1024", "--out", "x"]).misused("1024");
}

#[test]
fn stored_pictures_leak_where_randomness_is_shared() {
    let place = Place::new();
    let images: Vec<String> = fs::read_dir(reference("../samples"))
        .unwrap()
        .map(|entry| entry.unwrap().path().to_str().unwrap().to_owned())
        .filter(|name| name.ends_with("jpeg"))
        .take(4)
        .collect();
    let mut arguments = vec!["baseline", "paillier", "leak", "--side", "24", "--json"];
    arguments.extend(images.iter().map(String::as_str));
    let found = place.pleura(&arguments).json();
    let beyond: Vec<f64> = (0..3).map(|k| number(&found["arms"][k]["bits"]["beyond_chance"])).collect();
    assert!(beyond[0].abs() < 0.2 && beyond[1] > 1.0 && beyond[2] > 2.0, "{found}");
    assert_eq!(found["arms"][2]["protection"], "not encryption: recoverable");
    let store = [
        "baseline",
        "paillier",
        "store",
        &images[0],
        &images[1],
        "--side",
        "16",
        "--randomness",
        "fixed",
        "--out",
    ];
    let said = place.pleura(&[&store[..], &["stored"]].concat()).ok();
    assert!(said.out.contains("2 stored pictures") && said.out.contains("not encryption"), "{said:?}");
    assert_eq!(image::image_dimensions(place.path("stored/00001.png")).unwrap(), (256, 256));
}

#[test]
fn a_linear_layer_on_encrypted_latents_scores_as_in_the_clear() {
    let place = Place::new();
    let found = place
        .pleura(&["baseline", "paillier", "linear", &sample(NORMAL), &sample(PNEUMONIA), "--json"])
        .json();
    assert_eq!(found["clear_labels_equal"].as_u64(), Some(2));
    assert!(number(&found["max_abs_error"]) < 0.01, "{found}");
    assert_eq!(found["sent_bytes"].as_u64(), Some(4096 * 512));
    place.pleura(&["baseline", "paillier", "linear", "--model", "pneumonia"]).fails(&["not a linear layer"]);
}

#[test]
fn the_comparison_is_a_table_a_page_and_json() {
    let place = Place::new();
    // What is known of X-rays that are not shipped is the folder they lie in.
    let images = [("normal", NORMAL), ("pneumonia", PNEUMONIA)].map(|(folder, name)| {
        let folder = place.path(folder);
        fs::create_dir(&folder).unwrap();
        fs::copy(sample(name), folder.join(name)).unwrap();
        folder.display().to_string()
    });
    let compare = ["compare", &images[0], &images[1], "--side", "16", "--html", "c.html", "--json", "c.json"];
    let said = place.pleura(&compare).ok();
    for part in [
        "plain",
        "MpLe",
        "Paillier, linear",
        "latent CKKS",
        "not encryption: recoverable",
        "Not a medical device",
    ] {
        assert!(said.out.contains(part), "{part}: {said:?}");
    }
    let json: serde_json::Value = serde_json::from_slice(&fs::read(place.path("c.json")).unwrap()).unwrap();
    let ways = json["ways"].as_array().unwrap();
    let protection: Vec<&str> = ways.iter().map(|way| way["protection"].as_str().unwrap()).collect();
    let [clear, broken, sound] = ["none: in the clear", "not encryption: recoverable", "no attack known"];
    assert_eq!(protection, [clear, clear, broken, sound, broken, sound, sound]);
    for way in [&ways[0], &ways[1], &ways[2], &ways[6]] {
        for figure in ["accuracy", "auc"] {
            let (value, ends) = (number(&way[figure]["value"]), &way[figure]["interval"]);
            let [low, high] = [0, 1].map(|k| number(&ends[k]));
            assert!(0.0 <= low && low <= value && value <= high && high <= 1.0 && low < high, "{way}");
        }
    }
    assert_eq!(ways[1]["accuracy"], ways[2]["accuracy"]);
    let html = fs::read_to_string(place.path("c.html")).unwrap();
    assert_eq!(html.matches("data:image/png;base64,").count(), 6);
    assert!(!html.contains("http") && html.contains("no attack known"));
    place.pleura(&compare).fails(&["exists"]);
    // One image has no other to learn from.
    let said = place.pleura(&["compare", &images[0], "--side", "16"]).ok();
    assert!(said.out.contains("unknown: needs two images"), "{said:?}");
}
