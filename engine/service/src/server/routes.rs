//! Addresses, and what is answered without a device.

use super::app::{App, Caller, digest, observe};
use super::{infer, keys};
use crate::api::{KeysOffer, KeysState, Model};
use crate::problem::{Code, Problem};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use std::sync::Arc;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

/// Description of the service, made from the functions that answer.
#[derive(OpenApi)]
#[openapi(
    info(title = "Pleura", description = "Neural networks on encrypted data"),
    paths(
        models, specification, keys::offer, keys::list, keys::state, keys::delete, keys::upload, infer::infer, health,
        ready, figures
    ),
    components(schemas(Model, KeysOffer, KeysState, Problem, Code)),
    modifiers(&Token)
)]
struct Description;

struct Token;

impl Modify for Token {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        openapi.components.get_or_insert_default().add_security_scheme("token", scheme);
    }
}

/// All addresses.
pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/models", get(models))
        .route("/v1/models/{plan}/client.spec", get(specification))
        .route("/v1/keys", post(keys::offer).get(keys::list))
        .route("/v1/keys/{id}", get(keys::state).patch(keys::upload).delete(keys::delete))
        .route("/v1/infer/{id}", post(infer::infer))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(figures))
        .route("/openapi.json", get(description))
        .fallback(nothing)
        .method_not_allowed_fallback(other_method)
        // Bodies have limits of their own.
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(app.clone(), observe))
        .with_state(app)
}

/// The description of the service as JSON.
///
/// # Errors
/// Those of the serializer
pub fn openapi() -> Result<String, serde_json::Error> {
    Description::openapi().to_pretty_json()
}

/// Networks that are offered.
#[utoipa::path(get, path = "/v1/models", security(("token" = [])), responses((status = 200, body = [Model])))]
async fn models(State(app): State<Arc<App>>, _caller: Caller) -> Json<Vec<Model>> {
    Json(app.models.values().map(|model| model.description.clone()).collect())
}

/// Everything that a client needs to know of a network, without its weights.
#[utoipa::path(get, path = "/v1/models/{plan}/client.spec", security(("token" = [])),
    params(("plan", description = "SHA-256 of the server plan")),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
async fn specification(
    State(app): State<Arc<App>>,
    _caller: Caller,
    Path(plan): Path<String>,
) -> Result<Response, Problem> {
    let model = app.model(&digest(&plan)?)?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], model.bundle.clone()).into_response())
}

/// Whether the process answers.
#[utoipa::path(get, path = "/healthz", responses((status = 200, body = String)))]
async fn health() -> &'static str {
    "ok\n"
}

/// Whether requests are accepted.
#[utoipa::path(get, path = "/readyz", responses((status = 200, body = String), (status = 503, body = Problem)))]
async fn ready(State(app): State<Arc<App>>) -> Result<&'static str, Problem> {
    app.check_running()?;
    Ok("ready\n")
}

/// Figures for Prometheus.
#[utoipa::path(get, path = "/metrics", security(("token" = [])), responses((status = 200, body = String)))]
async fn figures(State(app): State<Arc<App>>, _caller: Caller) -> Result<Response, Problem> {
    app.metrics.key_bytes.set(i64::try_from(app.store.bytes()).unwrap_or(i64::MAX));
    let text = app.metrics.text().map_err(|_| Problem::new(Code::Internal, "the figures have no text"))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

async fn description() -> Result<Response, Problem> {
    let text = openapi().map_err(|_| Problem::new(Code::Internal, "the description has no text"))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

async fn nothing() -> Problem {
    Problem::new(Code::NotFound, "there is nothing at this address: GET /openapi.json lists the addresses")
}

async fn other_method() -> Problem {
    Problem::new(Code::MethodNotAllowed, "this address takes other methods: GET /openapi.json lists them")
}
