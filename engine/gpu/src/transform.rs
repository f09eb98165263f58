//! Transforms of limbs: one pass where a limb fits the memory of a workgroup, otherwise two. Compact polynomials are fused into the first
//! pass; `conversion.rs` adds conversions to it, and divisions to the last.

use crate::allocation::Placement;
use crate::dispatch::{Operands, Table};
use crate::gpu::{Call, Gpu, GpuCompactPolys, HEAD_STAGES, Row};
use crate::memory::GpuBuffer;
use crate::ring_tables::inverse_limb;
use pleura_ring::{Batch, Coeff, Limbs, Ntt, RingKind};
use pleura_shaders::{Block, InverseLimb, KernelId, KernelParams, LimbEntry, RowEntry};

/// The kernels of a forward transform: of limbs that fit a block, or the head and the rest of larger ones.
#[derive(Clone, Copy)]
pub(crate) struct ForwardKernels {
    pub(crate) whole: fn(Block) -> KernelId,
    pub(crate) head: KernelId,
    pub(crate) rest: fn(Block) -> KernelId,
}

/// Transform of polynomials over the ring's primes.
const NTT: ForwardKernels =
    ForwardKernels { whole: KernelId::Ntt, head: KernelId::NttHead, rest: KernelId::NttRest };

/// Transform of compact polynomials.
const COMPACT: ForwardKernels =
    ForwardKernels { whole: KernelId::NttCompact, head: KernelId::NttHeadCompact, rest: KernelId::NttRest };

/// Logarithm of the words of a thread.
pub(crate) const LOG_THREAD_WORDS: u32 = 4;

/// A forward transform.
pub(crate) struct Forward<'a> {
    pub(crate) kernels: ForwardKernels,
    /// Logarithm of the words in a limb.
    pub(crate) log_n: u32,
    /// Logarithm of the number of copies of something shorter in a limb; 0 unless the limb is one thread's words.
    pub(crate) log_copies: u32,
    /// Limbs and terms of the kernel of whole limbs, and of the head.
    pub(crate) limbs: Table<'a>,
    pub(crate) terms: Table<'a>,
    /// Limbs of the rest.
    pub(crate) rest_limbs: Table<'a>,
}

/// Forward transform of a batch.
pub(crate) fn ntt(gpu: &Gpu, x: &Batch<Gpu, Coeff>) -> Batch<Gpu, Ntt> {
    let limbs = x.limbs();
    let polys = x.polys();
    let out = gpu.alloc(limbs, polys, Placement::Separate);
    let entries = gpu.limb_entries(limbs, limbs, limbs);
    let rows = (0..polys).map(|i| Row::map(out.at(i), x.buffer().at(i)));
    let limb_table = Table::of(&entries);
    let forward = Forward {
        kernels: NTT,
        log_n: gpu.ring.log_n(),
        log_copies: 0,
        limbs: limb_table,
        terms: Table::NONE,
        rest_limbs: limb_table,
    };
    forward.run(gpu, rows);
    Batch::from_buffer(out, limbs, polys)
}

/// Inverse transform of a batch.
pub(crate) fn intt(gpu: &Gpu, x: &Batch<Gpu, Ntt>) -> Batch<Gpu, Coeff> {
    let limbs = x.limbs();
    let polys = x.polys();
    let out = gpu.alloc(limbs, polys, Placement::Separate);
    let entries = gpu.limb_entries(limbs, limbs, limbs);
    let entries: Vec<_> = entries.into_iter().map(|base| inverse_limb(&gpu.ring, base, 1)).collect();
    inverse(gpu, &entries, (0..polys).map(|i| Row::map(out.at(i), x.buffer().at(i))));
    Batch::from_buffer(out, limbs, polys)
}

/// Compact polynomials at full length.
pub(crate) fn expand_compact(
    gpu: &Gpu,
    polys: &GpuCompactPolys,
    start: usize,
    count: usize,
    limbs: Limbs,
) -> Batch<Gpu, Ntt> {
    let log_n = gpu.ring.log_n();
    let out = gpu.alloc(limbs, count, Placement::Separate);
    let positions: Vec<_> = gpu.ring.indices(limbs).collect();
    let wanted: Vec<_> = (start..start + count).collect();
    let short = ntt_compact(gpu, polys, &wanted, &positions);
    for log_run in 0..=log_n {
        let entries: Vec<_> = positions
            .iter()
            .enumerate()
            .map(|(i, &prime)| LimbEntry {
                prime: prime as u32,
                out_offset: gpu.offset(i),
                x_offset: (i << (log_n - log_run)) as u32,
                y_offset: 0,
            })
            .collect();
        let same = (0..count).zip(&short.log_runs).filter(|(_, run)| **run == log_run);
        let rows = same.map(|(i, _)| Row::map(out.at(i), short.words.at(i)));
        let params = KernelParams { log_run, ..gpu.params() };
        gpu.call_with(KernelId::ExpandCompact, params, &entries, rows);
    }
    Batch::from_buffer(out, limbs, count)
}

/// Compact polynomials, transformed at their own length.
pub(crate) struct TransformedCompact {
    /// Each polynomial, `[prime][word]`.
    pub(crate) words: GpuBuffer,
    /// For each polynomial, the logarithm of the number of neighbouring words of a limb that each of its words stands for.
    pub(crate) log_runs: Vec<u32>,
}

