//! Rules of `CONTRIBUTING.md` on language and form: docs that stand alone, spelling, words, user-visible text, bindings, file length.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic, and so may the functions beside the tests"
)]

use cargo_metadata::MetadataCommand;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};

/// Folders that do not follow the rules yet. New folders do not join this list.
const EXEMPT: [&str; 0] = [];

/// Longest file, in lines.
const MAX_LINES: usize = 600;

/// A file of the repository.
struct Source {
    /// Path from the root of the repository.
    name: String,
    text: String,
}

impl Source {
    fn syntax(&self) -> syn::File {
        syn::parse_file(&self.text).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }
}

/// All files with one of the extensions, except those in exempt folders.
fn files(extensions: &[&str]) -> Vec<Source> {
    let root = MetadataCommand::new().no_deps().exec().unwrap().workspace_root.into_std_path_buf();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = entry.file_name();
            if entry.file_type().unwrap().is_dir() {
                if name != "target" && name != "shared" && !name.to_string_lossy().starts_with('.') {
                    folders.push(path);
                }
            } else if extensions.iter().any(|extension| path.extension().is_some_and(|e| e == *extension)) {
                found.push(read(&root, path));
            }
        }
    }
    assert!(found.len() > 10, "{} files", found.len());
    found.retain(|file| !EXEMPT.iter().any(|folder| Path::new(&file.name).starts_with(folder)));
    found
}

fn read(root: &Path, path: PathBuf) -> Source {
    let name = path.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
    Source { name, text: fs::read_to_string(path).unwrap() }
}

/// Fails with all offences, each with its file.
fn check(files: &[Source], offences: impl Fn(&Source) -> Vec<String>) {
    let mut all = Vec::new();
    for file in files {
        all.extend(offences(file).into_iter().map(|offence| format!("{}: {offence}", file.name)));
    }
    assert!(all.is_empty(), "see CONTRIBUTING.md:\n{}", all.join("\n"));
}

/// The text of a documentation comment, if the line is one.
fn doc(line: &str) -> Option<&str> {
    let line = line.trim_start();
    line.strip_prefix("/// ").or_else(|| line.strip_prefix("//! "))
}

/// Whether a line of documentation begins with words that need the item's name to make sense.
fn leans_on_its_item(doc: &str) -> bool {
    ["What", "Of", "Its", "The same"].iter().any(|start| {
        doc.strip_prefix(start).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
    })
}

#[test]
fn docs_stand_alone() {
    assert!(leans_on_its_item("Its name.") && leans_on_its_item("The same, for tests."));
    assert!(!leans_on_its_item("Offsets of limbs.") && !leans_on_its_item("Name of the device."));
    check(&files(&["rs"]), |file| {
        let lines = file.text.lines().filter(|line| doc(line).is_some_and(leans_on_its_item));
        lines.map(|line| format!("a doc comment that needs its item: {}", line.trim())).collect()
    });
}

/// Words that end in "ise" in every spelling. Words of "wise", "noise" and "precise" are recognized by their ends.
const ISE: [&str; 30] = [
    "advise",
    "advertise",
    "arise",
    "braise",
    "bruise",
    "comprise",
    "compromise",
    "concise",
    "crise",
    "cruise",
    "demise",
    "despise",
    "devise",
    "disguise",
    "enterprise",
    "excise",
    "exercise",
    "expertise",
    "franchise",
    "improvise",
    "paradise",
    "poise",
    "praise",
    "premise",
    "promise",
    "raise",
    "revise",
    "rise",
    "supervise",
    "surprise",
];

/// The verb in "-ise" that a word is a form of, if it should be spelled with "-ize".
fn british(word: &str) -> Option<String> {
    let endings = ["ise", "ised", "ises", "iser", "isers", "ising", "isation", "isations"];
    let stem = endings.iter().filter_map(|ending| word.strip_suffix(ending)).max_by_key(|stem| stem.len())?;
    let verb = format!("{stem}ise");
    let usual = ["wise", "noise", "precise"].iter().any(|end| verb.ends_with(end)) || ISE.contains(&&*verb);
    (stem.len() > 1 && !usual).then_some(verb)
}

