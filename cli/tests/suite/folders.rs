//! Folders of X-rays: tables in several formats, labels, shards, arrivals, and runs that were interrupted.
use crate::common::{Place, Said, reference};
use serde_json::Value;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

const NORMAL: &str = "NORMAL2-IM-1438-0001.jpeg";
const PNEUMONIA: &str = "person1951_bacteria_4882.jpeg";

fn sample(name: &str) -> String {
    reference(&format!("../samples/{name}"))
}

/// A folder of two X-rays, and a file that is cut off.
fn ward(place: &Place) {
    fs::create_dir(place.path("ward")).unwrap();
    fs::copy(sample(NORMAL), place.path("ward/a.jpeg")).unwrap();
    fs::copy(sample(PNEUMONIA), place.path("ward/b.jpeg")).unwrap();
    let jpeg = fs::read(sample(NORMAL)).unwrap();
    place.write("ward/cut.jpeg", &jpeg[..2000]);
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn summary(text: &str) -> Value {
    lines(text).pop().unwrap()["summary"].clone()
}

#[test]
fn json_lines_have_a_row_for_each_file() {
    let place = Place::new();
    ward(&place);
    place.pleura(&["classify", "ward", "--plaintext", "--output", "ward.jsonl"]).ok();
    let rows = lines(&fs::read_to_string(place.path("ward.jsonl")).unwrap());
    assert_eq!(rows.len(), 3);
    assert_eq!((&rows[0]["image"], &rows[0]["label"]), (&"ward/a.jpeg".into(), &"normal".into()));
    assert!(rows[1]["probabilities"]["pneumonia"].as_f64().unwrap() > 0.5 && rows[1]["error"].is_null());
    assert!(rows[2]["error"].as_str().unwrap().contains("cut off") && rows[2]["label"].is_null(), "{rows:?}");
    assert!(!place.path("ward.jsonl.part").exists());
    let said = place.pleura(&["classify", "ward", "--plaintext", "--output", "-", "--format", "jsonl"]).ok();
    assert_eq!(lines(&said.out).len(), 3);
    if !cfg!(feature = "parquet") {
        let said = place.pleura(&["classify", "ward", "--output", "ward.parquet"]);
        assert!(!said.err.contains("compiled"), "it is refused before the work: {said:?}");
        said.fails(&["without Parquet", ".jsonl"]);
    }
}

/// Output of a command on a disk that is full after some kilobytes.
#[cfg(unix)]
fn on_a_full_disk(place: &Place, arguments: &[&str]) -> Said {
    let mut shell = std::process::Command::new("sh");
    // Shells count blocks of 512 or 1024 bytes.
    shell.args(["-c", "trap '' XFSZ; ulimit -f 2; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_pleura")]);
    shell.args(arguments).current_dir(place.path(".")).env("PLEURA_CACHE", place.path("cache"));
    Said::from(shell.output().unwrap())
}

#[test]
#[cfg(unix)]
fn a_full_disk_keeps_the_rows_that_were_written() {
    let place = Place::new();
    let samples = reference("../samples");
    let run = ["classify", &samples, "--plaintext", "--output", "ward.csv"];
    let said = on_a_full_disk(&place, &run);
    assert!(
        said.err.contains(" kept in ward.csv.part; the same command resumes from them\nerror: "),
        "{said:?}"
    );
    said.fails_late(&["cannot write ward.csv.part: "]);
    assert!(!place.path("ward.csv").exists());
    let said = place.pleura(&run).ok();
    assert!(said.out.contains(" resumed. "), "{said:?}");
    assert_eq!(fs::read_to_string(place.path("ward.csv")).unwrap().lines().count(), 17);
}

#[test]
#[cfg(unix)]
fn a_full_disk_is_not_blamed_on_inputs() {
    let place = Place::new();
    let [model, items] = ["lola.onnx", "lola.input.npy"].map(reference);
    place.pleura(&["export", "--model", &model, "--calibrate", &items, "--output", "."]).ok();
    let keys = ["--spec", "client.spec", "--secret", "secret.key"];
    place.pleura(&[&["keygen", "--output", "eval.keys"], &keys[..]].concat()).ok();
    let encrypt = |output| [&["encrypt", &items, "--output", output], &keys[..]].concat();
    place.pleura(&encrypt("x.ct")).ok();
    let infer = ["infer", "--plan", "server.plan", "--keys", "eval.keys", "x.ct", "--output", "y.ct"];
    for (arguments, output) in [(&encrypt("z.ct")[..], "z.ct"), (&infer, "y.ct")] {
        let said = on_a_full_disk(&place, arguments);
        let last = said.err.lines().last().unwrap();
        assert!(last.starts_with(&format!("error: cannot write {output}: ")), "{said:?}");
        said.fails_late(&[]);
    }
    let mut left: Vec<_> = fs::read_dir(place.path(".")).unwrap().map(|f| f.unwrap().file_name()).collect();
    left.sort_unstable();
    assert_eq!(left, ["cache", "client.spec", "eval.keys", "secret.key", "server.plan", "x.ct"]);
}

