//! Networks that a server offers.

use super::error::ServiceError;
use crate::api::{self, hex};
use crate::problem::{Code, Problem};
use pleura::nn::{Report, ServerPlan};
use pleura::remote::{ClientBundle, keys_len};
use pleura::{Device, Server};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A network on the devices.
pub(super) struct Model {
    /// One for each device.
    servers: Vec<Server>,
    plan: Arc<ServerPlan>,
    /// Bytes of the client bundle.
    pub(super) bundle: Vec<u8>,
    pub(super) bundle_digest: [u8; 32],
    /// Bytes of a session's keys on a device.
    pub(super) session_bytes: u64,
    /// Ciphertexts of one result.
    pub(super) output_ciphertexts: usize,
    pub(super) description: api::Model,
}

/// Networks by the digests of their plans.
pub(super) type Models = BTreeMap<[u8; 32], Arc<Model>>;

impl Model {
    pub(super) fn plan(&self) -> &ServerPlan {
        &self.plan
    }

    /// The network on the device of a number.
    pub(super) fn server(&self, device: usize) -> Result<&Server, Problem> {
        self.servers.get(device).ok_or_else(|| Problem::new(Code::Internal, "a device has no network"))
    }
}

/// Brings networks to all devices.
pub(super) fn load(
    offered: Vec<(ServerPlan, ClientBundle)>,
    devices: &[Device],
    max_request_bytes: u64,
    receipt_signer: &str,
) -> Result<Models, ServiceError> {
    let mut models = Models::new();
    for (plan, bundle) in offered {
        let digest = *plan.digest();
        let name = plan.network().to_owned();
        let wrong = |problem| ServiceError::Model { name: name.clone(), problem };
        // Clients ask for networks by name.
        if models.values().any(|model: &Arc<Model>| model.description.name == name) {
            return Err(wrong("is given twice: networks of one server differ in their names"));
        }
        if *bundle.spec().plan_digest() != digest {
            return Err(wrong("has a client bundle of another plan"));
        }
        let report = Report::new(&plan, &[]);
        let description = api::Model {
            name: name.clone(),
            plan: hex(&digest),
            bundle: hex(bundle.digest()),
            key_bytes: keys_len(&plan),
            max_request_bytes,
            receipt_signer: receipt_signer.to_owned(),
        };
        let plan = Arc::new(plan);
        let servers = devices.iter().map(|device| Server::new(plan.clone(), device));
        let model = Model {
            servers: servers.collect::<Result<_, _>>()?,
            bundle: bundle.to_bytes().map_err(|_| wrong("has a client bundle without bytes"))?,
            bundle_digest: *bundle.digest(),
            session_bytes: report.key_bytes as u64,
            output_ciphertexts: report.output_ciphertexts,
            description,
            plan,
        };
        models.insert(digest, Arc::new(model));
    }
    Ok(models)
}
