//! Tests of the older schemes and of the attacks on them.

#![allow(clippy::unwrap_used, reason = "a test may panic, and functions beside the tests are tests too")]

mod common;
mod leak;
mod mole;
mod paillier;
