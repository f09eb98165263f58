//! Every kernel, in both forms of words and at every size of block, is valid WGSL and has a translation to what the drivers of
//! Vulkan, Metal and DX12 take.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use naga::back::{hlsl, msl, pipeline_constants::process_overrides, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{Module, ShaderStage};
use pleura_shaders::{KERNELS, Kernel, Words};

type Constants = Vec<(&'static str, f64)>;

/// Each kernel with the constants of every block it may be given.
fn variants() -> Vec<(&'static Kernel, Words, Constants)> {
    let mut variants = Vec::new();
    for (kernel, words) in KERNELS.iter().flat_map(|k| [(k, Words::Wide), (k, Words::Narrow)]) {
        if kernel.overrides.is_empty() {
            variants.push((kernel, words, Vec::new()));
        }
        // Blocks of all sizes; and copies of something shorter than a thread's sixteen words.
        let blocks =
            (4..=13u32).map(|log| (log, (log - 1) % 4 + 1, log)).chain((0..4).map(|log| (4, log, log)));
        for (log_block, first, stages) in blocks.filter(|_| !kernel.overrides.is_empty()) {
            let value = |name: &str| match name {
                "LOG_BLOCK" => log_block,
                "FIRST" => first,
                "STAGES" => stages,
                "WORDS" => 1 << log_block,
                "THREADS" => 1 << (log_block - 4),
                _ => panic!("{}: {name}", kernel.name),
            };
            let constants = kernel.overrides.iter().map(|&name| (name, f64::from(value(name))));
            variants.push((kernel, words, constants.collect()));
        }
    }
    variants
}

/// Parses, validates and fills in the constants.
fn resolved(
    kernel: &Kernel,
    words: Words,
    constants: &[(&str, f64)],
) -> Result<(Module, ModuleInfo), String> {
    let source = kernel.source(words);
    let module = naga::front::wgsl::parse_str(&source).map_err(|e| e.emit_to_string(&source))?;
    let capabilities = match words {
        Words::Wide => Capabilities::SHADER_INT64,
        Words::Narrow => Capabilities::empty(),
    };
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .map_err(|e| e.emit_to_string(&source))?;
    let constants = constants.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
    let entry = Some((ShaderStage::Compute, "main"));
    let (module, info) = process_overrides(&module, &info, entry, &constants).map_err(|e| e.to_string())?;
    Ok((module.into_owned(), info.into_owned()))
}

fn to_spirv(module: &Module, info: &ModuleInfo) -> Result<usize, String> {
    let pipeline = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: "main".into() };
    spv::write_vec(module, info, &spv::Options::default(), Some(&pipeline))
        .map(|words| words.len())
        .map_err(|e| e.to_string())
}

fn to_metal(module: &Module, info: &ModuleInfo) -> Result<usize, String> {
    let options = msl::Options { lang_version: (2, 3), fake_missing_bindings: true, ..Default::default() };
    let pipeline = msl::PipelineOptions {
        entry_point: Some((ShaderStage::Compute, "main".into())),
        ..Default::default()
    };
    msl::write_string(module, info, &options, &pipeline)
        .map(|(text, _)| text.len())
        .map_err(|e| e.to_string())
}

fn to_hlsl(module: &Module, info: &ModuleInfo) -> Result<usize, String> {
    let options = hlsl::Options {
        shader_model: hlsl::ShaderModel::V6_0,
        fake_missing_bindings: true,
        ..Default::default()
    };
    let pipeline = hlsl::PipelineOptions { entry_point: Some((ShaderStage::Compute, "main".into())) };
    let mut text = String::new();
    let mut writer = hlsl::Writer::new(&mut text, &options, &pipeline);
    writer.write(module, info, None).map_err(|e| e.to_string())?;
    Ok(text.len())
}

#[test]
fn every_kernel_is_valid_and_translates() {
    for (kernel, words, constants) in variants() {
        let name = format!("{}, {words:?}, {constants:?}", kernel.name);
        let (module, info) =
            resolved(kernel, words, &constants).unwrap_or_else(|error| panic!("{name}: {error}"));
        for (language, translate) in
            [("SPIR-V", to_spirv as fn(_, _) -> _), ("MSL", to_metal), ("HLSL", to_hlsl)]
        {
            let length =
                translate(&module, &info).unwrap_or_else(|error| panic!("{name} to {language}: {error}"));
            assert!(length > 100, "{name} to {language}");
        }
    }
}

#[test]
fn a_kernel_that_is_wrong_is_found_out() {
    let source = KERNELS[0].source(Words::Narrow).replace("id.x", "id.q");
    assert!(naga::front::wgsl::parse_str(&source).is_err());
    // What needs 64-bit words is refused where there are none.
    let wide = KERNELS[0].source(Words::Wide);
    let module = naga::front::wgsl::parse_str(&wide).unwrap();
    assert!(Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module).is_err());
}

#[test]
fn names_are_unique() {
    let names: std::collections::BTreeSet<_> = KERNELS.iter().map(|k| k.name).collect();
    assert_eq!(names.len(), KERNELS.len());
}
