//! Client: requests to a server, repeated after failures of the network.

mod error;
mod patience;

pub use error::ClientError;

use crate::api::{IDEMPOTENCY_KEY, KeysOffer, KeysState, Model, RECEIPT, UPLOAD_OFFSET, hex, unhex};
use crate::problem::Problem;
use patience::Patience;
use pleura::remote::{ClientBundle, FileDigests, SignedReceipt, file_number};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::time::Duration;
use ureq::http::{Method, Request, Response};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

/// Bytes of a chunk of keys.
const CHUNK: usize = 4 << 20;
/// Most bytes of a JSON document.
const MAX_JSON: u64 = 4 << 20;
/// Most bytes of a client bundle.
const MAX_BUNDLE: u64 = 64 << 20;
/// Most bytes of results.
const MAX_RESULTS: u64 = 1 << 30;
/// Longest time that a server may be silent; it computes meanwhile.
const SILENCE: Duration = Duration::from_secs(600);
/// Longest time for which a deletion is repeated.
const BRIEF: Duration = Duration::from_secs(10);
/// Longest time of a connection attempt.
const CONNECT: Duration = Duration::from_secs(10);

/// Address and credentials of a server.
pub struct Options<'a> {
    /// `https://HOST:PORT`
    pub url: &'a str,
    /// Certificates of authorities that are trusted, in PEM; without them, those of Mozilla.
    pub authorities: Option<&'a [u8]>,
    /// Bearer token.
    pub token: &'a str,
    /// Time for which a request is repeated while the server cannot be reached or is busy.
    pub patience: Duration,
}

/// A client of one server. It keeps connections open between requests.
pub struct ServiceClient {
    agent: Agent,
    url: String,
    authorization: String,
    patience: Duration,
    observe: Box<Observer>,
}

/// Receiver of the error of a request that is repeated.
type Observer = dyn Fn(&ClientError) + Send + Sync;

/// Results, and the server's signed statement of what they were computed from.
pub struct Answer {
    /// Encrypted results.
    pub results: Vec<u8>,
    /// Receipt of these results, these items and the keys; its signature is verified, its truth is not.
    pub receipt: SignedReceipt,
}

/// A response.
struct Reply {
    body: Vec<u8>,
    receipt: Option<String>,
}

/// A request that can be repeated.
struct Call<'a> {
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Option<&'a [u8]>,
    max: u64,
}

