//! Placeholder for the planner's public face, replaced while the command line is written against it.
#![allow(missing_docs, dead_code, clippy::todo, reason = "temporary")]
use crate::*;
use pleura_ckks::Backend;
use pleura_ckks::{Ciphertext, EvaluationKeys, Params, Security};

/// How to compile.
#[derive(Clone, Debug)]
pub struct PlanOptions {
    pub security: Security,
    /// Items to take ranges from; empty: standard normal ones.
    pub calibration: Vec<Vec<f64>>,
}
/// What a compilation is at: (step name, done, of).
pub type Progress<'a> = &'a mut dyn FnMut(&str, usize, usize);
pub struct Plan;
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("a sentence")]
    Something,
}
impl Plan {
    pub fn compile(
        network: &Network,
        options: &PlanOptions,
        progress: Progress<'_>,
    ) -> Result<Self, PlanError> {
        todo!()
    }
    pub fn params(&self) -> &Params {
        todo!()
    }
    pub fn report(&self) -> &Report {
        todo!()
    }
    /// For the cache.
    pub fn to_bytes(&self) -> Vec<u8> {
        todo!()
    }
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PlanError> {
        todo!()
    }
    /// Nodes where an item goes beyond the calibrated range by more than the plan has room for: (node, calibrated, seen)
    pub fn beyond_range(&self, network: &Network, item: &[f64]) -> Vec<(String, f64, f64)> {
        todo!()
    }
}
/// Holds the secret key.
pub struct Client;
#[derive(Debug, thiserror::Error)]
pub enum InferenceError {
    #[error("a sentence")]
    Something,
}
impl Client {
    pub fn new(plan: &Plan) -> Result<Self, InferenceError> {
        todo!()
    }
    pub fn evaluation_keys(&self, plan: &Plan) -> Result<EvaluationKeys, InferenceError> {
        todo!()
    }
    /// All ciphertexts of all items, item by item.
    pub fn encrypt(&self, plan: &Plan, items: &[Vec<f64>]) -> Result<Vec<Ciphertext>, InferenceError> {
        todo!()
    }
    /// One result per item.
    pub fn decrypt(&self, plan: &Plan, ciphertexts: &[Ciphertext]) -> Result<Vec<Vec<f64>>, InferenceError> {
        todo!()
    }
}
/// Holds the evaluation keys and the weights on a device. The plan must outlive it.
pub struct Server<'p, B: Backend> {
    b: std::marker::PhantomData<(&'p Plan, B)>,
}
impl<'p, B: Backend> Server<'p, B> {
    pub fn new(plan: &'p Plan, backend: B, keys: &EvaluationKeys) -> Result<Self, InferenceError> {
        todo!()
    }
    /// `observe(step number, seconds)` after each step of `plan.report().layers`.
    pub fn infer(
        &self,
        items: &[Ciphertext],
        observe: &mut dyn FnMut(usize, f64),
    ) -> Result<Vec<Ciphertext>, InferenceError> {
        todo!()
    }
}
