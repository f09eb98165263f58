//! Tests of the program `pleura`.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic, and functions beside the tests are tests too"
)]

mod baseline;
mod baseline_files;
mod classify;
mod cli;
mod common;
mod devices;
mod files;
mod folders;
mod remote;
mod schema;
#[cfg(feature = "service")]
mod service;
