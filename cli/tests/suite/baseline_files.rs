//! The older schemes and the files that they read and write, from outside.
use crate::common::{Place, Said, reference};
use std::fs;

fn sample(name: &str) -> String {
    reference(&format!("../samples/{name}"))
}

const NORMAL: &str = "NORMAL2-IM-1438-0001.jpeg";
const PNEUMONIA: &str = "person1951_bacteria_4882.jpeg";

fn morph(place: &Place, arguments: &[&str]) -> Said {
    place.pleura(&[&["baseline", "morph"], arguments].concat())
}

fn paillier(place: &Place, arguments: &[&str]) -> Said {
    place.pleura(&[&["baseline", "paillier"], arguments].concat())
}

/// Names of what lies in a folder, in order.
fn names(place: &Place, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(place.path(folder)).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
#[cfg(unix)]
fn keys_that_others_can_read_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let image = sample(NORMAL);
    morph(&place, &["keygen", "--output", "key"]).ok();
    paillier(&place, &["keygen", "--output", "k"]).ok();
    paillier(&place, &["encrypt", &image, "--key", "k.public", "--side", "8", "--pack", "--output", "c"])
        .ok();
    for (mode, private) in [(0o640, false), (0o600, true)] {
        for key in ["key", "k.secret"] {
            fs::set_permissions(place.path(key), fs::Permissions::from_mode(mode)).unwrap();
        }
        let morphed = morph(&place, &["apply", &image, "--key", "key", "--output", "m"]);
        let picture = paillier(&place, &["decrypt", "c", "--key", "k.secret", "--output", "c.png"]);
        for said in [morphed, picture] {
            if private {
                said.ok();
            } else {
                said.fails(&["users other than the owner can read", "chmod 600"]);
            }
        }
    }
}

#[test]
fn no_result_replaces_what_it_is_made_from() {
    let place = Place::new();
    let image = sample(NORMAL);
    fs::create_dir(place.path("ward")).unwrap();
    fs::copy(&image, place.path("ward/recovered-000.png")).unwrap();
    morph(&place, &["keygen", "--output", "key"]).ok();
    paillier(&place, &["keygen", "--output", "k"]).ok();
    let small = ["--key", "k.public", "--side", "8", "--pack", "--output", "sealed"];
    paillier(&place, &[&["encrypt", &image], &small[..]].concat()).ok();
    place.write("copy.onnx", &fs::read(reference("../pneumonia/hefnet.onnx")).unwrap());
    let files = ["key", "k.public", "k.secret", "sealed", "copy.onnx", "ward/recovered-000.png"];
    let before = files.map(|name| fs::read(place.path(name)).unwrap());
    let absolute = |name: &str| place.path(name).to_str().unwrap().to_owned();
    let scan = "ward/recovered-000.png";
    // Whatever the spelling, and with --force or without.
    for force in [&["--force"][..], &[]] {
        let refused = |scheme: fn(&Place, &[&str]) -> Said, arguments: &[&str]| {
            scheme(&place, &[arguments, force].concat()).fails(&["is an input", "another place"]);
        };
        for out in ["key", "./key", "ward/../key", &absolute("key")] {
            refused(morph, &["apply", &image, "--key", "key", "--output", out]);
            refused(morph, &["augconv", "--key", "key", "--output", out]);
        }
        refused(morph, &["apply", "ward", "--key", "key", "--output", scan]);
        refused(morph, &["keygen", "--layer", "copy.onnx", "--output", "copy.onnx"]);
        refused(morph, &["attack", "ward", "--output", "ward"]);
        refused(paillier, &["encrypt", &image, "--key", "k.public", "--output", "./k.public"]);
        refused(paillier, &["encrypt", scan, "--key", "k.public", "--output", &absolute(scan)]);
        refused(paillier, &["decrypt", "sealed", "--key", "k.secret", "--output", "k.secret"]);
        refused(paillier, &["decrypt", "sealed", "--key", "k.secret", "--output", "ward/../sealed"]);
        #[cfg(unix)]
        {
            let _ = std::os::unix::fs::symlink(place.path("k.secret"), place.path("link"));
            refused(paillier, &["decrypt", "sealed", "--key", "link", "--output", "k.secret"]);
        }
    }
    assert_eq!(before, files.map(|name| fs::read(place.path(name)).unwrap()));
    assert_eq!(names(&place, "ward"), ["recovered-000.png"]);
    // A folder that an input lies in is none.
    morph(&place, &["apply", scan, "--key", "key", "--output", "ward/sent"]).ok();
    assert_eq!(names(&place, "ward"), ["recovered-000.png", "sent"]);
}

