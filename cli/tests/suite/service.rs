//! `pleura serve`, and `pleura classify` on it: a ward from nothing to a table.
use crate::common::{Place, Said, reference};
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A server in a folder, with a client's token beside it.
struct Server {
    place: Place,
    child: Child,
    url: String,
}

impl Server {
    fn start() -> Self {
        Self::with_model(|_| "pneumonia")
    }

    /// A server of one model, whose name or folder `make` returns.
    fn with_model(make: impl FnOnce(&Place) -> &'static str) -> Self {
        let place = Place::new();
        let model = make(&place);
        let token = place.pleura(&["serve", "--data", "data", "--new-token", "ward-1"]).ok();
        place.write("token", token.out.as_bytes());
        private(&place.path("token"));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let url = format!("https://localhost:{port}");
        let child = Self::spawn(&place, port, model);
        Self { place, child, url }
    }

    fn spawn(place: &Place, port: u16, model: &str) -> Child {
        let address = format!("127.0.0.1:{port}");
        let arguments = [
            "serve",
            "--data",
            "data",
            "--model",
            model,
            "--self-signed",
            "localhost",
            "--device",
            "cpu",
            "--listen",
            &address,
        ];
        let child = place.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let clock = Instant::now();
        while std::net::TcpStream::connect(&address).is_err() {
            assert!(clock.elapsed() < Duration::from_secs(60), "no server");
            thread::sleep(Duration::from_millis(10));
        }
        child
    }

    fn classify(&self, arguments: &[&str]) -> Said {
        let fixed =
            ["classify", "--server", &self.url, "--ca", "data/self-signed.pem", "--token-file", "token"];
        self.place.pleura(&[&fixed[..], arguments].concat())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(unix)]
fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Image, label and probabilities of each row.
fn rows(path: &Path) -> Vec<(String, String, Vec<f64>)> {
    let text = fs::read_to_string(path).unwrap();
    let rows = text.lines().skip(1).map(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        let [image, _, _, label, a, b, ..] = cells[..] else { panic!("{line}") };
        (image.to_owned(), label.to_owned(), vec![a.parse().unwrap(), b.parse().unwrap()])
    });
    rows.collect()
}

#[test]
#[cfg(unix)]
fn a_ward_is_classified_on_a_server_as_in_one_process() {
    // Several X-rays share ciphertexts, on the server as here.
    let server = Server::with_model(|place| {
        let export = ["export", "--model", "pneumonia", "--batch", "8", "--output", "net", "--json"];
        let group = place.pleura(&export).json()["group"].as_u64().unwrap();
        assert!((2..=8).contains(&group), "{group}");
        "net"
    });
    let place = &server.place;
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/samples");
    place.pleura(&["classify", samples, "--device", "cpu", "--output", "local.csv"]).ok();
    let said = server.classify(&[samples, "--secret", "secret.key", "--output", "ward.csv"]).ok();
    assert!(said.out.contains("16 X-rays, 1 file skipped, by pneumonia, on a server."), "{}", said.out);
    let [local, ward] = ["local.csv", "ward.csv"].map(|name| rows(&place.path(name)));
    assert_eq!((local.len(), ward.len()), (16, 16));
    let text = fs::read_to_string(place.path("ward.csv")).unwrap();
    for line in text.lines().skip(1) {
        assert!(line.split(',').skip(9).take(5).all(|s| s.parse::<f64>().unwrap() > 0.0), "{line}");
    }
    for (a, b) in local.iter().zip(&ward) {
        assert_eq!((&a.0, &a.1), (&b.0, &b.1));
        assert!(a.2.iter().zip(&b.2).all(|(a, b)| (a - b).abs() < 2e-3), "{a:?} {b:?}");
    }
    // Anybody with the plan can check the answers that were kept.
    server.classify(&[&format!("{samples}/NORMAL2-IM-1427-0001.jpeg"), "--receipts", "kept"]).ok();
    let kept: Vec<_> = fs::read_dir(place.path("kept")).unwrap().map(|e| e.unwrap().path()).collect();
    let named = |end: &str| kept.iter().filter_map(|path| path.to_str()).find(|p| p.ends_with(end)).unwrap();
    let files = [named(".json"), named(".x.ct"), "--keys", named(".keys"), "--result", named(".y.ct")];
    let audit = [&["audit", "--plan", "net/server.plan", "--device", "cpu"], &files[..]].concat();
    let said = place.pleura(&audit).ok();
    assert!(said.out.contains("recomputed on"), "{said:?}");
    let other = "00".repeat(32);
    server.classify(&[samples, "--signer", &other]).fails(&["signed a receipt with", &other]);
    // Half of a table is completed by the same command, under the same key.
    let text = fs::read_to_string(place.path("ward.csv")).unwrap();
    let half: String = text.split_inclusive('\n').take(9).collect();
    place.write("half.csv.part", half.as_bytes());
    let labels = ward.iter().map(|row| {
        let class = if row.0.contains("person") { "pneumonia" } else { "normal" };
        format!("{},{class}\n", row.0)
    });
    place.write("doctors.csv", labels.collect::<String>().as_bytes());
    let resumed = [samples, "--secret", "secret.key", "--output", "half.csv", "-v"];
    let labelled = ["--labels", "doctors.csv", "--html", "ward.html"];
    let said = server.classify(&[&resumed[..], &labelled].concat()).ok();
    assert!(said.out.contains("8 X-rays, 1 file skipped, 8 resumed"), "{}", said.out);
    assert!(said.out.contains("on 16 labelled X-rays"), "{}", said.out);
    let page = fs::read_to_string(place.path("ward.html")).unwrap();
    assert!(page.contains("8 X-rays of an earlier run") && page.contains("ROC curve of pneumonia"), "{page}");
    assert_eq!(page.matches("data:image/png;base64").count(), 8);
    assert!(!page.contains("not the plaintext network"), "{page}");
    let found: Vec<_> = rows(&place.path("half.csv")).into_iter().map(|row| row.1).collect();
    assert_eq!(found, ward.into_iter().map(|row| row.1).collect::<Vec<_>>());
}

