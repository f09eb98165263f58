//! The kernels of the GPU backend, as WGSL text; no GPU and no library is needed here.
//!
//! A [`Kernel`] is one file of `kernels/`, named as the method of the ring's `Backend` that it serves, behind pieces of
//! `shared/` that it uses: WGSL has no imports. Every kernel computes on residues modulo primes `q < 2^30`, with products
//! `a b mod q` by Shoup's method where one factor is known beforehand,
//!
//! ```text
//! a w - floor(a floor(w 2^32 / q) / 2^32) q  in [0, 2q)
//! ```
//!
//! and by Montgomery's where sums of products are reduced. Both need the high half of a 32-bit product, which WGSL lacks: [`Words`]
//! says how to come by it, and is all that distinguishes the two forms of a kernel.
//!
//! ```
//! use pleura_shaders::{KERNELS, Words};
//!
//! let ntt = KERNELS.iter().find(|kernel| kernel.name == "ntt").unwrap();
//! assert!(ntt.source(Words::Wide).contains("u64"));
//! assert!(!ntt.source(Words::Narrow).contains("u64"));
//! ```

/// How products of words are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Words {
    /// Through 64-bit words, where the device has them.
    Wide,
    /// Through halves of 32-bit words, everywhere.
    Narrow,
}

/// One compute kernel: its entry point is `main`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Its name: the method's, and what is loaded or stored otherwise than usual.
    pub name: &'static str,
    /// How many of the buffers `x`, `y`, `z`, `w` it reads, in this order.
    pub inputs: u32,
    /// Threads of a workgroup, each of which has a word of a limb (or, for heads, a column of sixteen); `None` where it is an override.
    pub threads: Option<u32>,
    /// The constants it must be given.
    pub overrides: &'static [&'static str],
    pieces: &'static [&'static str],
}

/// The constants of kernels that work in the memory of a workgroup.
const BLOCK: &[&str] = &["LOG_BLOCK", "FIRST", "STAGES", "WORDS", "THREADS"];

/// A kernel of one file and the pieces of `shared/` that it uses beyond those that all do.
macro_rules! kernel {
    ($name:literal = $file:literal($($piece:literal),*), $inputs:literal, $threads:expr, $overrides:expr) => {
        Kernel {
            name: $name,
            inputs: $inputs,
            threads: $threads,
            overrides: $overrides,
            pieces: &[
                $(include_str!(concat!("shared/", $piece, ".wgsl")),)*
                include_str!(concat!("kernels/", $file, ".wgsl")),
            ],
        }
    };
    // A thread for each word.
    ($name:literal($($piece:literal),*), $inputs:literal) => {
        kernel!($name = $name($($piece),*), $inputs, Some(256), &[])
    };
    // A thread for each sixteen words, which lie far apart.
    (head $name:literal = $file:literal, $($load:literal)and+, $inputs:literal) => {
        kernel!($name = $file("radix16", $($load,)+ "store16", "store_out"), $inputs, Some(64), &[])
    };
    // A workgroup for each block.
    (block $name:literal = $file:literal, $($load:literal)and+, $store:literal, $inputs:literal) => {
        kernel!($name = $file("radix16", "block", $($load,)+ "store16", $store), $inputs, None, BLOCK)
    };
}

/// All kernels.
pub const KERNELS: &[Kernel] = &[
    kernel!("concat"(), 1),
    kernel!("add_assign"(), 1),
    kernel!("sub_assign"(), 1),
    kernel!("neg_assign"(), 0),
    kernel!("mul_scalar_assign"(), 0),
    kernel!("automorphism"("automorphism"), 1),
    kernel!("mul_accumulate"(), 2),
    kernel!("gadget_product"("automorphism"), 4),
    kernel!("baby_step_sums"(), 2),
    kernel!("expand_compact"(), 1),
    // Transforms: whole limbs from `x`, or the head from `x` and the rest in place.
    kernel!(block "ntt" = "ntt", "load16" and "load_x", "store_out", 1),
    kernel!(head "ntt_head" = "ntt_head", "load16" and "load_x", 1),
    kernel!(block "ntt_rest" = "ntt", "load16" and "load_out", "store_out", 0),
    kernel!(block "intt" = "intt", "load16" and "load_x", "store_out", 1),
    kernel!(head "intt_head" = "intt_head", "load16" and "load_out", 0),
    // The same with what key switching and compact polynomials do to words on the way in and out.
    kernel!(block "ntt_converted" = "ntt", "load16_converted", "store_out", 1),
    kernel!(head "ntt_head_converted" = "ntt_head", "load16_converted", 1),
    kernel!(block "ntt_converted_rescaled" = "ntt", "load16_converted", "store_rescaled", 2),
    kernel!(block "ntt_rest_rescaled" = "ntt", "load16" and "load_out", "store_rescaled", 2),
    kernel!(block "ntt_compact" = "ntt", "load16" and "load_compact", "store_out", 1),
    kernel!(head "ntt_head_compact" = "ntt_head", "load16" and "load_compact", 1),
];

impl Kernel {
    /// Its text for one form of words.
    pub fn source(&self, words: Words) -> String {
        let words = match words {
            Words::Wide => include_str!("shared/words_wide.wgsl"),
            Words::Narrow => include_str!("shared/words_narrow.wgsl"),
        };
        let common = [words, include_str!("shared/modular.wgsl"), include_str!("shared/bindings.wgsl")];
        common.iter().chain(self.pieces).copied().collect::<Vec<_>>().join("\n")
    }
}
