//! The older schemes and the comparison, from outside.
use crate::common::{Place, reference};
use sha2::{Digest, Sha256};
use std::fs;

fn sample(name: &str) -> String {
    reference(&format!("../samples/{name}"))
}

const NORMAL: &str = "NORMAL2-IM-1438-0001.jpeg";
const PNEUMONIA: &str = "person1951_bacteria_4882.jpeg";
const OTHER: &str = "NORMAL2-IM-1427-0001.jpeg";

fn number(value: &serde_json::Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is a number"))
}

/// It is a figure between the ends of its interval.
fn check_interval(figure: &serde_json::Value) {
    let value = number(&figure["value"]);
    let [low, high] = [0, 1].map(|k| number(&figure["interval"][k]));
    assert!(0.0 <= low && low <= value && value <= high && high <= 1.0 && low < high, "{figure}");
}

#[test]
fn morphing_changes_no_label_and_hides_nothing() {
    let place = Place::new();
    let ran = place.pleura(&["baseline", "morph", "run", "--json"]).json();
    assert_eq!((ran["labels_match_plaintext"].as_u64(), ran["images"].as_u64()), (Some(16), Some(16)));
    assert!(number(&ran["max_abs_error"]) < 0.1, "{ran}");
    let seconds = &ran["seconds"];
    assert!(number(&seconds["server"]) > number(&seconds["augmented_first_layer"]), "{ran}");
    assert!(number(&seconds["plain_server"]) > number(&seconds["plain_first_layer"]), "{ran}");
    // The share of VGG-16 is said of VGG-16 alone.
    assert!(ran["costs"].get("extra_compute_of_vgg16").is_none(), "{ran}");
    let attack = place.pleura(&["baseline", "morph", "attack", "--output", "pictures", "--json"]).json();
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
    place.pleura(&["baseline", "morph", "keygen", "--output", "key"]).ok();
    place
        .pleura(&["baseline", "morph", "apply", &images[0], &images[1], "--key", "key", "--output", "sent"])
        .ok();
    place.pleura(&["baseline", "morph", "augconv", "--key", "key", "--output", "layer"]).ok();
    let attack = [
        "baseline",
        "morph",
        "attack",
        "--morphed",
        "sent",
        "--augconv",
        "layer",
        "--output",
        "got",
        "--json",
    ];
    let found = place.pleura(&attack).json();
    assert_eq!(found["pictures"].as_array().unwrap().len(), 2);
    // The picture is the X-ray as the codec keeps it.
    place.pleura(&["compress", &images[0], "--output", "l.safetensors"]).ok();
    place.pleura(&["reconstruct", "l.safetensors", "--output", "kept"]).ok();
    let pixels = |path: &str| image::open(place.path(path)).unwrap().to_luma8().into_raw();
    let kept = pixels("kept/NORMAL2-IM-1438-0001.png");
    let got = pixels("got/recovered-000.png");
    let worst = kept.iter().zip(&got).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(worst <= Some(2), "{worst:?}");
    place.pleura(&attack).fails(&["exists", "--force"]);
    // Broken files and other layers are refused.
    place.write("broken", b"PLMPIMG2 and then nothing of use, whatever that may be");
    place.pleura(&["baseline", "morph", "attack", "--morphed", "broken", "--augconv", "layer"]).fails(&[
        "broken",
        "no file of morphed images",
        "damaged",
    ]);
    place
        .pleura(&["baseline", "morph", "augconv", "--key", "key", "--layer", "xray", "--output", "x"])
        .fails(&["another layer"]);
    place
        .pleura(&["baseline", "morph", "keygen", "--blocks", "7", "--output", "x"])
        .fails(&["7 equal blocks"]);
    place
        .pleura(&["baseline", "morph", "keygen", "--layer", "xray", "--blocks", "1", "--output", "x"])
        .fails(&["65536", "too large", "16384", "more blocks"]);
    // Images of one number of blocks, the layer of another.
    place.pleura(&["baseline", "morph", "keygen", "--blocks", "64", "--output", "key64"]).ok();
    place.pleura(&["baseline", "morph", "augconv", "--key", "key64", "--output", "layer64"]).ok();
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
    let worst: Vec<f64> = (0..3)
        .map(|_| {
            let attack = ["baseline", "morph", "attack", "--layer", "xray", "--known", "3", "--json"];
            let found = place.pleura(&attack).json();
            let images = found["images"].as_array().unwrap().clone();
            assert_eq!(images.len(), 13);
            images
                .iter()
                .map(|image: &serde_json::Value| image["psnr"].as_f64().unwrap_or(f64::INFINITY))
                .fold(f64::INFINITY, f64::min)
        })
        .collect();
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
    place.pleura(&["baseline", "paillier", "keygen", "--output", "k"]).ok();
    place.pleura(&["baseline", "paillier", "keygen", "--output", "other"]).ok();
    let mut pictures = Vec::new();
    for pack in [&["--pack"][..], &[]] {
        let encrypt = [
            "baseline", "paillier", "encrypt", &image, "--key", "k.public", "--side", "16", "--force",
            "--json",
        ];
        let made = place.pleura(&[&encrypt[..], &["--output", "sealed"], pack].concat()).json();
        let expected = if pack.is_empty() { 256 } else { 5 };
        assert_eq!(made["ciphertexts"].as_u64(), Some(expected));
        assert_eq!(made["bytes"].as_u64(), Some(expected * 512 + 24 + 32));
        let decrypt = [
            "baseline",
            "paillier",
            "decrypt",
            "sealed",
            "--side",
            "16",
            "--output",
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
    place.pleura(&["baseline", "paillier", "keygen", "--bits", "1024", "--output", "x"]).misused("1024");
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
    assert!(beyond[0].abs() < 0.2 && beyond[1] > 2.0 && beyond[2] > 2.0, "{found}");
    assert_eq!(found["arms"][2]["protection"], "not encryption: recoverable");
    for attack in ["codebook", "frequency", "affine"] {
        assert!(
            found["arms"].as_array().unwrap().iter().all(|arm: &serde_json::Value| {
                arm[format!("{attack}_exact")] == true || number(&arm[format!("{attack}_psnr")]) > 3.0
            }),
            "{attack}: {found}"
        );
    }
    // What lies in no folder of a label's name has none.
    assert!(found["arms"][0]["labels"]["accuracy"].is_null(), "{found}");
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
        "--output",
    ];
    let said = place.pleura(&[&store[..], &["stored"]].concat()).ok();
    assert!(said.out.contains("2 stored pictures") && said.out.contains("not encryption"), "{said:?}");
    assert_eq!(image::image_dimensions(place.path("stored/00001.png")).unwrap(), (256, 256));
}

#[test]
fn labels_are_learned_from_what_is_stored_and_from_what_is_recovered() {
    let place = Place::new();
    // Each sample three times: what was seen before is known again, if equal pixels are stored as equal levels.
    for entry in fs::read_dir(reference("../samples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let folder = if name.starts_with("NORMAL") { "normal" } else { "pneumonia" };
        fs::create_dir_all(place.path(folder)).unwrap();
        for copy in (0..3).filter(|_| name.ends_with("jpeg")) {
            fs::copy(sample(&name), place.path(&format!("{folder}/{copy}{name}"))).unwrap();
        }
    }
    let leak = ["baseline", "paillier", "leak", "normal", "pneumonia", "--side", "8", "--json"];
    let found = place.pleura(&leak).json();
    let arms = found["arms"].as_array().unwrap();
    let learned = arms.iter().flat_map(|arm| [&arm["labels"], &arm["recovered_labels"]]);
    for quality in learned.chain([&found["plaintext_labels"]]) {
        for figure in ["accuracy", "auc"] {
            check_interval(&quality[figure]);
        }
    }
    let right = |quality: &serde_json::Value| number(&quality["accuracy"]["value"]);
    assert!(right(&found["plaintext_labels"]) > 0.9, "{found}");
    let [fresh, _, fixed] = [0, 1, 2].map(|k: usize| right(&arms[k]["labels"]));
    assert!(fixed > 0.9 && fresh < 0.85, "{found}");
}

#[test]
fn leaks_are_shown_in_narrow_tables_and_pictures() {
    let place = Place::new();
    let a = sample(NORMAL);
    let b = sample(PNEUMONIA);
    let leak = ["baseline", "paillier", "leak", "--side", "8", "--output", "pictures", &a];
    let said = place.pleura(&[&leak[..], &[&b]].concat()).ok();
    assert!(said.out.lines().all(|line| line.chars().count() <= 100), "{said:?}");
    assert!(said.out.contains("affine") && said.out.contains("labels: unknown"), "{said:?}");
    let mut names: Vec<String> = fs::read_dir(place.path("pictures"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 13);
    assert_eq!(names[0], "fixed-affine.png");
    place.pleura(&leak).fails(&["two or more"]);
}

#[test]
fn what_exists_is_refused_before_any_work() {
    let place = Place::new();
    // Nothing that is read is there: who looked at it first would say so.
    let paillier = |arguments: &[&str]| place.pleura(&[&["baseline", "paillier"], arguments].concat());
    for name in ["old", "k.secret", "j.public", "stored/00001.png", "leak/image-affine.png"] {
        fs::create_dir_all(place.path(name).parent().unwrap()).unwrap();
        place.write(name, b"old");
    }
    paillier(&["encrypt", "none.png", "--key", "none", "--output", "old"]).fails(&["old exists", "--force"]);
    paillier(&["decrypt", "none", "--key", "none", "--output", "old"]).fails(&["old exists", "--force"]);
    paillier(&["keygen", "--output", "k"]).fails(&["k.secret exists", "--force"]);
    paillier(&["keygen", "--output", "j"]).fails(&["j.public exists", "--force"]);
    for figure in ["--html", "--output"] {
        place.pleura(&["compare", "none.png", figure, "old"]).fails(&["old exists", "--force"]);
    }
    let morph = |arguments: &[&str]| place.pleura(&[&["baseline", "morph"], arguments].concat());
    morph(&["keygen", "--layer", "none", "--output", "old"]).fails(&["old exists"]);
    morph(&["apply", "none.png", "--key", "none", "--output", "old"]).fails(&["old exists"]);
    morph(&["augconv", "--key", "none", "--output", "old"]).fails(&["old exists"]);
    // Names of stored pictures are known when X-rays are.
    let a = sample(NORMAL);
    let b = sample(PNEUMONIA);
    paillier(&["store", &a, &b, "--side", "8", "--output", "stored"]).fails(&["00001.png exists", "--force"]);
    paillier(&["leak", &a, &b, "--side", "8", "--output", "leak"]).fails(&["image-affine.png exists"]);
    paillier(&["leak", &a, &b, "--side", "8", "--output", "old"]).fails(&["old"]);
    let all = ["old", "k.secret", "j.public", "stored/00001.png", "leak/image-affine.png"];
    assert!(all.iter().all(|name| fs::read(place.path(name)).unwrap() == b"old"));
    let count = |name: &str| fs::read_dir(place.path(name)).unwrap().count();
    assert_eq!([count("."), count("stored"), count("leak")], [5, 1, 1]);
    // With --force they are replaced.
    paillier(&["store", &a, &b, "--side", "8", "--output", "stored", "--force"]).ok();
    assert_eq!(image::image_dimensions(place.path("stored/00001.png")).unwrap(), (256, 256));
}

#[test]
fn encrypted_pictures_tell_what_they_are() {
    let place = Place::new();
    let paillier = |arguments: &[&str]| place.pleura(&[&["baseline", "paillier"], arguments].concat());
    let image = sample(NORMAL);
    paillier(&["keygen", "--output", "k"]).ok();
    let encrypt = ["encrypt", &image, "--key", "k.public", "--side", "8", "--output"];
    paillier(&[&encrypt[..], &["packed", "--pack"]].concat()).ok();
    paillier(&[&encrypt[..], &["single"]].concat()).ok();
    let decrypt = |file: &str, more: &[&str]| {
        paillier(&[&["decrypt", file, "--key", "k.secret", "--output", "x.png"], more].concat())
    };
    decrypt("single", &["--side", "16"]).fails(&["another side than --side says"]);
    decrypt("single", &["--pack"]).fails(&["not packed"]);
    // A label is not signed: with another one the file is of no picture, or of one that is refused before it is decrypted.
    let relabelled = |name: &str, label: u16, count: Option<u32>| {
        let mut bytes = fs::read(place.path("packed")).unwrap();
        bytes.truncate(bytes.len() - 32);
        bytes[10..12].copy_from_slice(&label.to_le_bytes());
        if let Some(count) = count {
            bytes[12..16].copy_from_slice(&count.to_le_bytes());
            bytes.truncate(24);
        }
        bytes.extend(Sha256::digest(&bytes));
        place.write(name, &bytes);
        decrypt(name, &[])
    };
    relabelled("large", 0x8000 | 0x7fff, None).fails(&["such a side"]);
    relabelled("other", 0x8000 | 64, None).fails(&["does not fit its side"]);
    relabelled("unpacked", 8, None).fails(&["does not fit its side"]);
    relabelled("none", 0x8000 | 8, Some(0)).fails(&["does not fit its side"]);
    relabelled("inflated", 0x8000 | 8, Some(u32::MAX)).fails(&["their number"]);
    assert!(!place.path("x.png").exists());
    decrypt("packed", &[]).ok();
    let packed = fs::read(place.path("x.png")).unwrap();
    decrypt("single", &["--side", "8", "--force"]).ok();
    assert_eq!(packed, fs::read(place.path("x.png")).unwrap());
    paillier(&["encrypt", ".", "--key", "k.public", "--output", "y"]).fails(&["is a directory"]);
}

#[test]
fn broken_keys_and_ciphertexts_are_refused() {
    let place = Place::new();
    let paillier = |arguments: &[&str]| place.pleura(&[&["baseline", "paillier"], arguments].concat());
    let image = sample(NORMAL);
    paillier(&["keygen", "--output", "k"]).ok();
    paillier(&["encrypt", &image, "--key", "k.public", "--side", "8", "--pack", "--output", "sealed"]).ok();
    // Its owner's alone, as secret keys are.
    fs::copy(place.path("k.secret"), place.path("bad")).unwrap();
    for whole in ["k.public", "k.secret", "sealed"] {
        let bytes = fs::read(place.path(whole)).unwrap();
        let mut state = 1u32;
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let random: Vec<u8> = (0..bytes.len()).map(|_| byte()).collect();
        // The header is right, and nothing else.
        let noise = [&bytes[..16], &random[16..]].concat();
        let longer = [&bytes[..], b"x"].concat();
        let cut = [1, 15, 16, 23, bytes.len() / 2, bytes.len() - 1].map(|length| bytes[..length].to_vec());
        for bad in [vec![], random, noise, longer].into_iter().chain(cut) {
            place.write("bad", &bad);
            let said = match whole {
                "k.public" => paillier(&["encrypt", &image, "--key", "bad", "--side", "8", "--output", "x"]),
                "k.secret" => paillier(&["decrypt", "sealed", "--key", "bad", "--output", "x"]),
                _ => paillier(&["decrypt", "bad", "--key", "k.secret", "--output", "x"]),
            };
            said.fails(&[if bad.is_empty() { "bad is empty" } else { "Paillier: " }]);
            assert!(!place.path("x").exists(), "{whole}");
        }
    }
}

#[test]
fn small_morphed_files_that_claim_much_are_refused() {
    let place = Place::new();
    let morph = |arguments: &[&str]| place.pleura(&[&["baseline", "morph"], arguments].concat());
    let image = sample(NORMAL);
    morph(&["keygen", "--output", "key"]).ok();
    morph(&["apply", &image, "--key", "key", "--output", "sent"]).ok();
    morph(&["augconv", "--key", "key", "--output", "layer"]).ok();
    // Its owner's alone, as keys are.
    fs::copy(place.path("key"), place.path("bad")).unwrap();
    for whole in ["key", "sent", "layer"] {
        let bytes = fs::read(place.path(whole)).unwrap();
        // Seven sizes and the number of blocks, each as large as it can be written.
        let inflated = (0..8).map(|k| {
            let mut bytes = bytes[..(bytes.len() - 32).min(1 << 12)].to_vec();
            bytes[8 + 4 * k..12 + 4 * k].fill(0xff);
            bytes.extend(Sha256::digest(&bytes));
            bytes
        });
        let cut = [0, 7, 8, 39, 40, bytes.len() - 1].map(|length| bytes[..length].to_vec());
        let mut damaged = bytes.clone();
        damaged[60] ^= 1;
        let inflated = inflated.map(|bytes| (bytes, ""));
        let broken = cut.into_iter().map(|bytes| (bytes, "")).chain([(damaged, "damaged")]);
        for (bad, expected) in inflated.chain(broken) {
            place.write("bad", &bad);
            let said = match whole {
                "key" => morph(&["augconv", "--key", "bad", "--output", "x"]),
                "sent" => morph(&["attack", "--morphed", "bad", "--augconv", "layer", "--output", "x"]),
                _ => morph(&["attack", "--morphed", "sent", "--augconv", "bad", "--output", "x"]),
            };
            said.fails(&[expected]);
            assert!(!place.path("x").exists(), "{whole}");
        }
    }
}

#[test]
fn a_linear_layer_on_encrypted_latents_scores_as_on_plaintexts() {
    let place = Place::new();
    let found = place
        .pleura(&["baseline", "paillier", "linear", &sample(NORMAL), &sample(PNEUMONIA), "--json"])
        .json();
    assert_eq!(found["labels_match_plaintext"].as_u64(), Some(2));
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
    let compare = [
        "compare", &images[0], &images[1], "--side", "16", "--html", "c.html", "--json", "--output", "c.json",
    ];
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
    let methods = json["methods"].as_array().unwrap();
    let protection: Vec<&str> = methods.iter().map(|method| method["protection"].as_str().unwrap()).collect();
    let [clear, broken, sound] = ["none: plaintext", "not encryption: recoverable", "no attack known"];
    assert_eq!(protection, [clear, clear, broken, sound, broken, broken, sound, sound]);
    for method in [&methods[0], &methods[1], &methods[2], &methods[7]] {
        for figure in ["accuracy", "auc"] {
            check_interval(&method[figure]);
        }
    }
    // Two X-rays are too few to learn from.
    for method in &methods[3..6] {
        assert!(
            method["accuracy"].is_null() && !method["about"].as_str().unwrap().contains("ridge regression"),
            "{method}"
        );
        assert!(method["server_seconds"].is_null(), "{method}");
    }
    let recovered = [3, 4, 5].map(|k: usize| methods[k]["attack_result"].as_str().unwrap());
    assert!(recovered[0].starts_with("nothing"), "{recovered:?}");
    assert!(recovered[1..].iter().all(|text| text.contains(" by ")), "{recovered:?}");
    assert_eq!(methods[1]["accuracy"], methods[2]["accuracy"]);
    let html = fs::read_to_string(place.path("c.html")).unwrap();
    assert_eq!(html.matches("data:image/png;base64,").count(), 7);
    assert!(!html.contains("http:") && !html.contains("https:") && html.contains("no attack known"));
    assert!(html.contains("ridge regression on the stored pictures, where"));
    place.pleura(&compare).fails(&["exists"]);
    place.pleura(&["compare", "none.png", "--html", "both", "--output", "./both"]).fails(&["two files to"]);
    // One image has no other to read a codebook from, but one picture is enough for the other attacks.
    let said = place.pleura(&["compare", &images[0], "--side", "16"]).ok();
    assert!(said.out.contains(" bits, ") && !said.out.contains("by codebook"), "{said:?}");
}

#[test]
fn stored_pictures_that_share_randomness_are_opened_without_a_key() {
    let place = Place::new();
    let xrays = [sample(NORMAL), sample(PNEUMONIA)];
    // What is encrypted, by the one who has the key.
    place.pleura(&["baseline", "paillier", "keygen", "--output", "k"]).ok();
    let truth = [0, 1].map(|k| {
        let side = ["--pack", "--side", "32", "--force"];
        let encrypt =
            ["baseline", "paillier", "encrypt", &xrays[k], "--key", "k.public", "--output", "sealed"];
        place.pleura(&[&encrypt[..], &side].concat()).ok();
        let decrypt =
            ["baseline", "paillier", "decrypt", "sealed", "--key", "k.secret", "--output", "truth.png"];
        place.pleura(&[&decrypt[..], &["--force"]].concat()).ok();
        image::open(place.path("truth.png")).unwrap().to_luma8().into_raw()
    });
    let attack = ["baseline", "paillier", "attack", "stored", "--side", "32", "--output", "recovered"];
    // One key in four makes greys fall together.
    let opened = (0..6).any(|_| {
        let store = ["baseline", "paillier", "store", &xrays[0], &xrays[1], "--side", "32", "--force"];
        place.pleura(&[&store[..], &["--randomness", "fixed", "--output", "stored"]].concat()).ok();
        let arguments = ["--reference", &sample(OTHER), "--force", "--json"];
        let said = place.pleura(&[&attack[..], &arguments].concat()).json();
        assert_eq!((said["images"].as_u64(), said["sets"].as_u64()), (Some(2), Some(1)));
        truth.iter().enumerate().all(|(k, truth)| {
            let found = image::open(place.path(&format!("recovered/0000{k}.png"))).unwrap().to_luma8();
            likeness(&found.into_raw(), truth) > 0.9 && said["verdict"] == "not encryption: recoverable"
        })
    });
    assert!(opened);
    place.pleura(&attack).fails(&["exists", "--force"]);
    place.pleura(&["baseline", "paillier", "attack", "--output", "x"]).misused("PICTURE");
    let same = ["baseline", "paillier", "attack", "stored", "--side", "32", "--output", "stored", "--force"];
    place.pleura(&same).fails(&["00000.png is an input"]);
    // What was stored at another side, what was not stored, what is noise.
    let at = ["baseline", "paillier", "attack", "stored", "--side", "48", "--output", "x"];
    place.pleura(&at).fails(&["00000.png was not stored at side 48", "--side"]);
    let xray = ["baseline", "paillier", "attack", &xrays[0], "--side", "48", "--output", "x"];
    place.pleura(&xray).fails(&["was not stored"]);
    place.pleura(&["baseline", "paillier", "store", &xrays[0], "--side", "16", "--output", "fresh"]).ok();
    let noise = ["baseline", "paillier", "attack", "fresh", "--side", "16", "--output", "noise"];
    let said = place.pleura(&noise).ok();
    assert!(said.out.contains("noise:") && !said.out.contains("not encryption"), "{said:?}");
}

/// Pearson's correlation.
fn likeness(a: &[u8], b: &[u8]) -> f64 {
    let mean = |x: &[u8]| x.iter().map(|&x| f64::from(x)).sum::<f64>() / x.len() as f64;
    let ma = mean(a);
    let mb = mean(b);
    let sum = |f: &dyn Fn(f64, f64) -> f64| {
        a.iter().zip(b).map(|(&x, &y)| f(f64::from(x) - ma, f64::from(y) - mb)).sum::<f64>()
    };
    sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
}
