//! Writes every kernel as Metal's language and as SPIR-V to a folder, for tools that look at compiled kernels (`benches/static`).
//!
//! `cargo run -p pleura-shaders --example translate -- FOLDER`: files `NAME.LOG_WORDS.int64.metal` and `.spv` (or `int32`) for each kernel,
//! and the kernels' names, threads, words to a thread and bindings as `kernels.json`. The text is that which wgpu gives to drivers: without
//! checks of bounds, and with the constants of a block filled in.

use naga::Module;
use naga::ShaderStage;
use naga::back::pipeline_constants::process_overrides;
use naga::back::{msl, spv};
use naga::proc::BoundsCheckPolicies;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use pleura_shaders::{Block, ENTRY_POINT, Grid, Kernel, KernelId, Words};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("name a folder to write to")?);
    std::fs::create_dir_all(&folder)?;
    let mut files = BTreeMap::new();
    for log_words in 4..=13 {
        for id in KernelId::all(Block::whole(log_words)) {
            let kernel = id.kernel();
            let is_block = matches!(kernel.grid, Grid::Block(_));
            let block = if is_block { format!(".{log_words}") } else { String::new() };
            files.insert(format!("{}{block}", kernel.name), kernel);
        }
    }
    let mut list = String::from("{\n");
    for (i, (name, kernel)) in files.iter().enumerate() {
        for (words, suffix) in [(Words::Int64, "int64"), (Words::Int32, "int32")] {
            let (module, info) = resolved(kernel, words)?;
            std::fs::write(folder.join(format!("{name}.{suffix}.metal")), metal(&module, &info)?)?;
            std::fs::write(folder.join(format!("{name}.{suffix}.spv")), spir_v(&module, &info)?)?;
        }
        let comma = if i == 0 { "" } else { ",\n" };
        let words = kernel.grid.thread_words();
        // Parameters, tables, primes, twiddles and the result come before the inputs.
        let threads = kernel.grid.threads();
        let bindings = 5 + kernel.inputs;
        write!(
            list,
            "{comma}\"{name}\": {{\"threads\": {threads}, \"words\": {words}, \"bindings\": {bindings}}}"
        )?;
    }
    std::fs::write(folder.join("kernels.json"), list + "\n}\n")?;
    Ok(())
}

/// A kernel with its constants filled in.
fn resolved(kernel: &Kernel, words: Words) -> Result<(Module, ModuleInfo), Box<dyn Error>> {
    let source = kernel.source(words);
    let module = naga::front::wgsl::parse_str(&source)?;
    let capabilities = match words {
        Words::Int64 => Capabilities::SHADER_INT64,
        Words::Int32 => Capabilities::empty(),
    };
    let info = Validator::new(ValidationFlags::all(), capabilities).validate(&module)?;
    let constants =
        kernel.grid.constants().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let entry = Some((ShaderStage::Compute, ENTRY_POINT));
    let (module, info) = process_overrides(&module, &info, entry, &constants)?;
    Ok((module.into_owned(), info.into_owned()))
}

fn metal(module: &Module, info: &ModuleInfo) -> Result<String, Box<dyn Error>> {
    let options = msl::Options {
        lang_version: (2, 3),
        fake_missing_bindings: true,
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: false,
        bounds_check_policies: BoundsCheckPolicies::default(),
        ..Default::default()
    };
    let pipeline = msl::PipelineOptions {
        entry_point: Some((ShaderStage::Compute, ENTRY_POINT.into())),
        ..Default::default()
    };
    Ok(msl::write_string(module, info, &options, &pipeline)?.0)
}

fn spir_v(module: &Module, info: &ModuleInfo) -> Result<Vec<u8>, Box<dyn Error>> {
    let options = spv::Options {
        lang_version: (1, 3),
        flags: spv::WriterFlags::empty(),
        force_loop_bounding: false,
        bounds_check_policies: BoundsCheckPolicies::default(),
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        ..Default::default()
    };
    let pipeline =
        spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: ENTRY_POINT.into() };
    let words = spv::write_vec(module, info, &options, Some(&pipeline))?;
    Ok(words.into_iter().flat_map(u32::to_le_bytes).collect())
}
