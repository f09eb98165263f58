//! Tests of plans and of encrypted inference.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic, and functions beside the tests are tests too"
)]

mod batch;
mod branches;
mod common;
mod inference;
mod networks;
mod plan_bytes;
mod plans;
mod polynomials;
mod precision;
mod scalers;
mod shapes;
mod units;
