//! Client and server in two folders: `export`, `keygen`, `encrypt`, `infer` and `decrypt`.
use crate::common::{Place, Said, npy, reference};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// A client and a server, each with a folder of its own. Files go from one to the other by [`Sides::send`] alone.
struct Sides {
    client: Place,
    server: Place,
}

impl Sides {
    /// After `export` on the server with these arguments, and `keygen` on the client.
    fn new(export: &[&str]) -> Self {
        let sides = Self { client: Place::new(), server: Place::new() };
        sides.server.pleura(&[&["export", "--output", "net"], export].concat()).ok();
        fs::copy(sides.server.path("net/client.spec"), sides.client.path("client.spec")).unwrap();
        fs::rename(sides.server.path("net/server.plan"), sides.server.path("server.plan")).unwrap();
        sides.keygen("secret.key", "eval.keys").ok();
        sides.send("eval.keys");
        sides
    }

    /// The network that takes arrays and is compiled fastest.
    fn lola() -> Self {
        let model = reference("lola.onnx");
        let items = reference("lola.input.npy");
        Self::new(&["--model", &model, "--calibrate", &items])
    }

    fn keygen(&self, secret: &str, keys: &str) -> Said {
        self.client.pleura(&["keygen", "--spec", "client.spec", "--secret", secret, "--output", keys])
    }

    fn encrypt(&self, inputs: &[&str], output: &str) -> Said {
        let fixed = ["encrypt", "--spec", "client.spec", "--secret", "secret.key", "--output", output];
        self.client.pleura(&[&fixed[..], inputs].concat())
    }

    fn infer(&self, input: &str, output: &str) -> Said {
        let fixed = ["infer", "--plan", "server.plan", "--keys", "eval.keys", "--device", "cpu"];
        self.server.pleura(&[&fixed[..], &[input, "--output", output]].concat())
    }

    fn decrypt(&self, arguments: &[&str]) -> Said {
        let fixed = ["decrypt", "--spec", "client.spec", "--secret", "secret.key"];
        self.client.pleura(&[&fixed[..], arguments].concat())
    }

    /// To the server.
    fn send(&self, name: &str) {
        fs::copy(self.client.path(name), self.server.path(name)).unwrap();
    }

    /// Back to the client.
    fn receive(&self, name: &str) {
        fs::copy(self.server.path(name), self.client.path(name)).unwrap();
    }

