//! Digits converted to other primes between an inverse transform and a forward one: ModUp, ModDown and rescale.

use crate::allocation::Placement;
use crate::conversion_tables::{Conversion, ConversionTables};
use crate::dispatch::Table;
use crate::gpu::{Call, Gpu, Row, poly};
use crate::memory::GpuBuffer;
use crate::transform::{Forward, ForwardKernels, inverse, inverse_blocks, transform_cost};
use pleura_ring::{Batch, Gadget, Limbs, Ntt, RingKind, View, shape};
use pleura_shaders::{DigitSource, KernelId, LimbEntry, RowEntry};

/// Transform of coefficients converted from other primes.
const CONVERTED: ForwardKernels = ForwardKernels {
    whole: KernelId::NttConverted,
    head: KernelId::NttHeadConverted,
    rest: KernelId::NttRest,
};

/// Transform of converted coefficients, followed by the division that they are the remainder of.
const RESCALED: ForwardKernels = ForwardKernels {
    whole: KernelId::NttConvertedRescaled,
    head: KernelId::NttHeadConverted,
    rest: KernelId::NttRestRescaled,
};

/// The digits of each poly of a view, extended to all limbs.
pub(crate) fn mod_up(gpu: &Gpu, x: View<'_, Gpu, Ntt>, gadget: Gadget) -> Batch<Gpu, Ntt> {
    let digits = gadget.digits();
    let limbs = gadget.limbs;
    let out = extend_digits(gpu, x, gadget);
    // Each digit's own limbs are there already.
    let own = (0..digits).flat_map(|d| gadget.digit(d).map(move |limb| (d, limb)));
    let entries: Vec<_> = own
        .map(|(d, limb)| LimbEntry {
            prime: limb as u32,
            out_offset: gpu.offset(d * limbs.count() + limb),
            x_offset: gpu.offset(limb),
            y_offset: 0,
        })
        .collect();
    let rows = (0..x.polys()).map(|i| Row::map(out.at(i), poly(x, i)));
    gpu.call_simple(KernelId::Concat, &entries, rows);
    let polys = out.split(limbs.count() << gpu.ring.log_n(), digits);
    Batch::from_buffer(polys, limbs, x.polys() * digits)
}

/// Memory for the digits `[digit][limb]` of each polynomial of a view, with all limbs filled but each digit's own.
pub(crate) fn extend_digits(gpu: &Gpu, x: View<'_, Gpu, Ntt>, gadget: Gadget) -> GpuBuffer {
    let digits = gadget.digits();
    shape::check_mod_up(x.limbs(), gadget);
    let tables = gpu.conversion(Conversion::Digits(gadget));
    let coefficients = gpu.alloc(x.limbs(), x.polys(), Placement::Separate);
    let out = gpu.alloc(gadget.limbs, x.polys() * digits, Placement::Neighbours(digits)).join(digits);
    let inverse_rows = (0..x.polys()).map(|i| Row::map(coefficients.at(i), poly(x, i)));
    let rows = (0..x.polys()).map(|i| Row::map(out.at(i), coefficients.at(i)));
    run(gpu, &tables, CONVERTED, Table::of(&tables.bases), inverse_rows, rows);
    out
}

/// Division by the primes that `to` lacks.
pub(crate) fn rescale(gpu: &Gpu, x: View<'_, Gpu, Ntt>, to: Limbs) -> Batch<Gpu, Ntt> {
    let from = x.limbs();
    let log_n = gpu.ring.log_n();
    shape::check_rescale(from, to);
    let tables = gpu.conversion(Conversion::Rescale { from, to });
    let coefficients = gpu.device.alloc(tables.sources.len() << log_n, x.polys(), Placement::Separate);
    let out = gpu.alloc(to, x.polys(), Placement::Separate);
    let inverse_rows = (0..x.polys()).map(|i| Row::map(coefficients.at(i), poly(x, i)));
    let rows = (0..x.polys()).map(|i| Row::zip(out.at(i), coefficients.at(i), poly(x, i)));
    run(gpu, &tables, RESCALED, Table::of(&tables.targets), inverse_rows, rows);
    Batch::from_buffer(out, to, x.polys())
}

/// Transforms, converts and transforms back. `inverse_rows` lead from polynomials to coefficients, `rows` from these to results;
/// `rest_limbs` are the entries of `kernels.rest`.
fn run<'a>(
    gpu: &Gpu,
    tables: &ConversionTables,
    kernels: ForwardKernels,
    rest_limbs: Table<'_>,
    inverse_rows: impl Iterator<Item = Row<'a, RowEntry>> + Clone,
    rows: impl Iterator<Item = Row<'a, RowEntry>> + Clone,
) {
    let log_n = gpu.ring.log_n();
    let forward = Forward {
        kernels,
        log_n,
        log_copies: 0,
        limbs: Table::of(&tables.targets),
        terms: Table::of(&tables.terms),
        rest_limbs,
    };
    let is_large = log_n > gpu.device.max_log_block;
    // Columns are converted by themselves unless folding mixes them.
    if !is_large || gpu.ring.kind() == RingKind::ConjugateInvariant {
        inverse(gpu, &tables.sources, inverse_rows);
        forward.run(gpu, rows);
        return;
    }
    inverse_blocks(gpu, &tables.sources, inverse_rows);
    let digits = &tables.digits;
    let products = tables.targets.len() as u64 * transform_cost(log_n);
    let call = Call {
        kernel: KernelId::ConvertHead(tables.digit_size),
        params: gpu.params(),
        limbs: Table::of(&digits.digits),
        terms: Table::of_words::<DigitSource>(&digits.terms),
        cost: products.div_ceil(digits.digits.len().max(1) as u64),
    };
    gpu.call(&call, rows.clone());
    forward.run_rest(gpu, rows);
}
