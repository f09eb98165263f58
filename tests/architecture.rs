//! Rules of `ARCHITECTURE.md`: imports between crates, cycles between files of a crate (`module_graph.rs` defines a use), and the
//! engine's independence of devices, the command line and the environment.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic, and so may the functions beside the tests"
)]

mod module_graph;

use cargo_metadata::{DependencyKind, MetadataCommand, Package, TargetKind};
use module_graph::Sources;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Each crate with the crates of the workspace it may import. `tests` and `benches` may import anything.
const MAY_IMPORT: [(&str, &[&str]); 14] = [
    ("pleura-shaders", &[]),
    ("pleura-ring", &[]),
    ("pleura-gpu", &["pleura-ring", "pleura-shaders"]),
    ("pleura-latent", &[]),
    ("pleura-baselines", &[]),
    ("pleura-ckks", &["pleura-ring"]),
    ("pleura-nn", &["pleura-ckks"]),
    ("pleura-onnx", &["pleura-nn"]),
    ("pleura-xray", &["pleura-nn", "pleura-onnx", "pleura-latent"]),
    (
        "pleura",
        &[
            "pleura-baselines",
            "pleura-latent",
            "pleura-xray",
            "pleura-onnx",
            "pleura-xray",
            "pleura-nn",
            "pleura-ckks",
            "pleura-gpu",
            "pleura-ring",
            "pleura-shaders",
            "pleura-unify",
        ],
    ),
    ("pleura-service", &["pleura"]),
    ("pleura-cli", &["pleura", "pleura-service"]),
    ("pleura-python", &["pleura"]),
    ("pleura-unify", &[]),
];

#[test]
fn crates_import_only_what_the_architecture_allows() {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let rules: BTreeMap<_, _> = MAY_IMPORT.into_iter().collect();
    let members: Vec<_> = metadata.packages.iter().map(|p| p.name.to_string()).collect();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let ours = package.dependencies.iter().filter(|d| members.contains(&d.name));
        let imported: Vec<_> =
            ours.filter(|d| d.kind == DependencyKind::Normal).map(|d| d.name.as_str()).collect();
        if ["tests", "benches"].contains(&name) {
            continue;
        }
        let allowed = rules
            .get(name)
            .unwrap_or_else(|| panic!("{name} has no rule: add it here and to ARCHITECTURE.md"));
        for import in imported {
            assert!(allowed.contains(&import), "{name} imports {import}");
        }
    }
    for importer in metadata.packages.iter().filter(|p| !["tests", "benches"].contains(&p.name.as_str())) {
        let bad = importer.dependencies.iter().find(|d| ["tests", "benches"].contains(&d.name.as_str()));
        assert!(bad.is_none(), "{} imports {:?}", importer.name, bad.map(|d| &d.name));
    }
}

#[test]
fn scheme_and_networks_name_no_device() {
    let root = MetadataCommand::new().no_deps().exec().unwrap().workspace_root;
    let mut folders = vec![root.join("engine/ckks/src"), root.join("engine/nn/src")];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir_utf8().unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path().to_owned());
                continue;
            }
            let text = fs::read_to_string(entry.path()).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                let names = line.split(|c: char| !c.is_alphanumeric() && c != '_');
                assert!(
                    !names.into_iter().any(|word| ["Cpu", "Gpu"].contains(&word)),
                    "{}: {line}",
                    entry.path()
                );
            }
        }
    }
}

/// The crates under a folder of the workspace, each with its sources.
fn sources_below(folder: &str) -> Vec<(String, Sources)> {
    let metadata = MetadataCommand::new().no_deps().exec().unwrap();
    let folder = metadata.workspace_root.join(folder);
    let inside = metadata.packages.iter().filter(|package| package.manifest_path.starts_with(&folder));
    let found: Vec<_> = inside.map(|package| (package.name.to_string(), sources_of(package))).collect();
    assert!(!found.is_empty(), "no crate in {folder}");
    found
}

/// The sources of a package's library or, without one, of its program.
fn sources_of(package: &Package) -> Sources {
    let target = package.targets.iter().find(|target| {
        target.kind.iter().any(|kind| matches!(kind, TargetKind::Lib | TargetKind::CDyLib | TargetKind::Bin))
    });
    Sources::read(target.unwrap().src_path.as_std_path())
}

