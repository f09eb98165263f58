//! JSON outputs compared with the schemas in `docs/schema`.
use crate::common::{Place, reference};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Whether a value has a type of JSON Schema.
fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => panic!("unknown type {name}"),
    }
}

/// Checks a value against the keywords that `docs/schema` uses.
fn check(value: &Value, schema: &Value, at: &str) {
    for (keyword, rule) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$schema" | "title" => {}
            "const" => assert_eq!(value, rule, "{at}"),
            "type" => {
                let names = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                let fits = names.iter().any(|name| has_type(value, name.as_str().unwrap()));
                assert!(fits, "{at}: {value} is no {rule}");
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    assert!(value.get(name.as_str().unwrap()).is_some(), "{at}: {name} is missing");
                }
            }
            "properties" => {
                for (name, inner) in rule.as_object().unwrap() {
                    value
                        .get(name)
                        .into_iter()
                        .for_each(|value| check(value, inner, &format!("{at}/{name}")));
                }
            }
            "items" => {
                // Where `type` allows null, there are no items.
                let items = value.as_array().into_iter().flatten();
                items.for_each(|item| check(item, rule, &format!("{at}/item")));
            }
            _ => panic!("{at}: unknown keyword {keyword}"),
        }
    }
}

fn schema(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/schema/{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn check_output(place: &Place, name: &str, arguments: &[&str]) {
    let schema = schema(name);
    let said = place.pleura(&[arguments, &["--json"]].concat()).ok();
    for line in said.out.lines() {
        check(&serde_json::from_str(line).unwrap(), &schema, name);
    }
}

#[test]
fn outputs_match_their_schemas() {
    let place = Place::new();
    let model = reference("mlp.onnx");
    let input = reference("mlp.input.npy");
    check_output(&place, "run", &["run", "--model", &model, "--input", &input, "--device", "cpu"]);
    check_output(&place, "plan", &["plan", "--model", &model]);
    check_output(&place, "cache", &["cache"]);
    check_output(&place, "cache", &["cache", "clear"]);
    check_output(&place, "fit", &["fit", "--function", "relu"]);
    check_output(&place, "devices", &["devices", "--list"]);
    check_output(&place, "models", &["models"]);
    check_output(&place, "classify", &["classify", "--plaintext"]);
}

#[test]
fn outputs_of_the_commands_for_two_machines_match_their_schemas() {
    let place = Place::new();
    let samples = reference("../samples");
    let image = reference("../samples/NORMAL2-IM-1427-0001.jpeg");
    check_output(&place, "export", &["export", "--model", "pneumonia", "--output", "net"]);
    let key = ["--spec", "net/client.spec", "--secret", "s.key"];
    check_output(&place, "keygen", &[&["keygen", "--output", "e.keys"], &key[..]].concat());
    check_output(&place, "encrypt", &[&["encrypt", &image, "--output", "x.ct"], &key[..]].concat());
    let server = ["--plan", "net/server.plan", "--keys", "e.keys", "x.ct", "--device", "cpu"];
    let signed = ["--output", "y.ct", "--receipt", "r.json", "--signing-key", "s.pem"];
    check_output(&place, "infer", &[&["infer"], &server[..], &signed].concat());
    check_output(&place, "audit", &[&["audit", "r.json"], &server[..]].concat());
    check_output(&place, "decrypt", &[&["decrypt", "y.ct"], &key[..]].concat());
    check_output(&place, "compress", &["compress", &samples, "--output", "l.safetensors"]);
    check_output(&place, "reconstruct", &["reconstruct", "l.safetensors", "--output", "pictures"]);
}

#[test]
fn outputs_of_baselines_match_their_schemas() {
    let place = Place::new();
    let a = reference("../samples/NORMAL2-IM-1427-0001.jpeg");
    let b = reference("../samples/NORMAL2-IM-1430-0001.jpeg");
    let morph = |name: &str, arguments: &[&str]| {
        check_output(&place, &format!("morph-{name}"), &[&["baseline", "morph", name], arguments].concat());
    };
    morph("keygen", &["--output", "key"]);
    morph("apply", &[&a, &b, "--key", "key", "--output", "sent"]);
    morph("augconv", &["--key", "key", "--output", "layer"]);
    morph("attack", &["--morphed", "sent", "--augconv", "layer"]);
    morph("run", &[&a]);
    let paillier = |name: &str, arguments: &[&str]| {
        check_output(
            &place,
            &format!("paillier-{name}"),
            &[&["baseline", "paillier", name], arguments].concat(),
        );
    };
    paillier("keygen", &["--output", "k"]);
    paillier("encrypt", &[&a, "--key", "k.public", "--side", "8", "--output", "c"]);
    paillier("decrypt", &["c", "--key", "k.secret", "--output", "p.png"]);
    paillier("store", &[&a, &b, "--randomness", "fixed", "--side", "64", "--output", "stored"]);
    paillier("attack", &["stored", "--side", "64", "--output", "recovered"]);
    paillier("leak", &[&a, &b, "--side", "16"]);
    paillier("linear", &[&a]);
}

#[test]
fn reports_match_their_schemas() {
    let place = Place::new();
    let image = reference("../samples/NORMAL2-IM-1427-0001.jpeg");
    check_output(&place, "compare", &["compare", &image, "--side", "8", "--device", "cpu"]);
    let said =
        place.pleura(&["bench", "--suite", "smoke", "--device", "cpu", "--repeat", "1", "--json"]).ok();
    check(&serde_json::from_str(&said.out).unwrap(), &schema("bench"), "bench");
    place.write("a.json", said.out.as_bytes());
    check_output(&place, "bench-compare", &["bench", "compare", "a.json", "a.json"]);
}

/// A report of this machine's processor, and those of other machines, of which the table in the docs is made.
#[test]
fn device_reports_match_their_schema() {
    let place = Place::new();
    let mut command = place.command(&["devices", "--quick", "--report", "r.json"]);
    for name in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
        command.env(name, "/dev/null");
    }
    crate::common::Said::from(command.output().unwrap()).ok();
    let schema = schema("device-report");
    let own: Value = serde_json::from_slice(&fs::read(place.path("r.json")).unwrap()).unwrap();
    check(&own, &schema, "device-report");
    assert!(own["devices"][0]["figures"]["bits"].as_f64().unwrap() > 8.0, "{own}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let entries = fs::read_dir(root.join("benches/results")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let page = fs::read_to_string(root.join("docs/benchmarks.md")).unwrap();
    for path in paths {
        let report: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        check(&report, &schema, &path.display().to_string());
        for device in report["devices"].as_array().unwrap() {
            let row = device_row(&report["machine"], device);
            assert!(page.contains(&row), "docs/benchmarks.md has no row\n{row}");
        }
    }
}

/// A row of the table of devices.
fn device_row(machine: &Value, device: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let name = match device["device_id"].as_str() {
        Some("cpu") => {
            format!("{}, {} cores, {}", text(&machine["processor"]), machine["cores"], text(&machine["simd"]))
        }
        _ => text(&device["device_name"]),
    };
    let check = match device["check"]["passed"].as_bool() {
        Some(true) => "pass",
        Some(false) => "FAIL",
        None => "-",
    };
    let number = |at: &str, factor: f64| {
        let value = device["figures"].pointer(at).and_then(Value::as_f64);
        value.map_or_else(|| "-".to_owned(), |value| format!("{:.2}", value * factor))
    };
    let kind = text(&device["kind"]);
    let driver = text(&device["driver"]);
    format!(
        "| {name} | {kind} | {driver} | {check} | {} | {} | {} | {} | {} |",
        number("/limits/copy_bytes_per_second", 1e-9),
        number("/limits/products_per_second", 1e-9),
        number("/ntt/median", 1e3),
        number("/rotate/median", 1e3),
        number("/inference/median", 1e3),
    )
}

/// Each call that prints JSON names its schema in the first string behind it.
#[test]
fn every_output_has_a_schema() {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut names = std::collections::BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("terminal.rs") {
                let text = fs::read_to_string(&path).unwrap();
                for call in ["print_json(", "terminal::json("] {
                    let names_in = text.split(call).skip(1).filter_map(|rest| rest.split('"').nth(1));
                    names.extend(names_in.map(str::to_owned));
                }
            }
        }
    }
    assert!(names.len() > 25, "{names:?}");
    for name in names {
        assert_eq!(schema(&name)["properties"]["schema"]["const"], format!("pleura.{name}/1"));
    }
}

