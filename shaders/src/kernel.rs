//! The kernels: their names, their text, and what a host must give them.

use crate::{Block, EntryType, Grid};

/// The entry point of every kernel.
pub const ENTRY_POINT: &str = "main";

/// Numbers of primes that there are kernels for whole digits of; shared memory is for this many. The last one is the largest digit.
pub const DIGIT_SIZES: [u32; 3] = [4, 8, 15];

/// How the text computes the high half of a 32-bit product and sums of products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Words {
    /// 64-bit integers, where the device has them.
    Int64,
    /// Halves of 32-bit words, on every device.
    Int32,
}

/// A kernel, named after the method of the ring's `Backend` that it serves. Each block size of a block kernel is a pipeline of
/// its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KernelId {
    /// Uniform residues from the streams of seeds.
    Uniform,
    /// Copies limbs.
    Concat,
    /// `out = x + y`, or `x` where a row has no `y`.
    Add,
    /// `out += x`
    AddAssign,
    /// `out -= x`
    SubAssign,
    /// `out = -out`
    NegAssign,
    /// `out *= scalar`, a residue for each limb.
    MulScalar,
    /// `X -> X^g` of transformed words.
    Automorphism,
    /// `X -> X^g` of coefficients.
    AutomorphismCoeff,
    /// Sums of products of polynomials.
    MulAccumulate,
    /// Sums of products of polynomials with small integers.
    MatrixProduct,
    /// Sums of products of digits with keys.
    GadgetProduct,
    /// [`GadgetProduct`](Self::GadgetProduct) of two rows at a time, which take the same keys.
    GadgetProductPair,
    /// Sums of products of diagonals with baby steps.
    BabyStepSums,
    /// [`BabyStepSums`](Self::BabyStepSums) of two rows at a time, which take the same baby steps.
    BabyStepSumsPair,
    /// [`BabyStepSums`](Self::BabyStepSums) of four rows at a time.
    BabyStepSumsFour,
    /// Transformed compact polynomials at full length.
    ExpandCompact,
    /// Forward transform of limbs that fit a block.
    Ntt(Block),
    /// First four stages of larger limbs.
    NttHead,
    /// Stages after a head, in place.
    NttRest(Block),
    /// Inverse transform of limbs that fit a block, or of the blocks of larger ones.
    Intt(Block),
    /// Last four stages of the inverse transform of larger limbs, in place.
    InttHead,
    /// Unfolds what the inverse transform leaves in a conjugate-invariant ring, in place.
    Unfold,
    /// [`InttHead`](Self::InttHead), conversion to other primes, and [`NttHead`](Self::NttHead) of these, in a cyclotomic ring: of digits with at
    /// most this many primes, one of [`DIGIT_SIZES`].
    ConvertHead(u32),
    /// [`Ntt`](Self::Ntt) of coefficients converted from other primes.
    NttConverted(Block),
    /// [`NttHead`](Self::NttHead) of coefficients converted from other primes.
    NttHeadConverted,
    /// [`NttConverted`](Self::NttConverted), then `out = (y - out) / D`.
    NttConvertedRescaled(Block),
    /// [`NttRest`](Self::NttRest), then `out = (y - out) / D`.
    NttRestRescaled(Block),
    /// [`Ntt`](Self::Ntt) of compact polynomials.
    NttCompact(Block),
    /// [`NttHead`](Self::NttHead) of compact polynomials.
    NttHeadCompact,
}

/// One compute kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Label of the kernel: the file's name, and what it loads or stores otherwise than usual.
    pub name: &'static str,
    /// File that has the entry point, in the folder `kernels/`.
    pub file: &'static str,
    /// Shape of a dispatch.
    pub grid: Grid,
    /// Number of the buffers `x`, `y`, `z`, `w` that are bound, in this order.
    pub inputs: u32,
    /// Entries of limbs.
    pub limb: EntryType,
    /// Entries of rows.
    pub row: EntryType,
    /// Entries of terms, if there are any.
    pub term: Option<EntryType>,
    pieces: &'static [&'static str],
}

