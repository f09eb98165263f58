//! The tables that a host writes are those that the kernels read: layouts, the functions that load entries, and which kernel reads
//! which table.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic, and so may the functions beside the tests"
)]

use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, Function, Handle, Module, Statement, TypeInner};
use pleura_shaders::{Block, Entry, EntryType, Field, Kernel, KernelId, KernelParams, LimbEntry, Words};
use std::collections::BTreeSet;

const TABLES: &str = include_str!("../src/shared/tables.wgsl");

fn kernels() -> impl Iterator<Item = Kernel> {
    KernelId::all(Block::whole(12)).into_iter().map(KernelId::kernel)
}

fn module(kernel: &Kernel) -> Module {
    naga::front::wgsl::parse_str(&kernel.source(Words::Int32)).unwrap()
}

/// Layout of a struct: name, type and offset of each field, and the bytes of the whole.
#[derive(Debug, PartialEq)]
struct Layout {
    fields: Vec<(String, String, usize)>,
    bytes: usize,
}

/// Layout of a WGSL struct, if the module declares it.
fn wgsl_layout(module: &Module, name: &str) -> Option<Layout> {
    let (_, ty) = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some(name))?;
    let TypeInner::Struct { members, span } = &ty.inner else { panic!("{name} is no struct") };
    let fields = members.iter().map(|member| {
        let ty = match &module.types[member.ty] {
            naga::Type { inner: TypeInner::Struct { .. }, name } => name.clone().unwrap(),
            naga::Type { inner: TypeInner::Scalar(naga::Scalar::U32), .. } => "u32".to_owned(),
            naga::Type {
                inner: TypeInner::Vector { size: naga::VectorSize::Bi, scalar: naga::Scalar::U32 },
                ..
            } => "Factor".to_owned(),
            other => panic!("{name}: {other:?}"),
        };
        (member.name.clone().unwrap(), ty, member.offset as usize)
    });
    Some(Layout { fields: fields.collect(), bytes: *span as usize })
}

#[test]
fn layouts_are_those_of_wgsl() {
    let mut seen = BTreeSet::new();
    for kernel in kernels() {
        let module = module(&kernel);
        for ty in EntryType::ALL {
            let Some(theirs) = wgsl_layout(&module, ty.name()) else { continue };
            let fields = ty.fields().iter().map(|f| (f.name.to_owned(), f.ty.to_owned(), f.offset));
            let ours = Layout { fields: fields.collect(), bytes: ty.bytes() };
            assert_eq!(theirs, ours, "{}", ty.name());
            seen.insert(ty.name());
        }
    }
    assert_eq!(seen.len(), EntryType::ALL.len(), "only {seen:?} are declared in WGSL");
    // No struct of the tables lacks its twin.
    let declared = TABLES.lines().filter(|line| line.starts_with("struct ")).count();
    assert_eq!(declared, EntryType::ALL.len());
}

/// Where the entries of a type begin.
fn section(ty: EntryType) -> Option<&'static str> {
    match ty {
        EntryType::KernelParams | EntryType::Prime => None,
        EntryType::LimbEntry
        | EntryType::ScalarLimb
        | EntryType::InverseLimb
        | EntryType::ConvertedLimb
        | EntryType::ConvertedDigit
        | EntryType::GadgetLimb => Some("limbs"),
        EntryType::RowEntry | EntryType::SeedRow | EntryType::SumRow => Some("rows"),
        EntryType::ProductTerm
        | EntryType::WeightTerm
        | EntryType::BabyStepTerm
        | EntryType::GadgetTerm
        | EntryType::ConversionSource
        | EntryType::ConversionQuotient
        | EntryType::DigitSource
        | EntryType::DigitTarget
        | EntryType::ConversionFactor => Some("terms"),
    }
}

/// `load_` and the name of a type in snake case.
fn loader(ty: EntryType) -> String {
    let snake: String = ty
        .name()
        .chars()
        .flat_map(|c| c.is_uppercase().then_some('_').into_iter().chain(c.to_lowercase()))
        .collect();
    format!("load{snake}")
}

