//! README and `docs/`: the length of README, and relative links.

#![allow(clippy::unwrap_used, reason = "a test may panic, and so may the functions beside the tests")]

use cargo_metadata::MetadataCommand;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest README, in lines.
const MAX_README: usize = 130;

fn root() -> PathBuf {
    MetadataCommand::new().no_deps().exec().unwrap().workspace_root.into_std_path_buf()
}

/// The Markdown files of a folder, without those of folders in it.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// The targets of the inline links of a text, outside of code blocks, that are paths.
fn links(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (number, block) in text.split("\n```").enumerate() {
        // Every second piece is the content of a code block.
        if number % 2 == 0 {
            found.extend(
                block.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target),
            );
        }
    }
    let paths = found.into_iter().map(|target| target.split('#').next().unwrap());
    paths.filter(|target| !target.is_empty() && !target.contains(':')).collect()
}

#[test]
fn readme_is_short() {
    let lines = fs::read_to_string(root().join("README.md")).unwrap().lines().count();
    assert!(lines <= MAX_README, "README.md has {lines} lines, more than {MAX_README}");
}

#[test]
fn links_exist() {
    let text = "[a](b.md) ![c](d.png#e) [f](https://g) [h](#i)\n```\n[j](k)\n```\n[l](m/n)";
    assert_eq!(links(text), ["b.md", "d.png", "m/n"]);
    let root = root();
    let pages = [pages(&root), pages(&root.join("docs"))].concat();
    assert!(pages.len() > 10, "{} pages", pages.len());
    let mut broken = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let missing = links(&text).into_iter().filter(|target| !page.with_file_name(target).exists());
        broken.extend(missing.map(|target| format!("{}: {target}", page.display())));
    }
    assert!(broken.is_empty(), "links to nothing:\n{}", broken.join("\n"));
}

#[test]
fn readme_links_to_every_page() {
    let root = root();
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let linked = links(&readme);
    for page in pages(&root.join("docs")) {
        let name = format!("docs/{}", page.file_name().unwrap().to_string_lossy());
        assert!(linked.contains(&&*name), "README.md does not link to {name}");
    }
}
