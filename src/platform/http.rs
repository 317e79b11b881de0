//! HTTP as the publishers speak it: no redirects, bounded answers, nothing secret in an error, and for every failed
//! request the one thing that matters: whether it can have been received.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, TryStreamExt};
use reqwest::header::{CONTENT_LENGTH, HeaderMap, RETRY_AFTER};
use reqwest::{Client, ClientBuilder, Request, RequestBuilder, Response};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;
use url::Url;

use super::media::MediaFile;
use super::{AttemptAborted, PublishContext, PublishError};
use crate::post::{Category, Failure, Platform};

/// Longer answers are not read.
const MAX_RESPONSE: usize = 1024 * 1024;

/// The content type that TikTok and Google write in their pages.
pub(super) const JSON_UTF8: &str = "application/json; charset=UTF-8";

/// How much of a file is in memory at a time.
const PIECE: usize = 256 * 1024;

/// How platforms are spoken to.
#[derive(Debug, Clone, Copy)]
pub struct HttpSettings {
    /// Per request; for an upload, without progress rather than in total.
    pub timeout: Duration,
}

/// What every client of this program keeps to, for addresses of this scheme: no redirects are followed, and plain HTTP,
/// which goes to loopback addresses only, never takes the way of a proxy, which would see the tokens.
pub fn client_builder(scheme: &str) -> ClientBuilder {
    let builder = Client::builder().redirect(reqwest::redirect::Policy::none());
    if scheme == "http" { builder.no_proxy().tls_certs_only([]) } else { builder }
}

/// Speaks HTTP.
#[derive(Debug, Clone)]
pub struct Http {
    client: Client,
    /// For plain HTTP; made when it is first needed, since only sandboxes and gateways are spoken to like that.
    plain: Arc<OnceLock<Client>>,
    timeout: Duration,
}

/// An response, read to its end.
#[derive(Debug)]
pub(super) struct ApiResponse {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    body: Vec<u8>,
}

/// Why a request has no response.
#[derive(Debug)]
pub(super) enum SendError {
    /// It never reached the platform.
    NotSent(String),
    /// It may have: the connection was lost, or no answer came in time.
    Lost(String),
    /// The platform answered with more than can be an response.
    TooLong {
        /// The status of the response.
        status: u16,
    },
    /// The file could not be read to its end.
    File(String),
    /// The attempt may not go on.
    Aborted(AttemptAborted),
}

impl SendError {
    /// As the failure of a step that can be taken again without harm.
    pub(super) fn into_retryable(self, platform: Platform, step: &str) -> PublishError {
        let name = platform.title();
        let failure = match self {
            Self::NotSent(why) => Failure::new(Category::Network, format!("cannot reach {name} to {step}: {why}")),
            Self::Lost(why) => Failure::new(Category::Network, format!("{name} did not answer to {step}: {why}")),
            Self::TooLong { status } => {
                Failure::new(Category::Unknown, format!("{name} answered HTTP {status} with more than 1 MiB to {step}"))
            }
            Self::File(why) => Failure::new(Category::MissingAsset, format!("cannot read the file for {name}: {why}")),
            Self::Aborted(aborted) => return PublishError::Aborted(aborted),
        };
        PublishError::Failed(failure)
    }
}

impl ApiResponse {
    /// The body as JSON; null where it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Whether the status is 2xx.
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// When `Retry-After` says to come back: after so many seconds, or at a date.
    pub(super) fn retry_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        parse_retry_after(self.headers.get(RETRY_AFTER)?.to_str().ok()?, now)
    }
}

/// The time that a `Retry-After` header names.
fn parse_retry_after(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = text.parse::<i64>().ok().and_then(TimeDelta::try_seconds)?;
        return now.checked_add_signed(seconds);
    }
    httpdate::parse_http_date(text).ok().map(DateTime::<Utc>::from)
}

fn client(scheme: &str, timeout: Duration) -> Result<Client, reqwest::Error> {
    let agent = concat!("postretry/", env!("CARGO_PKG_VERSION"));
    client_builder(scheme).connect_timeout(timeout).user_agent(agent).build()
}