#[test]
fn a_resumed_run_knows_what_failed_and_what_was_right() {
    let place = Place::new();
    ward(&place);
    place.write("labels.csv", b"file,class\na.jpeg,normal\nb.jpeg,Pneumonia\n");
    let run = ["classify", "ward", "--plaintext", "--output", "x.csv", "--labels", "labels.csv", "--json"];
    let whole = summary(&place.pleura(&run).ok().out);
    let table = fs::read_to_string(place.path("x.csv")).unwrap();
    fs::rename(place.path("x.csv"), place.path("x.csv.part")).unwrap();
    let again = summary(&place.pleura(&run).ok().out);
    assert_eq!(fs::read_to_string(place.path("x.csv")).unwrap(), table);
    assert_eq!((&again["resumed"], &again["failed"], &again["images"]), (&2.into(), &1.into(), &0.into()));
    assert_eq!(again["evaluation"], whole["evaluation"]);
    assert_eq!(whole["evaluation"]["accuracy"]["value"], 1.0);
    assert_eq!(whole["evaluation"]["confusion"], serde_json::json!([[1, 0], [0, 1]]));
    assert_eq!(whole["evaluation"]["classes"][1]["auc"]["value"], 1.0);
    // A file that can be read now has one row.
    fs::rename(place.path("x.csv"), place.path("x.csv.part")).unwrap();
    fs::copy(sample(NORMAL), place.path("ward/cut.jpeg")).unwrap();
    let again = summary(&place.pleura(&run).ok().out);
    assert_eq!((&again["resumed"], &again["failed"], &again["images"]), (&2.into(), &0.into(), &1.into()));
    let table = fs::read_to_string(place.path("x.csv")).unwrap();
    assert!(table.lines().count() == 4 && !table.contains("cut off"), "{table}");
    place.write("labels.csv", b"a.jpeg,normal\nb.jpeg,tuberculosis\n");
    place.pleura(&run).fails(&["x.csv exists"]);
    place.write("good.csv", b"a.jpeg,normal\nb.jpeg,pneumonia\n");
    let page = ["classify", "ward", "--plaintext", "--labels", "good.csv", "--html", "ward.html", "--json"];
    fs::write(place.path("ward/<b>x.jpeg"), &fs::read(sample(NORMAL)).unwrap()[..2000]).unwrap();
    let rows = lines(&place.pleura(&page).ok().out);
    let html = fs::read_to_string(place.path("ward.html")).unwrap();
    for row in rows.iter().filter(|row| row["label"].is_string()) {
        let number = row["probabilities"]["pneumonia"].as_f64().unwrap();
        assert!(html.contains(&format!("<data value=\"{number}\">")), "{number}");
    }
    assert_eq!(html.matches("data:image/png;base64,").count(), 3);
    assert!(html.contains("Confusion matrix") && html.contains("ROC curve of pneumonia"));
    assert!(html.contains("&lt;b&gt;x") && !html.contains("<b>x") && !html.contains("<script"));
    place.pleura(&page).fails(&["ward.html exists", "--force"]);
    let run = ["classify", "ward", "--plaintext", "--labels", "labels.csv"];
    place.pleura(&run).fails(&["cannot use the labels in labels.csv", "normal, pneumonia"]);
}

