//! A ring on a device, and calls of kernels on rows of limbs.

use crate::conversion_tables::{Conversion, ConversionTables};
use crate::device::Device;
use crate::dispatch::{Dispatch, Operands, RingConstants, Table};
use crate::error::GpuError;
use crate::memory::{GpuBuffer, Location, PooledBuffer, Segment};
use crate::{allocation::Placement, ring_tables};
use foldhash::fast::FixedState;
use pleura_ring::{BackendError, Domain, Limbs, Ring, RingKind, View};
use pleura_shaders::{Block, DIGIT_SIZES, Entry, KernelId, KernelParams, LimbEntry, RowEntry};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A GPU as the backend of one ring. Results are the [`Cpu`](pleura_ring::Cpu)'s, bit for bit.
pub struct Gpu {
    pub(crate) ring: Arc<Ring>,
    pub(crate) device: Arc<Device>,
    primes: PooledBuffer,
    twiddles: PooledBuffer,
    conversions: Mutex<HashMap<Conversion, Arc<ConversionTables>, FixedState>>,
}

/// Compact polynomials on the device.
pub struct GpuCompactPolys {
    /// Coefficients of all polynomials.
    pub(crate) buffer: GpuBuffer,
    /// Logarithm of the length of each polynomial.
    pub(crate) log_lens: Vec<u32>,
}

/// A kernel, and the arguments that all its rows share.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) kernel: KernelId,
    /// Parameters, except the offsets of the tables.
    pub(crate) params: KernelParams,
    pub(crate) limbs: Table<'a>,
    pub(crate) terms: Table<'a>,
    /// Modular products in a word of a row.
    pub(crate) cost: u64,
}

/// One row of a call: the segments of its result and its operands, and its entry.
pub(crate) struct Row<'a, E> {
    pub(crate) operands: Operands<&'a Segment>,
    pub(crate) entry: E,
}

/// Rows whose operands lie in the same segments: one dispatch.
struct RowGroup<'a, E> {
    operands: Operands<&'a Segment>,
    entries: Vec<E>,
}

/// Logarithm of the smallest degree: a thread's words in a transform.
const MIN_LOG_N: u32 = 4;

/// Stages of the transforms' heads, which limbs have that are larger than a block.
pub(crate) const HEAD_STAGES: u32 = 4;

impl Gpu {
    /// Uploads the tables of a ring to a device, and compiles the kernels of its degree that the device has not compiled yet.
    ///
    /// # Errors
    /// [`GpuError::BadDegree`], [`GpuError::Backend`]
    pub fn new(ring: Arc<Ring>, device: Arc<Device>) -> Result<Self, GpuError> {
        let log_n = ring.log_n();
        let max = device.max_log_block + HEAD_STAGES;
        if !(MIN_LOG_N..=max).contains(&log_n) {
            return Err(GpuError::BadDegree { log_n, min: MIN_LOG_N, max });
        }
        let primes = upload_table(&device, bytemuck::cast_slice(&ring_tables::primes(&ring)))?;
        let twiddles = upload_table(&device, bytemuck::cast_slice(&ring_tables::twiddles(&ring)))?;
        device.pipelines.compile_all(&device.device, &kernels(&ring, device.max_log_block));
        Ok(Self { ring, device, primes, twiddles, conversions: Mutex::default() })
    }

    /// The device that the ring runs on.
    pub fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// Short description of a device, as [`Backend::name`](pleura_ring::Backend::name) returns it.
    pub fn describe(device: &Device) -> String {
        let info = device.info();
        let products = if device.shader_int64() { "" } else { ", 32-bit products" };
        format!("{} ({}{products})", info.name, info.api)
    }

    /// Memory for polynomials.
    pub(crate) fn alloc(&self, limbs: Limbs, polys: usize, placement: Placement) -> GpuBuffer {
        self.device.alloc(limbs.count() << self.ring.log_n(), polys, placement)
    }

    /// Offset of the limb at a position of a polynomial.
    pub(crate) fn offset(&self, position: usize) -> u32 {
        (position << self.ring.log_n()) as u32
    }

    /// The tables of a conversion, which are made where they are used first.
    pub(crate) fn conversion(&self, conversion: Conversion) -> Arc<ConversionTables> {
        let mut conversions = self.conversions.lock().unwrap_or_else(PoisonError::into_inner);
        let tables = conversions
            .entry(conversion)
            .or_insert_with(|| Arc::new(ConversionTables::new(&self.ring, conversion)));
        tables.clone()
    }

    /// Entries of `limbs`, with their offsets in polynomials over the limbs of the result and of `x`, which have them all.
    pub(crate) fn limb_entries(&self, limbs: Limbs, out: Limbs, x: Limbs) -> Vec<LimbEntry> {
        // Kernels would read what follows.
        assert!(out.contains(limbs) && x.contains(limbs), "{out:?} or {x:?} lacks limbs of {limbs:?}");
        self.ring
            .indices(limbs)
            .enumerate()
            .map(|(limb, prime)| LimbEntry {
                prime: prime as u32,
                out_offset: self.offset(out.position(limbs, limb)),
                x_offset: self.offset(x.position(limbs, limb)),
                y_offset: 0,
            })
            .collect()
    }

    /// Parameters of kernels that work on limbs of the ring.
    pub(crate) fn params(&self) -> KernelParams {
        KernelParams {
            log_n: self.ring.log_n(),
            log_spacing: self.ring.kind().log_spacing(),
            ..KernelParams::default()
        }
    }