    /// From inputs to y.ct on the client.
    fn round(&self, inputs: &[&str]) {
        self.encrypt(inputs, "x.ct").ok();
        self.send("x.ct");
        self.infer("x.ct", "y.ct").ok();
        self.receive("y.ct");
    }
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn samples() -> String {
    reference("../samples")
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        Value::Object(values) => values.values().flat_map(numbers).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

/// Rounded by chance to one of the two nearest multiples of a unit: no more than a unit apart, and multiples of it.
fn equal_to_the_last_bit(a: &[f64], b: &[f64], bits: i64) {
    let unit = (-bits as f64).exp2();
    assert_eq!(a.len(), b.len());
    for (x, y) in a.iter().zip(b) {
        assert!((x - y).abs() <= unit, "{x} {y} {unit}");
        assert_eq!((x / unit).fract(), 0.0, "{x} is no multiple of {unit}");
    }
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn x_rays_are_classified_as_on_one_machine() {
    let sides = Sides { client: Place::new(), server: Place::new() };
    let exported = sides.server.pleura(&["export", "--model", "pneumonia", "--output", ".", "--json"]).json();
    let bits = exported["publish_bits"].as_i64().unwrap();
    fs::copy(sides.server.path("client.spec"), sides.client.path("client.spec")).unwrap();
    let made = sides.keygen("secret.key", "eval.keys").ok();
    assert!(made.out.contains("secret.key") && made.out.contains("this machine only"), "{made:?}");
    sides.send("eval.keys");
    sides.round(&[&samples()]);
    assert!(!sides.server.path("secret.key").exists());

    let rows = lines(&sides.decrypt(&["y.ct", "--json", "--output", "ward.csv"]).ok().out);
    let local = lines(&sides.client.pleura(&["classify", &samples(), "--json", "--device", "cpu"]).ok().out);
    assert_eq!((rows.len(), local.len()), (17, 17));
    assert_eq!(rows[16]["summary"]["images"], 16);
    for (row, expected) in rows.iter().zip(&local).take(16) {
        assert_eq!((&row["image"], &row["label"]), (&expected["image"], &expected["label"]));
        equal_to_the_last_bit(&numbers(&row["scores"]), &numbers(&expected["scores"]), bits);
        assert!(row.get("warnings").is_none(), "{row}");
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&row["probabilities"]), keys(&expected["probabilities"]));
    }
    // Once more, to the bit: chance follows from key and ciphertext.
    assert_eq!(lines(&sides.decrypt(&["y.ct", "--json"]).ok().out), rows);

    let table = sides.decrypt(&["y.ct"]).ok().out;
    assert!(table.starts_with("image") && table.contains("16 X-rays, by pneumonia"), "{table}");
    let csv = fs::read_to_string(sides.client.path("ward.csv")).unwrap();
    assert!(csv.starts_with("image,sha256,model,label,p(normal),p(pneumonia)\n"), "{csv}");
    assert_eq!(csv.lines().count(), 17);

    // Names are encrypted, as pixels are.
    let sent = fs::read(sides.server.path("x.ct")).unwrap();
    assert!(!sent.windows(6).any(|window| window == b"person"));

    // A name is no formula of a spreadsheet.
    fs::copy(reference("../samples/NORMAL2-IM-1438-0001.jpeg"), sides.client.path("=1+1.jpeg")).unwrap();
    sides.encrypt(&["=1+1.jpeg", "--force"], "x.ct").ok();
    sides.send("x.ct");
    sides.infer("x.ct", "z.ct").ok();
    sides.receive("z.ct");
    sides.decrypt(&["z.ct", "--output", "formula.csv"]).ok();
    let csv = fs::read_to_string(sides.client.path("formula.csv")).unwrap();
    assert!(csv.contains("\n%3D1+1.jpeg,"), "{csv}");
}

#[test]
fn arrays_are_inferred_as_on_one_machine() {
    let sides = Sides::lola();
    let model = reference("lola.onnx");
    let items = reference("lola.input.npy");
    sides.round(&[&items]);
    let said = sides.decrypt(&["y.ct", "--json", "--output", "y.npy"]).json();
    let local =
        ["run", "--model", &model, "--input", &items, "--calibrate", &items, "--device", "cpu", "--json"];
    let local = sides.client.pleura(&local).json();
    assert_eq!((&said["network"], &said["items"]), (&Value::from("lola"), &Value::from(2)));
    let outputs = numbers(&said["outputs"]);
    equal_to_the_last_bit(&outputs, &numbers(&local["outputs"]), 9);
    assert!(said["names"][1].as_str().unwrap().ends_with("lola.input.npy#1"), "{said}");
    let file = fs::read(sides.client.path("y.npy")).unwrap();
    let values =
        file[file.len() - 8 * outputs.len()..].chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap()));
    assert_eq!(values.collect::<Vec<_>>(), outputs);
    let table = sides.decrypt(&["y.ct"]).ok().out;
    assert!(table.contains("lola.input.npy#0") && table.contains("2 items, by lola"), "{table}");
}

#[test]
fn small_x_rays_share_ciphertexts() {
    let sides = Sides::new(&["--model", "pneumoniamnist", "--batch", "4"]);
    sides.round(&[&samples()]);
    let inferred = sides.server.pleura(&[
        "infer",
        "--plan",
        "server.plan",
        "--keys",
        "eval.keys",
        "x.ct",
        "--output",
        "z.ct",
        "--json",
        "--device",
        "cpu",
    ]);
    assert_eq!(inferred.json()["ciphertext_groups"], 4);
    let rows = lines(&sides.decrypt(&["y.ct", "--json"]).ok().out);
    let local = ["classify", "--model", "pneumoniamnist", &samples(), "--json", "--device", "cpu"];
    let local = lines(&sides.client.pleura(&local).ok().out);
    for (row, expected) in rows.iter().zip(&local).take(16) {
        assert_eq!(row["image"], expected["image"]);
        let differences = numbers(&row["scores"]).into_iter().zip(numbers(&expected["scores"]));
        assert!(differences.into_iter().all(|(a, b)| (a - b).abs() < 0.02), "{row} {expected}");
    }
    // One that does not fill a ciphertext.
    sides.encrypt(&[&format!("{}/NORMAL2-IM-1438-0001.jpeg", samples())], "one.ct").ok();
    sides.send("one.ct");
    sides.infer("one.ct", "one.out").ok();
    sides.receive("one.out");
    assert_eq!(lines(&sides.decrypt(&["one.out", "--json"]).ok().out).len(), 2);
}

