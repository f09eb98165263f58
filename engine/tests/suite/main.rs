//! Tests of the public interface.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic, and functions beside the tests are tests too"
)]

mod any_backend;
#[path = "../../gpu/tests/common/mod.rs"]
mod common;
mod npy;
mod pipeline;
mod remote;
#[path = "../../../tests/simd.rs"]
mod simd;
