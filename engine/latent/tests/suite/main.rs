//! Tests of the codec and of image files.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test may panic, and functions beside the tests are tests too"
)]

mod codec;
mod common;
mod dicom;
mod images;
mod latents;
