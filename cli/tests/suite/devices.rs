//! Devices from outside: `--device`, `devices` and `bench`.
use crate::common::{Place, Said, reference};
use serde_json::Value;
use std::fs;
use std::io::Write;

const SAMPLES: [&str; 2] = ["NORMAL2-IM-1438-0001.jpeg", "person1951_bacteria_4882.jpeg"];

/// Runs the binary where no Vulkan driver can be found.
#[cfg(target_os = "linux")]
fn without_drivers(place: &Place, arguments: &[&str]) -> Said {
    let mut command = place.command(arguments);
    for name in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
        command.env(name, "/dev/null");
    }
    Said::from(command.output().unwrap())
}

/// Whether there is a GPU, be it in software; says so if not.
fn gpu(place: &Place) -> bool {
    let listed = place.pleura(&["devices", "--list", "--json"]).json();
    let found = listed["devices"].as_array().unwrap().iter().any(|device| device["device_id"] != "cpu");
    if !found {
        if std::env::var("REQUIRE_GPU").is_ok_and(|value| value == "1") {
            panic!("there is no adapter, and REQUIRE_GPU=1");
        }
        // Not captured, as what the macros print would be.
        let _ = writeln!(std::io::stderr(), "skipped: no adapter");
    }
    found
}

fn bench(place: &Place, devices: &str, file: &str) -> Said {
    let page = format!("{file}.html");
    let mut arguments =
        vec!["bench", "--suite", "smoke", "--repeat", "1", "--json", "--output", file, "--html", &page];
    devices.split(',').for_each(|device| arguments.extend(["--device", device]));
    place.pleura(&arguments)
}

/// Numbers that a page has with all their digits.
fn page_numbers(page: &str) -> Vec<f64> {
    let parts = page.split("<data value=\"").skip(1);
    parts.map(|part| part.split('"').next().unwrap().parse().unwrap()).collect()
}

/// All numbers of a record that its page has to have.
fn record_numbers(record: &Value) -> Vec<f64> {
    let mut wanted = Vec::new();
    let mut take = |value: &Value| wanted.extend(value.as_f64());
    let measurement = |result: &Value| {
        ["/seconds/median", "/items_per_second", "/ratio"]
            .map(|at| result.pointer(at).cloned().unwrap_or_default())
    };
    for operation in record["operations"].as_array().unwrap() {
        let results = operation["results"].as_array().unwrap();
        results.iter().flat_map(measurement).for_each(|value| take(&value));
    }
    for network in record["networks"].as_array().unwrap() {
        network["bytes"].as_object().unwrap().values().for_each(&mut take);
        for result in network["results"].as_array().unwrap() {
            measurement(&result["inference"]).iter().for_each(&mut take);
            ["open", "prepare", "first", "bits", "peak_bytes"].iter().for_each(|name| take(&result[*name]));
            let layers = result["layers"].as_array().unwrap();
            layers.iter().for_each(|layer| take(&layer["median"]));
        }
        // A batch has the scores of single items, and no table of its own.
        let samples = network["samples"].as_array().unwrap().iter().filter(|_| network["batch"] == 1);
        samples.flat_map(|s| s["probabilities"].as_array().unwrap()).for_each(&mut take);
    }
    for device in record["devices"].as_array().unwrap() {
        ["copy_bytes_per_second", "products_per_second"]
            .iter()
            .for_each(|name| take(&device["roofline"][*name]));
    }
    wanted
}

/// Checks that a page has every figure of its record, and loads and runs nothing.
fn check_page(place: &Place, page: &str, record: &Value) {
    let page = fs::read_to_string(place.path(page)).unwrap();
    let numbers = page_numbers(&page);
    let wanted = record_numbers(record);
    assert!(wanted.len() > 40, "{wanted:?}");
    for number in wanted {
        // The parser of JSON may be wrong in the last digit.
        let found = numbers.iter().any(|other| (other - number).abs() <= 1e-14 * number.abs());
        assert!(found, "{number} is not in the page");
    }
    for tag in ["<script", "<link", "<iframe", "src=\"http", "url("] {
        assert!(!page.contains(tag), "{tag}");
    }
    assert!(page.contains("default-src 'none'") && page.contains("prefers-color-scheme:dark"));
}

