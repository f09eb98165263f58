//! The tables of a dispatch, as a host writes them. `shared/tables.wgsl` has structs of the same names and fields; a test compares them.
//!
//! A dispatch is (words of a limb, limbs, rows). Each limb and each row has an entry, and rows of sums have terms. Offsets are in words
//! of the buffer that a field's name says.

use bytemuck::{Pod, Zeroable};
use std::mem::offset_of;

/// No offset, no digit.
pub const NONE: u32 = u32::MAX;

/// A constant `w` modulo a prime `q`, for products by Shoup's method. In WGSL a `vec2<u32>`.
#[repr(C, align(8))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Factor {
    /// The constant.
    pub w: u32,
    /// `floor(w 2^32 / q)`
    pub quotient: u32,
}

/// A field of a table's struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name in Rust and in WGSL.
    pub name: &'static str,
    /// Type: `u32`, `Factor` or `LimbEntry`.
    pub ty: &'static str,
    /// Bytes from the start of the struct.
    pub offset: usize,
}

/// An entry of a table.
pub trait Entry: Pod {
    /// Type of the entry.
    const TYPE: EntryType;
}

/// Declares the structs, and [`EntryType`] as the enum of them.
macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ident,)* })*) => {
        /// The structs of this module that tables and uniforms consist of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum EntryType {
            $(#[doc = concat!("[`", stringify!($name), "`]")] $name,)*
        }

        impl EntryType {
            /// All entry types.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Name in Rust and in WGSL.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// Fields, in order.
            pub const fn fields(self) -> &'static [Field] {
                match self {
                    $(Self::$name => &[$(Field {
                        name: stringify!($field),
                        ty: stringify!($ty),
                        offset: offset_of!($name, $field),
                    }),*],)*
                }
            }

            /// Bytes of the struct, which are those from one entry to the next.
            pub const fn bytes(self) -> usize {
                match self {
                    $(Self::$name => size_of::<$name>(),)*
                }
            }
        }

        $(
            $(#[$doc])*
            #[repr(C)]
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
            pub struct $name {
                $($(#[$field_doc])* pub $field: $ty,)*
            }

            impl Entry for $name {
                const TYPE: EntryType = EntryType::$name;
            }
        )*
    };
}

tables! {
    /// Uniform parameters of a dispatch.
    KernelParams {
        /// Logarithm of the words in a limb.
        log_n: u32,
        /// First word of the limbs' entries in the buffer of tables.
        limbs: u32,
        /// First word of the rows' entries.
        rows: u32,
        /// First word of the terms.
        terms: u32,
        /// Automorphism `X -> X^galois`; for coefficients its inverse.
        galois: u32,
        /// Logarithm of the number of words that each word of a compact polynomial counts for.
        log_run: u32,
        /// Words from one extended digit to the next.
        digit_words: u32,
        /// Words from the first part of a baby step to the second.
        part_words: u32,
        /// Logarithm of the distance between the exponents of the points that polynomials are evaluated at.
        log_spacing: u32,
        /// Number of the rows' entries.
        row_count: u32,
    }

    /// A prime `q < 2^30` of the ring.
    Prime {
        /// The prime.
        q: u32,
        /// `q^-1 mod 2^32`
        q_inv: u32,
        /// `2^32 mod q`, which undoes a Montgomery reduction.
        r: Factor,
        /// `floor(2^32 / q)`
        one_quotient: u32,
        /// `2^31 mod q`
        offset: u32,
        /// First factor of the forward transform in the buffer of twiddles.
        forward: u32,
        /// First factor of the inverse transform.
        inverse: u32,
        /// The square root of -1 by which a conjugate-invariant ring folds coefficients; 0 in a cyclotomic ring.
        fold: Factor,
    }

    /// A limb: the position of its prime, and its offsets in the polynomials that a row names.
    LimbEntry {
        /// Position of the prime in the ring.
        prime: u32,
        /// Offset of the limb in a polynomial of `out`.
        out_offset: u32,
        /// Offset of the limb in a polynomial of `x`.
        x_offset: u32,
        /// Offset of the limb in a polynomial of `y`.
        y_offset: u32,
    }

    /// A limb and the residue that it is multiplied by.
    ScalarLimb {
        /// The limb.
        base: LimbEntry,
        /// The residue.
        scalar: Factor,
    }

    /// A limb of the inverse transform, whose last stage scales the result.
    InverseLimb {
        /// The limb.
        base: LimbEntry,
        /// Factor of the last stage for sums.
        sum_factor: Factor,
        /// Factor of the last stage for differences.
        difference_factor: Factor,
    }

    /// A limb that is converted from the coefficients modulo other primes, which lie side by side in `x`.
    ConvertedLimb {
        /// The limb.
        base: LimbEntry,
        /// `1 / D` modulo the limb's prime, where `D` is the product of the primes that rescale drops.
        inverse: Factor,
        /// Position of the first of `sources` [`ConversionSource`] among the terms; a [`ConversionQuotient`] follows them.
        first_source: u32,
        /// Number of primes converted from.
        sources: u32,
    }

    /// A limb of a gadget product. The offset in `x` is that in an extended digit; the one in `y` is that in the polynomial that was
    /// extended, and in addends, which are in `z`.
    GadgetLimb {
        /// The limb.
        base: LimbEntry,
        /// Factor of addends: `P mod q`, 1 where they count as they are, 0 where they vanish.
        lift: u32,
        /// All bits where the limb is of a special prime, which a key may have further on ([`GadgetTerm::key_gap`]); else 0.
        special: u32,
        /// Number of the digit that has this limb as its own, which is read from `y`; [`NONE`] if all digits are in `x`.
        own_digit: u32,
    }

    /// A row: the offsets of its polynomials.
    RowEntry {
        /// Offset of the result in `out`.
        out_offset: u32,
        /// Offset in `x`.
        x_offset: u32,
        /// Offset in `y`, or [`NONE`].
        y_offset: u32,
    }

    /// A row of uniform words.
    SeedRow {
        /// Offset of the result in `out`.
        out_offset: u32,
        /// Offset of the seed in `x`: eight words.
        x_offset: u32,
        /// Number of the polynomial.
        number: u32,
    }

    /// A row of sums.
    SumRow {
        /// Offset of the result, or of the first of two, in `out`.
        out_offset: u32,
        /// Offset of the second result in `out`, where there are two.
        second_out_offset: u32,
        /// Position of the first term.
        first_term: u32,
        /// Number of terms.
        terms: u32,
        /// 1 where the sums are added to the words of `out`, 0 where they replace them.
        accumulate: u32,
    }

    /// A product of two polynomials.
    ProductTerm {
        /// Offset in `x`.
        x_offset: u32,
        /// Offset in `y`.
        y_offset: u32,
    }

    /// A polynomial times a small integer.
    WeightTerm {
        /// Offset in `x`.
        x_offset: u32,
        /// The integer, a signed word.
        weight: u32,
    }

    /// A diagonal times both parts of a baby step.
    BabyStepTerm {
        /// Place of the diagonal in `x`, see [`BabyStepTerm::diagonal_at`].
        diagonal: u32,
        /// Offset of the step's first part in `y`.
        y_offset: u32,
    }

    /// Neighbouring digits of one input times their keys, after an automorphism, and addends of both results.
    GadgetTerm {
        /// Offset of the first of these digits, extended, in `x`.
        digits: u32,
        /// Offset of the polynomial that was extended, in `y`.
        own: u32,
        /// Offset of the first result's addend in `z`, or [`NONE`].
        first_addend: u32,
        /// Offset of the second result's addend in `z`, or [`NONE`].
        second_addend: u32,
        /// Offset of the first of these digits' keys in `w`; each digit has two polys.
        key: u32,
        /// Automorphism `X -> X^galois`.
        galois: u32,
        /// Number of the first of these digits.
        first_digit: u32,
        /// Number of digits; 0 for a term of addends alone.
        digit_count: u32,
        /// Words in a poly of the key.
        key_words: u32,
        /// Words by which the key's special limbs lie further on than those of the polynomial that was extended to them: the key may be of a
        /// higher level.
        key_gap: u32,
    }

    /// A prime `d` of those converted from; `D` is their product.
    ConversionSource {
        /// `D / d` modulo the limb's prime, in Montgomery form.
        qhat: u32,
        /// `1 / d` in fixed point: the share of a coefficient in the quotient.
        inv_fixed_point: u32,
    }

    /// The rounded quotient of a conversion.
    ConversionQuotient {
        /// `-D` modulo the limb's prime, in Montgomery form.
        minus_product: u32,
        /// Bits after the point of the sources' fixed point, 32 or more.
        fixed_point_bits: u32,
    }

    /// Primes of a digit that one workgroup converts to some other primes. Among the terms of its kernel, all [`DigitSource`] come first,
    /// then all [`DigitTarget`], then all [`ConversionFactor`]; a position counts entries of its type from the first term on.
    ConvertedDigit {
        /// Position of the first [`DigitSource`] of the digit.
        first_source: u32,
        /// Number of primes converted from, at most fifteen.
        sources: u32,
        /// Position of the first [`DigitTarget`].
        first_target: u32,
        /// Number of primes converted to.
        targets: u32,
    }

    /// A prime `d` of a digit, whose inverse transform the kernel ends.
    DigitSource {
        /// Position of the prime in the ring.
        prime: u32,
        /// Offset of the limb in a polynomial of `x`.
        x_offset: u32,
        /// Factor of the last stage for sums.
        sum_factor: Factor,
        /// Factor of the last stage for differences.
        difference_factor: Factor,
        /// `1 / d` in fixed point: the share of a coefficient in the quotient.
        inv_fixed_point: u32,
        /// Bits after the point, 32 or more.
        fixed_point_bits: u32,
    }

    /// A prime that a digit is converted to.
    DigitTarget {
        /// Position of the prime in the ring.
        prime: u32,
        /// Offset of the limb in a polynomial of `out`.
        out_offset: u32,
        /// Minus the product `D` of the digit's primes modulo this one, in Montgomery form.
        minus_product: u32,
        /// Position of the first source's [`ConversionFactor`].
        first_factor: u32,
    }

    /// A factor of a conversion.
    ConversionFactor {
        /// `D / d` modulo the prime converted to, in Montgomery form.
        qhat: u32,
    }
}

impl BabyStepTerm {
    /// The place of a diagonal in one word: its offset in sixteens, and in the top five bits the logarithm of the number of words that
    /// each of its words counts for.
    ///
    /// # Panics
    /// If the offset is no multiple of sixteen or beyond `2^31`, or the logarithm beyond 31.
    pub fn diagonal_at(x_offset: u32, log_run: u32) -> u32 {
        assert!(
            x_offset.is_multiple_of(16) && x_offset < 1 << 31 && log_run < 32,
            "a diagonal at {x_offset}"
        );
        (x_offset / 16) | (log_run << 27)
    }
}
