//! Networks that a server offers.

use super::error::ServiceError;
use crate::api::{self, hex};
use pleura::nn::{Report, ServerPlan};
use pleura::remote::{ClientBundle, keys_len};
use pleura::{Device, Server};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A network on the device.
pub(super) struct Model {
    pub(super) server: Server,
    /// Bytes of the client bundle.
    pub(super) bundle: Vec<u8>,
    pub(super) bundle_digest: [u8; 32],
    /// Bytes of a session's keys on the device.
    pub(super) session_bytes: u64,
    /// Ciphertexts of one result.
    pub(super) output_ciphertexts: usize,
    pub(super) description: api::Model,
}

/// Networks by the digests of their plans.
pub(super) type Models = BTreeMap<[u8; 32], Arc<Model>>;

/// Brings networks to the device.
pub(super) fn load(
    offered: Vec<(ServerPlan, ClientBundle)>,
    device: &Device,
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
        let model = Model {
            bundle: bundle.to_bytes().map_err(|_| wrong("has a client bundle without bytes"))?,
            bundle_digest: *bundle.digest(),
            session_bytes: report.key_bytes as u64,
            output_ciphertexts: report.output_ciphertexts,
            description,
            server: Server::new(plan, device)?,
        };
        models.insert(digest, Arc::new(model));
    }
    Ok(models)
}