#[test]
fn standard_streams_are_files() {
    let place = Place::new();
    let said = place.pleura(&["fit", "--function", "relu", "--quiet"]).ok();
    assert!(said.err.is_empty(), "{said:?}");
    let said = place.pleura(&["classify", "--plaintext", "--output", "-"]).ok();
    assert!(said.out.starts_with("image,sha256,") && said.out.lines().count() == 17, "{said:?}");
    assert!(!place.path("-").exists() && said.err.contains("Not a medical device"), "{said:?}");
    let mut command = place.command(&["plan", "--model", "-"]);
    let model = fs::File::open(reference("mlp.onnx")).unwrap();
    let output = command.stdin(model).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let image = fs::File::open(reference("../samples/NORMAL2-IM-1438-0001.jpeg")).unwrap();
    let output = place.command(&["classify", "-", "--plaintext"]).stdin(image).output().unwrap();
    assert!(!cfg!(unix) || output.status.success(), "{output:?}");
}

#[test]
fn completions_and_man_pages_are_written() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(place.pleura(&["completions", shell]).ok().out.contains("classify"), "{shell}");
    }
    place.pleura(&["man", "pages"]).ok();
    let page = fs::read_to_string(place.path("pages/pleura-classify.1")).unwrap();
    assert!(page.contains("plaintext") && place.path("pages/pleura.1").exists(), "{page}");
    place.pleura(&["man", "pages"]).fails(&["exists", "--force"]);
}