impl Http {
    /// # Errors
    /// Where the machine has no usable certificates.
    pub fn new(settings: HttpSettings) -> Result<Self, reqwest::Error> {
        Ok(Self { client: client("https", settings.timeout)?, plain: Arc::default(), timeout: settings.timeout })
    }

    /// Sends a request by the client for its scheme.
    async fn execute(&self, request: Request) -> Result<Response, reqwest::Error> {
        if request.url().scheme() != "http" {
            return self.client.execute(request).await;
        }
        let plain = match self.plain.get() {
            Some(plain) => plain,
            None => {
                let made = client("http", self.timeout)?;
                self.plain.get_or_init(|| made)
            }
        };
        plain.execute(request).await
    }

    /// How long a request may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) fn get(&self, url: Url) -> RequestBuilder {
        self.client.get(url)
    }

    pub(super) fn post(&self, url: Url) -> RequestBuilder {
        self.client.post(url)
    }

    pub(super) fn put(&self, url: Url) -> RequestBuilder {
        self.client.put(url)
    }

    /// Sends a request, if the claim still stands, and reads the response.
    ///
    /// A body is handed out only when it is about to be written, and only if the claim stands at that very moment: a
    /// process that is stopped after it has asked, and comes back when another has the post, must not publish it.
    pub(super) async fn send(
        &self,
        request: RequestBuilder,
        context: &dyn PublishContext,
    ) -> Result<ApiResponse, SendError> {
        context.ensure_lease().await.map_err(SendError::Aborted)?;
        let lease_is_valid = context.lease_check();
        let mut request = request.timeout(self.timeout).build().map_err(|error| self.explain(error))?;
        let body = request.body().and_then(reqwest::Body::as_bytes).map(<[u8]>::to_vec);
        if let Some(body) = body.filter(|body| !body.is_empty()) {
            request.headers_mut().insert(CONTENT_LENGTH, body.len().into());
            let may_send = Arc::clone(&lease_is_valid);
            let handed_out = futures_util::stream::once(async move {
                if may_send() { Ok(body) } else { Err(std::io::Error::other("the claim was lost")) }
            });
            *request.body_mut() = Some(reqwest::Body::wrap_stream(handed_out));
        }
        match self.execute(request).await {
            Ok(response) => self.read(response).await,
            Err(_) if !lease_is_valid() => Err(SendError::Aborted(AttemptAborted::ClaimLost)),
            Err(error) => Err(self.explain(error)),
        }
    }

    /// Sends part of a file. It fails where for the time-out nothing has moved; and at once where the claim is lost,
    /// with the rest of the bytes unsent.
    pub(super) async fn upload(
        &self,
        request: RequestBuilder,
        file: &MediaFile,
        range: std::ops::Range<u64>,
        context: &dyn PublishContext,
    ) -> Result<ApiResponse, SendError> {
        context.ensure_lease().await.map_err(SendError::Aborted)?;
        let length = range.end - range.start;
        let total = file.size;
        let mut handle = tokio::fs::File::open(&file.path).await.map_err(|error| SendError::File(error.to_string()))?;
        handle.seek(std::io::SeekFrom::Start(range.start)).await.map_err(|error| SendError::File(error.to_string()))?;

        // The body is polled by the connection's own task, so what it shares with us goes through the monitor.
        let monitor = Arc::new(Monitor::default());
        let feed = Arc::clone(&monitor);
        let lease_is_valid = context.lease_check();
        let may_send = Arc::clone(&lease_is_valid);
        let pieces = ReaderStream::with_capacity(handle.take(length), PIECE).map(move |piece| match piece {
            Ok(_) if !may_send() => Err(std::io::Error::other("the claim was lost")),
            Ok(piece) => {
                feed.moved(piece.len() as u64);
                Ok(piece)
            }
            Err(error) => {
                feed.file_failed(&error);
                Err(error)
            }
        });
        let request = request.header(CONTENT_LENGTH, length).body(reqwest::Body::wrap_stream(pieces.into_stream()));
        let request = request.build().map_err(|error| self.explain(error))?;
        let sending = async {
            let response = self.execute(request).await.map_err(|error| self.explain(error))?;
            self.read(response).await
        };
        tokio::pin!(sending);
        let mut seen = 0;
        let mut still_since = tokio::time::Instant::now();
        loop {
            let tick = Duration::from_millis(200).min(self.timeout);
            if let Ok(response) = tokio::time::timeout(tick, &mut sending).await {
                if response.is_err() && !lease_is_valid() {
                    return Err(SendError::Aborted(AttemptAborted::ClaimLost));
                }
                if let Some(problem) = monitor.file_problem() {
                    return Err(SendError::File(problem));
                }
                return response;
            }
            let moved = monitor.bytes();
            if moved != seen {
                seen = moved;
                still_since = tokio::time::Instant::now();
                context.sent(range.start + moved, total);
            }
            if !lease_is_valid() {
                return Err(SendError::Aborted(AttemptAborted::ClaimLost));
            }
            if still_since.elapsed() >= self.timeout {
                return Err(SendError::Lost(self.no_answer()));
            }
        }
    }

    async fn read(&self, response: Response) -> Result<ApiResponse, SendError> {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let mut body = Vec::new();
        let mut pieces = response.bytes_stream();
        loop {
            match tokio::time::timeout(self.timeout, pieces.try_next()).await {
                Ok(Ok(Some(piece))) if body.len() + piece.len() > MAX_RESPONSE => {
                    return Err(SendError::TooLong { status });
                }
                Ok(Ok(Some(piece))) => body.extend_from_slice(&piece),
                Ok(Ok(None)) => return Ok(ApiResponse { status, headers, body }),
                Ok(Err(error)) => return Err(SendError::Lost(root_cause(&error.without_url()))),
                Err(_) => return Err(SendError::Lost(self.no_answer())),
            }
        }
    }

    /// Tells a request that was never sent from one that may have been received.
    fn explain(&self, error: reqwest::Error) -> SendError {
        let host = error.url().and_then(Url::host_str).map(str::to_owned).unwrap_or_default();
        let error = error.without_url();
        if error.is_connect() {
            let why = if error.is_timeout() { "no connection in time".to_owned() } else { root_cause(&error) };
            SendError::NotSent(format!("{host}: {why}"))
        } else if error.is_builder() {
            SendError::NotSent("the request cannot be written".to_owned())
        } else if error.is_timeout() {
            SendError::Lost(self.no_answer())
        } else {
            SendError::Lost(root_cause(&error))
        }
    }

    fn no_answer(&self) -> String {
        format!("nothing came within {}", humantime::format_duration(self.timeout))
    }
}