#[test]
fn files_of_a_crate_do_not_use_each_other_in_circles() {
    let mut found = Vec::new();
    for (name, sources) in ["engine", "shaders", "cli", "python"].into_iter().flat_map(sources_below) {
        for cycle in sources.cycles() {
            let steps = cycle.iter().map(|step| format!("  {} -> {}: {}", step.from, step.to, step.path));
            found.push(format!("{name}:\n{}", steps.collect::<Vec<_>>().join("\n")));
        }
    }
    assert!(found.is_empty(), "these files use each other:\n{}", found.join("\n"));
}

/// The files of the cycles in a made-up crate; `files` are names and texts, the root first.
fn cycles_of(test: &str, files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    for (name, text) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let sources = Sources::read(&folder.join(files[0].0));
    sources
        .cycles()
        .into_iter()
        .map(|cycle| cycle.iter().map(|step| step.from.to_owned()).collect())
        .collect()
}

#[test]
fn cycles_are_found_through_imports_paths_macros_and_re_exports() {
    let root = "mod a; mod b; pub use a::A;";
    let uses_b = "use crate::b::B; pub struct A(B);";
    for (i, b) in [
        "use super::a::A; pub struct B(Box<A>);",
        "use crate::A; pub struct B(Box<A>);",
        "pub struct B; fn f(_: &crate::A) {}",
        "pub struct B; fn f() { println!(\"{}\", crate::a::A::NAME) }",
        "use crate::*; pub struct B(Box<A>);",
        "use crate::a as other; pub struct B(Box<other::A>);",
        "pub struct B; mod inner { use super::super::a; }",
    ]
    .into_iter()
    .enumerate()
    {
        let found = cycles_of(&format!("found{i}"), &[("lib.rs", root), ("a.rs", uses_b), ("b.rs", b)]);
        assert_eq!(found, [["a.rs", "b.rs"]], "{b}");
    }
}

#[test]
fn one_way_uses_parts_and_tests_are_no_cycles() {
    let root = "mod a; mod b; pub use a::A;";
    let uses_b = "use crate::b::B; pub struct A(B);";
    for (i, b) in [
        "pub struct B;",
        "use std::fmt::Debug; pub(crate) struct B(u8);",
        "pub struct B; #[cfg(test)] mod tests { use crate::A; }",
        "//! See [`crate::A`].\npub struct B;",
    ]
    .into_iter()
    .enumerate()
    {
        let found = cycles_of(&format!("free{i}"), &[("lib.rs", root), ("a.rs", uses_b), ("b.rs", b)]);
        assert!(found.is_empty(), "{b}: {found:?}");
    }
    // A module and its part; and the root, whose items nobody below may use in return.
    let part = [
        ("lib.rs", "mod a;"),
        ("a.rs", "mod b; struct A(b::B);"),
        ("a/b.rs", "pub struct B(Box<super::A>);"),
    ];
    assert!(cycles_of("part", &part).is_empty());
    let root = [("lib.rs", "mod a; pub struct Root(a::A);"), ("a.rs", "pub struct A(Box<crate::Root>);")];
    assert_eq!(cycles_of("root", &root), [["lib.rs", "a.rs"]]);
}

/// Whether a text names a flag of a command line, other than one of cargo's.
fn names_flag(text: &str) -> bool {
    let mut parts = text.split("--").peekable();
    let mut before = parts.next().unwrap_or_default();
    for after in parts {
        let starts = !before.ends_with(|c: char| c.is_alphanumeric() || c == '-');
        if starts && after.starts_with(|c: char| c.is_ascii_lowercase()) && !text.contains("cargo ") {
            return true;
        }
        before = after;
    }
    false
}

#[test]
fn the_engine_names_no_flags() {
    assert!(names_flag("give `--input-shape`") && names_flag("--fit 4"));
    assert!(!names_flag("a -- b") && !names_flag("x--y") && !names_flag("`cargo bench --bench ring`"));
    for (name, sources) in ["engine", "shaders"].into_iter().flat_map(sources_below) {
        for file in sources.files() {
            let text = file.texts.iter().find(|text| names_flag(text));
            assert!(text.is_none(), "{name}/{}: {:?}", file.name, text.unwrap());
        }
    }
}

#[test]
fn the_engine_reads_no_environment() {
    const READS: [&str; 4] = ["var", "var_os", "vars", "vars_os"];
    for (name, sources) in ["engine", "shaders"].into_iter().flat_map(sources_below) {
        for file in sources.files() {
            let mut pairs = file.paths.iter().flat_map(|path| path.windows(2));
            let reads = pairs.any(|pair| pair[0] == "env" && READS.contains(&pair[1].as_str()));
            assert!(!reads, "{name}/{} reads the environment", file.name);
        }
    }
}
