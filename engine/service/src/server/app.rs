//! State that all requests share, and what every response has.

use super::Limits;
use super::memory::Memory;
use super::metrics::Metrics;
use super::model::{Model, Models};
use super::receipts::Receipts;
use super::results::ResultStore;
use super::running::Running;
use super::scheduler::Scheduler;
use super::store::{KeysName, Store};
use super::tokens::Tokens;
use crate::api::{PROBLEM_JSON, unhex};
use crate::problem::{Code, Problem};
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::Semaphore;

/// State of a server.
pub(super) struct App {
    pub(super) models: Models,
    /// Names of the devices.
    pub(super) devices: Vec<String>,
    pub(super) tokens: Tokens,
    pub(super) store: Store,
    pub(super) results: ResultStore,
    pub(super) receipts: Receipts,
    pub(super) scheduler: Scheduler,
    pub(super) metrics: Arc<Metrics>,
    pub(super) limits: Limits,
    pub(super) running: Running,
    /// Uploads that a request writes to.
    pub(super) uploads: Mutex<HashSet<KeysName>>,
    /// Memory for requests and their results.
    pub(super) memory: Memory,
    /// Keys are checked one after the other, which bounds their memory.
    pub(super) checking: Arc<Semaphore>,
    pub(super) stopping: AtomicBool,
}

/// Name of the token of a request.
pub(super) struct Caller(pub(super) String);

/// Permission to write to an upload, which ends when it is dropped.
pub(super) struct Claim<'a> {
    app: &'a App,
    name: KeysName,
}

/// The code of a refusal, for the figures.
#[derive(Clone, Copy)]
struct Refused(Code);

impl App {
    /// The model of a plan.
    pub(super) fn model(&self, plan: &[u8; 32]) -> Result<Arc<Model>, Problem> {
        let found = self.models.get(plan).cloned();
        found.ok_or_else(|| {
            Problem::new(
                Code::UnknownModel,
                "no model has this plan: GET /v1/models lists those that there are",
            )
        })
    }

    /// Claims an upload; a second request for it is refused meanwhile.
    pub(super) fn claim(&self, name: &KeysName) -> Result<Claim<'_>, Problem> {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        if !uploads.insert(name.clone()) {
            return Err(Problem::new(Code::Busy, "another request uploads these keys"));
        }
        Ok(Claim { app: self, name: name.clone() })
    }

    /// Refuses work while the server stops.
    pub(super) fn check_running(&self) -> Result<(), Problem> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(Problem::new(Code::Stopping, "the server stops: try again later"));
        }
        Ok(())
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.app.uploads.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let given = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        // Names of schemes are the same in capitals and without (RFC 9110, section 11.1).
        let token = given.and_then(|value| value.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer"));
        let name = token.and_then(|(_, token)| app.tokens.find(token.trim_ascii()));
        let name = name.ok_or_else(|| {
            Problem::new(
                Code::Unauthorized,
                "the header Authorization has no token that is known here: Bearer TOKEN",
            )
        })?;
        Ok(Self(name))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_else(|_| b"{}".to_vec());
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        let headers = response.headers_mut();
        match self.code {
            Code::Busy => drop(headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"))),
            Code::Stopping => drop(headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"))),
            Code::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => (),
        }
        response.extensions_mut().insert(Refused(self.code));
        response
    }
}

/// Counts and logs a response: method, route, status and time, and nothing of what was sent.
pub(super) async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let clock = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    app.metrics.respond(&route, status);
    if let Some(Refused(code)) = response.extensions().get() {
        app.metrics.refuse(*code);
    }
    let milliseconds = clock.elapsed().as_millis() as u64;
    tracing::info!(%method, route, status, milliseconds, "response");
    response
}

/// A digest that is part of an address.
pub(super) fn digest(text: &str) -> Result<[u8; 32], Problem> {
    unhex(text).ok_or_else(|| {
        Problem::new(
            Code::BadRequest,
            "a digest is 64 hexadecimal digits in lower case, and the address has another",
        )
    })
}
