//! Evaluation keys: offers, uploads that resume, deletion.

use super::app::{App, Caller, digest};
use super::body::Incoming;
use super::model::Model;
use super::store::{KeysName, Record, cannot_store, open_private};
use crate::api::{KeysOffer, KeysState, UPLOAD_OFFSET, hex, unhex};
use crate::problem::{Code, Problem};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use pleura::remote::{Hashed, KEYS_START, Origin, RemoteError, keys_origin, read_keys};
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::fs as async_fs;
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::sync::Semaphore;

/// Most bytes of an offer.
const MAX_OFFER: u64 = 4096;
/// Keys that were not used for this time make room for others of their token.
const UNUSED: Duration = Duration::from_secs(7200);
/// Bytes of a file that are read at a time.
const PIECE: usize = 1 << 16;

/// Begins an upload, or says how far it is: the offer may be repeated.
#[utoipa::path(post, path = "/v1/keys", request_body = KeysOffer, security(("token" = [])),
    responses((status = 200, body = KeysState), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn offer(
    State(app): State<Arc<App>>,
    Caller(owner): Caller,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<KeysState>, Problem> {
    app.check_running()?;
    let body = Incoming::new(&headers, body, MAX_OFFER, &app.limits)?.whole().await?;
    let offer: KeysOffer = serde_json::from_slice(&body)
        .map_err(|error| Problem::new(Code::BadRequest, format!("the offer cannot be read: {error}")))?;
    let [plan, id] = [&offer.plan, &offer.sha256].map(|text| unhex(text));
    let (Some(plan), Some(id)) = (plan, id) else {
        return Err(Problem::new(
            Code::BadRequest,
            "a digest of the offer is not 64 hexadecimal digits in lower case",
        ));
    };
    let model = app.model(&plan)?;
    let expected = model.description.key_bytes;
    if offer.length != expected {
        let detail = format!("the keys have {} bytes, and those of this plan {expected}", offer.length);
        return Err(Problem::new(Code::KeysLength, detail));
    }
    let name = KeysName::new(&owner, &id);
    for old in app.store.in_the_way(&name, offer.length, app.limits.quota_bytes, UNUSED) {
        forget(&app, &old)?;
    }
    let record = app.store.offer(&name, plan, offer.length, app.limits.quota_bytes)?;
    Ok(Json(app.store.state(&name, &record)?))
}

/// All keys of the token.
#[utoipa::path(get, path = "/v1/keys", security(("token" = [])), responses((status = 200, body = [KeysState])))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Caller(owner): Caller,
) -> Result<Json<Vec<KeysState>>, Problem> {
    let all = app.store.of_owner(&owner);
    Ok(Json(all.iter().map(|(name, record)| app.store.state(name, record)).collect::<Result<_, _>>()?))
}

/// How far an upload is.
#[utoipa::path(get, path = "/v1/keys/{id}", params(("id", description = "SHA-256 of the keys")), security(("token" = [])),
    responses((status = 200, body = KeysState), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn state(
    State(app): State<Arc<App>>,
    Caller(owner): Caller,
    Path(id): Path<String>,
) -> Result<Json<KeysState>, Problem> {
    let (name, record) = find(&app, &owner, &digest(&id)?)?;
    Ok(Json(app.store.state(&name, &record)?))
}

/// Forgets keys.
#[utoipa::path(delete, path = "/v1/keys/{id}", params(("id", description = "SHA-256 of the keys")), security(("token" = [])),
    responses((status = 204), (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Caller(owner): Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let (name, _) = find(&app, &owner, &digest(&id)?)?;
    forget(&app, &name)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Takes bytes of keys, from an offset on. After a broken connection, what has arrived stays.
#[utoipa::path(patch, path = "/v1/keys/{id}", security(("token" = [])),
    params(("id", description = "SHA-256 of the keys"), ("Upload-Offset" = u64, Header, description = "Number of bytes before these")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = KeysState), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn upload(
    State(app): State<Arc<App>>,
    Caller(owner): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<KeysState>, Problem> {
    app.check_running()?;
    let id = digest(&id)?;
    let name = KeysName::new(&owner, &id);
    let _claim = app.claim(&name)?;
    let (_, record) = find(&app, &owner, &id)?;
    let model = app.model(&record.plan)?;
    let state = app.store.state(&name, &record)?;
    let offset = headers.get(UPLOAD_OFFSET).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if offset != Some(state.offset) {
        let detail = format!("Upload-Offset must be {}, the number of bytes that have arrived", state.offset);
        return Err(Problem::new(Code::OffsetMismatch, detail));
    }
    let missing = record.length.checked_sub(state.offset);
    let missing = missing
        .ok_or_else(|| Problem::new(Code::Internal, "the server holds more bytes than the keys have"))?;
    let body = Incoming::new(&headers, body, missing, &app.limits)?;
    if state.complete {
        return Ok(Json(state));
    }
    let path = app.store.incoming(&name, &record);
    let received = receive(&path, &model, state.offset, body).await;
    if let Err(Problem { code: Code::KeysRefused, .. }) = &received {
        app.store.delete(&name)?;
    }
    if received? == record.length {
        finish(&app, &name, path, model, id).await?;
    }
    let (_, record) = find(&app, &owner, &id)?;
    Ok(Json(app.store.state(&name, &record)?))
}

/// Appends a body to the file; the number of bytes that have arrived in all.
async fn receive(path: &FilePath, model: &Model, offset: u64, mut body: Incoming) -> Result<u64, Problem> {
    let mut file = async_fs::File::from_std(open_private(path).map_err(cannot_store)?);
    let mut at = offset;
    let mut unchecked = offset < KEYS_START as u64;
    file.seek(io::SeekFrom::Start(offset)).await.map_err(cannot_store)?;
    loop {
        let data = match body.next().await {
            Ok(Some(data)) => data,
            // What arrived is kept, and the sender goes on from there.
            ended => {
                file.flush().await.map_err(cannot_store)?;
                return ended.map(|_| at);
            }
        };
        file.write_all(&data).await.map_err(cannot_store)?;
        at += data.len() as u64;
        if unchecked && at >= KEYS_START as u64 {
            unchecked = false;
            file.flush().await.map_err(cannot_store)?;
            file.seek(io::SeekFrom::Start(0)).await.map_err(cannot_store)?;
            let mut start = [0; KEYS_START];
            file.read_exact(&mut start).await.map_err(cannot_store)?;
            check_origin(keys_origin(&start, model.plan()), model)?;
            file.seek(io::SeekFrom::Start(at)).await.map_err(cannot_store)?;
        }
    }
}

/// Checks keys that have arrived in full; refused ones are deleted.
async fn finish(
    app: &Arc<App>,
    name: &KeysName,
    path: PathBuf,
    model: Arc<Model>,
    id: [u8; 32],
) -> Result<(), Problem> {
    let checked = one_by_one(&app.checking, move || {
        let hash = hash_file(&path).map_err(cannot_store)?;
        if hash != id {
            let detail =
                format!("their SHA-256 is {}: they were damaged on the way; send them again", hex(&hash));
            return Err(Problem::new(Code::KeysRefused, detail));
        }
        let file = open_private(&path).map_err(cannot_store)?;
        let read = read_keys(BufReader::new(&file), model.plan());
        let origin = check_origin(read.map(|(_, origin)| Some(origin)), &model)?;
        file.sync_all().map_err(cannot_store)?;
        Ok(origin)
    });
    let done = match checked.await? {
        Ok(Some(origin)) => app.store.complete(name, origin),
        Ok(None) => Err(Problem::new(Code::KeysRefused, "they are shorter than their header")),
        Err(problem) => Err(problem),
    };
    if let Err(Problem { code: Code::KeysRefused, .. }) = &done {
        app.store.delete(name)?;
    }
    done
}

/// Runs a check after those that came before. A check whose sender has gone still keeps its place until it ends.
async fn one_by_one<T: Send + 'static>(
    checking: &Arc<Semaphore>,
    check: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let place = checking.clone().acquire_owned().await;
    let place = place.map_err(|_| Problem::new(Code::Stopping, "the server stops"))?;
    let checked = tokio::task::spawn_blocking(move || {
        let checked = check();
        drop(place);
        checked
    });
    checked.await.map_err(|_| Problem::new(Code::Internal, "the check of the keys broke off"))
}

fn check_origin(read: Result<Option<Origin>, RemoteError>, model: &Model) -> Result<Option<Origin>, Problem> {
    let origin = read.and_then(|origin| {
        origin.map_or(Ok(()), |origin| origin.check_bundle(&model.bundle_digest))?;
        Ok(origin)
    });
    origin.map_err(|error| match error {
        RemoteError::Io(error) => cannot_store(error),
        error => Problem::new(Code::KeysRefused, error),
    })
}

fn hash_file(path: &FilePath) -> io::Result<[u8; 32]> {
    let mut hash = Hashed::new(io::sink());
    io::copy(&mut BufReader::with_capacity(PIECE, File::open(path)?), &mut hash)?;
    Ok(hash.digest())
}

/// Deletes keys, and frees their memory on the devices. Keys that arrive are refused as busy.
pub(super) fn forget(app: &App, name: &KeysName) -> Result<(), Problem> {
    let _claim = app.claim(name)?;
    app.store.delete(name)?;
    app.scheduler.close(name);
    Ok(())
}

/// Keys of a token.
pub(super) fn find(app: &App, owner: &str, id: &[u8; 32]) -> Result<(KeysName, Record), Problem> {
    let name = KeysName::new(owner, id);
    match app.store.get(&name) {
        Some(record) => Ok((name, record)),
        None => Err(Problem::new(
            Code::UnknownKeys,
            "the token has no such keys: they expired, were deleted, or never came",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn checks_of_senders_that_have_gone_keep_their_place() {
        let checking = Arc::new(Semaphore::new(1));
        let (started, begins) = mpsc::channel();
        let (finish, finished) = mpsc::channel();
        let places = checking.clone();
        let sender = tokio::spawn(async move {
            one_by_one(&places, move || {
                started.send(()).unwrap();
                finished.recv().unwrap();
            })
            .await
        });
        tokio::task::spawn_blocking(move || begins.recv().unwrap()).await.unwrap();
        sender.abort();
        assert!(sender.await.unwrap_err().is_cancelled());
        assert_eq!(checking.available_permits(), 0, "the check still runs");
        finish.send(()).unwrap();
        one_by_one(&checking, || ()).await.unwrap();
    }
}
