//! Inference: encrypted items in, encrypted results out.

use super::app::{App, Caller, digest};
use super::body::Incoming;
use super::keys::{find, forget};
use super::memory::Reserved;
use super::model::Model;
use super::results::{Answer, RequestName, reused};
use super::running::Outcome;
use super::scheduler::Work;
use super::store::KeysName;
use crate::api::{IDEMPOTENCY_KEY, MAX_IDEMPOTENCY_KEY, REPLAYED};
use crate::problem::{Code, Problem};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use pleura::ckks::wire::ObjectKind;
use pleura::remote::{Frame, ItemHeader, ItemReader, ItemWriter, Origin, RemoteError};
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;
use tokio::task::block_in_place;

/// Memory of a request for each byte of its body: seeds become polynomials, and packed residues words.
const EXPANSION: u64 = 8;

/// A request that is computed, until this is dropped.
struct Entry {
    app: Arc<App>,
    request: Option<RequestName>,
}

/// A request whose body has arrived.
struct Arrived {
    name: KeysName,
    model: Arc<Model>,
    origin: Origin,
    keys: PathBuf,
    body: Vec<u8>,
    digest: [u8; 32],
    /// Identity of the request, if it has an idempotency key.
    request: Option<RequestName>,
    /// Memory that is set aside for it.
    memory: Reserved,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(request) = &self.request {
            self.app.running.lock().remove(request);
        }
    }
}

