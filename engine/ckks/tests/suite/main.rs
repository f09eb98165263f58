//! Tests of the scheme.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may panic, and functions beside the tests are tests too"
)]

mod circuits;
#[path = "../common/mod.rs"]
mod common;
mod errors;
mod precision;
mod security;
mod semantics;
mod wire;
