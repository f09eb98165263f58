// The tables of a dispatch. A dispatch is (words of a limb, limbs, rows): each limb and each row has an entry in the buffer `tables`,
// and rows of sums have terms there. Every struct here has a `#[repr(C)]` struct of the same name and fields in `tables.rs`; a test
// compares the two, and the functions that load an entry. Offsets are in words of the buffer that a name says.
//
// The tables share one buffer of words with each other and with those of other dispatches: there are no bindings left for a buffer of
// each type.

// A constant w with floor(w 2^32 / q).
alias Factor = vec2<u32>;

// No offset, no digit.
const NONE: u32 = 0xffffffffu;

// A prime of the ring, in the buffer `primes`.
struct Prime {
    q: u32,
    // q^-1 mod 2^32
    q_inv: u32,
    // 2^32 mod q: undoes a Montgomery reduction.
    r: Factor,
    // floor(2^32 / q)
    one_quotient: u32,
    // 2^31 mod q
    offset: u32,
    // Where its twiddles begin.
    forward: u32,
    inverse: u32,
    // The square root of -1 that folds coefficients; 0 in a cyclotomic ring.
    fold: Factor,
}

struct KernelParams {
    // Logarithm of the words in a limb.
    log_n: u32,
    // Where the entries of limbs, rows and terms begin in `tables`.
    limbs: u32,
    rows: u32,
    terms: u32,
    // The automorphism X -> X^galois.
    galois: u32,
    // Logarithm of how many words of a limb each word of a compact polynomial counts for.
    log_run: u32,
    // Words from one extended digit to the next.
    digit_words: u32,
    // Words from the first part of a baby step to the second.
    part_words: u32,
    // Logarithm of the distance of the exponents of the points: 1, or 2 in a conjugate-invariant ring.
    log_spacing: u32,
    // Entries of rows.
    row_count: u32,
}

// A limb: its prime's position, and its offsets in polynomials.
struct LimbEntry {
    prime: u32,
    out_offset: u32,
    x_offset: u32,
    y_offset: u32,
}

// A limb and the residue that it is multiplied by.
struct ScalarLimb {
    base: LimbEntry,
    scalar: Factor,
}

// A limb of the inverse transform, with the factors of the last stage for sums and for differences, which scale the result.
struct InverseLimb {
    base: LimbEntry,
    sum_factor: Factor,
    difference_factor: Factor,
}

// A limb converted from the coefficients of `sources` primes. The terms from `first_source` on are a ConversionSource for each and
// one ConversionQuotient. `inverse` is 1/D for rescale.
struct ConvertedLimb {
    base: LimbEntry,
    inverse: Factor,
    first_source: u32,
    sources: u32,
}

// A limb of a gadget product: offsets of extended digits in `x`, of addends and of the polynomial that was extended in `z` and `y`.
struct GadgetLimb {
    base: LimbEntry,
    // What addends are multiplied by: P mod q, 1 where they count as they are, 0 where they vanish.
    lift: u32,
    // All bits in a limb of a special prime, else 0.
    special: u32,
    // The digit that has this limb as its own, which is read from `y`; NONE if all digits are in `x`.
    own_digit: u32,
}

// A row: offsets of the polynomials.
struct RowEntry {
    out_offset: u32,
    x_offset: u32,
    y_offset: u32,
}

// A row of uniform words: the seed's eight words in `x`, and the number of the polynomial.
struct SeedRow {
    out_offset: u32,
    x_offset: u32,
    number: u32,
}

// A row of sums: its results (`mul_accumulate` has one), its terms, and 1 in `accumulate` where sums are added to what `out` holds.
struct SumRow {
    out_offset: u32,
    second_out_offset: u32,
    first_term: u32,
    terms: u32,
    accumulate: u32,
}

// x y
struct ProductTerm {
    x_offset: u32,
    y_offset: u32,
}

// x weight, a signed word.
struct WeightTerm {
    x_offset: u32,
    weight: u32,
}

// A diagonal in `x`, each of whose words counts for 2^log_run neighbours, times both parts of a baby step in `y`.
struct BabyStepTerm {
    // Offset of the diagonal in `x`, in sixteens of words, below the top five bits; there the logarithm of its runs.
    diagonal: u32,
    // The step's first part; the second is `part_words` further on.
    y_offset: u32,
}

// Neighbouring digits of one input with their keys, after an automorphism, and the addends of both results.
struct GadgetTerm {
    // The first of the digits, extended, in `x`.
    digits: u32,
    // The polynomial that was extended, in `y`.
    own: u32,
    // In `z`, or NONE.
    first_addend: u32,
    second_addend: u32,
    // The key of the first of the digits in `w`: two polys, as for each one after it.
    key: u32,
    galois: u32,
    first_digit: u32,
    digit_count: u32,
    // Words in a poly of the key, which may be of a higher level, and those that its special limbs lie further on for that.
    key_words: u32,
    key_gap: u32,
}

// A prime d of those converted from, with D their product: D/d, and 1/d in fixed point, its share of the quotient.
struct ConversionSource {
    qhat: u32,
    inv_fixed_point: u32,
}

// -D, what the rounded quotient counts for, and its fixed point.
struct ConversionQuotient {
    minus_product: u32,
    fixed_point_bits: u32,
}