/// An id or a size, which platforms write as a text or as a number.
pub(super) fn text_or_number(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The one of these that has an id which no post is recorded with; none where there is none, or where there are several.
pub(super) async fn only_unrecorded<'a>(
    candidates: impl Iterator<Item = &'a Value> + Send,
    id_of: fn(&Value) -> Option<String>,
    context: &dyn PublishContext,
) -> Result<Option<(String, &'a Value)>, AttemptAborted> {
    let mut only = None;
    for candidate in candidates {
        let Some(id) = id_of(candidate) else { continue };
        if context.is_recorded(&id).await? {
            continue;
        }
        if only.is_some() {
            return Ok(None);
        }
        only = Some((id, candidate));
    }
    Ok(only)
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// What the body of an upload and the one who waits for its answer tell each other.
#[derive(Debug, Default)]
struct Monitor {
    bytes: AtomicU64,
    file_problem: Mutex<Option<String>>,
}

impl Monitor {
    fn moved(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn file_failed(&self, error: &std::io::Error) {
        *self.file_problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }

    fn file_problem(&self) -> Option<String> {
        self.file_problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_nonsense_is_nothing() {
        let now = at("2026-11-23T10:00:00Z");
        assert_eq!(parse_retry_after("120", now), Some(at("2026-11-23T10:02:00Z")));
        assert_eq!(parse_retry_after("Mon, 23 Nov 2026 12:00:00 GMT", now), Some(at("2026-11-23T12:00:00Z")));
        for nonsense in ["", "soon", "-5", "99999999999999999999", "9223372036854775807"] {
            assert_eq!(parse_retry_after(nonsense, now), None, "{nonsense}");
        }
    }
}