#[test]
fn files_of_two_exports_or_two_keys_are_not_mixed() {
    let sides = Sides::lola();
    let items = reference("lola.input.npy");
    sides.round(&[&items]);

    // Another key.
    sides.keygen("other.key", "other.keys").ok();
    let other = ["--spec", "client.spec", "--secret", "other.key"];
    let refused = sides.client.pleura(&[&["decrypt"], &other[..], &["y.ct"]].concat());
    refused.fails(&["cannot use y.ct", "made with key", "is used here"]);
    sides.client.pleura(&[&["encrypt"], &other[..], &[&items, "--output", "other.ct"]].concat()).ok();
    sides.send("other.ct");
    sides.infer("other.ct", "z.ct").fails(&["cannot use other.ct", "made with key"]);
    assert!(!sides.server.path("z.ct").exists());

    // Another network.
    let mlp = Sides::new(&["--model", &reference("mlp.onnx")]);
    fs::copy(mlp.client.path("client.spec"), sides.client.path("mlp.spec")).unwrap();
    fs::copy(mlp.server.path("server.plan"), sides.server.path("mlp.plan")).unwrap();
    for command in [&["decrypt", "y.ct"][..], &["encrypt", &items, "--output", "z.ct"]] {
        let refused =
            sides.client.pleura(&[command, &["--spec", "mlp.spec", "--secret", "secret.key"]].concat());
        refused.fails(&["cannot use secret.key", "made for plan", "is used here"]);
    }
    let infer = ["infer", "--keys", "eval.keys", "x.ct", "--output", "z.ct", "--plan"];
    sides
        .server
        .pleura(&[&infer[..], &["mlp.plan"]].concat())
        .fails(&["cannot use eval.keys", "made for plan"]);
    fs::copy(mlp.server.path("eval.keys"), sides.server.path("mlp.keys")).unwrap();
    let infer = ["infer", "--plan", "mlp.plan", "--keys", "mlp.keys", "x.ct", "--output", "z.ct"];
    sides.server.pleura(&infer).fails(&["cannot use x.ct", "made for plan"]);
    mlp.encrypt(&[&reference("mlp.input.npy")], "x.ct").ok();
    fs::copy(mlp.client.path("x.ct"), sides.client.path("mlp.ct")).unwrap();
    sides.decrypt(&["mlp.ct"]).fails(&["cannot use mlp.ct", "encrypted items, not encrypted results"]);
    sides.encrypt(&[&reference("odd.input.npy")], "z.ct").fails(&["(1, 28, 28)"]);
    assert!(!sides.client.path("z.ct").exists() && !sides.server.path("z.ct").exists());
}

