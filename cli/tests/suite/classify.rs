//! X-rays from outside: `classify`, `compress`, `reconstruct` and `models`.
use crate::common::{Place, Said, reference};
use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};

fn sample(name: &str) -> String {
    reference(&format!("../samples/{name}"))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const NORMAL: &str = "NORMAL2-IM-1438-0001.jpeg";
const PNEUMONIA: &str = "person1951_bacteria_4882.jpeg";

/// A small grey picture that is no chest.
fn noise(place: &Place, name: &str, colours: u8) -> String {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let kind = if colours == 3 { image::ExtendedColorType::Rgb8 } else { image::ExtendedColorType::L8 };
    let pixels: Vec<u8> = (0..300 * 280 * u32::from(colours)).map(|_| next()).collect();
    let path = place.path(name);
    image::save_buffer(&path, &pixels, 300, 280, kind).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn without_a_command_the_samples_are_classified() {
    let place = Place::new();
    let said = place.pleura(&[]).ok();
    assert!(said.out.contains("16 X-rays, ") && said.out.contains("16 as the plaintext network"), "{said:?}");
    let rows = lines(&place.pleura(&["classify", "--json", "--device", "cpu"]).ok().out);
    let (summary, rows) = rows.split_last().unwrap();
    let summary = &summary["summary"];
    assert_eq!((rows.len(), summary["images"].as_u64(), summary["failed"].as_u64()), (16, Some(16), Some(0)));
    assert!(summary["correct"].as_u64().unwrap() >= 14, "{summary}");
    assert!(summary["max_abs_error"].as_f64().unwrap() < 1.0 / 256.0, "{summary}");
    for row in rows {
        let sum: f64 = row["probabilities"].as_object().unwrap().values().map(|p| p.as_f64().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{row}");
        assert_eq!(row["label"], row["plaintext"]["label"]);
        assert!(
            row["plaintext"]["bits"].as_f64().unwrap() > 8.0
                && row["seconds"]["infer"].as_f64().unwrap() > 0.0
        );
        assert!(row["device_name"].as_str().unwrap().starts_with("cpu"), "{row}");
        assert!(row.get("warnings").is_none(), "{row}");
    }
}

#[test]
fn a_group_is_repeated() {
    let place = Place::new();
    let repeat = ["classify", &sample(NORMAL), &sample(PNEUMONIA), "--device", "cpu", "--repeat", "3"];
    let rows = lines(&place.pleura(&[&repeat[..], &["--json"]].concat()).ok().out);
    assert_eq!(rows.len(), 3);
    let latency = &rows[2]["summary"]["latency"];
    assert_eq!((latency["repeats"].as_u64(), latency["seconds"].as_array().unwrap().len()), (Some(3), 3));
    assert!(place.pleura(&repeat).ok().out.contains("\n3 inferences of a group: median "));
    place.pleura(&["classify", "--plaintext", "--repeat", "3"]).misused("--plaintext");
    place.pleura(&["classify", "--repeat", "0"]).misused("--repeat");
}

#[test]
fn the_plaintext_network_runs_alone() {
    let place = Place::new();
    let rows = lines(&place.pleura(&["classify", &sample(PNEUMONIA), "--plaintext", "--json"]).ok().out);
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["label"], "pneumonia");
    assert!(rows[0]["plaintext"]["max_abs_error"].is_null());
    place.pleura(&["classify", "--plaintext", "--device", "cpu"]).misused("--plaintext");
    place.pleura(&["classify", "--plaintext", "--gpu-memory", "1GB"]).misused("--plaintext");
}

#[test]
fn every_shipped_network_runs_on_plaintexts() {
    let place = Place::new();
    let listed = place.pleura(&["models", "--json"]).json();
    let names: Vec<_> =
        listed["networks"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 8);
    for name in names {
        let rows = lines(&place.pleura(&["classify", "--plaintext", "--json", "--model", name]).ok().out);
        assert_eq!(rows.len(), 17, "{name}");
        let card = place.pleura(&["models", name]).ok().out;
        assert!(card.contains("Not a medical device") && card.contains("| AUC"), "{name}: {card}");
    }
    assert!(place.pleura(&["models"]).ok().out.contains("f8     4x32x32"));
    assert!(place.pleura(&["models", "f16"]).ok().out.contains("PSNR"));
    place.pleura(&["models", "f32"]).fails(&["f32", "pneumonia"]);
}

#[test]
fn several_small_images_share_ciphertexts() {
    let place = Place::new();
    let said = place.pleura(&["classify", "--model", "pneumoniamnist", "--json", "--threads", "1"]).ok();
    assert!(said.err.contains("8 X-rays"), "{said:?}");
    let rows = lines(&said.out);
    assert_eq!(rows[16]["summary"]["labels_match_plaintext"], 16);
    // Two that do not fill a ciphertext, in their order.
    let two = place.pleura(&[
        "classify",
        "--model",
        "pneumoniamnist",
        "--json",
        &sample(NORMAL),
        &sample(PNEUMONIA),
    ]);
    let two = lines(&two.ok().out);
    let scores = |row: &Value| -> Vec<f64> {
        row["scores"].as_object().unwrap().values().map(|score| score.as_f64().unwrap()).collect()
    };
    let these = scores(&two[1]);
    let those = scores(&rows[13]);
    assert_eq!(these.len(), those.len());
    // The last of twelve bits is rounded by chance, anew for each encryption.
    assert!(these.iter().zip(&those).all(|(a, b)| (a - b).abs() < 0.02), "{these:?}, {those:?}");
}

#[test]
fn broken_files_of_a_folder_are_named_and_no_failure() {
    let place = Place::new();
    let folder = place.path("ward");
    fs::create_dir(&folder).unwrap();
    for (i, name) in [NORMAL, PNEUMONIA].iter().enumerate() {
        fs::copy(sample(name), folder.join(format!("{i}.jpeg"))).unwrap();
    }
    let jpeg = fs::read(sample(NORMAL)).unwrap();
    fs::write(folder.join("cut.jpeg"), &jpeg[..2000]).unwrap();
    fs::write(folder.join("empty.png"), b"").unwrap();
    fs::write(folder.join("notes.txt"), b"not for reading").unwrap();
    let folder = folder.to_str().unwrap();

    let said = place.pleura(&["classify", folder, "--output", "ward.csv"]).ok();
    assert!(
        said.err.contains("warning: 1 file could not be read: ")
            && said.err.contains("cut.jpeg: the image file is cut off"),
        "{said:?}"
    );
    assert!(
        said.out.contains("2 X-rays, 2 as the plaintext network")
            && said.out.contains("1 could not be read, 2 files skipped")
            && said.err.contains("empty.png (empty)"),
        "{said:?}"
    );
    let csv = fs::read_to_string(place.path("ward.csv")).unwrap();
    assert_eq!(csv.lines().count(), 4, "{csv}");
    assert!(csv.starts_with("image,sha256,model,label,p(normal),p(pneumonia),plaintext_label,"), "{csv}");
    let failed = csv.lines().last().unwrap();
    assert!(failed.contains("cut.jpeg,") && failed.contains(",,,,,,,,,,,,,,,"), "{csv}");
    assert!(failed.contains("the image file is cut off"), "{csv}");
    assert!(!place.path("ward.csv.part").exists());
    place.pleura(&["classify", folder, "--output", "ward.csv"]).fails(&["ward.csv exists", "--force"]);

    place.pleura(&["classify", folder, "--output", "ward.csv", "--force", "--plaintext"]).ok();

    // An interruption leaves whole rows, and half of one; the first is not done again.
    let mut rows: Vec<_> = csv.lines().map(str::to_owned).collect();
    let device = rows[1].find("\"cpu").or_else(|| rows[1].rfind(',').map(|at| at + 1)).unwrap();
    rows[1].replace_range(device.., "elsewhere,,,,");
    fs::write(place.path("other.csv.part"), format!("{}\n{}\n{}", rows[0], rows[1], &rows[2][..9])).unwrap();
    let said = place.pleura(&["classify", folder, "--output", "other.csv"]).ok();
    assert!(said.err.contains("resuming from other.csv.part, which has 1 row of an earlier run"), "{said:?}");
    let resumed = fs::read_to_string(place.path("other.csv")).unwrap();
    assert!(resumed.lines().count() == 4 && resumed.contains(",elsewhere,,,,\n"), "{resumed}");
    fs::write(place.path("x.csv.part"), &csv).unwrap();
    place
        .pleura(&["classify", folder, "--output", "x.csv", "--plaintext"])
        .fails(&["x.csv.part", "of another network"]);
    place
        .pleura(&["classify", folder, "--output", "x.csv", "--model", "covid"])
        .fails(&["x.csv.part", "of another network"]);

    // By name, they are failures; so is a folder of nothing else.
    place.pleura(&["classify", "ward/cut.jpeg", "--plaintext"]).fails_late(&["cut.jpeg", "cut off"]);
    place.pleura(&["classify", "ward/0.jpeg", "ward/empty.png", "--plaintext"]).fails_late(&["1 of 2"]);
    fs::create_dir(place.path("none")).unwrap();
    place.pleura(&["classify", "none"]).fails(&["none has no PNG, JPEG, TIFF, BMP, WebP or DICOM file"]);
    place.pleura(&["classify", "nowhere.png"]).fails(&["cannot read nowhere.png"]);
}

#[test]
fn what_is_no_chest_gets_a_warning() {
    let place = Place::new();
    let path = noise(&place, "noise.png", 1);
    let said = place.pleura(&["classify", &path, "--plaintext"]).ok();
    assert!(said.err.contains("does not look like a chest X-ray"), "{said:?}");
    let path = noise(&place, "photo.png", 3);
    let rows = place.pleura(&["classify", &path, "--plaintext", "--json"]).ok();
    let warnings = lines(&rows.out)[0]["warnings"].to_string();
    assert!(warnings.contains("colour") && warnings.contains("does not look like"), "{warnings}");
    let said = place.pleura(&["classify", &sample(NORMAL), &sample(PNEUMONIA), "--plaintext"]).ok();
    assert!(said.out.contains(", without encryption.") && !said.out.contains("decrypt 0"), "{said:?}");
    assert!(!said.err.contains("warning"), "{said:?}");
}

#[test]
fn latents_go_from_one_command_to_the_next() {
    let place = Place::new();
    let images = [sample(NORMAL), sample(PNEUMONIA)];
    let arguments = ["compress", &images[0], &images[1], "--output", "two.safetensors", "--json"];
    let quality = place.pleura(&arguments).json();
    assert_eq!(quality["images"].as_array().unwrap().len(), 2);
    let continuous = &quality["mean"]["continuous"];
    let quantized = &quality["mean"]["quantized"];
    assert!(
        continuous["psnr"].as_f64() > quantized["psnr"].as_f64() && continuous["psnr"].as_f64() > Some(30.0)
    );
    place.pleura(&arguments).fails(&["two.safetensors exists"]);

    let latents = lines(&place.pleura(&["classify", "two.safetensors", "--plaintext", "--json"]).ok().out);
    let direct =
        lines(&place.pleura(&["classify", &images[0], &images[1], "--plaintext", "--json"]).ok().out);
    assert_eq!(latents[1]["scores"], direct[1]["scores"]);
    assert!(latents[0]["image"].as_str().unwrap().ends_with(NORMAL), "{latents:?}");

    let said = place.pleura(&["reconstruct", "two.safetensors", "--output", "pictures"]).ok();
    assert_eq!(said.out.lines().count(), 2);
    let picture = image::open(place.path("pictures").join(NORMAL).with_extension("png")).unwrap();
    assert_eq!((picture.width(), picture.height()), (256, 256));
    place.pleura(&["reconstruct", "two.safetensors", "--output", "pictures"]).fails(&["exists", "--force"]);

    let quantized = ["compress", &images[0], "--output", "codes.safetensors", "--codec", "f16", "--quantize"];
    assert!(place.pleura(&quantized).ok().out.contains("1 latent in codes.safetensors"));
    place.pleura(&["reconstruct", "codes.safetensors", "--output", "pictures", "--force"]).ok();
    place.pleura(&["classify", "codes.safetensors"]).fails_late(&["made by codec f16", "this is f8"]);
    place
        .pleura(&["classify", "two.safetensors", "--model", "pneumoniamnist", "--plaintext"])
        .fails(&["two.safetensors holds latents"]);
    place.pleura(&["compress", "two.safetensors", "--output", "x"]).fails(&["holds latents already"]);
    place.pleura(&["reconstruct", &images[0], "--output", "pictures"]).fails(&["cannot use the latents"]);
    place
        .pleura(&["compress", &images[0], "--output", "x", "--codec", "f9"])
        .fails(&["no codec f9", "f8, f4, f16"]);
}

#[test]
fn networks_that_cannot_look_at_x_rays_are_refused() {
    let place = Place::new();
    place
        .pleura(&["classify", "--model", "pnuemonia"])
        .fails(&["no model \"pnuemonia\"", "pneumonia-hefnet"]);
    place.pleura(&["classify", "--model", "none.onnx"]).fails(&["cannot read none.onnx: "]);
    place.pleura(&["classify", "--model", &reference("odd.onnx")]).fails(&["(3, 30, 27)", "pleura run"]);
    place.pleura(&["classify", "--model", &sample(NORMAL)]).fails(&["cannot import"]);
    place.pleura(&["classify", "--device", "999"]).fails(&["there is no GPU"]);
    // Any network on latents will do.
    let own = reference("hefnet_16_32_64.onnx");
    let rows = lines(
        &place.pleura(&["classify", &sample(NORMAL), "--plaintext", "--json", "--model", &own]).ok().out,
    );
    assert!(rows[0]["label"].as_str().unwrap().starts_with("class "), "{rows:?}");
}

#[test]
#[cfg(unix)]
fn an_interruption_says_what_is_kept() {
    let place = Place::new();
    let pipe = place.path("pipe.png");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let first = sample(NORMAL);
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let mut command =
            place.command(&["classify", "--plaintext", &first, "pipe.png", "--output", "ward.csv"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // Keeps the second one waiting.
        let writer = fs::File::options().write(true).open(&pipe).unwrap();
        let part = place.path("ward.csv.part");
        while fs::read_to_string(&part).map_or(0, |rows| rows.lines().count()) < 2 {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let said = Said::from(child.wait_with_output().unwrap());
        drop(writer);
        assert_eq!(said.code, Some(code), "{said:?}");
        assert!(said.err.contains("1 row is kept in ward.csv.part"), "{said:?}");
    }
}

#[test]
fn no_result_replaces_what_it_is_made_from() {
    let place = Place::new();
    fs::create_dir(place.path("ward")).unwrap();
    fs::copy(sample(NORMAL), place.path("ward/xray.png")).unwrap();
    fs::copy(sample(NORMAL), place.path("next.png.part")).unwrap();
    place.write("truth.csv", b"file,class\nxray.png,normal\n");
    fs::copy(reference("mlp.onnx"), place.path("mlp.onnx")).unwrap();
    fs::copy(reference("mlp.input.npy"), place.path("x.npy")).unwrap();
    place.pleura(&["compress", "ward", "--output", "ward/latents.png"]).ok();
    fs::create_dir(place.path("pictures")).unwrap();
    fs::rename(place.path("ward/latents.png"), place.path("pictures/xray.png")).unwrap();
    let files = ["ward/xray.png", "mlp.onnx", "x.npy", "pictures/xray.png", "next.png.part", "truth.csv"];
    let before = files.map(|name| fs::read(place.path(name)).unwrap());
    let run = ["run", "--model", "mlp.onnx", "--input", "x.npy", "--output"];
    for command in [
        &["classify", "ward", "--output", "ward/xray.png"][..],
        &["compress", "ward", "--output", "./ward/xray.png"],
        &["compress", "next.png.part", "--output", "next.png"],
        &["classify", "next.png.part", "--output", "./next.png"],
        &["classify", "ward", "--labels", "truth.csv", "--html", "truth.csv"],
        &["classify", "ward", "--labels", "truth.csv", "--output", "ward/../truth.csv"],
        &["reconstruct", "pictures/xray.png", "--output", "pictures"],
        &[&run[..], &["x.npy"]].concat(),
        &[&run[..], &["ward/../mlp.onnx"]].concat(),
    ] {
        let forced = [command, &["--force"]].concat();
        place.pleura(&forced).fails(&["is an input of this command", "another place"]);
    }
    assert_eq!(before, files.map(|name| fs::read(place.path(name)).unwrap()));
    assert!(!place.path("ward/xray.png.part").exists());
    for (output, page) in [("y.csv", "./y.csv"), ("y.csv", "y.csv.part")] {
        let arguments = ["classify", "ward", "--output", output, "--html", page, "--force"];
        place.pleura(&arguments).fails(&["two files to", "two places"]);
    }
    assert!(!place.path("y.csv").exists() && !place.path("y.csv.part").exists());
}
