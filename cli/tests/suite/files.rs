//! Other people's files from outside: folders, small images, scalings of pixels, strange names, and tables that are resumed.
use crate::common::{Place, Said, npy, reference};
use serde_json::Value;
use std::fs;
use std::path::Path;

const NORMAL: &str = "NORMAL2-IM-1438-0001.jpeg";
const PNEUMONIA: &str = "person1951_bacteria_4882.jpeg";

fn sample(name: &str) -> String {
    reference(&format!("../samples/{name}"))
}

/// Rows and summary.
fn json(said: &Said) -> (Vec<Value>, Value) {
    let mut lines: Vec<Value> = said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().unwrap()["summary"].take();
    (lines, summary)
}

fn scores(row: &Value) -> Vec<f64> {
    row["scores"].as_object().unwrap().values().map(|score| score.as_f64().unwrap()).collect()
}

/// A folder with two X-rays, one of them deeper, and two other files.
fn ward(place: &Place) {
    fs::create_dir_all(place.path("ward/deep")).unwrap();
    fs::copy(sample(NORMAL), place.path("ward/first.txt")).unwrap();
    fs::copy(sample(PNEUMONIA), place.path("ward/deep/second")).unwrap();
    place.write("ward/notes.png", b"years of work");
    place.write("ward/.hidden", b"");
}

/// A grey picture of noise, and its pixels.
fn noise(path: &Path, side: u32) -> Vec<u8> {
    let pixels: Vec<u8> = (0..side * side).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    image::save_buffer(path, &pixels, side, side, image::ExtendedColorType::L8).unwrap();
    pixels
}

#[test]
fn folders_are_entered_and_files_known_by_their_content() {
    let place = Place::new();
    ward(&place);
    #[cfg(unix)]
    std::os::unix::fs::symlink(place.path("ward"), place.path("ward/deep/loop")).unwrap();
    let said = place.pleura(&["classify", "ward", "--plaintext", "--json"]).ok();
    let (rows, summary) = json(&said);
    let names: Vec<_> = rows.iter().map(|row| row["image"].as_str().unwrap()).collect();
    assert_eq!(names, ["ward/deep/second", "ward/first.txt"]);
    assert_eq!([&rows[0]["label"], &rows[1]["label"]], ["pneumonia", "normal"]);
    assert_eq!(
        (&summary["images"], &summary["failed"], &summary["skipped"]),
        (&2.into(), &0.into(), &2.into())
    );
    let skipped = serde_json::json!([
        { "file": "ward/.hidden", "reason": "hidden" },
        { "file": "ward/notes.png", "reason": "neither an image nor latents" },
    ]);
    assert_eq!(summary["skipped_files"], skipped);
    let sentence =
        "warning: 2 files skipped: ward/.hidden (hidden), ward/notes.png (neither an image nor latents)";
    assert!(said.err.contains(sentence), "{said:?}");
    let strict = ["classify", "ward", "--plaintext", "--strict", "--output", "ward.csv"];
    place.pleura(&strict).fails_late(&["2 files", "--strict"]);
    assert_eq!(fs::read_to_string(place.path("ward.csv")).unwrap().lines().count(), 3);
    let said = place.pleura(&["classify", "ward", "--plaintext", "--no-recursive", "--json"]).ok();
    assert_eq!(json(&said).0.len(), 1);
    assert!(said.err.contains("1 folder in ward not entered"), "{said:?}");
    place.pleura(&["classify", "ward/first.txt", "--plaintext", "--strict"]).ok();
    // The table of an earlier run in the folder is not something that was skipped.
    place.pleura(&["classify", "ward", "--plaintext", "--output", "ward/table"]).ok();
    let said = place.pleura(&["classify", "ward", "--plaintext", "--output", "ward/table", "--force"]).ok();
    assert!(said.err.contains("2 files skipped"), "{said:?}");
}

#[test]
fn folders_are_compressed_as_they_are_classified() {
    let place = Place::new();
    ward(&place);
    let cut = &fs::read(sample(NORMAL)).unwrap()[..2000];
    place.write("ward/cut", cut);
    let said = place.pleura(&["compress", "ward", "--output", "a.safetensors", "--json"]).ok();
    let summary: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(summary["images"].as_array().unwrap().len(), 2);
    assert_eq!((&summary["failed"], &summary["skipped"]), (&1.into(), &2.into()));
    assert_eq!(summary["failed_files"][0]["image"], "ward/cut");
    assert!(summary["failed_files"][0]["error"].as_str().unwrap().contains("cut off"));
    place
        .pleura(&["compress", "ward", "--output", "b.safetensors", "--strict"])
        .fails_late(&["3 files", "--strict"]);
    assert!(place.path("b.safetensors").exists());
}