impl ServiceClient {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError::Url`], [`ClientError::Authorities`], [`ClientError::Token`]
    pub fn new(options: &Options<'_>) -> Result<Self, ClientError> {
        let url = options.url.trim_end_matches('/');
        if !url.starts_with("https://") || url.contains(['?', '#', '@']) {
            return Err(ClientError::Url(options.url.to_owned()));
        }
        let roots = options.authorities.map_or(Ok(RootCerts::WebPki), certificates)?;
        if options.token.is_empty() || !options.token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ClientError::Token);
        }
        let config = Agent::config_builder()
            .https_only(true)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_recv_body(Some(SILENCE))
            .timeout_send_body(Some(SILENCE))
            .user_agent(concat!("pleura/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots).build());
        Ok(Self {
            agent: config.build().new_agent(),
            url: url.to_owned(),
            authorization: format!("Bearer {}", options.token),
            patience: options.patience,
            observe: Box::new(|_| ()),
        })
    }

    /// The client with a receiver of errors: it is called when a request is repeated for the first time.
    #[must_use]
    pub fn observed(self, observe: impl Fn(&ClientError) + Send + Sync + 'static) -> Self {
        Self { observe: Box::new(observe), ..self }
    }

    /// The networks that the server offers. This request is not repeated, so that a wrong address is soon reported.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn models(&self) -> Result<Vec<Model>, ClientError> {
        let call = Call::get("/v1/models".to_owned(), MAX_JSON);
        json(&self.once(&call).map_err(|failure| failure.error)?.body)
    }

    /// The client bundle of a network. It comes from the server: see [`ClientBundle`] on what it decides.
    ///
    /// # Errors
    /// [`ClientError::Bundle`] if the bundle is not valid, [`ClientError::OtherBundle`] if it is not the model's
    pub fn bundle(&self, model: &Model) -> Result<ClientBundle, ClientError> {
        let reply = self.send(&Call::get(format!("/v1/models/{}/client.spec", model.plan), MAX_BUNDLE))?;
        let bundle = ClientBundle::from_bytes(&reply.body).map_err(ClientError::bundle)?;
        if hex(bundle.digest()) != model.bundle || hex(bundle.spec().plan_digest()) != model.plan {
            return Err(ClientError::OtherBundle);
        }
        Ok(bundle)
    }

    /// Uploads evaluation keys for a plan, as far as the server does not have them; their identity. `observe` receives
    /// the number of bytes that the server has.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn upload_keys(
        &self,
        model: &Model,
        keys: &[u8],
        observe: &mut dyn FnMut(u64),
    ) -> Result<String, ClientError> {
        let id = hex(&Sha256::digest(keys));
        let offer = KeysOffer { plan: model.plan.clone(), length: keys.len() as u64, sha256: id.clone() };
        let offer = serde_json::to_vec(&offer).map_err(|_| ClientError::Body("an offer"))?;
        let mut patience = Patience::new(self.patience);
        loop {
            let call =
                Call { body: Some(&offer), ..Call::new(Method::POST, "/v1/keys".to_owned(), MAX_JSON) };
            let mut state: KeysState = json(&self.send(&call)?.body)?;
            while !state.complete {
                observe(state.offset);
                let rest = usize::try_from(state.offset).ok().and_then(|offset| keys.get(offset..));
                let rest = rest.ok_or(ClientError::Body("a state of keys"))?;
                let chunk = rest.get(..CHUNK).unwrap_or(rest);
                let headers =
                    vec![(UPLOAD_OFFSET, state.offset.to_string()), ("expect", "100-continue".to_owned())];
                let path = format!("/v1/keys/{id}");
                let call = Call { headers, body: Some(chunk), ..Call::new(Method::PATCH, path, MAX_JSON) };
                match self.once(&call) {
                    Ok(reply) => {
                        let next: KeysState = json(&reply.body)?;
                        if !next.complete && next.offset <= state.offset {
                            return Err(ClientError::NoProgress);
                        }
                        patience = Patience::new(self.patience);
                        state = next;
                    }
                    // The server says from where to go on.
                    Err(failure) => {
                        patience.wait(failure, &*self.observe)?;
                        break;
                    }
                }
            }
            if state.complete {
                observe(state.length);
                return Ok(id);
            }
        }
    }

    /// Deletes evaluation keys on the server. This request is repeated for some seconds at most.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn delete_keys(&self, id: &str) -> Result<(), ClientError> {
        let call = Call::new(Method::DELETE, format!("/v1/keys/{id}"), MAX_JSON);
        self.send_within(self.patience.min(BRIEF), &call).map(drop)
    }

    /// The results of encrypted items, under keys that were uploaded. However often it has to be repeated, the server
    /// computes it once.
    ///
    /// # Errors
    /// [`ClientError`]
    pub fn infer(&self, keys: &str, items: &[u8]) -> Result<Vec<u8>, ClientError> {
        Ok(self.infer_signed(keys, items)?.results)
    }

    /// As [`ServiceClient::infer`], with the receipt.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::OtherResults`], [`ClientError::NoReceipt`], or [`ClientError::Receipt`] if the receipt is not signed or
    /// is one of other bytes
    pub fn infer_signed(&self, keys: &str, items: &[u8]) -> Result<Answer, ClientError> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|_| ClientError::Random)?;
        let headers = vec![(IDEMPOTENCY_KEY, hex(&random)), ("expect", "100-continue".to_owned())];
        let path = format!("/v1/infer/{keys}");
        let call = Call { headers, body: Some(items), ..Call::new(Method::POST, path, MAX_RESULTS) };
        let Reply { body: results, receipt } = self.send(&call)?;
        let receipt = receipt.ok_or(ClientError::NoReceipt)?;
        let receipt = SignedReceipt::from_json(receipt.as_bytes()).map_err(ClientError::receipt)?;
        let keys = unhex(keys).ok_or(ClientError::Body("an identity of keys"))?;
        let [input, output] = [items, &results].map(|bytes| Sha256::digest(bytes).into());
        let stated = receipt.receipt().check_files(&FileDigests { keys, input, output });
        stated.map_err(ClientError::receipt)?;
        // Notes of results are bound to this number, so that results of other items cannot have it.
        if file_number(items).is_none() || file_number(items) != file_number(&results) {
            return Err(ClientError::OtherResults);
        }
        Ok(Answer { results, receipt })
    }

    /// Sends a request until it is answered or refused for good.
    fn send(&self, call: &Call<'_>) -> Result<Reply, ClientError> {
        self.send_within(self.patience, call)
    }

    fn send_within(&self, time: Duration, call: &Call<'_>) -> Result<Reply, ClientError> {
        let mut patience = Patience::new(time);
        loop {
            match self.once(call) {
                Ok(reply) => return Ok(reply),
                Err(failure) => patience.wait(failure, &*self.observe)?,
            }
        }
    }

    fn once(&self, call: &Call<'_>) -> Result<Reply, Failure> {
        let mut response = self.exchange(call)?;
        let status = response.status();
        let after = response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
        let receipt = response.headers().get(RECEIPT).and_then(|value| Some(value.to_str().ok()?.to_owned()));
        let max = if status.is_success() { call.max } else { MAX_JSON };
        let body = response.body_mut().with_config().limit(max).read_to_vec()?;
        if status.is_success() {
            return Ok(Reply { body, receipt });
        }
        let error = match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => ClientError::Refused(Box::new(problem)),
            Err(_) => ClientError::Status(status.as_u16()),
        };
        let again = matches!(status.as_u16(), 408 | 429 | 502 | 503 | 504);
        Err(Failure { error, again, after: after.map(Duration::from_secs) })
    }

    fn exchange(&self, call: &Call<'_>) -> Result<Response<Body>, ureq::Error> {
        let mut request = Request::builder()
            .method(&call.method)
            .uri(format!("{}{}", self.url, call.path))
            .header("authorization", &self.authorization);
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        match call.body {
            Some(body) => self.agent.run(request.body(body)?),
            None => self.agent.run(request.body(())?),
        }
    }
}