/// Some compact polynomials, transformed modulo the primes at some positions.
pub(crate) fn ntt_compact(
    gpu: &Gpu,
    polys: &GpuCompactPolys,
    wanted: &[usize],
    positions: &[usize],
) -> TransformedCompact {
    let log_n = gpu.ring.log_n();
    #[expect(clippy::indexing_slicing, reason = "views are checked where they are made")]
    let log_len = |i: usize| polys.log_lens[i];
    // At least the words of a thread.
    let log_stored = |i: usize| log_len(i).max(LOG_THREAD_WORDS);
    let sizes: Vec<_> = wanted.iter().map(|&i| positions.len() << log_stored(i)).collect();
    let out = gpu.device.alloc_sizes(&sizes);
    for log in 0..=log_n {
        let stored = log.max(LOG_THREAD_WORDS);
        let entries: Vec<_> = positions
            .iter()
            .enumerate()
            .map(|(i, &prime)| LimbEntry {
                prime: prime as u32,
                out_offset: (i << stored) as u32,
                ..LimbEntry::default()
            })
            .collect();
        let same = wanted.iter().enumerate().filter(|(_, i)| log_len(**i) == log);
        let rows = same.map(|(place, &i)| Row::map(out.at(place), polys.buffer.at(i)));
        let limbs = Table::of(&entries);
        let forward = Forward {
            kernels: COMPACT,
            log_n: stored,
            log_copies: stored - log,
            limbs,
            terms: Table::NONE,
            rest_limbs: limbs,
        };
        forward.run(gpu, rows);
    }
    TransformedCompact { words: out, log_runs: wanted.iter().map(|&i| log_n - log_stored(i)).collect() }
}

impl Forward<'_> {
    pub(crate) fn run<'a>(&self, gpu: &Gpu, rows: impl Iterator<Item = Row<'a, RowEntry>> + Clone) {
        let log_n = self.log_n;
        if log_n <= gpu.device.max_log_block {
            let block = match self.log_copies {
                0 => Block::whole(log_n),
                log_copies => Block::copies(log_copies),
            };
            gpu.call(&self.call((self.kernels.whole)(block)), rows);
            return;
        }
        gpu.call(&self.call(self.kernels.head), rows.clone());
        self.run_rest(gpu, rows);
    }

    /// The stages after a head.
    pub(crate) fn run_rest<'a>(&self, gpu: &Gpu, rows: impl Iterator<Item = Row<'a, RowEntry>>) {
        // The remainder is transformed in place; the minuend stays.
        let rest = rows.map(|row| Row { operands: Operands { x: None, ..row.operands }, ..row });
        let kernel = (self.kernels.rest)(Block::whole(self.log_n - HEAD_STAGES));
        gpu.call(&Call { limbs: self.rest_limbs, terms: Table::NONE, ..self.call(kernel) }, rest);
    }

    fn call(&self, kernel: KernelId) -> Call<'_> {
        Call {
            kernel,
            params: KernelParams { log_n: self.log_n, log_run: self.log_copies, ..KernelParams::default() },
            limbs: self.limbs,
            terms: self.terms,
            cost: transform_cost(self.log_n),
        }
    }
}

/// Inverse transform of the ring's limbs, scaled by the factor in each limb's entry.
pub(crate) fn inverse<'a>(
    gpu: &Gpu,
    limbs: &[InverseLimb],
    rows: impl Iterator<Item = Row<'a, RowEntry>> + Clone,
) {
    let in_place = rows.clone().map(|row| Row { operands: Operands::in_place(row.operands.out), ..row });
    inverse_blocks(gpu, limbs, rows);
    if gpu.ring.log_n() > gpu.device.max_log_block {
        gpu.call(&inverse_call(gpu, KernelId::InttHead, limbs), in_place.clone());
    }
    if gpu.ring.kind() == RingKind::ConjugateInvariant {
        gpu.call(&Call { cost: 1, ..inverse_call(gpu, KernelId::Unfold, limbs) }, in_place);
    }
}

/// Inverse transform of limbs that fit a block, or of the blocks of larger ones.
pub(crate) fn inverse_blocks<'a>(
    gpu: &Gpu,
    limbs: &[InverseLimb],
    rows: impl Iterator<Item = Row<'a, RowEntry>>,
) {
    let log_n = gpu.ring.log_n();
    let log_block = if log_n <= gpu.device.max_log_block { log_n } else { log_n - HEAD_STAGES };
    gpu.call(&inverse_call(gpu, KernelId::Intt(Block::whole(log_block)), limbs), rows);
}

fn inverse_call<'a>(gpu: &Gpu, kernel: KernelId, limbs: &'a [InverseLimb]) -> Call<'a> {
    Call {
        kernel,
        params: gpu.params(),
        limbs: Table::of(limbs),
        terms: Table::NONE,
        cost: transform_cost(gpu.ring.log_n()),
    }
}

/// Number of modular products in a word of a transform.
pub(crate) fn transform_cost(log_n: u32) -> u64 {
    u64::from(log_n).div_ceil(2)
}
