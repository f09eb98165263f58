//! The binary, run in a folder of its own.
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A directory of its own for each test, its cache included.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pleura"));
        command.args(arguments).current_dir(self.0.path()).env("PLEURA_CACHE", self.path("cache"));
        command
    }

    pub(crate) fn pleura(&self, arguments: &[&str]) -> Said {
        Said::from(self.command(arguments).output().unwrap())
    }

    /// Runs a reference network.
    pub(crate) fn run(&self, model: &str, arguments: &[&str]) -> Said {
        let input = reference(&format!("{model}.input.npy"));
        let model = reference(&format!("{model}.onnx"));
        self.pleura(&[&["run", "--model", &model, "--input", &input], arguments].concat())
    }
}

#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Said {
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    pub(crate) fn json(self) -> Value {
        serde_json::from_str(&self.ok().out).unwrap()
    }

    /// It failed with one sentence that contains all of these, and said nothing else.
    pub(crate) fn fails(self, parts: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert!(self.out.is_empty(), "{self:?}");
        let last = self.err.lines().last().unwrap();
        assert!(last.starts_with("error: ") && parts.iter().all(|part| last.contains(part)), "{self:?}");
        assert!(!self.err.contains("panicked"), "{self:?}");
    }

    /// It did what it could, and failed with one sentence at the end.
    pub(crate) fn fails_late(self, parts: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        let last = self.err.lines().last().unwrap();
        assert!(last.starts_with("error: ") && parts.iter().all(|part| last.contains(part)), "{self:?}");
    }

    /// Checks that the arguments were refused.
    pub(crate) fn misused(self, part: &str) {
        assert_eq!(self.code, Some(2), "{self:?}");
        assert!(self.err.contains(part) && !self.err.contains("panicked"), "{self:?}");
    }
}

pub(crate) fn reference(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/reference").join(name);
    path.to_str().unwrap().to_owned()
}

pub(crate) fn npy(descr: &str, shape: &str, values: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), values].concat()
}

/// An ONNX model of one operator from `x` to `y`, each of shape `[1, len]`.
pub(crate) fn elementwise_model(operator: &str, len: u8) -> Vec<u8> {
    let dimension = |extent: u8| message(1, &[8, extent]);
    let shape = message(2, &[dimension(1), dimension(len)].concat());
    let tensor = message(2, &message(1, &[&[8, 1][..], &shape].concat()));
    let value = |name: &str| [message(1, name.as_bytes()), tensor.clone()].concat();
    let node = [message(1, b"x"), message(2, b"y"), message(4, operator.as_bytes())].concat();
    let graph = [message(1, &node), message(2, b"g"), message(11, &value("x")), message(12, &value("y"))];
    let version = [8, 8];
    let opset = message(8, &[16, 17]);
    [&version[..], &message(7, &graph.concat()), &opset].concat()
}

/// A field of a protobuf message that is shorter than 128 bytes.
fn message(field: u8, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() < 128, "lengths have one byte");
    [&[field << 3 | 2, bytes.len() as u8], bytes].concat()
}