#[test]
fn an_interrupted_compression_resumes() {
    let place = Place::new();
    fs::copy(sample(NORMAL), place.path("a.jpeg")).unwrap();
    fs::copy(sample(PNEUMONIA), place.path("b.jpeg")).unwrap();
    let jpeg = fs::read(sample(NORMAL)).unwrap();
    place.write("c.jpeg", &jpeg[..2000]);
    let compress = ["compress", "a.jpeg", "b.jpeg", "c.jpeg", "--output", "x.safetensors", "--json"];
    place.pleura(&compress).fails_late(&["cut off"]);
    let part = place.path("x.safetensors.part");
    let kept = fs::read(&part).unwrap();
    assert_eq!(kept.iter().filter(|&&byte| byte == b'\n').count(), 2);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&part).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // What would mix latents, or is damaged, is refused and kept.
    place.pleura(&[&compress[..], &["--codec", "f16"]].concat()).fails_late(&["of another codec"]);
    place.pleura(&[&compress[..], &["--quantize"]].concat()).fails_late(&["of another codec or kind"]);
    place
        .pleura(&["compress", "a.jpeg", "--output", "x.safetensors"])
        .fails_late(&["does not name (b.jpeg)"]);
    let mut damaged = kept.clone();
    damaged[kept.len() - 100] ^= 1;
    fs::write(&part, &damaged).unwrap();
    place.pleura(&compress).fails_late(&["x.safetensors.part is damaged in line 2"]);
    assert_eq!(fs::read(&part).unwrap(), damaged);
    // A line that is cut off is made again, and so is the latent of a file that has changed.
    fs::write(place.path("c.jpeg"), &jpeg).unwrap();
    fs::write(&part, &kept[..kept.len() - 100]).unwrap();
    let said = place.pleura(&compress).json();
    assert_eq!((&said["resumed"], said["images"].as_array().unwrap().len()), (&1.into(), 3));
    assert!(!part.exists());
    let whole = fs::read(place.path("x.safetensors")).unwrap();
    let fresh = place.pleura(&[&compress[..], &["--force"]].concat()).json();
    assert_eq!((&fresh["resumed"], &fresh["images"]), (&0.into(), &said["images"]));
    assert!(fs::read(place.path("x.safetensors")).unwrap() == whole);
    fs::remove_file(place.path("x.safetensors")).unwrap();
    fs::write(&part, &kept).unwrap();
    fs::write(place.path("b.jpeg"), &jpeg).unwrap();
    let said = place.pleura(&compress).ok();
    assert!(
        said.out.contains("\"resumed\":1") && said.err.contains("1 latent of earlier runs left out"),
        "{said:?}"
    );
}

#[test]
fn images_of_the_networks_own_size_are_taken_as_they_are() {
    let place = Place::new();
    let pixels = noise(&place.path("own.png"), 28);
    let said =
        place.pleura(&["classify", "own.png", "--model", "pneumoniamnist", "--plaintext", "--json"]).ok();
    let (rows, summary) = json(&said);
    assert!(rows[0].get("warnings").is_none(), "{rows:?}");
    assert_eq!(summary["pixel_scaling"], "signed");
    let values: Vec<u8> = pixels.iter().flat_map(|&x| (f64::from(x) / 127.5 - 1.0).to_le_bytes()).collect();
    place.write("x.npy", &npy("<f8", "(1, 1, 28, 28)", &values));
    let model = reference("../pneumoniamnist/tiny.onnx");
    let run = place.pleura(&["run", "--model", &model, "--input", "x.npy", "--json"]).json();
    let expected: Vec<f64> =
        run["outputs"][0].as_array().unwrap().iter().map(|score| score.as_f64().unwrap()).collect();
    let got = scores(&rows[0]);
    assert!(
        got.len() == 2 && got.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 0.01),
        "{got:?} {expected:?}"
    );

    noise(&place.path("small.png"), 20);
    let said =
        place.pleura(&["classify", "small.png", "--model", "pneumoniamnist", "--plaintext", "--json"]).ok();
    let warnings = json(&said).0[0]["warnings"].to_string();
    assert!(warnings.contains("only 20x20 pixels and was enlarged to 28x28"), "{warnings}");
    noise(&place.path("tiny.png"), 3);
    place
        .pleura(&["classify", "tiny.png", "--model", "pneumoniamnist", "--plaintext"])
        .fails(&["3x3 pixels", "at least 4"]);
    place.pleura(&["classify", "own.png", "--plaintext"]).fails(&[
        "28x28 pixels",
        "at least 32",
        "better 256",
    ]);
}