impl<'a> Call<'a> {
    fn new(method: Method, path: String, max: u64) -> Self {
        Self { method, path, headers: Vec::new(), body: None, max }
    }

    fn get(path: String, max: u64) -> Self {
        Self::new(Method::GET, path, max)
    }
}

/// Why a request has no answer, and whether it may have one later.
struct Failure {
    error: ClientError,
    again: bool,
    after: Option<Duration>,
}

impl From<ureq::Error> for Failure {
    fn from(error: ureq::Error) -> Self {
        use std::io::ErrorKind::{InvalidData, InvalidInput};
        let again = match &error {
            // Certificates that are refused come as invalid data.
            ureq::Error::Io(error) => !matches!(error.kind(), InvalidData | InvalidInput),
            ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed | ureq::Error::Protocol(_) => true,
            _ => false,
        };
        let error = match error {
            ureq::Error::BodyExceedsLimit(max) => ClientError::TooLong(max),
            error => ClientError::Network(Box::new(error)),
        };
        Self { error, again, after: None }
    }
}

fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(bytes).map_err(|_| ClientError::Body("a description"))
}

fn certificates(pem: &[u8]) -> Result<RootCerts, ClientError> {
    let mut found = Vec::new();
    for item in parse_pem(pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|_| ClientError::Authorities)? {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err(ClientError::Authorities);
    }
    Ok(RootCerts::new_with_certs(&found))
}
