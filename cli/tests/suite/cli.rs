//! The binary from outside: what it prints, where, and with which exit code.
use crate::common::{Place, Said, elementwise_model, npy, reference};
use sha2::Digest;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A file of f32 or f64 in C order: its header and its values.
fn read_npy(path: impl AsRef<Path>) -> (String, Vec<f64>) {
    let bytes = fs::read(path).unwrap();
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let (header, values) = bytes[10..].split_at(length);
    let header = String::from_utf8(header.to_vec()).unwrap();
    let values = if header.contains("<f4") {
        values.chunks(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
    } else {
        values.chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
    };
    (header, values)
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn help_states_the_default_calibration_of_its_command() {
    for (command, default) in [
        ("run", "[default: the input]"),
        ("plan", "[default: normal noise]"),
        ("export", "[default: normal noise]"),
    ] {
        let help = Place::new().pleura(&[command, "--help"]).ok().out;
        let calibrate = help.split("--calibrate").nth(1).and_then(|rest| rest.split("--").next()).unwrap();
        assert!(calibrate.contains(default), "{command}: {calibrate}");
    }
}

#[test]
fn help_has_examples() {
    let place = Place::new();
    for arguments in [
        &["--help"][..],
        &["classify", "--help"],
        &["compress", "--help"],
        &["reconstruct", "--help"],
        &["models", "--help"],
        &["run", "--help"],
        &["plan", "--help"],
        &["fit", "--help"],
        &["devices", "--help"],
        &["bench", "--help"],
        &["bench", "compare", "--help"],
        &["cache", "--help"],
        &["cache", "clear", "--help"],
    ] {
        let said = place.pleura(arguments).ok();
        assert!(said.out.contains("Examples:\n  pleura "), "{said:?}");
    }
    assert!(place.pleura(&["--version"]).ok().out.starts_with("pleura "));
    place.pleura(&["fly"]).misused("fly");
}

#[test]
#[cfg(not(feature = "service"))]
fn a_program_without_the_service_says_how_to_get_it() {
    let place = Place::new();
    let said = "built without the service: build it with `--features service`";
    for arguments in [&["serve"][..], &["serve", "--help"], &["serve", "--data", "x", "--model", "y"]] {
        place.pleura(arguments).fails(&[said]);
    }
    place.pleura(&["classify", "x.png", "--server", "https://x", "--ca", "y"]).misused(said);
    place.run("mlp", &["--token-file", "x", "--server", "https://x"]).misused(said);
    assert!(!place.pleura(&["classify", "--help"]).ok().out.contains("server"));
}

#[test]
fn fit_prints_a_table() {
    let place = Place::new();
    let said = place.pleura(&["fit", "--function", "relu", "--interval", "-6,6"]).ok();
    let lines: Vec<_> = said.out.lines().collect();
    assert_eq!(lines[0], "relu from -6 to 6");
    assert_eq!(lines[2], "degree  levels  largest error  mean error");
    assert_eq!(lines.len(), 3 + 14 + 2 * (2 + 14), "{said:?}");
    let levels: Vec<_> = lines[3..17].iter().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(levels.join(" "), "1 2 3 3 3 3 4 4 4 4 4 4 4 4");
    assert!(said.err.is_empty());
}

#[test]
fn fit_prints_json() {
    let place = Place::new();
    let said = place
        .pleura(&["fit", "--function", "sigmoid", "--degree", "3..5", "--interval", "-8,8", "--json"])
        .json();
    assert_eq!(said["function"], "sigmoid");
    assert_eq!(said["interval"], serde_json::json!([-8.0, 8.0]));
    let fits = said["fits"].as_array().unwrap();
    assert_eq!(fits.iter().map(|fit| fit["degree"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 4, 5]);
    for fit in fits {
        let coefficients: Vec<f64> =
            fit["coefficients"].as_array().unwrap().iter().map(|c| c.as_f64().unwrap()).collect();
        assert_eq!(coefficients.len() as u64, fit["degree"].as_u64().unwrap() + 1);
        let at = |x: f64| coefficients.iter().rev().fold(0.0, |y, c| y * x + c);
        let max_error = fit["max_error"].as_f64().unwrap();
        assert!((at(0.5) - 1.0 / (1.0 + (-0.5f64).exp())).abs() <= max_error * 1.001, "{fit}");
        assert!(fit["mean_error"].as_f64().unwrap() < max_error);
    }
}

#[test]
fn fit_refuses_what_it_cannot_do() {
    let place = Place::new();
    for degree in ["0", "1000", "3..99"] {
        place.pleura(&["fit", "--function", "relu", "--degree", degree]).misused("a degree from 1 to 64");
    }
    place.pleura(&["fit", "--function", "exp", "--interval", "0,1e300"]).fails(&["exp"]);
    place.pleura(&["fit"]).misused("--function");
    place.pleura(&["fit", "--function", "magic"]).misused("magic");
    place.pleura(&["fit", "--function", "relu", "--interval", "4,-4"]).misused("in order");
    place.pleura(&["fit", "--function", "relu", "--degree", "5..2"]).misused("in order");
}

#[test]
fn the_cache_is_told_and_cleared() {
    let place = Place::new();
    let folder = place.path("cache/pleura/plans");
    let said = place.pleura(&["cache"]).ok();
    assert_eq!(said.out, format!("{}\n0 plans, 0 bytes\n", folder.display()));
    fs::create_dir_all(&folder).unwrap();
    let plan = folder.join("0".repeat(64) + ".plan");
    fs::write(&plan, b"damaged").unwrap();
    fs::write(folder.join("mine.txt"), b"kept").unwrap();
    let kernels = place.path("cache/pleura/kernels");
    fs::create_dir_all(&kernels).unwrap();
    let compiled = kernels.join("wgpu_pipeline_cache_vulkan_1_2");
    fs::write(&compiled, b"binary").unwrap();
    fs::write(kernels.join("mine.txt"), b"kept").unwrap();
    let said = place.pleura(&["cache", "--json"]).json();
    assert_eq!((&said["plans"], &said["bytes"], &said["kernel_bytes"]), (&1.into(), &7.into(), &6.into()));
    assert!(place.pleura(&["cache"]).ok().out.ends_with("1 plan, 7 bytes\nkernels of GPUs, 6 bytes\n"));
    let said = place.pleura(&["cache", "clear"]).ok();
    let from = place.path("cache/pleura");
    let expected =
        format!("deleted 1 plan, 7 bytes, and compiled kernels, 6 bytes, from {}\n", from.display());
    assert_eq!(said.out, expected);
    assert!(!plan.exists() && folder.join("mine.txt").exists());
    assert!(!compiled.exists() && kernels.join("mine.txt").exists());
    let said = place.pleura(&["cache", "clear", "--json"]).json();
    assert_eq!((&said["plans"], &said["deleted"]["plans"]), (&0.into(), &0.into()));

    fs::remove_dir_all(&kernels).unwrap();
    fs::write(&kernels, b"no folder").unwrap();
    place.pleura(&["cache"]).fails(&["cannot use the cache in", "kernels"]);
    for arguments in [&["cache", "clear"][..], &["plan", "--model", &reference("mlp.onnx")]] {
        let said = place.command(arguments).env("PLEURA_CACHE", "").output().unwrap();
        Said::from(said).fails(&["PLEURA_CACHE is empty"]);
    }
}

#[test]
fn models_that_cannot_be_read() {
    let place = Place::new();
    let plan = |model: &str| place.pleura(&["plan", "--model", model]);
    plan("none.onnx").fails(&["cannot read none.onnx", "o such file"]);
    plan(".").fails(&[". is a directory"]);
    place.write("empty.onnx", b"");
    plan("empty.onnx").fails(&["empty.onnx is empty"]);
    place.write("text.onnx", b"this is no model at all");
    plan("text.onnx").fails(&["cannot import text.onnx"]);
    let huge = fs::File::create(place.path("huge.onnx")).unwrap();
    // Sparse: it takes no space.
    if huge.set_len((2 << 30) + 1).is_ok() {
        plan("huge.onnx").fails(&["huge.onnx is larger than the 2.0 GiB"]);
    }
    // Names in messages must not reach the terminal as commands.
    plan("a\u{1b}[2Jb").fails(&["a\\u{1b}[2Jb"]);
}

#[test]
fn inputs_that_cannot_be_read() {
    let place = Place::new();
    let run = |input: &str| {
        let said =
            place.pleura(&["run", "--model", &reference("mlp.onnx"), "--input", input, "--output", "y.npy"]);
        assert!(!place.path("y.npy").exists());
        said
    };
    let (header, values) = read_npy(reference("mlp.input.npy"));
    let item = values.len() / 2;
    let shape = header.split_once("'shape': (2, ").unwrap().1.split_once(')').unwrap().0;
    let with = |batch: usize, change: &dyn Fn(&mut Vec<f64>)| {
        let mut changed = values.iter().copied().cycle().take(batch * item).collect();
        change(&mut changed);
        let bytes: Vec<u8> = changed.iter().flat_map(|x| x.to_le_bytes()).collect();
        npy("<f8", &format!("({batch}, {shape})"), &bytes)
    };

    run("none.npy").fails(&["cannot read none.npy"]);
    run(".").fails(&[". is a directory"]);
    let whole = with(2, &|_| {});
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("empty", vec![], &["not an npy file"]),
        ("zip", b"PK\x03\x04 and so on".to_vec(), &["not an npy file"]),
        ("header", whole[..40].to_vec(), &["ends within its header"]),
        ("short", whole[..whole.len() - 3].to_vec(), &["ends after", "bytes of values"]),
        ("long", [&whole[..], b"more"].concat(), &["goes on after"]),
        ("dtype", npy("<c16", "(1,)", &[0; 16]), &["\"<c16\"", "real numbers"]),
        ("huge", npy("<f8", "(99999999999, 99999999999)", &[0; 8]), &["(99999999999, 99999999999)"]),
        ("shape", npy("<f4", "(2, 3, 5)", &[0; 120]), &["(2, 3, 5)", "the network takes"]),
        ("none", with(0, &|_| {}), &["holds no item"]),
        ("nan", with(4, &|x| x[3 * item + 17] = f64::NAN), &["element 17 of item 3 of", "is NaN"]),
        ("inf", with(1, &|x| x[2] = f64::INFINITY), &["element 2 of item 0 of", "is infinite"]),
    ];
    for (name, bytes, parts) in cases {
        place.write(name, &bytes);
        run(name).fails(parts);
    }
    place.write("zip", b"PK");
    let model = reference("mlp.onnx");
    place
        .pleura(&["plan", "--model", &model, "--calibrate", "zip"])
        .fails(&["cannot read zip", "not an npy"]);
}

#[test]
fn outputs_are_checked_before_the_work() {
    let place = Place::new();
    let run = |arguments: &[&str]| place.run("no such model", arguments);
    place.write("y.npy", b"precious");
    run(&["--output", "y.npy"]).fails(&["y.npy exists", "--force"]);
    assert_eq!(fs::read(place.path("y.npy")).unwrap(), b"precious");
    run(&["--output", "no/such/y.npy"]).fails(&["cannot write no/such/y.npy"]);
    run(&["--output", ".", "--force"]).fails(&[". is a directory"]);
    #[cfg(unix)]
    run(&["--output", "/dev/null", "--force"]).fails(&["/dev/null is not a regular file"]);
    run(&["--force"]).misused("--output");
}

#[test]
fn devices_and_numbers_are_checked() {
    let place = Place::new();
    place.run("mlp", &["--device", "999"]).fails(&["there is no GPU"]);
    place.run("mlp", &["--device", "abacus"]).misused("auto, cpu, gpu or the number");
    place.run("mlp", &["--device", "-1"]).misused("auto, cpu, gpu or the number");
    place.run("mlp", &["--device", "+0"]).misused("auto, cpu, gpu or the number");
    place.run("mlp", &["--gpu-memory", "6"]).misused("6GB");
    place.run("mlp", &["--gpu-memory", "-1"]).misused("6GB");
    place.run("mlp", &["--gpu-memory", "1e9GB"]).misused("at most");
    let model = reference("mlp.onnx");
    let input = reference("mlp.input.npy");
    for (value, wrong) in [("yes", true), ("2", true), ("", false), ("0", false), ("1", false)] {
        let mut command = place.command(&["run", "--model", &model, "--input", &input, "--device", "cpu"]);
        let said = Said::from(command.env("PLEURA_GPU_CHECKS", value).output().unwrap());
        if wrong {
            said.fails(&["PLEURA_GPU_CHECKS", "must be 0 or 1"]);
        } else {
            said.ok();
        }
    }
    for wrong in ["sse9", "", "AVX2"] {
        let mut command = place.command(&["run", "--model", &model, "--input", &input, "--device", "cpu"]);
        let said = Said::from(command.env("PLEURA_SIMD", wrong).output().unwrap());
        said.fails(&["the value of PLEURA_SIMD", "is not an instruction set of this processor", "scalar"]);
    }
    place.run("mlp", &["--security", "80"]).misused("128, 192 or 256");
    place.run("mlp", &["--precision", "NaN"]).misused("it is 1 to 40");
    place.run("mlp", &["--precision", "0.5"]).misused("it is 1 to 40");
    place.run("mlp", &["--threads", "0"]).misused("--threads");
    place.run("mlp", &["--max-memory", "0"]).misused("--max-memory");
    place.run("mlp", &["--fit", "65"]).misused("--fit");
    place.run("mlp", &["--interval", "-4,4"]).misused("--fit");
}

#[test]
#[cfg(unix)]
fn a_closed_pipe_is_no_failure() {
    let place = Place::new();
    let mut child = place
        .command(&["fit", "--function", "relu"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let said = Said::from(child.wait_with_output().unwrap()).ok();
    assert!(said.err.is_empty(), "{said:?}");
}

#[test]
#[cfg(unix)]
fn an_interruption_ends_it_quietly() {
    let place = Place::new();
    let model = place.path("model");
    assert!(Command::new("mkfifo").arg(&model).status().unwrap().success());
    let input = reference("mlp.input.npy");
    let mut command = place.command(&["run", "--model", "model", "--input", &input, "--output", "y.npy"]);
    let child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    // Returns when the other end is open, and keeps it waiting for more.
    let pipe = fs::File::options().write(true).open(&model).unwrap();
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let said = Said::from(child.wait_with_output().unwrap());
    drop(pipe);
    assert_eq!((said.code, said.err.as_str()), (Some(130), ""));
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 1, "the pipe alone");
}

#[test]
fn run_on_a_perceptron_gives_the_clear_result() {
    let place = Place::new();
    let said = place.run("mlp", &["--output", "y.npy", "--device", "cpu", "--threads", "2"]).ok();
    for part in ["parameters  n = 2^", "device      cpu (", "predicted s", "compile", "decrypt", "fidelity"] {
        assert!(said.out.contains(part), "{said:?}");
    }
    let (header, values) = read_npy(place.path("y.npy"));
    let (expected_header, expected) = read_npy(reference("mlp.output.npy"));
    let shape = |header: &str| header.split_once("'shape'").unwrap().1.trim_end().to_owned();
    assert!(header.contains("'<f8'"));
    assert_eq!(shape(&header), shape(&expected_header));
    assert!(largest_difference(&values, &expected) < 1e-2);
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 2, "y.npy and the cache, no temporary file");
}

#[test]
fn run_on_a_perceptron_prints_json() {
    let place = Place::new();
    let said = place.run("mlp", &["--json", "--device", "cpu"]).json();
    let expected = read_npy(reference("mlp.output.npy")).1;
    let outputs: Vec<f64> = said["outputs"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|item| item.as_array().unwrap())
        .map(|x| x.as_f64().unwrap())
        .collect();
    assert!(largest_difference(&outputs, &expected) < 1e-2);
    for step in ["compile", "keys", "encrypt", "infer", "decrypt"] {
        assert!(said["seconds"][step].as_f64().unwrap() > 0.0, "{step}");
    }
    let layers = said["layers"].as_array().unwrap();
    let measured: f64 = layers.iter().map(|layer| layer["seconds"].as_f64().unwrap()).sum();
    assert!(!layers.is_empty() && measured > 0.0 && measured <= said["seconds"]["infer"].as_f64().unwrap());
    for layer in layers {
        assert!(layer["name"].is_string() && layer["kind"].is_string());
        for number in ["level", "ciphertexts", "diagonals", "rotations", "predicted_seconds"] {
            assert!(layer[number].is_number(), "{number}: {layer}");
        }
    }
    assert_eq!(said["fidelity"]["label_agreement"], 1.0);
    assert!(said["fidelity"]["bits"].as_f64().unwrap() > 5.0);
    assert!(said["fidelity"]["max_abs_error"].as_f64() >= said["fidelity"]["mean_abs_error"].as_f64());
    assert!(said["device_name"].as_str().unwrap().starts_with("cpu"));
    assert_eq!(said["parameters"]["security"], 128);
    assert!(said["notes"].is_array());
}

#[test]
fn groups_of_items_overlap_and_keep_their_order() {
    let place = Place::new();
    let (_, values) = read_npy(reference("mlp.input.npy"));
    let expected = read_npy(reference("mlp.output.npy")).1;
    let first = [true, false, false, true, false, true, true];
    let pick = |values: &[f64]| -> Vec<f64> {
        let (a, b) = values.split_at(values.len() / 2);
        first.iter().flat_map(|&first| if first { a } else { b }.to_vec()).collect()
    };
    let bytes: Vec<u8> = pick(&values).iter().flat_map(|x| x.to_le_bytes()).collect();
    place.write("x.npy", &npy("<f8", "(7, 1, 28, 28)", &bytes));
    let model = reference("mlp.onnx");
    let run = [
        "run", "--model", &model, "--input", "x.npy", "--output", "y.npy", "--batch", "1", "--device", "cpu",
        "--json",
    ];
    let said = place.pleura(&[&run[..], &["--threads", "3"]].concat()).json();
    assert_eq!((&said["groups_at_a_time"], &said["items"]), (&3.into(), &7.into()));
    assert!(
        said["elapsed_seconds"].as_f64().unwrap() > 0.0 && said["fidelity"]["bits"].as_f64().unwrap() > 8.0
    );
    assert!(largest_difference(&read_npy(place.path("y.npy")).1, &pick(&expected)) < 1e-2);
    // A group that repeats has all threads.
    let said = place.pleura(&[&run[..], &["--threads", "3", "--repeat", "2", "--force"]].concat()).json();
    assert_eq!((&said["groups_at_a_time"], &said["latency"]["repeats"]), (&1.into(), &2.into()));
    assert!(largest_difference(&read_npy(place.path("y.npy")).1, &pick(&expected)) < 1e-2);
}

#[test]
fn run_on_a_single_item_without_batch_axis() {
    let place = Place::new();
    let (header, values) = read_npy(reference("mlp.input.npy"));
    let item = &values[..values.len() / 2];
    let shape = header.split_once("'shape': (2, ").unwrap().1.split_once(')').unwrap().0;
    let shape = if shape.contains(',') { format!("({shape})") } else { format!("({shape},)") };
    let bytes: Vec<u8> = item.iter().flat_map(|x| x.to_be_bytes()).collect();
    place.write("x.npy", &npy(">f8", &shape, &bytes));
    let model = reference("mlp.onnx");
    place.pleura(&["run", "--model", &model, "--input", "x.npy", "--output", "y.npy"]).ok();
    let (header, values) = read_npy(place.path("y.npy"));
    let expected = read_npy(reference("mlp.output.npy")).1;
    assert!(header.contains("'shape': (1, "), "{header}");
    assert!(largest_difference(&values, &expected[..expected.len() / 2]) < 1e-2);
}

impl Place {
    /// Writes a reference file's values times a factor.
    fn write_scaled(&self, name: &str, file: &str, factor: f64) {
        let (header, values) = read_npy(reference(file));
        let bytes: Vec<u8> = values.iter().flat_map(|x| (x * factor).to_le_bytes()).collect();
        let shape = header.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
        self.write(name, &npy("<f8", &format!("({shape})"), &bytes));
    }
}

#[test]
fn run_on_a_cached_plan() {
    let place = Place::new();
    assert_eq!(place.run("mlp", &["--json"]).json()["from_cache"], false);
    assert_eq!(place.run("mlp", &["--json"]).json()["from_cache"], true);
    assert_eq!(place.run("mlp", &["--json", "--security", "192"]).json()["from_cache"], false);
    assert_eq!(place.run("mlp", &["--json", "--no-cache"]).json()["from_cache"], false);
    // Without calibration items, a plan depends on the input.
    let input = reference("mlp.input.npy");
    assert_eq!(place.run("mlp", &["--json", "--calibrate", &input]).json()["from_cache"], true);
    place.write_scaled("smaller.npy", "mlp.input.npy", 0.5);
    assert_eq!(place.run("mlp", &["--json", "--calibrate", "smaller.npy"]).json()["from_cache"], false);

    let folder = place.path("cache/pleura/plans");
    let plans = || fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(plans().count(), 3);
    for path in plans() {
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    assert_eq!(place.run("mlp", &["--json"]).json()["from_cache"], false);
    assert_eq!(place.run("mlp", &["--json"]).json()["from_cache"], true);

    // Whole, but nothing that this version understands.
    let outdated = [b"PLEURA\0\x01", &sha2::Sha256::digest(b"old")[..], b"old"].concat();
    plans().for_each(|path| fs::write(path, &outdated).unwrap());
    assert_eq!(place.run("mlp", &["--json"]).json()["from_cache"], false);
    assert_eq!(place.run("mlp", &["--json"]).json()["from_cache"], true);
}

#[test]
fn a_cached_plan_has_the_name_of_its_model() {
    let place = Place::new();
    for name in ["one", "two"] {
        let file = format!("{name}.onnx");
        fs::copy(reference("mlp.onnx"), place.path(&file)).unwrap();
        assert_eq!(place.pleura(&["plan", "--model", &file, "--json"]).json()["network"], name);
    }
}

#[test]
#[cfg(unix)]
fn run_on_a_cache_that_cannot_be_written() {
    let place = Place::new();
    let model = reference("mlp.onnx");
    let input = reference("mlp.input.npy");
    let mut command = place.command(&["run", "--model", &model, "--input", &input]);
    let said = Said::from(command.env("PLEURA_CACHE", "/dev/null").output().unwrap()).ok();
    assert!(
        said.err.contains("warning: the plan is not cached") && said.err.contains("/dev/null/pleura"),
        "{said:?}"
    );
}

#[test]
fn run_on_too_little_memory_is_refused() {
    let place = Place::new();
    place.run("mlp", &["--max-memory", "1kB"]).fails(&["of peak memory", "--max-memory allows 1000 bytes"]);
}

#[test]
fn run_on_an_input_beyond_the_range_warns() {
    let place = Place::new();
    place.write_scaled("far.npy", "mlp.input.npy", 12.0);
    let model = reference("mlp.onnx");
    let usual = reference("mlp.input.npy");
    let far = ["run", "--model", &model, "--input", "far.npy", "--output", "y.npy"];
    let said = place.pleura(&[&far[..], &["--calibrate", &usual]].concat());
    assert!(said.err.contains("was calibrated up to") && said.err.contains("(in 2 of 2 items)"), "{said:?}");
    // The result is worthless, so it is not kept.
    assert!(!place.path("y.npy").exists(), "{said:?}");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("the encrypted results do not match the plaintext network"), "{said:?}");
    // Without calibration items, the input is the calibration.
    let said = place.pleura(&far).ok();
    assert!(!said.err.contains("was calibrated up to") && place.path("y.npy").exists(), "{said:?}");
}

#[test]
fn run_on_an_input_far_within_the_range_warns() {
    let place = Place::new();
    place.write_scaled("far.npy", "mlp.input.npy", 12.0);
    let model = reference("mlp.onnx");
    let usual = reference("mlp.input.npy");
    let run = ["run", "--model", &model, "--input", &usual];
    let said = place.pleura(&[&run[..], &["--calibrate", "far.npy"]].concat()).ok();
    assert!(said.err.contains("results reach") && said.err.contains("rounded to multiples of"), "{said:?}");
    let exact = place.pleura(&[&run[..], &["--calibrate", "far.npy", "--insecure-exact-results"]].concat());
    assert!(!exact.ok().err.contains("results reach"));
    assert!(!place.pleura(&run).ok().err.contains("results reach"));
}

#[test]
fn run_on_existing_output_needs_force() {
    let place = Place::new();
    place.write("y.npy", b"old");
    place.run("mlp", &["--output", "y.npy", "--force"]).ok();
    assert!(read_npy(place.path("y.npy")).1.len() > 1);
}

#[test]
fn run_on_a_perceptron_is_planned() {
    let place = Place::new();
    let model = reference("mlp.onnx");
    let said = place.pleura(&["plan", "--model", &model]).ok();
    for part in ["parameters  n = 2^", "allowed for 128 bits of security", "layout", "predicted ms", "memory"]
    {
        assert!(said.out.contains(part), "{said:?}");
    }
    assert!(
        said.err.contains("ranges of values: those of normal noise; the model file has none"),
        "{said:?}"
    );
    let shipped = reference("../pneumoniamnist/tiny.onnx");
    let measured = place.pleura(&["plan", "--model", &shipped]).ok();
    assert!(measured.err.contains("or of the model file (4 nodes) where they are larger"), "{measured:?}");
    let said = place.pleura(&["plan", "--model", &model, "--security", "256", "--json"]).json();
    assert_eq!(said["parameters"]["security"], 256);
    let fits = said["parameters"]["log2_qp"].as_f64() <= said["parameters"]["max_log2_qp"].as_f64();
    assert!(fits && !said["layers"].as_array().unwrap().is_empty(), "{said}");
}

#[test]
fn fits_are_compared_with_the_model_and_told_with_their_intervals() {
    let place = Place::new();
    place.write("abs.onnx", &elementwise_model("Abs", 16));
    let items: Vec<f64> = (0..16).map(|i| f64::from(i) / 2.0 - 4.0).collect();
    let bytes = |scale: f64| items.iter().flat_map(|x| (x * scale).to_le_bytes()).collect::<Vec<_>>();
    place.write("x.npy", &npy("<f8", "(1, 16)", &bytes(1.0)));
    place.write("small.npy", &npy("<f8", "(1, 16)", &bytes(0.125)));
    let run = ["run", "--model", "abs.onnx", "--input", "x.npy", "--device", "cpu", "--no-cache"];
    place.pleura(&run).fails(&["ciphertexts cannot compute abs", "--fit DEGREE"]);
    // The best polynomial of degree 24 for |x| on -1 to 1 is off by about 0.28 / 24, and the interval reaches 4.875.
    let output = ["--fit", "24", "--output", "y.npy", "--insecure-exact-results", "--json"];
    let report = place.pleura(&[&run[..], &output].concat()).json();
    assert!(report["fidelity"]["bits"].as_f64().unwrap() > 12.0, "{report}");
    let error = report["model_fidelity"]["max_abs_error"].as_f64().unwrap();
    assert!((0.01..0.06).contains(&error), "{error}");
    let (_, results) = read_npy(place.path("y.npy"));
    let worst = results.iter().zip(&items).map(|(y, x)| (y - x.abs()).abs()).fold(0.0, f64::max);
    assert!((worst - error).abs() < 1e-9, "{worst} {error}");
    let notes = report["notes"].to_string();
    assert!(
        notes.contains("replaced abs at Abs_0 by a polynomial of degree 24 on -4.9375 to 4.4375"),
        "{notes}"
    );
    // The best parabola on -a to a is off by a / 8; that on -4.9375 to 4.4375 by 0.617.
    let said = place.pleura(&[&run[..], &["--fit", "2"]].concat());
    assert!(said.err.contains("they are off by up to 0.617"), "{}", said.err);
    // Calibrated with smaller values, the fit ends before the input does.
    let calibrated = ["--fit", "8", "--calibrate", "small.npy"];
    let said = place.pleura(&[&run[..], &calibrated].concat());
    assert!(said.err.contains("polynomials at Abs_0 were fitted on -0.6172 to 0.5547"), "{}", said.err);
}

#[test]
fn results_have_the_precision_that_is_predicted_and_requested() {
    let place = Place::new();
    let said = place.run("lola", &["--json", "--precision", "16", "--device", "cpu"]).json();
    let predicted = said["predicted_bits"].as_f64().unwrap();
    let measured = said["fidelity"]["bits"].as_f64().unwrap();
    assert!(predicted >= 16.0 && measured > predicted - 4.0, "{measured} bits of {predicted}");
    place.run("lola", &["--precision", "39"]).fails(&["no layout is predicted to have 39 bits of precision"]);
}
