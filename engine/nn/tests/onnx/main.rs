//! Import of ONNX models: each operator against naive arithmetic, the forms of polynomials, what is refused and with
//! which words, files made to do harm, and networks written elsewhere.

mod files;
mod fits;
mod hostile;
mod model;
mod operators;
mod polynomials;
mod refusals;
