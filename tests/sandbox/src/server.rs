//! HTTP on one port: which endpoint a request is for, what goes wrong with it, and its body.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::fault::{self, Act};
use crate::world::{Record, World, now};
use crate::{control, instagram, tiktok, youtube};

type SharedWorld = Arc<Mutex<World>>;

/// There is no answer, on purpose.
#[derive(Debug)]
enum Unanswered {
    /// The connection, or the stream of one that speaks HTTP/2, is dropped.
    Dropped,
    /// The stream is reset for this reason.
    Reset(h2::Error),
}

impl std::fmt::Display for Unanswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not answered on purpose")
    }
}

impl std::error::Error for Unanswered {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Dropped => None,
            Self::Reset(reason) => Some(reason),
        }
    }
}

impl From<Infallible> for Unanswered {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// A request without its body.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    pub(crate) headers: BTreeMap<String, String>,
    /// Whether it says how long its body is, or that it comes in pieces.
    pub(crate) has_framing: bool,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn bearer(&self) -> &str {
        self.header("authorization").strip_prefix("Bearer ").unwrap_or_default()
    }

    pub(crate) fn param(&self, name: &str) -> &str {
        self.query.get(name).map_or("", String::as_str)
    }

    /// The token that it carries, wherever.
    fn token(&self) -> &str {
        let header = self.header("authorization");
        header.split_once(' ').map_or_else(|| self.param("access_token"), |(_, token)| token)
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct ApiResponse {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl ApiResponse {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.to_string(),
        }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: String::new() }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let mut builder = Response::builder().status(self.status);
        for (name, value) in self.headers {
            builder = builder.header(name, value);
        }
        builder.body(Full::new(Bytes::from(self.body))).unwrap_or_default()
    }
}

/// The body of a request, as far as it arrived.
#[derive(Debug, Default)]
pub(crate) struct Body {
    /// The pieces of an upload, hashed as they came.
    pub(crate) pieces: Vec<Bytes>,
    /// Whether it arrived whole.
    pub(crate) is_whole: bool,
}

impl Body {
    pub(crate) fn len(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    /// Breaks it off after so many bytes.
    fn cut(&mut self, after: u64) {
        let mut left = after;
        for piece in &mut self.pieces {
            piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= piece.len() as u64;
        }
        self.is_whole = false;
    }

    /// JSON, or a form as an object of strings.
    fn value(&self) -> Value {
        let bytes = self.bytes();
        serde_json::from_slice(&bytes).unwrap_or_else(|_| {
            let pairs =
                url::form_urlencoded::parse(&bytes).map(|(name, value)| (name.into_owned(), Value::from(value)));
            Value::Object(pairs.collect())
        })
    }
}

pub(crate) async fn serve(listener: TcpListener, world: SharedWorld) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&world)));
            let served = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            // A connection that breaks off is the client's business, or a fault's.
            drop(served);
        });
    }
}

fn lock(world: &SharedWorld) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The parameters. Of one that comes twice the last counts, but of Google's lists all.
fn query_of(text: &str) -> BTreeMap<String, String> {
    let mut query: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()).into_owned() {
        let before = query.remove(&name).filter(|_| matches!(name.as_str(), "part" | "id"));
        let value = before.map_or_else(|| value.clone(), |before| format!("{before},{value}"));
        query.insert(name, value);
    }
    query
}

