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

pub mod api;
#[cfg(feature = "client")]
pub mod client;
pub mod problem;
#[cfg(feature = "server")]
pub mod server;