#[test]
fn files_in_each_others_places_are_named() {
    let sides = Sides::lola();
    let items = reference("lola.input.npy");
    sides.round(&[&items]);
    sides.send("secret.key");
    sides.send("client.spec");
    sides.infer("y.ct", "z.ct").fails(&["cannot use y.ct", "encrypted results, not encrypted items"]);
    sides.decrypt(&["x.ct"]).fails(&["cannot use x.ct", "encrypted items, not encrypted results"]);
    let infer = |plan: &str, keys: &str, input: &str| {
        sides.server.pleura(&["infer", "--plan", plan, "--keys", keys, input, "--output", "z.ct"])
    };
    let keys = "not the evaluation keys of a client";
    infer("server.plan", "secret.key", "x.ct").fails(&[
        "cannot use secret.key",
        "the secret key of a client",
        keys,
    ]);
    infer("client.spec", "eval.keys", "x.ct")
        .fails(&["cannot use client.spec", "a client bundle, not a server plan"]);
    infer("server.plan", "x.ct", "x.ct").fails(&["cannot use x.ct", keys]);
    infer("server.plan", "eval.keys", "eval.keys").fails(&["cannot use eval.keys", "not encrypted items"]);
    let decrypt = |spec: &str, secret: &str| {
        sides.client.pleura(&["decrypt", "--spec", spec, "--secret", secret, "y.ct"])
    };
    decrypt("client.spec", "eval.keys").fails(&["cannot use eval.keys", "not the secret key of a client"]);
    decrypt("secret.key", "secret.key").fails(&["cannot use secret.key", "not a client bundle"]);
    for (name, bytes) in
        [("noise", &b"It was a dark and stormy night"[..]), ("short", b"PLEU"), ("none", b"")]
    {
        sides.client.write(name, bytes);
        fs::write(sides.server.path(name), bytes).unwrap();
        sides.decrypt(&[name]).fails(&[name]);
        decrypt(name, "secret.key").fails(&[name]);
        decrypt("client.spec", name).fails(&[name]);
        infer(name, "eval.keys", "x.ct").fails(&[name]);
        infer("server.plan", name, "x.ct").fails(&[name]);
        infer("server.plan", "eval.keys", name).fails(&[name]);
    }
    assert!(!sides.server.path("z.ct").exists());
}

/// Positions in a file of some length: its ends, and others in between.
fn positions(len: usize) -> Vec<usize> {
    let mut positions: Vec<usize> = (0..24.min(len)).chain((0..16).map(|k| k * len / 16)).collect();
    positions.extend([40, 72, 104, 119, 120, 136].into_iter().filter(|&at| at < len));
    positions.extend(len.saturating_sub(3)..len);
    positions
}

#[test]
fn damage_is_noticed_wherever_it_is() {
    let sides = Sides::lola();
    sides.round(&[&reference("lola.input.npy")]);
    let decrypt = |spec: &str, secret: &str, input: &str| {
        sides.client.pleura(&["decrypt", "--spec", spec, "--secret", secret, input, "--output", "z.npy"])
    };
    let infer = |plan: &str, keys: &str, input: &str| {
        sides
            .server
            .pleura(&["infer", "--plan", plan, "--keys", keys, input, "--output", "z.ct", "--device", "cpu"])
    };
    let commands: [(&Place, &str, &dyn Fn() -> Said); 6] = [
        (&sides.client, "client.spec", &|| decrypt("bad", "secret.key", "y.ct")),
        (&sides.client, "secret.key", &|| decrypt("client.spec", "bad", "y.ct")),
        (&sides.client, "y.ct", &|| decrypt("client.spec", "secret.key", "bad")),
        (&sides.server, "server.plan", &|| infer("bad", "eval.keys", "x.ct")),
        (&sides.server, "eval.keys", &|| infer("server.plan", "bad", "x.ct")),
        (&sides.server, "x.ct", &|| infer("server.plan", "eval.keys", "bad")),
    ];
    for (place, name, command) in commands {
        let whole = fs::read(place.path(name)).unwrap();
        // Permissions of the secret key are kept.
        fs::copy(place.path(name), place.path("bad")).unwrap();
        for at in positions(whole.len()) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(place.path("bad"), &bytes).unwrap();
            command().fails(&["bad"]);
        }
        for bytes in [&whole[..whole.len() / 2], &whole[..whole.len() - 1], &[&whole[..], b"x"].concat()] {
            fs::write(place.path("bad"), bytes).unwrap();
            command().fails(&["bad"]);
        }
        fs::remove_file(place.path("bad")).unwrap();
    }
    assert!(!sides.client.path("z.npy").exists() && !sides.server.path("z.ct").exists());
    let left = |place: &Place| fs::read_dir(place.path(".")).unwrap().count();
    assert_eq!((left(&sides.client), left(&sides.server)), (5, 6), "nothing half-written is left");
}