#[test]
fn shards_share_a_folder() {
    let place = Place::new();
    fs::create_dir(place.path("ward")).unwrap();
    for k in 0..12 {
        fs::copy(sample(NORMAL), place.path(&format!("ward/{k}.jpeg"))).unwrap();
    }
    let mut names = Vec::new();
    for shard in ["1/3", "2/3", "3/3"] {
        let said = place.pleura(&["classify", "ward", "--plaintext", "--json", "--shard", shard]).ok();
        names.extend(lines(&said.out).iter().filter_map(|row| Some(row.get("image")?.as_str()?.to_owned())));
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 12, "{names:?}");
    place.pleura(&["classify", "ward", "--shard", "4/3"]).misused("2/8");
    // A share without files has a table too, which replaces an old one.
    let mut notes = 0;
    let mut rows = 0;
    for (shard, table) in [("1/2", "1.csv"), ("2/2", "2.csv")] {
        place.write(table, b"old\n");
        let run = ["classify", "ward/0.jpeg", "--plaintext", "--shard", shard, "--output", table, "--force"];
        let said = place.pleura(&run).ok();
        notes += said.err.matches("has none of the 1 file\n").count();
        let text = fs::read_to_string(place.path(table)).unwrap();
        assert!(text.starts_with("image,sha256,"), "{text}");
        rows += text.lines().count() - 1;
        assert!(!place.path(&format!("{table}.part")).exists());
    }
    assert_eq!([notes, rows], [1, 1]);
}

#[test]
fn arrivals_are_classified_when_they_are_complete() {
    let place = Place::new();
    fs::create_dir(place.path("inbox")).unwrap();
    let jpeg = fs::read(sample(PNEUMONIA)).unwrap();
    let run = ["classify", "inbox", "--plaintext", "--watch", "--idle", "4", "--output", "inbox.csv"];
    let child = place.command(&run).stdout(Stdio::piped()).spawn().unwrap();
    fs::copy(sample(NORMAL), place.path("inbox/a.jpeg")).unwrap();
    // In pieces.
    for piece in 1..=4 {
        place.write("inbox/b.jpeg", &jpeg[..jpeg.len() * piece / 4]);
        std::thread::sleep(Duration::from_millis(700));
    }
    let said = Said::from(child.wait_with_output().unwrap()).ok();
    // Nobody knew how long their names would be.
    assert!(said.out.contains("\ninbox/a.jpeg ") && said.out.contains("\ninbox/b.jpeg "), "{said:?}");
    let table = fs::read_to_string(place.path("inbox.csv")).unwrap();
    assert!(table.lines().count() == 3 && table.contains("inbox/b.jpeg"), "{table}");
    assert!(!table.contains("cut off"), "{table}");
    place.pleura(&["classify", "--watch", "--plaintext"]).fails(&["--watch needs a folder"]);
}

#[test]
fn arrivals_that_pause_are_classified_once_they_are_complete() {
    let place = Place::new();
    fs::create_dir(place.path("inbox")).unwrap();
    let jpeg = fs::read(sample(PNEUMONIA)).unwrap();
    fs::copy(sample(NORMAL), place.path("inbox/a.jpeg")).unwrap();
    place.write("inbox/b.jpeg", &jpeg[..jpeg.len() / 2]);
    let run = ["classify", "inbox", "--plaintext", "--watch", "--idle", "6", "--json"];
    let run = [&run[..], &["--output", "inbox.csv", "--html", "inbox.html"]].concat();
    let child = place.command(&run).stdout(Stdio::piped()).spawn().unwrap();
    // Half a file cannot be read, and is taken for one that is damaged until the other half comes.
    let unread = || {
        let table = fs::read_to_string(place.path("inbox.csv.part")).unwrap_or_default();
        table.lines().any(|row| row.contains("inbox/b.jpeg") && row.contains("cut off"))
    };
    let clock = Instant::now();
    while !unread() {
        assert!(clock.elapsed() < Duration::from_secs(60), "half a file was read, or not noticed");
        std::thread::sleep(Duration::from_millis(20));
    }
    place.write("inbox/b.jpeg", &jpeg);
    let said = child.wait_with_output().unwrap();
    assert!(said.status.success());
    let table = fs::read_to_string(place.path("inbox.csv")).unwrap();
    assert_eq!(table.lines().count(), 3, "{table}");
    let row = table.lines().find(|row| row.contains("inbox/b.jpeg")).unwrap();
    assert!(row.contains(",pneumonia,") && row.ends_with(",,,,"), "{row}");
    let page = fs::read_to_string(place.path("inbox.html")).unwrap();
    assert!(!page.contains("could not be read"), "the page has a failure");
    let summary = lines(&String::from_utf8(said.stdout).unwrap()).pop().unwrap()["summary"].clone();
    assert_eq!([&summary["images"], &summary["failed"]], [2, 0]);
}
