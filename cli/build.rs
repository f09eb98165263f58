//! Tells commit and features to `pleura --version`, and commit and changes to reports.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Sources of the program, from the root of the repository.
const SOURCES: [&str; 6] = ["cli", "engine", "shaders", "models", "Cargo.toml", "Cargo.lock"];

/// Features that add commands or formats.
const FEATURES: [&str; 2] = ["service", "parquet"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let commit = commit();
    println!("cargo::rustc-env=PLEURA_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    let modified = commit.and_then(|_| modified()).map_or_else(|| "unknown".to_owned(), |it| it.to_string());
    println!("cargo::rustc-env=PLEURA_MODIFIED={modified}");
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

/// Whether a source differs from its commit. Cargo asks again when one is touched.
fn modified() -> Option<bool> {
    let root = manifest_dir()?.parent()?.canonicalize().ok()?;
    let crates = ["engine", "."].map(|folder| root.join(folder));
    let crates = crates.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
    let sources = crates.map(|entry| entry.path().join("src")).filter(|path| path.is_dir());
    let files = SOURCES.map(|name| root.join(name)).into_iter().filter(|path| path.is_file());
    for path in sources.chain([root.join("engine/src")]).chain(files) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let mut command = Command::new("git");
    command.current_dir(&root).args(["diff", "--quiet", "HEAD", "--"]).args(SOURCES);
    match command.status().ok()?.code()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
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