#[test]
#[cfg(unix)]
fn arrays_are_run_on_a_server_as_in_one_process() {
    let [model, items] = ["lola.onnx", "lola.input.npy"].map(crate::common::reference);
    let server = Server::with_model(|place| {
        place.pleura(&["export", "--model", &model, "--calibrate", &items, "--output", "net"]).ok();
        "net"
    });
    let place = &server.place;
    let fixed = ["run", "--server", &server.url, "--ca", "data/self-signed.pem", "--token-file", "token"];
    let run = [&fixed[..], &["--model", "lola", "--input", &items]].concat();
    let served = place.pleura(&[&run[..], &["--json", "--output", "y.npy"]].concat()).json();
    let local = place.run("lola", &["--json", "--device", "cpu"]).json();
    assert_eq!(served["items"], 2);
    assert!(place.path("y.npy").exists());
    let numbers = |value: &serde_json::Value| -> Vec<f64> {
        let items = value["outputs"].as_array().unwrap().iter().flat_map(|item| item.as_array().unwrap());
        items.map(|y| y.as_f64().unwrap()).collect()
    };
    let [served, local] = [numbers(&served), numbers(&local)];
    let largest = local.iter().fold(0.0f64, |max, y| max.max(y.abs()));
    assert_eq!(served.len(), 20);
    assert!(served.iter().zip(&local).all(|(a, b)| (a - b).abs() < largest / 512.0), "{served:?} {local:?}");
    place.pleura(&[&run[..], &["--fit", "3"]].concat()).misused("--fit");
    place.pleura(&[&run[..], &["--device", "cpu"]].concat()).misused("--device");
    server.classify(&[&items]).fails(&["takes arrays, not X-rays"]);
}

