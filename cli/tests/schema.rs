//! JSON outputs compared with the schemas in `docs/schema`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "the functions beside the tests are tests too")]

mod common;

use common::{Place, reference};
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
                value.as_array().unwrap().iter().for_each(|item| check(item, rule, &format!("{at}/item")))
            }
            _ => panic!("{at}: unknown keyword {keyword}"),
        }
    }
}

fn check_output(place: &Place, name: &str, arguments: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/schema/{name}.json"));
    let schema: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
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