#[test]
fn the_scaling_of_pixels_is_never_guessed() {
    let place = Place::new();
    let mut model = fs::read(reference("../pneumoniamnist/tiny.onnx")).unwrap();
    let key = b"pleura.pixel_scaling";
    let at = model.windows(key.len()).position(|window| window == key).unwrap();
    model[at] = b'q';
    place.write("own.onnx", &model);
    let image = sample(NORMAL);
    let classify = |arguments: &[&str]| {
        place.pleura(&[&["classify", &image, "--plaintext", "--json", "--model"], arguments].concat())
    };
    classify(&["own.onnx"]).fails(&["which numbers stand for black and white", "--pixel-scaling"]);
    let of = |said: Said| {
        let (rows, summary) = json(&said);
        (scores(&rows[0]), summary["pixel_scaling"].clone())
    };
    let shipped = of(classify(&["pneumoniamnist"]).ok());
    assert_eq!(of(classify(&["own.onnx", "--pixel-scaling", "signed"]).ok()), shipped);
    let same = of(classify(&["own.onnx", "--pixel-scaling", "0.5,0.5"]).ok());
    assert_eq!(same.1, "0.5,0.5");
    assert!(same.0.iter().zip(&shipped.0).all(|(a, b)| (a - b).abs() < 1e-9), "{same:?} {shipped:?}");
    let unit = of(classify(&["own.onnx", "--pixel-scaling", "unit"]).ok());
    assert!(unit.0.iter().zip(&shipped.0).any(|(a, b)| (a - b).abs() > 0.1), "{unit:?} {shipped:?}");
    // Against the file, with a word.
    let said = classify(&["pneumoniamnist", "--pixel-scaling", "xrv"]).ok();
    assert!(said.err.contains("names another scaling of pixels than xrv"), "{said:?}");
    classify(&["pneumonia", "--pixel-scaling", "unit"]).fails(&["takes latents", "leave out the scaling"]);
    classify(&["own.onnx", "--pixel-scaling", "123.7,58.4"]).misused("MEAN,DEVIATION");
}

#[test]
fn an_unfinished_table_goes_on_with_its_own_files_alone() {
    let place = Place::new();
    ward(&place);
    let classify =
        |inputs: &[&str]| place.pleura(&[&["classify", "--plaintext", "--output", "x.csv"], inputs].concat());
    classify(&["ward"]).ok();
    let whole = fs::read_to_string(place.path("x.csv")).unwrap();
    fs::rename(place.path("x.csv"), place.path("x.csv.part")).unwrap();
    let image = sample(NORMAL);
    classify(&[&image])
        .fails(&["x.csv.part has rows of 2 files that this command does not name", "ward/first.txt"]);
    assert_eq!(fs::read_to_string(place.path("x.csv.part")).unwrap(), whole);
    place.write("x.csv.part", whole.replace(",normal,", ",nornal,").as_bytes());
    classify(&["ward"]).fails(&["x.csv.part is damaged in line "]);
    // One of the files has changed in between.
    place.write("x.csv.part", whole.as_bytes());
    fs::copy(sample(PNEUMONIA), place.path("ward/first.txt")).unwrap();
    let said = classify(&["ward"]).ok();
    assert!(
        said.err.contains("1 row of earlier runs left out") && said.err.contains("ward/first.txt"),
        "{said:?}"
    );
    let table = fs::read_to_string(place.path("x.csv")).unwrap();
    assert_eq!(table.lines().count(), 3, "{table}");
    assert_eq!(table.matches("ward/first.txt").count(), 1, "{table}");
    assert!(!table.contains(",normal,") && !place.path("x.csv.part").exists(), "{table}");
}

#[test]
#[cfg(unix)]
fn strange_names_are_shown_harmlessly_and_can_be_read_back() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let names: [&[u8]; 3] = [b"=1,\n#%.png", "x\u{202e}gnp.a".as_bytes(), b"\xff.png"];
    for name in names {
        fs::copy(sample(NORMAL), place.path("").join(OsStr::from_bytes(name))).unwrap();
    }
    let mut command = place.command(&["classify", "--plaintext", "--output", "x.csv"]);
    let said = Said::from(command.args(names.map(OsStr::from_bytes)).output().unwrap()).ok();
    for text in [&said.out, &said.err] {
        assert!(!text.contains('\u{202e}') && !text.contains("=1,\n"), "{said:?}");
    }
    assert!(said.out.contains("x\\u{202e}gnp.a") && said.out.contains("=1,\\n#%.png"), "{said:?}");
    let table = fs::read_to_string(place.path("x.csv")).unwrap();
    for cell in ["\n\"%3D1,%0A%23%25.png\",", "\nx%E2%80%AEgnp.a,", "\n%FF.png,"] {
        assert!(table.contains(cell), "{table}");
    }
    let mut command = place.command(&["classify", "--plaintext", "--json"]);
    let said = Said::from(command.args(names.map(OsStr::from_bytes)).output().unwrap()).ok();
    let (rows, _) = json(&said);
    assert_eq!([&rows[2]["image"], &rows[2]["image_escaped"]], ["%FF.png", "%FF.png"]);
    assert!(rows[1].get("image_escaped").is_none() && rows[1]["image"] == "x\u{202e}gnp.a", "{rows:?}");
}