#[test]
#[cfg(unix)]
fn mistakes_get_sentences() {
    let server = Server::start();
    let place = &server.place;
    place.write("other", b"pleura_123");
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/samples/NORMAL2-IM-1427-0001.jpeg");
    let classify = |url: &str, ca: &str, token: &str| {
        let arguments = ["classify", "--server", url, "--ca", ca, "--token-file", token, sample];
        let said = place.pleura(&arguments);
        assert_eq!(said.code, Some(1), "{said:?}");
        said.err
    };
    let cert = "data/self-signed.pem";
    assert!(classify(&server.url, cert, "other").contains("users other than the owner can read"));
    private(&place.path("other"));
    assert!(classify(&server.url, cert, "other").contains("--token-file names the file of a token"));
    assert!(classify(&server.url, "token", "token").contains("no certificate"));
    assert!(classify(&server.url.replace("https", "http"), cert, "token").contains("https://HOST:PORT"));
    let text = classify("https://localhost:1", cert, "token");
    assert!(
        text.contains("cannot use https://localhost:1: ") && text.contains("cannot be reached"),
        "{text}"
    );
    let text = classify(&server.url.replace("localhost", "127.0.0.1"), cert, "token");
    assert!(text.contains("--ca FILE names the server's own certificate"), "{text}");
    let said = place.pleura(&["serve", "--data", "data", "--new-token", "ward-1"]);
    assert!(said.code == Some(1) && said.err.contains("has a token of the name ward-1"), "{said:?}");
    let said = place.pleura(&["serve", "--data", "empty", "--self-signed", "localhost"]);
    assert!(said.code == Some(1) && said.err.contains("--new-token"), "{said:?}");
    let said = place.pleura(&["serve", "--data", "data"]);
    assert!(said.code == Some(1) && said.err.contains("--tls-cert"), "{said:?}");
    let said = place.pleura(&["serve", "--openapi"]).ok();
    assert!(said.out.contains("/v1/keys/{id}"));
    assert!(place.pleura(&["classify", "--server", &server.url, sample]).code == Some(2));
    assert!(place.pleura(&["classify", "--token-file", "token", sample]).code == Some(2));
}

#[test]
#[cfg(unix)]
fn a_signal_ends_a_server() {
    let mut server = Server::start();
    let id = server.child.id().to_string();
    assert!(std::process::Command::new("kill").arg(&id).status().unwrap().success());
    assert!(server.child.wait().unwrap().success());
}

#[test]
#[cfg(unix)]
fn an_interruption_deletes_the_keys_of_its_run() {
    let server = Server::start();
    let place = &server.place;
    fs::create_dir(place.path("ward")).unwrap();
    for number in 0..200 {
        let copy = place.path(&format!("ward/{number}.jpeg"));
        fs::copy(reference("../samples/NORMAL2-IM-1438-0001.jpeg"), copy).unwrap();
    }
    let arguments = ["classify", "ward", "--server", &server.url, "--ca", "data/self-signed.pem"];
    let arguments = [&arguments[..], &["--token-file", "token"]].concat();
    let mut client = place.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let stored = || fs::read_dir(place.path("data/store/keys")).unwrap().count();
    let clock = Instant::now();
    while stored() == 0 {
        assert!(clock.elapsed() < Duration::from_secs(60), "no keys");
        thread::sleep(Duration::from_millis(5));
    }
    let id = client.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(client.wait().unwrap().code(), Some(130));
    assert_eq!(stored(), 0);
}

#[test]
#[cfg(unix)]
fn evaluation_keys_belong_to_their_secret_key() {
    let server = Server::start();
    let place = &server.place;
    let sample = reference("../samples/NORMAL2-IM-1438-0001.jpeg");
    for secret in ["a", "b"] {
        server.classify(&[&sample, "--secret", secret]).ok();
    }
    // An interruption may come between the two files.
    fs::remove_file(place.path("a.eval")).unwrap();
    server.classify(&[&sample, "--secret", "a"]).ok();
    assert_ne!(fs::read(place.path("a.eval")).unwrap(), fs::read(place.path("b.eval")).unwrap());
    fs::copy(place.path("b.eval"), place.path("a.eval")).unwrap();
    server.classify(&[&sample, "--secret", "a"]).fails(&["cannot use a.eval", "made with key"]);
    place.write("a.eval", b"PLEU");
    server.classify(&[&sample, "--secret", "a"]).fails(&["cannot use a.eval"]);
}

/// The secret key and its evaluation keys are made if they are not there, and no output takes their place.
#[test]
fn no_result_takes_the_place_of_the_keys() {
    let place = Place::new();
    fs::create_dir(place.path("ward")).unwrap();
    fs::copy(reference("../samples/NORMAL2-IM-1438-0001.jpeg"), place.path("ward/x.jpeg")).unwrap();
    let server = ["--server", "https://localhost:1", "--token-file", "token", "--secret", "key", "--force"];
    let input = reference("lola.input.npy");
    for output in ["key", "./key.eval"] {
        let run = ["run", "--model", "lola", "--input", &input, "--output", output];
        place.pleura(&[&run[..], &server].concat()).fails(&["two files to"]);
        for option in ["--output", "--html"] {
            place
                .pleura(&[&["classify", "ward", option, output][..], &server].concat())
                .fails(&["two files to"]);
        }
    }
    assert!(!place.path("key").exists());
}
