//! Recording of dispatches: tables, bind groups, and when commands are submitted.

use crate::device::Device;
use crate::limits::COMMON_BINDINGS;
use crate::memory::PooledBuffer;
use crate::recorder::{Recorder, SUBMIT_COST};
use crate::table_arena::TableArena;
use pleura_ring::BackendError;
use pleura_shaders::{Entry, EntryType, Kernel, KernelId, KernelParams};
use std::num::NonZero;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

/// One kernel over rows and limbs.
pub(crate) struct Dispatch<'a> {
    pub(crate) kernel: KernelId,
    /// Parameters, but for where the tables begin.
    pub(crate) params: KernelParams,
    pub(crate) constants: RingConstants<'a>,
    pub(crate) operands: Operands<&'a PooledBuffer>,
    pub(crate) limbs: Table<'a>,
    pub(crate) rows: Table<'a>,
    pub(crate) terms: Table<'a>,
    /// Modular products, about.
    pub(crate) cost: u64,
}

/// The tables of a ring on the device.
#[derive(Clone, Copy)]
pub(crate) struct RingConstants<'a> {
    pub(crate) primes: &'a PooledBuffer,
    pub(crate) twiddles: &'a PooledBuffer,
}

/// The result of a kernel, and what it reads, by the names of its bindings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Operands<T> {
    pub(crate) out: T,
    pub(crate) x: Option<T>,
    pub(crate) y: Option<T>,
    pub(crate) z: Option<T>,
    pub(crate) w: Option<T>,
}

/// Entries of a table, whatever their type.
#[derive(Clone, Copy)]
pub(crate) struct Table<'a> {
    /// `None` of an empty table that no kernel reads.
    ty: Option<EntryType>,
    words: &'a [u32],
}

/// Most entries in the second and third dimension of a dispatch.
const MAX_GRID: usize = 65_535;

impl Device {
    /// Records one dispatch, in pieces if it is too long.
    pub(crate) fn dispatch(&self, dispatch: &Dispatch<'_>) {
        let kernel = dispatch.kernel.kernel();
        dispatch.check_tables(&kernel);
        // What is computed from what is missing is missing, too.
        let missing = dispatch.operands.iter().find_map(|buffer| buffer.check().err());
        if let Some(error) = missing {
            dispatch.operands.out.damage(&error);
            return self.errors.set(error);
        }
        if self.skipped_kernel.as_deref().is_some_and(|name| [kernel.name, "all"].contains(&name)) {
            return;
        }
        let pipeline = self.pipelines.get(&self.device, dispatch.kernel);
        let columns = kernel.grid.workgroups(dispatch.params.log_n);
        // No single dispatch is much longer than what is submitted at once, unless it is one limb of one row.
        let pieces = dispatch.cost.div_ceil(SUBMIT_COST).max(1) as usize;
        // Rows of one workgroup stay together.
        let together = kernel.grid.rows() as usize;
        let most_rows = MAX_GRID / together * together;
        let rows_at_once =
            dispatch.rows.len().div_ceil(pieces).next_multiple_of(together).clamp(1, most_rows);
        let pieces_of_rows = dispatch.rows.len().div_ceil(rows_at_once).max(1);
        let limbs_at_once = dispatch.limbs.len().div_ceil(pieces.div_ceil(pieces_of_rows)).clamp(1, MAX_GRID);
        for limbs in dispatch.limbs.chunks(limbs_at_once) {
            for rows in dispatch.rows.chunks(rows_at_once) {
                let params = KernelParams { row_count: rows.len() as u32, ..dispatch.params };
                let tables = [limbs.words, rows.words, dispatch.terms.words];
                let mut recorder = self.recorder();
                let Some(params_at) = self.place_tables(&mut recorder, params, tables) else { return };
                if recorder.dispatches == 0 && self.is_idle() {
                    recorder.device_is_idle();
                }
                let bind_group = self.bind_group(&mut recorder, &kernel, dispatch);
                let row_groups = (rows.len() as u32).div_ceil(kernel.grid.rows());
                let pass = recorder.pass(&self.device, kernel.name);
                pass.set_pipeline(&pipeline);
                pass.set_bind_group(0, &bind_group, &[4 * params_at]);
                let [x, y, z] =
                    if self.no_workgroups { [0; 3] } else { [columns, limbs.len() as u32, row_groups] };
                pass.dispatch_workgroups(x, y, z);
                recorder.dispatches += 1;
                recorder.cost += dispatch.cost / pieces as u64;
                self.dispatches.fetch_add(1, Ordering::Relaxed);
                if recorder.is_full() {
                    self.submit(&mut recorder);
                }
            }
        }
    }

    /// Submits what was recorded.
    pub(crate) fn flush(&self) {
        self.submit(&mut self.recorder());
    }

    /// Drops bind groups, which keep their buffers.
    pub(crate) fn forget_bind_groups(&self) {
        self.recorder().bind_groups.clear();
    }

    pub(crate) fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the parameters of a dispatch begin in the arena, followed by its tables; `None` if no arena large enough can be had.
    fn place_tables(
        &self,
        recorder: &mut Recorder,
        params: KernelParams,
        tables: [&[u32]; 3],
    ) -> Option<u32> {
        if let Some(at) = recorder.arena.find(params, tables).or_else(|| recorder.arena.add(params, tables)) {
            return Some(at);
        }
        self.submit(recorder);
        recorder.arena.clear();
        if let Some(at) = recorder.arena.add(params, tables) {
            return Some(at);
        }
        let words = tables.iter().map(|table| table.len()).sum::<usize>() + size_of::<KernelParams>() / 4;
        let bytes = 4 * words.next_power_of_two();
        let Some(buffer) = self.pool.create(&self.device, bytes as u64) else {
            self.errors.set(BackendError::OutOfMemory { bytes });
            return None;
        };
        recorder.arena = TableArena::new(buffer);
        recorder.bind_groups.clear();
        recorder.arena.add(params, tables)
    }