#[test]
fn results_that_are_cut_off_or_exchanged_are_refused() {
    let sides = Sides::lola();
    let items = reference("lola.input.npy");
    sides.round(&[&items]);
    let first = fs::read(sides.client.path("y.ct")).unwrap();
    // Frames of one length follow a header of 136 bytes; the rest is the end mark.
    let frame = 9 + usize::try_from(u64::from_le_bytes(first[137..145].try_into().unwrap())).unwrap() + 32;
    sides.client.write("cut.ct", &first[..136 + frame]);
    sides.decrypt(&["cut.ct"]).fails(&["cannot use cut.ct", "after 1 whole", "cut short"]);
    sides.client.write("cut.ct", &[&first[..136], &first[136 + frame..]].concat());
    sides.decrypt(&["cut.ct"]).fails(&["cannot use cut.ct", "digest does not match"]);
    let swapped = [
        &first[..136],
        &first[136 + frame..136 + 2 * frame],
        &first[136..136 + frame],
        &first[136 + 2 * frame..],
    ];
    sides.client.write("cut.ct", &swapped.concat());
    sides.decrypt(&["cut.ct"]).fails(&["cannot use cut.ct", "digest does not match"]);
}

#[test]
#[cfg(unix)]
fn secret_keys_are_private_and_never_replaced() {
    use std::os::unix::fs::PermissionsExt;
    let sides = Sides::lola();
    let secret = sides.client.path("secret.key");
    assert_eq!(mode(&secret), 0o600);
    let before = fs::read(&secret).unwrap();
    let again =
        ["keygen", "--spec", "client.spec", "--secret", "secret.key", "--output", "new.keys", "--force"];
    sides.client.pleura(&again).fails(&["secret.key exists", "not replaced"]);
    assert!(!sides.client.path("new.keys").exists());
    sides.keygen("new.key", "eval.keys").fails(&["eval.keys exists", "--force"]);
    assert!(!sides.client.path("new.key").exists());
    sides.keygen("same", "./same").fails(&["two files to"]);
    sides.keygen("new.key", "no/such/place").fails(&["no folder"]);
    assert!(!sides.client.path("new.key").exists());
    assert_eq!(fs::read(&secret).unwrap(), before);
    let items = reference("lola.input.npy");
    for mode in [0o640, 0o604, 0o660] {
        fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).unwrap();
        sides.encrypt(&[&items], "z.ct").fails(&["secret.key", "`chmod 600 secret.key`"]);
    }
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o400)).unwrap();
    sides.encrypt(&[&items], "x.ct").ok();

    // No output replaces an input, or a file that exists.
    sides.encrypt(&[&items], "x.ct").fails(&["x.ct exists", "--force"]);
    for input in ["secret.key", "client.spec"] {
        sides.encrypt(&[&items, "--force"], input).fails(&[input, "is an input"]);
        sides.decrypt(&["x.ct", "--output", input, "--force"]).fails(&[input, "is an input"]);
    }
    sides.send("x.ct");
    for input in ["x.ct", "server.plan", "eval.keys"] {
        let infer =
            ["infer", "--plan", "server.plan", "--keys", "eval.keys", "x.ct", "--force", "--output", input];
        sides.server.pleura(&infer).fails(&[input, "is an input"]);
    }
    // Nor do two outputs share a place, of which the signing key is one if it is made.
    let names = [["y.ct", "y.ct", "new.pem"], ["y.ct", "y.json", "y.json"], ["y.ct", "y.json", "y.ct"]];
    for [output, receipt, key] in names {
        let infer = ["infer", "--plan", "server.plan", "--keys", "eval.keys", "x.ct", "--force"];
        let outputs = ["--output", output, "--receipt", receipt, "--signing-key", key];
        sides.server.pleura(&[&infer[..], &outputs].concat()).fails(&["two files to"]);
    }
    assert!(["y.ct", "y.json", "new.pem"].iter().all(|name| !sides.server.path(name).exists()));
    assert_eq!(fs::read(&secret).unwrap(), before);
}