#[test]
fn wrong_files_are_called_what_they_are() {
    let place = Place::new();
    let image = sample(NORMAL);
    morph(&place, &["keygen", "--output", "key"]).ok();
    morph(&place, &["apply", &image, "--key", "key", "--output", "sent"]).ok();
    morph(&place, &["augconv", "--key", "key", "--output", "layer"]).ok();
    paillier(&place, &["keygen", "--output", "k"]).ok();
    let seal = ["--key", "k.public", "--side", "8", "--pack", "--output", "sealed"];
    paillier(&place, &[&["encrypt", &image], &seal[..]].concat()).ok();
    let encrypt =
        |key: &str| paillier(&place, &["encrypt", &image, "--key", key, "--side", "8", "--output", "x"]);
    let decrypt =
        |file: &str, key: &str| paillier(&place, &["decrypt", file, "--key", key, "--output", "x.png"]);
    let public = "a public Paillier key";
    let secret = "a secret Paillier key";
    encrypt("k.secret").fails(&["k.secret is", secret, &format!("not {public}")]);
    encrypt("key").fails(&["key is a key of morphed images", &format!("not {public}")]);
    encrypt(&image).fails(&[NORMAL, &format!("not {public}"), "larger"]);
    decrypt("sealed", "k.public").fails(&["k.public is", public, &format!("not {secret}")]);
    decrypt("k.secret", "k.secret").fails(&["k.secret is", secret, "not a file of Paillier ciphertexts"]);
    let augconv = |key: &str, more: &[&str]| {
        morph(&place, &[&["augconv", "--key", key, "--output", "x"], more].concat())
    };
    augconv(&image, &[]).fails(&[NORMAL, "not a key of morphed images", "larger"]);
    augconv("sent", &[]).fails(&["sent is a file of morphed images", "not a key of morphed images"]);
    augconv("key", &["--layer", "xray"]).fails(&["key: ", "another layer than that of xray", "--layer"]);
    let attack = |sent: &str, layer: &str, more: &[&str]| {
        morph(&place, &[&["attack", "--morphed", sent, "--augconv", layer], more].concat())
    };
    attack("layer", "sent", &[]).fails(&["layer is an augmented convolution", "not a file of morphed"]);
    attack("sent", "key", &[]).fails(&["key is a key of morphed images", "not an augmented convolution"]);
    attack("sent", "layer", &["--layer", "xray"]).fails(&["sent: ", "images were morphed for another layer"]);
    place.write("noise", b"PLMPIMG2 and then nothing of use, whatever that may be");
    attack("noise", "layer", &[]).fails(&["noise"]);
    // A picture of another side.
    paillier(&place, &["decrypt", "sealed", "--key", "k.secret", "--side", "16", "--output", "x.png"])
        .fails(&["sealed", "8 pixels, not 16"]);
    let opened =
        paillier(&place, &["decrypt", "sealed", "--key", "k.secret", "--output", "x.png", "--json"]).json();
    assert_eq!((opened["side"].as_u64(), opened["packed"].as_bool()), (Some(8), Some(true)));
    // Numbers of pictures, and nothing about what is not known of them.
    let said = attack("sent", "layer", &["--output", "got"]).ok();
    assert!(said.out.starts_with("1 picture in got\n") && !said.out.contains("unknown"), "{said:?}");
    assert!(said.out.contains("not encryption: recoverable"), "{said:?}");
    let said = attack("sent", "layer", &[]).ok();
    assert!(said.out.starts_with("1 picture; --output"), "{said:?}");
}

#[test]
fn errors_say_what_to_do_next() {
    let place = Place::new();
    let image = sample(NORMAL);
    place.write("file.png", b"old");
    morph(&place, &["keygen", "--output", "no/such/key"]).fails(&[
        "cannot write no/such/key",
        "no folder no/such",
        "make it",
    ]);
    morph(&place, &["keygen", "--output", "file.png/key"]).fails(&["file.png is a file, not a folder"]);
    morph(&place, &["keygen", "--output", "new/"]).fails(&["new/ is the name of a folder"]);
    for out in ["file.png", "file.png/deeper", "./file.png/deeper/still"] {
        let store = paillier(&place, &["store", &image, "--side", "8", "--output", out]);
        assert!(!store.err.contains(".pleura"), "{store:?}");
        store.fails(&["file.png is a file, not a folder"]);
    }
    fs::create_dir(place.path("pictures")).unwrap();
    for out in ["pictures", "pictures/", "new/", "."] {
        paillier(&place, &["keygen", "--output", out]).fails(&[out, "name of a folder", "file"]);
    }
    assert_eq!(names(&place, "."), ["file.png", "pictures"]);
    assert!(names(&place, "pictures").is_empty());
    for (blocks, near) in [("7", "4 and 8 divide"), ("0", "1 divides"), ("99999", "4096 divides")] {
        let said = morph(&place, &["keygen", "--blocks", blocks, "--output", "x"]);
        assert!(!said.err.contains("metamorphosed"), "{said:?}");
        said.fails(&[&format!("{blocks} equal blocks"), near]);
    }
    morph(&place, &["attack", &image, "--known", "1"]).fails(&["1 known image of 1 leaves none"]);
    let linear = paillier(&place, &["linear", "--model", "pneumonia"]);
    linear.fails(&["not a linear layer and nothing else", "pneumonia-linear"]);
}

#[test]
fn samples_are_known_by_their_names() {
    let place = Place::new();
    let said = paillier(&place, &["linear", &sample(NORMAL), &sample(PNEUMONIA), "--json"]).json();
    assert_eq!(said["of"].as_u64(), Some(2), "{said}");
    // A name that is no sample's tells nothing, and neither does a folder.
    fs::copy(sample(PNEUMONIA), place.path("another.jpeg")).unwrap();
    let said = paillier(&place, &["linear", "another.jpeg"]).ok();
    assert!(
        said.out.contains("\n1 X-ray, 1 as the plaintext network") && !said.out.contains("doctors"),
        "{said:?}"
    );
    assert!(said.out.contains("in 1 group;"), "{said:?}");
}

#[test]
fn recovered_pictures_are_numbered_by_image() {
    let place = Place::new();
    let images = [NORMAL, PNEUMONIA, "NORMAL2-IM-1427-0001.jpeg"].map(sample);
    let attack = ["attack", "--layer", "xray", "--known", "2", "--output", "got", "--json"];
    let all: Vec<&str> = attack.into_iter().chain(images.iter().map(String::as_str)).collect();
    // Of two, the third.
    let found = morph(&place, &all).json();
    assert_eq!(found["images"].as_array().unwrap().len(), 1);
    assert_eq!(found["images"][0]["image"].as_str(), Some(images[2].as_str()));
    assert_eq!(names(&place, "got"), ["original-002.png", "recovered-002.png"]);
    morph(&place, &all).fails(&["recovered-002.png exists", "--force"]);
}
