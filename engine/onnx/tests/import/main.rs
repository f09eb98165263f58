//! Import of ONNX models: each operator against naive arithmetic, the forms of polynomials, what is refused and with
//! which words, files made to do harm, and networks written elsewhere.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may panic, and tell what it saw"
)]

mod attributes;
mod constants;
mod files;
mod fits;
mod hostile;
mod model;
mod operators;
#[path = "../../src/operators.rs"]
mod operators_table;
mod polynomials;
#[path = "../../src/proto.rs"]
mod proto;
mod refusals;
#[path = "../../src/schema.rs"]
#[expect(dead_code, reason = "the number of outputs is of no interest here")]
mod schema;
mod scores;
mod volumes;
