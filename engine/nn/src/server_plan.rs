//! Server plan: steps and weights of a compiled network.

use crate::spec::TensorSpec;
use crate::step::{Program, StepKind};
use crate::{DeviceClass, InferenceError};
use pleura_ckks::{Ciphertext, KeyRequest, Params};

/// The server's half of a plan: parameters, steps and weights. It holds no secret.
#[derive(Clone, Debug)]
pub struct ServerPlan {
    pub(crate) params: Params,
    pub(crate) network: String,
    /// Class of devices that the plan was made for.
    pub(crate) device: DeviceClass,
    pub(crate) program: Program,
    /// Shapes, layouts, levels, scales and ranges of input and output.
    pub(crate) input: TensorSpec,
    pub(crate) output: TensorSpec,
    /// SHA-256 of the encoded plan.
    pub(crate) digest: [u8; 32],
}

impl ServerPlan {
    /// The parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Name of the network.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// Class of devices that the plan was made for; it runs on the other, too.
    pub fn device(&self) -> DeviceClass {
        self.device
    }

    /// SHA-256 of the encoded plan, which a [`ClientSpec`](crate::ClientSpec) names as the plan it belongs to.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Ciphertexts of a group of input items.
    pub fn input_ciphertexts(&self) -> usize {
        self.input.layout.ciphertexts
    }

    /// The keys that the plan needs, each at the highest level it is used at.
    pub fn key_request(&self) -> KeyRequest {
        self.program.keys(&self.params)
    }

    /// Words of all encoded weights.
    pub(crate) fn weights(&self) -> usize {
        let steps = self.program.steps.values().iter();
        steps
            .filter_map(|step| {
                if let StepKind::Linear { transform, .. } = &step.kind { Some(transform) } else { None }
            })
            .flat_map(|transform| &transform.diagonals)
            .map(|diagonal| diagonal.poly.coefficients.len())
            .sum()
    }

    /// Refuses ciphertexts that no client of this plan encrypts.
    pub(crate) fn check_input(&self, ciphertexts: &[Ciphertext]) -> Result<(), InferenceError> {
        self.input.check(ciphertexts)
    }

    /// Product of the primes between two levels.
    pub(crate) fn divisor(&self, from: usize, to: usize) -> f64 {
        (to + 1..=from).map(|level| self.params.divisor(level)).product()
    }
}
