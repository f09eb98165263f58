//! Tests of rings against known answers, schoolbook references and each other.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic, and functions beside the tests are tests too"
)]

mod conformance;
mod extremes;
mod gadget;
mod known_answers;
mod oracle;
mod poly;
mod samplers;
#[path = "../../../../tests/simd.rs"]
mod simd;
mod support;