/// Computes the results of encrypted items. A request that is sent again with its idempotency key is computed once.
#[utoipa::path(post, path = "/v1/infer/{id}", security(("token" = [])),
    params(("id", description = "SHA-256 of the keys"), ("Idempotency-Key" = Option<String>, Header, description = "Random text that names the request")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "Encrypted items"),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>, description = "Encrypted results",
            headers(("Pleura-Receipt" = String, description = "Signed receipt, JSON in one line of ASCII"))),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn infer(
    State(app): State<Arc<App>>,
    Caller(owner): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let clock = Instant::now();
    app.check_running()?;
    let id = digest(&id)?;
    let (name, record) = find(&app, &owner, &id)?;
    let model = app.model(&record.plan)?;
    let origin = record.origin.ok_or_else(|| {
        Problem::new(Code::KeysIncomplete, "the keys have not arrived in full: go on with their upload first")
    })?;
    let request = idempotency_key(&headers)?.map(|key| RequestName::new(&owner, &id, key));
    let body = Incoming::new(&headers, body, app.limits.max_request_bytes, &app.limits)?;
    app.scheduler.check_room(&owner)?;
    let memory = app.memory.take(&owner, body.length.saturating_mul(EXPANSION))?;
    let body = body.whole().await?;
    app.store.touch(&name);
    let keys = app.store.file(&name);
    let digest = Sha256::digest(&body).into();
    let arrived =
        Arrived { name: name.clone(), model: model.clone(), origin, keys, body, digest, request, memory };
    let answered = answer(&app, arrived).await;
    if let Err(Problem { code: Code::UnknownKeys, .. }) = &answered {
        // Their file is damaged or missing: a new upload may begin.
        forget(&app, &name)?;
    }
    let (answer, replayed) = answered?;
    let receipt = app.receipts.header(&model, &origin, [id, digest], &answer)?;
    app.metrics.observe_request(clock.elapsed());
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    let mut response = ([kind, receipt], answer.results).into_response();
    if replayed {
        app.metrics.replay();
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// The results of a request, and whether an earlier one has computed them.
async fn answer(app: &Arc<App>, arrived: Arrived) -> Result<(Answer, bool), Problem> {
    let (mut outcome, joined) = match &arrived.request {
        None => (start(app, arrived), false),
        Some(request) => {
            // Before the lock is taken, since they may be large.
            let kept = block_in_place(|| app.results.get(request, &arrived.digest))?;
            if let Some(Answer { results, device }) = kept {
                return Ok((Answer { results: arrived.memory.hold(results), device }, true));
            }
            let mut running = app.running.lock();
            match running.get(request) {
                Some((digest, _)) if *digest != arrived.digest => return Err(reused()),
                Some((_, outcome)) => (outcome.clone(), true),
                None => {
                    // They may have been computed since.
                    if let Some(Answer { results, device }) = app.results.get(request, &arrived.digest)? {
                        return Ok((Answer { results: arrived.memory.hold(results), device }, true));
                    }
                    let key = request.clone();
                    let digest = arrived.digest;
                    let outcome = start(app, arrived);
                    running.insert(key, (digest, outcome.clone()));
                    (outcome, false)
                }
            }
        }
    };
    let done = outcome.wait_for(Option::is_some).await;
    let done = done.ok().and_then(|outcome| outcome.clone());
    let answer = done.ok_or_else(|| Problem::new(Code::Internal, "the computation broke off"))?;
    Ok((answer?, joined))
}

/// Computes in the background, so that the work of a client that goes away is not lost.
fn start(app: &Arc<App>, arrived: Arrived) -> Outcome {
    let (sender, outcome) = watch::channel(None);
    let entry = Entry { app: app.clone(), request: arrived.request.clone() };
    tokio::spawn(async move {
        let digest = arrived.digest;
        let answer = compute(&entry.app, arrived).await;
        if let (Some(request), Ok(answer)) = (&entry.request, &answer)
            && let Err(error) = block_in_place(|| entry.app.results.put(request, &digest, answer))
        {
            tracing::warn!(%error, "results cannot be kept: a repeated request is computed again");
        }
        let _ = sender.send(Some(answer));
    });
    outcome
}

async fn compute(app: &Arc<App>, arrived: Arrived) -> Result<Answer, Problem> {
    let Arrived { name, model, origin, keys, body, memory, .. } = arrived;
    // On this thread, whose other tasks move on: a hand-over costs more than the work.
    let parsed = block_in_place(|| parse(&body, &model, &origin));
    drop(body);
    let (header, frames, end) = parsed.map_err(|error| Problem::new(Code::ItemsRefused, error))?;
    if frames.is_empty() {
        return Err(Problem::new(Code::ItemsRefused, "the file has no items: encrypt at least one"));
    }
    let results = app.scheduler.submit(Work { name, model: model.clone(), keys, frames })?.await;
    let computed = results.map_err(|_| Problem::new(Code::Internal, "the computation broke off"))??;
    let written = block_in_place(|| write(&model, &header, &computed.frames, &end));
    let results = written.map_err(|error| {
        tracing::error!(%error, "results cannot be written");
        Problem::new(Code::Internal, "results cannot be written")
    })?;
    let names = computed.devices.iter().map(|&device| app.devices.get(device).map(String::as_str));
    let names: Option<Vec<_>> = names.collect();
    let names = names.ok_or_else(|| Problem::new(Code::Internal, "a device has no name"))?;
    Ok(Answer { results: memory.hold(results), device: names.join(", ").into() })
}

/// All frames of a request, and the note of its end.
fn parse(
    body: &[u8],
    model: &Model,
    origin: &Origin,
) -> Result<(ItemHeader, Vec<Frame>, Vec<u8>), RemoteError> {
    let plan = model.plan();
    let kind = ObjectKind::EncryptedItems;
    let mut reader =
        ItemReader::new(body, kind, plan.params(), plan.input_ciphertexts(), |found| found.check(origin))?;
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        frames.push(frame);
    }
    let end = reader.end_note().ok_or(RemoteError::Internal("an end mark was not read"))?;
    Ok((*reader.header(), frames, end.to_vec()))
}

fn write(model: &Model, header: &ItemHeader, frames: &[Frame], end: &[u8]) -> Result<Vec<u8>, RemoteError> {
    let params = model.plan().params();
    let mut writer = ItemWriter::new(Vec::new(), ObjectKind::EncryptedResults, params, header)?;
    for frame in frames {
        writer.add(frame)?;
    }
    Ok(writer.finish(end)?.0)
}

/// The idempotency key of a request.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len()));
    let detail = format!("Idempotency-Key has 1 to {MAX_IDEMPOTENCY_KEY} visible characters");
    key.map(Some).ok_or_else(|| Problem::new(Code::BadRequest, detail))
}
