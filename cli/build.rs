//! Tells commit and features to `pleura --version`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Features that add commands or formats.
const FEATURES: [&str; 2] = ["service", "parquet"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let commit = commit();
    println!("cargo::rustc-env=PLEURA_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    let features: Vec<_> = FEATURES.into_iter().filter(|name| env_of_feature(name).is_some()).collect();
    let features = if features.is_empty() { "none".to_owned() } else { features.join(", ") };
    println!("cargo::rustc-env=PLEURA_FEATURES={features}");
}

/// The commit of the repository that this is, not of one around it.
fn commit() -> Option<String> {
    let root = manifest_dir()?.parent()?.canonicalize().ok()?;
    let top = git(&["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != root {
        return None;
    }
    // The log has a line for each commit and switch; a repository without logs has at least the other.
    for name in ["logs/HEAD", "HEAD"] {
        let file = root.join("cli").join(git(&["rev-parse", "--git-path", name])?);
        if file.exists() {
            println!("cargo::rerun-if-changed={}", file.display());
            break;
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir(manifest_dir()?).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The folder of this crate, read when this runs: a checkout may have moved since this was compiled.
fn manifest_dir() -> Option<PathBuf> {
    std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from)
}

/// The variable that Cargo sets for a feature that is on.
fn env_of_feature(name: &str) -> Option<OsString> {
    std::env::var_os(format!("CARGO_FEATURE_{}", name.to_uppercase()))
}