// Primes of a digit converted to some other primes, in one workgroup: positions among the terms. The sources are those of a whole digit.
struct ConvertedDigit {
    first_source: u32,
    sources: u32,
    first_target: u32,
    targets: u32,
}

// A prime d of a digit: its limb in `x`, the factors that end its inverse transform, and its share of the quotient in fixed point.
struct DigitSource {
    prime: u32,
    x_offset: u32,
    sum_factor: Factor,
    difference_factor: Factor,
    inv_fixed_point: u32,
    fixed_point_bits: u32,
}

// A prime converted to: its limb in `out`, what the quotient counts for, and the position of the first source's factor.
struct DigitTarget {
    prime: u32,
    out_offset: u32,
    minus_product: u32,
    first_factor: u32,
}

// D/d modulo the prime converted to.
struct ConversionFactor {
    qhat: u32,
}

// Kernels read `params.terms` once, before their loops, and give it to the functions that load terms.

fn factor_at(at: u32) -> Factor {
    return Factor(tables[at], tables[at + 1u]);
}

fn load_limb_entry(i: u32) -> LimbEntry {
    let at = params.limbs + 4u * i;
    return LimbEntry(tables[at], tables[at + 1u], tables[at + 2u], tables[at + 3u]);
}

fn load_scalar_limb(i: u32) -> ScalarLimb {
    let at = params.limbs + 6u * i;
    return ScalarLimb(LimbEntry(tables[at], tables[at + 1u], tables[at + 2u], tables[at + 3u]), factor_at(at + 4u));
}

fn load_inverse_limb(i: u32) -> InverseLimb {
    let at = params.limbs + 8u * i;
    return InverseLimb(
        LimbEntry(tables[at], tables[at + 1u], tables[at + 2u], tables[at + 3u]),
        factor_at(at + 4u),
        factor_at(at + 6u),
    );
}

fn load_converted_limb(i: u32) -> ConvertedLimb {
    let at = params.limbs + 8u * i;
    return ConvertedLimb(
        LimbEntry(tables[at], tables[at + 1u], tables[at + 2u], tables[at + 3u]),
        factor_at(at + 4u),
        tables[at + 6u],
        tables[at + 7u],
    );
}

fn load_gadget_limb(i: u32) -> GadgetLimb {
    let at = params.limbs + 7u * i;
    return GadgetLimb(
        LimbEntry(tables[at], tables[at + 1u], tables[at + 2u], tables[at + 3u]),
        tables[at + 4u],
        tables[at + 5u],
        tables[at + 6u],
    );
}

fn load_row_entry(i: u32) -> RowEntry {
    let at = params.rows + 3u * i;
    return RowEntry(tables[at], tables[at + 1u], tables[at + 2u]);
}

fn load_seed_row(i: u32) -> SeedRow {
    let at = params.rows + 3u * i;
    return SeedRow(tables[at], tables[at + 1u], tables[at + 2u]);
}

fn load_sum_row(i: u32) -> SumRow {
    let at = params.rows + 5u * i;
    return SumRow(tables[at], tables[at + 1u], tables[at + 2u], tables[at + 3u], tables[at + 4u]);
}

fn load_product_term(terms: u32, i: u32) -> ProductTerm {
    let at = terms + 2u * i;
    return ProductTerm(tables[at], tables[at + 1u]);
}

fn load_weight_term(terms: u32, i: u32) -> WeightTerm {
    let at = terms + 2u * i;
    return WeightTerm(tables[at], tables[at + 1u]);
}

fn load_baby_step_term(terms: u32, i: u32) -> BabyStepTerm {
    let at = terms + 2u * i;
    return BabyStepTerm(tables[at], tables[at + 1u]);
}

fn load_gadget_term(terms: u32, i: u32) -> GadgetTerm {
    let at = terms + 10u * i;
    return GadgetTerm(
        tables[at],
        tables[at + 1u],
        tables[at + 2u],
        tables[at + 3u],
        tables[at + 4u],
        tables[at + 5u],
        tables[at + 6u],
        tables[at + 7u],
        tables[at + 8u],
        tables[at + 9u],
    );
}

fn load_conversion_source(terms: u32, i: u32) -> ConversionSource {
    let at = terms + 2u * i;
    return ConversionSource(tables[at], tables[at + 1u]);
}

fn load_conversion_quotient(terms: u32, i: u32) -> ConversionQuotient {
    let at = terms + 2u * i;
    return ConversionQuotient(tables[at], tables[at + 1u]);
}

fn load_converted_digit(i: u32) -> ConvertedDigit {
    let at = params.limbs + 4u * i;
    return ConvertedDigit(tables[at], tables[at + 1u], tables[at + 2u], tables[at + 3u]);
}

fn load_digit_source(terms: u32, i: u32) -> DigitSource {
    let at = terms + 8u * i;
    return DigitSource(
        tables[at],
        tables[at + 1u],
        factor_at(at + 2u),
        factor_at(at + 4u),
        tables[at + 6u],
        tables[at + 7u],
    );
}

fn load_digit_target(terms: u32, i: u32) -> DigitTarget {
    let at = terms + 4u * i;
    return DigitTarget(tables[at], tables[at + 1u], tables[at + 2u], tables[at + 3u]);
}

fn load_conversion_factor(terms: u32, i: u32) -> ConversionFactor {
    let at = terms + 1u * i;
    return ConversionFactor(tables[at]);
}