    /// Whether the device is known to have finished all submitted commands: the driver says so when it is polled.
    fn is_idle(&self) -> bool {
        self.finished_submits.load(Ordering::Relaxed) >= self.pool.submits.load(Ordering::Relaxed)
    }

    /// Submits what was recorded, if anything was.
    pub(crate) fn submit(&self, recorder: &mut Recorder) -> Option<wgpu::SubmissionIndex> {
        let commands = recorder.finish(&self.device)?;
        recorder.arena.write(&self.queue);
        // In passing, the driver says what it has finished, and frees buffers that it is done with.
        let submission = self.queue.submit([commands]);
        self.pool.submits.fetch_add(1, Ordering::Relaxed);
        let finished = self.finished_submits.clone();
        self.queue.on_submitted_work_done(move || _ = finished.fetch_add(1, Ordering::Relaxed));
        recorder.submitted();
        Some(submission)
    }

    fn bind_group(
        &self,
        recorder: &mut Recorder,
        kernel: &Kernel,
        dispatch: &Dispatch<'_>,
    ) -> wgpu::BindGroup {
        let RingConstants { primes, twiddles } = dispatch.constants;
        let [out, x, y, z, w] = dispatch.operands.or(&self.nothing);
        let key = (kernel.inputs, [primes.id, twiddles.id, out.id, x.id, y.id, z.id, w.id]);
        if let Some(bind_group) = recorder.bind_groups.get(&key) {
            return bind_group.clone();
        }
        let params = wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &recorder.arena.buffer.buffer,
            offset: 0,
            size: NonZero::new(size_of::<KernelParams>() as u64),
        });
        let storage =
            [&recorder.arena.buffer, primes, twiddles, out, x, y, z, w].map(|bound| self.storage(bound));
        let entries: Vec<_> = std::iter::once(params)
            .chain(storage)
            .take((COMMON_BINDINGS + kernel.inputs) as usize)
            .zip(0..)
            .map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource })
            .collect();
        let bind_group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: self.pipelines.bind_group_layout(kernel),
            entries: &entries,
        });
        recorder.keep(key, bind_group.clone());
        bind_group
    }

    /// The part of a buffer that a kernel can address.
    fn storage<'a>(&self, bound: &'a PooledBuffer) -> wgpu::BindingResource<'a> {
        let size = bound.buffer.size().min(self.limits.max_storage_buffer_binding_size);
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &bound.buffer,
            offset: 0,
            size: NonZero::new(size / 4 * 4),
        })
    }
}

impl Dispatch<'_> {
    /// Panics if the tables are not of the types that the kernel reads, which only a bug of this crate can cause.
    fn check_tables(&self, kernel: &Kernel) {
        let given = [self.limbs.ty, self.rows.ty, self.terms.ty];
        assert_eq!(given, [Some(kernel.limb), Some(kernel.row), kernel.term], "tables of {}", kernel.name);
    }
}

impl<'a> Table<'a> {
    /// No table.
    pub(crate) const NONE: Self = Self { ty: None, words: &[] };

    /// Entries of one type.
    pub(crate) fn of<T: Entry>(entries: &'a [T]) -> Self {
        Self { ty: Some(T::TYPE), words: bytemuck::cast_slice(entries) }
    }

    /// The words of entries of one type and those that follow them.
    pub(crate) fn of_words<T: Entry>(words: &'a [u32]) -> Self {
        Self { ty: Some(T::TYPE), words }
    }

    /// Number of entries.
    pub(crate) fn len(self) -> usize {
        self.words.len() / self.entry_words()
    }

    /// Tables of `entries` entries, the last one shorter.
    fn chunks(self, entries: usize) -> impl Iterator<Item = Self> {
        let words = entries * self.entry_words();
        self.words.chunks(words).map(move |words| Self { words, ..self })
    }

    fn entry_words(self) -> usize {
        self.ty.map_or(1, |ty| ty.bytes() / 4)
    }
}

impl<T> Operands<T> {
    /// A result that is computed in place.
    pub(crate) fn in_place(out: T) -> Self {
        Self { out, x: None, y: None, z: None, w: None }
    }

    /// Every operand in another form.
    pub(crate) fn map<U>(self, f: impl Fn(T) -> U) -> Operands<U> {
        let Self { out, x, y, z, w } = self;
        Operands { out: f(out), x: x.map(&f), y: y.map(&f), z: z.map(&f), w: w.map(&f) }
    }

    /// References to the operands.
    pub(crate) fn as_ref(&self) -> Operands<&T> {
        let Self { out, x, y, z, w } = self;
        Operands { out, x: x.as_ref(), y: y.as_ref(), z: z.as_ref(), w: w.as_ref() }
    }

    /// The operands that there are, the result first.
    fn iter(&self) -> impl Iterator<Item = &T> {
        let Self { out, x, y, z, w } = self;
        std::iter::once(out).chain([x, y, z, w].into_iter().flatten())
    }
}

impl<T: Copy> Operands<T> {
    /// In the order of their bindings, with a stand-in for those that there are not.
    fn or(self, other: T) -> [T; 5] {
        let Self { out, x, y, z, w } = self;
        [out, x.unwrap_or(other), y.unwrap_or(other), z.unwrap_or(other), w.unwrap_or(other)]
    }
}