/// The words of a text, in lower case; identifiers in camel case are several words.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in text.chars() {
        if !c.is_alphabetic() || (c.is_uppercase() && before.is_lowercase()) {
            words.push(String::new());
        }
        if c.is_alphabetic() {
            words.last_mut().unwrap().extend(c.to_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn spelling_is_ize() {
    for wrong in [
        "quantise",
        "normalised",
        "initialiser",
        "relinearisation",
        "rerandomises",
        "optimising",
        "recognised",
    ] {
        assert!(british(wrong).is_some(), "{wrong}");
    }
    for right in [
        "otherwise",
        "precise",
        "noise",
        "noises",
        "exercise",
        "compromise",
        "advised",
        "raising",
        "promises",
        "revise",
        "supervised",
        "likewise",
        "wise",
        "rises",
        "elementwise",
        "quantize",
        "this",
        "visible",
    ] {
        assert!(british(right).is_none(), "{right}");
    }
    assert_eq!(
        words("fn serialise_all(x: DeserialiseOwned)"),
        ["fn", "serialise", "all", "x", "deserialise", "owned"]
    );
    check(&files(&["rs", "wgsl", "md", "py"]), |file| {
        if file.name == "tests/language.rs" {
            return Vec::new();
        }
        let found: BTreeSet<_> = words(&file.text).iter().filter_map(|word| british(word)).collect();
        found.into_iter().map(|word| format!("{word} is spelled -ize")).collect()
    });
}

/// Phrases that the glossary replaces.
const DIALECT: [&str; 8] = [
    "strangeness",
    "passed over",
    "held against",
    "clear twin",
    "whoever",
    "gone on with",
    "told of",
    "at the busiest",
];

/// A text in lower case, without the marks of comments and the breaks of lines.
fn running(text: &str) -> String {
    let lines = text.lines().map(|line| line.trim().trim_start_matches(['/', '!']));
    lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ").to_lowercase()
}

#[test]
fn words_are_those_of_the_glossary() {
    assert_eq!(running("    /// It is passed\n    /// over."), "it is passed over.");
    check(&files(&["rs", "wgsl", "py"]), |file| {
        if file.name == "tests/language.rs" {
            return Vec::new();
        }
        let text = running(&file.text);
        DIALECT.iter().filter(|phrase| text.contains(*phrase)).map(|phrase| format!("\"{phrase}\"")).collect()
    });
}

#[test]
fn files_are_short() {
    check(&files(&["rs", "wgsl"]), |file| {
        let lines = file.text.lines().count();
        (lines > MAX_LINES).then(|| format!("{lines} lines, more than {MAX_LINES}")).into_iter().collect()
    });
}

/// Collects the Rust syntax that users would read: `Debug` output in texts of errors and in `Display`.
#[derive(Default)]
struct DebugTexts(Vec<String>);

impl DebugTexts {
    /// Checks the text of an error against the types of its fields: quoted names and lists of numbers read well, other types
    /// read as Rust.
    fn check(&mut self, attributes: &[syn::Attribute], fields: &syn::Fields) {
        let types: BTreeMap<_, _> = fields
            .iter()
            .enumerate()
            .map(|(i, field)| {
                let name = field.ident.as_ref().map_or(i.to_string(), ToString::to_string);
                (name, field.ty.to_token_stream())
            })
            .collect();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("error")) {
            for text in literals(attribute.meta.to_token_stream()) {
                let plain = |name: &String| types.get(name).is_some_and(|ty| reads_well(ty.clone()));
                if debug_names(&text).iter().any(|name| !plain(name)) {
                    self.0.push(text);
                }
            }
        }
    }
}

impl<'ast> Visit<'ast> for DebugTexts {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.check(&item.attrs, &item.fields);
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.check(&variant.attrs, &variant.fields);
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let shown =
            item.trait_.as_ref().is_some_and(|(_, path, _)| path.segments.last().unwrap().ident == "Display");
        if shown {
            let texts = literals(item.to_token_stream()).into_iter();
            self.0.extend(texts.filter(|text| !debug_names(text).is_empty()));
        }
        visit::visit_item_impl(self, item);
    }
}

/// Whether `Debug` of a type is a quoted name or a list of numbers.
fn reads_well(ty: TokenStream) -> bool {
    const PLAIN: [&str; 12] =
        ["String", "str", "static", "Vec", "PathBuf", "usize", "u8", "u16", "u32", "u64", "i64", "f64"];
    ty.into_iter().all(|token| match token {
        TokenTree::Ident(name) => PLAIN.contains(&&*name.to_string()),
        TokenTree::Group(group) => reads_well(group.stream()),
        TokenTree::Punct(_) | TokenTree::Literal(_) => true,
    })
}