/// A kernel of one file and the pieces of `shared/` that it uses beyond those that all do.
macro_rules! kernel {
    (
        $name:literal, $file:literal[$($piece:literal),*], $grid:expr,
        $inputs:literal, ($limb:ident, $row:ident $(, $term:ident)?)
    ) => {
        Kernel {
            name: $name,
            file: concat!($file, ".wgsl"),
            grid: $grid,
            inputs: $inputs,
            limb: EntryType::$limb,
            row: EntryType::$row,
            term: kernel!(@term $($term)?),
            pieces: &[
                $(include_str!(concat!("shared/", $piece, ".wgsl")),)*
                include_str!(concat!("kernels/", $file, ".wgsl")),
            ],
        }
    };
    (@term) => { None };
    (@term $term:ident) => { Some(EntryType::$term) };
    // Transforms: how a limb's entry is read, how words are loaded and stored.
    (block($block:ident) $name:literal, $file:literal[$($piece:literal),*], $inputs:literal, $tables:tt) => {
        kernel!($name, $file["operands_words", "radix16", "block", "store16" $(, $piece)*], Grid::Block($block), $inputs, $tables)
    };
    (column $name:literal, $file:literal[$($piece:literal),*], $inputs:literal, $tables:tt) => {
        kernel!($name, $file["operands_words", "radix16", "store16" $(, $piece)*], Grid::Column16, $inputs, $tables)
    };
    // A thread for each word.
    (word $file:literal[$($piece:literal),*], $inputs:literal, $tables:tt) => {
        kernel!($file, $file["operands_words" $(, $piece)*], Grid::Word, $inputs, $tables)
    };
    // A thread for each four words.
    (word4 $file:literal[$($piece:literal),*], $inputs:literal, $tables:tt) => {
        kernel!($file, $file["modular4" $(, $piece)*], Grid::Word4, $inputs, $tables)
    };
    // The same, of several rows.
    (word4_rows($rows:literal) $file:literal[$($piece:literal),*], $inputs:literal, $tables:tt) => {
        kernel!($file, $file["modular4" $(, $piece)*], Grid::Word4Rows($rows), $inputs, $tables)
    };
}

impl KernelId {
    /// Every kernel once; those of blocks with the given one, and that of digits with the smallest.
    pub const fn all(block: Block) -> [Self; 30] {
        [
            Self::Uniform,
            Self::Concat,
            Self::Add,
            Self::AddAssign,
            Self::SubAssign,
            Self::NegAssign,
            Self::MulScalar,
            Self::Automorphism,
            Self::AutomorphismCoeff,
            Self::MulAccumulate,
            Self::MatrixProduct,
            Self::GadgetProduct,
            Self::GadgetProductPair,
            Self::BabyStepSums,
            Self::BabyStepSumsPair,
            Self::BabyStepSumsFour,
            Self::ExpandCompact,
            Self::Ntt(block),
            Self::NttHead,
            Self::NttRest(block),
            Self::Intt(block),
            Self::InttHead,
            Self::Unfold,
            Self::ConvertHead(DIGIT_SIZES[0]),
            Self::NttConverted(block),
            Self::NttHeadConverted,
            Self::NttConvertedRescaled(block),
            Self::NttRestRescaled(block),
            Self::NttCompact(block),
            Self::NttHeadCompact,
        ]
    }