async fn answer(request: Request<Incoming>, world: SharedWorld) -> Result<Response<Full<Bytes>>, Unanswered> {
    let (parts, incoming) = request.into_parts();
    let query = query_of(parts.uri.query().unwrap_or_default());
    let has_framing = parts.version == Version::HTTP_2
        || parts.headers.contains_key("content-length")
        || parts.headers.contains_key("transfer-encoding");
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let head = Head { method: parts.method, path: parts.uri.path().to_owned(), query, headers, has_framing };
    if head.path.starts_with("/sandbox/") {
        let body = read(incoming, u64::MAX).await;
        return Ok(control::answer(&head, &body.value(), &mut lock(&world)).into_response());
    }
    let endpoint = endpoint_of(&head);
    let is_upload = is_upload(endpoint);
    let (act, body) = meet_fault(endpoint, &head, incoming, &world).await;
    let value = value_of(endpoint, &head, &body);
    lock(&world).requests.push(Record {
        endpoint: endpoint.to_owned(),
        line: format!("{} {}", head.method, parts.uri),
        headers: head.headers.clone(),
        body: value.clone(),
        uploaded: if is_upload { body.len() } else { 0 },
        at: now(),
    });
    let uri = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let told = |status: u16, body: &str, headers: &BTreeMap<String, String>| {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let body = body.replace("{token}", head.token()).replace("{uri}", &uri);
        ApiResponse { status, headers, body }.into_response()
    };
    match &act {
        Some(Act::Answer { status, body, headers }) => return Ok(told(*status, body, headers)),
        Some(Act::LoseRequest) => return Err(Unanswered::Dropped),
        Some(Act::RefuseStream) => return Err(Unanswered::Reset(h2::Reason::REFUSED_STREAM.into())),
        Some(Act::HoldRequest) => return hold(&world).await,
        Some(Act::Slow { ms }) => tokio::time::sleep(Duration::from_millis(*ms)).await,
        Some(Act::Lie { .. } | Act::LoseAnswer | Act::HoldAnswer | Act::Cut { .. } | Act::Garbage) | None => {}
    }
    if !is_upload && !body.is_whole {
        return Err(Unanswered::Dropped);
    }
    let answer = take_effect(endpoint, &head, &value, &body, &mut lock(&world));
    match act {
        Some(Act::LoseAnswer | Act::Cut { .. }) => Err(Unanswered::Dropped),
        Some(Act::HoldAnswer) => hold(&world).await,
        Some(Act::Lie { status, body, headers }) => Ok(told(status, &body, &headers)),
        Some(Act::Garbage) => {
            Ok(ApiResponse { body: "<html>not you</html>".to_owned(), ..ApiResponse::empty(200) }.into_response())
        }
        Some(Act::Slow { .. }) | None if body.is_whole => Ok(answer.into_response()),
        _ => Err(Unanswered::Dropped),
    }
}

/// Whether it takes bytes of a file.
fn is_upload(endpoint: &str) -> bool {
    matches!(endpoint, "tiktok.chunk" | "instagram.upload" | "youtube.chunk" | "youtube.multipart")
}

/// What a request says; of an upload, what it says of the file.
fn value_of(endpoint: &str, head: &Head, body: &Body) -> Value {
    match endpoint {
        "youtube.multipart" => youtube::metadata_of(head, body),
        _ if is_upload(endpoint) => Value::Null,
        _ => body.value(),
    }
}

/// What goes wrong with a request, and its body as far as it arrives.
async fn meet_fault(endpoint: &str, head: &Head, incoming: Incoming, world: &SharedWorld) -> (Option<Act>, Body) {
    let tells_posts_apart = lock(world).faults.iter().any(|fault| fault.about.is_some());
    if !tells_posts_apart {
        let act = fault::take(&mut lock(world).faults, endpoint, |_| false);
        let limit = if let Some(Act::Cut { after }) = act { after } else { u64::MAX };
        return (act, read(incoming, limit).await);
    }
    // Which post a request is for may stand in its body.
    let mut body = read(incoming, u64::MAX).await;
    let value = value_of(endpoint, head, &body);
    let mut world = lock(world);
    let text = text_of(endpoint, head, &value, &world);
    let act = fault::take(&mut world.faults, endpoint, |post| text.contains(post));
    if let Some(Act::Cut { after }) = act {
        body.cut(after);
    }
    (act, body)
}

/// The path, and the text of the post that a request is for: in the request itself, or in the upload that it names.
fn text_of(endpoint: &str, head: &Head, value: &Value, world: &World) -> String {
    let of_upload = match endpoint.split_once('.') {
        Some(("tiktok", _)) => tiktok::text_of(endpoint, head, value, world),
        Some(("instagram", _)) => instagram::text_of(endpoint, head, value, world),
        Some(("youtube", _)) => youtube::text_of(endpoint, head, world),
        _ => None,
    };
    let text = of_upload.map_or_else(|| value.to_string(), str::to_owned);
    format!("{} {text}", head.path)
}