/// The WGSL of one field that begins at some byte of an entry.
fn read(field: &Field, start: usize) -> String {
    let word = (start + field.offset) / 4;
    match field.ty {
        "u32" if word == 0 => "tables[at]".to_owned(),
        "u32" => format!("tables[at + {word}u]"),
        "Factor" => format!("factor_at(at + {word}u)"),
        "LimbEntry" => construct(LimbEntry::TYPE, start + field.offset),
        other => panic!("{other}"),
    }
}

fn construct(ty: EntryType, start: usize) -> String {
    let fields: Vec<_> = ty.fields().iter().map(|field| read(field, start)).collect();
    format!("{}({})", ty.name(), fields.join(", "))
}

/// One line of single spaces.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(").replace(", )", ")")
}

#[test]
fn entries_are_loaded_field_by_field() {
    let text = flat(TABLES);
    for &ty in EntryType::ALL {
        let Some(section) = section(ty) else { continue };
        let name = ty.name();
        let loader = loader(ty);
        let words = ty.bytes() / 4;
        // Terms are loaded in loops, which read the parameter once.
        let (arguments, start) = match section {
            "terms" => ("terms: u32, i: u32", "terms".to_owned()),
            section => ("i: u32", format!("params.{section}")),
        };
        let expected = format!(
            "fn {loader}({arguments}) -> {name} {{ let at = {start} + {words}u * i; return {}; }}",
            construct(ty, 0)
        );
        assert!(text.contains(&expected), "tables.wgsl lacks {expected}");
    }
}

/// Names of the functions that a function calls, directly or not.
fn calls(module: &Module, function: &Function, found: &mut BTreeSet<String>) {
    let mut stack = Vec::new();
    collect_statements(&function.body, &mut stack);
    for handle in stack {
        let function = &module.functions[handle];
        if found.insert(function.name.clone().unwrap()) {
            calls(module, function, found);
        }
    }
}

fn collect_statements(body: &naga::Block, called: &mut Vec<Handle<Function>>) {
    for statement in body {
        match statement {
            Statement::Call { function, .. } => called.push(*function),
            Statement::Block(block) => collect_statements(block, called),
            Statement::If { accept, reject, .. } => {
                collect_statements(accept, called);
                collect_statements(reject, called);
            }
            Statement::Loop { body, continuing, .. } => {
                collect_statements(body, called);
                collect_statements(continuing, called);
            }
            Statement::Switch { cases, .. } => {
                cases.iter().for_each(|case| collect_statements(&case.body, called));
            }
            _ => (),
        }
    }
}

#[test]
fn kernels_load_the_entries_that_they_name() {
    for kernel in kernels() {
        let module = module(&kernel);
        let mut called = BTreeSet::new();
        calls(&module, &module.entry_points[0].function, &mut called);
        let loaded: BTreeSet<_> = called.into_iter().filter(|name| name.starts_with("load_")).collect();
        // Entries that follow those of the named type in the same table.
        let more: &[EntryType] = match kernel.term {
            Some(EntryType::ConversionSource) => &[EntryType::ConversionQuotient],
            Some(EntryType::DigitSource) => &[EntryType::DigitTarget, EntryType::ConversionFactor],
            _ => &[],
        };
        let named = [kernel.limb, kernel.row].into_iter().chain(kernel.term).chain(more.iter().copied());
        assert_eq!(loaded, named.map(loader).collect(), "{}", kernel.name);
    }
}

#[test]
fn kernels_bind_the_buffers_that_they_name() {
    for kernel in kernels() {
        let module = module(&kernel);
        let info = Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module).unwrap();
        let entry_point = info.get_entry_point(0);
        let used = module.global_variables.iter().filter(|(handle, _)| !entry_point[*handle].is_empty());
        let last = used.filter_map(|(_, variable)| variable.binding).map(|bound| bound.binding).max();
        // Parameters, tables, primes, twiddles and the result come first.
        assert_eq!(last, Some(4 + kernel.inputs), "{}", kernel.name);
    }
}

#[test]
fn parameters_are_one_uniform() {
    let module = module(&KernelId::Concat.kernel());
    let (_, params) =
        module.global_variables.iter().find(|(_, v)| v.name.as_deref() == Some("params")).unwrap();
    assert_eq!(params.space, AddressSpace::Uniform);
    assert_eq!(module.types[params.ty].name.as_deref(), Some(KernelParams::TYPE.name()));
}