/// Linux has names that are not Unicode; two of them stay two in a file of latents.
#[test]
#[cfg(target_os = "linux")]
fn latents_of_strange_names_are_told_apart() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    fs::create_dir(place.path("ward")).unwrap();
    for (name, image) in [(b"\xfe.png", NORMAL), (b"\xff.png", PNEUMONIA)] {
        fs::copy(sample(image), place.path("ward").join(OsStr::from_bytes(name))).unwrap();
    }
    place.pleura(&["compress", "ward", "--output", "x.safetensors"]).ok();
    let (rows, _) = json(&place.pleura(&["classify", "x.safetensors", "--plaintext", "--json"]).ok());
    let found: Vec<_> = rows.iter().map(|row| (row["image"].as_str(), row["label"].as_str())).collect();
    let expected = [("x.safetensors#ward/%FE.png", "normal"), ("x.safetensors#ward/%FF.png", "pneumonia")];
    assert_eq!(found, expected.map(|(image, label)| (Some(image), Some(label))));
}

#[test]
#[cfg(unix)]
fn links_and_pipes_in_place_of_an_unfinished_table_are_refused() {
    let place = Place::new();
    let image = sample(NORMAL);
    place.write("victim", b"");
    std::os::unix::fs::symlink("victim", place.path("x.csv.part")).unwrap();
    let classify = || place.pleura(&["classify", &image, "--plaintext", "--output", "x.csv"]);
    classify().fails(&["x.csv.part is not a regular file"]);
    fs::remove_file(place.path("x.csv.part")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(place.path("x.csv.part")).status().unwrap().success());
    classify().fails(&["x.csv.part is not a regular file"]);
    assert_eq!(fs::read(place.path("victim")).unwrap(), b"");
    assert!(!place.path("x.csv").exists());
}

#[test]
fn values_far_beyond_those_of_calibration_are_told_on_the_row() {
    let place = Place::new();
    let pixels: Vec<u8> = (0..256 * 256).map(|i| if (i / 8) % 2 == 0 { 0 } else { 255 }).collect();
    image::save_buffer(place.path("bars.png"), &pixels, 256, 256, image::ExtendedColorType::L8).unwrap();
    let image = sample(NORMAL);
    let said = place.pleura(&["classify", "bars.png", &image, "--device", "cpu", "--json"]).ok();
    let (rows, _) = json(&said);
    let warnings = rows[0]["warnings"].to_string();
    assert!(warnings.contains("times as large as those that it was calibrated for"), "{warnings}");
    assert!(rows[1].get("warnings").is_none(), "{rows:?}");
}

#[test]
fn names_that_promise_another_format_are_refused() {
    let place = Place::new();
    place.pleura(&["export", "--model", "pneumonia", "--output", "."]).ok();
    let keys = ["--spec", "client.spec", "--secret", "secret.key"];
    place.pleura(&[&["keygen", "--output", "eval.keys"], &keys[..]].concat()).ok();
    let decrypt = [&["decrypt", "none.ct", "--output", "y.npy"], &keys[..]].concat();
    place.pleura(&decrypt).fails(&["y.npy would hold .csv and not .npy", "ends in .csv"]);
    place.run("mlp", &["--output", "y.csv"]).fails(&["y.csv would hold .npy and not .csv", "ends in .npy"]);
    let image = reference("../samples/NORMAL2-IM-1438-0001.jpeg");
    let classify = |arguments: &[&str]| {
        place.pleura(&[&["classify", &image, "--plaintext", "--output", "x.JSON"], arguments].concat())
    };
    classify(&[]).fails(&["x.JSON would hold .csv and not .json", ".jsonl", "--format csv"]);
    classify(&["--format", "jsonl"]).ok();
    place.pleura(&["compress", &image, "--output", "x.npy"]).fails(&["ends in .safetensors"]);
    // No other file was made.
    assert!(!place.path("y.npy").exists() && !place.path("y.csv").exists() && !place.path("x.npy").exists());
}