/// Waits until the client is gone.
async fn hold(world: &SharedWorld) -> Result<Response<Full<Bytes>>, Unanswered> {
    lock(world).held += 1;
    std::future::pending().await
}

/// Reads at most so many bytes of a body.
async fn read(mut incoming: Incoming, limit: u64) -> Body {
    let mut body = Body::default();
    let mut left = limit;
    while left > 0 {
        match incoming.frame().await {
            None => {
                body.is_whole = true;
                break;
            }
            Some(Err(_)) => break,
            Some(Ok(frame)) => {
                if let Ok(mut piece) = frame.into_data() {
                    piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    left -= piece.len() as u64;
                    body.pieces.push(piece);
                }
            }
        }
    }
    body
}

/// The name of the endpoint that a request is for.
fn endpoint_of(head: &Head) -> &'static str {
    let parts: Vec<&str> = head.path.trim_matches('/').split('/').collect();
    match (head.method.as_str(), parts.as_slice()) {
        ("POST", ["v2", "oauth", "token"]) => "tiktok.token",
        ("POST", ["v2", "post", "publish", "creator_info", "query"]) => "tiktok.creator_info",
        ("POST", ["v2", "post", "publish", "video", "init"]) => "tiktok.video_init",
        ("POST", ["v2", "post", "publish", "content", "init"]) => "tiktok.photo_init",
        ("POST", ["v2", "post", "publish", "status", "fetch"]) => "tiktok.status",
        ("POST", ["v2", "video", "list"]) => "tiktok.video_list",
        ("PUT", ["tiktok-upload", _]) => "tiktok.chunk",
        ("POST", ["token"]) => "google.token",
        ("POST", ["upload", "youtube", "v3", "videos"]) if head.param("uploadType") == "multipart" => {
            "youtube.multipart"
        }
        // The discovery document has an address of its own for sessions, but the other one takes them too.
        ("POST", ["upload", "youtube", "v3", "videos"] | ["resumable", "upload", "youtube", "v3", "videos"]) => {
            "youtube.session"
        }
        ("PUT", ["upload", "youtube", "v3", "videos"]) if head.header("content-range").starts_with("bytes */") => {
            "youtube.query"
        }
        ("PUT", ["upload", "youtube", "v3", "videos"]) => "youtube.chunk",
        ("GET", ["youtube", "v3", "videos"]) => "youtube.videos",
        ("GET", ["youtube", "v3", "channels"]) => "youtube.channels",
        ("GET", ["youtube", "v3", "playlistItems"]) => "youtube.playlist_items",
        ("POST", ["ig-api-upload", _, _]) => "instagram.upload",
        ("GET", [_, "oauth", "access_token"]) => "instagram.exchange",
        ("GET", [_, _, "content_publishing_limit"]) => "instagram.limit",
        ("POST", [_, _, "media"]) => "instagram.create",
        ("GET", [_, _, "media"]) => "instagram.list",
        ("POST", [_, _, "media_publish"]) => "instagram.publish",
        ("GET", [_, id]) if id.starts_with("1801") => "instagram.permalink",
        ("GET", [_, _]) => "instagram.container",
        _ => "nowhere",
    }
}

fn take_effect(endpoint: &str, head: &Head, value: &Value, body: &Body, world: &mut World) -> ApiResponse {
    // No platform documents it, but what stands before platforms may want to be told even that a body is empty
    // (RFC 9110, section 8.6).
    if head.method != "GET" && !head.has_framing {
        return ApiResponse::empty(411);
    }
    match endpoint.split_once('.') {
        Some(("tiktok", _)) => tiktok::answer(endpoint, head, value, body, world),
        Some(("instagram", _)) => instagram::answer(endpoint, head, value, body, world),
        Some(("youtube" | "google", _)) => youtube::answer(endpoint, head, value, body, world),
        _ => {
            world.violation(format!("{} {} is no endpoint", head.method, head.path));
            ApiResponse::empty(404)
        }
    }
}