fn read(place: &Place, file: &str) -> Value {
    serde_json::from_slice(&fs::read(place.path(file)).unwrap()).unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn without_a_gpu_the_processor_computes() {
    let place = Place::new();
    let model = reference("mlp.onnx");
    let input = reference("mlp.input.npy");
    let run = |device: &[&str]| {
        without_drivers(&place, &[&["run", "--model", &model, "--input", &input], device].concat())
    };
    let said = run(&[]).ok();
    assert!(
        said.err.contains("note: no GPU found, using the processor") && said.out.contains("cpu ("),
        "{said:?}"
    );
    let said = run(&["--device", "cpu"]).ok();
    assert!(!said.err.contains("GPU"), "{said:?}");
    let said = run(&["--device", "cpu", "--gpu-memory", "45mb"]).ok();
    assert!(said.err.contains("note: --gpu-memory has no effect"), "{said:?}");
    run(&["--device", "gpu"]).fails(&["there is no GPU", "--device cpu"]);
    without_drivers(&place, &["bench", "--device", "cpu", "--device", "0"]).fails(&["there is no GPU"]);

    let said = without_drivers(&place, &["devices", "--quick"]).ok();
    assert!(said.out.contains("processor") && said.out.contains("pass ("), "{said:?}");
    let said = without_drivers(&place, &["devices", "--list", "--json"]).json();
    assert!(
        said["devices"][0]["check"].is_null() && said["devices"].as_array().unwrap().len() == 1,
        "{said}"
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn the_processor_is_measured_and_compared() {
    let place = Place::new();
    let said = bench(&place, "cpu,cpu", "a.json").ok();
    for part in
        ["suite       smoke, 1 round", "mul_rescale", "rotate_many_8", "pneumoniamnist: n = 2^", "ms on cpu"]
    {
        assert!(said.out.contains(part), "{part}: {said:?}");
    }
    bench(&place, "cpu", "a.json").fails(&["a.json exists", "--force"]);
    let mut record = read(&place, "a.json");
    assert_eq!(record["devices"].as_array().unwrap().len(), 1);
    for operation in record["operations"].as_array().unwrap() {
        let result = &operation["results"][0];
        assert!(
            result["seconds"]["median"].as_f64().unwrap() > 0.0 && result["error"].is_null(),
            "{operation}"
        );
        assert!(
            operation["identical"].is_null() && result["digest"].as_str().unwrap().len() == 64,
            "{operation}"
        );
        assert_eq!(operation["parameters"]["security"], 128);
    }
    check_page(&place, "a.json.html", &record);
    let network = &record["networks"][0];
    assert_eq!(record["networks"][1]["batch"], 2);
    assert_eq!(record["manifest"]["networks"].as_array().unwrap().len(), 2);
    assert!(network["samples"].as_array().unwrap().len() == 2 && network["results"][0]["first"].is_number());
    assert!(record["devices"][0]["roofline"]["copy_bytes_per_second"].as_f64().unwrap() > 1e8);
    assert!(network["results"][0]["bits"].as_f64().unwrap() > 8.0, "{network}");
    let layers = network["results"][0]["layers"].as_array().unwrap();
    assert_eq!(layers.len(), network["layers"].as_array().unwrap().len());

    let compare = |a: &str, b: &str| place.pleura(&["bench", "compare", a, b]);
    let said = compare("a.json", "a.json").ok();
    assert!(said.out.contains("rotate, n = 2^13, 2 at once") && said.out.contains("1.00"), "{said:?}");
    // A machine with another name, half as fast at one thing, and without another.
    record["devices"][0]["name"] = "abacus".into();
    let median = record["operations"][0]["results"][0]["seconds"]["median"].as_f64().unwrap();
    record["operations"][0]["results"][0]["seconds"]["median"] = (2.0 * median).into();
    record["operations"][1]["name"] = "sums".into();
    record["operations"][2]["parameters"]["levels"] = 7.into();
    place.write("b.json", record.to_string().as_bytes());
    let rows = place.pleura(&["bench", "compare", "a.json", "b.json", "--json"]).json();
    assert_eq!(rows["devices"][0][1], "abacus (processor)");
    let row = |what: &str| {
        let rows = rows["rows"].as_array().unwrap();
        rows.iter().find(|row| row["what"].as_str().unwrap().starts_with(what)).unwrap().clone()
    };
    assert!((row("ntt, ")["ratio"].as_f64().unwrap() - 2.0).abs() < 1e-9);
    assert_eq!(
        ["intt, ", "sums, ", "mul_rescale, "].map(|what| row(what)["note"].clone()),
        ["not in B", "not in A", "other parameters"]
    );

    let said = place.pleura(&["bench", "compare", "a.json", "b.json", "a.json", "--html", "c.html"]).ok();
    assert!(said.out.contains("C ms") && said.out.contains("C / A"), "{said:?}");
    check_page(&place, "c.html", &record);
    place.pleura(&["bench", "compare", "a.json", "b.json", "--html", "c.html"]).fails(&["c.html exists"]);
    place
        .pleura(&["bench", "compare", "a.json", "b.json", "--html", "a.json", "--force"])
        .fails(&["is an input"]);
    let mut hostile = record.clone();
    hostile["devices"][0]["driver"] = "<script>alert(1)</script>\u{202e}".into();
    hostile["networks"][0]["layers"][0]["name"] = "\"><img src=x onerror=alert(1)>".into();
    place.write("h.json", hostile.to_string().as_bytes());
    place.pleura(&["bench", "compare", "a.json", "h.json", "--html", "h.html"]).ok();
    let page = fs::read_to_string(place.path("h.html")).unwrap();
    assert!(!page.contains("<script") && !page.contains("<img src=x") && !page.contains('\u{202e}'));

    let whole = record.to_string();
    record["schema"] = "thesis".into();
    let other = record.to_string();
    record["schema"] = "pleura.bench/1".into();
    record["operations"][0]["results"] = serde_json::json!([]);
    place.write("devices.json", br#"{"schema": "pleura.device-report/1", "devices": []}"#);
    let named = "it is \"pleura.device-report/1\", not \"pleura.bench/1\"";
    place.pleura(&["bench", "compare", "devices.json", "a.json"]).fails(&[named]);
    let damaged = [&whole[..whole.len() / 2], "{}", "[1, 2]", "\u{7f}ELF", &other, &record.to_string()];
    for text in damaged {
        place.write("x.json", text.as_bytes());
        compare("a.json", "x.json").fails(&["x.json is not a file of `pleura bench"]);
    }
    compare("a.json", "none.json").fails(&["cannot read none.json"]);
    compare("a.json", ".").fails(&[". is a directory"]);
    #[cfg(unix)]
    {
        assert!(std::process::Command::new("mkfifo").arg(place.path("pipe")).status().unwrap().success());
        compare("a.json", "pipe").fails(&["pipe is not a regular file"]);
    }
    place.write("x.json", b"[{}]");
    assert!(!compare("a.json", "x.json").err.contains("struct"));

    // Runs of which something may not be what the reader takes it for.
    let change = |at: &str, value: Value| {
        let mut record = read(&place, "a.json");
        *record.pointer_mut(at).unwrap() = value;
        place.write("x.json", record.to_string().as_bytes());
    };
    change("/manifest/version", 99.into());
    compare("a.json", "x.json").fails(&["the list of measurements was changed"]);
    change("/operations/0/results/0/seconds/median", (-1.0).into());
    compare("a.json", "x.json").fails(&["x.json is damaged", "-1 seconds"]);
    change("/networks/0/client/encrypt/all/0", (-1.0).into());
    compare("x.json", "a.json").fails(&["x.json is damaged"]);
    let notes = |value: (&str, Value), expected: &str| {
        change(value.0, value.1);
        let said = compare("a.json", "x.json").ok();
        assert!(said.err.contains(expected), "{expected}: {said:?}");
        let said = place.pleura(&["bench", "compare", "a.json", "x.json", "--json"]).json();
        assert!(said["notes"].to_string().contains(expected), "{said}");
    };
    notes(("/suite", "full".into()), "not the same suite: smoke in A, full in B");
    notes(("/repeat", 7.into()), "not the same rounds: 1 in A, 7 in B");
    notes(("/version", "9".into()), "not the same version");
    notes(("/operations/0/identical", false.into()), "1 results in x.json are NOT the same");
    let mut both = read(&place, "a.json");
    let mut second = both["devices"][0].clone();
    second["name"] = "abacus".into();
    both["devices"].as_array_mut().unwrap().push(second);
    for list in ["operations", "networks"] {
        for measured in both[list].as_array_mut().unwrap() {
            let results = measured["results"].as_array_mut().unwrap();
            results.push(results[0].clone());
        }
    }
    place.write("x.json", both.to_string().as_bytes());
    let said = compare("x.json", "a.json").ok();
    assert!(said.err.contains("note: a.json has no device to compare with abacus"), "{said:?}");
    both["operations"] = serde_json::json!([]);
    both["networks"] = serde_json::json!([]);
    place.write("x.json", both.to_string().as_bytes());
    compare("a.json", "x.json").fails(&["nothing to compare"]);
    assert!(fs::read_dir(place.path(".")).unwrap().all(|file| !file.unwrap().path().ends_with(".part")));
}

#[test]
fn arguments_of_devices_and_bench_are_checked() {
    let place = Place::new();
    place.pleura(&["bench", "--device", "cpu", "--device", "abacus"]).misused("auto, cpu, gpu or the number");
    place.pleura(&["bench", "--suite", "huge"]).misused("quick");
    place.pleura(&["bench", "--repeat", "0"]).misused("--repeat");
    place.pleura(&["bench", "--force"]).misused("--output");
    place.pleura(&["bench", "--json", "--format", "md"]).misused("--format");
    place.pleura(&["bench", "--output", "a", "--html", "./a"]).fails(&["two files to"]);
    place.pleura(&["devices", "--list", "--report", "a"]).misused("--report");
    place.pleura(&["bench", "--gpu-memory", "6"]).misused("6GB");
    place.pleura(&["bench", "--device", "-1"]).misused("auto, cpu, gpu or the number");
    place.pleura(&["bench", "compare", "a.json"]).misused("B.json");
    place.pleura(&["bench", "--output", "no/such/a.json"]).fails(&["cannot write no/such/a.json"]);
    place.pleura(&["bench", "--device", "999"]).fails(&["there is no GPU"]);
    place.pleura(&["devices", "--list", "--quick"]).misused("--quick");
}

#[test]
fn a_gpu_that_is_too_small_is_told() {
    let place = Place::new();
    if !gpu(&place) {
        return;
    }
    let model = reference("mlp.onnx");
    let input = reference("mlp.input.npy");
    let run = |memory: &str| {
        let arguments =
            ["run", "--model", &model, "--input", &input, "--device", "gpu", "--gpu-memory", memory];
        place.pleura(&arguments)
    };
    let said = run("70kB");
    let last = said.err.lines().last().unwrap();
    assert_eq!(said.code, Some(1), "{said:?}");
    for part in ["no room for", "in the 70kB of --gpu-memory", "a larger --gpu-memory", "--device cpu"] {
        assert!(last.contains(part), "{part}: {said:?}");
    }
    assert!(!last.contains("batch") && said.out.is_empty(), "{said:?}");

    let said = place.pleura(&["devices", "--quick", "--gpu-memory", "70kB"]).ok();
    assert!(said.out.contains("not checked") && said.out.contains("--gpu-memory allows"), "{said:?}");
}

#[test]
fn gpus_pass_their_check() {
    let place = Place::new();
    if gpu(&place) {
        let said = place.pleura(&["devices", "--quick", "--json"]).json();
        for device in said["devices"].as_array().unwrap() {
            assert_eq!(device["check"]["passed"], true, "{device}");
        }
    }
}

#[test]
fn a_gpu_classifies_as_the_processor_does() {
    let place = Place::new();
    if !gpu(&place) {
        return;
    }
    let samples = SAMPLES.map(|name| reference(&format!("../samples/{name}")));
    let scores = |device: &str| -> Vec<(Value, Vec<f64>)> {
        let arguments = ["classify", &samples[0], &samples[1], "--json", "--device", device];
        let lines = place.pleura(&arguments).ok().out;
        let rows = lines.lines().take(2).map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.map(|row| {
            assert_eq!(row["device_name"].as_str().unwrap().starts_with("cpu"), device == "cpu", "{row}");
            let scores = row["scores"].as_object().unwrap().values().map(|score| score.as_f64().unwrap());
            (row["label"].clone(), scores.collect())
        })
        .collect()
    };
    let cpu = scores("cpu");
    let gpu = scores("gpu");
    // Published scores are multiples of a power of two.
    let all: Vec<f64> = cpu.iter().chain(&gpu).flat_map(|(_, scores)| scores.clone()).collect();
    let steps = (0..64).map(|bits| f64::from(-bits).exp2());
    let step = steps.into_iter().find(|step| all.iter().all(|score| (score / step).fract() == 0.0)).unwrap();
    assert!(step < 0.1, "{all:?}");
    for ((label, expected), (got, scores)) in cpu.iter().zip(&gpu) {
        assert_eq!(label, got);
        assert_eq!(expected.len(), scores.len());
        assert!(expected.iter().zip(scores).all(|(a, b)| (a - b).abs() <= step), "{expected:?} {scores:?}");
    }
}

#[test]
fn a_gpu_gives_the_words_of_the_processor() {
    let place = Place::new();
    if !gpu(&place) {
        return;
    }
    let said = bench(&place, "cpu,gpu", "both.json").ok();
    assert!(said.out.contains("the same to the bit on all devices"), "{said:?}");
    let record = read(&place, "both.json");
    let all = record["operations"].as_array().unwrap().iter().chain(record["networks"].as_array().unwrap());
    for measured in all {
        assert_eq!(measured["identical"], true, "{measured}");
    }
}