    /// Calls a kernel that takes neither parameters nor terms.
    pub(crate) fn call_simple<'a, L: Entry>(
        &self,
        kernel: KernelId,
        limbs: &[L],
        rows: impl IntoIterator<Item = Row<'a, RowEntry>>,
    ) {
        self.call_with(kernel, self.params(), limbs, rows);
    }

    /// Calls a kernel that takes parameters and no terms.
    pub(crate) fn call_with<'a, L: Entry>(
        &self,
        kernel: KernelId,
        params: KernelParams,
        limbs: &[L],
        rows: impl IntoIterator<Item = Row<'a, RowEntry>>,
    ) {
        let limbs = Table::of(limbs);
        self.call(&Call { kernel, params, limbs, terms: Table::NONE, cost: 1 }, rows);
    }

    /// Calls a kernel, with a dispatch for each combination of segments that its rows have.
    pub(crate) fn call<'a, E: Entry>(&self, call: &Call<'_>, rows: impl IntoIterator<Item = Row<'a, E>>) {
        if call.limbs.len() == 0 {
            return;
        }
        for RowGroup { operands, entries } in grouped(rows) {
            let resident = operands.map(|segment| self.device.resident(segment));
            self.device.dispatch(&Dispatch {
                kernel: call.kernel,
                params: call.params,
                constants: RingConstants { primes: &self.primes, twiddles: &self.twiddles },
                operands: resident.as_ref().map(|buffer| &**buffer),
                limbs: call.limbs,
                rows: Table::of(&entries),
                terms: call.terms,
                cost: call.cost * ((entries.len() * call.limbs.len()) << call.params.log_n) as u64,
            });
        }
    }
}

/// The kernels of a ring that any server uses. Those of short compact polynomials depend on the network, and are compiled when they are
/// used first.
fn kernels(ring: &Ring, max_log_block: u32) -> Vec<KernelId> {
    let is_large = ring.log_n() > max_log_block;
    let folds = ring.kind() == RingKind::ConjugateInvariant;
    let block = Block::whole(if is_large { ring.log_n() - HEAD_STAGES } else { ring.log_n() });
    let mut kernels = vec![
        KernelId::Uniform,
        KernelId::Concat,
        KernelId::Add,
        KernelId::AddAssign,
        KernelId::SubAssign,
        KernelId::MulScalar,
        KernelId::MulAccumulate,
        KernelId::GadgetProduct,
        KernelId::GadgetProductPair,
        KernelId::BabyStepSums,
        KernelId::BabyStepSumsPair,
        KernelId::BabyStepSumsFour,
        KernelId::Intt(block),
    ];
    if folds {
        kernels.push(KernelId::Unfold);
    }
    kernels.extend(match (is_large, folds) {
        (false, _) => vec![
            KernelId::Ntt(block),
            KernelId::NttConverted(block),
            KernelId::NttConvertedRescaled(block),
            KernelId::NttCompact(block),
        ],
        (true, false) => vec![KernelId::ConvertHead(DIGIT_SIZES[0])],
        (true, true) => vec![KernelId::InttHead, KernelId::NttHeadConverted],
    });
    if is_large {
        kernels.extend([
            KernelId::NttHead,
            KernelId::NttHeadCompact,
            KernelId::NttRest(block),
            KernelId::NttRestRescaled(block),
        ]);
    }
    kernels
}

impl<'a> Row<'a, RowEntry> {
    /// A row from one place to another.
    pub(crate) fn map(out: Location<'a>, x: Location<'a>) -> Self {
        Self {
            operands: Operands { x: Some(x.segment), ..Operands::in_place(out.segment) },
            entry: RowEntry { out_offset: out.offset, x_offset: x.offset, y_offset: 0 },
        }
    }

    /// A row from two places to another.
    pub(crate) fn zip(out: Location<'a>, x: Location<'a>, y: Location<'a>) -> Self {
        let Row { operands, entry } = Self::map(out, x);
        Self {
            operands: Operands { y: Some(y.segment), ..operands },
            entry: RowEntry { y_offset: y.offset, ..entry },
        }
    }

    /// A row in place.
    pub(crate) fn in_place(out: Location<'a>) -> Self {
        Self {
            operands: Operands::in_place(out.segment),
            entry: RowEntry { out_offset: out.offset, ..RowEntry::default() },
        }
    }
}

/// Start of a polynomial of a view.
pub(crate) fn poly<'a, D: Domain>(view: View<'a, Gpu, D>, i: usize) -> Location<'a> {
    assert!(i < view.polys(), "poly {i} of {}", view.polys());
    view.buffer().at(view.start() + i)
}

/// Groups rows by the segments of their operands.
fn grouped<'a, E>(rows: impl IntoIterator<Item = Row<'a, E>>) -> Vec<RowGroup<'a, E>> {
    let rows = rows.into_iter();
    let (count, _) = rows.size_hint();
    let mut groups: Vec<RowGroup<'a, E>> = Vec::with_capacity(1);
    for Row { operands, entry } in rows {
        let found = groups
            .iter_mut()
            .rev()
            .find(|group| group.operands.map(Segment::id) == operands.map(Segment::id));
        match found {
            Some(group) => group.entries.push(entry),
            None => {
                // As a rule there is one group.
                let mut entries = Vec::with_capacity(count.max(1));
                entries.push(entry);
                groups.push(RowGroup { operands, entries });
            }
        }
    }
    groups
}

/// A buffer of words that every kernel can address as a whole.
fn upload_table(device: &Device, words: &[u32]) -> Result<PooledBuffer, BackendError> {
    let bytes = 4 * words.len();
    let visible = words.len() <= device.visible_words;
    let buffer = if visible { device.unused_buffer(bytes as u64) } else { None };
    let buffer = buffer.ok_or(BackendError::OutOfMemory { bytes })?;
    device.write(&buffer, 0, words);
    Ok(buffer)
}
