//! Numbers of buffers that kernels bind, and sizes of blocks that a device can transform.

use pleura_shaders::{Block, Grid};

/// Bindings that every kernel has: parameters, tables, primes, twiddles, and the result.
pub(crate) const COMMON_BINDINGS: u32 = 5;

/// Maximum number of buffers that a kernel reads beside those.
pub(crate) const MAX_INPUTS: usize = 4;

/// Storage buffers that a device must let a kernel bind: all bindings but the uniform parameters.
pub(crate) const STORAGE_BUFFERS: u32 = COMMON_BINDINGS + MAX_INPUTS as u32 - 1;

/// Logarithm of the block size in words, on devices with large workgroups and on all others.
const LOG_LARGE_BLOCK: u32 = 13;
const LOG_SMALL_BLOCK: u32 = 12;

/// Logarithm of the largest block, in words, that a workgroup can transform; or why the kernels cannot run at all.
pub(crate) fn largest_block(limits: &wgpu::Limits) -> Result<u32, String> {
    let buffers = limits.max_storage_buffers_per_shader_stage;
    let threads = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x);
    let bytes = limits.max_compute_workgroup_storage_size;
    let fits = |log_words: u32| {
        let block_threads = Grid::Block(Block::whole(log_words)).threads();
        threads >= block_threads.max(Grid::Word.threads()) && bytes >= 4 << log_words
    };
    if buffers < STORAGE_BUFFERS || !fits(LOG_SMALL_BLOCK) {
        return Err(format!(
            "it gives kernels {buffers} buffers, {threads} threads and {bytes} bytes to share; they need \
             {STORAGE_BUFFERS}, {} and {}",
            Grid::Word.threads(),
            4 << LOG_SMALL_BLOCK
        ));
    }
    Ok(if fits(LOG_LARGE_BLOCK) { LOG_LARGE_BLOCK } else { LOG_SMALL_BLOCK })
}
