//! The uses of items between files of a crate, from the syntax of the sources.
//!
//! A path counts for the file that *defines* the item it names: re-exports, such as those at a crate's root, are followed.
//! A `pub use` by itself is no use, so that a `mod.rs` may declare and re-export its children; anything else that it takes
//! from them is. A module may use items of the modules around it, of which it is a part: such uses do not count, except those
//! of items defined in the crate's root file. Tests are left out. Methods and fields
//! leave no path and are not seen.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Meta, UseTree, Visibility};

/// The sources of a crate, without tests.
pub(crate) struct Sources {
    files: Vec<File>,
    modules: Vec<Module>,
}

/// A file of a crate.
pub(crate) struct File {
    /// Path below the crate's `src`.
    pub(crate) name: String,
    /// Text of every string literal and every line of documentation.
    pub(crate) texts: Vec<String>,
    /// Every path of the code, imports among them.
    pub(crate) paths: Vec<Vec<String>>,
}

/// A use of one file by another.
pub(crate) struct Use<'a> {
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    /// A path that uses it.
    pub(crate) path: String,
}

/// A module; those with braces share a file with the module around them.
struct Module {
    file: usize,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    /// Names of items defined here.
    defined: BTreeSet<String>,
    /// Imported names, and the paths they stand for.
    imported: BTreeMap<String, Vec<String>>,
    /// Paths imported with `*`.
    globs: Vec<Vec<String>>,
    /// Paths in the code, without re-exports.
    used: Vec<Vec<String>>,
}

impl Sources {
    /// Reads a crate from its root file.
    pub(crate) fn read(root: &Path) -> Self {
        let mut sources = Self { files: Vec::new(), modules: Vec::new() };
        let base = root.parent().unwrap().to_owned();
        sources.read_file(root, &base, &base, None);
        sources
    }

    pub(crate) fn files(&self) -> &[File] {
        &self.files
    }

    /// Groups of files that use each other, directly or through others of the group. Each group is the list of its uses:
    /// file, file used, and one path that uses it.
    pub(crate) fn cycles(&self) -> Vec<Vec<Use<'_>>> {
        let uses = self.uses();
        let count = self.files.len();
        let mut reaches: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); count];
        for &(from, to) in uses.keys() {
            reaches[from].insert(to);
        }
        for middle in 0..count {
            let more = reaches[middle].clone();
            reaches.iter_mut().filter(|known| known.contains(&middle)).for_each(|known| known.extend(&more));
        }
        let mut groups: BTreeMap<BTreeSet<usize>, Vec<Use<'_>>> = BTreeMap::new();
        for (&(from, to), path) in uses.iter().filter(|((from, to), _)| reaches[*to].contains(from)) {
            let group =
                reaches[from].iter().copied().filter(|&other| reaches[other].contains(&from)).collect();
            let [from, to] = [from, to].map(|file| self.files[file].name.as_str());
            groups.entry(group).or_default().push(Use { from, to, path: path.join("::") });
        }
        groups.into_values().collect()
    }

    /// Uses of other files, each with the path of one of them.
    fn uses(&self) -> BTreeMap<(usize, usize), &[String]> {
        let mut out = BTreeMap::new();
        for (number, module) in self.modules.iter().enumerate() {
            for path in &module.used {
                let Some(found) = self.resolve(number, path, 0) else { continue };
                let used = self.modules[found.module()].file;
                if used != module.file && !self.is_inside(number, used) {
                    out.entry((module.file, used)).or_insert(path.as_slice());
                }
            }
        }
        out
    }

    /// Whether a module is part of a module in another file, which is not the root.
    fn is_inside(&self, module: usize, file: usize) -> bool {
        let around = std::iter::successors(self.modules[module].parent, |&at| self.modules[at].parent);
        file != 0 && around.into_iter().any(|at| self.modules[at].file == file)
    }

    /// The module or item that a path names, seen from a module; `None` if it lies outside the crate.
    fn resolve(&self, from: usize, path: &[String], depth: usize) -> Option<Found> {
        if depth > 16 {
            return None;
        }
        let mut found = Found::Module(from);
        for (i, segment) in path.iter().enumerate() {
            let Found::Module(at) = found else { return Some(found) };
            found = match segment.as_str() {
                "crate" => Found::Module(0),
                "self" => Found::Module(at),
                "super" => Found::Module(self.modules[at].parent?),
                name => match self.look_up(at, name, depth) {
                    Some(found) => found,
                    // A name from outside, unless the path already led into the crate: then some item that a macro makes.
                    None if i == 0 => return None,
                    None => Found::Item(at),
                },
            };
        }
        Some(found)
    }

    /// A name in a module.
    fn look_up(&self, at: usize, name: &str, depth: usize) -> Option<Found> {
        let module = &self.modules[at];
        if let Some(&child) = module.children.get(name) {
            return Some(Found::Module(child));
        }
        if module.defined.contains(name) {
            return Some(Found::Item(at));
        }
        if let Some(path) = module.imported.get(name) {
            // `use name::..` of an external crate named like the import would lead back here.
            return if path.len() == 1 && path[0] == name { None } else { self.resolve(at, path, depth + 1) };
        }
        module.globs.iter().find_map(|glob| match self.resolve(at, glob, depth + 1)? {
            Found::Module(inside) if inside != at => self.look_up(inside, name, depth + 1),
            _ => None,
        })
    }

    /// Adds a file; modules of it that have files of their own lie in `folder`.
    fn read_file(&mut self, path: &Path, folder: &Path, base: &Path, parent: Option<usize>) -> usize {
        let text = fs::read_to_string(path).unwrap();
        let syntax = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.strip_prefix(base).unwrap().to_string_lossy().into_owned();
        self.files.push(File { name, texts: Vec::new(), paths: Vec::new() });
        let file = self.files.len() - 1;
        for attribute in &syntax.attrs {
            collect_texts(attribute.to_token_stream(), &mut self.files[file].texts);
        }
        self.read_module(file, &syntax.items, folder, base, parent)
    }

    fn read_module(
        &mut self,
        file: usize,
        items: &[Item],
        folder: &Path,
        base: &Path,
        parent: Option<usize>,
    ) -> usize {
        let number = self.modules.len();
        self.modules.push(Module {
            file,
            parent,
            children: BTreeMap::new(),
            defined: BTreeSet::new(),
            imported: BTreeMap::new(),
            globs: Vec::new(),
            used: Vec::new(),
        });
        for item in items.iter().filter(|item| !is_test(attributes(item))) {
            match item {
                Item::Mod(module) => {
                    let name = module.ident.to_string();
                    let inside = folder.join(&name);
                    let child = match &module.content {
                        Some((_, items)) => self.read_module(file, items, &inside, base, Some(number)),
                        None => {
                            let path = file_of(folder, &name);
                            self.read_file(&path, &inside, base, Some(number))
                        }
                    };
                    self.modules[number].children.insert(name, child);
                    for attribute in &module.attrs {
                        collect_texts(attribute.to_token_stream(), &mut self.files[file].texts);
                    }
                }
                Item::Use(import) => {
                    let mut paths = Vec::new();
                    flatten(&import.tree, Vec::new(), &mut paths);
                    for (path, name) in paths {
                        self.files[file].paths.push(path.clone());
                        let module = &mut self.modules[number];
                        if matches!(import.vis, Visibility::Inherited) && name.is_some() {
                            module.used.push(path.clone());
                        }
                        match name {
                            Some(name) => _ = module.imported.insert(name, path),
                            None => module.globs.push(path),
                        }
                    }
                }
                item => {
                    self.modules[number].defined.extend(name_of(item));
                    let mut paths = Paths(Vec::new());
                    paths.visit_item(item);
                    self.files[file].paths.extend(paths.0.iter().cloned());
                    self.modules[number].used.extend(paths.0);
                    collect_texts(item.to_token_stream(), &mut self.files[file].texts);
                }
            }
        }
        number
    }
}