/// The string literals of some tokens.
fn literals(tokens: TokenStream) -> Vec<String> {
    let mut found = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) => found.extend(literals(group.stream())),
            TokenTree::Literal(literal) => {
                if let syn::Lit::Str(text) = syn::Lit::new(literal) {
                    found.push(text.value());
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
    found
}

/// The arguments that a format string prints by `Debug`; empty for one without a name.
fn debug_names(text: &str) -> Vec<String> {
    let braces = text.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    let formats = braces.filter_map(|(inside, _)| inside.split_once(':'));
    formats.filter(|(_, format)| format.ends_with('?')).map(|(name, _)| name.to_owned()).collect()
}

/// The string literals in a file's macros, tests left out.
#[derive(Default)]
struct MacroTexts(Vec<String>);

impl<'ast> Visit<'ast> for MacroTexts {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.ident != "tests" {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.0.extend(literals(item.tokens.clone()));
    }
}

#[test]
fn users_read_no_debug_output() {
    let file = "#[derive(Error)] enum E { #[error(\"{name:?} of {shape:?}\")] Good { name: String, shape: Vec<usize> },
        #[error(\"{kind:?}\")] Bad { kind: Kind }, #[error(\"{:?}\", 0.b)] Worse(A) }
        impl Display for E { fn fmt(&self) { write!(f, \"{0:?} {}\", self.a) } }";
    let mut texts = DebugTexts::default();
    texts.visit_file(&syn::parse_file(file).unwrap());
    assert_eq!(texts.0, ["{kind:?}", "{:?}", "{0:?} {}"]);
    check(&files(&["rs"]), |file| {
        let mut texts = DebugTexts::default();
        texts.visit_file(&file.syntax());
        if file.name.starts_with("cli/src") {
            let mut shown = MacroTexts::default();
            shown.visit_file(&file.syntax());
            texts.0.extend(shown.0.into_iter().filter(|text| !debug_names(text).is_empty()));
        }
        texts.0
    });
}

/// Collects bindings that hide their use: several unrelated values in one `let`, and closures with a name that is passed once.
#[derive(Default)]
struct Bindings(Vec<String>);

impl<'ast> Visit<'ast> for Bindings {
    fn visit_block(&mut self, block: &'ast syn::Block) {
        for (i, statement) in block.stmts.iter().enumerate() {
            let syn::Stmt::Local(local) = statement else { continue };
            let Some(init) = &local.init else { continue };
            let pattern = match &local.pat {
                syn::Pat::Type(typed) => &*typed.pat,
                pattern => pattern,
            };
            match (pattern, &*init.expr) {
                (syn::Pat::Tuple(names), syn::Expr::Tuple(values))
                    if init.diverge.is_none() && !depend(names, values) =>
                {
                    self.0.push(format!("one let for several values: {}", names.to_token_stream()));
                }
                (syn::Pat::Ident(name), syn::Expr::Closure(_)) => {
                    let rest: TokenStream =
                        block.stmts[i + 1..].iter().map(ToTokens::to_token_stream).collect();
                    if uses(&rest, &name.ident) == [true] {
                        self.0.push(format!("a closure with a name, passed once: {}", name.ident));
                    }
                }
                _ => {}
            }
        }
        visit::visit_block(self, block);
    }
}

/// Whether a value reads one of the names, so that a `let` for each would read the new value.
fn depend(names: &syn::PatTuple, values: &syn::ExprTuple) -> bool {
    let names = identifiers(names.to_token_stream());
    let values = identifiers(values.to_token_stream());
    names.intersection(&values).next().is_some()
}

fn identifiers(tokens: TokenStream) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) => found.extend(identifiers(group.stream())),
            TokenTree::Ident(name) if name != "mut" => drop(found.insert(name.to_string())),
            _ => {}
        }
    }
    found
}

fn is_comma(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(mark) if mark.as_char() == ',')
}

/// For each occurrence of a name, whether it is an argument of a call by itself.
fn uses(tokens: &TokenStream, name: &proc_macro2::Ident) -> Vec<bool> {
    let mut found = Vec::new();
    let mut called = false;
    for token in tokens.clone() {
        match &token {
            TokenTree::Ident(ident) if ident == name => found.push(false),
            TokenTree::Group(group) => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                let is_call = called && group.delimiter() == Delimiter::Parenthesis;
                for argument in inner.split(is_comma) {
                    match argument {
                        [TokenTree::Ident(ident)] if ident == name => found.push(is_call),
                        _ => found.extend(uses(&argument.iter().cloned().collect(), name)),
                    }
                }
            }
            _ => {}
        }
        called = matches!(&token, TokenTree::Ident(_))
            || matches!(&token, TokenTree::Punct(mark) if mark.as_char() == '>');
    }
    found
}

#[test]
fn bindings_are_plain() {
    let body = "fn f() { let (a, b) = (x, y); let (c, d) = (d, c); let (e, g) = pair(); let h = |x| x; all.map(h); let i = |x| x;
        i(1); let j = |x| x; (j, all.map(j)); let k = |x| x; all.map(|y| (k, y)); }";
    let mut bindings = Bindings::default();
    bindings.visit_file(&syn::parse_file(body).unwrap());
    assert_eq!(bindings.0, ["one let for several values: (a , b)", "a closure with a name, passed once: h"]);
    check(&files(&["rs"]), |file| {
        let mut bindings = Bindings::default();
        bindings.visit_file(&file.syntax());
        bindings.0
    });
}
