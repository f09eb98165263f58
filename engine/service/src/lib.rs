//! Encrypted inference over HTTPS: a server that computes on ciphertexts, and a client that holds the key.
//!
//! Bodies are the files of [`pleura::remote`]: evaluation keys, encrypted items, encrypted results. [`api`] has the
//! addresses and the JSON of everything else, [`problem`] the refusals. The features `server` and `client` choose the
//! halves of a build; neither needs the other.
//!
//! | request | body | response |
//! |---|---|---|
//! | `GET /v1/models` | | [`Model`](api::Model), as a list |
//! | `GET /v1/models/{plan}/client.spec` | | client bundle |
//! | `POST /v1/keys` | [`KeysOffer`](api::KeysOffer) | [`KeysState`](api::KeysState) |
//! | `GET /v1/keys` | | [`KeysState`](api::KeysState), as a list |
//! | `GET /v1/keys/{id}` | | [`KeysState`](api::KeysState), which says the offset to go on from |
//! | `PATCH /v1/keys/{id}` | bytes from `Upload-Offset` on | [`KeysState`](api::KeysState) |
//! | `DELETE /v1/keys/{id}` | | |
//! | `POST /v1/infer/{id}` | encrypted items | encrypted results |
//! | `GET /healthz`, `/readyz`, `/openapi.json` | | without a token |
//! | `GET /metrics` | | Prometheus text |
//!
//! A server of the default network on the loopback device, and a client that has an X-ray classified there:
//!
//! ```
//! # #[cfg(all(feature = "client", feature = "server"))]
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use pleura::Device;
//! use pleura::nn::{Plan, ServerPlan};
//! use pleura::remote::{ClientBundle, ClientKey, ItemDecryptor, ItemEncryptor, ItemNote};
//! use pleura::xray::{Classifier, shipped};
//! use pleura_service::client::{self, ServiceClient};
//! use pleura_service::server::{self, Limits, ServerDevice, Service, Stop, Tls, new_token, self_signed};
//! use std::net::TcpListener;
//! use std::time::Duration;
//!
//! // Server: a plan on a device, the tokens of clients, a certificate.
//! let classifier = Classifier::shipped("pneumonia")?;
//! let plan = Plan::compile(classifier.network(), &classifier.compile_options(1)?, &mut |_, _, _| ())?;
//! let bundle = ClientBundle::xray(plan.client_spec().clone(), &classifier)?;
//! let server_plan = ServerPlan::from_bytes(&plan.server_plan().to_bytes()?)?;
//! let place = tempfile::tempdir()?;
//! let folder = place.path().join("store");
//! let tokens = place.path().join("tokens");
//! let token = new_token(&tokens, &folder, "ward-1")?;
//! let options = server::Options { folder, tokens, limits: Limits::default() };
//! let device = ServerDevice { device: Device::cpu(None), session_bytes: 1 << 30 };
//! let service = Service::new(vec![(server_plan, bundle)], &[device], &options)?;
//! let (certificate, private_key) = self_signed(vec!["localhost".into()])?;
//! let tls = Tls::from_pem(certificate.as_bytes(), private_key.as_bytes())?;
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let url = format!("https://localhost:{}", listener.local_addr()?.port());
//! let stop = Stop::new();
//! let stopped = stop.clone();
//! let serving = std::thread::spawn(move || service.serve(listener, &tls, &stopped));
//!
//! // Client: a secret key, which stays here, and evaluation keys for the server.
//! let authorities = Some(certificate.as_bytes());
//! let patience = Duration::from_secs(60);
//! let client = ServiceClient::new(&client::Options { url: &url, authorities, token: &token, patience })?;
//! let models = client.models()?;
//! let model = models.first().ok_or("the server has no model")?;
//! let key = ClientKey::generate(client.bundle(model)?)?;
//! let mut evaluation_keys = Vec::new();
//! key.write_keys(&mut evaluation_keys)?;
//! let id = client.upload_keys(model, &evaluation_keys, &mut |_| ())?;
//!
//! // An X-ray goes there encrypted, and encrypted scores come back.
//! let mut encryptor = ItemEncryptor::new(&key, Vec::new())?;
//! encryptor.add(ItemNote::default(), classifier.features(&shipped::SAMPLES[15].xray()?)?.values)?;
//! let results = client.infer(&id, &encryptor.finish()?.0)?;
//! let mut decryptor = ItemDecryptor::new(&key, &results[..])?;
//! let group = decryptor.next_group()?.ok_or("there are no results")?;
//! assert_eq!(classifier.label(&group[0].scores), "pneumonia");
//!
//! stop.stop();
//! serving.join().map_err(|_| "the server panicked")??;
//! # Ok(())
//! # }
//! # #[cfg(all(feature = "client", feature = "server"))]
//! # example().unwrap();
//! ```

pub mod api;
#[cfg(feature = "client")]
pub mod client;
pub mod problem;
#[cfg(feature = "server")]
pub mod server;
