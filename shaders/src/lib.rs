//! The WGSL kernels of the GPU backend, and the tables that the host passes to them. This crate needs no GPU.
//!
//! A [`KernelId`] names a kernel. Each kernel is one file of `kernels/`, named after the method of the ring's `Backend` that it
//! serves. WGSL has no imports, so the pieces of `shared/` that a kernel uses are put in front of it. Every kernel computes on
//! residues modulo primes `q < 2^30`, with products `a b mod q` by Shoup's method where one factor is known beforehand,
//!
//! ```text
//! a w - floor(a floor(w 2^32 / q) / 2^32) q  in [0, 2q)
//! ```
//!
//! and by Montgomery's where sums of products are reduced. Both need the high half of a 32-bit product, which WGSL lacks.
//! [`Words`] selects how it is computed; nothing else differs between the two forms of a kernel.
//!
//! The `#[repr(C)]` structs of this crate describe everything that a kernel reads beside polynomials: [`KernelParams`], an entry
//! for each limb ([`LimbEntry`] and those that extend it), an entry for each row ([`RowEntry`], [`SumRow`]), and terms
//! ([`GadgetTerm`] and others). `shared/tables.wgsl` declares structs with these names and fields; a test compares the layouts.
//! [`Grid`] is the shape of a dispatch.
//!
//! ```
//! use pleura_shaders::{Block, Grid, KernelId, Words};
//!
//! let ntt = KernelId::Ntt(Block::whole(12)).kernel();
//! assert!(ntt.source(Words::Int64).contains("u64"));
//! assert!(!ntt.source(Words::Int32).contains("u64"));
//! // A block of 2^12 words is transformed by 2^12 / 16 threads.
//! assert_eq!(ntt.grid.threads(), 256);
//! assert_eq!(KernelId::Concat.kernel().grid, Grid::Word);
//! ```

mod grid;
mod kernel;
mod tables;

pub use grid::{Block, Grid, MIN_THREADS};
pub use kernel::{DIGIT_SIZES, ENTRY_POINT, Kernel, KernelId, Words};
pub use tables::{
    BabyStepTerm, ConversionFactor, ConversionQuotient, ConversionSource, ConvertedDigit, ConvertedLimb,
    DigitSource, DigitTarget, Entry, EntryType, Factor, Field, GadgetLimb, GadgetTerm, InverseLimb,
    KernelParams, LimbEntry, NONE, Prime, ProductTerm, RowEntry, ScalarLimb, SeedRow, SumRow, WeightTerm,
};
