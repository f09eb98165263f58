//! Every kernel, in both forms of words and at every size of block, is valid WGSL and has a translation to what the drivers of
//! Vulkan, Metal and DX12 take.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use naga::back::{hlsl, msl, pipeline_constants::process_overrides, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{Module, ShaderStage};
use pleura_shaders::{Block, DIGIT_SIZES, ENTRY_POINT, Kernel, KernelId, Words};
use std::collections::BTreeSet;

/// Each kernel in both forms of words, with every block that it may be given.
fn variants() -> Vec<(Kernel, Words)> {
    // Blocks of all sizes; and copies of something shorter than a thread's sixteen words.
    let blocks = (4..=13).map(Block::whole).chain((1..=4).map(Block::copies));
    let digits = DIGIT_SIZES.into_iter().map(KernelId::ConvertHead);
    let kernels = blocks.flat_map(KernelId::all).chain(digits).map(KernelId::kernel);
    let mut variants = Vec::new();
    for kernel in kernels {
        for words in [Words::Int64, Words::Int32] {
            if !variants.contains(&(kernel.clone(), words)) {
                variants.push((kernel.clone(), words));
            }
        }
    }
    variants
}

/// Parses, validates and fills in the constants.
fn resolved(kernel: &Kernel, words: Words) -> Result<(Module, ModuleInfo), String> {
    let source = kernel.source(words);
    let module = naga::front::wgsl::parse_str(&source).map_err(|e| e.emit_to_string(&source))?;
    let capabilities = match words {
        Words::Int64 => Capabilities::SHADER_INT64,
        Words::Int32 => Capabilities::empty(),
    };
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .map_err(|e| e.emit_to_string(&source))?;
    let constants =
        kernel.grid.constants().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let entry = Some((ShaderStage::Compute, ENTRY_POINT));
    let (module, info) = process_overrides(&module, &info, entry, &constants).map_err(|e| e.to_string())?;
    Ok((module.into_owned(), info.into_owned()))
}

fn to_spirv(module: &Module, info: &ModuleInfo) -> Result<usize, String> {
    let pipeline =
        spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: ENTRY_POINT.into() };
    spv::write_vec(module, info, &spv::Options::default(), Some(&pipeline))
        .map(|words| words.len())
        .map_err(|e| e.to_string())
}

fn to_metal(module: &Module, info: &ModuleInfo) -> Result<usize, String> {
    let options = msl::Options { lang_version: (2, 3), fake_missing_bindings: true, ..Default::default() };
    let pipeline = msl::PipelineOptions {
        entry_point: Some((ShaderStage::Compute, ENTRY_POINT.into())),
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
    let pipeline = hlsl::PipelineOptions { entry_point: Some((ShaderStage::Compute, ENTRY_POINT.into())) };
    let mut text = String::new();
    let mut writer = hlsl::Writer::new(&mut text, &options, &pipeline);
    writer.write(module, info, None).map_err(|e| e.to_string())?;
    Ok(text.len())
}

#[test]
fn every_kernel_is_valid_and_translates() {
    for (kernel, words) in variants() {
        let name = format!("{}, {words:?}, {:?}", kernel.name, kernel.grid);
        let (module, info) = resolved(&kernel, words).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(module.entry_points[0].workgroup_size, [kernel.grid.threads(), 1, 1], "{name}");
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
    let concat = KernelId::Concat.kernel();
    let source = concat.source(Words::Int32).replace("id.x", "id.q");
    assert!(naga::front::wgsl::parse_str(&source).is_err());
    // What needs 64-bit words is refused where there are none.
    let module = naga::front::wgsl::parse_str(&concat.source(Words::Int64)).unwrap();
    assert!(Validator::new(ValidationFlags::all(), Capabilities::empty()).validate(&module).is_err());
}

#[test]
fn names_and_blocks_are_unique() {
    let names: BTreeSet<_> = KernelId::all(Block::whole(12)).iter().map(|id| id.kernel().name).collect();
    assert_eq!(names.len(), KernelId::all(Block::whole(12)).len());
    assert_ne!(KernelId::Ntt(Block::whole(4)), KernelId::Ntt(Block::copies(1)));
}

#[test]
fn every_file_is_a_kernel() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/kernels");
    let files: BTreeSet<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let kernels = KernelId::all(Block::whole(12)).map(|id| id.kernel().file.to_owned());
    assert_eq!(files, kernels.into_iter().collect());
}