#[test]
#[cfg(unix)]
fn passphrases_protect_keys() {
    use std::os::unix::fs::PermissionsExt;
    let sides = Sides::lola();
    let write = |name: &str, text: &str| {
        let path = sides.client.write(name, text.as_bytes());
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("pass", "correct horse battery staple\n");
    write("wrong", "correct horse battery stable\n");
    write("empty", "\n");
    let keygen = |secret: &str, file: &str| {
        let fixed = ["keygen", "--spec", "client.spec", "--output", "p.keys", "--force", "--secret"];
        sides.client.pleura(&[&fixed[..], &[secret, "--passphrase-file", file]].concat())
    };
    keygen("no.key", "empty").fails(&["empty passphrase"]);
    keygen("no.key", "missing").fails(&["missing"]);
    assert!(!sides.client.path("no.key").exists());
    keygen("p.key", "pass").ok();
    let items = reference("lola.input.npy");
    let encrypt = |more: &[&str]| {
        let fixed =
            ["encrypt", "--spec", "client.spec", "--secret", "p.key", &items, "--output", "p.ct", "--force"];
        sides.client.pleura(&[&fixed[..], more].concat())
    };
    encrypt(&["--passphrase-file", "pass"]).ok();
    encrypt(&["--passphrase-file", "wrong"]).fails(&["cannot use p.key", "passphrase is not that"]);
    encrypt(&[]).fails(&["cannot use p.key", "no terminal", "--passphrase-file"]);
    fs::set_permissions(sides.client.path("pass"), fs::Permissions::from_mode(0o644)).unwrap();
    encrypt(&["--passphrase-file", "pass"]).fails(&["`chmod 600 pass`"]);
    let plain = fs::read(sides.client.path("secret.key")).unwrap();
    assert_ne!(fs::read(sides.client.path("p.key")).unwrap().len(), plain.len());
}

#[test]
fn the_client_warns_of_what_may_be_wrong() {
    let sides = Sides::lola();
    let values: Vec<u8> = (0..28 * 28).flat_map(|_| 30f64.to_le_bytes()).collect();
    sides.client.write("large.npy", &npy("<f8", "(1, 28, 28)", &values));
    let said = sides.encrypt(&["large.npy"], "x.ct").ok();
    assert!(said.err.contains("warning: large.npy: values reach"), "{said:?}");
    sides.send("x.ct");
    sides.infer("x.ct", "y.ct").ok();
    sides.receive("y.ct");
    let said = sides.decrypt(&["y.ct", "--json"]).ok();
    assert!(said.err.contains("large.npy: values reach"), "{said:?}");
    assert!(said.out.contains("calibrated up to"), "{said:?}");

    let xrays = Sides::new(&["--model", "pneumonia"]);
    let pixels: Vec<u8> = (0..300 * 280u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let path = xrays.client.path("noise.png");
    image::save_buffer(&path, &pixels, 300, 280, image::ExtendedColorType::L8).unwrap();
    xrays.client.write("broken.png", b"no picture");
    let said = xrays.encrypt(&["noise.png"], "x.ct").ok();
    assert!(said.err.contains("does not look like a chest X-ray"), "{said:?}");
    xrays
        .encrypt(&["noise.png", "broken.png"], "z.ct")
        .fails_late(&["1 file could not be read", "1 are in z.ct"]);
    xrays.encrypt(&["broken.png"], "none.ct").fails(&["broken.png"]);
    assert!(!xrays.client.path("none.ct").exists());
    xrays.send("x.ct");
    xrays.infer("x.ct", "y.ct").ok();
    xrays.receive("y.ct");
    let rows = lines(&xrays.decrypt(&["y.ct", "--json"]).ok().out);
    assert!(rows[0]["warnings"][0].as_str().unwrap().contains("does not look like"), "{rows:?}");
}

#[test]
fn exports_say_what_is_wrong_with_arguments() {
    let place = Place::new();
    let export = |arguments: &[&str]| place.pleura(&[&["export", "--output", "net"], arguments].concat());
    export(&["--model", "pnuemonia"]).fails(&["no model \"pnuemonia\"", "pneumonia-hefnet"]);
    export(&["--model", "missing.onnx"]).fails(&["missing.onnx"]);
    export(&["--model", "pneumonia", "--fit", "4", "--interval", "-4,4"]).fails(&["--fit has no effect"]);
    export(&["--model", &reference("odd.onnx"), "--xray"]).fails(&["(3, 30, 27)"]);
    assert!(!place.path("net").exists());
    let said = export(&["--model", &reference("mlp.onnx")]).ok();
    assert!(said.err.contains("warning: ranges of values") && said.out.contains("server.plan"), "{said:?}");
    export(&["--model", &reference("mlp.onnx")]).fails(&["server.plan exists", "--force"]);
    export(&["--model", &reference("mlp.onnx"), "--force"]).ok();
    place.write("file", b"x");
    place
        .pleura(&["export", "--model", "pneumonia", "--output", "file"])
        .fails(&["file is a file, not a folder"]);
    for command in ["export", "keygen", "encrypt", "infer", "decrypt"] {
        let help = place.pleura(&[command, "--help"]).ok().out;
        assert!(help.contains("Examples:") && help.contains(&format!("pleura {command} ")), "{help}");
        place.pleura(&[command]).misused("--");
    }
}

#[test]
fn receipts_are_audited() {
    let sides = Sides::lola();
    let items = reference("lola.input.npy");
    sides.encrypt(&[&items], "x.ct").ok();
    sides.encrypt(&[&items], "other.ct").ok();
    sides.send("x.ct");
    sides.send("other.ct");
    let infer = ["infer", "--plan", "server.plan", "--keys", "eval.keys", "--device", "cpu", "x.ct"];
    let signed = ["--receipt", "y.json", "--signing-key", "server.pem"];
    let made = sides.server.pleura(&[&infer[..], &["--output", "y.ct"], &signed].concat()).ok();
    assert!(made.err.contains("server.pem is a new signing key"), "{made:?}");
    #[cfg(unix)]
    assert_eq!(mode(&sides.server.path("server.pem")), 0o600);
    let again = [&infer[..], &["--output", "y2.ct", "--receipt", "y2.json", "--json"], &signed[2..]].concat();
    let again = sides.server.pleura(&again).json();
    let signer = again["receipt"]["signer"].as_str().unwrap();
    assert!(made.out.contains(&format!("signed by {signer}")), "{made:?}");

    // On another number of threads, every bit is the same.
    let audit = ["audit", "y.json", "--plan", "server.plan", "--keys", "eval.keys", "--threads", "1"];
    let audit = [&audit[..], &["--device", "cpu", "--signer", signer]].concat();
    let right = sides.server.pleura(&[&audit[..], &["x.ct", "--result", "y2.ct"]].concat()).ok();
    assert!(right.out.contains("recomputed on"), "{right:?}");
    let json = sides.server.pleura(&[&audit[..], &["x.ct", "--json"]].concat()).json();
    assert_eq!((&json["fits"], &json["recomputed"]), (&true.into(), &true.into()));
    assert_eq!(json["checks"].as_array().unwrap().len(), 9);

    let wrong = sides.server.pleura(&[&audit[..], &["other.ct", "--result", "x.ct"]].concat());
    wrong.fails_late(&["the receipt does not match: input, output, result"]);
    // A client without plan and keys.
    sides.receive("y.json");
    sides.receive("y.ct");
    let files = sides.client.pleura(&["audit", "y.json", "x.ct", "--result", "y.ct"]).ok();
    assert!(files.out.contains("not recomputed") && files.out.contains("--signer"), "{files:?}");
    sides.client.pleura(&["audit", "y.json", "y.ct"]).fails_late(&["does not match: input"]);
    let other = "00".repeat(32);
    sides.client.pleura(&["audit", "y.json", "x.ct", "--signer", &other]).fails(&["was signed by"]);
    let forged =
        fs::read_to_string(sides.client.path("y.json")).unwrap().replace("\"groups\": 2", "\"groups\": 3");
    sides.client.write("forged.json", forged.as_bytes());
    sides.client.pleura(&["audit", "forged.json", "x.ct"]).fails(&["its signature does not match"]);
    sides.client.pleura(&["audit", "x.ct", "x.ct"]).fails(&[""]);
}

#[test]
#[cfg(unix)]
fn an_interruption_leaves_both_keys_or_none() {
    let sides = Sides::lola();
    let run = ["keygen", "--spec", "client.spec", "--secret", "s.key", "--output", "e.keys"];
    let mut child = sides.client.command(&run).stdout(std::process::Stdio::null()).spawn().unwrap();
    let [secret, keys] = ["s.key", "e.keys"].map(|name| sides.client.path(name));
    // The secret key is written first, and evaluation keys take a while.
    while !secret.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let kill = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    child.wait().unwrap();
    assert_eq!(secret.exists(), keys.exists());
}