    /// The kernel of this name.
    pub const fn kernel(self) -> Kernel {
        match self {
            Self::Uniform => {
                kernel!("uniform", "uniform"["operands_words"], Grid::Stream, 1, (LimbEntry, SeedRow))
            }
            Self::Concat => kernel!(word "concat"[], 1, (LimbEntry, RowEntry)),
            Self::Add => kernel!(word "add"[], 2, (LimbEntry, RowEntry)),
            Self::AddAssign => kernel!(word "add_assign"[], 1, (LimbEntry, RowEntry)),
            Self::SubAssign => kernel!(word "sub_assign"[], 1, (LimbEntry, RowEntry)),
            Self::NegAssign => kernel!(word "neg_assign"[], 0, (LimbEntry, RowEntry)),
            Self::MulScalar => kernel!(word "mul_scalar"[], 1, (ScalarLimb, RowEntry)),
            Self::Automorphism => kernel!(word "automorphism"["automorphism"], 1, (LimbEntry, RowEntry)),
            Self::AutomorphismCoeff => kernel!(word "automorphism_coeff"[], 1, (LimbEntry, RowEntry)),
            Self::MulAccumulate => kernel!(
                word4 "mul_accumulate"["operands_vectors"], 2, (LimbEntry, SumRow, ProductTerm)),
            Self::MatrixProduct => kernel!(
                word4 "matrix_product"["operands_vectors", "residue"], 1, (LimbEntry, SumRow, WeightTerm)),
            Self::GadgetProduct => kernel!(word4 "gadget_product"
                ["operands_vectors", "automorphism", "automorphism4", "gadget", "store_sums"], 4, (GadgetLimb, SumRow, GadgetTerm)),
            Self::GadgetProductPair => kernel!(word4_rows(2) "gadget_product_pair"
                ["operands_vectors", "automorphism", "automorphism4", "gadget", "store_sums"], 4, (GadgetLimb, SumRow, GadgetTerm)),
            Self::BabyStepSums => kernel!(word4 "baby_step_sums"
                ["operands_diagonals", "diagonals", "store_sums"], 2, (LimbEntry, SumRow, BabyStepTerm)),
            Self::BabyStepSumsPair => kernel!(word4_rows(2) "baby_step_sums_pair"
                ["operands_diagonals", "diagonals", "store_sums"], 2, (LimbEntry, SumRow, BabyStepTerm)),
            Self::BabyStepSumsFour => kernel!(word4_rows(4) "baby_step_sums_four"
                ["operands_diagonals", "diagonals", "store_sums"], 2, (LimbEntry, SumRow, BabyStepTerm)),
            Self::ExpandCompact => kernel!(word "expand_compact"[], 1, (LimbEntry, RowEntry)),
            Self::Ntt(block) => kernel!(
                block(block) "ntt", "ntt"["limb", "load16", "fold", "load_folded", "store_out"], 1, (LimbEntry, RowEntry)),
            Self::NttHead => kernel!(
                column "ntt_head", "ntt_head"["limb", "load16", "fold", "load_folded", "store_out"], 1, (LimbEntry, RowEntry)),
            Self::NttRest(block) => kernel!(
                block(block) "ntt_rest", "ntt"["limb", "load16", "load_out", "store_out"], 0, (LimbEntry, RowEntry)),
            Self::Intt(block) => kernel!(
                block(block) "intt", "intt"["limb_inverse", "load16", "load_x", "store_out"],
                1, (InverseLimb, RowEntry)),
            Self::InttHead => kernel!(
                column "intt_head", "intt_head"["limb_inverse", "load16", "load_out", "store_out"],
                0, (InverseLimb, RowEntry)),
            Self::Unfold => kernel!(word "unfold"[], 0, (InverseLimb, RowEntry)),
            Self::ConvertHead(primes) => kernel!(
                "convert_head", "convert_head"["operands_words", "radix16"], Grid::Columns(primes), 1, (ConvertedDigit, RowEntry, DigitSource)),
            Self::NttConverted(block) => kernel!(
                block(block) "ntt_converted", "ntt"["limb_converted", "fold", "load16_converted", "store_out"],
                1, (ConvertedLimb, RowEntry, ConversionSource)),
            Self::NttHeadConverted => kernel!(
                column "ntt_head_converted", "ntt_head"["limb_converted", "fold", "load16_converted", "store_out"],
                1, (ConvertedLimb, RowEntry, ConversionSource)),
            Self::NttConvertedRescaled(block) => kernel!(
                block(block) "ntt_converted_rescaled", "ntt"["limb_converted", "fold", "load16_converted", "store_rescaled"],
                2, (ConvertedLimb, RowEntry, ConversionSource)),
            Self::NttRestRescaled(block) => kernel!(
                block(block) "ntt_rest_rescaled", "ntt"["limb_converted", "load16", "load_out", "store_rescaled"],
                2, (ConvertedLimb, RowEntry)),
            Self::NttCompact(block) => kernel!(
                block(block) "ntt_compact", "ntt"["limb", "load16", "fold", "residue", "load_compact", "store_out"], 1, (LimbEntry, RowEntry)),
            Self::NttHeadCompact => kernel!(
                column "ntt_head_compact", "ntt_head"["limb", "load16", "fold", "residue", "load_compact", "store_out"], 1, (LimbEntry, RowEntry)),
        }
    }
}

impl Kernel {
    /// WGSL text for one form of words.
    pub fn source(&self, words: Words) -> String {
        let words = match words {
            Words::Int64 => include_str!("shared/words_int64.wgsl"),
            Words::Int32 => include_str!("shared/words_int32.wgsl"),
        };
        let common = [
            words,
            include_str!("shared/modular.wgsl"),
            include_str!("shared/tables.wgsl"),
            include_str!("shared/bindings.wgsl"),
        ];
        common.iter().chain(self.pieces).copied().collect::<Vec<_>>().join("\n")
    }
}
