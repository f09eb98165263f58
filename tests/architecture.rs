//! Who may import whom, as `ARCHITECTURE.md` says.

use cargo_metadata::{DependencyKind, MetadataCommand};
use std::collections::BTreeMap;

/// Each crate with the crates of the workspace it may import. `tests` and `benches` may import anything.
const MAY_IMPORT: [(&str, &[&str]); 10] = [
    ("pleura-shaders", &[]),
    ("pleura-ring", &[]),
    ("pleura-gpu", &["pleura-ring", "pleura-shaders"]),
    ("pleura-latent", &[]),
    ("pleura-baselines", &[]),
    ("pleura-ckks", &["pleura-ring"]),
    ("pleura-nn", &["pleura-ckks"]),
    ("pleura-onnx", &["pleura-nn"]),
    (
        "pleura",
        &[
            "pleura-baselines",
            "pleura-latent",
            "pleura-onnx",
            "pleura-nn",
            "pleura-ckks",
            "pleura-gpu",
            "pleura-ring",
        ],
    ),
    ("pleura-cli", &["pleura"]),
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
            let text = std::fs::read_to_string(entry.path()).unwrap();
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