/// The target of a path.
#[derive(Clone, Copy)]
enum Found {
    Module(usize),
    /// An item of a module.
    Item(usize),
}

impl Found {
    fn module(self) -> usize {
        match self {
            Self::Module(number) | Self::Item(number) => number,
        }
    }
}

/// The paths of an item, those inside macros among them.
struct Paths(Vec<Vec<String>>);

impl<'a> Visit<'a> for Paths {
    fn visit_path(&mut self, path: &'a syn::Path) {
        self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    /// `pub(crate)` holds a path and is no use.
    fn visit_visibility(&mut self, _: &'a Visibility) {}

    fn visit_item_use(&mut self, import: &'a syn::ItemUse) {
        let mut paths = Vec::new();
        flatten(&import.tree, Vec::new(), &mut paths);
        self.0.extend(paths.into_iter().map(|(path, _)| path));
    }

    fn visit_macro(&mut self, call: &'a syn::Macro) {
        paths_of_tokens(call.tokens.clone(), &mut self.0);
        visit::visit_macro(self, call);
    }
}

/// Paths of at least two segments in the arguments of a macro.
fn paths_of_tokens(tokens: TokenStream, out: &mut Vec<Vec<String>>) {
    let mut path: Vec<String> = Vec::new();
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => {
                if colons != 2 {
                    out.extend(Some(std::mem::take(&mut path)).filter(|path| path.len() > 1));
                }
                path.push(ident.to_string());
                colons = 0;
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            other => {
                out.extend(Some(std::mem::take(&mut path)).filter(|path| path.len() > 1));
                colons = 0;
                if let TokenTree::Group(group) = other {
                    paths_of_tokens(group.stream(), out);
                }
            }
        }
    }
    out.extend(Some(path).filter(|path| path.len() > 1));
}

/// The paths of an import, each with the name it gets, or none for a `*`.
fn flatten(tree: &UseTree, mut before: Vec<String>, out: &mut Vec<(Vec<String>, Option<String>)>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, out);
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| flatten(tree, before.clone(), out)),
        UseTree::Glob(_) => out.push((before, None)),
        UseTree::Name(name) => {
            let last =
                if name.ident == "self" { before.last().cloned() } else { Some(name.ident.to_string()) };
            before.push(name.ident.to_string());
            out.push((before, last));
        }
        UseTree::Rename(rename) => {
            before.push(rename.ident.to_string());
            out.push((before, Some(rename.rename.to_string())));
        }
    }
}

/// The string literals of tokens; lines of documentation are such.
fn collect_texts(tokens: TokenStream, out: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => collect_texts(group.stream(), out),
            TokenTree::Literal(literal) => {
                if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                    out.push(text.value());
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

fn file_of(folder: &Path, name: &str) -> PathBuf {
    let file = folder.join(format!("{name}.rs"));
    let module = folder.join(name).join("mod.rs");
    if file.exists() { file } else { module }
}

/// Whether an item is compiled for tests only.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        Meta::Path(path) => path.is_ident("test"),
        Meta::NameValue(_) => false,
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name_of(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}
